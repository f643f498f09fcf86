// SPDX-License-Identifier: GPL-2.0

//! Directory blocks (`Documentation/filesystems/ext4/directory.rst`, "Linear Directories"): entries
//! that fill the block without a gap, each with the distance to the next one (`rec_len`). Inode 0
//! marks an unused entry. With metadata_csum the last 12 bytes look like an unused entry of type
//! 0xde and hold the checksum.
//!
//! The functions take one whole block. `seed` is [`super::InodeFields::csum_seed`] of the
//! directory; changing functions leave the checksum to [`update_csum`].

use super::checksum::crc32c;
use super::inode;
use super::superblock::Geometry;
use super::{bytes, bytes_mut, get, put, Corrupt, Ino, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Longest name in bytes.
pub const NAME_MAX: usize = 255;
/// Bytes of an entry before the name.
pub const HEADER_SIZE: usize = 8;
/// Bytes of the checksum tail.
pub const TAIL_SIZE: usize = 12;
/// The smallest entry: a name of one to four bytes.
pub const MIN_REC_LEN: usize = 12;

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

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDirEntry {
    inode: U32,
    rec_len: U16,
    name_len: u8,
    file_type: u8,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
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

    /// Bytes that could be given to a new entry.
    fn free(&self) -> usize {
        if self.ino.is_none() {
            self.rec_len
        } else {
            self.rec_len - needed(self.name.len())
        }
    }
}

/// Bytes an entry with a name of this length needs.
pub fn needed(name_len: usize) -> usize {
    (HEADER_SIZE + name_len + 3) & !3
}

/// Whether a name can stand in a directory at all.
pub fn name_valid(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && !name.iter().any(|&b| b == 0 || b == b'/')
}

/// The entries of a block, in order, unused ones included. Ends after the first error.
#[derive(Clone, Debug)]
pub struct DirEntries<'a> {
    block: &'a [u8],
    inodes_count: u32,
    limit: usize,
    offset: usize,
}

/// Iterates over a block that holds entries only (not one of a directory index).
pub fn entries<'a>(block: &'a [u8], geo: &Geometry) -> DirEntries<'a> {
    DirEntries {
        block,
        inodes_count: geo.inodes_count,
        limit: (geo.block_size as usize) - geo.dir_tail(),
        offset: 0,
    }
}

impl<'a> DirEntries<'a> {
    fn read(&self) -> Result<DirEntry<'a>> {
        let raw: RawDirEntry = get(self.block, self.offset)?;
        let rec_len = usize::from(raw.rec_len.get());
        let name_len = usize::from(raw.name_len);
        let ino = Ino::from_disk(raw.inode.get());
        if rec_len < MIN_REC_LEN || rec_len & 3 != 0 {
            return Err(Corrupt::DirentRecLen);
        }
        if rec_len < needed(name_len) {
            return Err(Corrupt::DirentNameLen);
        }
        let next = self.offset + rec_len;
        // What is left behind an entry must be nothing, or have room for another one.
        if next > self.limit || (next != self.limit && self.limit - next < MIN_REC_LEN) {
            return Err(Corrupt::DirentOverrun);
        }
        if ino.is_some_and(|ino| ino.get() > self.inodes_count) {
            return Err(Corrupt::DirentInode);
        }
        if ino.is_some() && name_len == 0 {
            return Err(Corrupt::DirentName);
        }
        Ok(DirEntry {
            offset: self.offset,
            rec_len,
            ino,
            ftype: raw.file_type,
            name: bytes(self.block, self.offset + HEADER_SIZE, name_len)?,
        })
    }
}

impl<'a> Iterator for DirEntries<'a> {
    type Item = Result<DirEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.limit {
            return None;
        }
        let entry = self.read();
        match &entry {
            Ok(e) => self.offset += e.rec_len,
            Err(_) => self.offset = self.limit,
        }
        Some(entry)
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
    if !csum_matches(block, geo, seed)? {
        return Err(Corrupt::DirentChecksum);
    }
    for entry in entries(block, geo) {
        let entry = entry?;
        if entry.ino.is_some() && !name_valid(entry.name) {
            return Err(Corrupt::DirentName);
        }
    }
    Ok(())
}

