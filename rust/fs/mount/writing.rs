// SPDX-License-Identifier: GPL-2.0

//! Between a file system at rest and one that is written: what the super block says of it, and in
//! which order that and [`Access`] change.

use crate::{
    disk::{
        features,
        RawSuper, //
    },
    fs::{
        about::{self, now},
        access::Access,
        error::journal_error,
        marks,
        primary::write_super,
        recover,
        Rext4,
        Sb, //
    },
    vfs::jbd2::{Journal, Log},
};
use kernel::{error::code::*, prelude::*};

/// From here on the disk may change: says so in the super block, then finishes the orphans.
pub(super) fn begin_writing(sb: &Sb) -> Result {
    let fs = sb.data();
    write_super(fs, |raw| {
        raw.set_incompat(features::INCOMPAT_RECOVER, true);
        use_slots(fs, raw);
        raw.set_mounted(now());
        raw.set_hash_flag();
        about::tell_figures(sb, raw);
    })?;
    if !fs.access.open() {
        return Err(fs.access.refusal());
    }
    recover::process(sb)
}

/// Everything is written, and nothing more will be: says in the super block that no recovery is
/// needed.
pub(super) fn end_writing(sb: &Sb) -> Result {
    let fs = sb.data();
    write_super(fs, |raw| {
        about::tell_figures(sb, raw);
        raw.set_incompat(features::INCOMPAT_RECOVER, false);
        // If an inode is left in there, who mounts it next has to look.
        if fs.slots.is_open() && !fs.slots.are_used() {
            raw.set_ro_compat(features::RO_COMPAT_ORPHAN_PRESENT, false);
        }
    })
}

/// Somebody may be in the orphan file from now on, once it is open.
fn use_slots(fs: &Rext4, raw: &mut RawSuper) {
    if fs.slots.is_open() {
        raw.set_ro_compat(features::RO_COMPAT_ORPHAN_PRESENT, true);
    }
}

/// Empties the log into the file system and says so in the super block, and only then lets handles
/// start again: [`Access::Writing`] has been left, so those that waited are refused.
pub(super) fn empty_log(sb: &Sb, journal: &Journal) -> Result {
    let locked = journal.lock_updates()?;
    locked.flush(Log::Kept)?;
    end_writing(sb)
}

/// The journal is dead, and what is in the log is the truth: recovery is to find it, and e2fsck the
/// mark.
pub(super) fn leave_to_recovery(sb: &Sb) {
    if !sb.data().has_errors() {
        journal_error(sb);
    }
    // What is dirty of the super block is written now, and not over the mark.
    let _ = sb.device().sync();
    marks::past_journal(sb);
}

/// From [`Access::Writing`] to [`Access::ReadOnly`], as clean as that can be done.
pub(super) fn stop_writing(sb: &Sb, journal: &Journal) {
    let fs = sb.data();
    if !fs.access.leave(Access::ReadOnly) {
        return;
    }
    // What is being discarded is over before somebody else may write to the device.
    fs.groups.trims.wait_over();
    if let Err(e) = empty_log(sb, journal) {
        // After this no handle starts, so nobody else would find it.
        if fs.access.is_shut_down() {
            marks::after_shutdown(sb);
        } else if journal.is_aborted() {
            leave_to_recovery(sb);
        }
        pr_warn!(
            "{}: read-only after errors ({}); the journal needs recovery\n",
            sb.id(),
            e.to_errno()
        );
    }
}

/// Writing goes on after a freeze, or after one that has failed: the super block in memory may say
/// by then that no recovery is needed.
pub(super) fn reopen(sb: &Sb, journal: &Journal) {
    let fs = sb.data();
    // An aborted journal leaves the disk as it is.
    let written = if journal.is_aborted() {
        Err(EROFS)
    } else {
        write_super(fs, |raw| {
            raw.set_incompat(features::INCOMPAT_RECOVER, true);
            use_slots(fs, raw);
        })
    };
    if let Err(e) = written {
        // Nobody would recover what is written from here on.
        pr_err!(
            "{}: super block not written at thaw: error {}; nothing is written any more\n",
            sb.id(),
            e.to_errno()
        );
        journal.abort(e);
        fs.journal_died();
    }
    fs.access.open();
    // What has waited for this.
    fs.discard_later();
}
