// SPDX-License-Identifier: GPL-2.0

//! What the VFS asks of inodes of all types, forwarded.

use crate::{
    fs::{acl, attr, chattr, io::map, namei, xattr, Inode, Rext4},
    vfs::{
        acl::{Acl, Kind},
        fileattr::FileAttr,
        inode::{Attr, IdMap, InodeLock, InodeOps, Stat},
        iomap::{self, FiemapInfo},
        xattr::NameList, //
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

#[vtable]
impl InodeOps for Rext4 {
    fn read_link(inode: &Inode) -> Result<KVec<u8>> {
        namei::read_target(inode)
    }

    fn list_xattr(inode: &Inode, names: &mut NameList<'_>) -> Result {
        xattr::list(inode, names)
    }

    fn get_acl(inode: &Inode, kind: Kind) -> Result<Option<Acl>> {
        acl::get_acl(inode, kind)
    }

    fn set_acl(
        idmap: IdMap<'_>,
        lock: &InodeLock<'_, Self>,
        kind: Kind,
        acl: Option<&Acl>,
    ) -> Result {
        acl::set_acl(idmap, lock, kind, acl)
    }

    fn setattr(idmap: IdMap<'_>, lock: &InodeLock<'_, Self>, attr: &mut Attr<'_>) -> Result {
        attr::setattr(idmap, lock, attr)
    }

    fn getattr(inode: &Inode, stat: &mut Stat<'_>) {
        attr::getattr(inode, stat);
    }

    fn fileattr_get(inode: &Inode, attr: &mut FileAttr<'_>) {
        attr.fill(chattr::flags_seen(inode), inode.info().projid());
    }

    fn fileattr_set(lock: &InodeLock<'_, Self>, attr: &FileAttr<'_>) -> Result {
        chattr::set_flags(lock, attr)
    }

    fn fiemap(inode: &Inode, mut info: FiemapInfo<'_>, bytes: Range<u64>) -> Result {
        // What is read of the map stays in the buffer cache anyway.
        info.take_cache();
        // Before the flag is taken that the caller gets back.
        if bytes.start > inode.max_size() {
            return Err(EFBIG);
        }
        if info.take_xattr() {
            iomap::fiemap::<xattr::PlaceOps>(inode, info, bytes)
        } else {
            iomap::fiemap::<map::ReadOps>(inode, info, bytes)
        }
    }
}
