// SPDX-License-Identifier: GPL-2.0

//! Rules 7, 8, 9, 11 and 14: direct I/O, how it is begun and under which locks.
//!
//! Rule 7: iomap writes the page cache of the range out before, and invalidates it before and again
//! after a write: a page may come back in between (readahead, or the source of the write is a
//! mapping of the range itself), and it would show old data for ever.
//!
//! Rule 8: what is held while user memory is touched is i_rwsem only. No fault path takes it, so a
//! source that is a mapping of this file, or of a file being written from ours, cannot deadlock:
//! faults take invalidate_lock, folio locks and handles, and none of them is held here (`begin`
//! returns with all of them released). With `dio_gate` the gate is held besides, and faults may
//! wait for it, so all of the memory is pinned before.
//!
//! | write                                 | i_rwsem   | waits for completion | case |
//! |---------------------------------------|-----------|----------------------|------|
//! | inside the file, whole blocks         | shared    | if the request does  | `write_aligned` |
//! | parts of blocks, over written blocks  | shared    | if the request does  | `write_unaligned` |
//! | parts of blocks, over others          | exclusive | always               | `write_alone` |
//! | parts of blocks, ends at the end      | exclusive | always               | `write_alone` |
//! | beyond the size in memory, or on disk | exclusive | always               | `write_alone` |
//! | of a file with privileges to strip    | exclusive | if the request does  | `write_alone` |
//! | over a page that cannot be dropped    | exclusive | always               | `write_through` |
//! | encrypted, not in whole blocks        | exclusive | always               | `write_through` |
//!
//! "Always" is for more than the locks: only of a write that waits iomap runs the completion in a
//! task, whatever it has to do (`DioOps`). The size on disk counts for that reason: it may trail,
//! and the write that moves it starts a handle.

mod map;

pub(super) use map::{is_beyond, is_durable};

use map::{DirectReadOps, DirectWriteOps};

use super::{
    buffered,
    eof,
    gate::{self, Gate},
    pinned, //
};
use crate::{
    disk::inode::flags,
    fs::{
        lab::{self, Point},
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    trace,
    vfs::{
        dio::{self, DioFlags, DioSource},
        inode::{InodeLock, InodeLockShared},
        kiocb::RequestLock,
        uio::UserSource,
        Io,
        IovIterDest,
        IovIterSource,
        Kiocb, //
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Rule 7: the largest folios of a file, as an order: smaller than those that khugepaged makes, so
/// that nobody replaces a folio while an invalidation waits for its lock. The invalidation would
/// take it for one that is gone (race 6b).
///
/// And reads return the old data from then on (`collapse_file` does not freeze the references of
/// the folios that it replaces; migration does, and fails when somebody waits for the lock).
pub(crate) fn max_folio_order(pmd: u32) -> u32 {
    if rule::kept(Rule::FolioOrder) {
        pmd - 1
    } else {
        pmd
    }
}

/// Bytes of user memory pinned at once for a gated write, at most.
const CHUNK: usize = 4 << 20;

/// `read_iter` with O_DIRECT.
pub(crate) fn direct_read<'a>(
    mut iocb: Kiocb<'a, Rext4>,
    to: &mut IovIterDest<'_>,
) -> Io<'a, Rext4> {
    if to.is_empty() {
        return iocb.done(Ok(0));
    }
    // Rule 14.
    if !iocb.may_read_direct(to) {
        iocb.clear_direct();
        return buffered::buffered_read(iocb, to);
    }
    iocb.accessed();
    let (file, inode) = (iocb.file(), iocb.inode());
    let _lock = match iocb.lock_shared() {
        Ok(lock) => lock,
        Err(e) => return iocb.done(Err(e)),
    };
    trace::dio_read(inode, iocb.pos(), to.len() as u64);
    let bytes = iocb.pos()..iocb.pos() + to.len() as u64;
    lab::point(Point::DioReadLocked, inode, bytes);
    lab::detach_cache(file);
    let io = dio::read::<DirectReadOps>(iocb, to);
    lab::attach_cache(file);
    io
}

/// i_rwsem of the file that is written to.
type Lock<'a> = RequestLock<'a, InodeLock<'a, Rext4>>;
type SharedLock<'a> = RequestLock<'a, InodeLockShared<'a, Rext4>>;

/// The cases of a direct write.
enum Case<'a> {
    /// Whole blocks inside the file.
    Aligned(SharedLock<'a>),
    /// Parts of blocks inside the file.
    Unaligned(SharedLock<'a>),
    /// It needs i_rwsem exclusive, that much is known.
    Alone,
    /// The limits leave nothing to write.
    Nothing,
}

/// A block, if the device writes that much as a whole: a write of it with RWF_ATOMIC is one request
/// of the device, and if the block or the size is new, one handle says so when it is done.
pub(crate) fn whole_write(inode: &Inode) -> Option<u32> {
    let block = inode.fs().geo.block_size;
    // As in ext4, none with a block map.
    let able = inode.is_file() && !inode.is_dax() && inode.info().flags() & flags::EXTENTS != 0;
    (able && inode.sb().device().writes_whole(block)).then_some(block)
}

/// Of a write that is to be whole: `EINVAL` if it is not a block, `EOPNOTSUPP` if it is not direct.
pub(crate) fn check_whole(iocb: &Kiocb<'_, Rext4>, from: &mut IovIterSource<'_>) -> Result {
    if !iocb.is_whole() {
        return Ok(());
    }
    let is_block = whole_write(iocb.inode()).map(|len| len as usize) == Some(from.len());
    // Rule 14.
    if !is_block || !iocb.may_write_direct(from) {
        return Err(EINVAL);
    }
    iocb.check_whole(from)
}

/// `write_iter` with O_DIRECT.
pub(crate) fn direct_write<'a>(
    mut iocb: Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
) -> Io<'a, Rext4> {
    match enter(&mut iocb, from) {
        Ok(Case::Aligned(lock)) => write_aligned(iocb, from, lock),
        Ok(Case::Unaligned(lock)) => write_unaligned(iocb, from, lock),
        Ok(Case::Alone) => write_alone(iocb, from),
        Ok(Case::Nothing) => iocb.done(Ok(0)),
        Err(e) if e == ENOTBLK => finish_unqueued(iocb, from, (0, Err(e)), None),
        Err(e) => iocb.done(Err(e)),
    }
}

