// SPDX-License-Identifier: GPL-2.0

//! Blocks for data on its way, where the map of a file cannot say "unwritten" (block maps).
//!
//! A pointer in such a map is data that is there, so it must not be before the data is: a crash in
//! between would show what the block held before. But the data needs a block to go to. So a block
//! is *held*: nobody else finds it, and that is only in memory, as what is pending and what is
//! being discarded. On the disk it is free. When the data is there, one handle takes the block out
//! of the bitmap, has a pointer lead to it, and moves the size. A crash at any time before leaves
//! nothing of it, and nothing to be cleaned up.
//!
//! What is held counts as free, and as promised: it came out of a promise, which is spent when the
//! block is allocated. If the data did not arrive both are given back.
//!
//! Who holds what is kept with the map of the inode ([`extent`](crate::fs::extent)).

use super::{
    balloc::find_run,
    bitmap::Change,
    group::{GroupError, LockedGroup},
    AllocRequest, BlockKind, Claim, Promise,
};
use crate::{
    disk::{group::BitmapKind, Pblk},
    fs::{Inode, Sb},
    vfs::jbd2::Handle,
};
use core::ops::Range;
use kernel::prelude::*;

/// As [`allocate_run`](super::allocate_run), but the blocks are held. They are in one group. What
/// was promised for them comes with them.
pub(crate) fn hold_run<'a>(
    handle: &Handle<'_>,
    inode: &'a Inode,
    req: AllocRequest,
    promised: Option<&mut Promise<'a>>,
) -> Result<(Pblk, u32, Promise<'a>)> {
    let sb = inode.sb();
    let mut own;
    let (promise, want) = match promised {
        Some(promise) => (promise, req.want),
        None => {
            own = Promise::some(&sb.data().groups, req.want, req.min, BlockKind::Data)?;
            let want = own.blocks();
            (&mut own, want)
        }
    };
    let claim = Claim::Hold;
    let (pblk, len) = find_run(handle, sb, inode, AllocRequest { want, claim, ..req })?;
    Ok((pblk, len, promise.split(len)))
}

/// The group and the bits of blocks that are held.
fn bits(sb: &Sb, (pblk, len): (Pblk, u32)) -> Result<(u32, Range<usize>)> {
    let (group, bit) = sb.data().geo.block_group(pblk).ok_or(EINVAL)?;
    let first = bit as usize;
    Ok((group, first..first + len as usize))
}

/// Allocates blocks that are held. On error they still are. Costs
/// [`credits::ALLOC`](crate::fs::credits::ALLOC).
pub(crate) fn allocate_held(
    handle: &Handle<'_>,
    inode: &Inode,
    held: (Pblk, u32),
    promise: &mut Promise<'_>,
) -> Result {
    let sb = inode.sb();
    let (group, run) = bits(sb, held)?;
    allocate_locked(handle, sb, group, run).map_err(|why| why.report(sb, group))?;
    // Free before promised, as elsewhere.
    sb.data().groups.free_blocks.sub(held.1.into());
    promise.spend(held.1);
    Ok(())
}

fn allocate_locked(
    handle: &Handle<'_>,
    sb: &Sb,
    group: u32,
    run: Range<usize>,
) -> Result<(), GroupError> {
    let mut locked = LockedGroup::new(sb, group)?;
    if locked.is_bad(BitmapKind::Block) {
        return Err(GroupError::Corrupt("its bitmap is not believed any more"));
    }
    locked.trusting(BitmapKind::Block, |locked| {
        let map = locked.bitmap(BitmapKind::Block)?;
        if map.next_set(run.start, run.end) < run.end {
            return Err(GroupError::Corrupt("blocks kept for data are in use"));
        }
        locked.change(handle, &map, Change::Take(run.clone()), |_| Ok(()))?;
        locked.group.pending.let_go(run);
        Ok(())
    })
}

/// Gives back blocks that are held: anybody may have them now. Nothing is on its way to them.
pub(crate) fn release_held(sb: &Sb, held: (Pblk, u32), promise: Promise<'_>) {
    let locked = bits(sb, held).map(|(group, run)| (LockedGroup::new(sb, group), run));
    if let Ok((Ok(mut locked), run)) = locked {
        // CAST: A bit of the group.
        let first = run.start as u32;
        locked.group.pending.let_go(run);
        locked.forget_longest();
        locked.group.first_free = locked.group.first_free.min(first);
        // A search may have passed by.
        locked.groups.trims.note_returned();
    }
    drop(promise);
}
