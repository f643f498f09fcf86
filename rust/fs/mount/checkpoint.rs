// SPDX-License-Identifier: GPL-2.0

//! `EXT4_IOC_CHECKPOINT`: the log of a mounted file system is emptied, and what its blocks held may
//! be made to go: the names of files that are deleted are in there, too.

use crate::{
    fs::{access::Access, Sb},
    vfs::jbd2::Log,
};
use kernel::prelude::*;

/// `ENODEV` if there is no journal.
pub(in crate::fs) fn can_empty_log(sb: &Sb) -> Result {
    sb.data().journal().map(|_| ()).ok_or(ENODEV)
}

/// Empties the log. The super block goes on saying that the journal needs recovery, for writing
/// goes on: to recover an empty log changes nothing. The mount stays writable and is not frozen
/// meanwhile, but for an emergency remount, which empties it just as well: one after the other.
pub(in crate::fs) fn empty_live_log(sb: &Sb, blocks: Log) -> Result {
    let fs = sb.data();
    let journal = fs.journal().ok_or(ENODEV)?;
    let locked = journal.lock_updates()?;
    if fs.access.get() != Access::Writing {
        return Err(fs.access.refusal());
    }
    locked.flush(blocks)
}
