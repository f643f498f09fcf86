// SPDX-License-Identifier: GPL-2.0

//! Blocks that go: unmapped and freed from the end on, in steps of one handle each.

use super::{event_blocks, sub_blocks, tree, Extents, Progress};
use crate::{
    disk::{self, LblkRange},
    fs::{
        alloc::{self, BlockKind, Revoke},
        credits, Inode,
    },
    trace,
    vfs::jbd2::Handle,
};
use kernel::prelude::*;

/// How many of the last blocks of an extent lie in so few groups that a step can free them.
fn step_blocks(inode: &Inode, e: &disk::extent::Extent) -> u32 {
    let geo = &inode.fs().geo;
    let end = e.pblk + u64::from(e.len);
    match geo.block_group(e.pblk + u64::from(e.len.saturating_sub(1))) {
        Some((last, _)) => {
            let first = geo.group_first_block(last.saturating_sub(credits::STEP_GROUPS - 1));
            (end - first.max(e.pblk)) as u32
        }
        // Freeing them will say what is wrong.
        None => 1,
    }
}

impl Extents<'_> {
    /// Credits for one step of a removal.
    fn step_credits(&self, blocks: LblkRange) -> u32 {
        let inode = self.inode;
        let count = inode.blocks() >> (inode.fs().geo.block_bits - 9);
        let few = inode.is_file() || count <= credits::STEP_REVOKES.into();
        if blocks == LblkRange::ALL && self.map.depth() == 0 && few {
            credits::ROOT_STEP
        } else {
            credits::STEP
        }
    }

    /// Credits, and revoke records, for [`Extents::remove_space`] of a range, which takes as many
    /// steps as they allow: most files have a few extents in the root, and a transaction has room
    /// for many that go at the same time.
    pub(crate) fn remove_credits(&self, blocks: LblkRange) -> u32 {
        let steps = match self.step_credits(blocks) {
            credits::ROOT_STEP => credits::ROOT_STEPS,
            _ => credits::STEPS,
        };
        steps * self.step_credits(blocks)
    }

    /// Unmaps and frees what is mapped or reserved in the blocks, from the end on, as far as the
    /// handle's credits go ([`Extents::remove_credits`] and those of the inode, with revokes).
    /// The page cache of the range is gone. The caller journals the inode also after an error.
    pub(crate) fn remove_space(
        &mut self,
        handle: &Handle<'_>,
        blocks: LblkRange,
    ) -> Result<Progress> {
        let result = self.remove_some(handle, blocks);
        self.settle();
        result
    }

    fn remove_some(&mut self, handle: &Handle<'_>, blocks: LblkRange) -> Result<Progress> {
        if blocks.is_empty() {
            return Ok(Progress::Done);
        }
        let inode = self.inode;
        self.bump_tree(blocks);
        trace::extent_remove(inode, event_blocks(blocks));
        self.give_back(blocks);
        self.end_expected(blocks);
        let (revoke, most) = if inode.is_file() {
            (Revoke::No, 0)
        } else {
            (Revoke::Yes, credits::STEP_REVOKES)
        };
        // The inode is journaled after. The first step, too, may be more than the handle was made
        // for.
        let step = self.step_credits(blocks);
        let revokes = credits::step_revokes(step, most);
        let step = step + credits::INODE;
        let mut records = handle.credits();
        let mut left = blocks;
        loop {
            if handle.credits() < step || records < revokes {
                return Ok(Progress::Continue(left));
            }
            let promised = self.secure_other();
            let (cut, freed) =
                self.change(handle, BlockKind::Completion, promised, |nodes, root| {
                    let cut = tree::cut(nodes, root, left, |e| {
                        if revoke == Revoke::Yes {
                            credits::STEP_REVOKES
                        } else {
                            step_blocks(inode, e)
                        }
                    })?;
                    Ok((cut, nodes.freed))
                })?;
            let Some(gone) = cut else {
                return Ok(Progress::Done);
            };
            trace::extent_free(inode, event_blocks(gone.blocks()), gone.pblk.get());
            sub_blocks(inode, gone.len);
            alloc::free_or_lose(handle, inode, (gone.pblk, gone.len), revoke);
            left.end = gone.lblk;
            // Bitmaps that the handle has already cost nothing more, but revoke records add up.
            records = records.saturating_sub(freed);
            if revoke == Revoke::Yes {
                records = records.saturating_sub(gone.len);
            }
        }
    }
}
