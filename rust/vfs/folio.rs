// SPDX-License-Identifier: GPL-2.0

//! Folios of the page cache, locked.
//!
//! C headers: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h),
//! [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{bindings, inode::Inode, super_block::FileSystem};
use core::{marker::PhantomData, mem::ManuallyDrop, ops::Range, ptr::NonNull};

/// A folio that somebody has locked for us, in the mapping of an inode.
///
/// # Invariants
///
/// The folio is valid and locked for `'a`, and in a mapping.
pub(crate) struct Folio<'a>(NonNull<bindings::folio>, PhantomData<&'a ()>);

impl Folio<'_> {
    /// # Safety
    ///
    /// The folio is valid and locked for as long as the result is used, and in a mapping.
    pub(super) unsafe fn from_raw(folio: *mut bindings::folio) -> Self {
        // INVARIANT: By the caller.
        // SAFETY: By the caller not null.
        Self(unsafe { NonNull::new_unchecked(folio) }, PhantomData)
    }

    /// The bytes of the file that it covers.
    pub(crate) fn range(&self) -> Range<u64> {
        // SAFETY: By the type invariant, which keeps its place and its size.
        unsafe {
            let start = bindings::folio_pos(self.0.as_ptr()) as u64;
            start..start + bindings::folio_size(self.0.as_ptr()) as u64
        }
    }

    /// Whether a device may be about to store into it, or to read it: somebody has pinned one of
    /// its pages (Documentation/core-api/pin_user_pages.rst). Exact for large folios, else it may
    /// be so for no reason. Who holds a plain reference meanwhile (`FOLL_GET`) is not seen. A new
    /// pin that is to be written to needs a page fault that makes the page writable.
    pub(crate) fn is_pinned(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::folio_maybe_dma_pinned(self.0.as_ptr()) }
    }

    /// Has all of it written, if all of it has been read.
    pub(super) fn dirty(&self) {
        let folio = self.0.as_ptr();
        // SAFETY: By the type invariant; it is locked, so it stays in its mapping.
        unsafe {
            if bindings::folio_test_uptodate(folio) {
                bindings::folio_mark_dirty(folio);
            }
        }
    }
}

/// A folio that is ours to lock and to keep. Unlocked when dropped.
///
/// # Invariants
///
/// We have locked it, and own a reference to it.
pub(super) struct LockedFolio<'a>(Folio<'a>);

impl<'a> LockedFolio<'a> {
    /// The one with the byte at `pos`, if it is in the page cache. Sleeps.
    pub(super) fn find_lock<F: FileSystem>(inode: &'a Inode<F>, pos: u64) -> Option<Self> {
        let index = (pos >> kernel::page::PAGE_SHIFT) as usize;
        // SAFETY: By the type invariant of `Inode`.
        let folio = unsafe { bindings::filemap_lock_folio(inode.mapping(), index) };
        // INVARIANT: Locked and referenced, in the mapping of the inode, which `'a` keeps.
        NonNull::new(folio).map(|folio| Self(Folio(folio, PhantomData)))
    }

    pub(super) fn get(&self) -> &Folio<'a> {
        &self.0
    }

    /// Makes bytes of the file that are in the folio zeros, in memory. Waits for writeback.
    /// Returns where in the folio, and how many.
    pub(super) fn zero(&self, bytes: &Range<u64>) -> (usize, usize) {
        let Range { start, end } = self.0.range();
        let (from, to) = (bytes.start.max(start), bytes.end.min(end));
        if from >= to {
            return (0, 0);
        }
        let (at, len) = ((from - start) as usize, (to - from) as usize);
        let folio = self.0 .0.as_ptr();
        // SAFETY: By the type invariant; the bytes are inside of it.
        unsafe {
            bindings::folio_wait_writeback(folio);
            bindings::folio_zero_range(folio, at, len);
        }
        (at, len)
    }

    /// As [`Self::zero`], of bytes whose blocks go: nobody need write the whole ones.
    pub(super) fn clear(&self, bytes: &Range<u64>) {
        let (at, len) = self.zero(bytes);
        if len != 0 {
            // SAFETY: As above; the folio is locked, as the C function asks.
            unsafe { bindings::folio_invalidate(self.0 .0.as_ptr(), at, len) }
        }
    }
}

impl<'a> LockedFolio<'a> {
    /// Unlocks it for a while.
    pub(super) fn unlock(self) -> HeldFolio<'a> {
        let this = ManuallyDrop::new(self);
        // SAFETY: The lock is ours. The reference goes with the result.
        unsafe { bindings::folio_unlock(this.0 .0.as_ptr()) }
        HeldFolio(this.0 .0, PhantomData)
    }
}

impl Drop for LockedFolio<'_> {
    fn drop(&mut self) {
        // SAFETY: Lock and reference are ours.
        unsafe { bindings::folio_unlock_put(self.0 .0.as_ptr()) }
    }
}

/// A folio that is ours to keep: it stays one, for what is referenced cannot be split, and does not
/// become another. It may leave the file.
///
/// # Invariants
///
/// The folio is valid, and one reference is ours.
pub(super) struct HeldFolio<'a>(NonNull<bindings::folio>, PhantomData<&'a ()>);

impl<'a> HeldFolio<'a> {
    /// Locks it again, if it is in the page cache of `inode` still. Sleeps.
    pub(super) fn lock<F: FileSystem>(self, inode: &'a Inode<F>) -> Option<LockedFolio<'a>> {
        let folio = ManuallyDrop::new(self).0;
        // SAFETY: By the type invariant; the mapping is valid. If it is not there the C function
        // has put the reference.
        let there = unsafe { bindings::folio_lock_again(folio.as_ptr(), inode.mapping()) };
        // INVARIANT: Locked and referenced, in the mapping of the inode, which `'a` keeps.
        there.then(|| LockedFolio(Folio(folio, PhantomData)))
    }
}

impl Drop for HeldFolio<'_> {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { bindings::folio_put(self.0.as_ptr()) }
    }
}
