// SPDX-License-Identifier: GPL-2.0

//! Blocks of the orphan file (`Documentation/filesystems/ext4/orphan.rst`): inode numbers of files
//! that are unlinked but open, or whose truncate has begun, 0 for a free place; magic and checksum
//! at the end.

use super::checksum::crc32c;
use super::superblock::Geometry;
use super::{bytes, get, put, Corrupt, Ino, Pblk, Result};
use core::ops::Range;
use zerocopy::little_endian::U32;

/// Magic of every block.
pub const MAGIC: u32 = 0x0b10_ca04;
/// Blocks the file may have at most, so that a bad one cannot eat all memory.
pub const MAX_BLOCKS: u64 = 512;

const TAIL_SIZE: usize = 8;

/// Places in one block.
pub fn entries_per_block(geo: &Geometry) -> usize {
    (geo.block_size as usize - TAIL_SIZE) / 4
}

fn tail_offset(geo: &Geometry) -> usize {
    geo.block_size as usize - TAIL_SIZE
}

/// The checksum; `pblk` is the physical block it lies in, `seed` the orphan file's
/// [`super::InodeFields::csum_seed`].
fn computed_csum(block: &[u8], geo: &Geometry, seed: u32, pblk: Pblk) -> Result<u32> {
    let crc = crc32c(seed, &pblk.get().to_le_bytes());
    Ok(crc32c(crc, bytes(block, 0, entries_per_block(geo) * 4)?))
}

/// Checks a block read from the disk: magic, checksum, inode numbers.
pub fn check_block(block: &[u8], geo: &Geometry, seed: u32, pblk: Pblk) -> Result<()> {
    let magic: U32 = get(block, tail_offset(geo))?;
    if magic.get() != MAGIC {
        return Err(Corrupt::OrphanMagic);
    }
    if geo.has_metadata_csum {
        let stored: U32 = get(block, tail_offset(geo) + 4)?;
        if stored.get() != computed_csum(block, geo, seed, pblk)? {
            return Err(Corrupt::OrphanChecksum);
        }
    }
    for slot in 0..entries_per_block(geo) {
        match entry(block, geo, slot)? {
            Some(ino) if !geo.inode_valid(ino) || ino == Ino::ROOT => {
                return Err(Corrupt::OrphanInode);
            }
            _ => (),
        }
    }
    Ok(())
}

/// The inode at a place, unless it is free.
pub fn entry(block: &[u8], geo: &Geometry, slot: usize) -> Result<Option<Ino>> {
    if slot >= entries_per_block(geo) {
        return Err(Corrupt::ShortBuffer);
    }
    let ino: U32 = get(block, slot * 4)?;
    Ok(Ino::from_disk(ino.get()))
}

/// Sets or clears a place; the checksum is left to [`update_csum`].
pub fn set_entry(block: &mut [u8], geo: &Geometry, slot: usize, ino: Option<Ino>) -> Result<()> {
    if slot >= entries_per_block(geo) {
        return Err(Corrupt::ShortBuffer);
    }
    put(block, slot * 4, &U32::new(Ino::to_disk(ino)))
}

/// Brings the checksum up to date.
pub fn update_csum(block: &mut [u8], geo: &Geometry, seed: u32, pblk: Pblk) -> Result<()> {
    if !geo.has_metadata_csum {
        return Ok(());
    }
    let crc = computed_csum(block, geo, seed, pblk)?;
    put(block, tail_offset(geo) + 4, &U32::new(crc))
}

/// The bytes of a block that [`set_entry`] and [`update_csum`] change.
pub fn changed_bytes(geo: &Geometry, slot: usize) -> [Range<usize>; 2] {
    let csum = tail_offset(geo) + 4;
    [4 * slot..4 * slot + 4, csum..csum + 4]
}
