// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: the handlers of their prefixes, and the list of names.
//!
//! ACLs do not come here, though they have names (`system.posix_acl_access`): see [`acl`].
//!
//! C header: [`include/linux/xattr.h`](srctree/include/linux/xattr.h)
//!
//! [`acl`]: super::acl

use super::{
    bindings,
    fixed,
    inode::Inode,
    super_block::{FileSystem, NewSuper}, //
};
use core::{marker::PhantomData, mem, ptr, slice};
use kernel::{error::from_result, prelude::*, str::CStr};

/// The prefixes that have a handler.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// `user.`: of files and directories only, the VFS sees to that.
    User,
    /// `trusted.`: for who has `CAP_SYS_ADMIN`.
    Trusted,
    /// `security.`: labels of security modules, capabilities of programs.
    Security,
}

impl Namespace {
    const fn prefix(self) -> &'static CStr {
        match self {
            Self::User => c"user.",
            Self::Trusted => c"trusted.",
            Self::Security => c"security.",
        }
    }

    fn from_flags(flags: c_int) -> Self {
        match flags {
            n if n == Self::User as c_int => Self::User,
            n if n == Self::Trusted as c_int => Self::Trusted,
            _ => Self::Security,
        }
    }
}

/// The name of an attribute.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(crate) space: Namespace,
    /// What is behind the prefix: not empty, without NUL, 255 bytes at most with it.
    pub(crate) rest: &'a [u8],
}

/// What must be there before an attribute is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It may be new or not.
    Any,
    /// It must be new: else `EEXIST`.
    Create,
    /// It must be there: else `ENODATA`.
    Replace,
    /// Both: `EEXIST` if it is there, `ENODATA` if not.
    Never,
}

/// What a file system provides so that its inodes have extended attributes.
pub(crate) trait XattrOps: FileSystem {
    /// Copies the value of an attribute out ([`Value::put`]), once. `ENODATA` if there is none.
    ///
    /// May sleep; i_rwsem may be held or not, and a handle of a journal that is being started for
    /// the same inode is not.
    fn get_xattr(inode: &Inode<Self>, name: Name<'_>, out: &mut Value<'_>) -> Result;

    /// Sets an attribute, or removes it. `ENOSPC` if it does not fit.
    ///
    /// Freeze WRITE is held, and as a rule i_rwsem exclusive; but security modules set labels of
    /// their own without it.
    fn set_xattr(inode: &Inode<Self>, name: Name<'_>, value: Option<&[u8]>, how: How) -> Result;
}

/// Where the value of an attribute goes: memory of the VFS, or nowhere if only its length is asked
/// for. It knows itself how long the value is: C believes that length, and copies as many bytes to
/// the program.
///
/// # Invariants
///
/// The pointer is null, or to `len` bytes that only this thread uses. They need not be initialised,
/// but for the first `put`.
pub(crate) struct Value<'a> {
    ptr: *mut u8,
    len: usize,
    /// The length of the value, which is there unless the pointer is null.
    put: usize,
    _memory: PhantomData<&'a mut ()>,
}

impl Value<'_> {
    /// # Safety
    ///
    /// `ptr` is null, or to `len` bytes that only this thread uses for `'a`.
    pub(super) unsafe fn from_raw(ptr: *mut u8, len: usize) -> Self {
        // INVARIANT: By the caller.
        Self {
            ptr,
            len,
            put: 0,
            _memory: PhantomData,
        }
    }

    /// The length of the value that was put.
    #[cfg(CONFIG_FS_ENCRYPTION)]
    pub(super) fn put_len(&self) -> usize {
        self.put
    }

    /// Copies the value out. `ERANGE` if there is no room.
    pub(crate) fn put(&mut self, value: &[u8]) -> Result {
        if !self.ptr.is_null() {
            if value.len() > self.len {
                return Err(ERANGE);
            }
            // SAFETY: By the type invariant; they are as many bytes, and nobody else's.
            unsafe { ptr::copy_nonoverlapping(value.as_ptr(), self.ptr, value.len()) };
        }
        // INVARIANT: As was just copied.
        self.put = value.len();
        Ok(())
    }
}

/// Where names go, each with a NUL behind it: memory of the VFS, or nowhere if only their length is
/// asked for.
///
/// # Invariants
///
/// As for [`Value`]. `used` bytes of it are used, if it is there.
pub(crate) struct NameList<'a> {
    memory: Value<'a>,
    used: usize,
}

