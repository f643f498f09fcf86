// SPDX-License-Identifier: GPL-2.0

//! A promise of space is a value.
//!
//! What is promised stays free in the bitmaps, and nobody else gets it: `Groups::dirty_blocks`
//! counts it. Each block of that count is in one [`Promise`] or [`KeptPromises`], and leaves it in
//! one of two ways: it is spent, when a block is allocated, or given back, when the promise is
//! dropped. So nothing can be counted twice, or stay counted because a way out of a function
//! forgot it.

use super::{BlockKind, Groups};
use crate::fs::Sb;
use kernel::prelude::*;

/// Blocks that are promised to whoever has it.
#[must_use = "what is promised is given back when this is dropped"]
pub(crate) struct Promise<'a> {
    groups: &'a Groups,
    blocks: u32,
}

impl<'a> Promise<'a> {
    /// `n` blocks for data that is about to be accepted. `ENOSPC` if they are not there; then
    /// [`retry()`](super::retry()) may help. Any context that may sleep, with or without a handle.
    pub(crate) fn data(sb: &'a Sb, n: u32) -> Result<Self> {
        Self::some(&sb.data().groups, n, n, BlockKind::Data)
    }

    /// `n` blocks for extent tree nodes of data that is about to be accepted. They may be root's,
    /// and most of the pool. `ENOSPC`; otherwise as [`Promise::data`].
    pub(crate) fn nodes(sb: &'a Sb, n: u32) -> Result<Self> {
        Self::some(&sb.data().groups, n, n, BlockKind::Node)
    }

    /// `n` blocks that the caller is about to free, before others can be promised them. To be
    /// dropped if they do not become free. Cannot fail.
    pub(crate) fn freeing(sb: &'a Sb, n: u32) -> Self {
        let groups = &sb.data().groups;
        groups.dirty_blocks.add(n.into());
        Self { groups, blocks: n }
    }

    /// `want` blocks, or fewer, `min` at least.
    pub(super) fn some(groups: &'a Groups, want: u32, min: u32, kind: BlockKind) -> Result<Self> {
        let blocks = if want > 0 {
            groups.promise(want, min, kind)?
        } else {
            0
        };
        Ok(Self { groups, blocks })
    }

    /// How many there are.
    pub(crate) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// A promise of `n` of them, or of all if there are fewer.
    pub(crate) fn split(&mut self, n: u32) -> Self {
        let blocks = n.min(self.blocks);
        self.blocks -= blocks;
        Self { blocks, ..*self }
    }

    /// Both as one.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.blocks += core::mem::take(&mut other.blocks);
    }

    /// `n` of them have been allocated, and counted as free no more.
    pub(super) fn spend(&mut self, n: u32) {
        drop(self.split(n));
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if self.blocks > 0 {
            self.groups.dirty_blocks.sub(self.blocks.into());
        }
    }
}

/// What an inode keeps of promises, beside the blocks that they are for. It does not know the file
/// system, so it cannot give itself back: it is empty when the inode goes.
#[must_use = "what is promised would be lost"]
pub(crate) struct KeptPromises(u32);

impl KeptPromises {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// How many blocks are promised.
    pub(crate) fn blocks(&self) -> u32 {
        self.0
    }

    /// Keeps one more.
    pub(crate) fn add(&mut self, mut promise: Promise<'_>) {
        self.0 += core::mem::take(&mut promise.blocks);
    }

    /// A promise of `n` of them, or of all if there are fewer: to spend it or to give it back. `sb`
    /// is the inode's.
    pub(crate) fn take<'a>(&mut self, sb: &'a Sb, n: u32) -> Promise<'a> {
        let blocks = n.min(self.0);
        self.0 -= blocks;
        Promise {
            groups: &sb.data().groups,
            blocks,
        }
    }
}

impl Drop for KeptPromises {
    fn drop(&mut self) {
        if self.0 > 0 {
            pr_err!("an inode has gone with {} blocks promised to it\n", self.0);
        }
    }
}
