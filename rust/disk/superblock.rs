// SPDX-License-Identifier: GPL-2.0

//! The superblock (`Documentation/filesystems/ext4/super.rst`): its 1024 bytes, and [`Geometry`],
//! the checked numbers everything else is computed from.

use super::checksum::{crc32c, fs_seed};
use super::features::*;
use core::fmt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Byte offset of the superblock on the device, whatever the block size.
pub const SUPER_OFFSET: u64 = 1024;
/// Size of the superblock in bytes.
pub const SUPER_SIZE: usize = 1024;
/// `s_magic`.
pub const MAGIC: u16 = 0xef53;

/// `s_state`: cleanly unmounted.
pub const STATE_VALID: u16 = 0x0001;
/// `s_state`: errors were found.
pub const STATE_ERROR: u16 = 0x0002;
/// `s_state`: orphans are being recovered.
pub const STATE_ORPHANS: u16 = 0x0004;

const FLAG_SIGNED_HASH: u32 = 0x0001;
const CHECKSUM_TYPE_CRC32C: u8 = 1;
const GOOD_OLD_INODE_SIZE: u16 = 128;
const GOOD_OLD_FIRST_INO: u32 = 11;
/// Size of the inode fields this module knows beyond the first 128 bytes.
const EXTRA_ISIZE_KNOWN: u16 = 32;

/// The superblock as it lies on the disk.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the field names are those of the format")]
pub struct RawSuper {
    pub inodes_count: U32,
    pub blocks_count_lo: U32,
    pub r_blocks_count_lo: U32,
    pub free_blocks_count_lo: U32,
    pub free_inodes_count: U32,
    pub first_data_block: U32,
    pub log_block_size: U32,
    pub log_cluster_size: U32,
    pub blocks_per_group: U32,
    pub clusters_per_group: U32,
    pub inodes_per_group: U32,
    pub mtime: U32,
    pub wtime: U32,
    pub mnt_count: U16,
    pub max_mnt_count: U16,
    pub magic: U16,
    pub state: U16,
    pub errors: U16,
    pub minor_rev_level: U16,
    pub lastcheck: U32,
    pub checkinterval: U32,
    pub creator_os: U32,
    pub rev_level: U32,
    pub def_resuid: U16,
    pub def_resgid: U16,
    pub first_ino: U32,
    pub inode_size: U16,
    pub block_group_nr: U16,
    pub feature_compat: U32,
    pub feature_incompat: U32,
    pub feature_ro_compat: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub last_mounted: [u8; 64],
    pub algorithm_usage_bitmap: U32,
    pub prealloc_blocks: u8,
    pub prealloc_dir_blocks: u8,
    pub reserved_gdt_blocks: U16,
    pub journal_uuid: [u8; 16],
    pub journal_inum: U32,
    pub journal_dev: U32,
    pub last_orphan: U32,
    pub hash_seed: [U32; 4],
    pub def_hash_version: u8,
    pub jnl_backup_type: u8,
    pub desc_size: U16,
    pub default_mount_opts: U32,
    pub first_meta_bg: U32,
    pub mkfs_time: U32,
    pub jnl_blocks: [U32; 17],
    pub blocks_count_hi: U32,
    pub r_blocks_count_hi: U32,
    pub free_blocks_count_hi: U32,
    pub min_extra_isize: U16,
    pub want_extra_isize: U16,
    pub flags: U32,
    pub raid_stride: U16,
    pub mmp_update_interval: U16,
    pub mmp_block: U64,
    pub raid_stripe_width: U32,
    pub log_groups_per_flex: u8,
    pub checksum_type: u8,
    pub encryption_level: u8,
    pub reserved_pad: u8,
    pub kbytes_written: U64,
    pub snapshot_inum: U32,
    pub snapshot_id: U32,
    pub snapshot_r_blocks_count: U64,
    pub snapshot_list: U32,
    pub error_count: U32,
    pub first_error_time: U32,
    pub first_error_ino: U32,
    pub first_error_block: U64,
    pub first_error_func: [u8; 32],
    pub first_error_line: U32,
    pub last_error_time: U32,
    pub last_error_ino: U32,
    pub last_error_line: U32,
    pub last_error_block: U64,
    pub last_error_func: [u8; 32],
    pub mount_opts: [u8; 64],
    pub usr_quota_inum: U32,
    pub grp_quota_inum: U32,
    pub overhead_clusters: U32,
    pub backup_bgs: [U32; 2],
    pub encrypt_algos: [u8; 4],
    pub encrypt_pw_salt: [u8; 16],
    pub lpf_ino: U32,
    pub prj_quota_inum: U32,
    pub checksum_seed: U32,
    pub wtime_hi: u8,
    pub mtime_hi: u8,
    pub mkfs_time_hi: u8,
    pub lastcheck_hi: u8,
    pub first_error_time_hi: u8,
    pub last_error_time_hi: u8,
    pub first_error_errcode: u8,
    pub last_error_errcode: u8,
    pub encoding: U16,
    pub encoding_flags: U16,
    pub orphan_file_inum: U32,
    pub def_resuid_hi: U16,
    pub def_resgid_hi: U16,
    pub reserved: [U32; 93],
    pub checksum: U32,
}

