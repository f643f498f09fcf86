// SPDX-License-Identifier: GPL-2.0

//! The page cache of an inode: address space operations, invalidate_lock, truncation.
//!
//! Lock order (rule 1 of the data path): i_rwsem > mmap_lock > invalidate_lock > folio lock.
//!
//! C headers: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    bindings,
    inode::{Inode, InodeLock, LocksInode},
    iomap::{self, MapOps},
    super_block::FileSystem,
    writeback::{self, Writeback}, //
};
use core::{marker::PhantomData, mem, ops::Range};
use kernel::{error::to_result, prelude::*, types::NotThreadSafe};

/// How the page cache of regular files (and of long symbolic links) is filled and written.
pub(crate) trait AddressSpaceOps: FileSystem + Writeback {
    /// Mappings for reading, also used by `bmap`.
    type ReadOps: MapOps<Self>;

    /// The largest folios of a regular file, as the order of their number of pages. `pmd`: of those
    /// that khugepaged makes of smaller ones, where it may.
    fn max_folio_order(pmd: u32) -> u32;

    /// Whether a folio, inserted into the page cache at these bytes and locked, may be filled.
    fn may_fill(inode: &Inode<Self>, range: Range<u64>) -> bool;
    /// Waits until the bytes may be filled; `EINTR` when killed. No folio is locked.
    fn wait_to_fill(inode: &Inode<Self>, range: Range<u64>) -> Result;

    /// Whether the folio of these bytes, which is locked, may let go of its state. May sleep.
    #[cfg(REXT4_LAB)]
    fn may_release(inode: &Inode<Self>, range: Range<u64>) -> bool;
}

pub(super) struct AddressSpaceTable<F>(PhantomData<F>);

impl<F: AddressSpaceOps> AddressSpaceTable<F> {
    pub(super) const TABLE: bindings::address_space_operations =
        bindings::address_space_operations {
            read_folio: Some(Self::read_folio),
            readahead: Some(Self::readahead),
            writepages: Some(writeback::writepages_callback::<F>),
            dirty_folio: Some(bindings::iomap_dirty_folio),
            bmap: Some(Self::bmap),
            invalidate_folio: Some(bindings::iomap_invalidate_folio),
            #[cfg(not(REXT4_LAB))]
            release_folio: Some(bindings::iomap_release_folio),
            #[cfg(REXT4_LAB)]
            release_folio: Some(Self::release_folio),
            migrate_folio: Some(bindings::filemap_migrate_folio),
            is_partially_uptodate: Some(bindings::iomap_is_partially_uptodate),
            error_remove_folio: Some(Self::error_remove_folio),
            // SAFETY: All other members are nullable pointers.
            ..unsafe { mem::zeroed() }
        };

    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: The VFS passes a locked folio of a mapping of ours.
        let (inode, range) = unsafe { folio_place::<F>(folio) };
        if F::may_fill(inode, range.clone()) {
            // SAFETY: As above; iomap unlocks it.
            unsafe {
                bindings::rext4_helper_iomap_bio_read_folio(folio, iomap::table::<F, F::ReadOps>())
            };
            return 0;
        }
        // SAFETY: We own its lock. The caller keeps the folio, and by its file or the mapping's
        // lock the inode.
        unsafe { bindings::folio_unlock(folio) };
        match F::wait_to_fill(inode, range) {
            // The caller looks the folio up again.
            Ok(()) => bindings::positive_aop_returns_AOP_TRUNCATED_PAGE as c_int,
            Err(e) => e.to_errno(),
        }
    }

    #[cfg(REXT4_LAB)]
    unsafe extern "C" fn release_folio(folio: *mut bindings::folio, gfp: bindings::gfp_t) -> bool {
        // SAFETY: The VFS passes a locked folio of a mapping of ours, which keeps the inode.
        unsafe {
            let (inode, range) = folio_place::<F>(folio);
            F::may_release(inode, range) && bindings::iomap_release_folio(folio, gfp)
        }
    }

    /// The memory of a folio has failed: it goes, dirty or not, and with it what is reserved for its
    /// data. Before, while the folio is locked and in its place: who wants to dirty it has to wait,
    /// and finds that his mapping is stale.
    unsafe extern "C" fn error_remove_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: memory_failure() passes a locked folio and the mapping it is in, which keeps the
        // inode.
        unsafe {
            if !mapping.is_null() && (*folio).__bindgen_anon_1.__bindgen_anon_1.mapping == mapping {
                let (inode, range) = folio_place::<F>(folio);
                F::discard(inode, range.start, range.end);
            }
            bindings::generic_error_remove_folio(mapping, folio)
        }
    }

    unsafe extern "C" fn readahead(rac: *mut bindings::readahead_control) {
        // SAFETY: The VFS passes a valid control over a mapping of ours.
        let (inode, start, len) = unsafe {
            (
                Inode::<F>::from_raw(bindings::rext4_helper_readahead_inode(rac)),
                bindings::rext4_helper_readahead_pos(rac) as u64,
                bindings::rext4_helper_readahead_length(rac) as u64,
            )
        };
        if !F::may_fill(inode, start..start + len) {
            // The VFS takes out what we did not take.
            return;
        }
        // SAFETY: As above.
        unsafe { bindings::rext4_helper_iomap_bio_readahead(rac, iomap::table::<F, F::ReadOps>()) }
    }

    unsafe extern "C" fn bmap(
        mapping: *mut bindings::address_space,
        block: bindings::sector_t,
    ) -> bindings::sector_t {
        // SAFETY: The VFS passes a mapping of ours.
        unsafe { bindings::iomap_bmap(mapping, block, iomap::table::<F, F::ReadOps>()) }
    }
}

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
        let start = bindings::rext4_helper_folio_pos(folio) as u64;
        let len = bindings::rext4_helper_folio_size(folio) as u64;
        let inode = Inode::from_raw(bindings::rext4_helper_folio_inode(folio));
        (inode, start..start + len)
    }
}

