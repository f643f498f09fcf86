// SPDX-License-Identifier: GPL-2.0

//! Blocks: finding runs, taking them, giving them back.

use super::{
    bitmap::{Change, GroupBitmap},
    group::{GroupError, LockedGroup},
    index::{class, least},
    is_system_block,
    pending::Pending,
    AllocRequest, BlockKind, Claim, Promise,
};
use crate::{
    disk::{group::BitmapKind, inode::flags, Geometry, Pblk},
    fs::{error::EFSCORRUPTED, Inode, Rext4, Sb},
    vfs::jbd2::Handle,
};
use kernel::prelude::*;

/// Groups searched in one pass before a shorter run will do: searching means reading bitmaps.
const MAX_SEARCHED: u32 = 64;
/// Requests below this many blocks are packed into the first gap of their group; files that write
/// more at once start at places of their own, to have room to grow.
const SPREAD: u32 = 16;

impl GroupBitmap {
    /// The first run of usable blocks in `start..end` as (first bit, length), cut off at `max`.
    pub(super) fn next_run(
        &self,
        pending: &Pending,
        start: usize,
        end: usize,
        max: usize,
    ) -> Option<(usize, usize)> {
        let mut first = start;
        loop {
            if first >= end {
                return None;
            }
            let zero = self.next_zero(first, end);
            if zero >= end {
                return None;
            }
            first = pending.next_usable(zero, end);
            if first == zero {
                break;
            }
        }
        let limit = end.min(first.saturating_add(max));
        let stop = pending.next_pending(first, self.next_set(first, limit));
        (stop > first).then_some((first, stop - first))
    }
}

/// What to look for in a group.
struct Search {
    /// The first bit to look at.
    from: u32,
    /// Only a run that starts at `from` will do.
    exact: bool,
    /// The shortest run that will do.
    target: u32,
    /// The longest run that is of use.
    want: u32,
    claim: Claim,
}

impl Search {
    /// For what begins at this bit.
    fn exactly(from: u32, req: AllocRequest) -> Self {
        Self {
            from,
            exact: true,
            target: req.min,
            want: req.want,
            claim: req.claim,
        }
    }
}

/// Allocates a run of contiguous blocks: as long as possible, between `req.min` and `req.want`.
/// Returns its first block and its length. They come out of `promised`, or out of a promise that is
/// made here.
///
/// Costs [`credits::ALLOC`](crate::fs::credits::ALLOC). `ENOSPC` if there is no such run, or it may
/// not be used by this caller; see [`retry`](super::retry()). `EUCLEAN` if a structure was
/// found corrupt and no other group had space.
pub(crate) fn allocate_run<'a>(
    handle: &Handle<'_>,
    inode: &'a Inode,
    req: AllocRequest,
    promised: Option<&mut Promise<'a>>,
) -> Result<(Pblk, u32)> {
    if req.min == 0 || req.min > req.want {
        return Err(EINVAL);
    }
    let sb = inode.sb();
    let groups = &sb.data().groups;
    // One that is made for this call goes with it, also what was not used of it.
    let mut own;
    let (promise, want) = match promised {
        Some(promise) => (promise, req.want),
        None => {
            own = Promise::some(groups, req.want, req.min, req.kind)?;
            let want = own.blocks();
            (&mut own, want)
        }
    };
    let (pblk, len) = find_run(handle, sb, inode, AllocRequest { want, ..req })?;
    // Free before dirty: the other way round somebody could see space that is not there.
    groups.free_blocks.sub(len.into());
    promise.spend(len);
    Ok((pblk, len))
}

/// Where to start for an inode that gives no hint: in its own group, or behind the first group of
/// its flex group, which is left to directories and inode tables.
fn default_goal(geo: &Geometry, inode: &Inode, kind: BlockKind, want: u32) -> (u32, u32) {
    let home = geo.inode_group(inode.ino()).map_or(0, |(group, _)| group);
    let flex = 1u32
        .checked_shl(geo.log_groups_per_flex.into())
        .unwrap_or(0);
    let mut group = home;
    if flex >= 4 {
        group = home - home % flex;
        if inode.is_file() && group + 1 < geo.groups_count {
            group += 1;
        }
    }
    let mut bit = 0;
    if kind == BlockKind::Data && want >= SPREAD {
        bit = geo.group_blocks(group) / 16 * (inode.ino().get() % 16);
    }
    (group, bit)
}

/// How many of the groups have blocks that the map of an inode can point to, if it has one:
/// pointers have 32 bits. Attribute blocks are named by the inode, with 48.
fn groups_within_reach(geo: &Geometry, inode: &Inode) -> u32 {
    let has_map = inode.is_file() || inode.is_dir() || inode.is_symlink();
    if !has_map || inode.info().flags() & flags::EXTENTS != 0 {
        return geo.groups_count;
    }
    let last = Pblk::new(u32::MAX.into());
    geo.block_group(last)
        .map_or(geo.groups_count, |(group, _)| group)
}

