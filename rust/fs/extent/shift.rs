// SPDX-License-Identifier: GPL-2.0

//! Blocks that get other places in the file, in steps of one handle each: those of a leaf at a
//! time. What is behind the place where they begin to move has no page, no reservation and no
//! direct write in flight.

use super::{tree, Extents};
use crate::{
    disk::{Lblk, LblkRange},
    fs::{alloc::BlockKind, extent::tree::Shift},
    vfs::jbd2::Handle,
};
use kernel::prelude::*;

/// A move of all blocks of a file from some place on.
#[derive(Clone, Copy)]
pub(crate) struct Move {
    /// The blocks that are left to be moved.
    left: LblkRange,
    shift: Shift,
}

impl Move {
    /// What is behind the blocks goes to where they are; nothing is mapped there.
    pub(crate) fn over(gap: LblkRange) -> Self {
        Self {
            left: gap.end.until(Lblk::END),
            shift: Shift::Left(gap.len()),
        }
    }

    /// What is at the blocks and behind goes behind them; no extent reaches over their beginning.
    pub(crate) fn behind(gap: LblkRange) -> Self {
        Self {
            left: gap.start.until(Lblk::END),
            shift: Shift::Right(gap.len()),
        }
    }

    /// What is left to be moved.
    pub(crate) fn left(&self) -> LblkRange {
        self.left
    }

    /// The blocks that it changes: where they are and where they go.
    fn changes(&self) -> LblkRange {
        let start = match self.shift {
            Shift::Left(by) => Lblk::new(self.left.start.get().saturating_sub(by)),
            Shift::Right(_) => self.left.start,
        };
        start.until(Lblk::END)
    }
}

impl Extents<'_> {
    /// The block behind the last one that is mapped. May read the disk.
    pub(crate) fn end(&mut self) -> Result<Lblk> {
        Ok(match self.find_extent(Lblk::new(Lblk::END.get() - 1))? {
            tree::Found::Extent(e) => e.end(),
            tree::Found::Hole { prev, .. } => prev.map_or(Lblk::FIRST, |e| e.end()),
        })
    }

    /// Has an extent begin at `at`, if one reaches over it. `ENOSPC`, then nothing has changed. The
    /// caller journals the inode. Costs [`credits::INSERT`](crate::fs::credits::INSERT).
    pub(crate) fn split(&mut self, handle: &Handle<'_>, at: Lblk) -> Result {
        self.bump_tree(at.until(Lblk::END));
        let promised = self.secure_other();
        let result = self.change(handle, BlockKind::Metadata, promised, |nodes, root| {
            tree::split(nodes, root, at)
        });
        self.settle();
        result
    }

    /// Moves the blocks of one leaf. Returns what is left of the move, if anything may be. The
    /// caller journals the inode. Costs [`credits::SHIFT`](crate::fs::credits::SHIFT).
    pub(crate) fn shift(&mut self, handle: &Handle<'_>, moved: Move) -> Result<Option<Move>> {
        self.bump_tree(moved.changes());
        // As for a conversion: the inode itself may not change.
        self.inode.info().set_datasync_tid(handle.tid());
        let Move { left, shift } = moved;
        let next = self.change(
            handle,
            BlockKind::Completion,
            false,
            |nodes, root| match shift {
                Shift::Left(by) => tree::shift_left(nodes, root, left.start, by)
                    .map(|next| next.map(|next| next.until(left.end))),
                Shift::Right(by) => tree::shift_right(nodes, root, left, by),
            },
        )?;
        self.settle();
        match next {
            Some(next) if next.len() >= left.len() => {
                let place = left.start;
                Err(self
                    .inode
                    .corrupted(fmt!("extents at {} do not end", place)))
            }
            Some(left) => Ok(Some(Move { left, shift })),
            None => Ok(None),
        }
    }
}
