// SPDX-License-Identifier: GPL-2.0
//! Requests with flags of their own: not to wait, to append, to be durable.

use crate::cases::power::crash;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL};
use crate::sys::{self, Fd};
use crate::{ensure, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("nowait/write", ALL, write).quick(),
    Case::new("nowait/read", ALL, read),
    Case::new("nowait/full", ALL, full),
    Case::new("nowait/append", ALL, append),
    Case::new("nowait/dsync", ALL, dsync),
];

const DSYNC: i32 = libc::RWF_DSYNC;
const NOWAIT: i32 = libc::RWF_NOWAIT;
const APPEND: i32 = libc::RWF_APPEND;
const NOAPPEND: i32 = 0x20;
const ATOMIC: i32 = 0x40;

/// One write with these flags: bytes, or the errno.
fn write2(f: &Fd, data: &[u8], at: u64, flags: i32) -> Result<usize, i32> {
    let iov = libc::iovec {
        iov_base: data.as_ptr() as *mut _,
        iov_len: data.len(),
    };
    // SAFETY: a valid iovec.
    let n = unsafe { libc::pwritev2(f.raw, &iov, 1, at as i64, flags) };
    usize::try_from(n).map_err(|_| sys::errno())
}

/// One read, as `write2`.
fn read2(f: &Fd, len: usize, at: u64, flags: i32) -> Result<Vec<u8>, i32> {
    let mut data = vec![0xEE; len];
    let iov = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: len,
    };
    // SAFETY: a valid iovec.
    let n = unsafe { libc::preadv2(f.raw, &iov, 1, at as i64, flags) };
    let n = usize::try_from(n).map_err(|_| sys::errno())?;
    data.truncate(n);
    Ok(data)
}

/// A write that must not wait is done, in part or all of it, or is EAGAIN and has done nothing.
/// What has just been written may be written again: the times of the file are those of now.
fn write(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 64 * bs as usize)?;
    f.fsync()?;
    let mut want = pattern(1, 0, 64 * bs as usize);
    // A hole, and space kept there.
    f.truncate(200 * bs)?;
    f.fallocate(0, 80 * bs, 40 * bs)?;
    want.resize(200 * bs as usize, 0);
    let mut r = fastrand::Rng::with_seed(3);
    let mut done = [0; 4];
    // One that finds a lock held or a page on its way is sent away: then there are some more.
    for i in 0..1200u64 {
        if i >= 240 && done.iter().all(|n| *n > 10) {
            break;
        }
        let kind = (i % 4) as usize;
        let (at, len) = match kind {
            0 => (r.u64(..60 * bs), r.usize(1..3 * bs as usize)),
            1 => (130 * bs + r.u64(..60) * bs, bs as usize),
            2 => (81 * bs + r.u64(..30) * bs, 2 * bs as usize),
            _ => (want.len() as u64, r.usize(1..2 * bs as usize)),
        };
        let data = pattern(100 + i, at, len);
        f.pwrite(b"now", 0)?;
        want[..3].copy_from_slice(b"now");
        match write2(&f, &data, at, NOWAIT) {
            Ok(n) => {
                ensure!(n > 0 && n <= len, "{n} of {len} bytes");
                want.resize(want.len().max(at as usize + n), 0);
                want[at as usize..][..n].copy_from_slice(&data[..n]);
                done[kind] += 1;
            }
            Err(libc::EAGAIN) => {}
            // The kernel's ext4 does none of them.
            Err(libc::EOPNOTSUPP) if !t.ours() => skip!("not for buffered writes"),
            Err(e) => crate::fail!("{}", sys::errname(e)),
        }
        same!(f.size()?, want.len() as u64, "size after {i}");
    }
    println!("    done: {done:?}");
    ensure!(
        done.iter().all(|n| *n > 10),
        "done without waiting: {done:?}"
    );
    t.holds_both(&f, &want, "nowait")?;
    t.cycle_with(f)?;
    t.file_holds("f", &want, "remounted")
}

