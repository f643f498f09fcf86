// SPDX-License-Identifier: GPL-2.0

//! Sets of logical blocks: intervals that do not touch.
//!
//! One holds the blocks that are reserved and not yet allocated. It is exact. A block is in it from
//! the write that reserves it until writeback allocates it or somebody drops its page. Another
//! holds the unwritten blocks that data is on its way to ([`super::promise`]).
//!
//! No change fails for want of memory: blocks also leave the sets when data that was accepted is
//! allocated, converted or given up, and one that stayed would count for ever.

use crate::{
    disk::{Lblk, LblkRange},
    vfs::gfp::GFP_NOFAIL,
};
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNode}, //
};

/// The set. The key of an interval is the block behind its last, so that one search for a block
/// finds the interval that holds it or the next one; the value is its first block.
pub(super) struct Reservations {
    ranges: RBTree<Lblk, Lblk>,
    count: u32,
    intervals: u32,
}

impl Reservations {
    pub(super) fn new() -> Self {
        Self {
            ranges: RBTree::new(),
            count: 0,
            intervals: 0,
        }
    }

    /// Number of blocks in the set.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Number of intervals that these are.
    pub(super) fn intervals(&self) -> u32 {
        self.intervals
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// From the first block of the set to the last.
    pub(super) fn hull(&self) -> Option<LblkRange> {
        let first = self.ranges.cursor_front()?;
        let last = self.ranges.cursor_back()?;
        Some(first.current().1.until(*last.current().0))
    }

    /// The intervals, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = LblkRange> + '_ {
        self.ranges.iter().map(|(end, start)| start.until(*end))
    }

    /// Empties the set; returns how many blocks were in it.
    pub(super) fn clear(&mut self) -> u32 {
        self.ranges = RBTree::new();
        self.intervals = 0;
        core::mem::take(&mut self.count)
    }

    /// The interval that holds `lblk`, or the first one behind it.
    fn at_or_after(&self, lblk: Lblk) -> Option<LblkRange> {
        let cursor = self.ranges.cursor_lower_bound(&lblk.checked_add(1)?)?;
        let (end, start) = cursor.current();
        Some(start.until(*end))
    }

    /// Whether `lblk` is in the set, and the first block from there on for which the answer is
    /// another.
    pub(super) fn run_at(&self, lblk: Lblk) -> (bool, Lblk) {
        match self.at_or_after(lblk) {
            Some(held) if held.start <= lblk => (true, held.end),
            Some(next) => (false, next.start),
            None => (false, Lblk::END),
        }
    }

    /// Adds an interval, which touches no other.
    fn add(&mut self, new: LblkRange) -> Result {
        let node = RBTreeNode::new(new.end, new.start, GFP_NOFAIL)?;
        self.ranges.insert(node);
        self.intervals += 1;
        Ok(())
    }

    /// Adds blocks, none of which is in the set.
    pub(super) fn insert(&mut self, new: LblkRange) -> Result {
        let LblkRange { start, end } = new;
        let left = self.ranges.get(&start).copied();
        let right = self.at_or_after(end).filter(|right| right.start == end);
        match (left, right) {
            (None, None) => self.add(new)?,
            (Some(left), None) => self.set_end(start, left.until(end)),
            (left, Some(right)) => {
                if left.is_some() {
                    self.ranges.remove(&start);
                    self.intervals -= 1;
                }
                self.set_start(left.unwrap_or(start).until(right.end));
            }
        }
        self.count += new.len();
        Ok(())
    }

    /// Takes blocks out; returns how many of them were in the set.
    pub(super) fn take_out(&mut self, gone: LblkRange) -> u32 {
        let mut removed = 0;
        while let Some(LblkRange { start, end }) = self
            .at_or_after(gone.start)
            .filter(|held| held.start < gone.end)
        {
            match (start < gone.start, end > gone.end) {
                (false, false) => {
                    self.ranges.remove(&end);
                    self.intervals -= 1;
                    removed += end - start;
                }
                (true, false) => {
                    self.set_end(end, start.until(gone.start));
                    removed += end - gone.start;
                }
                (false, true) => {
                    self.set_start(gone.end.until(end));
                    removed += gone.end - start;
                    break;
                }
                (true, true) => {
                    self.set_start(gone.end.until(end));
                    removed += gone.len();
                    // Never fails, and there is no other way to say so.
                    let _ = self.add(start.until(gone.start));
                    break;
                }
            }
        }
        self.count -= removed;
        removed
    }

    /// The interval that ends with these blocks is these.
    fn set_start(&mut self, new: LblkRange) {
        if let Some(start) = self.ranges.get_mut(&new.end) {
            *start = new.start;
        }
    }

    /// The interval that ends before `old` is these blocks. Changes a key, in the node that is
    /// there.
    fn set_end(&mut self, old: Lblk, new: LblkRange) {
        if let Some(node) = self.ranges.remove_node(&old) {
            self.ranges
                .insert(RBTreeNode::into_reservation(node).into_node(new.end, new.start));
        }
    }
}
