// SPDX-License-Identifier: GPL-2.0

//! Delay points: a thread that reaches an armed one waits there until it is released.
//!
//! ```text
//!   scenario                                    thread under test
//!   arm punch-invalidated ino=12
//!                                               fallocate: drops the page cache
//!                                               reaches the point, parks
//!   wait punch-invalidated: it is there
//!   does what is to happen meanwhile
//!   release punch-invalidated
//!                                               removes the blocks
//! ```
//!
//! So the order of the steps does not depend on speed, CPUs or luck. What is armed belongs to an
//! open control file and goes with it.

use super::{
    reached::{busy, told, Reached, LIMIT_MS},
    Point,
};
use crate::{disk::Ino, trace};
use core::ops::Range;
use kernel::{
    error::code::*,
    prelude::*,
    sync::{new_condvar, new_mutex, Arc, CondVar, CondVarTimeoutResult, Mutex, SetOnce},
    time::{msecs_to_jiffies, Jiffies},
};

/// All points, from load to unload. (A static is never freed, and need not be.)
static POINTS: SetOnce<Arc<Points>> = SetOnce::new();

/// Before the first point is reached.
pub(super) fn init_points() -> Result {
    POINTS.populate(Arc::pin_init(Points::new(), GFP_KERNEL)?);
    Ok(())
}

/// `None` before [`init_points`].
pub(super) fn points() -> Option<&'static Points> {
    POINTS.as_ref().map(|points| &**points)
}

/// Who is to park at a point.
#[derive(Clone)]
pub(super) struct Match {
    pub(super) point: Point,
    pub(super) ino: Option<Ino>,
    pub(super) tid: Option<i32>,
    /// Bytes of the file.
    pub(super) range: Range<u64>,
}

impl Match {
    fn fits(&self, here: &Reached<'_>) -> bool {
        self.point == here.point
            && self.ino.is_none_or(|i| i == here.inode.ino())
            && self.tid.is_none_or(|t| t == current!().pid())
            && self.range.start < here.bytes.end
            && here.bytes.start < self.range.end
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ParkState {
    Armed,
    Parked,
    /// To go on; the parked thread removes the entry.
    Released,
    /// Gone on by itself; `release` tells and removes the entry.
    TimedOut,
}

struct ArmedPoint {
    owner: usize,
    who: Match,
    state: ParkState,
    id: u64,
}

/// All armed points.
#[pin_data]
pub(super) struct Points {
    #[pin]
    list: Mutex<(KVec<ArmedPoint>, u64)>,
    #[pin]
    changed: CondVar,
}

impl Points {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            list <- new_mutex!((KVec::new(), 0), "rext4_lab"),
            changed <- new_condvar!("rext4_lab"),
        })
    }

    /// The next thread that fits parks. `owner` names the open control file.
    pub(super) fn arm(&self, owner: usize, who: Match) -> Result {
        let mut list = self.list.lock();
        list.1 += 1;
        let entry = ArmedPoint {
            owner,
            who,
            state: ParkState::Armed,
            id: list.1,
        };
        list.0.push(entry, GFP_KERNEL)?;
        busy(1);
        Ok(())
    }

    /// Waits until a thread is parked. `ETIMEDOUT`, `EINTR`; `ENOENT` if nothing is armed.
    pub(super) fn wait(&self, owner: usize, point: Point, ms: u32) -> Result {
        let mut left = msecs_to_jiffies(ms);
        let mut list = self.list.lock();
        loop {
            let mut mine = list
                .0
                .iter()
                .filter(|e| e.owner == owner && e.who.point == point);
            let Some(first) = mine.next() else {
                return Err(ENOENT);
            };
            if first.state != ParkState::Armed || mine.any(|e| e.state == ParkState::Parked) {
                return Ok(());
            }
            left = match self.changed.wait_interruptible_timeout(&mut list, left) {
                CondVarTimeoutResult::Timeout => return Err(ETIMEDOUT),
                CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
            };
        }
    }

    /// Lets a parked thread go on and disarms the point. `ENOENT` if nothing is armed,
    /// `ETIMEDOUT` if the thread did not wait that long.
    pub(super) fn release(&self, owner: usize, point: Point) -> Result {
        let mut list = self.list.lock();
        let fits = |e: &ArmedPoint| e.owner == owner && e.who.point == point;
        let Some(at) = list
            .0
            .iter()
            .position(|e| fits(e) && e.state != ParkState::Released)
        else {
            return Err(ENOENT);
        };
        let result = self.let_go(&mut list.0, at);
        self.changed.notify_all();
        result
    }

    /// Everything that `owner` armed ends.
    pub(super) fn release_all(&self, owner: usize) {
        let mut list = self.list.lock();
        let of_owner = |e: &ArmedPoint| e.owner == owner && e.state != ParkState::Released;
        while let Some(at) = list.0.iter().position(of_owner) {
            let _ = self.let_go(&mut list.0, at);
        }
        self.changed.notify_all();
    }

    fn let_go(&self, list: &mut KVec<ArmedPoint>, at: usize) -> Result {
        match list[at].state {
            ParkState::Parked => {
                list[at].state = ParkState::Released;
                Ok(())
            }
            state => {
                unlist(list, at);
                match state {
                    ParkState::TimedOut => Err(ETIMEDOUT),
                    _ => Ok(()),
                }
            }
        }
    }

    /// `armed`, `parked` or `idle`.
    pub(super) fn state(&self, point: Point) -> &'static str {
        let list = self.list.lock();
        let mut states = list
            .0
            .iter()
            .filter(|e| e.who.point == point)
            .map(|e| e.state);
        match states.next() {
            Some(ParkState::Parked) => "parked",
            Some(_) if states.any(|s| s == ParkState::Parked) => "parked",
            Some(_) => "armed",
            None => "idle",
        }
    }

    /// The current thread has reached a point: it waits if it is armed for it.
    pub(super) fn park(&self, here: &Reached<'_>) {
        let mut list = self.list.lock();
        let fits = |e: &ArmedPoint| e.state == ParkState::Armed && e.who.fits(here);
        let Some(at) = list.0.iter().position(fits) else {
            return;
        };
        list.0[at].state = ParkState::Parked;
        let id = list.0[at].id;
        self.changed.notify_all();
        told(here, trace::PointAction::Reached);
        let mut end = trace::PointAction::Released;
        let mut left: Jiffies = msecs_to_jiffies(LIMIT_MS);
        while let Some(at) = list.0.iter().position(|e| e.id == id) {
            if list.0[at].state == ParkState::Released {
                unlist(&mut list.0, at);
                break;
            }
            left = match self.changed.wait_interruptible_timeout(&mut list, left) {
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
                // Also a signal: who is killed must be able to leave.
                _ => {
                    if let Some(at) = list.0.iter().position(|e| e.id == id) {
                        list.0[at].state = ParkState::TimedOut;
                    }
                    end = trace::PointAction::TimedOut;
                    break;
                }
            };
        }
        drop(list);
        told(here, end);
    }

    /// Whether the current thread would park.
    pub(super) fn is_armed(&self, here: &Reached<'_>) -> bool {
        let list = self.list.lock();
        let mut armed = list.0.iter().filter(|e| e.state == ParkState::Armed);
        armed.any(|e| e.who.fits(here))
    }
}

fn unlist(list: &mut KVec<ArmedPoint>, at: usize) {
    if list.remove(at).is_ok() {
        busy(-1);
    }
}
