// SPDX-License-Identifier: GPL-2.0

//! Rule 4, what to do about `ENOSPC`: wait for blocks, or believe it.
//!
//! Freed blocks count as free at once, so they can be promised, but they cannot be used before the
//! transaction that freed them commits ([`super::pending`]). So a search may fail though the
//! promise was good, and a commit ends it. When the search has failed nobody can tell any more
//! whether it met such blocks, for the commit may have come meanwhile, and who gives up then drops
//! data whose blocks are there (race 13b).
//!
//! The same goes for a run that is being discarded ([`super::trim`]): the search passes it by, and
//! the end of the discard ends that. And for blocks that were held for data of somebody else, and
//! have been given back behind the search ([`super::held`]).
//!
//! With the option `discard` ([`super::discard`]) that run may be the one which the last try gave
//! back, so that each try meets one:
//!
//! ```text
//!   fallocate                                      the task that discards
//!   takes all that is free, but for the held run   holds a run
//!   a tree node: nothing is left; gives all back   is done with it
//!   waits for the commit
//!                                                  holds what was given back
//!   finds nothing
//! ```
//!
//! So who has found no block says that it wants none to be held, and what waits is given up.
//!
//! A [`Retry`] is made before the search, and knows what was pending then. Data that was
//! accepted is tried again as often as that helps; what can still be refused, three times. So is
//! accepted data that has lost its promise, for then nothing says that a try comes true in the end:
//!
//! ```text
//!   a conversion that needs two nodes, nothing promised, one block free
//!   takes it for the first node
//!   the second: none; gives the first back, which is pending now
//!   waits for the commit; one block is free
//! ```

use super::{balloc, BlockKind, Groups, Sb};
use crate::{
    fs::{
        rule::{self, Rule},
        Inode, //
    },
    vfs::{
        atomic::Atomic,
        jbd2::{Journal, Tid},
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// Tries for what can be refused.
pub(crate) const TRIES: u32 = 3;

/// The last transaction that freed blocks: 0, or its number and a bit to tell the two apart.
pub(super) struct Freed(Atomic<u64>);

impl Freed {
    pub(super) const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Says that `tid` frees blocks. Before their bits are cleared, and under the group's lock, so
    /// that who finds them pending finds this, too.
    pub(super) fn note(&self, tid: Tid) {
        self.0.store(1 << 32 | u64::from(tid.to_raw()), Relaxed);
    }

    fn load(&self) -> Option<Tid> {
        let freed = self.0.load(Relaxed);
        // CAST: The low half is the number.
        (freed != 0).then(|| Tid::from_raw(freed as u32))
    }

    /// What [`Freed::load`] says, if that has committed: nothing is pending.
    fn settled(&self, journal: Option<&Journal>) -> Option<Tid> {
        let committed = |tid: &Tid| journal.is_none_or(|journal| journal.is_committed(*tid));
        self.load().filter(committed)
    }
}

/// What an operation does about `ENOSPC`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Waits for the commit of what was freed. The caller may hold the folio lock.
    Commit,
    /// Writes all data that is dirty first: what was promised for the worst case, in this file or
    /// another, is given back when the data is on disk. Takes folio locks, too.
    Room,
    /// As [`Effort::Commit`], for data that was accepted, so that giving up would lose it: as often
    /// as that helps.
    Accepted,
}

impl Effort {
    /// For data of an inode that was accepted. What was promised may lie where the pointers of its
    /// block map do not reach, on a disk larger than that. Then waiting does not make it true, and
    /// what one try gives back is what the next one waits for.
    pub(crate) fn accepted(inode: &Inode) -> Self {
        if balloc::reaches_all(inode) {
            Self::Accepted
        } else {
            Self::Commit
        }
    }
}

/// Runs an operation that allocates or reserves blocks, again after `ENOSPC` if that is worth it.
/// Each run leaves no handle open and no lock taken that a handle holder may take.
pub(crate) fn retry<T>(sb: &Sb, effort: Effort, operation: impl FnMut() -> Result<T>) -> Result<T> {
    retry_promised(sb, effort, || None, operation)
}

/// As [`retry()`]. `most` is asked after a try that failed, with no lock taken. If what the
/// operation lacks is not promised to it, it says how many tries there may be from now on, whatever
/// the effort.
pub(crate) fn retry_promised<T>(
    sb: &Sb,
    effort: Effort,
    most: impl Fn() -> Option<u32>,
    mut operation: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut retry = Retry::new(sb, effort);
    loop {
        match operation() {
            Err(e) if e == ENOSPC => {
                if let Some(most) = most() {
                    retry.count(most);
                }
                if !retry.again(sb, effort) {
                    return Err(e);
                }
            }
            other => return other,
        }
    }
}

/// An operation that allocates or reserves blocks, and may have to be tried again after `ENOSPC`.
/// Made before the first try.
struct Retry<'a> {
    groups: &'a Groups,
    /// Whether it has said that no block is to be held.
    hungry: bool,
    /// The last transaction that had freed blocks when this try began, if it had committed.
    settled: Option<Tid>,
    /// Where discards were by then.
    trims: u32,
    /// Tries left; none is counted for data that was accepted.
    left: Option<u32>,
    synced: bool,
}

