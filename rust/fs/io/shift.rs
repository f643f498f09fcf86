// SPDX-License-Identifier: GPL-2.0

//! Rules 3, 5 and 11: the `fallocate(2)` that takes blocks out of the middle of a file, or puts a
//! hole there, so that all that lies behind gets another place (collapse and insert range).
//!
//! What moves is rule 5's as much as what goes: a page that stayed would be another place's, and
//! writeback would find the block of that. So the first two steps are those of a punch
//! (`steps.rs`), the third is for all from there to the end of the file ([`TailGone`]), and only
//! then the extents move. Before each change of the map it is counted (3).
//!
//! The data stays where it is on disk. A crash between two handles leaves a file in which some of
//! the blocks have moved and the others have not, and a hole between the two; nobody else's block
//! is in it, and none is in it twice. The size is that of the larger of the two files, so that no
//! data is behind the end: it shrinks with the last blocks that move to the left, and grows with
//! the first that move to the right. When all have moved that is committed, which ext4 and XFS do
//! not ([`shift`]).

use super::{
    fsync,
    map,
    remove::{self, TailGone},
    steps::Alone, //
};
use crate::{
    disk::{Lblk, LblkRange},
    fs::{
        alloc::{self, Effort},
        credits,
        extent::Move,
        inode::{self, Durable},
        lab::{self, Point},
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    trace::{self, Operation, Step},
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Takes the bytes out of the file, which becomes shorter. `EINVAL` if they are not whole blocks,
/// or reach the end: that is a truncate. The caller journals the inode.
pub(super) fn collapse_range(
    alone: Alone<'_>,
    bytes: Range<u64>,
    event: &Operation<'_, Rext4>,
) -> Result {
    let (inode, size) = (alone.inode(), alone.inode().size());
    let gap = aligned_blocks(inode, &bytes)?;
    if bytes.end >= size {
        return Err(EINVAL);
    }
    let gone = drop_behind(alone, bytes.start)?;
    event.step(Step::CacheDropped);
    read_tree(inode, gap.start)?;
    // Nothing of the gap is gone as long as there may be no room for what is left of its ends.
    split_extent(inode, gap.end)?;
    split_extent(inode, gap.start)?;
    remove::remove_range(inode, gap)?;
    event.step(Step::BlocksRemoved);
    let new = size - (bytes.end - bytes.start);
    shift(&gone, Move::over(gap), |_, last| last.then_some(new))
}

/// Puts a hole where the bytes are to be; what is there moves behind them. `EINVAL` if they are not
/// whole blocks, or begin at the end of the file or behind it; `EFBIG` if it would be too long. The
/// caller journals the inode.
pub(super) fn insert_range(
    alone: Alone<'_>,
    bytes: Range<u64>,
    event: &Operation<'_, Rext4>,
) -> Result {
    let (inode, size) = (alone.inode(), alone.inode().size());
    let (gap, len) = (aligned_blocks(inode, &bytes)?, bytes.end - bytes.start);
    if bytes.start >= size {
        return Err(EINVAL);
    }
    if len > inode.fs().geo.max_file_size.saturating_sub(size) {
        return Err(EFBIG);
    }
    // What was allocated behind the end may not have the room that the file has.
    if inode.extents().end()?.checked_add(gap.len()).is_none() {
        return Err(EINVAL);
    }
    // The size on disk grows before the old end has moved.
    alone.finish_truncate()?;
    let gone = drop_behind(alone, bytes.start)?;
    event.step(Step::CacheDropped);
    read_tree(inode, gap.start)?;
    split_extent(inode, gap.start)?;
    shift(&gone, Move::behind(gap), |first, _| {
        first.then_some(size + len)
    })
}

/// Rule 5, step 3, for all from `start` on.
///
/// From the block before it on, in fact. Else writeback of that one would come to its end while
/// the extents move, and its extent, once it is like the one that begins at `start`, would be made
/// one with it: what begins before `start` does not move (race 27). An extent that changes is
/// joined with its neighbours only, so the one block is enough.
///
/// Rule 11: what lies behind the end in its block is zeroed first. It may come to lie inside the
/// file, and nobody knows of the bytes of a truncate that a power cut has cut short.
fn drop_behind<'l>(alone: Alone<'l>, start: u64) -> Result<TailGone<'l>> {
    let inode = alone.inode();
    // Rule 5 (race 27).
    let before = if rule::kept(Rule::BlockBefore) {
        start.saturating_sub(1)
    } else {
        start
    };
    // Rule 13.
    let behind = alone.unpin(before..u64::MAX)?;
    behind.alone.zero_partial(inode.size())?;
    let gone = behind.drop_cache_from()?;
    inode.info().set_stale_tail(false);
    Ok(gone)
}

