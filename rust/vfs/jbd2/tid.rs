// SPDX-License-Identifier: GPL-2.0

//! Numbers of transactions.
//!
//! C header: [`include/linux/jbd2.h`](srctree/include/linux/jbd2.h), `tid_t`

use kernel::sync::atomic::AtomicType;

/// The number of a transaction. Numbers go in a circle: there is no order but
/// [`Tid::is_from`], and that holds for two that are less than half a circle apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Tid(u32);

impl Tid {
    /// From a `tid_t`.
    #[inline]
    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The `tid_t`.
    #[inline]
    pub(crate) const fn to_raw(self) -> u32 {
        self.0
    }

    /// Whether this transaction is `other` or a later one: `tid_geq()`.
    #[inline]
    pub(super) const fn is_from(self, other: Tid) -> bool {
        // CAST: The sign of the difference tells which of the two is ahead.
        self.0.wrapping_sub(other.0) as i32 >= 0
    }
}

// SAFETY: Transparent over `u32`, which has the size and alignment of `i32`, and all values of
// either are values of the other.
unsafe impl AtomicType for Tid {
    type Repr = i32;
}
