// SPDX-License-Identifier: GPL-2.0

//! Rules 4 and 5: the last two steps of rule 5, the page cache goes, then the blocks. The first two
//! are in `steps.rs`. What was reserved goes with the pages (4).

use super::{
    map,
    pinned,
    steps::{Alone, Unpinned}, //
};
use crate::disk::{Lblk, LblkRange};
use crate::fs::{
    alloc::{self, Effort},
    credits,
    extent::{Progress, State},
    inode,
    lab::{self, Point},
    rule::{self, Rule},
    Inode,
    Rext4, //
};
use crate::vfs::{
    inode::InodeLock,
    pagemap::{Edges, KeptFolios, Pins}, //
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Step 3 of rule 5 is done for a range of bytes: its page cache is gone and cannot come back.
/// Holds all that was held for it.
#[must_use]
pub(crate) struct CacheGone<'l> {
    /// Not gone, but zeros, and locked until the blocks are: what writes them finds a hole.
    kept: KeptFolios<'l>,
    alone: Alone<'l>,
    range: Range<u64>,
}

impl<'l> Unpinned<'l> {
    /// Rule 5, step 3: zeroes the parts of blocks at the edges of the range, writes it, and drops
    /// its page cache. Beyond the end of the file there is nothing to keep: a block that the range
    /// cuts there goes whole, and its page with it.
    ///
    /// The whole range is written, also what is about to go, for two things hang on its dirty pages
    /// that are not the range's own (race 19):
    ///
    /// - The size on disk moves when data is written, and nothing else moves it.
    /// - A large folio at the edge may be dropped as a whole. Writeback writes folios as a whole.
    ///
    /// A clean range costs a look at the marks of the page cache, whatever its length. If something
    /// cannot be written nothing has been dropped, and the caller's operation fails before it took
    /// anything: bytes beside the range may have been in the same folio.
    pub(crate) fn drop_cache(self) -> Result<CacheGone<'l>> {
        self.drop_cache_beside(Edges::Large)
    }

    /// The same. Folios that reach beyond the range are locked while the result lives, as far as
    /// `edges` says.
    pub(super) fn drop_cache_beside(self, edges: Edges) -> Result<CacheGone<'l>> {
        let Self { alone, range } = self;
        let inode = alone.inode();
        let size = inode.size();
        let block_size = u64::from(inode.fs().geo.block_size);
        let Range { start, end } = range;
        let blocks_end = if end >= size {
            end.next_multiple_of(block_size)
        } else {
            end
        };
        let end = end.min(size);
        if start < end {
            let first_edge = start.next_multiple_of(block_size).min(end);
            alone.cut_block(start..first_edge)?;
            let last_edge = (end / block_size * block_size).max(first_edge);
            alone.cut_block(last_edge..end)?;
            lab::point(Point::EdgesZeroed, inode, start..end);
            write_range(inode, start..end)?;
            lab::may_fail(Point::RangeWritten, inode, start..end, &[EIO])?;
        }
        let dropped = if start < end {
            start..pages_end(end, blocks_end)
        } else if edges == Edges::All {
            // Behind the end, but perhaps in its block: the page of that.
            start..start.next_multiple_of(block_size)
        } else {
            start..start
        };
        if inode.is_dax() {
            // Also behind the end: what goes is the whole of what is mapped as one.
            inode.write_and_wait(dropped.clone())?;
        }
        let kept = alone.drop_pages(dropped, edges);
        let range = start..blocks_end;
        Ok(CacheGone { kept, alone, range })
    }

    /// Step 3 of a truncate to where the range begins: i_size moves, and what lies behind goes from
    /// the page cache, written or not.
    pub(super) fn cut_cache(self) -> CacheGone<'l> {
        let Self { alone, range } = self;
        let pins = if rule::kept(Rule::KeepPinned) {
            Pins::Keep
        } else {
            Pins::Ignore
        };
        alone.locks().truncate_setsize(range.start, pins);
        CacheGone {
            kept: KeptFolios::default(),
            alone,
            range: range.start..u64::MAX,
        }
    }
}

/// To where the page cache goes, of a range whose bytes end at `end` and whose blocks at
/// `blocks_end`. A page of which only the bytes before the end of the file went would stay, not
/// locked, and a device that has it pinned makes it dirty:
///
/// ```text
///   punch                                       writeback
///   drops the page cache
///                                               the device is done: the last page is dirty
///                                               its block is written at 1000; submits it
///   frees 1000: another file gets it, is synced
///                                               the write comes to 1000 (race 29)
/// ```
fn pages_end(end: u64, blocks_end: u64) -> u64 {
    if rule::kept(Rule::EndWhole) {
        blocks_end
    } else {
        end
    }
}

