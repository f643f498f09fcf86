// SPDX-License-Identifier: GPL-2.0

//! I/O requests on open files.
//!
//! The kernel crate's `fs::Kiocb` is for drivers: it leads to the private data of the file, where
//! this leads to the inode, and it can be used after the request was queued.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    file::File,
    inode::{Inode, InodeLock, InodeLockShared},
    super_block::FileSystem,
    uio::result_len,
    IovIterDest,
    IovIterSource, //
};
use core::{marker::PhantomData, ops::Deref, ptr::NonNull};
use kernel::{error::to_result, prelude::*};

/// Which I/O request: tells those in flight from each other, and is no reference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(pub(super) usize);

impl RequestId {
    /// Of no request.
    pub(crate) const NONE: Self = Self(0);
}

/// One I/O request, ours to work on.
///
/// Once it is queued it is no longer: its completion may run before the function that queued it
/// returns, and who made it may free it then, or use it for the next (drivers/nvme/target does). So
/// what may queue a request takes it by value, and gives it back only if it did not ([`Io`]).
///
/// # Invariants
///
/// The pointer is to a request on a file of `F`, this thread's as long as this exists; the file is
/// valid for `'a`. No other request has the lifetime `'a`.
pub(crate) struct Kiocb<'a, F>(NonNull<bindings::kiocb>, Only<'a>, PhantomData<&'a F>);

/// A lifetime that neither grows nor shrinks. Every callback brings one of its own, which the
/// compiler takes for different from all others, so it tells whose a [`RequestLock`] is.
pub(super) type Only<'a> = PhantomData<fn(&'a ()) -> &'a ()>;

/// i_rwsem of the file of a request, exclusive ([`InodeLock`]) or shared ([`InodeLockShared`]).
/// What a request asks a lock for takes this one: that of another file does not compile.
///
/// # Invariants
///
/// The lock is that of the file of the request whose lifetime is `'a`.
#[must_use]
pub(crate) struct RequestLock<'a, L>(L, Only<'a>);

impl<L> Deref for RequestLock<'_, L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.0
    }
}

/// How a request went. `Ok`: it is over, with these bytes or this error, and goes back to who made
/// it. `Err`: it is queued.
pub(crate) type Io<'a, F> = core::result::Result<(Kiocb<'a, F>, Result<usize>), Queued<'a>>;

/// The request completes, or begins again, later (`EIOCBQUEUED`). Only what has queued one can say
/// so, and of that one only.
///
/// # Invariants
///
/// The request whose lifetime is `'a` is queued.
pub(crate) struct Queued<'a>(Only<'a>);

/// An error of the file system's, for C functions that are given requests and hand it on. To their
/// caller `EIOCBQUEUED` says that they have queued the request: nobody would ever complete it.
pub(super) fn not_queued(e: Error) -> Error {
    if e == EIOCBQUEUED {
        EIO
    } else {
        e
    }
}

impl<'a, F: FileSystem> Kiocb<'a, F> {
    /// # Safety
    ///
    /// `ptr` is a request on a file of file system `F`. It is valid for as long as this exists, and
    /// its file for `'a`. Who gets it has to take any `'a`, so that it is no other request's.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::kiocb) -> Self {
        // SAFETY: A valid pointer is not null. INVARIANT: By the caller.
        Self(
            unsafe { NonNull::new_unchecked(ptr) },
            PhantomData,
            PhantomData,
        )
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::kiocb {
        self.0.as_ptr()
    }

    fn filp(&self) -> *mut bindings::file {
        // SAFETY: By the type invariant.
        unsafe { (*self.as_ptr()).ki_filp }
    }

    fn flag(&self, flag: u32) -> bool {
        // SAFETY: By the type invariant.
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
    /// The function was called with this request, and this is what it has returned. What it may
    /// have called of the file system's, and hands on, went through [`not_queued`].
    pub(super) unsafe fn returned(self, ret: Result<usize>) -> Io<'a, F> {
        match ret {
            // INVARIANT: By the caller it is C that says so.
            Err(e) if e == EIOCBQUEUED => Err(Queued(PhantomData)),
            other => self.done(other),
        }
    }

