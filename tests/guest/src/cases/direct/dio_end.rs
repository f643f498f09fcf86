// SPDX-License-Identifier: GPL-2.0
//! Direct I/O at the edges: the end of the file, ends in interrupts, pages that are gone.

use crate::aio::{Aio, Op};
use crate::cases::damage::failing::{data_at, with_hole};
use crate::cases::power::crash::{on_dm, MB};
use crate::dm::{self, Dm};
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, K1, ONE};
use crate::map::{self, Map};
use crate::sys::{self, Aligned, Fd};
use crate::uring::Ring;
use crate::{ensure, errno, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("dio/end_libaio", ALL, end_libaio).quick(),
    Case::new("dio/end_io_uring", ONE, end_uring),
    Case::new("dio/end_after_punch", ONE, end_after_punch).quick(),
    Case::new("dio/end_no_room", ALL, end_no_room).quick(),
    Case::new("dio/end_gives_back", ALL, end_gives_back).quick(),
    Case::new("dio/lost_page", ONE, lost_page).quick(),
    Case::new("dio/stored_beside", &[K1], stored_beside).quick(),
    Case::new("dio/nowait_deep", ALL, nowait_deep).quick(),
    Case::new("dio/statx", ONE, statx).quick(),
    Case::new("dio/dontcache", ONE, dontcache).quick(),
    Case::new("dio/iopoll", ONE, iopoll).quick(),
    Case::new("dio/iopoll_waits", ONE, iopoll_waits).quick(),
];

/// A file of one block, written up to its middle, of which the appended rest could not be written:
/// the size on disk stays behind for good, and the page is clean.
fn behind(t: &T, d: &Dm, name: &str) -> Res<Fd> {
    let bs = t.bs();
    let f = put(&t.p(name), 1, 600)?;
    f.fsync()?;
    let at = data_at(t, name)?;
    d.swap(&with_hole(t, at, bs))?;
    f.pwrite(&pattern(1, 600, bs as usize - 600), 600)?;
    errno!(f.fsync(), EIO);
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    // The error has been told.
    f.fsync()?;
    same!(f.size()?, bs, "size in memory");
    Ok(f)
}

/// An asynchronous write over a written block has nothing to do when it ends but to say so, in the
/// interrupt. Not if it ends beyond the size on disk.
fn end_libaio(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    let bs = t.var.bs;
    let f = behind(t, &d, "f")?;
    let direct = sys::direct(&t.p("f"))?;
    let mut aio = Aio::new(1)?;
    let mut buf = Aligned::of(&pattern(2, 0, bs));
    aio.submit(&direct, Op::Write, &mut buf, 0, 7)?;
    same!(aio.wait(1)?, vec![(7, bs as i64)], "result");
    f.fsync()?;
    drop((f, direct));
    t.cycle()?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(f.size()?, bs as u64, "size, remounted");
    holds(&f, 0, &pattern(2, 0, bs), "remounted")
}

/// Writes by io_uring, one request.
fn uring_write(f: &Fd, buf: &mut Aligned, off: u64) -> Res<i32> {
    use io_uring::{opcode, types};
    let mut ring = match io_uring::IoUring::new(4) {
        Ok(r) => r,
        Err(e) => skip!("io_uring: {e}"),
    };
    let e = opcode::Write::new(types::Fd(f.raw), buf.as_ptr(), buf.len() as u32)
        .offset(off)
        .build();
    // SAFETY: awaited below.
    ensure!(
        unsafe { ring.submission().push(&e) }.is_ok(),
        "submission queue full"
    );
    ring.submit_and_wait(1)?;
    let end = ring.completion().next();
    Ok(end.map_or(-1, |c| c.result()))
}

/// The same by io_uring.
fn end_uring(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    let bs = t.var.bs;
    let f = behind(t, &d, "f")?;
    let direct = sys::direct(&t.p("f"))?;
    let mut buf = Aligned::of(&pattern(2, 0, bs));
    same!(uring_write(&direct, &mut buf, 0)?, bs as i32, "result");
    f.fsync()?;
    drop((f, direct));
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &pattern(2, 0, bs), "remounted")
}

