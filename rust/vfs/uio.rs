// SPDX-License-Identifier: GPL-2.0

//! The memory of a request.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::prelude::*;

/// The memory that a request reads from or writes to.
///
/// `D` is the direction, which C only warns about: a read must not store to what a write may only
/// take from (a pipe's pages, a constant buffer).
///
/// # Invariants
///
/// The pointer is to an initialised iterator of direction `D`, ours for the lifetime.
pub(crate) struct IovIter<'a, D = Source>(
    NonNull<bindings::iov_iter>,
    PhantomData<(&'a mut (), D)>,
);

/// The memory is read: by a write.
pub(crate) struct Source;

/// The memory is written: by a read.
pub(crate) struct Dest;

impl<D> IovIter<'_, D> {
    /// # Safety
    ///
    /// `ptr` is an initialised iterator of direction `D` that nobody else uses for the lifetime.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::iov_iter) -> Self {
        // SAFETY: A valid pointer is not null. INVARIANT: By the caller.
        Self(unsafe { NonNull::new_unchecked(ptr) }, PhantomData)
    }

    /// Goes back by `bytes`, which it was advanced by before.
    pub(super) fn revert(&mut self, bytes: usize) {
        // SAFETY: By the type invariant ours; the C function refuses to go back too far.
        unsafe { bindings::iov_iter_revert(self.as_ptr(), bytes) }
    }

    /// Whether it is memory of a user, that may have to be faulted in.
    pub(crate) fn is_user(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::user_backed_iter(self.0.as_ptr()) }
    }

    pub(super) fn as_ptr(&mut self) -> *mut bindings::iov_iter {
        self.0.as_ptr()
    }

    /// Bytes left.
    pub(crate) fn count(&self) -> usize {
        // SAFETY: By the type invariant.
        unsafe {
            (*self.0.as_ptr())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .count
        }
    }
}

/// A C length-or-errno.
pub(super) fn result_len(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}