/// Finds the case, and takes i_rwsem shared where that may do. `ENOTBLK`: it cannot be direct.
fn enter<'a>(iocb: &mut Kiocb<'a, Rext4>, from: &mut IovIterSource<'_>) -> Result<Case<'a>> {
    let inode = iocb.inode();
    super::check_writable(inode)?;
    let range = iocb.pos()..iocb.pos() + from.len() as u64;
    let beyond = is_beyond(inode, range.end);
    lab::point(Point::DioEnter, inode, range.clone());
    if gate::is_used(inode) {
        gate::yield_to(inode, range, iocb.nowait())?;
    }
    // Both are guesses without the lock, that may spare a vain one.
    if beyond || iocb.needs_remove_privs() {
        return Ok(Case::Alone);
    }
    let lock = iocb.lock_shared()?;
    let count = match super::write_checks(iocb, from, &lock)? {
        0 => return Ok(Case::Nothing),
        count => count as u64,
    };
    let needs = Needs::of(iocb, count)?;
    // Rule 14. Known only now, too.
    if !iocb.may_write_direct(from) {
        return Err(ENOTBLK);
    }
    // Cannot start again with its second chunk.
    let restarts = needs.partial && count > CHUNK as u64 && gate::is_used(inode);
    if needs.extends || restarts || !iocb.modified_shared(&lock)? {
        return Ok(Case::Alone);
    }
    lab::point(Point::DioLocked, inode, iocb.pos()..iocb.pos() + count);
    Ok(if needs.partial {
        Case::Unaligned(lock)
    } else {
        Case::Aligned(lock)
    })
}

/// What a write does to more than its own bytes.
struct Needs {
    /// It begins or ends inside of a block.
    partial: bool,
    /// It moves the size, or zeroes behind the end.
    extends: bool,
}

impl Needs {
    /// Of `count` bytes, with i_rwsem held. Known only now: O_APPEND has set the position, and the
    /// size may have changed. `EINVAL` if that leaves a part of what is to be written as a whole.
    fn of(iocb: &Kiocb<'_, Rext4>, count: u64) -> Result<Self> {
        let (inode, pos) = (iocb.inode(), iocb.pos());
        let end = pos + count;
        trace::dio_write(inode, pos, count);
        let mask = u64::from(inode.fs().geo.block_size) - 1;
        let partial = (pos | count) & mask != 0;
        if partial && iocb.is_whole() {
            return Err(EINVAL);
        }
        let extends = is_beyond(inode, end) || partial && zeroes_tail(inode, end);
        Ok(Self { partial, extends })
    }
}

/// Rule 11: whether a write of parts of blocks that ends at `end` zeroes what lies behind, although
/// the file does not grow: iomap does it at the very end of the file, too. Somebody may append
/// there meanwhile, and the zeros would go over his bytes (race 22).
fn zeroes_tail(inode: &Inode, end: u64) -> bool {
    end == inode.size() && rule::kept(Rule::EofAlone)
}