/// The same without an error: what would have moved the size on disk is punched.
fn end_after_punch(t: &mut T) -> Res {
    t.fresh()?;
    for (name, uring) in [("libaio", false), ("io_uring", true)] {
        let f = put(&t.p(name), 1, 1000)?;
        f.fsync()?;
        f.pwrite(&pattern(1, 8192, 4096), 8192)?;
        f.punch(8192, 4096)?;
        let direct = sys::direct(&t.p(name))?;
        let mut buf = Aligned::of(&pattern(2, 0, 4096));
        let n = match uring {
            true => i64::from(uring_write(&direct, &mut buf, 0)?),
            false => {
                let mut aio = Aio::new(1)?;
                aio.submit(&direct, Op::Write, &mut buf, 0, 0)?;
                aio.wait(1)?[0].1
            }
        };
        same!(n, 4096, "result of {name}");
        let mut want = pattern(2, 0, 4096);
        want.resize(12_288, 0);
        holds(&f, 0, &want, name)?;
        f.fsync()?;
    }
    Ok(())
}

/// A direct append that finds no room behind the first block has written that: what is behind the
/// end of the file is nobody's, in a mapping and once the file grows over it.
fn end_no_room(t: &mut T) -> Res {
    t.mkfs(16, &["-m", "0", "-J", "size=4"])?;
    t.mount("")?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 512)?;
    f.fsync()?;
    let filler = sys::create(&t.p("filler"))?;
    let mut end = 0;
    for step in [1 << 20, 64 << 10, bs] {
        while filler.fallocate(0, end, step).is_ok() {
            end += step;
        }
    }
    let direct = sys::direct(&t.p("f"))?;
    let mut want = pattern(1, 0, 512);
    want.resize(4096, 0);
    for round in 0..2 {
        errno!(
            direct.pwrite(&Aligned::of(&pattern(2, 0, 4 * bs as usize)), 512),
            ENOSPC
        );
        same!(f.size()?, 512, "size after round {round}");
        let m = Map::shared(&f, 4096)?;
        ensure!(m.read(0, 4096) == want, "behind the end, round {round}");
        drop(m);
        t.drop_caches()?;
        let m = Map::shared(&f, 4096)?;
        ensure!(
            m.read(0, 4096) == want,
            "behind the end, read again, round {round}"
        );
    }
    filler.truncate(0)?;
    f.truncate(4096)?;
    holds(&f, 0, &want, "grown")?;
    drop((f, direct, filler));
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "grown, remounted")
}

/// A direct append that fails for want of space does not keep what there was of it.
fn end_gives_back(t: &mut T) -> Res {
    t.mkfs(16, &["-m", "0", "-J", "size=4"])?;
    t.mount("")?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 4 * bs as usize)?;
    // Further behind than the write will reach: that stays.
    f.fallocate(libc::FALLOC_FL_KEEP_SIZE, 64 << 20, 4 * bs)?;
    f.fsync()?;
    let before = sys::statfs(&t.p(""))?.f_bfree;
    ensure!(before > 1000, "{before} blocks free");
    let direct = sys::direct(&t.p("f"))?;
    let much = Aligned::of(&pattern(2, 0, 16 << 20));
    for round in 0..2 {
        errno!(direct.pwrite(&much, 4 * bs), ENOSPC);
        same!(f.size()?, 4 * bs, "size after round {round}");
        let left = sys::statfs(&t.p(""))?.f_bfree;
        // ext4 takes what is preallocated, too.
        ensure!(
            left == before || !t.ours() && left > before,
            "{left} blocks free of {before}"
        );
    }
    holds(&f, 0, &pattern(1, 0, 4 * bs as usize), "as it was")
}

