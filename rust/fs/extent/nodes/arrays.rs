// SPDX-License-Identifier: GPL-2.0

//! Blocks of pointers in buffers: what the algorithms of [`super::super::pointers`] work on.

use super::TreeNodes;
use crate::{
    disk::{block_map, Corrupt, Lblk, Pblk},
    fs::{alloc, extent::pointers::PointerBlocks},
    vfs::bh::BufferHead,
};
use kernel::{error::code::*, prelude::*};

impl PointerBlocks for TreeNodes<'_, '_> {
    type Error = Error;
    type Block = BufferHead;

    fn corrupt(&self, what: Corrupt) -> Error {
        self.inode.corrupted(fmt!("{what}"))
    }

    fn block_bits(&self) -> u32 {
        self.inode.fs().geo.block_bits
    }

    fn limit(&self) -> Lblk {
        Lblk::or_end(block_map::max_blocks(&self.inode.fs().geo))
    }

    /// There is nothing to verify in it: each pointer is checked when it is used.
    fn open(&self, pblk: Pblk) -> Result<BufferHead> {
        let (sb, geo) = (self.inode.sb(), &self.inode.fs().geo);
        let is_system = || alloc::is_system_block(sb, pblk, 1, Some(self.inode.ino()));
        if !geo.blocks_valid(pblk, 1) || is_system() {
            return Err(self
                .inode
                .corrupted(fmt!("block of pointers at {pblk}: {}", Corrupt::MapBlock)));
        }
        if self.cached {
            sb.find_block(pblk.get()).ok_or(EAGAIN)
        } else {
            sb.bread(pblk.get())
        }
    }

    fn copy_pointers(&self, block: &BufferHead, at: usize, to: &mut [u8]) -> Result {
        block.copy_out(at, to)
    }
}
