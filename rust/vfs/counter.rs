// SPDX-License-Identifier: GPL-2.0

//! Counters that are cheap to change on every CPU and only approximately known in between.
//!
//! C header: [`include/linux/percpu_counter.h`](srctree/include/linux/percpu_counter.h)

use super::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// A `struct percpu_counter`.
///
/// # Invariants
///
/// `inner` is initialised.
#[pin_data(PinnedDrop)]
pub(crate) struct PercpuCounter {
    // Linked into a list of all counters for CPU hotplug, hence pinned.
    #[pin]
    inner: Opaque<bindings::percpu_counter>,
}

// SAFETY: The C functions lock as they need.
unsafe impl Send for PercpuCounter {}
// SAFETY: The C functions lock as they need.
unsafe impl Sync for PercpuCounter {}

impl PercpuCounter {
    /// A counter that starts at `amount`. `ENOMEM` if its per-CPU part cannot be had. Sleeps.
    pub(crate) fn new(amount: i64) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot| {
                // INVARIANT: Or there is no counter.
                // SAFETY: `slot` is memory for a counter, pinned from now on.
                to_result(unsafe { bindings::percpu_counter_init(slot, amount) })
            }),
        })
    }

    /// Adds; any context. Exact in sum, not at once visible in [`PercpuCounter::read_positive`].
    pub(crate) fn add(&self, amount: i64) {
        // SAFETY: By the type invariant.
        unsafe { bindings::percpu_counter_add(self.inner.get(), amount) }
    }

    /// Subtracts; any context.
    pub(crate) fn sub(&self, amount: i64) {
        self.add(amount.wrapping_neg());
    }

    /// Sets the counter; nobody may be changing it.
    pub(crate) fn set(&self, amount: i64) {
        // SAFETY: By the type invariant.
        unsafe { bindings::percpu_counter_set(self.inner.get(), amount) }
    }

    /// The sum over all CPUs, exact if nobody changes it meanwhile. Expensive.
    pub(crate) fn sum(&self) -> i64 {
        // SAFETY: By the type invariant.
        unsafe { bindings::percpu_counter_sum(self.inner.get()) }
    }

    /// [`PercpuCounter::sum`], or 0 if that is negative.
    pub(crate) fn sum_positive(&self) -> u64 {
        self.sum().max(0).unsigned_abs()
    }

    /// The value without the parts that CPUs hold back (together at most [`PercpuCounter::slack`]),
    /// or 0 if that is negative. Cheap.
    pub(crate) fn read_positive(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { bindings::percpu_counter_read_positive(self.inner.get()) }.unsigned_abs()
    }

    /// How far [`PercpuCounter::read_positive`] of any counter may be off: the batch, which grows
    /// with the number of CPUs online, on each of them.
    pub(crate) fn slack() -> u64 {
        // SAFETY: Reads two variables of the kernel.
        unsafe { bindings::percpu_counter_slack() }
    }
}

#[pinned_drop]
impl PinnedDrop for PercpuCounter {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant, and nobody else has a reference any more.
        unsafe { bindings::percpu_counter_destroy(self.inner.get()) }
    }
}
