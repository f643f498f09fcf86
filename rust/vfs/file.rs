// SPDX-License-Identifier: GPL-2.0

//! Open files: kiocb, iov_iter, directory emission and the file operation tables.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::{
    bindings,
    inode::{Inode, InodeLock},
    mmap,
    namei::Namei,
    pagemap::AddressSpaceOps,
    super_block::FileSystem, //
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
    /// `read_iter`. Returns bytes read; `EIOCBQUEUED` when the request completes later.
    fn read_iter(iocb: &mut Kiocb<'_, Self>, to: &mut IovIter<'_>) -> Result<usize>;
    /// `write_iter`, as `read_iter`.
    fn write_iter(iocb: &mut Kiocb<'_, Self>, from: &mut IovIter<'_>) -> Result<usize>;
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
    /// The last writer closed the file.
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
    unsafe fn from_raw<'a>(ptr: *mut bindings::file) -> &'a Self {
        // SAFETY: The type is transparent and the caller guarantees validity.
        unsafe { &*ptr.cast() }
    }

    /// The inode.
    pub(crate) fn inode(&self) -> &Inode<F> {
        // SAFETY: An open file keeps its inode.
        unsafe { Inode::from_raw(bindings::rext4_helper_file_inode(self.0.get())) }
    }

    /// Writes the byte range of the page cache and waits; reports each error once per file.
    pub(crate) fn write_and_wait_range(&self, start: u64, end: u64) -> Result {
        // SAFETY: The file is valid.
        to_result(unsafe {
            bindings::file_write_and_wait_range(self.0.get(), start as i64, end as i64)
        })
    }

    /// Strips setuid bits and updates times before content changes (i_rwsem exclusive).
    pub(crate) fn modified(&self, _lock: &InodeLock<'_, F>) -> Result {
        // SAFETY: The file is valid and its inode locked.
        to_result(unsafe { bindings::file_modified(self.0.get()) })
    }

    /// Whether it was opened with O_SYNC or O_DSYNC.
    pub(crate) fn is_dsync(&self) -> bool {
        // SAFETY: The file is valid.
        unsafe { (*self.0.get()).f_flags & bindings::O_DSYNC != 0 }
    }
}

/// One I/O request. It may outlive the call when it is asynchronous, but this borrow does not.
pub(crate) struct Kiocb<'a, F>(NonNull<bindings::kiocb>, PhantomData<&'a F>);

impl<'a, F: FileSystem> Kiocb<'a, F> {
    /// # Safety
    ///
    /// `ptr` is a request on a file of file system `F`, valid for `'a`.
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

    /// The inode. Its borrow is that of the request, whose file keeps it.
    pub(crate) fn inode(&self) -> &'a Inode<F> {
        // SAFETY: The file keeps its inode for as long as the request.
        unsafe { Inode::from_raw(bindings::rext4_helper_file_inode(self.filp())) }
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
    pub(crate) fn write_checks(&mut self, from: &mut IovIter<'_>) -> Result<usize> {
        // SAFETY: Both are valid; i_rwsem is held by the caller's guard.
        result_len(unsafe { bindings::generic_write_checks(self.as_ptr(), from.as_ptr()) })
    }

    /// Strips setuid bits and updates times before content changes.
    pub(crate) fn modified(&mut self) -> Result {
        // SAFETY: The request is valid; i_rwsem is held by the caller's guard.
        to_result(unsafe { bindings::kiocb_modified(self.as_ptr()) })
    }

    /// Whether writing needs privileges stripped, which asks for i_rwsem exclusive.
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

    /// Reads through the page cache.
    pub(crate) fn filemap_read(&mut self, to: &mut IovIter<'_>) -> Result<usize> {
        // SAFETY: Both are valid.
        result_len(unsafe { bindings::filemap_read(self.as_ptr(), to.as_ptr(), 0) })
    }
}

/// The memory that a request reads from or writes to.
pub(crate) struct IovIter<'a>(NonNull<bindings::iov_iter>, PhantomData<&'a mut ()>);

