// SPDX-License-Identifier: GPL-2.0

//! A transaction for each handle, so that a power cut may come between any two of them. Else a
//! call that has several has them in one transaction, unless the log happens to be full.

use crate::vfs::atomic::Atomic;
use crate::vfs::jbd2::Journal;
use kernel::sync::atomic::ordering::Relaxed;

/// How many open control files want it.
static EACH: Atomic<u32> = Atomic::new(0);

/// Counts one more, or one less, who wants it.
pub(super) fn set_each(on: bool) {
    if on {
        EACH.fetch_add(1, Relaxed);
    } else {
        EACH.fetch_sub(1, Relaxed);
    }
}

/// A handle is about to be started. Whoever does that may have to wait for a commit anyway, so no
/// lock is held that one needs.
pub(crate) fn before_handle(journal: &Journal) {
    if EACH.load(Relaxed) != 0 && !journal.in_handle() {
        // An error is in the journal, and the start of the handle finds it.
        let _ = journal.force_commit();
    }
}
