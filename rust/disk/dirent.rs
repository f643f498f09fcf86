// SPDX-License-Identifier: GPL-2.0

//! Directory blocks (`Documentation/filesystems/ext4/directory.rst`, "Linear Directories"): entries
//! that fill the block without a gap, each with the distance to the next one (`rec_len`). Inode 0
//! marks an unused entry. With metadata_csum the last 12 bytes look like an unused entry of type
//! 0xde and hold the checksum.
//!
//! The functions take one whole block. `seed` is [`super::InodeFields::csum_seed`] of the
//! directory; changing functions leave the checksum to [`update_csum`].

mod head;
mod place;
mod room;
mod search;

pub use head::{needed, HEADER_SIZE, MIN_REC_LEN};
pub use place::{delete_entry, set_inode, EntryPlace};
pub use room::{find_room, insert, insert_in};
pub use search::{search_block, search_by};

use super::encrypted;
use super::inode;
use super::superblock::Geometry;
use super::{bytes, bytes_mut, BlockEdit, BlockView, Corrupt, Ino, Result};
use head::{heads, Head, Heads};
use zerocopy::little_endian::{U16, U32};
use zerocopy::IntoBytes as _;
use zerocopy_derive::{Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest name in bytes.
pub const NAME_MAX: usize = 255;
/// Bytes of the checksum tail.
pub const TAIL_SIZE: usize = 12;
const FT_DIR_CSUM: u8 = 0xde;

/// File types of directory entries.
#[allow(missing_docs, reason = "the constants are the names of the format")]
pub mod ftype {
    pub const UNKNOWN: u8 = 0;
    pub const REG: u8 = 1;
    pub const DIR: u8 = 2;
    pub const CHR: u8 = 3;
    pub const BLK: u8 = 4;
    pub const FIFO: u8 = 5;
    pub const SOCK: u8 = 6;
    pub const SYMLINK: u8 = 7;
}

/// The file type for a mode; unknown where the filesystem does not store it.
pub fn ftype_for_mode(mode: u16, geo: &Geometry) -> u8 {
    if !geo
        .features
        .has_incompat(super::features::INCOMPAT_FILETYPE)
    {
        return ftype::UNKNOWN;
    }
    match mode & inode::S_IFMT {
        inode::S_IFREG => ftype::REG,
        inode::S_IFDIR => ftype::DIR,
        inode::S_IFCHR => ftype::CHR,
        inode::S_IFBLK => ftype::BLK,
        inode::S_IFIFO => ftype::FIFO,
        inode::S_IFSOCK => ftype::SOCK,
        inode::S_IFLNK => ftype::SYMLINK,
        _ => ftype::UNKNOWN,
    }
}

#[derive(IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDirEntry {
    inode: U32,
    rec_len: U16,
    name_len: u8,
    file_type: u8,
}

#[derive(IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTail {
    zero1: U32,
    rec_len: U16,
    zero2: u8,
    ft: u8,
    checksum: U32,
}

/// One entry of a block, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Byte offset in the block.
    pub offset: usize,
    /// Bytes to the next entry.
    pub rec_len: usize,
    /// The inode it names; none when unused.
    pub ino: Option<Ino>,
    /// See [`ftype`].
    pub ftype: u8,
    /// The name; empty or meaningless when unused.
    pub name: &'a [u8],
}

impl DirEntry<'_> {
    /// Whether this is `.` or `..`.
    pub fn is_dot(&self) -> bool {
        self.name == b"." || self.name == b".."
    }
}

/// A one in each byte.
const ONES: u64 = u64::MAX / 0xff;

/// Whether some byte of the word is zero.
fn has_zero(word: u64) -> bool {
    word.wrapping_sub(ONES) & !word & (ONES << 7) != 0
}

/// Whether a name can stand in a directory at all. Each of a block that was just read is asked, so
/// it goes by words.
pub fn name_valid(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > NAME_MAX {
        return false;
    }
    let mut rest = name;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        if has_zero(word) || has_zero(word ^ (ONES * u64::from(b'/'))) {
            return false;
        }
        rest = behind;
    }
    !rest.iter().any(|&b| b == 0 || b == b'/')
}

/// The entries of a block, in order, unused ones included. Ends after the first error.
#[derive(Debug)]
pub struct DirEntries<'a>(Heads<'a, [u8]>);

/// Iterates over a block that holds entries only (not one of a directory index).
pub fn entries<'a>(block: &'a [u8], geo: &Geometry) -> DirEntries<'a> {
    DirEntries(heads(block, geo))
}

impl<'a> Iterator for DirEntries<'a> {
    type Item = Result<DirEntry<'a>>;

