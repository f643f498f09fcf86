// SPDX-License-Identifier: GPL-2.0

//! Orphans: inodes that recovery has to finish after a crash.
//!
//! An inode without links that is still open, or one whose truncate takes several transactions, is
//! on a list that begins in the superblock; each inode's deletion time field holds the number of
//! the next one. After a crash those without links are deleted, the others truncated to their size.
//!
//! Where the filesystem has an orphan file (`Documentation/filesystems/ext4/orphan.rst`) an orphan
//! goes into a slot of it (`orphan/slots.rs`), and on the list only where there is none.
//!
//! The list is doubly linked in memory (`inode/orphans.rs`), by number: the inodes on it are not
//! pinned, they leave it when they are evicted. The next number is kept there and not in the inode,
//! since taking an inode off the list changes its predecessor, which may not be in reach. So an
//! inode on the list that is written to its table takes the field from there, under the lock
//! ([`with_next`](super::inode::with_next)), and that predecessor's field is changed in the table
//! under the same lock:
//!
//! ```text
//!   a file of the list is written          the next of the list is deleted
//!   ------------------------------         -------------------------------
//!   takes "next" out of the list
//!                                          writes the next but one into its field
//!   writes "next" over it                                  (without the lock)
//! ```
//!
//! Whoever is on the list knows it ([`is_orphan`](super::inode::InodeInfo::is_orphan)), so others
//! do not wait for the lock. And nobody waits for the log with it: the right to change a block
//! comes first, then the lock, then the change.
//!
//! Lock order: handle, an inode's fields, the lock of the list, the superblock's.

mod slots;

pub(super) use slots::open_slots;
pub(crate) use slots::Slots;

use super::{
    inode::Link,
    itable::Iloc,
    primary::{change_last_orphan, super_access},
    Inode,
    Sb, //
};
use crate::{
    disk::{
        self,
        inode::HEAD_MAX, //
        Ino,
    },
    vfs::{
        atomic::full_barrier,
        jbd2::{Handle, JournaledBuffer}, //
    },
};
use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::atomic::Relaxed, //
};
use zerocopy::little_endian::U32;

/// Byte of the deletion time, or next orphan, in a raw inode.
const DTIME: usize = 0x14;

/// Memory for one entry of the list. Gotten before the handle of what [`add`] is a part of: in the
/// middle of that, lack of memory would be half an operation.
pub(crate) struct Room(RBTreeNodeReservation<Ino, Link>);

impl Room {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }
}

/// Puts an inode on the list, in the handle that removes its last link or begins to truncate it.
/// Nothing to do if it is on it. Costs [`credits::ORPHAN`], of which the inode is a part: the
/// caller journals it after this, in the same handle. The number of the next one gets to the disk
/// with it.
///
/// The caller holds i_rwsem exclusive, or the inode is new or being evicted.
pub(crate) fn add(handle: &Handle<'_>, inode: &Inode, room: Room) -> Result {
    let (fs, ino) = (inode.fs(), inode.ino());
    if slots::find(inode).is_some()
        || fs.orphans.may_contain(inode) && fs.orphans.contains(ino)
        || slots::take_slot(handle, inode)?
    {
        return Ok(());
    }
    let mut block = super_access(handle, fs)?;
    {
        let mut links = fs.orphans.links.lock();
        let next = change_last_orphan(fs, &mut block, |_| Some(ino))?;
        links.insert(room.0.into_node(ino, Link { prev: None, next }));
        if let Some(old) = next.and_then(|next| links.get_mut(&next)) {
            old.prev = Some(ino);
        }
        fs.orphans.count.add(1, Relaxed);
        inode.info().set_orphan(true);
    }
    block.finish()
}

/// Takes an inode off the list, in the handle that finishes it. Nothing to do if it is not on it.
/// Its deletion time is 0 then. Costs [`credits::ORPHAN`], of which the inode is a part: the caller
/// journals it after this, in the same handle. Needs no memory, and after [`hold_prev`] reads
/// nothing.
///
/// The caller holds i_rwsem exclusive, or the inode is being evicted.
pub(crate) fn del(handle: &Handle<'_>, inode: &Inode) -> Result {
    let (sb, fs, ino) = (inode.sb(), inode.fs(), inode.ino());
    if let Some(index) = slots::find(inode) {
        return slots::give_back_slot(handle, inode, index);
    }
    if !fs.orphans.may_contain(inode) {
        return Ok(());
    }
    loop {
        let Some(Link { prev, .. }) = fs.orphans.links.lock().get(&ino).copied() else {
            return Ok(());
        };
        let mut before = Before::access(handle, sb, prev)?;
        let mut links = fs.orphans.links.lock();
        let Some(&link) = links.get(&ino) else {
            return Ok(());
        };
        if link.prev != prev {
            // Another one came or went in between. Access that is not used costs nothing.
            continue;
        }
        if !before.set_next(sb, ino, link.next)? {
            drop(links);
            return Err(inode.corrupted(fmt!("first orphan, but the superblock has another")));
        }
        if let Some(prev) = link.prev.and_then(|prev| links.get_mut(&prev)) {
            prev.next = link.next;
        }
        if let Some(next) = link.next.and_then(|next| links.get_mut(&next)) {
            next.prev = link.prev;
        }
        links.remove(&ino);
        fs.orphans.count.fetch_sub(1, Relaxed);
        inode.info().set_orphan(false);
        drop(links);
        before.finish()?;
        break;
    }
    inode.info().set_dtime(0);
    Ok(())
}

