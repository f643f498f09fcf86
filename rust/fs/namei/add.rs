// SPDX-License-Identifier: GPL-2.0

//! Adding an entry to a directory.

use super::{
    dir_blocks,
    dirblock::{buffer, DirBlock, DirBlockKind},
    found::Added,
    htree,
    is_indexed,
    Inode, //
};
use crate::{
    disk::{
        dirent::{self, ftype_for_mode, NewEntry},
        features::COMPAT_DIR_INDEX,
        Lblk,
    },
    fs::namei::bad_dirblock,
    vfs::{fscrypt::DiskName, jbd2::Handle},
};
use kernel::{error::code::*, prelude::*};

/// What a directory says of `inode` under this name, which was looked for to be made.
pub(super) fn entry_for<'a>(name: &'a DiskName<'_>, inode: &Inode) -> Result<NewEntry<'a>> {
    Ok(NewEntry {
        name: name.bytes().ok_or(ENOKEY)?,
        ino: inode.ino(),
        ftype: ftype_for_mode(inode.mode(), &inode.fs().geo),
    })
}

/// Adds a name. i_rwsem of `dir` is held exclusive, the name is not
/// there, and `handle` has [`credits::ADD_NAME`]. Does not touch the directory's times.
///
/// `ENOSPC` leaves the directory as it was, but perhaps with a roomier index.
pub(super) fn add_name(handle: &Handle<'_>, dir: &Inode, entry: &NewEntry<'_>) -> Result<Added> {
    let geo = &dir.fs().geo;
    if is_indexed(dir) {
        return htree::add_entry(handle, dir, entry);
    }

    let count = dir_blocks(dir)?;
    for lblk in (0..count).map(Lblk::new) {
        dir.go_on()?;
        let block = DirBlock::read(dir, lblk, DirBlockKind::Leaf)?;
        if block.insert(handle, dir, entry)? {
            return Ok(Added::Beside);
        }
        if count == 1 && geo.features.has_compat(COMPAT_DIR_INDEX) {
            htree::make_index(handle, dir, block)?;
            return htree::add_first(handle, dir, entry);
        }
    }

    let (mut data, last) = (buffer(dir)?, Lblk::new(count));
    dirent::init_block(&mut data, geo).map_err(|e| bad_dirblock(dir, last, e))?;
    if !htree::insert_in_copy(&mut data, dir, last, entry)? {
        return Err(ENAMETOOLONG);
    }
    DirBlock::append(handle, dir, data, None)?;
    Ok(Added::Beside)
}