    // Handed on in memory it would be twice as much to do.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let head = match self.0.next()? {
            Ok(head) => head,
            Err(e) => return Some(Err(e)),
        };
        let name = bytes(self.0.block, head.offset + HEADER_SIZE, head.name_len);
        Some(name.map(|name| DirEntry {
            offset: head.offset,
            rec_len: head.rec_len,
            ino: head.ino,
            ftype: head.ftype,
            name,
        }))
    }
}

/// Iterates over the used entries that begin at or behind `offset`, which need not be the start of
/// one (entries may have been merged since a position was handed out).
pub fn entries_from<'a>(
    block: &'a [u8],
    geo: &Geometry,
    offset: usize,
) -> impl Iterator<Item = Result<DirEntry<'a>>> {
    entries(block, geo).filter(move |e| match e {
        Ok(e) => e.offset >= offset && e.ino.is_some(),
        Err(_) => true,
    })
}

/// Checks a block read from the disk: checksum, every entry, every name.
pub fn check_block(block: &[u8], geo: &Geometry, seed: u32) -> Result<()> {
    check_entries(block, geo, seed, name_valid)
}

/// As [`check_block`], of a directory whose names are encrypted.
pub fn check_encrypted_block(block: &[u8], geo: &Geometry, seed: u32) -> Result<()> {
    check_entries(block, geo, seed, encrypted::name_valid)
}

fn check_entries(
    block: &[u8],
    geo: &Geometry,
    seed: u32,
    is_valid: impl Fn(&[u8]) -> bool,
) -> Result<()> {
    if !csum_matches(block, geo, seed)? {
        return Err(Corrupt::DirentChecksum);
    }
    for entry in entries(block, geo) {
        let entry = entry?;
        if entry.ino.is_some() && !is_valid(entry.name) {
            return Err(Corrupt::DirentName);
        }
    }
    Ok(())
}

/// The entry at `offset`, which must be the start of one; `None` at the end.
pub(super) fn entry_here<'a>(
    block: &'a [u8],
    geo: &Geometry,
    offset: usize,
) -> Option<Result<DirEntry<'a>>> {
    let mut it = entries(block, geo);
    it.0.offset = offset;
    it.next()
}

/// An entry to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode it names.
    pub ino: Ino,
    /// Its type, as [`ftype_for_mode`] says.
    pub ftype: u8,
}

pub(super) fn put_entry<B: BlockEdit + ?Sized>(
    block: &mut B,
    offset: usize,
    rec_len: usize,
    entry: &NewEntry<'_>,
) -> Result<()> {
    let name = entry.name;
    let raw = RawDirEntry {
        inode: U32::new(entry.ino.get()),
        rec_len: U16::new(rec_len as u16),
        name_len: name.len() as u8,
        file_type: entry.ftype,
    };
    let end = offset + HEADER_SIZE + name.len();
    block.set(offset, raw.as_bytes())?;
    block.set(offset + HEADER_SIZE, name)?;
    // The padding behind the name would otherwise keep bytes of older names.
    block.wipe(end..offset + needed(name.len()))
}

fn put_rec_len<B: BlockEdit + ?Sized>(block: &mut B, offset: usize, rec_len: usize) -> Result<()> {
    block.set(offset + 4, &(rec_len as u16).to_le_bytes())
}

