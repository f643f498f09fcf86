// SPDX-License-Identifier: GPL-2.0

//! The index of a large directory, for reading (`Documentation/filesystems/ext4/directory.rst`,
//! "Hash Tree Directories").
//!
//! Block 0 is the root: `.` and `..` as ordinary entries whose `..` seems to cover the whole rest,
//! and behind them the index. Inner nodes look like a block with one unused entry. An index is an
//! array of (hash, logical block) sorted by hash; the place of the first hash holds limit and
//! count, as the first entry stands for everything below the second one's hash. A hash with the
//! lowest bit set means that the block goes on with names of the hash the block before ended with.

use super::dirent;
use super::features::INCOMPAT_LARGEDIR;
use super::hash::{Hash, HashVersion, Hasher};
use super::sort::sort;
use super::superblock::Geometry;
use super::{put, BlockEdit, BlockView, Corrupt, Lblk, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{Immutable, IntoBytes, KnownLayout, Unaligned};

/// Levels of index that any directory may have: the root and two below.
pub const MAX_LEVELS: usize = 3;

/// Levels of index a directory of this file system may have: without large_dir the root and one
/// below.
pub fn levels(geo: &Geometry) -> usize {
    if geo.features.has_incompat(INCOMPAT_LARGEDIR) {
        MAX_LEVELS
    } else {
        MAX_LEVELS - 1
    }
}

/// The most blocks of a directory: of the number of one that an index leads to, four bits are
/// reserved; and without large_dir the size has 32 bits.
pub fn max_blocks(geo: &Geometry) -> u32 {
    if geo.features.has_incompat(INCOMPAT_LARGEDIR) {
        BLOCK_MASK + 1
    } else {
        u32::MAX >> geo.block_bits
    }
}

/// Of the logical block in an entry; the top bits are for something that never came.
const BLOCK_MASK: u32 = 0x0fff_ffff;

/// The most entries a leaf of the largest block size can hold.
pub const MAX_LEAF_ENTRIES: usize = 4096 / dirent::MIN_REC_LEN;

pub(super) const ROOT_INFO_OFFSET: usize = 24;
pub(super) const ROOT_ENTRIES_OFFSET: usize = 32;
pub(super) const NODE_ENTRIES_OFFSET: usize = 8;
pub(super) const ENTRY_SIZE: usize = 8;
const TAIL_SIZE: usize = 8;

#[derive(IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawRootInfo {
    pub(super) zero: U32,
    pub(super) hash_version: u8,
    pub(super) info_length: u8,
    pub(super) indirect_levels: u8,
    pub(super) unused_flags: u8,
}

#[derive(IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCountLimit {
    limit: U16,
    count: U16,
}

/// An entry of an index node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DxEntry {
    /// The least hash of the names below it.
    pub hash: u32,
    /// The logical block that it leads to.
    pub lblk: Lblk,
}

/// Where the index of one block lies in it; root and inner nodes are alike from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DxNode {
    /// Byte offset of the first entry.
    pub offset: usize,
    /// Entries in use, at least 1.
    pub count: u16,
    /// Places for entries.
    pub limit: u16,
}

/// What the root says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Hash function of the directory.
    pub version: HashVersion,
    /// Levels of inner nodes between the root and the leaves, fewer than [`levels`].
    pub indirect_levels: u8,
    /// The root's own entries.
    pub node: DxNode,
}

/// Entries that fit in the root or in an inner node.
pub(super) fn limit_at(geo: &Geometry, offset: usize) -> u16 {
    let tail = if geo.has_metadata_csum { TAIL_SIZE } else { 0 };
    ((geo.block_size as usize - offset - tail) / ENTRY_SIZE) as u16
}

