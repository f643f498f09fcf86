// SPDX-License-Identifier: GPL-2.0

//! The flags of chattr(1), the project and the generation of files and directories. To programs
//! the flags are the bits of the format.
//!
//! Most of them are honoured by the VFS, by `i_flags`. Where it has looked before the flag was set,
//! and the file was open by then, somebody else has to: who writes it ([`Kiocb::write_checks`]),
//! truncates it ([`super::attr`]), calls fallocate ([`super::io::fallocate`]) or stores into a
//! mapping ([`super::io::mmap`]).
//!
//! [`Kiocb::write_checks`]: crate::vfs::Kiocb::write_checks

use super::{
    alloc::TRIES,
    credits,
    inode::{
        flags_of_type,
        has_projects,
        hold_iloc,
        journal,
        journal_alone,
        may_grow,
        may_grow_again,
        vfs_flags,
        Durable, //
    },
    io::{fsync, steps::Alone},
    options::Dax,
    Inode,
    Rext4, //
};
use crate::{
    disk::inode::{flags, GOOD_OLD_SIZE},
    vfs::{fileattr::FileAttr, inode::InodeLock}, //
};
use kernel::prelude::*;

/// Flags that stay as they are: what they say is not implemented, or is not to be undone.
const FIXED: u32 = flags::EXTENTS | flags::JOURNAL_DATA | flags::CASEFOLD;

/// The flags that programs see.
pub(super) fn flags_seen(inode: &Inode) -> u32 {
    let seen = inode.info().flags() & flags::VISIBLE;
    if inode.is_file() {
        seen & !flags::PROJINHERIT
    } else {
        seen
    }
}

/// Sets them, and the project. `EOPNOTSUPP` for flags that cannot be set, or not on this type of
/// inode, and for a project where there are none; `ENOSPC` if the inode has no place for one.
pub(super) fn set_flags(lock: &InodeLock<'_, Rext4>, attr: &FileAttr<'_>) -> Result {
    let inode = lock.inode();
    let new = wanted(inode, attr)?;
    let moves = attr.project() != inode.info().projid();
    if moves {
        find_place(inode)?;
    }
    let ends = inode.is_file() && new & flags::IMMUTABLE != 0 && !inode.flags().immutable;
    // What is written becomes read-only in mappings, so that the next store asks first. Most of it
    // is written before the lock is taken that faults wait for, and none comes in between then.
    if ends {
        inode.write_and_wait(0..u64::MAX)?;
    }
    let alone = ends.then(|| Alone::new(lock)).transpose()?;
    if ends {
        inode.write_and_wait(0..u64::MAX)?;
    }
    let is_sync = inode.is_sync();
    let _table = hold_iloc(inode)?;
    let handle = inode.fs().start(credits::INODE)?;
    let info = inode.info();
    // It takes effect when the file is read from the disk again, which is soon then.
    let is_other = (info.flags() ^ new) & flags::DAX != 0;
    if is_other && inode.is_file() && inode.fs().dax == Dax::Inode {
        inode.dont_cache();
    }
    info.replace_flags(flags::CHANGEABLE, new);
    if moves {
        info.set_projid(attr.project());
    }
    lock.set_flags(vfs_flags(info.flags()));
    drop(alone);
    inode.touch_ctime();
    journal(&handle, inode)?;
    handle.stop()?;
    if is_sync {
        fsync::commit(inode, Durable::Inode)
    } else {
        Ok(())
    }
}

/// Checksums begin with the generation, where there are some. `ENOTTY`, as in ext4.
pub(super) fn check_new_generation(inode: &Inode) -> Result {
    if inode.fs().geo.has_metadata_csum {
        return Err(ENOTTY);
    }
    Ok(())
}

/// Gives an inode another generation, after [`check_new_generation`].
pub(super) fn set_generation(lock: &InodeLock<'_, Rext4>, generation: u32) -> Result {
    let inode = lock.inode();
    let _table = hold_iloc(inode)?;
    let handle = inode.fs().start(credits::INODE)?;
    inode.touch_ctime();
    lock.set_generation(generation);
    journal(&handle, inode)?;
    handle.stop()
}

/// What the flags that can be changed shall be.
fn wanted(inode: &Inode, attr: &FileAttr<'_>) -> Result<u32> {
    let asked = attr.flags();
    // chattr(1) gives back all that it has seen.
    let new = asked & flags::CHANGEABLE;
    let of_type = flags_of_type(inode.mode());
    if attr.has_more() || asked & !flags::VISIBLE != 0 || new & !of_type != 0 {
        return Err(EOPNOTSUPP);
    }
    let old = inode.info().flags();
    let changed = (old ^ new) & flags::CHANGEABLE & of_type;
    let moves = attr.project() != inode.info().projid();
    if old & new & flags::IMMUTABLE != 0 && (changed != 0 || has_projects(inode.fs()) && moves) {
        return Err(EPERM);
    }
    if changed & FIXED != 0 || new & flags::DAX != 0 && old & flags::NOT_DAX != 0 {
        return Err(EOPNOTSUPP);
    }
    if moves && !(has_projects(inode.fs()) && inode.fs().geo.inode_size > GOOD_OLD_SIZE as u16) {
        return Err(EOPNOTSUPP);
    }
    Ok(new)
}

/// The raw inode is to have a place for a project: older ones have fewer fields, which may grow.
/// Who asks for that can wait for a transaction with more room, and is not told of a failure of
/// before.
fn find_place(inode: &Inode) -> Result {
    if inode.info().keeps_project() {
        return Ok(());
    }
    may_grow_again(inode);
    for _ in 0..TRIES {
        journal_alone(inode)?;
        if inode.info().keeps_project() {
            return Ok(());
        }
        // Not there, and not only for now: there is no room.
        if inode.nlink() == 0 || !may_grow(inode) {
            break;
        }
        inode.go_on()?;
        fsync::commit(inode, Durable::Inode)?;
    }
    Err(ENOSPC)
}
