// SPDX-License-Identifier: GPL-2.0

//! Whether this mount may change the disk just now.
//!
//! ```text
//!   ReadOnly <-----> Writing <-----> Frozen
//!                       |               |
//!                       +-> Emergency <-+
//! ```
//!
//! After a shutdown ([`AccessState::shut_down`]) it is `Emergency`, too, if it was not `ReadOnly`,
//! and what needs the disk fails with `EIO`, reads of files included.
//!
//! The flag `SB_RDONLY` does not tell: it is the VFS's, it changes under s_umount only, and after
//! the file system has done its part. An error cannot wait for that lock, and `thaw_super()` takes
//! a super block that turned read-only under a freeze for one that never held the freeze locks, so
//! that they stay locked for ever.
//!
//! The super block on disk says that the journal needs recovery in `Writing`, and that it does not
//! in `ReadOnly` and `Frozen`. A transaction that committed there would be lost: ext4 throws away a
//! log that it need not recover. The VFS stops writers before it freezes or remounts, but not all
//! of them before an emergency remount (SysRq-U), and not those it does not know of:
//!
//! ```text
//!   remount,ro                          unlink, under way
//!   commits, empties the log
//!                                       starts its next handle: waits for updates
//!   super block: no recovery needed
//!   lets updates go on
//!                                       its handle joins a transaction, which commits
//! ```
//!
//! So a handle is started under a semaphore for readers, after a look at the state, and the state
//! leaves `Writing` under the same semaphore for the writer: whoever has looked has its handle by
//! then, the log is emptied after that, and whoever comes later is refused. Refused, not made to
//! wait: sync(2) may hold s_umount while it waits for such a writer, and a thaw needs it.

use crate::vfs::atomic::Atomic;
use crate::vfs::{
    jbd2::Journal,
    percpu_rwsem::{PercpuRwSem, ReadGuard}, //
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::atomic::ordering, //
};

/// What the mount may do.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Access {
    /// Nothing is written: mounted read-only, or remounted so.
    ReadOnly,
    /// All is as usual.
    Writing,
    /// Frozen: the disk is to stay as it is until the thaw.
    Frozen,
    /// An error (`errors=remount-ro`) or a shutdown has ended all writing. For good.
    Emergency,
}

/// The [`Access`] of a mount.
#[pin_data]
pub(crate) struct AccessState {
    value: Atomic<u32>,
    shut_down: Atomic<bool>,
    /// Readers are about to start a handle; the writer ends [`Access::Writing`]. Nobody waits for
    /// s_umount or a freeze inside.
    #[pin]
    starts: PercpuRwSem,
}

impl AccessState {
    /// [`Access::ReadOnly`].
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            value: Atomic::new(Access::ReadOnly as u32),
            shut_down: Atomic::new(false),
            starts <- PercpuRwSem::new(c"rext4_start", static_lock_class!()),
        }? Error)
    }

    /// The state now.
    pub(crate) fn get(&self) -> Access {
        match self.value.load(ordering::Acquire) {
            n if n == Access::ReadOnly as u32 => Access::ReadOnly,
            n if n == Access::Writing as u32 => Access::Writing,
            n if n == Access::Frozen as u32 => Access::Frozen,
            _ => Access::Emergency,
        }
    }

    /// Whether nothing is written now, and nobody waits for that to change.
    pub(crate) fn writes_nothing(&self) -> bool {
        matches!(self.get(), Access::ReadOnly | Access::Emergency)
    }

    /// Whether an error or a shutdown has ended all writing.
    pub(crate) fn is_emergency(&self) -> bool {
        self.get() == Access::Emergency
    }

    /// Ends all use of the disk: nobody is let in any more. Any context. Returns whether this was
    /// the first.
    pub(crate) fn shut_down(&self) -> bool {
        // Before the state: who finds that nothing may be written is told why.
        let first = !self.shut_down.xchg(true, ordering::Full);
        self.end();
        first
    }

    /// Whether it was shut down.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.shut_down.load(ordering::Acquire)
    }

    /// `EIO` if it was shut down.
    pub(crate) fn check_alive(&self) -> Result {
        if self.is_shut_down() {
            Err(EIO)
        } else {
            Ok(())
        }
    }

    /// Why nothing may be written: `EIO` if it was shut down, else `EROFS`.
    pub(crate) fn refusal(&self) -> Error {
        if self.is_shut_down() {
            EIO
        } else {
            EROFS
        }
    }

    fn change(&self, from: Access, to: Access) -> bool {
        self.value
            .cmpxchg(from as u32, to as u32, ordering::Full)
            .is_ok()
    }

    /// Lets the caller start a handle, as long as the guard lives. [`Self::refusal`] if nothing may
    /// be written. A task that has a handle may go on with it: it was let in before.
    pub(crate) fn admit(&self, journal: &Journal) -> Result<Option<ReadGuard<'_>>> {
        if journal.in_handle() {
            return Ok(None);
        }
        let guard = self.starts.read();
        match self.get() {
            Access::Writing => Ok(Some(guard)),
            _ => Err(self.refusal()),
        }
    }

    /// The super block says that the journal needs recovery: writing begins, or goes on after a
    /// freeze. False in an emergency, and after a shutdown, which may have come just before.
    pub(crate) fn open(&self) -> bool {
        let opened = self.change(Access::ReadOnly, Access::Writing)
            || self.change(Access::Frozen, Access::Writing);
        // Who shuts down says so first, and then ends what is open: one of the two sees the other.
        if opened && self.is_shut_down() {
            self.end();
        }
        opened && !self.is_shut_down()
    }

    /// From [`Access::Writing`] to another: no handle is started after the return. Waits for those
    /// that are being started, so the caller has none. False in an emergency.
    pub(crate) fn leave(&self, to: Access) -> bool {
        let _alone = self.starts.write();
        self.change(Access::Writing, to)
    }

    /// An error ends all writing. Any context. Returns whether this was the first.
    pub(crate) fn end(&self) -> bool {
        loop {
            let now = self.get();
            match now {
                Access::Writing | Access::Frozen if self.change(now, Access::Emergency) => {
                    return true
                }
                Access::Writing | Access::Frozen => (),
                Access::ReadOnly | Access::Emergency => return false,
            }
        }
    }
}
