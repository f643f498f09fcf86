// SPDX-License-Identifier: GPL-2.0

//! The superblock (`Documentation/filesystems/ext4/super.rst`) turned into [`Geometry`], the
//! checked numbers everything else is computed from. The checks are in `super_check`.

use super::features::{FeatureName, Features};
use super::Ino;
use core::fmt;

pub use super::error_mark::*;
pub use super::super_raw::*;

/// Why a superblock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SbError {
    /// Not an ext4 superblock.
    BadMagic,
    /// The superblock's own checksum is wrong.
    Checksum,
    /// A checksum algorithm other than CRC32C; holds its number.
    ChecksumType(u8),
    /// `incompat` features that are not implemented; holds their bits.
    Incompat(u32),
    /// A way of encryption that nobody has defined; holds `s_encryption_level`.
    EncryptionLevel(u8),
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
            SbError::BadMagic => "superblock: no ext4 magic",
            SbError::Checksum => "superblock: bad checksum",
            SbError::ChecksumType(_) => "superblock: unknown checksum algorithm",
            SbError::Incompat(_) => "superblock: unsupported incompatible feature",
            SbError::EncryptionLevel(_) => "superblock: unknown encryption level",
            SbError::BlockSize(_) => "superblock: unsupported block size",
            SbError::Truncated { .. } => "superblock: filesystem is larger than the device",
            SbError::Geometry(what) => what,
        }
    }
}

impl fmt::Display for SbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SbError::ChecksumType(n) | SbError::EncryptionLevel(n) => {
                write!(f, "{} {n}", self.as_str())
            }
            SbError::Incompat(bits) => {
                f.write_str(self.as_str())?;
                if let Some(name) = FeatureName::incompat(bits) {
                    write!(f, " {name}")?;
                }
                write!(f, " (mask {bits:#x})")
            }
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

/// The checked numbers of a filesystem. Where it grows while mounted there is another one.
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
    pub first_ino: Ino,
    /// `i_extra_isize` of new inodes.
    pub want_extra_isize: u16,
    /// What all inodes shall have of it at least; 0 if the superblock does not say.
    pub min_extra_isize: u16,
    /// Bytes of a group descriptor.
    pub desc_size: u16,
    /// Blocks of the group descriptor table (without the reserved ones).
    pub gdt_blocks: u32,
    /// Blocks after each copy of the table kept free for growing it.
    pub reserved_gdt_blocks: u16,
    /// log2 of the bytes in a cluster, the unit of allocation: a block but for bigalloc.
    pub cluster_bits: u32,
    /// With bigalloc the blocks of the clusters that metadata takes any of, if the superblock says.
    pub cluster_overhead: Option<u64>,
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
    pub journal_inum: Option<Ino>,
    /// Device number of an external journal, 0 when there is none.
    pub journal_dev: u32,
    /// Inode of the orphan file, 0 when there is none.
    pub orphan_file_inum: Option<Ino>,
    /// Inodes of the quotas of users, groups and projects, 0 when there are none.
    pub quota_inums: [Ino; 3],
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
}

/// What `s_default_mount_opts` asks for, as far as there is a choice.
pub mod default_opts {
    /// `grpid`.
    pub const BSDGROUPS: u32 = 0x2;
    /// `nobarrier`.
    pub const NOBARRIER: u32 = 0x100;
    /// `discard`.
    pub const DISCARD: u32 = 0x400;
}

/// Number of logical blocks of a file that extents can map: the last number is never used, so that
/// a length fits in 32 bits too.
pub const MAX_FILE_BLOCKS: u64 = u32::MAX as u64;
