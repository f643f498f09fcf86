// SPDX-License-Identifier: GPL-2.0

//! Extended attributes.
//!
//! They lie in two lists: in the inode behind its fields, and in a block that several inodes may
//! share. A new one goes into the inode if it fits there, else into the block, else it is `ENOSPC`.
//!
//! [`InodeInfo::xattrs`](super::inode::InodeInfo) is the lock of both lists and of the number of
//! the block. i_rwsem is not: who reads does not hold it, nor does a security module that sets a
//! label of its own. It is taken inside the handle of a change, as ext4's `xattr_sem`, so who only
//! reads starts none below it. The list in the inode is part of the raw inode, with one checksum
//! over all, so it is copied out and in under `InodeInfo::fields`, too. A block with several owners
//! does not change, but for their number: see [`super::attributes::block`].
//!
//! A change is made on copies ([`super::attributes`]). All that may fail (reading, memory, room, a
//! block) comes before the inode is written, which is the end of it.
//!
//! Format: `Documentation/filesystems/ext4/attributes.rst`.

mod store;

pub(super) use store::{init, update, AttrEdit};

use super::{
    inode::{attribute_place, load_lists, AttrPlace},
    Inode,
    Rext4, //
};
use crate::{
    disk::{acl, xattr_edit::AttrChange},
    vfs::{
        cred,
        iomap::{Map, MapFlags, MapOps, MapType},
        xattr::{How, Name, NameList, Namespace, Value}, //
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

const USER: u8 = 1;
const TRUSTED: u8 = 4;
/// The number of the prefix `security.`.
pub(super) const SECURITY: u8 = 6;

/// The number of a prefix in the format.
fn index_of(space: Namespace) -> u8 {
    match space {
        Namespace::User => USER,
        Namespace::Trusted => TRUSTED,
        Namespace::Security => SECURITY,
    }
}

/// The prefix of a number, for a name list. ACLs have no name behind it.
fn prefix_of(index: u8) -> Option<&'static [u8]> {
    Some(match index {
        USER => b"user.",
        acl::ACCESS => b"system.posix_acl_access",
        acl::DEFAULT => b"system.posix_acl_default",
        TRUSTED => b"trusted.",
        SECURITY => b"security.",
        _ => return None,
    })
}

/// `EOPNOTSUPP` for a prefix that the mount options switch off.
fn check_option(fs: &Rext4, space: Namespace) -> Result {
    if space == Namespace::User && !fs.in_force.user_xattr() {
        return Err(EOPNOTSUPP);
    }
    Ok(())
}

/// Copies the value of an attribute out. `ENODATA` if there is none, `ERANGE` if it does not fit.
pub(super) fn get(inode: &Inode, name: Name<'_>, out: &mut Value<'_>) -> Result {
    check_option(inode.fs(), name.space)?;
    read(inode, (index_of(name.space), name.rest), |value| {
        out.put(value)
    })?
    .ok_or(ENODATA)
}

/// Reads the attribute of this prefix and name: what `with` makes of its value. `None` if there is
/// none. Outside of any handle of the inode; may wait for the disk. `EIO` after a shutdown.
pub(super) fn read<T>(
    inode: &Inode,
    (index, name): (u8, &[u8]),
    with: impl FnOnce(&[u8]) -> Result<T>,
) -> Result<Option<T>> {
    inode.fs().access.check_alive()?;
    let _lock = inode.info().xattrs.lock();
    let mut lists = load_lists(inode)?;
    if lists.find(index, name)?.is_none() {
        lists.load_block()?;
    }
    match lists.find(index, name)? {
        Some((_, entry)) => with(entry.value).map(Some),
        None => Ok(None),
    }
}

/// Lists the names that the caller may see.
pub(super) fn list(inode: &Inode, names: &mut NameList<'_>) -> Result {
    let user = inode.fs().in_force.user_xattr();
    let (admin, acls) = (cred::is_admin(), inode.has_acls());
    let _lock = inode.info().xattrs.lock();
    let mut lists = load_lists(inode)?;
    lists.load_block()?;
    lists.each(|entry| {
        let seen = match entry.name_index {
            USER => user,
            TRUSTED => admin,
            acl::ACCESS | acl::DEFAULT => acls,
            _ => true,
        };
        match prefix_of(entry.name_index).filter(|_| seen) {
            Some(prefix) => names.push(prefix, entry.name),
            None => Ok(()),
        }
    })
}

/// Where attributes are, as FIEMAP tells it: those in the inode, or those in the block where the
/// inode has none, as in ext4.
pub(super) struct PlaceOps;

#[vtable]
impl MapOps for PlaceOps {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, _flags: MapFlags, map: &mut Map) -> Result {
        match attribute_place(inode)? {
            Some(AttrPlace::Inode(place)) => {
                map.set_inline(inode, place.start, place.end - place.start);
            }
            Some(AttrPlace::Block(block)) => {
                let bits = inode.block_bits();
                map.set(
                    inode,
                    MapType::Mapped,
                    0,
                    1 << bits,
                    Some(block.byte(bits)),
                    0,
                );
            }
            None => return Err(ENOENT),
        }
        if map.range().contains(&bytes.start) {
            Ok(())
        } else {
            Err(ENOENT)
        }
    }
}

/// Sets or removes an attribute.
pub(super) fn set(inode: &Inode, name: Name<'_>, value: Option<&[u8]>, how: How) -> Result {
    check_option(inode.fs(), name.space)?;
    let edit = AttrEdit {
        change: AttrChange {
            name_index: index_of(name.space),
            name: name.rest,
            value,
        },
        how,
        always: false,
    };
    update(inode, &edit, || ())
}
