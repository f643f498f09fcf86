// SPDX-License-Identifier: GPL-2.0

//! Blocks as bitmaps, and which of their bits may be allocated.
//!
//! C headers: [`include/linux/bitops.h`](srctree/include/linux/bitops.h),
//! [`include/linux/journal-head.h`](srctree/include/linux/journal-head.h)

use super::{
    super::bindings,
    BufferHead, //
};
use core::{
    marker::PhantomData,
    ops::Range, //
};
use kernel::{
    prelude::*,
    types::NotThreadSafe, //
};

impl BufferHead {
    fn bits(&self) -> usize {
        self.size() * 8
    }

    fn bitmap(&self) -> Bitmap<'_> {
        // INVARIANT: By the type invariant of `BufferHead`, for as long as `self` is borrowed.
        Bitmap {
            data: self.data(),
            bits: self.bits(),
            _owner: PhantomData,
        }
    }

    /// Bit `nr` of the block as a little-endian bitmap. Beyond the block all bits are set.
    pub(crate) fn test_bit(&self, nr: usize) -> bool {
        self.bitmap().test(nr)
    }

    /// The first clear bit from `start` on, of the first `max` bits; `max` if there is none.
    pub(crate) fn find_next_zero_bit(&self, max: usize, start: usize) -> usize {
        let end = max.min(self.bits());
        match self.bitmap().next_zero(end, start) {
            nr if nr < end => nr,
            _ => max,
        }
    }

    /// The first set bit from `start` on, of the first `max` bits; `max` if there is none.
    /// Bits beyond the block do not count.
    pub(crate) fn find_next_bit(&self, max: usize, start: usize) -> usize {
        let end = max.min(self.bits());
        match self.bitmap().next_set(end, start) {
            nr if nr < end => nr,
            _ => max,
        }
    }

    /// How many of the first `max` bits are clear.
    pub(crate) fn count_zero_bits(&self, max: usize) -> usize {
        let max = max.min(self.bits());
        let bytes = max / 8;
        // SAFETY: `bytes` is at most `b_size`.
        let mut set = unsafe { bindings::rext4_helper_memweight(self.data().cast(), bytes) };
        for nr in bytes * 8..max {
            set += usize::from(self.test_bit(nr));
        }
        max.saturating_sub(set)
    }

    /// Whether bit `nr` of an allocation bitmap may be taken: it is clear, and clear in the copy
    /// that the journal keeps of what is committed (`b_committed_data`, made by
    /// [`Handle::undo`](super::jbd2::Handle::undo)). What a transaction freed is not given out
    /// before it has committed; else a crash could leave the old owner with the new one's data.
    ///
    /// The caller holds the lock of the bitmap, or takes the answer for a hint.
    pub(crate) fn bit_is_allocatable(&self, nr: usize) -> bool {
        if self.test_bit(nr) {
            return false;
        }
        let committed = Committed::lock(self);
        committed.bitmap().is_none_or(|copy| !copy.test(nr))
    }

    /// The first run of bits in `start..end` that are allocatable in the sense of
    /// [`BufferHead::bit_is_allocatable`], as its start and length, of at most `want` bits.
    pub(crate) fn find_allocatable(
        &self,
        start: usize,
        end: usize,
        want: usize,
    ) -> Option<(usize, usize)> {
        let end = end.min(self.bits());
        let map = self.bitmap();
        let committed = Committed::lock(self);
        let copy = committed.bitmap();

        let mut first = start;
        loop {
            first = map.next_zero(end, first);
            if first >= end {
                return None;
            }
            let Some(copy) = &copy else { break };
            match copy.next_zero(end, first) {
                both if both == first => break,
                later => first = later,
            }
        }

        let limit = end.min(first.saturating_add(want));
        let mut last = map.next_set(limit, first);
        if let Some(copy) = &copy {
            last = last.min(copy.next_set(limit, first));
        }
        // The map may change under a caller without its lock: the run can be gone again.
        (last > first).then(|| (first, last - first))
    }

    /// Sets (or clears) a range of bits of the block as a little-endian bitmap.
    pub(in crate::vfs) fn fill_bits(&self, range: Range<usize>, set: bool) -> Result {
        if range.start > range.end || range.end > self.bits() {
            return Err(EINVAL);
        }
        let (head, tail) = (range.start / 8, range.end / 8);
        let (head_mask, tail_mask) = (0xffu8 << (range.start % 8), !(0xffu8 << (range.end % 8)));
        if head == tail {
            return self.mask_byte(head, head_mask & tail_mask, set);
        }
        self.mask_byte(head, head_mask, set)?;
        self.fill(head + 1..tail, if set { 0xff } else { 0 })?;
        self.mask_byte(tail, tail_mask, set)
    }

    fn mask_byte(&self, off: usize, mask: u8, set: bool) -> Result {
        // Also keeps the byte after the last one out of reach.
        if mask == 0 {
            return Ok(());
        }
        let byte = self.span(off, 1)?;
        // SAFETY: `span` checked the byte. Volatile, as others may read it meanwhile (C would say
        // READ_ONCE and WRITE_ONCE); whoever else changes this byte holds the caller's lock.
        unsafe {
            let old = byte.read_volatile();
            byte.write_volatile(if set { old | mask } else { old & !mask });
        }
        Ok(())
    }
}

