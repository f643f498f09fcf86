// SPDX-License-Identifier: GPL-2.0

//! File size, both ways.
//!
//! Taking blocks away has four steps, always in this order:
//!
//! 1. i_rwsem and invalidate_lock, both exclusive: no write, no fault, no new page.
//! 2. Direct I/O in flight drains: it holds neither lock.
//! 3. The page cache is dropped, and before it goes whatever hangs on its dirty pages is on disk:
//!    [`drop_range`]. A truncate keeps nothing behind the new end, so there it is only the size.
//! 4. Only now the extents go, in as many transactions as it takes.
//!
//! Were 4 before 3, writeback would write into blocks that are somebody else's by then; were 1
//! dropped between 3 and 4, a fault would bring a page of a freed block back.
//!
//! Bytes beyond the end in the last block are zeros on disk whoever dirtied them by mmap: writeback
//! zeroes them, and [`zero_tail`] does before the file grows over them.

use super::{buffered::WriteOps, map};
use crate::{
    fs::{
        extent::{Progress, State},
        inode::{self, INODE_CREDITS},
        lab::{self, Point, Switch},
        orphan as orphans,
        Inode,
        Rext4, //
    },
    vfs::{
        inode::InodeLock,
        iomap,
        pagemap::InvalidateLock,
        trace::{self, Op, Operation, Step}, //
    },
};
use kernel::prelude::*;

/// One past the last logical block of a file.
pub(crate) const END: u64 = 1 << 32;

/// The file is about to grow from `from` to (at least) `to` bytes: zeroes what lies between in
/// the page cache, where there is anything. Returns whether something was dirtied.
pub(super) fn zero_tail(
    inode: &Inode,
    from: u64,
    to: u64,
    lock: &InodeLock<'_, Rext4>,
    invalidate: &InvalidateLock<'_, Rext4>,
) -> Result<bool> {
    match lab::off(Switch::TailZero) {
        true => Ok(false),
        false => zero_edge(inode, from, to, lock, invalidate),
    }
}

/// Zeroes the bytes `[from, to)` in the page cache, where there is anything: the part of a block
/// that goes while the rest of it stays. Returns whether something was dirtied.
fn zero_edge(
    inode: &Inode,
    from: u64,
    to: u64,
    _lock: &InodeLock<'_, Rext4>,
    _invalidate: &InvalidateLock<'_, Rext4>,
) -> Result<bool> {
    if to <= from {
        return Ok(false);
    }
    trace::zero_tail(inode, from, to - from);
    iomap::zero_range::<WriteOps>(inode, from, to - from)
}

/// A write to `[pos, end)` is about to begin. If the file grows by it, makes sure that no old bytes
/// behind the end come to light: neither now, in the page cache, nor after a crash. The size on disk
/// moves when data behind the end is on disk, and nothing else makes the block of the old end reach
/// the disk before that. So it is written here, if it is one that the disk knows and has to change.
pub(super) fn before_write(
    inode: &Inode,
    pos: u64,
    end: u64,
    lock: &InodeLock<'_, Rext4>,
) -> Result {
    let size = inode.size();
    let stale = inode.node().stale_tail();
    if end <= size || (pos <= size && !stale) {
        return Ok(());
    }
    // A direct write of parts of the block may be in flight: read now, the block has its old bytes.
    if !lab::off(Switch::DioWait) {
        inode.dio_wait(lock);
    }
    let invalidate = inode.invalidate_lock();
    // Bytes beyond the end that a mapping has dirtied would become part of the file.
    let zeroed = zero_tail(inode, size, pos, lock, &invalidate)?;
    if stale || (zeroed && tail_is_written(inode, size)?) {
        let start = size - size % u64::from(inode.fs().geo.block_size);
        inode.write_and_wait(start, size)?;
        inode.node().set_stale_tail(false);
    }
    Ok(())
}

/// Whether the disk has data in the block that `size` cuts. An unwritten one reads as zeros.
fn tail_is_written(inode: &Inode, size: u64) -> Result<bool> {
    let (lblk, _) = map::blocks(inode, size, 1)?;
    Ok(inode.extents().lookup(lblk, 1)?.state == State::Written)
}

/// Zeroes the part of block that `pos` cuts, from `pos` on.
fn zero_partial(
    inode: &Inode,
    pos: u64,
    lock: &InodeLock<'_, Rext4>,
    invalidate: &InvalidateLock<'_, Rext4>,
) -> Result<bool> {
    let end = pos.next_multiple_of(inode.fs().geo.block_size.into());
    zero_tail(inode, pos, end, lock, invalidate)
}

