// SPDX-License-Identifier: GPL-2.0

//! Where a mounted file system keeps its journal: opened into it at mount, taken down by this
//! layer at unmount.

use super::{Committed, Journal, JournalFeatures, Log, Tid, UnloadedJournal};
use crate::vfs::{
    atomic::Atomic,
    bindings,
    inode::{Inode, InodeRef},
    super_block::{FileSystem, Part, SuperBlock}, //
};
use core::{cell::UnsafeCell, ops::Deref, ptr};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    sync::atomic::ordering, //
};

const DETACHED: u32 = 0;
const EMPTY: u32 = 1;
const BUSY: u32 = 2;
const SET: u32 = 3;
const CLOSED: u32 = 4;

/// A file system with a journal.
pub(crate) trait Journaled: FileSystem {
    /// One more transaction has committed. Sleeps and allocates memory (`GFP_NOFS`); no lock is
    /// held. The next commit, and who waits for this one, wait for the return: so it starts no
    /// handle, waits for no commit, and takes no lock under which somebody does. May come until the
    /// journal is closed, so at unmount, too.
    fn committed(sb: &SuperBlock<Self>, done: Committed);

    /// Where a block of the journal's inode is, for each block of the log that is written: bmap()
    /// says the same by way of iomap. A commit runs, so it waits for none; may sleep. On an error
    /// the journal is aborted.
    fn log_block(inode: &Inode<Self>, block: u64) -> Result<u64>;
}

/// A journal that comes with mount (or a remount to read-write) and goes with unmount, just before
/// [`FileSystem::stop`]. A [`Part`] of the file system's data.
///
/// # Invariants
///
/// While `state` is [`DETACHED`] nothing is in the slot and nothing comes into it; after that `sb`
/// is the super block that has it, and closes it before it goes.
///
/// The cell holds a journal that may be shared if and only if `state` is [`SET`]; while it is
/// [`BUSY`] exactly one thread owns the cell. A [`CLOSED`] slot stays so.
pub(crate) struct JournalSlot {
    state: Atomic<u32>,
    cell: UnsafeCell<Option<Journal>>,
    sb: UnsafeCell<*mut bindings::super_block>,
    /// How the journal was closed: 0 or an errno.
    outcome: Atomic<i32>,
}

// SAFETY: A `Journal` may be shared and sent; the state orders access to the cells.
unsafe impl Send for JournalSlot {}
// SAFETY: As above.
unsafe impl Sync for JournalSlot {}

impl JournalSlot {
    /// An empty slot.
    pub(crate) const fn new() -> Self {
        Self {
            state: Atomic::new(DETACHED),
            cell: UnsafeCell::new(None),
            sb: UnsafeCell::new(ptr::null_mut()),
            outcome: Atomic::new(0),
        }
    }

    /// The journal, if there is one.
    pub(crate) fn get(&self) -> Option<&Journal> {
        if self.state.load(ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: The cell is not written while the state is `SET`, but for `close`, whose
        // caller promises that there are no references.
        unsafe { (*self.cell.get()).as_ref() }
    }

    /// Puts `journal` in. `EBUSY` if there is one already, or was.
    fn set(&self, journal: Journal) -> Result {
        if self.state.cmpxchg(EMPTY, BUSY, ordering::Acquire).is_err() {
            return Err(EBUSY);
        }
        // SAFETY: The state is `BUSY` and was set so by this thread.
        unsafe { *self.cell.get() = Some(journal) };
        self.state.store(SET, ordering::Release);
        Ok(())
    }

    /// How the journal was closed, for [`FileSystem::stop`]. `Ok` also if there was none.
    pub(crate) fn outcome(&self) -> Result {
        to_result(self.outcome.load(ordering::Relaxed))
    }

    /// Opens the journal that lies in `inode`, to be loaded into this slot. Sleeps; reads the
    /// device. `EINVAL` if there is no journal (of version 2) in the inode, or the inode is of
    /// another super block than the one that the slot is a part of.
    pub(crate) fn open<F: Journaled>(&self, inode: InodeRef<'_, F>) -> Result<OpeningJournal<'_>> {
        if self.state.load(ordering::Acquire) == DETACHED {
            return Err(EINVAL);
        }
        // SAFETY: Written by `attach`, before anybody sees another state than `DETACHED`.
        let ours = unsafe { *self.sb.get() };
        if inode.sb().as_ptr() != ours {
            return Err(EINVAL);
        }
        // SAFETY: The inode is live; without blocks below it or `bmap` the function fails. The
        // journal can only get into the slot, and the super block closes that before it goes.
        // Our count becomes the journal's.
        let journal = unsafe { UnloadedJournal::from_inode(inode.as_ptr()) }?;
        // SAFETY: It lies in this inode. As said, it is closed before the super block goes, so the
        // data of that is attached whenever something commits.
        unsafe { journal.call_back::<F>(inode.sb()) };
        core::mem::forget(inode);
        Ok(OpeningJournal {
            journal,
            slot: self,
        })
    }
}

impl<F: FileSystem> Part<F> for JournalSlot {
    unsafe fn attach(&self, sb: &SuperBlock<F>) {
        // SAFETY: By the caller nobody looks at the slot yet.
        unsafe { *self.sb.get() = sb.as_ptr() };
        // INVARIANT: As it says, by the caller.
        self.state.store(EMPTY, ordering::Release);
    }

    /// Commits all that is running, empties the log into the file system and closes the journal,
    /// if there is one. None can be opened after that.
    unsafe fn close(&self) {
        // What the last commits call finds no journal here, or one that stays until it returns.
        self.state.store(CLOSED, ordering::Relaxed);
        // SAFETY: The cell is written below, and by nobody else.
        let journal = unsafe { &*self.cell.get() };
        // SAFETY: By the caller the other parts are quiet, too: only callbacks of the journal can
        // have it, and not after this.
        let result = journal.as_ref().map(|journal| unsafe { journal.destroy() });
        // SAFETY: No thread of the journal is left, so this one is the only one here.
        core::mem::forget(unsafe { (*self.cell.get()).take() });
        if let Some(Err(e)) = result {
            self.outcome.store(e.to_errno(), ordering::Relaxed);
        }
    }
}

/// A journal whose super block has been read and checked, on its way into the slot of its file
/// system. Nothing can be journaled yet; dropping this closes it again.
pub(crate) struct OpeningJournal<'a> {
    journal: UnloadedJournal,
    slot: &'a JournalSlot,
}

impl OpeningJournal<'_> {
    /// Replays the log into the file system, has `setup` make what settings it wants to, and puts
    /// the journal into the slot. If `setup` fails the journal is closed again. `EBUSY` if the
    /// slot has one. Sleeps, does I/O. The device is written only if there is something to
    /// replay, or `setup` writes.
    ///
    /// Block buffers that were read before this may have changed.
    pub(crate) fn load(self, setup: impl FnOnce(&LoadedJournal<'_>) -> Result) -> Result {
        let journal = self.journal.load()?;
        setup(&LoadedJournal(&journal))?;
        self.slot.set(journal)
    }
}

impl Deref for OpeningJournal<'_> {
    type Target = UnloadedJournal;
    fn deref(&self) -> &UnloadedJournal {
        &self.journal
    }
}