/// As [`hold_iloc`](super::inode::hold_iloc), of what leads to the inode on the list, for [`del`].
/// Another one that leads there by then has been written since, so it is in memory as well.
pub(super) fn hold_prev(inode: &Inode) -> Result<Option<Iloc>> {
    let orphans = &inode.fs().orphans;
    if !orphans.may_contain(inode) {
        return Ok(None);
    }
    let link = orphans.links.lock().get(&inode.ino()).copied();
    let prev = link.and_then(|link| link.prev);
    prev.map(|prev| Iloc::locate(inode.sb(), prev)).transpose()
}

/// An inode is about to leave memory and stays on the list, if it is on it, because nothing may be
/// written: a remount that would begin to write is refused from here on
/// ([`Orphans::left`](super::inode::Orphans)), for it would not look for this one. False if
/// somebody may write by now:
///
/// ```text
///   the last user of a removed file closes it     remount,rw
///   -----------------------------------------     ----------
///   nothing may be written
///                                                 nobody is left
///                                                 lets writers in
///   leaves: counts itself, then looks once more
///                                                 counts those that are left once more
/// ```
pub(crate) fn leave(inode: &Inode) -> bool {
    let (orphans, info) = (&inode.fs().orphans, inode.info());
    let listed = info.is_orphan() || info.orphan_block().is_some();
    // What is left of the last mount is looked for again.
    if !listed || orphans.cut_short.load(Relaxed) {
        return inode.fs().access.writes_nothing();
    }
    orphans.left.add(1, Relaxed);
    full_barrier();
    let stays = inode.fs().access.writes_nothing();
    if !stays {
        orphans.left.fetch_sub(1, Relaxed);
    }
    stays
}

/// An inode leaves memory. Should it still be on the list, after an error, it does not know so when
/// it comes back.
pub(crate) fn forget(inode: &Inode) {
    let orphans = &inode.fs().orphans;
    slots::forget_slot(inode);
    if inode.info().is_orphan() {
        orphans.strays.store(true, Relaxed);
    }
}

/// What leads to an inode of the list, with the right to change it.
pub(super) enum Before<'h> {
    Super(JournaledBuffer<'h>),
    Inode(Ino, Iloc, JournaledBuffer<'h>),
}

impl<'h> Before<'h> {
    /// `prev`: of the inode's [`Link`]. May wait for the log.
    pub(super) fn access(handle: &'h Handle<'_>, sb: &Sb, prev: Option<Ino>) -> Result<Self> {
        let Some(prev) = prev else {
            return Ok(Self::Super(super_access(handle, sb.data())?));
        };
        let place = Iloc::locate(sb, prev)?;
        let block = handle.write(place.buffer())?;
        Ok(Self::Inode(prev, place, block))
    }

    /// Has it lead to `next`, under the lock of the list. False, and nothing done, if it is the
    /// superblock and does not lead to `ino` now.
    pub(super) fn set_next(&mut self, sb: &Sb, ino: Ino, next: Option<Ino>) -> Result<bool> {
        let geo = &sb.data().geo;
        match self {
            Self::Super(block) => {
                let is_head = |head| head == Some(ino);
                let head =
                    change_last_orphan(
                        sb.data(),
                        block,
                        |head| {
                            if is_head(head) {
                                next
                            } else {
                                head
                            }
                        },
                    )?;
                Ok(is_head(head))
            }
            Self::Inode(prev, place, block) => {
                let mut raw = [0u8; HEAD_MAX];
                let raw = place.read(geo, &mut raw)?;
                disk::put(raw, DTIME, &U32::new(Ino::to_disk(next))).map_err(|_| EINVAL)?;
                let changed = disk::inode::update_checksum(raw, geo, *prev, place.rest(geo))
                    .map_err(|_| EINVAL)?;
                // No more: who sets attributes, which the head may reach over, has not waited.
                let changed = raw.get(..changed).ok_or(EINVAL)?;
                block.copy_in(place.offset(), changed)?;
                Ok(true)
            }
        }
    }

    pub(super) fn finish(self) -> Result {
        match self {
            Self::Super(block) | Self::Inode(_, _, block) => block.finish(),
        }
    }
}
