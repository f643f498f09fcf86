// SPDX-License-Identifier: GPL-2.0

//! Allocation of blocks and inodes.
//!
//! Truth is in the bitmaps and descriptors of the groups, changed under the group's lock and in
//! the caller's handle. Two per-CPU counters stand for the whole filesystem: free blocks, and
//! *dirty* blocks, which are free but promised: to delayed allocation, or to an allocation under
//! way. What may be promised is `free - dirty`, less what only root may use, less a small pool.
//! Data never gets the pool: it is for the nodes of extent trees. They are promised with the data
//! ([`Promise::nodes`]), from three quarters of the pool if need be. The last quarter is for nodes
//! that nobody could promise, since an ENOSPC at completion would lose data that was written.
//!
//! Lock order: handle, the inode's extent lock, one group's lock, that of an [`index`]. Nothing is
//! called in atomic context; everything that takes a handle may read the disk.

mod balloc;
mod bitmap;
mod discard;
mod group;
mod grow;
mod held;
mod ialloc;
mod index;
mod pending;
mod promise;
mod retry;
mod root_blocks;
mod space;
mod table;
mod together;
mod trim;
mod zones;

pub(crate) use balloc::{allocate_run, free_or_lose, free_run, Revoke};
pub(in crate::fs) use discard::discard_freed;
pub(in crate::fs) use group::committed;
pub(in crate::fs) use grow::{extend_last_group, NewGroups};
pub(crate) use held::{allocate_held, hold_run, release_held};
pub(crate) use ialloc::{free_inode, hold_inode_bitmap, inode, inode_in_use};
pub(crate) use promise::{KeptPromises, Promise};
pub(crate) use retry::{retry, retry_promised, Effort, TRIES};
pub(crate) use space::map_space;
pub(crate) use together::free_runs_or_lose;
pub(crate) use trim::trim;

use self::{
    discard::Discards,
    group::{GroupError, GroupInfo, LockedGroup, MAX_DESC_SIZE},
    index::GroupIndex,
    pending::Touched,
    retry::Freed,
    root_blocks::RootBlocks,
    table::DescTable,
    trim::Trims,
    zones::Zones,
};
use super::{
    grows::Grows,
    options::Options,
    Rext4,
    Sb, //
};
use crate::{
    disk::{Geometry, GroupDesc, Ino, Pblk, RawSuper},
    vfs::{
        atomic::Atomic,
        bh::BufferHead,
        counter::PercpuCounter,
        once::SetOnce,
        super_block::NewSuper, //
    },
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::{atomic::Relaxed, new_mutex, Mutex},
};

/// What blocks are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// File data.
    Data,
    /// Extent tree nodes, directory and attribute blocks.
    Metadata,
    /// Tree nodes that are promised before data is accepted: may draw on most of the pool, and on
    /// root's blocks.
    Node,
    /// Tree nodes that nobody could ask for before, for data that is written or blocks that go: may
    /// draw on all of the pool, and on root's blocks.
    Completion,
}

/// What becomes of blocks that are found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// They are allocated.
    Allocate,
    /// They are kept apart in memory: see [`held`].
    Hold,
}

/// A request for a run of contiguous blocks.
#[derive(Clone, Copy)]
pub(crate) struct AllocRequest {
    /// Where the run should start, best right behind the file's previous block; or near the inode.
    pub(crate) goal: Option<Pblk>,
    /// Wanted length in blocks.
    pub(crate) want: u32,
    /// The least useful length, at least 1.
    pub(crate) min: u32,
    /// What the blocks are for.
    pub(crate) kind: BlockKind,
    /// What becomes of them.
    pub(crate) claim: Claim,
}

/// Space and inode counts for `statfs(2)`, in blocks and inodes.
pub(crate) struct Counts {
    /// Blocks taken by fixed metadata and the journal, if it was looked at.
    pub(crate) overhead: u64,
    /// Free and not promised.
    pub(crate) blocks_free: u64,
    /// Of these, what everybody may use.
    pub(crate) blocks_available: u64,
    pub(crate) files_free: u64,
}

/// With more blocks to spare than this a promise takes no lock: no single request is as large.
/// Where the two counters together may be off by more than a part of it, four times
/// [`PercpuCounter::slack`] instead.
const WATERMARK: u64 = 65536;

