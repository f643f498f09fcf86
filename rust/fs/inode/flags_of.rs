// SPDX-License-Identifier: GPL-2.0

//! What flags of an inode mean: to the VFS, and for which types of inodes anything.

use crate::{
    disk::inode::{flags, S_IFDIR, S_IFMT, S_IFREG},
    vfs::inode::InodeFlags, //
};

/// The flags on disk that the VFS looks at.
pub(in crate::fs) fn vfs_flags(on_disk: u32) -> InodeFlags {
    let has = |bit: u32| on_disk & bit != 0;
    InodeFlags {
        sync: has(flags::SYNC),
        immutable: has(flags::IMMUTABLE),
        append: has(flags::APPEND),
        noatime: has(flags::NOATIME),
        dirsync: has(flags::DIRSYNC),
        encrypted: has(flags::ENCRYPT),
    }
}

/// The flags on disk that mean something for an inode of this mode.
pub(in crate::fs) fn flags_of_type(mode: u16) -> u32 {
    match mode & S_IFMT {
        S_IFDIR => u32::MAX,
        S_IFREG => flags::REG_MASK,
        _ => flags::OTHER_MASK,
    }
}
