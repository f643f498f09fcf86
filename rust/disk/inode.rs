// SPDX-License-Identifier: GPL-2.0

//! Inodes (`Documentation/filesystems/ext4/inodes.rst`).

use super::checksum::inode_seed;
use super::encrypted::target_valid;
use super::features::{INCOMPAT_ENCRYPT, INCOMPAT_LARGEDIR, RO_COMPAT_HUGE_FILE, RO_COMPAT_VERITY};
use super::inode_raw::*;
use super::superblock::Geometry;
use super::{block_map, bytes, extent, get, put, Corrupt, Ino, Pblk, Result, Timestamp};
use zerocopy::little_endian::{U16, U32};
use zerocopy::FromBytes as _;

/// Links a directory or file may have; with dir_nlink a directory goes back to 1 beyond it.
pub const LINK_MAX: u16 = 65000;

/// `i_mode`: mask of the file type.
pub const S_IFMT: u16 = 0xf000;
/// `i_mode`: runs as its owner.
pub const S_ISUID: u16 = 0o4000;
/// `i_mode`: runs as its group.
pub const S_ISGID: u16 = 0o2000;
/// `i_mode`: FIFO.
pub const S_IFIFO: u16 = 0x1000;
/// `i_mode`: character device.
pub const S_IFCHR: u16 = 0x2000;
/// `i_mode`: directory.
pub const S_IFDIR: u16 = 0x4000;
/// `i_mode`: block device.
pub const S_IFBLK: u16 = 0x6000;
/// `i_mode`: regular file.
pub const S_IFREG: u16 = 0x8000;
/// `i_mode`: symbolic link.
pub const S_IFLNK: u16 = 0xa000;
/// `i_mode`: socket.
pub const S_IFSOCK: u16 = 0xc000;

pub use super::inode_flags as flags;
pub use super::inode_raw::{
    checksum_matches, head_size, update_checksum, BLOCK_BYTES, GOOD_OLD_SIZE, HEAD_MAX,
};

/// An inode with its halves joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InodeFields {
    /// File type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Last change of the data.
    pub mtime: Timestamp,
    /// Creation; zero where the inode is too small to hold it.
    pub crtime: Timestamp,
    /// Deletion time in seconds, or the next inode of the orphan list.
    pub dtime: u32,
    /// Hard links.
    pub links: u16,
    /// Space in units of 512 bytes.
    pub blocks: u64,
    /// See [`flags`].
    pub flags: u32,
    /// Extent tree root, block map, device number or short symlink.
    pub block: [u8; BLOCK_BYTES],
    /// Generation, for file handles and checksums.
    pub generation: u32,
    /// Block of the extended attributes, if there is one.
    pub file_acl: Option<Pblk>,
    /// Bytes of the fields behind the first 128.
    pub extra_isize: u16,
    /// Project; 0 where the inode is too small to hold it.
    pub projid: u32,
    /// Change counter.
    pub version: u64,
}

impl Default for InodeFields {
    fn default() -> Self {
        InodeFields {
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            atime: Timestamp::default(),
            ctime: Timestamp::default(),
            mtime: Timestamp::default(),
            crtime: Timestamp::default(),
            dtime: 0,
            links: 0,
            blocks: 0,
            flags: 0,
            block: [0; BLOCK_BYTES],
            generation: 0,
            file_acl: None,
            extra_isize: 0,
            projid: 0,
            version: 0,
        }
    }
}

/// Whether somebody names the inode that `raw` begins with. One that was given back, or never
/// used, has no links.
pub fn has_links(raw: &[u8]) -> Result<bool> {
    let (raw, _) = RawInode::ref_from_prefix(raw).map_err(|_| Corrupt::ShortBuffer)?;
    Ok(raw.links.get() != 0)
}

/// The largest number the 48 bits of `i_blocks` hold.
const BLOCKS_48: u64 = (1 << 48) - 1;

/// Whether an inode has the high half of its size. In directories it was an ACL once; where they
/// can be large it is the size.
fn has_high_size(mode: u16, geo: &Geometry) -> bool {
    mode & S_IFMT == S_IFREG || geo.features.has_incompat(INCOMPAT_LARGEDIR)
}

impl InodeFields {
    /// Reads an inode; `raw` begins with its head. Only `i_extra_isize` is checked here, as it
    /// says which fields there are: see [`InodeFields::check`] and [`checksum_matches`].
    pub fn decode(raw: &[u8], geo: &Geometry) -> Result<Self> {
        let mut fields = Self::default();
        fields.read(raw, geo)?;
        Ok(fields)
    }