/// All block groups of a mounted filesystem.
#[pin_data]
pub(crate) struct Groups {
    infos: Grows<Pin<KBox<GroupInfo>>>,
    /// The blocks of the primary descriptor table.
    descs: Grows<BufferHead>,
    /// By the longest run of blocks that can be allocated, as far as that is known.
    #[pin]
    with_run: GroupIndex,
    /// By the number of free inodes.
    #[pin]
    with_inodes: GroupIndex,
    zones: Zones,
    /// The journal's blocks, known when its inode has been read.
    journal: SetOnce<Zones>,
    /// Free in the bitmaps, those that are not yet usable ([`pending`]) included.
    #[pin]
    free_blocks: PercpuCounter,
    #[pin]
    dirty_blocks: PercpuCounter,
    /// Free blocks of a group went with its bitmap: what is promised may not be there.
    lost: Atomic<bool>,
    #[pin]
    free_inodes: PercpuCounter,
    #[pin]
    dirs: PercpuCounter,
    /// Makes test and promise one step when space is short.
    #[pin]
    promise: Mutex<()>,
    /// Only root may use the last blocks, and only tree nodes the pool.
    pub(super) root_blocks: RootBlocks,
    pool: Atomic<u64>,
    freed: Freed,
    touched: Touched,
    #[pin]
    pub(super) trims: Trims,
    discards: Discards,
    /// Held while promises are turned into blocks, and how often that has begun.
    #[pin]
    settling: Mutex<()>,
    rounds: Atomic<u32>,
}

fn decode(
    geo: &Geometry,
    bh: &BufferHead,
    off: usize,
    group: u32,
) -> Result<Result<GroupDesc, crate::disk::Corrupt>> {
    let mut raw = [0u8; MAX_DESC_SIZE];
    let raw = raw.get_mut(..geo.desc_size.into()).ok_or(EINVAL)?;
    bh.copy_out(off, raw)?;
    Ok(GroupDesc::decode_checked(raw, geo, group))
}

impl Groups {
    /// Reads and checks all descriptors; `geo` has fewer groups after this if the log may have the
    /// last ones ([`table`]). `raw` is the checked super block. The block size of the
    /// device has been set. To be followed by [`Groups::init_counts`] when the journal has been
    /// replayed.
    ///
    /// `EUCLEAN` if a descriptor is corrupt (logged), `EINVAL` if their size is not supported.
    pub(crate) fn load(
        sb: &NewSuper<'_, Rext4>,
        geo: &mut Geometry,
        raw: &RawSuper,
        options: &Options,
    ) -> Result<impl PinInit<Self, Error>> {
        let size = usize::from(geo.desc_size);
        if size > MAX_DESC_SIZE {
            pr_err!("group descriptors of {size} bytes are not supported\n");
            return Err(EINVAL);
        }
        let DescTable {
            blocks: descs,
            descs: list,
            zones,
        } = DescTable::read(sb, geo, options)?;
        let mut infos = KVVec::with_capacity(list.len(), GFP_KERNEL)?;
        for desc in list.iter() {
            let info = KBox::pin_init(GroupInfo::new(*desc), GFP_KERNEL)?;
            infos.push(info, GFP_KERNEL)?;
        }
        let infos = Grows::with(infos)?;
        let totals = Totals::of(&infos);
        let root_blocks = RootBlocks::new(raw, geo.blocks_count, options);
        // In clusters, as all that is counted by groups.
        let ratio = geo.cluster_bits - geo.block_bits;
        let pool = grow::default_pool(geo.blocks_count >> ratio) << ratio;
        let touched = Touched::new(geo.groups_count)?;
        let discards = Discards::new(geo.groups_count)?;
        let with_run = GroupIndex::new(&list, |desc| desc.free_blocks)?;
        let with_inodes = GroupIndex::new(&list, |desc| desc.free_inodes)?;

        Ok(try_pin_init!(Self {
            infos,
            descs,
            with_run <- with_run,
            with_inodes <- with_inodes,
            zones,
            journal: SetOnce::new(),
            free_blocks <- PercpuCounter::new(totals.free_blocks),
            dirty_blocks <- PercpuCounter::new(0),
            free_inodes <- PercpuCounter::new(totals.free_inodes),
            dirs <- PercpuCounter::new(totals.dirs),
            promise <- new_mutex!((), "rext4_promise"),
            root_blocks,
            pool: Atomic::new(pool),
            lost: Atomic::new(false),
            freed: Freed::new(),
            touched,
            trims <- Trims::new(),
            discards,
            settling <- new_mutex!((), "rext4_settling"),
            rounds: Atomic::new(0),
        }? Error))
    }

