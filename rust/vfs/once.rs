// SPDX-License-Identifier: GPL-2.0

//! A value that is set at most once and then looked at often.
//!
//! `kernel::sync::SetOnce` is the same, with two calls into C for each look ([`super::atomic`]).

use super::atomic::Atomic;
use core::{cell::UnsafeCell, mem::MaybeUninit};
use kernel::sync::atomic::ordering::{Acquire, Relaxed, Release};

const EMPTY: u32 = 0;
/// Somebody is setting it.
const BEING_SET: u32 = 1;
const SET: u32 = 2;

/// See the module.
///
/// # Invariants
///
/// The state only goes up. In [`BEING_SET`] one thread has the value, which found it [`EMPTY`]; in
/// [`SET`] the value is initialised, and stays as it is.
pub(crate) struct SetOnce<T> {
    state: Atomic<u32>,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: It is its value.
unsafe impl<T: Send> Send for SetOnce<T> {}
// SAFETY: Who shares it shares the value, and may drop what another thread has set.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// Not set.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Empty.
        Self {
            state: Atomic::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if it is set. Any context.
    #[inline(always)]
    pub(crate) fn as_ref(&self) -> Option<&T> {
        if self.state.load(Acquire) != SET {
            return None;
        }
        // SAFETY: By the type invariant initialised, and nobody changes it.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Sets it. False if somebody has done that, or is about to.
    pub(crate) fn populate(&self, value: T) -> bool {
        if self.state.cmpxchg(EMPTY, BEING_SET, Relaxed).is_err() {
            return false;
        }
        // SAFETY: By the type invariant the value is ours.
        unsafe { (*self.value.get()).write(value) };
        // INVARIANT: It is initialised, which is seen by who sees the state.
        self.state.store(SET, Release);
        true
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if self.state.load(Relaxed) == SET {
            // SAFETY: By the type invariant initialised; nobody else has it.
            unsafe { self.value.get_mut().assume_init_drop() }
        }
    }
}
