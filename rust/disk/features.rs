// SPDX-License-Identifier: GPL-2.0

//! Feature flags (`Documentation/filesystems/ext4/super.rst`): what each set means for a mount.
//!
//! An unknown `compat` bit changes nothing. An unknown `ro_compat` bit forbids writing. An unknown
//! `incompat` bit forbids mounting. "Unknown" here is "not implemented by this module".

#![allow(missing_docs, reason = "the constants are the names of the format")]

pub const COMPAT_DIR_PREALLOC: u32 = 0x0001;
pub const COMPAT_IMAGIC_INODES: u32 = 0x0002;
pub const COMPAT_HAS_JOURNAL: u32 = 0x0004;
pub const COMPAT_EXT_ATTR: u32 = 0x0008;
pub const COMPAT_RESIZE_INODE: u32 = 0x0010;
pub const COMPAT_DIR_INDEX: u32 = 0x0020;
pub const COMPAT_SPARSE_SUPER2: u32 = 0x0200;
pub const COMPAT_FAST_COMMIT: u32 = 0x0400;
pub const COMPAT_STABLE_INODES: u32 = 0x0800;
pub const COMPAT_ORPHAN_FILE: u32 = 0x1000;

pub const RO_COMPAT_SPARSE_SUPER: u32 = 0x0001;
pub const RO_COMPAT_LARGE_FILE: u32 = 0x0002;
pub const RO_COMPAT_BTREE_DIR: u32 = 0x0004;
pub const RO_COMPAT_HUGE_FILE: u32 = 0x0008;
pub const RO_COMPAT_GDT_CSUM: u32 = 0x0010;
pub const RO_COMPAT_DIR_NLINK: u32 = 0x0020;
pub const RO_COMPAT_EXTRA_ISIZE: u32 = 0x0040;
pub const RO_COMPAT_HAS_SNAPSHOT: u32 = 0x0080;
pub const RO_COMPAT_QUOTA: u32 = 0x0100;
pub const RO_COMPAT_BIGALLOC: u32 = 0x0200;
pub const RO_COMPAT_METADATA_CSUM: u32 = 0x0400;
pub const RO_COMPAT_REPLICA: u32 = 0x0800;
pub const RO_COMPAT_READONLY: u32 = 0x1000;
pub const RO_COMPAT_PROJECT: u32 = 0x2000;
pub const RO_COMPAT_SHARED_BLOCKS: u32 = 0x4000;
pub const RO_COMPAT_VERITY: u32 = 0x8000;
pub const RO_COMPAT_ORPHAN_PRESENT: u32 = 0x1_0000;

pub const INCOMPAT_COMPRESSION: u32 = 0x0001;
pub const INCOMPAT_FILETYPE: u32 = 0x0002;
pub const INCOMPAT_RECOVER: u32 = 0x0004;
pub const INCOMPAT_JOURNAL_DEV: u32 = 0x0008;
pub const INCOMPAT_META_BG: u32 = 0x0010;
pub const INCOMPAT_EXTENTS: u32 = 0x0040;
pub const INCOMPAT_64BIT: u32 = 0x0080;
pub const INCOMPAT_MMP: u32 = 0x0100;
pub const INCOMPAT_FLEX_BG: u32 = 0x0200;
pub const INCOMPAT_EA_INODE: u32 = 0x0400;
pub const INCOMPAT_DIRDATA: u32 = 0x1000;
pub const INCOMPAT_CSUM_SEED: u32 = 0x2000;
pub const INCOMPAT_LARGEDIR: u32 = 0x4000;
pub const INCOMPAT_INLINE_DATA: u32 = 0x8000;
pub const INCOMPAT_ENCRYPT: u32 = 0x1_0000;
pub const INCOMPAT_CASEFOLD: u32 = 0x2_0000;

/// The `incompat` features this module implements; any other refuses the mount.
pub const INCOMPAT_SUPPORTED: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_FLEX_BG
    | INCOMPAT_CSUM_SEED;

/// The `ro_compat` features this module can keep up to date; any other allows only reading.
pub const RO_COMPAT_SUPPORTED: u32 = RO_COMPAT_SPARSE_SUPER
    | RO_COMPAT_LARGE_FILE
    | RO_COMPAT_HUGE_FILE
    | RO_COMPAT_GDT_CSUM
    | RO_COMPAT_DIR_NLINK
    | RO_COMPAT_EXTRA_ISIZE
    | RO_COMPAT_METADATA_CSUM
    | RO_COMPAT_ORPHAN_PRESENT;

