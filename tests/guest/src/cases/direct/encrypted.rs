// SPDX-License-Identifier: GPL-2.0
//! Direct I/O of encrypted files.

use crate::aio::{Aio, Op};
use crate::cases::content::encrypted::{encrypt, fresh, ENC, ENC_4K};
use crate::dm::Dm;
use crate::fixture::{holds, pattern, put, MNT, T};
use crate::harness::{Case, Res};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, same, skip};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("crypt/data_direct", ENC, whole_blocks).quick(),
    Case::new("crypt/data_direct_parts", ENC, parts).quick(),
    Case::new("crypt/data_direct_polled", &[ENC_4K], polled).quick(),
    Case::new("crypt/data_direct_nowait", &[ENC_4K], nowait).quick(),
    Case::new("crypt/data_stable", ENC, stable_pages).quick(),
];

/// Whole blocks are read and written directly, at once and later.
fn whole_blocks(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs();
    let path = t.p("f");
    let mut want = pattern(1, 0, 40 * bs as usize);
    let f = put(&path, 1, want.len())?;
    if t.ours() {
        // The kernel's ext4 says so only who asks for it, too.
        let about = sys::statx(&path)?;
        let told = (about.stx_dio_mem_align, about.stx_dio_offset_align);
        same!(told, (bs as u32, bs as u32), "alignment of direct I/O");
    }
    let d = sys::direct(&path)?;
    let mut got = Aligned::new(want.len());
    // Reads of a block have a way of their own.
    for len in [bs, 3 * bs, 40 * bs] {
        let len = len as usize;
        for at in (0..want.len() - len + 1).step_by(len) {
            got.fill(0xEE);
            same!(d.pread(&mut got[..len], at as u64)?, len, "bytes read");
            ensure!(
                got[..len] == want[at..at + len],
                "direct read of {len} at {at}"
            );
        }
    }
    // Over data, into a hole, behind the end; some of it in the page cache.
    f.punch(8 * bs, 8 * bs)?;
    want[8 * bs as usize..16 * bs as usize].fill(0);
    for (i, (at, len)) in [(0, 1), (7, 2), (12, 3), (38, 9), (60, 2), (1, 40)]
        .into_iter()
        .enumerate()
    {
        let (at, len) = (at * bs, len * bs);
        let bytes = pattern(i as u64 + 5, at, len as usize);
        d.pwrite(&Aligned::of(&bytes), at)?;
        want.resize(want.len().max((at + len) as usize), 0);
        want[at as usize..(at + len) as usize].copy_from_slice(&bytes);
        holds(&f, 0, &want, &format!("after direct write {i}"))?;
    }
    at_once(&d, bs as usize, &mut want)?;
    drop((f, d));
    t.cycle()?;
    t.file_holds("f", &want, "mounted again")
}

/// Asynchronous requests, several at once.
fn at_once(d: &Fd, bs: usize, want: &mut [u8]) -> Res {
    let mut aio = Aio::new(16)?;
    let mut parts: Vec<Aligned> = (0..8)
        .map(|i| Aligned::of(&pattern(20 + i, 0, 2 * bs)))
        .collect();
    for (i, part) in parts.iter_mut().enumerate() {
        aio.submit(d, Op::Write, part, (4 * i * bs) as u64, i as u64)?;
    }
    for (i, result) in aio.wait(8)? {
        same!(result, 2 * bs as i64, "asynchronous write {i}");
        let at = 4 * i as usize * bs;
        want[at..at + 2 * bs].copy_from_slice(&parts[i as usize]);
    }
    let mut got = Aligned::new(want.len().next_multiple_of(bs));
    aio.submit(d, Op::Read, &mut got, 0, 9)?;
    same!(aio.wait(1)?, [(9, want.len() as i64)], "asynchronous read");
    ensure!(
        got[..want.len()] == want[..],
        "bytes of the asynchronous read"
    );
    Ok(())
}

/// What is no block, in the file or in memory, goes through the page cache, also to the end.
fn parts(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs() as usize;
    let path = t.p("f");
    let mut want = pattern(1, 0, 20 * bs + 100);
    put(&path, 1, want.len())?.fsync()?;
    let d = sys::direct(&path)?;
    let mut memory = Aligned::new(32 * bs);
    let places = [
        (0, 0, 512),
        (512, 512, bs),
        (bs, 512, bs),
        (bs, 0, bs + 512),
        (3, 5, 700),
        (2 * bs, 0, bs - 1),
        (5 * bs + 512, 0, 3 * bs),
        (20 * bs, 0, bs),
        (20 * bs, 512, bs),
        (21 * bs + 512, 0, 512),
    ];
    for (i, (at, from, len)) in places.into_iter().enumerate() {
        let bytes = pattern(i as u64 + 3, at as u64, len);
        memory[from..from + len].copy_from_slice(&bytes);
        d.pwrite(&memory[from..from + len], at as u64)?;
        want.resize(want.len().max(at + len), 0);
        want[at..at + len].copy_from_slice(&bytes);
        t.drop_caches()?;
        memory.fill(0xEE);
        let n = d.pread(&mut memory[from..from + len], at as u64)?;
        same!(n, len, "bytes read, place {i}");
        ensure!(memory[from..from + len] == bytes[..], "bytes, place {i}");
        t.file_holds("f", &want, &format!("after place {i}"))?;
    }
    // Where an append goes is known late. The kernel's ext4 looks before.
    if !t.ours() {
        return Ok(());
    }
    let a = sys::open(&path, libc::O_RDWR | libc::O_DIRECT | libc::O_APPEND, 0)?;
    for size in [20 * bs + 512, 20 * bs, 20 * bs + 1] {
        a.truncate(size as u64)?;
        want.resize(size, 0);
        let bytes = pattern(size as u64, 0, 2 * bs);
        same!(a.write(&Aligned::of(&bytes))?, 2 * bs, "appended");
        want.extend_from_slice(&bytes);
        t.file_holds("f", &want, &format!("appended at {size}"))?;
    }
    drop((a, d));
    t.cycle()?;
    t.file_holds("f", &want, "mounted again")
}

