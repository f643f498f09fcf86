// SPDX-License-Identifier: GPL-2.0

//! Rules 4 and 7: the mappings of direct I/O, what is promised for them (4), and what follows when
//! a write is done (7). How it is begun, and under which locks, is in [`super`].

use crate::{
    disk::Lblk,
    fs::{
        alloc::{self, Effort},
        extent::{Extents, Mapping, State},
        inode::Durable,
        io::{
            allocate::{self, For},
            gate,
            map,
            pinned,
            writeback, //
        },
        lab::{self, Point},
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    trace,
    vfs::{
        dio::{self, Ended, MaySleep},
        iomap::{Map, MapFlags, MapOps},
        nofs::NoFs,
        pagemap::InvalidateLock,
        Kiocb, //
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Mappings for direct reads.
pub(super) struct DirectReadOps;

#[vtable]
impl MapOps for DirectReadOps {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        fill_for_read(inode, bytes.clone(), flags, map)?;
        lab::point(Point::DioReadMapped, inode, bytes);
        Ok(())
    }
}

/// Finds the blocks for a direct read.
fn fill_for_read(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
    let blocks = map::lblk_range(inode, bytes.clone())?;
    if map::fill_recent(inode, blocks, flags, map) {
        return Ok(());
    }
    let mut flushed = None;
    loop {
        lab::may_fail(
            Point::DioReadMap,
            inode,
            bytes.clone(),
            map::lookup_errors(flags),
        )?;
        let seq = {
            let mut extents = map::lock(inode, flags)?;
            let found = extents.lookup(blocks)?;
            if found.state != State::Reserved {
                map::fill(&extents, &found, flags, map);
                return Ok(());
            }
            extents.seq()
        };
        // A mapping was dirtied after iomap wrote the range out. Its data is newer than what
        // the disk has, and there is no block yet.
        if flags.nowait() {
            return Err(EAGAIN);
        }
        // Writing it out has changed nothing: there is no page. What it was for is lost.
        if flushed == Some(seq) {
            return Err(EIO);
        }
        lab::may_fail(Point::DioReadFlush, inode, bytes.clone(), &[EINTR])?;
        if inode.interrupted() {
            return Err(EINTR);
        }
        flushed = Some(seq);
        // A write fault may have reserved and not dirtied its page yet. It does so before it
        // lets go of this lock.
        drop(inode.invalidate_lock());
        inode.write_and_wait(bytes.clone())?;
    }
}

/// Mappings for direct writes.
pub(super) struct DirectWriteOps;

#[vtable]
impl MapOps for DirectWriteOps {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        let end = bytes.end;
        map_write(inode, bytes.start, MapRequest { end, flags }, map)?;
        if flags.whole() {
            // One block, so it is all of the request.
            map.set_whole();
        }
        lab::point(Point::DioMapped, inode, bytes);
        Ok(())
    }

    fn cache_dropped(_: &Inode) {
        pinned::end_drop();
    }
}

/// What iomap asks for.
#[derive(Clone, Copy)]
struct MapRequest {
    /// The byte at which the request ends.
    end: u64,
    flags: MapFlags,
}

impl MapRequest {
    /// Whether it can be written over these blocks, as far as its flags go.
    fn is_met_by(&self, inode: &Inode, found: &Mapping) -> bool {
        // Of the request, not of what one mapping can cover: once iomap has taken bytes from the
        // caller's memory, a mapping must not ask to start again, nor say that nothing was done.
        let end = || self.end.div_ceil(1 << inode.fs().geo.block_bits);
        let whole = self.flags.overwrite_only() || self.flags.nowait();
        !whole || u64::from(found.lblk) + u64::from(found.len) >= end()
    }
}

/// Finds or makes blocks for a direct write.
fn map_write(inode: &Inode, pos: u64, request: MapRequest, map: &mut Map) -> Result {
    let flags = request.flags;
    let blocks = map::lblk_range(inode, pos..request.end)?;
    // Written blocks stay what they are: who removes them has i_rwsem exclusive, and waits for
    // direct I/O. So it takes no lock to know that they are written.
    if let Some((found, seq)) = inode.recent_extent(blocks) {
        if found.state == State::Written && request.is_met_by(inode, &found) {
            map::set_map(inode, (found, seq), flags, map);
            mark_dirty(inode, request, map);
            return Ok(());
        }
    }
    let bytes = pos..request.end;
    lab::may_fail(Point::DioMap, inode, bytes, map::lookup_errors(flags))?;
    {
        let mut extents = map::lock(inode, flags)?;
        let found = extents.lookup(blocks)?;
        let usable = match found.state {
            State::Written => request.is_met_by(inode, &found),
            // Parts of an unwritten block would have to be zeroed, which two writers to one
            // block cannot both do.
            State::Unwritten => !flags.overwrite_only() && request.is_met_by(inode, &found),
            _ => false,
        };
        let expected = match found.state {
            State::Unwritten if usable => extents.expect_direct(flags.request(), found.blocks()),
            _ => Ok(()),
        };
        if usable && expected.is_ok() {
            fill_for_write(&extents, &found, request, map);
            return Ok(());
        }
        if flags.overwrite_only() || flags.nowait() {
            return Err(EAGAIN);
        }
    }
    let direct = For::Direct(flags.request());
    alloc::retry(inode.sb(), Effort::Room, || {
        let want = blocks.first(allocate::MAX);
        allocate::unwritten(inode, want, direct, |extents, found, new| {
            if new {
                map::fill(extents, found, flags, map);
                map.set_new();
                map.set_dirty();
            } else {
                fill_for_write(extents, found, request, map)
            }
        })
    })
    .map(drop)
}

/// Fills the mapping with blocks that are there.
fn fill_for_write(extents: &Extents<'_>, found: &Mapping, request: MapRequest, map: &mut Map) {
    let inode = extents.inode();
    map::fill(extents, found, request.flags, map);
    mark_dirty(inode, request, map);
}

/// O_DSYNC needs more than the data on disk over blocks whose transaction has not committed, and
/// where the completion moves the size. Without the flag iomap makes do with a FUA write.
fn mark_dirty(inode: &Inode, request: MapRequest, map: &mut Map) {
    if request.flags.dsync() && !is_durable(inode, request.end) {
        map.set_dirty();
    }
}

/// Whether the data up to byte `end` is durable once it is on disk: no transaction is waited for,
/// and the size on disk is not before that.
///
/// Who has found the blocks written, with the extent lock or without, sees the transaction that
/// they were converted in: it is noted before they can be found. So is that which has moved the
/// size, so the size is looked at first:
///
/// ```text
///   a write within the old end's block       a writeback behind it completes
///   --------------------------------------   --------------------------------------
///   (its transaction: committed)
///                                            notes its transaction
///                                            the size on disk is beyond the write
///   (the size: not beyond)
///   durable, though the size is not
/// ```
pub(in crate::fs::io) fn is_durable(inode: &Inode, end: u64) -> bool {
    if is_beyond(inode, end) {
        return false;
    }
    inode.fs().journal().is_none_or(|j| {
        // One that failed counts as over, too.
        j.is_committed(inode.info().tid(Durable::Data, j)) && !j.is_aborted()
    })
}

#[vtable]
impl dio::DioOps for DirectWriteOps {
    /// Whether the write changed data only. Of what iomap does not send to a worker or make wait
    /// this is true: [`super`] makes a write wait that ends beyond either size, and neither
    /// of them gets smaller while a direct write is in flight.
    fn is_done(iocb: &Kiocb<'_, Rext4>, ended: &Ended) -> bool {
        let (inode, pos) = (iocb.inode(), iocb.pos());
        let (size, error, unwritten) = (ended.size, ended.error, ended.unwritten);
        trace::dio_end_io(inode, pos, ended);
        error.is_ok() && !unwritten && (size == 0 || !is_beyond(inode, pos + size))
    }

    fn end_io(iocb: &Kiocb<'_, Rext4>, ended: &Ended, context: &MaySleep) -> Result {
        let bytes = iocb.pos()..iocb.pos() + ended.size;
        // For the lab: the device has failed.
        let failed = lab::may_fail(Point::DioEndIo, iocb.inode(), bytes, &[EIO]);
        let result = match ended.error.and(failed) {
            Ok(()) if ended.size > 0 => complete_write(iocb, ended, context),
            other => other,
        };
        // Rule 4, whatever has become of it: a write that failed keeps no space.
        iocb.inode().extents().land(iocb.id(), Lblk::FIRST);
        result
    }

    fn dropping_cache(_: &Inode) -> Result {
        pinned::begin_drop()
    }

    #[cfg(REXT4_LAB)]
    fn submit(bio: dio::DioBio<Rext4>, pos: u64) {
        lab::hold_bio(bio, pos);
    }

    #[cfg(REXT4_LAB)]
    fn before_invalidate(iocb: &Kiocb<'_, Rext4>) {
        lab::detach_cache_again(iocb);
    }
}

/// Whether `end` lies beyond the size in memory or that on disk, which trails it while appended
/// data waits for writeback, and stays behind when that has failed: a write up to there has a size
/// to move.
pub(in crate::fs::io) fn is_beyond(inode: &Inode, end: u64) -> bool {
    end > inode.size() || end > inode.info().disk_size()
}

/// The data is on disk, the page cache not invalidated again yet.
fn complete_write(iocb: &Kiocb<'_, Rext4>, ended: &Ended, context: &MaySleep) -> Result {
    let (inode, pos) = (iocb.inode(), iocb.pos());
    let end = pos + ended.size;
    // Reclaim must not come back to us: it could need the transaction that waits for us.
    let _nofs = NoFs::enter();
    // Rule 7: converted before i_size moves, else a read beyond the old end finds unwritten blocks.
    let old = inode.size();
    let result = writeback::complete_io(inode, pos..end, ended.unwritten, old.max(end));
    // What fails half way has moved the size on disk behind the last that did not, and that in
    // memory follows: nobody expects data of a file behind its end.
    let end = match result {
        Ok(()) => end,
        Err(_) => end.min(inode.info().disk_size()),
    };
    if end > old {
        grow(iocb, end, context);
    }
    result
}

/// Drops the pages of the bytes, among them that of the old end. One that a mapping has stored to
/// is dirty as a whole, with zeros where the new blocks are, and stays: those would be read, and
/// written over what is on the disk.
///
/// ```text
///   direct append of block 1                   store to block 0, by a mapping
///   ------------------------                   ------------------------------
///   drops the page, writes to the disk
///                                              the page is filled: zeros behind the end
///                                              all of its blocks are dirty
///   the page cannot be dropped
///   i_size moves
///                                              writeback: block 0, and zeros to block 1
/// ```
///
/// So it is written while the end is still the old one, which writes block 0 and no more, and then
/// goes: under the lock nobody stores again before the size has moved. Where the write begins
/// before the old end this writes over what it wrote there, as any writeback of the page would:
/// that is race 11, where iomap has fsync say so, as this does. Nor is there a way where the old
/// end is inside of a block of the write: race 11, too, and `dio_gate` has the answer. Nor where a
/// device has the page pinned: clean, it would leave the file with what comes (race 26). So no
/// other page is written.
fn drop_old_page(old: u64, bytes: Range<u64>, pages: Option<&InvalidateLock<'_, Rext4>>) {
    let Some(pages) = pages else {
        return;
    };
    let inode = pages.inode();
    let block = 1 << inode.fs().geo.block_bits;
    let apart = old % block == 0 || old.next_multiple_of(block) <= bytes.start;
    let last = old.saturating_sub(1);
    if apart && !pages.is_pinned_at(last) {
        // What cannot be written is told by fsync, and what stays then, too: by iomap.
        let _ = inode.write_and_wait(last..last + 1);
        let _ = inode.invalidate_pagecache(bytes.clone());
        if bytes.start < old {
            inode.set_data_lost();
        }
    }
}

/// Rule 7: the file grows to `end` by a direct write, which holds i_rwsem exclusive and waits. A
/// reader may have filled the page of the old end meanwhile, with zeros behind it: it goes before
/// the size moves, and under invalidate_lock it is not filled again until then. Else the zeros are
/// read as the new data (race 25).
fn grow(iocb: &Kiocb<'_, Rext4>, end: u64, context: &MaySleep) {
    let (inode, bytes) = (iocb.inode(), iocb.pos()..end);
    let old = inode.size();
    // Below a closed gate nobody fills it either, and who waits there may hold the lock.
    let open = gate::may_fill(inode, bytes.clone());
    let pages = open.then(|| inode.invalidate_lock());
    if rule::kept(Rule::AppendInvalidate) {
        if inode.invalidate_pagecache(bytes.clone()).is_err() {
            drop_old_page(old, bytes.clone(), pages.as_ref());
        }
    }
    lab::point(Point::DioGrow, inode, bytes.clone());
    trace::isize_set(inode, bytes.end);
    context.set_size(iocb, bytes.end);
    // What a mapping has stored beyond the old end in its page must not come to light.
    inode.isize_extended(old, bytes.start);
    drop(pages);
}
