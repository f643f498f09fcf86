// SPDX-License-Identifier: GPL-2.0

//! Block group descriptors and what they say about the bitmaps
//! (`Documentation/filesystems/ext4/group_descr.rst`).

use super::bitmap;
use super::checksum::{crc16, crc32c};
use super::features::INCOMPAT_FLEX_BG;
use super::superblock::Geometry;
use super::{bytes, get, put, Corrupt, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `bg_flags`: inode bitmap and table are not initialized.
pub const INODE_UNINIT: u16 = 0x0001;
/// `bg_flags`: the block bitmap is not initialized.
pub const BLOCK_UNINIT: u16 = 0x0002;
/// `bg_flags`: what was never written of the inode table holds zeros.
pub const INODE_ZEROED: u16 = 0x0004;

const CHECKSUM_OFFSET: usize = 0x1e;
const HI_OFFSET: usize = 0x20;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLo {
    block_bitmap: U32,
    inode_bitmap: U32,
    inode_table: U32,
    free_blocks: U16,
    free_inodes: U16,
    used_dirs: U16,
    flags: U16,
    exclude_bitmap: U32,
    block_bitmap_csum: U16,
    inode_bitmap_csum: U16,
    itable_unused: U16,
    checksum: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHi {
    block_bitmap: U32,
    inode_bitmap: U32,
    inode_table: U32,
    free_blocks: U16,
    free_inodes: U16,
    used_dirs: U16,
    itable_unused: U16,
    exclude_bitmap: U32,
    block_bitmap_csum: U16,
    inode_bitmap_csum: U16,
    reserved: U32,
}

const _: () = assert!(core::mem::size_of::<RawLo>() == 32);
const _: () = assert!(core::mem::size_of::<RawHi>() == 32);

/// A group descriptor with its halves joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupDesc {
    /// Block of the block bitmap.
    pub block_bitmap: u64,
    /// Block of the inode bitmap.
    pub inode_bitmap: u64,
    /// First block of the inode table.
    pub inode_table: u64,
    /// Free blocks.
    pub free_blocks: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Inodes in use as directories.
    pub used_dirs: u32,
    /// `bg_flags`: [`INODE_UNINIT`], [`BLOCK_UNINIT`], and others.
    pub flags: u16,
    /// Inodes at the end of the table never used: they need not be read.
    pub itable_unused: u32,
    /// Checksum of the block bitmap; 16 bits in 32-byte descriptors.
    pub block_bitmap_csum: u32,
    /// Checksum of the inode bitmap; 16 bits in 32-byte descriptors.
    pub inode_bitmap_csum: u32,
}

/// One of a group's two bitmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitmapKind {
    /// Blocks (clusters) of the group.
    Block,
    /// Inodes of the group.
    Inode,
}

fn join16(lo: U16, hi: U16) -> u32 {
    u32::from(lo.get()) | (u32::from(hi.get()) << 16)
}

fn join32(lo: U32, hi: U32) -> u64 {
    u64::from(lo.get()) | (u64::from(hi.get()) << 32)
}

impl GroupDesc {
    /// Reads a descriptor; `raw` is its `desc_size` bytes. Nothing is checked yet.
    pub fn decode(raw: &[u8], geo: &Geometry) -> Result<Self> {
        let lo: RawLo = get(raw, 0)?;
        let mut d = GroupDesc {
            block_bitmap: u64::from(lo.block_bitmap.get()),
            inode_bitmap: u64::from(lo.inode_bitmap.get()),
            inode_table: u64::from(lo.inode_table.get()),
            free_blocks: u32::from(lo.free_blocks.get()),
            free_inodes: u32::from(lo.free_inodes.get()),
            used_dirs: u32::from(lo.used_dirs.get()),
            flags: lo.flags.get(),
            itable_unused: u32::from(lo.itable_unused.get()),
            block_bitmap_csum: u32::from(lo.block_bitmap_csum.get()),
            inode_bitmap_csum: u32::from(lo.inode_bitmap_csum.get()),
        };
        if geo.desc_size >= 64 {
            let hi: RawHi = get(raw, HI_OFFSET)?;
            d.block_bitmap = join32(lo.block_bitmap, hi.block_bitmap);
            d.inode_bitmap = join32(lo.inode_bitmap, hi.inode_bitmap);
            d.inode_table = join32(lo.inode_table, hi.inode_table);
            d.free_blocks = join16(lo.free_blocks, hi.free_blocks);
            d.free_inodes = join16(lo.free_inodes, hi.free_inodes);
            d.used_dirs = join16(lo.used_dirs, hi.used_dirs);
            d.itable_unused = join16(lo.itable_unused, hi.itable_unused);
            d.block_bitmap_csum = join16(lo.block_bitmap_csum, hi.block_bitmap_csum);
            d.inode_bitmap_csum = join16(lo.inode_bitmap_csum, hi.inode_bitmap_csum);
        }
        Ok(d)
    }

