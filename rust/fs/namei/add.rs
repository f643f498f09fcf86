// SPDX-License-Identifier: GPL-2.0

//! Adding an entry to a directory.

use super::{
    blocks,
    dirblock::{buffer, DirBlock, Kind},
    htree::{self, NewEntry},
    is_indexed,
    Inode, //
};
use crate::{
    disk::{
        dirent::{self, ftype_for_mode},
        features::COMPAT_DIR_INDEX,
    },
    fs::namei::bad,
    vfs::jbd2::Handle,
};
use kernel::prelude::*;

/// Adds a name for inode `ino` of type `mode`. i_rwsem of `dir` is held exclusive, the name is not
/// there, and `handle` has [`super::ADD_CREDITS`]. Does not touch the directory's times.
///
/// `ENOSPC` leaves the directory as it was, but perhaps with a roomier index.
pub(super) fn add(handle: &Handle<'_>, dir: &Inode, name: &[u8], ino: u32, mode: u16) -> Result {
    let geo = &dir.fs().geo;
    let entry = NewEntry {
        name,
        ino,
        ftype: ftype_for_mode(mode, geo),
    };
    if is_indexed(dir) {
        return htree::add(handle, dir, &entry);
    }

    let count = blocks(dir)?;
    for lblk in 0..count {
        let mut block = DirBlock::read(dir, lblk, Kind::Leaf)?;
        if entry.insert(&mut block.data, dir, lblk)? {
            return block.store(handle, dir, None);
        }
        if count == 1 && geo.features.has_compat(COMPAT_DIR_INDEX) {
            htree::make_index(handle, dir, block)?;
            return htree::add(handle, dir, &entry);
        }
    }

    let mut data = buffer(dir)?;
    dirent::init_block(&mut data, geo).map_err(|e| bad(dir, count, e))?;
    if !entry.insert(&mut data, dir, count)? {
        return Err(ENAMETOOLONG);
    }
    DirBlock::append(handle, dir, data, None).map(|_| ())
}