/// Sets the file size (`truncate(2)`), i_rwsem held exclusive.
pub(crate) fn set_size(inode: &Inode, new: u64, lock: &InodeLock<'_, Rext4>) -> Result {
    inode.newsize_ok(new)?;
    // Before the size in memory changes: without a journal it could not change on disk.
    super::check_writable(inode)?;
    // Here it may still fail.
    let room = orphans::Room::new()?;
    let event = Operation::begin(inode, Op::Truncate, new, inode.size().saturating_sub(new));
    if !lab::off(Switch::DioWait) {
        inode.dio_wait(lock);
    }
    event.step(Step::Drained);
    let invalidate = inode.invalidate_lock();
    event.step(Step::Locked);
    // To the same size: blocks allocated beyond the end go.
    if new > inode.size() {
        return grow(inode, new, lock, &invalidate);
    }
    // Not written before the size is: a crash in between would show zeros in a file of the old
    // size. Should the crash come after, the bytes beyond the end are the file's own old ones,
    // and zeros are written over them before it grows.
    if lab::off(Switch::CacheFirst) {
        shrink(inode, (new, new), orphans::Room::new()?)?;
        lab::point(Point::PunchInvalidated, inode, new, END);
    }
    if zero_partial(inode, new, lock, &invalidate)? {
        inode.node().set_stale_tail(true);
    }
    if new == 0 && inode.size() > 0 {
        inode.node().set_emptied();
    }
    trace::isize_set(inode, new);
    inode.truncate_setsize(new, lock, &invalidate);
    event.step(Step::CacheDropped);
    // What could not be written is lost, and reported. The pages behind the new end are gone all the
    // same, so their blocks go, too, and the size on disk stays below the loss.
    let written = flush_for(inode, new, false);
    let disk_size = match written {
        Ok(()) => new,
        Err(_) => new.min(inode.node().disk_size()),
    };
    if !lab::off(Switch::CacheFirst) {
        lab::point(Point::PunchInvalidated, inode, new, END);
        shrink(inode, (new, disk_size), room)?;
    }
    event.step(Step::BlocksRemoved);
    written
}

/// Step 4 of a truncate to `new` bytes, of which the disk knows `disk_size`.
fn shrink(inode: &Inode, (new, disk_size): (u64, u64), room: orphans::Room) -> Result {
    let block_size = u64::from(inode.fs().geo.block_size);
    forget(inode, new.div_ceil(block_size), END);
    // The size first, then the blocks: a crash in between leaves an orphan whose blocks beyond
    // the size the next mount frees.
    let handle = inode.fs().start(orphans::ORPHAN_CREDITS + INODE_CREDITS)?;
    inode.extents().set_disk_size(disk_size);
    orphans::add(&handle, inode, room)?;
    inode::journal(&handle, inode)?;
    handle.stop()?;
    cut(inode, new)
}

/// Frees what lies beyond `size`, and takes the inode off the orphan list.
fn cut(inode: &Inode, size: u64) -> Result {
    let block_size = u64::from(inode.fs().geo.block_size);
    free_blocks(inode, size.div_ceil(block_size))?;
    unorphan(inode)
}

fn unorphan(inode: &Inode) -> Result {
    let handle = inode.fs().start(orphans::ORPHAN_CREDITS + INODE_CREDITS)?;
    orphans::remove(&handle, inode)?;
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
    let invalidate = inode.invalidate_lock();
    // The crash may have come before the zeroed tail was written.
    if zero_partial(inode, inode.size(), &lock, &invalidate)? {
        inode.write_and_wait(0, u64::MAX)?;
    }
    inode.truncate_setsize(inode.size(), &lock, &invalidate);
    cut(inode, inode.size())
}

/// Makes the file larger, with a hole.
pub(super) fn grow(
    inode: &Inode,
    new: u64,
    lock: &InodeLock<'_, Rext4>,
    invalidate: &InvalidateLock<'_, Rext4>,
) -> Result {
    let old = inode.size();
    let zeroed = zero_tail(inode, old, new, lock, invalidate)? || inode.node().stale_tail();
    trace::isize_set(inode, new);
    inode.set_size(new);
    inode.isize_extended(old, new);
    flush_for(inode, new, zeroed)?;
    inode.node().set_stale_tail(false);
    let handle = inode.fs().start(INODE_CREDITS)?;
    inode.extents().set_disk_size(new);
    inode::journal(&handle, inode)?;
    handle.stop()
}

