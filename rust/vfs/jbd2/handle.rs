// SPDX-License-Identifier: GPL-2.0

//! Handles: one operation's part of a transaction.

use super::{
    super::{bh::BufferHead, bindings},
    Journal,
    Tid, //
};
use core::{
    mem::ManuallyDrop,
    ops::{Deref, Range},
    ptr::NonNull, //
};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
    types::NotThreadSafe, //
};
use zerocopy::{Immutable, IntoBytes};

/// One operation's part of the running transaction: its changes commit together with all others of
/// the transaction, or not at all. Memory is allocated `GFP_NOFS` while a handle lives.
///
/// The transaction cannot commit before this is dropped. So in a handle nobody waits for anything
/// that may need one: folio locks, writeback, `sb_start_*`, a copy from user space, the last
/// reference to an inode.
///
/// # Invariants
///
/// `raw` is a handle of `journal` that belongs to the current task (hence not `Send`) and of which
/// we own one count (`h_ref`). It is attached to a transaction: handles are never restarted.
pub(crate) struct Handle<'j> {
    raw: NonNull<bindings::jbd2_journal_handle>,
    journal: &'j Journal,
    _not_send: NotThreadSafe,
}

impl<'j> Handle<'j> {
    pub(super) fn start(journal: &'j Journal, credits: u32, revokes: u32) -> Result<Self> {
        if i32::try_from(revokes).is_err() {
            return Err(ENOSPC);
        }
        // More than the journal can ever give would make the function WARN: the blocks, and those
        // that it adds for the revoke records.
        // SAFETY: The journal is live; the number of records in a block is constant.
        let more = unsafe { bindings::jbd2_revoke_blocks(journal.as_ptr(), revokes) };
        let total = credits.checked_add(more).ok_or(ENOSPC)?;
        if total > journal.max_credits() {
            return Err(ENOSPC);
        }
        // CAST: Both fit: `max_credits` fits into `i32`.
        let (blocks, records) = (credits as i32, revokes as i32);
        // SAFETY: The journal is live.
        let raw = from_err_ptr(unsafe { bindings::jbd2_start(journal.as_ptr(), blocks, records) })?;
        // INVARIANT: A new handle of the current task with one count, or the task's one of this
        // journal (of another: EINVAL) with one more.
        let handle = Handle {
            raw: NonNull::new(raw).ok_or(EINVAL)?,
            journal,
            _not_send: NotThreadSafe,
        };
        // Only one that was there before can have less than was asked for. If the transaction has
        // no room we go on: what is needed is most often less than what is asked for.
        let more = credits.saturating_sub(handle.credits());
        let more_revokes = revokes.saturating_sub(handle.revokes());
        if more > 0 || more_revokes > 0 {
            handle.extend(more, more_revokes)?;
        }
        Ok(handle)
    }

    fn as_ptr(&self) -> *mut bindings::jbd2_journal_handle {
        self.raw.as_ptr()
    }

