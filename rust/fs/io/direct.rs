// SPDX-License-Identifier: GPL-2.0

//! Rules 7, 8, 9 and 11: direct I/O, how it is begun and under which locks.
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
//! | write                                 | i_rwsem   | waits for completion |
//! |---------------------------------------|-----------|----------------------|
//! | inside the file, whole blocks         | shared    | if the request does  |
//! | inside, parts of blocks               | shared, only over written blocks; else exclusive, alone |
//! | parts of blocks, ends at the end      | exclusive | always               |
//! | beyond the size in memory, or on disk | exclusive | always               |
//!
//! "Always" is for more than the locks: only of a write that waits iomap runs the completion in a
//! task, whatever it has to do (`DioOps`). The size on disk counts for that reason: it may trail,
//! and the write that moves it starts a handle.

mod map;

use map::{is_beyond, DirectReadOps, DirectWriteOps};

use super::{
    buffered,
    eof,
    gate::{self, Gate},
    pinned, //
};
use crate::{
    fs::{
        lab,
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    trace,
    vfs::{
        dio::{self, DioFlags},
        inode::{InodeLock, InodeLockShared},
        uio,
        Io,
        IovIterDest,
        IovIterSource,
        Kiocb, //
    },
};
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
pub(crate) fn read<'a>(iocb: Kiocb<'a, Rext4>, to: &mut IovIterDest<'_>) -> Io<'a, Rext4> {
    if to.is_empty() {
        return iocb.done(Ok(0));
    }
    iocb.accessed();
    let (file, inode) = (iocb.file(), iocb.inode());
    let _lock = match lock(&iocb, false) {
        Ok(lock) => lock,
        Err(e) => return iocb.done(Err(e)),
    };
    trace::dio_read(inode, iocb.pos(), to.len() as u64);
    lab::detach_cache(file);
    let io = dio::read::<DirectReadOps>(iocb, to);
    lab::attach_cache(file);
    io
}

/// i_rwsem, one way or the other.
enum Locked<'a> {
    Shared(InodeLockShared<'a, Rext4>),
    Exclusive(InodeLock<'a, Rext4>),
}

fn lock<'a>(iocb: &Kiocb<'a, Rext4>, exclusive: bool) -> Result<Locked<'a>> {
    let inode = iocb.inode();
    Ok(match (exclusive, iocb.nowait()) {
        (true, true) => Locked::Exclusive(inode.try_lock()?),
        (true, false) => Locked::Exclusive(inode.lock()),
        (false, true) => Locked::Shared(inode.try_lock_shared()?),
        (false, false) => Locked::Shared(inode.lock_shared()),
    })
}

/// Before i_rwsem is taken for the first time. Returns whether to take it exclusive.
fn begin(iocb: &Kiocb<'_, Rext4>, from: &IovIterSource<'_>) -> Result<bool> {
    let inode = iocb.inode();
    super::check_writable(inode)?;
    let range = iocb.pos()..iocb.pos() + from.len() as u64;
    let exclusive = is_beyond(inode, range.end);
    if gate::is_used(inode) {
        gate::yield_to(inode, range, iocb.nowait())?;
    }
    Ok(exclusive || iocb.needs_remove_privs())
}

/// Takes i_rwsem, checks limits. Returns the bytes left to write.
fn enter<'a>(
    iocb: &mut Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    exclusive: bool,
) -> Result<(Locked<'a>, u64)> {
    let locked = lock(iocb, exclusive)?;
    let count = match &locked {
        Locked::Shared(lock) => iocb.write_checks(from, lock)?,
        Locked::Exclusive(lock) => iocb.write_checks(from, lock)?,
    };
    Ok((locked, count as u64))
}

