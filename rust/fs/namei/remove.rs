// SPDX-License-Identifier: GPL-2.0

//! Removing names.

use super::{
    apply, check_target, dec_dir_links, drop_links,
    lookup::{find_entry, is_empty},
    orphan, start_change, touch, Inode, Rext4,
};
use crate::{
    fs::{
        credits,
        lab::{self, Point},
    },
    vfs::{fscrypt::DiskName, Dentry},
};
use kernel::{error::code::*, prelude::*};

/// Removes the name of an inode that is no directory.
pub(crate) fn unlink(dir: &Inode, dentry: &Dentry<Rext4>) -> Result {
    remove_name(dir, dentry)
}

/// Removes an empty directory.
pub(crate) fn rmdir(dir: &Inode, dentry: &Dentry<Rext4>) -> Result {
    let inode = dentry.inode().ok_or(ENOENT)?;
    if !is_empty(inode)? {
        return Err(ENOTEMPTY);
    }
    remove_name(dir, dentry)
}

fn remove_name(dir: &Inode, dentry: &Dentry<Rext4>) -> Result {
    let inode = dentry.inode().ok_or(ENOENT)?;
    let name = DiskName::to_remove(dir, dentry)?;
    let found = find_entry(dir, &name)?.ok_or(ENOENT)?;
    check_target(dir, dentry, found.ino)?;

    lab::may_fail(Point::NameChange, dir, 0..u64::MAX, &[EIO, ENOMEM])?;
    let room = orphan::Room::new()?;
    let handle = start_change(dir, credits::REMOVE_NAME, &[dir, inode])?;
    let result = apply(handle, |handle| {
        found.delete(handle, dir)?;
        if inode.is_dir() {
            dec_dir_links(dir);
            // Who has it open finds nothing in it.
            inode.set_dir_size(0);
        }
        touch(handle, dir)?;
        drop_links(handle, inode, room)
    });
    lab::point(Point::NameChanged, dir, 0..u64::MAX);
    result
}
