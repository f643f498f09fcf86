// SPDX-License-Identifier: GPL-2.0

//! Changes of a list of extended attributes. The list is written anew into another buffer: entries
//! from the front, values from the end. So a list that is damaged in a way that the checks let
//! pass (two values that overlap) is copied as what it says, and nothing is moved over anything.

use super::xattr::{
    RawXattrEntry, RawXattrHeader, XattrEntries, XattrEntry, ENTRY_SIZE, HEADER_SIZE, MAGIC,
    MAGIC_SIZE,
};
use super::xattr_hash::{add_to_block, entry_hash};
use super::{bytes_mut, put, Corrupt, Result};
use core::cmp::Ordering;
use zerocopy::little_endian::{U16, U32};

/// An attribute to be set, or removed.
#[derive(Clone, Copy, Debug)]
pub struct AttrChange<'a> {
    /// Which prefix the full name has.
    pub name_index: u8,
    /// The name behind the prefix.
    pub name: &'a [u8],
    /// What it shall be; `None` removes it.
    pub value: Option<&'a [u8]>,
}

impl AttrChange<'_> {
    /// Blocks are in this order.
    fn order(&self, entry: &XattrEntry<'_>) -> Ordering {
        let key = |index: u8, name: &[u8]| (index, name.len());
        key(self.name_index, self.name)
            .cmp(&key(entry.name_index, entry.name))
            .then_with(|| self.name.cmp(entry.name))
    }
}

/// Where a list lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the inode, behind its fields: [`inode_space`](super::xattr::inode_space).
    Inode,
    /// In a block of its own.
    Block,
}

impl Place {
    /// Where the first entry is.
    const fn first(self) -> usize {
        match self {
            Place::Inode => MAGIC_SIZE,
            Place::Block => HEADER_SIZE,
        }
    }
}

/// What became of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// It does not fit.
    Full,
    /// Nothing is left.
    Empty,
    /// It is in the new buffer.
    Filled,
}

/// A list that is being written.
struct ListWriter<'b> {
    buf: &'b mut [u8],
    place: Place,
    /// What value offsets count from.
    base: usize,
    /// Where the next entry goes.
    entry: usize,
    /// Where the values begin.
    values: usize,
    hash: Option<u32>,
}

impl<'b> ListWriter<'b> {
    fn new(place: Place, buf: &'b mut [u8]) -> Self {
        buf.fill(0);
        let base = match place {
            Place::Inode => MAGIC_SIZE,
            Place::Block => 0,
        };
        let values = buf.len() & !3;
        Self {
            buf,
            place,
            base,
            entry: place.first(),
            values,
            hash: Some(0),
        }
    }

    /// Adds an attribute. False if there is no room.
    fn push(&mut self, entry: &XattrEntry<'_>) -> Result<bool> {
        let Ok(name_len) = u8::try_from(entry.name.len()) else {
            return Ok(false);
        };
        let (len, padded) = (entry.value.len(), entry.value.len().next_multiple_of(4));
        let next = (self.entry + ENTRY_SIZE + entry.name.len()).next_multiple_of(4);
        let Some(at) = self.values.checked_sub(padded).filter(|at| next + 4 <= *at) else {
            return Ok(false);
        };
        let hash = match self.place {
            Place::Inode => entry.hash,
            Place::Block => entry_hash(entry.name, entry.value),
        };
        self.hash = add_to_block(self.hash, hash);
        let offs = if len == 0 { 0 } else { at - self.base };
        let raw = RawXattrEntry {
            name_len,
            name_index: entry.name_index,
            value_offs: U16::new(u16::try_from(offs).map_err(|_| Corrupt::XattrValue)?),
            value_inum: U32::new(0),
            value_size: U32::new(u32::try_from(len).map_err(|_| Corrupt::XattrValue)?),
            hash: U32::new(hash),
        };
        put(self.buf, self.entry, &raw)?;
        let name_at = self.entry + ENTRY_SIZE;
        bytes_mut(self.buf, name_at, entry.name.len())?.copy_from_slice(entry.name);
        bytes_mut(self.buf, at, len)?.copy_from_slice(entry.value);
        (self.entry, self.values) = (next, at);
        Ok(true)
    }

