// SPDX-License-Identifier: GPL-2.0

//! Rule 5: `fallocate(2)`, which allocates, punches a hole, or zeroes a range. Blocks go in four
//! steps (`steps.rs`).

use super::{
    allocate::{self, For},
    fsync,
    map,
    steps::{Alone, Shut}, //
};
use crate::{
    fs::{
        alloc::{self, Effort},
        extent::State,
        inode::{self, Durable},
        Inode,
        Rext4, //
    },
    trace::{Operation, Step},
    vfs::{
        file::{FallocMode, FallocOp},
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
    let lock = file.lock();
    if grows(inode, mode, end) {
        inode.newsize_ok(end)?;
    }
    if inode.is_swapfile() {
        return Err(ETXTBSY);
    }
    // Rule 5, step 1.
    let shut = Shut::new(&lock);
    event.step(Step::Locked);
    // Rule 5, step 2: asynchronous I/O holds neither lock, and may change the size when it
    // completes.
    let alone = shut.drain();
    event.step(Step::Drained);
    lock.modified()?;

    let changed = change(alone, mode, offset..end, &event);
    // Also after an error: what came before it may have moved the size on disk.
    let journaled = inode::journal_alone(inode);
    changed.and(journaled)?;
    drop(lock);
    if file.is_dsync() || inode.is_sync() {
        fsync::commit(inode, Durable::Inode)
    } else {
        Ok(())
    }
}

/// Whether the file grows, to `end` bytes.
fn grows(inode: &Inode, mode: FallocMode, end: u64) -> bool {
    !mode.keep_size && end > inode.size()
}

/// What the call is for. The caller journals the inode.
fn change(
    mut alone: Alone<'_>,
    mode: FallocMode,
    range: Range<u64>,
    event: &Operation<'_, Rext4>,
) -> Result {
    let (inode, Range { start, end }) = (alone.inode(), range.clone());
    if mode.op != FallocOp::Allocate {
        alone = punch(alone, range, event)?;
    }
    let grows = grows(inode, mode, end);
    if grows {
        alone.finish_truncate()?;
    }
    if mode.op != FallocOp::PunchHole {
        allocate(inode, start, end)?;
    }
    if grows {
        alone.grow(end)?;
    }
    Ok(())
}

/// Rule 5, steps 3 and 4: the bytes of the range read as zeros, whole blocks are holes.
fn punch<'l>(
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
    while at < end {
        at = alloc::retry(inode.sb(), Effort::Commit, || allocate_some(inode, at, end))?;
        if inode.interrupted() {
            return Err(EINTR);
        }
    }
    Ok(())
}

/// Fills the first hole at or after block `at`; returns where to go on.
fn allocate_some(inode: &Inode, at: u64, end: u64) -> Result<u64> {
    let (lblk, _) = map::lblk_range(inode, at << inode.fs().geo.block_bits, 1)?;
    let count = (end - at).min(MAX_ALLOCATE.into()) as u32;
    let mut found = inode.extents().lookup(lblk, count)?;
    if found.state == State::Hole {
        found = allocate::unwritten(inode, (lblk, count), For::Fallocate, |_, _, _| ())?;
    }
    Ok(at + u64::from(found.len.min(count).max(1)))
}
