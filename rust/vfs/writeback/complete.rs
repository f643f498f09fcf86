// SPDX-License-Identifier: GPL-2.0

//! Writeback that is done: the completion in process context, by a worker or by who waits for it.
//!
//! C header: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

use super::Writeback;
use crate::vfs::{
    atomic::Atomic,
    bindings,
    current_task,
    inode::{self, Inode},
    nofs::NoFs,
    super_block::{FileSystem, SuperBlock}, //
};
use core::ptr;
use kernel::{error::to_result, prelude::*, sync::atomic::ordering};

/// The queue of finished I/Os of one inode that wait for their completion.
///
/// Some devices are memory: they are done when they have been given the I/O. Who waits for it
/// (fsync) would wait for a worker, which needs no more than he has, and be woken by that: two
/// switches of tasks, as many instructions as all else that is done for one block. So he completes
/// it himself.
pub(in crate::vfs) struct Completions {
    lock: bindings::spinlock_t,
    /// For the worker, which is queued as long as there are some.
    list: bindings::list_head,
    /// For the submitter. Not empty only while there is one that takes them when it is through.
    done: bindings::list_head,
    work: bindings::work_struct,
    queue: *mut bindings::workqueue_struct,
    /// The task that submits an I/O just now, for who is called by it; or 0. Of several, one.
    submitter: Atomic<usize>,
}

impl Completions {
    /// Of an inode that is a regular file.
    fn of<F: FileSystem>(inode: &Inode<F>) -> *mut Self {
        // SAFETY: By the type invariant of `Inode`.
        unsafe { (&raw mut (*inode::with_info::<F>(inode.as_ptr())).completions).cast() }
    }

    /// # Safety
    ///
    /// `this` is valid for writes and does not move; `queue` outlives it.
    pub(in crate::vfs) unsafe fn init<W: Writeback>(
        this: *mut Self,
        queue: *mut bindings::workqueue_struct,
    ) {
        // SAFETY: By the caller.
        unsafe {
            bindings::ioend_queue_init(
                &raw mut (*this).lock,
                &raw mut (*this).list,
                &raw mut (*this).done,
                &raw mut (*this).work,
                Some(complete_work::<W>),
            );
            (&raw mut (*this).queue).write(queue);
            (&raw mut (*this).submitter).write(Atomic::new(0));
        }
    }
}

/// A bio is done. Interrupt context: hands the ioend to the worker; or to the task that is in here
/// because it submits an I/O of the inode just now.
///
/// # Safety
///
/// `bio` is the last member of an ioend of `W` that is done, and counted as in flight. Called
/// once.
pub(in crate::vfs) unsafe extern "C" fn end_bio<W: Writeback>(bio: *mut bindings::bio) {
    // SAFETY: The bio is the last member of an ioend of ours. The inode lives at least until
    // `iomap_finish_ioends` ends the writeback of its folios. Lists and work are as
    // `Completions::init` made them; the function takes their lock.
    unsafe {
        let ioend = kernel::container_of!(bio, bindings::iomap_ioend, io_bio);
        let queue = Completions::of(Inode::<W::Fs>::from_raw((*ioend).io_inode));
        let (lock, item) = (&raw mut (*queue).lock, &raw mut (*ioend).io_list);
        // What the field says of another task may be old. Of this one it is true.
        if (*queue).submitter.load(ordering::Relaxed) == current_task() && bindings::in_task() {
            bindings::ioend_list_add(lock, &raw mut (*queue).done, item);
            return;
        }
        let (list, work) = (&raw mut (*queue).list, &raw mut (*queue).work);
        bindings::ioend_queue_add(lock, list, item, (*queue).queue, work);
    }
}

/// Runs `submit`, which submits an I/O of `W`, and then completes what was done at once. Such I/Os
/// never wait for another thread, so nobody waits for them who must not wait for this one.
///
/// # Safety
///
/// The inode is a regular file of `W`.
pub(super) unsafe fn submit<W: Writeback>(
    inode: &Inode<W::Fs>,
    submit: impl FnOnce() -> c_int,
) -> c_int {
    let queue = Completions::of(inode);
    // SAFETY: By the caller; the inode is kept.
    let submitter = unsafe { &(*queue).submitter };
    submitter.store(current_task(), ordering::Relaxed);
    let submitted = submit();
    // If another task is it by now, its I/O may go to the worker.
    submitter.store(0, ordering::Relaxed);
    let mut list = bindings::list_head {
        next: ptr::null_mut(),
        prev: ptr::null_mut(),
    };
    // SAFETY: By the caller; as `Completions::init` made it. The list is ours then.
    unsafe {
        bindings::ioend_queue_take(&raw mut (*queue).lock, &raw mut (*queue).done, &mut list);
        if !ptr::eq(list.next, &list) {
            let _nofs = NoFs::enter();
            complete_all::<W>(&mut list);
        }
    }
    submitted
}

