// SPDX-License-Identifier: GPL-2.0

//! Nodes of the extent tree (`Documentation/filesystems/ext4/ifork.rst`, "Extent Tree"): a header,
//! then entries of 12 bytes, sorted by logical block. The root lies in the inode and has four
//! entries and no checksum; every other node is a block with a checksum behind the last place for
//! an entry. The operations on the tree are elsewhere, here are one node's bytes.

use super::checksum::crc32c;
use super::superblock::Geometry;
use super::{bytes, get, put, BlockEdit, Corrupt, Lblk, LblkRange, Pblk, Result};
use core::ops::Range;
use zerocopy::little_endian::{U16, U32};
use zerocopy::IntoBytes as _;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `eh_magic`.
pub const MAGIC: u16 = 0xf30a;
/// Deepest tree there can be.
pub const MAX_DEPTH: u16 = 5;
/// Size of the header and of every entry.
pub const ENTRY_SIZE: usize = 12;
/// Entries of the root in the inode.
pub const ROOT_ENTRIES: u16 = 4;
/// Blocks in the longest written extent.
pub const MAX_WRITTEN_LEN: u32 = 32768;
/// Blocks in the longest unwritten extent.
pub const MAX_UNWRITTEN_LEN: u32 = 32767;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtentHeader {
    magic: U16,
    entries: U16,
    max: U16,
    depth: U16,
    generation: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtent {
    block: U32,
    len: U16,
    start_hi: U16,
    start_lo: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtentIndex {
    block: U32,
    leaf_lo: U32,
    leaf_hi: U16,
    unused: U16,
}

/// The header of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Entries in use.
    pub entries: u16,
    /// Places for entries.
    pub max: u16,
    /// Levels below this node; 0 is a leaf.
    pub depth: u16,
    /// Unused by Linux, kept.
    pub generation: u32,
}

/// An entry of a leaf: `len` logical blocks from `lblk` lie at `pblk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First logical block.
    pub lblk: Lblk,
    /// Blocks: 1 to 32768, or to 32767 when unwritten.
    pub len: u32,
    /// First physical block, 48 bits.
    pub pblk: Pblk,
    /// Allocated but reads as zeros.
    pub unwritten: bool,
}

/// An entry of an inner node: what is mapped from `lblk` on is in the node at `pblk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentIndex {
    /// First logical block below it.
    pub lblk: Lblk,
    /// Block of the node below, 48 bits.
    pub pblk: Pblk,
}

impl Extent {
    /// The logical block behind the extent.
    pub fn end(&self) -> Lblk {
        self.lblk.saturating_add(self.len)
    }

    /// Its logical blocks.
    pub fn blocks(&self) -> LblkRange {
        self.lblk.blocks(self.len)
    }

    /// Whether the lengths allow it, and `next` goes on both logically and physically, in the same
    /// state.
    pub fn can_append(&self, next: &Extent) -> bool {
        let max = if self.unwritten {
            MAX_UNWRITTEN_LEN
        } else {
            MAX_WRITTEN_LEN
        };
        self.unwritten == next.unwritten
            && self.end() == next.lblk
            && self.pblk + u64::from(self.len) == next.pblk
            && u64::from(self.len) + u64::from(next.len) <= u64::from(max)
    }

    /// Checks the extent by itself: not empty, no logical wrap-around, inside the filesystem.
    pub fn check(&self, geo: &Geometry) -> Result<()> {
        if self.len == 0 || self.lblk.checked_add(self.len).is_none() {
            return Err(Corrupt::ExtentRange);
        }
        if !geo.blocks_valid(self.pblk, u64::from(self.len)) {
            return Err(Corrupt::ExtentBlock);
        }
        Ok(())
    }
}

impl Header {
    /// Reads the header of a node and checks its magic.
    pub fn read(node: &[u8]) -> Result<Self> {
        let raw: RawExtentHeader = get(node, 0)?;
        if raw.magic.get() != MAGIC {
            return Err(Corrupt::ExtentMagic);
        }
        Ok(Header {
            entries: raw.entries.get(),
            max: raw.max.get(),
            depth: raw.depth.get(),
            generation: raw.generation.get(),
        })
    }

