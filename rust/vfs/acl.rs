// SPDX-License-Identifier: GPL-2.0

//! POSIX ACLs. The VFS caches them with the inode, enforces them, and knows their rules; the file
//! system keeps them ([`InodeOps::get_acl`](super::inode::InodeOps::get_acl), `set_acl`).
//!
//! Ids are those of the initial user namespace.
//!
//! C header: [`include/linux/posix_acl.h`](srctree/include/linux/posix_acl.h)

use super::{
    bindings,
    inode::{IdMap, Inode, InodeLock},
    super_block::{FileSystem, NewSuper, Remount},
};
use core::{
    mem::ManuallyDrop,
    ptr::{self, NonNull}, //
};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*, //
};

/// Which of the two an inode can have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who may do what.
    Access,
    /// What new inodes in a directory get.
    Default,
}

impl Kind {
    pub(super) fn from_raw(kind: c_int) -> Result<Self> {
        match u32::try_from(kind) {
            Ok(bindings::ACL_TYPE_ACCESS) => Ok(Self::Access),
            Ok(bindings::ACL_TYPE_DEFAULT) => Ok(Self::Default),
            _ => Err(EINVAL),
        }
    }

    fn to_raw(self) -> c_int {
        let kind = match self {
            Self::Access => bindings::ACL_TYPE_ACCESS,
            Self::Default => bindings::ACL_TYPE_DEFAULT,
        };
        // CAST: Two small numbers.
        kind as c_int
    }
}

/// An entry of an ACL.
#[derive(Clone, Copy)]
pub(crate) struct Ace {
    /// `ACL_USER` and the like.
    pub(crate) tag: u16,
    /// Bits of `rwx`.
    pub(crate) perm: u16,
    /// The user or group, where the tag means one.
    pub(crate) id: Option<u32>,
}

/// An ACL, counted. It does not change.
///
/// # Invariants
///
/// The pointer is to a `posix_acl` of which we own a count.
pub(crate) struct Acl(NonNull<bindings::posix_acl>);

impl Acl {
    /// # Safety
    ///
    /// `acl` is null, or the caller gives up a count of it.
    unsafe fn owned(acl: *mut bindings::posix_acl) -> Option<Self> {
        // INVARIANT: By the caller.
        NonNull::new(acl).map(Self)
    }

    /// The ACL that C lends for a call.
    ///
    /// # Safety
    ///
    /// `acl` is null, or valid as long as what is returned.
    pub(super) unsafe fn borrowed(acl: *mut bindings::posix_acl) -> Option<ManuallyDrop<Self>> {
        // INVARIANT: The count is the caller's, and is not given up.
        NonNull::new(acl).map(|acl| ManuallyDrop::new(Self(acl)))
    }

    pub(super) fn into_raw(self) -> *mut bindings::posix_acl {
        ManuallyDrop::new(self).as_ptr()
    }

    fn as_ptr(&self) -> *mut bindings::posix_acl {
        self.0.as_ptr()
    }

    /// An ACL of `count` entries, the first that `entries` has. `EINVAL` if they make none: which
    /// there must be, and in which order, see acl(5), and a named user or group has an id.
    /// `ENOMEM`.
    pub(crate) fn new(count: usize, mut entries: impl Iterator<Item = Ace>) -> Result<Self> {
        let count = u32::try_from(count).map_err(|_| EINVAL)?;
        // SAFETY: Nothing is asked for.
        let acl = unsafe { Self::owned(bindings::posix_acl_alloc(count)) }.ok_or(ENOMEM)?;
        let p = acl.as_ptr();
        for n in 0..count {
            let entry = entries.next().ok_or(EINVAL)?;
            // SAFETY: Nobody else has it yet, and it has `count` entries.
            unsafe {
                bindings::posix_acl_set(p, n, entry.tag, entry.perm);
                match (u32::from(entry.tag), entry.id) {
                    (bindings::ACL_USER, Some(id)) => bindings::posix_acl_set_uid(p, n, id),
                    (bindings::ACL_GROUP, Some(id)) => bindings::posix_acl_set_gid(p, n, id),
                    // C would look at memory that nobody has written.
                    (bindings::ACL_USER | bindings::ACL_GROUP, None) => return Err(EINVAL),
                    _ => (),
                }
            }
        }
        // SAFETY: All its entries have been set, with the id where C looks at one.
        to_result(unsafe { bindings::posix_acl_valid(p) })?;
        Ok(acl)
    }

    /// Its entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Ace> + Clone + '_ {
        let p = self.as_ptr();
        // SAFETY: By the type invariant; it does not change.
        let count = unsafe { bindings::posix_acl_count(p) };
        // SAFETY: As above, and it has that many entries. The tag says which id there is.
        (0..count).map(move |n| unsafe {
            let tag = bindings::posix_acl_tag(p, n);
            let id = match u32::from(tag) {
                bindings::ACL_USER => Some(bindings::posix_acl_uid(p, n)),
                bindings::ACL_GROUP => Some(bindings::posix_acl_gid(p, n)),
                _ => None,
            };
            Ace {
                tag,
                perm: bindings::posix_acl_perm(p, n),
                id,
            }
        })
    }
}

impl Drop for Acl {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours to give up.
        unsafe { bindings::posix_acl_release(self.as_ptr()) }
    }
}

