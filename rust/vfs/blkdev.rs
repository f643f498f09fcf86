// SPDX-License-Identifier: GPL-2.0

//! What a file system asks of its block device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// An open block device.
#[repr(transparent)]
pub(crate) struct BlockDevice(Opaque<bindings::block_device>);

// SAFETY: All that can be done with a reference may be done from any task at any time.
unsafe impl Send for BlockDevice {}
// SAFETY: As for `Send`.
unsafe impl Sync for BlockDevice {}

impl BlockDevice {
    /// # Safety
    ///
    /// `bdev` is open and stays so for `'a`.
    pub(super) unsafe fn from_raw<'a>(bdev: *mut bindings::block_device) -> &'a Self {
        // SAFETY: Per the contract of this function; the type is transparent.
        unsafe { &*bdev.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::block_device {
        self.0.get()
    }

    /// Has the device write its cache to stable storage and waits. Sleeps.
    pub(crate) fn issue_flush(&self) -> Result {
        // SAFETY: The device is open.
        to_result(unsafe { bindings::blkdev_issue_flush(self.as_ptr()) })
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The device is open.
        unsafe { bindings::rext4_helper_bdev_nr_bytes(self.as_ptr()) }
            .max(0)
            .unsigned_abs()
    }

    /// Whether the device refuses writes.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::rext4_helper_bdev_read_only(self.as_ptr()) }
    }

    /// The unit in which the device can be addressed, in bytes.
    pub(crate) fn logical_block_size(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bindings::rext4_helper_bdev_logical_block_size(self.as_ptr()) }
    }

    /// Mask of the address bits that must be clear in memory for direct I/O.
    pub(crate) fn dma_alignment_mask(&self) -> u32 {
        // SAFETY: The device is open.
        unsafe { bindings::rext4_helper_bdev_dma_alignment(self.as_ptr()) }
    }

    /// Whether pages may not change while they are written.
    pub(crate) fn needs_stable_pages(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::rext4_helper_bdev_stable_writes(self.as_ptr()) }
    }

    /// Forgets clean, unused blocks of the device's page cache, so that they are read afresh.
    pub(crate) fn invalidate(&self) {
        // SAFETY: The device is open.
        unsafe { bindings::invalidate_bdev(self.as_ptr()) }
    }

    /// Drops "dirty" from blocks of the device's page cache (waiting for writes in flight) that
    /// now belong to a file's data: what was there as metadata must not be written over it. Sleeps.
    /// `block` and `len` are in units of the device's (= the file system's) block size.
    pub(crate) fn clean_aliases(&self, block: u64, len: u64) {
        // SAFETY: The device is open.
        unsafe { bindings::clean_bdev_aliases(self.as_ptr(), block, len) }
    }
}
