// SPDX-License-Identifier: GPL-2.0

//! Extended attributes (`Documentation/filesystems/ext4/attributes.rst`): a block of their own,
//! shared by reference count, and the space in the inode behind its fields. Reading, and
//! what sharers need of the block. How a list changes: [`xattr_edit`](super::xattr_edit).

use super::checksum::crc32c;
use super::inode::GOOD_OLD_SIZE;
use super::superblock::Geometry;
use super::xattr_hash::hash_matches;
use super::{bytes, get, put, Corrupt, Pblk, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Magic of the block and of the space in the inode.
pub const MAGIC: u32 = 0xea02_0000;
/// Inodes that may share a block.
pub const REFCOUNT_MAX: u32 = 1024;

pub(super) const HEADER_SIZE: usize = 32;
const CHECKSUM_OFFSET: usize = 16;
pub(super) const ENTRY_SIZE: usize = 16;
/// Bytes of the magic before the entries in an inode.
pub const MAGIC_SIZE: usize = 4;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawXattrHeader {
    pub(super) magic: U32,
    pub(super) refcount: U32,
    pub(super) blocks: U32,
    pub(super) hash: U32,
    pub(super) checksum: U32,
    pub(super) reserved: [U32; 3],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawXattrEntry {
    pub(super) name_len: u8,
    pub(super) name_index: u8,
    pub(super) value_offs: U16,
    pub(super) value_inum: U32,
    pub(super) value_size: U32,
    pub(super) hash: U32,
}

const _: () = assert!(core::mem::size_of::<RawXattrHeader>() == HEADER_SIZE);
const _: () = assert!(core::mem::size_of::<RawXattrEntry>() == ENTRY_SIZE);

/// One attribute, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrEntry<'a> {
    /// Which prefix the full name has.
    pub name_index: u8,
    /// The name behind the prefix.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Of name and value as the disk has it, 0 if there is none.
    pub hash: u32,
}

/// The attributes of a block or inode. Ends after the first error.
#[derive(Clone, Debug)]
pub struct XattrEntries<'a> {
    /// The bytes value offsets count from.
    base: &'a [u8],
    offset: usize,
    done: bool,
}

impl<'a> XattrEntries<'a> {
    /// The list that begins at `offset` of what value offsets count from.
    pub fn new(base: &'a [u8], offset: usize) -> Self {
        Self {
            base,
            offset,
            done: false,
        }
    }

    /// Checks that the list ends inside its buffer and that no value lies over an entry.
    pub fn check(&self) -> Result<()> {
        let mut list = self.clone();
        for entry in list.by_ref() {
            entry?;
        }
        let list_end = list.offset + 4;
        let mut offset = self.offset;
        while offset < list.offset {
            let raw: RawXattrEntry = get(self.base, offset).map_err(|_| Corrupt::XattrEntry)?;
            if raw.value_size.get() != 0 && usize::from(raw.value_offs.get()) < list_end {
                return Err(Corrupt::XattrValue);
            }
            offset = (offset + ENTRY_SIZE + usize::from(raw.name_len) + 3) & !3;
        }
        Ok(())
    }

    /// Checks what the entries say of their contents, beyond where these lie.
    pub fn check_hashes(&self) -> Result<()> {
        for entry in self.clone() {
            let entry = entry?;
            if !hash_matches(entry.hash, entry.name, entry.value) {
                return Err(Corrupt::XattrHash);
            }
        }
        Ok(())
    }

    /// The attribute of this prefix and name.
    pub fn find(&self, name_index: u8, name: &[u8]) -> Result<Option<XattrEntry<'a>>> {
        for entry in self.clone() {
            let entry = entry?;
            if entry.name_index == name_index && entry.name == name {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<Option<XattrEntry<'a>>> {
        // Four zero bytes end the list.
        let end: U32 = get(self.base, self.offset).map_err(|_| Corrupt::XattrEntry)?;
        if end.get() == 0 {
            return Ok(None);
        }
        let raw: RawXattrEntry = get(self.base, self.offset).map_err(|_| Corrupt::XattrEntry)?;
        let name_at = self.offset + ENTRY_SIZE;
        let name = bytes(self.base, name_at, usize::from(raw.name_len))
            .map_err(|_| Corrupt::XattrEntry)?;
        let next = (name_at + name.len() + 3) & !3;
        // Values in inodes of their own come with ea_inode, which refuses the mount.
        // Neither prefix nor name: written anew, without a value, it would be the end of the list.
        let nameless = raw.name_index == 0 && name.is_empty();
        if raw.value_inum.get() != 0 || name.contains(&0) || nameless {
            return Err(Corrupt::XattrEntry);
        }
        let size = raw.value_size.get() as usize;
        let value = if size == 0 {
            &[]
        } else {
            let at = usize::from(raw.value_offs.get());
            if at < next {
                return Err(Corrupt::XattrValue);
            }
            bytes(self.base, at, size).map_err(|_| Corrupt::XattrValue)?
        };
        self.offset = next;
        Ok(Some(XattrEntry {
            name_index: raw.name_index,
            name,
            value,
            hash: raw.hash.get(),
        }))
    }
}

impl<'a> Iterator for XattrEntries<'a> {
    type Item = Result<XattrEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.read() {
            Ok(Some(entry)) => Some(Ok(entry)),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(e) => {
                self.done = true;
                Some(Err(e))
            }
        }
    }
}