impl<'l> Alone<'l> {
    /// Zeroes the bytes of a block, of which the rest stays. iomap passes over holes.
    /// A device may have put something over one (rule 10); written, it has a block.
    fn cut_block(&self, bytes: Range<u64>) -> Result<bool> {
        if !bytes.is_empty() {
            let inode = self.inode();
            let block = map::lblk_range(inode, bytes.clone())?;
            if inode.extents().lookup(block)?.state == State::Hole {
                write_range(inode, bytes.clone())?;
            }
        }
        self.zero_edge(bytes)
    }

    /// Drops the pages of a range, but folios that a device has pinned and that reach beyond it:
    /// one that is pinned cannot be split, and dropped whole it would take a page with it that the
    /// device stores into later, beside the range (race 24).
    fn drop_pages(&self, range: Range<u64>, edges: Edges) -> KeptFolios<'l> {
        if rule::kept(Rule::KeepPinned) {
            return self.pages().drop_beside_pins(range, edges);
        }
        self.pages().drop_pagecache(range);
        KeptFolios::default()
    }
}

/// Step 3 of rule 5 is done for what is going to move: from some place to the end of the file all
/// is on disk, and nothing in the page cache.
#[must_use]
pub(crate) struct TailGone<'l>(Alone<'l>);

impl<'l> Unpinned<'l> {
    /// Rule 5, step 3, where blocks move: for all of the range, which reaches to the end.
    pub(super) fn drop_cache_from(self) -> Result<TailGone<'l>> {
        let Self { alone, range } = self;
        let bytes = alone.drop_all(range)?;
        Ok(TailGone(alone.pause(Point::PunchInvalidated, bytes)))
    }
}

impl Alone<'_> {
    /// Writes all of the bytes, rounded out to pages, and drops it from the page cache. Nothing of
    /// it is zeroed and stays, as for a punch: what moves there is data. So a folio that will not
    /// go (race 24: a device is about to store into it) is `EBUSY`, and all is as before. Says what
    /// that was, rounded out. Of a file that is accessed directly nobody has the pages (13).
    pub(super) fn drop_all(&self, bytes: Range<u64>) -> Result<Range<u64>> {
        let inode = self.inode();
        let page = 1 << kernel::page::PAGE_SHIFT;
        let end = bytes.end.checked_next_multiple_of(page);
        let pages = bytes.start / page * page..end.unwrap_or(u64::MAX);
        inode.write_and_wait(pages.clone())?;
        lab::may_fail(Point::RangeWritten, inode, pages.clone(), &[EIO])?;
        pinned::begin_drop().map_err(|_| EBUSY)?;
        let dropped = inode.invalidate_pagecache(pages.clone());
        pinned::end_drop();
        dropped?;
        if inode.is_dax() {
            self.pages().drop_pagecache(pages.clone());
        }
        forget_reserved(inode, map::lblk_range(inode, bytes)?);
        Ok(pages)
    }
}

impl<'l> TailGone<'l> {
    /// The inode.
    pub(super) fn inode(&self) -> &'l Inode {
        self.0.inode()
    }

    /// i_rwsem.
    pub(super) fn lock(&self) -> &'l InodeLock<'l, Rext4> {
        self.0.lock()
    }
}

impl<'l> CacheGone<'l> {
    /// The inode.
    pub(super) fn inode(&self) -> &'l Inode {
        self.alone.inode()
    }

    /// The bytes; beyond the end of the file to the end of a block.
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// In place of step 4: the blocks of the range stay, and get other data below the page cache.
    pub(super) fn replace_blocks(
        self,
        replace: impl FnOnce(&Self) -> Result,
    ) -> (Alone<'l>, Result) {
        let replaced = replace(&self);
        drop(self.kept);
        let replaced = replaced.inspect_err(|_| drop_edges(&self.alone, self.range));
        (self.alone, replaced)
    }

    /// Rule 5, step 4: the blocks of the range go. What lies before the end of the file reads as
    /// zeros.
    pub(crate) fn remove_blocks(self) -> Result<Alone<'l>> {
        let (inode, Range { start, end }) = (self.inode(), self.range);
        let alone = self.alone.pause(Point::PunchInvalidated, start..end);
        let removed = remove_range(inode, whole_blocks(inode, start..end));
        drop(self.kept);
        removed.inspect_err(|_| drop_edges(&alone, start..end))?;
        lab::point(Point::BlocksRemoved, inode, start..end);
        let kept = end.min(inode.size());
        if start < kept {
            keep_size(inode, kept);
        }
        Ok(alone)
    }
}

