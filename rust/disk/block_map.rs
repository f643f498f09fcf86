// SPDX-License-Identifier: GPL-2.0

//! Block maps, of ext2 and ext3 and of files without the extents flag
//! (`Documentation/filesystems/ext4/ifork.rst`, "Direct/Indirect Block Addressing"): `i_block` has
//! 15 block numbers of 32 bits. Twelve are of blocks of the file, the next ones of blocks full of
//! such numbers, one, two and three levels of them; 0 is a hole. None of it has a checksum.
//!
//! The operations on a map are elsewhere, here is where the pointers lie.

use super::features::RO_COMPAT_HUGE_FILE;
use super::inode::BLOCK_BYTES;
use super::superblock::Geometry;
use super::{get, Corrupt, Lblk, LblkRange, Pblk, Result};
use zerocopy::little_endian::U32;

/// Bytes of a pointer.
pub const POINTER_SIZE: usize = 4;
/// Pointers of the inode.
pub const ROOT_POINTERS: u32 = (BLOCK_BYTES / POINTER_SIZE) as u32;
/// Those of them that point to blocks of the file.
const DIRECT: u32 = 12;
/// Blocks of pointers on the way to a block of the file, at most.
pub const MAX_HEIGHT: u32 = ROOT_POINTERS - DIRECT;

/// The pointer at `i` of an array in memory, if that is so long.
pub fn pointer_at(array: &[u8], i: u32) -> Result<Option<Pblk>> {
    let pointer: U32 = get(array, i as usize * POINTER_SIZE)?;
    Ok(decode_pointer(pointer.get()))
}

/// What a pointer says: 0 is no block.
pub fn decode_pointer(pointer: u32) -> Option<Pblk> {
    (pointer != 0).then(|| Pblk::new(pointer.into()))
}

/// Checks the pointers in `i_block`: all lie in the filesystem.
pub fn check_root(i_block: &[u8], geo: &Geometry) -> Result<()> {
    for i in 0..ROOT_POINTERS {
        if pointer_at(i_block, i)?.is_some_and(|block| !geo.blocks_valid(block, 1)) {
            return Err(Corrupt::MapBlock);
        }
    }
    Ok(())
}

/// How many levels of blocks of pointers a map has.
pub fn height(i_block: &[u8]) -> u32 {
    let used = |i: &u32| pointer_at(i_block, *i).is_ok_and(|pointer| pointer.is_some());
    let last = (DIRECT..ROOT_POINTERS).rev().find(used);
    last.map_or(0, height_below)
}

/// Levels of blocks of pointers below a pointer of the inode.
const fn height_below(i: u32) -> u32 {
    (i + 1).saturating_sub(DIRECT)
}

/// The way from the inode to the pointer of a block of the file. The arrays of pointers on it are
/// counted from the inode, whose array is number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The pointer of the inode.
    root: u32,
    /// The block, counted from the first one below that.
    rel: u32,
    /// log2 of the pointers in a block.
    bits: u32,
}

impl Way {
    /// The way to a block; `None` if a map has none to it.
    pub fn new(lblk: Lblk, block_bits: u32) -> Option<Self> {
        let bits = block_bits - POINTER_SIZE.trailing_zeros();
        let roots = (0..ROOT_POINTERS).rev();
        let root = roots
            .into_iter()
            .find(|&i| first_below(i, bits) <= lblk.get())?;
        let rel = lblk.get() - first_below(root, bits);
        let all = 1u64 << (bits * height_below(root));
        (u64::from(rel) < all).then_some(Way { root, rel, bits })
    }

    /// How many blocks of pointers are on it: also the number of the last array.
    pub fn height(&self) -> u32 {
        height_below(self.root)
    }

    /// How many pointers an array has.
    pub fn len(&self, array: u32) -> u32 {
        if array == 0 {
            ROOT_POINTERS
        } else {
            1 << self.bits
        }
    }

    /// Which pointer of an array it takes.
    pub fn index(&self, array: u32) -> u32 {
        if array == 0 {
            return self.root;
        }
        (self.rel >> self.shift(array)) & ((1 << self.bits) - 1)
    }

