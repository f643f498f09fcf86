// SPDX-License-Identifier: GPL-2.0

//! Rule 13: files without a page cache, whose pages are the device's memory (DAX): read and write,
//! and faults. That their blocks do not go while somebody has a page is in `steps.rs`.
//!
//! A store is in the file at once, so there is no writeback to choose blocks, nor an end of it to
//! convert them: the block that is stored to is a written one. What was in it before must not come
//! to light, so whoever gets a block zeroes it first (2):
//!
//! - Inside the file others may get the same block at the same time, write(2) with i_rwsem and a
//!   fault with invalidate_lock. It is zeroed and converted under the extent lock, in one handle:
//!
//! ```text
//!   write(2)                                    write fault
//!   block 3 is unwritten
//!                                               block 3 is unwritten
//!   zeroes it, converts it, copies its bytes
//!                                               zeroes it         <- the bytes are lost
//! ```
//!
//! - Behind the end nobody comes but the write that holds i_rwsem. The blocks stay unwritten until
//!   it has copied its bytes; then they are converted in the handle that moves the size, as after
//!   writeback. So a crash shows the old size, or the bytes.
//!
//! i_rwsem is all that is held while user memory is touched (8). A fault takes what a fault of
//! other files takes (1), and its blocks before it maps them: no space is SIGBUS (6).

use super::{
    allocate::{self, For},
    direct::{is_beyond, is_durable},
    eof,
    map::{self, ReadOps},
    writeback, //
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
        Inode, Rext4,
    },
    trace,
    vfs::{
        dax::{self, DaxFault},
        inode::InodeLock,
        iomap::{Map, MapFlags, MapOps},
        jbd2::Handle,
        mmap::VmFault,
        IovIterDest, IovIterSource, Kiocb, RequestId,
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Blocks that are zeroed at once: those that a PMD maps.
const MOST: u32 = 512;

/// `read_iter`.
pub(crate) fn dax_read(iocb: &mut Kiocb<'_, Rext4>, to: &mut IovIterDest<'_>) -> Result<usize> {
    if to.is_empty() {
        return Ok(0);
    }
    // Rule 8.
    let lock = iocb.lock_shared()?;
    let bytes = iocb.pos()..iocb.pos() + to.len() as u64;
    lab::point(Point::Read, iocb.inode(), bytes);
    let read = dax::read::<DaxOps>(iocb, to, &lock);
    drop(lock);
    iocb.accessed();
    read
}

/// `write_iter`. One that must not sleep is done where blocks are written and the file does not
/// grow; else it is `EAGAIN`.
pub(crate) fn dax_write(
    iocb: &mut Kiocb<'_, Rext4>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let inode = iocb.inode();
    super::check_writable(inode)?;
    if iocb.nowait() && iocb.is_dsync() {
        return Err(EAGAIN);
    }
    // Rule 8.
    let lock = iocb.lock()?;
    if super::write_checks(iocb, from, &lock)? == 0 {
        return Ok(0);
    }
    let bytes = iocb.pos()..iocb.pos() + from.len() as u64;
    let moves_size = is_beyond(inode, bytes.end);
    if iocb.nowait() && (moves_size || eof::is_before_write(inode, &bytes)) {
        return Err(EAGAIN);
    }
    lab::point(Point::WriteLocked, inode, bytes.clone());
    eof::before_write(&lock, bytes.clone())?;
    iocb.modified(&lock)?;
    inode.info().set_zeroed_behind(Lblk::FIRST);
    let written = dax::write::<DaxOps>(iocb, from, &lock);
    let done = bytes.start..iocb.pos();
    let sized = if moves_size {
        move_size(&lock, bytes, done)
    } else {
        Ok(())
    };
    drop(lock);
    let written = sized.and(written)?;
    iocb.write_sync(written)
}

/// Rule 2, the end of a write that was to go to `bytes`: those of `done` are there. What is
/// unwritten of them is converted, and the file grows to their end.
fn move_size(lock: &InodeLock<'_, Rext4>, bytes: Range<u64>, done: Range<u64>) -> Result {
    let (inode, old, end) = (lock.inode(), lock.inode().size(), done.end);
    let mut result = Ok(());
    if !done.is_empty() {
        result = writeback::complete_io(inode, done, true, old.max(end));
        // What fails half way has moved the size on disk behind the last that did not.
        let end = match result {
            Ok(()) => end,
            Err(_) => end.min(inode.info().disk_size()),
        };
        if end > old {
            trace::isize_set(inode, end);
            lock.set_size(end);
        }
    }
    // Whatever has become of it.
    inode.extents().land(RequestId::NONE, Lblk::FIRST);
    eof::after_write(lock, bytes);
    result
}

/// A fault. mmap_lock is held.
pub(crate) fn dax_fault<'a>(fault: &DaxFault<'a, Rext4>) -> VmFault<'a> {
    let inode = fault.inode();
    let byte = fault.bytes().start..fault.bytes().start + 1;
    lab::point(Point::Fault, inode, byte.clone());
    // Rule 1: as `mmap.rs`; in place of the folio the entry for the page is locked.
    if !fault.is_write() {
        return fault.invalidate_lock_shared().map::<DaxOps>();
    }
    let _freeze = inode.sb().start_pagefault();
    if let Err(e) = super::check_writable(inode) {
        return e.into();
    }
    let locked = fault.invalidate_lock_shared();
    // Only here: who sets it has the lock while he write-protects what was mapped.
    if inode.flags().immutable {
        return EIO.into();
    }
    if let Err(e) = fault.update_time() {
        return e.into();
    }
    lab::point(Point::FaultLocked, inode, byte);
    // Rule 6.
    locked.map::<DaxOps>()
}

