// SPDX-License-Identifier: GPL-2.0

//! Rule 11: bytes beyond the end in the last block are zeros, on disk and in memory, whoever
//! dirtied them by mmap. Writeback zeroes them, and here they are zeroed before the file grows over
//! them.
//!
//! What the two sizes and the stale tail are, and who moves which when, is in
//! Documentation/i-size.md.

use super::{delalloc::BufferedWriteOps, map, remove, steps::Alone};
use crate::{
    disk::{Lblk, LblkRange},
    fs::{
        credits,
        extent::State,
        inode,
        lab::{self, Point},
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    trace,
    vfs::{dax, inode::InodeLock, iomap},
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

impl Alone<'_> {
    /// Zeroes the bytes in the page cache, where there is anything: the part of a block that goes
    /// while the rest of it stays. Without a page cache, in the device's memory. Returns whether
    /// something was dirtied.
    pub(super) fn zero_edge(&self, bytes: Range<u64>) -> Result<bool> {
        if bytes.is_empty() {
            return Ok(false);
        }
        let inode = self.inode();
        trace::zero_tail(inode, bytes.start, bytes.end - bytes.start);
        if inode.is_dax() {
            return dax::zero_range::<map::ReadOps>(inode, bytes);
        }
        iomap::zero_range::<BufferedWriteOps>(inode, bytes)
    }

    /// Rule 11: the file is about to grow over (at least) these bytes. Zeroes them in the page
    /// cache, where there is anything. Returns whether something was dirtied.
    fn zero_tail(&self, bytes: Range<u64>) -> Result<bool> {
        if rule::kept(Rule::TailZero) {
            // iomap looks at blocks, and behind that of the end there are none. A folio that was
            // kept for a device may have something there all the same (race 24). Not before the
            // end: what follows may fail, and the bytes are the file's until the size has moved.
            if bytes.start >= self.inode().size() {
                self.pages().zero_first_folio(bytes.clone());
            }
            self.zero_edge(bytes)
        } else {
            Ok(false)
        }
    }

    /// Zeroes the part of the block that `pos` cuts, from `pos` on.
    pub(super) fn zero_partial(&self, pos: u64) -> Result<bool> {
        let block_size = self.inode().fs().geo.block_size;
        self.zero_tail(pos..pos.next_multiple_of(block_size.into()))
    }

    /// The file is about to grow over blocks behind the end. Should they have data, a truncate
    /// could not read the tree to its end, or somebody else left them so. Zeros in the page cache
    /// would not do: behind the end nobody writes them back. The blocks go now, or the file does
    /// not grow.
    pub(super) fn finish_truncate(&self) -> Result {
        let inode = self.inode();
        if written_behind(inode)? {
            remove::remove_range(inode, remove::blocks_beyond(inode, inode.size()))?;
        }
        Ok(())
    }

    /// Makes the file larger, with a hole. What is behind the old end has been dealt with
    /// ([`Self::finish_truncate`]).
    pub(super) fn grow(&self, new: u64, begun: impl FnOnce()) -> Result {
        let inode = self.inode();
        let old = inode.size();
        // Later, an error would leave a size in memory that the disk never gets.
        let _table = inode::hold_iloc(inode)?;
        self.settle_tail(new)?;
        begun();
        self.follow(new);
        lab::point(Point::Grown, inode, old..new);
        let handle = inode.fs().start_nofail(credits::INODE)?;
        inode.extents().set_disk_size(new);
        inode::journal(&handle, inode)?;
        handle.stop()
    }
}

/// Two halves of it, for who gets data behind the end in between, and moves the size on disk.
impl Alone<'_> {
    /// Before the size moves to `new`, here or there: makes what is behind the old end zeros, and
    /// writes what is dirty up to there.
    pub(super) fn settle_tail(&self, new: u64) -> Result {
        let inode = self.inode();
        let old = inode.size();
        self.zero_tail(old..new)?;
        lab::point(Point::TailZeroed, inode, old..new);
        // Before the size moves: what completes has the size on disk follow it, and does not go
        // back if something else could not be written. Rule 11 again: what a mapping has stored
        // behind the end meanwhile is zeroed by this write, and the next store has to wait.
        if rule::kept(Rule::TailZero) || old > inode.info().disk_size() {
            flush_with_tail(inode, new)?;
        }
        lab::may_fail(Point::TailWritten, inode, old..new, &[EIO])?;
        inode.info().set_stale_tail(false);
        Ok(())
    }

    /// The size in memory moves.
    pub(super) fn follow(&self, new: u64) {
        let inode = self.inode();
        let old = inode.size();
        trace::isize_set(inode, new);
        self.lock().set_size(new);
        inode.isize_extended(old, new);
    }
}

