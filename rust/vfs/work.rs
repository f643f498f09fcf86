// SPDX-License-Identifier: GPL-2.0

//! Work queues of one's own.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::bindings;
use core::{ops::Deref, ptr::NonNull};
use kernel::{
    prelude::*,
    workqueue::Queue, //
};

/// A work queue for I/O completion: it has a thread in reserve so that it makes progress when
/// memory is short (`WQ_MEM_RECLAIM`), and its items run on whatever CPU is free.
///
/// Items are queued through [`Queue`]. Dropping the queue runs what is queued and waits for it. So
/// an item must not own the last reference to what owns its queue: the worker would wait for
/// itself.
///
/// # Invariants
///
/// The pointer is to a work queue that we own.
pub(crate) struct Workqueue(NonNull<bindings::workqueue_struct>);

// SAFETY: The C functions lock as they need.
unsafe impl Send for Workqueue {}
// SAFETY: The C functions lock as they need.
unsafe impl Sync for Workqueue {}

impl Workqueue {
    /// A queue whose threads show `name`. `ENOMEM` if there is no memory. Sleeps.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let flags = bindings::wq_flags_WQ_MEM_RECLAIM | bindings::wq_flags_WQ_UNBOUND;
        // SAFETY: The format takes one string, which the function copies. 0 is the default limit
        // of concurrent items.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        // INVARIANT: Ours since just now.
        NonNull::new(wq).map(Self).ok_or(ENOMEM)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }
}

impl Deref for Workqueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: By the type invariant the queue is valid as long as `self`.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for Workqueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours to destroy; `Queue` references borrow from us.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}