    /// Writes the fields into `raw`, keeping what this module does not know, and brings the
    /// checksum up to date.
    pub fn encode(&self, raw: &mut [u8], geo: &Geometry, group: u32) -> Result<()> {
        let mut lo: RawLo = get(raw, 0)?;
        lo.block_bitmap.set(self.block_bitmap as u32);
        lo.inode_bitmap.set(self.inode_bitmap as u32);
        lo.inode_table.set(self.inode_table as u32);
        lo.free_blocks.set(self.free_blocks as u16);
        lo.free_inodes.set(self.free_inodes as u16);
        lo.used_dirs.set(self.used_dirs as u16);
        lo.flags.set(self.flags);
        lo.itable_unused.set(self.itable_unused as u16);
        lo.block_bitmap_csum.set(self.block_bitmap_csum as u16);
        lo.inode_bitmap_csum.set(self.inode_bitmap_csum as u16);
        put(raw, 0, &lo)?;
        if geo.desc_size >= 64 {
            let mut hi: RawHi = get(raw, HI_OFFSET)?;
            hi.block_bitmap.set((self.block_bitmap >> 32) as u32);
            hi.inode_bitmap.set((self.inode_bitmap >> 32) as u32);
            hi.inode_table.set((self.inode_table >> 32) as u32);
            hi.free_blocks.set((self.free_blocks >> 16) as u16);
            hi.free_inodes.set((self.free_inodes >> 16) as u16);
            hi.used_dirs.set((self.used_dirs >> 16) as u16);
            hi.itable_unused.set((self.itable_unused >> 16) as u16);
            hi.block_bitmap_csum
                .set((self.block_bitmap_csum >> 16) as u16);
            hi.inode_bitmap_csum
                .set((self.inode_bitmap_csum >> 16) as u16);
            put(raw, HI_OFFSET, &hi)?;
        }
        if let Some(csum) = computed_checksum(raw, geo, group)? {
            put(raw, CHECKSUM_OFFSET, &U16::new(csum))?;
        }
        Ok(())
    }

    /// Decodes a descriptor after checking its checksum, then all that it says.
    pub fn decode_checked(raw: &[u8], geo: &Geometry, group: u32) -> Result<Self> {
        if !checksum_matches(raw, geo, group)? {
            return Err(Corrupt::GroupChecksum);
        }
        let desc = Self::decode(raw, geo)?;
        desc.check(geo, group)?;
        Ok(desc)
    }