/// RWF_NOWAIT in a file of many extents: what is known in memory is answered.
fn nowait_deep(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    for i in 0..200 {
        f.pwrite(&pattern(1, 2 * i * bs, bs as usize), 2 * i * bs)?;
    }
    f.fsync()?;
    f.dontneed()?;
    let direct = sys::direct(&t.p("f"))?;
    let mut b = Aligned::new(bs as usize);
    // The nodes of the tree are read.
    for i in 0..200 {
        direct.pread_once(&mut b, 2 * i * bs)?;
    }
    let mut r = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let at = 2 * r.u64(..200) * bs;
        b.fill(0);
        let iov = libc::iovec {
            iov_base: b.as_mut_ptr().cast(),
            iov_len: b.len(),
        };
        // SAFETY: a valid iovec.
        let n = unsafe { libc::preadv2(direct.raw, &iov, 1, at as i64, libc::RWF_NOWAIT) };
        ensure!(
            n == bs as isize,
            "{n} at {at}: {}",
            sys::errname(sys::errno())
        );
        ensure!(b[..] == pattern(1, at, bs as usize), "bytes at {at}");
    }
    Ok(())
}

/// A page that has space reserved and no blocks yet is taken away by a memory error: a direct read
/// of it ends, and the space is free again.
fn lost_page(t: &mut T) -> Res {
    const MADV_HWPOISON: i32 = 100;
    t.fresh()?;
    put(&t.p("warm"), 1, 4096)?.fsync()?;
    let free = || sys::statfs(&t.p("")).map(|s| s.f_bfree);
    let before = free()?;
    let f = put(&t.p("f"), 1, 4096)?;
    let m = Map::shared(&f, 4096)?;
    map::sigbus_taken();
    m.get(0);
    // SAFETY: our own mapping, which nobody uses afterwards.
    let r = unsafe { libc::madvise(m.addr().cast(), 4096, MADV_HWPOISON) };
    if r < 0 {
        skip!("no memory errors to be had: {}", sys::errname(sys::errno()));
    }
    drop(m);
    errno!(f.fsync(), EIO);
    let direct = sys::direct(&t.p("f"))?;
    let (tx, rx) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let read = direct.pread_once(&mut Aligned::new(4096), 0);
        // Who gets the result unmounts.
        drop(direct);
        let _ = tx.send(read.map_err(|e| e.errno));
    });
    match rx.recv_timeout(wait::LONG) {
        Ok(Ok(_) | Err(libc::EIO)) => (),
        Ok(Err(e)) => return Err(Stop::Fail(format!("direct read: {}", sys::errname(e)))),
        Err(_) => return Err(Stop::Fail("the direct read does not end".into())),
    }
    let _ = reader.join();
    same!(free()?, before, "free blocks");
    Ok(())
}

/// statx tells in what units direct I/O is possible.
fn statx(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 8192)?.fsync()?;
    let st = sys::statx(&t.p("f"))?;
    let unit = st.stx_dio_offset_align as usize;
    ensure!(st.stx_mask & 0x2000 != 0, "STATX_DIOALIGN is not reported");
    ensure!(st.stx_dio_mem_align > 0 && unit >= 512, "units {unit}");
    let direct = sys::direct(&t.p("f"))?;
    same!(
        direct.pread_once(&mut Aligned::new(unit), unit as u64)?,
        unit,
        "a unit"
    );
    Ok(())
}

/// RWF_DONTCACHE, both ways.
fn dontcache(t: &mut T) -> Res {
    const RWF_DONTCACHE: i32 = 0x80;
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    let want = pattern(1, 0, 300_000);
    let mut got = vec![0; want.len()];
    let iov = |p: *const u8| libc::iovec {
        iov_base: p as *mut _,
        iov_len: 300_000,
    };
    // SAFETY: valid iovecs.
    let n = unsafe { libc::pwritev2(f.raw, &iov(want.as_ptr()), 1, 0, RWF_DONTCACHE) };
    ensure!(n == 300_000, "write: {n} {}", sys::errname(sys::errno()));
    f.fsync()?;
    // SAFETY: as above.
    let n = unsafe { libc::preadv2(f.raw, &iov(got.as_mut_ptr()), 1, 0, RWF_DONTCACHE) };
    ensure!(n == 300_000, "read: {n} {}", sys::errname(sys::errno()));
    ensure!(got == want, "bytes");
    drop(f);
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")
}