const _: () = assert!(core::mem::size_of::<RawSuper>() == SUPER_SIZE);

/// Why a superblock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SbError {
    /// Fewer than 1024 bytes.
    Short,
    /// Not an ext4 superblock.
    BadMagic,
    /// The superblock's own checksum is wrong.
    Checksum,
    /// A checksum algorithm other than CRC32C; holds its number.
    ChecksumType(u8),
    /// `incompat` features that are not implemented; holds their bits.
    Incompat(u32),
    /// A block size other than 1, 2 or 4 KiB; holds `s_log_block_size`.
    BlockSize(u32),
    /// The filesystem is larger than the device (both in blocks).
    Truncated {
        /// What the superblock says.
        blocks: u64,
        /// What the device holds.
        device_blocks: u64,
    },
    /// A number that contradicts the others; the text names it.
    Geometry(&'static str),
}

impl SbError {
    /// The reason without the numbers.
    pub fn as_str(&self) -> &'static str {
        match self {
            SbError::Short => "superblock: cannot read 1024 bytes",
            SbError::BadMagic => "superblock: no ext4 magic",
            SbError::Checksum => "superblock: bad checksum",
            SbError::ChecksumType(_) => "superblock: unknown checksum algorithm",
            SbError::Incompat(_) => "superblock: unsupported incompatible feature",
            SbError::BlockSize(_) => "superblock: unsupported block size",
            SbError::Truncated { .. } => "superblock: filesystem is larger than the device",
            SbError::Geometry(what) => what,
        }
    }
}

impl fmt::Display for SbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SbError::ChecksumType(n) => write!(f, "{} {n}", self.as_str()),
            SbError::Incompat(bits) => write!(
                f,
                "{} {} (mask {bits:#x})",
                self.as_str(),
                incompat_name(bits).unwrap_or("none"),
            ),
            SbError::BlockSize(log) => write!(f, "{} (2^{} KiB)", self.as_str(), log),
            SbError::Truncated {
                blocks,
                device_blocks,
            } => write!(f, "{} ({blocks} blocks on {device_blocks})", self.as_str()),
            _ => f.write_str(self.as_str()),
        }
    }
}

/// `s_errors`: what to do when corruption is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// Report and go on.
    Continue,
    /// Remount read-only; also what unknown values mean.
    RemountRo,
    /// Panic.
    Panic,
}

fn join(lo: U32, hi: U32) -> u64 {
    u64::from(lo.get()) | (u64::from(hi.get()) << 32)
}

