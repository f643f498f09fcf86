// SPDX-License-Identifier: GPL-2.0

//! The file system in memory becomes larger, beside everybody who uses it.
//!
//! The order is that of [`grows`](crate::fs::grows): arrays first, then the geometry that leads to
//! them, then what makes others look there. So a group is whole for whoever knows its number:
//!
//! ```text
//!   who resizes                              who allocates
//!   groups, descriptors, zones, flags
//!   geometry                                 knows the group, has no reason to look
//!   index                                    finds free blocks in it, for what was promised before
//!   free counts                              is promised its blocks
//! ```
//!
//! The other way round a promise could be made that nobody finds the blocks for.
//!
//! How long the last group is may change too. Who looks at a bitmap compares it with that, so it
//! changes under the group's lock, together with the bitmap.

use super::{
    bitmap::Change,
    group::{GroupError, GroupInfo, LockedGroup},
    zones::Zones,
    Groups, //
};
use crate::{
    disk::{group::BitmapKind, Geometry, GroupDesc, RawSuper},
    fs::{
        grows::Growing,
        primary::{change_super, super_access},
        Sb, //
    },
    vfs::{bh::BufferHead, jbd2::Handle},
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*, sync::atomic::Relaxed};

/// Groups that are about to be there: all the memory that they need.
pub(in crate::fs) struct NewGroups {
    geo: Geometry,
    numbers: Range<u32>,
    infos: KVVec<Pin<KBox<GroupInfo>>>,
    zones: KVVec<(u64, u64)>,
    /// Blocks of the table of descriptors that were not there before.
    table: KVVec<BufferHead>,
    free_blocks: u64,
    free_inodes: u64,
}

impl NewGroups {
    /// `geo` has them already; `descs` are theirs, and `table` the blocks of the table behind those
    /// of all groups so far. `ENOMEM`; `EUCLEAN` if two of their structures are in one block.
    #[inline(never)]
    pub(in crate::fs) fn prepare(
        sb: &Sb,
        geo: &Geometry,
        descs: &[GroupDesc],
        table: KVVec<BufferHead>,
    ) -> Result<KBox<Self>> {
        let fs = sb.data();
        let numbers = fs.geo.groups_count..geo.groups_count;
        let zones = Zones::collect(geo, numbers.clone(), descs)?.map_err(|_| EUCLEAN)?;
        // In the groups themselves, else zones would not be in order.
        if zones
            .first()
            .is_some_and(|zone| zone.0 < fs.geo.blocks_count)
        {
            return Err(EUCLEAN);
        }
        let mut infos = KVVec::with_capacity(descs.len(), GFP_KERNEL)?;
        for desc in descs {
            infos.push(
                KBox::pin_init(GroupInfo::new(*desc), GFP_KERNEL)?,
                GFP_KERNEL,
            )?;
        }
        fs.geo.reserve()?;
        fs.groups.reserve(geo, zones.len())?;
        let sum = |of: fn(&GroupDesc) -> u32| descs.iter().map(|d| u64::from(of(d))).sum();
        let new = Self {
            numbers,
            infos,
            zones,
            table,
            free_blocks: sum(|desc| desc.free_blocks),
            free_inodes: sum(|desc| desc.free_inodes),
            geo: geo.clone(),
        };
        Ok(KBox::new(new, GFP_KERNEL)?)
    }

    /// How many of their blocks are free.
    pub(in crate::fs) fn free_blocks(&self) -> u64 {
        self.free_blocks
    }

    /// The file system has them from now on. The disk says so.
    #[inline(never)]
    pub(in crate::fs) fn publish(this: KBox<Self>, sb: &Sb, right: &Growing<'_>) -> Result {
        let Self {
            geo,
            numbers,
            infos,
            zones,
            table,
            free_blocks,
            free_inodes,
        } = KBox::into_inner(this);
        let fs = sb.data();
        let groups = &fs.groups;
        let (old_blocks, count) = (fs.geo.blocks_count, geo.groups_count);
        for info in infos {
            groups.infos.push(right, info)?;
        }
        for bh in table {
            groups.descs.push(right, bh)?;
        }
        groups.zones.append(right, zones)?;
        groups.touched.grow(right, count)?;
        groups.discards.touched().grow(right, count)?;
        groups.with_run.grow(right, count)?;
        groups.with_inodes.grow(right, count)?;
        let blocks = geo.blocks_count;
        fs.geo.publish(right, geo)?;
        for number in numbers {
            // The index learns what is free there, under the group's lock: who believes it takes
            // that, and sees all of the above.
            drop(LockedGroup::new(sb, number).map_err(|why| why.report(sb, number))?);
        }
        groups.more_is_free(old_blocks, blocks, free_blocks);
        // CAST: No more than there are inode numbers.
        groups.free_inodes.add(free_inodes as i64);
        Ok(())
    }
}