/// A write to the bytes is about to begin. If the file grows by it, makes sure that no old bytes
/// behind the end come to light: neither now, in the page cache, nor after a crash. The size on
/// disk moves when data behind the end is on disk, and nothing else makes the block of the old end
/// reach the disk before that. So it is written here, if it is one that the disk knows and has to
/// change.
pub(super) fn before_write(lock: &InodeLock<'_, Rext4>, bytes: Range<u64>) -> Result {
    let inode = lock.inode();
    let size = inode.size();
    let stale = inode.info().stale_tail();
    if !is_before_write(inode, &bytes) {
        return Ok(());
    }
    // Not only locked: a direct write of parts of the block may be in flight, and read now, the
    // block has its old bytes.
    let alone = Alone::new(lock)?;
    alone.finish_truncate()?;
    // Bytes beyond the end that a mapping has dirtied would become part of the file.
    let zeroed = alone.zero_tail(size..bytes.start)?;
    if stale {
        // Who has set the mark may not have come so far (`after_write`).
        alone.zero_partial(size)?;
    }
    lab::point(Point::TailZeroed, inode, size..bytes.start);
    if stale || (zeroed && tail_is_written(inode, size)?) {
        let start = size - size % u64::from(inode.fs().geo.block_size);
        inode.write_and_wait(start..size)?;
        lab::may_fail(Point::TailWritten, inode, start..size, &[EIO])?;
        inode.info().set_stale_tail(false);
    }
    Ok(())
}

/// A direct write to the bytes is over. Has it not come so far (an error, no room):
///
/// - Its bytes may be on disk behind the end of the file, in the last block, where a mapping would
///   show them. They are zeroed in the page cache; the zeros need not reach the disk now, for what
///   is behind the end is taken for stale until they do. If that fails too (a signal, the disk) a
///   mapping may show them until the file grows, which zeroes them first.
/// - The blocks that it took behind the end are nobody's data, and go: a disk that they fill would
///   stay full until somebody truncates the file. What was preallocated among them goes, too.
pub(super) fn after_write(lock: &InodeLock<'_, Rext4>, bytes: Range<u64>) {
    let inode = lock.inode();
    let size = inode.size();
    if bytes.end <= size {
        return;
    }
    let block_size = u64::from(inode.fs().geo.block_size);
    let cuts = size % block_size != 0;
    if cuts {
        inode.info().set_stale_tail(true);
    }
    // Does not wait: the write began when there was no other.
    let Ok(alone) = Alone::new(lock) else {
        return;
    };
    if cuts {
        let _ = alone.zero_partial(size);
    }
    let start = bytes.start / block_size * block_size;
    // Rule 13: the block of the end stays, and so does who has its page.
    let size = if inode.is_dax() {
        size.next_multiple_of(block_size)
    } else {
        size
    };
    let behind = alone.unpin(size.max(start)..bytes.end);
    let gone = behind.and_then(|behind| behind.drop_cache());
    let _ = gone.and_then(|gone| gone.remove_blocks());
}

/// Whether [`before_write`] has something to do, for which it may sleep. i_rwsem is held exclusive.
pub(super) fn is_before_write(inode: &Inode, bytes: &Range<u64>) -> bool {
    let size = inode.size();
    bytes.end > size && (bytes.start > size || inode.info().stale_tail())
}

/// Whether there is data in blocks behind the end. Only unwritten ones are there of right.
///
/// Once known it stays so until the tree changes behind the end, so that not each of many writes
/// reads all that was preallocated there. i_rwsem is held exclusive: nobody else asks meanwhile.
fn written_behind(inode: &Inode) -> Result<bool> {
    let behind = remove::blocks_beyond(inode, inode.size());
    {
        let mut extents = inode.extents();
        if extents.is_unwritten_from(behind.start) {
            return Ok(false);
        }
        // Before the first look: what changes between two of them makes it unknown again.
        extents.note_unwritten_from(behind.start);
    }
    let written = find_written(inode, behind);
    if !matches!(written, Ok(false)) {
        inode.extents().note_unwritten_from(Lblk::END);
    }
    written
}

/// Whether there is data in the blocks.
fn find_written(inode: &Inode, mut left: LblkRange) -> Result<bool> {
    while !left.is_empty() {
        inode.go_on()?;
        let found = inode.extents().lookup(left)?;
        if found.state == State::Written {
            return Ok(true);
        }
        left.start = found.blocks().end;
    }
    Ok(false)
}

/// Whether the disk has data in the block that `size` cuts. An unwritten one reads as zeros.
fn tail_is_written(inode: &Inode, size: u64) -> Result<bool> {
    let block = map::lblk_range(inode, size..size + 1)?;
    Ok(inode.extents().lookup(block)?.state == State::Written)
}

/// Before the size on disk becomes `new`: what is dirty between it and the size that the disk
/// knows must be on disk. There is no ordered mode to see to that.
pub(super) fn flush_for(inode: &Inode, new: u64) -> Result {
    if new <= inode.info().disk_size() {
        return Ok(());
    }
    flush_with_tail(inode, new)
}

/// As [`flush_for`], and the block of the end that the disk knows in any case: its tail may have
/// been zeroed.
fn flush_with_tail(inode: &Inode, new: u64) -> Result {
    let disk = inode.info().disk_size();
    let block_size = u64::from(inode.fs().geo.block_size);
    let start = disk.min(new) / block_size * block_size;
    inode.write_and_wait(start..new.max(disk))
}
