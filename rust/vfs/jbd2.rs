// SPDX-License-Identifier: GPL-2.0

//! The journal: transactions over metadata blocks.
//!
//! An operation starts a [`Handle`] with the number of blocks it may change (its credits), gets
//! a [`JournaledBuffer`] from it for each block and changes the bytes through that. When the
//! handle is stopped its changes belong to the running transaction, which commits as a whole some
//! seconds later, or when somebody waits for it.
//!
//! C header: [`include/linux/jbd2.h`](srctree/include/linux/jbd2.h)

mod handle;
mod slot;
mod tid;

pub(crate) use handle::{Handle, JournaledBuffer};
pub(crate) use slot::{JournalSlot, Journaled};
pub(crate) use tid::Tid;

use super::bindings;
use core::{
    mem::ManuallyDrop,
    ptr::{self, NonNull}, //
};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
    types::NotThreadSafe, //
};

/// A feature mask as the C functions take it.
const fn long(mask: u32) -> c_ulong {
    // CAST: `unsigned long` has at least 32 bits.
    mask as c_ulong
}

/// Journal features to ask for, see [`Journal::set_features`].
#[derive(Clone, Copy, Default)]
pub(crate) struct JournalFeatures {
    /// Block numbers of 64 bits.
    pub(crate) wide: bool,
    /// Checksums (version 3) of everything in the log; else none.
    pub(crate) checksums: bool,
}

/// How far the journal has committed.
#[derive(Clone, Copy)]
pub(crate) struct Committed(Tid);

impl Committed {
    /// Whether transaction `tid` has committed.
    pub(crate) fn includes(self, tid: Tid) -> bool {
        self.0.is_from(tid)
    }
}

/// A journal whose super block has been read and checked, but whose log has been neither replayed
/// nor emptied. Nothing can be journaled yet.
///
/// # Invariants
///
/// The pointer is to a `journal_t` that we own, fresh from `jbd2_journal_init_inode()`.
pub(crate) struct UnloadedJournal(NonNull<bindings::journal_s>);

// SAFETY: The C functions lock as they need.
unsafe impl Send for UnloadedJournal {}

impl UnloadedJournal {
    fn as_ptr(&self) -> *mut bindings::journal_s {
        self.0.as_ptr()
    }

    /// Opens the journal that lies in `inode`. Sleeps; reads the device.
    ///
    /// On success one reference to the inode goes to the journal and is dropped with it, after
    /// the last commit. `EINVAL` if there is no journal (of version 2) in the inode.
    ///
    /// # Safety
    ///
    /// - `inode` is a live inode, and the caller owns the reference that this may take.
    /// - Its `a_ops->bmap` works and all its blocks are allocated.
    /// - The super block of the inode outlives the journal.
    pub(super) unsafe fn from_inode(inode: *mut bindings::inode) -> Result<Self> {
        // SAFETY: Per the contract of this function.
        let raw = from_err_ptr(unsafe { bindings::jbd2_journal_init_inode(inode) })?;
        // INVARIANT: Fresh, and ours.
        let this = Self(NonNull::new(raw).ok_or(EINVAL)?);
        // Version 1 knows no revoke records, and jbd2 would BUG() when asked for one.
        let revoke = long(bindings::JBD2_FEATURE_INCOMPAT_REVOKE);
        // SAFETY: By the type invariant.
        if unsafe { bindings::jbd2_journal_check_available_features(raw, 0, 0, revoke) } == 0 {
            // The caller keeps its reference when we fail, but the journal drops one.
            // SAFETY: `inode` is live, see above.
            unsafe { bindings::ihold(inode) };
            return Err(EINVAL);
        }
        Ok(this)
    }