impl RawSuper {
    /// The features, unchecked.
    pub fn features(&self) -> Features {
        Features {
            compat: self.feature_compat.get(),
            incompat: self.feature_incompat.get(),
            ro_compat: self.feature_ro_compat.get(),
        }
    }

    fn is_64bit(&self) -> bool {
        self.features().has_incompat(INCOMPAT_64BIT)
    }

    /// Blocks in the filesystem.
    pub fn blocks_count(&self) -> u64 {
        self.widen(self.blocks_count_lo, self.blocks_count_hi)
    }

    /// Free blocks (a hint: the group descriptors are the truth).
    pub fn free_blocks_count(&self) -> u64 {
        self.widen(self.free_blocks_count_lo, self.free_blocks_count_hi)
    }

    /// Blocks reserved for the superuser.
    pub fn reserved_blocks_count(&self) -> u64 {
        self.widen(self.r_blocks_count_lo, self.r_blocks_count_hi)
    }

    fn widen(&self, lo: U32, hi: U32) -> u64 {
        if self.is_64bit() {
            join(lo, hi)
        } else {
            u64::from(lo.get())
        }
    }

    /// Sets the count of free blocks.
    pub fn set_free_blocks_count(&mut self, n: u64) {
        self.free_blocks_count_lo.set(n as u32);
        if self.is_64bit() {
            self.free_blocks_count_hi.set((n >> 32) as u32);
        }
    }

    /// Sets the count of free inodes.
    pub fn set_free_inodes_count(&mut self, n: u32) {
        self.free_inodes_count.set(n);
    }

    /// User and group that may use the reserved blocks.
    pub fn reserved_owner(&self) -> (u32, u32) {
        let uid = u32::from(self.def_resuid.get()) | (u32::from(self.def_resuid_hi.get()) << 16);
        let gid = u32::from(self.def_resgid.get()) | (u32::from(self.def_resgid_hi.get()) << 16);
        (uid, gid)
    }

    /// Whether `s_state` has all bits of `mask`.
    pub fn has_state(&self, mask: u16) -> bool {
        self.state.get() & mask == mask
    }

    /// Sets and clears bits of `s_state`.
    pub fn update_state(&mut self, set: u16, clear: u16) {
        self.state.set((self.state.get() & !clear) | set);
    }

    /// Sets or clears an `incompat` bit (only `recover` changes while mounted).
    pub fn set_incompat(&mut self, mask: u32, on: bool) {
        let old = self.feature_incompat.get();
        self.feature_incompat
            .set(if on { old | mask } else { old & !mask });
    }

    /// Sets or clears a `ro_compat` bit (`orphan_present`, and `large_file` at the first one).
    pub fn set_ro_compat(&mut self, mask: u32, on: bool) {
        let old = self.feature_ro_compat.get();
        self.feature_ro_compat
            .set(if on { old | mask } else { old & !mask });
    }

    /// Head of the list of orphan inodes, 0 when empty.
    pub fn set_last_orphan(&mut self, ino: u32) {
        self.last_orphan.set(ino);
    }

    /// Time of the last write, seconds since 1970.
    pub fn set_wtime(&mut self, sec: u64) {
        self.wtime.set(sec as u32);
        self.wtime_hi = (sec >> 32) as u8;
    }

    /// Records a mount: time (seconds since 1970) and count.
    pub fn set_mounted(&mut self, sec: u64) {
        self.mtime.set(sec as u32);
        self.mtime_hi = (sec >> 32) as u8;
        self.mnt_count.set(self.mnt_count.get().saturating_add(1));
    }

