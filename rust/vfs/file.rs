// SPDX-License-Identifier: GPL-2.0

//! Open files: kiocb and the file operation table. Directories: [`super::dir`].
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    inode::{Inode, InodeLock, InodeLockShared, LocksInode},
    mmap,
    namei::Namei,
    pagemap::AddressSpaceOps,
    super_block::FileSystem,
    uio::{result_len, Dest, IovIter}, //
};
use core::{marker::PhantomData, mem, ptr::NonNull};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    types::Opaque, //
};

/// Operations on open regular files, and `fsync` of both files and directories.
///
/// Lock context: none held on entry unless said.
pub(crate) trait FileOps: AddressSpaceOps {
    /// `read_iter`. Gives the request back with the bytes read, or says that it completes later.
    fn read_iter<'a>(iocb: Kiocb<'a, Self>, to: &mut IovIter<'_, Dest>) -> Io<'a, Self>;
    /// `write_iter`, as `read_iter`.
    fn write_iter<'a>(iocb: Kiocb<'a, Self>, from: &mut IovIter<'_>) -> Io<'a, Self>;
    /// Makes the file durable in the byte range, metadata included unless `datasync`.
    fn fsync(file: &File<Self>, start: u64, end: u64, datasync: bool) -> Result;
    /// `fallocate` (freeze protection held).
    fn fallocate(file: &File<Self>, mode: FallocMode, offset: u64, len: u64) -> Result;
    /// Finds the next hole or data from `offset`; `ENXIO` beyond the end.
    fn seek(inode: &Inode<Self>, offset: u64, hole: bool) -> Result<u64>;
    /// The largest offset that `llseek` accepts.
    fn max_bytes(inode: &Inode<Self>) -> u64;
    /// A write fault in a shared mapping; see [`super::mmap`].
    fn page_mkwrite(fault: &mmap::Fault<'_, Self>) -> mmap::VmFault;
    /// An open file is closed, once for each, when its last user has gone; `writer`: it was open for
    /// writing. Others of the inode may be open.
    fn release(inode: &Inode<Self>, writer: bool);
}

/// What `fallocate` is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FallocOp {
    /// Allocate unwritten blocks.
    Allocate,
    /// Deallocate the range.
    PunchHole,
    /// Make the range read as zeros, allocated.
    ZeroRange,
}

/// The mode of a `fallocate` call.
#[derive(Clone, Copy)]
pub(crate) struct FallocMode {
    pub(crate) op: FallocOp,
    pub(crate) keep_size: bool,
}

/// An open file.
#[repr(transparent)]
pub(crate) struct File<F>(Opaque<bindings::file>, PhantomData<F>);

impl<F: FileSystem> File<F> {
    /// # Safety
    ///
    /// `ptr` is an open file of file system `F`, valid for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::file) -> &'a Self {
        // SAFETY: The type is transparent and the caller guarantees validity.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.0.get()
    }

    /// The inode.
    pub(crate) fn inode(&self) -> &Inode<F> {
        // SAFETY: An open file keeps its inode.
        unsafe { Inode::from_raw(bindings::rext4_helper_file_inode(self.as_ptr())) }
    }

    /// Writes the byte range of the page cache and waits; reports each error once per file.
    pub(crate) fn write_and_wait_range(&self, start: u64, end: u64) -> Result {
        // SAFETY: The file is valid.
        to_result(unsafe {
            bindings::file_write_and_wait_range(self.as_ptr(), start as i64, end as i64)
        })
    }

    /// Strips setuid bits and updates times before content changes. `EINVAL` for the lock of another
    /// file.
    pub(crate) fn modified(&self, lock: &InodeLock<'_, F>) -> Result {
        lock.check(self.inode())?;
        // SAFETY: The file is valid and its inode locked exclusive.
        to_result(unsafe { bindings::file_modified(self.as_ptr()) })
    }

    /// Whether it was opened with O_SYNC or O_DSYNC.
    pub(crate) fn is_dsync(&self) -> bool {
        // SAFETY: The file is valid.
        unsafe { (*self.as_ptr()).f_flags & bindings::O_DSYNC != 0 }
    }
}

