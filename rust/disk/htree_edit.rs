// SPDX-License-Identifier: GPL-2.0

//! Changes of a directory index, block by block. Which blocks to read, when to split and in what
//! order to write them is for the caller; nothing here touches a checksum, so each block that
//! changed needs [`super::htree::update_csum`] or [`super::dirent::update_csum`] after.

use super::dirent::{self, NewEntry};
use super::hash::{HashVersion, Hasher};
use super::htree::*;
use super::superblock::Geometry;
use super::{bytes, bytes_mut, put, Corrupt, Lblk, Result};
use zerocopy::little_endian::{U16, U32};

/// Inserts an entry behind entry `after`. [`Corrupt::DxCount`] if there is none such, or no room.
pub fn insert(block: &mut [u8], node: &mut DxNode, after: u16, entry: DxEntry) -> Result<()> {
    if node.is_full() || after >= node.count {
        return Err(Corrupt::DxCount);
    }
    let at = after + 1;
    let from = node.entry_offset(at);
    let to = node.entry_offset(node.count);
    bytes(block, from, to - from + ENTRY_SIZE)?;
    block.copy_within(from..to, from + ENTRY_SIZE);
    node.put_entry(block, at, entry)?;
    node.count += 1;
    node.write_count(block)
}

/// Makes an empty inner node in `block`; it needs its first entry before it is valid.
fn init_node(block: &mut [u8], geo: &Geometry) -> Result<DxNode> {
    let size = geo.block_size as usize;
    bytes_mut(block, 0, size)?.fill(0);
    // To a reader of plain entries the node is one unused entry.
    put(block, 4, &U16::new(geo.block_size as u16))?;
    Ok(DxNode {
        offset: NODE_ENTRIES_OFFSET,
        count: 0,
        limit: limit_at(geo, NODE_ENTRIES_OFFSET),
    })
}

/// Copies entries `first ..` of `node` to the start of a new node.
fn move_tail(
    block: &[u8],
    node: &DxNode,
    first: u16,
    new_block: &mut [u8],
    geo: &Geometry,
) -> Result<DxNode> {
    let mut new = init_node(new_block, geo)?;
    let len = ENTRY_SIZE * usize::from(node.count - first);
    let from = bytes(block, node.entry_offset(first), len)?;
    bytes_mut(new_block, new.offset, len)?.copy_from_slice(from);
    new.count = node.count - first;
    new.write_count(new_block)?;
    Ok(new)
}

/// Splits a full inner node: the upper half of its entries goes to a new node in `new_block`.
///
/// Returns the new node and the hash it begins with, to be inserted into the parent together with
/// the logical block of `new_block`.
pub fn split_node(
    block: &mut [u8],
    node: &mut DxNode,
    new_block: &mut [u8],
    geo: &Geometry,
) -> Result<(DxNode, u32)> {
    let keep = node.count / 2;
    if keep == 0 {
        return Err(Corrupt::DxCount);
    }
    let (hash, _) = node.entry(block, keep)?;
    let new = move_tail(block, node, keep, new_block, geo)?;
    node.count = keep;
    node.write_count(block)?;
    Ok((new, hash))
}

/// Adds a level: all entries of the root go to a new node in `new_block`, whose logical block
/// `lblk` becomes the root's only entry. The root then has room, the node perhaps not.
/// [`Corrupt::DxLevels`] when the tree is as deep as it may be; callers return ENOSPC for that.
pub fn grow_root(
    block: &mut [u8],
    root: &mut Root,
    new_block: &mut [u8],
    lblk: Lblk,
    geo: &Geometry,
) -> Result<DxNode> {
    if usize::from(root.indirect_levels) + 1 >= levels(geo) {
        return Err(Corrupt::DxLevels);
    }
    let new = move_tail(block, &root.node, 0, new_block, geo)?;
    root.indirect_levels += 1;
    put(block, ROOT_INFO_OFFSET + 6, &root.indirect_levels)?;
    root.node.count = 1;
    root.node.write_count(block)?;
    root.node.put_entry(block, 0, DxEntry { hash: 0, lblk })?;
    Ok(new)
}

/// Turns a directory of one block into an indexed one: the entries behind `..` go to `leaf`, which
/// becomes logical block `leaf_lblk`, and block 0 becomes a root with that leaf as its only entry.
pub fn make_indexed(
    block: &mut [u8],
    leaf: &mut [u8],
    geo: &Geometry,
    version: HashVersion,
    leaf_lblk: Lblk,
) -> Result<Root> {
    let size = geo.block_size as usize;
    let dots = dirent::dots(block, geo)?;
    if dots.parent_offset != dirent::MIN_REC_LEN {
        return Err(Corrupt::DirentDots);
    }
    dirent::init_block(leaf, geo)?;
    let mut packer = Packer::new(geo);
    for entry in dirent::entries(block, geo) {
        let entry = entry?;
        if entry.offset > dots.parent_offset {
            packer.push(leaf, &entry)?;
        }
    }
    packer.finish(leaf)?;

    // Behind the name of "..", four bytes with its padding, all is the index's.
    bytes_mut(block, ROOT_INFO_OFFSET, size - ROOT_INFO_OFFSET)?.fill(0);
    let rest = size - dirent::MIN_REC_LEN;
    put(block, dots.parent_offset + 4, &U16::new(rest as u16))?;
    put(
        block,
        ROOT_INFO_OFFSET,
        &RawRootInfo {
            zero: U32::new(0),
            hash_version: version.to_disk(),
            info_length: 8,
            indirect_levels: 0,
            unused_flags: 0,
        },
    )?;
    let node = DxNode {
        offset: ROOT_ENTRIES_OFFSET,
        count: 1,
        limit: limit_at(geo, ROOT_ENTRIES_OFFSET),
    };
    node.write_count(block)?;
    let first = DxEntry {
        hash: 0,
        lblk: leaf_lblk,
    };
    node.put_entry(block, 0, first)?;
    Ok(Root {
        version,
        indirect_levels: 0,
        node,
    })
}

