// SPDX-License-Identifier: GPL-2.0

//! Allocations that wait for memory as long as it takes.
//!
//! C headers: [`include/linux/gfp_types.h`](srctree/include/linux/gfp_types.h),
//! [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use super::bindings;
use core::mem::{size_of, transmute};
use kernel::{alloc::Flags, page::PAGE_SIZE, prelude::*};

/// For what cannot be given up any more: data that was accepted, the second half of a change. The
/// allocation does not fail and may take long. [`MAX_NOFAIL`] bytes at most; where one may sleep,
/// and with no lock that whoever frees memory needs ([`super::nofs`]).
///
/// The functions that take flags return a `Result` all the same, whose error never comes.
///
/// [`Flags`] has no value for it, and its operators are no `const` functions.
pub(crate) const GFP_NOFAIL: Flags = {
    assert!(size_of::<Flags>() == size_of::<u32>());
    // SAFETY: `Flags` is a struct with one field, a `u32` of any value, and as large as that.
    unsafe { transmute::<u32, Flags>(bindings::GFP_NOFAIL) }
};

/// Two pages: more in one piece is "not supported" (gfp_types.h).
pub(crate) const MAX_NOFAIL: usize = 2 * PAGE_SIZE;

/// Calls `attempt` until it does not fail with `ENOMEM`, where the C function that allocates has no
/// flags. Waits a moment in between (`memalloc_retry_wait()`). As [`GFP_NOFAIL`].
pub(crate) fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match attempt() {
            Err(e) if e == ENOMEM => {
                // SAFETY: The caller may sleep.
                unsafe { bindings::memalloc_retry_wait() }
            }
            result => return result,
        }
    }
}
