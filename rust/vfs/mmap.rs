// SPDX-License-Identifier: GPL-2.0

//! Shared mappings of files.
//!
//! The kernel crate's `mm::virt::VmaRef` stands for what a driver maps its own memory into. iomap
//! and the page cache take the `struct vm_fault`, and of the vma only the file is asked for.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    bindings,
    inode::Inode,
    iomap::{self, MapOps},
    kiocb::Only,
    pagemap::InvalidateLockShared,
    super_block::FileSystem, //
};
use core::{marker::PhantomData, ptr};
use kernel::{error::to_result, prelude::*};

/// The answer to a fault. It may say that the folio is locked, for who has asked to unlock
/// (VM_FAULT_LOCKED): so it is for that fault, and no other.
///
/// # Invariants
///
/// It is the answer to the fault whose lifetime is `'a`.
#[must_use]
pub(crate) struct VmFault<'a>(bindings::vm_fault_t, Only<'a>);

impl VmFault<'_> {
    /// # Safety
    ///
    /// `bits` is the answer to the fault that has the lifetime.
    pub(super) unsafe fn from_bits(bits: bindings::vm_fault_t) -> Self {
        // INVARIANT: By the caller.
        Self(bits, PhantomData)
    }

    /// `VM_FAULT_*`.
    pub(crate) fn bits(&self) -> u32 {
        self.0
    }
}

impl From<Error> for VmFault<'_> {
    fn from(e: Error) -> Self {
        // SAFETY: A pure function: no space and I/O errors are SIGBUS, no memory is OOM. INVARIANT:
        // It is an answer to any fault, since it locks nothing.
        Self(unsafe { bindings::vmf_fs_error(e.to_errno()) }, PhantomData)
    }
}

/// A write fault on a page that was read-only so far. mmap_lock (or the vma lock) is held.
///
/// # Invariants
///
/// The pointer is to a write fault of this thread in a mapping of a file of `F`, valid for `'a`. No
/// other fault has the lifetime `'a`.
pub(crate) struct Fault<'a, F>(*mut bindings::vm_fault, Only<'a>, PhantomData<&'a F>);

impl<'a, F: FileSystem> Fault<'a, F> {
    /// # Safety
    ///
    /// `vmf` is a write fault of this thread in a mapping of a file of `F`, valid for `'a`;
    /// mmap_lock or the lock of the vma is held. Who gets it has to take any `'a`, so that it is no
    /// other fault's.
    pub(super) unsafe fn from_raw(vmf: *mut bindings::vm_fault) -> Self {
        // INVARIANT: By the caller.
        Self(vmf, PhantomData, PhantomData)
    }

    fn file(&self) -> *mut bindings::file {
        // SAFETY: By the type invariant.
        unsafe { (*(*self.0).__bindgen_anon_1.vma).vm_file }
    }

    /// The inode of the mapped file.
    pub(crate) fn inode(&self) -> &'a Inode<F> {
        // SAFETY: By the type invariant; the vma keeps the file, the file its inode.
        unsafe { Inode::from_raw((*self.file()).f_inode) }
    }

    /// The first byte of the page in the file.
    pub(crate) fn pos(&self) -> u64 {
        // SAFETY: By the type invariant; the page offset is constant during it.
        unsafe { ((*self.0).__bindgen_anon_1.pgoff as u64) << kernel::page::PAGE_SHIFT }
    }

    /// Updates mtime and ctime.
    pub(crate) fn update_time(&self) -> Result {
        // SAFETY: By the type invariant the vma keeps its file.
        to_result(unsafe { bindings::file_update_time(self.file()) })
    }

    /// Takes invalidate_lock of the mapped file, shared.
    pub(crate) fn invalidate_lock_shared(&self) -> LockedFault<'_, 'a, F> {
        LockedFault {
            fault: self,
            _lock: self.inode().invalidate_lock_shared(),
        }
    }
}

/// A fault with invalidate_lock of its file held, so that the blocks stay in their place.
#[must_use]
pub(crate) struct LockedFault<'f, 'a, F: FileSystem> {
    fault: &'f Fault<'a, F>,
    _lock: InvalidateLockShared<'a, F>,
}

impl<'a, F: FileSystem> LockedFault<'_, 'a, F> {
    /// Maps every block of the folio for writing and dirties it. The answer may say that the folio
    /// is locked now, so this is the last step.
    pub(crate) fn page_mkwrite<T: MapOps<Fs = F>>(self) -> VmFault<'a> {
        // SAFETY: By the type invariant of `Fault`.
        let answer = unsafe {
            bindings::iomap_page_mkwrite(self.fault.0, iomap::table::<T>(), ptr::null_mut())
        };
        // INVARIANT: The fault has this lifetime.
        VmFault(answer, PhantomData)
    }
}