    /// Records an error found at `sec`: the first one ever stays, the last one is replaced.
    /// `code` is one of the format's error codes ([`error_code`]).
    pub fn record_error(
        &mut self,
        sec: u64,
        ino: u32,
        block: u64,
        func: &str,
        line: u32,
        code: u8,
    ) {
        let mut name = [0u8; 32];
        // One byte stays zero, old tools print it as a C string.
        for (to, from) in name.iter_mut().take(31).zip(func.bytes()) {
            *to = from;
        }
        self.update_state(STATE_ERROR, 0);
        self.last_error_time.set(sec as u32);
        self.last_error_time_hi = (sec >> 32) as u8;
        self.last_error_ino.set(ino);
        self.last_error_block.set(block);
        self.last_error_func = name;
        self.last_error_line.set(line);
        self.last_error_errcode = code;
        if self.first_error_time.get() == 0 && self.first_error_time_hi == 0 {
            self.first_error_time.set(sec as u32);
            self.first_error_time_hi = (sec >> 32) as u8;
            self.first_error_ino.set(ino);
            self.first_error_block.set(block);
            self.first_error_func = name;
            self.first_error_line.set(line);
            self.first_error_errcode = code;
        }
        self.error_count
            .set(self.error_count.get().saturating_add(1));
    }

    fn computed_checksum(&self) -> u32 {
        let bytes = zerocopy::IntoBytes::as_bytes(self);
        crc32c(!0, bytes.get(..SUPER_SIZE - 4).unwrap_or(&[]))
    }

    /// Whether the checksum is right; true where the filesystem has none.
    pub fn checksum_matches(&self) -> bool {
        !self.features().has_ro_compat(RO_COMPAT_METADATA_CSUM)
            || self.checksum.get() == self.computed_checksum()
    }

    /// Brings the checksum up to date; the last step of every change.
    pub fn update_checksum(&mut self) {
        if self.features().has_ro_compat(RO_COMPAT_METADATA_CSUM) {
            self.checksum.set(self.computed_checksum());
        }
    }
}

/// Error codes of `s_last_error_errcode` (`EXT4_ERR_*`).
#[allow(missing_docs, reason = "named after the errno they stand for")]
pub mod error_code {
    pub const UNKNOWN: u8 = 1;
    pub const EIO: u8 = 2;
    pub const ENOMEM: u8 = 3;
    pub const EFSBADCRC: u8 = 4;
    pub const EFSCORRUPTED: u8 = 5;
    pub const ENOSPC: u8 = 6;
    pub const ENOKEY: u8 = 7;
    pub const EROFS: u8 = 8;
    pub const EFBIG: u8 = 9;
    pub const EEXIST: u8 = 10;
    pub const ERANGE: u8 = 11;
    pub const EOVERFLOW: u8 = 12;
    pub const EBUSY: u8 = 13;
    pub const ENOTDIR: u8 = 14;
    pub const ENOTEMPTY: u8 = 15;
    pub const ESHUTDOWN: u8 = 16;
    pub const EFAULT: u8 = 17;
}

