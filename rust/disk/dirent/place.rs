// SPDX-License-Identifier: GPL-2.0

//! Entries that were found, to be removed or changed.

use super::{
    head::{heads_from, Head},
    put_rec_len,
};
use crate::disk::{superblock::Geometry, BlockEdit, BlockView, Corrupt, Ino, Result};

/// Where an entry begins, and the one before it, if there is one: what the search has passed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// Byte offset of the one before; of the first entry its own.
    pub before: usize,
    /// Byte offset in the block.
    pub offset: usize,
}

/// The entry at a place, with the one before it, to which its bytes may go. An entry may have come
/// between the two since the search; none has gone, so that it is found from there on.
fn entry_at<B: BlockView + ?Sized>(
    block: &B,
    geo: &Geometry,
    place: EntryPlace,
) -> Result<(Option<Head>, Head)> {
    let mut prev = None;
    for head in heads_from(block, geo, place.before) {
        let head = head?;
        if head.offset == place.offset {
            return Ok((prev, head));
        }
        prev = Some(head);
    }
    Err(Corrupt::DirentOffset)
}

/// Removes an entry: its space goes to the one before it, the first one of a block stays as an
/// unused entry. What the entry held is wiped.
pub fn delete_entry<B: BlockEdit + ?Sized>(
    block: &mut B,
    geo: &Geometry,
    place: EntryPlace,
) -> Result<()> {
    let (
        prev,
        Head {
            offset, rec_len, ..
        },
    ) = entry_at(block, geo, place)?;
    block.wipe(offset..offset + rec_len)?;
    match prev {
        Some(prev) => put_rec_len(block, prev.offset, prev.rec_len + rec_len),
        None => put_rec_len(block, offset, rec_len),
    }
}

/// Makes an entry point to another inode (rename over it).
pub fn set_inode<B: BlockEdit + ?Sized>(
    block: &mut B,
    geo: &Geometry,
    place: EntryPlace,
    ino: Ino,
    ft: u8,
) -> Result<()> {
    let (_, Head { offset, .. }) = entry_at(block, geo, place)?;
    if !geo.inode_exists(ino) {
        return Err(Corrupt::DirentInode);
    }
    block.set(offset, &ino.get().to_le_bytes())?;
    block.set(offset + 7, &[ft])
}
