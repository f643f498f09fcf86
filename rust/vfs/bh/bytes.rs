// SPDX-License-Identifier: GPL-2.0

//! The bytes of a block for who asks for many numbers of it.

use super::{
    super::bindings,
    BufferHead,
    Packed, //
};
use core::{
    marker::PhantomData,
    ops::Range, //
};

/// The bytes of a block, which may change. Where they are and how many was looked up once: of a
/// [`BufferHead`] it is looked up for each number, and a directory block has some hundred.
///
/// # Invariants
///
/// `data` is aligned to four bytes and points to `len` readable ones for the lifetime `'a`. `len`
/// is a multiple of four, and not 0.
#[derive(Clone, Copy)]
pub(crate) struct BlockBytes<'a> {
    data: *const u8,
    len: usize,
    _owner: PhantomData<&'a BufferHead>,
}

impl BufferHead {
    /// The bytes, to be asked for many numbers.
    pub(crate) fn bytes(&self) -> BlockBytes<'_> {
        // INVARIANT: By the type invariant of `BufferHead`, for as long as `self` is borrowed.
        // Blocks are powers of two from 512 bytes on, and aligned to their size.
        BlockBytes {
            data: self.data(),
            len: self.size(),
            _owner: PhantomData,
        }
    }
}

impl BlockBytes<'_> {
    /// The little-endian number at byte `off`. `None` if that is not a multiple of four, or lies
    /// behind the end.
    #[inline(always)]
    pub(crate) fn le32(self, off: usize) -> Option<u32> {
        if off % 4 != 0 || off >= self.len {
            return None;
        }
        // SAFETY: Both are multiples of four, so that all of the number is in the block, see the
        // type invariant. Volatile, as others may write it meanwhile (C would say READ_ONCE).
        let raw = unsafe { self.data.add(off).cast::<u32>().read_volatile() };
        Some(u32::from_le(raw))
    }

    /// As [`BlockBytes::le32`], at any byte. `None` if it does not lie before the end.
    #[inline(always)]
    pub(crate) fn any32(self, off: usize) -> Option<u32> {
        // At least 0, see the type invariant.
        if off > self.len.wrapping_sub(4) {
            return None;
        }
        // SAFETY: All four bytes are in the block. Volatile, as others may write them meanwhile.
        let Packed(raw) = unsafe { self.data.add(off).cast::<Packed<u32>>().read_volatile() };
        Some(u32::from_le(raw))
    }

    /// Whether these bytes are at `off`.
    pub(crate) fn holds(self, off: usize, bytes: &[u8]) -> bool {
        match off.checked_add(bytes.len()) {
            // SAFETY: All are in the block, see the type invariant; `bytes` are as many.
            Some(end) if end <= self.len => unsafe {
                let here = self.data.add(off).cast();
                bindings::memcmp(here, bytes.as_ptr().cast(), bytes.len()) == 0
            },
            _ => false,
        }
    }

    /// CRC32C of a part of the block, continued from `seed`. The part of `range` beyond the block
    /// is left out.
    pub(crate) fn crc32c(self, seed: u32, range: Range<usize>) -> u32 {
        let end = range.end.min(self.len);
        match end.checked_sub(range.start) {
            // SAFETY: Within the block, see the type invariant; `crc32c()` only reads the bytes.
            Some(len) => unsafe { bindings::crc32c(seed, self.data.add(range.start).cast(), len) },
            None => seed,
        }
    }
}