/// The checked numbers of a filesystem; does not change while it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The three feature words at mount.
    pub features: Features,
    /// Bytes in a block: 1024, 2048 or 4096.
    pub block_size: u32,
    /// log2 of the block size.
    pub block_bits: u32,
    /// Blocks in the filesystem.
    pub blocks_count: u64,
    /// The first block of group 0: 1 with 1 KiB blocks (block 0 is the boot block), else 0.
    pub first_data_block: u32,
    /// Blocks in every group but the last.
    pub blocks_per_group: u32,
    /// Number of block groups.
    pub groups_count: u32,
    /// Inodes in the filesystem; also the largest inode number.
    pub inodes_count: u32,
    /// Inodes in every group.
    pub inodes_per_group: u32,
    /// Bytes of an on-disk inode.
    pub inode_size: u16,
    /// Blocks of one group's inode table.
    pub itable_blocks: u32,
    /// First inode number that is not reserved.
    pub first_ino: u32,
    /// `i_extra_isize` of new inodes.
    pub want_extra_isize: u16,
    /// Bytes of a group descriptor.
    pub desc_size: u16,
    /// Blocks of the group descriptor table (without the reserved ones).
    pub gdt_blocks: u32,
    /// Blocks after each copy of the table kept free for growing it.
    pub reserved_gdt_blocks: u16,
    /// The block that holds the superblock.
    pub super_block: u32,
    /// log2 of the groups in a flex group; 0 without flex_bg.
    pub log_groups_per_flex: u8,
    /// Groups with a backup superblock where sparse_super2 is set.
    pub backup_groups: [u32; 2],
    /// Metadata is checksummed by CRC32C.
    pub has_metadata_csum: bool,
    /// Group descriptors are checksummed by CRC16 (never with `has_metadata_csum`).
    pub has_gdt_csum: bool,
    /// Inodes are checksummed: only where the creator is Linux, as the space is used elsewhere by
    /// others.
    pub has_inode_csum: bool,
    /// Seed of all checksums but the superblock's.
    pub csum_seed: u32,
    /// The UUID, which also seeds `gdt_csum`.
    pub uuid: [u8; 16],
    /// Inode of the journal, 0 when there is none inside.
    pub journal_inum: u32,
    /// UUID of an external journal's superblock and its device number, 0 when inside.
    pub journal_dev: u32,
    /// Inode of the orphan file, 0 when there is none.
    pub orphan_file_inum: u32,
    /// Seed of the directory hashes, zeros mean the default one.
    pub hash_seed: [u32; 4],
    /// Hash of new directory indexes: 0 legacy, 1 half MD4, 2 TEA.
    pub def_hash_version: u8,
    /// Names are hashed as unsigned characters.
    pub hash_unsigned: bool,
    /// The largest size of a file mapped by extents, in bytes.
    pub max_file_size: u64,
    /// What to do when corruption is found.
    pub errors: ErrorPolicy,
    /// `s_default_mount_opts`.
    pub default_mount_opts: u32,
    /// `s_state` at mount.
    pub state: u16,
    /// Head of the orphan list at mount.
    pub last_orphan: u32,
}

/// Number of logical blocks of a file that extents can map: the last number is never used, so that
/// a length fits in 32 bits too.
pub const MAX_FILE_BLOCKS: u64 = u32::MAX as u64;

