// SPDX-License-Identifier: GPL-2.0

//! `fallocate(2)`: allocate, punch a hole, zero a range. Rule 5: blocks go in its four steps (`steps.rs`).

use super::{
    fsync,
    map,
    steps::{Alone, Shut}, //
};
use crate::{
    fs::{
        alloc,
        extent::{self, Entry, State},
        inode::{self, INODE_CREDITS},
        Inode,
        Rext4, //
    },
    vfs::{
        file::{FallocMode, FallocOp},
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
    let lock = inode.lock();
    let grows = !mode.keep_size && end > inode.size();
    if grows {
        inode.newsize_ok(end)?;
    }
    if inode.is_swapfile() {
        return Err(ETXTBSY);
    }
    // Rule 5, step 1.
    let shut = Shut::new(&lock);
    event.step(Step::Locked);
    // Step 2: asynchronous I/O holds neither lock, and may change the size when it completes.
    let mut alone = shut.drain();
    event.step(Step::Drained);
    file.modified(&lock)?;

    if mode.op != FallocOp::Allocate {
        alone = remove(alone, offset..end, &event)?;
    }
    if mode.op != FallocOp::PunchHole {
        allocate(inode, offset, end)?;
    }
    if grows {
        alone.grow(end)?;
    }
    inode::journal_alone(inode)?;
    drop(alone);
    drop(lock);
    match file.is_dsync() || inode.is_sync() {
        true => fsync::commit(inode, false),
        false => Ok(()),
    }
}

/// Steps 3 and 4: the bytes of the range read as zeros, whole blocks are holes.
fn remove<'l>(
    alone: Alone<'l>,
    range: Range<u64>,
    event: &Operation<'_, Rext4>,
) -> Result<Alone<'l>> {
    let gone = alone.drop_cache(range)?;
    event.step(Step::CacheDropped);
    let alone = gone.remove_blocks()?;
    event.step(Step::BlocksRemoved);
    Ok(alone)
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
    let _table = inode::hold(inode)?;
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