/// What an inode gets from the directory it is made in.
pub(crate) struct Inherited {
    /// Its mode: what was asked for, less what the default ACL does not grant, or the umask.
    pub(crate) mode: u16,
    /// Its own default ACL, if it is a directory.
    pub(crate) default: Option<Acl>,
    /// Its access ACL, if the mode does not say it all.
    pub(crate) access: Option<Acl>,
}

/// The ACLs and the mode of an inode of this mode made in `dir`. Reads the default ACL of `dir`, so
/// not inside a handle. `ENOMEM`, and the errors of reading it.
pub(crate) fn inherit<F: FileSystem>(dir: &Inode<F>, mode: u16) -> Result<Inherited> {
    let (mut default, mut access) = (ptr::null_mut(), ptr::null_mut());
    let mut new_mode = mode;
    // SAFETY: A borrowed inode is valid; the others are ours, and get a count each.
    to_result(unsafe {
        bindings::posix_acl_create(dir.as_ptr(), &mut new_mode, &mut default, &mut access)
    })?;
    // SAFETY: As above.
    let (default, access) = unsafe { (Acl::owned(default), Acl::owned(access)) };
    // Where there are no ACLs the VFS has applied the umask. It looked at the mount before we did,
    // which may have been remounted in between: another time changes nothing.
    if !dir.has_acls() && u32::from(mode) & bindings::S_IFMT != bindings::S_IFLNK {
        // SAFETY: Looks at the current task only.
        // CAST: Nine bits.
        new_mode &= !(unsafe { bindings::current_umask() } as u16);
    }
    Ok(Inherited {
        mode: new_mode,
        default,
        access,
    })
}

impl<F: FileSystem> Inode<F> {
    /// Whether ACLs are in force.
    pub(crate) fn has_acls(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::is_posixacl(self.as_ptr()) }
    }

    /// Says to the VFS which ACL is there now, or that there is none.
    pub(crate) fn cache_acl(&self, kind: Kind, acl: Option<&Acl>) {
        let acl = acl.map_or(ptr::null_mut(), Acl::as_ptr);
        // SAFETY: By the type invariants; the function takes a count of its own.
        unsafe { bindings::set_cached_acl(self.as_ptr(), kind.to_raw(), acl) }
    }
}

impl<F: FileSystem> InodeLock<'_, F> {
    /// The access ACL of the inode, if it has one, as it is with the permissions of `mode`.
    pub(crate) fn acl_for_mode(&self, mode: u16) -> Result<Option<Acl>> {
        let inode = self.inode();
        if !inode.has_acls() {
            return Ok(None);
        }
        // SAFETY: By the type invariant of `Inode`; what is returned was counted for us.
        let acl = unsafe { bindings::get_inode_acl(inode.as_ptr(), Kind::Access.to_raw()) };
        let mut acl = from_err_ptr(acl)?;
        if acl.is_null() {
            return Ok(None);
        }
        // SAFETY: The count is ours. The function gives it up and leaves a new ACL of ours, or
        // null.
        let result = to_result(unsafe { bindings::posix_acl_masked(&mut acl, mode) });
        // SAFETY: As above.
        let acl = unsafe { Acl::owned(acl) };
        result.map(|()| acl)
    }

    /// The mode of the inode once it has this access ACL, and whether it has to be kept: a mode can
    /// say the same.
    pub(crate) fn mode_for_acl(&self, idmap: IdMap<'_>, acl: &Acl) -> Result<(u16, bool)> {
        let inode = self.inode();
        let (mut mode, mut kept) = (inode.mode(), acl.as_ptr());
        // SAFETY: By the type invariants. The function sets `kept` to null, or leaves it.
        to_result(unsafe {
            bindings::posix_acl_update_mode(idmap.0, inode.as_ptr(), &mut mode, &mut kept)
        })?;
        Ok((mode, !kept.is_null()))
    }

    /// Sets the permissions of the inode; its type stays.
    pub(crate) fn set_permissions(&self, mode: u16) {
        let inode = self.inode();
        let ty = u32::from(inode.mode()) & bindings::S_IFMT;
        // CAST: The type was part of a mode.
        let mode = ty as u16 | mode & 0o7777;
        // SAFETY: By the type invariant of `Inode`; under its lock, as the VFS does.
        unsafe { (&raw mut (*inode.as_ptr()).i_mode).write_volatile(mode) }
    }
}

/// Sets whether ACLs are in force.
///
/// # Safety
///
/// `sb` is being filled by this thread, or s_umount is held exclusive.
unsafe fn set_flag(sb: *mut bindings::super_block, on: bool) {
    // SAFETY: By the caller nobody else changes the flags. They are read without a lock.
    unsafe {
        let flags = &raw mut (*sb).s_flags;
        let bit = bindings::SB_POSIXACL as usize;
        let old = flags.read_volatile();
        flags.write_volatile(if on { old | bit } else { old & !bit });
    }
}

impl<F: FileSystem> NewSuper<'_, F> {
    /// Sets whether ACLs are in force.
    pub(crate) fn set_acls(&self, on: bool) {
        // SAFETY: By the type invariant.
        unsafe { set_flag(self.as_ptr(), on) }
    }
}

impl<F: FileSystem> Remount<'_, F> {
    /// Sets whether ACLs are in force.
    pub(crate) fn set_acls(&self, on: bool) {
        // SAFETY: By the type invariant s_umount is held exclusive.
        unsafe { set_flag(self.sb().as_ptr(), on) }
    }
}