/// Which I/O request: tells those in flight from each other, and is no reference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(pub(super) usize);

/// One I/O request, ours to work on.
///
/// Once it is queued it is no longer: its completion may run before the function that queued it
/// returns, and who made it may free it then, or use it for the next (drivers/nvme/target does). So
/// what may queue a request takes it by value, and gives it back only if it did not ([`Io`]).
pub(crate) struct Kiocb<'a, F>(NonNull<bindings::kiocb>, PhantomData<&'a F>);

/// How a request went. `Ok`: it is over, with these bytes or this error, and goes back to who made
/// it. `Err`: it is queued.
pub(crate) type Io<'a, F> = core::result::Result<(Kiocb<'a, F>, Result<usize>), Queued>;

/// The request completes, or begins again, later (`EIOCBQUEUED`). Only what has queued one can say
/// so.
pub(crate) struct Queued(());

impl<'a, F: FileSystem> Kiocb<'a, F> {
    /// # Safety
    ///
    /// `ptr` is a request on a file of file system `F`. It is valid for as long as this exists, and
    /// its file for `'a`.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::kiocb) -> Self {
        // SAFETY: A valid pointer is not null.
        Self(unsafe { NonNull::new_unchecked(ptr) }, PhantomData)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::kiocb {
        self.0.as_ptr()
    }

    fn filp(&self) -> *mut bindings::file {
        // SAFETY: The request is valid and holds its file.
        unsafe { (*self.as_ptr()).ki_filp }
    }

    fn flag(&self, flag: u32) -> bool {
        // SAFETY: The request is valid.
        unsafe { (*self.as_ptr()).ki_flags as u32 & flag != 0 }
    }