    /// Writes the header of a node.
    pub fn write(&self, node: &mut [u8]) -> Result<()> {
        put(
            node,
            0,
            &RawExtentHeader {
                magic: U16::new(MAGIC),
                entries: U16::new(self.entries),
                max: U16::new(self.max),
                depth: U16::new(self.depth),
                generation: U32::new(self.generation),
            },
        )
    }

    /// Checks depth, capacity and fill of a node with room for `max_entries`.
    pub fn check(&self, depth_expected: u16, max_entries: u16) -> Result<()> {
        if self.depth != depth_expected || self.depth > MAX_DEPTH {
            return Err(Corrupt::ExtentDepth);
        }
        if self.max == 0 || self.max > max_entries {
            return Err(Corrupt::ExtentMax);
        }
        if self.entries > self.max || (self.entries == 0 && self.depth > 0) {
            return Err(Corrupt::ExtentEntries);
        }
        Ok(())
    }
}

/// Entries a node block has room for; the checksum fits in what is left.
pub fn block_entries(geo: &Geometry) -> u16 {
    ((geo.block_size as usize - ENTRY_SIZE) / ENTRY_SIZE) as u16
}

fn entry_offset(i: u16) -> usize {
    ENTRY_SIZE + ENTRY_SIZE * usize::from(i)
}

/// Reads entry `i` of a leaf.
pub fn extent_at(node: &[u8], i: u16) -> Result<Extent> {
    let raw: RawExtent = get(node, entry_offset(i))?;
    let len = u32::from(raw.len.get());
    // Lengths above 32768 are those of unwritten extents plus 32768; 32768 itself is written.
    let unwritten = len > MAX_WRITTEN_LEN;
    Ok(Extent {
        lblk: Lblk::new(raw.block.get()),
        len: if unwritten {
            len - MAX_WRITTEN_LEN
        } else {
            len
        },
        pblk: Pblk::from_halves(raw.start_lo.get(), raw.start_hi.get()),
        unwritten,
    })
}

/// An entry of a leaf as it is stored. A length that cannot be is [`Corrupt::ExtentRange`].
fn raw_extent(e: &Extent) -> Result<RawExtent> {
    let len = match (e.unwritten, e.len) {
        (false, 1..=MAX_WRITTEN_LEN) => e.len as u16,
        (true, 1..=MAX_UNWRITTEN_LEN) => (e.len + MAX_WRITTEN_LEN) as u16,
        _ => return Err(Corrupt::ExtentRange),
    };
    let (lo, hi) = e.pblk.halves();
    Ok(RawExtent {
        block: U32::new(e.lblk.get()),
        len: U16::new(len),
        start_hi: U16::new(hi),
        start_lo: U32::new(lo),
    })
}

/// Writes entry `i` of a leaf. A length that cannot be stored is [`Corrupt::ExtentRange`].
pub fn put_extent(node: &mut [u8], i: u16, e: &Extent) -> Result<()> {
    put(node, entry_offset(i), &raw_extent(e)?)
}

