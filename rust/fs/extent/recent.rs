// SPDX-License-Identifier: GPL-2.0

//! Extents found lately, for who reads the file, or writes directly over what is written, and has
//! not got the extent lock.
//!
//! Who has it may have to wait under it: for a bitmap or a node that comes from the disk, for the
//! log to be done with a block, for all that a removal frees. Reads of other blocks need not wait
//! with him.
//!
//! An extent here says the truth for as long as it is here. It goes before its blocks change, and
//! only then the change is counted:
//!
//! ```text
//!   who changes, under the lock               who looks, without
//!                                             (a) full barrier
//!   (1) takes out what overlaps               (b) reads the count, acquire
//!   (2) counts, full barrier                  (c) finds an extent
//!   (3) changes the blocks
//! ```
//!
//! That is worth what a lookup under the lock is, which is over as well when the lock is dropped:
//!
//! - The count belongs to the extent (rule 3). If (b) has seen (2), then (c) sees (1), and finds
//!   nothing. If it has not, the count is an old one as soon as there is a change to learn of.
//! - Who finds the extent comes before the change, and who changes sees what he has done until
//!   then. Of (1) and what comes before (a) one is seen by the other side, since each has a full
//!   barrier behind it. So a reader that has added a folio and finds the block unwritten is found
//!   by the direct write that converts it and then looks for folios to drop; without (a) both could
//!   miss each other, and zeros would stay in the cache.
//! - Who has been told of a change, by a lock or otherwise, has been told of (1).
//!
//! Holes are not kept: who fills one looks twice anyway (rule 4).

use crate::disk::{extent::Extent, Lblk, LblkRange, Pblk};
use crate::vfs::atomic::{full_barrier, ordered, Atomic};
use kernel::sync::atomic::ordering::{Acquire, Relaxed, Release};

/// An extent in words that are read one by one.
struct RecentSlot {
    /// Odd: empty, or about to be something else. Changes with each change of the rest.
    version: Atomic<u32>,
    /// The first logical block, and below it the number of blocks.
    range: Atomic<u64>,
    /// The first block, and below it whether they are unwritten.
    place: Atomic<u64>,
}

impl RecentSlot {
    const fn new() -> Self {
        Self {
            version: Atomic::new(1),
            range: Atomic::new(0),
            place: Atomic::new(0),
        }
    }

    /// The extent, if it has some of the blocks.
    fn get(&self, blocks: LblkRange) -> Option<Extent> {
        let version = self.version.load(Acquire);
        let range = self.range.load(Relaxed);
        let (first, len) = (Lblk::new((range >> 32) as u32), range as u32);
        if version % 2 != 0 || !first.blocks(len).overlaps(blocks) {
            return None;
        }
        let place = self.place.load(Relaxed);
        // The words before the version once more.
        ordered();
        (self.version.load(Relaxed) == version).then_some(Extent {
            lblk: first,
            len,
            pblk: Pblk::new(place >> 1),
            unwritten: place & 1 != 0,
        })
    }

    fn empty(&self) {
        let version = self.version.load(Relaxed);
        self.version.store(version | 1, Relaxed);
    }

    fn put(&self, extent: &Extent) {
        self.empty();
        ordered();
        let range = u64::from(extent.lblk.get()) << 32 | u64::from(extent.len);
        self.range.store(range, Relaxed);
        let place = extent.pblk.get() << 1 | u64::from(extent.unwritten);
        self.place.store(place, Relaxed);
        let version = self.version.load(Relaxed);
        self.version.store(version.wrapping_add(1), Release);
    }

    fn overlaps(&self, blocks: LblkRange) -> bool {
        self.get(blocks).is_some()
    }
}

/// See the module. Changed by [`super::Extents`] only, which is the extent lock.
pub(crate) struct Recent {
    slots: [RecentSlot; 4],
    /// The slot to be used next.
    next: Atomic<u32>,
}

impl Recent {
    pub(crate) const fn new() -> Self {
        Self {
            slots: [const { RecentSlot::new() }; 4],
            next: Atomic::new(0),
        }
    }

    /// The extent that covers `lblk`, and the count that belongs to it. Any context.
    #[inline]
    pub(super) fn covering(&self, lblk: Lblk, count: &Atomic<u32>) -> Option<(Extent, u32)> {
        full_barrier();
        let count = count.load(Acquire);
        let found = self.slots.iter().find_map(|slot| slot.get(lblk.blocks(1)));
        found.map(|extent| (extent, count))
    }

    /// An extent was found. Under the extent lock.
    pub(super) fn put(&self, extent: &Extent) {
        // Grown since, or one of the two parts that it was: not twice.
        self.take_out(extent.blocks());
        let next = self.next.load(Relaxed);
        self.next.store(next.wrapping_add(1), Relaxed);
        if let Some(slot) = self.slots.get(next as usize % self.slots.len()) {
            slot.put(extent);
        }
    }

    /// The blocks are about to change: to be called before that is counted. Under the extent lock.
    pub(super) fn take_out(&self, blocks: LblkRange) {
        for slot in self.slots.iter().filter(|slot| slot.overlaps(blocks)) {
            slot.empty();
        }
    }
}
