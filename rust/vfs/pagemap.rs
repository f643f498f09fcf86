// SPDX-License-Identifier: GPL-2.0

//! The page cache of an inode: invalidate_lock, truncation. What C calls: [`super::address_space`].
//!
//! The lock order is at the head of mm/filemap.c.
//!
//! C headers: [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    bindings,
    folio::{HeldFolio, LockedFolio},
    inode::{Inode, InodeLock, InodeLocks},
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

/// The first and the last byte of a range.
fn edges(range: &Range<u64>) -> [u64; 2] {
    [range.start, range.end.saturating_sub(1)]
}

/// Whether a folio of these bytes is a page.
fn is_page(place: &Range<u64>) -> bool {
    place.end - place.start <= kernel::page::PAGE_SIZE as u64
}

/// invalidate_lock held exclusive: no page can be added to the cache, faulted in or made
/// writable.
///
/// # Invariants
///
/// invalidate_lock of the mapping of the inode is held exclusive, by this task.
#[must_use]
pub(crate) struct InvalidateLock<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

/// Folios at the edges of a range whose page cache was dropped, which stay, locked.
#[derive(Default)]
pub(crate) struct KeptFolios<'a>([Option<LockedFolio<'a>>; 2]);

/// A range whose page cache is about to be dropped.
struct Spared<'a> {
    /// Without these.
    rest: Range<u64>,
    /// Pinned folios at the edges.
    folios: [Option<HeldFolio<'a>>; 2],
}

/// What a device is about to store into folios at the edges of a range that is dropped.
#[derive(Clone, Copy)]
pub(crate) enum Pins {
    /// Stays in the file.
    Keep,
    /// Is in no file when its folio cannot be split, and is clean.
    Ignore,
}

/// Which folios at the edges of a range that is dropped are locked until its blocks have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edges {
    /// Those with whole blocks of it: the part of a block that it cuts is written or not, as ever.
    Large,
    /// All.
    All,
}

impl<'a, F: FileSystem> InvalidateLock<'a, F> {
    /// As [`Self::drop_pagecache`], but pinned folios that reach beyond the range stay, with zeros
    /// in it: C cannot split one, and drops it whole unless it is dirty
    /// (`truncate_inode_partial_folio()`).
    ///
    /// They stay locked as long as the result lives: the device can make all of them dirty, and
    /// then they would be written, to the blocks that are still there.
    pub(crate) fn drop_beside_pins(&self, range: Range<u64>, edges: Edges) -> KeptFolios<'a> {
        let spared = self.spare(&range);
        self.drop_pagecache(spared.rest.clone());
        self.keep(&range, spared, edges)
    }

    /// Finds the large folios that reach beyond the range and are pinned. None is locked when C
    /// drops the rest, for it waits for folios before them: who has a folio locked may wait for
    /// those behind it, and who writes waits for its lock with those before it in hand.
    fn spare(&self, range: &Range<u64>) -> Spared<'a> {
        let (mut rest, mut folios) = (range.clone(), [None, None]);
        for (edge, spared) in edges(range).into_iter().zip(&mut folios) {
            let Some(folio) = self.cut_folio(edge, &rest, Edges::Large) else {
                continue;
            };
            let place = folio.get().range();
            if is_page(&place) || !self.is_pinned(&folio) {
                continue;
            }
            if place.start <= rest.start {
                rest.start = place.end.min(rest.end);
            } else {
                rest.end = place.start;
            }
            *spared = Some(folio.unlock());
        }
        Spared { rest, folios }
    }

    /// Zeroes what was spared of the range, and keeps it locked; also pages that are too small to
    /// be dropped for their neighbours, but not to have whole blocks of the range.
    fn keep(&self, range: &Range<u64>, spared: Spared<'a>, which: Edges) -> KeptFolios<'a> {
        let (mut kept, mut held_to) = (KeptFolios::default(), range.start);
        let places = edges(range).into_iter().zip(spared.folios);
        for ((edge, spared), place) in places.zip(&mut kept.0) {
            let folio = match spared {
                Some(folio) => folio.lock(self.0),
                None if edge < held_to => None,
                // Pinned or not: the device may be through, and the flusher at work on all of it.
                None => self
                    .cut_folio(edge, range, which)
                    .filter(|folio| is_page(&folio.get().range())),
            };
            if let Some(folio) = folio {
                folio.clear(range);
                held_to = folio.get().range().end;
                *place = Some(folio);
            }
        }
        kept
    }

    /// The folio with the byte `edge` of the range, locked, if it reaches beyond the range and is
    /// large enough.
    fn cut_folio(&self, edge: u64, range: &Range<u64>, which: Edges) -> Option<LockedFolio<'a>> {
        if !range.contains(&edge) {
            return None;
        }
        let folio = LockedFolio::find_lock(self.0, edge)?;
        let place = folio.get().range();
        let whole = range.start <= place.start && place.end <= range.end;
        let one_block = place.end - place.start <= self.0.block_size();
        (!whole && (!one_block || which == Edges::All)).then_some(folio)
    }

    /// Whether a folio is pinned, for as long as it is locked: a new pin that is to be written to
    /// needs a fault, which waits for the folio, and then for this lock.
    fn is_pinned(&self, folio: &LockedFolio<'_>) -> bool {
        self.0.unmap(folio.get().range());
        folio.get().is_pinned()
    }

    /// Whether the folio with this byte is pinned, so that a device may store into it. It is in no
    /// mapping of user memory then, and no new pin to store comes while this lock is held. Sleeps.
    pub(crate) fn is_pinned_at(&self, byte: u64) -> bool {
        LockedFolio::find_lock(self.0, byte).is_some_and(|folio| self.is_pinned(&folio))
    }

    /// Zeroes, in memory, the bytes of the range that are in the folio of its first one. For those
    /// behind the end of the file, which a device may have changed after they had been zeroed.
    pub(crate) fn zero_first_folio(&self, range: Range<u64>) {
        if let Some(folio) = LockedFolio::find_lock(self.0, range.start) {
            folio.zero(&range);
        }
    }

    /// Has the folios at the edges of the range written, those that are in the page cache: what
    /// they show becomes what the disk has. None comes while the lock is held. One that is not up
    /// to date stays as it is: what was not read of it must not get to the disk.
    pub(crate) fn dirty_edges(&self, range: Range<u64>) {
        for edge in edges(&range) {
            if let Some(folio) = LockedFolio::find_lock(self.0, edge) {
                folio.get().dirty();
            }
        }
    }

    /// Drops the page cache of the range, dirty or not; parts of pages at the edges are zeroed in
    /// memory. Mappings of the pages go first. None comes back meanwhile.
    ///
    /// Of a file that is accessed directly: lets go of the pages, which nobody has pinned
    /// ([`TruncateLocks::wait_unpinned`]); what is in them stays.
    pub(crate) fn drop_pagecache(&self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if self.0.is_dax() {
            return self.drop_memory(&range);
        }
        let last = (range.end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: By the type invariant, as the C function asks.
        unsafe { bindings::truncate_pagecache_range(self.0.as_ptr(), range.start as i64, last) }
    }

    /// The inode of the mapping.
    pub(crate) fn inode(&self) -> &'a Inode<F> {
        self.0
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
pub(super) struct InvalidateLockShared<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

impl<F: FileSystem> Drop for InvalidateLockShared<'_, F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::invalidate_unlock_shared(self.0.mapping()) }
    }
}

