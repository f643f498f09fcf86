// SPDX-License-Identifier: GPL-2.0

//! What a file system asks of its block device.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::bindings;
use kernel::types::Opaque;

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
}
