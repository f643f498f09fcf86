// SPDX-License-Identifier: GPL-2.0

//! `fallocate(2)`: allocate, punch a hole, zero a range. The four steps of `truncate.rs` hold.

use super::{fsync, map, truncate};
use crate::{
    fs::{
        alloc,
        extent::{self, Entry, State},
        inode::{self, INODE_CREDITS},
        lab::{self, Point, Switch},
        Inode,
        Rext4, //
    },
    vfs::{
        file::{FallocMode, FallocOp},
        inode::InodeLock,
        pagemap::InvalidateLock,
        trace::{Operation, Step},
        File, //
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Blocks allocated by one handle at most: the longest unwritten extent.
const MAX_ALLOCATE: u32 = 32767;

/// `fallocate`. `len` is not 0.
pub(crate) fn fallocate(file: &File<Rext4>, mode: FallocMode, offset: u64, len: u64) -> Result {
    let inode = file.inode();
    if !inode.is_file() {
        return Err(ENODEV);
    }
    super::check_writable(inode)?;
    let end = offset.checked_add(len).ok_or(EFBIG)?;
    if end > inode.fs().geo.max_file_size {
        return Err(EFBIG);
    }
    if mode.op == FallocOp::PunchHole && !mode.keep_size {
        return Err(EOPNOTSUPP);
    }
    let event = Operation::begin(inode, mode.op.into(), offset, len);
    // 1: nobody writes, nobody faults.
    let lock = inode.lock();
    let grows = !mode.keep_size && end > inode.size();
    if grows {
        inode.newsize_ok(end)?;
    }
    if inode.is_swapfile() {
        return Err(ETXTBSY);
    }
    let mut invalidate = inode.invalidate_lock();
    event.step(Step::Locked);
    // 2: asynchronous I/O holds neither lock, and may change the size when it completes.
    if !lab::off(Switch::DioWait) {
        inode.dio_wait(&lock);
    }
    event.step(Step::Drained);
    file.modified(&lock)?;

    if mode.op != FallocOp::Allocate {
        invalidate = remove(inode, offset..end, (&lock, invalidate), &event)?;
    }
    if mode.op != FallocOp::PunchHole {
        allocate(inode, offset, end)?;
    }
    if grows {
        truncate::grow(inode, end, &lock, &invalidate)?;
    }
    inode::journal_alone(inode)?;
    drop(invalidate);
    drop(lock);
    match file.is_dsync() || inode.is_sync() {
        true => fsync::commit(inode, false),
        false => Ok(()),
    }
}

/// Steps 3 and 4: the bytes of the range read as zeros, whole blocks are holes.
fn remove<'a>(
    inode: &'a Inode,
    range: Range<u64>,
    (lock, mut invalidate): (&InodeLock<'_, Rext4>, InvalidateLock<'a, Rext4>),
    event: &Operation<'_, Rext4>,
) -> Result<InvalidateLock<'a, Rext4>> {
    let Range { start, end } = range;
    let size = inode.size();
    // Beyond the end there is nothing to keep: blocks that the range cuts there go whole.
    let block_size = u64::from(inode.fs().geo.block_size);
    let punch_end = match end >= size {
        true => end.max(size).next_multiple_of(block_size),
        false => end,
    };
    let data_end = end.min(size);
    // 3: edges zeroed, all of it written, then the page cache dropped.
    if start < data_end {
        truncate::drop_range(inode, start, data_end, lock, &invalidate)?;
    }
    event.step(Step::CacheDropped);
    invalidate = lab::pause(Point::PunchInvalidated, inode, start..end, invalidate);
    // 4: the blocks.
    let (first, last) = truncate::whole_blocks(inode, start, punch_end);
    truncate::remove_range(inode, first, last)?;
    if start < data_end {
        truncate::keep_size(inode, data_end);
    }
    event.step(Step::BlocksRemoved);
    Ok(invalidate)
}

/// Fills the holes of the bytes `[start, end)` with unwritten blocks. Space that is reserved
/// counts as filled: its data is dirty, and writeback will find its blocks.
fn allocate(inode: &Inode, start: u64, end: u64) -> Result {
    let bits = inode.fs().geo.block_bits;
    let (mut at, end) = (start >> bits, end.div_ceil(1 << bits));
    let mut retry = alloc::Retry::new(inode.sb());
    while at < end {
        match allocate_some(inode, at, end) {
            Ok(next) => {
                at = next;
                retry = alloc::Retry::new(inode.sb());
            }
            Err(e) if e == ENOSPC && retry.after_commit(inode.sb()) => (),
            Err(e) => return Err(e),
        }
        if inode.interrupted() {
            return Err(EINTR);
        }
    }
    Ok(())
}

/// Fills the first hole at or after block `at`; returns where to go on.
fn allocate_some(inode: &Inode, at: u64, end: u64) -> Result<u64> {
    let (lblk, _) = map::blocks(inode, at << inode.fs().geo.block_bits, 1)?;
    let count = (end - at).min(MAX_ALLOCATE.into()) as u32;
    {
        let found = inode.extents().lookup(lblk, count)?;
        if found.state != State::Hole {
            return Ok(at + u64::from(found.len.min(count).max(1)));
        }
    }
    let credits = extent::INSERT_CREDITS + alloc::ALLOC_CREDITS + INODE_CREDITS;
    let handle = inode.fs().start(credits)?;
    let next = {
        // Looked up again: writeback does not ask for our locks.
        let found = match inode.extents().entry(lblk, count)? {
            Entry::Hole(hole) if !hole.is_reserved() => {
                hole.fill(&handle, count, State::Unwritten)?
            }
            Entry::Hole(hole) => hole.place(),
            Entry::Mapped(found) => found,
        };
        at + u64::from(found.len.min(count))
    };
    inode::journal(&handle, inode)?;
    handle.stop()?;
    Ok(next)
}
