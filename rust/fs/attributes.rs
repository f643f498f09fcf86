// SPDX-License-Identifier: GPL-2.0

//! The extended attributes of an inode as two lists: in the inode behind its fields, and in a block
//! that several inodes may share.
//!
//! A change is made on copies of both ([`Lists`]). How the list in the inode comes from there, and
//! how both get to the disk, is in `inode/space.rs`.

pub(super) mod block;
mod lists;

pub(super) use lists::{Lists, Outcome, Space};

use super::{
    primary::{journal_super, read_super},
    Inode,
    Rext4, //
};
use crate::{
    disk::{features::COMPAT_EXT_ATTR, Pblk, RawSuper},
    vfs::jbd2::Handle,
};
use kernel::prelude::*;

/// Notes the block of an inode, and counts it.
pub(super) fn set_attribute_block(inode: &Inode, old: Option<Pblk>, new: Option<Pblk>) {
    let sectors = u64::from(inode.fs().geo.block_size >> 9);
    let (less, more) = (u64::from(old.is_some()), u64::from(new.is_some()));
    if less != more {
        // Writeback counts the blocks of data under it.
        let _map = inode.extents();
        let blocks = inode.blocks() + more * sectors;
        inode.set_blocks(blocks.saturating_sub(less * sectors));
    }
    inode.info().set_file_acl(new);
}

/// The super block says whether there are attributes: without that e2fsck takes them for garbage.
pub(super) fn note_feature(handle: &Handle<'_>, fs: &Rext4) -> Result {
    let noted = |raw: &RawSuper| raw.features().has_compat(COMPAT_EXT_ATTR);
    if fs.geo.features.has_compat(COMPAT_EXT_ATTR) || read_super(fs, noted)? {
        return Ok(());
    }
    journal_super(handle, fs, |raw| raw.set_compat(COMPAT_EXT_ATTR, true))
}
