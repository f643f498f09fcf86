// SPDX-License-Identifier: GPL-2.0

//! Blocks that a block map gets when the data is there ([`alloc::held`](crate::fs::alloc)).
//!
//! To all who look at the map such a block is an unwritten one: it has a place on the disk, reads
//! as zeros, and the completion converts it. It is so in memory only. So:
//!
//! - It is there for as long as data is on its way: while it is expected, writeback writes to it,
//!   or a direct write is in flight to it ([`super::promise`]). Who takes the last of these away
//!   gives the block back, and not before: another I/O that is in flight would write over what the
//!   next owner has.
//! - All of a run has its pointers in one array, so that one handle can convert it.

use super::{add_blocks, event_blocks, pointers, Extents, MapKind, State};
use crate::{
    disk::{
        block_map::{self, Way},
        extent::Extent,
        Lblk, LblkRange, Pblk,
    },
    fs::{
        alloc::{self, BlockKind},
        Inode,
    },
    trace,
    vfs::{gfp::GFP_NOFAIL, jbd2::Handle},
};
use kernel::{
    error::code::*,
    prelude::*,
    rbtree::{RBTree, RBTreeNode}, //
};

/// The runs of blocks that are held, by the block behind the last of each.
pub(super) struct HeldRuns {
    runs: RBTree<Lblk, (Lblk, Pblk)>,
    count: u32,
}

impl HeldRuns {
    pub(super) fn new() -> Self {
        Self {
            runs: RBTree::new(),
            count: 0,
        }
    }

    /// How many blocks are held.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The run that holds `lblk`, or the first one behind it.
    pub(super) fn at_or_after(&self, lblk: Lblk) -> Option<Extent> {
        let cursor = self.runs.cursor_lower_bound(&lblk.checked_add(1)?)?;
        let (end, &(lblk, pblk)) = cursor.current();
        Some(Extent {
            lblk,
            len: end.saturating_sub(lblk),
            pblk,
            unwritten: true,
        })
    }

    /// The run that ends before `lblk`.
    pub(super) fn ending_at(&self, lblk: Lblk) -> Option<Extent> {
        let &(first, pblk) = self.runs.get(&lblk)?;
        Some(Extent {
            lblk: first,
            len: lblk.saturating_sub(first),
            pblk,
            unwritten: true,
        })
    }

    /// Adds a run, which is not held yet. Does not fail.
    pub(super) fn insert(&mut self, run: &Extent) -> Result {
        if run.len > 0 {
            let node = RBTreeNode::new(run.end(), (run.lblk, run.pblk), GFP_NOFAIL)?;
            self.runs.insert(node);
            self.count += run.len;
        }
        Ok(())
    }

    /// Takes out the first of the blocks that are held, as far as they are in one run.
    fn take_first(&mut self, blocks: LblkRange) -> Option<Extent> {
        let run = self.at_or_after(blocks.start)?;
        let part = run.lblk.max(blocks.start).until(run.end().min(blocks.end));
        if part.is_empty() {
            return None;
        }
        self.runs.remove(&run.end());
        self.count -= run.len;
        // Neither fails.
        let _ = self.insert(&of(&run, run.lblk.until(part.start)));
        let _ = self.insert(&of(&run, part.end.until(run.end())));
        Some(of(&run, part))
    }
}

/// These blocks of a run.
fn of(run: &Extent, blocks: LblkRange) -> Extent {
    Extent {
        lblk: blocks.start,
        len: blocks.len(),
        pblk: run.pblk + u64::from(blocks.start.saturating_sub(run.lblk)),
        unwritten: true,
    }
}

/// The blocks of a hole that may get pointers at once, `EFBIG` if it is behind all that a file may
/// have.
pub(super) fn in_one_array(inode: &Inode, hole: LblkRange) -> Result<LblkRange> {
    let geo = &inode.fs().geo;
    let way = Way::new(hole.start, geo.block_bits).ok_or(EFBIG)?;
    let limit = Lblk::or_end(block_map::max_blocks(geo));
    let end = hole.end.min(way.end()).min(limit);
    if end > hole.start {
        Ok(hole.start.until(end))
    } else {
        Err(EFBIG)
    }
}

impl Extents<'_> {
    /// What holds blocks for the first of these, in a block map; and the end of what has none.
    pub(super) fn find_held(&self, lblk: Lblk) -> (Option<Extent>, Lblk) {
        match self.map.held.at_or_after(lblk) {
            Some(run) if run.lblk <= lblk => (Some(run), run.end()),
            Some(run) => (None, run.lblk),
            None => (None, Lblk::END),
        }
    }

    /// The data of blocks that are held is there: they are allocated, and pointers lead to them.
    /// They are in one run. `ENOSPC`, then nothing has changed.
    #[inline(never)]
    pub(super) fn convert_held(&mut self, handle: &Handle<'_>, blocks: LblkRange) -> Result {
        let inode = self.inode;
        let (Some(run), end) = self.find_held(blocks.start) else {
            return Err(EINVAL);
        };
        let run = of(&run, blocks.start.until(end.min(blocks.end)));
        self.bump_tree(run.blocks());
        trace::extent_convert(inode, event_blocks(run.blocks()), State::Written.into());
        inode.info().set_datasync_tid(handle.tid());
        let promised = self.is_expected(run.blocks()) || self.secure_other();
        let mut promise = self.map.held_promise.take(inode.sb(), run.len);
        let result = self.change(handle, BlockKind::Completion, promised, |nodes, root| {
            pointers::place_run(nodes, root, &run, |_| {
                alloc::allocate_held(handle, inode, (run.pblk, run.len), &mut promise)
            })
        });
        self.map.held_promise.add(promise);
        result?;
        self.map.held.take_first(run.blocks());
        add_blocks(inode, run.len);
        self.show_reserved();
        self.end_expected(run.blocks());
        self.settle();
        Ok(())
    }

    /// Gives back those of the blocks that are held, whoever expects them: nobody does any more.
    pub(super) fn release_all(&mut self, blocks: LblkRange) {
        if self.map.held.count() == 0 {
            return;
        }
        self.bump_tree(blocks);
        while let Some(run) = self.map.held.take_first(blocks) {
            let sb = self.inode.sb();
            let promise = self.map.held_promise.take(sb, run.len);
            alloc::release_held(sb, (run.pblk, run.len), promise);
        }
        self.show_reserved();
    }

    /// Gives back those of the blocks that are held and that nothing is on its way to any more.
    pub(super) fn release_unused(&mut self, blocks: LblkRange) {
        let mut at = blocks.start;
        while at < blocks.end && self.map.held.count() > 0 {
            let (run, end) = self.find_held(at);
            let mut part = at.until(end.min(blocks.end));
            if run.is_some() {
                let (used, stop) = self.is_on_its_way(at);
                part.end = part.end.min(stop);
                if !used {
                    self.release_all(part);
                }
            }
            at = part.end;
        }
    }

    /// Whether blocks are held for what a map of this kind has no unwritten blocks for.
    pub(crate) fn holds_blocks(&self) -> bool {
        self.map.kind == MapKind::Pointers
    }
}
