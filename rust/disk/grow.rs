// SPDX-License-Identifier: GPL-2.0

//! Growing a filesystem: how large it can become, by which steps, and where the metadata of new
//! groups lies.
//!
//! One step is one transaction, and leaves a whole filesystem: the last group becomes longer, or
//! groups are added behind it. Those of a flex group come together, as far as their descriptors
//! are in one block.
//!
//! ```text
//!   two groups, the first with a copy of the superblock, in a flex group:
//!   | super | descriptors | reserve | B B | I I | table | table |  data ...  |  data ... |
//! ```

use super::features::{COMPAT_SPARSE_SUPER2, INCOMPAT_64BIT, RO_COMPAT_SPARSE_SUPER};
use super::group::{clip, GroupDesc, BLOCK_UNINIT, INODE_UNINIT, INODE_ZEROED};
use super::superblock::{Geometry, SizeFields};
use core::ops::Range;

/// Why a filesystem cannot have a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// It has more blocks.
    Smaller,
    /// Block or inode numbers would not fit.
    TooLarge,
    /// The table of descriptors has no room.
    NoDescriptors,
}

impl SizeError {
    /// The reason, fit for a log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            SizeError::Smaller => "it would become smaller",
            SizeError::TooLarge => "too many blocks or inodes",
            SizeError::NoDescriptors => "no room for more group descriptors",
        }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowStep {
    /// Blocks of the filesystem after it.
    pub blocks: u64,
    /// The groups to be added. None: the last one becomes longer.
    pub groups: Range<u32>,
}

