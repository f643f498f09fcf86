// SPDX-License-Identifier: GPL-2.0

//! Directory entries of the VFS.
//!
//! C headers: [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::{
    bindings,
    inode::{HeldInode, Inode, InodeRef},
    super_block::FileSystem, //
};
use core::marker::PhantomData;
use kernel::{prelude::*, types::Opaque};

/// A dentry, locked by the VFS for the callback that got it: its name and parent are stable.
///
/// # Invariants
///
/// A reference is to a dentry of `F`, valid as long as the reference, and i_rwsem of its parent is
/// held meanwhile.
#[repr(transparent)]
pub(crate) struct Dentry<F>(Opaque<bindings::dentry>, PhantomData<F>);

/// A dentry that is being looked up: new, and a name only. What it names is what the lookup
/// returns. It has no inode's links yet, for in their place C may have those of the lookups that
/// are under way (`d_in_lookup_hash`).
///
/// # Invariants
///
/// As for [`Dentry`].
#[repr(transparent)]
pub(crate) struct InLookup<F>(Dentry<F>);

impl<F: FileSystem> InLookup<F> {
    /// # Safety
    ///
    /// As for [`Dentry::from_raw`].
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::dentry) -> &'a Self {
        // SAFETY: The type is transparent. INVARIANT: By the caller.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::dentry {
        self.0.as_ptr()
    }

    /// As [`Dentry::name`].
    pub(crate) fn name(&self) -> &[u8] {
        self.0.name()
    }
}

impl<F: FileSystem> Dentry<F> {
    /// # Safety
    ///
    /// `ptr` is a dentry of file system `F` whose parent's i_rwsem is held for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::dentry) -> &'a Self {
        // SAFETY: The type is transparent. INVARIANT: By the caller.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::dentry {
        self.0.get()
    }

    /// The name: not empty, without NUL or slash. The VFS leaves `ENAMETOOLONG` to the file system,
    /// so it may be as long as a path.
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: By the type invariant the parent is locked, so the name is stable.
        unsafe {
            let name = &(*self.as_ptr()).__bindgen_anon_1.d_name;
            let len = name.__bindgen_anon_1.__bindgen_anon_1.len as usize;
            core::slice::from_raw_parts(name.name, len)
        }
    }

    /// The inode of a positive dentry.
    pub(crate) fn inode(&self) -> Option<&HeldInode<F>> {
        // SAFETY: By the type invariant. A positive dentry references its inode, and stays positive
        // while it is held.
        unsafe {
            let inode = (*self.as_ptr()).d_inode;
            (!inode.is_null()).then(|| &*inode.cast())
        }
    }

    /// Whether it can be made to name `inode`: it names none yet (`d_instantiate` has a BUG_ON for
    /// that), and both are of one super block, which C believes.
    pub(super) fn accepts(&self, inode: &Inode<F>) -> bool {
        // SAFETY: By the type invariant; `d_sb` is constant.
        let same_sb = unsafe { (*self.as_ptr()).d_sb } == inode.sb().as_ptr();
        if !same_sb || self.inode().is_some() {
            pr_err!("a name that is made exists already, or in another file system\n");
        }
        same_sb && self.inode().is_none()
    }

    /// Makes a negative dentry name `inode`. Does nothing to one that names an inode already, or
    /// for an inode of another super block.
    pub(crate) fn instantiate(&self, inode: InodeRef<'_, F>) {
        if self.accepts(&inode) {
            // SAFETY: The dentry is negative and of the same super block; it takes over our count.
            unsafe { bindings::d_instantiate(self.as_ptr(), inode.into_raw()) }
        }
    }
}