    /// It is over, with this result.
    pub(crate) fn done(self, result: Result<usize>) -> Io<'a, F> {
        Ok((self, result))
    }

    /// Sorts out what a C function says that may have queued the request.
    ///
    /// # Safety
    ///
    /// The function was called with this request, and this is what it has returned.
    pub(super) unsafe fn returned(self, ret: Result<usize>) -> Io<'a, F> {
        match ret {
            Err(e) if e == EIOCBQUEUED => Err(Queued(())),
            other => self.done(other),
        }
    }

    /// The file. Who calls `read_iter` or `write_iter` keeps it until that returns, also if the
    /// request is over before: all file systems unlock the inode after they have queued one.
    pub(crate) fn file(&self) -> &'a File<F> {
        // SAFETY: By the contract of `from_raw`.
        unsafe { File::from_raw(self.filp()) }
    }

    /// The inode. It lives as long as the file.
    pub(crate) fn inode(&self) -> &'a Inode<F> {
        self.file().inode()
    }

    /// Which one it is; another one may have the same id when this one is completed.
    pub(crate) fn id(&self) -> RequestId {
        RequestId(self.as_ptr() as usize)
    }

    /// File position in bytes.
    pub(crate) fn pos(&self) -> u64 {
        // SAFETY: The request is valid.
        unsafe { (*self.as_ptr()).ki_pos as u64 }
    }

    /// Fail with `EAGAIN` rather than sleep.
    pub(crate) fn nowait(&self) -> bool {
        self.flag(bindings::REXT4_IOCB_NOWAIT)
    }

    /// Whoever asked waits for the result; otherwise it may complete later.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: The request is valid.
        unsafe { bindings::rext4_helper_is_sync_kiocb(self.as_ptr()) }
    }

    /// Direct I/O.
    pub(crate) fn direct(&self) -> bool {
        self.flag(bindings::REXT4_IOCB_DIRECT)
    }

    /// Turns a direct request into a buffered one (the fallback).
    pub(crate) fn clear_direct(&mut self) {
        // SAFETY: The request is ours during the callback.
        unsafe { (*self.as_ptr()).ki_flags &= !(bindings::REXT4_IOCB_DIRECT as c_int) }
    }

    /// Checks limits and rlimits, applies O_APPEND; may shorten `from`. Returns the bytes left.
    /// `EINVAL` for the lock of another file.
    pub(crate) fn write_checks(
        &mut self,
        from: &mut IovIter<'_>,
        lock: &impl LocksInode<F>,
    ) -> Result<usize> {
        lock.check(self.inode())?;
        // SAFETY: Both are valid; i_rwsem is held, so that the size stays for O_APPEND.
        result_len(unsafe { bindings::generic_write_checks(self.as_ptr(), from.as_ptr()) })
    }

    /// Strips setuid bits and updates times before content changes. `EINVAL` for the lock of another
    /// file.
    pub(crate) fn modified(&mut self, lock: &InodeLock<'_, F>) -> Result {
        lock.check(self.inode())?;
        // SAFETY: The request is valid; i_rwsem is held exclusive, as `notify_change` asks.
        to_result(unsafe { bindings::kiocb_modified(self.as_ptr()) })
    }

    /// As [`Kiocb::modified`], if there is nothing to strip. Else false, and nothing is done: that
    /// changes the mode, which i_rwsem must be held exclusive for. The answer of an earlier look,
    /// without the lock, does not count:
    ///
    /// ```text
    ///   direct write                                chmod
    ///   nothing to strip: shared will do
    ///                                               exclusive: sets S_ISUID, unlocks
    ///   locks shared
    ///   strips, beside others that do the same
    /// ```
    pub(crate) fn modified_shared(&mut self, lock: &InodeLockShared<'_, F>) -> Result<bool> {
        lock.check(self.inode())?;
        if self.needs_remove_privs() {
            return Ok(false);
        }
        // SAFETY: The request is valid. S_NOSEC is cleared under i_rwsem exclusive only, so with
        // the lock held shared the function updates times and nothing else.
        to_result(unsafe { bindings::kiocb_modified(self.as_ptr()) })?;
        Ok(true)
    }

    /// Whether writing needs privileges stripped, which asks for i_rwsem exclusive. Without the
    /// lock only a guess.
    pub(crate) fn needs_remove_privs(&self) -> bool {
        // SAFETY: The inode is valid.
        !unsafe { bindings::rext4_helper_is_nosec(self.inode().as_ptr()) }
    }

    /// Marks the file as read now.
    pub(crate) fn accessed(&self) {
        // SAFETY: The file is valid.
        unsafe { bindings::rext4_helper_file_accessed(self.filp()) }
    }

    /// O_SYNC: makes the `len` bytes before the current position durable.
    pub(crate) fn write_sync(&mut self, len: usize) -> Result<usize> {
        // SAFETY: The request is valid.
        result_len(unsafe {
            bindings::rext4_helper_generic_write_sync(self.as_ptr(), len as isize)
        })
    }

    /// Reads through the page cache. For io_uring this queues the request, too, where a page is
    /// being read (IOCB_WAITQ): whoever unlocks the folio starts it again.
    pub(crate) fn filemap_read(self, to: &mut IovIter<'_, Dest>) -> Io<'a, F> {
        // SAFETY: Both are valid.
        let ret = unsafe { bindings::filemap_read(self.as_ptr(), to.as_ptr(), 0) };
        // SAFETY: It is this request's.
        unsafe { self.returned(result_len(ret)) }
    }
}

/// What the VFS is told of a request.
fn answer<F>(io: Io<'_, F>) -> isize {
    let error = match io {
        Ok((_, Ok(len))) => return len as isize,
        // Not true: then whoever made it would wait for ever.
        Ok((_, Err(e))) if e == EIOCBQUEUED => EIO,
        Ok((_, Err(e))) => e,
        Err(Queued(())) => EIOCBQUEUED,
    };
    error.to_errno() as isize
}

pub(super) struct FileTable<F>(PhantomData<F>);

impl<F: Namei> FileTable<F> {
    // SAFETY: All members are nullable pointers and flags.
    pub(super) const NONE: bindings::file_operations = unsafe { mem::zeroed() };