    /// Writes what is before the entries.
    fn finish(self) -> Result<Rewritten> {
        if self.entry == self.place.first() {
            return Ok(Rewritten::Empty);
        }
        match self.place {
            Place::Inode => put(self.buf, 0, &U32::new(MAGIC))?,
            Place::Block => {
                let header = RawXattrHeader {
                    magic: U32::new(MAGIC),
                    refcount: U32::new(1),
                    blocks: U32::new(1),
                    hash: U32::new(self.hash.unwrap_or(0)),
                    checksum: U32::new(0),
                    reserved: [U32::new(0); 3],
                };
                put(self.buf, 0, &header)?;
            }
        }
        Ok(Rewritten::Filled)
    }
}

/// Bytes that an attribute takes of a list.
fn size(entry: &XattrEntry<'_>) -> usize {
    let name_end = ENTRY_SIZE + entry.name.len();
    name_end.next_multiple_of(4) + entry.value.len().next_multiple_of(4)
}

/// Bytes that a list takes, with what is before and behind the entries; none if it has no entry.
pub fn used(list: Option<XattrEntries<'_>>, place: Place) -> Result<usize> {
    let mut used = 0;
    for entry in list.into_iter().flatten() {
        used += size(&entry?);
    }
    Ok(if used == 0 {
        0
    } else {
        place.first() + used + 4
    })
}

/// Which attribute had best leave a list, so that `need` bytes more are free in it, for a place
/// where `room` bytes are: the smallest that is enough, else the last that fits, as in ext4.
pub fn to_leave(
    list: XattrEntries<'_>,
    need: usize,
    room: usize,
) -> Result<Option<XattrEntry<'_>>> {
    let (mut enough, mut other): (Option<XattrEntry<'_>>, _) = (None, None);
    for entry in list {
        let entry = entry?;
        let len = size(&entry);
        if len > room {
            continue;
        }
        if len < need {
            other = Some(entry);
        } else if enough.is_none_or(|best| len < size(&best)) {
            enough = Some(entry);
        }
    }
    Ok(enough.or(other))
}

/// Writes the list `old` of an inode, which has been checked, into `new`, which may be smaller.
pub fn fit(old: XattrEntries<'_>, new: &mut [u8]) -> Result<Rewritten> {
    let mut list = ListWriter::new(Place::Inode, new);
    for entry in old {
        if !list.push(&entry?)? {
            return Ok(Rewritten::Full);
        }
    }
    list.finish()
}

/// Writes the list `old`, which has been checked, into `new` with `change` made. A new block has
/// one owner, and no checksum yet: [`set_refcount`](super::xattr::set_refcount). A block that is in
/// order stays so.
pub fn rewrite(
    old: Option<XattrEntries<'_>>,
    change: &AttrChange<'_>,
    place: Place,
    new: &mut [u8],
) -> Result<Rewritten> {
    let mut list = ListWriter::new(place, new);
    let mut added = change.value.map(|value| XattrEntry {
        name_index: change.name_index,
        name: change.name,
        value,
        hash: 0,
    });
    for entry in old.into_iter().flatten() {
        let entry = entry?;
        let order = change.order(&entry);
        let here = order == Ordering::Equal || place == Place::Block && order == Ordering::Less;
        if let Some(added) = added.take_if(|_| here) {
            if !list.push(&added)? {
                return Ok(Rewritten::Full);
            }
        }
        if order != Ordering::Equal && !list.push(&entry)? {
            return Ok(Rewritten::Full);
        }
    }
    match added {
        Some(added) if !list.push(&added)? => Ok(Rewritten::Full),
        _ => list.finish(),
    }
}
