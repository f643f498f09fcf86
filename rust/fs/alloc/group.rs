// SPDX-License-Identifier: GPL-2.0

//! One block group in memory: its descriptor, what is known of its bitmaps, and their lock.
//!
//! The descriptor in memory is the truth while mounted. Each change of a bitmap brings its
//! checksum, the counts and the descriptor's own checksum up to date under the group's lock and
//! in the same handle. No two group locks are ever held together.

use super::{
    pending::{Pending, Then},
    Groups, //
};
use crate::{
    disk::{self, Corrupt, GroupDesc},
    fs::Sb,
    vfs::{
        atomic::Atomic,
        jbd2::{Committed, JournaledBuffer, Tid},
        nofs::{new_nofs_mutex, NoFsMutex, NoFsMutexGuard}, //
    },
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Relaxed, Release}, //
};

/// Bytes of a descriptor this module handles.
pub(super) const MAX_DESC_SIZE: usize = 64;

/// A group; what lies outside of the lock are copies to look at before taking it.
#[pin_data]
pub(super) struct GroupInfo {
    /// First block of the inode table; never changes.
    pub(super) inode_table: u64,
    pub(super) free_blocks: Atomic<u32>,
    pub(super) free_inodes: Atomic<u32>,
    pub(super) used_dirs: Atomic<u32>,
    /// Inodes at the end of the table that were never written.
    pub(super) itable_unused: Atomic<u32>,
    /// No allocatable run is longer; `u32::MAX` if nobody has looked.
    longest: Atomic<u32>,
    /// Something is pending, so that `longest` may be too low after the next commit.
    pending: Atomic<bool>,
    #[pin]
    state: NoFsMutex<Group>,
}

impl GroupInfo {
    pub(super) fn new(desc: GroupDesc) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inode_table: desc.inode_table,
            free_blocks: Atomic::new(desc.free_blocks),
            free_inodes: Atomic::new(desc.free_inodes),
            used_dirs: Atomic::new(desc.used_dirs),
            itable_unused: Atomic::new(desc.itable_unused),
            longest: Atomic::new(u32::MAX),
            pending: Atomic::new(false),
            // One lock class for all groups: lockdep reports it if two of them nest.
            state <- new_nofs_mutex!(Group::new(desc), "rext4_group"),
        })
    }

    /// Whether there is something to forget after a commit.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.load(Acquire)
    }

    /// An upper bound of the runs that can be allocated here.
    pub(super) fn bound(&self) -> u32 {
        let free = self.free_blocks.load(Relaxed);
        if self.has_pending() {
            return free;
        }
        free.min(self.longest.load(Relaxed))
    }
}

/// What the group's lock protects.
pub(super) struct Group {
    pub(super) desc: GroupDesc,
    /// A bitmap found to be corrupt: nothing is allocated from it any more.
    pub(super) blocks_bad: bool,
    pub(super) inodes_bad: bool,
    /// No allocatable block lies before this bit.
    pub(super) first_free: u32,
    pub(super) pending: Pending,
}

impl Group {
    fn new(desc: GroupDesc) -> Self {
        Self {
            desc,
            blocks_bad: false,
            inodes_bad: false,
            first_free: 0,
            pending: Pending::new(),
        }
    }
}

/// Why something in a group did not work.
pub(super) enum GroupError {
    /// A structure of the group is corrupt; to be reported without the group's lock.
    Corrupt(&'static str),
    Other(Error),
}

impl From<Error> for GroupError {
    fn from(e: Error) -> Self {
        GroupError::Other(e)
    }
}

impl From<kernel::alloc::AllocError> for GroupError {
    fn from(e: kernel::alloc::AllocError) -> Self {
        GroupError::Other(e.into())
    }
}

impl From<Corrupt> for GroupError {
    fn from(what: Corrupt) -> Self {
        GroupError::Corrupt(what.as_str())
    }
}

impl GroupError {
    /// Reports corruption; the error to return.
    pub(super) fn report(self, sb: &Sb, group: u32) -> Error {
        self.report_as(|what| sb.corrupted(fmt!("group {group}: {what}")))
    }

    /// The same, where more can be said than the group: `corrupted` reports it.
    pub(super) fn report_as(self, corrupted: impl FnOnce(&'static str) -> Error) -> Error {
        match self {
            GroupError::Corrupt(what) => corrupted(what),
            GroupError::Other(e) => e,
        }
    }
}

/// A group under its lock, with what is needed to change it.
pub(super) struct LockedGroup<'a> {
    pub(super) sb: &'a Sb,
    pub(super) groups: &'a Groups,
    pub(super) info: &'a GroupInfo,
    pub(super) number: u32,
    pub(super) group: NoFsMutexGuard<'a, Group>,
}

impl Drop for LockedGroup<'_> {
    fn drop(&mut self) {
        let inodes = self.info.free_inodes.load(Relaxed);
        self.groups.with_run.set(self.number, self.info.bound());
        self.groups.with_inodes.set(self.number, inodes);
    }
}

