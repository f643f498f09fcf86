// SPDX-License-Identifier: GPL-2.0

//! Inodes: choosing a group, taking a number, giving it back.
//!
//! The bitmap and the table of a group may never have been written. `itable_unused` says how many
//! inodes at the end of the table nobody has ever used: e2fsck does not look at them, and the disk
//! may hold anything there. The first free number of a group is always taken, so the used part
//! grows without holes; the inode is cleared there before its number is taken.

use super::{
    bitmap::{Change, GroupBitmap},
    group::{GroupError, GroupInfo, LockedGroup},
    Groups,
};
use crate::{
    disk::{
        self,
        group::BitmapKind,
        inode::{HEAD_MAX, S_IFDIR, S_IFMT},
        Geometry,
        Ino, //
    },
    fs::{itable::Iloc, Inode, Sb},
    vfs::{bh::BufferHead, jbd2::Handle, random::random_u32},
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// Flex groups looked at to choose one for a directory, so that it takes as long on a disk of 16
/// TiB, which has 8192, as on one of 128 GiB, which has no more than these.
const CHOICE: u32 = 64;

/// Space of a group or a flex group.
#[derive(Clone, Copy, Default)]
struct Stats {
    free_inodes: u64,
    free_blocks: u64,
    dirs: u64,
}

impl Stats {
    fn of(info: &GroupInfo) -> Self {
        Self {
            free_inodes: info.free_inodes.load(Relaxed).into(),
            free_blocks: info.free_blocks.load(Relaxed).into(),
            dirs: info.used_dirs.load(Relaxed).into(),
        }
    }
}

/// The groups taken together when looking for a place: a flex group's tables lie side by side.
struct Flex<'a> {
    groups: &'a Groups,
    count: u32,
    size: u32,
}

impl<'a> Flex<'a> {
    fn new(groups: &'a Groups, geo: &Geometry) -> Self {
        let size = 1u32
            .checked_shl(geo.log_groups_per_flex.into())
            .unwrap_or(1);
        Self {
            groups,
            count: geo.groups_count,
            size,
        }
    }

    fn number(&self) -> u32 {
        self.count.div_ceil(self.size)
    }

    /// The first group of a flex group.
    fn start(&self, flex: u32) -> u32 {
        flex.saturating_mul(self.size).min(self.count)
    }

    fn members(&self, flex: u32) -> core::ops::Range<u32> {
        let first = self.start(flex);
        first..first.saturating_add(self.size).min(self.count)
    }

    fn stats(&self, flex: u32) -> Stats {
        let mut sum = Stats::default();
        for info in self
            .members(flex)
            .filter_map(|group| self.groups.info(group))
        {
            let one = Stats::of(info);
            sum.free_inodes += one.free_inodes;
            sum.free_blocks += one.free_blocks;
            sum.dirs += one.dirs;
        }
        sum
    }

    /// Flex groups to choose from, with their space: one and those behind it.
    fn some_from(&self, first: u32) -> impl Iterator<Item = (u32, Stats)> + '_ {
        let number = self.number();
        // CAST: A remainder of a u32.
        let flex = move |i| ((u64::from(first) + u64::from(i)) % u64::from(number)) as u32;
        (0..number.min(CHOICE))
            .map(flex)
            .map(|flex| (flex, self.stats(flex)))
    }
}

/// Spreads the directories below the root over the disk, others stay near their parent while its
/// flex group has space and not too many directories (Orlov's rule). Returns a flex group.
fn dir_flex(flex: &Flex<'_>, geo: &Geometry, home: u32, top: bool) -> Option<u32> {
    let number = u64::from(flex.number());
    let average = Stats {
        free_inodes: flex.groups.free_inodes.read_positive() / number,
        free_blocks: flex.groups.free_blocks.read_positive() / number,
        dirs: flex.groups.dirs.read_positive() / number,
    };
    if top {
        // CAST: A remainder of a u32.
        let start = (u64::from(random_u32()) % number) as u32;
        return flex
            .some_from(start)
            .filter(|(_, stats)| {
                stats.free_inodes > 0
                    && stats.free_inodes >= average.free_inodes
                    && stats.free_blocks >= average.free_blocks
            })
            .min_by_key(|(_, stats)| stats.dirs)
            .map(|(flex, _)| flex);
    }
    let size = u64::from(flex.size);
    let inodes = u64::from(geo.inodes_per_group) * size;
    let blocks = u64::from(geo.blocks_per_group) * size;
    let max_dirs = average.dirs + inodes / 16;
    let min_inodes = average.free_inodes.saturating_sub(inodes / 4).max(1);
    let min_blocks = average.free_blocks.saturating_sub(blocks / 4);
    flex.some_from(home / flex.size)
        .find(|(_, stats)| {
            stats.dirs < max_dirs
                && stats.free_inodes >= min_inodes
                && stats.free_blocks >= min_blocks
        })
        .map(|(flex, _)| flex)
}

