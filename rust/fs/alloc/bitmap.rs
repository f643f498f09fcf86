// SPDX-License-Identifier: GPL-2.0

//! The two bitmaps of a group: read and checked, changed, or not believed any more.
//!
//! What is said here goes for blocks and for inodes; what only one of them has is in
//! [`super::balloc`] and [`super::ialloc`].

use super::group::{GroupError, LockedGroup};
use crate::{
    disk::{
        bitmap,
        group::{self, csum_bytes, BitmapKind, BLOCK_UNINIT, INODE_UNINIT},
        Corrupt,
    },
    vfs::{
        bh::BufferHead,
        gfp::GFP_NOFAIL,
        jbd2::{Handle, JournaledBuffer}, //
    },
};
use core::ops::Range;
use kernel::{prelude::*, sync::atomic::Relaxed};

/// A bitmap of a group that was found right.
pub(super) struct GroupBitmap {
    which: BitmapKind,
    bits: Bits,
}

/// Where it is.
enum Bits {
    Disk(BufferHead),
    /// The disk has none; this is what it will be at its first use.
    Initial(KVec<u8>),
}

impl GroupBitmap {
    /// The first clear bit in `start..end`; `end` if there is none.
    pub(super) fn next_zero(&self, start: usize, end: usize) -> usize {
        match &self.bits {
            Bits::Disk(bh) => bh.find_next_zero_bit(end, start),
            Bits::Initial(map) => bitmap::next_zero(map, start, end).unwrap_or(end),
        }
    }

    /// The first set bit in `start..end`; `end` if there is none.
    pub(super) fn next_set(&self, start: usize, end: usize) -> usize {
        match &self.bits {
            Bits::Disk(bh) => bh.find_next_bit(end, start),
            Bits::Initial(map) => bitmap::next_set(map, start, end).unwrap_or(end),
        }
    }
}

/// What becomes of bits.
pub(super) enum Change {
    /// They are free, and will be in use.
    Take(Range<usize>),
    /// They are in use, and will be free.
    Free(Range<usize>),
    /// They were behind the end of the group, and will be free.
    Extend(Range<usize>),
}

