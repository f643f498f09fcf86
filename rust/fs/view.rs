// SPDX-License-Identifier: GPL-2.0

//! Blocks of the buffer cache as the functions of the format look at them and change them. Whoever
//! changes a structure holds the lock that owns it.

use crate::{
    disk::{BlockEdit, BlockView, Corrupt},
    vfs::{
        bh::{BlockBytes, BufferHead},
        jbd2::JournaledBuffer, //
    },
};
use core::ops::Range;
use kernel::prelude::*;

impl BlockView for BufferHead {
    fn le32(&self, off: usize) -> Result<u32, Corrupt> {
        BufferHead::le32(self, off).map_err(|_| Corrupt::ShortBuffer)
    }

    fn any32(&self, off: usize) -> Option<u32> {
        self.bytes().any32(off)
    }

    fn holds(&self, off: usize, bytes: &[u8]) -> bool {
        self.bytes().holds(off, bytes)
    }

    fn crc32c(&self, seed: u32, range: Range<usize>) -> Result<u32, Corrupt> {
        Ok(BufferHead::crc32c(self, seed, range))
    }
}

impl BlockView for BlockBytes<'_> {
    #[inline(always)]
    fn le32(&self, off: usize) -> Result<u32, Corrupt> {
        BlockBytes::le32(*self, off).ok_or(Corrupt::ShortBuffer)
    }

    #[inline(always)]
    fn any32(&self, off: usize) -> Option<u32> {
        BlockBytes::any32(*self, off)
    }

    fn holds(&self, off: usize, bytes: &[u8]) -> bool {
        BlockBytes::holds(*self, off, bytes)
    }

    fn crc32c(&self, seed: u32, range: Range<usize>) -> Result<u32, Corrupt> {
        Ok(BlockBytes::crc32c(*self, seed, range))
    }
}

impl BlockView for JournaledBuffer<'_> {
    fn le32(&self, off: usize) -> Result<u32, Corrupt> {
        BlockView::le32(&**self, off)
    }

    fn any32(&self, off: usize) -> Option<u32> {
        BlockView::any32(&**self, off)
    }

    fn holds(&self, off: usize, bytes: &[u8]) -> bool {
        BlockView::holds(&**self, off, bytes)
    }

    fn crc32c(&self, seed: u32, range: Range<usize>) -> Result<u32, Corrupt> {
        BlockView::crc32c(&**self, seed, range)
    }
}

impl BlockEdit for JournaledBuffer<'_> {
    fn set(&mut self, off: usize, bytes: &[u8]) -> Result<(), Corrupt> {
        self.copy_in(off, bytes).map_err(|_| Corrupt::ShortBuffer)
    }

    fn wipe(&mut self, range: Range<usize>) -> Result<(), Corrupt> {
        self.zero(range).map_err(|_| Corrupt::ShortBuffer)
    }

    fn shift(&mut self, range: Range<usize>, to: usize) -> Result<(), Corrupt> {
        self.copy_within(range, to)
            .map_err(|_| Corrupt::ShortBuffer)
    }
}
