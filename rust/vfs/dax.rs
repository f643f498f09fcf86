// SPDX-License-Identifier: GPL-2.0

//! Direct access: files whose pages are the memory of their device (pmem). There is no page cache,
//! so a read copies from that memory, and a mapping shows it. What the page cache of other inodes
//! has are entries here that say which page is mapped, and which may be in a CPU's cache only.
//!
//! Whether an inode is one is decided before it is visible, and stays so (`NewInode::dax`): the
//! page cache and these entries do not go together. What is for the one kind is refused for the
//! other, in this layer, whatever the file system asks for.
//!
//! A mapping of iomap's becomes an address of the machine here, and nobody behind it looks at the
//! end of the device, as the block layer does. So each is checked when it is made
//! ([`iomap::Map`]).
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)

mod fault;
mod layout;

pub(crate) use fault::DaxFault;

use super::{
    bindings,
    inode::{Inode, InodeLock, InodeLockShared},
    iomap::{self, MapOps},
    kiocb::{Kiocb, RequestLock},
    memory::DaxDevice,
    super_block::{FileSystem, NewSuper, SuperBlock},
    uio::result_len,
    IovIterDest,
    IovIterSource, //
};
use core::ops::Range;
use kernel::{error::to_result, page::PAGE_SHIFT, prelude::*};

impl<F: FileSystem> NewSuper<'_, F> {
    /// Whether the device has memory that can be addressed, so that files may be accessed directly
    /// where blocks are pages.
    pub(crate) fn has_memory(&self) -> bool {
        // SAFETY: By the type invariant it has its device, which is open.
        unsafe { DaxDevice::of((*self.as_ptr()).s_bdev) }.is_some()
    }
}

impl<F: FileSystem> SuperBlock<F> {
    /// Whether files may be accessed directly: their device has memory, and blocks are pages.
    pub(crate) fn can_dax(&self) -> bool {
        self.dax().is_some() && self.block_bits() as usize == PAGE_SHIFT
    }

    /// The byte of the memory with which the device begins, if it is a partition; 0 without memory.
    pub(crate) fn memory_start(&self) -> u64 {
        self.dax().map_or(0, DaxDevice::start)
    }

    /// Makes zeros of these bytes of the device, whole pages, past all caches. `EIO` if they are
    /// not in its memory. Sleeps not.
    pub(crate) fn zero_memory(&self, bytes: Range<u64>) -> Result {
        let dax = self.dax().ok_or(EIO)?;
        let place = dax.place(bytes.start, bytes.end.saturating_sub(bytes.start))?;
        let end = place + (bytes.end - bytes.start);
        for page in (place >> PAGE_SHIFT)..(end >> PAGE_SHIFT) {
            // SAFETY: By the type invariant of the device, and in it.
            to_result(unsafe { bindings::dax_zero_page(dax.as_ptr(), page as usize) })?;
        }
        Ok(())
    }
}

impl<F: FileSystem> Inode<F> {
    /// Whether it is a file that is accessed directly. It stays so.
    pub(crate) fn is_dax(&self) -> bool {
        // SAFETY: By the type invariant. The flag is set before the inode is visible.
        let flags = unsafe { (&raw const (*self.as_ptr()).i_flags).read_volatile() };
        flags & bindings::S_DAX != 0
    }

    /// Has it leave the memory with its last user, so that it is read from the disk again.
    pub(crate) fn dont_cache(&self) {
        // SAFETY: By the type invariant; takes the inode's lock.
        unsafe { bindings::d_mark_dontcache(self.as_ptr()) }
    }
}

/// Reads from the memory. Returns the bytes read. `EIO` of a file that is not accessed directly.
/// Touches user memory.
pub(crate) fn read<'a, T: MapOps>(
    iocb: &mut Kiocb<'a, T::Fs>,
    to: &mut IovIterDest<'_>,
    _lock: &RequestLock<'a, InodeLockShared<'a, T::Fs>>,
) -> Result<usize> {
    if !iocb.inode().is_dax() {
        return Err(EIO);
    }
    // SAFETY: By the type invariants of what is passed, so i_rwsem is held. The table is static,
    // and nothing is kept.
    result_len(unsafe { bindings::dax_rw(iocb.as_ptr(), to.as_raw(), iomap::table::<T>()) })
}

/// Writes to the memory, past all caches. Returns the bytes written. `EIO` of a file that is not
/// accessed directly, `EOPNOTSUPP` if all or nothing is to be written. Touches user memory.
pub(crate) fn write<'a, T: MapOps>(
    iocb: &mut Kiocb<'a, T::Fs>,
    from: &mut IovIterSource<'_>,
    _lock: &RequestLock<'a, InodeLock<'a, T::Fs>>,
) -> Result<usize> {
    if !iocb.inode().is_dax() {
        return Err(EIO);
    }
    if iocb.is_whole() {
        return Err(EOPNOTSUPP);
    }
    // SAFETY: As in `read`; i_rwsem is held exclusive.
    result_len(unsafe { bindings::dax_rw(iocb.as_ptr(), from.as_raw(), iomap::table::<T>()) })
}

/// Zeroes the bytes in the memory where there is data; holes and unwritten blocks stay. Returns
/// whether anything was. `EIO` of a file that is not accessed directly.
pub(crate) fn zero_range<T: MapOps>(inode: &Inode<T::Fs>, bytes: Range<u64>) -> Result<bool> {
    if !inode.is_dax() {
        return Err(EIO);
    }
    let (start, len) = (bytes.start as i64, (bytes.end - bytes.start) as i64);
    let mut did_zero = false;
    // SAFETY: By the type invariants of what is passed; the table is static, and nothing is kept.
    to_result(unsafe {
        bindings::dax_zero(
            inode.as_ptr(),
            start,
            len,
            &mut did_zero,
            iomap::table::<T>(),
        )
    })?;
    Ok(did_zero)
}