/// Checks an attribute block read from the disk (`pblk`): header, checksum, all entries. Returns
/// the reference count.
pub fn check_block(block: &[u8], geo: &Geometry, pblk: Pblk) -> Result<u32> {
    let h: RawXattrHeader = get(block, 0)?;
    if h.magic.get() != MAGIC {
        return Err(Corrupt::XattrMagic);
    }
    let refcount = h.refcount.get();
    if h.blocks.get() != 1 || refcount == 0 || refcount > REFCOUNT_MAX {
        return Err(Corrupt::XattrHeader);
    }
    if geo.has_metadata_csum && h.checksum.get() != computed_csum(block, geo, pblk)? {
        return Err(Corrupt::XattrChecksum);
    }
    block_entries(block, geo)?.check()?;
    Ok(refcount)
}

/// The attributes of a block; value offsets count from its start.
pub fn block_entries<'a>(block: &'a [u8], geo: &Geometry) -> Result<XattrEntries<'a>> {
    let base = bytes(block, 0, geo.block_size as usize)?;
    Ok(XattrEntries::new(base, HEADER_SIZE))
}

/// How many inodes share a block that [`check_block`] has passed.
pub fn refcount(block: &[u8]) -> Result<u32> {
    get::<RawXattrHeader>(block, 0).map(|h| h.refcount.get())
}

/// The hash over all attributes of a block that [`check_block`] has passed; 0 if it is not to be
/// shared.
pub fn block_hash(block: &[u8]) -> Result<u32> {
    get::<RawXattrHeader>(block, 0).map(|h| h.hash.get())
}

/// Whether two blocks that [`check_block`] has passed hold the same attributes in the same order.
pub fn same_entries(one: &[u8], other: &[u8], geo: &Geometry) -> Result<bool> {
    let mut others = block_entries(other, geo)?;
    for entry in block_entries(one, geo)? {
        if others.next() != Some(entry) {
            return Ok(false);
        }
    }
    Ok(others.next().is_none())
}

/// Where attributes lie in an inode that has `extra_isize` bytes of fields behind the first 128;
/// `None` if there is no room for any.
pub fn inode_space(geo: &Geometry, extra_isize: u16) -> Option<core::ops::Range<usize>> {
    let start = GOOD_OLD_SIZE + usize::from(extra_isize);
    let end = usize::from(geo.inode_size);
    // An empty list is its end, four bytes.
    (extra_isize != 0 && start + MAGIC_SIZE + 4 <= end).then_some(start..end)
}

/// Whether the space of an inode ([`inode_space`]), of which `start` is the beginning, says that
/// there are attributes.
pub fn is_in_use(start: &[u8]) -> bool {
    get::<U32>(start, 0).is_ok_and(|magic| magic.get() == MAGIC)
}

/// The attributes in an inode, checked: `space` is [`inode_space`] of it. Value offsets count from
/// the first entry. `None` where the inode says that there are none.
pub fn inode_entries(space: &[u8]) -> Result<Option<XattrEntries<'_>>> {
    if !is_in_use(space) {
        return Ok(None);
    }
    let list = space.get(MAGIC_SIZE..).ok_or(Corrupt::ShortBuffer)?;
    let entries = XattrEntries::new(list, 0);
    entries.check()?;
    Ok(Some(entries))
}

fn computed_csum(block: &[u8], geo: &Geometry, pblk: Pblk) -> Result<u32> {
    let size = geo.block_size as usize;
    let crc = crc32c(geo.csum_seed, &pblk.get().to_le_bytes());
    let crc = crc32c(crc, bytes(block, 0, CHECKSUM_OFFSET)?);
    let crc = crc32c(crc, &[0; 4]);
    let rest = CHECKSUM_OFFSET + 4;
    Ok(crc32c(crc, bytes(block, rest, size - rest)?))
}

/// Sets the reference count of a block and brings its checksum up to date.
pub fn set_refcount(block: &mut [u8], geo: &Geometry, pblk: Pblk, refcount: u32) -> Result<()> {
    put(block, 4, &U32::new(refcount))?;
    if geo.has_metadata_csum {
        let crc = computed_csum(block, geo, pblk)?;
        put(block, CHECKSUM_OFFSET, &U32::new(crc))?;
    }
    Ok(())
}
