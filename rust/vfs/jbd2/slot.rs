// SPDX-License-Identifier: GPL-2.0

//! Where a mounted file system keeps its journal: set once at mount, taken down at unmount.

use super::{Journal, UnloadedJournal};
use crate::vfs::{
    inode::INode,
    super_block::{FileSystem, Stopping}, //
};
use core::cell::UnsafeCell;
use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{ordering, Atomic}, //
    },
};

const EMPTY: u32 = 0;
const BUSY: u32 = 1;
const SET: u32 = 2;

/// A journal that comes with mount (or a remount to read-write) and goes with unmount.
///
/// # Invariants
///
/// The cell holds a journal that may be shared if and only if `state` is [`SET`]; while it is
/// [`BUSY`] exactly one thread owns the cell.
pub(crate) struct JournalSlot {
    state: Atomic<u32>,
    cell: UnsafeCell<Option<Journal>>,
}

// SAFETY: A `Journal` may be shared and sent; the state orders access to the cell.
unsafe impl Sync for JournalSlot {}

impl JournalSlot {
    /// An empty slot.
    pub(crate) const fn new() -> Self {
        Self {
            state: Atomic::new(EMPTY),
            cell: UnsafeCell::new(None),
        }
    }

    /// The journal, if there is one.
    pub(crate) fn get(&self) -> Option<&Journal> {
        if self.state.load(ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: The cell is not written while the state is `SET`, but for `destroy`, whose
        // token proves that nobody is in the file system.
        unsafe { (*self.cell.get()).as_ref() }
    }

    /// Puts `journal` in. `EBUSY` if there is one already.
    pub(crate) fn set(&self, journal: Journal) -> Result {
        if self.state.cmpxchg(EMPTY, BUSY, ordering::Acquire).is_err() {
            return Err(EBUSY);
        }
        // SAFETY: The state is `BUSY` and was set so by this thread.
        unsafe { *self.cell.get() = Some(journal) };
        self.state.store(SET, ordering::Release);
        Ok(())
    }

    /// Commits all that is running, empties the log into the file system and closes the journal.
    /// No-op when the slot is empty. The caller holds no reference from [`JournalSlot::get`].
    pub(crate) fn destroy(&self, _stop: &Stopping) -> Result {
        if self.state.load(ordering::Acquire) != SET {
            return Ok(());
        }
        self.state.store(BUSY, ordering::Relaxed);
        // SAFETY: The state is `BUSY`, and by the token no operation runs that could have a
        // reference from before.
        let journal = unsafe { (*self.cell.get()).take() };
        self.state.store(EMPTY, ordering::Release);
        journal.map_or(Ok(()), Journal::destroy)
    }
}

/// Opens the journal that lies in `inode`, which must be destroyed (or dropped) before the file
/// system's `stop` returns; a [`JournalSlot`] in its data does that.
pub(crate) fn open<F: FileSystem>(inode: ARef<INode<F>>) -> Result<UnloadedJournal> {
    // SAFETY: The inode is live, its `bmap` is the address space table's; the super block
    // outlives the journal as said above. The `ARef`'s reference becomes the journal's.
    let journal = unsafe { UnloadedJournal::from_inode(inode.as_ptr()) }?;
    core::mem::forget(inode);
    Ok(journal)
}