    /// Whether the log holds transactions to replay.
    pub(crate) fn needs_recovery(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_needs_recovery(self.as_ptr()) }
    }

    /// Whether what replays or throws away the log flushes the device's cache, and commits later
    /// do. To be said first.
    pub(crate) fn set_barrier(&self, on: bool) {
        // SAFETY: By the type invariant; flags change under `j_state_lock`.
        unsafe {
            bindings::jbd2_lock_state(self.as_ptr());
            bindings::jbd2_set_barrier(self.as_ptr(), on);
            bindings::jbd2_unlock_state(self.as_ptr());
        }
    }

    /// Throws away the transactions of the log. Sleeps; reads and writes the device.
    ///
    /// `jbd2_journal_wipe()` alone goes on with the numbers that they have. They still lie there,
    /// and a recovery would take one for the next if it lay where that is looked for. So the
    /// numbers go on behind as many transactions as the log has blocks.
    pub(crate) fn wipe(&self) -> Result {
        // SAFETY: By the type invariant; it is not loaded.
        unsafe {
            bindings::jbd2_skip_numbers(self.as_ptr());
            to_result(bindings::jbd2_journal_wipe(self.as_ptr(), 1))
        }
    }

    /// Whether the journal has an area of fast commits. If it also needs recovery there may be
    /// changes in that area which [`UnloadedJournal::load`] leaves out: their format is the file
    /// system's own.
    pub(crate) fn has_fast_commits(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_has_fast_commit(self.as_ptr()) }
    }

    /// The error that an earlier mount left in the journal, if any.
    pub(crate) fn errno(&self) -> Option<Error> {
        // `jbd2_journal_errno()` says EROFS of any journal that is not loaded.
        // SAFETY: By the type invariant.
        let errno = unsafe { bindings::jbd2_stored_errno(self.as_ptr()) };
        (errno < 0).then(|| Error::from_errno(errno))
    }

    /// Replays the log into the file system and starts the journal.
    fn load(self) -> Result<Journal> {
        // SAFETY: By the type invariant, and not loaded yet. If this fails, `self` destroys it.
        to_result(unsafe { bindings::jbd2_journal_load(self.as_ptr()) })?;
        let raw = ManuallyDrop::new(self).0;
        Ok(Journal {
            raw,
            // SAFETY: We own the journal.
            fs_dev: unsafe { bindings::jbd2_fs_dev(raw.as_ptr()) },
            // CAST: `u32` to `usize`, which has at least 32 bits.
            // SAFETY: We own the journal.
            block_size: unsafe { bindings::jbd2_blocksize(raw.as_ptr()) } as usize,
        })
    }
}

impl Drop for UnloadedJournal {
    fn drop(&mut self) {
        // It says EIO of any journal that is not loaded.
        // SAFETY: By the type invariant.
        let _ = unsafe { bindings::jbd2_journal_destroy(self.as_ptr()) };
    }
}

/// A running journal. Its thread works on the super block's device, so it lies in the super block's
/// [`JournalSlot`], is only lent from there and never handed out.
///
/// # Invariants
///
/// `raw` is a loaded `journal_t` that we own; `fs_dev` and `block_size` are its.
pub(crate) struct Journal {
    raw: NonNull<bindings::journal_s>,
    fs_dev: *mut bindings::block_device,
    block_size: usize,
}

// SAFETY: The C functions lock as they need.
unsafe impl Send for Journal {}
// SAFETY: The C functions lock as they need.
unsafe impl Sync for Journal {}

impl Journal {
    fn as_ptr(&self) -> *mut bindings::journal_s {
        self.raw.as_ptr()
    }