/// A loaded journal that nobody else sees yet.
pub(crate) struct LoadedJournal<'a>(&'a Journal);

impl LoadedJournal<'_> {
    /// Sets features in the journal's super block, to be written with it later. Before any
    /// handle is started. `EINVAL` if the journal's format has no room for them.
    pub(crate) fn set_features(&self, features: JournalFeatures) -> Result {
        self.0.set_features(features)
    }

    /// Empties the log, which has been replayed, and says so on the device, together with the
    /// features. Until then the device promises a log in the old format, where the next commits
    /// already write in the new one: what they write could not be replayed. `EIO` if the journal is
    /// aborted.
    pub(crate) fn flush(&self) -> Result {
        self.0.lock_updates()?.flush(Log::Kept)
    }

    /// Forgets the error that an earlier mount stored; until then no handle can be started. The
    /// file system has noted it in its own super block by now. Writes to the device. `EROFS` if
    /// the journal is aborted.
    pub(crate) fn clear_err(&self) -> Result {
        self.0.clear_err()
    }

    /// See [`Journal::set_commit_interval`].
    pub(crate) fn set_commit_interval(&self, seconds: u32) {
        self.0.set_commit_interval(seconds);
    }
}

impl UnloadedJournal {
    /// Has the functions of [`Journaled`] called.
    ///
    /// # Safety
    ///
    /// The journal lies in an inode of `F`. The data of `sb` is attached until the journal is
    /// destroyed.
    unsafe fn call_back<F: Journaled>(&self, sb: &SuperBlock<F>) {
        let journal = self.as_ptr();
        // SAFETY: By the type invariant; nothing commits before the journal is loaded, and jbd2
        // itself does not use `j_private`.
        unsafe {
            bindings::jbd2_set_private(journal, sb.as_ptr().cast());
            bindings::jbd2_set_commit_callback(journal, Some(committed_callback::<F>));
            bindings::jbd2_set_bmap(journal, Some(log_block_callback::<F>));
        }
    }
}

/// `j_commit_callback`: in the journal's thread, or in the one that destroys the journal, with no
/// lock held. `j_commit_sequence` is set, and who waits for it is woken when this returns.
///
/// # Safety
///
/// `journal` is one that `call_back` of `F` was called for, and `transaction` has just
/// committed (jbd2_journal_commit_transaction()).
unsafe extern "C" fn committed_callback<F: Journaled>(
    journal: *mut bindings::journal_s,
    transaction: *mut bindings::transaction_s,
) {
    // SAFETY: `call_back` has stored the super block, whose data is attached by its contract.
    // The transaction lives until the callback has returned.
    let (sb, tid) = unsafe {
        let sb = bindings::jbd2_private(journal).cast();
        let tid = bindings::jbd2_transaction_tid(transaction);
        (SuperBlock::<F>::from_raw(sb), tid)
    };
    F::committed(sb, Committed(Tid::from_raw(tid)));
}

/// `j_bmap`: in the journal's thread, or in one that loads or destroys the journal.
///
/// # Safety
///
/// `journal` is one that `call_back` of `F` was called for, not destroyed yet, so that it has its
/// inode; `block` is the caller's (jbd2_journal_bmap()).
unsafe extern "C" fn log_block_callback<F: Journaled>(
    journal: *mut bindings::journal_s,
    block: *mut bindings::sector_t,
) -> c_int {
    // SAFETY: By the caller.
    let (inode, wanted) = unsafe { (Inode::from_raw(bindings::jbd2_inode(journal)), *block) };
    from_result(|| {
        let found = F::log_block(inode, wanted);
        // SAFETY: By the caller.
        unsafe {
            match &found {
                Ok(found) => *block = *found,
                Err(e) => bindings::jbd2_journal_abort(journal, e.to_errno()),
            }
        }
        found.map(|_| 0)
    })
}
