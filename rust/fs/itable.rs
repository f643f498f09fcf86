// SPDX-License-Identifier: GPL-2.0

//! Inodes in their tables. A table block holds several; each is changed by who holds the lock of
//! its fields, and by the orphan list ([`super::orphan`]).

use super::Sb;
use crate::{
    disk::{
        inode::{head_size, HEAD_MAX},
        Geometry,
        Ino, //
    },
    vfs::bh::BufferHead,
};
use core::ops::Range;
use kernel::prelude::*;

/// Blocks of a table that are read together (ext4: `inode_readahead_blks`).
const READ_AHEAD: u64 = 32;

/// Where an inode lies (ext4: `struct ext4_iloc`).
pub(super) struct Iloc {
    bh: BufferHead,
    off: usize,
}

impl Iloc {
    /// Reads the table block of inode `ino`. `EINVAL` if there is no such inode.
    pub(super) fn locate(sb: &Sb, ino: Ino) -> Result<Self> {
        let fs = sb.data();
        let (block, off) = fs.groups.inode_location(&fs.geo, ino)?;
        let bh = sb.bread(block)?;
        Ok(Self { bh, off })
    }

    /// [`Iloc::locate`] for who will look at the neighbours soon, as all do who go through a
    /// directory: begins to read them as well, if this block has to be read.
    pub(super) fn locate_ahead(sb: &Sb, ino: Ino) -> Result<Self> {
        let fs = sb.data();
        let (block, off) = fs.groups.inode_location(&fs.geo, ino)?;
        let bh = sb.getblk(block)?;
        if bh.is_uptodate() {
            return Ok(Self { bh, off });
        }
        let table = fs.groups.used_table(&fs.geo, ino)?;
        let first = block & !(READ_AHEAD - 1);
        let ahead = first.max(table.start)..(first + READ_AHEAD).min(table.end);
        ahead.for_each(|block| sb.breadahead(block));
        let bh = sb.bread(block)?;
        Ok(Self { bh, off })
    }

    /// The table block.
    pub(super) fn buffer(&self) -> &BufferHead {
        &self.bh
    }

    /// Where in the block the inode begins.
    pub(super) fn offset(&self) -> usize {
        self.off
    }

    /// All bytes of the inode in the block.
    pub(super) fn range(&self, geo: &Geometry) -> Range<usize> {
        self.off..self.off + usize::from(geo.inode_size)
    }

    /// Copies the head out, for the functions of [`disk::inode`](crate::disk::inode).
    pub(super) fn read<'a>(
        &self,
        geo: &Geometry,
        head: &'a mut [u8; HEAD_MAX],
    ) -> Result<&'a mut [u8]> {
        let head = head.get_mut(..head_size(geo)).ok_or(EINVAL)?;
        self.bh.copy_out(self.off, head)?;
        Ok(head)
    }

    /// Continues the checksum over the bytes behind the head, where they lie.
    pub(super) fn rest<'a>(&'a self, geo: &Geometry) -> impl FnOnce(u32) -> u32 + 'a {
        let Range { start, end } = self.range(geo);
        let from = start + head_size(geo);
        move |crc| self.bh.crc32c(crc, from..end)
    }
}
