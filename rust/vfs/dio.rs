// SPDX-License-Identifier: GPL-2.0

//! Direct I/O by iomap.
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

mod guarded;

pub(crate) use guarded::{write_guarded, DioSource, Guard, Pinned};

use super::{
    bindings,
    fixed,
    inode::Inode,
    iomap::{self, MapOps, Submission},
    kiocb::{not_queued, Io, Kiocb, RequestId},
    super_block::FileSystem,
    uio::result_len,
    IovIterDest,
    IovIterSource, //
};
use core::{cell::Cell, marker::PhantomData, ptr};
use kernel::{
    error::{code::*, from_result, to_result},
    pr_err_once,
    prelude::*,
    types::NotThreadSafe, //
};

/// What a direct write is told.
#[derive(Clone, Copy, Default)]
pub(crate) struct DioFlags {
    /// Complete before returning even if the request is asynchronous.
    pub(crate) force_wait: bool,
    /// `EAGAIN` instead of allocating blocks or zeroing parts of them.
    pub(crate) overwrite_only: bool,
    /// The source is pinned, and some of it is in the page cache of the file. [`write_guarded`]
    /// sets it.
    pub(crate) from_itself: bool,
}

/// A bio of a direct write that has not been submitted. Submitted when it is dropped.
///
/// It holds no reference to the inode: until the bio is done the request is not complete, which
/// keeps its file, that the inode and the mount. After that nobody may look at either any more.
///
/// # Invariants
///
/// The bio is iomap's for the inode, whose request waits for it; nobody has submitted it.
pub(crate) struct DioBio<F: FileSystem>(*mut bindings::bio, *mut bindings::inode, PhantomData<F>);

// SAFETY: iomap has handed the bio over; a bio may be submitted by any thread.
unsafe impl<F: FileSystem> Send for DioBio<F> {}

#[allow(dead_code, reason = "for who does not submit it at once")]
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

impl<F: FileSystem> Drop for DioBio<F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. As iomap does it for those who do not ask: it has given
        // the bio the key of the inode, if that has one.
        unsafe { bindings::blk_crypto_submit_bio(self.0) }
    }
}

/// A direct write that is over: all of its bios are done, or it failed before there were any.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    /// Bytes from `iocb.pos()` on that were transferred.
    pub(crate) size: u64,
    /// What went wrong first.
    pub(crate) error: Result,
    /// Some of the blocks were unwritten.
    pub(crate) unwritten: bool,
}

/// Proof that the current context may sleep, as far as it can be seen: no interrupt, interrupts on,
/// and no spinlock held where the kernel counts them. Not for another thread, and not for later.
pub(crate) struct MaySleep(NotThreadSafe);

impl MaySleep {
    fn here() -> Option<Self> {
        // SAFETY: Looks at the current context only.
        unsafe { bindings::may_sleep() }.then_some(Self(NotThreadSafe))
    }

    /// Sets the size of the file, in bytes and in memory, in [`DioOps::end_io`] of a write that
    /// moves it. Such a write waits ([`DioFlags::force_wait`]), and who waits holds i_rwsem
    /// exclusive: the guard is his, in another frame of the same task.
    pub(crate) fn set_size<F: FileSystem>(&self, iocb: &Kiocb<'_, F>, size: u64) {
        iocb.inode().set_size(size);
    }
}

