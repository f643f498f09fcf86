// SPDX-License-Identifier: GPL-2.0

//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use super::bindings;

/// A random number, fit for secrets. Any context.
pub(crate) fn random_u32() -> u32 {
    // SAFETY: May be called anywhere.
    unsafe { bindings::random_u32() }
}
