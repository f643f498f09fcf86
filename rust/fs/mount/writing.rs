// SPDX-License-Identifier: GPL-2.0

//! Between a file system at rest and one that is written: what the super block says of it, and in
//! which order that and [`Access`] change.

use crate::{
    disk::{
        features,
        superblock::STATE_ERROR, //
        RawSuper,
    },
    fs::{
        about::{self, now},
        access::Access,
        error::journal_error,
        marks,
        primary::{read_super, write_super},
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

/// Whether a read-only mount has orphans to finish, and may. Not with features that only a reader
/// may ignore, nor after errors: then the bitmaps may lie ([`recover::process`]).
pub(super) fn has_unfinished(sb: &Sb) -> Result<bool> {
    let fs = sb.data();
    if sb.device_is_read_only()
        || fs.has_errors()
        || fs.geo.features.first_unknown_ro_compat().is_some()
    {
        return Ok(false);
    }
    read_super(fs, |raw| {
        let in_file = raw
            .features()
            .has_ro_compat(features::RO_COMPAT_ORPHAN_PRESENT);
        !raw.has_state(STATE_ERROR) && (in_file || raw.last_orphan().is_some())
    })
}

/// The end of what a read-only mount writes: the log has been replayed, if there was something in
/// it, and is empty. What names do not keep from being freed is freed now, for who sees the replay
/// sees the space it takes.
pub(super) fn finish_read_only(sb: &Sb, journal: &Journal) -> Result {
    let fs = sb.data();
    if !has_unfinished(sb)? {
        // e2fsck does not mend a log that has something in it and is not spoken of, but asks.
        return write_super(fs, |raw| {
            raw.set_incompat(features::INCOMPAT_RECOVER, false)
        });
    }
    write_super(fs, |raw| {
        raw.set_incompat(features::INCOMPAT_RECOVER, true);
        use_slots(fs, raw);
    })?;
    if !fs.access.open() {
        return Err(fs.access.refusal());
    }
    recover::process(sb)?;
    stop_writing(sb, journal);
    Ok(())
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