/// The metadata of new groups does not fit into them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Geometry {
    /// Descriptors in a block.
    pub fn descs_per_block(&self) -> u32 {
        self.block_size / u32::from(self.desc_size)
    }

    /// The groups that have a copy of the superblock, but for the first group.
    pub fn backups(&self) -> impl Iterator<Item = u32> + '_ {
        let mut group = 0;
        core::iter::from_fn(move || {
            group = self.next_backup(group)?;
            (group < self.groups_count).then_some(group)
        })
    }

    /// The first group behind `group` that has a copy of the superblock.
    fn next_backup(&self, group: u32) -> Option<u32> {
        if self.features.has_compat(COMPAT_SPARSE_SUPER2) {
            return self.backup_groups.into_iter().filter(|&g| g > group).min();
        }
        if group == 0 || !self.features.has_ro_compat(RO_COMPAT_SPARSE_SUPER) {
            return group.checked_add(1);
        }
        let power = |base: u32| {
            core::iter::successors(Some(base), |p| p.checked_mul(base)).find(|&p| p > group)
        };
        [3, 5, 7].into_iter().filter_map(power).min()
    }

    /// The same filesystem with more blocks.
    pub fn grown(&self, blocks: u64) -> Result<Self, SizeError> {
        let wide = self.features.has_incompat(INCOMPAT_64BIT);
        let most = if wide { 1 << 48 } else { u32::MAX.into() };
        if blocks < self.blocks_count {
            return Err(SizeError::Smaller);
        }
        if blocks > most {
            return Err(SizeError::TooLarge);
        }
        let in_groups = blocks - u64::from(self.first_data_block);
        let groups = u32::try_from(in_groups.div_ceil(u64::from(self.blocks_per_group)));
        let groups = groups.map_err(|_| SizeError::TooLarge)?;
        let inodes = groups.checked_mul(self.inodes_per_group);
        let table = groups.div_ceil(self.descs_per_block());
        let more = table.saturating_sub(self.gdt_blocks);
        let left = u32::from(self.reserved_gdt_blocks).checked_sub(more);
        Ok(Self {
            blocks_count: blocks,
            groups_count: groups,
            inodes_count: inodes.ok_or(SizeError::TooLarge)?,
            gdt_blocks: table.max(self.gdt_blocks),
            // CAST: No more than before.
            reserved_gdt_blocks: left.ok_or(SizeError::NoDescriptors)? as u16,
            ..self.clone()
        })
    }

    /// The same filesystem with its first groups only.
    pub fn shortened(&self, groups: u32) -> Self {
        let table = groups.div_ceil(self.descs_per_block()).min(self.gdt_blocks);
        // CAST: As many as were reserved once.
        let back = (self.gdt_blocks - table) as u16;
        Self {
            blocks_count: self.group_first_block(groups).get().min(self.blocks_count),
            groups_count: groups,
            inodes_count: groups.saturating_mul(self.inodes_per_group),
            gdt_blocks: table,
            reserved_gdt_blocks: self.reserved_gdt_blocks.saturating_add(back),
            ..self.clone()
        }
    }

    /// How many blocks it gets where `wanted` are asked for: a last group that could not hold its
    /// own metadata is left out.
    pub fn growth_target(&self, wanted: u64) -> Result<u64, SizeError> {
        let new = self.grown(wanted)?;
        let last = new.groups_count - 1;
        let first = new.group_first_block(last).get();
        let metadata = new.group_base_blocks(last) + 2 + new.itable_blocks;
        if first + u64::from(metadata) + 1 < wanted {
            Ok(wanted)
        } else if first < self.blocks_count {
            Err(SizeError::Smaller)
        } else {
            Ok(first)
        }
    }

    /// The next step on the way to so many blocks; none if they are there.
    pub fn next_step(&self, target: u64) -> Option<GrowStep> {
        if target <= self.blocks_count {
            return None;
        }
        let end = |groups: u32| self.group_first_block(groups).get().min(target);
        let first = self.groups_count;
        if end(first) > self.blocks_count {
            let (blocks, groups) = (end(first), first..first);
            return Some(GrowStep { blocks, groups });
        }
        let flex = 1u32.checked_shl(self.log_groups_per_flex.into())?;
        let together = flex.min(self.descs_per_block());
        // Both are powers of two, so that one multiple is the end of both.
        let behind = (first | (together - 1)).saturating_add(1);
        let in_target = target - u64::from(self.first_data_block);
        let all = in_target.div_ceil(u64::from(self.blocks_per_group));
        let behind = behind.min(u32::try_from(all).ok()?);
        Some(GrowStep {
            blocks: end(behind),
            groups: first..behind,
        })
    }

    /// Whether descriptors say what was never written.
    fn has_uninit(&self) -> bool {
        self.has_metadata_csum || self.has_gdt_csum
    }

    /// Fills the descriptors of new groups, which `self` has already: all kinds of metadata side by
    /// side, as far to the front as there is place.
    ///
    /// The checksums of bitmaps that are to be written are left.
    pub fn place_groups(&self, groups: Range<u32>, descs: &mut [GroupDesc]) -> Result<(), NoRoom> {
        let mut gaps = Gaps {
            geo: self,
            groups: groups.clone(),
            gap: 0..0,
        };
        for desc in descs.iter_mut() {
            desc.block_bitmap = gaps.take(1)?;
        }
        for desc in descs.iter_mut() {
            desc.inode_bitmap = gaps.take(1)?;
        }
        for desc in descs.iter_mut() {
            desc.inode_table = gaps.take(self.itable_blocks)?;
        }
        for (group, at) in groups.clone().zip(0..) {
            let taken = self.taken(group, descs);
            let free = self.group_blocks(group) - self.group_base_blocks(group);
            let ends = group + 1 == self.groups_count;
            let Some(desc) = descs.get_mut::<usize>(at) else {
                break;
            };
            desc.free_blocks = free.checked_sub(taken).ok_or(NoRoom)?;
            desc.free_inodes = self.inodes_per_group;
            // The tables are zeroed.
            desc.flags = INODE_ZEROED;
            if !self.has_uninit() {
                continue;
            }
            desc.flags |= INODE_UNINIT;
            desc.itable_unused = self.inodes_per_group;
            // The last group may become longer, and e2fsck wants its bitmap; what lies in the group
            // of another is not what everybody takes for an unused group.
            if !ends && (taken == 0 || self.log_groups_per_flex == 0) {
                desc.flags |= BLOCK_UNINIT;
            }
        }
        Ok(())
    }

    /// Fills the rest of the descriptor of one new group, which `self` has already, and checks it:
    /// its metadata lies in the group, behind what the group begins with.
    pub fn fill_group(&self, group: u32, desc: &mut GroupDesc) -> Result<(), NoRoom> {
        let first = self.group_first_block(group).get();
        let (base, blocks) = (self.group_base_blocks(group), self.group_blocks(group));
        let inside = first + u64::from(base)..first + u64::from(blocks);
        let metadata = desc.metadata(self);
        let all: u32 = metadata.iter().map(|(_, len)| len).sum();
        for (at, (start, len)) in metadata.into_iter().enumerate() {
            let end = start.checked_add(len.into()).ok_or(NoRoom)?;
            let others = metadata.iter().skip(at + 1);
            let mut meets = others.map(|(s, l)| *s < end && start < *s + u64::from(*l));
            if start < inside.start || end > inside.end || meets.any(|meets| meets) {
                return Err(NoRoom);
            }
        }
        let free = blocks.checked_sub(base + all);
        desc.free_blocks = free.ok_or(NoRoom)?;
        desc.free_inodes = self.inodes_per_group;
        desc.flags = INODE_ZEROED;
        if self.has_uninit() {
            desc.itable_unused = self.inodes_per_group;
        }
        Ok(())
    }

    /// How many blocks of a group hold metadata that `descs` name.
    pub fn taken(&self, group: u32, descs: &[GroupDesc]) -> u32 {
        let all = descs.iter().flat_map(|desc| desc.metadata(self));
        all.filter_map(|(start, len)| clip(self, group, start, len))
            .map(|(_, blocks)| blocks as u32)
            .sum()
    }
}

