// SPDX-License-Identifier: GPL-2.0

//! Super blocks that are being filled.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::FileSystem;
use crate::vfs::{
    bh::BufferHead,
    bindings,
    blkdev::BlockDevice,
    export::{Export, ExportTable},
    fixed,
    fs_context::MountLog, //
};
use core::marker::PhantomData;
use kernel::{prelude::*, str::CStr};

/// A super block during the first half of mount: no data, no inodes. It gets no operations on
/// dentries (`s_d_op`): names are bytes, and nobody but the VFS changes them while it is mounted.
///
/// # Invariants
///
/// The pointer is to a super block of `F` that has its device and is being filled by this thread,
/// valid for `'a`.
pub(crate) struct NewSuper<'a, F>(
    pub(super) *mut bindings::super_block,
    pub(super) MountLog<'a>,
    pub(super) PhantomData<&'a F>,
);

impl<F: FileSystem> NewSuper<'_, F> {
    pub(in crate::vfs) fn as_ptr(&self) -> *mut bindings::super_block {
        self.0
    }

    /// Where to say why the mount is refused.
    pub(crate) fn log(&self) -> &MountLog<'_> {
        &self.1
    }

    /// Sets the block size in bytes (a power of two). `EINVAL` if the device cannot do it.
    pub(crate) fn set_blocksize(&self, size: u32) -> Result {
        // SAFETY: By the type invariant.
        if unsafe { bindings::sb_set_blocksize(self.0, size as c_int) } == 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// The block device.
    pub(crate) fn device(&self) -> &BlockDevice {
        // SAFETY: By the type invariant, open as long as it lives.
        unsafe { BlockDevice::from_raw((*self.0).s_bdev) }
    }

    /// Bytes of a sector of the device, a power of two: no block can be smaller.
    pub(crate) fn sector_size(&self) -> u32 {
        self.device().sector_size()
    }

    /// Like [`SuperBlock::bread`](super::SuperBlock::bread), into memory that is not movable: what
    /// is read here is kept as long as the mount lasts.
    pub(crate) fn bread(&self, block: u64) -> Result<BufferHead> {
        // SAFETY: By the type invariant.
        unsafe { BufferHead::getblk_unmovable(self.0, block) }?.read_in()
    }

    /// Like [`SuperBlock::breadahead`](super::SuperBlock::breadahead).
    pub(crate) fn breadahead(&self, block: u64) {
        // SAFETY: By the type invariant.
        unsafe { BufferHead::breadahead(self.0, block) }
    }

    /// Size of the device in bytes.
    pub(crate) fn device_bytes(&self) -> u64 {
        self.device().size()
    }

    /// Whether the mount asked for read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::sb_rdonly(self.0) }
    }

    /// Whether the device itself refuses writes.
    pub(crate) fn device_is_read_only(&self) -> bool {
        self.device().is_read_only()
    }

    /// Name of the device, as in log messages.
    pub(crate) fn id(&self) -> &CStr {
        // SAFETY: `s_id` is a NUL-terminated array that does not change after setup.
        unsafe { CStr::from_char_ptr((*self.0).s_id.as_ptr()) }
    }

    /// The static facts of the format: magic, largest file in bytes, time range in seconds and
    /// the granularity in nanoseconds.
    pub(crate) fn set_params(&self, magic: u64, max_bytes: i64, time: (i64, i64, u32), links: u32) {
        // SAFETY: By the type invariant.
        unsafe {
            (*self.0).s_magic = magic as usize;
            (*self.0).s_maxbytes = max_bytes;
            (*self.0).s_time_min = time.0;
            (*self.0).s_time_max = time.1;
            (*self.0).s_time_gran = time.2;
            (*self.0).s_max_links = links;
        }
    }

    /// Gives its inodes handles ([`Export`]).
    pub(crate) fn set_export(&self)
    where
        F: Export,
    {
        // SAFETY: By the type invariant; the table is static and made for `F`.
        unsafe { (*self.0).s_export_op = (&raw const *fixed(&ExportTable::<F>::TABLE)).cast() }
    }

    /// Sets the UUID that is reported to user space.
    pub(crate) fn set_uuid(&self, uuid: &[u8; 16]) {
        // SAFETY: By the type invariant; 16 bytes are read.
        unsafe { bindings::set_uuid(self.0, uuid.as_ptr()) }
    }
}
