// SPDX-License-Identifier: GPL-2.0

//! Where things lie: the arithmetic of block groups
//! (`Documentation/filesystems/ext4/blockgroup.rst`).

use super::features::*;
use super::superblock::Geometry;
use super::{Ino, Pblk};

impl Geometry {
    /// The first block of a group.
    pub fn group_first_block(&self, group: u32) -> Pblk {
        let first = Pblk::new(self.first_data_block.into());
        first + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Blocks in a group; only the last one is shorter. 0 for a group that does not exist.
    pub fn group_blocks(&self, group: u32) -> u32 {
        if group >= self.groups_count {
            return 0;
        }
        let left = self
            .blocks_count
            .saturating_sub(self.group_first_block(group).get());
        left.min(u64::from(self.blocks_per_group)) as u32
    }

    /// The group and the bit within it of a block.
    pub fn block_group(&self, block: Pblk) -> Option<(u32, u32)> {
        let block = block.get();
        if block >= self.blocks_count {
            return None;
        }
        let rel = block.checked_sub(u64::from(self.first_data_block))?;
        let per = u64::from(self.blocks_per_group);
        Some(((rel / per) as u32, (rel % per) as u32))
    }

    /// The group and the index within its table of an inode.
    pub fn inode_group(&self, ino: Ino) -> Option<(u32, u32)> {
        let index = ino
            .get()
            .checked_sub(1)
            .filter(|_| self.inode_exists(ino))?;
        Some((index / self.inodes_per_group, index % self.inodes_per_group))
    }

    /// Whether there is an inode of this number, in use or not.
    #[inline]
    pub fn inode_exists(&self, ino: Ino) -> bool {
        (1..=self.inodes_count).contains(&ino.get())
    }

    /// Where in its group's table an inode lies: block relative to the table, byte in the block.
    pub fn inode_offset(&self, index: u32) -> (u32, u32) {
        let byte = u64::from(index) * u64::from(self.inode_size);
        (
            (byte >> self.block_bits) as u32,
            (byte & u64::from(self.block_size - 1)) as u32,
        )
    }

    /// The block and the byte within it of a group's descriptor (primary copy).
    pub fn desc_location(&self, group: u32) -> (u64, u32) {
        let per_block = self.block_size / u32::from(self.desc_size);
        (
            u64::from(self.super_block) + 1 + u64::from(group / per_block),
            (group % per_block) * u32::from(self.desc_size),
        )
    }

    /// Whether a group begins with a superblock (primary or backup) and descriptors.
    pub fn group_has_super(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.has_compat(COMPAT_SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        if group == 1 || !self.features.has_ro_compat(RO_COMPAT_SPARSE_SUPER) {
            return true;
        }
        [3u32, 5, 7].into_iter().any(|base| is_power(group, base))
    }

    /// Blocks at the start of a group taken by superblock, descriptors and their reserve.
    pub fn group_base_blocks(&self, group: u32) -> u32 {
        if !self.group_has_super(group) {
            return 0;
        }
        1 + self.gdt_blocks + u32::from(self.reserved_gdt_blocks)
    }

    /// Whether `len` blocks from `start` may hold data or metadata of a file: inside the
    /// filesystem, behind the first superblock. That they are no fixed metadata is for the caller
    /// to check.
    pub fn blocks_valid(&self, start: Pblk, len: u64) -> bool {
        let start = start.get();
        match start.checked_add(len) {
            Some(end) => {
                len > 0 && start > u64::from(self.first_data_block) && end <= self.blocks_count
            }
            None => false,
        }
    }

    /// Whether a name, a file handle or a list of orphans may lead to an inode of this number: the
    /// root, or one that is not reserved and not the filesystem's own. Who can write to the orphan
    /// file says what the next mount deletes.
    pub fn inode_valid(&self, ino: Ino) -> bool {
        let own = [self.journal_inum, self.orphan_file_inum].contains(&Some(ino))
            || self.quota_inums.contains(&ino);
        ino == Ino::ROOT || ino >= self.first_ino && self.inode_exists(ino) && !own
    }

    /// Bytes at the end of a directory block taken by its checksum.
    pub fn dir_tail(&self) -> usize {
        if self.has_metadata_csum {
            super::dirent::TAIL_SIZE
        } else {
            0
        }
    }
}

/// Whether `n` is `base`, its square, its cube, and so on.
fn is_power(n: u32, base: u32) -> bool {
    let mut power = base;
    while power < n {
        match power.checked_mul(base) {
            Some(next) => power = next,
            None => return false,
        }
    }
    power == n
}
