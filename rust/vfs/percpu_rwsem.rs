// SPDX-License-Identifier: GPL-2.0

//! Read/write semaphores whose readers touch nothing but their own CPU.
//!
//! C header: [`include/linux/percpu-rwsem.h`](srctree/include/linux/percpu-rwsem.h)

use super::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr,
    sync::LockClassKey,
    types::{NotThreadSafe, Opaque}, //
};

/// A `struct percpu_rw_semaphore`. Not for recursion: a reader that takes it again waits for ever
/// if a writer has come in between.
///
/// # Invariants
///
/// `inner` is initialised.
#[pin_data(PinnedDrop)]
pub(crate) struct PercpuRwSem {
    #[pin]
    inner: Opaque<bindings::percpu_rw_semaphore>,
}

// SAFETY: The C functions lock as they need.
unsafe impl Send for PercpuRwSem {}
// SAFETY: The C functions lock as they need.
unsafe impl Sync for PercpuRwSem {}

impl PercpuRwSem {
    /// An unlocked one, to lockdep `name`. `ENOMEM` if its per-CPU part cannot be had. Sleeps.
    pub(crate) fn new(
        name: &'static CStr,
        class: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot| {
                // SAFETY: `slot` is memory for a semaphore, pinned from now on; name and class are
                // static.
                to_result(unsafe {
                    bindings::percpu_init_rwsem(slot, name.as_char_ptr(), class.as_ptr())
                })
            }),
        })
    }

    /// Waits until no writer has it or wants it. Sleeps.
    pub(crate) fn read(&self) -> ReadGuard<'_> {
        // SAFETY: By the type invariant; the guard pairs the call.
        unsafe { bindings::percpu_down_read(self.inner.get()) };
        ReadGuard(self, NotThreadSafe)
    }

    /// Waits until nobody else has it. Sleeps, for a grace period at least.
    pub(crate) fn write(&self) -> WriteGuard<'_> {
        // SAFETY: By the type invariant; the guard pairs the call.
        unsafe { bindings::percpu_down_write(self.inner.get()) };
        WriteGuard(self, NotThreadSafe)
    }
}

#[pinned_drop]
impl PinnedDrop for PercpuRwSem {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant, and nobody else has a reference any more.
        unsafe { bindings::percpu_free_rwsem(self.inner.get()) }
    }
}

/// A [`PercpuRwSem`] held for reading.
#[must_use]
pub(crate) struct ReadGuard<'a>(&'a PercpuRwSem, NotThreadSafe);

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: Taken by `read`, by this task (not `Send`).
        unsafe { bindings::percpu_up_read(self.0.inner.get()) }
    }
}

/// A [`PercpuRwSem`] held for writing.
#[must_use]
pub(crate) struct WriteGuard<'a>(&'a PercpuRwSem, NotThreadSafe);

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: Taken by `write`, by this task (not `Send`).
        unsafe { bindings::percpu_up_write(self.0.inner.get()) }
    }
}
