// SPDX-License-Identifier: GPL-2.0

//! Rules 5 and 14: `fallocate(2)`, which allocates, punches a hole, or zeroes a range. Blocks go in
//! four steps (`steps.rs`). What moves blocks is in `shift.rs`.

use super::{
    allocate,
    fsync,
    map,
    shift,
    steps::{Alone, Shut},
    zeroes, //
};
use crate::{
    disk::LblkRange,
    fs::{
        alloc::{self, Effort},
        inode::{self, Durable},
        lab::{self, Point},
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

/// `fallocate`. There are such bytes.
pub(crate) fn fallocate(file: &File<Rext4>, mode: FallocMode, bytes: Range<u64>) -> Result {
    let inode = file.inode();
    if !inode.is_file() {
        return Err(ENODEV);
    }
    super::check_writable(inode)?;
    let Range { start, end } = bytes;
    if end > inode.fs().geo.max_file_size {
        return Err(EFBIG);
    }
    match mode.op {
        FallocOp::PunchHole if !mode.keep_size => return Err(EOPNOTSUPP),
        // Rule 14: at another place a block is something else.
        FallocOp::CollapseRange | FallocOp::InsertRange if inode.has_encrypted_data() => {
            return Err(EOPNOTSUPP)
        }
        FallocOp::WriteZeroes if !inode.sb().device().can_zero() => return Err(EOPNOTSUPP),
        _ => (),
    }
    let event = Operation::begin(inode, mode.op.into(), start, end - start);
    let lock = file.lock();
    if grows(inode, mode, end) {
        inode.newsize_ok(end)?;
    }
    if inode.is_swapfile() {
        return Err(ETXTBSY);
    }
    // The VFS has looked without the lock, under which chattr(1) may have written the whole file.
    let flags = inode.flags();
    if flags.immutable || flags.append && mode.op != FallocOp::Allocate {
        return Err(EPERM);
    }
    // Rule 5, step 1.
    let shut = Shut::new(&lock);
    event.step(Step::Locked);
    // Rule 5, step 2: asynchronous I/O holds neither lock, and may change the size when it
    // completes.
    let alone = shut.drain()?;
    event.step(Step::Drained);
    lock.modified()?;

    let changed = change(alone, mode, start..end, &event);
    // Also after an error: what came before it may have moved the size on disk. With lazytime the
    // new times may be in memory only.
    let durable = file.is_dsync() || inode.is_sync();
    let journaled = if durable {
        inode::journal_alone(inode)
    } else {
        inode::journal_size(inode)
    };
    changed.and(journaled)?;
    drop(lock);
    if durable {
        fsync::commit(inode, Durable::Inode)
    } else {
        Ok(())
    }
}

/// Whether the file grows, to `end` bytes.
fn grows(inode: &Inode, mode: FallocMode, end: u64) -> bool {
    let moves = matches!(mode.op, FallocOp::CollapseRange | FallocOp::InsertRange);
    !mode.keep_size && !moves && end > inode.size()
}

/// What the call is for. The caller journals the inode.
fn change(
    mut alone: Alone<'_>,
    mode: FallocMode,
    range: Range<u64>,
    event: &Operation<'_, Rext4>,
) -> Result {
    // As in ext4: nothing is unwritten in a block map.
    if mode.op != FallocOp::PunchHole && alone.inode().has_block_map() {
        return Err(EOPNOTSUPP);
    }
    match mode.op {
        FallocOp::CollapseRange => return shift::collapse_range(alone, range, event),
        FallocOp::InsertRange => return shift::insert_range(alone, range, event),
        FallocOp::WriteZeroes => return zeroes::write_zeroes(alone, range, event),
        FallocOp::Allocate | FallocOp::PunchHole | FallocOp::ZeroRange => (),
    }
    let (inode, Range { start, end }) = (alone.inode(), range.clone());
    if mode.op != FallocOp::Allocate {
        alone = punch(alone, range, event)?;
    }
    let grows = grows(inode, mode, end);
    if grows {
        alone.finish_truncate()?;
    }
    if mode.op != FallocOp::PunchHole {
        allocate(inode, map::lblk_range(inode, start..end)?)?;
    }
    lab::point(Point::Allocated, inode, start..end);
    if grows {
        alone.grow(end, || ())?;
    }
    Ok(())
}

/// Rule 5, steps 3 and 4: the bytes of the range read as zeros, whole blocks are holes.
fn punch<'l>(
    alone: Alone<'l>,
    range: Range<u64>,
    event: &Operation<'_, Rext4>,
) -> Result<Alone<'l>> {
    let gone = alone.unpin(range)?.drop_cache()?;
    event.step(Step::CacheDropped);
    let alone = gone.remove_blocks()?;
    event.step(Step::BlocksRemoved);
    Ok(alone)
}

/// Fills the holes among the blocks with unwritten ones. Space that is reserved counts as filled:
/// its data is dirty, and writeback will find its blocks.
fn allocate(inode: &Inode, blocks: LblkRange) -> Result {
    let mut left = blocks;
    while !left.is_empty() {
        let found = alloc::retry(inode.sb(), Effort::Commit, || allocate::some(inode, left))?;
        left.start = found.blocks().end;
        let bytes = left.bytes(inode.fs().geo.block_bits);
        lab::may_fail(Point::AllocateMore, inode, bytes, &[EINTR])?;
        if inode.interrupted() {
            return Err(EINTR);
        }
    }
    Ok(())
}