    /// [`InodeFields::decode`] to where they stay: they are many bytes to be handed on. On error
    /// they are as they were.
    pub fn read(&mut self, raw: &[u8], geo: &Geometry) -> Result<()> {
        let raw = bytes(raw, 0, head_size(geo))?;
        let (r, _) = RawInode::ref_from_prefix(raw).map_err(|_| Corrupt::ShortBuffer)?;
        let extra_isize = read_extra_isize(raw, geo)?;
        let extra = |off| extra_field(raw, extra_isize, off);
        let (atime, ctime, mtime) = (
            extra(ATIME_EXTRA)?,
            extra(CTIME_EXTRA)?,
            extra(MTIME_EXTRA)?,
        );
        let crtime = match extra(CRTIME)? {
            Some(base) => Timestamp::decode(base, extra(CRTIME_EXTRA)?),
            None => Timestamp::default(),
        };
        let (projid, version_hi) = (extra(PROJID)?.unwrap_or(0), extra(VERSION_HI)?.unwrap_or(0));
        let mode = r.mode.get();
        let flags = r.flags.get();

        let mut blocks = u64::from(r.blocks_lo.get());
        if geo.features.has_ro_compat(RO_COMPAT_HUGE_FILE) {
            blocks |= u64::from(r.blocks_hi.get()) << 32;
            if flags & flags::HUGE_FILE != 0 {
                blocks <<= geo.block_bits - 9;
            }
        }
        let mut size = u64::from(r.size_lo.get());
        if has_high_size(mode, geo) {
            size |= u64::from(r.size_hi.get()) << 32;
        }
        self.mode = mode;
        self.uid = u32::from(r.uid_lo.get()) | (u32::from(r.uid_hi.get()) << 16);
        self.gid = u32::from(r.gid_lo.get()) | (u32::from(r.gid_hi.get()) << 16);
        self.size = size;
        self.atime = Timestamp::decode(r.atime.get(), atime);
        self.ctime = Timestamp::decode(r.ctime.get(), ctime);
        self.mtime = Timestamp::decode(r.mtime.get(), mtime);
        self.crtime = crtime;
        self.dtime = r.dtime.get();
        self.links = r.links.get();
        self.blocks = blocks;
        self.flags = flags;
        self.block = r.block;
        self.generation = r.generation.get();
        self.file_acl = r.file_acl(geo);
        self.extra_isize = extra_isize;
        self.projid = projid;
        self.version = u64::from(r.version_lo.get()) | (u64::from(version_hi) << 32);
        Ok(())
    }

    /// Decodes an inode after checking its checksum, then all that it says. For inodes that are in
    /// use; a deleted one need not be consistent.
    pub fn decode_checked(
        raw: &mut [u8],
        geo: &Geometry,
        ino: Ino,
        rest: impl FnOnce(u32) -> u32,
    ) -> Result<Self> {
        if !geo.inode_exists(ino) {
            return Err(Corrupt::InodeNumber);
        }
        if !checksum_matches(raw, geo, ino, rest)? {
            return Err(Corrupt::InodeChecksum);
        }
        let inode = Self::decode(raw, geo)?;
        inode.check(geo)?;
        Ok(inode)
    }

