// SPDX-License-Identifier: GPL-2.0

//! The tables of inode operations of symbolic links.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{Inode, InodeOps, InodeTable};
use crate::vfs::{bindings, fscrypt};
use core::mem;
use kernel::{
    error::{from_result, to_result},
    prelude::*, //
};

impl<F: InodeOps> InodeTable<F> {
    /// Of links whose target is in memory.
    pub(in crate::vfs) const FAST_SYMLINK: bindings::inode_operations =
        bindings::inode_operations {
            get_link: Some(bindings::simple_get_link),
            ..Self::ANY
        };
    /// Of links whose target is read.
    pub(in crate::vfs) const SYMLINK: bindings::inode_operations = bindings::inode_operations {
        get_link: if F::HAS_READ_LINK {
            Some(Self::get_link)
        } else {
            None
        },
        ..Self::ANY
    };

    /// Of links whose target is encrypted.
    pub(in crate::vfs) const ENCRYPTED_SYMLINK: bindings::inode_operations =
        bindings::inode_operations {
            get_link: if F::HAS_READ_LINK {
                Some(Self::get_encrypted_link)
            } else {
                None
            },
            getattr: Some(Self::getattr_of_encrypted),
            ..Self::ANY
        };

    /// # Safety
    ///
    /// As for [`Self::get_link`].
    unsafe extern "C" fn get_encrypted_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        let read = || -> Result<*const c_char> {
            // An RCU walk may not sleep, and reading may.
            if dentry.is_null() {
                return Err(ECHILD);
            }
            // SAFETY: By the caller.
            let inode = unsafe { Inode::<F>::from_raw(inode) };
            let disk = F::read_link(inode)?;
            // SAFETY: By the caller.
            unsafe { fscrypt::get_link(inode, &disk, done) }
        };
        read().unwrap_or_else(|e| e.to_ptr())
    }

    /// # Safety
    ///
    /// As for [`Self::getattr`].
    unsafe extern "C" fn getattr_of_encrypted(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        mask: u32,
        flags: c_uint,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller. The table with this has `get_encrypted_link`, too.
            unsafe {
                if F::HAS_GETATTR {
                    to_result(Self::getattr(idmap, path, stat, mask, flags))?;
                } else {
                    bindings::generic_fillattr(idmap, mask, (*(*path).dentry).d_inode, stat);
                }
                fscrypt::symlink_size(path, stat).map(|()| 0)
            }
        })
    }

    /// # Safety
    ///
    /// `inode` is a symbolic link of `F`. `dentry` is null if this is an RCU walk, else the caller
    /// holds both. `done` is the caller's, for one call.
    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        let read = || -> Result<*mut c_char> {
            // An RCU walk may not sleep, and reading may.
            if dentry.is_null() {
                return Err(ECHILD);
            }
            // SAFETY: By the caller.
            let mut text = F::read_link(unsafe { Inode::from_raw(inode) })?;
            text.push(0, GFP_KERNEL)?;
            let text = mem::ManuallyDrop::new(text).as_mut_ptr();
            // SAFETY: The VFS runs the call once, when it is done with the text, which was
            // allocated by kmalloc.
            unsafe { bindings::set_free_link(done, text.cast()) };
            Ok(text.cast())
        };
        read().unwrap_or_else(|e| e.to_ptr())
    }
}
