// SPDX-License-Identifier: GPL-2.0

//! Open files, and what is asked of regular ones. Requests on them: [`super::kiocb`]. Directories:
//! [`super::dir`].
//!
//! The kernel crate's `fs::File` is a file of anybody, for drivers that were handed one. Here one
//! has to know whose inodes it is of.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

mod flags;
mod ops;
mod seek;

pub(crate) use flags::{FallocMode, FallocOp, FileFlags};
pub(crate) use ops::FileOps;
pub(super) use ops::FileTable;
pub(super) use seek::seek_bytes;

use super::{
    bindings,
    inode::{Inode, InodeLock},
    super_block::FileSystem, //
};
use core::{
    marker::PhantomData,
    ops::{Deref, Range}, //
};
use kernel::{
    error::{from_err_ptr, to_result},
    fs::{file::flags::O_DSYNC, LocalFile},
    prelude::*,
    str::CStr,
    types::Opaque, //
};

/// An open file.
///
/// # Invariants
///
/// A reference is to an open file of `F`, valid as long as the reference. It keeps its inode and
/// its mount.
#[repr(transparent)]
pub(crate) struct File<F>(Opaque<bindings::file>, PhantomData<F>);

impl<F: FileSystem> File<F> {
    /// # Safety
    ///
    /// `ptr` is an open file of file system `F`, valid for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::file) -> &'a Self {
        // SAFETY: The type is transparent. INVARIANT: By the caller.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::file {
        self.0.get()
    }

    /// The inode.
    pub(crate) fn inode(&self) -> &Inode<F> {
        // SAFETY: By the type invariant.
        unsafe { Inode::from_raw((*self.as_ptr()).f_inode) }
    }

    /// The inode of another open file, of whatever kind. `EXDEV` if it is not of this file system.
    pub(super) fn inode_beside<'o>(&self, other: &'o LocalFile) -> Result<&'o Inode<F>> {
        // SAFETY: An open file, which keeps its inode; that keeps its super block.
        let (inode, sb) = unsafe {
            let inode = (*other.as_ptr()).f_inode;
            (inode, (*inode).i_sb)
        };
        if sb != self.inode().sb().as_ptr() {
            return Err(EXDEV);
        }
        // SAFETY: All inodes of the super block are of `F`.
        Ok(unsafe { Inode::from_raw(inode) })
    }

    /// Whether it is open for reading and for writing.
    pub(super) fn reads_and_writes(&self) -> bool {
        // SAFETY: By the type invariant; the mode does not change any more.
        unsafe {
            bindings::file_is_reader(self.as_ptr()) && bindings::file_is_writer(self.as_ptr())
        }
    }

    /// Whether the current task owns it, by way of the mount that it was opened through, or may do
    /// what owners may (`CAP_FOWNER`).
    pub(super) fn is_owned(&self) -> bool {
        // SAFETY: By the type invariant, which keeps the mount.
        unsafe { bindings::file_is_owned(self.as_ptr()) }
    }

    /// Writes the bytes, which are not none, of the page cache and waits; reports each error once
    /// per file.
    pub(crate) fn write_and_wait_range(&self, bytes: Range<u64>) -> Result {
        let last = bytes.end.saturating_sub(1);
        // SAFETY: By the type invariant.
        to_result(unsafe {
            bindings::file_write_and_wait_range(self.as_ptr(), bytes.start as i64, last as i64)
        })
    }

    /// i_rwsem of the inode, exclusive.
    pub(crate) fn lock(&self) -> FileLock<'_, F> {
        // INVARIANT: The lock is taken by way of the file.
        FileLock {
            file: self,
            lock: self.inode().lock(),
        }
    }

    /// Where what it was opened through is mounted, as the current task sees it: put into `buf`, at
    /// its end. `ENAMETOOLONG` if it does not fit there with a zero byte behind it. Sleeps not.
    pub(crate) fn mount_point<'b>(&self, buf: &'b mut [u8]) -> Result<&'b CStr> {
        let (start, len) = (buf.as_mut_ptr(), buf.len().min(c_int::MAX as usize));
        // SAFETY: By the type invariant and keeps its mount; `len` bytes are ours to write.
        let path = from_err_ptr(unsafe {
            bindings::mount_point(self.as_ptr(), start.cast(), len as c_int)
        })?;
        // SAFETY: The function returns a string within `buf`, which ends there.
        Ok(unsafe { CStr::from_char_ptr(path) })
    }

    /// Whether it was opened with O_SYNC or O_DSYNC.
    pub(crate) fn is_dsync(&self) -> bool {
        // SAFETY: By the type invariant.
        let file = unsafe { LocalFile::from_raw_file(self.as_ptr()) };
        file.flags() & O_DSYNC != 0
    }
}

/// i_rwsem of the inode of an open file, exclusive.
///
/// # Invariants
///
/// The lock is that of the inode of the file.
#[must_use]
pub(crate) struct FileLock<'a, F: FileSystem> {
    file: &'a File<F>,
    lock: InodeLock<'a, F>,
}

impl<F: FileSystem> FileLock<'_, F> {
    /// Strips setuid bits and updates times before content changes.
    pub(crate) fn modified(&self) -> Result {
        // SAFETY: By the type invariants: the inode of the file is locked exclusive.
        to_result(unsafe { bindings::file_modified(self.file.as_ptr()) })
    }
}

impl<'a, F: FileSystem> Deref for FileLock<'a, F> {
    type Target = InodeLock<'a, F>;

    fn deref(&self) -> &InodeLock<'a, F> {
        &self.lock
    }
}
