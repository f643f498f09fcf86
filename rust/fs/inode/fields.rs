// SPDX-License-Identifier: GPL-2.0

//! The fields of an inode on disk: how they begin in memory, and times between them and the VFS.

use crate::{disk, vfs::inode::Time};
use kernel::prelude::*;

/// [`disk::InodeFields::default`] where they stay.
pub(super) fn no_fields() -> impl Init<disk::InodeFields> {
    let zero = disk::Timestamp::default();
    init!(disk::InodeFields {
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        atime: zero,
        ctime: zero,
        mtime: zero,
        crtime: zero,
        dtime: 0,
        links: 0,
        blocks: 0,
        flags: 0,
        block: [0; disk::inode::BLOCK_BYTES],
        generation: 0,
        file_acl: None,
        extra_isize: 0,
        projid: 0,
        version: 0,
    })
}

pub(super) fn from_disk(t: disk::Timestamp) -> Time {
    Time {
        sec: t.sec,
        nsec: t.nsec,
    }
}

pub(super) fn to_disk(t: Time) -> disk::Timestamp {
    disk::Timestamp {
        sec: t.sec,
        nsec: t.nsec,
    }
}