/// Looks a name up in a block.
pub fn search_block<'a>(
    block: &'a [u8],
    geo: &Geometry,
    name: &[u8],
) -> Result<Option<DirEntry<'a>>> {
    for entry in entries(block, geo) {
        let entry = entry?;
        if entry.ino.is_some() && entry.name == name {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// The entry that begins at `offset`, with the one before it.
fn entry_at<'a>(
    block: &'a [u8],
    geo: &Geometry,
    offset: usize,
) -> Result<(Option<DirEntry<'a>>, DirEntry<'a>)> {
    let mut prev = None;
    for entry in entries(block, geo) {
        let entry = entry?;
        if entry.offset == offset {
            return Ok((prev, entry));
        }
        prev = Some(entry);
    }
    Err(Corrupt::DirentOffset)
}

/// The entry at `offset`, which must be the start of one; `None` at the end.
pub(super) fn entry_here<'a>(
    block: &'a [u8],
    geo: &Geometry,
    offset: usize,
) -> Option<Result<DirEntry<'a>>> {
    let mut it = entries(block, geo);
    it.offset = offset;
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

pub(super) fn put_entry(
    block: &mut [u8],
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
    put(block, offset, &raw)?;
    bytes_mut(block, offset + HEADER_SIZE, name.len())?.copy_from_slice(name);
    // The padding behind the name would otherwise keep bytes of older names.
    let pad = needed(name.len()) - HEADER_SIZE - name.len();
    bytes_mut(block, offset + HEADER_SIZE + name.len(), pad)?.fill(0);
    Ok(())
}

fn put_rec_len(block: &mut [u8], offset: usize, rec_len: usize) -> Result<()> {
    put(block, offset + 4, &U16::new(rec_len as u16))
}