    /// Reads all descriptors again, from buffers that the replay of the journal may have changed,
    /// or somebody else while this mount was read-only. Nothing is being allocated or freed. On its
    /// own for the sake of the stack.
    #[inline(never)]
    pub(crate) fn init_counts(&self, sb: &Sb) -> Result {
        let fs = sb.data();
        for number in 0..fs.geo.groups_count {
            let (bh, off) = self.desc_buffer(&fs.geo, number)?;
            decode(&fs.geo, bh, off, number)?
                .map_err(GroupError::from)
                .and_then(|desc| LockedGroup::new(sb, number)?.reload(desc))
                .map_err(|why| why.report(sb, number))?;
        }
        let totals = Totals::of(&self.infos);
        self.free_blocks.set(totals.free_blocks);
        self.free_inodes.set(totals.free_inodes);
        self.dirs.set(totals.dirs);
        Ok(())
    }

    fn desc_buffer(&self, geo: &Geometry, group: u32) -> Result<(&BufferHead, usize)> {
        let bh = self.table_block(geo, group).ok_or(EINVAL)?;
        let (_, off) = geo.desc_location(group);
        Ok((bh, off as usize))
    }

    fn info(&self, group: u32) -> Option<&GroupInfo> {
        self.infos.get(group as usize).map(|info| &**info)
    }

    /// Where an inode lies: the block of the table and the byte in it. `EINVAL` if there is no
    /// such inode.
    pub(crate) fn inode_location(&self, geo: &Geometry, ino: Ino) -> Result<(u64, usize)> {
        let (group, index) = geo.inode_group(ino).ok_or(EINVAL)?;
        let (block, off) = geo.inode_offset(index);
        let table = self.info(group).ok_or(EINVAL)?.inode_table;
        Ok((table + u64::from(block), off as usize))
    }

    /// The blocks of the table that inode `ino` lies in, but for those at its end that were never
    /// written. `EINVAL` if there is no such inode.
    pub(crate) fn used_table(&self, geo: &Geometry, ino: Ino) -> Result<Range<u64>> {
        let (group, _) = geo.inode_group(ino).ok_or(EINVAL)?;
        let info = self.info(group).ok_or(EINVAL)?;
        let used = geo
            .inodes_per_group
            .saturating_sub(info.itable_unused.load(Relaxed));
        let bytes = u64::from(used) * u64::from(geo.inode_size);
        let blocks = bytes.div_ceil(u64::from(geo.block_size));
        Ok(info.inode_table..info.inode_table + blocks)
    }

    /// Whether there is so much to spare that the cheap reading of the counters says enough.
    fn is_plenty(&self, reserve: u64, wanted: u64) -> bool {
        // In this order: what is allocated meanwhile leaves the free ones first.
        let dirty = self.dirty_blocks.read_positive();
        let free = self.free_blocks.read_positive();
        let watermark = WATERMARK.max(4 * PercpuCounter::slack());
        free.saturating_sub(dirty.saturating_add(reserve)) > wanted.saturating_add(watermark)
    }

    /// What may still be promised of the free blocks, with `reserve` kept back: the sum over all
    /// CPUs.
    fn spare(&self, reserve: u64) -> u64 {
        let dirty = self.dirty_blocks.sum_positive();
        let free = self.free_blocks.sum_positive();
        free.saturating_sub(dirty.saturating_add(reserve))
    }

    /// Whether more is promised than there is, because a bitmap cannot be believed: then waiting
    /// does not make a promise true. (A block that is about to be freed may be promised already, so
    /// the counts alone do not tell.)
    pub(crate) fn is_over_promised(&self) -> bool {
        let short = || self.free_blocks.sum_positive() < self.dirty_blocks.sum_positive();
        self.lost.load(Relaxed) && short()
    }

    /// What the caller must leave alone.
    fn kept_back(&self, kind: BlockKind) -> u64 {
        if kind == BlockKind::Completion {
            0
        } else if kind == BlockKind::Node {
            self.pool.load(Relaxed) / 4
        } else {
            let pool = self.pool.load(Relaxed);
            pool.saturating_add(self.root_blocks.for_others())
        }
    }

