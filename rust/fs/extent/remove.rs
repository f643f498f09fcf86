// SPDX-License-Identifier: GPL-2.0

//! Blocks that go: unmapped and freed from the end on, in steps of one handle each.

use super::{event_blocks, pointers, sub_blocks, tree, Extents, MapKind, Progress};
use crate::{
    disk::{self, LblkRange},
    fs::{
        alloc::{self, BlockKind, Revoke},
        credits, Inode,
    },
    trace,
    vfs::{gfp::GFP_NOFAIL, jbd2::Handle},
};
use core::cell::Cell;
use kernel::prelude::*;

/// Extents that go in one step beside the first.
const BESIDE: usize = 63;

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

/// The first and the last group that blocks lie in, and those of `with`.
fn groups(inode: &Inode, e: &disk::extent::Extent, with: Option<(u32, u32)>) -> Option<(u32, u32)> {
    let geo = &inode.fs().geo;
    let (first, _) = geo.block_group(e.pblk)?;
    let (last, _) = geo.block_group(e.pblk + u64::from(e.len.saturating_sub(1)))?;
    Some(with.map_or((first, last), |(low, high)| {
        (low.min(first), high.max(last))
    }))
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

    #[inline(never)]
    fn remove_some(&mut self, handle: &Handle<'_>, blocks: LblkRange) -> Result<Progress> {
        if blocks.is_empty() {
            return Ok(Progress::Done);
        }
        let inode = self.inode;
        self.bump_tree(blocks);
        trace::extent_remove(inode, event_blocks(blocks));
        self.give_back(blocks);
        self.end_expected(blocks);
        self.map.writing.take_out(blocks);
        self.release_all(blocks);
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
        let beside = match (revoke, self.map.depth()) {
            (Revoke::Yes, _) => 0,
            (Revoke::No, 0) => disk::extent::ROOT_ENTRIES.into(),
            (Revoke::No, _) => BESIDE,
        };
        // CAST: No extent is shorter than a block.
        let beside = beside.min(blocks.len() as usize - 1);
        let mut also = KVec::with_capacity(beside, GFP_NOFAIL)?;
        loop {
            if handle.credits() < step || records < revokes {
                return Ok(Progress::Continue(left));
            }
            let (cut, freed) = self.cut_some(handle, (left, revoke), &mut also)?;
            let Some(gone) = cut else {
                return Ok(Progress::Done);
            };
            let all = Iterator::chain(core::iter::once(&gone), also.iter());
            for gone in all.clone() {
                trace::extent_free(inode, event_blocks(gone.blocks()), gone.pblk.get());
                sub_blocks(inode, gone.len);
                left.end = gone.lblk;
            }
            let runs = all.map(|gone| (gone.pblk, gone.len));
            match revoke {
                Revoke::No => alloc::free_runs_or_lose(handle, inode, runs),
                Revoke::Yes => runs.for_each(|run| {
                    alloc::free_or_lose(handle, inode, run, revoke);
                }),
            }
            // Bitmaps that the handle has already cost nothing more, but revoke records add up.
            records = records.saturating_sub(freed);
            if revoke == Revoke::Yes {
                records = records.saturating_sub(gone.len);
            }
        }
    }

    /// Unmaps what one step can, of the last of the blocks: an extent or its end, which is
    /// returned, and others before it, which are in `also` then. And the number of nodes that are
    /// free now. On its own for the sake of the stack.
    #[inline(never)]
    fn cut_some(
        &mut self,
        handle: &Handle<'_>,
        (left, revoke): (LblkRange, Revoke),
        also: &mut KVec<disk::extent::Extent>,
    ) -> Result<(Option<disk::extent::Extent>, u32)> {
        let inode = self.inode;
        also.clear();
        // Of all that goes in this step: it has credits for so many groups.
        let span = Cell::new(None);
        let limit = |e: &disk::extent::Extent| {
            span.set(groups(inode, e, None));
            if revoke == Revoke::Yes {
                credits::STEP_REVOKES
            } else {
                step_blocks(inode, e)
            }
        };
        let more = |e: &disk::extent::Extent| {
            let both = span.get().and_then(|span| groups(inode, e, Some(span)));
            let few = both.is_some_and(|(low, high)| high - low < credits::STEP_GROUPS);
            span.set(both);
            few && also.push_within_capacity(*e).is_ok()
        };
        let is_tree = self.map.kind == MapKind::Tree;
        let promised = self.secure_other();
        self.change(handle, BlockKind::Completion, promised, |nodes, root| {
            let cut = if is_tree {
                tree::cut(nodes, root, left, (limit, more))?
            } else {
                pointers::cut_run(nodes, root, left, limit)?
            };
            Ok((cut, nodes.freed))
        })
    }
}
