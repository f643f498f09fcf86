// SPDX-License-Identifier: GPL-2.0

//! Blocks of pointers in buffers: what the algorithms of [`super::super::pointers`] work on.

use super::TreeNodes;
use crate::{
    disk::{block_map, Corrupt, Lblk, Pblk},
    fs::{
        alloc::{self, Revoke},
        extent::{
            pointers::{PointerBlocks, PointerStore},
            tree::Store,
        },
    },
    vfs::{bh::BufferHead, jbd2::JournaledBuffer},
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

impl<'a> PointerStore for TreeNodes<'a, '_> {
    type Access = JournaledBuffer<'a>;

    fn take(&mut self, goal: Option<Pblk>) -> Result<Pblk> {
        self.alloc(goal)
    }

    fn give_back(&mut self, pblk: Pblk) {
        // It may be in the journal with its zeros.
        self.take_back(pblk, Revoke::Yes);
    }

    fn change(&mut self, pblk: Pblk) -> Result<JournaledBuffer<'a>> {
        self.access(pblk)
    }

    fn create(&mut self, pblk: Pblk) -> Result<JournaledBuffer<'a>> {
        self.access_new(pblk)
    }

    fn set_pointers(&mut self, access: &mut JournaledBuffer<'a>, at: usize, from: &[u8]) -> Result {
        access.copy_in(at, from)
    }

    fn finish(&mut self, access: JournaledBuffer<'a>) -> Result {
        access.finish()
    }

    fn release(&mut self, pblk: Pblk) {
        self.free(pblk);
    }
}