    /// Promises up to `want` blocks, at least `min`. Returns how many. For [`Promise`] only.
    fn promise(&self, want: u32, min: u32, kind: BlockKind) -> Result<u32> {
        let reserve = self.kept_back(kind);
        if self.is_plenty(reserve, want.into()) {
            // Then looked at again: any number of tasks may be between the look and the promise,
            // but the last of them sees what all have promised.
            self.dirty_blocks.add(want.into());
            if self.is_plenty(reserve, 0) {
                return Ok(want);
            }
            self.dirty_blocks.sub(want.into());
        }
        let _one = self.promise.lock();
        let spare = self.spare(reserve);
        let got = u32::try_from(spare).unwrap_or(u32::MAX).min(want);
        if got < min {
            return Err(ENOSPC);
        }
        self.dirty_blocks.add(got.into());
        Ok(got)
    }
}

struct Totals {
    free_blocks: i64,
    free_inodes: i64,
    dirs: i64,
}

impl Totals {
    fn of(infos: &Grows<Pin<KBox<GroupInfo>>>) -> Self {
        let sum = |field: fn(&GroupInfo) -> &Atomic<u32>| {
            infos
                .iter()
                .map(|info| i64::from(field(info).load(Relaxed)))
                .sum()
        };
        Self {
            free_blocks: sum(|info| &info.free_blocks),
            free_inodes: sum(|info| &info.free_inodes),
            dirs: sum(|info| &info.used_dirs),
        }
    }
}

/// Whether one of `len` blocks from `pblk` is fixed metadata or the journal's, so that inode
/// `owner` (or nobody) cannot own it.
pub(crate) fn is_system_block(sb: &Sb, pblk: Pblk, len: u32, owner: Option<Ino>) -> bool {
    let fs = sb.data();
    let journal = fs.groups.journal.as_ref();
    fs.groups.zones.overlaps(pblk, len.into())
        || owner != fs.geo.journal_inum
            && journal.is_some_and(|zones| zones.overlaps(pblk, len.into()))
}

/// Says which blocks the journal has, as (first block, end). Returns whether none is there twice.
pub(crate) fn set_journal(sb: &Sb, blocks: KVVec<(u64, u64)>) -> Result<bool> {
    let Some(zones) = Zones::of_file(blocks)? else {
        return Ok(false);
    };
    // The second time, after a remount: they are the same.
    sb.data().groups.journal.populate(zones);
    Ok(true)
}

/// Counts for `statfs(2)`.
pub(crate) fn count_free(sb: &Sb) -> Counts {
    let fs = sb.data();
    let groups = &fs.groups;
    let free = groups
        .free_blocks
        .sum_positive()
        .saturating_sub(groups.dirty_blocks.sum_positive());
    // With bigalloc, which is read only, the descriptors count clusters.
    let free = free << (fs.geo.cluster_bits - fs.geo.block_bits);
    Counts {
        overhead: fs.geo.cluster_overhead.unwrap_or_else(|| {
            groups.zones.blocks()
                + u64::from(fs.geo.first_data_block)
                + groups.journal.as_ref().map_or(0, Zones::blocks)
        }),
        blocks_free: free,
        blocks_available: free
            .saturating_sub(groups.root_blocks.blocks())
            .saturating_sub(pool(sb)),
        files_free: groups.free_inodes.sum_positive(),
    }
}

/// How many blocks are promised.
pub(super) fn promised_blocks(sb: &Sb) -> u64 {
    sb.data().groups.dirty_blocks.sum_positive()
}

/// How many blocks are in the pool.
pub(super) fn pool(sb: &Sb) -> u64 {
    sb.data().groups.pool.load(Relaxed)
}

/// Makes it so many. What was promised before stays so: they are counted when something is asked
/// for. With too few a full disk may lose what was written (see above). `EINVAL` if there are not
/// that many.
pub(super) fn set_pool(sb: &Sb, blocks: u64) -> Result {
    if blocks >= sb.data().geo.blocks_count {
        return Err(EINVAL);
    }
    sb.data().groups.pool.store(blocks, Relaxed);
    Ok(())
}

/// At the end of a mount, all inodes are gone: what is promised now is promised to nobody, and was
/// space that nobody could use.
pub(crate) fn check_promises(sb: &Sb) {
    let left = sb.data().groups.dirty_blocks.sum();
    if left != 0 {
        pr_err!("{}: {} blocks are promised to nobody\n", sb.id(), left);
    }
}

/// Brings the counts in the superblock up to date. They are only a hint there, written when the
/// filesystem is synced or unmounted; the checksum is the caller's.
pub(crate) fn update_super_counts(fs: &Rext4, raw: &mut RawSuper) {
    let groups = &fs.groups;
    raw.set_free_blocks_count(groups.free_blocks.sum_positive());
    raw.set_free_inodes_count(u32::try_from(groups.free_inodes.sum_positive()).unwrap_or(u32::MAX));
}