    pub(super) const FILE: bindings::file_operations = bindings::file_operations {
        llseek: Some(Self::llseek),
        read_iter: Some(Self::read_iter),
        write_iter: Some(Self::write_iter),
        // Who polls for a request of iomap finds its bio in `kiocb::private`, or nothing.
        iopoll: Some(bindings::iocb_bio_iopoll),
        mmap_prepare: Some(mmap::mmap_prepare_callback::<F>),
        open: Some(Self::open),
        release: Some(Self::release),
        fsync: Some(Self::fsync),
        splice_read: Some(bindings::filemap_splice_read),
        splice_write: Some(bindings::iter_file_splice_write),
        fallocate: Some(Self::fallocate),
        setlease: Some(bindings::generic_setlease),
        fop_flags: bindings::REXT4_FOP_FLAGS,
        ..Self::NONE
    };

    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        from_result(|| {
            // SAFETY: The VFS passes an open file of ours.
            let inode = unsafe { File::<F>::from_raw(file) }.inode();
            let max = F::max_bytes(inode) as i64;
            let hole = match whence as u32 {
                bindings::SEEK_HOLE => true,
                bindings::SEEK_DATA => false,
                // SAFETY: The file is valid.
                _ => unsafe {
                    return Ok(bindings::generic_file_llseek_size(
                        file,
                        offset,
                        whence,
                        max,
                        inode.size() as i64,
                    ));
                },
            };
            let pos = F::seek(inode, u64::try_from(offset).map_err(|_| ENXIO)?, hole)?;
            // SAFETY: The file is valid.
            Ok(unsafe { bindings::vfs_setpos(file, pos as i64, max) })
        })
    }

    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        to: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The VFS passes a request on a file of ours and its iterator.
        let (iocb, mut to) = unsafe { (Kiocb::<F>::from_raw(iocb), IovIter::from_raw(to)) };
        answer(F::read_iter(iocb, &mut to))
    }

    unsafe extern "C" fn write_iter(
        iocb: *mut bindings::kiocb,
        from: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As in `read_iter`.
        let (iocb, mut from) = unsafe { (Kiocb::<F>::from_raw(iocb), IovIter::from_raw(from)) };
        answer(F::write_iter(iocb, &mut from))
    }

    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is being opened and ours to set up.
        unsafe {
            (*file).f_mode |= bindings::rext4_helper_fmode_io();
            bindings::generic_file_open(inode, file)
        }
    }

    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The last reference to a file of ours goes, which kept the inode so far.
        let (inode, writer) = unsafe {
            (
                Inode::from_raw(inode),
                bindings::rext4_helper_file_is_writer(file),
            )
        };
        F::release(inode, writer);
        0
    }

    pub(super) unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: i64,
        end: i64,
        datasync: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS passes an open file of ours.
            let file = unsafe { File::<F>::from_raw(file) };
            F::fsync(file, start as u64, end as u64, datasync != 0).map(|()| 0)
        })
    }

    unsafe extern "C" fn fallocate(
        file: *mut bindings::file,
        mode: c_int,
        offset: i64,
        len: i64,
    ) -> c_long {
        from_result(|| {
            let mode = mode as u32;
            let keep_size = mode & bindings::FALLOC_FL_KEEP_SIZE != 0;
            let op = match mode & !bindings::FALLOC_FL_KEEP_SIZE {
                0 => FallocOp::Allocate,
                bindings::FALLOC_FL_PUNCH_HOLE => FallocOp::PunchHole,
                bindings::FALLOC_FL_ZERO_RANGE => FallocOp::ZeroRange,
                _ => return Err(EOPNOTSUPP),
            };
            // SAFETY: The VFS passes an open file of ours, offset >= 0 and len > 0.
            let file = unsafe { File::<F>::from_raw(file) };
            let mode = FallocMode { op, keep_size };
            F::fallocate(file, mode, offset as u64, len as u64).map(|()| 0)
        })
    }
}