fn parse_entries<B: BlockView + ?Sized>(
    block: &B,
    geo: &Geometry,
    offset: usize,
) -> Result<DxNode> {
    let [l0, l1, c0, c1] = block.le32(offset)?.to_le_bytes();
    let node = DxNode {
        offset,
        count: u16::from_le_bytes([c0, c1]),
        limit: u16::from_le_bytes([l0, l1]),
    };
    // Exactly this limit: the checksum behind the entries is found by it.
    if node.limit != limit_at(geo, offset) {
        return Err(Corrupt::DxLimit);
    }
    if node.count == 0 || node.count > node.limit {
        return Err(Corrupt::DxCount);
    }
    Ok(node)
}

/// Reads and checks block 0 of an indexed directory (not its checksum).
pub fn parse_root<B: BlockView + ?Sized>(block: &B, geo: &Geometry) -> Result<Root> {
    let dots = dirent::dots(block, geo)?;
    let rest = block.le32(dots.parent_offset + 4)? & 0xffff;
    if dots.parent_offset != dirent::MIN_REC_LEN
        || rest != geo.block_size - dirent::MIN_REC_LEN as u32
    {
        return Err(Corrupt::DxRoot);
    }
    let zero = block.le32(ROOT_INFO_OFFSET)?;
    let info = block.le32(ROOT_INFO_OFFSET + 4)?.to_le_bytes();
    let [hash_version, info_length, indirect_levels, unused_flags] = info;
    if zero != 0 || info_length != 8 || unused_flags & 1 != 0 {
        return Err(Corrupt::DxRoot);
    }
    if usize::from(indirect_levels) >= levels(geo) {
        return Err(Corrupt::DxLevels);
    }
    Ok(Root {
        version: HashVersion::from_disk(hash_version)?,
        indirect_levels,
        node: parse_entries(block, geo, ROOT_ENTRIES_OFFSET)?,
    })
}

/// Reads and checks an inner node (not its checksum).
pub fn parse_node<B: BlockView + ?Sized>(block: &B, geo: &Geometry) -> Result<DxNode> {
    let rec_len = block.le32(4)? & 0xffff;
    if block.le32(0)? != 0 || rec_len != geo.block_size {
        return Err(Corrupt::DxRoot);
    }
    parse_entries(block, geo, NODE_ENTRIES_OFFSET)
}

/// Checks a root or node read from the disk: checksum, order of the hashes, and that every block
/// lies in the directory of `dir_blocks` blocks and is not the root.
pub fn check_node(
    block: &[u8],
    geo: &Geometry,
    node: &DxNode,
    seed: u32,
    dir_blocks: u32,
) -> Result<()> {
    if !csum_matches(block, geo, node, seed)? {
        return Err(Corrupt::DxChecksum);
    }
    let mut last = 0;
    for i in 0..node.count {
        let (hash, lblk) = node.entry(block, i)?;
        if hash < last {
            return Err(Corrupt::DxOrder);
        }
        last = hash;
        if lblk == Lblk::FIRST || lblk.get() >= dir_blocks {
            return Err(Corrupt::DxBlock);
        }
    }
    Ok(())
}

impl DxNode {
    pub(super) fn entry_offset(&self, i: u16) -> usize {
        self.offset + ENTRY_SIZE * usize::from(i)
    }

    /// Entry `i` as (hash, logical block); the first one's hash counts as 0.
    pub fn entry<B: BlockView + ?Sized>(&self, block: &B, i: u16) -> Result<(u32, Lblk)> {
        let hash = self.hash(block, i)?;
        let lblk = block.le32(self.entry_offset(i) + 4)? & BLOCK_MASK;
        Ok((hash, Lblk::new(lblk)))
    }

    fn hash<B: BlockView + ?Sized>(&self, block: &B, i: u16) -> Result<u32> {
        match i {
            i if i >= self.count => Err(Corrupt::DxCount),
            0 => Ok(0),
            i => block.le32(self.entry_offset(i)),
        }
    }