/// An io_uring that polls for its requests, if the device can be polled: a write has shown it.
fn polled(direct: &Fd, data: &[u8], off: u64) -> Res<Ring> {
    let mut ring = match Ring::polled() {
        Ok(ring) => ring,
        Err(e) => skip!("{e}"),
    };
    match ring.write(direct, &Aligned::of(data), off) {
        Err(e) if e.errno == libc::EOPNOTSUPP => skip!("the device cannot be polled"),
        written => same!(written?, data.len(), "the first write"),
    }
    Ok(ring)
}

/// A write and a read that are polled for.
fn iopoll(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 65_536)?.fsync()?;
    let direct = sys::direct(&t.p("f"))?;
    let want = pattern(2, 0, 4096);
    let mut ring = polled(&direct, &want, 8192)?;
    let mut got = Aligned::new(4096);
    same!(ring.read(&direct, &mut got, 8192)?, 4096, "the read");
    ensure!(got[..] == want, "bytes");
    Ok(())
}

/// Writes that hold a lock to their end wait for it, and nobody polls meanwhile: parts of blocks
/// that end where the file does, and what ends behind the size on disk.
fn iopoll_waits(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 waits for ever");
    }
    t.fresh()?;
    let mut want = pattern(1, 0, 6144);
    let f = put(&t.p("f"), 1, want.len())?;
    f.fsync()?;
    let direct = sys::direct(&t.p("f"))?;
    want[..4096].copy_from_slice(&pattern(2, 0, 4096));
    let mut ring = polled(&direct, &want[..4096], 0)?;
    want[5632..].copy_from_slice(&pattern(3, 0, 512));
    let end = Aligned::of(&want[5632..]);
    same!(ring.write(&direct, &end, 5632)?, 512, "at the end");
    holds(&f, 0, &want, "the end written")?;
    // The blocks are there when the write's own flush is through.
    let g = put(&t.p("g"), 1, 8192)?;
    let direct = sys::direct(&t.p("g"))?;
    let mut want = pattern(1, 0, 8192);
    want[4096..].copy_from_slice(&pattern(4, 0, 4096));
    let end = Aligned::of(&want[4096..]);
    same!(ring.write(&direct, &end, 4096)?, 4096, "not on disk");
    holds(&g, 0, &want, "not on disk")
}

/// A direct write beyond the end is on its way, and a mapping stores to another block of the page
/// of the end: both are there afterwards.
fn stored_beside(t: &mut T) -> Res {
    let d = on_dm(t)?;
    for (unit, size, store) in [(1024, 1024, 0), (1024, 2048, 0), (4096, 8192, 5000)] {
        beside(t, &d, unit, size, store)?;
    }
    Ok(())
}

/// The file has that size, and the write of two units begins at its second one. The store is to
/// that byte.
fn beside(t: &mut T, d: &Dm, unit: usize, size: usize, store: usize) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, size)?;
    f.fsync()?;
    let map = Map::shared(&f, size)?;
    let direct = sys::direct(&t.p("f"))?;
    let more = Aligned::of(&pattern(2, 0, 2 * unit));
    let disk = t.disks[0].clone();
    d.swap(&[dm::holding_writes(&disk, MB)])?;
    f.dontneed()?;
    std::thread::scope(|s| -> Res {
        let writer = wait::spawn(s, || direct.pwrite(&more, unit as u64));
        let early = writer.waits();
        if early.is_ok() {
            map.set(store, 77);
        }
        // Now the write goes on.
        d.swap(&[dm::linear(&disk, 0, MB)])?;
        writer.join()??;
        ensure!(early?, "the write was over before the device had it");
        Ok(())
    })?;
    let mut first = pattern(1, 0, unit);
    if let Some(byte) = first.get_mut(store) {
        *byte = 77;
    }
    // What the page had of the file before the write is written over it, which is told (race 11).
    let from = size - unit;
    let check = |f: &Fd, when: &str| {
        holds(f, 0, &first, when)?;
        holds(f, size as u64, &more[from..], when)
    };
    check(&f, "read at once")?;
    match from {
        0 => f.fsync()?,
        _ => errno!(f.fsync(), EIO),
    }
    drop((map, f, direct));
    t.cycle()?;
    check(&sys::rdonly(&t.p("f"))?, "on disk")?;
    t.umount()
}
