// SPDX-License-Identifier: GPL-2.0

//! Direct I/O by iomap.
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

mod guarded;

pub(crate) use guarded::{write_guarded, Guard, Pinned};

#[cfg(REXT4_LAB)]
use super::inode::Inode;
use super::{
    bindings,
    file::{result_len, IovIter, Kiocb},
    iomap::{self, MapOps},
    super_block::FileSystem, //
};
use core::{marker::PhantomData, ptr};
use kernel::{error::from_result, prelude::*};

/// What a direct write is told.
#[derive(Clone, Copy, Default)]
pub(crate) struct DioFlags {
    /// Complete before returning even if the request is asynchronous.
    pub(crate) force_wait: bool,
    /// `EAGAIN` instead of allocating blocks or zeroing parts of them.
    pub(crate) overwrite_only: bool,
}

/// A bio of a direct write that has not been submitted. Submitted when it is dropped.
///
/// It holds no reference to the inode: until the bio is done the request is not complete, which keeps
/// its file, that the inode and the mount. After that nobody may look at either any more.
///
/// # Invariants
///
/// The bio is iomap's for the inode, whose request waits for it; nobody has submitted it.
#[cfg(REXT4_LAB)]
pub(crate) struct DioBio<F: FileSystem>(*mut bindings::bio, *mut bindings::inode, PhantomData<F>);

// SAFETY: iomap has handed the bio over; a bio may be submitted by any thread.
#[cfg(REXT4_LAB)]
unsafe impl<F: FileSystem> Send for DioBio<F> {}

#[cfg(REXT4_LAB)]
impl<F: FileSystem> DioBio<F> {
    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        // SAFETY: By the type invariant, valid until it is submitted.
        unsafe { (*self.0).bi_iter.bi_size.into() }
    }

    /// The file it writes to.
    pub(crate) fn inode(&self) -> &Inode<F> {
        // SAFETY: By the type invariant the request keeps it, and the bio is submitted when no
        // borrow of `self` is left.
        unsafe { Inode::from_raw(self.1) }
    }
}

#[cfg(REXT4_LAB)]
impl<F: FileSystem> Drop for DioBio<F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. As iomap does it for those who do not ask.
        unsafe { bindings::submit_bio(self.0) }
    }
}

/// Completion of direct writes.
pub(crate) trait DioOps<F: FileSystem>: 'static {
    /// `size` bytes from `iocb.pos()` were transferred (or none, with `error`). Runs in process
    /// context, before iomap invalidates the page cache a second time.
    fn end_io(iocb: &Kiocb<'_, F>, size: u64, error: Result, unwritten: bool) -> Result;

    /// Submits a bio for the file's bytes from `pos` on.
    #[cfg(REXT4_LAB)]
    fn submit(bio: DioBio<F>, pos: u64);
}

struct DioTable<F, D>(PhantomData<(F, D)>);

impl<F: FileSystem, D: DioOps<F>> DioTable<F, D> {
    const TABLE: bindings::iomap_dio_ops = bindings::iomap_dio_ops {
        end_io: Some(Self::end_io),
        #[cfg(not(REXT4_LAB))]
        submit_io: None,
        #[cfg(REXT4_LAB)]
        submit_io: Some(Self::submit_io),
        bio_set: ptr::null_mut(),
    };

    #[cfg(REXT4_LAB)]
    unsafe extern "C" fn submit_io(
        iter: *const bindings::iomap_iter,
        bio: *mut bindings::bio,
        pos: i64,
    ) {
        // SAFETY: iomap passes its iterator over an inode of ours.
        let inode = unsafe { (*iter).inode };
        // INVARIANT: iomap has counted the bio as in flight, and leaves it to us to submit it.
        D::submit(DioBio(bio, inode, PhantomData), pos as u64);
    }

    unsafe extern "C" fn end_io(
        iocb: *mut bindings::kiocb,
        size: isize,
        error: c_int,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: iomap passes the request it was given, not yet completed.
        let iocb = unsafe { Kiocb::<F>::from_raw(iocb) };
        let unwritten = flags & bindings::IOMAP_DIO_UNWRITTEN != 0;
        let error = if error == 0 {
            Ok(())
        } else {
            Err(Error::from_errno(error))
        };
        from_result(|| {
            D::end_io(&iocb, u64::try_from(size).unwrap_or(0), error, unwritten).map(|()| 0)
        })
    }
}

/// Reads directly. Returns the bytes read, `EIOCBQUEUED` if the request completes later.
pub(crate) fn read<F: FileSystem, T: MapOps<F>>(
    iocb: &mut Kiocb<'_, F>,
    to: &mut IovIter<'_>,
) -> Result<usize> {
    // SAFETY: All pointers are valid during the call; iomap keeps the request if it is queued.
    result_len(unsafe {
        bindings::iomap_dio_rw(
            iocb.as_ptr(),
            to.as_ptr(),
            iomap::table::<F, T>(),
            ptr::null(),
            0,
            ptr::null_mut(),
            0,
        )
    })
}

/// Writes directly. `ENOTBLK`: the page cache could not be invalidated, write buffered instead.
pub(crate) fn write<F: FileSystem, T: MapOps<F>, D: DioOps<F>>(
    iocb: &mut Kiocb<'_, F>,
    from: &mut IovIter<'_>,
    flags: DioFlags,
) -> Result<usize> {
    // SAFETY: The request is valid; iomap keeps it if it is queued.
    unsafe { write_raw::<F, T, D>(iocb.as_ptr(), from, flags) }
}

/// # Safety
///
/// `iocb` is a request on a file of file system `F`, valid until it is completed.
unsafe fn write_raw<F: FileSystem, T: MapOps<F>, D: DioOps<F>>(
    iocb: *mut bindings::kiocb,
    from: &mut IovIter<'_>,
    flags: DioFlags,
) -> Result<usize> {
    // SAFETY: By the caller. The file of a request keeps its inode, and that the super block. The
    // flag was set by `setup_bdev_super` before there was a file; others may change meanwhile.
    let iflags = unsafe {
        let sb = (*(*(*iocb).ki_filp).f_inode).i_sb;
        (&raw const (*sb).s_iflags).read_volatile()
    };
    let mut bits = 0;
    if flags.force_wait {
        bits |= bindings::IOMAP_DIO_FORCE_WAIT;
    }
    if flags.overwrite_only {
        bits |= bindings::IOMAP_DIO_OVERWRITE_ONLY;
    }
    // The device, or what is below it, makes a checksum or parity of the data: a copy that the
    // program cannot change meanwhile.
    if iflags & bindings::SB_I_STABLE_WRITES as c_ulong != 0 {
        bits |= bindings::IOMAP_DIO_BOUNCE;
    }
    // SAFETY: By the caller; the iterator is valid during the call and the tables are static.
    result_len(unsafe {
        bindings::iomap_dio_rw(
            iocb,
            from.as_ptr(),
            iomap::table::<F, T>(),
            &DioTable::<F, D>::TABLE,
            bits,
            ptr::null_mut(),
            0,
        )
    })
}
