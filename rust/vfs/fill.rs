// SPDX-License-Identifier: GPL-2.0

//! Page caches that are filled by copying, for formats whose data does not lie in whole blocks, so
//! that iomap cannot read it. What is filled so is only read. All others:
//! [`super::address_space`].
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/highmem.h`](srctree/include/linux/highmem.h)

use super::{
    bh::BufferHead,
    bindings,
    file::FileOps,
    fixed,
    inode::{Hashed, Inode, InodeOps, NewInode, Ready},
    pagemap::folio_place,
    super_block::FileSystem, //
};
use core::{marker::PhantomData, mem, ops::Range};
use kernel::{error::from_result, prelude::*};

/// How the page cache of such files is filled.
pub(crate) trait Fill: FileSystem {
    /// Copies what the file has at the bytes of `folio` into it. What is not copied reads as zeros,
    /// as it must beyond the end of the file. The folio is locked. Sleeps; an error is the reader's
    /// (`EIO`, or SIGBUS).
    fn fill(inode: &Inode<Self>, folio: &mut NewFolio<'_>) -> Result;
}

/// A folio that has come into the page cache and is not up to date, so that nobody reads it.
///
/// # Invariants
///
/// The folio is locked and covers these bytes of its file.
pub(crate) struct NewFolio<'a> {
    folio: *mut bindings::folio,
    range: Range<u64>,
    _lock: PhantomData<&'a mut ()>,
}

impl NewFolio<'_> {
    /// The bytes of the file that it is for.
    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Copies `from` of a block to byte `at` of the file. `EINVAL` if they do not all lie in both.
    pub(crate) fn copy_from(&mut self, at: u64, block: &BufferHead, from: Range<usize>) -> Result {
        let len = from.end.checked_sub(from.start).ok_or(EINVAL)?;
        let end = at.checked_add(len as u64).ok_or(EINVAL)?;
        if at < self.range.start || end > self.range.end {
            return Err(EINVAL);
        }
        let src = block.span(from.start, len)?;
        // SAFETY: By the type invariant and the checks the bytes lie in both. Nobody else writes
        // to the folio; what changes in the block meanwhile is copied by C.
        unsafe {
            bindings::memcpy_to_folio(
                self.folio,
                (at - self.range.start) as usize,
                src.cast(),
                len,
            )
        };
        Ok(())
    }
}

struct FillTable<F>(PhantomData<F>);

impl<F: Fill> FillTable<F> {
    const TABLE: bindings::address_space_operations = bindings::address_space_operations {
        read_folio: Some(Self::read_folio),
        dirty_folio: Some(bindings::noop_dirty_folio),
        migrate_folio: Some(bindings::filemap_migrate_folio),
        error_remove_folio: Some(bindings::generic_error_remove_folio),
        // SAFETY: All other members are nullable pointers.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// `folio` is locked, not up to date, and in a mapping of an inode of `F`, which stays during
    /// the call.
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: By the caller.
        let (inode, range) = unsafe { folio_place::<F>(folio) };
        // SAFETY: By the caller; nobody reads it yet.
        unsafe { bindings::folio_zero_range(folio, 0, (range.end - range.start) as usize) };
        // INVARIANT: By the caller.
        let mut new = NewFolio {
            folio,
            range,
            _lock: PhantomData,
        };
        let filled = F::fill(inode, &mut new);
        // SAFETY: By the caller; gives up the lock.
        unsafe { bindings::folio_end_read(folio, filled.is_ok()) };
        from_result(|| filled.map(|()| 0))
    }
}

impl<'sb, F: FileSystem> NewInode<'sb, F, Hashed> {
    /// Makes it a regular file whose pages [`Fill`] fills. `EINVAL` if its mode says otherwise.
    pub(crate) fn regular_filled(self) -> Result<NewInode<'sb, F, Ready>>
    where
        F: Fill + FileOps + InodeOps,
    {
        self.make_regular(fixed(&FillTable::<F>::TABLE))
    }
}
