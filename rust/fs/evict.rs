// SPDX-License-Identifier: GPL-2.0

//! The end of an inode in memory, and on disk if nobody names it any more.
//!
//! It is on the orphan list since its last name went, so a crash between two of the handles here
//! leaves it to the next mount: each of them leaves something that [`super::orphan`] can go on
//! with.

use super::{
    access::Access,
    alloc::{self, Revoke},
    credits,
    inode::{has_extents, hold_iloc, journal},
    io,
    lab::{self, Point},
    orphan,
    Inode,
    Rext4, //
};
use crate::{
    disk::{self, LblkRange},
    vfs::{gfp::GFP_NOFAIL, inode::Evicted, jbd2::Handle},
};
use kernel::{error::code::*, prelude::*};

/// Frees an inode that nobody names any more. Called at eviction: the page cache is empty.
pub(crate) fn evict(inode: &Evicted<'_, Rext4>) {
    let sb = inode.sb();
    let ended = matches!(sb.data().access.get(), Access::ReadOnly | Access::Emergency);
    if inode.nlink() == 0 && !ended {
        // Frozen, it waits here.
        let _freeze = sb.start_intwrite();
        if let Err(e) = free_evicted(inode) {
            // The inode stays on the orphan list: the next mount or e2fsck frees it.
            pr_warn!(
                "{}: inode {} not freed: error {}\n",
                sb.id(),
                inode.ino(),
                e.to_errno()
            );
        }
    }
    // Reservations that no write will use, e.g. after an error.
    inode.extents().clear();
    orphan::forget(inode);
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
    if has_extents(inode.mode(), info.flags()) && !inode.extents().is_empty() {
        io::remove::remove_range(inode, LblkRange::ALL)?;
    }
    lab::point(Point::EvictFreed, inode, 0..u64::MAX);
    let credits = credits::EVICT;
    let (_table, _before) = (hold_iloc(inode)?, orphan::hold_prev(inode)?);
    let _bitmap = alloc::hold_inode_bitmap(sb, inode.ino())?;
    let handle = fs.start_nofail(credits)?;
    release_attributes(&handle, inode)?;
    if let Err(e) = orphan::del(&handle, inode) {
        // It stays, and must not name a block that is somebody else's soon.
        journal(&handle, inode)?;
        return Err(e);
    }
    inode.touch_ctime();
    info.set_dtime(inode.ctime().sec as u32);
    journal(&handle, inode)?;
    alloc::free_inode(&handle, sb, inode.ino(), inode.mode())?;
    handle.stop()
}

/// Gives up the inode's share of its block of extended attributes.
fn release_attributes(handle: &Handle<'_>, inode: &Inode) -> Result {
    let Some(acl) = inode.info().file_acl() else {
        return Ok(());
    };
    let sb = inode.sb();
    let geo = &sb.data().geo;
    let bh = sb.bread(acl.get())?;
    let mut data = KVec::from_elem(0u8, geo.block_size as usize, GFP_NOFAIL)?;
    let bad = |why| inode.corrupted(fmt!("attribute block {}: {}", acl, why));
    // The right to change a block brings it back that this transaction has freed, so it had better
    // be one of attributes.
    {
        let _sharers = sb.data().sharers.lock();
        bh.copy_out(0, &mut data)?;
    }
    disk::xattr::check_block(&data, geo, acl).map_err(bad)?;
    // May wait for the log, so before the lock. Not used it costs nothing.
    let mut block = handle.write(&bh)?;
    let sharers = sb.data().sharers.lock();
    bh.copy_out(0, &mut data)?;
    let refcount = disk::xattr::check_block(&data, geo, acl).map_err(bad)?;
    if refcount > 1 {
        disk::xattr::set_refcount(&mut data, geo, acl, refcount - 1).map_err(bad)?;
        block.copy_in(0, &data)?;
        // Under the lock: who is the last one then frees the block, and the journal forgets it.
        block.finish()?;
        drop(sharers);
    } else {
        // Nobody else's any more.
        drop((sharers, block, bh));
        alloc::free_run(handle, inode, (acl, 1), Revoke::Yes)?;
    }
    let sectors = u64::from(geo.block_size >> 9);
    inode.set_blocks(inode.blocks().saturating_sub(sectors));
    inode.info().drop_file_acl();
    Ok(())
}
