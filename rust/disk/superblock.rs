// SPDX-License-Identifier: GPL-2.0

//! The superblock (`Documentation/filesystems/ext4/super.rst`) turned into [`Geometry`], the
//! checked numbers everything else is computed from.

use super::checksum::fs_seed;
use super::features::*;
use core::fmt;

pub use super::error_mark::*;
pub use super::super_raw::*;

const CHECKSUM_TYPE_CRC32C: u8 = 1;
const GOOD_OLD_INODE_SIZE: u16 = 128;
const GOOD_OLD_FIRST_INO: u32 = 11;
/// Size of the inode fields this module knows beyond the first 128 bytes.
const EXTRA_ISIZE_KNOWN: u16 = 32;

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
    /// log2 of the bytes in a cluster, the unit of allocation: a block but for bigalloc.
    pub cluster_bits: u32,
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
    /// Device number of an external journal, 0 when there is none.
    pub journal_dev: u32,
    /// Inode of the orphan file, 0 when there is none.
    pub orphan_file_inum: u32,
    /// Inodes of the quotas of users, groups and projects, 0 when there are none.
    pub quota_inums: [u32; 3],
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
    /// Head of the orphan list at mount, unchecked.
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
            cluster_bits: block_bits + ratio_bits,
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
            quota_inums: match features.has_ro_compat(RO_COMPAT_QUOTA) {
                true => [
                    sb.usr_quota_inum.get(),
                    sb.grp_quota_inum.get(),
                    sb.prj_quota_inum.get(),
                ],
                false => [0; 3],
            },
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
            last_orphan: sb.last_orphan.get(),
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
}
