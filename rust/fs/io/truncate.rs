// SPDX-License-Identifier: GPL-2.0

//! Rules 5, 11 and 14: `truncate(2)`, both ways. Blocks go in four steps (5, `steps.rs`); what lies
//! behind the end is zeros (11, `eof.rs`).

use super::{
    eof::flush_for,
    remove::{self, CacheGone},
    steps::{Alone, Shut}, //
};
use crate::{
    fs::{
        credits,
        inode,
        lab::{self, Point},
        orphan as orphans,
        rule::Rule,
        Inode,
        Rext4, //
    },
    trace::{self, Op, Operation, Step},
    vfs::{
        inode::InodeLock, //
    },
};
use kernel::{error::code::*, prelude::*};

/// Sets the file size (`truncate(2)`), i_rwsem held exclusive. `begun` is called when nothing can
/// be refused any more; what it changes of the inode gets to disk with what follows.
pub(crate) fn set_size(lock: &InodeLock<'_, Rext4>, new: u64, begun: impl FnOnce()) -> Result {
    let inode = lock.inode();
    inode.newsize_ok(new)?;
    // The VFS knows the limit of extents.
    if new > inode.size().max(inode.max_size()) {
        return Err(EFBIG);
    }
    // Before the size in memory changes: without a journal it could not change on disk.
    super::check_writable(inode)?;
    lab::may_fail(Point::Truncate, inode, new..u64::MAX, &[EIO, ENOMEM])?;
    // Here it may still fail. Once the size in memory has moved it must move on disk, too: what
    // lies behind it is gone from memory, and would come back with the old size.
    let room = orphans::Room::new()?;
    let _table = inode::hold_iloc(inode)?;
    let event = Operation::begin(inode, Op::Truncate, new, inode.size().saturating_sub(new));
    // Rule 5: steps 1 and 2.
    let shut = Shut::new(lock);
    event.step(Step::Locked);
    let alone = shut.drain()?;
    event.step(Step::Drained);
    // To the same size: blocks allocated beyond the end go.
    if new > inode.size() {
        alone.finish_truncate()?;
        return alone.grow(new, begun);
    }
    // Rule 13. What is mapped as one with the new end goes with what is behind it, and with it the
    // knowledge that it is dirty before the end.
    let behind = alone.unpin(new..u64::MAX)?;
    if inode.is_dax() {
        inode.write_and_wait(new..new.saturating_add(1))?;
    }
    lab::too_early(Rule::CacheFirst, inode, new, || {
        remove::remove_range(inode, remove::blocks_beyond(inode, new))
    })?;
    // Rule 5, step 3.
    // Rule 11: the tail is zeroed, but not written before the size is: a crash in between would
    // show zeros in a file of the old size. Should the crash come after, the bytes beyond the end
    // are the file's own old ones, and zeros are written over them before it grows.
    if behind.alone.zero_partial(new)? {
        inode.info().set_stale_tail(true);
    }
    begun();
    if new == 0 && inode.size() > 0 {
        inode.info().set_emptied();
    }
    trace::isize_set(inode, new);
    let gone = behind.cut_cache();
    event.step(Step::CacheDropped);
    lab::point(Point::TruncateSized, inode, new..u64::MAX);
    // What could not be written is lost, and reported. The pages behind the new end are gone all
    // the same, so their blocks go, too, and the size on disk stays below the loss.
    let written = flush_for(inode, new);
    lab::point(Point::PunchInvalidated, inode, new..u64::MAX);
    // Rule 5, step 4.
    shrink(&gone, written, room)?;
    event.step(Step::BlocksRemoved);
    written
}

/// Step 4 of a truncate to the size in memory. `written`: whether all before it is on disk. The
/// caller holds the inode's table block.
fn shrink(gone: &CacheGone<'_>, written: Result, room: orphans::Room) -> Result {
    let inode = gone.inode();
    remove::forget_reserved(inode, remove::blocks_beyond(inode, inode.size()));
    // The size first, then the blocks: a crash in between leaves an orphan whose blocks beyond
    // the size the next mount frees.
    let handle = inode.fs().start_nofail(credits::TRUNCATE)?;
    match written {
        Ok(()) => inode.extents().set_disk_size(inode.size()),
        // Not the size of before: what was on its way may have completed since.
        Err(_) => inode.extents().lower_disk_size(inode.size()),
    }
    orphans::add(&handle, inode, room)?;
    inode::journal(&handle, inode)?;
    handle.stop()?;
    lab::point(Point::Orphaned, inode, inode.size()..u64::MAX);
    free_and_unorphan(gone)
}

/// Frees what lies beyond the size, and takes the inode off the orphan list, if it was there for
/// that: one that nobody names stays until it is evicted, or a crash before would leave it to
/// nobody. Links come and go under i_rwsem.
fn free_and_unorphan(gone: &CacheGone<'_>) -> Result {
    let inode = gone.inode();
    remove::remove_range(inode, remove::blocks_beyond(inode, inode.size()))?;
    if inode.nlink() == 0 {
        return Ok(());
    }
    unorphan(inode)
}

fn unorphan(inode: &Inode) -> Result {
    lab::may_fail(Point::Unorphan, inode, inode.size()..u64::MAX, &[EIO])?;
    let (_table, _before) = (inode::hold_iloc(inode)?, orphans::hold_prev(inode)?);
    let handle = inode.fs().start_nofail(credits::TRUNCATE)?;
    orphans::del(&handle, inode)?;
    inode::journal(&handle, inode)?;
    handle.stop()
}

/// Finishes a truncate that a crash interrupted. At mount: nobody else has the inode, a file or a
/// directory. No driver truncates directories that have a name, so all of those is still there.
pub(crate) fn orphan(inode: &Inode) -> Result {
    if inode.is_dir() {
        return unorphan(inode);
    }
    let lock = inode.lock();
    let alone = Alone::new(&lock)?;
    // The crash may have come before the zeroed tail was written. Rule 14: without its key an
    // encrypted file keeps what is there, which is its own. It is zeroed when the file grows.
    if inode.encrypts_data().is_err() {
        inode.info().set_stale_tail(true);
    } else if alone.zero_partial(inode.size())? {
        inode.write_and_wait(0..u64::MAX)?;
    }
    let gone = alone.unpin(inode.size()..u64::MAX)?.cut_cache();
    free_and_unorphan(&gone)
}
