// SPDX-License-Identifier: GPL-2.0

//! Sets of logical blocks: intervals that do not touch.
//!
//! One holds the blocks that are reserved and not yet allocated. It is exact. A block is in it from
//! the write that reserves it until writeback allocates it or somebody drops its page. Another
//! holds the unwritten blocks that data is on its way to ([`super::promise`]).
//!
//! No change fails for want of memory: blocks also leave the sets when data that was accepted is
//! allocated, converted or given up, and one that stayed would count for ever.

use crate::{disk::Lblk, vfs::gfp::GFP_NOFAIL};
use kernel::{
    error::code::*,
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

    /// First block and length of each interval.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Lblk, u32)> + '_ {
        self.ranges
            .iter()
            .map(|(end, start)| (*start, *end - *start))
    }

    /// Empties the set; returns how many blocks were in it.
    pub(super) fn clear(&mut self) -> u32 {
        self.ranges = RBTree::new();
        self.intervals = 0;
        core::mem::take(&mut self.count)
    }

    /// The interval that holds `lblk`, or the first one behind it: first block, and one past the
    /// last.
    fn at_or_after(&self, lblk: Lblk) -> Option<(Lblk, Lblk)> {
        let cursor = self.ranges.cursor_lower_bound(&lblk.checked_add(1)?)?;
        let (end, start) = cursor.current();
        Some((*start, *end))
    }

    /// Whether `lblk` is in the set, and the first block from there on for which the answer is
    /// another.
    pub(super) fn run_at(&self, lblk: Lblk) -> (bool, Lblk) {
        match self.at_or_after(lblk) {
            Some((start, end)) if start <= lblk => (true, end),
            Some((start, _)) => (false, start),
            None => (false, Lblk::END),
        }
    }

    /// Adds the interval `[start, end)`, which touches no other.
    fn add(&mut self, start: Lblk, end: Lblk) -> Result {
        self.ranges.insert(RBTreeNode::new(end, start, GFP_NOFAIL)?);
        self.intervals += 1;
        Ok(())
    }

    /// Adds `[lblk, lblk + len)`, none of which is in the set. `EFBIG` if there are no such blocks.
    pub(super) fn insert(&mut self, lblk: Lblk, len: u32) -> Result {
        let end = lblk.checked_add(len).ok_or(EFBIG)?;
        let left = self.ranges.get(&lblk).copied();
        let right = self.at_or_after(end).filter(|(start, _)| *start == end);
        match (left, right) {
            (None, None) => self.add(lblk, end)?,
            (Some(start), None) => self.set_end(lblk, end, start),
            (left, Some((_, right_end))) => {
                if left.is_some() {
                    self.ranges.remove(&lblk);
                    self.intervals -= 1;
                }
                self.set_start(right_end, left.unwrap_or(lblk));
            }
        }
        self.count += len;
        Ok(())
    }

    /// Takes `[lblk, lblk + len)` out; returns how many blocks of it were in the set.
    pub(super) fn take_out(&mut self, lblk: Lblk, len: u32) -> u32 {
        let stop = lblk.saturating_add(len);
        let mut removed = 0;
        while let Some((start, end)) = self.at_or_after(lblk).filter(|(start, _)| *start < stop) {
            match (start < lblk, end > stop) {
                (false, false) => {
                    self.ranges.remove(&end);
                    self.intervals -= 1;
                    removed += end - start;
                }
                (true, false) => {
                    self.set_end(end, lblk, start);
                    removed += end - lblk;
                }
                (false, true) => {
                    self.set_start(end, stop);
                    removed += stop - start;
                    break;
                }
                (true, true) => {
                    self.set_start(end, stop);
                    removed += stop - lblk;
                    // Never fails, and there is no other way to say so.
                    let _ = self.add(start, lblk);
                    break;
                }
            }
        }
        self.count -= removed;
        removed
    }

    fn set_start(&mut self, end: Lblk, start: Lblk) {
        if let Some(slot) = self.ranges.get_mut(&end) {
            *slot = start;
        }
    }

    /// Changes a key, in the node that is there.
    fn set_end(&mut self, old: Lblk, new: Lblk, start: Lblk) {
        if let Some(node) = self.ranges.remove_node(&old) {
            self.ranges
                .insert(RBTreeNode::into_reservation(node).into_node(new, start));
        }
    }
}
