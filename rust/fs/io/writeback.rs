// SPDX-License-Identifier: GPL-2.0

//! Rules 2, 3, 10 and 14: dirty folios to blocks, and what follows when they are on disk.
//!
//! Blocks are allocated *unwritten*: they read as zeros until the data is there. When the I/O is
//! done, one handle converts them and moves the size on disk. A crash in between shows zeros or
//! the old size, never what the blocks held before.
//!
//! The mapping of one folio serves the next ones too, and between two folios anything may happen to
//! the extents: what is written to a block that was punched meanwhile destroys another file's data
//! (race 2).
//!
//! So the mapping is checked for each range ([`map::is_valid`]): the folio in hand is locked and
//! under writeback, hence its own blocks cannot go while it is used.

use super::{
    allocate::{self, For},
    map, //
};
use crate::{
    disk::{Lblk, LblkRange},
    fs::{
        alloc::{self, Effort},
        credits,
        extent::{Extents, Mapping, State},
        inode,
        lab::{self, Point},
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    trace,
    vfs::{
        iomap::{Map, MapFlags, MapType},
        writeback::{DirtyBytes, Writeback}, //
    },
};
use core::{cell::Cell, ops::Range};
use kernel::{error::code::*, prelude::*};

#[vtable]
impl Writeback for Rext4 {
    type Fs = Self;

    /// Rule 3: what the folio before was mapped to is used again only if it is still true.
    fn map_blocks(inode: &Inode, bytes: &DirtyBytes<'_>, map: &mut Map) -> Result {
        let Range { start, end } = bytes.range();
        trace::writeback_range(inode, start, end - start);
        // After an abort nothing is written any more, over blocks that are mapped neither.
        super::check_writable(inode)?;
        lab::may_fail(Point::WritebackMap, inode, start..end, &[EIO])?;
        if is_usable(inode, start, map) {
            lab::point(Point::WritebackUsable, inode, start..end);
            return Ok(());
        }
        lab::point(Point::WritebackLookup, inode, start..end);
        let dirty = map::lblk_range(inode, start..end)?;
        // Not behind the end of the file: what a write has reserved there and has not copied yet
        // may never come, and blocks that nobody gives back would be a leak. The size moves before
        // the folio can be written.
        let bits = inode.fs().geo.block_bits;
        let size = Lblk::or_end(inode.size().div_ceil(1 << bits)).max(dirty.end);
        let more = dirty.start.until(size).first(allocate::MAX);
        let effort = {
            let mut extents = inode.extents();
            let mut found = extents.lookup(more)?;
            // Rule 10: folios become dirty as a whole, also where nothing was stored and nobody
            // reserved. Zeros are what a hole reads as. Who stores without a fault (a device that
            // pinned the page) makes the folio dirty again when that is done.
            let block_size = 1 << inode.fs().geo.block_bits;
            let nothing = found.state == State::Hole
                && (bytes.start_is_zero(block_size) || !rule::kept(Rule::FillUnreserved));
            if nothing {
                found.len = 1;
            }
            announce(&mut extents, &mut found, dirty);
            if nothing || matches!(found.state, State::Written | State::Unwritten) {
                map::fill(&extents, &found, MapFlags::WRITEBACK, map);
                drop(extents);
                lab::point(Point::WritebackMapped, inode, start..end);
                return Ok(());
            }
            // What nobody has reserved has no promise that comes true in the end: a try takes the
            // last block, finds none for a node, and gives back what the next one waits for.
            if found.state == State::Reserved {
                Effort::accepted(inode)
            } else {
                Effort::Commit
            }
        };
        alloc::retry(inode.sb(), effort, || {
            allocate::unwritten(inode, more, For::Writeback, |extents, found, _| {
                if found.state == State::Unwritten && extents.holds_blocks() {
                    extents.begin_writing(found.blocks().first(dirty.len()));
                }
                map::fill(extents, found, MapFlags::WRITEBACK, map);
            })
            .inspect_err(|e| {
                if *e == ENOSPC {
                    lab::point(Point::NoSpace, inode, start..end);
                }
            })
        })
        .map(drop)
    }

    /// Rule 14, without which what is written is not encrypted.
    #[cfg(REXT4_LAB)]
    fn writes_plain(_: &Inode) -> bool {
        !rule::kept(Rule::Encrypt)
    }

    #[cfg(REXT4_LAB)]
    fn added(inode: &Inode, bytes: Range<u64>) {
        lab::point(Point::WritebackAdded, inode, bytes);
    }

    fn discard(inode: &Inode, bytes: Range<u64>) {
        let bits = inode.fs().geo.block_bits;
        let first = Lblk::or_end(bytes.start >> bits);
        let end = Lblk::or_end(bytes.end.div_ceil(1 << bits));
        let mut extents = inode.extents();
        // As below: who has asked by now, and makes the page dirty later, counts on it.
        inode.info().set_lost_data();
        extents.end_writing(first.until(end));
        extents.forget(first.until(end));
    }

    fn may_submit(inode: &Inode) -> bool {
        super::check_writable(inode).is_ok()
    }

    fn needs_completion(inode: &Inode, unwritten: bool, end: u64) -> bool {
        unwritten || end > inode.info().disk_size()
    }

    fn complete(inode: &Inode, bytes: Range<u64>, unwritten: bool) -> Result {
        trace::writeback_end_io(inode, bytes.start, bytes.end - bytes.start);
        complete_io(inode, bytes.clone(), unwritten, inode.size())?;
        if unwritten && inode.has_block_map() {
            inode.extents().end_writing(map::lblk_range(inode, bytes)?);
        }
        Ok(())
    }

    /// A page that somebody has made dirty again meanwhile counted on the same promise, and neither
    /// its lock may be taken here nor can its flag be trusted without:
    ///
    /// ```text
    ///   completion, of an error                    write fault
    ///                                              block 3 is unwritten, and expects data: nothing
    ///                                                is to be promised
    ///   takes the promise back
    ///                                              dirties the page
    /// ```
    ///
    /// So from now on writeback asks again for each unwritten block of this inode.
    fn failed(inode: &Inode, bytes: Range<u64>) {
        let Ok(blocks) = map::lblk_range(inode, bytes.clone()) else {
            return;
        };
        lab::point(Point::WritebackFailed, inode, bytes);
        let mut extents = inode.extents();
        inode.info().set_lost_data();
        extents.end_writing(blocks);
        extents.unexpect(blocks);
    }
}

/// The dirty blocks are about to be written where they were found.
fn announce(extents: &mut Extents<'_>, found: &mut Mapping, dirty: LblkRange) {
    if found.state != State::Unwritten {
        return;
    }
    if extents.holds_blocks() {
        // Also for data that nobody announced (rule 10): else they may be given back.
        found.len = found.len.min(dirty.len());
        extents.begin_writing(found.blocks());
    } else if extents.inode().info().has_lost_data() {
        found.len = found.len.min(dirty.len());
        // Most often it is promised already. Without it the pool has to do.
        let _ = extents.expect_write(found.blocks());
    }
}

/// Whether what the folio before was mapped to will do for byte `pos`, too: rule 3.
fn is_usable(inode: &Inode, pos: u64, map: &Map) -> bool {
    let has_block = match map.map_type() {
        // After an error nobody may have asked for what it needs, and what is held has to be told.
        MapType::Unwritten => !inode.info().has_lost_data() && !inode.has_block_map(),
        kind => kind == MapType::Mapped,
    };
    let valid = || {
        !rule::kept(Rule::WritebackValidity) || map::is_valid(inode, map, trace::writeback_stale)
    };
    has_block && map.range().contains(&pos) && valid()
}

/// Rule 2: the bytes are on disk. Converts what is unwritten and moves the size on disk
/// up to `size`, in the same handles, so that neither is ever seen without the other.
///
/// What there is no room for takes nothing along: one write, or writes that the page cache has
/// merged, may begin with what was not promised any and go on with what was. The size moves with
/// that, too; what is lost is zeros, and `ENOSPC` says so in the end.
pub(super) fn complete_io(inode: &Inode, bytes: Range<u64>, unwritten: bool, size: u64) -> Result {
    let whole = bytes.clone();
    let mut left = bytes;
    let mut lost = Ok(());
    loop {
        // Blocks for tree nodes may wait for a commit.
        lab::may_fail(Point::Complete, inode, left.clone(), &[EIO])?;
        let effort = Effort::accepted(inode);
        let behind = Cell::new(None);
        let tries = || {
            let (end, promised) = first_piece(inode, left.clone())?;
            behind.set(Some(end));
            // After the first that was lost none waits: each try may be a commit.
            match lost {
                Ok(()) => (!promised).then_some(alloc::TRIES),
                Err(_) => (!promised || inode.fs().groups.is_over_promised()).then_some(0),
            }
        };
        let done = alloc::retry_promised(inode.sb(), effort, tries, || {
            complete_some(inode, left.clone(), unwritten, size)
        });
        left.start = match done {
            Ok(next) => next,
            Err(ENOSPC) => {
                lost = Err(ENOSPC);
                // What it was given up by: the next look may find another piece.
                behind.get().ok_or(ENOSPC)?
            }
            Err(e) => return Err(e),
        };
        if left.is_empty() {
            lab::point(Point::Completed, inode, whole);
            return lost;
        }
    }
}

/// Where the piece at the first byte ends, and whether what its conversion may take is promised. It
/// is not after an error of an earlier I/O ([`Writeback::failed`]), if the disk was full when
/// writeback asked again. `None` if the map cannot be read.
fn first_piece(inode: &Inode, bytes: Range<u64>) -> Option<(u64, bool)> {
    let bits = inode.fs().geo.block_bits;
    let mut extents = inode.extents();
    let found = map::lblk_range(inode, bytes.clone()).and_then(|blocks| extents.lookup(blocks));
    let these = extents.promised_alike(found.ok()?.blocks());
    let end = bytes.end.min(these.end.byte(bits));
    Some((end, extents.is_promised(these)))
}

/// One handle's share of [`complete_io`]: the extent at the first byte. Returns where to go on.
fn complete_some(inode: &Inode, bytes: Range<u64>, unwritten: bool, size: u64) -> Result<u64> {
    let bits = inode.fs().geo.block_bits;
    let _table = inode::hold_iloc(inode)?;
    let handle = inode.fs().start_nofail(credits::COMPLETE)?;
    let mut done = bytes.end;
    let mut converted = Ok(());
    {
        let mut extents = inode.extents();
        if unwritten && !bytes.is_empty() {
            let found = extents.lookup(map::lblk_range(inode, bytes)?)?;
            if extents.holds_blocks() && matches!(found.state, State::Hole | State::Reserved) {
                // What was held is somebody else's: the data is lost, and that is told.
                return Err(EIO);
            }
            let mut these = found.blocks();
            if found.state == State::Unwritten {
                these = extents.promised_alike(these);
                converted = extents.convert(&handle, these);
            }
            done = done.min(these.end.byte(bits));
        }
        // Before the size: who sees that it is on disk asks when it is durable.
        inode.info().set_datasync_tid(handle.tid());
        if converted.is_ok() {
            extents.raise_disk_size(done.min(size));
        }
    }
    // Also after an error: the tree may have changed before it.
    let ended = inode::journal(&handle, inode).and_then(|()| handle.stop());
    converted.and(ended).map(|()| done)
}