/// A read that must not wait answers from memory only.
fn read(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 40_000)?;
    let want = pattern(1, 0, 40_000);
    ensure!(read2(&f, 40_000, 0, NOWAIT) == Ok(want.clone()), "dirty");
    f.fsync()?;
    t.drop_caches()?;
    // It starts to read ahead, and a fast disk may be done before it looks again.
    match read2(&f, 40_000, 0, NOWAIT) {
        Err(libc::EAGAIN) => {}
        Ok(got) => ensure!(want.starts_with(&got) && !got.is_empty(), "from disk"),
        Err(e) => fail!("from disk: {e}"),
    }
    holds(&f, 0, &want, "read in")?;
    ensure!(read2(&f, 40_000, 0, NOWAIT) == Ok(want), "clean");
    same!(read2(&f, 10, 40_000, NOWAIT), Ok(vec![]), "at the end");
    Ok(())
}

/// What space there is only who may wait knows.
fn full(t: &mut T) -> Res {
    t.mkfs(16, &["-m", "0"])?;
    t.mount("")?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    f.truncate(1 << 20)?;
    let filler = sys::create(&t.p("filler"))?;
    let mut at = 0;
    for step in [1 << 20, 64 << 10, bs] {
        while filler.fallocate(0, at, step).is_ok() {
            at += step;
        }
    }
    let data = vec![7; bs as usize];
    for i in 0..20 {
        match write2(&f, &data, i * bs, NOWAIT) {
            Err(libc::EAGAIN) => {}
            Err(libc::EOPNOTSUPP) if !t.ours() => skip!("not for buffered writes"),
            r => crate::fail!("on a full disk: {r:?}"),
        }
    }
    same!(write2(&f, &data, 0, 0), Err(libc::ENOSPC), "who may wait");
    holds(&f, 0, &vec![0; 1 << 20], "full")
}

/// At the end, whatever the offset; or not, although the file is open for that. One that is to be
/// whole or not at all needs a device that can.
fn append(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 1000)?;
    same!(write2(&f, b"end", 10, APPEND), Ok(3), "RWF_APPEND");
    let mut want = [pattern(1, 0, 1000), b"end".to_vec()].concat();
    holds(&f, 0, &want, "appended")?;
    let a = sys::open(&t.p("f"), libc::O_WRONLY | libc::O_APPEND, 0)?;
    same!(write2(&a, b"in", 20, NOAPPEND), Ok(2), "RWF_NOAPPEND");
    want[20..22].copy_from_slice(b"in");
    same!(write2(&a, b"END", 20, 0), Ok(3), "O_APPEND");
    want.extend(b"END");
    t.holds_both(&f, &want, "in the end")?;
    let data = vec![1; t.var.bs];
    same!(
        write2(&f, &data, 0, ATOMIC),
        Err(libc::EOPNOTSUPP),
        "RWF_ATOMIC"
    );
    Ok(())
}

/// A single write that is durable when it has returned; not with the promise not to wait.
fn dsync(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let f = put(&t.p("f"), 1, 50_000)?;
    f.fsync()?;
    let mut want = pattern(1, 0, 50_000);
    for (i, at) in [100u64, 20_000, 50_000].into_iter().enumerate() {
        let data = pattern(10 + i as u64, 0, 5000);
        match write2(&f, &data, at, DSYNC | NOWAIT) {
            Err(libc::EAGAIN) => {}
            Err(libc::EOPNOTSUPP) if !t.ours() => {}
            r => crate::fail!("RWF_DSYNC with RWF_NOWAIT: {r:?}"),
        }
        same!(write2(&f, &data, at, DSYNC), Ok(5000), "RWF_DSYNC");
        want.resize(want.len().max(at as usize + 5000), 0);
        want[at as usize..][..5000].copy_from_slice(&data);
    }
    drop(f);
    crash::crash(t, &d)?;
    t.file_holds("f", &want, "after the crash")
}