/// Before the size on disk becomes `new`: what is dirty between it and the size that the disk
/// knows, and a tail that was zeroed, must be on disk. There is no ordered mode to see to that.
fn flush_for(inode: &Inode, new: u64, zeroed: bool) -> Result {
    let disk = inode.node().disk_size();
    if !zeroed && new <= disk {
        return Ok(());
    }
    let block_size = u64::from(inode.fs().geo.block_size);
    let start = disk.min(new) / block_size * block_size;
    inode.write_and_wait(start, new.max(disk))
}

/// Frees all blocks from logical block `first` on, and the reservations. The page cache above
/// is gone and cannot come back.
pub(crate) fn free_blocks(inode: &Inode, first: u64) -> Result {
    remove_range(inode, first, END)
}

/// Gives back what is reserved for the logical blocks `[first, end)`, whose pages are gone. Needs no
/// handle, so it comes before everything that can fail: a reservation without a page is used by nobody.
fn forget(inode: &Inode, first: u64, end: u64) {
    if let Ok(lblk) = u32::try_from(first) {
        let len = end.saturating_sub(first).min(u32::MAX.into());
        inode.extents().forget(lblk, len as u32);
    }
}

/// Frees the logical blocks `[first, end)`, in as many transactions as it takes: a handle waits
/// for a commit when it wants more credits, and nobody may hold the extent lock then.
pub(super) fn remove_range(inode: &Inode, first: u64, end: u64) -> Result {
    if first >= end {
        return Ok(());
    }
    forget(inode, first, end);
    let mut end = end;
    loop {
        // What is read without the handle may be wrong by then: then it is more of them.
        let credits = inode.extents().remove_credits(first as u32, end);
        let handle = inode.fs().start_with_revoke(credits + INODE_CREDITS)?;
        let progress = inode.extents().remove(&handle, first as u32, end);
        // Also after an error: what was removed before it is in this handle.
        inode::journal(&handle, inode)?;
        handle.stop()?;
        match progress? {
            Progress::Done => return Ok(()),
            Progress::Continue(next) => end = next,
        }
    }
}

/// What lies before `end` and has been removed reads as zeros, so the size on disk may be `end` at
/// least. It is, unless a write failed before: then it trails, and nothing dirty is left to move it.
/// The caller journals the inode.
pub(super) fn keep_size(inode: &Inode, end: u64) {
    if !lab::off(Switch::PunchFlush) {
        inode.extents().raise_disk_size(end);
    }
}

/// The whole blocks inside the bytes `[start, end)`.
pub(super) fn whole_blocks(inode: &Inode, start: u64, end: u64) -> (u64, u64) {
    let bits = inode.fs().geo.block_bits;
    (start.div_ceil(1 << bits), (end >> bits).min(END))
}

/// Step 3 for the bytes `[start, end)`, which end at or before the end of the file: zeroes the parts
/// of blocks at its edges, writes the range, and drops its page cache.
///
/// The whole range is written, also what is about to go, for two things hang on its dirty pages that
/// are not the range's own:
///
/// ```text
///   pwrite 0..8192: i_size 8192                 a folio of 64 KiB, all dirty
///   punch 4096..8192, both page aligned         punch 0..4096
///   page 1 is dropped, dirty                    the folio is split at 4096. If that does not go
///   page 0 is written: size on disk 4096        (somebody reads it), truncate_inode_pages_range
///   evicted, read again: the file has shrunk    drops the folio whole, dirty bytes behind 4096 too
/// ```
///
/// - The size on disk moves when data is written, and nothing else moves it.
/// - A large folio at the edge may be dropped as a whole. Writeback writes folios as a whole.
///
/// A clean range costs a look at the marks of the page cache, whatever its length. If something cannot
/// be written nothing has been dropped, and the caller's operation fails before it took anything: bytes
/// beside the range may have been in the same folio.
pub(super) fn drop_range(
    inode: &Inode,
    start: u64,
    end: u64,
    lock: &InodeLock<'_, Rext4>,
    invalidate: &InvalidateLock<'_, Rext4>,
) -> Result {
    let block_size = u64::from(inode.fs().geo.block_size);
    let first_edge = start.next_multiple_of(block_size).min(end);
    zero_edge(inode, start, first_edge, lock, invalidate)?;
    let last_edge = (end / block_size * block_size).max(first_edge);
    zero_edge(inode, last_edge, end, lock, invalidate)?;
    let page = 1 << kernel::page::PAGE_SHIFT;
    let pages = (start / page * page, end.next_multiple_of(page));
    if lab::off(Switch::PunchFlush) {
        inode.write_and_wait(pages.0, start.next_multiple_of(page))?;
        inode.write_and_wait(end / page * page, pages.1)?;
    } else {
        inode.write_and_wait(pages.0, pages.1)?;
    }
    inode.drop_pagecache(start, end, invalidate);
    Ok(())
}