/// Whole blocks inside the file, i_rwsem shared: no other write is in the way. Two that overlap
/// may leave blocks of either, as they may on a disk. A truncate waits for i_rwsem, and then for
/// the end of the I/O.
fn write_aligned<'a>(
    iocb: Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    lock: SharedLock<'a>,
) -> Io<'a, Rext4> {
    let mut done = 0;
    let (iocb, result) = transfer(iocb, from, DioFlags::default(), &mut done)?;
    drop(lock);
    finish_unqueued(iocb, from, (done, result), None)
}

/// Parts of blocks inside the file. Over written blocks they are bytes as others, and i_rwsem
/// shared will do. In a hole or an unwritten block iomap zeroes the rest of the block, which may be
/// where another write of this block puts its bytes: then `map_write` says `EAGAIN`, before a byte
/// is taken from the caller, and the write begins again, alone.
fn write_unaligned<'a>(
    iocb: Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    lock: SharedLock<'a>,
) -> Io<'a, Rext4> {
    let flags = DioFlags {
        overwrite_only: true,
        ..DioFlags::default()
    };
    let mut done = 0;
    let (iocb, result) = transfer(iocb, from, flags, &mut done)?;
    drop(lock);
    match result {
        Err(e) if e == EAGAIN && !iocb.nowait() => {
            let bytes = iocb.pos()..iocb.pos() + from.len() as u64;
            lab::point(Point::DioAgain, iocb.inode(), bytes);
            write_alone(iocb, from)
        }
        result => finish_unqueued(iocb, from, (done, result), None),
    }
}

/// All others, i_rwsem exclusive: what moves a size, or zeroes parts of blocks, which no other
/// write to them may see half done. Those begin when no direct I/O is in flight (asynchronous ones
/// hold no lock), and are over before the lock goes. What is only here to strip privileges (that
/// changes the mode) need not wait.
fn write_alone<'a>(mut iocb: Kiocb<'a, Rext4>, from: &mut IovIterSource<'_>) -> Io<'a, Rext4> {
    let (lock, wait, bytes) = match enter_alone(&mut iocb, from) {
        Ok(Some(entered)) => entered,
        Ok(None) => return iocb.done(Ok(0)),
        Err(e) => return iocb.done(Err(e)),
    };
    // Rule 14.
    if !iocb.may_write_direct(from) {
        return finish_unqueued(iocb, from, (0, Err(ENOTBLK)), Some(lock));
    }
    let flags = DioFlags {
        force_wait: wait,
        ..DioFlags::default()
    };
    let mut done = 0;
    let (iocb, result) = transfer(iocb, from, flags, &mut done)?;
    // Where a page would not go nothing was asked of the blocks: what is behind the end is as it
    // was.
    if wait && !matches!(result, Err(e) if e == ENOTBLK) {
        // Rule 11.
        eof::after_write(&lock, bytes);
    }
    finish_unqueued(iocb, from, (done, result), Some(lock))
}

/// Returns the lock, whether the write is to wait, and its bytes. `None` if there is nothing to
/// write.
fn enter_alone<'a>(
    iocb: &mut Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
) -> Result<Option<(Lock<'a>, bool, Range<u64>)>> {
    let lock = iocb.lock()?;
    let count = match super::write_checks(iocb, from, &lock)? {
        0 => return Ok(None),
        count => count as u64,
    };
    let needs = Needs::of(iocb, count)?;
    let wait = needs.extends || needs.partial;
    let bytes = iocb.pos()..iocb.pos() + count;
    lab::point(Point::DioAlone, iocb.inode(), bytes.clone());
    if wait {
        if iocb.nowait() {
            return Err(EAGAIN);
        }
        lock.dio_wait()?;
        lab::point(Point::DioDrained, iocb.inode(), bytes.clone());
    }
    // Rule 11.
    eof::before_write(&lock, bytes.clone())?;
    iocb.modified(&lock)?;
    Ok(Some((lock, wait, bytes)))
}

/// How a write ends that was not queued: `result`, or by way of the page cache. `lock` is held if
/// i_rwsem is.
fn finish_unqueued<'a>(
    mut iocb: Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    (done, result): (usize, Result<usize>),
    lock: Option<Lock<'a>>,
) -> Io<'a, Rext4> {
    match result {
        // The page cache would write it as it likes. iomap says so itself, but for a lost race.
        Err(e) if e == ENOTBLK && iocb.is_whole() => iocb.done(Err(EAGAIN)),
        // Rules 7 and 14: some page would not go, or a part of a block. Through it, then.
        Err(e) if e == ENOTBLK && rule::kept(Rule::Fallback) => {
            let rest = write_through(&mut iocb, from, lock);
            iocb.done(after(done, rest))
        }
        result => iocb.done(result),
    }
}