    /// The entry under which a hash is found: the last one whose hash is at most this.
    pub fn search<B: BlockView + ?Sized>(&self, block: &B, hash: u32) -> Result<u16> {
        // Entries 1 .. lo have a hash <= this, entries hi .. count a larger one.
        let (mut lo, mut hi) = (1, self.count);
        while lo < hi {
            let mid = lo + (hi - lo) / 2;
            if self.hash(block, mid)? > hash {
                hi = mid;
            } else {
                lo = mid + 1;
            }
        }
        Ok(lo - 1)
    }

    /// Whether there is no place left.
    pub fn is_full(&self) -> bool {
        self.count >= self.limit
    }

    pub(super) fn put_entry(&self, block: &mut [u8], i: u16, entry: DxEntry) -> Result<()> {
        let DxEntry { hash, lblk } = entry;
        let at = self.entry_offset(i);
        if i > 0 {
            put(block, at, &U32::new(hash))?;
        }
        put(block, at + 4, &U32::new(lblk.get()))
    }

    pub(super) fn write_count(&self, block: &mut [u8]) -> Result<()> {
        put(
            block,
            self.offset,
            &RawCountLimit {
                limit: U16::new(self.limit),
                count: U16::new(self.count),
            },
        )
    }

    /// The checksum lies behind all places for entries, used or not.
    fn tail_offset(&self) -> usize {
        self.entry_offset(self.limit)
    }
}

fn computed_csum<B: BlockView + ?Sized>(block: &B, node: &DxNode, seed: u32) -> Result<u32> {
    let tail = node.tail_offset();
    let crc = block.crc32c(seed, 0..node.entry_offset(node.count))?;
    let crc = block.crc32c(crc, tail..tail + 4)?;
    let zeros: &[u8] = &[0; 4];
    zeros.crc32c(crc, 0..4)
}

/// Whether a root's or node's checksum is right; true where there is none.
pub fn csum_matches(block: &[u8], geo: &Geometry, node: &DxNode, seed: u32) -> Result<bool> {
    if !geo.has_metadata_csum {
        return Ok(true);
    }
    let stored = block.le32(node.tail_offset() + 4)?;
    Ok(stored == computed_csum(block, node, seed)?)
}

/// Brings a root's or node's checksum up to date.
pub fn update_csum<B: BlockEdit + ?Sized>(
    block: &mut B,
    geo: &Geometry,
    node: &DxNode,
    seed: u32,
) -> Result<()> {
    if !geo.has_metadata_csum {
        return Ok(());
    }
    let crc = computed_csum(block, node, seed)?;
    block.set(node.tail_offset() + 4, &crc.to_le_bytes())
}

/// A used entry of a leaf with its hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashedEntry {
    /// Hash of the name.
    pub hash: Hash,
    /// Byte offset of the entry in the leaf.
    pub offset: u16,
    /// Bytes the entry needs.
    pub size: u16,
}

/// Collects the used entries of a leaf into `out`, sorted by hash, then by offset; returns how
/// many. `.` and `..` are left out: in a directory of one block they come first anyway.
///
/// `out` needs [`MAX_LEAF_ENTRIES`] places at most; when it is too short the result is
/// [`Corrupt::ShortBuffer`].
pub fn collect(
    block: &[u8],
    geo: &Geometry,
    hasher: &Hasher,
    out: &mut [HashedEntry],
) -> Result<usize> {
    let mut n = 0;
    for entry in dirent::entries(block, geo) {
        let entry = entry?;
        if entry.ino.is_none() || entry.is_dot() {
            continue;
        }
        *out.get_mut(n).ok_or(Corrupt::ShortBuffer)? = HashedEntry {
            hash: hasher.hash(entry.name),
            offset: entry.offset as u16,
            size: dirent::needed(entry.name.len()) as u16,
        };
        n += 1;
    }
    sort(out.get_mut(..n).ok_or(Corrupt::ShortBuffer)?);
    Ok(n)
}
