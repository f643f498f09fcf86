// SPDX-License-Identifier: GPL-2.0

//! Flags of an inode, `i_flags` (`Documentation/filesystems/ext4/inodes.rst`).

#![allow(missing_docs, reason = "the constants are the names of the format")]

pub const SECRM: u32 = 0x0000_0001;
pub const UNRM: u32 = 0x0000_0002;
pub const COMPR: u32 = 0x0000_0004;
pub const SYNC: u32 = 0x0000_0008;
pub const IMMUTABLE: u32 = 0x0000_0010;
pub const APPEND: u32 = 0x0000_0020;
pub const NODUMP: u32 = 0x0000_0040;
pub const NOATIME: u32 = 0x0000_0080;
pub const DIRTY: u32 = 0x0000_0100;
pub const COMPRBLK: u32 = 0x0000_0200;
pub const NOCOMPR: u32 = 0x0000_0400;
pub const ENCRYPT: u32 = 0x0000_0800;
pub const INDEX: u32 = 0x0000_1000;
pub const JOURNAL_DATA: u32 = 0x0000_4000;
pub const NOTAIL: u32 = 0x0000_8000;
pub const DIRSYNC: u32 = 0x0001_0000;
pub const TOPDIR: u32 = 0x0002_0000;
pub const HUGE_FILE: u32 = 0x0004_0000;
pub const EXTENTS: u32 = 0x0008_0000;
pub const VERITY: u32 = 0x0010_0000;
pub const EA_INODE: u32 = 0x0020_0000;
pub const EOFBLOCKS: u32 = 0x0040_0000;
pub const DAX: u32 = 0x0200_0000;
pub const INLINE_DATA: u32 = 0x1000_0000;
pub const PROJINHERIT: u32 = 0x2000_0000;
pub const CASEFOLD: u32 = 0x4000_0000;

/// Flags a new inode takes over from its directory.
pub const INHERITED: u32 = SECRM
    | UNRM
    | COMPR
    | SYNC
    | NODUMP
    | NOATIME
    | NOCOMPR
    | JOURNAL_DATA
    | NOTAIL
    | DIRSYNC
    | PROJINHERIT
    | CASEFOLD
    | DAX;
/// Flags that mean something for regular files.
pub const REG_MASK: u32 = !(DIRSYNC | TOPDIR | CASEFOLD | PROJINHERIT);
/// Flags that mean something for anything else but directories and regular files.
pub const OTHER_MASK: u32 = NODUMP | NOATIME;

/// Flags that programs may change (chattr).
pub const CHANGEABLE: u32 = SECRM
    | UNRM
    | COMPR
    | SYNC
    | IMMUTABLE
    | APPEND
    | NODUMP
    | NOATIME
    | JOURNAL_DATA
    | NOTAIL
    | DIRSYNC
    | TOPDIR
    | EXTENTS
    | EOFBLOCKS
    | DAX
    | PROJINHERIT
    | CASEFOLD;
/// Flags of files whose blocks do not hold their bytes as they are, or not only there: such a file
/// is not accessed directly (DAX).
pub const NOT_DAX: u32 = VERITY | ENCRYPT | JOURNAL_DATA | INLINE_DATA;
/// Flags that programs see (lsattr).
pub const VISIBLE: u32 =
    CHANGEABLE | DIRTY | COMPRBLK | NOCOMPR | ENCRYPT | INDEX | VERITY | INLINE_DATA;

/// Flags of features this module does not implement: with the feature refused at mount, an
/// inode that carries one is corrupt.
pub const IMPOSSIBLE: u32 = EA_INODE | INLINE_DATA | CASEFOLD;
