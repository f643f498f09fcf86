// SPDX-License-Identifier: GPL-2.0

//! POSIX ACLs. They are kept as attributes ([`xattr`]); what they mean the VFS knows.
//!
//! A mode and an access ACL say the same of the owner, the mask and all others. So both change in
//! one handle, and a crash does not leave a mode that lets nobody in beside an ACL that does.

use super::{
    xattr::{self, AttrEdit},
    Inode, Rext4,
};
use crate::{
    disk::{
        acl::{self, AclEntry},
        xattr_edit::AttrChange,
    },
    vfs::{
        acl::{inherit, Ace, Acl, Inherited, Kind},
        inode::{IdMap, InodeLock},
        xattr::How,
    },
};
use kernel::{error::code::*, prelude::*};

/// The prefix of the attribute.
fn attribute_of(kind: Kind) -> u8 {
    match kind {
        Kind::Access => acl::ACCESS,
        Kind::Default => acl::DEFAULT,
    }
}

/// Reads an ACL. `None` if there is none.
pub(super) fn get_acl(inode: &Inode, kind: Kind) -> Result<Option<Acl>> {
    let found = xattr::read(inode, (attribute_of(kind), b""), |value| {
        let (count, entries) = acl::parse(value).map_err(|why| inode.corrupted(fmt!("{}", why)))?;
        if count == 0 {
            return Ok(None);
        }
        // All of them are good.
        let entries = entries.flatten().map(|entry| Ace {
            tag: entry.tag,
            perm: entry.perm,
            id: entry.id,
        });
        match Acl::new(count, entries) {
            Err(e) if e == EINVAL => {
                Err(inode.corrupted(fmt!("access control list: its entries make none")))
            }
            other => other.map(Some),
        }
    });
    found.map(Option::flatten)
}

/// The value of the attribute.
fn encode(list: &Acl) -> Result<KVec<u8>> {
    let entries = list.entries().map(|entry| AclEntry {
        tag: entry.tag,
        perm: entry.perm,
        id: entry.id,
    });
    // The VFS has checked them.
    let size = acl::encoded_size(entries.clone()).map_err(|_| EINVAL)?;
    let mut value = KVec::from_elem(0u8, size, GFP_KERNEL)?;
    acl::encode(entries, &mut value).map_err(|_| EINVAL)?;
    Ok(value)
}

/// The mode and the ACLs of an inode that is to be made.
pub(crate) struct NewAcls {
    inherited: Inherited,
    /// The attributes.
    default: Option<KVec<u8>>,
    access: Option<KVec<u8>>,
}

impl NewAcls {
    /// Of an inode of this mode in `dir`. Not in a handle: may read the disk.
    pub(super) fn new(dir: &Inode, mode: u16) -> Result<Self> {
        let inherited = inherit(dir, mode)?;
        Ok(Self {
            default: inherited.default.as_ref().map(encode).transpose()?,
            access: inherited.access.as_ref().map(encode).transpose()?,
            inherited,
        })
    }

    /// The mode: what the default ACL, or the umask, leaves of what was asked for.
    pub(super) fn mode(&self) -> u16 {
        self.inherited.mode
    }

    /// The attributes to be set.
    pub(super) fn changes(&self) -> impl Iterator<Item = AttrChange<'_>> {
        let all = [(Kind::Default, &self.default), (Kind::Access, &self.access)];
        all.into_iter().filter_map(|(kind, value)| {
            Some(AttrChange {
                name_index: attribute_of(kind),
                name: b"",
                value: Some(value.as_ref()?),
            })
        })
    }

    /// Says to the VFS what a new inode has.
    pub(super) fn cache(&self, new: &Inode) {
        new.cache_acl(Kind::Default, self.inherited.default.as_ref());
        new.cache_acl(Kind::Access, self.inherited.access.as_ref());
    }
}

/// Sets or removes an ACL, and the mode with the access ACL: an ACL that a mode can say is not
/// kept. `EACCES` for a default ACL of what is no directory.
pub(super) fn set_acl(
    idmap: IdMap<'_>,
    lock: &InodeLock<'_, Rext4>,
    kind: Kind,
    new: Option<&Acl>,
) -> Result {
    let inode = lock.inode();
    if kind == Kind::Default && !inode.is_dir() {
        return if new.is_some() { Err(EACCES) } else { Ok(()) };
    }
    let mut mode = inode.mode();
    let mut kept = new;
    if let (Kind::Access, Some(list)) = (kind, new) {
        let (wanted, keep) = lock.mode_for_acl(idmap, list)?;
        mode = wanted;
        kept = new.filter(|_| keep);
    }
    let changes_mode = mode != inode.mode();
    store_acl(inode, (kind, kept), changes_mode, || {
        if changes_mode {
            lock.set_permissions(mode);
        }
    })
}

/// Keeps the access ACL of an inode whose mode changes; `then` changes that.
pub(super) fn set_acl_with_mode(inode: &Inode, list: &Acl, then: impl FnMut()) -> Result {
    store_acl(inode, (Kind::Access, Some(list)), true, then)
}

fn store_acl(
    inode: &Inode,
    (kind, list): (Kind, Option<&Acl>),
    always: bool,
    mut then: impl FnMut(),
) -> Result {
    let value = list.map(encode).transpose()?;
    let edit = AttrEdit {
        change: AttrChange {
            name_index: attribute_of(kind),
            name: b"",
            value: value.as_deref(),
        },
        how: How::Any,
        always,
    };
    xattr::update(inode, &edit, || {
        then();
        // Still under the lock of the attributes: not everybody who sets an ACL has i_rwsem.
        inode.cache_acl(kind, list);
    })
}
