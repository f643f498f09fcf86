// SPDX-License-Identifier: GPL-2.0

//! FS_IOC_GETFSMAP: which blocks are free, and which are fixed metadata. Whose the others are
//! nobody knows without a look at all inodes: those of files, and of the journal.
//!
//! What is told was true when it was looked at, a free run and its group at a time; it goes to the
//! program's memory, and so no lock is held that long.

use super::group::{GroupError, LockedGroup};
use crate::{
    disk::{group::BitmapKind, sort::sort, Geometry, GroupDesc},
    fs::{error::EFSCORRUPTED, Inode, Sb},
    vfs::fsmap::{Owner, SpaceMap},
};
use core::{
    mem,
    ops::{Range, RangeInclusive}, //
};
use kernel::{error::code::*, prelude::*};

/// Whose fixed metadata is, as ext4 tells it: a letter for what all file systems have, and one for
/// what only this format has.
mod owner {
    use super::Owner;

    pub(super) const SUPER: Owner = Owner::new(b'X', 1);
    pub(super) const DESCRIPTORS: Owner = Owner::new(b'f', 1);
    pub(super) const RESERVED: Owner = Owner::new(b'f', 2);
    pub(super) const BLOCK_BITMAP: Owner = Owner::new(b'f', 3);
    pub(super) const INODE_BITMAP: Owner = Owner::new(b'f', 4);
    pub(super) const INODES: Owner = Owner::new(b'X', 5);
}

/// A run of fixed metadata of one kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fixed {
    first: u64,
    end: u64,
    owner: Owner,
}

impl Fixed {
    /// Makes it longer by `other`, if that goes on with it.
    fn join(&mut self, other: &Self) -> bool {
        let joined = self.owner == other.owner && self.end == other.first;
        if joined {
            self.end = other.end;
        }
        joined
    }
}

/// Collects fixed metadata. flex_bg puts what groups have of one kind side by side, so each kind
/// makes its last run longer while it can.
#[derive(Default)]
struct AllFixed {
    last: [Option<Fixed>; 6],
    done: KVVec<Fixed>,
}

impl AllFixed {
    fn add(&mut self, kind: usize, blocks: Range<u64>, owner: Owner) -> Result {
        let (first, end) = (blocks.start, blocks.end);
        let new = Fixed { first, end, owner };
        let last = self.last.get_mut(kind).ok_or(EINVAL)?;
        if blocks.is_empty() || last.as_mut().is_some_and(|last| last.join(&new)) {
            return Ok(());
        }
        if let Some(old) = last.replace(new) {
            self.done.push(old, GFP_KERNEL)?;
        }
        Ok(())
    }

    fn add_group(&mut self, geo: &Geometry, group: u32, desc: &GroupDesc) -> Result {
        let first = geo.group_first_block(group).get();
        if geo.group_has_super(group) {
            let behind = first + 1 + u64::from(geo.gdt_blocks);
            let reserved = behind + u64::from(geo.reserved_gdt_blocks);
            self.add(0, first..first + 1, owner::SUPER)?;
            self.add(1, first + 1..behind, owner::DESCRIPTORS)?;
            self.add(2, behind..reserved, owner::RESERVED)?;
        }
        let [blocks, inodes, table] = desc
            .metadata(geo)
            .map(|(first, len)| first..first + u64::from(len));
        self.add(3, blocks, owner::BLOCK_BITMAP)?;
        self.add(4, inodes, owner::INODE_BITMAP)?;
        self.add(5, table, owner::INODES)
    }

    /// All runs in ascending order.
    fn in_order(mut self) -> Result<KVVec<Fixed>> {
        for last in mem::take(&mut self.last).into_iter().flatten() {
            self.done.push(last, GFP_KERNEL)?;
        }
        sort(&mut self.done);
        let mut merged: KVVec<Fixed> = KVVec::new();
        for run in self.done.iter() {
            if !merged.last_mut().is_some_and(|last| last.join(run)) {
                merged.push(*run, GFP_KERNEL)?;
            }
        }
        Ok(merged)
    }
}