    /// The journal of this handle.
    pub(crate) fn journal(&self) -> &'j Journal {
        self.journal
    }

    /// The transaction that this handle is part of, for [`Journal::commit_tid`].
    pub(crate) fn tid(&self) -> Tid {
        // SAFETY: By the type invariant, attached to a transaction.
        Tid::from_raw(unsafe { bindings::jbd2_handle_tid(self.as_ptr()) })
    }

    /// How many more blocks this handle may change.
    pub(crate) fn credits(&self) -> u32 {
        // SAFETY: By the type invariant.
        let credits = unsafe { bindings::jbd2_handle_credits(self.as_ptr()) };
        u32::try_from(credits).unwrap_or(0)
    }

    fn revokes(&self) -> u32 {
        // SAFETY: By the type invariant.
        let revokes = unsafe { bindings::jbd2_handle_revokes(self.as_ptr()) };
        u32::try_from(revokes).unwrap_or(0)
    }

    /// Asks for more credits and revoke records without waiting. False if the transaction has no
    /// room: the operation must stop the handle at a consistent point and start another.
    pub(crate) fn extend(&self, credits: u32, revokes: u32) -> Result<bool> {
        if credits > self.journal.max_credits() || revokes > self.journal.max_credits() {
            return Ok(false);
        }
        // CAST: `max_credits` fits into `i32`.
        let (blocks, records) = (credits as i32, revokes as i32);
        // SAFETY: By the type invariant.
        let ret = unsafe { bindings::jbd2_journal_extend(self.as_ptr(), blocks, records) };
        to_result(ret)?;
        Ok(ret == 0)
    }

    /// Has [`Handle::stop`] commit the transaction and wait for it.
    pub(crate) fn set_sync(&self) {
        // SAFETY: By the type invariant; the flag is only used by the handle's task.
        unsafe { bindings::jbd2_handle_set_sync(self.as_ptr()) }
    }

    /// Whether the journal was aborted, so that this handle's changes will not commit.
    pub(crate) fn is_aborted(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::jbd2_handle_is_aborted(self.as_ptr()) }
    }

    /// Ends the handle. `EIO` if the journal was aborted meanwhile.
    pub(crate) fn stop(self) -> Result {
        let this = ManuallyDrop::new(self);
        // SAFETY: By the type invariant; our count goes, and `self` is not dropped.
        to_result(unsafe { bindings::jbd2_journal_stop(this.as_ptr()) })
    }

    /// A buffer of another device or block size would end up in the wrong place.
    fn check_buffer(&self, bh: &BufferHead) -> Result {
        if bh.bdev() != self.journal.fs_dev || bh.size() != self.journal.block_size {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// The right to change a block that has been read. Costs a credit when it is used, once per
    /// block and transaction. May wait for a commit to finish writing the block to the log.
    ///
    /// `EROFS` if the journal is aborted, `EIO` if the block has not been read.
    pub(crate) fn write<'h>(&'h self, bh: &BufferHead) -> Result<JournaledBuffer<'h>> {
        self.check_buffer(bh)?;
        if !bh.is_current() {
            return Err(EIO);
        }
        // SAFETY: By the type invariants.
        to_result(unsafe { bindings::jbd2_journal_get_write_access(self.as_ptr(), bh.as_ptr()) })?;
        Ok(JournaledBuffer::new(self, bh, false))
    }

    /// [`Handle::write`] for a block that has just been allocated: zeroes it, and takes it for
    /// verified. What the disk has there is not read.
    pub(crate) fn create<'h>(&'h self, bh: &BufferHead) -> Result<JournaledBuffer<'h>> {
        self.check_buffer(bh)?;
        let locked = bh.lock();
        // SAFETY: By the type invariants; the buffer is locked, which the function asserts.
        to_result(unsafe { bindings::jbd2_journal_get_create_access(self.as_ptr(), bh.as_ptr()) })?;
        bh.fill(0..bh.size(), 0)?;
        // SAFETY: By the type invariant of `BufferHead`; changed under the buffer's lock.
        unsafe { bindings::set_buffer_uptodate(bh.as_ptr()) };
        bh.set_verified();
        drop(locked);
        Ok(JournaledBuffer::new(self, bh, true))
    }

    /// Drops a block from the journal that has been freed in the transaction that allocated it, or
    /// was never journaled: it is not written to the log or to its place any more. Otherwise use
    /// [`Handle::revoke`].
    pub(crate) fn forget(&self, bh: BufferHead) -> Result {
        self.check_buffer(&bh)?;
        let bh = ManuallyDrop::new(bh);
        // SAFETY: By the type invariants. The function takes over our count of the buffer...
        let ret = unsafe { bindings::jbd2_journal_forget(self.as_ptr(), bh.as_ptr()) };
        // ...except if it finds the journal aborted before it does anything.
        if to_result(ret) == Err(EROFS) {
            drop(ManuallyDrop::into_inner(bh));
        }
        to_result(ret)
    }

    /// Notes that a metadata block has been freed: replay must not write older versions of it over
    /// what it will hold next. `bh` is its buffer, if the caller has it, and is forgotten too.
    /// Costs a revoke record of [`Journal::start_with_revoke`]; `EIO` if there are none left, or
    /// the block was freed twice.
    ///
    /// To be called before the block's bit is cleared in the bitmap.
    pub(crate) fn revoke(&self, block: u64, bh: Option<BufferHead>) -> Result {
        if let Some(bh) = &bh {
            self.check_buffer(bh)?;
            if bh.blocknr() != block {
                return Err(EINVAL);
            }
        }
        // The buffer is passed separately below: on some errors the function would not take it.
        // SAFETY: By the type invariant. That the journal knows revoke records, which the function
        // asserts, was checked when it was opened.
        to_result(unsafe {
            bindings::jbd2_journal_revoke(self.as_ptr(), block, core::ptr::null_mut())
        })?;
        bh.map_or(Ok(()), |bh| self.forget(bh))
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        // Errors mean that the journal is aborted, which others have seen and reported.
        // SAFETY: By the type invariant; our count goes.
        let _ = unsafe { bindings::jbd2_journal_stop(self.as_ptr()) };
    }
}