/// Mappings of such files.
pub(crate) struct DaxOps;

#[vtable]
impl MapOps for DaxOps {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        if !flags.write() {
            return ReadOps::begin(inode, bytes, flags, map);
        }
        map_store(inode, bytes.clone(), flags, map)?;
        // Of MAP_SYNC: what stays behind the end is nobody's.
        if flags.fault() && !is_durable(inode, bytes.end.min(inode.size())) {
            map.set_dirty();
        }
        lab::point(Point::WriteEnd, inode, bytes);
        Ok(())
    }
}

/// Finds or makes blocks that are stored to.
fn map_store(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
    let blocks = map::lblk_range(inode, bytes.clone())?;
    let end = Lblk::or_end(inode.size().div_ceil(inode.fs().geo.block_size.into()));
    if blocks.start >= end {
        return map_behind(inode, blocks.first(MOST), flags, map);
    }
    let blocks = LblkRange {
        end: blocks.end.min(end),
        ..blocks
    };
    if let Some((found, seq)) = inode.recent_extent(blocks) {
        if found.state == State::Written {
            map::set_map(inode, (found, seq), flags, map);
            return Ok(());
        }
    }
    lab::may_fail(Point::WriteMap, inode, bytes, map::lookup_errors(flags))?;
    {
        let mut extents = map::lock(inode, flags)?;
        let found = extents.lookup(blocks)?;
        if found.state == State::Written || is_short(&found, blocks, flags) {
            map::fill(&extents, &found, flags, map);
            return Ok(());
        }
        if flags.nowait() {
            return Err(EAGAIN);
        }
    }
    let want = blocks.first(MOST);
    if flags.fault() {
        // The entry of the page is locked.
        let effort = Effort::Commit;
        alloc::retry(inode.sb(), effort, || allocate::some(inode, want))?;
        // Rule 13: what shows the hole faults again, and waits for the entry. Else it would go on
        // to show zeros, to who has seen a write(2) return that found the blocks written (race 28).
        if rule::kept(Rule::UnmapHole) {
            inode.unmap(want.bytes(inode.fs().geo.block_bits));
        }
        return alloc::retry(inode.sb(), effort, || make_written(inode, want, flags, map));
    }
    alloc::retry(inode.sb(), Effort::Room, || allocate::some(inode, want))?;
    // Each try takes the lock anew: to make room is to write other files, and to wait.
    alloc::retry(inode.sb(), Effort::Room, || {
        make_written_shut(inode, want, flags, map)
    })
}

/// [`make_written`] for write(2). A load may have mapped the blocks as zeros, and must not go on to
/// show them, so what it has mapped goes, with invalidate_lock held:
///
/// ```text
///   write(2)                                    load from a mapping
///   block 3 is written from now on
///                                               maps block 3, its entry says so
///   drops the entry of the zeros
///   copies its bytes                            a page of no entry: who removes the block does
///                                               not know that it is mapped, or pinned
/// ```
#[inline(never)]
fn make_written_shut(inode: &Inode, want: LblkRange, flags: MapFlags, map: &mut Map) -> Result {
    let pages = inode.invalidate_lock();
    // Stays so: i_rwsem is held, too.
    let found = inode.extents().lookup(want)?;
    let blocks = want.first(found.len);
    let made = make_written(inode, blocks, flags, map);
    if found.state != State::Written {
        // Also after an error: some may be written by now.
        pages.drop_pagecache(blocks.bytes(inode.fs().geo.block_bits));
    }
    made
}