/// Completion of direct writes, in two steps, because the first may have to run anywhere.
///
/// iomap completes an asynchronous write in the context of its last bio: hard or soft interrupt, or
/// a task that polls, with the driver's locks held. It goes to a worker only if it knows a reason
/// (`iomap_dio_done()`, fs/iomap/direct-io.c): an error; unwritten, new or shared blocks; O_DSYNC;
/// an end beyond i_size; a page in the page cache. What else a file system may want to do then,
/// iomap does not know: a write that needs [`DioOps::end_io`] for another reason has to be told to
/// wait ([`DioFlags::force_wait`]), and completes in the task that submitted it.
#[vtable]
pub(crate) trait DioOps: MapOps {
    /// Whether nothing is left to do. **Any context**: it may look at atomic fields, and neither
    /// sleeps nor takes a lock.
    fn is_done(iocb: &Kiocb<'_, Self::Fs>, ended: &Ended) -> bool;

    /// What is left to do, before iomap invalidates the page cache a second time. Process context,
    /// of which `context` is the proof; of a write that waits, under the locks of who submitted it.
    ///
    /// Where sleeping is forbidden it is not called: the write fails with `EIO`, although its data
    /// is on disk, and the log says so. That is a bug of the file system.
    fn end_io(iocb: &Kiocb<'_, Self::Fs>, ended: &Ended, context: &MaySleep) -> Result;

    /// In the task that submits the write: iomap is about to write the page cache of a range of the
    /// file and to drop it. It is through with that, in the same task, at
    /// [`MapOps::cache_dropped`].
    /// `ENOTBLK`: it shall not, the write goes through the page cache. Not called where the source
    /// is pinned and in the page cache of the file itself: it would be in its own way.
    fn dropping_cache(_inode: &Inode<Self::Fs>) -> Result {
        Ok(())
    }

    /// Submits a bio for the file's bytes from `pos` on, at once or later.
    fn submit(_bio: DioBio<Self::Fs>, _pos: u64) {}

    /// All is done but the second invalidation of the page cache. Process context. For tests that
    /// hold it here.
    fn before_invalidate(_iocb: &Kiocb<'_, Self::Fs>) {}
}

struct DioTable<D>(PhantomData<D>);

impl<D: DioOps> DioTable<D> {
    const TABLE: bindings::iomap_dio_ops = bindings::iomap_dio_ops {
        end_io: Some(Self::end_io),
        submit_io: if D::HAS_SUBMIT {
            Some(Self::submit_io)
        } else {
            None
        },
        bio_set: ptr::null_mut(),
    };

    /// # Safety
    ///
    /// `iter` is iomap's, over an inode of `D::Fs`; `bio` is filled, counted as in flight, and the
    /// callee's to submit (iomap_dio_submit_bio()).
    unsafe extern "C" fn submit_io(
        iter: *const bindings::iomap_iter,
        bio: *mut bindings::bio,
        pos: i64,
    ) {
        // SAFETY: By the caller.
        let inode = unsafe { (*iter).inode };
        // INVARIANT: iomap has counted the bio as in flight, and leaves it to us to submit it.
        D::submit(DioBio(bio, inode, PhantomData), pos as u64);
    }

    /// # Safety
    ///
    /// `iocb` is a request that was given to [`write`] of this module with this table, and is not
    /// completed (iomap_dio_complete()).
    unsafe extern "C" fn end_io(
        iocb: *mut bindings::kiocb,
        size: isize,
        error: c_int,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: By the caller.
        let iocb = unsafe { Kiocb::<D::Fs>::from_raw(iocb) };
        let ended = Ended {
            size: u64::try_from(size).unwrap_or(0),
            error: to_result(error),
            unwritten: flags & bindings::IOMAP_DIO_UNWRITTEN != 0,
        };
        let result = from_result(|| {
            if D::is_done(&iocb, &ended) {
                return ended.error.map(|()| 0);
            }
            let Some(context) = MaySleep::here() else {
                pr_err_once!("a direct write cannot be completed where it ends: it was to wait\n");
                return Err(EIO);
            };
            let result = D::end_io(&iocb, &ended, &context);
            result.map(|()| 0).map_err(not_queued)
        });
        if D::HAS_BEFORE_INVALIDATE && MaySleep::here().is_some() {
            D::before_invalidate(&iocb);
        }
        result
    }
}

/// Reads directly. Returns the bytes read, unless the request completes later. `EIO` of a file
/// whose pages are the device's ([`super::dax`]); of an encrypted one `EINVAL` if it cannot be
/// direct ([`Kiocb::may_read_direct`]), and `ENOKEY`.
pub(crate) fn read<'a, T: MapOps>(
    iocb: Kiocb<'a, T::Fs>,
    to: &mut IovIterDest<'_>,
) -> Io<'a, T::Fs> {
    if iocb.inode().is_dax() {
        return iocb.done(Err(EIO));
    }
    // SAFETY: The request is ours, and the iterator is valid.
    let bits = match unsafe { for_encrypted::<T::Fs>(iocb.as_ptr(), to.as_raw()) } {
        Ok(bits) => bits,
        Err(e) => return iocb.done(Err(e)),
    };
    // A block at most, and written: iomap has a shorter way, and says `ENOTBLK` if it is another.
    // It knows no end of a mapping.
    if !T::HAS_END {
        // SAFETY: All pointers are valid during the call; iomap keeps the request if it is queued,
        // and has not used it if it says so.
        let simple = unsafe {
            bindings::iomap_dio_read_simple(iocb.as_ptr(), to.as_raw(), iomap::begin_fn::<T>())
        };
        let simple = result_len(simple);
        if !matches!(simple, Err(e) if e == ENOTBLK) {
            // SAFETY: It is this request's.
            return unsafe { iocb.returned(simple) };
        }
    }
    // SAFETY: All pointers are valid during the call; iomap keeps the request if it is queued.
    let ret = unsafe {
        bindings::iomap_dio_rw(
            iocb.as_ptr(),
            to.as_raw(),
            iomap::table::<T>(),
            ptr::null(),
            bits,
            ptr::null_mut(),
            0,
        )
    };
    // SAFETY: It is this request's.
    unsafe { iocb.returned(result_len(ret)) }
}

/// What direct I/O of an encrypted file needs: `IOMAP_DIO_*`, nothing for others. `EINVAL` if it
/// cannot be direct ([`Kiocb::may_read_direct`]); `ENOKEY`.
///
/// Such a request is not polled for. Where the block layer encrypts by itself it makes bios of its
/// own, and of the one that is polled for the device is never told.
///
/// # Safety
///
/// `iocb` is a request on a file of file system `F`, this thread's and not queued; `iter` is valid.
unsafe fn for_encrypted<F: FileSystem>(
    iocb: *mut bindings::kiocb,
    iter: *const bindings::iov_iter,
) -> Result<c_uint> {
    // SAFETY: By the caller, for as long as this runs.
    unsafe {
        let request = Kiocb::<F>::from_raw(iocb);
        if !request.inode().encrypts_data()? {
            return Ok(0);
        }
        if !request.may_be_direct(iter) {
            return Err(EINVAL);
        }
        (*iocb).ki_flags &= !(bindings::IOCB_HIPRI as c_int);
    }
    Ok(bindings::IOMAP_DIO_FSBLOCK_ALIGNED)
}

/// Writes directly. `ENOTBLK`: the page cache could not be invalidated, write buffered instead.
/// Other errors as of [`read`].
pub(crate) fn write<'a, D: DioOps>(
    iocb: Kiocb<'a, D::Fs>,
    from: &mut IovIterSource<'_>,
    flags: DioFlags,
) -> Io<'a, D::Fs> {
    // SAFETY: The request is valid; iomap keeps it if it is queued. The result is this request's.
    unsafe {
        let ret = write_raw::<D>(iocb.as_ptr(), from, flags);
        iocb.returned(ret)
    }
}