impl NameList<'_> {
    /// Adds a name, of two parts. `ERANGE` if there is no room.
    pub(crate) fn push(&mut self, prefix: &[u8], rest: &[u8]) -> Result {
        let mut end = self.used;
        for part in [prefix, rest, &[0]] {
            let from = end;
            end = end.checked_add(part.len()).ok_or(ERANGE)?;
            if self.memory.ptr.is_null() {
                continue;
            }
            if end > self.memory.len {
                return Err(ERANGE);
            }
            // SAFETY: By the type invariant; the bytes from `from` to `end` are within.
            unsafe {
                let to = self.memory.ptr.add(from);
                ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            }
        }
        self.used = end;
        Ok(())
    }
}

/// What `listxattr` does.
///
/// # Safety
///
/// `buffer` is null, or to `size` bytes of this thread's.
pub(super) unsafe fn list(
    buffer: *mut c_char,
    size: usize,
    names: impl FnOnce(&mut NameList<'_>) -> Result,
) -> Result<isize> {
    let to = if size == 0 {
        ptr::null_mut()
    } else {
        buffer.cast()
    };
    let mut list = NameList {
        // SAFETY: By the caller.
        memory: unsafe { Value::from_raw(to, size) },
        used: 0,
    };
    names(&mut list)?;
    isize::try_from(list.used).map_err(|_| E2BIG)
}

/// The handlers.
struct XattrTable<F>(PhantomData<F>);

impl<F: XattrOps> XattrTable<F> {
    const USER: bindings::xattr_handler = Self::handler(Namespace::User);
    const TRUSTED: bindings::xattr_handler = Self::handler(Namespace::Trusted);
    const SECURITY: bindings::xattr_handler = Self::handler(Namespace::Security);
    /// Ends with a null pointer.
    const TABLE: [*const bindings::xattr_handler; 4] = [
        fixed(&Self::USER),
        fixed(&Self::TRUSTED),
        fixed(&Self::SECURITY),
        ptr::null(),
    ];

    const fn handler(space: Namespace) -> bindings::xattr_handler {
        bindings::xattr_handler {
            prefix: space.prefix().to_bytes_with_nul().as_ptr().cast(),
            flags: space as c_int,
            get: Some(Self::get),
            set: Some(Self::set),
            // SAFETY: All other members are nullable pointers.
            ..unsafe { mem::zeroed() }
        }
    }

    /// # Safety
    ///
    /// `handler` is one of these, `name` a string.
    unsafe fn name<'a>(handler: *const bindings::xattr_handler, name: *const c_char) -> Name<'a> {
        // SAFETY: By the caller.
        unsafe {
            Name {
                space: Namespace::from_flags((*handler).flags),
                rest: CStr::from_char_ptr(name).to_bytes(),
            }
        }
    }

    /// # Safety
    ///
    /// `handler` is one of these; `inode` is one of `F`, and the caller holds it; `name` is the
    /// part of a name behind the prefix; `buffer` is null or to `size` bytes of this thread's
    /// (__vfs_getxattr()).
    unsafe extern "C" fn get(
        handler: *const bindings::xattr_handler,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        buffer: *mut c_void,
        size: usize,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let (inode, name) = unsafe { (Inode::from_raw(inode), Self::name(handler, name)) };
            // SAFETY: By the caller.
            let mut out = unsafe { Value::from_raw(buffer.cast(), size) };
            F::get_xattr(inode, name, &mut out)?;
            c_int::try_from(out.put).map_err(|_| E2BIG)
        })
    }

    /// # Safety
    ///
    /// As for [`Self::get`]; `value` is null, or `size` bytes that do not change during the call
    /// (__vfs_setxattr()).
    unsafe extern "C" fn set(
        handler: *const bindings::xattr_handler,
        _idmap: *mut bindings::mnt_idmap,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        value: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let (inode, name) = unsafe { (Inode::from_raw(inode), Self::name(handler, name)) };
            let value = if value.is_null() {
                None
            } else {
                // SAFETY: By the caller.
                Some(unsafe { slice::from_raw_parts(value.cast(), size) })
            };
            let flag = |bit| flags.unsigned_abs() & bit != 0;
            let how = match (flag(bindings::XATTR_CREATE), flag(bindings::XATTR_REPLACE)) {
                (false, false) => How::Any,
                (true, false) => How::Create,
                (false, true) => How::Replace,
                (true, true) => How::Never,
            };
            F::set_xattr(inode, name, value, how).map(|()| 0)
        })
    }
}

impl<F: FileSystem> NewSuper<'_, F> {
    /// Gives its inodes extended attributes ([`XattrOps`]). Before it has any.
    pub(crate) fn set_xattr(&self)
    where
        F: XattrOps,
    {
        // SAFETY: By the type invariant; the table is static and made for `F`.
        unsafe { (*self.as_ptr()).s_xattr = fixed(&XattrTable::<F>::TABLE).as_ptr() }
    }
}