/// The blocks of the pool, as long as nobody says how many.
pub(super) fn default_pool(blocks: u64) -> u64 {
    (blocks / 50).min(4096)
}

/// Which block of the table has the descriptor of a group.
pub(super) fn table_index(geo: &Geometry, group: u32) -> usize {
    (group / geo.descs_per_block()) as usize
}

impl Groups {
    /// Memory for the groups of `geo` and so many zones.
    fn reserve(&self, geo: &Geometry, zones: usize) -> Result {
        let count = geo.groups_count;
        let more = (count as usize).saturating_sub(self.infos.len());
        self.infos.reserve(more)?;
        let table = (geo.gdt_blocks as usize).saturating_sub(self.descs.len());
        self.descs.reserve(table)?;
        self.zones.reserve(zones)?;
        self.touched.reserve(count)?;
        self.discards.touched().reserve(count)?;
        self.with_run.reserve(count)?;
        self.with_inodes.reserve(count)
    }

    /// The file system had `old` blocks and has `new` ones, and so many free ones more.
    fn more_is_free(&self, old: u64, new: u64, free: u64) {
        // If it is another number somebody has set it.
        let _ = self
            .pool
            .cmpxchg(default_pool(old), default_pool(new), Relaxed);
        // CAST: Blocks of a device.
        self.free_blocks.add(free as i64);
    }

    /// The block of the table of descriptors with that of a group, if there is one yet.
    pub(in crate::fs) fn table_block(&self, geo: &Geometry, group: u32) -> Option<&BufferHead> {
        self.descs.get(table_index(geo, group))
    }

    /// How many blocks root has, of no more than there are.
    pub(in crate::fs) fn set_root_blocks(&self, geo: &Geometry, blocks: u64) {
        self.root_blocks.set_blocks(blocks.min(geo.blocks_count));
    }
}

/// Makes the last group longer, on disk and in memory, and has `tell` say so in the super block.
/// `next` is the geometry after that.
///
/// Costs [`credits::EXTEND_GROUP`](crate::fs::credits::EXTEND_GROUP). On error nothing has changed,
/// unless the journal is aborted. `EUCLEAN` if the bitmap of the group cannot be believed. On its
/// own for the sake of the stack.
#[inline(never)]
pub(in crate::fs) fn extend_last_group(
    handle: &Handle<'_>,
    sb: &Sb,
    (right, next): (&Growing<'_>, Geometry),
    tell: impl FnOnce(&mut RawSuper),
) -> Result {
    let fs = sb.data();
    let (old, new) = (fs.geo.blocks_count, next.blocks_count);
    let number = fs.geo.groups_count - 1;
    let run = fs.geo.group_blocks(number) as usize..next.group_blocks(number) as usize;
    fs.geo.reserve()?;
    // Before the group's lock: it may wait for a commit.
    let mut block = super_access(handle, fs)?;
    let locked = || {
        let mut locked = LockedGroup::new(sb, number)?;
        if locked.is_bad(BitmapKind::Block) {
            return Err(GroupError::Corrupt("its bitmap is not believed any more"));
        }
        locked.trusting(BitmapKind::Block, |locked| {
            let map = locked.bitmap(BitmapKind::Block)?;
            locked.change(handle, &map, Change::Extend(run.clone()), |_| {
                Ok(change_super(fs, &mut block, tell)?)
            })?;
            Ok(fs.geo.publish(right, next)?)
        })?;
        locked.forget_longest();
        Ok(())
    };
    locked().map_err(|why| why.report(sb, number))?;
    block.finish()?;
    fs.groups.more_is_free(old, new, run.len() as u64);
    Ok(())
}