/// Whether the map of an inode can point to each block of the disk, so that any that is promised
/// will do.
pub(super) fn reaches_all(inode: &Inode) -> bool {
    // One geometry: it may grow meanwhile.
    let geo: &Geometry = &inode.fs().geo;
    groups_within_reach(geo, inode) == geo.groups_count
}

/// Finds a run and claims it. What it is promised is the caller's.
pub(super) fn find_run(
    handle: &Handle<'_>,
    sb: &Sb,
    inode: &Inode,
    req: AllocRequest,
) -> Result<(Pblk, u32)> {
    let Rext4 { geo, groups, .. } = sb.data();
    let want = req.want.min(geo.blocks_per_group);
    let end = groups_within_reach(geo, inode);
    let mut fault = None;

    let goal = req.goal.and_then(|goal| geo.block_group(goal));
    let goal = goal.filter(|(group, _)| *group < end);
    // Right behind the file's last block even a short run makes no new extent.
    if let Some((group, from)) = goal {
        let exact = Search::exactly(from, AllocRequest { want, ..req });
        if let Some(run) = search(handle, sb, group, &exact, &mut fault)? {
            return Ok(run);
        }
    }

    let (first, first_bit) = goal.unwrap_or_else(|| default_goal(geo, inode, req.kind, want));
    // Most of a long run close by is better than all of it far away: the copies of the superblock
    // take a bite out of some groups. A length that the index tells from all shorter ones.
    let mut target = least(class(want - want / 8)).max(req.min);
    loop {
        let mut searched = 0;
        // The first group comes a second time, for what lies before the goal.
        for (i, group) in groups.with_run.around(first, target).enumerate() {
            if group >= end || groups.info(group).is_none_or(|info| info.bound() < target) {
                continue;
            }
            if searched >= MAX_SEARCHED && target > req.min {
                break;
            }
            searched += 1;
            let wanted = Search {
                from: if i == 0 && group == first {
                    first_bit
                } else {
                    0
                },
                exact: false,
                target,
                want,
                claim: req.claim,
            };
            if let Some(run) = search(handle, sb, group, &wanted, &mut fault)? {
                return Ok(run);
            }
        }
        if target <= req.min {
            return Err(fault.unwrap_or(ENOSPC));
        }
        // Of the class of the longest runs the least: there may be longer ones.
        let longest = groups.with_run.most();
        target = longest.min(target / 2).max(req.min);
    }
}

/// Searches one group and takes what it finds. Corruption is reported and leaves the group out of
/// the search; `Err` means that the handle is of no use any more.
fn search(
    handle: &Handle<'_>,
    sb: &Sb,
    group: u32,
    wanted: &Search,
    fault: &mut Option<Error>,
) -> Result<Option<(Pblk, u32)>> {
    match search_locked(handle, sb, group, wanted) {
        Ok(run) => Ok(run),
        Err(why @ GroupError::Corrupt(_)) => {
            *fault = Some(why.report(sb, group));
            // The errors= policy may have ended all writing.
            if handle.is_aborted() {
                return Err(EUCLEAN);
            }
            Ok(None)
        }
        Err(GroupError::Other(e)) => Err(e),
    }
}

fn search_locked(
    handle: &Handle<'_>,
    sb: &Sb,
    number: u32,
    wanted: &Search,
) -> Result<Option<(Pblk, u32)>, GroupError> {
    let mut locked = LockedGroup::new(sb, number)?;
    // The length of a group stays only under its lock.
    let geo = locked.geo();
    locked.expire(|tid| handle.journal().is_committed(tid));
    if locked.is_bad(BitmapKind::Block) || locked.group.desc.free_blocks < wanted.target {
        return Ok(None);
    }
    locked.trusting(BitmapKind::Block, |locked| {
        let map = locked.bitmap(BitmapKind::Block)?;
        let Some((bit, len)) = pick(locked, &map, geo.group_blocks(number), wanted) else {
            return Ok(None);
        };
        let pblk = geo.group_first_block(number) + u64::from(bit);
        if is_system_block(sb, pblk, len, None) {
            return Err(GroupError::Corrupt("fixed metadata is marked free"));
        }
        let run = bit as usize..(bit + len) as usize;
        match wanted.claim {
            Claim::Allocate => locked.change(handle, &map, Change::Take(run), |_| Ok(()))?,
            Claim::Hold => {
                let bytes = geo.block_size as usize;
                locked.group.pending.keep(run, bytes)?;
            }
        }
        if bit <= locked.group.first_free {
            locked.group.first_free = bit + len;
        }
        Ok(Some((pblk, len)))
    })
}