/// `write_iter` with O_DIRECT.
pub(crate) fn write<'a>(mut iocb: Kiocb<'a, Rext4>, from: &mut IovIterSource<'_>) -> Io<'a, Rext4> {
    let inode = iocb.inode();
    let mask = u64::from(inode.fs().geo.block_size) - 1;
    let mut exclusive = match begin(&iocb, from) {
        Ok(exclusive) => exclusive,
        Err(e) => return iocb.done(Err(e)),
    };
    let mut done = 0;
    loop {
        let (locked, count) = match enter(&mut iocb, from, exclusive) {
            Ok((_, 0)) => return iocb.done(Ok(0)),
            Ok(entered) => entered,
            Err(e) => return iocb.done(Err(e)),
        };
        // Known only now: O_APPEND has set the position, and the size may have changed.
        let pos = iocb.pos();
        trace::dio_write(inode, pos, count);
        let partial = (pos | count) & mask != 0;
        let extends = is_beyond(inode, pos + count) || partial && zeroes_tail(inode, pos + count);
        // Cannot start again with its second chunk.
        let restarts = partial && count > CHUNK as u64 && gate::is_used(inode);
        let (result, lock);
        match locked {
            Locked::Shared(_) if extends || restarts => {
                exclusive = true;
                continue;
            }
            Locked::Shared(shared) => match iocb.modified_shared(&shared) {
                Ok(true) => {
                    let flags = DioFlags {
                        overwrite_only: partial,
                        ..DioFlags::default()
                    };
                    (iocb, result) = transfer(iocb, from, flags, &mut done)?;
                    lock = None;
                }
                Ok(false) => {
                    exclusive = true;
                    continue;
                }
                Err(e) => return iocb.done(Err(e)),
            },
            Locked::Exclusive(_) if iocb.nowait() && (extends || partial) => {
                return iocb.done(Err(EAGAIN));
            }
            Locked::Exclusive(alone) => {
                (iocb, result) = write_alone(iocb, from, &alone, extends || partial, &mut done)?;
                lock = Some(alone);
            }
        }
        match result {
            Err(e) if e == EAGAIN && partial && !exclusive && !iocb.nowait() => exclusive = true,
            // Rule 7: some page would not go. Through it, then.
            Err(e) if e == ENOTBLK && rule::kept(Rule::Fallback) => {
                let rest = fall_back(&mut iocb, from, lock);
                return iocb.done(after(done, rest));
            }
            other => return iocb.done(other),
        }
    }
}

/// Rule 11: whether a write of parts of blocks that ends at `end` zeroes what lies behind, although
/// the file does not grow: iomap does it at the very end of the file, too. Somebody may append
/// there meanwhile, and the zeros would go over his bytes (race 22).
fn zeroes_tail(inode: &Inode, end: u64) -> bool {
    end == inode.size() && rule::kept(Rule::EofAlone)
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
    let pin = uio::is_user(from) && rule::kept(Rule::Pin);
    let block = iocb.inode().fs().geo.block_size as usize;
    loop {
        let (mut source, mut whole) = (None, true);
        if pin {
            // Only the first chunk may begin inside of a block, only the last end in one.
            let max = CHUNK - (iocb.pos() as usize & (block - 1));
            match dio::Pinned::new(&iocb, from, max, block) {
                Ok(pinned) => source = Some(pinned),
                Err(e) => return iocb.done(after(*done, Err(e))),
            }
            whole = from.is_empty();
        }
        if !whole && iocb.nowait() && !iocb.is_sync() {
            // Would have to wait for the first chunk.
            if let Some(pinned) = source {
                pinned.put_back(from);
            }
            return iocb.done(Err(EAGAIN));
        }
        flags.force_wait |= !whole;
        let result;
        (iocb, result) = dio::write_guarded::<DirectWriteOps, Gate>(iocb, from, source, flags)?;
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

/// The result of a write of which `done` bytes are written and the rest gave `rest`.
fn after(done: usize, rest: Result<usize>) -> Result<usize> {
    match rest {
        Ok(more) => Ok(done + more),
        Err(_) if done > 0 => Ok(done),
        Err(e) => Err(e),
    }
}

/// With i_rwsem held exclusive. `wait`: it grows the file, or zeroes parts of blocks, which no
/// other write to those blocks may see half done.
fn write_alone<'a>(
    mut iocb: Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    lock: &InodeLock<'_, Rext4>,
    wait: bool,
    done: &mut usize,
) -> Io<'a, Rext4> {
    if wait {
        lock.dio_wait();
    }
    let end = iocb.pos() + from.len() as u64;
    // Rule 11.
    let ready = eof::before_write(lock, iocb.pos(), end);
    if let Err(e) = ready.and_then(|()| iocb.modified(lock)) {
        return iocb.done(Err(e));
    }
    let flags = DioFlags {
        force_wait: wait,
        ..DioFlags::default()
    };
    transfer(iocb, from, flags, done)
}

/// The page cache could not be invalidated, so the write goes through it, is written out, and
/// the pages are dropped if they let go now. Whoever reads, the data is the same.
fn fall_back(
    iocb: &mut Kiocb<'_, Rext4>,
    from: &mut IovIterSource<'_>,
    lock: Option<InodeLock<'_, Rext4>>,
) -> Result<usize> {
    let inode = iocb.inode();
    let lock = match (lock, iocb.nowait()) {
        (Some(lock), _) => lock,
        (None, true) => return Err(EAGAIN),
        (None, false) => inode.lock(),
    };
    iocb.clear_direct();
    if iocb.write_checks(from, &lock)? == 0 {
        return Ok(0);
    }
    let start = iocb.pos();
    trace::dio_fall_back(inode, start, from.len() as u64);
    let written = buffered::write_locked(iocb, from, &lock)?;
    drop(lock);
    let end = start + written as u64;
    inode.write_and_wait(start, end)?;
    // A page that stays is uptodate and clean: nothing is stale.
    if pinned::begin(inode).is_ok() {
        let _ = inode.invalidate_pagecache(start, end);
        pinned::end(inode);
    }
    iocb.write_sync(written)
}
