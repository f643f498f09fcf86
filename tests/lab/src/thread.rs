// SPDX-License-Identifier: GPL-2.0
//! Threads with names, which may get stuck in the kernel without the scenario doing so, and how to
//! tell that something does.

use crate::race::{Res, Stop};
use crate::tracing::mark;
use guest::wait::disks_rest;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a thread may take for its part, its waits included. On an emulated machine too, and on
/// one that has other things to do.
const DEADLINE: Duration = Duration::from_secs(60);
/// Asleep for so long at one place, a thread waits for somebody and not for a disk.
const ASLEEP: Duration = Duration::from_millis(500);
/// Between two looks, at least.
const LOOK: Duration = Duration::from_millis(2);
/// Longer than this a look does not take, unless the whole machine stands still: then the time that
/// goes by says nothing.
const LONGEST_LOOK: Duration = Duration::from_millis(20);
/// A disk that is always busy is not waited for, but this many times as long.
const DISK: u32 = 10;

const STARTING: u8 = 0;
const RUNNING: u8 = 1;
const FINISHED: u8 = 2;

#[derive(Default)]
struct Shared {
    tid: AtomicI32,
    phase: AtomicU8,
}

/// Where a thread was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Done,
    Blocked,
}

pub struct Thread<R> {
    name: String,
    shared: Arc<Shared>,
    result: Receiver<R>,
}

/// Starts a thread. Its name is its column in the picture, `words` its first step there.
pub fn spawn<R: Send + 'static>(
    name: &str,
    words: &str,
    part: impl FnOnce() -> R + Send + 'static,
) -> Res<Thread<R>> {
    let shared = Arc::new(Shared::default());
    let (tx, result) = channel();
    let (theirs, first) = (shared.clone(), format!("step {name}: {words}"));
    let column = format!("thread {name}");
    let over = format!("done {name}");
    std::thread::Builder::new()
        .name(name.to_string())
        .spawn(move || {
            // SAFETY: plain call.
            let tid = unsafe { libc::gettid() };
            theirs.tid.store(tid, Ordering::SeqCst);
            mark(&column);
            mark(&first);
            theirs.phase.store(RUNNING, Ordering::SeqCst);
            let r = part();
            theirs.phase.store(FINISHED, Ordering::SeqCst);
            mark(&over);
            let _ = tx.send(r);
        })
        .map_err(|e| Stop::Broken(format!("thread {name}: {e}")))?;
    Ok(Thread {
        name: name.to_string(),
        shared,
        result,
    })
}

impl<R> Thread<R> {
    /// What the thread came back with. One that does not come back is a hang, and that is harm.
    pub fn join(self) -> Res<R> {
        self.join_within(DEADLINE)
    }

    fn join_within(self, limit: Duration) -> Res<R> {
        match self.result.recv_timeout(limit) {
            Ok(r) => Ok(r),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Stop::Broken(format!("thread {} panicked", self.name)))
            }
            Err(RecvTimeoutError::Timeout) => {
                let words = format!("hang: no return in {} s", limit.as_secs());
                mark(&format!("harm {}: {words}", self.name));
                Err(Stop::Harm(format!("{}: {words}", self.name)))
            }
        }
    }
}

impl<R> Task for Thread<R> {
    fn name(&self) -> &str {
        &self.name
    }

    fn finished(&self) -> bool {
        self.shared.phase.load(Ordering::SeqCst) == FINISHED
    }

    fn folder(&self) -> Option<String> {
        let tid = self.shared.tid.load(Ordering::SeqCst);
        let begun = self.shared.phase.load(Ordering::SeqCst) != STARTING;
        begun.then(|| format!("/proc/self/task/{tid}"))
    }
}

/// What a scenario has started and watches: a thread, or a process.
pub trait Task {
    fn name(&self) -> &str;

    fn finished(&self) -> bool;

    /// Where /proc tells about it; nothing before it has begun with its part.
    fn folder(&self) -> Option<String>;

    /// Returns when it has finished, or sleeps in the kernel at one place for good.
    fn done_or_blocked(&self) -> Res<Found>
    where
        Self: Sized,
    {
        watch(self, ASLEEP)
    }

    /// If it is asleep in a system call or a fault: how many times it has gone to sleep by now.
    fn sleeps(&self) -> Option<u64> {
        let task = self.folder()?;
        let stat = std::fs::read_to_string(format!("{task}/stat")).ok()?;
        let (_, after) = stat.rsplit_once(") ")?;
        if !after.starts_with(['D', 'S']) {
            return None;
        }
        let status = std::fs::read_to_string(format!("{task}/status")).ok()?;
        let line = status
            .lines()
            .find(|l| l.starts_with("voluntary_ctxt_switches:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Returns when the task has finished, or has been asleep at one place for `long`.
pub fn watch(task: &impl Task, long: Duration) -> Res<Found> {
    let begun = Instant::now();
    let enough = long.as_millis() / LONGEST_LOOK.as_millis();
    // Since when, how many times it had gone to sleep by then, and the looks at it.
    let mut asleep: Option<(Instant, u64)> = None;
    let mut looks = 0;
    while begun.elapsed() < DEADLINE {
        if task.finished() {
            return Ok(Found::Done);
        }
        let now = task.sleeps();
        match (now, asleep) {
            (Some(n), Some((since, before))) if n == before => {
                looks += 1;
                let time = since.elapsed();
                let waits = disks_rest() || time > long * DISK;
                if time > long && looks > enough && waits {
                    return Ok(Found::Blocked);
                }
            }
            // Or it has run between the two looks.
            _ => (asleep, looks) = (now.map(|n| (Instant::now(), n)), 0),
        }
        std::thread::sleep(LOOK);
    }
    Err(Stop::Broken(format!(
        "{} neither finished nor fell asleep",
        task.name()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn back_or_not() {
        let quick = spawn("quick", "", || 7).unwrap();
        assert_eq!(quick.join().unwrap(), 7);
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let stuck = spawn("stuck", "", move || reader.read(&mut [0])).unwrap();
        assert_eq!(stuck.done_or_blocked().unwrap(), Found::Blocked);
        assert!(!stuck.finished());
        let end = stuck.join_within(Duration::from_millis(50));
        assert!(matches!(end, Err(Stop::Harm(s)) if s.contains("stuck: hang")));
        drop(writer);
    }

    #[test]
    fn done() {
        let t = spawn("t", "", || ()).unwrap();
        assert_eq!(t.done_or_blocked().unwrap(), Found::Done);
        t.join().unwrap();
    }
}
