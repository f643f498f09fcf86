// SPDX-License-Identifier: GPL-2.0

//! An entry of a directory, and where it is.

use super::{bad_dirblock, dirblock::DirBlock, Inode};
use crate::{
    disk::{
        dirent::{self, ftype_for_mode},
        Ino,
    },
    vfs::jbd2::Handle,
};
use kernel::prelude::*;

/// An entry and the copy of the block it is in.
pub(super) struct FoundEntry {
    pub(super) block: DirBlock,
    pub(super) offset: usize,
    /// The inode it names.
    pub(super) ino: Ino,
}

impl FoundEntry {
    /// Makes the entry name another inode.
    pub(super) fn set_inode(&mut self, handle: &Handle<'_>, dir: &Inode, to: &Inode) -> Result {
        let geo = &dir.fs().geo;
        let ftype = ftype_for_mode(to.mode(), geo);
        dirent::set_inode(&mut self.block.data, geo, self.offset, to.ino(), ftype)
            .map_err(|e| bad_dirblock(dir, self.block.lblk, e))?;
        self.ino = to.ino();
        self.block.store(handle, dir, None)
    }

    /// Removes the entry.
    pub(super) fn delete(mut self, handle: &Handle<'_>, dir: &Inode) -> Result {
        dirent::delete_entry(&mut self.block.data, &dir.fs().geo, self.offset)
            .map_err(|e| bad_dirblock(dir, self.block.lblk, e))?;
        self.block.store(handle, dir, None)
    }
}

impl DirBlock {
    /// Looks for a name in a leaf; gives the block back if it is not there.
    pub(super) fn search(
        self,
        dir: &Inode,
        name: &[u8],
    ) -> Result<core::result::Result<FoundEntry, DirBlock>> {
        let found = dirent::search_block(&self.data, &dir.fs().geo, name)
            .map_err(|e| bad_dirblock(dir, self.lblk, e))?
            .and_then(|entry| Some((entry.offset, entry.ino?)));
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

/// The leaves that [`add_name`](super::add::add_name) changed, as they are now.
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
    pub(super) fn follow(self, dir: &Inode, name: &[u8], old: FoundEntry) -> Result<FoundEntry> {
        for block in [Some(self.leaf), self.other].into_iter().flatten() {
            if let Ok(found) = block.search(dir, name)? {
                return Ok(found);
            }
        }
        Ok(old)
    }
}