/// Bits in memory that others may change, lowest bit of the lowest byte first.
///
/// # Invariants
///
/// `data` is aligned to `unsigned long` and points to `bits` readable bits for the lifetime `'a`.
/// (Block sizes and `kmalloc()` of them give the alignment.)
struct Bitmap<'a> {
    data: *const u8,
    bits: usize,
    _owner: PhantomData<&'a [u8]>,
}

impl Bitmap<'_> {
    fn test(&self, nr: usize) -> bool {
        if nr >= self.bits {
            return true;
        }
        // CAST: A block has fewer than 2^31 bits.
        // SAFETY: `nr` is in range, see the type invariant.
        unsafe { bindings::rext4_helper_test_bit_le(nr as i32, self.data.cast()) }
    }

    /// First clear bit in `start..end`, or `end`, which is at most `self.bits`.
    fn next_zero(&self, end: usize, start: usize) -> usize {
        let end = end.min(self.bits);
        // SAFETY: `end` is in range, see the type invariant.
        unsafe { bindings::rext4_helper_find_next_zero_bit_le(self.data.cast(), end, start) }
    }

    /// First set bit in `start..end`, or `end`, which is at most `self.bits`.
    fn next_set(&self, end: usize, start: usize) -> usize {
        let end = end.min(self.bits);
        // SAFETY: `end` is in range, see the type invariant.
        unsafe { bindings::rext4_helper_find_next_bit_le(self.data.cast(), end, start) }
    }
}

/// The journal's copy of the committed contents of a bitmap, under `b_state_lock`, which keeps the
/// commit from freeing it. No sleeping while this lives.
///
/// # Invariants
///
/// `jh` is null, or we own a reference to it and hold its `b_state_lock`.
struct Committed<'a> {
    jh: *mut bindings::journal_head,
    bh: &'a BufferHead,
    _not_send: NotThreadSafe,
}

impl<'a> Committed<'a> {
    fn lock(bh: &'a BufferHead) -> Self {
        // SAFETY: By the type invariant of `BufferHead`; returns a reference or null.
        let jh = unsafe { bindings::jbd2_journal_grab_journal_head(bh.as_ptr()) };
        if !jh.is_null() {
            // SAFETY: We own a reference to `jh`.
            unsafe { bindings::rext4_helper_jh_lock(jh) };
        }
        Self {
            jh,
            bh,
            _not_send: NotThreadSafe,
        }
    }

    fn bitmap(&self) -> Option<Bitmap<'_>> {
        if self.jh.is_null() {
            return None;
        }
        // SAFETY: By the type invariant.
        let data = unsafe { bindings::rext4_helper_jh_committed_data(self.jh) };
        if data.is_null() {
            return None;
        }
        // INVARIANT: `jbd2_journal_get_undo_access()` made the copy as large as the buffer; it
        // stays until we unlock.
        Some(Bitmap {
            data: data.cast(),
            bits: self.bh.bits(),
            _owner: PhantomData,
        })
    }
}

impl Drop for Committed<'_> {
    fn drop(&mut self) {
        if !self.jh.is_null() {
            // SAFETY: By the type invariant: we hold the lock and own the reference.
            unsafe {
                bindings::rext4_helper_jh_unlock(self.jh);
                bindings::jbd2_journal_put_journal_head(self.jh);
            }
        }
    }
}