/// i_rwsem and invalidate_lock of an inode, both exclusive.
///
/// # Invariants
///
/// Both are of one inode.
#[must_use]
pub(crate) struct TruncateLocks<'l, F: FileSystem> {
    pub(super) lock: &'l InodeLock<'l, F>,
    pub(super) pages: InvalidateLock<'l, F>,
}

impl<'l, F: FileSystem> TruncateLocks<'l, F> {
    /// Takes invalidate_lock of the inode that `lock` is of.
    pub(crate) fn new(lock: &'l InodeLock<'_, F>) -> Self {
        let pages = lock.inode().invalidate_lock();
        // INVARIANT: The second was taken by way of the first.
        Self { lock, pages }
    }

    /// Takes invalidate_lock of both inodes, in the order of the page cache.
    pub(crate) fn of_two(locks: &'l InodeLocks<'_, F>) -> [Self; 2] {
        let both = locks.get();
        let [one, other] = both.each_ref().map(|lock| lock.inode().mapping());
        // SAFETY: By the type invariant of `Inode`; they are two, so each guard has one to unlock.
        unsafe { bindings::filemap_invalidate_lock_two(one, other) };
        both.each_ref().map(|lock| Self {
            lock,
            // INVARIANT: The second was taken by way of the first.
            pages: InvalidateLock(lock.inode(), NotThreadSafe),
        })
    }

    /// i_rwsem.
    pub(crate) fn lock(&self) -> &'l InodeLock<'l, F> {
        self.lock
    }

    /// invalidate_lock.
    pub(crate) fn pages(&self) -> &InvalidateLock<'l, F> {
        &self.pages
    }

    /// Sets i_size and drops the page cache beyond it, also what is pinned but for the folio of the
    /// new end ([`InvalidateLock::drop_beside_pins`]). Nothing is written behind the end, so it
    /// need not stay locked.
    ///
    /// It does not grow: [`Inode::isize_extended`] is for that.
    pub(crate) fn truncate_setsize(&self, size: u64, pins: Pins) {
        let (inode, pages) = (self.lock.inode(), &self.pages);
        // A buffered read, which takes no lock, must not see zeros before the old end.
        inode.set_size(size);
        let range = size..i64::MAX as u64;
        let spared = match pins {
            Pins::Keep => Some(pages.spare(&range)),
            Pins::Ignore => None,
        };
        let rest = spared.as_ref().map_or(&range, |spared| &spared.rest).start;
        let is_dax = inode.is_dax();
        if is_dax {
            pages.drop_memory(&range);
        }
        // SAFETY: By the type invariant, and those of the guards, as the C functions ask. Private
        // copies of what is beyond the size go, too, and who has looked at the size before it moved
        // may have mapped some of a folio that stays.
        unsafe {
            if !is_dax {
                bindings::truncate_pagecache(inode.as_ptr(), rest as i64);
            }
            if is_dax || rest > size {
                let first = size.next_multiple_of(kernel::page::PAGE_SIZE as u64);
                bindings::unmap_mapping_range(pages.0.mapping(), first as i64, 0, 1);
            }
        }
        if let Some(spared) = spared {
            drop(pages.keep(&range, spared, Edges::Large));
        }
    }
}