impl<'a> LockedGroup<'a> {
    pub(super) fn new(sb: &'a Sb, number: u32) -> Result<Self, GroupError> {
        let groups = &sb.data().groups;
        let info = groups.info(number).ok_or(Corrupt::GroupNumber)?;
        Ok(Self {
            sb,
            groups,
            info,
            number,
            group: info.state.lock(),
        })
    }

    pub(super) fn geo(&self) -> &'a disk::Geometry {
        &self.sb.data().geo
    }

    /// Whether the descriptor has a flag.
    pub(super) fn has_flag(&self, flag: u16) -> bool {
        // Without checksums of descriptors the flags mean nothing.
        let geo = self.geo();
        (geo.has_metadata_csum || geo.has_gdt_csum) && self.group.desc.flags & flag != 0
    }

    /// Makes what has committed usable again.
    pub(super) fn expire(&mut self, is_committed: impl Fn(Tid) -> bool) {
        let (waited, discards) = (self.group.pending.waits(), &self.groups.discards);
        let then = if self.sb.data().discards() && (waited || discards.have_room()) {
            Then::Discard
        } else {
            Then::Forget
        };
        let changed = self.group.pending.expire(is_committed, then);
        // Before it is said that nothing is pending: the commit passes the group by then, and has
        // discarded what it finds.
        if !waited && self.group.pending.waits() {
            discards.note(self.number);
        }
        if changed {
            self.forget_longest();
            self.group.first_free = 0;
            self.note_pending();
        }
    }

    /// To be called when what is pending has changed.
    pub(super) fn note_pending(&self) {
        let some = !self.group.pending.is_empty();
        // Who sees that nothing is pending any more sees that the bound is no longer the old one.
        self.info.pending.store(some, Release);
        if some {
            self.groups.touched.set(self.number);
        }
    }

    /// Remembers that transaction `tid` frees blocks. Before their bits change.
    pub(super) fn note_freed(&mut self, tid: Tid, run: &Range<usize>) {
        self.groups.freed.note(tid);
        let bytes = self.geo().block_size as usize;
        // CAST: Bits of one group.
        let (bit, len) = (run.start as u32, run.len() as u32);
        self.group.pending.add(tid, bit, len, bytes);
        self.note_pending();
    }

    pub(super) fn set_longest(&self, longest: u32) {
        self.info.longest.store(longest, Relaxed);
    }

    pub(super) fn forget_longest(&self) {
        self.set_longest(u32::MAX);
    }

    /// Writes the descriptor into its block and the copies outside of the lock.
    pub(super) fn store(
        &self,
        buf: &mut JournaledBuffer<'_>,
        off: usize,
    ) -> Result<(), GroupError> {
        let geo = self.geo();
        let desc = &self.group.desc;
        let mut raw = [0u8; MAX_DESC_SIZE];
        let raw = raw
            .get_mut(..geo.desc_size.into())
            .ok_or(Corrupt::ShortBuffer)?;
        buf.copy_out(off, raw)?;
        desc.encode(raw, geo, self.number)?;
        buf.copy_in(off, raw)?;
        if !self.group.blocks_bad {
            self.info.free_blocks.store(desc.free_blocks, Relaxed);
        }
        if !self.group.inodes_bad {
            self.info.free_inodes.store(desc.free_inodes, Relaxed);
        }
        self.info.used_dirs.store(desc.used_dirs, Relaxed);
        let unused = desc.itable_unused;
        self.info.itable_unused.store(unused, Relaxed);
        Ok(())
    }

    /// Replaces the descriptor by what is in its block, after the journal has been replayed, or if
    /// somebody else may have written it.
    pub(super) fn reload(&mut self, desc: GroupDesc) -> Result<(), GroupError> {
        let old = &self.group.desc;
        if desc == *old {
            return Ok(());
        }
        if desc.metadata(self.geo()) != old.metadata(self.geo()) {
            return Err(GroupError::Corrupt("its metadata have been moved"));
        }
        self.info.free_blocks.store(desc.free_blocks, Relaxed);
        self.info.free_inodes.store(desc.free_inodes, Relaxed);
        self.info.used_dirs.store(desc.used_dirs, Relaxed);
        let unused = desc.itable_unused;
        self.info.itable_unused.store(unused, Relaxed);
        self.forget_longest();
        if self.group.pending.waits() {
            // For a discard, of what may not be free any more.
            self.groups.discards.over();
        }
        *self.group = Group::new(desc);
        Ok(())
    }
}

/// Forgets what is pending no more.
///
/// Group locks may be taken here: under one nobody waits for a commit, but for the end of the I/O
/// of a block that is being committed, and what has committed has none.
pub(in crate::fs) fn committed(sb: &Sb, done: Committed) {
    let groups: &Groups = &sb.data().groups;
    let pending = |&group: &u32| groups.info(group).is_some_and(|info| info.has_pending());
    for group in groups.touched.take().filter(pending) {
        if let Ok(mut locked) = LockedGroup::new(sb, group) {
            locked.expire(|tid| done.includes(tid));
            locked.note_pending();
        }
    }
    if sb.data().discards() {
        sb.data().discard_later();
    }
}
