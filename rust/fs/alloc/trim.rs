// SPDX-License-Identifier: GPL-2.0

//! FITRIM: the device is told which blocks are free.
//!
//! What it discards is lost, so a block must be free on the disk, not only in the bitmap: one whose
//! removal has not committed is its file's again after a crash ([`pending`](super::pending)).
//! Nor may anybody get it meanwhile:
//!
//! ```text
//!   trim                                        write
//!   finds a run that is free
//!                                               takes it, writes to it
//!   discards it: the data is gone
//! ```
//!
//! The group's lock would keep writers away, but a discard may take seconds, and the commit needs
//! the lock, too. So the run is held apart in memory ([`Pending::hold`]), where no search finds it,
//! and given back afterwards. One run at a time: whoever has found no block waits for the end of it
//! ([`retry`](super::retry())), as it may have been the last one.
//!
//! No longer than for one run a freeze is held off, and is waited for by nobody here.
//!
//! The option `discard` has the same done for what was freed: [`discard`](super::discard).
//!
//! [`Pending::hold`]: super::pending::Pending::hold

use super::{
    group::{GroupError, LockedGroup},
    is_system_block, //
};
use crate::{
    disk::{group::BitmapKind, Geometry},
    fs::{access::Access, Inode, Rext4, Sb},
    vfs::{
        atomic::Atomic,
        ioctl::Trim,
        nofs::{new_nofs_mutex, NoFsMutex}, //
    },
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// Discards of the mount.
#[pin_data]
pub(in crate::fs) struct Trims {
    /// Held with a run. Outside of the group's lock.
    #[pin]
    one: NoFsMutex<()>,
    /// How often a run was taken or given back: odd while one is held. Under the group's lock. What
    /// is held for data, and was given back, counts twice.
    count: Atomic<u32>,
}

impl Trims {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            one <- new_nofs_mutex!((), "rext4_trim"),
            count: Atomic::new(0),
        })
    }

    /// To be remembered by who searches for blocks, before that.
    pub(super) fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// Something else was given back that a search may have passed by. Under the group's lock.
    pub(super) fn note_returned(&self) {
        self.count.add(2, Relaxed);
    }

    /// Waits for the end of what is being discarded. Who comes later looks whether it may.
    pub(in crate::fs) fn wait_over(&self) {
        drop(self.one.lock());
    }

    /// Whether a search since `seen` may have missed a run that was being discarded. Then waits for
    /// the end of it.
    pub(super) fn wait(&self, seen: &mut u32) -> bool {
        let now = self.count();
        let met = now != *seen || now % 2 == 1;
        if met {
            self.wait_over();
            *seen = self.count();
        }
        met
    }
}

/// What is to be discarded, in blocks: those from `start` to `end`, where at least so many are free
/// in a row.
struct Plan {
    start: u64,
    end: u64,
    least: u64,
}

/// `None`: nothing at all. The numbers mean what they mean to ext4.
fn plan(geo: &Geometry, what: Trim, granularity: u64) -> Result<Option<Plan>> {
    let (bits, per_group) = (geo.block_bits, u64::from(geo.blocks_per_group));
    let (start, len) = (what.start >> bits, what.len >> bits);
    let mut least = what.least >> bits;
    if least > per_group || start >= geo.blocks_count || len == 0 {
        return Err(EINVAL);
    }
    if what.least < granularity {
        least = granularity >> bits;
        if least > per_group {
            return Ok(None);
        }
    }
    Ok(Some(Plan {
        start: start.max(geo.first_data_block.into()),
        end: start.saturating_add(len).min(geo.blocks_count),
        least: least.max(1),
    }))
}