/// The right to change one block as part of a [`Handle`]; it cannot outlive that. Once changed, the
/// block becomes part of the transaction when this is dropped or [finished](Self::finish).
///
/// Two of them for one block do not exclude each other: whoever changes a structure holds the lock
/// that owns it.
pub(crate) struct JournaledBuffer<'h> {
    handle: &'h Handle<'h>,
    bh: BufferHead,
    changed: bool,
}

impl<'h> JournaledBuffer<'h> {
    fn new(handle: &'h Handle<'_>, bh: &BufferHead, changed: bool) -> Self {
        Self {
            handle,
            bh: bh.clone(),
            changed,
        }
    }

    /// Copies a structure into the block. `EINVAL` if it does not fit.
    pub(crate) fn write<T: IntoBytes + Immutable>(&mut self, off: usize, value: &T) -> Result {
        self.copy_in(off, value.as_bytes())
    }

    /// Copies bytes into the block. `EINVAL` if they do not fit.
    pub(crate) fn copy_in(&mut self, off: usize, src: &[u8]) -> Result {
        self.changed = true;
        self.bh.fill_from(off, src)
    }

    /// Sets bytes of the block to zero. `EINVAL` if they do not all lie within it.
    pub(crate) fn zero(&mut self, range: Range<usize>) -> Result {
        self.changed = true;
        self.bh.fill(range, 0)
    }

    /// Copies bytes of the block to another place in it, over themselves, too. `EINVAL` if either
    /// place does not lie within it.
    pub(crate) fn copy_within(&mut self, range: Range<usize>, to: usize) -> Result {
        self.changed = true;
        self.bh.copy_within(range, to)
    }

    /// Sets bits of the block as a little-endian bitmap. The caller holds the bitmap's lock.
    pub(crate) fn set_bits(&mut self, range: Range<usize>) -> Result {
        self.changed = true;
        self.bh.fill_bits(range, true)
    }

    /// Clears bits of the block as a little-endian bitmap. The caller holds the bitmap's lock.
    ///
    /// Who may take the bits again, and when, is for the caller to know. (The copy of what is
    /// committed that jbd2 can keep of a bitmap, by undo access, is not offered: it does not tell
    /// about blocks that the committing transaction took and the running one freed.)
    pub(crate) fn clear_bits(&mut self, range: Range<usize>) -> Result {
        self.changed = true;
        self.bh.fill_bits(range, false)
    }

    /// Makes the changes part of the transaction. On an error they are in memory but will not be
    /// journaled, so the journal is aborted.
    pub(crate) fn finish(mut self) -> Result {
        self.dirty()
    }

    fn dirty(&mut self) -> Result {
        if !core::mem::take(&mut self.changed) {
            return Ok(());
        }
        let (handle, bh) = (self.handle.as_ptr(), self.bh.as_ptr());
        // `jbd2_journal_dirty_metadata()` uses the journal head without a reference, trusting that
        // the buffer is still in the transaction. It is not if somebody forgot the block after we
        // got access to it, so hold one.
        // SAFETY: By the type invariant of `BufferHead`; returns a reference or null.
        let jh = unsafe { bindings::jbd2_journal_grab_journal_head(bh) };
        let ret = if jh.is_null() {
            Err(EUCLEAN)
        } else {
            // SAFETY: By the type invariants of `Handle` and `BufferHead`, and the buffer keeps its
            // journal head until below.
            let ret = to_result(unsafe { bindings::jbd2_journal_dirty_metadata(handle, bh) });
            // SAFETY: The reference is ours.
            unsafe { bindings::jbd2_journal_put_journal_head(jh) };
            ret
        };
        if let Err(e) = ret {
            if !self.handle.is_aborted() {
                pr_err!(
                    "journal: block {} cannot be journaled ({:?})\n",
                    self.bh.blocknr(),
                    e
                );
                self.handle.journal.abort(e);
            }
        }
        ret
    }
}

impl Deref for JournaledBuffer<'_> {
    type Target = BufferHead;

    fn deref(&self) -> &BufferHead {
        &self.bh
    }
}

impl Drop for JournaledBuffer<'_> {
    fn drop(&mut self) {
        // An error has aborted the journal.
        let _ = self.dirty();
    }
}