/// A fault that wants as much as a PMD maps takes all of it or nothing, and nothing is converted
/// for it that it cannot map: mappings of a hole are taken back for what is mapped in its place.
fn is_short(found: &Mapping, want: LblkRange, flags: MapFlags) -> bool {
    flags.fault() && found.len < want.len()
}

/// Whether a PMD can map the blocks, as far as their place in the memory goes.
fn is_aligned(inode: &Inode, found: &Mapping) -> bool {
    let bits = inode.fs().geo.block_bits;
    let place = inode.sb().memory_start() + found.pblk.byte(bits);
    let size = u64::from(MOST) << bits;
    place % size == found.lblk.byte(bits) % size
}

/// Rule 2: makes the blocks written ones, of zeros if they were not.
fn make_written(inode: &Inode, blocks: LblkRange, flags: MapFlags, map: &mut Map) -> Result {
    let bytes = blocks.bytes(inode.fs().geo.block_bits);
    lab::may_fail(Point::Complete, inode, bytes, &[EIO])?;
    let _table = inode::hold_iloc(inode)?;
    let handle = inode.fs().start(credits::COMPLETE)?;
    let mut extents = inode.extents();
    let mut found = extents.lookup(blocks)?;
    let mut converted = Ok(());
    if flags.fault() && blocks.len() > 1 && !is_aligned(inode, &found) {
        found.len = found.len.min(blocks.len() - 1);
    }
    // Rule 13.
    let new = found.state == State::Unwritten && !is_short(&found, blocks, flags);
    if new {
        converted = zero_and_convert(&mut extents, &handle, &found);
        found.state = State::Written;
    }
    map::fill(&extents, &found, flags, map);
    if new {
        map.set_new();
    }
    drop(extents);
    // Also after an error: the tree may have changed before it.
    let ended = inode::journal(&handle, inode).and_then(|()| handle.stop());
    converted.and(ended)
}

/// Zeroes unwritten blocks and says that they are written. The zeros are in the memory, or in a
/// cache that the commit flushes.
fn zero_and_convert(extents: &mut Extents<'_>, handle: &Handle<'_>, found: &Mapping) -> Result {
    extents.expect_write(found.blocks())?;
    let done = zero(extents.inode(), found);
    let done = done.and_then(|()| extents.convert(handle, found.blocks()));
    if done.is_err() {
        extents.unexpect(found.blocks());
    }
    done
}

/// Zeroes blocks on the device.
fn zero(inode: &Inode, found: &Mapping) -> Result {
    let bits = inode.fs().geo.block_bits;
    let start = found.pblk.byte(bits);
    let end = start + (u64::from(found.len) << bits);
    inode.sb().zero_memory(start..end)
}

/// Blocks behind the end, which are zeroed and stay what they are: [`move_size`] converts them.
/// What that may take is promised before. A copy that ends inside a block asks for it once more,
/// unwritten as it is still, with what was copied in it: a write zeroes each of them once.
fn map_behind(inode: &Inode, blocks: LblkRange, flags: MapFlags, map: &mut Map) -> Result {
    if flags.nowait() {
        return Err(EAGAIN);
    }
    let direct = For::Direct(RequestId::NONE);
    let mut seq = 0;
    let found = alloc::retry(inode.sb(), Effort::Room, || {
        allocate::unwritten(inode, blocks, direct, |extents, _, _| seq = extents.seq())
    })?;
    let done = inode.info().zeroed_behind().saturating_sub(found.lblk);
    if done < found.len {
        let rest = Mapping {
            lblk: found.lblk.saturating_add(done),
            len: found.len - done,
            pblk: found.pblk + u64::from(done),
            ..found
        };
        zero(inode, &rest)?;
        inode.info().set_zeroed_behind(rest.blocks().end);
    }
    let found = Mapping {
        state: State::Written,
        ..found
    };
    map::set_map(inode, (found, seq), flags, map);
    Ok(())
}
