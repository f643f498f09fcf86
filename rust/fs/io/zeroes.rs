// SPDX-License-Identifier: GPL-2.0

//! Rules 2, 5, 11 and 14: the `fallocate(2)` after which a range has *written* blocks, all zeros,
//! so that a write there changes nothing but data (FALLOC_FL_WRITE_ZEROES).
//!
//! The device makes the zeros. Blocks that have data are zeroed where they are; a hole gets blocks,
//! unwritten ones, which the device zeroes, too, and only then they are converted, in the handle
//! that moves the size on disk (2). So a crash leaves old bytes or zeros, and no foreign ones.
//!
//! No block goes, but its data does, below the page cache, so the first three steps are those of a
//! punch (5). In place of the fourth:
//!
//! ```text
//!   write zeroes                                writeback of a page that a device had pinned
//!                                               block 3 is unwritten; submits the page
//!   block 3 is unwritten: zeroes on the disk
//!                                               its block has its data; converts it
//!                                               (or first the one, then the other)
//! ```
//!
//! What is at the edges of the range and stays in the page cache is therefore locked until all is
//! done, also where the folio is no larger than a block.
//!
//! The size on disk moves before that in memory, as for a direct append, so what lies behind the
//! old end is zeros before that (11). After an error half way the file has grown as far as it came.

use super::{
    allocate,
    map,
    remove::{self, CacheGone},
    steps::Alone,
    writeback, //
};
use crate::{
    disk::LblkRange,
    fs::{
        alloc::{self, Effort},
        extent::{Mapping, State},
        lab::{self, Point},
        Inode,
        Rext4, //
    },
    trace::{Operation, Step},
    vfs::pagemap::Edges,
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Makes the range written blocks of zeros; the file grows if it ends before that. The caller
/// journals the inode.
pub(super) fn write_zeroes(
    alone: Alone<'_>,
    bytes: Range<u64>,
    event: &Operation<'_, Rext4>,
) -> Result {
    let (inode, old, end) = (alone.inode(), alone.inode().size(), bytes.end);
    if end > old {
        alone.finish_truncate()?;
        // Rule 11.
        alone.settle_tail(end)?;
    }
    // Rule 5, steps 1 to 3.
    let gone = alone.unpin(bytes.clone())?.drop_cache_beside(Edges::All)?;
    event.step(Step::CacheDropped);
    let (alone, done) = gone.replace_blocks(|gone| zero_all(gone, &bytes));
    let reached = match done {
        Ok(()) => end,
        Err(_) => end.min(inode.info().disk_size()),
    };
    if reached > old {
        alone.follow(reached);
    }
    done
}

/// All blocks that the range touches have zeros, written, but for what the page cache has zeroed.
fn zero_all(gone: &CacheGone<'_>, bytes: &Range<u64>) -> Result {
    let inode = gone.inode();
    let whole = remove::whole_blocks(inode, gone.range());
    remove::forget_reserved(inode, whole);
    let size = bytes.end.max(inode.size());
    let mut left = map::lblk_range(inode, bytes.clone())?;
    while !left.is_empty() {
        super::check_writable(inode)?;
        let at = left.bytes(inode.fs().geo.block_bits);
        lab::may_fail(Point::AllocateMore, inode, at, &[EINTR])?;
        if inode.interrupted() {
            return Err(EINTR);
        }
        let found = alloc::retry(inode.sb(), Effort::Commit, || allocate::some(inode, left))?;
        zero_some(inode, &found, whole, size)?;
        left.start = found.blocks().end;
    }
    Ok(())
}

/// One extent. Of the blocks with data only those that lie in the range as a whole (`whole`):
/// others have been zeroed as far as they do. `size`: what the file has in the end.
fn zero_some(inode: &Inode, found: &Mapping, whole: LblkRange, size: u64) -> Result {
    let (blocks, unwritten) = match found.state {
        State::Unwritten => (found.blocks(), true),
        State::Written => (found.blocks().within(whole), false),
        State::Hole | State::Reserved => return Ok(()),
    };
    if unwritten {
        // Rule 4: what the conversion may take is promised, or refused, before the disk is changed.
        alloc::retry(inode.sb(), Effort::Commit, || {
            inode.extents().expect_write(found.blocks())
        })?;
    }
    let done = zero_blocks(inode, found, blocks, size);
    if unwritten && done.is_err() {
        // A page that a device has pinned may have counted on it, too: it is to ask again.
        let mut extents = inode.extents();
        inode.info().set_lost_data();
        extents.unexpect(found.blocks());
    }
    done
}

/// Zeroes the blocks, which are of the extent, on the device, then converts it, or moves the size.
fn zero_blocks(inode: &Inode, found: &Mapping, blocks: LblkRange, size: u64) -> Result {
    let bits = inode.fs().geo.block_bits;
    let unwritten = found.state == State::Unwritten;
    if !blocks.is_empty() {
        let first = found.pblk + u64::from(blocks.start.saturating_sub(found.lblk));
        let bytes = blocks.bytes(bits);
        // Rule 14.
        inode.zero_on_device(bytes.start, first.get() << bits, bytes.end - bytes.start)?;
    }
    let bytes = found.blocks().bytes(bits);
    if unwritten || bytes.end.min(size) > inode.info().disk_size() {
        // Rule 2: the zeros are on the device, or in its cache, which the commit flushes.
        writeback::complete_io(inode, bytes, unwritten, size)?;
    }
    Ok(())
}
