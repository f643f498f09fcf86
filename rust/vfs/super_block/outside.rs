// SPDX-License-Identifier: GPL-2.0

//! Blocks that are not the file system's yet: written past the buffer cache and past the journal,
//! before anything says that they are there.
//!
//! The device's page cache may hold them: any program may have read it. What is cached follows, or
//! the first who reads such a block as metadata would find what was there before:
//!
//! ```text
//!   somebody reads the device          the file system grows
//!   the page of an inode table
//!   is in the cache: old bytes
//!                                      zeroes the table on the device
//!                                      counts the group
//!                                      reads an inode: old bytes, from the cache
//! ```
//!
//! A read that is under way keeps its page locked, or the buffer, so it is over when the bytes are
//! changed.
//!
//! C headers: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{FileSystem, SuperBlock};
use crate::vfs::bindings;
use core::ops::Range;
use kernel::prelude::*;

impl<F: FileSystem> SuperBlock<F> {
    /// Writes one block that is not the file system's. Sleeps until the device has it (FUA). `EIO`,
    /// `EINVAL` if `bytes` are not as many.
    pub(crate) fn write_outside(&self, block: u64, bytes: &mut KVec<u8>) -> Result {
        if bytes.len() != 1 << self.block_bits() {
            return Err(EINVAL);
        }
        let at = block << self.block_bits();
        self.device().write_past_cache(at, bytes)?;
        self.cache_follows(block..block + 1, |bh| bh.fill_from(0, bytes))
    }

    /// Makes zeros of blocks that are not the file system's. Sleeps until the device has them; they
    /// are durable with its next flush. `EIO`.
    pub(crate) fn zero_outside(&self, blocks: Range<u64>) -> Result {
        let (start, end) = (
            blocks.start << self.block_bits(),
            blocks.end << self.block_bits(),
        );
        if start < end {
            self.device().zero(start, end - start)?;
        }
        self.cache_follows(blocks, |bh| bh.fill(0..bh.size(), 0))
    }

    fn cache_follows(
        &self,
        blocks: Range<u64>,
        change: impl Fn(&super::BufferHead) -> Result,
    ) -> Result {
        let bits = self.block_bits();
        // CAST: Bytes of a device.
        let (start, end) = (
            (blocks.start << bits) as i64,
            (blocks.end << bits) as i64, //
        );
        // SAFETY: By the type invariant the device is open. A racy look: what is read from now on
        // is what was written.
        if !unsafe { bindings::bdev_has_cached(self.bdev(), start, end) } {
            return Ok(());
        }
        for block in blocks {
            let bh = self.getblk(block)?;
            let locked = bh.lock();
            if locked.is_uptodate() {
                change(&locked)?;
            }
        }
        Ok(())
    }
}
