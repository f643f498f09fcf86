// SPDX-License-Identifier: GPL-2.0

//! Room for an entry.

use super::{
    head::{heads, lengths, needed},
    put_entry, put_rec_len, NewEntry, NAME_MAX,
};
use crate::disk::{superblock::Geometry, BlockEdit, BlockView, Corrupt, Result};

/// Room in a block for a new entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryRoom {
    /// The entry that gives it.
    host: usize,
    /// Bytes that the host keeps.
    kept: usize,
    rec_len: usize,
}

/// Finds room for an entry, `None` when the block is full. That the name is not there yet is for
/// the caller to know.
pub fn find_room<B: BlockView + ?Sized>(
    block: &B,
    geo: &Geometry,
    entry: &NewEntry<'_>,
) -> Result<Option<EntryRoom>> {
    // Encrypted it may hold any bytes, and others come from the VFS.
    if entry.name.is_empty() || entry.name.len() > NAME_MAX {
        return Err(Corrupt::DirentName);
    }
    if !geo.inode_exists(entry.ino) {
        return Err(Corrupt::DirentInode);
    }
    let need = needed(entry.name.len());
    let has_room = |offset, word| {
        let (rec_len, name_len) = lengths(word);
        let left = rec_len.wrapping_sub(needed(name_len));
        left >= need || rec_len >= need && block.any32(offset) == Some(0)
    };
    let found = heads(block, geo).pass(has_room)?;
    // Read once more, and that may be something else: another may write to the device.
    let found = found.filter(|(_, head)| head.free() >= need);
    Ok(found.map(|(_, head)| EntryRoom {
        host: head.offset,
        kept: head.rec_len - head.free(),
        rec_len: head.rec_len,
    }))
}

/// Puts an entry into the room that was found for it; returns its offset.
pub fn insert_in<B: BlockEdit + ?Sized>(
    block: &mut B,
    room: EntryRoom,
    entry: &NewEntry<'_>,
) -> Result<usize> {
    let at = room.host + room.kept;
    put_entry(block, at, room.rec_len - room.kept, entry)?;
    if room.kept != 0 {
        put_rec_len(block, room.host, room.kept)?;
    }
    Ok(at)
}

/// Adds an entry where there is room; returns its offset, or `None` when the block is full, as
/// [`find_room`].
pub fn insert(block: &mut [u8], geo: &Geometry, entry: &NewEntry<'_>) -> Result<Option<usize>> {
    match find_room(block, geo, entry)? {
        Some(room) => insert_in(block, room, entry).map(Some),
        None => Ok(None),
    }
}
