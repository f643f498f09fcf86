// SPDX-License-Identifier: GPL-2.0

//! Runs of one group that are freed together: the bitmap, its checksum and the descriptor are
//! brought up to date once for all of them, and not for each. Of a file in many pieces some dozen
//! go in a step.
//!
//! What is wrong with one of them is nothing to be told here. It ends what goes together: those
//! before it are free then, and it goes alone ([`free_or_lose`]), which tells and has the group's
//! bitmap taken for corrupt. Each is looked at when those before it are free: so two that claim
//! one block are found out as if they went one after the other.

use super::{
    balloc::{free_or_lose, Revoke},
    group::{GroupError, LockedGroup},
    is_system_block,
};
use crate::{
    disk::{group::BitmapKind, Pblk},
    fs::Inode,
    vfs::jbd2::Handle,
};
use core::ops::Range;
use kernel::prelude::*;

/// Frees runs of data of `inode` that nothing names any more, each as [`free_or_lose`].
///
/// Costs [`credits::freeing`](crate::fs::credits::freeing) of the number of groups touched.
pub(crate) fn free_runs_or_lose(
    handle: &Handle<'_>,
    inode: &Inode,
    runs: impl Iterator<Item = (Pblk, u32)> + Clone,
) {
    let mut rest = runs;
    while let Some(first) = rest.clone().next() {
        // Of an error nothing has changed, or the journal has come to its end. Then bits may have
        // been cleared, and who is asked again would call that corruption.
        let done = match free_together(handle, inode, rest.clone()) {
            Err(_) if handle.is_aborted() => return,
            done => done.unwrap_or(0),
        };
        match done.checked_sub(1) {
            Some(before) => {
                rest.nth(before);
            }
            None => {
                free_or_lose(handle, inode, first, Revoke::No);
                rest.next();
            }
        }
    }
}

/// The bits of a run, if it lies in the group.
fn bits_in(locked: &LockedGroup<'_>, run: (Pblk, u32)) -> Option<Range<usize>> {
    let (geo, (pblk, len)) = (locked.geo(), run);
    let (group, bit) = geo.block_group(pblk)?;
    let end = bit.checked_add(len)?;
    let inside = group == locked.number && len > 0 && end <= geo.group_blocks(group);
    inside.then_some(bit as usize..end as usize)
}

/// Whether all that lies in the group of the runs, from the first on, may be a file's: all blocks
/// between them at once, if there is no other metadata there.
fn are_a_file_s(
    locked: &LockedGroup<'_>,
    inode: &Inode,
    runs: impl Iterator<Item = (Pblk, u32)>,
) -> bool {
    let here = runs.map_while(|run| bits_in(locked, run));
    let all = here.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
    all.is_some_and(|all| {
        let first = locked.geo().group_first_block(locked.number) + all.start as u64;
        !is_system_block(locked.sb, first, all.len() as u32, Some(inode.ino()))
    })
}

/// Frees as many of the runs, from the first on, as lie in the group of that one, and are in use.
/// Returns how many.
fn free_together(
    handle: &Handle<'_>,
    inode: &Inode,
    runs: impl Iterator<Item = (Pblk, u32)> + Clone,
) -> Result<usize, GroupError> {
    let (sb, which) = (inode.sb(), BitmapKind::Block);
    let first = runs.clone().next().and_then(|(pblk, _)| {
        let (group, _) = inode.fs().geo.block_group(pblk)?;
        Some(group)
    });
    let Some(number) = first else { return Ok(0) };
    let mut locked = LockedGroup::new(sb, number)?;
    if locked.is_bad(which) || locked.is_uninit(which) {
        return Ok(0);
    }
    let map = locked.bitmap(which)?;
    locked.expire(|tid| handle.journal().is_committed(tid));
    let all_are = are_a_file_s(&locked, inode, runs.clone());
    let bits = |locked: &LockedGroup<'_>, run: (Pblk, u32)| {
        let is_a_file_s = || !is_system_block(locked.sb, run.0, run.1, Some(inode.ino()));
        bits_in(locked, run).filter(|_| all_are || is_a_file_s())
    };
    let (runs, blocks) = locked.free_each(handle, &map, (runs, bits))?;
    locked.groups.free_blocks.add(blocks.into());
    Ok(runs)
}