/// The first entry with room for one more of this name's length.
fn find_space<'a>(
    block: &'a [u8],
    geo: &Geometry,
    name_len: usize,
) -> Result<Option<DirEntry<'a>>> {
    let need = needed(name_len);
    for entry in entries(block, geo) {
        let entry = entry?;
        if entry.free() >= need {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Adds an entry where there is room; returns its offset, or `None` when the block is full. That
/// the name is not there yet is for the caller to know.
pub fn insert(block: &mut [u8], geo: &Geometry, entry: &NewEntry<'_>) -> Result<Option<usize>> {
    if !name_valid(entry.name) {
        return Err(Corrupt::DirentName);
    }
    if !geo.inode_exists(entry.ino) {
        return Err(Corrupt::DirentInode);
    }
    let Some(host) = find_space(block, geo, entry.name.len())? else {
        return Ok(None);
    };
    let (offset, rec_len) = (host.offset, host.rec_len);
    let used = rec_len - host.free();
    if used != 0 {
        put_rec_len(block, offset, used)?;
    }
    put_entry(block, offset + used, rec_len - used, entry)?;
    Ok(Some(offset + used))
}

/// Removes the entry at `offset`: its space goes to the entry before it, the first one of a block
/// stays as an unused entry. What the entry held is wiped.
pub fn delete_entry(block: &mut [u8], geo: &Geometry, offset: usize) -> Result<()> {
    let (prev, entry) = entry_at(block, geo, offset)?;
    let rec_len = entry.rec_len;
    let prev = prev.map(|p| (p.offset, p.rec_len));
    bytes_mut(block, offset, rec_len)?.fill(0);
    match prev {
        Some((at, len)) => put_rec_len(block, at, len + rec_len),
        None => put_rec_len(block, offset, rec_len),
    }
}

/// Makes the entry at `offset` point to another inode (rename over it, or `..` of a moved
/// directory).
pub fn set_inode(block: &mut [u8], geo: &Geometry, offset: usize, ino: Ino, ft: u8) -> Result<()> {
    entry_at(block, geo, offset)?;
    if !geo.inode_exists(ino) {
        return Err(Corrupt::DirentInode);
    }
    put(block, offset, &U32::new(ino.get()))?;
    put(block, offset + 7, &ft)
}

/// Whether a block holds nothing but `.` and `..`.
pub fn is_empty(block: &[u8], geo: &Geometry) -> Result<bool> {
    for entry in entries(block, geo) {
        let entry = entry?;
        if entry.ino.is_some() && !entry.is_dot() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes an empty checksum tail at the end of a block, where the filesystem has one.
pub fn init_tail(block: &mut [u8], geo: &Geometry) -> Result<()> {
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
    put(block, geo.block_size as usize - TAIL_SIZE, &tail)
}

/// Makes a block with no entries.
pub fn init_block(block: &mut [u8], geo: &Geometry) -> Result<()> {
    let size = geo.block_size as usize;
    bytes_mut(block, 0, size)?.fill(0);
    put_rec_len(block, 0, size - geo.dir_tail())?;
    init_tail(block, geo)
}

/// Makes the first block of a new directory.
pub fn make_dot_entries(block: &mut [u8], geo: &Geometry, ino: Ino, parent: Ino) -> Result<()> {
    init_block(block, geo)?;
    let ftype = ftype_for_mode(inode::S_IFDIR, geo);
    let rest = geo.block_size as usize - geo.dir_tail() - MIN_REC_LEN;
    let entry = |name, ino| NewEntry { name, ino, ftype };
    put_entry(block, 0, MIN_REC_LEN, &entry(b".", ino))?;
    put_entry(block, MIN_REC_LEN, rest, &entry(b"..", parent))
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
pub fn dots(block: &[u8], geo: &Geometry) -> Result<Dots> {
    let size = geo.block_size as usize;
    let raw_entry = |offset: usize| -> Result<(RawDirEntry, &[u8], usize)> {
        let raw: RawDirEntry = get(block, offset)?;
        let rec_len = usize::from(raw.rec_len.get());
        let name = bytes(block, offset + HEADER_SIZE, usize::from(raw.name_len))?;
        // The `..` of an index root covers the index, and so the whole rest of the block.
        if rec_len < needed(name.len()) || rec_len & 3 != 0 || offset + rec_len > size {
            return Err(Corrupt::DirentDots);
        }
        Ok((raw, name, rec_len))
    };
    let (dot, dot_name, dot_len) = raw_entry(0)?;
    if dot_name != b"." || dot_len >= size {
        return Err(Corrupt::DirentDots);
    }
    let (dotdot, dotdot_name, _) = raw_entry(dot_len)?;
    if dotdot_name != b".." {
        return Err(Corrupt::DirentDots);
    }
    let (ino, parent) = (Ino::new(dot.inode.get()), Ino::new(dotdot.inode.get()));
    if !geo.inode_exists(ino) || !geo.inode_exists(parent) {
        return Err(Corrupt::DirentInode);
    }
    Ok(Dots {
        ino,
        parent,
        parent_offset: dot_len,
    })
}

/// Sets the inode of `..` in a directory's first block, indexed or not.
pub fn set_parent(block: &mut [u8], geo: &Geometry, parent: Ino) -> Result<()> {
    if !geo.inode_exists(parent) {
        return Err(Corrupt::DirentInode);
    }
    let at = dots(block, geo)?.parent_offset;
    put(block, at, &U32::new(parent.get()))
}

fn read_tail(block: &[u8], geo: &Geometry) -> Result<RawTail> {
    let tail: RawTail = get(block, geo.block_size as usize - TAIL_SIZE)?;
    if tail.zero1.get() != 0
        || usize::from(tail.rec_len.get()) != TAIL_SIZE
        || tail.zero2 != 0
        || tail.ft != FT_DIR_CSUM
    {
        return Err(Corrupt::DirentTail);
    }
    Ok(tail)
}

fn computed_csum(block: &[u8], geo: &Geometry, seed: u32) -> Result<u32> {
    let covered = bytes(block, 0, geo.block_size as usize - TAIL_SIZE)?;
    Ok(crc32c(seed, covered))
}

/// Whether a block of entries has the right checksum; true where there is none.
pub fn csum_matches(block: &[u8], geo: &Geometry, seed: u32) -> Result<bool> {
    if !geo.has_metadata_csum {
        return Ok(true);
    }
    let tail = read_tail(block, geo)?;
    Ok(tail.checksum.get() == computed_csum(block, geo, seed)?)
}

/// Brings the checksum of a block of entries up to date.
pub fn update_csum(block: &mut [u8], geo: &Geometry, seed: u32) -> Result<()> {
    if !geo.has_metadata_csum {
        return Ok(());
    }
    read_tail(block, geo)?;
    let crc = computed_csum(block, geo, seed)?;
    put(block, geo.block_size as usize - 4, &U32::new(crc))
}
