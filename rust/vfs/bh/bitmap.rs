// SPDX-License-Identifier: GPL-2.0

//! Blocks as little-endian bitmaps.
//!
//! C header: [`include/linux/bitops.h`](srctree/include/linux/bitops.h)

use super::{
    super::bindings,
    BufferHead, //
};
use core::{
    marker::PhantomData,
    ops::Range, //
};
use kernel::prelude::*;

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
/// (Blocks are aligned to their size.)
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
        unsafe { bindings::test_bit_le(nr as i32, self.data.cast()) }
    }

    /// First clear bit in `start..end`, or `end`, which is at most `self.bits`.
    fn next_zero(&self, end: usize, start: usize) -> usize {
        let end = end.min(self.bits);
        // SAFETY: `end` is in range, see the type invariant.
        unsafe { bindings::find_next_zero_bit_le(self.data.cast(), end, start) }
    }

    /// First set bit in `start..end`, or `end`, which is at most `self.bits`.
    fn next_set(&self, end: usize, start: usize) -> usize {
        let end = end.min(self.bits);
        // SAFETY: `end` is in range, see the type invariant.
        unsafe { bindings::find_next_bit_le(self.data.cast(), end, start) }
    }
}