/// Where the new leaf of [`split_leaf`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The hash for the parent's entry of the new leaf, with the lowest bit set when the old leaf
    /// ends with names of the same hash.
    pub hash: u32,
}

impl Split {
    /// Whether a name with this hash goes to the new leaf.
    pub fn is_in_new(&self, major: u32) -> bool {
        major >= self.hash & !1
    }
}

/// Splits a leaf by hash: the entries with the larger hashes go to `new_leaf`, so that both have
/// about half the bytes in use. Both are packed and valid after.
///
/// `scratch` holds the sorted entries; [`MAX_LEAF_ENTRIES`] places are always enough.
/// [`Corrupt::DxLeaf`] when there are fewer than two entries: such a leaf cannot have been full.
pub fn split_leaf(
    leaf: &mut [u8],
    new_leaf: &mut [u8],
    geo: &Geometry,
    hasher: &Hasher,
    scratch: &mut [HashedEntry],
) -> Result<Split> {
    let n = collect(leaf, geo, hasher, scratch)?;
    let map = scratch.get(..n).ok_or(Corrupt::ShortBuffer)?;
    let total: usize = map.iter().map(|e| usize::from(e.size)).sum();
    // The entry whose middle is behind the middle of the bytes is the first one that moves.
    let mut below = 0;
    let mut split = 0;
    for entry in map {
        if below + usize::from(entry.size) / 2 > total / 2 {
            break;
        }
        below += usize::from(entry.size);
        split += 1;
    }
    let split = split.clamp(1, n.saturating_sub(1).max(1));
    let (Some(first), Some(last_kept)) = (map.get(split), map.get(split - 1)) else {
        return Err(Corrupt::DxLeaf);
    };
    let continued = first.hash.major == last_kept.hash.major;
    let hash = first.hash.major | u32::from(continued);

    dirent::init_block(new_leaf, geo)?;
    let mut packer = Packer::new(geo);
    for moved in map.get(split..).unwrap_or(&[]) {
        let offset = usize::from(moved.offset);
        packer.push_raw(new_leaf, bytes(leaf, offset, usize::from(moved.size))?)?;
        put(leaf, offset, &U32::new(0))?;
    }
    packer.finish(new_leaf)?;
    pack(leaf, geo)?;
    Ok(Split { hash })
}

/// Moves the used entries of a block together, so that all the room is behind the last one.
pub fn pack(block: &mut [u8], geo: &Geometry) -> Result<()> {
    let limit = geo.block_size as usize - geo.dir_tail();
    let mut packer = Packer::new(geo);
    let mut from = 0;
    while from < limit {
        let Some(entry) = dirent::entry_here(block, geo, from) else {
            break;
        };
        let entry = entry?;
        let (rec_len, ino) = (entry.rec_len, entry.ino);
        let size = dirent::needed(entry.name.len());
        if ino.is_some() {
            packer.shift(block, from, size)?;
        }
        from += rec_len;
    }
    packer.finish(block)
}

/// Writes entries one behind the other; the last one gets the room that is left.
struct Packer {
    limit: usize,
    last: Option<usize>,
    end: usize,
}

impl Packer {
    fn new(geo: &Geometry) -> Self {
        Packer {
            limit: geo.block_size as usize - geo.dir_tail(),
            last: None,
            end: 0,
        }
    }

    fn advance(&mut self, block: &mut [u8], size: usize) -> Result<()> {
        put(block, self.end + 4, &U16::new(size as u16))?;
        self.last = Some(self.end);
        self.end += size;
        Ok(())
    }

    fn push_raw(&mut self, to: &mut [u8], entry: &[u8]) -> Result<()> {
        if self.end + entry.len() > self.limit {
            return Err(Corrupt::DirentOverrun);
        }
        bytes_mut(to, self.end, entry.len())?.copy_from_slice(entry);
        self.advance(to, entry.len())
    }

    /// Adds an entry, if it is in use.
    fn push(&mut self, to: &mut [u8], entry: &dirent::DirEntry<'_>) -> Result<()> {
        let Some(ino) = entry.ino else {
            return Ok(());
        };
        let size = dirent::needed(entry.name.len());
        if self.end + size > self.limit {
            return Err(Corrupt::DirentOverrun);
        }
        let new = NewEntry {
            name: entry.name,
            ino,
            ftype: entry.ftype,
        };
        dirent::put_entry(to, self.end, size, &new)?;
        self.last = Some(self.end);
        self.end += size;
        Ok(())
    }

    /// Moves an entry down within its own block.
    fn shift(&mut self, block: &mut [u8], from: usize, size: usize) -> Result<()> {
        bytes(block, from, size)?;
        if self.end > from {
            return Err(Corrupt::DirentOverrun);
        }
        block.copy_within(from..from + size, self.end);
        self.advance(block, size)
    }

    /// Gives the rest to the last entry, or makes the block one unused entry, and wipes it.
    fn finish(self, block: &mut [u8]) -> Result<()> {
        let wipe = match self.last {
            Some(_) => self.end,
            None => 0,
        };
        bytes_mut(block, wipe, self.limit - wipe)?.fill(0);
        let at = self.last.unwrap_or(0);
        put(block, at + 4, &U16::new((self.limit - at) as u16))
    }
}
