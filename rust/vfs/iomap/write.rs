// SPDX-License-Identifier: GPL-2.0

//! Writing to the page cache, and zeroing in it.
//!
//! C header: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

use super::{byte_range, table, Map, MapFlags, MapOps};
use crate::vfs::{
    address_space::{may_fill, AddressSpaceOps},
    bindings,
    blk_crypto,
    fixed,
    folio::Folio,
    inode::{Inode, InodeLock},
    kiocb::{Kiocb, RequestId, RequestLock},
    pagemap::folio_place,
    uio::result_len,
    IovIterSource, //
};
use core::{marker::PhantomData, ops::Range, ptr};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*, //
};

/// Mappings for buffered writes, and their check under the folio lock.
#[vtable]
pub(crate) trait WriteOps: MapOps<Fs: AddressSpaceOps> {
    /// Whether `map` still says the truth. False makes iomap map again.
    fn valid(inode: &Inode<Self::Fs>, map: &Map) -> bool;

    /// The folio of the first byte will be looked up and locked for a write of the bytes. For tests
    /// that hold it here.
    fn before_folio(_inode: &Inode<Self::Fs>, _bytes: Range<u64>) {}
}

struct WriteTable<W>(PhantomData<W>);

impl<W: WriteOps> WriteTable<W> {
    const TABLE: bindings::iomap_write_ops = bindings::iomap_write_ops {
        get_folio: Some(Self::get_folio),
        put_folio: None,
        iomap_valid: Some(Self::valid),
        read_folio_range: None,
    };

    const ENCRYPTED: bindings::iomap_write_ops = bindings::iomap_write_ops {
        read_folio_range: Some(blk_crypto::read_for_write),
        ..Self::TABLE
    };

    /// For this inode. `ENOKEY`.
    fn of(inode: &Inode<W::Fs>) -> Result<*const bindings::iomap_write_ops> {
        Ok(if inode.encrypts_data()? {
            fixed(&Self::ENCRYPTED)
        } else {
            fixed(&Self::TABLE)
        })
    }

    /// Looks the folio up, or adds one, and locks it; not while it may not be filled.
    ///
    /// # Safety
    ///
    /// `iter` is this thread's, over an inode of `W::Fs` that the caller keeps; no folio is locked.
    unsafe extern "C" fn get_folio(
        iter: *mut bindings::iomap_iter,
        pos: i64,
        len: c_uint,
    ) -> *mut bindings::folio {
        // SAFETY: By the caller.
        let (inode, flags) = unsafe {
            (
                Inode::<W::Fs>::from_raw((*iter).inode),
                MapFlags((*iter).flags, RequestId::NONE),
            )
        };
        W::before_folio(inode, byte_range(pos, len.into()));
        loop {
            // SAFETY: As above.
            let folio = unsafe { bindings::iomap_get_folio(iter, pos, len as usize) };
            if from_err_ptr(folio).is_err() {
                return folio;
            }
            // SAFETY: A folio of this inode, locked.
            let range = || unsafe { folio_place::<W::Fs>(folio).1 };
            if may_fill(inode, range) {
                // SAFETY: As above, in the mapping of the inode, and locked until it is returned.
                dirty_if_pinned(&unsafe { Folio::from_raw(folio) });
                return folio;
            }
            let range = range();
            // SAFETY: As above, and ours to put.
            unsafe { bindings::folio_unlock_put(folio) };
            let waited = if flags.nowait() {
                Err(EAGAIN)
            } else {
                W::Fs::wait_to_fill(inode, range)
            };
            if let Err(e) = waited {
                return e.to_ptr();
            }
        }
    }

    /// # Safety
    ///
    /// `inode` is one of `W::Fs` that the caller keeps, and `map` a mapping of it that is this
    /// thread's.
    unsafe extern "C" fn valid(inode: *mut bindings::inode, map: *const bindings::iomap) -> bool {
        // SAFETY: By the caller; `Map` is transparent.
        unsafe { W::valid(Inode::<W::Fs>::from_raw(inode), &*map.cast::<Map>()) }
    }
}

/// A part of the folio is about to become dirty. Who has it pinned to store into it looks in the
/// end whether it is dirty, for all of it, and if so does not make it (`bio_check_pages_dirty()`,
/// `unpin_user_pages_dirty_lock()`): what was stored beside the part would never be written. So all
/// of it is dirty before. A pin that comes later comes by a fault, which makes all of it dirty.
fn dirty_if_pinned(folio: &Folio<'_>) {
    if folio.is_pinned() {
        folio.dirty();
    }
}

/// Writes through the page cache. Returns the bytes written. `EIO` of a file that has none
/// ([`crate::vfs::dax`]).
pub(crate) fn buffered_write<'a, W: WriteOps>(
    iocb: &mut Kiocb<'a, W::Fs>,
    from: &mut IovIterSource<'_>,
    _lock: &RequestLock<'a, InodeLock<'a, W::Fs>>,
) -> Result<usize> {
    if iocb.inode().is_dax() {
        return Err(EIO);
    }
    let ops = WriteTable::<W>::of(iocb.inode())?;
    // SAFETY: By the type invariants of what is passed, so i_rwsem is held exclusive. The tables
    // are static, and iomap keeps no pointer.
    result_len(unsafe {
        bindings::iomap_file_buffered_write(
            iocb.as_ptr(),
            from.as_raw(),
            table::<W>(),
            ops,
            ptr::null_mut(),
        )
    })
}

/// Zeroes the bytes in the page cache where there is data; holes stay. i_rwsem and, if pages could
/// fault in, invalidate_lock are held exclusive. Returns whether anything was dirtied. `EIO` of a
/// file that has no page cache.
pub(crate) fn zero_range<W: WriteOps>(inode: &Inode<W::Fs>, bytes: Range<u64>) -> Result<bool> {
    if inode.is_dax() {
        return Err(EIO);
    }
    let (ops, mut did_zero) = (WriteTable::<W>::of(inode)?, false);
    // SAFETY: By the type invariants of what is passed; the tables are static, and iomap keeps no
    // pointer.
    to_result(unsafe {
        bindings::iomap_zero_range(
            inode.as_ptr(),
            bytes.start as i64,
            (bytes.end - bytes.start) as i64,
            &mut did_zero,
            table::<W>(),
            ops,
            ptr::null_mut(),
        )
    })?;
    Ok(did_zero)
}
