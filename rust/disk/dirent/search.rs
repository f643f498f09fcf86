// SPDX-License-Identifier: GPL-2.0

//! Names looked up in a directory block.

use super::{entries, heads};
use crate::disk::{superblock::Geometry, BlockView, Ino, Result};

/// Looks a name up in a block: where its entry begins, and the inode.
pub fn search_block<B: BlockView + ?Sized>(
    block: &B,
    geo: &Geometry,
    name: &[u8],
) -> Result<Option<(usize, Ino)>> {
    let found = heads(block, geo).find(name)?;
    Ok(found.and_then(|head| Some((head.offset, head.ino?))))
}

/// Looks for the name that `is_it` knows: as [`search_block`].
pub fn search_by(
    block: &[u8],
    geo: &Geometry,
    is_it: impl Fn(&[u8]) -> bool,
) -> Result<Option<(usize, Ino)>> {
    for entry in entries(block, geo) {
        let entry = entry?;
        if let Some(ino) = entry.ino.filter(|_| is_it(entry.name)) {
            return Ok(Some((entry.offset, ino)));
        }
    }
    Ok(None)
}