impl LockedGroup<'_> {
    /// Whether a bitmap was never written.
    pub(super) fn is_uninit(&self, which: BitmapKind) -> bool {
        self.has_flag(uninit_flag(which))
    }

    /// Whether a bitmap was found to be corrupt.
    pub(super) fn is_bad(&self, which: BitmapKind) -> bool {
        match which {
            BitmapKind::Block => self.group.blocks_bad,
            BitmapKind::Inode => self.group.inodes_bad,
        }
    }

    /// Looks at a bitmap, or changes it. If that finds corruption, the bitmap is taken for corrupt
    /// from now on, and what is free in it goes out of the totals.
    pub(super) fn trusting<T>(
        &mut self,
        which: BitmapKind,
        act: impl FnOnce(&mut Self) -> Result<T, GroupError>,
    ) -> Result<T, GroupError> {
        let result = act(self);
        if let Err(GroupError::Corrupt(_)) = result {
            self.set_bad(which);
        }
        result
    }

    fn set_bad(&mut self, which: BitmapKind) {
        let group = &mut *self.group;
        let (bad, total, free, copy) = match which {
            BitmapKind::Block => (
                &mut group.blocks_bad,
                &self.groups.free_blocks,
                group.desc.free_blocks,
                &self.info.free_blocks,
            ),
            BitmapKind::Inode => (
                &mut group.inodes_bad,
                &self.groups.free_inodes,
                group.desc.free_inodes,
                &self.info.free_inodes,
            ),
        };
        if !core::mem::replace(bad, true) {
            // Also those that are held: until their data fails, and the promise of it goes, they
            // are as much promised as lost.
            total.sub(free.into());
            if which == BitmapKind::Block {
                self.groups.lost.store(true, Relaxed);
            }
            copy.store(0, Relaxed);
        }
    }

    /// How many bits a bitmap has.
    fn count(&self, which: BitmapKind) -> u32 {
        match which {
            BitmapKind::Block => self.geo().group_blocks(self.number),
            BitmapKind::Inode => self.geo().inodes_per_group,
        }
    }

    /// How many of them are free, as the descriptor has it.
    fn free(&self, which: BitmapKind) -> u32 {
        match which {
            BitmapKind::Block => self.group.desc.free_blocks,
            BitmapKind::Inode => self.group.desc.free_inodes,
        }
    }

    fn set_free(&mut self, which: BitmapKind, free: u32) {
        let desc = &mut self.group.desc;
        match which {
            BitmapKind::Block => desc.free_blocks = free,
            BitmapKind::Inode => desc.free_inodes = free,
        }
    }

    /// A bitmap, checked.
    pub(super) fn bitmap(&self, which: BitmapKind) -> Result<GroupBitmap, GroupError> {
        let bits = if self.is_uninit(which) {
            Bits::Initial(self.initial(which)?)
        } else {
            Bits::Disk(self.read(which)?)
        };
        Ok(GroupBitmap { which, bits })
    }

    /// A bitmap, checked, in which all of `run` is in use.
    pub(super) fn in_use(
        &self,
        which: BitmapKind,
        run: &Range<usize>,
    ) -> Result<GroupBitmap, GroupError> {
        if self.is_uninit(which) {
            return Err(GroupError::Corrupt(
                "nothing can be in use in an unused group",
            ));
        }
        let map = self.bitmap(which)?;
        if map.next_zero(run.start, run.end) < run.end {
            return Err(GroupError::Corrupt("free already"));
        }
        Ok(map)
    }

    /// A bitmap as it is before its first use: nothing but metadata, or nothing.
    fn initial(&self, which: BitmapKind) -> Result<KVec<u8>, GroupError> {
        let geo = self.geo();
        let mut map = KVec::zeroed(geo.block_size as usize, GFP_NOFAIL)?;
        let free = match which {
            BitmapKind::Block => {
                let first = geo.group_first_block(self.number).get();
                let end = first + u64::from(self.count(which));
                let zones = self.groups.zones.within(first, end);
                group::initial_block_bitmap(geo, self.number, &mut map, zones)?
            }
            BitmapKind::Inode => {
                group::initial_inode_bitmap(geo, &mut map);
                self.count(which)
            }
        };
        if free != self.free(which) {
            return Err(GroupError::Corrupt(match which {
                BitmapKind::Block => "wrong number of free blocks in an unused group",
                BitmapKind::Inode => "wrong number of free inodes in an unused group",
            }));
        }
        Ok(map)
    }

    /// The buffer of a bitmap, read and checked. Not for a group that has none yet.
    pub(super) fn read(&self, which: BitmapKind) -> Result<BufferHead, GroupError> {
        let block = match which {
            BitmapKind::Block => self.group.desc.block_bitmap,
            BitmapKind::Inode => self.group.desc.inode_bitmap,
        };
        // Counts as corruption, so that the other groups go on working. That is also for the one
        // read that cannot come before all changes: which groups the blocks lie in that a removal
        // frees is known when they are taken out of the tree. Then they are in use on the disk, and
        // e2fsck is due.
        let bh = self
            .sb
            .bread(block)
            .map_err(|_| GroupError::Corrupt("cannot read its bitmap"))?;
        if !bh.is_verified() {
            if self.verify(&bh, which)? != self.free(which) {
                return Err(GroupError::Corrupt(match which {
                    BitmapKind::Block => "block bitmap and descriptor disagree on free blocks",
                    BitmapKind::Inode => "inode bitmap and descriptor disagree on free inodes",
                }));
            }
            bh.set_verified();
        }
        Ok(bh)
    }

    /// Checks a bitmap that has just been read; returns the number of clear bits.
    fn verify(&self, bh: &BufferHead, which: BitmapKind) -> Result<u32, GroupError> {
        let (geo, bits) = (self.geo(), self.count(which));
        let mut map = KVec::zeroed(bh.size(), GFP_NOFAIL)?;
        bh.copy_out(0, &mut map)?;
        self.group
            .desc
            .check_bitmap(geo, self.number, which, &map)?;
        if which == BitmapKind::Block {
            // `check_bitmap` knows the group's own metadata; with flex_bg others' lie here too.
            let first = geo.group_first_block(self.number).get();
            for (start, len) in self.groups.zones.within(first, first + u64::from(bits)) {
                // CAST: Relative to the group, both are smaller than 2^32.
                let bit = (start - first) as usize;
                if bitmap::next_zero(&map, bit, bit + len as usize).is_some() {
                    return Err(Corrupt::BlockBitmapMetadata.into());
                }
            }
        }
        // CAST: At most the number of bits in a block.
        Ok(bitmap::count_zeros(&map, bits as usize) as u32)
    }

    /// Changes a bitmap, and brings the count, the checksums and the copies outside of the lock up
    /// to date. `also` is done in the same step, before any bit changes: where it fails, none does.
    ///
    /// The totals of all groups are the caller's.
    pub(super) fn change(
        &mut self,
        handle: &Handle<'_>,
        map: &GroupBitmap,
        change: Change,
        also: impl FnOnce(&mut Self) -> Result<(), GroupError>,
    ) -> Result<(), GroupError> {
        let which = map.which;
        let free = self.free_after(which, &change)?;
        // Access to both before anything changes: what fails then leaves everything as it was.
        let (bh, off) = self.groups.desc_buffer(self.geo(), self.number)?;
        let mut desc = handle.write(bh)?;
        let mut buf = self.access(handle, map)?;
        also(self)?;
        match change {
            Change::Take(run) => buf.set_bits(run)?,
            Change::Free(run) | Change::Extend(run) => buf.clear_bits(run)?,
        }
        self.set_free(which, free);
        self.set_csum(&buf, which);
        self.store(&mut desc, off)?;
        buf.finish()?;
        desc.finish()?;
        Ok(())
    }

    /// Frees blocks, as [`LockedGroup::change`], of several runs one after the other: those that
    /// `bits` makes of `runs`, until it has none, or one is not all in use. Returns how many, and
    /// of how many blocks.
    pub(super) fn free_each<R>(
        &mut self,
        handle: &Handle<'_>,
        map: &GroupBitmap,
        (runs, bits): (
            impl Iterator<Item = R>,
            impl Fn(&Self, R) -> Option<Range<usize>>,
        ),
    ) -> Result<(usize, u32), GroupError> {
        let (bh, off) = self.groups.desc_buffer(self.geo(), self.number)?;
        let mut desc = handle.write(bh)?;
        let mut buf = self.access(handle, map)?;
        let before = self.free(map.which);
        let mut done = 0;
        for run in runs {
            let Some(run) = bits(self, run) else { break };
            let is_free = map.next_zero(run.start, run.end) < run.end;
            let Ok(free) = self.free_after(map.which, &Change::Free(run.clone())) else {
                break;
            };
            if is_free {
                break;
            }
            self.note_freed(handle.tid(), &run);
            // Never an error: they are bits of the group.
            buf.clear_bits(run)?;
            self.set_free(map.which, free);
            done += 1;
        }
        if done > 0 {
            self.set_csum(&buf, map.which);
            self.store(&mut desc, off)?;
            buf.finish()?;
            desc.finish()?;
        }
        Ok((done, self.free(map.which) - before))
    }

    /// How many bits are free after a change.
    fn free_after(&self, which: BitmapKind, change: &Change) -> Result<u32, GroupError> {
        // CAST: Bits of one group.
        let (free, wrong) = match change {
            Change::Take(run) => (
                self.free(which).checked_sub(run.len() as u32),
                "less is free than its bitmap has",
            ),
            Change::Free(run) => (
                Some(self.free(which) + run.len() as u32).filter(|free| *free <= self.count(which)),
                "more is free than it has",
            ),
            // It has more when this is done.
            Change::Extend(run) => (
                self.free(which).checked_add(run.len() as u32),
                "more is free than there can be",
            ),
        };
        free.ok_or(GroupError::Corrupt(wrong))
    }

    /// Writes a bitmap that the disk has none of yet, without a change.
    pub(super) fn create(
        &mut self,
        handle: &Handle<'_>,
        map: &GroupBitmap,
    ) -> Result<(), GroupError> {
        let buf = self.access(handle, map)?;
        self.set_csum(&buf, map.which);
        buf.finish()?;
        Ok(())
    }

    /// Journal access to a bitmap, which is on the way to the disk after this.
    fn access<'h>(
        &mut self,
        handle: &'h Handle<'_>,
        map: &GroupBitmap,
    ) -> Result<JournaledBuffer<'h>, GroupError> {
        let bits = match &map.bits {
            Bits::Disk(bh) => return Ok(handle.write(bh)?),
            Bits::Initial(bits) => bits,
        };
        let geo = self.geo();
        let desc = &mut self.group.desc;
        let block = match map.which {
            BitmapKind::Block => desc.block_bitmap,
            BitmapKind::Inode => desc.inode_bitmap,
        };
        let bh = self.sb.getblk(block)?;
        let mut buf = handle.create(&bh)?;
        buf.copy_in(0, bits)?;
        desc.flags &= !uninit_flag(map.which);
        if map.which == BitmapKind::Inode {
            // None of the table has been written either.
            desc.itable_unused = geo.inodes_per_group;
        }
        Ok(buf)
    }

    /// Puts a changed bitmap's checksum into the descriptor.
    fn set_csum(&mut self, map: &BufferHead, which: BitmapKind) {
        let geo = self.geo();
        if geo.has_metadata_csum {
            let crc = map.crc32c(geo.csum_seed, 0..csum_bytes(geo, which));
            self.group.desc.set_bitmap_csum(geo, which, crc);
        }
    }
}

fn uninit_flag(which: BitmapKind) -> u16 {
    match which {
        BitmapKind::Block => BLOCK_UNINIT,
        BitmapKind::Inode => INODE_UNINIT,
    }
}
