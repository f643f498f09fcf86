// SPDX-License-Identifier: GPL-2.0

//! Attributes of an inode: what `chmod`, `chown`, `utimes` and `truncate` change, and what `stat`
//! shows beyond the fields that the VFS has.

use super::{
    acl,
    inode::{self, Durable},
    io::{self, direct, fsync, truncate},
    Inode,
    Rext4, //
};
use crate::{
    disk::inode::flags,
    vfs::inode::{Attr, Attributes, IdMap, InodeLock, Stat},
};
use kernel::prelude::*;

/// The bits of a mode that an ACL has, too.
const PERMISSIONS: u16 = 0o777;

/// `setattr`: changes what `attr` says. A size comes first, since it may fail half way and the
/// rest is to be done only if it does not. `EINVAL` for the size of what is no file. The size of a
/// synchronous file is durable on return, as what is written to it is.
pub(super) fn setattr(
    idmap: IdMap<'_>,
    lock: &InodeLock<'_, Rext4>,
    attr: &mut Attr<'_>,
) -> Result {
    let inode = lock.inode();
    io::check_writable(inode)?;
    // A file that is open for writing all the same.
    if inode.flags().immutable {
        return Err(EPERM);
    }
    attr.prepare(idmap)?;
    // The access ACL says the same as the mode, so both go in one handle. Looked for first: a mode
    // that cannot be changed leaves the size. Not where only the set-user-ID bit and its like go
    // with a truncate: an ACL says nothing of them, and who has cut a file must not fail at that.
    let says = |mode: &u16| attr.size().is_none() || (mode ^ inode.mode()) & PERMISSIONS != 0;
    let list = attr
        .mode()
        .filter(says)
        .map(|mode| lock.acl_for_mode(mode))
        .transpose()?;
    if let Some(size) = attr.size() {
        if !inode.is_file() {
            return Err(EINVAL);
        }
        let moves = size != inode.size() || attr.sets_mtime();
        truncate::set_size(lock, size, || {
            if moves {
                inode.touch_mtime();
            }
        })?;
    }
    inode.inc_version();
    if let Some(list) = list.flatten() {
        acl::set_acl_with_mode(inode, &list, || attr.copy_to(idmap, lock))?;
    } else {
        attr.copy_to(idmap, lock);
        inode::journal_alone(inode)?;
    }
    if attr.size().is_some() && inode.is_sync() {
        fsync::commit(inode, Durable::Inode)?;
    }
    Ok(())
}

/// `getattr`. The blocks are also those that are reserved: data without a block yet takes space.
pub(super) fn getattr(inode: &Inode, stat: &mut Stat<'_>) {
    let info = inode.info();
    let disk_flags = info.flags();
    if let Some(time) = info.btime() {
        stat.set_btime(time);
    }
    let has = |flag| disk_flags & flag != 0;
    stat.set_attributes(&Attributes {
        append: has(flags::APPEND),
        immutable: has(flags::IMMUTABLE),
        no_dump: has(flags::NODUMP),
        compressed: has(flags::COMPR),
        encrypted: has(flags::ENCRYPT),
    });
    if inode.is_file() {
        let reserved = u64::from(info.reserved_blocks());
        stat.add_blocks(reserved << (inode.fs().geo.block_bits - 9));
        stat.set_direct_io(inode);
        stat.set_whole_write(direct::whole_write(inode));
    }
}