    /// Checks the descriptor against the geometry: bitmaps and table lie inside the filesystem,
    /// inside the group where there is no flex_bg, and not over the primary superblock and
    /// descriptors; the counts are possible.
    pub fn check(&self, geo: &Geometry, group: u32) -> Result<()> {
        if group >= geo.groups_count {
            return Err(Corrupt::GroupNumber);
        }
        let (first, end) = if geo.features.has_incompat(INCOMPAT_FLEX_BG) {
            (u64::from(geo.first_data_block), geo.blocks_count)
        } else {
            let first = geo.group_first_block(group).get();
            (first, first + u64::from(geo.group_blocks(group)))
        };
        let fixed_end = u64::from(geo.super_block) + 1 + u64::from(geo.gdt_blocks);
        let inside = |start: u64, len: u64| {
            start >= first.max(fixed_end) && start.checked_add(len).is_some_and(|e| e <= end)
        };
        if !inside(self.block_bitmap, 1) {
            return Err(Corrupt::GroupBlockBitmap);
        }
        if !inside(self.inode_bitmap, 1) || self.inode_bitmap == self.block_bitmap {
            return Err(Corrupt::GroupInodeBitmap);
        }
        let table = self.inode_table..self.inode_table.saturating_add(geo.itable_blocks.into());
        if !inside(self.inode_table, geo.itable_blocks.into())
            || table.contains(&self.block_bitmap)
            || table.contains(&self.inode_bitmap)
        {
            return Err(Corrupt::GroupInodeTable);
        }
        // With bigalloc what is counted are clusters.
        let per_cluster = 1 << (geo.cluster_bits - geo.block_bits);
        if self.free_blocks > geo.group_blocks(group).div_ceil(per_cluster) {
            return Err(Corrupt::GroupFreeBlocks);
        }
        if self.free_inodes > geo.inodes_per_group {
            return Err(Corrupt::GroupFreeInodes);
        }
        if self.used_dirs > geo.inodes_per_group - self.free_inodes {
            return Err(Corrupt::GroupUsedDirs);
        }
        if self.itable_unused > geo.inodes_per_group {
            return Err(Corrupt::GroupUnusedInodes);
        }
        Ok(())
    }

    /// The fixed metadata this descriptor names, as (first block, blocks).
    pub fn metadata(&self, geo: &Geometry) -> [(u64, u32); 3] {
        [
            (self.block_bitmap, 1),
            (self.inode_bitmap, 1),
            (self.inode_table, geo.itable_blocks),
        ]
    }

    /// Whether the stored checksum of a bitmap is `crc`, which [`bitmap_csum`] computed. True
    /// where bitmaps have no checksum.
    pub fn bitmap_csum_matches(&self, geo: &Geometry, which: BitmapKind, crc: u32) -> bool {
        if !geo.has_metadata_csum {
            return true;
        }
        let stored = match which {
            BitmapKind::Block => self.block_bitmap_csum,
            BitmapKind::Inode => self.inode_bitmap_csum,
        };
        stored == crc & csum_mask(geo)
    }

    /// Stores a bitmap's checksum.
    pub fn set_bitmap_csum(&mut self, geo: &Geometry, which: BitmapKind, crc: u32) {
        if !geo.has_metadata_csum {
            return;
        }
        let field = match which {
            BitmapKind::Block => &mut self.block_bitmap_csum,
            BitmapKind::Inode => &mut self.inode_bitmap_csum,
        };
        *field = crc & csum_mask(geo);
    }

    /// Checks a bitmap's checksum and that its padding is in use. `map` is the whole block; not
    /// to be called for an uninitialized bitmap.
    pub fn check_bitmap(
        &self,
        geo: &Geometry,
        group: u32,
        which: BitmapKind,
        map: &[u8],
    ) -> Result<()> {
        let (bits, bad_csum, bad_tail) = match which {
            BitmapKind::Block => (
                geo.group_blocks(group),
                Corrupt::BlockBitmapChecksum,
                Corrupt::BlockBitmapTail,
            ),
            BitmapKind::Inode => (
                geo.inodes_per_group,
                Corrupt::InodeBitmapChecksum,
                Corrupt::InodeBitmapTail,
            ),
        };
        if !self.bitmap_csum_matches(geo, which, bitmap_csum(geo, which, map)?) {
            return Err(bad_csum);
        }
        if bitmap::next_zero(map, bits as usize, map.len().saturating_mul(8)).is_some() {
            return Err(bad_tail);
        }
        // A block that holds the group's own metadata must never be given out.
        if which == BitmapKind::Block {
            for (start, len) in self.metadata(geo) {
                if let Some((first, len)) = clip(geo, group, start, len) {
                    if bitmap::next_zero(map, first, first + len).is_some() {
                        return Err(Corrupt::BlockBitmapMetadata);
                    }
                }
            }
        }
        Ok(())
    }
}

fn csum_mask(geo: &Geometry) -> u32 {
    if geo.desc_size >= 64 {
        u32::MAX
    } else {
        0xffff
    }
}