    /// Starts a handle that may change up to `credits` blocks and free up to `revokes` metadata
    /// blocks.
    ///
    /// May wait for a commit, for space in the log or for the end of a freeze, so no lock may be
    /// held that a handle holder takes. In a task that has a handle already, the same one is
    /// joined, and gets more credits if it has not enough and the transaction has room.
    ///
    /// `ENOSPC` if `credits` is more than [`Journal::max_credits`], `EROFS` if the journal has been
    /// aborted, `EINVAL` if the task has a handle on another journal.
    pub(crate) fn start_with_revoke(&self, credits: u32, revokes: u32) -> Result<Handle<'_>> {
        Handle::start(self, credits, revokes)
    }

    /// The most credits that one handle can have, revoke records included.
    pub(crate) fn max_credits(&self) -> u32 {
        // SAFETY: By the type invariant.
        let max = unsafe { bindings::jbd2_max_credits(self.as_ptr()) };
        u32::try_from(max).unwrap_or(0)
    }

    /// See [`slot::LoadedJournal::set_features`], whose users cannot start a handle: a commit that
    /// runs relies on the size of a tag, which this may change.
    fn set_features(&self, features: JournalFeatures) -> Result {
        let raw = self.as_ptr();
        let checksum = long(bindings::JBD2_FEATURE_COMPAT_CHECKSUM);
        let async_commit = long(bindings::JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT);
        let v2 = long(bindings::JBD2_FEATURE_INCOMPAT_CSUM_V2);
        let v3 = long(bindings::JBD2_FEATURE_INCOMPAT_CSUM_V3);
        // What an earlier mount may have left: versions 1 to 3 exclude each other, and commits
        // that do not wait for the log's blocks are not for us.
        let stale = async_commit | v2 | if features.checksums { 0 } else { v3 };
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_journal_clear_features(raw, checksum, 0, stale) };
        let mut incompat = long(bindings::JBD2_FEATURE_INCOMPAT_REVOKE);
        if features.wide {
            incompat |= long(bindings::JBD2_FEATURE_INCOMPAT_64BIT);
        }
        if features.checksums {
            incompat |= v3;
        }
        // SAFETY: By the type invariant.
        if unsafe { bindings::jbd2_journal_set_features(raw, 0, 0, incompat) } == 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    fn with_state_lock(&self, change: impl FnOnce(*mut bindings::journal_s)) {
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_lock_state(self.as_ptr()) };
        change(self.as_ptr());
        // SAFETY: Locked above.
        unsafe { bindings::jbd2_unlock_state(self.as_ptr()) };
    }

    /// Whether commits flush the device's cache.
    pub(crate) fn set_barrier(&self, on: bool) {
        // SAFETY: By the type invariant; flags change under `j_state_lock`.
        self.with_state_lock(|raw| unsafe { bindings::jbd2_set_barrier(raw, on) });
    }

    /// The age in seconds at which a transaction commits by itself; 0 is jbd2's default, 5.
    pub(crate) fn set_commit_interval(&self, seconds: u32) {
        let seconds = match seconds {
            0 => bindings::JBD2_DEFAULT_MAX_COMMIT_AGE,
            // An hour is an eternity here, and no `HZ` overflows with it.
            some => some.min(3600),
        };
        // SAFETY: By the type invariant; parameters change under `j_state_lock`.
        self.with_state_lock(|raw| unsafe { bindings::jbd2_set_commit_seconds(raw, seconds) });
    }

    /// The journal's error: `EROFS` if it was aborted in this mount, else what an earlier mount
    /// stored in it.
    pub(crate) fn errno(&self) -> Option<Error> {
        // SAFETY: By the type invariant.
        let errno = unsafe { bindings::jbd2_journal_errno(self.as_ptr()) };
        (errno < 0).then(|| Error::from_errno(errno))
    }

    fn clear_err(&self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::jbd2_journal_clear_err(self.as_ptr()) })?;
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_journal_update_sb_errno(self.as_ptr()) };
        Ok(())
    }

    /// The thread that commits, as the current task numbers it.
    pub(crate) fn task_pid(&self) -> u32 {
        // SAFETY: By the type invariant. The thread lives as long as the journal.
        unsafe { bindings::jbd2_task_pid(self.as_ptr()) }
    }

    /// Whether the journal has been aborted: nothing will commit any more.
    pub(crate) fn is_aborted(&self) -> bool {
        // SAFETY: By the type invariant; a racy look at a flag that is never cleared.
        unsafe { bindings::jbd2_is_aborted(self.as_ptr()) }
    }

    /// Ends all journaling for good and stores `error` in the journal, for fsck and the next mount
    /// (`ESHUTDOWN` counts as no error). Sleeps.
    pub(crate) fn abort(&self, error: Error) {
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_journal_abort(self.as_ptr(), error.to_errno()) }
    }

    /// Commits transaction `tid` if it is not yet, and waits. `EIO` if the journal is aborted.
    /// `EDEADLK` inside a handle.
    pub(crate) fn commit_tid(&self, tid: Tid) -> Result {
        self.outside_handle()?;
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::jbd2_complete_transaction(self.as_ptr(), tid.to_raw()) })
    }

    /// Whether transaction `tid` has committed.
    pub(crate) fn is_committed(&self, tid: Tid) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_transaction_committed(self.as_ptr(), tid.to_raw()) != 0 }
    }

    /// Whether the commit of `tid` is sure to flush the device's cache after this call, so that
    /// whoever is going to wait for it need not.
    pub(crate) fn will_send_data_barrier(&self, tid: Tid) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_trans_will_send_data_barrier(self.as_ptr(), tid.to_raw()) != 0 }
    }

    /// The running transaction, or else the last one asked to commit.
    pub(crate) fn latest_tid(&self) -> Tid {
        // SAFETY: By the type invariant.
        Tid::from_raw(unsafe { bindings::jbd2_latest_tid(self.as_ptr()) })
    }

    /// Begins to commit what is running, if anything is. Does not wait.
    pub(crate) fn start_commit(&self) {
        // SAFETY: By the type invariant; the number is not asked for.
        unsafe { bindings::jbd2_journal_start_commit(self.as_ptr(), ptr::null_mut()) };
    }

    /// Commits what is running or committing and waits. `EDEADLK` inside a handle.
    pub(crate) fn force_commit(&self) -> Result {
        // Else the function asserts.
        self.outside_handle()?;
        // SAFETY: By the type invariant, and outside of a handle.
        to_result(unsafe { bindings::jbd2_journal_force_commit(self.as_ptr()) })
    }

    /// Keeps handles from starting, having waited for those that run to stop, until the guard is
    /// dropped. `EDEADLK` inside a handle.
    pub(crate) fn lock_updates(&self) -> Result<UpdatesLocked<'_>> {
        self.outside_handle()?;
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_journal_lock_updates(self.as_ptr()) };
        Ok(UpdatesLocked {
            journal: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Whether the task has a handle already.
    pub(crate) fn in_handle(&self) -> bool {
        // SAFETY: Reads a field of the current task.
        !unsafe { bindings::jbd2_current_handle() }.is_null()
    }

    fn outside_handle(&self) -> Result {
        if self.in_handle() {
            Err(EDEADLK)
        } else {
            Ok(())
        }
    }

    /// Commits and checkpoints everything, marks the log empty and ends. `EIO` if that could not
    /// be done, or the journal was aborted. Drops the journal's inode.
    ///
    /// # Safety
    ///
    /// Nobody but a callback of this journal uses it meanwhile, and nobody after this: it is not
    /// dropped either.
    unsafe fn destroy(&self) -> Result {
        // The head is to be forgotten. If this fails, so does what follows.
        let _ = self
            .lock_updates()
            .and_then(|locked| locked.flush(Log::Kept));
        // SAFETY: By the type invariant it is ours, and by the caller nobody else's. A callback
        // that runs in the journal's thread is waited for, before anything of the journal goes.
        to_result(unsafe { bindings::jbd2_journal_destroy(self.as_ptr()) })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is ours, and handles borrow from it.
        if let Err(e) = to_result(unsafe { bindings::jbd2_journal_destroy(self.as_ptr()) }) {
            pr_err!("journal: the last commit or checkpoint failed ({:?})\n", e);
        }
    }
}

/// What becomes of the blocks of a log that has been emptied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// They keep what they have.
    Kept,
    /// The device is told that nobody needs what is in them. It must be able to.
    Discarded,
    /// They are written over with zeros. Takes long.
    Zeroed,
}

