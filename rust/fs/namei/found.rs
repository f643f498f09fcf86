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
    pub(super) place: dirent::EntryPlace,
    /// The inode it names.
    pub(super) ino: Ino,
}

impl FoundEntry {
    /// Makes the entry name another inode.
    pub(super) fn set_inode(&self, handle: &Handle<'_>, dir: &Inode, to: &Inode) -> Result {
        let geo = &dir.fs().geo;
        let (ino, ftype) = (to.ino(), ftype_for_mode(to.mode(), geo));
        self.block.change(handle, dir, |block| {
            dirent::set_inode(block, geo, self.place, ino, ftype)
        })
    }

    /// Removes the entry.
    pub(super) fn delete(self, handle: &Handle<'_>, dir: &Inode) -> Result {
        self.block.change(handle, dir, |block| {
            dirent::delete_entry(block, &dir.fs().geo, self.place)
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
            Some(bytes) => dirent::search_block(&self.view().bytes(), geo, bytes),
            None => dirent::search_by(&self.copy()?, geo, |entry| name.matches(entry)),
        };
        let found = found.map_err(|e| bad_dirblock(dir, self.lblk, e))?;
        Ok(match found {
            Some((place, ino)) => Ok(FoundEntry {
                block: self,
                place,
                ino,
            }),
            None => Err(self),
        })
    }
}

/// What [`add_name`](super::add::add_name) did to the names that were there.
pub(super) enum Added {
    /// They are where they were: an entry that comes takes what others do not need.
    Beside,
    /// They moved to these leaves: one was split, or there is an index now.
    Moved(DirBlock, Option<DirBlock>),
}

impl Added {
    /// Where an entry of the directory, `name`, is now that was at `old` before. Needs no memory.
    pub(super) fn follow(
        self,
        dir: &Inode,
        name: &DiskName<'_>,
        old: FoundEntry,
    ) -> Result<FoundEntry> {
        let Added::Moved(leaf, other) = self else {
            return Ok(old);
        };
        for block in [Some(leaf), other].into_iter().flatten() {
            if let Ok(found) = block.search(dir, name)? {
                return Ok(found);
            }
        }
        Ok(old)
    }
}