impl SizeFields {
    /// The filesystem is as large as `geo` says, with so many more free blocks. Groups that are new
    /// bring blocks for the superuser, a whole percentage of theirs, as ext4 has it.
    pub fn grow(&mut self, geo: &Geometry, free_blocks: u64) {
        let blocks = geo.blocks_count.saturating_sub(self.blocks);
        let inodes = geo.inodes_count.saturating_sub(self.inodes);
        if inodes > 0 {
            let percent = self.root_blocks.saturating_mul(100) / self.blocks.max(1);
            let more = blocks.saturating_mul(percent) / 100;
            self.root_blocks = self.root_blocks.saturating_add(more);
        }
        if self.overhead != 0 {
            let more = blocks.saturating_sub(free_blocks) as u32;
            self.overhead = self.overhead.saturating_add(more);
        }
        self.blocks = geo.blocks_count;
        self.free_blocks = self.free_blocks.saturating_add(free_blocks);
        self.inodes = geo.inodes_count;
        self.free_inodes = self.free_inodes.saturating_add(inodes);
        self.reserved_gdt_blocks = geo.reserved_gdt_blocks;
    }
}

/// What is free of new groups: all between two copies of the superblock.
struct Gaps<'a> {
    geo: &'a Geometry,
    /// Those behind the gap.
    groups: Range<u32>,
    gap: Range<u64>,
}

impl Gaps<'_> {
    /// The next blocks in a row.
    fn take(&mut self, blocks: u32) -> Result<u64, NoRoom> {
        while self.gap.start + u64::from(blocks) > self.gap.end {
            self.next_gap()?;
        }
        let first = self.gap.start;
        self.gap.start += u64::from(blocks);
        Ok(first)
    }

    fn next_gap(&mut self) -> Result<(), NoRoom> {
        let geo = self.geo;
        let group = self.groups.next().ok_or(NoRoom)?;
        let base = geo.group_base_blocks(group);
        while !self.groups.is_empty() && geo.group_base_blocks(self.groups.start) == 0 {
            self.groups.start += 1;
        }
        let end = geo.group_first_block(self.groups.start).get();
        let first = geo.group_first_block(group).get() + u64::from(base);
        self.gap = first..end.min(geo.blocks_count);
        Ok(())
    }
}