    /// The file. Who calls `read_iter` or `write_iter` keeps it until that returns, also if the
    /// request is over before: all file systems unlock the inode after they have queued one.
    pub(crate) fn file(&self) -> &'a File<F> {
        // SAFETY: By the type invariant.
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
        // SAFETY: By the type invariant.
        unsafe { (*self.as_ptr()).ki_pos as u64 }
    }

    /// Takes the position back to `pos`, which it has passed, for what is not written after all.
    pub(crate) fn go_back(&mut self, pos: u64) {
        // SAFETY: By the type invariant; nobody else writes it during the call.
        let ki_pos = unsafe { &mut (*self.as_ptr()).ki_pos };
        // CAST: Not more than it is.
        *ki_pos = (*ki_pos).min(pos as i64);
    }

    /// Fail with `EAGAIN` rather than sleep.
    pub(crate) fn nowait(&self) -> bool {
        self.flag(bindings::IOCB_NOWAIT)
    }

    /// What it writes is to be durable when it is over.
    pub(crate) fn is_dsync(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::iocb_is_dsync(self.as_ptr()) }
    }

    /// Whoever asked waits for the result; otherwise it may complete later.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::is_sync_kiocb(self.as_ptr()) }
    }

    /// Direct I/O.
    pub(crate) fn direct(&self) -> bool {
        self.flag(bindings::IOCB_DIRECT)
    }

    /// A power cut is to leave what it writes as a whole, or nothing of it (RWF_ATOMIC).
    pub(crate) fn is_whole(&self) -> bool {
        self.flag(bindings::IOCB_ATOMIC)
    }

    /// Whether [`Kiocb::is_whole`] may be asked for: `EOPNOTSUPP` if it is not direct, `EINVAL` if
    /// the bytes are not in one piece, no power of two, or not at a multiple of their number.
    pub(crate) fn check_whole(&self, from: &mut IovIterSource<'_>) -> Result {
        // SAFETY: By the type invariants of both.
        to_result(unsafe { bindings::generic_atomic_write_valid(self.as_ptr(), from.as_raw()) })
    }

    /// Whether a direct request could fill this memory: of an encrypted file whole blocks only,
    /// which lie so in memory, too. A block is encrypted as a whole, and no part of it may cross a
    /// page.
    pub(crate) fn may_read_direct(&self, to: &mut IovIterDest<'_>) -> bool {
        // SAFETY: By the type invariant of the iterator.
        unsafe { self.may_be_direct(to.as_raw()) }
    }

    /// The same of a write.
    pub(crate) fn may_write_direct(&self, from: &mut IovIterSource<'_>) -> bool {
        // SAFETY: By the type invariant of the iterator.
        unsafe { self.may_be_direct(from.as_raw()) }
    }

    /// # Safety
    ///
    /// `memory` is valid.
    pub(super) unsafe fn may_be_direct(&self, memory: *const bindings::iov_iter) -> bool {
        if !self.inode().has_encrypted_data() {
            return true;
        }
        // SAFETY: By the caller.
        let places = self.pos() | unsafe { bindings::iov_iter_alignment(memory) } as u64;
        places & (self.inode().block_size() - 1) == 0
    }

    /// Turns a direct request into a buffered one (the fallback).
    pub(crate) fn clear_direct(&mut self) {
        // SAFETY: By the type invariant ours.
        unsafe { (*self.as_ptr()).ki_flags &= !(bindings::IOCB_DIRECT as c_int) }
    }

    /// i_rwsem of the file, exclusive. `EAGAIN` if it is held and the request must not sleep.
    pub(crate) fn lock(&self) -> Result<RequestLock<'a, InodeLock<'a, F>>> {
        let inode = self.inode();
        let lock = if self.nowait() {
            inode.try_lock()?
        } else {
            inode.lock()
        };
        // INVARIANT: As was just taken.
        Ok(RequestLock(lock, PhantomData))
    }

    /// The same, shared.
    pub(crate) fn lock_shared(&self) -> Result<RequestLock<'a, InodeLockShared<'a, F>>> {
        let inode = self.inode();
        let lock = if self.nowait() {
            inode.try_lock_shared()?
        } else {
            inode.lock_shared()
        };
        // INVARIANT: As was just taken.
        Ok(RequestLock(lock, PhantomData))
    }

    /// Checks limits and rlimits, applies O_APPEND; may shorten `from`. Returns the bytes left.
    /// `EPERM` of a file that is immutable by now.
    pub(crate) fn write_checks<L>(
        &mut self,
        from: &mut IovIterSource<'_>,
        _lock: &RequestLock<'a, L>,
    ) -> Result<usize> {
        if self.inode().flags().immutable {
            return Err(EPERM);
        }
        // SAFETY: By the type invariants of both, and that of the lock: i_rwsem is held, so that
        // the size stays for O_APPEND.
        result_len(unsafe { bindings::generic_write_checks(self.as_ptr(), from.as_raw()) })
    }

    /// Strips setuid bits and updates times before content changes.
    pub(crate) fn modified(&mut self, _lock: &RequestLock<'a, InodeLock<'a, F>>) -> Result {
        // SAFETY: By the type invariant, and that of the lock: i_rwsem is held exclusive, as
        // `notify_change` asks.
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
    pub(crate) fn modified_shared(
        &mut self,
        _lock: &RequestLock<'a, InodeLockShared<'a, F>>,
    ) -> Result<bool> {
        if self.needs_remove_privs() {
            return Ok(false);
        }
        // SAFETY: By the type invariant, and that of the lock. S_NOSEC is cleared under i_rwsem
        // exclusive only, so with the lock held shared the function updates times and nothing else.
        to_result(unsafe { bindings::kiocb_modified(self.as_ptr()) })?;
        Ok(true)
    }

    /// Whether writing needs privileges stripped, which asks for i_rwsem exclusive. Without the
    /// lock only a guess.
    pub(crate) fn needs_remove_privs(&self) -> bool {
        // SAFETY: By the type invariant of `Inode`.
        !unsafe { bindings::is_nosec(self.inode().as_ptr()) }
    }

    /// Marks the file as read now.
    pub(crate) fn accessed(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::file_accessed(self.filp()) }
    }

    /// O_SYNC: makes the `len` bytes before the current position durable.
    pub(crate) fn write_sync(&mut self, len: usize) -> Result<usize> {
        // SAFETY: By the type invariant.
        result_len(unsafe { bindings::generic_write_sync(self.as_ptr(), len as isize) })
    }

    /// Reads through the page cache. For io_uring this queues the request, too, where a page is
    /// being read (IOCB_WAITQ): whoever unlocks the folio starts it again. `EIO` of a file that has
    /// no page cache ([`super::dax`]).
    pub(crate) fn filemap_read(self, to: &mut IovIterDest<'_>) -> Io<'a, F> {
        if self.inode().is_dax() {
            return self.done(Err(EIO));
        }
        // SAFETY: By the type invariants of both.
        let ret = unsafe { bindings::filemap_read(self.as_ptr(), to.as_raw(), 0) };
        // SAFETY: It is this request's.
        unsafe { self.returned(result_len(ret)) }
    }
}

/// What the VFS is told of a request.
pub(super) fn answer<F>(io: Io<'_, F>) -> isize {
    let error = match io {
        Ok((_, Ok(len))) => return len as isize,
        Ok((_, Err(e))) => not_queued(e),
        Err(Queued(_)) => EIOCBQUEUED,
    };
    error.to_errno() as isize
}