/// While this lives no handle of the journal runs, and those that start wait.
pub(crate) struct UpdatesLocked<'j> {
    journal: &'j Journal,
    // Holds a mutex of the journal.
    _not_send: NotThreadSafe,
}

impl UpdatesLocked<'_> {
    /// Commits and checkpoints everything and marks the log empty; what was in its blocks goes
    /// after that. Sleeps. `EIO` if the journal is aborted.
    ///
    /// jbd2 also notes where the log ends. Whoever goes on there must find it inside of his log,
    /// and ours has a part that ext4 may take for fast commits: jbd2 (as of 7.3) does not look,
    /// runs over the end and aborts. So the note is taken back, and the next log begins at the
    /// beginning.
    pub(crate) fn flush(&self, log: Log) -> Result {
        let journal = self.journal.as_ptr();
        let flags = match log {
            Log::Kept => 0,
            Log::Discarded => bindings::JBD2_JOURNAL_FLUSH_DISCARD,
            Log::Zeroed => bindings::JBD2_JOURNAL_FLUSH_ZEROOUT,
        };
        // The function asserts that nobody starts a transaction meanwhile, hence this type.
        // SAFETY: The journal is live, and updates are locked.
        to_result(unsafe { bindings::jbd2_journal_flush(journal, 0) })?;
        // SAFETY: As above, so nothing is written of the journal meanwhile.
        unsafe { bindings::jbd2_forget_head(journal) };
        if flags != 0 {
            // Takes long, and may fail: only now that nobody finds the note.
            // SAFETY: As above.
            to_result(unsafe { bindings::jbd2_journal_flush(journal, flags) })?;
        }
        // If its super block could not be written neither function says so, and the device still
        // has a log that is not empty.
        if self.journal.is_aborted() {
            return Err(EIO);
        }
        Ok(())
    }
}

impl Drop for UpdatesLocked<'_> {
    fn drop(&mut self) {
        // SAFETY: Locked in `Journal::lock_updates`, by this task.
        unsafe { bindings::jbd2_journal_unlock_updates(self.journal.as_ptr()) }
    }
}