impl Geometry {
    /// Checks a superblock and computes the geometry; `device_bytes` is the size of the device.
    pub fn parse(sb: &RawSuper, device_bytes: u64) -> core::result::Result<Self, SbError> {
        use SbError::Geometry as Bad;

        if sb.magic.get() != MAGIC {
            return Err(SbError::BadMagic);
        }
        let features = sb.features();
        let has_metadata_csum = features.has_ro_compat(RO_COMPAT_METADATA_CSUM);
        if has_metadata_csum && sb.checksum_type != CHECKSUM_TYPE_CRC32C {
            return Err(SbError::ChecksumType(sb.checksum_type));
        }
        if !sb.checksum_matches() {
            return Err(SbError::Checksum);
        }
        if sb.rev_level.get() > 1 {
            return Err(Bad("superblock: unknown revision"));
        }
        // Revision 0 has no feature words; what lies there is not ours to read.
        let old_rev = sb.rev_level.get() == 0;
        if old_rev && (features != Features::default()) {
            return Err(Bad("superblock: features in a revision 0 filesystem"));
        }
        if features.unknown_incompat() != 0 {
            return Err(SbError::Incompat(features.unknown_incompat()));
        }

        let log = sb.log_block_size.get();
        if log > 2 {
            return Err(SbError::BlockSize(log));
        }
        let block_bits = 10 + log;
        let block_size = 1u32 << block_bits;

        let bigalloc = features.has_ro_compat(RO_COMPAT_BIGALLOC);
        let cluster_log = sb.log_cluster_size.get();
        let ratio_bits = match cluster_log.checked_sub(log) {
            Some(0) => 0,
            Some(bits) if bigalloc && bits <= 20 => bits,
            _ => return Err(Bad("superblock: bad cluster size")),
        };
        let blocks_per_group = sb.blocks_per_group.get();
        let clusters_per_group = sb.clusters_per_group.get();
        let bitmap_bits = block_size * 8;
        if clusters_per_group == 0
            || clusters_per_group > bitmap_bits
            || clusters_per_group & 7 != 0
            || u64::from(clusters_per_group) << ratio_bits != u64::from(blocks_per_group)
        {
            return Err(Bad("superblock: bad number of blocks per group"));
        }

        let blocks_count = sb.blocks_count();
        let first_data_block = sb.first_data_block.get();
        let super_block = u32::from(block_size == 1024);
        if first_data_block != super_block && !(bigalloc && first_data_block == 0) {
            return Err(Bad("superblock: bad first data block"));
        }
        if blocks_count <= u64::from(first_data_block) {
            return Err(Bad("superblock: no blocks"));
        }
        let device_blocks = device_bytes >> block_bits;
        if blocks_count > device_blocks {
            return Err(SbError::Truncated {
                blocks: blocks_count,
                device_blocks,
            });
        }
        // Extents and inode fields hold 48 bits of a block number.
        if blocks_count > 1 << 48 {
            return Err(Bad("superblock: too many blocks"));
        }
        let groups =
            (blocks_count - u64::from(first_data_block)).div_ceil(u64::from(blocks_per_group));

        let (inode_size, first_ino) = if old_rev {
            (GOOD_OLD_INODE_SIZE, GOOD_OLD_FIRST_INO)
        } else {
            (sb.inode_size.get(), sb.first_ino.get())
        };
        if inode_size < GOOD_OLD_INODE_SIZE
            || !inode_size.is_power_of_two()
            || u32::from(inode_size) > block_size
        {
            return Err(Bad("superblock: bad inode size"));
        }
        let inodes_per_block = block_size / u32::from(inode_size);
        let inodes_per_group = sb.inodes_per_group.get();
        if inodes_per_group < inodes_per_block
            || inodes_per_group > bitmap_bits
            || inodes_per_group & 7 != 0
            || inodes_per_group & (inodes_per_block - 1) != 0
        {
            return Err(Bad("superblock: bad number of inodes per group"));
        }
        let inodes_count = sb.inodes_count.get();
        let groups_count = match u32::try_from(groups) {
            Ok(n) if u64::from(n) * u64::from(inodes_per_group) == u64::from(inodes_count) => n,
            _ => return Err(Bad("superblock: groups and inodes do not agree")),
        };
        if first_ino < GOOD_OLD_FIRST_INO || first_ino > inodes_count {
            return Err(Bad("superblock: bad first inode"));
        }

        let desc_size = if features.has_incompat(INCOMPAT_64BIT) {
            let size = sb.desc_size.get();
            if !(64..=1024).contains(&size) || !size.is_power_of_two() {
                return Err(Bad("superblock: bad group descriptor size"));
            }
            size
        } else {
            32
        };
        let gdt_blocks = groups_count.div_ceil(block_size / u32::from(desc_size));
        let reserved_gdt_blocks = sb.reserved_gdt_blocks.get();
        if u32::from(reserved_gdt_blocks) > block_size / 4 {
            return Err(Bad("superblock: too many reserved descriptor blocks"));
        }
        let itable_blocks = inodes_per_group / inodes_per_block;
        // The primary superblock and table must leave room in group 0.
        let base = u64::from(gdt_blocks) + u64::from(reserved_gdt_blocks) + 1;
        if base >= u64::from(blocks_per_group) || u64::from(super_block) + base > blocks_count {
            return Err(Bad("superblock: group descriptors do not fit in group 0"));
        }

        let want_extra_isize = Self::parse_extra_isize(sb, &features, inode_size)?;
        let def_hash_version = sb.def_hash_version;
        if features.has_compat(COMPAT_DIR_INDEX) && def_hash_version > 2 {
            return Err(Bad("superblock: unknown default hash version"));
        }
        let log_groups_per_flex = if features.has_incompat(INCOMPAT_FLEX_BG) {
            if sb.log_groups_per_flex > 31 {
                return Err(Bad("superblock: bad flex group size"));
            }
            sb.log_groups_per_flex
        } else {
            0
        };

        let journal_inum = Self::parse_ino(
            sb.journal_inum.get(),
            features.has_compat(COMPAT_HAS_JOURNAL),
            inodes_count,
        )
        .ok_or(Bad("superblock: bad journal inode"))?;
        let orphan_file_inum = Self::parse_ino(
            sb.orphan_file_inum.get(),
            features.has_compat(COMPAT_ORPHAN_FILE),
            inodes_count,
        )
        .ok_or(Bad("superblock: bad orphan file inode"))?;
        if features.has_compat(COMPAT_ORPHAN_FILE) && orphan_file_inum == 0 {
            return Err(Bad("superblock: bad orphan file inode"));
        }
        let last_orphan = sb.last_orphan.get();
        if last_orphan > inodes_count {
            return Err(Bad("superblock: bad head of the orphan list"));
        }

        Ok(Geometry {
            features,
            block_size,
            block_bits,
            blocks_count,
            first_data_block,
            blocks_per_group,
            groups_count,
            inodes_count,
            inodes_per_group,
            inode_size,
            itable_blocks,
            first_ino,
            want_extra_isize,
            desc_size,
            gdt_blocks,
            reserved_gdt_blocks,
            super_block,
            log_groups_per_flex,
            backup_groups: [sb.backup_bgs[0].get(), sb.backup_bgs[1].get()],
            has_metadata_csum,
            has_gdt_csum: !has_metadata_csum && features.has_ro_compat(RO_COMPAT_GDT_CSUM),
            has_inode_csum: has_metadata_csum && sb.creator_os.get() == 0,
            csum_seed: if features.has_incompat(INCOMPAT_CSUM_SEED) {
                sb.checksum_seed.get()
            } else {
                fs_seed(&sb.uuid)
            },
            uuid: sb.uuid,
            journal_inum,
            journal_dev: sb.journal_dev.get(),
            orphan_file_inum,
            hash_seed: [
                sb.hash_seed[0].get(),
                sb.hash_seed[1].get(),
                sb.hash_seed[2].get(),
                sb.hash_seed[3].get(),
            ],
            def_hash_version,
            // Where neither flag is set the kernel of today, built with unsigned characters,
            // hashes them as unsigned.
            hash_unsigned: sb.flags.get() & FLAG_SIGNED_HASH == 0,
            max_file_size: Self::max_file_size(&features, block_bits),
            errors: match sb.errors.get() {
                1 => ErrorPolicy::Continue,
                3 => ErrorPolicy::Panic,
                _ => ErrorPolicy::RemountRo,
            },
            default_mount_opts: sb.default_mount_opts.get(),
            state: sb.state.get(),
            last_orphan,
        })
    }

