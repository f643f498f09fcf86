// SPDX-License-Identifier: GPL-2.0

//! Feature flags (`Documentation/filesystems/ext4/super.rst`): what each set means for a mount.
//!
//! An unknown `compat` bit changes nothing. An unknown `ro_compat` bit forbids writing. An unknown
//! `incompat` bit forbids mounting. "Unknown" here is "not implemented by this module".

#![allow(missing_docs, reason = "the constants are the names of the format")]

use core::fmt;

pub const COMPAT_HAS_JOURNAL: u32 = 0x0004;
pub const COMPAT_EXT_ATTR: u32 = 0x0008;
pub const COMPAT_RESIZE_INODE: u32 = 0x0010;
pub const COMPAT_DIR_INDEX: u32 = 0x0020;
pub const COMPAT_SPARSE_SUPER2: u32 = 0x0200;
pub const COMPAT_STABLE_INODES: u32 = 0x0800;
pub const COMPAT_ORPHAN_FILE: u32 = 0x1000;

pub const RO_COMPAT_SPARSE_SUPER: u32 = 0x0001;
pub const RO_COMPAT_LARGE_FILE: u32 = 0x0002;
pub const RO_COMPAT_HUGE_FILE: u32 = 0x0008;
pub const RO_COMPAT_GDT_CSUM: u32 = 0x0010;
pub const RO_COMPAT_DIR_NLINK: u32 = 0x0020;
pub const RO_COMPAT_EXTRA_ISIZE: u32 = 0x0040;
pub const RO_COMPAT_QUOTA: u32 = 0x0100;
pub const RO_COMPAT_BIGALLOC: u32 = 0x0200;
pub const RO_COMPAT_METADATA_CSUM: u32 = 0x0400;
pub const RO_COMPAT_PROJECT: u32 = 0x2000;
pub const RO_COMPAT_VERITY: u32 = 0x8000;
pub const RO_COMPAT_ORPHAN_PRESENT: u32 = 0x1_0000;

pub const INCOMPAT_FILETYPE: u32 = 0x0002;
pub const INCOMPAT_RECOVER: u32 = 0x0004;
pub const INCOMPAT_EXTENTS: u32 = 0x0040;
pub const INCOMPAT_64BIT: u32 = 0x0080;
pub const INCOMPAT_FLEX_BG: u32 = 0x0200;
pub const INCOMPAT_CSUM_SEED: u32 = 0x2000;
pub const INCOMPAT_LARGEDIR: u32 = 0x4000;
pub const INCOMPAT_ENCRYPT: u32 = 0x1_0000;

/// The `incompat` features this module implements; any other refuses the mount.
pub const INCOMPAT_SUPPORTED: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_FLEX_BG
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_LARGEDIR
    | INCOMPAT_ENCRYPT;

/// The `ro_compat` features this module can keep up to date; any other allows only reading.
pub const RO_COMPAT_SUPPORTED: u32 = RO_COMPAT_SPARSE_SUPER
    | RO_COMPAT_LARGE_FILE
    | RO_COMPAT_HUGE_FILE
    | RO_COMPAT_GDT_CSUM
    | RO_COMPAT_DIR_NLINK
    | RO_COMPAT_EXTRA_ISIZE
    | RO_COMPAT_METADATA_CSUM
    | RO_COMPAT_PROJECT
    | RO_COMPAT_ORPHAN_PRESENT;

/// The `ro_compat` bits as mke2fs and dumpe2fs spell them.
const RO_COMPAT_NAMES: [&str; 17] = [
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
];

/// The `incompat` bits as mke2fs and dumpe2fs spell them; no name where there has never been one.
const INCOMPAT_NAMES: [&str; 18] = [
    "compression",
    "filetype",
    "needs_recovery",
    "journal_dev",
    "meta_bg",
    "",
    "extent",
    "64bit",
    "mmp",
    "flex_bg",
    "ea_inode",
    "",
    "dirdata",
    "metadata_csum_seed",
    "large_dir",
    "inline_data",
    "encrypt",
    "casefold",
];

/// The name of the lowest set bit of a feature word, for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureName {
    /// What e2fsprogs calls the word in the names of bits without one.
    word: char,
    names: &'static [&'static str],
    bit: u32,
}

impl FeatureName {
    fn lowest(bits: u32, word: char, names: &'static [&'static str]) -> Option<Self> {
        let bit = bits.trailing_zeros();
        (bits != 0).then_some(FeatureName { word, names, bit })
    }

    /// Of `incompat` bits; `None` if none is set.
    pub fn incompat(bits: u32) -> Option<Self> {
        Self::lowest(bits, 'I', &INCOMPAT_NAMES)
    }

    /// Of `ro_compat` bits; `None` if none is set.
    pub fn ro_compat(bits: u32) -> Option<Self> {
        Self::lowest(bits, 'R', &RO_COMPAT_NAMES)
    }
}

impl fmt::Display for FeatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.get(self.bit as usize) {
            Some(&name) if !name.is_empty() => f.write_str(name),
            _ => write!(f, "FEATURE_{}{}", self.word, self.bit),
        }
    }
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

    /// The first feature that forbids writing.
    pub fn first_unknown_ro_compat(&self) -> Option<FeatureName> {
        FeatureName::ro_compat(self.unknown_ro_compat())
    }
}
