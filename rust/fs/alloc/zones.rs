// SPDX-License-Identifier: GPL-2.0

//! System zones: the blocks that hold fixed metadata and never belong to a file.
//!
//! These are superblock and descriptor copies (with the blocks kept for growing the table),
//! bitmaps and inode tables. The journal has a table of its own: its blocks belong to one inode. An
//! extent that points to either is corrupt, and so is a request to free them.

use crate::{
    disk::{sort::sort, Corrupt, Geometry, GroupDesc, Pblk},
    fs::grows::{Growing, Grows}, //
};
use core::ops::Range;
use kernel::prelude::*;

/// Collects zones. flex_bg puts the structures of one kind of many groups side by side, so each
/// kind makes its last run longer while it can, and few are left to be sorted.
#[derive(Default)]
struct Runs {
    /// The last run of each kind; empty at first.
    last: [(u64, u64); 4],
    done: KVVec<(u64, u64)>,
}

impl Runs {
    fn add(&mut self, kind: usize, first: u64, len: u32) -> Result {
        let end = first.saturating_add(len.into());
        let last = self.last.get_mut(kind).ok_or(EINVAL)?;
        if last.0 < last.1 && last.1 == first {
            last.1 = end;
            return Ok(());
        }
        let old = core::mem::replace(last, (first, end));
        self.push(old)
    }

    fn push(&mut self, run: (u64, u64)) -> Result {
        if run.0 < run.1 {
            self.done.push(run, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// All runs in ascending order.
    fn in_order(mut self) -> Result<KVVec<(u64, u64)>> {
        for run in self.last {
            self.push(run)?;
        }
        sort(&mut self.done);
        Ok(self.done)
    }
}

/// Disjoint ranges (first block, end) in ascending order.
pub(super) struct Zones(Grows<(u64, u64)>);

impl Zones {
    /// The zones of all groups. `descs` are the checked descriptors in order. Two structures in one
    /// block are corruption, reported as the inner error.
    pub(super) fn new(geo: &Geometry, descs: &[GroupDesc]) -> Result<Result<Self, Corrupt>> {
        match Self::collect(geo, 0..geo.groups_count, descs)? {
            Ok(runs) => Ok(Ok(Self(Grows::with(runs)?))),
            Err(what) => Ok(Err(what)),
        }
    }

    /// The zones of some groups, as [`Zones::new`].
    pub(super) fn collect(
        geo: &Geometry,
        groups: Range<u32>,
        descs: &[GroupDesc],
    ) -> Result<Result<KVVec<(u64, u64)>, Corrupt>> {
        let mut all = Runs::default();
        for (group, desc) in groups.zip(descs) {
            let base = geo.group_base_blocks(group).min(geo.group_blocks(group));
            if base > 0 {
                all.add(0, geo.group_first_block(group).get(), base)?;
            }
            for (kind, (first, len)) in desc.metadata(geo).into_iter().enumerate() {
                all.add(kind + 1, first, len)?;
            }
        }
        let all = all.in_order()?;

        let mut merged: KVVec<(u64, u64)> = KVVec::new();
        for &(first, end) in all.iter() {
            match merged.last_mut() {
                Some(last) if first < last.1 => return Ok(Err(Corrupt::GroupInodeTable)),
                Some(last) if first == last.1 => last.1 = end,
                _ => merged.push((first, end), GFP_KERNEL)?,
            }
        }
        Ok(Ok(merged))
    }

    /// The blocks of one file, as (first block, end) in any order. They may touch. `None` if one is
    /// there twice.
    pub(super) fn of_file(mut blocks: KVVec<(u64, u64)>) -> Result<Option<Self>> {
        sort(&mut blocks);
        let twice = |(a, b): (&(u64, u64), &(u64, u64))| a.1 > b.0;
        if blocks.iter().zip(blocks.iter().skip(1)).any(twice) {
            return Ok(None);
        }
        Ok(Some(Self(Grows::with(blocks)?)))
    }

    /// Memory for so many more.
    pub(super) fn reserve(&self, more: usize) -> Result {
        self.0.reserve(more)
    }

    /// Appends the zones of groups behind all others, for which there is memory.
    pub(super) fn append(&self, right: &Growing<'_>, more: KVVec<(u64, u64)>) -> Result {
        more.into_iter()
            .try_for_each(|zone| self.0.push(right, zone))
    }

    /// Whether one of `len` blocks from `first` lies in a zone.
    pub(super) fn overlaps(&self, first: Pblk, len: u64) -> bool {
        let first = first.get();
        // Also true for a range that wraps: no caller has any business there.
        let Some(end) = first.checked_add(len) else {
            return true;
        };
        let next = self.0.partition_point(|zone| zone.1 <= first);
        self.0.get(next).is_some_and(|zone| zone.0 < end)
    }

    /// The parts of zones between two blocks, as (first block, blocks).
    pub(super) fn within(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
        let next = self.0.partition_point(move |zone| zone.1 <= first);
        self.0
            .iter_from(next)
            .take_while(move |zone| zone.0 < end)
            .map(move |zone| {
                let from = zone.0.max(first);
                // CAST: A caller's range is a group, which has fewer than 2^32 blocks.
                (from, (zone.1.min(end) - from) as u32)
            })
    }

    /// Blocks in all zones.
    pub(super) fn blocks(&self) -> u64 {
        self.0.iter().map(|zone| zone.1 - zone.0).sum()
    }
}