/// The fixed metadata of all groups. On its own for the sake of the stack, as is [`next_free`].
#[inline(never)]
fn fixed(inode: &Inode, geo: &Geometry) -> Result<KVVec<Fixed>> {
    let sb = inode.sb();
    let mut all = AllFixed::default();
    for group in 0..geo.groups_count {
        let locked = LockedGroup::new(sb, group).map_err(|why| why.report(sb, group))?;
        let desc = locked.group.desc;
        drop(locked);
        all.add_group(geo, group, &desc)?;
        inode.go_on()?;
    }
    all.in_order()
}

/// The first free run among these bits. One that is not yet free on the disk is not, as in ext4.
#[inline(never)]
fn next_free(sb: &Sb, group: u32, bits: Range<usize>) -> Result<Option<Range<usize>>> {
    let fs = sb.data();
    let look = || {
        let mut locked = LockedGroup::new(sb, group)?;
        locked.expire(|tid| fs.journal().is_some_and(|j| j.is_committed(tid)));
        if locked.is_bad(BitmapKind::Block) {
            return Err(GroupError::Other(EFSCORRUPTED));
        }
        locked.trusting(BitmapKind::Block, |locked| {
            let map = locked.bitmap(BitmapKind::Block)?;
            let pending = &locked.group.pending;
            Ok(map.next_run(pending, bits.start, bits.end, bits.len()))
        })
    };
    let run = look().map_err(|why: GroupError| why.report(sb, group))?;
    Ok(run.map(|(bit, len)| bit..bit + len))
}

/// What is told, with the fixed metadata that was not yet.
struct Telling<'a> {
    map: &'a mut SpaceMap,
    fixed: &'a [Fixed],
    /// A free run, which may go on in the next group.
    free: Range<u64>,
}

impl Telling<'_> {
    /// Tells of the fixed metadata that begins before `block`. False: no room.
    fn fixed_before(&mut self, block: u64) -> Result<bool> {
        while let [run, rest @ ..] = self.fixed {
            if run.first >= block {
                break;
            }
            self.fixed = rest;
            if run.end > self.map.next() && !self.map.tell(run.first..run.end, run.owner)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells of the free run that was found last, and remembers `next`.
    fn free(&mut self, next: Range<u64>) -> Result<bool> {
        let run = mem::replace(&mut self.free, next);
        Ok(run.is_empty() || self.fixed_before(run.start)? && self.map.tell(run, Owner::FREE)?)
    }

    /// A free run was found.
    fn found(&mut self, run: Range<u64>) -> Result<bool> {
        if self.free.end == run.start {
            self.free.end = run.end;
            return Ok(true);
        }
        self.free(run)
    }
}

/// Tells what `blocks` are used for.
pub(crate) fn map_space(inode: &Inode, blocks: RangeInclusive<u64>, map: &mut SpaceMap) -> Result {
    let sb = inode.sb();
    // Groups that are added meanwhile are for the next time.
    let geo: &Geometry = &sb.data().geo;
    if geo.cluster_bits != geo.block_bits {
        // The bits of such bitmaps are no blocks.
        return Err(EOPNOTSUPP);
    }
    let start = (*blocks.start()).max(geo.first_data_block.into());
    let end = blocks.end().saturating_add(1).min(geo.blocks_count);
    if start >= end {
        return Ok(());
    }
    let fixed = fixed(inode, geo)?;
    let mut telling = Telling {
        map,
        fixed: &fixed,
        free: 0..0,
    };
    for group in 0..geo.groups_count {
        let first = geo.group_first_block(group).get();
        let bit =
            |block: u64| block.clamp(first, first + u64::from(geo.group_blocks(group))) - first;
        // CAST: Bits of one group.
        let mut bits = bit(start) as usize..bit(end) as usize;
        while !bits.is_empty() {
            inode.go_on()?;
            let Some(run) = next_free(sb, group, bits.clone())? else {
                break;
            };
            bits.start = run.end;
            if !telling.found(first + run.start as u64..first + run.end as u64)? {
                return Ok(());
            }
        }
    }
    if telling.free(0..0)? && telling.fixed_before(end)? {
        telling.map.skip_to(end)?;
    }
    Ok(())
}
