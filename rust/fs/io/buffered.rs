// SPDX-License-Identifier: GPL-2.0

//! Rules 11 and 12: reads and writes through the page cache, the system calls. What could never be
//! written is not accepted (12), and before the file grows its old end is put in order (11, in
//! `eof.rs`). The mappings that they are made of, and what is reserved below them, are in
//! `delalloc.rs`.
//!
//! A read takes no lock that a write holds, so it may see a part of one: as in ext4, unlike XFS.
//! What is promised is at the end of Documentation/data-path.md.

use super::{delalloc::BufferedWriteOps, eof};
use crate::{
    fs::{
        lab::{self, Point},
        rule::{self, Rule},
        Rext4, //
    },
    trace,
    vfs::{
        inode::InodeLock,
        iomap,
        kiocb::RequestLock,
        Io,
        IovIterDest,
        IovIterSource,
        Kiocb, //
    },
};
use kernel::{error::code::*, prelude::*};

/// `read_iter` without O_DIRECT.
pub(crate) fn buffered_read<'a>(iocb: Kiocb<'a, Rext4>, to: &mut IovIterDest<'_>) -> Io<'a, Rext4> {
    let (inode, pos, len) = (iocb.inode(), iocb.pos(), to.len() as u64);
    trace::buffered_read(inode, pos, len);
    lab::point(Point::Read, inode, pos..pos + len);
    iocb.filemap_read(to)
}

/// `write_iter` without O_DIRECT. A request that must not sleep is done as far as locks are free,
/// the extents in memory and the folios there or to be had, and the times of the file need no
/// change; else it is `EAGAIN`, and whoever made it comes back from where it may sleep.
pub(crate) fn buffered_write(
    iocb: &mut Kiocb<'_, Rext4>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    // Rule 12.
    super::check_writable(iocb.inode())?;
    if iocb.nowait() && iocb.is_dsync() {
        return Err(EAGAIN);
    }
    let lock = iocb.lock()?;
    if super::write_checks(iocb, from, &lock)? == 0 {
        return Ok(0);
    }
    let written = write_locked(iocb, from, &lock)?;
    drop(lock);
    let end = iocb.pos();
    let bytes = end.saturating_sub(written as u64)..end;
    lab::point(Point::WriteUnlocked, iocb.inode(), bytes);
    iocb.write_sync(written)
}

/// Writes to the page cache; limits are checked. Also the way out for direct writes.
pub(super) fn write_locked<'a>(
    iocb: &mut Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    lock: &RequestLock<'a, InodeLock<'a, Rext4>>,
) -> Result<usize> {
    let inode = iocb.inode();
    trace::buffered_write(inode, iocb.pos(), from.len() as u64);
    let old = inode.size();
    let bytes = iocb.pos()..iocb.pos() + from.len() as u64;
    lab::point(Point::WriteLocked, inode, bytes.clone());
    if iocb.nowait() && (lock.has_dio() || eof::is_before_write(inode, &bytes)) {
        return Err(EAGAIN);
    }
    // Rule 9. A direct write may be on its way to other bytes of a block that is read here: they
    // would be written over with what they were. Also of whole blocks one may be read (a copy that
    // ends early), and what is dirty beside the bytes of a direct write, in its folio, would stay
    // when that drops its range: fsync would say that data was lost. So all of it is waited for, as
    // in ext4; `EINTR` if killed.
    if rule::kept(Rule::DioWait) {
        lock.dio_wait()?;
    }
    // Rule 11.
    eof::before_write(lock, bytes)?;
    // Says `EAGAIN` itself: times are journaled, and a journal may have to be waited for.
    iocb.modified(lock)?;
    let written = iomap::buffered_write::<BufferedWriteOps>(iocb, from, lock);
    trace::isize_was(inode, old);
    written
}
