// SPDX-License-Identifier: GPL-2.0

//! Open files and the file operation table. Requests on them: [`super::kiocb`]. Directories:
//! [`super::dir`].
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    address_space::AddressSpaceOps,
    bindings,
    inode::{Inode, InodeLock, LocksInode},
    ioctl::{self, IoctlOps},
    kiocb::{answer, Io, Kiocb},
    mmap,
    namei::Namei,
    super_block::FileSystem,
    uio::{Dest, IovIter}, //
};
use core::{marker::PhantomData, mem};
use kernel::{
    error::{from_err_ptr, from_result, to_result},
    prelude::*,
    str::CStr,
    types::Opaque, //
};

/// Operations on open regular files, and `fsync` of both files and directories.
///
/// Lock context: none held on entry unless said.
pub(crate) trait FileOps: AddressSpaceOps + IoctlOps {
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
    /// A file was opened. A directory may be locked (O_TMPFILE).
    fn opened(file: &File<Self>);
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

    /// Where what it was opened through is mounted, as the current task sees it: put into `buf`, at its
    /// end. `ENAMETOOLONG` if it does not fit there with a zero byte behind it. Sleeps not.
    pub(crate) fn mount_point<'b>(&self, buf: &'b mut [u8]) -> Result<&'b CStr> {
        let (start, len) = (buf.as_mut_ptr(), buf.len().min(c_int::MAX as usize));
        // SAFETY: The file is valid and keeps its mount; `len` bytes are ours to write.
        let path = from_err_ptr(unsafe {
            bindings::rext4_helper_mount_point(self.as_ptr(), start.cast(), len as c_int)
        })?;
        // SAFETY: The function returns a string within `buf`, which ends there.
        Ok(unsafe { CStr::from_char_ptr(path) })
    }

    /// Whether it was opened with O_SYNC or O_DSYNC.
    pub(crate) fn is_dsync(&self) -> bool {
        // SAFETY: The file is valid.
        unsafe { (*self.as_ptr()).f_flags & bindings::O_DSYNC != 0 }
    }
}

pub(super) struct FileTable<F>(PhantomData<F>);

impl<F: Namei> FileTable<F> {
    // SAFETY: All members are nullable pointers and flags.
    pub(super) const NONE: bindings::file_operations = unsafe { mem::zeroed() };

    pub(super) const FILE: bindings::file_operations = bindings::file_operations {
        llseek: Some(Self::llseek),
        unlocked_ioctl: Some(ioctl::ioctl_callback::<F>),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: Some(bindings::compat_ptr_ioctl),
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
        let opened = to_result(unsafe {
            (*file).f_mode |= bindings::rext4_helper_fmode_io();
            bindings::generic_file_open(inode, file)
        });
        from_result(|| {
            opened?;
            // SAFETY: It has its inode and its path.
            F::opened(unsafe { File::from_raw(file) });
            Ok(0)
        })
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
