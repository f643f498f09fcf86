// SPDX-License-Identifier: GPL-2.0
//! Waiting for what has to have come about before a case goes on. How long that takes is the
//! machine's business: nothing here counts on a pause being long enough.

use crate::harness::Res;
use crate::{ensure, fail};
use std::sync::mpsc;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// More than anything takes that comes at all, on a machine that has other things to do.
pub const LONG: Duration = Duration::from_secs(100);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// At so many looks in a row somebody sleeps at one place: not for a disk, but until he is let go.
/// Looks are counted, and no time: this machine may stand still itself.
const LOOKS: usize = 60;

/// Looks until it is so. False: it has not come about.
pub fn until(mut so: impl FnMut() -> Res<bool>) -> Res<bool> {
    let begun = Instant::now();
    while !so()? {
        if begun.elapsed() > LONG {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
    Ok(true)
}

/// Seconds since 1970 by the clock that stamps inodes: it may be a tick behind the other one.
pub fn seconds() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place for the time, of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now) };
    now.tv_sec as u64
}

/// Has no disk anything to do? Those of device mapper do not count: they may hold what they have.
pub fn disks_rest() -> bool {
    let rests = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/block/{name}/inflight"));
        text.unwrap_or_default()
            .split_whitespace()
            .all(|n| n == "0")
    };
    let names = std::fs::read_dir("/sys/block").into_iter().flatten();
    let names = names.flatten().map(|e| e.file_name());
    let is_disk = |name: &str| {
        ["ubd", "vd", "sd"]
            .iter()
            .any(|kind| name.starts_with(kind))
    };
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| is_disk(name))
        .all(|name| rests(&name))
}

/// How many times a task has gone to sleep by now, if it is asleep in the kernel and no disk is
/// what it waits for. `at`: its folder in /proc.
fn sleeps(at: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("{at}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(") ")?;
    if !after.starts_with(['D', 'S']) || !disks_rest() {
        return None;
    }
    let status = std::fs::read_to_string(format!("{at}/status")).ok()?;
    let count = |l: &str| {
        l.strip_prefix("voluntary_ctxt_switches:")?
            .trim()
            .parse()
            .ok()
    };
    status.lines().find_map(count)
}

/// Waits until a task sleeps in the kernel, and goes on doing so. False: it is over, as `over`
/// says.
pub fn asleep(at: &str, over: impl Fn() -> bool) -> Res<bool> {
    let (mut last, mut looks) = (None, 0);
    let found = until(|| {
        let now = sleeps(at);
        looks = if now.is_some() && now == last {
            looks + 1
        } else {
            0
        };
        last = now;
        Ok(looks >= LOOKS || over())
    })?;
    ensure!(found, "{at} neither ends nor sleeps");
    Ok(!over())
}

/// A thread of a scope that can be waited for until it waits.
pub struct Watched<'s, R> {
    handle: ScopedJoinHandle<'s, R>,
    at: String,
}

/// Starts it.
pub fn spawn<'s, 'e, R: Send + 's>(
    scope: &'s Scope<'s, 'e>,
    part: impl FnOnce() -> R + Send + 's,
) -> Watched<'s, R> {
    let (tell, told) = mpsc::channel();
    let handle = scope.spawn(move || {
        // SAFETY: plain call.
        let _ = tell.send(unsafe { libc::gettid() });
        part()
    });
    let tid = told.recv().unwrap_or(0);
    let at = format!("/proc/self/task/{tid}");
    Watched { handle, at }
}

impl<R> Watched<'_, R> {
    /// Waits until it sleeps in the kernel, and goes on doing so. False: it is over.
    pub fn waits(&self) -> Res<bool> {
        asleep(&self.at, || self.handle.is_finished())
    }

    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits until it is over, but not for ever: is it?
    pub fn ends(&self) -> Res<bool> {
        until(|| Ok(self.handle.is_finished()))
    }

    pub fn join(self) -> Res<R> {
        match self.handle.join() {
            Ok(done) => Ok(done),
            Err(_) => fail!("thread panic"),
        }
    }
}
