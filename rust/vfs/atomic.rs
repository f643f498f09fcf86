// SPDX-License-Identifier: GPL-2.0

//! Numbers that several threads look at and change at once.
//!
//! The kernel crate's atomics are C functions, each load and each store a call, which also makes
//! the compiler forget what it has in registers. Loads and stores are nearly all that a data path
//! does with them, so here they are what READ_ONCE(), WRITE_ONCE(), smp_load_acquire() and
//! smp_store_release() compile to. All else is the kernel crate's, by `Deref`.
//!
//! C headers: [`include/asm-generic/rwonce.h`](srctree/include/asm-generic/rwonce.h),
//! [`include/asm-generic/barrier.h`](srctree/include/asm-generic/barrier.h)

use core::ops::Deref;
use kernel::sync::{
    atomic::{
        ordering::{AcquireOrRelaxed, OrderingType, ReleaseOrRelaxed},
        AtomicType, //
    },
    barrier::{smp_mb, Full},
};

/// As the kernel crate's, which it leads to.
#[repr(transparent)]
pub(crate) struct Atomic<T: AtomicType>(kernel::sync::atomic::Atomic<T>);

impl<T: AtomicType> Atomic<T> {
    /// A new one.
    pub(crate) const fn new(value: T) -> Self {
        Self(kernel::sync::atomic::Atomic::new(value))
    }

    /// One that C has, of a type that it reads and writes at once.
    ///
    /// # Safety
    ///
    /// `ptr` is valid and aligned for `'a`, and all who change the number meanwhile do it
    /// atomically.
    pub(super) unsafe fn from_ptr<'a>(ptr: *const T) -> &'a Self {
        // SAFETY: By the caller; the types are transparent.
        unsafe { &*ptr.cast() }
    }

    /// The value.
    #[inline(always)]
    pub(crate) fn load<O: AcquireOrRelaxed>(&self, _: O) -> T {
        // SAFETY: Valid and aligned; volatile, as READ_ONCE() is, of a type that the machine reads
        // at once.
        let value = unsafe { self.0.as_ptr().read_volatile() };
        if matches!(O::TYPE, OrderingType::Acquire) {
            ordered();
        }
        value
    }

    /// Changes the value.
    #[inline(always)]
    pub(crate) fn store<O: ReleaseOrRelaxed>(&self, value: T, _: O) {
        if matches!(O::TYPE, OrderingType::Release) {
            ordered();
        }
        // SAFETY: Valid and aligned; volatile, as WRITE_ONCE() is, of a type that the machine
        // writes at once. What can race with it is atomic by the type.
        unsafe { self.0.as_ptr().write_volatile(value) }
    }
}

impl<T: AtomicType> Deref for Atomic<T> {
    type Target = kernel::sync::atomic::Atomic<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Loads before it come before loads and stores behind it, and stores before it before stores
/// behind it: smp_rmb() and smp_wmb() in one, what makes a load an acquire or a store a release.
#[inline(always)]
pub(crate) fn ordered() {
    if cfg!(target_arch = "x86_64") {
        // The machine keeps that order; the compiler is to keep it, too (barrier()).
        // SAFETY: No instruction. The compiler has to take it for one that may touch all memory.
        unsafe { core::arch::asm!("", options(nostack, preserves_flags)) }
    } else {
        // As asm-generic does where nothing better is known.
        smp_mb(Full);
    }
}

/// smp_mb(): stores before it are seen before loads behind it are made, too.
#[inline(always)]
pub(crate) fn full_barrier() {
    if cfg!(target_arch = "x86_64") {
        // SAFETY: Adds nothing to a number on the stack that nobody has to look at, as C's does:
        // the lock is the barrier. The compiler has to take it for one that may touch all memory.
        unsafe { core::arch::asm!("lock add dword ptr [rsp - 4], 0", options(nostack)) };
    } else {
        smp_mb(Full);
    }
}
