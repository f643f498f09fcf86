// SPDX-License-Identifier: GPL-2.0

//! FIEMAP: reports of where something is.
//!
//! C header: [`include/linux/fiemap.h`](srctree/include/linux/fiemap.h)

use super::{table, MapOps};
use crate::vfs::{bindings, inode::Inode};
use core::{marker::PhantomData, ops::Range};
use kernel::{error::to_result, prelude::*};

/// Where FIEMAP puts extents.
///
/// # Invariants
///
/// The pointer is valid for the lifetime, and nobody else uses it.
pub(crate) struct FiemapInfo<'a>(*mut bindings::fiemap_extent_info, PhantomData<&'a mut ()>);

impl FiemapInfo<'_> {
    /// # Safety
    ///
    /// `ptr` is valid for the lifetime.
    pub(in crate::vfs) unsafe fn from_raw(ptr: *mut kernel::bindings::fiemap_extent_info) -> Self {
        Self(ptr.cast(), PhantomData)
    }

    /// Whether a flag is set. Then it no longer is: iomap would not know it.
    fn take(&mut self, flag: u32) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::fiemap_take(self.0.cast(), flag) }
    }

    /// Whether the place of the attributes is asked for, not that of the data.
    pub(crate) fn take_xattr(&mut self) -> bool {
        self.take(bindings::FIEMAP_FLAG_XATTR)
    }

    /// Whether the file system had better keep all extents in memory from now on.
    pub(crate) fn take_cache(&mut self) -> bool {
        self.take(bindings::FIEMAP_FLAG_CACHE)
    }
}

/// Reports the extents of the bytes. `ENOENT` of the operations ends the report, and is no error.
pub(crate) fn fiemap<T: MapOps>(
    inode: &Inode<T::Fs>,
    info: FiemapInfo<'_>,
    bytes: Range<u64>,
) -> Result {
    let (start, len) = (bytes.start, bytes.end - bytes.start);
    // SAFETY: By the type invariants of what is passed; the tables are static, and iomap keeps no
    // pointer.
    to_result(unsafe {
        bindings::iomap_fiemap(inode.as_ptr(), info.0.cast(), start, len, table::<T>())
    })
}
