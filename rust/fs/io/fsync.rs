// SPDX-License-Identifier: GPL-2.0

//! Rules 2 and 12: what must be durable when fsync returns, and what is written although nobody
//! asked.
//!
//! Programs replace a file by writing a new one and renaming it, or by truncating it and writing it
//! anew, and many of them do not call fsync. The names and the size 0 are in the journal and commit
//! within seconds. Data waits for the flusher, half a minute, and there is no ordered mode:
//!
//! ```text
//!   program                                     journal
//!   writes 5000 bytes to "new", closes it
//!   renames "new" over "old"
//!                                               commits: "old" names the new file, of size 0
//!   (power cut)
//!                                               the old content is gone, the new one was not
//!                                               written
//! ```
//!
//! [`before_replace`] and [`after_close`] write such data early, unless mounted with
//! `noauto_da_alloc`. What users may rely on is in Documentation/crash-promises.md.

use crate::{
    fs::{
        inode::Durable,
        lab::{self, Point},
        Inode, Rext4,
    },
    trace,
    vfs::{writeback::WritebackControl, File},
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// `fsync` and `fdatasync` of files and directories.
pub(crate) fn fsync(file: &File<Rext4>, bytes: Range<u64>, what: Durable) -> Result {
    let len = bytes.end.saturating_sub(bytes.start);
    trace::fsync(file.inode(), bytes.start, len);
    lab::point(Point::Fsync, file.inode(), bytes.clone());
    file.inode().fs().access.check_alive()?;
    // Rule 12: says what could not be written. Rule 2: waits for PG_writeback, which ends only
    // after the completion has put conversion and size into a transaction and noted its tid.
    file.write_and_wait_range(bytes.clone())?;
    lab::may_fail(Point::FsyncWritten, file.inode(), bytes, &[EIO])?;
    commit(file.inode(), what)
}

/// The name of a file is about to be given to `inode`. When this returns its data is written and
/// its size is in a transaction at least as old as the one that will hold the name. To begin
/// writing would not do: any fsync commits, and the commit would overtake the data. `EIO` and the
/// like: what was to replace the file is not whole.
pub(crate) fn before_replace(inode: &Inode) -> Result {
    if inode.is_file() && inode.fs().writes_replacements() {
        inode.write_and_wait(0..u64::MAX)?;
        lab::may_fail(Point::ReplaceWritten, inode, 0..u64::MAX, &[EIO])
    } else {
        Ok(())
    }
}

/// A writer has closed the file. If it was truncated to nothing before, what is there now is on its
/// way to the disk from here on. The commit of the truncate may have come first, so nothing is
/// gained by waiting.
pub(crate) fn after_close(inode: &Inode) {
    if inode.info().take_emptied() && inode.fs().writes_replacements() {
        inode.start_writeback();
    }
}

/// `write_inode`: the inode has been in its table block, in the journal, since it changed. What is
/// left is to wait, if the caller wants that.
pub(crate) fn write_inode(inode: &Inode, control: &WritebackControl<'_>) -> Result {
    // `sync` makes one commit and one flush of the device for all inodes. One for each would make
    // an unmount with `lazytime` take hours.
    if control.must_wait() && !control.is_for_sync() {
        commit(inode, Durable::Inode)
    } else {
        Ok(())
    }
}

/// Waits until the inode's last change of `what` is in the log and the log in the device.
pub(crate) fn commit(inode: &Inode, what: Durable) -> Result {
    let (sb, fs) = (inode.sb(), inode.fs());
    fs.access.check_alive()?;
    let Some(journal) = fs.journal() else {
        return Ok(());
    };
    if fs.access.is_emergency() {
        return Err(EROFS);
    }
    // The content of a directory is in blocks that the inode does not tell of.
    let what = if inode.is_dir() { Durable::Inode } else { what };
    let tid = inode.info().tid(what, journal);
    // A commit flushes the device's cache. If ours is already past that point, the data written
    // since then (overwrites change no metadata) needs a flush of its own.
    let flush = fs.uses_barriers() && !journal.will_send_data_barrier(tid);
    lab::point(Point::CommitTid, inode, 0..u64::MAX);
    let committed = journal.commit_tid(tid);
    // A transaction that was aborted is not to be waited for, nor is it in the log.
    if let Some(e) = journal.errno() {
        fs.journal_died();
        fs.access.check_alive()?;
        return Err(e);
    }
    committed?;
    // Read-only (since a forced remount, maybe) it is the same: what was overwritten before then
    // may be in the cache of the device.
    if flush {
        sb.issue_flush()
    } else {
        Ok(())
    }
}