    /// Writes the fields into `raw`, which begins with the head, keeping what this module does not
    /// know, and brings the checksum up to date.
    ///
    /// For a new inode all its bytes are zeroed first by the caller. [`Corrupt::InodeBlocks`]: more
    /// space than the features of the filesystem let an inode have.
    pub fn encode(
        &self,
        raw: &mut [u8],
        geo: &Geometry,
        ino: Ino,
        rest: impl FnOnce(u32) -> u32,
    ) -> Result<()> {
        let size = usize::from(geo.inode_size);
        let raw = raw.get_mut(..head_size(geo)).ok_or(Corrupt::ShortBuffer)?;
        if GOOD_OLD_SIZE + usize::from(self.extra_isize) > size || self.extra_isize & 3 != 0 {
            return Err(Corrupt::InodeExtraIsize);
        }
        let (blocks, flags) = self.encode_blocks(geo)?;
        let e = self.extra_isize;
        let (atime, atime_extra) = self.atime.encode(fits(e, ATIME_EXTRA, 4));
        let (ctime, ctime_extra) = self.ctime.encode(fits(e, CTIME_EXTRA, 4));
        let (mtime, mtime_extra) = self.mtime.encode(fits(e, MTIME_EXTRA, 4));
        let (crtime, crtime_extra) = self.crtime.encode(fits(e, CRTIME_EXTRA, 4));

        let (r, _) = RawInode::mut_from_prefix(raw).map_err(|_| Corrupt::ShortBuffer)?;
        r.mode.set(self.mode);
        r.uid_lo.set(self.uid as u16);
        r.uid_hi.set((self.uid >> 16) as u16);
        r.gid_lo.set(self.gid as u16);
        r.gid_hi.set((self.gid >> 16) as u16);
        r.size_lo.set(self.size as u32);
        if has_high_size(self.mode, geo) {
            r.size_hi.set((self.size >> 32) as u32);
        }
        r.atime.set(atime);
        r.ctime.set(ctime);
        r.mtime.set(mtime);
        r.dtime.set(self.dtime);
        r.links.set(self.links);
        r.blocks_lo.set(blocks as u32);
        if geo.features.has_ro_compat(RO_COMPAT_HUGE_FILE) {
            r.blocks_hi.set((blocks >> 32) as u16);
        }
        r.flags.set(flags);
        r.version_lo.set(self.version as u32);
        r.block = self.block;
        r.generation.set(self.generation);
        r.set_file_acl(geo, self.file_acl);

        if size > GOOD_OLD_SIZE {
            put(raw, EXTRA_ISIZE, &U16::new(e))?;
            put_extra(raw, e, ATIME_EXTRA, atime_extra)?;
            put_extra(raw, e, CTIME_EXTRA, ctime_extra)?;
            put_extra(raw, e, MTIME_EXTRA, mtime_extra)?;
            put_extra(raw, e, CRTIME, crtime)?;
            put_extra(raw, e, CRTIME_EXTRA, crtime_extra)?;
            put_extra(raw, e, VERSION_HI, (self.version >> 32) as u32)?;
            put_extra(raw, e, PROJID, self.projid)?;
        }
        update_checksum(raw, geo, ino, rest)?;
        Ok(())
    }

    /// `i_blocks` as stored and the flags that go with it: 512-byte units while they fit in 48
    /// bits, filesystem blocks (and the HUGE_FILE flag) beyond.
    fn encode_blocks(&self, geo: &Geometry) -> Result<(u64, u32)> {
        let flags = self.flags & !flags::HUGE_FILE;
        if !geo.features.has_ro_compat(RO_COMPAT_HUGE_FILE) {
            if self.blocks > u64::from(u32::MAX) {
                return Err(Corrupt::InodeBlocks);
            }
            return Ok((self.blocks, flags));
        }
        if self.blocks <= BLOCKS_48 {
            return Ok((self.blocks, flags));
        }
        let blocks = self.blocks >> (geo.block_bits - 9);
        if blocks > BLOCKS_48 {
            return Err(Corrupt::InodeBlocks);
        }
        Ok((blocks, flags | flags::HUGE_FILE))
    }

    /// Whether the fields reach as far as the project.
    pub fn keeps_project(&self) -> bool {
        fits(self.extra_isize, PROJID, 4)
    }

    /// The file type bits of the mode.
    pub fn file_type(&self) -> u16 {
        self.mode & S_IFMT
    }

    /// Whether this is a regular file.
    pub fn is_reg(&self) -> bool {
        self.file_type() == S_IFREG
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == S_IFDIR
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type() == S_IFLNK
    }

    /// Whether all flags of `mask` are set.
    pub fn has_flags(&self, mask: u32) -> bool {
        self.flags & mask == mask
    }

    /// Whether this is a symlink whose target lies in `i_block`: no block but perhaps that of its
    /// attributes, which is a cluster with bigalloc, belongs to it.
    pub fn is_fast_symlink(&self, geo: &Geometry) -> bool {
        let acl = if self.file_acl.is_some() {
            1 << (geo.cluster_bits - 9)
        } else {
            0
        };
        self.is_symlink() && self.blocks.checked_sub(acl) == Some(0)
    }