impl<F: FileSystem> Inode<F> {
    /// In bytes.
    pub(super) fn block_size(&self) -> u64 {
        1 << self.block_bits()
    }

    /// The logarithm of the block size in bytes. Any context.
    #[inline]
    pub(crate) fn block_bits(&self) -> u32 {
        // SAFETY: By the type invariant; set when the inode is allocated.
        unsafe { (*self.as_ptr()).i_blkbits }.into()
    }

    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: By the type invariant of `Inode`; `i_mapping` is set at allocation.
        unsafe { (*self.as_ptr()).i_mapping }
    }

    /// Takes invalidate_lock exclusive.
    pub(crate) fn invalidate_lock(&self) -> InvalidateLock<'_, F> {
        // SAFETY: By the type invariant of `Inode`; the guard unlocks.
        unsafe { bindings::invalidate_lock(self.mapping()) };
        InvalidateLock(self, NotThreadSafe)
    }

    /// Takes invalidate_lock shared.
    pub(super) fn invalidate_lock_shared(&self) -> InvalidateLockShared<'_, F> {
        // SAFETY: By the type invariant of `Inode`; the guard unlocks.
        unsafe { bindings::invalidate_lock_shared(self.mapping()) };
        InvalidateLockShared(self, NotThreadSafe)
    }

    /// Writes the bytes of the page cache and waits for it, also after an error of one of them: the
    /// others may be on their way. Not inside a handle: writeback starts transactions and
    /// completion needs them.
    pub(crate) fn write_and_wait(&self, bytes: Range<u64>) -> Result {
        if bytes.is_empty() {
            return Ok(());
        }
        let last = (bytes.end - 1).min(i64::MAX as u64) as i64;
        // SAFETY: By the type invariant of `Inode`.
        let result = to_result(unsafe {
            bindings::filemap_write_and_wait_range(self.mapping(), bytes.start as i64, last)
        });
        if result.is_err() {
            // It has not waited if the error is of the submission. What comes is in the mapping.
            // SAFETY: As above.
            let _ = unsafe {
                let start = bytes.start as i64;
                bindings::filemap_fdatawait_range_keep_errors(self.mapping(), start, last)
            };
        }
        result
    }

    /// Takes the bytes, whole pages, out of all mappings: who touches them faults again. Private
    /// copies stay. Sleeps; takes the locks of the mappings, no mmap_lock.
    pub(crate) fn unmap(&self, bytes: Range<u64>) {
        if bytes.is_empty() {
            // C takes it for all that follows.
            return;
        }
        let start = bytes.start.min(i64::MAX as u64) as i64;
        let len = (bytes.end - bytes.start).min(i64::MAX as u64) as i64;
        // SAFETY: By the type invariant of `Inode`; neither number is negative.
        unsafe { bindings::unmap_mapping_range(self.mapping(), start, len, 0) }
    }

    /// Begins to write what is dirty in the page cache, and waits for nothing. Errors are in the
    /// mapping, for fsync.
    pub(crate) fn start_writeback(&self) {
        // SAFETY: By the type invariant of `Inode`.
        let _ = unsafe { bindings::filemap_flush(self.mapping()) };
    }

    /// Data of the file was lost: `EIO` for the next fsync of each open file. Sleeps not.
    ///
    /// C header: [`include/linux/errseq.h`](srctree/include/linux/errseq.h)
    pub(crate) fn set_data_lost(&self) {
        // SAFETY: By the type invariant of `Inode`. The function reads and changes it atomically.
        unsafe { bindings::errseq_set(&raw mut (*self.mapping()).wb_err, EIO.to_errno()) };
    }

    /// The file grows from `from` to `to` bytes: a mapped page at the old end must fault again,
    /// so that `page_mkwrite` sees the new blocks.
    pub(crate) fn isize_extended(&self, from: u64, to: u64) {
        // SAFETY: By the type invariant of `Inode`.
        unsafe { bindings::pagecache_isize_extended(self.as_ptr(), from as i64, to as i64) }
    }

    /// Drops clean pages of the bytes; `EBUSY` if one could not be dropped. A file that is accessed
    /// directly has none.
    pub(crate) fn invalidate_pagecache(&self, bytes: Range<u64>) -> Result {
        if bytes.is_empty() || self.is_dax() {
            return Ok(());
        }
        let shift = kernel::page::PAGE_SHIFT;
        // SAFETY: By the type invariant of `Inode`.
        to_result(unsafe {
            bindings::invalidate_inode_pages2_range(
                self.mapping(),
                (bytes.start >> shift) as usize,
                ((bytes.end - 1) >> shift) as usize,
            )
        })
    }
}
