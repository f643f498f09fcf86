// SPDX-License-Identifier: GPL-2.0
//! When a thread runs, and what time it is.

use crate::sys::{errname, errno, Sys, SysErr};
use std::time::Duration;

/// Of a thread; 0 is the calling one.
fn set(tid: i32, class: i32, priority: i32) -> Sys<()> {
    // SAFETY: all zeros is a valid sched_param.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: a valid sched_param.
    match unsafe { libc::sched_setscheduler(tid, class, &param) } {
        0 => Ok(()),
        _ => Err(SysErr {
            what: format!("sched_setscheduler class {class}: {}", errname(errno())),
            errno: errno(),
        }),
    }
}

/// When nobody else wants to.
pub fn idle() -> Sys<()> {
    set(0, libc::SCHED_IDLE, 0)
}

/// As anybody does: this thread.
pub fn ordinary(tid: i32) -> Sys<()> {
    set(tid, libc::SCHED_OTHER, 0)
}

/// Also before those that are [`uninterrupted`].
pub fn first_of_all() -> Sys<()> {
    set(0, libc::SCHED_FIFO, 2)
}

/// Before all others, and until it sleeps: who is woken waits for its turn.
pub fn uninterrupted() -> Sys<()> {
    set(0, libc::SCHED_FIFO, 1)
}

/// Sets the clock of this machine.
pub fn set_clock(since_1970: Duration) -> Sys<()> {
    let time = libc::timespec {
        tv_sec: since_1970.as_secs() as i64,
        tv_nsec: i64::from(since_1970.subsec_nanos()),
    };
    // SAFETY: a valid time.
    match unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) } {
        0 => Ok(()),
        _ => Err(SysErr {
            what: format!("clock_settime: {}", errname(errno())),
            errno: errno(),
        }),
    }
}

extern "C" fn nothing(_sig: i32) {}

/// What sleeps, or tries again, in a system call after this time comes back with EINTR, once.
pub fn interrupt_after(time: Duration) -> Sys<()> {
    let usec = time.as_micros() as libc::suseconds_t;
    // SAFETY: all zeros is a valid sigaction and a valid itimerval.
    let (mut act, mut timer): (libc::sigaction, libc::itimerval) = unsafe { std::mem::zeroed() };
    act.sa_sigaction = nothing as *const () as usize;
    (timer.it_value.tv_sec, timer.it_value.tv_usec) = (usec / 1_000_000, usec % 1_000_000);
    let none = std::ptr::null_mut();
    // SAFETY: the handler does nothing; no flag says that the call goes on.
    let handled = unsafe { libc::sigaction(libc::SIGALRM, &act, none) };
    // SAFETY: a valid timer.
    match handled | unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(SysErr {
            what: format!("a timer: {}", errname(errno())),
            errno: errno(),
        }),
    }
}