/// An io_uring that polls for its requests. It is not told of bios that are made for encryption,
/// so nobody may poll for those.
fn polled(t: &mut T) -> Res {
    use io_uring::{opcode, types, IoUring};
    if !t.ours() {
        skip!("the kernel's ext4 waits for ever");
    }
    fresh(t)?;
    put(&t.p("f"), 1, 65_536)?.fsync()?;
    let direct = sys::direct(&t.p("f"))?;
    let mut ring: IoUring = match IoUring::builder().setup_iopoll().build(4) {
        Ok(r) => r,
        Err(e) => skip!("io_uring: {e}"),
    };
    let mut b = Aligned::of(&pattern(2, 0, 4096));
    for write in [true, false] {
        let (fd, p) = (types::Fd(direct.raw), b.as_mut_ptr());
        let e = match write {
            true => opcode::Write::new(fd, p, 4096).offset(8192).build(),
            false => opcode::Read::new(fd, p, 4096).offset(8192).build(),
        };
        // SAFETY: awaited below.
        let pushed = unsafe { ring.submission().push(&e) };
        ensure!(pushed.is_ok(), "submission queue full");
        let mut end = None;
        for _ in 0..10_000 {
            ring.submit_and_wait(1)?;
            end = ring.completion().next().map(|c| c.result());
            if end.is_some() {
                break;
            }
        }
        if end == Some(-libc::EOPNOTSUPP) {
            skip!("the device cannot be polled");
        }
        same!(end, Some(4096), "result, write {write}");
        ensure!(b[..] == pattern(2, 0, 4096), "bytes");
        if write {
            b.fill(0);
        }
    }
    Ok(())
}

/// RWF_NOWAIT where memory makes the write go through the page cache: it would be waited for there.
/// Of a file that may have privileges to strip i_rwsem is held by then.
fn nowait(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs() as usize;
    let want = pattern(1, 0, 8 * bs);
    put(&t.p("f"), 1, want.len())?.fsync()?;
    sys::chmod(&t.p("f"), 0o4755)?;
    let d = sys::direct(&t.p("f"))?;
    let mut memory = Aligned::of(&pattern(2, 0, 2 * bs));
    let iov = libc::iovec {
        iov_base: memory[512..].as_mut_ptr().cast(),
        iov_len: bs,
    };
    for i in 0..50 {
        // A change of times would be EAGAIN, too. Once in a tick is enough.
        d.pwrite(&Aligned::of(&want[7 * bs..]), 7 * bs as u64)?;
        // SAFETY: a valid iovec.
        let n = unsafe { libc::pwritev2(d.raw, &iov, 1, 0, libc::RWF_NOWAIT) };
        let not = [libc::EAGAIN, libc::EOPNOTSUPP].contains(&sys::errno());
        ensure!(n == -1 && not, "try {i}: {n}, errno {}", sys::errno());
    }
    t.file_holds("f", &want, "nothing was written")
}

/// A mount with keys of a device that can be held.
fn held(t: &mut T) -> Res<Dm> {
    if !t.ours() {
        skip!("ext4 lets change what is being encrypted");
    }
    encrypt(t);
    t.mkfs(64, &[])?;
    let d = t.mapped("held", 64)?;
    let fs = t.fs.clone();
    t.mount_as(&d.path, MNT, &fs, 0, "")?;
    Ok(d)
}

/// Pages on their way to the device do not change, neither by write(2) nor by a mapping.
fn stable_pages(t: &mut T) -> Res {
    let d = held(t)?;
    let f = put(&t.p("f"), 1, 65_536)?;
    f.fsync()?;
    let m = Map::shared(&f, 65_536)?;
    let mut want = pattern(2, 0, 65_536);
    f.pwrite(&want, 0)?;
    d.suspend()?;
    let started = f.start_writeback(0, 65_536);
    let changed = AtomicU32::new(0);
    let (early, resumed, wrote) = std::thread::scope(|s| {
        let writer = s.spawn(|| {
            let wrote = f.pwrite(b"written", 100);
            changed.fetch_add(1, SeqCst);
            wrote
        });
        s.spawn(|| {
            m.write(32_768, b"stored");
            changed.fetch_add(1, SeqCst);
        });
        std::thread::sleep(Duration::from_millis(500));
        let early = changed.load(SeqCst);
        (early, d.resume(), writer.join())
    });
    resumed?;
    started?;
    ensure!(wrote.is_ok_and(|wrote| wrote.is_ok()), "write(2) failed");
    same!(early, 0, "changes of what was on its way");
    want[100..107].copy_from_slice(b"written");
    want[32_768..32_774].copy_from_slice(b"stored");
    f.fsync()?;
    drop(m);
    f.dontneed()?;
    holds(&f, 0, &want, "both")
}
