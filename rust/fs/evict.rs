// SPDX-License-Identifier: GPL-2.0

//! The end of an inode in memory, and on disk if nobody names it any more.
//!
//! It is on the orphan list since its last name went, so a crash between two of the handles here
//! leaves it to the next mount: each of them leaves something that [`super::orphan`] can go on
//! with.

use super::{
    alloc,
    attributes::{block, set_attribute_block},
    credits,
    inode::{hold_iloc, journal_at},
    io,
    lab::{self, Point},
    orphan,
    Rext4, //
};
use crate::{disk::LblkRange, vfs::inode::Evicted};
use kernel::{error::code::*, prelude::*};

/// Frees an inode that nobody names any more. Called at eviction: the page cache is empty.
pub(crate) fn evict(inode: &Evicted<'_, Rext4>) {
    // As after any other error, what has names goes on without, and so does what cannot be freed.
    // But a mount that may be written by now would not look for this one, and if it may not again,
    // it has to be told.
    while free_unnamed(inode) == Err(EROFS) && !orphan::leave(inode) {}
    if inode.nlink() > 0 {
        orphan::leave(inode);
    }
    // Reservations that no write will use, e.g. after an error.
    inode.extents().clear();
    orphan::forget(inode);
}

/// Nothing is done if it has names. `EROFS` if nothing may be written.
fn free_unnamed(inode: &Evicted<'_, Rext4>) -> Result {
    let sb = inode.sb();
    if inode.nlink() > 0 {
        return Ok(());
    }
    if sb.data().access.writes_nothing() {
        return Err(EROFS);
    }
    // Frozen, it waits here.
    let _freeze = sb.start_intwrite();
    free_evicted(inode).inspect_err(|e| {
        // The inode stays on the orphan list: the next mount or e2fsck frees it.
        pr_warn!(
            "{}: inode {} not freed: error {}\n",
            sb.id(),
            inode.ino(),
            e.to_errno()
        );
    })
}

fn free_evicted(inode: &Evicted<'_, Rext4>) -> Result {
    let sb = inode.sb();
    let fs = sb.data();
    let info = inode.info();
    lab::may_fail(Point::Evict, inode, 0..u64::MAX, &[EIO])?;
    // With the first of the handles below, so that a crash between two of them leaves an inode that
    // is plainly on its way out.
    inode.set_size(0);
    info.set_disk_size(0);
    if !inode.extents().is_empty() {
        io::remove::remove_range(inode, LblkRange::ALL)?;
    }
    lab::point(Point::EvictFreed, inode, 0..u64::MAX);
    let credits = credits::EVICT;
    let (table, _before) = (hold_iloc(inode)?, orphan::hold_prev(inode)?);
    let _bitmap = alloc::hold_inode_bitmap(sb, inode.ino())?;
    let acl = info.file_acl();
    let attributes = acl.map(|acl| sb.bread(acl.get())).transpose()?;
    let handle = fs.start_nofail(credits)?;
    if let Some(bh) = &attributes {
        block::release(&handle, inode, bh)?;
        set_attribute_block(inode, acl, None);
    }
    if let Err(e) = orphan::del(&handle, inode) {
        // It stays, and must not name a block that is somebody else's soon.
        journal_at(&handle, inode, &table)?;
        return Err(e);
    }
    inode.touch_ctime();
    info.set_dtime(inode.ctime().sec as u32);
    journal_at(&handle, inode, &table)?;
    alloc::free_inode(&handle, sb, inode.ino(), inode.mode())?;
    handle.stop()
}
