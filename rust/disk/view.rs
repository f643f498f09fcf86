// SPDX-License-Identifier: GPL-2.0

//! Blocks that are looked at, and changed, where they lie.
//!
//! A block of the buffer cache cannot be lent as a slice, since others may write to it. Most of
//! this module therefore works on copies; what is done for each name of a large directory asks a
//! block for single numbers instead. A slice can be asked as well.

use super::checksum::crc32c;
use super::{bytes, bytes_mut, get, Corrupt, Result};
use core::ops::Range;
use zerocopy::little_endian::U32;

/// A block to look at.
pub trait BlockView {
    /// The little-endian number at byte `off`, a multiple of 4.
    fn le32(&self, off: usize) -> Result<u32>;

    /// The little-endian number at any byte. `None` if it does not lie before the end.
    fn any32(&self, off: usize) -> Option<u32>;

    /// Whether these bytes are at `off`.
    fn holds(&self, off: usize, bytes: &[u8]) -> bool;

    /// Continues a checksum over a range.
    fn crc32c(&self, seed: u32, range: Range<usize>) -> Result<u32>;
}

/// A block to change.
pub trait BlockEdit: BlockView {
    /// Writes bytes at `off`.
    fn set(&mut self, off: usize, bytes: &[u8]) -> Result<()>;

    /// Writes zeros.
    fn wipe(&mut self, range: Range<usize>) -> Result<()>;

    /// Copies bytes within the block to `to`, over themselves, too.
    fn shift(&mut self, range: Range<usize>, to: usize) -> Result<()>;
}

fn length(range: &Range<usize>) -> Result<usize> {
    range
        .end
        .checked_sub(range.start)
        .ok_or(Corrupt::ShortBuffer)
}

impl BlockView for [u8] {
    fn le32(&self, off: usize) -> Result<u32> {
        get::<U32>(self, off).map(U32::get)
    }

    fn any32(&self, off: usize) -> Option<u32> {
        let four = self.get(off..)?.first_chunk()?;
        Some(u32::from_le_bytes(*four))
    }

    fn holds(&self, off: usize, wanted: &[u8]) -> bool {
        bytes(self, off, wanted.len()) == Ok(wanted)
    }

    fn crc32c(&self, seed: u32, range: Range<usize>) -> Result<u32> {
        let len = length(&range)?;
        Ok(crc32c(seed, bytes(self, range.start, len)?))
    }
}

impl BlockEdit for [u8] {
    fn set(&mut self, off: usize, new: &[u8]) -> Result<()> {
        bytes_mut(self, off, new.len())?.copy_from_slice(new);
        Ok(())
    }

    fn wipe(&mut self, range: Range<usize>) -> Result<()> {
        let len = length(&range)?;
        bytes_mut(self, range.start, len)?.fill(0);
        Ok(())
    }

    fn shift(&mut self, range: Range<usize>, to: usize) -> Result<()> {
        let len = length(&range)?;
        // Neither end may lie outside, which would be a panic.
        bytes(self, range.start, len)?;
        bytes(self, to, len)?;
        self.copy_within(range, to);
        Ok(())
    }
}