/// Chooses a run of the group: the first that is long enough.
fn pick(
    locked: &mut LockedGroup<'_>,
    map: &GroupBitmap,
    blocks: u32,
    wanted: &Search,
) -> Option<(u32, u32)> {
    let end = blocks as usize;
    let (target, want) = (wanted.target as usize, wanted.want as usize);
    // CAST, also below: bits of one group.
    let out = |(bit, len): (usize, usize)| (bit as u32, len as u32);

    if wanted.exact {
        let from = wanted.from as usize;
        return map
            .next_run(&locked.group.pending, from, end, want)
            .filter(|&(bit, len)| bit == from && len >= target)
            .map(out);
    }
    let whole = wanted.from <= locked.group.first_free;
    let mut from = wanted.from.max(locked.group.first_free) as usize;
    let mut longest = 0;
    let mut seen = false;
    while let Some((bit, len)) = map.next_run(&locked.group.pending, from, end, want) {
        if whole && !seen {
            locked.group.first_free = bit as u32;
        }
        seen = true;
        if len >= target {
            return Some(out((bit, len)));
        }
        longest = longest.max(len);
        from = bit + len;
    }
    if whole {
        locked.set_longest(longest as u32);
    }
    None
}

/// Whether blocks that go may be in the log, where a replay would find them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revoke {
    /// Metadata: a replay must not write over what the next owner has. The handle needs a revoke
    /// record for each block.
    Yes,
    /// Data, or what was never journaled.
    No,
}

/// Frees `len` blocks from `pblk`, which `inode` owned. They may be used again when the handle's
/// transaction has committed.
///
/// Costs [`credits::freeing`](crate::fs::credits::freeing) of the number of groups touched.
/// `EUCLEAN` if the blocks are not all in use, are fixed metadata or lie outside the filesystem.
/// Blocks of a group whose bitmap is known to be corrupt are lost until e2fsck finds them. An error
/// in one group leaves out no other; the first is returned. Otherwise the number of those that are
/// free now.
pub(crate) fn free_run(
    handle: &Handle<'_>,
    inode: &Inode,
    (pblk, len): (Pblk, u32),
    revoke: Revoke,
) -> Result<u32> {
    let (sb, geo) = (inode.sb(), &inode.fs().geo);
    if len == 0 {
        return Ok(0);
    }
    let owner = Some(inode.ino());
    if !geo.blocks_valid(pblk, len.into()) || is_system_block(sb, pblk, len, owner) {
        return Err(inode.corrupted(fmt!(
            "freeing {len} blocks from {pblk}, which are not a file's"
        )));
    }
    if revoke == Revoke::Yes {
        // Before the bits are cleared: after it somebody else may own the blocks.
        for i in 0..u64::from(len) {
            let block = (pblk + i).get();
            handle.revoke(block, Some(sb.getblk(block)?))?;
        }
    }
    let (mut block, mut left, mut result) = (pblk, len, Ok(0));
    while left > 0 {
        let (group, bit) = geo.block_group(block).ok_or(EINVAL)?;
        let here = left.min(geo.group_blocks(group).saturating_sub(bit));
        if here == 0 {
            return Err(EINVAL);
        }
        let freed = free_run_locked(handle, sb, group, (bit, here)).map_err(|why| {
            why.report_as(|what| {
                inode.corrupted(fmt!(
                    "freeing {here} blocks from {block}: group {group}: {what}"
                ))
            })
        });
        result = result.and_then(|sum| Ok(sum + freed?));
        block = block + u64::from(here);
        left -= here;
    }
    result
}

/// As [`free_run`], of blocks that nothing names any more: that has changed and stands, so there is
/// nobody to return an error to. What cannot be freed is reported, and lost until e2fsck finds it;
/// then it is false.
pub(crate) fn free_or_lose(
    handle: &Handle<'_>,
    inode: &Inode,
    run: (Pblk, u32),
    revoke: Revoke,
) -> bool {
    let e = match free_run(handle, inode, run, revoke) {
        Ok(freed) => return freed == run.1,
        Err(e) => e,
    };
    // Corruption has been reported where it was met, the end of the journal by itself.
    if e != EFSCORRUPTED && !handle.is_aborted() {
        let (pblk, len) = run;
        let errno = e.to_errno();
        inode.corrupted(fmt!("{len} blocks from {pblk} not freed: error {errno}"));
    }
    false
}

fn free_run_locked(
    handle: &Handle<'_>,
    sb: &Sb,
    number: u32,
    (bit, len): (u32, u32),
) -> Result<u32, GroupError> {
    let mut locked = LockedGroup::new(sb, number)?;
    if locked.is_bad(BitmapKind::Block) {
        return Ok(0);
    }
    locked.trusting(BitmapKind::Block, |locked| {
        let run = bit as usize..(bit + len) as usize;
        let map = locked.in_use(BitmapKind::Block, &run)?;
        locked.change(handle, &map, Change::Free(run.clone()), |locked| {
            locked.expire(|tid| handle.journal().is_committed(tid));
            locked.note_freed(handle.tid(), &run);
            Ok(())
        })
    })?;
    locked.groups.free_blocks.add(len.into());
    Ok(len)
}