    /// log2 of the blocks of the file below a pointer of an array.
    fn shift(&self, array: u32) -> u32 {
        self.bits * self.height().saturating_sub(array)
    }

    /// The first block of the file below pointer `i` of an array; with the number of its pointers,
    /// the one behind all of them.
    pub fn first(&self, array: u32, i: u32) -> Lblk {
        if array == 0 {
            return Lblk::new(first_below(i, self.bits));
        }
        let shift = self.shift(array);
        let before = (self.rel >> shift) >> self.bits << self.bits;
        Lblk::new(first_below(self.root, self.bits) + ((before + i) << shift))
    }

    /// The block behind all that a map has pointers for.
    pub fn end_of_all(block_bits: u32) -> Lblk {
        let bits = block_bits - POINTER_SIZE.trailing_zeros();
        Lblk::new(first_below(ROOT_POINTERS, bits))
    }

    /// The block behind those that the last array of the way has pointers for.
    pub fn end(&self) -> Lblk {
        match self.height() {
            0 => Lblk::new(DIRECT),
            last => self.first(last, self.len(last)),
        }
    }
}

/// The first block of the file below pointer `i` of the inode.
fn first_below(i: u32, bits: u32) -> u32 {
    // A block has 1024 pointers at most, so that no sum has more than 31 bits.
    (DIRECT..i).fold(i.min(DIRECT), |sum, i| {
        sum + (1 << (bits * height_below(i)))
    })
}

/// How many blocks a file with a map may have: as many as it has pointers for, and as can be
/// counted in `i_blocks` together with those of the pointers (`ext4_max_bitmap_size()`).
pub fn max_blocks(geo: &Geometry) -> u64 {
    let bits = geo.block_bits - POINTER_SIZE.trailing_zeros();
    let (one, two) = (1u64 << bits, 1u64 << (2 * bits));
    let most = if geo.features.has_ro_compat(RO_COMPAT_HUGE_FILE) {
        (1 << 48) - 1
    } else {
        u64::from(u32::MAX) >> (geo.block_bits - 9)
    };
    let all = u64::from(first_below(ROOT_POINTERS, bits));
    if all + (1 + (1 + one) + (1 + one + two)) <= most {
        return all;
    }
    let singly = most - u64::from(DIRECT) - one;
    let pointers = match singly.checked_sub(two) {
        None => 1 + 1 + singly.div_ceil(one),
        Some(triply) => 1 + (1 + one) + 1 + triply.div_ceil(one) + triply.div_ceil(two),
    };
    most - pointers
}

/// The largest size of a file with a map, in bytes.
pub fn max_size(geo: &Geometry) -> u64 {
    max_blocks(geo) << geo.block_bits
}

/// The most blocks of pointers that a map takes while so many blocks are added at so many places,
/// all of them `within` these.
pub fn worst_blocks(blocks: u64, places: u64, within: LblkRange, block_bits: u32) -> u64 {
    let bits = block_bits - POINTER_SIZE.trailing_zeros();
    let (mut below, mut total) = (blocks, 0u64);
    for height in 1..=MAX_HEIGHT {
        // Those between the two at the ends of a place are full.
        below = (below >> bits)
            .saturating_add(places.saturating_mul(2))
            .min(below)
            .min(arrays_above(height, within, bits));
        total = total.saturating_add(below);
    }
    total
}

/// How many arrays of pointers are on the ways to these blocks, `height` steps from them. However
/// the blocks are scattered, no more can be taken: a map has one triply indirect block.
fn arrays_above(height: u32, blocks: LblkRange, bits: u32) -> u64 {
    let first = first_below(DIRECT + height - 1, bits);
    let behind = blocks.end.get().min(first_below(ROOT_POINTERS, bits));
    let below = 1u64 << (bits * height);
    let skipped = u64::from(blocks.start.get().saturating_sub(first)) / below;
    u64::from(behind.saturating_sub(first))
        .div_ceil(below)
        .saturating_sub(skipped)
}
