// SPDX-License-Identifier: GPL-2.0

//! The bytes of an inode (`Documentation/filesystems/ext4/inodes.rst`): its fields and checksum.
//!
//! An inode may have as many bytes as a block, too many for a kernel stack. What is read and
//! changed here is its *head*. Behind that are attributes and fields of a later day, which only the
//! checksum covers. So functions take the head and `rest`, which continues a CRC32C over the bytes
//! from the head to `inode_size`, wherever they are.

use super::checksum::{crc32c, inode_seed};
use super::features::INCOMPAT_64BIT;
use super::superblock::Geometry;
use super::{bytes, get, put, Corrupt, Ino, Pblk, Result};
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of `i_block`; a symlink shorter than this lies in it.
pub const BLOCK_BYTES: usize = 60;
/// Size of the part every inode has.
pub const GOOD_OLD_SIZE: usize = 128;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawInode {
    pub(super) mode: U16,
    pub(super) uid_lo: U16,
    pub(super) size_lo: U32,
    pub(super) atime: U32,
    pub(super) ctime: U32,
    pub(super) mtime: U32,
    pub(super) dtime: U32,
    pub(super) gid_lo: U16,
    pub(super) links: U16,
    pub(super) blocks_lo: U32,
    pub(super) flags: U32,
    pub(super) version_lo: U32,
    pub(super) block: [u8; BLOCK_BYTES],
    pub(super) generation: U32,
    file_acl_lo: U32,
    pub(super) size_hi: U32,
    pub(super) obso_faddr: U32,
    pub(super) blocks_hi: U16,
    file_acl_hi: U16,
    pub(super) uid_hi: U16,
    pub(super) gid_hi: U16,
    pub(super) checksum_lo: U16,
    pub(super) reserved: U16,
}

impl RawInode {
    /// The block of the extended attributes; its high half counts on large filesystems only.
    pub(super) fn file_acl(&self, geo: &Geometry) -> Option<Pblk> {
        let is_wide = geo.features.has_incompat(INCOMPAT_64BIT);
        let hi = if is_wide { self.file_acl_hi.get() } else { 0 };
        let block = Pblk::from_halves(self.file_acl_lo.get(), hi);
        (block != Pblk::default()).then_some(block)
    }

    pub(super) fn set_file_acl(&mut self, geo: &Geometry, block: Option<Pblk>) {
        let (lo, hi) = block.unwrap_or_default().halves();
        self.file_acl_lo.set(lo);
        if geo.features.has_incompat(INCOMPAT_64BIT) {
            self.file_acl_hi.set(hi);
        }
    }
}

const _: () = assert!(core::mem::size_of::<RawInode>() == GOOD_OLD_SIZE);

const CHECKSUM_LO: usize = 0x7c;
pub(super) const EXTRA_ISIZE: usize = 0x80;
const CHECKSUM_HI: usize = 0x82;
pub(super) const CTIME_EXTRA: usize = 0x84;
pub(super) const MTIME_EXTRA: usize = 0x88;
pub(super) const ATIME_EXTRA: usize = 0x8c;
pub(super) const CRTIME: usize = 0x90;
pub(super) const CRTIME_EXTRA: usize = 0x94;
pub(super) const VERSION_HI: usize = 0x98;
pub(super) const PROJID: usize = 0x9c;
const GENERATION: usize = 0x64;

/// The most bytes of an inode that hold fields known here.
pub const HEAD_MAX: usize = PROJID + 4;

/// Bytes of the head.
pub fn head_size(geo: &Geometry) -> usize {
    usize::from(geo.inode_size).min(HEAD_MAX)
}

/// Whether a 4-byte field at `off` lies within the inode's fields.
pub(super) fn fits(extra_isize: u16, off: usize, len: usize) -> bool {
    off + len <= GOOD_OLD_SIZE + usize::from(extra_isize)
}

pub(super) fn extra_field(raw: &[u8], extra_isize: u16, off: usize) -> Result<Option<u32>> {
    if !fits(extra_isize, off, 4) {
        return Ok(None);
    }
    let value: U32 = get(raw, off)?;
    Ok(Some(value.get()))
}

pub(super) fn put_extra(raw: &mut [u8], extra_isize: u16, off: usize, value: u32) -> Result<()> {
    if fits(extra_isize, off, 4) {
        put(raw, off, &U32::new(value))?;
    }
    Ok(())
}

/// `i_extra_isize` of a raw inode, checked.
pub(super) fn read_extra_isize(raw: &[u8], geo: &Geometry) -> Result<u16> {
    let room = usize::from(geo.inode_size).saturating_sub(GOOD_OLD_SIZE);
    if room == 0 {
        return Ok(0);
    }
    let value: U16 = get(raw, EXTRA_ISIZE)?;
    let value = value.get();
    if usize::from(value) > room || value & 3 != 0 {
        return Err(Corrupt::InodeExtraIsize);
    }
    Ok(value)
}

/// Whether the high half of the checksum is there.
fn has_checksum_hi(geo: &Geometry, extra_isize: u16) -> bool {
    usize::from(geo.inode_size) > GOOD_OLD_SIZE && fits(extra_isize, CHECKSUM_HI, 2)
}

/// Takes the checksum out of a raw inode and returns it, with the one that it should be: over all
/// `inode_size` bytes with both halves of the field as zero.
fn take_checksum(
    raw: &mut [u8],
    geo: &Geometry,
    ino: Ino,
    rest: impl FnOnce(u32) -> u32,
) -> Result<(u32, u32)> {
    let lo: U16 = get(raw, CHECKSUM_LO)?;
    let mut found = u32::from(lo.get());
    put(raw, CHECKSUM_LO, &U16::new(0))?;
    let has_hi = has_checksum_hi(geo, read_extra_isize(raw, geo)?);
    if has_hi {
        let hi: U16 = get(raw, CHECKSUM_HI)?;
        found |= u32::from(hi.get()) << 16;
        put(raw, CHECKSUM_HI, &U16::new(0))?;
    }
    let generation: U32 = get(raw, GENERATION)?;
    let crc = inode_seed(geo.csum_seed, ino, generation.get());
    let crc = rest(crc32c(crc, bytes(raw, 0, head_size(geo))?));
    Ok((found, if has_hi { crc } else { crc & 0xffff }))
}

/// Whether a raw inode's checksum is right; true where inodes have none. `raw` begins with the
/// head, in which the checksum is zero after this.
pub fn checksum_matches(
    raw: &mut [u8],
    geo: &Geometry,
    ino: Ino,
    rest: impl FnOnce(u32) -> u32,
) -> Result<bool> {
    if !geo.has_inode_csum {
        return Ok(true);
    }
    let (found, right) = take_checksum(raw, geo, ino, rest)?;
    Ok(found == right)
}

/// Brings a raw inode's checksum up to date. `raw` begins with the head. Returns how many of its
/// bytes may have changed: attributes do not begin before that.
pub fn update_checksum(
    raw: &mut [u8],
    geo: &Geometry,
    ino: Ino,
    rest: impl FnOnce(u32) -> u32,
) -> Result<usize> {
    if !geo.has_inode_csum {
        return Ok(GOOD_OLD_SIZE);
    }
    let has_hi = has_checksum_hi(geo, read_extra_isize(raw, geo)?);
    let (_, crc) = take_checksum(raw, geo, ino, rest)?;
    put(raw, CHECKSUM_LO, &U16::new(crc as u16))?;
    if !has_hi {
        return Ok(GOOD_OLD_SIZE);
    }
    put(raw, CHECKSUM_HI, &U16::new((crc >> 16) as u16))?;
    Ok(CHECKSUM_HI + 2)
}