impl IovIter<'_> {
    /// # Safety
    ///
    /// `ptr` is an initialised iterator that nobody else uses for the lifetime.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::iov_iter) -> Self {
        // SAFETY: A valid pointer is not null.
        Self(unsafe { NonNull::new_unchecked(ptr) }, PhantomData)
    }

    /// Goes back by `bytes`, which it was advanced by before.
    pub(super) fn revert(&mut self, bytes: usize) {
        // SAFETY: The iterator is valid and ours; the C function refuses to go back too far.
        unsafe { bindings::iov_iter_revert(self.as_ptr(), bytes) }
    }

    /// Whether it is memory of a user, that may have to be faulted in.
    pub(crate) fn is_user(&self) -> bool {
        // SAFETY: The iterator is valid.
        unsafe { bindings::rext4_helper_user_backed_iter(self.0.as_ptr()) }
    }

    pub(super) fn as_ptr(&mut self) -> *mut bindings::iov_iter {
        self.0.as_ptr()
    }

    /// Bytes left.
    pub(crate) fn count(&self) -> usize {
        // SAFETY: The iterator is valid.
        unsafe {
            (*self.0.as_ptr())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .count
        }
    }
}

/// A C length-or-errno.
pub(super) fn result_len(ret: isize) -> Result<usize> {
    usize::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}

/// Where `readdir` puts entries.
pub(crate) struct DirEmitter<'a>(&'a mut bindings::dir_context);

impl DirEmitter<'_> {
    /// The position to go on from: what the last [`DirEmitter::set_pos`] said, or a seek.
    pub(crate) fn pos(&self) -> u64 {
        self.0.pos as u64
    }

    /// Sets the position of the entry that comes next.
    pub(crate) fn set_pos(&mut self, pos: u64) {
        self.0.pos = pos as i64;
    }

    /// Emits an entry; `dtype` is a `DT_*`. False when the buffer is full: stop, and leave the
    /// position at this entry.
    #[must_use]
    pub(crate) fn emit(&mut self, name: &[u8], ino: u32, dtype: u8) -> bool {
        // SAFETY: The context is valid; the name is `len` bytes.
        unsafe {
            bindings::rext4_helper_dir_emit(
                self.0,
                name.as_ptr(),
                name.len() as c_int,
                ino.into(),
                dtype.into(),
            )
        }
    }
}

pub(super) struct FileTable<F>(PhantomData<F>);

impl<F: Namei> FileTable<F> {
    // SAFETY: All members are nullable pointers and flags.
    const NONE: bindings::file_operations = unsafe { mem::zeroed() };

    pub(super) const FILE: bindings::file_operations = bindings::file_operations {
        llseek: Some(Self::llseek),
        read_iter: Some(Self::read_iter),
        write_iter: Some(Self::write_iter),
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

    pub(super) const DIR: bindings::file_operations = bindings::file_operations {
        llseek: Some(Self::dir_llseek),
        read: Some(bindings::generic_read_dir),
        iterate_shared: Some(Self::iterate),
        fsync: Some(Self::fsync),
        setlease: Some(bindings::generic_setlease),
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

    unsafe extern "C" fn dir_llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: The file is valid; hash cookies use all of the positive range.
        unsafe { bindings::generic_file_llseek_size(file, offset, whence, i64::MAX, i64::MAX) }
    }

    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        to: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The VFS passes a request on a file of ours and its iterator.
        let (mut iocb, mut to) = unsafe { (Kiocb::<F>::from_raw(iocb), IovIter::from_raw(to)) };
        from_result(|| F::read_iter(&mut iocb, &mut to).map(|n| n as isize))
    }

    unsafe extern "C" fn write_iter(
        iocb: *mut bindings::kiocb,
        from: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: As in `read_iter`.
        let (mut iocb, mut from) = unsafe { (Kiocb::<F>::from_raw(iocb), IovIter::from_raw(from)) };
        from_result(|| F::write_iter(&mut iocb, &mut from).map(|n| n as isize))
    }

    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is being opened and ours to set up.
        unsafe {
            (*file).f_mode |= bindings::rext4_helper_fmode_io();
            bindings::generic_file_open(inode, file)
        }
    }

    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The last reference to a file of ours goes.
        unsafe {
            let writer = bindings::rext4_helper_file_is_writer(file);
            F::release(Inode::from_raw(inode), writer);
        }
        0
    }

    unsafe extern "C" fn fsync(
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

    unsafe extern "C" fn iterate(
        file: *mut bindings::file,
        ctx: *mut bindings::dir_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS passes an open directory of ours and a context of its own.
            let (file, ctx) = unsafe { (File::<F>::from_raw(file), &mut *ctx) };
            F::readdir(file.inode(), &mut DirEmitter(ctx)).map(|()| 0)
        })
    }
}
