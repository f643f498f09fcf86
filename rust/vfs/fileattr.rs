// SPDX-License-Identifier: GPL-2.0

//! The attributes of chattr(1): flags of files and directories that programs see and change
//! (`FS_IOC_GETFLAGS`, `FS_IOC_FSGETXATTR`, file_getattr(2), and those that set). The VFS turns one
//! form into the other and knows who may; a flag is `FS_*_FL` here.
//!
//! C header: [`include/linux/fileattr.h`](srctree/include/linux/fileattr.h)

use super::bindings;
use core::marker::PhantomData;

/// Attributes that are asked for, or shall be set.
///
/// # Invariants
///
/// The pointer is to a `file_kattr` of this thread, valid for the lifetime.
pub(crate) struct FileAttr<'a>(*mut bindings::file_kattr, PhantomData<&'a mut ()>);

impl FileAttr<'_> {
    /// # Safety
    ///
    /// `ptr` is to a `file_kattr` of this thread, valid as long as the value.
    pub(super) unsafe fn from_raw(ptr: *mut kernel::bindings::file_kattr) -> Self {
        // INVARIANT: By the caller. One type, of which the kernel crate knows the name only.
        Self(ptr.cast(), PhantomData)
    }

    /// Answers with these flags, and this project.
    pub(crate) fn fill(&mut self, flags: u32, project: u32) {
        // SAFETY: By the type invariant.
        unsafe {
            bindings::fileattr_fill_flags(self.0, flags);
            (*self.0).fsx_projid = project;
        }
    }

    /// The flags to be set. What the caller could not name is as it was.
    pub(crate) fn flags(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.0).flags }
    }

    /// The project to be set. It is as it was if the caller could not name one, and the VFS knows
    /// who may.
    pub(crate) fn project(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.0).fsx_projid }
    }

    /// Whether more is to be set than that: a hint of extent sizes.
    pub(crate) fn has_more(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::fileattr_has_hints(self.0) }
    }
}