/// # Safety
///
/// `work` is that of a [`Completions`] that was made for `W`.
unsafe extern "C" fn complete_work<W: Writeback>(work: *mut bindings::work_struct) {
    let _nofs = NoFs::enter();
    let mut list = bindings::list_head {
        next: ptr::null_mut(),
        prev: ptr::null_mut(),
    };
    // SAFETY: The work is embedded in a `Completions`, whose inode lives while an ioend in its
    // list is unfinished. After the list is taken it is not touched again: finishing the last
    // ioend may let the inode go.
    unsafe {
        let queue = kernel::container_of!(work, Completions, work);
        bindings::ioend_queue_take(&raw mut (*queue).lock, &raw mut (*queue).list, &mut list);
    }
    // SAFETY: The list is ours now, and initialised.
    unsafe { complete_all::<W>(&mut list) };
}

/// Completes and finishes I/Os. Task context, NOFS.
///
/// # Safety
///
/// `list` is of ioends of one inode that were ended by [`end_bio`] of `W`, and nobody else's.
unsafe fn complete_all<W: Writeback>(list: &mut bindings::list_head) {
    // SAFETY: By the caller.
    unsafe { bindings::iomap_sort_ioends(list) };
    loop {
        // SAFETY: As above. What comes off it is ours to finish, or null.
        let ioend = unsafe { bindings::ioend_pop(list) };
        if ioend.is_null() {
            break;
        }
        // SAFETY: Both are ours. Those that are merged hang on `ioend` and end with it.
        unsafe { bindings::iomap_ioend_try_merge(ioend, list) };
        // SAFETY: The ioend is ours until it is finished, and keeps its inode and super block. The
        // counter lies beside the queue that runs us, which is destroyed first.
        let (in_flight, ended) = unsafe {
            let sb = SuperBlock::<W::Fs>::from_raw((*(*ioend).io_inode).i_sb);
            (sb.in_flight(), bindings::ioend_count(ioend))
        };
        // SAFETY: The ioend is ours until it is finished.
        let error = unsafe { complete::<W>(ioend) };
        // SAFETY: Finished once, here.
        unsafe { bindings::iomap_finish_ioends(ioend, error) };
        in_flight.fetch_sub(ended as u64, ordering::Release);
        // SAFETY: The caller may sleep.
        unsafe { bindings::cond_resched() };
    }
}

/// The file system's part of the end of an ioend. Returns the error to finish it with, or 0.
///
/// # Safety
///
/// `ioend` is of an inode of `W::Fs` and not finished, which keeps the inode.
unsafe fn complete<W: Writeback>(ioend: *mut bindings::iomap_ioend) -> c_int {
    // SAFETY: By the caller; nobody changes these fields any more.
    let (error, inode, flags, start, len) = unsafe {
        (
            bindings::ioend_error(ioend),
            Inode::<W::Fs>::from_raw((*ioend).io_inode),
            u32::from((*ioend).io_flags),
            (*ioend).io_offset as u64,
            (*ioend).io_size as u64,
        )
    };
    // SAFETY: By the caller.
    if unsafe { bindings::ioend_is_read(ioend) } {
        return error;
    }
    let unwritten = flags & bindings::IOMAP_IOEND_UNWRITTEN != 0;
    let bytes = start..start + len;
    // What is encrypted comes here in any case.
    if matches!(inode.encrypts_data(), Ok(true))
        && !W::needs_completion(inode, unwritten, bytes.end)
    {
        return error;
    }
    let result = to_result(error).and_then(|()| W::complete(inode, bytes.clone(), unwritten));
    match result {
        Ok(()) => 0,
        Err(e) => {
            W::failed(inode, bytes);
            e.to_errno()
        }
    }
}