    /// Whether its content, its names or its target are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.has_flags(flags::ENCRYPT)
    }

    /// The target of a fast symlink, checked: of the length the size says, no NUL in it, one NUL
    /// behind it. What it is encrypted to may have any bytes.
    pub fn fast_symlink(&self) -> Result<&[u8]> {
        let len = usize::try_from(self.size).map_err(|_| Corrupt::InodeSymlink)?;
        let target = self.block.get(..len).ok_or(Corrupt::InodeSymlink)?;
        let good = if self.is_encrypted() {
            target_valid(target)
        } else {
            len != 0 && !target.contains(&0) && self.block.get(len) == Some(&0)
        };
        good.then_some(target).ok_or(Corrupt::InodeSymlink)
    }

    /// Stores a symlink target in `i_block`. False when it is too long for that.
    pub fn set_fast_symlink(&mut self, target: &[u8]) -> bool {
        if target.len() >= BLOCK_BYTES {
            return false;
        }
        self.block = [0; BLOCK_BYTES];
        for (to, from) in self.block.iter_mut().zip(target) {
            *to = *from;
        }
        self.size = target.len() as u64;
        true
    }

    /// A word of `i_block`; 0 if it has no such one.
    pub fn block_word(&self, n: usize) -> u32 {
        get::<U32>(&self.block, n * 4).map_or(0, U32::get)
    }

    /// Major and minor number of a device: the first word holds the old 8:8 encoding, if it is 0
    /// the second one holds the new 12:20 one.
    pub fn device(&self) -> (u32, u32) {
        let old = self.block_word(0);
        if old != 0 {
            return ((old >> 8) & 0xff, old & 0xff);
        }
        let new = self.block_word(1);
        ((new >> 8) & 0xfff, (new & 0xff) | ((new >> 12) & 0xf_ff00))
    }

    /// Stores a device number in the encoding its size needs.
    pub fn set_device(&mut self, major: u32, minor: u32) {
        self.block = [0; BLOCK_BYTES];
        let (old, new) = if major < 256 && minor < 256 {
            ((major << 8) | minor, 0)
        } else {
            let new = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xf_ff00) << 12);
            (0, new)
        };
        let words = old.to_le_bytes().into_iter().chain(new.to_le_bytes());
        for (to, from) in self.block.iter_mut().zip(words) {
            *to = from;
        }
    }

    /// Checks an inode that is in use: type, size, flags, attribute block, symlink and the root of
    /// the extent tree or the block map. Of one without links (an orphan) only what its deletion
    /// needs.
    pub fn check(&self, geo: &Geometry) -> Result<()> {
        match self.file_type() {
            S_IFIFO | S_IFCHR | S_IFDIR | S_IFBLK | S_IFREG | S_IFLNK | S_IFSOCK => {}
            _ => return Err(Corrupt::InodeMode),
        }
        if self.flags & flags::IMPOSSIBLE != 0
            || (self.has_flags(flags::VERITY) && !geo.features.has_ro_compat(RO_COMPAT_VERITY))
            || (self.is_encrypted() && !geo.features.has_incompat(INCOMPAT_ENCRYPT))
        {
            return Err(Corrupt::InodeFlags);
        }
        if self.size > geo.max_file_size {
            return Err(Corrupt::InodeSize);
        }
        if self.blocks >> (geo.block_bits - 9) > geo.blocks_count {
            return Err(Corrupt::InodeBlocks);
        }
        if self
            .file_acl
            .is_some_and(|block| !geo.blocks_valid(block, 1))
        {
            return Err(Corrupt::InodeAcl);
        }
        let block_mask = u64::from(geo.block_size - 1);
        // An inode without links is read to be deleted, wherever a crash stopped that: the size
        // goes to 0 before the blocks do (older drivers leave it), and a symlink whose block is
        // gone looks like one that never had any. Nobody reads what is in it.
        let removed = self.links == 0;
        if self.is_dir() && !removed && (self.size == 0 || self.size & block_mask != 0) {
            return Err(Corrupt::InodeSize);
        }
        if self.is_symlink() {
            if self.flags & (flags::IMMUTABLE | flags::APPEND) != 0 {
                return Err(Corrupt::InodeFlags);
            }
            if self.is_fast_symlink(geo) {
                if !removed {
                    self.fast_symlink()?;
                }
                return Ok(());
            }
            if !removed && (self.size == 0 || self.size >= u64::from(geo.block_size)) {
                return Err(Corrupt::InodeSymlink);
            }
        }
        if !(self.is_reg() || self.is_dir() || self.is_symlink()) {
            Ok(())
        } else if self.has_flags(flags::EXTENTS) {
            extent::check_root(&self.block, geo).map(drop)
        } else {
            block_map::check_root(&self.block, geo)
        }
    }

    /// The seed of the checksums of everything that belongs to this inode.
    pub fn csum_seed(&self, geo: &Geometry, ino: Ino) -> u32 {
        inode_seed(geo.csum_seed, ino, self.generation)
    }
}
