// SPDX-License-Identifier: GPL-2.0

//! Rule 3: from byte ranges to extents, and the cookie that tells whether the answer is still true.
//!
//! An iomap is a copy of a piece of the extent map, stale the moment the extent lock is dropped: a
//! writer that still thinks "unwritten" zeroes around its bytes, over data that was written
//! meanwhile (race 1).
//!
//! So the extent map counts its changes (`InodeInfo::seq`, bumped before each change under the
//! extent lock). [`fill`] stores the count in the iomap while the lock is still held, [`is_valid`]
//! compares. The comparison is sound without the extent lock because it is made under the folio
//! lock (or with the folio under writeback): conversion bumps the count before PG_writeback ends,
//! and blocks are removed only after the folio is.

use crate::{
    disk::{Lblk, LblkRange},
    fs::{
        error::EFSCORRUPTED,
        extent::{Extents, Mapping, State},
        lab::{self, Point},
        Inode, Rext4,
    },
    trace,
    vfs::{
        iomap::{Map, MapFlags, MapOps, MapType}, //
    },
};
use core::ops::Range;
use kernel::{
    error::{code::*, Error},
    prelude::*,
    sync::atomic::ordering, //
};

/// The logical blocks of the bytes, at least that of the first. `EFBIG` if no file has such blocks.
#[inline]
pub(super) fn lblk_range(inode: &Inode, bytes: Range<u64>) -> Result<LblkRange> {
    let bits = inode.block_bits();
    let first = Lblk::or_end(bytes.start >> bits);
    let last = Lblk::or_end(bytes.end.saturating_sub(1).max(bytes.start) >> bits);
    if first == Lblk::END {
        return Err(EFBIG);
    }
    // One lookup answers for a hole of any length, so the length asked for need not be bounded.
    Ok(first.until(last.saturating_add(1)))
}

impl From<State> for MapType {
    fn from(state: State) -> Self {
        match state {
            State::Hole => MapType::Hole,
            State::Reserved => MapType::Delalloc,
            State::Unwritten => MapType::Unwritten,
            State::Written => MapType::Mapped,
        }
    }
}

/// Rule 3: makes `map` say what `extent` says, to whoever asked for it with `flags`. The lock that
/// was held when it was found still is, so the count belongs to it.
pub(super) fn fill(extents: &Extents<'_>, extent: &Mapping, flags: MapFlags, map: &mut Map) {
    set_map(extents.inode(), (*extent, extents.seq()), flags, map);
}

/// As [`fill`] after a lookup at the first of `blocks`, if that takes no lock: then its holder may
/// wait for the disk, and who reads does not. Returns whether it did. Why it is as good: see
/// [`extent::recent`](crate::fs::extent).
pub(super) fn fill_recent(
    inode: &Inode,
    blocks: LblkRange,
    flags: MapFlags,
    map: &mut Map,
) -> bool {
    let found = inode.recent_extent(blocks);
    if let Some(found) = found {
        set_map(inode, found, flags, map);
    }
    found.is_some()
}

/// Makes `map` say what the extent says, and with which count of changes.
pub(super) fn set_map(
    inode: &Inode,
    (extent, seq): (Mapping, u32),
    flags: MapFlags,
    map: &mut Map,
) {
    let bits = inode.block_bits();
    let addr = match extent.state {
        State::Hole | State::Reserved => None,
        State::Unwritten | State::Written => Some(extent.pblk.byte(bits)),
    };
    let (offset, length) = (extent.lblk.byte(bits), u64::from(extent.len) << bits);
    let ty = extent.state.into();
    map.set(inode, ty, offset, length, addr, seq.into());
    if extent.state == State::Written && inode.has_block_map() {
        map.set_merged();
    }
    trace::map(inode, flags, map);
}

/// Rule 3: whether nothing has changed since `map` was filled; if it has, tells `event` with the
/// count now. Under the folio lock, see above.
pub(super) fn is_valid(inode: &Inode, map: &Map, event: impl FnOnce(&Inode, &Map, u32)) -> bool {
    let seq = inode.info().seq.load(ordering::Acquire);
    if map.cookie() == u64::from(seq) {
        return true;
    }
    event(inode, map, seq);
    false
}

/// Where a block of a file is that has no holes, and nothing unwritten. `EFSCORRUPTED` if it does.
pub(crate) fn written_block(inode: &Inode, block: u64) -> Result<u64> {
    let one = Lblk::or_end(block).blocks(1);
    let found = match inode.recent_extent(one) {
        Some((found, _)) => found,
        None => inode.extents().lookup(one)?,
    };
    match found.state {
        State::Written => Ok(found.pblk.get()),
        _ => Err(EFSCORRUPTED),
    }
}

/// What a lookup may meet, for the lab.
pub(super) fn lookup_errors(flags: MapFlags) -> &'static [Error] {
    if flags.nowait() {
        &[EIO, EAGAIN]
    } else {
        &[EIO]
    }
}

/// The extent lock. A caller that must not sleep gets it, and answers under it, at once or
/// `EAGAIN`.
pub(super) fn lock(inode: &Inode, flags: MapFlags) -> Result<Extents<'_>> {
    if flags.nowait() {
        inode.extents_nowait()
    } else {
        Ok(inode.extents())
    }
}

/// Mappings as they are: buffered reads, reports (FIEMAP, SEEK_HOLE and SEEK_DATA), bmap.
pub(crate) struct ReadOps;

#[vtable]
impl MapOps for ReadOps {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        let blocks = lblk_range(inode, bytes.clone())?;
        if !fill_recent(inode, blocks, flags, map) {
            lab::may_fail(Point::ReadMap, inode, bytes.clone(), lookup_errors(flags))?;
            let mut extents = lock(inode, flags)?;
            let found = extents.lookup(blocks)?;
            fill(&extents, &found, flags, map);
        }
        lab::point(Point::ReadMapped, inode, bytes);
        Ok(())
    }
}

/// Mappings of a file that becomes swap: none reaches beyond the bytes that were asked for. Where
/// the blocks go on behind the end of the file they are not the kernel's to use.
pub(crate) struct SwapOps;

#[vtable]
impl MapOps for SwapOps {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        let blocks = lblk_range(inode, bytes)?;
        let mut extents = inode.extents();
        let mut found = extents.lookup(blocks)?;
        found.len = found.len.min(blocks.len());
        // What is held is not the file's yet.
        if found.state == State::Unwritten && extents.holds_blocks() {
            found.state = State::Reserved;
        }
        fill(&extents, &found, flags, map);
        Ok(())
    }
}
