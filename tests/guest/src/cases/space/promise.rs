// SPDX-License-Identifier: GPL-2.0
//! Space that is promised to data on its way is free again when the data does not come.

use crate::aio::{Aio, Op};
use crate::cases::damage::failing::{data_at, with_hole};
use crate::cases::power::crash::{on_dm, MB};
use crate::dm;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, K1};
use crate::map::{sigbus_taken, Map};
use crate::slow::{SlowMemory, HALF};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, same, wait};

pub const CASES: &[Case] = &[
    Case::new("promise/fault", ALL, fault).quick(),
    Case::new("promise/store_refused", &[K1], store_refused).quick(),
    Case::new("promise/eio", ALL, eio),
    Case::new("promise/eio_buffered", ALL, eio_buffered),
    Case::new("promise/short_write", ALL, short_write).quick(),
    Case::new("promise/short_append", ALL, short_append).quick(),
    Case::new("promise/direct_full", ALL, direct_full).quick(),
];

const LEN: u64 = 32 << 20;

/// A file of unwritten blocks, and what is free beside it.
fn prepared(t: &T) -> Res<(Fd, Fd, u64)> {
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, LEN)?;
    f.fsync()?;
    let direct = sys::direct(&t.p("f"))?;
    Ok((f, direct, free(t)?))
}

fn free(t: &T) -> Res<u64> {
    Ok(sys::statfs(&t.p(""))?.f_bfree)
}

/// `pwrite` of so many bytes from an address of ours, which need not be there.
fn pwrite_raw(f: &Fd, from: *const u8, len: usize, off: u64) -> Result<usize, i32> {
    // SAFETY: the kernel looks at the memory, and says EFAULT where there is none.
    let r = unsafe { libc::pwrite(f.raw, from.cast(), len, off as i64) };
    usize::try_from(r).map_err(|_| sys::errno())
}

/// Memory of `len` bytes with nothing behind it.
fn edge(len: usize) -> *mut u8 {
    let (rw, anon) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping, of which the end goes again. It stays to the end of the process.
    unsafe {
        let p = libc::mmap(std::ptr::null_mut(), len + (16 << 20), rw, anon, -1, 0).cast::<u8>();
        libc::munmap(p.add(len).cast(), 16 << 20);
        p
    }
}

/// Writes from memory that is not there, all of it or the end, direct and buffered, over unwritten
/// blocks: nothing is kept of what was not written.
fn fault(t: &mut T) -> Res {
    t.fresh_mb(128)?;
    let (f, direct, before) = prepared(t)?;
    let nowhere = edge(4096).wrapping_add(4096);
    for at in (0..LEN).step_by(8 << 20) {
        for file in [&direct, &f] {
            same!(
                pwrite_raw(file, nowhere, 8 << 20, at),
                Err(libc::EFAULT),
                "write from nowhere at {at}"
            );
            same!(free(t)?, before, "free after {} at {at}", file.name);
        }
    }
    // The first 64 KiB are there.
    let some = edge(65_536);
    let n = pwrite_raw(&f, some, 8 << 20, 0);
    ensure!(matches!(n, Ok(1..=65_536)), "short write: {n:?}");
    f.fsync()?;
    let n = pwrite_raw(&direct, some, 8 << 20, 8 << 20);
    ensure!(matches!(n, Ok(_) | Err(libc::EFAULT)), "short write: {n:?}");
    // What was written may have taken blocks of the tree.
    let now = free(t)?;
    ensure!(before - now <= 4, "{now} free blocks of {before}");
    drop((f, direct));
    same!(free(t)?, now, "free after the file is closed");
    Ok(())
}

/// A store for which there is no space, in a page that has an unwritten block too, of a file whose
/// tree may need a block for that one: nothing is kept for it.
fn store_refused(t: &mut T) -> Res {
    t.mkfs(24, &["-m", "0", "-J", "size=4"])?;
    t.mount("")?;
    let f = sys::create(&t.p("f"))?;
    for i in 1..6 {
        f.pwrite(&pattern(1, i, 1024), i << 16)?;
    }
    f.fallocate(0, 0, 1024)?;
    f.fsync()?;
    let full = sys::create(&t.p("full"))?;
    let block = pattern(2, 0, 1024);
    let mut at = 0;
    let refused = loop {
        match full.pwrite_once(&block, at) {
            Ok(n) => at += n as u64,
            Err(e) => break e,
        }
    };
    same!(refused.errno, libc::ENOSPC, "write on a full disk");
    full.fsync()?;
    let before = free(t)?;
    let m = Map::shared(&f, 4096)?;
    sigbus_taken();
    m.set(0, 1);
    same!(sigbus_taken(), 1, "SIGBUS");
    same!(free(t)?, before, "free after the store");
    drop((m, f, full));
    Ok(())
}