/// Replaces the entries `old` of a leaf by the extents of `new`; the rest moves. The checksum is
/// the caller's. [`Corrupt::ExtentEntries`] if there are no such entries, or is no room, and
/// [`Corrupt::ExtentRange`] as of [`put_extent`]: then nothing has changed.
pub fn splice<B: BlockEdit + ?Sized>(node: &mut B, old: Range<u16>, new: &[Extent]) -> Result<()> {
    // The upper half of the first four bytes, and the lower of the next.
    let (entries, max) = ((node.le32(0)? >> 16) as u16, node.le32(4)? as u16);
    let left = entries.checked_sub(old.len() as u16);
    let count = left.and_then(|left| left.checked_add(u16::try_from(new.len()).ok()?));
    let count = count.filter(|&count| count <= max && old.start <= old.end && old.end <= entries);
    let count = count.ok_or(Corrupt::ExtentEntries)?;
    // Both ends are in the block, and all can be stored.
    node.le32(entry_offset(entries.max(count)) - 4)?;
    for e in new {
        raw_extent(e)?;
    }
    let tail = entry_offset(old.end)..entry_offset(entries);
    let behind = entry_offset(old.start) + ENTRY_SIZE * new.len();
    if behind != tail.start && !tail.is_empty() {
        node.shift(tail, behind)?;
    }
    for (i, e) in (old.start..).zip(new) {
        node.set(entry_offset(i), raw_extent(e)?.as_bytes())?;
    }
    node.set(2, &count.to_le_bytes())
}

/// Reads entry `i` of an inner node.
pub fn index_at(node: &[u8], i: u16) -> Result<ExtentIndex> {
    let raw: RawExtentIndex = get(node, entry_offset(i))?;
    Ok(ExtentIndex {
        lblk: Lblk::new(raw.block.get()),
        pblk: Pblk::from_halves(raw.leaf_lo.get(), raw.leaf_hi.get()),
    })
}

/// Writes entry `i` of an inner node.
pub fn put_index(node: &mut [u8], i: u16, e: &ExtentIndex) -> Result<()> {
    let (lo, hi) = e.pblk.halves();
    put(
        node,
        entry_offset(i),
        &RawExtentIndex {
            block: U32::new(e.lblk.get()),
            leaf_lo: U32::new(lo),
            leaf_hi: U16::new(hi),
            unused: U16::new(0),
        },
    )
}

/// Makes an empty node with `max` places.
pub fn init_node(node: &mut [u8], depth: u16, max: u16) -> Result<()> {
    node.fill(0);
    Header {
        entries: 0,
        max,
        depth,
        generation: 0,
    }
    .write(node)
}

/// Opens `count` places before entry `i`, moving the rest up, and counts them in the header; the
/// caller fills them. [`Corrupt::ExtentEntries`] when there is no room.
pub fn open_gap(node: &mut [u8], i: u16, count: u16) -> Result<()> {
    let mut h = Header::read(node)?;
    let entries = h.entries.checked_add(count).filter(|&n| n <= h.max);
    let entries = entries.ok_or(Corrupt::ExtentEntries)?;
    if i > h.entries {
        return Err(Corrupt::ExtentEntries);
    }
    // The end of the moved entries, so that copy_within cannot run out of the buffer.
    bytes(node, 0, entry_offset(entries))?;
    node.copy_within(
        entry_offset(i)..entry_offset(h.entries),
        entry_offset(i + count),
    );
    h.entries = entries;
    h.write(node)
}

/// Removes `count` entries from entry `i` on.
pub fn close_gap(node: &mut [u8], i: u16, count: u16) -> Result<()> {
    let mut h = Header::read(node)?;
    let after = i.checked_add(count).filter(|&n| n <= h.entries);
    let after = after.ok_or(Corrupt::ExtentEntries)?;
    bytes(node, 0, entry_offset(h.entries))?;
    node.copy_within(
        entry_offset(after)..entry_offset(h.entries),
        entry_offset(i),
    );
    h.entries -= count;
    h.write(node)
}

