// SPDX-License-Identifier: GPL-2.0

//! Work queues of one's own.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A work queue for I/O completion: it has a thread in reserve so that it makes progress when
/// memory is short (`WQ_MEM_RECLAIM`), and its items run on whatever CPU is free.
///
/// Each super block has one. The thread in reserve runs one item at a time, and an item may wait
/// for another super block: where a file system lies in a file of another one, the completion of
/// the upper waits for a commit, which waits for a flush of the file, which waits for the
/// completion of the lower. In one queue that would wait behind the first
/// (Documentation/core-api/workqueue.rst: "separate wq each with `WQ_MEM_RECLAIM`").
///
/// There is no [`Queue`](kernel::workqueue::Queue) to be had of it, which takes delayed work, too:
/// dropping the queue runs what is queued and waits for it, but the timer of a delayed item would
/// fire after that. An item must not own the last reference to what owns its queue: the worker
/// would wait for itself.
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
    /// A queue whose threads show `name` and `id`. `ENOMEM` if there is no memory. Sleeps.
    pub(super) fn new(name: &CStr, id: &CStr) -> Result<Self> {
        let flags = bindings::wq_flags_WQ_MEM_RECLAIM | bindings::wq_flags_WQ_UNBOUND;
        let (format, name, id) = (c"%s/%s".as_char_ptr(), name.as_char_ptr(), id.as_char_ptr());
        // SAFETY: The format takes two strings, which the function copies. 0 is the default limit
        // of concurrent items.
        let wq = unsafe { bindings::alloc_workqueue_noprof(format, flags, 0, name, id) };
        // INVARIANT: Ours since just now.
        NonNull::new(wq).map(Self).ok_or(ENOMEM)
    }

    /// For plain work, never delayed, that is queued before `self` is dropped.
    pub(super) fn as_ptr(&self) -> *mut bindings::workqueue_struct {
        self.0.as_ptr()
    }
}

impl Drop for Workqueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours to destroy. Who has the pointer has seen to it
        // that nothing is queued any more ([`Workqueue::as_ptr`]).
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) }
    }
}
