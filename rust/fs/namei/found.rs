// SPDX-License-Identifier: GPL-2.0

//! An entry of a directory, and where it is.

use super::{bad_dirblock, dirblock::DirBlock, Inode};
use crate::{
    disk::{
        dirent::{self, ftype_for_mode},
        Ino,
    },
    vfs::{fscrypt::DiskName, jbd2::Handle},
};
use kernel::prelude::*;

/// An entry and the block it is in.
pub(super) struct FoundEntry {
    pub(super) block: DirBlock,
    pub(super) offset: usize,
    /// The inode it names.
    pub(super) ino: Ino,
}

impl FoundEntry {
    /// Makes the entry name another inode.
    pub(super) fn set_inode(&self, handle: &Handle<'_>, dir: &Inode, to: &Inode) -> Result {
        let geo = &dir.fs().geo;
        let (ino, ftype) = (to.ino(), ftype_for_mode(to.mode(), geo));
        self.block.change(handle, dir, |block| {
            dirent::set_inode(block, geo, self.offset, ino, ftype)
        })
    }

    /// Removes the entry.
    pub(super) fn delete(self, handle: &Handle<'_>, dir: &Inode) -> Result {
        self.block.change(handle, dir, |block| {
            dirent::delete_entry(block, &dir.fs().geo, self.offset)
        })
    }
}

impl DirBlock {
    /// Looks for a name in a leaf; gives the block back if it is not there.
    pub(super) fn search(
        self,
        dir: &Inode,
        name: &DiskName<'_>,
    ) -> Result<core::result::Result<FoundEntry, DirBlock>> {
        let geo = &dir.fs().geo;
        let found = match name.bytes() {
            Some(bytes) => dirent::search_block(self.view(), geo, bytes),
            None => dirent::search_by(&self.copy()?, geo, |entry| name.matches(entry)),
        };
        let found = found.map_err(|e| bad_dirblock(dir, self.lblk, e))?;
        Ok(match found {
            Some((offset, ino)) => Ok(FoundEntry {
                block: self,
                offset,
                ino,
            }),
            None => Err(self),
        })
    }
}

/// The leaves that [`add_name`](super::add::add_name) changed.
pub(super) struct Added {
    leaf: DirBlock,
    /// The other half of a leaf that was split.
    other: Option<DirBlock>,
}

impl Added {
    pub(super) fn one(leaf: DirBlock) -> Self {
        Self { leaf, other: None }
    }

    pub(super) fn split(leaf: DirBlock, other: DirBlock) -> Self {
        Self {
            leaf,
            other: Some(other),
        }
    }

    /// Where an entry of the directory, `name`, is now that was at `old` before. Needs no memory.
    pub(super) fn follow(
        self,
        dir: &Inode,
        name: &DiskName<'_>,
        old: FoundEntry,
    ) -> Result<FoundEntry> {
        for block in [Some(self.leaf), self.other].into_iter().flatten() {
            if let Ok(found) = block.search(dir, name)? {
                return Ok(found);
            }
        }
        Ok(old)
    }
}
