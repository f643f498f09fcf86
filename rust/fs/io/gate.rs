// SPDX-License-Identifier: GPL-2.0

//! Rule 9, the gate: while a direct write is in flight nobody fills the page cache of its range.
//!
//! iomap invalidates the page cache before a direct write and again after it. What comes back clean
//! in between is dropped by the second pass. What comes back and is *dirtied* cannot be dropped,
//! and its writeback overwrites the direct write (race 11).
//!
//! A lock that both sides hold cannot close this, for it would be taken under mmap_lock by the one
//! and above it by the other. So the gate has one side only. The writer *closes* a range and never
//! waits for anybody while it is closed, except for I/O and for locks whose holders do not wait at
//! a gate. Who adds a page to the cache does not hold the gate, it *looks* at it:
//!
//! ```text
//!   direct write                               who adds a page
//!   pins its user pages
//!   closes the range                           inserts the folio, locked
//!   full barrier                               full barrier
//!   invalidates: looks for folios              looks at the gate
//! ```
//!
//! Of the two barriers one comes second, so either the writer finds the folio, waits for its lock
//! and removes it, or the other finds the gate closed. Then it fills nothing: readahead returns
//! without taking a folio, `read_folio` and `get_folio` unlock the folio, wait, and make their
//! caller look it up again (the last invalidation removes it). Everybody who fills the page cache
//! comes through these three.
//!
//! Who *replaces* a folio comes through none of them. The writer may have found the old one and
//! wait for its lock: then migration and splitting fail, for they freeze its references. khugepaged
//! does not, see `max_folio_order` in `direct.rs`.
//!
//! Why the user pages are pinned first: a fault on the source of the write may have to add a page,
//! here or in a file that is itself being written from a mapping of ours, and would wait at a gate
//! that its own thread holds closed, or each of two threads at the other's.
//!
//! # A write fault on a page that is still there
//!
//! It adds nothing and does not look at the gate. It does not have to:
//!
//! ```text
//!   direct write                               page_mkwrite of page 7
//!   closes the range
//!                                              (a) locks page 7, dirties it, maps it writable
//!   writes back the range
//!                                              (b) the same
//!   locks page 7, unmaps it, removes it
//!                                              (c) locks page 7: it has no mapping any more
//! ```
//!
//! (a) The store is written back, then comes the direct write. (b) The page is dirty, so the
//! invalidation fails with nothing submitted: `ENOTBLK`, the gate is opened, and the write goes
//! through the page cache. (c) `page_mkwrite` looks at `folio->mapping` under the folio lock and
//! has the access faulted again, which must add a page, which is where the gate is. A store
//! through an entry of the page table that was writable before is (a) or (b): the page is unmapped
//! under its lock, and its dirty bit is looked at afterwards. After the removal no page of the
//! range can be dirtied before one is added.
//!
//! # Nobody waits for ever
//!
//! A reader that waited looks again, and may find the next direct write in flight already. So who
//! waits leaves a claim on its range, which outlives the wait by [`TURN`]; a direct write that
//! comes to a claimed range waits, before it takes any lock, until the claim is used, gone or
//! expired, and at most [`PATIENCE`]. Writes that came before end, new ones hold back, and the
//! reader has its turn. Both waits end when the task is killed.