impl Drop for Retry<'_> {
    fn drop(&mut self) {
        if self.hungry {
            self.groups.discards.go_on();
        }
    }
}

impl<'a> Retry<'a> {
    fn new(sb: &'a Sb, effort: Effort) -> Self {
        Self {
            groups: &sb.data().groups,
            hungry: false,
            settled: Self::look(sb),
            trims: sb.data().groups.trims.count(),
            left: (effort != Effort::Accepted).then_some(TRIES),
            synced: false,
        }
    }

    fn look(sb: &Sb) -> Option<Tid> {
        let fs = sb.data();
        fs.groups.freed.settled(fs.journal())
    }

    /// Tries are counted from now on.
    fn count(&mut self, most: u32) {
        self.left = Some(self.left.map_or(most, |left| left.min(most)));
    }

    /// Whether an operation that failed with `ENOSPC` is worth another try. Waits for what it
    /// takes.
    fn again(&mut self, sb: &Sb, effort: Effort) -> bool {
        if !self.hungry {
            self.hungry = true;
            self.groups.discards.hold_none();
        }
        if effort == Effort::Room && !self.synced {
            self.synced = true;
            settle_promises(sb);
        }
        self.after_commit(sb)
    }

    fn after_commit(&mut self, sb: &Sb) -> bool {
        let groups = &sb.data().groups;
        // A try that found a block and no node gives it back, and the next one waits for that: it
        // would never end.
        if groups.is_over_promised() {
            self.count(TRIES);
        }
        if self.left == Some(0) {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        // A promise may have been given back meanwhile. Not if this has one: nobody else's helps.
        let met = groups.trims.wait(&mut self.trims);
        self.commit(sb)
            || met
            || self.left.is_some() && groups.spare(groups.kept_back(BlockKind::Data)) > 0
    }

    /// Waits for what was pending. False if nothing was: the search has seen all there is.
    fn commit(&mut self, sb: &Sb) -> bool {
        let fs = sb.data();
        let Some(freed) = fs.groups.freed.load() else {
            return false;
        };
        let settled = if rule::kept(Rule::PendingBefore) {
            self.settled
        } else {
            Self::look(sb)
        };
        if settled == Some(freed) {
            return false;
        }
        let committed = fs.journal().map(|journal| journal.commit_tid(freed));
        self.settled = Self::look(sb);
        committed.is_some_and(|result| result.is_ok())
    }
}

/// Has promises turned into blocks, or given back. Those who come while somebody does it wait for
/// one round together: else each write that a full disk refuses would be a `sync` of its own.
fn settle_promises(sb: &Sb) {
    let groups = &sb.data().groups;
    if groups.dirty_blocks.sum_positive() == 0 {
        return;
    }
    let seen = groups.rounds.load(Relaxed);
    let _one = groups.settling.lock();
    // A round that began after we came has done what ours would.
    if groups.rounds.load(Relaxed) == seen {
        groups.rounds.store(seen.wrapping_add(1), Relaxed);
        sb.sync_inodes();
    }
}
