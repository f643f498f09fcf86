// SPDX-License-Identifier: GPL-2.0
//! Direct I/O at the edges: the end of the file, ends in interrupts, pages that are gone.

use crate::aio::{Aio, Op};
use crate::baddev::{data_at, with_hole};
use crate::crash::{on_dm, MB};
use crate::dm::{self, Dm};
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, ONE};
use crate::map::{self, Map};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("dio/end_libaio", ALL, end_libaio).quick(),
    Case::new("dio/end_io_uring", ONE, end_uring),
    Case::new("dio/end_after_punch", ONE, end_after_punch).quick(),
    Case::new("dio/lost_page", ONE, lost_page).quick(),
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
    std::thread::spawn(move || {
        let _ = tx.send(
            direct
                .pread_once(&mut Aligned::new(4096), 0)
                .map_err(|e| e.errno),
        );
    });
    match rx.recv_timeout(std::time::Duration::from_secs(10)) {
        Ok(Ok(_) | Err(libc::EIO)) => (),
        Ok(Err(e)) => return Err(Stop::Fail(format!("direct read: {}", sys::errname(e)))),
        Err(_) => return Err(Stop::Fail("the direct read does not end".into())),
    }
    same!(free()?, before, "free blocks");
    Ok(())
}
