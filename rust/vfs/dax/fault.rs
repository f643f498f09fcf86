// SPDX-License-Identifier: GPL-2.0

//! Faults in mappings of the device's memory, of a page or of as many as a PMD maps.
//!
//! C headers: [`include/linux/dax.h`](srctree/include/linux/dax.h),
//! [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::vfs::{
    bindings,
    inode::Inode,
    iomap::{self, MapOps},
    kiocb::Only,
    mmap::VmFault,
    pagemap::InvalidateLockShared,
    super_block::FileSystem, //
};
use core::{cell::Cell, marker::PhantomData, ops::Range};
use kernel::{error::to_result, page::PAGE_SHIFT, prelude::*};

/// A fault in a mapping of a file that is accessed directly: nothing is mapped there, or it is
/// read-only and is to be stored to. mmap_lock (or the vma lock) is held.
///
/// # Invariants
///
/// The pointer is to a fault of this thread in a mapping of such a file of `F`, valid for `'a`. No
/// other fault has the lifetime `'a`.
pub(crate) struct DaxFault<'a, F> {
    vmf: *mut bindings::vm_fault,
    order: u32,
    /// What C has answered, once something is mapped.
    answer: Cell<Option<bindings::vm_fault_t>>,
    _fault: Only<'a>,
    _fs: PhantomData<&'a F>,
}

impl<'a, F: FileSystem> DaxFault<'a, F> {
    /// # Safety
    ///
    /// `vmf` is a fault of this thread in a mapping of a file of `F` that is accessed directly,
    /// valid for `'a`; mmap_lock or the lock of the vma is held. Who gets it has to take any `'a`,
    /// so that it is no other fault's.
    pub(in crate::vfs) unsafe fn from_raw(vmf: *mut bindings::vm_fault, order: u32) -> Self {
        // INVARIANT: By the caller.
        Self {
            vmf,
            order,
            answer: Cell::new(None),
            _fault: PhantomData,
            _fs: PhantomData,
        }
    }

    fn file(&self) -> *mut bindings::file {
        // SAFETY: By the type invariant.
        unsafe { (*(*self.vmf).__bindgen_anon_1.vma).vm_file }
    }

    /// The inode of the mapped file.
    pub(crate) fn inode(&self) -> &'a Inode<F> {
        // SAFETY: By the type invariant; the vma keeps the file, the file its inode.
        unsafe { Inode::from_raw((*self.file()).f_inode) }
    }

    /// The bytes of the file that are to be mapped, if all of them can be.
    pub(crate) fn bytes(&self) -> Range<u64> {
        // SAFETY: By the type invariant; the page offset is constant during it.
        let page = unsafe { (*self.vmf).__bindgen_anon_1.pgoff as u64 };
        let first = page >> self.order << self.order;
        first << PAGE_SHIFT..(first + (1 << self.order)) << PAGE_SHIFT
    }

    /// Whether the file is to be changed: a store, and not to a private copy.
    pub(crate) fn is_write(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::vmf_is_shared_write(self.vmf) }
    }

    /// Updates mtime and ctime.
    pub(crate) fn update_time(&self) -> Result {
        // SAFETY: By the type invariant the vma keeps its file.
        to_result(unsafe { bindings::file_update_time(self.file()) })
    }

    /// The answer to the fault: that of C, if C was asked, whatever the file system says. By then a
    /// page may be mapped.
    pub(in crate::vfs) fn answer(&self, said: VmFault<'a>) -> bindings::vm_fault_t {
        self.answer.get().unwrap_or(said.bits())
    }

    /// Takes invalidate_lock of the mapped file, shared.
    pub(crate) fn invalidate_lock_shared(&self) -> LockedDaxFault<'_, 'a, F> {
        LockedDaxFault {
            fault: self,
            _lock: self.inode().invalidate_lock_shared(),
        }
    }
}

/// A fault with invalidate_lock of its file held, so that the blocks stay in their place.
#[must_use]
pub(crate) struct LockedDaxFault<'f, 'a, F: FileSystem> {
    fault: &'f DaxFault<'a, F>,
    _lock: InvalidateLockShared<'a, F>,
}

impl<'a, F: FileSystem> LockedDaxFault<'_, 'a, F> {
    /// Maps what is to be mapped. Where `T` says that its metadata is not durable
    /// ([`iomap::Map::set_dirty`]) and the mapping is to be stored to without fsync (MAP_SYNC), the
    /// file is synced first, by `FileOps::fsync` with all this held. Once: SIGBUS if it was done.
    pub(crate) fn map<T: MapOps<Fs = F>>(self) -> VmFault<'a> {
        if self.fault.answer.get().is_some() {
            return EIO.into();
        }
        let (vmf, order, mut page) = (self.fault.vmf, self.fault.order, 0);
        // SAFETY: By the type invariant of `DaxFault`. The table is static, and nothing is kept.
        let mut answer = unsafe { bindings::dax_fault(vmf, order, &mut page, iomap::table::<T>()) };
        if answer & bindings::VM_FAULT_NEEDDSYNC != 0 {
            // SAFETY: As above; `page` is what the function has found for this fault.
            answer = unsafe { bindings::dax_sync_fault(vmf, order, page) };
        }
        self.fault.answer.set(Some(answer));
        // SAFETY: It is the answer to the fault that has this lifetime.
        unsafe { VmFault::from_bits(answer) }
    }
}