// Names as mke2fs and dumpe2fs spell them; index is the bit number. Bits nobody has named get the
// generic name e2fsprogs prints for them.
const COMPAT_NAMES: [&str; 32] = [
    "dir_prealloc",
    "imagic_inodes",
    "has_journal",
    "ext_attr",
    "resize_inode",
    "dir_index",
    "lazy_bg",
    "FEATURE_C7",
    "snapshot_bitmap",
    "sparse_super2",
    "fast_commit",
    "stable_inodes",
    "orphan_file",
    "FEATURE_C13",
    "FEATURE_C14",
    "FEATURE_C15",
    "FEATURE_C16",
    "FEATURE_C17",
    "FEATURE_C18",
    "FEATURE_C19",
    "FEATURE_C20",
    "FEATURE_C21",
    "FEATURE_C22",
    "FEATURE_C23",
    "FEATURE_C24",
    "FEATURE_C25",
    "FEATURE_C26",
    "FEATURE_C27",
    "FEATURE_C28",
    "FEATURE_C29",
    "FEATURE_C30",
    "FEATURE_C31",
];

const RO_COMPAT_NAMES: [&str; 32] = [
    "sparse_super",
    "large_file",
    "btree_dir",
    "huge_file",
    "uninit_bg",
    "dir_nlink",
    "extra_isize",
    "snapshot",
    "quota",
    "bigalloc",
    "metadata_csum",
    "replica",
    "read-only",
    "project",
    "shared_blocks",
    "verity",
    "orphan_present",
    "FEATURE_R17",
    "FEATURE_R18",
    "FEATURE_R19",
    "FEATURE_R20",
    "FEATURE_R21",
    "FEATURE_R22",
    "FEATURE_R23",
    "FEATURE_R24",
    "FEATURE_R25",
    "FEATURE_R26",
    "FEATURE_R27",
    "FEATURE_R28",
    "FEATURE_R29",
    "FEATURE_R30",
    "FEATURE_R31",
];

const INCOMPAT_NAMES: [&str; 32] = [
    "compression",
    "filetype",
    "needs_recovery",
    "journal_dev",
    "meta_bg",
    "FEATURE_I5",
    "extent",
    "64bit",
    "mmp",
    "flex_bg",
    "ea_inode",
    "FEATURE_I11",
    "dirdata",
    "metadata_csum_seed",
    "large_dir",
    "inline_data",
    "encrypt",
    "casefold",
    "FEATURE_I18",
    "FEATURE_I19",
    "FEATURE_I20",
    "FEATURE_I21",
    "FEATURE_I22",
    "FEATURE_I23",
    "FEATURE_I24",
    "FEATURE_I25",
    "FEATURE_I26",
    "FEATURE_I27",
    "FEATURE_I28",
    "FEATURE_I29",
    "FEATURE_I30",
    "FEATURE_I31",
];

fn first_name(bits: u32, names: &'static [&'static str; 32]) -> Option<&'static str> {
    // Zero has 32 trailing zeros, for which there is no name.
    names.get(bits.trailing_zeros() as usize).copied()
}

/// The name of the lowest set `incompat` bit.
pub fn incompat_name(bits: u32) -> Option<&'static str> {
    first_name(bits, &INCOMPAT_NAMES)
}

/// The name of the lowest set `ro_compat` bit.
pub fn ro_compat_name(bits: u32) -> Option<&'static str> {
    first_name(bits, &RO_COMPAT_NAMES)
}

/// The name of the lowest set `compat` bit.
pub fn compat_name(bits: u32) -> Option<&'static str> {
    first_name(bits, &COMPAT_NAMES)
}

/// The three feature words of a superblock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    pub compat: u32,
    pub incompat: u32,
    pub ro_compat: u32,
}

impl Features {
    /// Whether all `compat` bits of `mask` are set.
    pub const fn has_compat(&self, mask: u32) -> bool {
        self.compat & mask == mask
    }

    /// Whether all `incompat` bits of `mask` are set.
    pub const fn has_incompat(&self, mask: u32) -> bool {
        self.incompat & mask == mask
    }

    /// Whether all `ro_compat` bits of `mask` are set.
    pub const fn has_ro_compat(&self, mask: u32) -> bool {
        self.ro_compat & mask == mask
    }

    /// The `incompat` bits this module does not implement.
    pub const fn unknown_incompat(&self) -> u32 {
        self.incompat & !INCOMPAT_SUPPORTED
    }

    /// The `ro_compat` bits this module does not implement.
    pub const fn unknown_ro_compat(&self) -> u32 {
        self.ro_compat & !RO_COMPAT_SUPPORTED
    }

    /// The first feature that forbids mounting.
    pub fn first_unknown_incompat(&self) -> Option<&'static str> {
        incompat_name(self.unknown_incompat())
    }

    /// The first feature that forbids writing.
    pub fn first_unknown_ro_compat(&self) -> Option<&'static str> {
        ro_compat_name(self.unknown_ro_compat())
    }
}
