// SPDX-License-Identifier: GPL-2.0
//! Who waits for direct I/O in flight can be killed. Some of it ends only when its own task polls
//! for it, or goes away.

use crate::aio::{Aio, Op};
use crate::dm::Dm;
use crate::fixture::{holds, pattern, put, MNT, T};
use crate::harness::{Case, Res, ONE};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, same, skip, wait};

pub const CASES: &[Case] = &[Case::new("dio/waiter_killed", ONE, waiters)];

const LEN: usize = 65_536;

/// What waits for the direct write. (Its memory and its file are there before.)
type Waiter = fn(&Fd, &Fd, &Aligned);

const WAITERS: &[(&str, Waiter)] = &[
    ("write", |f, _, data| drop(f.pwrite_once(&data[..100], 0))),
    ("direct write", |_, d, data| {
        drop(d.pwrite_once(&data[..512], LEN as u64))
    }),
    ("truncate", |f, _, _| drop(f.truncate(8192))),
    ("punch", |f, _, _| drop(f.punch(8192, 8192))),
];

/// In a child, that is killed. Has it gone, though the device is silent?
fn is_killed(act: impl FnOnce()) -> Res<bool> {
    // SAFETY: The child calls nothing that may take a lock of another thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        act();
        // SAFETY: As above.
        unsafe { libc::_exit(0) };
    }
    let (mut status, mut gone) = (0, 0);
    // SAFETY: The status is written to our memory.
    let mut is_gone = || unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == child;
    let waits = wait::asleep(&format!("/proc/{child}"), || false);
    // SAFETY: It is ours.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let killed = wait::until(|| {
        gone += i32::from(gone == 0 && is_gone());
        Ok(gone > 0)
    })?;
    ensure!(
        !killed || libc::WIFSIGNALED(status),
        "it did not wait: {status}"
    );
    waits?;
    Ok(killed)
}

/// One of them, while a direct write of the first block is in flight.
fn one(d: &Dm, (file, direct): (&Fd, &Fd), (what, act): &(&str, Waiter)) -> Res {
    let mut data = Aligned::of(&pattern(2, 0, 4096));
    let other = Aligned::of(&pattern(3, 0, 4096));
    let mut aio = Aio::new(1)?;
    d.suspend()?;
    let sent = aio.submit(direct, Op::Write, &mut data, 0, 0);
    let killed = is_killed(|| act(file, direct, &other));
    d.resume()?;
    sent?;
    same!(aio.wait(1)?, vec![(0, 4096)], "the direct write, {what}");
    if !killed? {
        // SAFETY: All children are ours; the last one goes on now.
        unsafe { libc::wait(std::ptr::null_mut()) };
        crate::fail!("{what}: waits although it is killed");
    }
    Ok(())
}

/// Each of them is killed while the device is silent: it goes, and nothing else has happened.
fn waiters(t: &mut T) -> Res {
    if !t.ours() {
        skip!("it cannot there");
    }
    t.mkfs(64, &[])?;
    let d = t.mapped("kill", 64)?;
    let fs = t.fs.clone();
    t.mount_as(&d.path, MNT, &fs, 0, "")?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    f.dontneed()?;
    let direct = sys::direct(&t.p("f"))?;
    for waiter in WAITERS {
        one(&d, (&f, &direct), waiter)?;
    }
    let mut want = pattern(1, 0, LEN);
    want[..4096].copy_from_slice(&pattern(2, 0, 4096));
    same!(f.size()?, LEN as u64, "size");
    holds(&f, 0, &want, "nothing else was done")?;
    f.fsync()?;
    drop((f, direct));
    t.umount_dir(MNT)
}