use crate::{
    fs::{
        lab::{self, Point},
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    trace,
    vfs::{
        atomic::Atomic,
        dio,
        wait::{new_wait_queue, WaitQueue}, //
    },
};
use core::{mem, ops::Range};
use kernel::{
    error::code::*,
    prelude::*,
    sync::{
        atomic::ordering::{Acquire, Relaxed, Release},
        barrier::{smp_mb, Full},
        new_spinlock_irq,
        rcu,
        SpinLockIrq, //
    },
    time::{Delta, Instant, Monotonic, Msecs},
};

/// The option `dio_gate` of a mount.
///
/// Without it nobody pays for the gate: who adds a page does not even look, and has no barrier. So
/// when a remount turns it on, somebody may have added a page just before and be about to fill it,
/// and the first direct write must find that page:
///
/// ```text
///   remount              who adds a page               direct write
///                        inserts the folio, locked
///                        rcu_read_lock
///                        is_looked_at: no
///                        rcu_read_unlock
///   looked_at
///   synchronize_rcu      fills it
///   closing
///                                                      closing: closes, full barrier
///                                                      looks for folios
/// ```
///
/// Who has not seen `looked_at` is in a section that began before the grace period ended, so all
/// that it did before the section's end, the insertion too, is seen by all after the grace period.
/// Who has seen it looks at the gate as ever.
///
/// Turned off again, only `closing` goes: direct writes in flight have their gates still closed.
pub(crate) struct Switch {
    closing: Atomic<bool>,
    looked_at: Atomic<bool>,
}

impl Switch {
    /// As the options of the first mount say.
    pub(crate) fn new(on: bool) -> Self {
        Self {
            closing: Atomic::new(on),
            looked_at: Atomic::new(on),
        }
    }

    /// Turns it on or off, with s_umount held. May sleep.
    pub(crate) fn set(&self, on: bool) {
        if on && !self.looked_at.load(Relaxed) {
            self.looked_at.store(true, Relaxed);
            rcu::synchronize_rcu();
        }
        // Release: who closes does so after the grace period.
        self.closing.store(on, Release);
    }

    fn is_looked_at(&self) -> bool {
        let _rcu = rcu::read_lock();
        self.looked_at.load(Relaxed)
    }
}

/// How long a claim is good for once its owner could go on.
const TURN: Msecs = 20;

/// How long a direct write holds back for claims, at most: longer than a write in flight takes.
const PATIENCE: Msecs = 1000;

/// What a range is noted for.
#[derive(Clone, Copy)]
enum MarkKind {
    /// A direct write is in flight.
    Closed,
    /// Somebody waits to fill it, or may do so until then.
    Claimed(Option<Instant<Monotonic>>),
}

/// A noted range of bytes.
struct Mark {
    id: u64,
    range: Range<u64>,
    kind: MarkKind,
}

impl Mark {
    fn meets(&self, range: &Range<u64>) -> bool {
        self.range.start < range.end && range.start < self.range.end
    }

    fn is_claim(&self) -> bool {
        matches!(self.kind, MarkKind::Claimed(_))
    }

    fn is_old(&self, now: Instant<Monotonic>) -> bool {
        matches!(self.kind, MarkKind::Claimed(Some(end)) if (end - now).is_negative())
    }
}

/// All that is noted; few, so a list does.
struct Marks {
    list: KVec<Mark>,
    next_id: u64,
    /// How many wait for the gate to open: mostly nobody, and then nobody is woken.
    sleepers: u32,
}

impl Marks {
    fn is_closed(&self, range: &Range<u64>) -> bool {
        self.list.iter().any(|m| !m.is_claim() && m.meets(range))
    }

    /// Whether somebody waits for the range or has not had its turn yet. Forgets old claims.
    fn is_claimed(&mut self, range: &Range<u64>) -> bool {
        let now = Instant::now();
        self.list.retain(|m| !m.is_old(now));
        self.list.iter().any(|m| m.is_claim() && m.meets(range))
    }
}

/// The gate of an inode.
#[pin_data]
pub(crate) struct Gate {
    /// Number of marks, for the way past when there are none. Changed under the lock.
    count: Atomic<u32>,
    /// Taken by completions of I/O too, in whatever context they run.
    #[pin]
    marks: SpinLockIrq<Marks>,
    /// Both sides wait here.
    #[pin]
    changed: WaitQueue,
}

impl Gate {
    /// An open gate.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            count: Atomic::new(0),
            marks <- new_spinlock_irq!(
                Marks { list: KVec::new(), next_id: 0, sleepers: 0 },
                "rext4_gate"
            ),
            changed <- new_wait_queue!("rext4_gate_changed"),
        })
    }

    /// Runs `f` on the marks, and publishes how many there are.
    fn with<R>(&self, f: impl FnOnce(&mut Marks) -> R) -> R {
        let mut marks = self.marks.lock();
        let result = f(&mut marks);
        // Release: who sees that nothing is closed sees what the direct writes have done.
        self.count.store(marks.list.len() as u32, Release);
        result
    }

    fn add(&self, range: &Range<u64>, kind: MarkKind) -> Result<u64> {
        let mut room = KVec::new();
        loop {
            let (added, len) = self.with(|marks| {
                // More room than the list has was allocated before: move over.
                if room.capacity() > marks.list.capacity() {
                    while let Some(mark) = marks.list.pop() {
                        // It fits, see the condition.
                        let _ = room.push_within_capacity(mark);
                    }
                    mem::swap(&mut room, &mut marks.list);
                }
                let id = marks.next_id;
                let range = range.clone();
                let mark = Mark { id, range, kind };
                let added = marks.list.push_within_capacity(mark).is_ok();
                marks.next_id += u64::from(added);
                (added.then_some(id), marks.list.len())
            });
            if let Some(id) = added {
                return Ok(id);
            }
            room = KVec::with_capacity(2 * len + 4, GFP_KERNEL)?;
        }
    }

    /// Rule 9: whether a folio of this range, inserted and locked, may be filled.
    fn look(&self, range: &Range<u64>) -> bool {
        // Orders the insertion before the look; pairs with the barrier in `close`.
        smp_mb(Full);
        if self.count.load(Acquire) == 0 {
            return true;
        }
        let (open, used) = self.with(|marks| {
            if marks.is_closed(range) {
                return (false, false);
            }
            // This is the turn that a claim was made for.
            let (now, before) = (Instant::now(), marks.list.len());
            marks
                .list
                .retain(|m| !m.is_claim() || !(m.meets(range) || m.is_old(now)));
            (true, marks.list.len() != before)
        });
        if used {
            self.changed.wake_all();
        }
        open
    }

    /// Waits until the range is open. The caller holds no folio lock.
    fn wait(&self, range: &Range<u64>) -> Result {
        // Short of memory it waits all the same, only without a claim.
        let claim = self.add(range, MarkKind::Claimed(None)).ok();
        self.with(|marks| marks.sleepers += 1);
        let result = self
            .changed
            .wait_killable(|| !self.with(|marks| marks.is_closed(range)));
        let end = Instant::now() + Delta::from_millis(TURN.into());
        self.with(|marks| {
            marks.sleepers -= 1;
            if result.is_err() {
                marks.list.retain(|m| Some(m.id) != claim);
            } else if let Some(mark) = marks.list.iter_mut().find(|m| Some(m.id) == claim) {
                // If it is not there any more, somebody has filled the range meanwhile.
                mark.kind = MarkKind::Claimed(Some(end));
            }
        });
        if result.is_err() {
            self.changed.wake_all();
        }
        result
    }

    /// Lets those go first who have waited for the range of this inode.
    fn yield_to(&self, inode: &Inode, range: &Range<u64>, nowait: bool) -> Result {
        if self.count.load(Relaxed) == 0 || !self.with(|marks| marks.is_claimed(range)) {
            return Ok(());
        }
        if !rule::kept(Rule::Turn) {
            return Ok(());
        }
        if nowait {
            return Err(EAGAIN);
        }
        lab::point(Point::GateYield, inode, range.clone());
        // In slices: nobody wakes us when a claim expires.
        for _ in 0..PATIENCE / TURN {
            let free = || !self.with(|marks| marks.is_claimed(range));
            if self.changed.wait_killable_for(TURN, free)? {
                break;
            }
        }
        Ok(())
    }
}

