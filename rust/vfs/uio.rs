// SPDX-License-Identifier: GPL-2.0

//! The memory of a request: the iterators of [`kernel::iov`], and what they lack here. They have a
//! type for each direction, which C only warns about: a read must not store to what a write may
//! only take from (a pipe's pages, a constant buffer).
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::bindings;
use core::ptr;
use kernel::{iov::IovIterSource, prelude::*};

/// Whether it is memory of a user, that may have to be faulted in.
pub(crate) fn is_user(from: &IovIterSource<'_>) -> bool {
    // SAFETY: The type is a transparent one around a valid `struct iov_iter`; C reads one field.
    unsafe { bindings::user_backed_iter(ptr::from_ref(from).cast()) }
}

/// A C length-or-errno.
pub(super) fn result_len(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}
