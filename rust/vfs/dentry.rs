// SPDX-License-Identifier: GPL-2.0

//! Directory entries of the VFS.
//!
//! C headers: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::{
    bindings,
    inode::{INode, Inode},
    super_block::FileSystem, //
};
use core::{marker::PhantomData, mem::ManuallyDrop};
use kernel::{prelude::*, sync::aref::ARef, types::Opaque};

/// A dentry, locked by the VFS for the callback that got it: its name and parent are stable.
#[repr(transparent)]
pub(crate) struct Dentry<F>(Opaque<bindings::dentry>, PhantomData<F>);

impl<F: FileSystem> Dentry<F> {
    /// # Safety
    ///
    /// `ptr` is a dentry of file system `F` whose parent's i_rwsem is held for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::dentry) -> &'a Self {
        // SAFETY: The type is transparent and the caller guarantees validity.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::dentry {
        self.0.get()
    }

    /// The name, 1 to 255 bytes without NUL or slash.
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: The name is stable while the parent is locked (type contract).
        unsafe {
            let name = &(*self.as_ptr()).__bindgen_anon_1.d_name;
            let len = name.__bindgen_anon_1.__bindgen_anon_1.len as usize;
            core::slice::from_raw_parts(name.name, len)
        }
    }

    /// The inode of a positive dentry.
    pub(crate) fn inode(&self) -> Option<&INode<F>> {
        // SAFETY: A positive dentry references its inode; it stays positive while we hold it.
        unsafe {
            let inode = (*self.as_ptr()).d_inode;
            (!inode.is_null()).then(|| &*inode.cast())
        }
    }

    /// Makes a negative dentry name `inode`. Does nothing to one that names an inode already.
    pub(crate) fn instantiate(&self, inode: ARef<INode<F>>) {
        // `d_instantiate` has a BUG_ON for it.
        if self.inode().is_some() {
            pr_err!("a name that is made exists already\n");
            return;
        }
        let inode = ManuallyDrop::new(inode);
        let raw: &Inode<F> = &inode;
        // SAFETY: The dentry is negative; it takes over our reference.
        unsafe { bindings::d_instantiate(self.as_ptr(), raw.as_ptr()) }
    }
}
