// SPDX-License-Identifier: GPL-2.0

//! Step mode: a thread that is stepped parks at every point that it reaches, and its session says
//! who goes on. So a program can try one order of steps after the other, not only the one that a
//! scenario was written for.
//!
//! ```text
//!   controller                                  two threads, both stepped
//!   settle
//!                                               a parks at write-get-folio
//!   reads: who, where, which errors are possible
//!   settle
//!                                               b parks at punch-invalidated
//!   go b
//!   settle                                      b comes to its next point, or returns
//!   go a EIO                                    a goes on with an error
//! ```
//!
//! Parked, a thread can be killed, and it goes on by itself after [`LIMIT_MS`], like one that was
//! armed for. Other signals stay pending: what asks for them behind the point finds them.

use super::{
    reached::{busy, told, Reached, LIMIT_MS},
    Point,
};
use crate::{
    disk::Ino,
    trace::PointAction,
    vfs::{
        test_hooks::in_kernel_thread,
        wait::{new_wait_queue, WaitQueue}, //
    },
};
use core::ops::Range;
use kernel::{
    error::{code::*, Error},
    new_spinlock,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{Arc, SetOnce, SpinLock},
};
use pin_init::pin_init_array_from_fn;

/// All threads that are stepped, from load to unload.
static STEPS: SetOnce<Arc<Steps>> = SetOnce::new();

/// Before the first point is reached.
pub(super) fn init_steps() -> Result {
    STEPS.populate(Arc::pin_init(Steps::new(), GFP_KERNEL)?);
    Ok(())
}

/// `None` before [`init_steps`].
pub(super) fn steps() -> Option<&'static Steps> {
    STEPS.as_ref().map(|steps| &**steps)
}

/// Threads that are stepped at once, those of the kernel included.
const MAX: usize = 32;

/// What a point can be told to return.
const ERRORS: [(&str, Error); 5] = [
    ("EIO", EIO),
    ("ENOMEM", ENOMEM),
    ("ENOSPC", ENOSPC),
    ("EAGAIN", EAGAIN),
    ("EINTR", EINTR),
];

/// Where a thread is parked.
struct Stop {
    point: Point,
    ino: Ino,
    bytes: Range<u64>,
    errors: &'static [Error],
    /// The session knows of it.
    told: bool,
}

enum StepState {
    Running,
    Parked(Stop),
    /// To go on, with what the point is to return.
    Go(Result),
}

struct Stepped {
    /// Names the open control file.
    owner: usize,
    tid: i32,
    state: StepState,
    /// It has gone on by itself since the last `go`.
    late: bool,
    /// A thread of the kernel: stepped from one point to the next only.
    worker: bool,
}

impl Stepped {
    fn is_news(&self, owner: usize) -> bool {
        self.owner == owner && matches!(&self.state, StepState::Parked(stop) if !stop.told)
    }
}

/// No allocation, so that a thread can be noted wherever it reaches a point.
struct StepTable {
    threads: [Option<Stepped>; MAX],
    /// The session that steps the kernel's own threads.
    workers: Option<usize>,
}

impl StepTable {
    fn find(&mut self, tid: i32) -> Option<&mut Stepped> {
        self.threads.iter_mut().flatten().find(|t| t.tid == tid)
    }

    fn add(&mut self, owner: usize, tid: i32, worker: bool) -> Result<&mut Stepped> {
        let free = self.threads.iter_mut().find(|t| t.is_none());
        Ok(free.ok_or(ENOMEM)?.insert(Stepped {
            owner,
            tid,
            state: StepState::Running,
            late: false,
            worker,
        }))
    }

    fn seat(&self, tid: i32) -> Option<usize> {
        let mut all = self.threads.iter();
        all.position(|t| t.as_ref().is_some_and(|t| t.tid == tid))
    }

    /// No longer stepped; what is parked goes on. Returns their seats, a bit for each.
    fn forget(&mut self, which: impl Fn(&Stepped) -> bool) -> u32 {
        let mut gone = 0;
        for (seat, place) in self.threads.iter_mut().enumerate() {
            if place.as_ref().is_some_and(&which) {
                *place = None;
                gone |= 1 << seat;
            }
        }
        gone
    }
}

