// SPDX-License-Identifier: GPL-2.0

//! Direct I/O: the mappings, and what follows when a write is done. How it is begun, and under
//! which locks, is in `direct.rs`.

use super::{
    map,
    writeback, //
};
use crate::{
    fs::{
        alloc,
        extent::{self, Extent, ExtentMap, State},
        inode::{self, INODE_CREDITS},
        lab::{self, Point},
        Inode,
        Rext4, //
    },
    vfs::{
        dio,
        iomap::{Map, MapFlags, MapOps},
        nofs::NoFs,
        trace,
        Kiocb, //
    },
};
use kernel::{error::code::*, prelude::*};

/// Blocks allocated by one mapping at most.
const MAX_ALLOCATE: u32 = 8192;

/// Mappings for direct reads.
pub(super) struct ReadOps;

impl MapOps<Rext4> for ReadOps {
    fn begin(inode: &Inode, pos: u64, len: u64, flags: MapFlags, map: &mut Map) -> Result {
        let (lblk, count) = map::blocks(inode, pos, len)?;
        loop {
            {
                let mut extents = inode.node().extents.lock();
                map::check_nowait(&extents, flags)?;
                let found = extent::lookup(inode, &mut extents, lblk, count)?;
                if found.state != State::Delalloc {
                    map::fill(inode, &extents, &found, flags, map);
                    return Ok(());
                }
            }
            // A mapping was dirtied after iomap wrote the range out. Its data is newer than what
            // the disk has, and there is no block yet.
            if flags.nowait() {
                return Err(EAGAIN);
            }
            inode.write_and_wait(pos, pos + len)?;
        }
    }
}

/// Mappings for direct writes.
pub(super) struct WriteOps;

impl MapOps<Rext4> for WriteOps {
    fn begin(inode: &Inode, pos: u64, len: u64, flags: MapFlags, map: &mut Map) -> Result {
        map_write(inode, pos, len, flags, map)?;
        lab::point(Point::DioMapped, inode, pos, len);
        Ok(())
    }
}

/// Finds or makes blocks for a direct write.
fn map_write(inode: &Inode, pos: u64, len: u64, flags: MapFlags, map: &mut Map) -> Result {
    let (lblk, count) = map::blocks(inode, pos, len)?;
    {
        let mut extents = inode.node().extents.lock();
        map::check_nowait(&extents, flags)?;
        let found = extent::lookup(inode, &mut extents, lblk, count)?;
        // Of the request, not of what one mapping can cover: once iomap has taken bytes from the
        // caller's memory, a mapping must not ask to start again.
        let end = (pos + len).div_ceil(1 << inode.fs().geo.block_bits);
        let whole = u64::from(found.lblk) + u64::from(found.len) >= end;
        let usable = match found.state {
            State::Written => !flags.overwrite_only() || whole,
            // Parts of an unwritten block would have to be zeroed, which two writers to one
            // block cannot both do.
            State::Unwritten => !flags.overwrite_only(),
            _ => false,
        };
        let expected = match found.state {
            State::Unwritten if usable => extent::expect(inode, &mut extents, lblk, found.len),
            _ => Ok(()),
        };
        if usable && expected.is_ok() {
            fill(inode, &extents, &found, flags, map);
            return Ok(());
        }
        if flags.overwrite_only() || flags.nowait() {
            return Err(EAGAIN);
        }
    }
    let mut attempts = 0;
    loop {
        match allocate(inode, lblk, count, flags, map) {
            Err(e) if e == ENOSPC && alloc::make_room(inode.sb(), &mut attempts) => (),
            other => return other,
        }
    }
}

fn fill(inode: &Inode, extents: &ExtentMap, found: &Extent, flags: MapFlags, map: &mut Map) {
    map::fill(inode, extents, found, flags, map);
    // O_DSYNC over blocks whose transaction has not committed needs more than the data on disk.
    let tid = inode.node().tid(true);
    if inode.fs().journal().is_some_and(|j| !j.is_committed(tid)) {
        map.set_dirty();
    }
}

/// Allocates unwritten blocks, also over a reservation: the page above it is older than this
/// write, or it races with it and either order is right.
fn allocate(inode: &Inode, lblk: u32, count: u32, flags: MapFlags, map: &mut Map) -> Result {
    let credits = extent::INSERT_CREDITS + alloc::ALLOC_CREDITS + INODE_CREDITS;
    let handle = inode.fs().start(credits)?;
    {
        let mut extents = inode.node().extents.lock();
        let found = extent::lookup(inode, &mut extents, lblk, count)?;
        if matches!(found.state, State::Written | State::Unwritten) {
            if found.state == State::Unwritten {
                extent::expect(inode, &mut extents, lblk, found.len)?;
            }
            fill(inode, &extents, &found, flags, map);
            return Ok(());
        }
        let want = found.len.min(count).min(MAX_ALLOCATE);
        extent::expect(inode, &mut extents, lblk, want)?;
        let new = extent::allocate(&handle, inode, &mut extents, lblk, want, State::Unwritten);
        let got = new.as_ref().map_or(0, |new| new.len);
        if got < want {
            extent::unexpect(inode, &mut extents, lblk + got, want - got);
        }
        let new = new?;
        map::fill(inode, &extents, &new, flags, map);
        map.set_new();
        map.set_dirty();
    }
    inode::journal(&handle, inode)?;
    handle.stop()
}

impl dio::DioOps<Rext4> for WriteOps {
    fn end_io(iocb: &Kiocb<'_, Rext4>, size: u64, error: Result, unwritten: bool) -> Result {
        trace::dio_end_io(iocb.inode(), iocb.pos(), size, error, unwritten);
        let result = finish(iocb, size, error, unwritten);
        lab::detach_cache_again(iocb);
        result
    }

    #[cfg(REXT4_LAB)]
    fn submit(bio: dio::DioBio<Rext4>, pos: u64) {
        lab::hold(bio, pos);
    }
}

/// The data is on disk (or not, with `error`), the page cache not invalidated again yet.
fn finish(iocb: &Kiocb<'_, Rext4>, size: u64, error: Result, unwritten: bool) -> Result {
    error?;
    let (inode, pos) = (iocb.inode(), iocb.pos());
    let end = pos + size;
    if size == 0 || (!unwritten && end <= inode.size() && end <= inode.node().disk_size()) {
        return Ok(());
    }
    // Reclaim must not come back to us: it could need the transaction that waits for us.
    let _nofs = NoFs::enter();
    let new_size = inode.size().max(end);
    // Converted before i_size moves, else a read beyond the old end finds unwritten blocks.
    writeback::finish(inode, pos, size, unwritten, new_size)?;
    let old = inode.size();
    if end > old {
        // Only a write that holds i_rwsem exclusive and waits comes here. What a mapping has
        // stored beyond the old end in its page must not come to light.
        trace::isize_set(inode, end);
        inode.set_size(end);
        inode.isize_extended(old, pos);
    }
    Ok(())
}
