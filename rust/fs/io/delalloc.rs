// SPDX-License-Identifier: GPL-2.0

//! Rules 3, 4 and 6: the mappings of buffered writes. Delayed allocation counts each block once
//! (4); a write fault reserves for its folio, or fails (6); a mapping is checked under the folio
//! lock (3).
//!
//! A write into a hole reserves space and no blocks (delalloc): writeback allocates, when it
//! knows how much there is. The lookup that finds the hole and the reservation are one critical
//! section of the extent lock. They must be, for two writers may race to the same hole without
//! sharing any other lock (a write fault has invalidate_lock shared, write(2) i_rwsem), and a block
//! that both reserve is counted twice, and once for ever (race 5).

use super::map;
use crate::{
    disk::{Lblk, LblkRange},
    fs::{
        alloc::{self, Effort},
        extent::{ExtentEntry, State},
        lab::{self, Point},
        rule::{self, Rule},
        Inode, Rext4,
    },
    trace,
    vfs::{
        iomap::{self, Map, MapFlags, MapOps, MapType}, //
    },
};
use core::ops::Range;
use kernel::{
    error::{code::*, Error},
    prelude::*, //
};

/// Blocks reserved by one mapping at most.
const MAX_RESERVE: u32 = 2048;

/// Mappings for writing to the page cache and for zeroing in it.
pub(crate) struct BufferedWriteOps;

#[vtable]
impl MapOps for BufferedWriteOps {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        let blocks = map::lblk_range(inode, bytes.clone())?;
        let look = || lab::may_fail(Point::WriteMap, inode, bytes.clone(), reserve_errors(flags));
        let mut looked = Some(look());
        if matches!(looked, Some(Ok(()))) && fill_written(inode, blocks, flags, map) {
            return Ok(());
        }
        let mut reserve = || {
            looked.take().unwrap_or_else(look)?;
            reserve(inode, blocks, flags, map)
        };
        if flags.nowait() {
            // Who may sleep can make room.
            return reserve().map_err(|e| match e {
                ENOSPC => EAGAIN,
                e => e,
            });
        }
        // For a fault the folio is locked.
        let effort = if flags.fault() {
            Effort::Commit
        } else {
            Effort::Room
        };
        alloc::retry(inode.sb(), effort, reserve)
    }

    fn end(
        inode: &Inode,
        bytes: Range<u64>,
        written: u64,
        flags: MapFlags,
        map: &mut Map,
    ) -> Result {
        lab::point(Point::WriteEnd, inode, bytes.clone());
        // Only what this call reserved, or expects, and only what it did not use. A fault has used
        // it all.
        let unwritten = map.map_type() == MapType::Unwritten;
        let ours = unwritten || map.is_new() && map.map_type() == MapType::Delalloc;
        let short = bytes.start + written < bytes.end;
        if !ours || !flags.write() || flags.fault() || !short {
            return Ok(());
        }
        let rest = iomap::last_written_block(inode, bytes.start, written)..bytes.end;
        if rest.is_empty() {
            return Ok(());
        }
        // A fault may have dirtied a page in the range. It counts on what is there until it is
        // written, also while it is clean and on its way to the disk, which iomap would take for
        // unused. So all of them are written first, and the lock keeps more from coming:
        //
        //   short write                                flusher
        //   has waited for writeback in the range
        //                                              page 1 was dirty: clean, is being written
        //   page 1 is clean: its promise goes
        //
        // What cannot be written is told by fsync.
        let lock = inode.invalidate_lock();
        let _ = inode.write_and_wait(rest.clone());
        if unwritten {
            lock.release_delalloc::<Unexpect>(rest, flags, map);
        } else {
            lock.release_delalloc::<Unreserve>(rest, flags, map);
        }
        Ok(())
    }
}

/// What [`reserve`] may meet, for the lab.
fn reserve_errors(flags: MapFlags) -> &'static [Error] {
    if flags.write() && !flags.nowait() {
        &[EIO, ENOMEM, ENOSPC]
    } else {
        map::lookup_errors(flags)
    }
}

/// Over written blocks nothing is to be reserved, and they stay what they are: who takes them out
/// has i_rwsem and invalidate_lock exclusive, and the caller has one of them. So it takes no lock
/// to know that they are written. Returns whether they are; for a fault, all that the folio has.
fn fill_written(inode: &Inode, blocks: LblkRange, flags: MapFlags, map: &mut Map) -> bool {
    match inode.recent_extent(blocks) {
        Some((found, seq))
            if found.state == State::Written && (!flags.fault() || found.blocks() == blocks) =>
        {
            map::set_map(inode, (found, seq), flags, map);
            true
        }
        _ => false,
    }
}

fn reserve(inode: &Inode, blocks: LblkRange, flags: MapFlags, map: &mut Map) -> Result {
    let mut extents = map::lock(inode, flags)?;
    if flags.fault() && rule::kept(Rule::ReserveAtFault) {
        // Rule 6, all of the folio or nothing: iomap marks it dirty as a whole at its first
        // mapping, and without space for the rest there would be dirty blocks that nobody reserved
        // for. Nothing may fail after it.
        let found = extents.reserve_holes(blocks)?;
        map::fill(&extents, &found, flags, map);
        return Ok(());
    }
    // Rule 4: the lookup and the reservation, under one lock.
    let mut fresh = false;
    let mut found = match extents.entry(blocks)? {
        ExtentEntry::Hole(hole) if flags.write() && !flags.fault() && !hole.is_reserved() => {
            fresh = true;
            hole.reserve(blocks.len().min(MAX_RESERVE))?
        }
        ExtentEntry::Hole(hole) => hole.place(),
        ExtentEntry::Mapped(found) => found,
    };
    if found.state == State::Unwritten && flags.write() {
        found.len = found.len.min(MAX_RESERVE);
        if let Err(e) = extents.expect_write(found.blocks()) {
            if e != ENOSPC || found.len == 1 {
                return Err(e);
            }
            found.len = 1;
            extents.expect_write(found.blocks())?;
        }
    }
    map::fill(&extents, &found, flags, map);
    if fresh {
        map.set_new();
    }
    Ok(())
}

/// Gives back reservations below pages that a short write left clean.
struct Unreserve;

impl iomap::Release for Unreserve {
    type Fs = Rext4;

    fn release(inode: &Inode, bytes: Range<u64>) {
        inode.extents().forget(inside(inode, bytes));
    }
}

/// The same for what is promised to unwritten blocks. The map does not change by it.
struct Unexpect;

impl iomap::Release for Unexpect {
    type Fs = Rext4;

    fn release(inode: &Inode, bytes: Range<u64>) {
        inode.extents().unexpect(inside(inode, bytes));
    }
}

/// The logical blocks that begin in the bytes.
fn inside(inode: &Inode, bytes: Range<u64>) -> LblkRange {
    let block = |byte: u64| Lblk::or_end(byte.div_ceil(inode.fs().geo.block_size.into()));
    block(bytes.start).until(block(bytes.end))
}

#[vtable]
impl iomap::WriteOps for BufferedWriteOps {
    /// Rule 3: the folio is locked.
    fn valid(inode: &Inode, map: &Map) -> bool {
        lab::point(Point::WriteCheck, inode, map.range());
        let valid =
            !rule::kept(Rule::WriteValidity) || map::is_valid(inode, map, trace::write_stale);
        lab::point(Point::WriteChecked, inode, map.range());
        valid
    }

    #[cfg(REXT4_LAB)]
    fn before_folio(inode: &Inode, bytes: Range<u64>) {
        lab::point(Point::WriteGetFolio, inode, bytes);
    }
}