/// The device fails: synchronous, asynchronous, and by writeback.
fn eio(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh_mb(128)?;
    let (f, direct, before) = prepared(t)?;
    let at = data_at(t, "f")?;
    let mut buf = Aligned::of(&pattern(1, 0, 1 << 20));
    d.swap(&with_hole(t, at, 2 << 20))?;
    errno!(direct.pwrite_once(&buf, 0), EIO);
    same!(free(t)?, before, "free after EIO");
    let mut aio = Aio::new(1)?;
    aio.submit(&direct, Op::Write, &mut buf, 1 << 20, 0)?;
    same!(aio.wait(1)?[0].1, -i64::from(libc::EIO), "asynchronous");
    same!(free(t)?, before, "free after EIO, asynchronous");
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    drop((f, direct));
    Ok(())
}

/// Data that writeback could not write is given up, and what it was promised with it; what is
/// written there again has a promise of its own.
fn eio_buffered(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh_mb(128)?;
    let (f, direct, before) = prepared(t)?;
    let at = data_at(t, "f")?;
    let data = pattern(1, 0, 1 << 20);
    let m = Map::shared(&f, 1 << 20)?;
    for round in 0..2 {
        d.swap(&with_hole(t, at, LEN))?;
        match round {
            0 => f.pwrite(&data, 0)?,
            _ => m.write(0, &data),
        }
        let taken = free(t)?;
        ensure!(!t.ours() || taken < before, "nothing is promised");
        errno!(f.fsync(), EIO);
        same!(free(t)?, before, "free after EIO, round {round}");
    }
    // The pages are clean, and may be gone. New data reaches the disk.
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    m.write(0, &data);
    f.pwrite(&data, 1 << 20)?;
    f.fsync()?;
    let now = free(t)?;
    ensure!(before - now <= 4, "{now} free blocks of {before}");
    drop((m, f, direct));
    Ok(())
}

/// A write that comes to an end half way gives back what it had reserved for the rest. Meanwhile
/// somebody has stored there, and the page is on its way to the disk: what it was promised is still
/// needed.
fn short_write(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    f.truncate(2 * HALF as u64)?;
    // Blocks are found in memory from now on.
    put(&t.p("other"), 1, 10_000)?.fsync()?;
    let map = Map::shared(&f, 2 * HALF)?;
    let memory = SlowMemory::new(t, &pattern(5, 0, HALF), &[])?;
    let written = std::thread::scope(|s| -> Res<_> {
        let writer = wait::spawn(s, || memory.pwrite(&f, 0, 2 * HALF, 0));
        let waits = writer.waits();
        map.write(HALF, &pattern(6, 0, HALF));
        d.suspend()?;
        let started = f.start_writeback(HALF as u64, HALF as u64);
        let failed = memory.fail();
        let held = writer.waits();
        d.resume()?;
        let written = writer.join()?;
        started?;
        failed?;
        ensure!(waits?, "the memory was there");
        // The kernel's ext4 promises no blocks of the tree.
        ensure!(!t.ours() || held?, "the page is on its way to the disk");
        Ok(written)
    })?;
    same!(written, Ok(HALF), "written");
    drop(map);
    let mut want = pattern(5, 0, HALF);
    want.extend(pattern(6, 0, HALF));
    f.fsync()?;
    t.holds_both(&f, &want, "both")
}

/// A write that appends comes to an end half way. Of its first half, which is written meanwhile, no
/// more blocks are taken than it has: nobody would give them back.
fn short_append(t: &mut T) -> Res {
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    put(&t.p("other"), 1, 10_000)?.fsync()?;
    let memory = SlowMemory::new(t, &pattern(5, 0, HALF), &[])?;
    let written = std::thread::scope(|s| -> Res<_> {
        let writer = wait::spawn(s, || memory.pwrite(&f, 0, 2 * HALF, 0));
        let waits = writer.waits();
        // Where folios are large nothing is copied yet, and the first half may not come at all.
        let synced = f.sync_range(0, HALF as u64);
        memory.fail()?;
        let written = writer.join()?;
        synced?;
        ensure!(waits?, "the memory was there");
        Ok(written)
    })?;
    ensure!(
        matches!(written, Ok(HALF) | Err(libc::EFAULT)),
        "written: {written:?}"
    );
    f.fsync()?;
    let stat = f.stat()?;
    let want = (stat.st_size as u64).next_multiple_of(t.bs());
    same!(stat.st_blocks as u64 * 512, want, "bytes of its blocks");
    Ok(())
}

/// All that is free is allocated to a file, and written by one direct write: what fallocate has
/// promised is there, however many blocks are on their way at a time.
fn direct_full(t: &mut T) -> Res {
    t.mkfs(128, &["-m", "0", "-J", "size=4"])?;
    t.mount("")?;
    let f = sys::create(&t.p("f"))?;
    let mut len = 0;
    for step in [4u64 << 20, 256 << 10, 4096] {
        while f.fallocate(0, len, step).is_ok() {
            len += step;
        }
    }
    ensure!(len > 60 << 20, "only {len} bytes are allocated");
    f.fsync()?;
    let direct = sys::direct(&t.p("f"))?;
    let data = Aligned::of(&pattern(1, 0, 60 << 20));
    same!(direct.pwrite_once(&data, 0)?, data.len(), "written");
    holds(&f, 0, &data, "what was written")
}
