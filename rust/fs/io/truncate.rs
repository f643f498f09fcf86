// SPDX-License-Identifier: GPL-2.0

//! File size, both ways.
//!
//! Taking blocks away has four steps, always in this order:
//!
//! 1. i_rwsem and invalidate_lock, both exclusive: no write, no fault, no new page.
//! 2. Direct I/O in flight drains: it holds neither lock.
//! 3. What must survive is written (the parts of blocks at the edges, zeroed in the page cache),
//!    the rest of the page cache is dropped.
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
        extent::{self, Progress, State},
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
    _lock: &InodeLock<'_, Rext4>,
    _pages: &InvalidateLock<'_, Rext4>,
) -> Result<bool> {
    match to > from && !lab::off(Switch::TailZero) {
        true => {
            trace::zero_tail(inode, from, to - from);
            iomap::zero_range::<Rext4, WriteOps, WriteOps>(inode, from, to - from)
        }
        false => Ok(false),
    }
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
    let pages = inode.invalidate_lock();
    // Bytes beyond the end that a mapping has dirtied would become part of the file.
    let zeroed = zero_tail(inode, size, pos, lock, &pages)?;
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
    let mut extents = inode.node().extents.lock();
    let found = extent::lookup(inode, &mut extents, lblk, 1)?;
    Ok(found.state == State::Written)
}

/// Zeroes the part of block that `pos` cuts, from `pos` on.
fn zero_partial(
    inode: &Inode,
    pos: u64,
    lock: &InodeLock<'_, Rext4>,
    pages: &InvalidateLock<'_, Rext4>,
) -> Result<bool> {
    let end = pos.next_multiple_of(inode.fs().geo.block_size.into());
    zero_tail(inode, pos, end, lock, pages)
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
    let pages = inode.invalidate_lock();
    event.step(Step::Locked);
    // To the same size: blocks allocated beyond the end go.
    if new > inode.size() {
        return grow(inode, new, lock, &pages);
    }
    // Not written before the size is: a crash in between would show zeros in a file of the old
    // size. Should the crash come after, the bytes beyond the end are the file's own old ones,
    // and zeros are written over them before it grows.
    if lab::off(Switch::CacheFirst) {
        shrink(inode, new, orphans::Room::new()?)?;
        lab::point(Point::PunchInvalidated, inode, new, END);
    }
    if zero_partial(inode, new, lock, &pages)? {
        inode.node().set_stale_tail(true);
    }
    trace::isize_set(inode, new);
    inode.truncate_setsize(new, lock, &pages);
    event.step(Step::CacheDropped);
    flush_for(inode, new, false)?;
    if !lab::off(Switch::CacheFirst) {
        lab::point(Point::PunchInvalidated, inode, new, END);
        shrink(inode, new, room)?;
    }
    event.step(Step::BlocksRemoved);
    Ok(())
}

/// Step 4 of a truncate to `new` bytes.
fn shrink(inode: &Inode, new: u64, room: orphans::Room) -> Result {
    // The size first, then the blocks: a crash in between leaves an orphan whose blocks beyond
    // the size the next mount frees.
    let handle = inode.fs().start(orphans::ORPHAN_CREDITS + INODE_CREDITS)?;
    {
        let _extents = inode.node().extents.lock();
        trace::disize_set(inode, new);
        inode.node().set_disk_size(new);
    }
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
    let pages = inode.invalidate_lock();
    // The crash may have come before the zeroed tail was written.
    if zero_partial(inode, inode.size(), &lock, &pages)? {
        inode.write_and_wait(0, u64::MAX)?;
    }
    inode.truncate_setsize(inode.size(), &lock, &pages);
    cut(inode, inode.size())
}

/// Makes the file larger, with a hole.
pub(super) fn grow(
    inode: &Inode,
    new: u64,
    lock: &InodeLock<'_, Rext4>,
    pages: &InvalidateLock<'_, Rext4>,
) -> Result {
    let old = inode.size();
    let zeroed = zero_tail(inode, old, new, lock, pages)? || inode.node().stale_tail();
    trace::isize_set(inode, new);
    inode.set_size(new);
    inode.isize_extended(old, new);
    flush_for(inode, new, zeroed)?;
    inode.node().set_stale_tail(false);
    let handle = inode.fs().start(INODE_CREDITS)?;
    {
        let _extents = inode.node().extents.lock();
        trace::disize_set(inode, new);
        inode.node().set_disk_size(new);
    }
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

/// Frees the logical blocks `[first, end)`, in as many transactions as it takes: a handle waits
/// for a commit when it wants more credits, and nobody may hold the extent lock then.
pub(super) fn remove_range(inode: &Inode, first: u64, end: u64) -> Result {
    if first >= end {
        return Ok(());
    }
    let mut end = end;
    loop {
        let handle = inode
            .fs()
            .start_with_revoke(extent::REMOVE_CREDITS + INODE_CREDITS)?;
        let progress = {
            let mut extents = inode.node().extents.lock();
            extent::remove(&handle, inode, &mut extents, first as u32, end)
        };
        // Also after an error: what was removed before it is in this handle.
        inode::journal(&handle, inode)?;
        handle.stop()?;
        match progress? {
            Progress::Done => return Ok(()),
            Progress::Continue(next) => end = next,
        }
    }
}

/// The whole blocks inside the bytes `[start, end)`.
pub(super) fn whole_blocks(inode: &Inode, start: u64, end: u64) -> (u64, u64) {
    let bits = inode.fs().geo.block_bits;
    (start.div_ceil(1 << bits), (end >> bits).min(END))
}

/// Step 3 for a range in the middle of the file: zeroes the parts of blocks at its edges, writes
/// the pages that hold them, drops the page cache of the rest.
pub(super) fn drop_range(
    inode: &Inode,
    start: u64,
    end: u64,
    lock: &InodeLock<'_, Rext4>,
    pages: &InvalidateLock<'_, Rext4>,
) -> Result {
    let block_size = u64::from(inode.fs().geo.block_size);
    let first_edge = start.next_multiple_of(block_size).min(end);
    zero_tail(inode, start, first_edge, lock, pages)?;
    let last_edge = (end / block_size * block_size).max(first_edge);
    zero_tail(inode, last_edge, end, lock, pages)?;
    // Pages at the edges hold bytes that stay, beside blocks that go. What is dirty in them is
    // written while all their blocks are still ours.
    let page = 1 << kernel::page::PAGE_SHIFT;
    inode.write_and_wait(start / page * page, start.next_multiple_of(page))?;
    inode.write_and_wait(end / page * page, end.next_multiple_of(page))?;
    inode.drop_pagecache(start, end, pages);
    Ok(())
}