/// invalidate_lock held exclusive: no page can be added to the cache, faulted in or made
/// writable.
#[must_use]
pub(crate) struct InvalidateLock<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

impl<F: FileSystem> InvalidateLock<'_, F> {
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
        // SAFETY: The guard owns the lock.
        unsafe { bindings::rext4_helper_invalidate_unlock(self.0.mapping()) }
    }
}

/// invalidate_lock held shared: blocks below the cache stay where they are.
#[must_use]
pub(crate) struct InvalidateLockShared<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

impl<F: FileSystem> Drop for InvalidateLockShared<'_, F> {
    fn drop(&mut self) {
        // SAFETY: The guard owns the lock.
        unsafe { bindings::rext4_helper_invalidate_unlock_shared(self.0.mapping()) }
    }
}

impl<F: FileSystem> Inode<F> {
    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: The inode is valid; `i_mapping` is set at allocation.
        unsafe { (*self.as_ptr()).i_mapping }
    }

    /// Takes invalidate_lock exclusive.
    pub(crate) fn invalidate_lock(&self) -> InvalidateLock<'_, F> {
        // SAFETY: The mapping is valid; the guard unlocks.
        unsafe { bindings::rext4_helper_invalidate_lock(self.mapping()) };
        InvalidateLock(self, NotThreadSafe)
    }

    /// Takes invalidate_lock shared.
    pub(crate) fn invalidate_lock_shared(&self) -> InvalidateLockShared<'_, F> {
        // SAFETY: The mapping is valid; the guard unlocks.
        unsafe { bindings::rext4_helper_invalidate_lock_shared(self.mapping()) };
        InvalidateLockShared(self, NotThreadSafe)
    }

    /// Writes the byte range `[start, end)` of the page cache and waits for it. Not inside a
    /// handle: writeback starts transactions and completion needs them.
    pub(crate) fn write_and_wait(&self, start: u64, end: u64) -> Result {
        if end <= start {
            return Ok(());
        }
        let last = (end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: The mapping is valid.
        to_result(unsafe {
            bindings::filemap_write_and_wait_range(self.mapping(), start as i64, last)
        })
    }

    /// Begins to write what is dirty in the page cache, and waits for nothing. Errors are in the
    /// mapping, for fsync.
    pub(crate) fn start_writeback(&self) {
        // SAFETY: The mapping is valid.
        let _ = unsafe { bindings::filemap_flush(self.mapping()) };
    }

    /// Waits for writeback of the bytes `[start, end)`. Errors stay for who asks next.
    pub(crate) fn wait_writeback(&self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let last = (end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: The mapping is valid.
        let _ = unsafe {
            bindings::filemap_fdatawait_range_keep_errors(self.mapping(), start as i64, last)
        };
    }

    /// Drops the page cache of the bytes `[start, end)`, dirty or not; parts of pages at the
    /// edges are zeroed in memory. Mappings of the pages go first.
    pub(crate) fn drop_pagecache(&self, start: u64, end: u64, lock: &InvalidateLock<'_, F>) {
        if start >= end || kernel::warn_on!(!lock.is_of(self)) {
            return;
        }
        let last = (end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: The inode is valid; its lock is held, so that no page comes back meanwhile.
        unsafe { bindings::truncate_pagecache_range(self.as_ptr(), start as i64, last) }
    }

    /// Sets i_size and drops the page cache beyond it.
    pub(crate) fn truncate_setsize(
        &self,
        size: u64,
        inode: &InodeLock<'_, F>,
        pages: &InvalidateLock<'_, F>,
    ) {
        if kernel::warn_on!(inode.check(self).is_err() || !pages.is_of(self)) {
            return;
        }
        // SAFETY: The inode is valid and both of its locks are held, as the C function asks.
        unsafe { bindings::truncate_setsize(self.as_ptr(), size as i64) }
    }

    /// The file grows from `from` to `to` bytes: a mapped page at the old end must fault again,
    /// so that `page_mkwrite` sees the new blocks.
    pub(crate) fn isize_extended(&self, from: u64, to: u64) {
        // SAFETY: The inode is valid.
        unsafe { bindings::pagecache_isize_extended(self.as_ptr(), from as i64, to as i64) }
    }

    /// Drops clean pages of the bytes `[start, end)`; `EBUSY` if one could not be dropped.
    pub(crate) fn invalidate_pagecache(&self, start: u64, end: u64) -> Result {
        if start >= end {
            return Ok(());
        }
        let shift = kernel::page::PAGE_SHIFT;
        // SAFETY: The mapping is valid.
        to_result(unsafe {
            bindings::invalidate_inode_pages2_range(
                self.mapping(),
                (start >> shift) as usize,
                ((end - 1) >> shift) as usize,
            )
        })
    }
}
