// SPDX-License-Identifier: GPL-2.0

//! What the position in an open directory is, which [`super::readdir()`] goes on from and lseek
//! sets.

use super::{is_indexed, Inode};
use crate::disk::{block_map, features::COMPAT_DIR_INDEX, inode::flags};

/// Whether positions of a directory of so many blocks are made of hashes.
pub(super) fn by_hashes(dir: &Inode, count: u32) -> bool {
    // A directory of one block gets an index when it grows: positions stay good then.
    let soon = count == 1 && dir.fs().geo.features.has_compat(COMPAT_DIR_INDEX);
    is_indexed(dir) || soon
}

/// The largest position where positions are bytes: a file of this format can have as many. No lock
/// is held.
pub(crate) fn byte_positions(dir: &Inode) -> Option<u64> {
    let geo = &dir.fs().geo;
    // CAST: More than there can be is not one.
    let count = (dir.size() >> geo.block_bits) as u32;
    if by_hashes(dir, count) {
        return None;
    }
    Some(if dir.info().flags() & flags::EXTENTS == 0 {
        block_map::max_size(geo)
    } else {
        geo.max_file_size
    })
}
