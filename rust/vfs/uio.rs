// SPDX-License-Identifier: GPL-2.0

//! The memory of a request: the iterators of [`kernel::iov`], and what they lack here. They have a
//! type for each direction, which C only warns about: a read must not store to what a write may
//! only take from (a pipe's pages, a constant buffer).
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::bindings;
use kernel::{iov::IovIterSource, prelude::*};

/// A source that is memory of a user: it may have to be faulted in, and C pins its pages where it
/// takes them out (`iov_iter_extract_will_pin()`). Pages of others it does not pin, and nobody may
/// let go of them.
///
/// # Invariants
///
/// The iterator is `user_backed_iter()`.
pub(crate) struct UserSource<'i, 'd>(&'i mut IovIterSource<'d>);

impl<'i, 'd> UserSource<'i, 'd> {
    /// `None` if it is other memory.
    pub(crate) fn new(from: &'i mut IovIterSource<'d>) -> Option<Self> {
        // SAFETY: The iterator is valid; C reads one field, which nobody changes.
        let is_user = unsafe { bindings::user_backed_iter(from.as_raw()) };
        // INVARIANT: As was just asked.
        is_user.then_some(Self(from))
    }

    /// It may move, and stays user memory.
    pub(super) fn get(&mut self) -> &mut IovIterSource<'d> {
        self.0
    }

    pub(super) fn into_inner(self) -> &'i mut IovIterSource<'d> {
        self.0
    }
}

/// Has a source end after so many bytes, if it is longer. Returns how many there are.
pub(crate) fn shorten(from: &mut IovIterSource<'_>, most: u64) -> usize {
    // SAFETY: The iterator is valid, and this task's. Its count may always become smaller.
    unsafe { bindings::iov_iter_truncate(from.as_raw(), most) };
    from.len()
}

/// A C length-or-errno.
pub(super) fn result_len(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}
