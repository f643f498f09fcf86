// SPDX-License-Identifier: GPL-2.0

//! Address space operations: how C fills, writes and drops the page cache of an inode.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)

use super::{
    bindings,
    blk_crypto::read::ReadTable,
    folio::Folio,
    inode::Inode,
    iomap::{self, MapOps},
    kiocb::not_queued,
    pagemap::folio_place,
    super_block::FileSystem,
    writeback::{self, Writeback}, //
};
use core::{marker::PhantomData, mem, ops::Range};
use kernel::{error::from_result, prelude::*};

/// How the page cache of regular files is filled. How it is written: [`FileSystem::Writeback`].
#[vtable]
pub(crate) trait AddressSpaceOps: FileSystem {
    /// Mappings for reading, also used by `bmap`.
    type ReadOps: MapOps<Fs = Self>;

    /// Mappings of a file that becomes swap, not beyond what is asked for. i_rwsem is held, and
    /// what was dirty is written.
    type SwapOps: MapOps<Fs = Self>;

    /// The largest folios of a regular file, as the order of their number of pages. `pmd`: of those
    /// that khugepaged makes of smaller ones, where it may. Without this they have one page.
    fn max_folio_order(_pmd: u32) -> u32 {
        0
    }

    /// Whether [`AddressSpaceOps::may_fill`] has anything to say about this inode. Asked each time,
    /// in the same place.
    fn is_guarded(_inode: &Inode<Self>) -> bool {
        true
    }

    /// Whether a folio, inserted into the page cache at these bytes and locked, may be filled. For
    /// file systems that hold the page cache off for a while.
    fn may_fill(_inode: &Inode<Self>, _range: Range<u64>) -> bool {
        true
    }

    /// Waits until the bytes may be filled; `EINTR` when killed. No folio is locked.
    fn wait_to_fill(_inode: &Inode<Self>, _range: Range<u64>) -> Result {
        Ok(())
    }

    /// Whether a folio may let go of its state, which it is asked before it is dropped, unless its
    /// blocks go. Also one that has none. May sleep.
    fn may_release(_inode: &Inode<Self>, _folio: &Folio<'_>) -> bool {
        true
    }
}

/// Whether a folio, inserted into the page cache and locked, may be filled. `range` says where.
pub(super) fn may_fill<F: AddressSpaceOps>(
    inode: &Inode<F>,
    range: impl FnOnce() -> Range<u64>,
) -> bool {
    !F::HAS_MAY_FILL || !F::is_guarded(inode) || F::may_fill(inode, range())
}

pub(super) struct AddressSpaceTable<F>(PhantomData<F>);

impl<F: AddressSpaceOps> AddressSpaceTable<F> {
    const WRITES: bool = F::Writeback::HAS_MAP_BLOCKS;

    pub(super) const TABLE: bindings::address_space_operations =
        bindings::address_space_operations {
            read_folio: Some(Self::read_folio),
            readahead: Some(Self::readahead),
            writepages: if Self::WRITES {
                Some(writeback::writepages_callback::<F::Writeback>)
            } else {
                None
            },
            dirty_folio: if Self::WRITES {
                Some(bindings::iomap_dirty_folio)
            } else {
                Some(bindings::noop_dirty_folio)
            },
            bmap: Some(Self::bmap),
            invalidate_folio: Some(bindings::iomap_invalidate_folio),
            release_folio: if F::HAS_MAY_RELEASE {
                Some(Self::release_folio)
            } else {
                Some(bindings::iomap_release_folio)
            },
            migrate_folio: Some(bindings::filemap_migrate_folio),
            is_partially_uptodate: Some(bindings::iomap_is_partially_uptodate),
            error_remove_folio: if F::Writeback::HAS_DISCARD {
                Some(Self::error_remove_folio)
            } else {
                Some(bindings::generic_error_remove_folio)
            },
            swap_activate: if Self::WRITES {
                Some(Self::swap_activate)
            } else {
                None
            },
            // SAFETY: All other members are nullable pointers.
            ..unsafe { mem::zeroed() }
        };

