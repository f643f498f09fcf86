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
///
/// # Invariants
///
/// A reference is to a device that is open as long as the reference.
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
        // SAFETY: The type is transparent. INVARIANT: By the caller.
        unsafe { &*bdev.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::block_device {
        self.0.get()
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_nr_bytes(self.as_ptr()) }
            .max(0)
            .unsigned_abs()
    }

    /// Its number, as programs know it.
    pub(super) fn number(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_number(self.as_ptr()) }
    }

    /// Bytes of a logical block, a power of two from 512 on.
    pub(crate) fn sector_size(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_sector_size(self.as_ptr()) }
    }

    /// Whether the device refuses writes.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_read_only(self.as_ptr()) }
    }

    /// Units of 512 bytes written since the device was there.
    pub(crate) fn sectors_written(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_sectors_written(self.as_ptr()) }
    }

    /// `EINVAL` if there is nothing to transfer, or parts of sectors. The caller of
    /// `bdev_rw_virt()` has to see to that: a `KVec` without bytes points nowhere, and whether the
    /// block layer looks at the rest is up to the device.
    fn check_span(&self, at: u64, len: usize) -> Result {
        let part = u64::from(self.sector_size()) - 1;
        if len == 0 || (at | len as u64) & part != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Reads from byte `at`, past the page cache. Sleeps. `EINVAL` if `to` is empty, or the
    /// device's sectors do not divide `at` and its length.
    pub(crate) fn read_past_cache(&self, at: u64, to: &mut KVec<u8>) -> Result {
        self.check_span(at, to.len())?;
        // SAFETY: By the type invariant. The memory of a `KVec` that is not empty is kmalloc()'s,
        // in the direct mapping, and ours while the function waits for the I/O.
        to_result(unsafe {
            bindings::bdev_read_virt(self.as_ptr(), at >> 9, to.as_mut_ptr().cast(), to.len())
        })
    }

    /// Writes at byte `at`, past the page cache and past caches of the device (FUA). Otherwise as
    /// [`BlockDevice::read_past_cache`].
    pub(crate) fn write_past_cache(&self, at: u64, from: &mut KVec<u8>) -> Result {
        self.write_how(at, from, true)
    }

    /// The same, but it may stay in a cache of the device until that is flushed.
    pub(crate) fn write(&self, at: u64, from: &mut KVec<u8>) -> Result {
        self.write_how(at, from, false)
    }

    fn write_how(&self, at: u64, from: &mut KVec<u8>, fua: bool) -> Result {
        self.check_span(at, from.len())?;
        let (bdev, sector, len) = (self.as_ptr(), at >> 9, from.len());
        // SAFETY: As for reading.
        to_result(unsafe {
            bindings::bdev_write_virt(bdev, sector, from.as_mut_ptr().cast(), len, fua)
        })
    }

    /// Writes out what is dirty in the device's page cache, and waits.
    pub(crate) fn sync(&self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::sync_blockdev(self.as_ptr()) })
    }

    /// Whether it can be told that what it holds is of no use.
    pub(crate) fn can_discard(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_can_discard(self.as_ptr()) }
    }

    /// The least number of bytes that it is worth while to discard.
    pub(crate) fn discard_granularity(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_discard_granularity(self.as_ptr()) }
    }

    /// Tells it that `len` bytes from `at` are of no use: what is read there afterwards is
    /// anything. Whole sectors only. Sleeps.
    pub(crate) fn discard(&self, at: u64, len: u64) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::bdev_discard(self.as_ptr(), at >> 9, len >> 9) })
    }

    /// Whether a write of `len` bytes, a power of two, at a multiple of that, is there as a whole
    /// after a power cut, or not at all, if it asks for that (`REQ_ATOMIC`).
    pub(crate) fn writes_whole(&self, len: u32) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_writes_whole(self.as_ptr(), len) }
    }

    /// Whether it makes zeros of a range without being sent them, and need not keep space for them.
    pub(crate) fn can_zero(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::bdev_can_zero(self.as_ptr()) }
    }

    /// Makes zeros of `len` bytes from `at`. Whole sectors only. Sleeps.
    pub(crate) fn zero(&self, at: u64, len: u64) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::bdev_zero(self.as_ptr(), at >> 9, len >> 9) })
    }

    /// Freezes what is mounted from it, until the guard is dropped. Waits for writers; takes
    /// s_umount, so the caller holds neither that nor anything that holds off a freeze.
    pub(crate) fn freeze(&self) -> Result<FrozenDevice<'_>> {
        // SAFETY: By the type invariant; the guard pairs the call.
        to_result(unsafe { bindings::bdev_freeze(self.as_ptr()) })?;
        Ok(FrozenDevice(self))
    }
}

/// What is mounted from a device stays frozen until this is dropped.
#[must_use]
pub(crate) struct FrozenDevice<'a>(&'a BlockDevice);

impl Drop for FrozenDevice<'_> {
    fn drop(&mut self) {
        // SAFETY: Pairs the call in `BlockDevice::freeze`; the device is open by its invariant.
        if let Err(e) = to_result(unsafe { bindings::bdev_thaw(self.0.as_ptr()) }) {
            pr_err!("a device was not thawed: error {}\n", e.to_errno());
        }
    }
}

/// Whether the machine is being halted or restarted: devices may have been switched off.
pub(crate) fn system_going_down() -> bool {
    // SAFETY: Reads a variable.
    unsafe { bindings::system_going_down() }
}
