// SPDX-License-Identifier: GPL-2.0

//! Names looked up in a directory block.

use super::{
    entries,
    head::{heads, lengths, HEADER_SIZE},
    EntryPlace,
};
use crate::disk::{superblock::Geometry, BlockView, Ino, Result};

/// Looks a name up in a block: where its entry is, and the inode.
pub fn search_block<B: BlockView + ?Sized>(
    block: &B,
    geo: &Geometry,
    name: &[u8],
) -> Result<Option<(EntryPlace, Ino)>> {
    let is_it = |offset: usize, word| {
        lengths(word).1 == name.len()
            && block.holds(offset + HEADER_SIZE, name)
            && block.any32(offset) != Some(0)
    };
    let found = match name.split_last_chunk::<4>() {
        // Names of a directory are often as long as each other, and differ at their ends.
        Some((rest, end)) => {
            let (at, end) = (HEADER_SIZE + rest.len(), u32::from_le_bytes(*end));
            let ends_so = |offset: usize| block.any32(offset.wrapping_add(at)) == Some(end);
            heads(block, geo).pass(|offset, word| {
                lengths(word).1 == name.len() && ends_so(offset) && is_it(offset, word)
            })?
        }
        None => heads(block, geo).pass(is_it)?,
    };
    Ok(found.and_then(|(before, head)| {
        let offset = head.offset;
        Some((EntryPlace { before, offset }, head.ino?))
    }))
}

/// Looks for the name that `is_it` knows: as [`search_block`].
pub fn search_by(
    block: &[u8],
    geo: &Geometry,
    is_it: impl Fn(&[u8]) -> bool,
) -> Result<Option<(EntryPlace, Ino)>> {
    let mut before = 0;
    for entry in entries(block, geo) {
        let entry = entry?;
        let offset = entry.offset;
        if let Some(ino) = entry.ino.filter(|_| is_it(entry.name)) {
            return Ok(Some((EntryPlace { before, offset }, ino)));
        }
        before = offset;
    }
    Ok(None)
}