    /// # Safety
    ///
    /// `folio` is locked, not up to date, and in the mapping of an inode of `F`, which the caller
    /// keeps (locking.rst, `read_folio`).
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: By the caller.
        let (inode, range) = unsafe { folio_place::<F>(folio) };
        if may_fill(inode, || range.clone()) {
            // SAFETY: As above; it is unlocked.
            return from_result(|| unsafe { Self::fill(inode, folio) }.map(|()| 0));
        }
        // SAFETY: We own its lock. The caller keeps the folio, and by its file or the mapping's
        // lock the inode.
        unsafe { bindings::folio_unlock(folio) };
        match F::wait_to_fill(inode, range) {
            // The caller looks the folio up again.
            Ok(()) => bindings::positive_aop_returns_AOP_TRUNCATED_PAGE as c_int,
            Err(e) => not_queued(e).to_errno(),
        }
    }

    /// Reads a folio, which is unlocked when that is done, or has failed.
    ///
    /// # Safety
    ///
    /// As for [`Self::read_folio`], with the inode of the folio.
    unsafe fn fill(inode: &Inode<F>, folio: *mut bindings::folio) -> Result {
        match inode.encrypts_data() {
            // SAFETY: By the caller; iomap unlocks it.
            Ok(false) => unsafe {
                bindings::iomap_bio_read_folio(folio, iomap::table::<F::ReadOps>())
            },
            // SAFETY: By the caller.
            Ok(true) => return unsafe { ReadTable::<F::ReadOps, F::Writeback>::read_folio(folio) },
            Err(e) => {
                // SAFETY: By the caller we own its lock.
                unsafe { bindings::folio_unlock(folio) };
                return Err(e);
            }
        }
        Ok(())
    }

    /// # Safety
    ///
    /// `folio` is locked and in the mapping of an inode of `F`, which that keeps.
    unsafe extern "C" fn release_folio(folio: *mut bindings::folio, gfp: bindings::gfp_t) -> bool {
        // SAFETY: By the caller.
        unsafe {
            let inode = Inode::from_raw(bindings::folio_inode(folio));
            F::may_release(inode, &Folio::from_raw(folio))
                && bindings::iomap_release_folio(folio, gfp)
        }
    }

    /// The memory of a folio has failed: it goes, dirty or not, and with it what is reserved for
    /// its data. Before, while the folio is locked and in its place: who wants to dirty it has to
    /// wait, and finds that his mapping is stale.
    ///
    /// # Safety
    ///
    /// `folio` is locked and refers to a mapping of an inode of `F`; if that is still `mapping`, it
    /// keeps the inode (memory_failure()).
    unsafe extern "C" fn error_remove_folio(
        mapping: *mut bindings::address_space,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: By the caller.
        unsafe {
            if !mapping.is_null() && (*folio).__bindgen_anon_1.__bindgen_anon_1.mapping == mapping {
                let (inode, range) = folio_place::<F>(folio);
                F::Writeback::discard(inode, range);
            }
            bindings::generic_error_remove_folio(mapping, folio)
        }
    }

    /// # Safety
    ///
    /// `rac` is this thread's, over locked folios of an inode of `F` (read_pages()).
    unsafe extern "C" fn readahead(rac: *mut bindings::readahead_control) {
        // SAFETY: By the caller.
        let inode = unsafe { Inode::<F>::from_raw(bindings::readahead_inode(rac)) };
        let range = || {
            // SAFETY: As above.
            unsafe {
                let start = bindings::readahead_pos(rac) as u64;
                start..start + bindings::readahead_length(rac) as u64
            }
        };
        if !may_fill(inode, range) {
            // The VFS takes out what we did not take.
            return;
        }
        match inode.encrypts_data() {
            // SAFETY: As above.
            Ok(false) => unsafe {
                bindings::iomap_bio_readahead(rac, iomap::table::<F::ReadOps>())
            },
            // SAFETY: As above.
            Ok(true) => unsafe { ReadTable::<F::ReadOps, F::Writeback>::readahead(rac) },
            // Nor here: who reads the folios one by one is told why.
            Err(_) => (),
        }
    }

    /// swapon: tells the kernel the blocks of a file, which it reads and writes from then on
    /// without asking. `EINVAL` if some are missing. Unwritten ones do, and stay so.
    ///
    /// The VFS holds i_rwsem, exclusive, until the inode has `S_SWAPFILE`. Whoever would move or
    /// free blocks therefore looks at that ([`Inode::is_swapfile`]) with the lock held; what the
    /// VFS looks at before it calls may be old:
    ///
    /// ```text
    ///   fallocate(PUNCH_HOLE)                   swapon
    ///   vfs_fallocate: no swap file
    ///                                           locks, asks for the blocks, S_SWAPFILE
    ///   locks, frees blocks                     <- pages go out to blocks that are another file's
    /// ```
    ///
    /// # Safety
    ///
    /// `file` is an open file of `F` whose i_rwsem is held exclusive; `sis` is its swap area and
    /// `span` is to be written (swapon(2)).
    unsafe extern "C" fn swap_activate(
        sis: *mut bindings::swap_info_struct,
        file: *mut bindings::file,
        span: *mut bindings::sector_t,
    ) -> c_int {
        // SAFETY: By the caller. The C function first writes and commits the file (fsync).
        unsafe { bindings::swapfile_activate(sis, file, span, iomap::table::<F::SwapOps>()) }
    }

    /// # Safety
    ///
    /// `mapping` is of an inode of `F`, which the caller keeps.
    unsafe extern "C" fn bmap(
        mapping: *mut bindings::address_space,
        block: bindings::sector_t,
    ) -> bindings::sector_t {
        // SAFETY: By the caller.
        unsafe { bindings::iomap_bmap(mapping, block, iomap::table::<F::ReadOps>()) }
    }
}

/// Those of a file that is accessed directly ([`super::dax`]): how what is mapped gets to the
/// memory. Nothing is ever read, so it cannot become swap.
pub(super) struct DaxTable<F>(PhantomData<F>);

impl<F: AddressSpaceOps> DaxTable<F> {
    pub(super) const TABLE: bindings::address_space_operations =
        bindings::address_space_operations {
            writepages: Some(Self::writepages),
            dirty_folio: Some(bindings::noop_dirty_folio),
            bmap: Some(AddressSpaceTable::<F>::bmap),
            // SAFETY: All other members are nullable pointers.
            ..unsafe { mem::zeroed() }
        };

    /// Writes what CPUs have cached of mapped pages to the memory, and has the next store ask
    /// again. Starts no handle, so a freeze need not be waited for.
    ///
    /// # Safety
    ///
    /// `mapping` is of a regular file of `F` that is accessed directly, which the caller keeps;
    /// `wbc` is this thread's.
    unsafe extern "C" fn writepages(
        mapping: *mut bindings::address_space,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: By the caller.
        let inode = unsafe { Inode::<F>::from_raw((*mapping).host) };
        match inode.sb().dax() {
            // SAFETY: By the caller, and the type invariant of the device.
            Some(dax) => unsafe { bindings::dax_write_back(mapping, dax.as_ptr(), wbc) },
            None => EIO.to_errno(),
        }
    }
}
