// SPDX-License-Identifier: GPL-2.0

//! More fields for inodes of an image that had smaller ones once: those that new ones have
//! (`s_want_extra_isize`), else as many as all shall have (`s_min_extra_isize`).
//!
//! The fields grow when the inode is written for some other reason, in the handle of that. The
//! attributes behind them move up. Those that have no place then go to the block, as many as it
//! takes, for which the handle is asked for more credits. It is a favour: whatever is in its way,
//! the inode is written as it was to be, and what cannot be had is not tried again before an
//! attribute is removed or the inode is read anew.

use super::{hold_iloc, space::read_space, store_lists, Inode, InodeInfo};
use crate::{
    disk::{self, xattr, Geometry},
    fs::{attributes::Lists, credits},
    vfs::jbd2::Handle,
};
use kernel::{
    error::code::*,
    prelude::*,
    sync::atomic::ordering, //
};

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grown {
    /// The fields are there.
    Yes,
    /// There is no room.
    Full,
    /// The transaction has no room for more blocks.
    NotNow,
}

/// Has the fields of an inode grow that is about to be written in this handle. Starts nothing, and
/// no lock of the inode's is held but those outside of the handle.
#[cold]
#[inline(never)]
pub(super) fn grow_fields(handle: &Handle<'_>, inode: &Inode) {
    // Not while orphans are finished at a mount, nor at its end; nor for an inode that goes.
    if inode.nlink() == 0 || !inode.sb().is_active() {
        return;
    }
    let info = inode.info();
    let _lock = info.xattrs.lock();
    if !info.may_grow.load(ordering::Relaxed) {
        return;
    }
    let grown = try_grow(handle, inode);
    if grown == Err(ENOMEM) || grown == Ok(Grown::NotNow) {
        return;
    }
    info.may_grow.store(false, ordering::Relaxed);
    let no_room = matches!(grown, Ok(Grown::Full) | Err(ENOSPC));
    if no_room && !inode.fs().told_no_room.xchg(true, ordering::Relaxed) {
        let (id, ino) = (inode.sb().id(), inode.ino());
        pr_warn!(
            "{id}: inode {ino} has no room for more fields: remove attributes, or run e2fsck\n"
        );
    }
}

/// An attribute has been removed, and they are locked: there may be room now.
pub(in crate::fs) fn let_grow(inode: &Inode) {
    let info = inode.info();
    let small = extra_isize(info) < inode.fs().geo.want_extra_isize;
    info.may_grow.store(small, ordering::Relaxed);
}

/// As [`let_grow`], for who needs the fields now.
pub(in crate::fs) fn may_grow_again(inode: &Inode) {
    let _lock = inode.info().xattrs.lock();
    let_grow(inode);
}

/// Whether the next handle that writes the inode has its fields grow.
pub(in crate::fs) fn may_grow(inode: &Inode) -> bool {
    inode.info().may_grow.load(ordering::Relaxed)
}

fn extra_isize(info: &InodeInfo) -> u16 {
    info.fields.lock().extra_isize
}

fn try_grow(handle: &Handle<'_>, inode: &Inode) -> Result<Grown> {
    let geo = &inode.fs().geo;
    let old = extra_isize(inode.info());
    let mut grown = Ok(Grown::Full);
    for extra in [geo.want_extra_isize, geo.min_extra_isize] {
        if extra <= old {
            continue;
        }
        grown = grow_fields_to(handle, inode, extra);
        if grown != Ok(Grown::Full) && grown != Err(ENOSPC) {
            break;
        }
    }
    grown
}

/// On an error nothing has changed, or the journal is aborted.
fn grow_fields_to(handle: &Handle<'_>, inode: &Inode, extra: u16) -> Result<Grown> {
    let geo = &inode.fs().geo;
    // From here on it is in memory, so that the inode can be written in the end.
    let _table = hold_iloc(inode)?;
    let space = read_space(inode)?;
    // What is wrong with them is for who asks for them.
    if space.used.as_ref().is_some_and(|bytes| is_damaged(bytes)) {
        return Ok(Grown::Full);
    }
    let room = room(geo, extra);
    let mut lists = Lists::of(inode, space)?;
    if lists.lacks(room)? > 0 {
        if !handle.extend(credits::MOVE_ATTRIBUTES, credits::MOVE_REVOKES)? {
            return Ok(Grown::NotNow);
        }
        lists.load_block()?;
        if !lists.move_out(room)? {
            return Ok(Grown::Full);
        }
    }
    lists.resize(room)?;
    store_lists(handle, lists, Some(extra), || ())?;
    Ok(Grown::Yes)
}

/// Bytes for attributes behind so many bytes of fields.
fn room(geo: &Geometry, extra: u16) -> usize {
    xattr::inode_space(geo, extra).map_or(0, |space| space.len())
}

fn is_damaged(bytes: &[u8]) -> bool {
    let hashes = |list: Option<xattr::XattrEntries<'_>>| -> disk::Result<()> {
        list.map_or(Ok(()), |list| list.check_hashes())
    };
    xattr::inode_entries(bytes).and_then(hashes).is_err()
}
