// SPDX-License-Identifier: GPL-2.0

//! Block devices whose bytes are memory that can be addressed (pmem).
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{page::PAGE_SIZE, prelude::*};

/// The memory of a block device.
///
/// # Invariants
///
/// The first pointer is to the device of which the block device is a part, and one count of it is
/// ours. The part begins at `start`, at whole pages. The block device is open as long as this is
/// used.
pub(super) struct DaxDevice {
    device: NonNull<bindings::dax_device>,
    bdev: *mut bindings::block_device,
    start: u64,
}

// SAFETY: All that can be done with a reference may be done from any task at any time.
unsafe impl Send for DaxDevice {}
// SAFETY: As for `Send`.
unsafe impl Sync for DaxDevice {}

impl DaxDevice {
    /// That of a block device, if it has memory that can be addressed.
    ///
    /// # Safety
    ///
    /// `bdev` is a block device that stays open until the result is used for the last time.
    pub(super) unsafe fn of(bdev: *mut bindings::block_device) -> Option<Self> {
        let mut start = 0;
        // SAFETY: By the caller.
        let device = NonNull::new(unsafe { bindings::dax_of_bdev(bdev, &mut start) })?;
        // INVARIANT: The function has counted it, and refuses parts of pages. By the caller.
        Some(Self {
            device,
            bdev,
            start,
        })
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::dax_device {
        self.device.as_ptr()
    }

    /// The byte of the memory with which the block device begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Where the bytes of the block device are in the memory. `EIO` if they are no whole pages, or
    /// not of the device, as large as it is now: it may have become larger, and the file system
    /// with it.
    pub(super) fn place(&self, at: u64, len: u64) -> Result<u64> {
        let parts = (at | len) & (PAGE_SIZE as u64 - 1) != 0;
        let end = at.checked_add(len).ok_or(EIO)?;
        // SAFETY: By the type invariant.
        let bytes = unsafe { bindings::bdev_nr_bytes(self.bdev) }.max(0) as u64;
        if parts || end > bytes {
            return Err(EIO);
        }
        Ok(self.start + at)
    }
}

impl Drop for DaxDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours.
        unsafe { bindings::dax_put(self.as_ptr()) }
    }
}