/// The logical blocks of the bytes; `EINVAL` if they are not whole.
fn aligned_blocks(inode: &Inode, bytes: &Range<u64>) -> Result<LblkRange> {
    let block_size = u64::from(inode.fs().geo.block_size);
    if bytes.start % block_size != 0 || bytes.end % block_size != 0 {
        return Err(EINVAL);
    }
    map::lblk_range(inode, bytes.clone())
}

/// Reads what is going to change of the tree. What cannot be read, or is corrupt, is found here,
/// where nothing has changed yet.
fn read_tree(inode: &Inode, first: Lblk) -> Result {
    let mut left = first.until(Lblk::END);
    while !left.is_empty() {
        inode.go_on()?;
        left.start = inode.extents().lookup(left)?.blocks().end;
    }
    Ok(())
}

/// Has an extent begin at `at`, if one reaches over it.
fn split_extent(inode: &Inode, at: Lblk) -> Result {
    alloc::retry(inode.sb(), Effort::Commit, || try_split(inode, at))
}

fn try_split(inode: &Inode, at: Lblk) -> Result {
    let bytes = at.blocks(1).bytes(inode.fs().geo.block_bits);
    lab::may_fail(Point::Allocate, inode, bytes, &[EIO, ENOMEM, ENOSPC])?;
    let _table = inode::hold_iloc(inode)?;
    let handle = inode.fs().start(credits::COMPLETE)?;
    let split = inode.extents().split(&handle, at);
    // Also after an error: the tree may have changed before it.
    let ended = inode::journal(&handle, inode).and_then(|()| handle.stop());
    split.and(ended)
}

/// Rule 5, step 4: moves blocks, in as many handles as it takes. `size` is told of each whether it
/// is the first, and the last, and says the size of the file if that changes with it.
///
/// Rule 2: before anybody writes to a block at its new place it is there for good, also after an
/// error. Else a power cut brings back the old place, with what was written to the new one, in a
/// file that was synced:
///
/// ```text
///   fsync: 'A', 'B', 'C'
///   collapses the first block: 'B', 'C'
///   writes 'X' to the first one: it is that of 'B', and is written
///   (power cut; the collapse was not committed)
///                                               'A', 'X', 'C'
/// ```
fn shift(gone: &TailGone<'_>, moved: Move, size: impl Fn(bool, bool) -> Option<u64>) -> Result {
    let mut moves = 0;
    let shifted = shift_all(gone, moved, size, &mut moves);
    let committed = if moves > 0 {
        fsync::commit(gone.inode(), Durable::Data)
    } else {
        Ok(())
    };
    shifted.and(committed)
}

/// Counts the handles in `moves`.
fn shift_all(
    gone: &TailGone<'_>,
    moved: Move,
    size: impl Fn(bool, bool) -> Option<u64>,
    moves: &mut u32,
) -> Result {
    let inode = gone.inode();
    let mut next = Some(moved);
    while let Some(moved) = next {
        let bytes = moved.left().bytes(inode.fs().geo.block_bits);
        lab::may_fail(Point::ShiftSome, inode, bytes, &[EIO])?;
        let _table = inode::hold_iloc(inode)?;
        let handle = inode.fs().start_nofail(credits::SHIFT)?;
        let mut extents = inode.extents();
        // Rule 3: counts the change before it makes it.
        let shifted = extents.shift(&handle, moved);
        let last = shifted.as_ref().map(Option::is_none);
        if let Some(size) = last.ok().and_then(|last| size(*moves == 0, last)) {
            trace::isize_set(inode, size);
            gone.lock().set_size(size);
            extents.set_disk_size(size);
        }
        drop(extents);
        *moves += 1;
        // Also after an error: the tree may have changed before it.
        let ended = inode::journal(&handle, inode).and_then(|()| handle.stop());
        next = shifted.and_then(|next| ended.map(|()| next))?;
    }
    Ok(())
}