    fn parse_extra_isize(
        sb: &RawSuper,
        features: &Features,
        inode_size: u16,
    ) -> core::result::Result<u16, SbError> {
        let room = inode_size - GOOD_OLD_INODE_SIZE;
        if room == 0 {
            return Ok(0);
        }
        let mut want = EXTRA_ISIZE_KNOWN;
        if features.has_ro_compat(RO_COMPAT_EXTRA_ISIZE) {
            for v in [sb.want_extra_isize.get(), sb.min_extra_isize.get()] {
                if v > room || v % 4 != 0 {
                    return Err(SbError::Geometry("superblock: bad extra inode size"));
                }
                want = want.max(v);
            }
        }
        Ok(want)
    }

    fn parse_ino(ino: u32, feature: bool, inodes_count: u32) -> Option<u32> {
        if !feature {
            return Some(0);
        }
        (ino <= inodes_count).then_some(ino)
    }

    fn max_file_size(features: &Features, block_bits: u32) -> u64 {
        let extents = (MAX_FILE_BLOCKS << block_bits).min(i64::MAX as u64);
        if features.has_ro_compat(RO_COMPAT_HUGE_FILE) {
            return extents;
        }
        // Without huge_file the count of 512-byte units has 32 bits.
        extents.min((u64::from(u32::MAX) >> (block_bits - 9)) << block_bits)
    }