/// All threads that are stepped.
#[pin_data]
pub(super) struct Steps {
    #[pin]
    table: SpinLock<StepTable>,
    /// Who waits for somebody to park.
    #[pin]
    news: WaitQueue,
    /// The parked threads, each at its own: who is let go wakes nobody else.
    #[pin]
    seats: [WaitQueue; MAX],
}

impl Steps {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- new_spinlock!(
                StepTable { threads: [const { None }; MAX], workers: None },
                "rext4_step"
            ),
            news <- new_wait_queue!("rext4_step_news"),
            seats <- pin_init_array_from_fn(|_| new_wait_queue!("rext4_step_seat")),
        })
    }

    /// `who`, a thread or `workers`, parks at every point from now on. `EINVAL` if it does already.
    pub(super) fn step(&self, owner: usize, who: &str) -> Result {
        let mut table = self.table.lock();
        if who == "workers" {
            if table.workers.is_some() {
                return Err(EINVAL);
            }
            table.workers = Some(owner);
        } else {
            let tid = parse_tid(who)?;
            if table.find(tid).is_some() {
                return Err(EINVAL);
            }
            table.add(owner, tid, false)?;
        }
        busy(1);
        Ok(())
    }

    /// No longer, and who is parked goes on. `ENOENT` if it is not stepped by this session.
    pub(super) fn unstep(&self, owner: usize, who: &str) -> Result {
        let gone = {
            let mut table = self.table.lock();
            if who == "workers" {
                if table.workers != Some(owner) {
                    return Err(ENOENT);
                }
                table.workers = None;
                let parked = table.forget(|t| t.owner == owner && t.worker);
                (1, parked)
            } else {
                let tid = parse_tid(who)?;
                let gone = table.forget(|t| t.owner == owner && t.tid == tid && !t.worker);
                (gone.count_ones(), gone)
            }
        };
        self.ended(gone)
    }

    /// The session ends.
    pub(super) fn close(&self, owner: usize) {
        let gone = {
            let mut table = self.table.lock();
            let workers = table.workers.take_if(|w| *w == owner);
            let parked = table.forget(|t| t.owner == owner && t.worker);
            let threads = table.forget(|t| t.owner == owner);
            let count = u32::from(workers.is_some()) + threads.count_ones();
            (count, parked | threads)
        };
        let _ = self.ended(gone);
    }

    /// `count` are stepped no more; who sits on `seats` goes on.
    fn ended(&self, (count, seats): (u32, u32)) -> Result {
        busy(-(count as i32));
        let all = self.seats.iter().enumerate();
        for (_, seat) in all.filter(|(n, _)| seats & (1 << n) != 0) {
            seat.wake_all();
        }
        if count == 0 {
            Err(ENOENT)
        } else {
            Ok(())
        }
    }

    /// The parked thread goes on, and the point returns the error that `error` names, if any.
    /// `ENOENT`: it is not parked. `ETIMEDOUT`, once: it went on by itself meanwhile. `EINVAL`:
    /// the point cannot meet that error.
    pub(super) fn go(&self, owner: usize, who: &str, error: Option<&str>) -> Result {
        let tid = parse_tid(who)?;
        let mut table = self.table.lock();
        let thread = table.find(tid).filter(|t| t.owner == owner).ok_or(ENOENT)?;
        if core::mem::take(&mut thread.late) {
            return Err(ETIMEDOUT);
        }
        let StepState::Parked(stop) = &thread.state else {
            return Err(ENOENT);
        };
        let result = match error {
            None => Ok(()),
            Some(name) => {
                let named = ERRORS.iter().find(|(n, _)| *n == name).ok_or(EINVAL)?.1;
                if !stop.errors.contains(&named) {
                    return Err(EINVAL);
                }
                Err(named)
            }
        };
        thread.state = StepState::Go(result);
        let seat = table.seat(tid);
        drop(table);
        if let Some(seat) = seat {
            self.seats[seat].wake_all();
        }
        Ok(())
    }

    /// Waits until a thread is parked of which the session does not know. `ETIMEDOUT`; `EINTR`: the
    /// caller is being killed.
    pub(super) fn settle(&self, owner: usize, ms: u32) -> Result {
        let news = || {
            let mut table = self.table.lock();
            let mut any = false;
            for thread in table.threads.iter_mut().flatten() {
                any |= thread.is_news(owner);
                thread.tell(owner);
            }
            any
        };
        if self.news.wait_killable_for(ms, news)? {
            Ok(())
        } else {
            Err(ETIMEDOUT)
        }
    }

    /// Whether the session steps anything.
    pub(super) fn is_used_by(&self, owner: usize) -> bool {
        let table = self.table.lock();
        table.workers == Some(owner) || table.threads.iter().flatten().any(|t| t.owner == owner)
    }

    /// A line for each parked thread of the session.
    pub(super) fn show(&self, owner: usize, out: &SeqFile) {
        let mut table = self.table.lock();
        for thread in table.threads.iter_mut().flatten() {
            thread.tell(owner);
            if let (true, StepState::Parked(stop)) = (thread.owner == owner, &thread.state) {
                stop.show(thread.tid, out);
            }
        }
    }

    /// Whether the current thread is stepped, and so are those of the kernel.
    pub(super) fn is_submitted_apart(&self) -> bool {
        let mut table = self.table.lock();
        let owner = table.workers;
        let mine = table.find(current!().pid()).map(|t| t.owner);
        owner.is_some() && owner == mine
    }

    /// The current thread has reached a point: if it is stepped it stays until it is told to go on.
    /// Returns the error that the point is to return.
    pub(super) fn park(&self, here: &Reached<'_>) -> Result {
        let Some(seat) = self.note(here) else {
            return Ok(());
        };
        self.news.wake_all();
        told(here, PointAction::Reached);
        let tid = current!().pid();
        // A thread that is no longer stepped goes on, too.
        let goes = || {
            let mut table = self.table.lock();
            !matches!(
                table.find(tid),
                Some(Stepped {
                    state: StepState::Parked(_),
                    ..
                })
            )
        };
        // However the wait has ended: `go` may have been faster than a signal or the limit.
        let _ = self.seats[seat].wait_killable_for(LIMIT_MS, goes);
        let (result, end) = self.leave(tid);
        told(here, end);
        result
    }

    /// Notes where the current thread is: its seat. `None` if it is not stepped.
    fn note(&self, here: &Reached<'_>) -> Option<usize> {
        let tid = current!().pid();
        let mut table = self.table.lock();
        if table.find(tid).is_none() {
            match table.workers {
                Some(owner) if in_kernel_thread() => {
                    table.add(owner, tid, true).ok()?;
                }
                _ => return None,
            }
        }
        let seat = table.seat(tid)?;
        table.find(tid)?.state = StepState::Parked(Stop {
            point: here.point,
            ino: here.inode.ino(),
            bytes: here.bytes.clone(),
            errors: here.errors,
            told: false,
        });
        Some(seat)
    }

    fn leave(&self, tid: i32) -> (Result, PointAction) {
        let mut table = self.table.lock();
        let Some(thread) = table.find(tid) else {
            return (Ok(()), PointAction::Released);
        };
        let left = match core::mem::replace(&mut thread.state, StepState::Running) {
            StepState::Go(result) => (result, PointAction::Released),
            StepState::Running => (Ok(()), PointAction::Released),
            StepState::Parked(_) => {
                thread.late = true;
                (Ok(()), PointAction::TimedOut)
            }
        };
        // A worker that left by itself is not asked for any more: nobody knows what it does next.
        if thread.worker {
            table.forget(|t| t.tid == tid);
        }
        left
    }
}

impl Stepped {
    fn tell(&mut self, owner: usize) {
        if let (true, StepState::Parked(stop)) = (self.owner == owner, &mut self.state) {
            stop.told = true;
        }
    }
}

impl Stop {
    fn show(&self, tid: i32, out: &SeqFile) {
        let (name, start) = (self.point.name(), self.bytes.start);
        seq_print!(out, "parked {tid} {name} {} {start} ", self.ino);
        if self.bytes.end == u64::MAX {
            seq_print!(out, "- ");
        } else {
            seq_print!(out, "{} ", self.bytes.end);
        }
        let mut between = "";
        for (name, _) in ERRORS.iter().filter(|(_, e)| self.errors.contains(e)) {
            seq_print!(out, "{between}{name}");
            between = ",";
        }
        seq_print!(out, "\n");
    }
}

fn parse_tid(word: &str) -> Result<i32> {
    word.parse().map_err(|_| EINVAL)
}
