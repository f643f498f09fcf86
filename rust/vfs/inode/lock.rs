// SPDX-License-Identifier: GPL-2.0

//! i_rwsem: its guards, and what may be done with them only.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{Inode, InodeFlags};
use crate::vfs::{bindings, super_block::FileSystem};
use core::mem::ManuallyDrop;
use kernel::{error::to_result, prelude::*, types::NotThreadSafe};

impl<F: FileSystem> Inode<F> {
    /// i_rwsem, exclusive.
    pub(crate) fn lock(&self) -> InodeLock<'_, F> {
        // SAFETY: By the type invariant of `Inode`; the guard unlocks.
        unsafe { bindings::inode_lock(self.as_ptr()) };
        InodeLock(self, NotThreadSafe)
    }

    /// i_rwsem, exclusive, or `EAGAIN`.
    pub(crate) fn try_lock(&self) -> Result<InodeLock<'_, F>> {
        // SAFETY: By the type invariant of `Inode`. The guard unlocks, if there is one.
        let locked = unsafe { bindings::inode_trylock(self.as_ptr()) };
        locked.then(|| InodeLock(self, NotThreadSafe)).ok_or(EAGAIN)
    }

    /// i_rwsem, shared.
    pub(crate) fn lock_shared(&self) -> InodeLockShared<'_, F> {
        // SAFETY: By the type invariant of `Inode`. The guard unlocks, if there is one.
        unsafe { bindings::inode_lock_shared(self.as_ptr()) };
        InodeLockShared(self, NotThreadSafe)
    }

    /// i_rwsem, shared, or `EAGAIN`.
    pub(crate) fn try_lock_shared(&self) -> Result<InodeLockShared<'_, F>> {
        // SAFETY: By the type invariant of `Inode`. The guard unlocks, if there is one.
        let locked = unsafe { bindings::inode_trylock_shared(self.as_ptr()) };
        let guard = || InodeLockShared(self, NotThreadSafe);
        locked.then(guard).ok_or(EAGAIN)
    }
}

/// i_rwsem held exclusive.
///
/// # Invariants
///
/// i_rwsem of the inode is held exclusive, by this task.
#[must_use]
pub(crate) struct InodeLock<'a, F: FileSystem>(pub(super) &'a Inode<F>, NotThreadSafe);

impl<'a, F: FileSystem> InodeLock<'a, F> {
    /// The lock that the VFS holds around a callback (setattr, namespace operations).
    ///
    /// # Safety
    ///
    /// i_rwsem of `inode` is held exclusive for `'a` by this thread, and released by the VFS.
    pub(in crate::vfs) unsafe fn assume(inode: &'a Inode<F>) -> ManuallyDrop<Self> {
        // SAFETY: By the type invariant of `Inode`. Tells with lockdep if the caller's promise is
        // not true.
        unsafe { bindings::assert_inode_locked(inode.as_ptr()) };
        ManuallyDrop::new(Self(inode, NotThreadSafe))
    }

    /// The inode that is locked.
    pub(crate) fn inode(&self) -> &'a Inode<F> {
        self.0
    }

    /// Waits for all direct I/O in flight. None starts meanwhile. `EINTR` if killed: some of it may
    /// end only when the same task polls for it, as it does when it exits.
    pub(crate) fn dio_wait(&self) -> Result {
        // SAFETY: By the type invariant, as the C function asks.
        let ret = unsafe { bindings::inode_dio_wait_killable(self.0.as_ptr()) };
        to_result(ret).map_err(|_| EINTR)
    }

    /// Whether direct I/O is in flight. None starts meanwhile.
    pub(crate) fn has_dio(&self) -> bool {
        // SAFETY: By the type invariant; it only reads a counter.
        unsafe { !bindings::inode_dio_finished(self.0.as_ptr()) }
    }

    /// Sets the flags of the VFS.
    pub(crate) fn set_flags(&self, flags: InodeFlags) {
        // SAFETY: By the type invariant of `Inode`. Whoever changes them holds the lock.
        unsafe { flags.store(self.0.as_ptr()) }
    }

    /// Sets the generation.
    pub(crate) fn set_generation(&self, generation: u32) {
        // SAFETY: By the type invariant of `Inode`. Whoever changes it holds the lock.
        unsafe { (&raw mut (*self.0.as_ptr()).i_generation).write_volatile(generation) }
    }

    /// Sets the file size in bytes, in memory.
    pub(crate) fn set_size(&self, size: u64) {
        self.0.set_size(size);
    }
}

impl<F: FileSystem> Drop for InodeLock<'_, F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::inode_unlock(self.0.as_ptr()) }
    }
}

/// i_rwsem of two inodes held exclusive.
///
/// # Invariants
///
/// They are two.
#[must_use]
pub(crate) struct InodeLocks<'a, F: FileSystem>([InodeLock<'a, F>; 2]);

impl<'a, F: FileSystem> InodeLocks<'a, F> {
    /// Takes them in the order of the VFS (`lock_two_nondirectories()`). `EINVAL` if the two are
    /// one, or one is a directory, which has another order.
    pub(crate) fn new(one: &'a Inode<F>, other: &'a Inode<F>) -> Result<Self> {
        if core::ptr::eq(one, other) || one.is_dir() || other.is_dir() {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariants of `Inode`; neither is a directory. Each guard unlocks
        // its own.
        unsafe { bindings::lock_two_nondirectories(one.as_ptr(), other.as_ptr()) };
        let lock = |inode| InodeLock(inode, NotThreadSafe);
        // INVARIANT: They are not the same.
        Ok(Self([lock(one), lock(other)]))
    }

    /// Both, as they were given.
    pub(crate) fn get(&self) -> &[InodeLock<'a, F>; 2] {
        &self.0
    }
}

/// i_rwsem held shared.
///
/// # Invariants
///
/// i_rwsem of the inode is held shared, by this task.
#[must_use]
pub(crate) struct InodeLockShared<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

impl<F: FileSystem> Drop for InodeLockShared<'_, F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::inode_unlock_shared(self.0.as_ptr()) }
    }
}