/// The number of entries whose first logical block is at most `lblk`: the entry that may map `lblk`
/// is the one before. Works for leaves and inner nodes, whose keys are at the same place.
pub fn search(node: &[u8], entries: u16, lblk: Lblk) -> Result<u16> {
    let (mut lo, mut hi) = (0, entries);
    while lo < hi {
        let mid = lo + (hi - lo) / 2;
        let key: U32 = get(node, entry_offset(mid))?;
        if key.get() <= lblk.get() {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    Ok(lo)
}

/// What a node's parent says of it.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Levels below it.
    pub depth: u16,
    /// The logical block it begins with.
    pub first: Lblk,
    /// The logical block behind all it may map.
    pub end: Lblk,
}

/// Checks the entries of a node: in order, no overlap, each one valid by itself, all in what the
/// parent says, the first one exactly at its beginning; the root has no parent.
fn check_entries(node: &[u8], h: &Header, geo: &Geometry, parent: Option<Expected>) -> Result<()> {
    let (first, end) = match parent {
        Some(parent) => (Some(parent.first), parent.end),
        None => (None, Lblk::END),
    };
    let mut next = Lblk::FIRST;
    for i in 0..h.entries {
        let lblk;
        let entry_end;
        if h.depth == 0 {
            let e = extent_at(node, i)?;
            e.check(geo)?;
            lblk = e.lblk;
            entry_end = e.end();
        } else {
            let e = index_at(node, i)?;
            if !geo.blocks_valid(e.pblk, 1) {
                return Err(Corrupt::ExtentBlock);
            }
            lblk = e.lblk;
            entry_end = e.lblk.saturating_add(1);
        }
        if lblk < next {
            return Err(Corrupt::ExtentOrder);
        }
        if i == 0 && first.is_some_and(|f| f != lblk) {
            return Err(Corrupt::ExtentRange);
        }
        if lblk >= end || entry_end > end {
            return Err(Corrupt::ExtentRange);
        }
        next = entry_end;
    }
    Ok(())
}

/// Checks the root in `i_block`, whose depth is its own; returns its header.
pub fn check_root(i_block: &[u8], geo: &Geometry) -> Result<Header> {
    let h = Header::read(i_block)?;
    h.check(h.depth, ROOT_ENTRIES)?;
    check_entries(i_block, &h, geo, None)?;
    Ok(h)
}

/// Checks a node block that an index entry leads to, its checksum included (`seed`:
/// [`super::InodeFields::csum_seed`]); returns its header.
pub fn check_block(node: &[u8], geo: &Geometry, seed: u32, expected: Expected) -> Result<Header> {
    let h = Header::read(node)?;
    h.check(expected.depth, block_entries(geo))?;
    if !block_csum_matches(node, geo, seed)? {
        return Err(Corrupt::ExtentChecksum);
    }
    check_entries(node, &h, geo, Some(expected))?;
    Ok(h)
}

/// Where a node block keeps its checksum: behind all places for entries, used or not.
pub fn block_csum_offset(max: u16) -> usize {
    entry_offset(max)
}

/// Whether a node block's checksum is right; true where there is none.
pub fn block_csum_matches(node: &[u8], geo: &Geometry, seed: u32) -> Result<bool> {
    if !geo.has_metadata_csum {
        return Ok(true);
    }
    let off = block_csum_offset(Header::read(node)?.max);
    let stored: U32 = get(node, off)?;
    Ok(stored.get() == crc32c(seed, bytes(node, 0, off)?))
}

/// Brings a node block's checksum up to date.
pub fn update_block_csum<B: BlockEdit + ?Sized>(
    node: &mut B,
    geo: &Geometry,
    seed: u32,
) -> Result<()> {
    if !geo.has_metadata_csum {
        return Ok(());
    }
    // The lower half of these four bytes.
    let max = node.le32(4)? as u16;
    let off = block_csum_offset(max);
    let crc = node.crc32c(seed, 0..off)?;
    node.set(off, &crc.to_le_bytes())
}

/// Puts the header and the entries of `new` over those of a node that has the same places, and sums
/// it. What is behind the entries of both stays.
pub fn replace_entries<B: BlockEdit + ?Sized>(
    node: &mut B,
    new: &[u8],
    geo: &Geometry,
    seed: u32,
) -> Result<()> {
    // The upper half of the first four bytes.
    let old = node.le32(0)? >> 16;
    let entries = u32::from(Header::read(new)?.entries).max(old) as usize;
    let used = (ENTRY_SIZE * (1 + entries)).min(new.len());
    node.set(0, bytes(new, 0, used)?)?;
    update_block_csum(node, geo, seed)
}