/// Discards what is free on the disk. Returns the bytes: less than there are if the caller should
/// return, or a freeze begins. `EROFS` and the like where nothing may be written. So it is of a
/// read-only mount, where ext4 discards: what only such a mount can have, features that nobody here
/// knows or a journal that was not replayed, is why the bitmaps may not say what is free.
pub(crate) fn trim(inode: &Inode, what: Trim) -> Result<u64> {
    let sb = inode.sb();
    let fs = sb.data();
    if fs.access.writes_nothing() {
        return Err(fs.access.refusal());
    }
    let granularity = sb.device().discard_granularity().into();
    let Some(plan) = plan(&fs.geo, what, granularity)? else {
        return Ok(0);
    };
    let mut blocks = 0;
    for group in 0..fs.geo.groups_count {
        let first = fs.geo.group_first_block(group).get();
        let end = first + u64::from(fs.geo.group_blocks(group));
        // CAST: Bits of one group.
        let mut bits = (plan.start.max(first) - first) as usize
            ..plan.end.clamp(first, end).saturating_sub(first) as usize;
        while !bits.is_empty() && may_be_in(fs, group, plan.least) {
            // No longer than one run, which is what a freeze waits for.
            let Some(_freeze) = sb.try_start_intwrite() else {
                return Ok(blocks << fs.geo.block_bits);
            };
            let Some(run) = discard_next(sb, group, bits.clone(), plan.least)? else {
                break;
            };
            blocks += run.len() as u64;
            bits.start = run.end;
            if inode.should_return() {
                return Ok(blocks << fs.geo.block_bits);
            }
            let _ = inode.go_on();
        }
        if inode.go_on().is_err() {
            break;
        }
    }
    Ok(blocks << fs.geo.block_bits)
}

/// Whether a group may have a run of this length. Without its lock.
fn may_be_in(fs: &Rext4, group: u32, least: u64) -> bool {
    let bound = |info: &super::GroupInfo| u64::from(info.free_blocks.load(Relaxed));
    fs.groups
        .info(group)
        .is_some_and(|info| bound(info) >= least)
}

/// Discards the next run among these bits that is long enough; returns it.
pub(super) fn discard_next(
    sb: &Sb,
    group: u32,
    bits: Range<usize>,
    least: u64,
) -> Result<Option<Range<usize>>> {
    let Rext4 { geo, groups, .. } = sb.data();
    let one = groups.trims.one.lock();
    let run = match hold_next(sb, group, bits, least) {
        Ok(Some(run)) => run,
        Ok(None) => return Ok(None),
        Err(why) => {
            drop(one);
            return Err(why.report(sb, group));
        }
    };
    let first = geo.group_first_block(group) + run.start as u64;
    let bytes = |blocks: u64| blocks << geo.block_bits;
    // After the look at what is pending: a journal that is aborted calls its transactions
    // committed, too.
    let result = check_free(sb).and_then(|()| {
        sb.device()
            .discard(bytes(first.get()), bytes(run.len() as u64))
    });
    give_back(sb, group, &run);
    drop(one);
    result.map(|()| Some(run))
}

/// Whether what was found free is so on the disk: all that is said to have committed has.
pub(super) fn check_free(sb: &Sb) -> Result {
    let fs = sb.data();
    match fs.access.get() {
        Access::Writing if fs.journal().is_some_and(|j| !j.is_aborted()) => Ok(()),
        _ => Err(fs.access.refusal()),
    }
}

fn hold_next(
    sb: &Sb,
    group: u32,
    bits: Range<usize>,
    least: u64,
) -> Result<Option<Range<usize>>, GroupError> {
    let fs = sb.data();
    let mut locked = LockedGroup::new(sb, group)?;
    locked.expire(|tid| fs.journal().is_some_and(|j| j.is_committed(tid)));
    if locked.is_bad(BitmapKind::Block) {
        return Ok(None);
    }
    locked.trusting(BitmapKind::Block, |locked| {
        let map = locked.bitmap(BitmapKind::Block)?;
        let (mut from, end) = (bits.start, bits.end);
        while let Some((bit, len)) = map.next_run(&locked.group.pending, from, end, end) {
            from = bit + len;
            if (len as u64) < least {
                continue;
            }
            let first = fs.geo.group_first_block(group) + bit as u64;
            // CAST: At most the blocks of a group.
            if is_system_block(sb, first, len as u32, None) {
                return Err(GroupError::Corrupt("fixed metadata is marked free"));
            }
            locked.group.pending.hold(bit..from);
            locked.groups.trims.count.add(1, Relaxed);
            return Ok(Some(bit..from));
        }
        Ok(None)
    })
}

fn give_back(sb: &Sb, group: u32, run: &Range<usize>) {
    let Ok(mut locked) = LockedGroup::new(sb, group) else {
        return;
    };
    locked.group.pending.hold(0..0);
    locked.groups.trims.count.add(1, Relaxed);
    // What others have found out without it.
    locked.forget_longest();
    // CAST: A bit of the group.
    let first = run.start as u32;
    locked.group.first_free = locked.group.first_free.min(first);
}
