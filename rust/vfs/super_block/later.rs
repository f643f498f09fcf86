// SPDX-License-Identifier: GPL-2.0

//! Work of a super block that cannot be done where it comes up.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::{FileSystem, Part, SuperBlock};
use crate::vfs::atomic::Atomic;
use crate::vfs::bindings;
use core::{cell::UnsafeCell, marker::PhantomPinned, mem::MaybeUninit, ptr};
use kernel::{
    prelude::*,
    sync::atomic::ordering, //
};

const UNARMED: u32 = 0;
const ARMED: u32 = 1;

/// Has a function called in a task of its own, which holds no lock and no handle; it may sleep, and
/// take its time. Part of the file system's data; works from the second half of mount on until the
/// end of it, or of a failed one.
///
/// # Invariants
///
/// If `state` is [`ARMED`], `work` is initialised and `sb` a super block that lives until the work
/// has been disabled.
#[pin_data]
pub(crate) struct Later<F: FileSystem> {
    run: fn(&SuperBlock<F>),
    state: Atomic<u32>,
    work: UnsafeCell<MaybeUninit<bindings::work_struct>>,
    sb: UnsafeCell<*mut bindings::super_block>,
    // The work is linked into a queue.
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The C functions lock as they need; the other fields change only in `attach`.
unsafe impl<F: FileSystem> Send for Later<F> {}
// SAFETY: As above.
unsafe impl<F: FileSystem> Sync for Later<F> {}

impl<F: FileSystem> Later<F> {
    /// One that does nothing yet.
    pub(crate) fn new(run: fn(&SuperBlock<F>)) -> impl PinInit<Self> {
        pin_init!(Self {
            run,
            state: Atomic::new(UNARMED),
            work: UnsafeCell::new(MaybeUninit::zeroed()),
            sb: UnsafeCell::new(ptr::null_mut()),
            _pin: PhantomPinned,
        })
    }

    fn work(&self) -> *mut bindings::work_struct {
        self.work.get().cast()
    }

    /// Asks for a call soon. More than one before it comes are one. Any context.
    pub(crate) fn schedule(&self) {
        if self.state.load(ordering::Acquire) == ARMED {
            // SAFETY: By the type invariant. A work that is disabled is not queued.
            unsafe { bindings::queue_unbound(self.work()) };
        }
    }
}

impl<F: FileSystem> Part<F> for Later<F> {
    unsafe fn attach(&self, sb: &SuperBlock<F>) {
        // SAFETY: By the caller nobody looks at the fields yet.
        unsafe {
            *self.sb.get() = sb.as_ptr();
            bindings::init_work(self.work(), Some(run::<F>));
        }
        // INVARIANT: As it says.
        self.state.store(ARMED, ordering::Release);
    }

    /// Waits for a call that runs; there are none after the return.
    unsafe fn quiesce(&self) {
        if self.state.load(ordering::Acquire) == ARMED {
            // SAFETY: By the type invariant. Disabled for good: it cannot be queued again.
            unsafe { bindings::disable_work_sync(self.work()) };
        }
    }
}

/// # Safety
///
/// `work` is that of a [`Later`] of `F` that is armed.
unsafe extern "C" fn run<F: FileSystem>(work: *mut bindings::work_struct) {
    // SAFETY: The work is that of a `Later` that is armed; the super block outlives the call.
    let (this, sb) = unsafe {
        let cell: *mut UnsafeCell<MaybeUninit<bindings::work_struct>> = work.cast();
        let this = &*kernel::container_of!(cell, Later<F>, work);
        (this, SuperBlock::<F>::from_raw(*this.sb.get()))
    };
    (this.run)(sb);
}