/// # Safety
///
/// `iocb` is a request on a file of file system `D::Fs`, valid until it is completed.
unsafe fn write_raw<D: DioOps>(
    iocb: *mut bindings::kiocb,
    from: &mut IovIterSource<'_>,
    flags: DioFlags,
) -> Result<usize> {
    // SAFETY: By the caller; not queued yet. The file of a request keeps its inode.
    let inode = unsafe { Inode::<D::Fs>::from_raw((*(*iocb).ki_filp).f_inode) };
    // SAFETY: The inode keeps its super block. The flag was set by `setup_bdev_super` before there
    // was a file; others may change meanwhile.
    let iflags = unsafe { (&raw const (*(*inode.as_ptr()).i_sb).s_iflags).read_volatile() };
    if inode.is_dax() {
        return Err(EIO);
    }
    // SAFETY: By the caller, and the type invariant of the iterator.
    let mut bits = unsafe { for_encrypted::<D::Fs>(iocb, from.as_raw()) }?;
    if flags.force_wait {
        bits |= bindings::IOMAP_DIO_FORCE_WAIT;
        // iomap would leave the bio to whoever polls for it, and nobody knows of the request yet.
        // SAFETY: By the caller; not queued yet.
        unsafe { (*iocb).ki_flags &= !(bindings::IOCB_HIPRI as c_int) };
    }
    if flags.overwrite_only {
        bits |= bindings::IOMAP_DIO_OVERWRITE_ONLY;
    }
    // The device, or what is below it, makes a checksum or parity of the data, or it is encrypted:
    // a copy that the program cannot change meanwhile.
    let reads_twice = iflags & bindings::SB_I_STABLE_WRITES as c_ulong != 0;
    if reads_twice || inode.is_encrypted() {
        bits |= bindings::IOMAP_DIO_BOUNCE;
    }
    let submission = Submission {
        request: RequestId(iocb as usize),
        // SAFETY: By the caller. i_rwsem is held, so that S_SYNC stays until iomap has asked, too.
        dsync: unsafe { bindings::iocb_is_dsync(iocb) },
        dropping: Cell::new(!flags.from_itself),
    };
    if submission.dropping.get() {
        D::dropping_cache(inode).map_err(not_queued)?;
    }
    // SAFETY: By the caller; the iterator and the submission are valid during the call, and so long
    // are mappings made. The tables are static.
    let ret = unsafe {
        bindings::iomap_dio_rw(
            iocb,
            from.as_raw(),
            iomap::table::<D>(),
            fixed(&DioTable::<D>::TABLE),
            bits,
            (&raw const submission).cast_mut().cast(),
            0,
        )
    };
    // Without a mapping it is not queued, so it keeps its inode.
    if submission.dropping.take() {
        D::cache_dropped(inode);
    }
    result_len(ret)
}