/// How many bytes of a bitmap its checksum is over: as many as a full group has, whatever this
/// group's length.
pub fn csum_bytes(geo: &Geometry, which: BitmapKind) -> usize {
    let bits = match which {
        BitmapKind::Block => geo.blocks_per_group.min(geo.block_size * 8),
        BitmapKind::Inode => geo.inodes_per_group,
    };
    bits as usize / 8
}

/// The checksum of a bitmap.
pub fn bitmap_csum(geo: &Geometry, which: BitmapKind, map: &[u8]) -> Result<u32> {
    let map = bytes(map, 0, csum_bytes(geo, which))?;
    Ok(crc32c(geo.csum_seed, map))
}

fn computed_checksum(raw: &[u8], geo: &Geometry, group: u32) -> Result<Option<u16>> {
    let size = usize::from(geo.desc_size);
    let head = bytes(raw, 0, CHECKSUM_OFFSET)?;
    let tail = bytes(raw, CHECKSUM_OFFSET + 2, size - CHECKSUM_OFFSET - 2)?;
    if geo.has_metadata_csum {
        // The field itself counts as zero; the low half of the CRC is kept.
        let mut crc = crc32c(geo.csum_seed, &group.to_le_bytes());
        crc = crc32c(crc, head);
        crc = crc32c(crc, &[0; 2]);
        crc = crc32c(crc, tail);
        Ok(Some(crc as u16))
    } else if geo.has_gdt_csum {
        // The field itself is left out.
        let mut crc = crc16(!0, &geo.uuid);
        crc = crc16(crc, &group.to_le_bytes());
        crc = crc16(crc, head);
        crc = crc16(crc, tail);
        Ok(Some(crc))
    } else {
        Ok(None)
    }
}

/// Whether a raw descriptor's checksum is right; true where there is none.
pub fn checksum_matches(raw: &[u8], geo: &Geometry, group: u32) -> Result<bool> {
    let stored: U16 = get(raw, CHECKSUM_OFFSET)?;
    Ok(match computed_checksum(raw, geo, group)? {
        Some(csum) => csum == stored.get(),
        None => true,
    })
}

/// The part of `len` blocks from `start` that lies in a group, as (first bit, bits).
pub(super) fn clip(geo: &Geometry, group: u32, start: u64, len: u32) -> Option<(usize, usize)> {
    let first = geo.group_first_block(group).get();
    let end = first + u64::from(geo.group_blocks(group));
    let from = start.max(first);
    let to = start.saturating_add(u64::from(len)).min(end);
    (from < to).then(|| ((from - first) as usize, (to - from) as usize))
}

/// Fills the block bitmap of a group whose bitmap was never written ([`BLOCK_UNINIT`]).
///
/// In use are: superblock and descriptors at the start of groups that have them, the padding behind
/// the end of the group, and every range of `metadata` (first block, blocks) that lies in the
/// group: at least the group's own [`GroupDesc::metadata`], with flex_bg that of any other group
/// placed here. Returns the number of free blocks.
pub fn initial_block_bitmap(
    geo: &Geometry,
    group: u32,
    buf: &mut [u8],
    metadata: impl IntoIterator<Item = (u64, u32)>,
) -> Result<u32> {
    let blocks = geo.group_blocks(group);
    if blocks == 0 {
        return Err(Corrupt::GroupNumber);
    }
    let all_bits = buf.len().saturating_mul(8);
    if (blocks as usize) > all_bits {
        return Err(Corrupt::ShortBuffer);
    }
    buf.fill(0);
    bitmap::set_range(buf, 0, geo.group_base_blocks(group).min(blocks) as usize);
    for (start, len) in metadata {
        if let Some((first, len)) = clip(geo, group, start, len) {
            bitmap::set_range(buf, first, len);
        }
    }
    let free = bitmap::count_zeros(buf, blocks as usize) as u32;
    bitmap::set_range(buf, blocks as usize, all_bits - blocks as usize);
    Ok(free)
}

/// Fills the inode bitmap of a group whose bitmap was never written ([`INODE_UNINIT`]): nothing in
/// use but the padding.
pub fn initial_inode_bitmap(geo: &Geometry, buf: &mut [u8]) {
    buf.fill(0);
    let all_bits = buf.len().saturating_mul(8);
    let used = geo.inodes_per_group as usize;
    bitmap::set_range(buf, used, all_bits.saturating_sub(used));
}