/// Blocks of the range could not be removed, or changed, so their bytes are there still; but a page
/// of which only a part was dropped shows zeros for them, until it leaves the cache. It goes whole.
/// One that a device has pinned, perhaps to store into it, stays (race 24), and so does one that is
/// dirty again: it brings its zeros to the disk, all of them. (They were to become zeros.) Else it
/// would show them until it leaves the cache, and then the old bytes.
fn drop_edges(alone: &Alone<'_>, range: Range<u64>) {
    let dropped = pinned::begin_drop().and_then(|()| {
        let dropped = alone.inode().invalidate_pagecache(range.clone());
        pinned::end_drop();
        dropped
    });
    if dropped.is_err() {
        alone.pages().dirty_edges(range);
    }
}

/// Writes what is dirty in the range, rounded out to pages.
fn write_range(inode: &Inode, Range { start, end }: Range<u64>) -> Result {
    let page = 1 << kernel::page::PAGE_SHIFT;
    let pages = start / page * page..end.next_multiple_of(page);
    if rule::kept(Rule::PunchFlush) {
        return inode.write_and_wait(pages);
    }
    inode.write_and_wait(pages.start..start.next_multiple_of(page))?;
    inode.write_and_wait(end / page * page..pages.end)
}

/// The whole blocks inside the bytes of the range.
pub(super) fn whole_blocks(inode: &Inode, Range { start, end }: Range<u64>) -> LblkRange {
    let bits = inode.fs().geo.block_bits;
    Lblk::or_end(start.div_ceil(1 << bits)).until(Lblk::or_end(end >> bits))
}

/// What lies before `end` and has been removed reads as zeros, so the size on disk may be `end` at
/// least. It is, unless a write failed before: then it trails, and nothing dirty is left to move
/// it. The caller journals the inode.
fn keep_size(inode: &Inode, end: u64) {
    if rule::kept(Rule::PunchFlush) {
        inode.extents().raise_disk_size(end);
    }
}

/// The logical blocks behind the end of a file of `size` bytes.
pub(super) fn blocks_beyond(inode: &Inode, size: u64) -> LblkRange {
    Lblk::or_end(size.div_ceil(inode.fs().geo.block_size.into())).until(Lblk::END)
}

/// Frees logical blocks, and the reservations. The page cache above is gone and cannot come back.
/// In as many transactions as it takes: a handle waits for a commit when it wants more credits, and
/// nobody may hold the extent lock then.
pub(crate) fn remove_range(inode: &Inode, blocks: LblkRange) -> Result {
    if blocks.is_empty() {
        return Ok(());
    }
    forget_reserved(inode, blocks);
    let mut left = blocks;
    loop {
        // To take the middle out of an extent may need a node, and the last free blocks may wait
        // for a commit, or be on their way through a trim. No longer than for that: what is there
        // is written, and a node that a try has given back is a freed block that commits, too.
        match alloc::retry(inode.sb(), Effort::Commit, || remove_some(inode, left))? {
            Progress::Done => return Ok(()),
            Progress::Continue(rest) => left = rest,
        }
    }
}

/// What a handle's share may meet, for the lab. To take the rest of a file needs no node.
fn remove_errors(left: LblkRange) -> &'static [Error] {
    if left.end == Lblk::END {
        &[EIO, ENOMEM]
    } else {
        &[EIO, ENOMEM, ENOSPC]
    }
}

/// One handle's share of [`remove_range`].
#[inline(never)]
fn remove_some(inode: &Inode, left: LblkRange) -> Result<Progress> {
    let bytes = left.bytes(inode.fs().geo.block_bits);
    lab::may_fail(Point::RemoveSome, inode, bytes, remove_errors(left))?;
    // What is read without the handle may be wrong by then: then it is more of them.
    let credits = inode.extents().remove_credits(left);
    let _table = inode::hold_iloc(inode)?;
    let handle = inode.fs().start_with_revoke(credits + credits::INODE)?;
    let progress = inode.extents().remove_space(&handle, left);
    // Also after an error: what was removed before it is in this handle.
    let ended = inode::journal(&handle, inode).and_then(|()| handle.stop());
    progress.and_then(|progress| ended.map(|()| progress))
}

/// Rule 4: gives back what is reserved for the logical blocks, whose pages are gone.
/// Needs no handle, so it comes before everything that can fail: a reservation without a page is
/// used by nobody.
pub(super) fn forget_reserved(inode: &Inode, blocks: LblkRange) {
    inode.extents().forget(blocks);
}
