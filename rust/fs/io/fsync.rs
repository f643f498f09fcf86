// SPDX-License-Identifier: GPL-2.0

//! What must be durable when fsync returns.

use crate::{
    fs::{Inode, Rext4},
    vfs::{trace, File},
};
use kernel::{error::code::*, prelude::*};

/// `fsync` and `fdatasync` of files and directories.
pub(crate) fn fsync(file: &File<Rext4>, start: u64, end: u64, datasync: bool) -> Result {
    trace::fsync(file.inode(), start, end.saturating_sub(start));
    // Waits for PG_writeback, which ends only after the completion has put conversion and size
    // into a transaction and noted its tid.
    file.write_and_wait_range(start, end)?;
    commit(file.inode(), datasync)
}

/// Waits until the inode's last change is in the log and the log in the device.
pub(crate) fn commit(inode: &Inode, datasync: bool) -> Result {
    let (sb, fs) = (inode.sb(), inode.fs());
    let Some(journal) = fs.journal() else {
        return Ok(());
    };
    if fs.access.is_emergency() {
        return Err(EROFS);
    }
    // The content of a directory is in blocks that the inode does not tell of.
    let tid = inode.node().tid(datasync && !inode.is_dir());
    // A commit flushes the device's cache. If ours is already past that point, the data written
    // since then (overwrites change no metadata) needs a flush of its own.
    let flush = fs.uses_barriers() && !journal.will_send_data_barrier(tid);
    let committed = journal.commit_tid(tid);
    // A transaction that was aborted is not to be waited for, nor is it in the log.
    if let Some(e) = journal.errno() {
        fs.journal_died();
        return Err(e);
    }
    committed?;
    // Read-only (since a forced remount, maybe) it is the same: what was overwritten before then
    // may be in the cache of the device.
    match flush {
        true => sb.issue_flush(),
        false => Ok(()),
    }
}