/// Where to start to look for a group with a free inode: at the beginning of a flex group, where
/// inodes are packed. Files go to their directory's.
fn first_group(sb: &Sb, dir: &Inode, is_dir: bool) -> u32 {
    let fs = sb.data();
    let home = fs.geo.inode_group(dir.ino()).map_or(0, |(group, _)| group);
    let flex = Flex::new(&fs.groups, &fs.geo);
    let chosen = if is_dir {
        dir_flex(&flex, &fs.geo, home, dir.ino() == Ino::ROOT)
    } else {
        None
    };
    flex.start(chosen.unwrap_or(home / flex.size))
}

/// Allocates an inode number for a new inode of type and permissions `mode` in directory `dir`.
/// Returns it with a generation.
///
/// The caller writes the inode into the table in the same handle. Nothing old is left there. Costs
/// [`credits::INODE_ALLOC`](crate::fs::credits::INODE_ALLOC). `ENOSPC` if there is none, `EUCLEAN`
/// if a structure was found corrupt and no other group had one.
pub(crate) fn inode(handle: &Handle<'_>, sb: &Sb, dir: &Inode, mode: u16) -> Result<(Ino, u32)> {
    let fs = sb.data();
    let is_dir = mode & S_IFMT == S_IFDIR;
    let first = first_group(sb, dir, is_dir);
    let mut err = ENOSPC;
    for group in fs.groups.with_inodes.around(first, 1) {
        match take_locked(handle, sb, group, is_dir) {
            Ok(Some(ino)) => {
                fs.groups.free_inodes.sub(1);
                if is_dir {
                    fs.groups.dirs.add(1);
                }
                return Ok((ino, random_u32()));
            }
            Ok(None) => (),
            Err(why @ GroupError::Corrupt(_)) => {
                err = why.report(sb, group);
                if handle.is_aborted() {
                    return Err(err);
                }
            }
            Err(GroupError::Other(e)) => return Err(e),
        }
    }
    Err(err)
}

// Of its own, or the frame of who makes a name would hold all that is needed here.
#[inline(never)]
fn take_locked(
    handle: &Handle<'_>,
    sb: &Sb,
    number: u32,
    is_dir: bool,
) -> Result<Option<Ino>, GroupError> {
    let mut locked = LockedGroup::new(sb, number)?;
    if locked.is_bad(BitmapKind::Inode) || locked.group.desc.free_inodes == 0 {
        return Ok(None);
    }
    // A group that has inodes has a block bitmap, too: once its table is in use nobody else
    // would work out anew what the tables take.
    let blocks = if locked.is_uninit(BitmapKind::Block) && !locked.is_bad(BitmapKind::Block) {
        Some(locked.trusting(BitmapKind::Block, |locked| locked.bitmap(BitmapKind::Block))?)
    } else {
        None
    };
    locked
        .trusting(BitmapKind::Inode, |locked| {
            take(locked, handle, blocks, is_dir)
        })
        .map(Some)
}

/// `blocks`: the bitmap of its blocks, if the group is to have one.
fn take(
    locked: &mut LockedGroup<'_>,
    handle: &Handle<'_>,
    blocks: Option<GroupBitmap>,
    is_dir: bool,
) -> Result<Ino, GroupError> {
    let geo = &locked.sb.data().geo;
    let per_group = geo.inodes_per_group;
    let map = locked.bitmap(BitmapKind::Inode)?;
    let bit = map.next_zero(0, per_group as usize);
    // CAST: A bit of one group.
    let index = bit as u32;
    if index >= per_group {
        return Err(GroupError::Corrupt(
            "inode bitmap is full but has free inodes",
        ));
    }
    let ino = u64::from(locked.number) * u64::from(per_group) + u64::from(index) + 1;
    let ino = u32::try_from(ino).map_err(|_| GroupError::Corrupt("inode number out of range"))?;
    let ino = Ino::new(ino);
    if !geo.inode_valid(ino) || ino == Ino::ROOT {
        return Err(GroupError::Corrupt("a reserved inode is marked free"));
    }
    // The last that the disk can refuse; nothing has changed yet, in memory neither.
    let place = Iloc::locate(locked.sb, ino)?;
    let used = if locked.is_uninit(BitmapKind::Inode) {
        0
    } else {
        per_group.saturating_sub(locked.group.desc.itable_unused)
    };
    if index < used && has_links(&place, geo)? {
        return Err(GroupError::Corrupt("an inode with links is marked free"));
    }
    locked.change(handle, &map, Change::Take(bit..bit + 1), |locked| {
        clear_place(&place, geo, handle)?;
        if let Some(map) = blocks {
            locked.create(handle, &map)?;
        }
        let desc = &mut locked.group.desc;
        if is_dir {
            desc.used_dirs += 1;
        }
        if index >= used {
            desc.itable_unused = per_group - index - 1;
        }
        Ok(())
    })?;
    Ok(ino)
}