    /// The first block of a group.
    pub fn group_first_block(&self, group: u32) -> u64 {
        u64::from(self.first_data_block) + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Blocks in a group; only the last one is shorter. 0 for a group that does not exist.
    pub fn group_blocks(&self, group: u32) -> u32 {
        if group >= self.groups_count {
            return 0;
        }
        let left = self
            .blocks_count
            .saturating_sub(self.group_first_block(group));
        left.min(u64::from(self.blocks_per_group)) as u32
    }

    /// The group and the bit within it of a block.
    pub fn block_group(&self, block: u64) -> Option<(u32, u32)> {
        if block >= self.blocks_count {
            return None;
        }
        let rel = block.checked_sub(u64::from(self.first_data_block))?;
        let per = u64::from(self.blocks_per_group);
        Some(((rel / per) as u32, (rel % per) as u32))
    }

    /// The group and the index within its table of an inode.
    pub fn inode_group(&self, ino: u32) -> Option<(u32, u32)> {
        if ino == 0 || ino > self.inodes_count {
            return None;
        }
        Some((
            (ino - 1) / self.inodes_per_group,
            (ino - 1) % self.inodes_per_group,
        ))
    }

    /// Where in its group's table an inode lies: block relative to the table, byte in the block.
    pub fn inode_offset(&self, index: u32) -> (u32, u32) {
        let byte = u64::from(index) * u64::from(self.inode_size);
        (
            (byte >> self.block_bits) as u32,
            (byte & u64::from(self.block_size - 1)) as u32,
        )
    }

    /// The block and the byte within it of a group's descriptor (primary copy).
    pub fn desc_location(&self, group: u32) -> (u64, u32) {
        let per_block = self.block_size / u32::from(self.desc_size);
        (
            u64::from(self.super_block) + 1 + u64::from(group / per_block),
            (group % per_block) * u32::from(self.desc_size),
        )
    }

    /// Whether a group begins with a superblock (primary or backup) and descriptors.
    pub fn group_has_super(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.has_compat(COMPAT_SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        if group == 1 || !self.features.has_ro_compat(RO_COMPAT_SPARSE_SUPER) {
            return true;
        }
        [3u32, 5, 7].into_iter().any(|base| is_power(group, base))
    }

    /// Blocks at the start of a group taken by superblock, descriptors and their reserve.
    pub fn group_base_blocks(&self, group: u32) -> u32 {
        if !self.group_has_super(group) {
            return 0;
        }
        1 + self.gdt_blocks + u32::from(self.reserved_gdt_blocks)
    }

    /// Whether `len` blocks from `start` may hold data or metadata of a file: inside the
    /// filesystem, behind the first superblock. That they are no fixed metadata is for the caller
    /// to check.
    pub fn blocks_valid(&self, start: u64, len: u64) -> bool {
        match start.checked_add(len) {
            Some(end) => {
                len > 0 && start > u64::from(self.first_data_block) && end <= self.blocks_count
            }
            None => false,
        }
    }

    /// Whether an inode number may appear in a directory: the root, or not reserved.
    pub fn inode_valid(&self, ino: u32) -> bool {
        ino == super::inode::ROOT_INO || (ino >= self.first_ino && ino <= self.inodes_count)
    }

    /// Bytes at the end of a directory block taken by its checksum.
    pub fn dir_tail(&self) -> usize {
        if self.has_metadata_csum {
            super::dirent::TAIL_SIZE
        } else {
            0
        }
    }
}

/// Whether `n` is `base`, its square, its cube, and so on.
fn is_power(n: u32, base: u32) -> bool {
    let mut power = base;
    while power < n {
        match power.checked_mul(base) {
            Some(next) => power = next,
            None => return false,
        }
    }
    power == n
}