/// A range that is closed. Opens when it is dropped, in any context: it belongs to the request.
#[must_use]
pub(crate) struct Closed<'a> {
    inode: &'a Inode,
    range: Range<u64>,
    id: u64,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        // Told before it happens, so that who waited goes on after it in a trace.
        tell(self.inode, &self.range, trace::GateAction::Opened);
        let gate = &self.inode.info().gate;
        let awaited = gate.with(|marks| {
            marks.list.retain(|m| m.id != self.id);
            marks.sleepers != 0
        });
        if awaited {
            gate.changed.wake_all();
        }
    }
}

impl dio::Guard for Gate {
    type Fs = Rext4;
    type Held<'a> = Option<Closed<'a>>;

    fn close(inode: &Inode, range: Range<u64>) -> Result<Option<Closed<'_>>> {
        if !rule::kept(Rule::Gate) {
            return Ok(None);
        }
        let gate = &inode.info().gate;
        // Where the write covers a part of a block, iomap may write the rest of it.
        let mask = u64::from(inode.fs().geo.block_size) - 1;
        let range = range.start & !mask..(range.end + mask) & !mask;
        lab::point(Point::GateClose, inode, range.clone());
        let id = gate.add(&range, MarkKind::Closed)?;
        // Rule 9: orders the mark before the search for folios; pairs with the barrier in `look`.
        smp_mb(Full);
        tell(inode, &range, trace::GateAction::Closed);
        lab::point(Point::GateClosed, inode, range.clone());
        Ok(Some(Closed { inode, range, id }))
    }
}

/// Whether direct writes of this mount close the gate.
pub(crate) fn is_used(inode: &Inode) -> bool {
    inode.fs().dio_gate.closing.load(Acquire)
}

/// Whether a gate of this mount may be closed: who has added a page, and holds its lock, has to
/// ask [`may_fill`]. For the way past that costs nothing, see [`Switch`].
pub(crate) fn is_looked_at(inode: &Inode) -> bool {
    inode.fs().dio_gate.is_looked_at()
}

/// Lets those go first who have waited for the range. The caller holds no lock. `nowait`: `EAGAIN`
/// instead.
pub(crate) fn yield_to(inode: &Inode, range: Range<u64>, nowait: bool) -> Result {
    inode.info().gate.yield_to(inode, &range, nowait)
}

/// Whether the folio of this range may be filled: it is in the page cache, and locked.
pub(crate) fn may_fill(inode: &Inode, range: Range<u64>) -> bool {
    inode.info().gate.look(&range)
}

/// Waits until the range may be filled. No folio is locked.
pub(crate) fn wait(inode: &Inode, range: Range<u64>) -> Result {
    lab::point(Point::GateWait, inode, range.clone());
    tell(inode, &range, trace::GateAction::Wait);
    let result = inode.info().gate.wait(&range);
    tell(inode, &range, trace::GateAction::Passed);
    lab::point(Point::GatePassed, inode, range);
    result
}

fn tell(inode: &Inode, range: &Range<u64>, what: trace::GateAction) {
    trace::gate(inode, range.start, range.end - range.start, what);
}