/// Whether somebody names the inode that lies there: one that was given back has no links.
fn has_links(place: &Iloc, geo: &Geometry) -> Result<bool> {
    let mut raw = [0u8; HEAD_MAX];
    disk::inode::has_links(place.read(geo, &mut raw)?).map_err(|_| EINVAL)
}

/// Clears an inode in its table, before the bitmap says that there is one: who has only its number
/// looks at both ([`fs::export`](crate::fs::export)).
fn clear_place(place: &Iloc, geo: &Geometry, handle: &Handle<'_>) -> Result {
    let mut block = handle.write(place.buffer())?;
    block.zero(place.range(geo))?;
    block.finish()
}

/// Frees the number of a deleted inode of type `mode`. Its memory must not be found any more under
/// that number, or be on its way out (`I_FREEING`).
///
/// Costs [`credits::INODE_FREE`](crate::fs::credits::INODE_FREE). `EUCLEAN` if the number is
/// reserved, out of range or free. In a group whose bitmap is known to be corrupt the number is
/// lost until e2fsck finds it.
pub(crate) fn free_inode(handle: &Handle<'_>, sb: &Sb, ino: Ino, mode: u16) -> Result {
    let fs = sb.data();
    let valid = fs.geo.inode_valid(ino) && ino != Ino::ROOT;
    let place = fs.geo.inode_group(ino).filter(|_| valid);
    let Some((group, index)) = place else {
        return Err(sb.corrupted(fmt!("freeing inode {}, which is reserved", ino)));
    };
    let is_dir = mode & S_IFMT == S_IFDIR;
    free_inode_locked(handle, sb, (group, index), is_dir).map_err(|why| {
        why.report_as(|what| sb.corrupted(fmt!("freeing inode {ino}: group {group}: {what}")))
    })
}

fn free_inode_locked(
    handle: &Handle<'_>,
    sb: &Sb,
    (number, index): (u32, u32),
    is_dir: bool,
) -> Result<(), GroupError> {
    let mut locked = LockedGroup::new(sb, number)?;
    if locked.is_bad(BitmapKind::Inode) {
        return Ok(());
    }
    locked.trusting(BitmapKind::Inode, |locked| {
        let run = index as usize..index as usize + 1;
        let map = locked.in_use(BitmapKind::Inode, &run)?;
        let dirs = locked.group.desc.used_dirs.checked_sub(is_dir.into());
        let dirs = dirs.ok_or(GroupError::Corrupt("fewer directories than it has"))?;
        locked.change(handle, &map, Change::Free(run), |locked| {
            locked.group.desc.used_dirs = dirs;
            Ok(())
        })
    })?;
    locked.groups.free_inodes.add(1);
    if is_dir {
        locked.groups.dirs.sub(1);
    }
    Ok(())
}

/// Reads the bitmap that [`free_inode`] will change, and keeps it in memory. Before the handle:
/// where the disk refuses it, the inode is still on the orphan list. `None` if nothing will be
/// changed. `EUCLEAN` if the bitmap is corrupt or cannot be read.
pub(crate) fn hold_inode_bitmap(sb: &Sb, ino: Ino) -> Result<Option<BufferHead>> {
    let Some((number, _)) = sb.data().geo.inode_group(ino) else {
        return Ok(None);
    };
    let read = || -> Result<Option<BufferHead>, GroupError> {
        let mut locked = LockedGroup::new(sb, number)?;
        if locked.is_bad(BitmapKind::Inode) || locked.is_uninit(BitmapKind::Inode) {
            return Ok(None);
        }
        locked
            .trusting(BitmapKind::Inode, |locked| locked.read(BitmapKind::Inode))
            .map(Some)
    };
    read().map_err(|why| why.report(sb, number))
}

/// Whether the bitmap has an inode number as in use; false if there is no such inode. For numbers
/// that come from outside: orphan lists, file handles. `EUCLEAN` if the bitmap is corrupt.
pub(crate) fn inode_in_use(sb: &Sb, ino: Ino) -> Result<bool> {
    let Some((number, index)) = sb.data().geo.inode_group(ino) else {
        return Ok(false);
    };
    let in_use = || -> Result<bool, GroupError> {
        let mut locked = LockedGroup::new(sb, number)?;
        if locked.is_bad(BitmapKind::Inode) {
            return Err(EUCLEAN.into());
        }
        if locked.is_uninit(BitmapKind::Inode) {
            return Ok(false);
        }
        let map = locked.trusting(BitmapKind::Inode, |locked| locked.read(BitmapKind::Inode))?;
        Ok(map.test_bit(index as usize))
    };
    in_use().map_err(|why| why.report(sb, number))
}
