// SPDX-License-Identifier: GPL-2.0

//! What a mount says to who asked for it.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)

use crate::vfs::bindings;
use core::{cell::Cell, ffi::c_void, marker::PhantomData, ptr};
use kernel::fmt;

/// Where a mount or remount tells who asked for it why it is refused: the log of the context, which
/// mount(8) prints. Without one (mount(2), the kernel itself) nothing is written; the kernel log is
/// the caller's.
///
/// # Invariants
///
/// `fc` is valid for `'a`, and this thread's.
pub(crate) struct MountLog<'a> {
    fc: *mut bindings::fs_context,
    refused: Cell<bool>,
    _context: PhantomData<&'a ()>,
}

impl MountLog<'_> {
    /// # Safety
    ///
    /// `fc` is a context that this thread may use for `'a`.
    pub(in crate::vfs) unsafe fn from_raw(fc: *mut bindings::fs_context) -> Self {
        Self {
            fc,
            refused: Cell::new(false),
            _context: PhantomData,
        }
    }

    /// Why it fails. One line, without the device. Sleeps.
    pub(crate) fn error(&self, why: fmt::Arguments<'_>) {
        self.refused.set(true);
        self.put(b'e', why);
    }

    /// What will be otherwise than asked for. Sleeps.
    pub(crate) fn warning(&self, what: fmt::Arguments<'_>) {
        self.put(b'w', what);
    }

    /// Whether [`MountLog::error`] was called.
    pub(crate) fn has_error(&self) -> bool {
        self.refused.get()
    }

    fn put(&self, level: u8, text: fmt::Arguments<'_>) {
        let text: *const c_void = ptr::from_ref(&text).cast();
        // SAFETY: By the type invariant. The text is printed before the return, by `%pA`, which
        // takes a pointer to `fmt::Arguments`.
        unsafe { bindings::logfc(self.fc, level, text.cast()) }
    }
}