/// The page cache could not be invalidated, or has to put blocks together to be encrypted, so the
/// write goes through it, is written out, and the pages are dropped if they let go now. Whoever
/// reads, the data is the same. i_rwsem exclusive while it is copied, as any buffered write.
#[cold]
fn write_through<'a>(
    iocb: &mut Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    lock: Option<Lock<'a>>,
) -> Result<usize> {
    let inode = iocb.inode();
    let bytes = iocb.pos()..iocb.pos() + from.len() as u64;
    lab::point(Point::DioFallBack, inode, bytes);
    if iocb.nowait() {
        // What goes through it is waited for.
        return Err(EAGAIN);
    }
    let lock = match lock {
        Some(lock) => lock,
        None => iocb.lock()?,
    };
    iocb.clear_direct();
    if super::write_checks(iocb, from, &lock)? == 0 {
        return Ok(0);
    }
    let start = iocb.pos();
    trace::dio_fall_back(inode, start, from.len() as u64);
    let written = buffered::write_locked(iocb, from, &lock)?;
    drop(lock);
    let end = start + written as u64;
    lab::point(Point::DioFellBack, inode, start..end);
    // Who goes on from the file's position must not leave out what was lost.
    inode
        .write_and_wait(start..end)
        .inspect_err(|_| iocb.go_back(start))?;
    // A page that stays is uptodate and clean: nothing is stale.
    if pinned::begin_drop().is_ok() {
        let _ = inode.invalidate_pagecache(start..end);
        pinned::end_drop();
    }
    iocb.write_sync(written)
        .inspect_err(|_| iocb.go_back(start))
}

/// Moves the data. `done` counts what is written, also if the rest fails; the result does too.
fn transfer<'a>(
    iocb: Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    flags: DioFlags,
    done: &mut usize,
) -> Io<'a, Rext4> {
    let file = iocb.file();
    lab::detach_cache(file);
    let io = if gate::is_used(iocb.inode()) {
        write_gated(iocb, from, flags, done)
    } else {
        dio::write::<DirectWriteOps>(iocb, from, flags)
    };
    lab::attach_cache(file);
    io
}

/// Rules 8 and 9: the user memory is pinned before the gate closes, a chunk at a time, so that no
/// fault happens while it is closed (see `gate.rs`). A request of more than one chunk waits for
/// each; i_rwsem is held over all of them, so nobody's append comes in between.
fn write_gated<'a>(
    mut iocb: Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    mut flags: DioFlags,
    done: &mut usize,
) -> Io<'a, Rext4> {
    loop {
        let source = match UserSource::new(from).filter(|_| rule::kept(Rule::Pin)) {
            None => DioSource::Other(from),
            Some(user) => match pin_chunk(&iocb, user) {
                Ok(pinned) => DioSource::Pinned(pinned),
                Err(e) => return iocb.done(after(*done, Err(e))),
            },
        };
        flags.force_wait |= !source.is_all();
        let result;
        (iocb, result) = dio::write_guarded::<DirectWriteOps, Gate>(iocb, source, flags)?;
        match result {
            Ok(0) => return iocb.done(Ok(*done)),
            Ok(written) => *done += written,
            Err(e) if e == ENOTBLK => return iocb.done(Err(e)),
            Err(e) => return iocb.done(after(*done, Err(e))),
        }
        if from.is_empty() {
            return iocb.done(Ok(*done));
        }
    }
}

/// Pins the next chunk of a gated write. Only the first may begin inside of a block, only the last
/// end in one.
fn pin_chunk<'i, 'd>(
    iocb: &Kiocb<'_, Rext4>,
    from: UserSource<'i, 'd>,
) -> Result<dio::Pinned<'i, 'd>> {
    let block = iocb.inode().fs().geo.block_size as usize;
    let max = CHUNK - (iocb.pos() as usize & (block - 1));
    let pinned = dio::Pinned::new(iocb, from, max, block)?;
    if !pinned.is_all() && iocb.nowait() && !iocb.is_sync() {
        // Would have to wait for the first chunk.
        pinned.put_back();
        return Err(EAGAIN);
    }
    Ok(pinned)
}

/// The result of a write of which `done` bytes are written and the rest gave `rest`.
fn after(done: usize, rest: Result<usize>) -> Result<usize> {
    match rest {
        Ok(more) => Ok(done + more),
        Err(_) if done > 0 => Ok(done),
        Err(e) => Err(e),
    }
}