/// Whether a block holds nothing but `.` and `..`.
pub fn is_empty<B: BlockView + ?Sized>(block: &B, geo: &Geometry) -> Result<bool> {
    for head in heads(block, geo) {
        let head = head?;
        let is_dot = head.has_name(block, b".") || head.has_name(block, b"..");
        if head.ino.is_some() && !is_dot {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes an empty checksum tail at the end of a block, where the filesystem has one.
pub fn init_tail<B: BlockEdit + ?Sized>(block: &mut B, geo: &Geometry) -> Result<()> {
    if !geo.has_metadata_csum {
        return Ok(());
    }
    let tail = RawTail {
        zero1: U32::new(0),
        rec_len: U16::new(TAIL_SIZE as u16),
        zero2: 0,
        ft: FT_DIR_CSUM,
        checksum: U32::new(0),
    };
    block.set(geo.block_size as usize - TAIL_SIZE, tail.as_bytes())
}

/// Makes a block with no entries.
pub fn init_block(block: &mut [u8], geo: &Geometry) -> Result<()> {
    let size = geo.block_size as usize;
    bytes_mut(block, 0, size)?.fill(0);
    put_rec_len(block, 0, size - geo.dir_tail())?;
    init_tail(block, geo)
}

/// Makes the first block of a new directory, out of zeros.
pub fn make_dot_entries<B: BlockEdit + ?Sized>(
    block: &mut B,
    geo: &Geometry,
    ino: Ino,
    parent: Ino,
) -> Result<()> {
    let ftype = ftype_for_mode(inode::S_IFDIR, geo);
    let rest = geo.block_size as usize - geo.dir_tail() - MIN_REC_LEN;
    let entry = |name, ino| NewEntry { name, ino, ftype };
    put_entry(block, 0, MIN_REC_LEN, &entry(b".", ino))?;
    put_entry(block, MIN_REC_LEN, rest, &entry(b"..", parent))?;
    init_tail(block, geo)
}

/// What the first block of a directory says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dots {
    /// Inode `.` points to: the directory itself.
    pub ino: Ino,
    /// Inode `..` points to: the parent.
    pub parent: Ino,
    /// Offset of the `..` entry.
    pub parent_offset: usize,
}

/// Checks that a directory's first block, indexed or not, begins with `.` and `..`.
pub fn dots<B: BlockView + ?Sized>(block: &B, geo: &Geometry) -> Result<Dots> {
    let size = geo.block_size as usize;
    let named = |offset: usize, name: &[u8]| {
        let head = Head::read(block, offset)?;
        let rec_len = head.rec_len;
        // The `..` of an index root covers the index, and so the whole rest of the block.
        if rec_len < needed(head.name_len) || rec_len & 3 != 0 || offset + rec_len > size {
            return Err(Corrupt::DirentDots);
        }
        if !head.has_name(block, name) {
            return Err(Corrupt::DirentDots);
        }
        Ok(head)
    };
    let dot = named(0, b".")?;
    if dot.rec_len >= size {
        return Err(Corrupt::DirentDots);
    }
    let dotdot = named(dot.rec_len, b"..")?;
    match (dot.ino, dotdot.ino) {
        (Some(ino), Some(parent)) if geo.inode_exists(ino) && geo.inode_exists(parent) => {
            Ok(Dots {
                ino,
                parent,
                parent_offset: dot.rec_len,
            })
        }
        _ => Err(Corrupt::DirentInode),
    }
}

/// Sets the inode of `..` in a directory's first block, indexed or not.
pub fn set_parent<B: BlockEdit + ?Sized>(block: &mut B, geo: &Geometry, parent: Ino) -> Result<()> {
    if !geo.inode_exists(parent) {
        return Err(Corrupt::DirentInode);
    }
    let at = dots(block, geo)?.parent_offset;
    block.set(at, &parent.get().to_le_bytes())
}

/// Checks the tail of a block of entries, but for the checksum; returns that.
fn read_tail<B: BlockView + ?Sized>(block: &B, geo: &Geometry) -> Result<u32> {
    let tail = geo.block_size as usize - TAIL_SIZE;
    let marks = u32::from_le_bytes([TAIL_SIZE as u8, 0, 0, FT_DIR_CSUM]);
    if block.le32(tail)? != 0 || block.le32(tail + 4)? != marks {
        return Err(Corrupt::DirentTail);
    }
    block.le32(tail + 8)
}

/// Whether [`update_csum`] has a place for the checksum.
pub fn check_tail<B: BlockView + ?Sized>(block: &B, geo: &Geometry) -> Result<()> {
    if geo.has_metadata_csum {
        read_tail(block, geo)?;
    }
    Ok(())
}

fn computed_csum<B: BlockView + ?Sized>(block: &B, geo: &Geometry, seed: u32) -> Result<u32> {
    block.crc32c(seed, 0..geo.block_size as usize - TAIL_SIZE)
}

/// Whether a block of entries has the right checksum; true where there is none.
pub fn csum_matches(block: &[u8], geo: &Geometry, seed: u32) -> Result<bool> {
    if !geo.has_metadata_csum {
        return Ok(true);
    }
    Ok(read_tail(block, geo)? == computed_csum(block, geo, seed)?)
}

/// Brings the checksum of a block of entries up to date. Looks whether it has a place for it.
pub fn update_csum<B: BlockEdit + ?Sized>(block: &mut B, geo: &Geometry, seed: u32) -> Result<()> {
    check_tail(block, geo)?;
    put_csum(block, geo, seed)
}

/// As [`update_csum`], of a block that has been changed: [`check_tail`] has looked before that, and
/// whatever somebody else has written to the tail meanwhile, there is a place. It does not fail.
pub fn put_csum<B: BlockEdit + ?Sized>(block: &mut B, geo: &Geometry, seed: u32) -> Result<()> {
    if !geo.has_metadata_csum {
        return Ok(());
    }
    let crc = computed_csum(block, geo, seed)?;
    block.set(geo.block_size as usize - 4, &crc.to_le_bytes())
}
