// SPDX-License-Identifier: GPL-2.0

//! The page cache of an inode: invalidate_lock, truncation. What C calls: [`super::address_space`].
//!
//! Lock order (rule 1 of the data path): i_rwsem > mmap_lock > invalidate_lock > folio lock.
//!
//! C headers: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    bindings,
    inode::{Inode, InodeLock},
    super_block::FileSystem, //
};
use core::ops::Range;
use kernel::{error::to_result, prelude::*, types::NotThreadSafe};

/// The inode of a folio and the bytes it covers.
///
/// # Safety
///
/// The folio is locked and in a mapping of an inode of `F`, which the caller keeps for `'a`.
pub(super) unsafe fn folio_place<'a, F: FileSystem>(
    folio: *mut bindings::folio,
) -> (&'a Inode<F>, Range<u64>) {
    // SAFETY: By the caller.
    unsafe {
        let start = bindings::folio_pos(folio) as u64;
        let len = bindings::folio_size(folio) as u64;
        let inode = Inode::from_raw(bindings::folio_inode(folio));
        (inode, start..start + len)
    }
}

/// invalidate_lock held exclusive: no page can be added to the cache, faulted in or made
/// writable.
///
/// # Invariants
///
/// invalidate_lock of the mapping of the inode is held exclusive, by this task.
#[must_use]
pub(crate) struct InvalidateLock<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

impl<F: FileSystem> InvalidateLock<'_, F> {
    /// Drops the page cache of the range, dirty or not; parts of pages at the edges are zeroed in
    /// memory. Mappings of the pages go first. None comes back meanwhile.
    pub(crate) fn drop_pagecache(&self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let last = (range.end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: By the type invariant, as the C function asks.
        unsafe { bindings::truncate_pagecache_range(self.0.as_ptr(), range.start as i64, last) }
    }

    /// Whether it is the lock of `inode`.
    pub(super) fn is_of(&self, inode: &Inode<F>) -> bool {
        core::ptr::eq(self.0, inode)
    }
}

impl<F: FileSystem> InvalidateLockShared<'_, F> {
    /// Whether it is the lock of `inode`.
    pub(super) fn is_of(&self, inode: &Inode<F>) -> bool {
        core::ptr::eq(self.0, inode)
    }
}

impl<F: FileSystem> Drop for InvalidateLock<'_, F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::invalidate_unlock(self.0.mapping()) }
    }
}

/// invalidate_lock held shared: blocks below the cache stay where they are.
///
/// # Invariants
///
/// invalidate_lock of the mapping of the inode is held shared, by this task.
#[must_use]
pub(crate) struct InvalidateLockShared<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

impl<F: FileSystem> Drop for InvalidateLockShared<'_, F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::invalidate_unlock_shared(self.0.mapping()) }
    }
}

impl<F: FileSystem> InodeLock<'_, F> {
    /// Sets i_size and drops the page cache beyond it.
    pub(crate) fn truncate_setsize(&self, size: u64, pages: &InvalidateLock<'_, F>) {
        if kernel::warn_on!(!pages.is_of(self.inode())) {
            return;
        }
        // SAFETY: By the invariants of the guards, which are of one inode, as the C function asks.
        unsafe { bindings::truncate_setsize(self.inode().as_ptr(), size as i64) }
    }
}

impl<F: FileSystem> Inode<F> {
    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: By the type invariant of `Inode`; `i_mapping` is set at allocation.
        unsafe { (*self.as_ptr()).i_mapping }
    }

    /// Takes invalidate_lock exclusive.
    pub(crate) fn invalidate_lock(&self) -> InvalidateLock<'_, F> {
        // SAFETY: The mapping is that of a valid inode; the guard unlocks.
        unsafe { bindings::invalidate_lock(self.mapping()) };
        InvalidateLock(self, NotThreadSafe)
    }

    /// Takes invalidate_lock shared.
    pub(crate) fn invalidate_lock_shared(&self) -> InvalidateLockShared<'_, F> {
        // SAFETY: The mapping is that of a valid inode; the guard unlocks.
        unsafe { bindings::invalidate_lock_shared(self.mapping()) };
        InvalidateLockShared(self, NotThreadSafe)
    }

    /// Writes the byte range `[start, end)` of the page cache and waits for it. Not inside a
    /// handle: writeback starts transactions and completion needs them.
    pub(crate) fn write_and_wait(&self, start: u64, end: u64) -> Result {
        if end <= start {
            return Ok(());
        }
        let last = (end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: The mapping is that of a valid inode.
        to_result(unsafe {
            bindings::filemap_write_and_wait_range(self.mapping(), start as i64, last)
        })
    }

    /// Begins to write what is dirty in the page cache, and waits for nothing. Errors are in the
    /// mapping, for fsync.
    pub(crate) fn start_writeback(&self) {
        // SAFETY: The mapping is that of a valid inode.
        let _ = unsafe { bindings::filemap_flush(self.mapping()) };
    }

    /// Waits for writeback of the bytes `[start, end)`. Errors stay for who asks next.
    pub(crate) fn wait_writeback(&self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let last = (end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: The mapping is that of a valid inode.
        let _ = unsafe {
            bindings::filemap_fdatawait_range_keep_errors(self.mapping(), start as i64, last)
        };
    }

    /// The file grows from `from` to `to` bytes: a mapped page at the old end must fault again,
    /// so that `page_mkwrite` sees the new blocks.
    pub(crate) fn isize_extended(&self, from: u64, to: u64) {
        // SAFETY: By the type invariant of `Inode`.
        unsafe { bindings::pagecache_isize_extended(self.as_ptr(), from as i64, to as i64) }
    }

    /// Drops clean pages of the bytes `[start, end)`; `EBUSY` if one could not be dropped.
    pub(crate) fn invalidate_pagecache(&self, start: u64, end: u64) -> Result {
        if start >= end {
            return Ok(());
        }
        let shift = kernel::page::PAGE_SHIFT;
        // SAFETY: The mapping is that of a valid inode.
        to_result(unsafe {
            bindings::invalidate_inode_pages2_range(
                self.mapping(),
                (start >> shift) as usize,
                ((end - 1) >> shift) as usize,
            )
        })
    }
}
