// SPDX-License-Identifier: GPL-2.0

//! Directories and names.
//!
//! The VFS holds the directory's i_rwsem: shared for lookup and readdir, exclusive for all that
//! changes it. That is the lock of the contents of directory blocks (see [`dirblock`]): where an
//! operation has found a name it stays, but for the operation's own changes.
//!
//! An operation that changes names runs in one handle, which makes it atomic. Within the handle
//! what may fail (space, reading) comes before what changes, for which see [`apply`]. A new inode
//! whose name could not be added goes on the orphan list in the same handle, and its eviction,
//! which must wait for the end of the handle, frees it.
//!
//! Format: `Documentation/filesystems/ext4/directory.rst`.

mod add;
mod create;
mod dirblock;
mod found;
mod htree;
mod lookup;
mod positions;
mod readdir;
mod remove;
mod rename;
mod symlink;

pub(crate) use create::{create, link, mkdir, mknod, tmpfile};
pub(super) use lookup::is_empty;
pub(crate) use lookup::{lookup, parent};
pub(crate) use positions::byte_positions;
pub(crate) use readdir::{readdir, DirFile};
pub(crate) use remove::{rmdir, unlink};
pub(crate) use rename::rename;
pub(crate) use symlink::{read_target, symlink};

use super::{
    alloc,
    inode::{self, journal},
    itable::Iloc,
    lab::{self, Point},
    orphan,
    Inode,
    Rext4, //
};
use crate::{
    disk::{features, inode::flags, inode::LINK_MAX, Corrupt, Ino, Lblk},
    vfs::{jbd2::Handle, Dentry},
};
use core::ops::Deref;
use kernel::{
    error::{code::*, Error},
    prelude::*,
};

/// Reports block `lblk` of a directory as corrupt.
fn bad_dirblock(dir: &Inode, lblk: Lblk, what: Corrupt) -> Error {
    dir.corrupted(fmt!("directory block {lblk}: {}", what.as_str()))
}

/// Whether an inode may have a name in the directory: one that hands its project on has nothing of
/// another. `EXDEV`, so that programs copy it.
fn check_project(dir: &Inode, inode: &Inode) -> Result {
    let info = dir.info();
    if info.flags() & flags::PROJINHERIT != 0 && info.projid() != inode.info().projid() {
        return Err(EXDEV);
    }
    Ok(())
}

/// Length of a directory in blocks. There are no holes in it, so one that is longer than the disk
/// is damaged: to go through the same blocks again and again would take minutes for each name.
fn dir_blocks(dir: &Inode) -> Result<u32> {
    let size = dir.size();
    let blocks = blocks_within(dir);
    if blocks > 0 && u64::from(blocks) << dir.fs().geo.block_bits == size {
        Ok(blocks)
    } else {
        Err(dir.corrupted(fmt!("directory of {size} bytes")))
    }
}

/// The same of one that may be damaged: as far as it can reach.
fn blocks_within(dir: &Inode) -> u32 {
    let geo = &dir.fs().geo;
    let blocks = dir.size() >> geo.block_bits;
    u32::try_from(blocks.min(geo.blocks_count)).unwrap_or(u32::MAX)
}

/// Whether a directory has an index.
fn is_indexed(dir: &Inode) -> bool {
    dir.info().flags() & flags::INDEX != 0
}

/// The most inodes that an operation writes: two directories, and two that have names there.
const MAX_WRITTEN: usize = 4;

/// The handle of an operation, and where the inodes lie that it writes: [`apply`] does not read
/// ([`inode::hold_iloc`]).
struct NameiHandle<'a> {
    handle: Handle<'a>,
    tables: [Option<(Ino, Iloc)>; MAX_WRITTEN],
}

impl<'a> Deref for NameiHandle<'a> {
    type Target = Handle<'a>;

    fn deref(&self) -> &Handle<'a> {
        &self.handle
    }
}

impl NameiHandle<'_> {
    /// Brings an inode into its table, as [`inode::journal`].
    fn journal(&self, inode: &Inode) -> Result {
        let mut known = self.tables.iter().flatten();
        match known.find(|(ino, _)| *ino == inode.ino()) {
            Some((_, table)) => inode::journal_at(&self.handle, inode, table),
            None => journal(&self.handle, inode),
        }
    }
}

/// Starts a handle for a change of `dir`, durable on return where the directory asks for that,
/// which writes the inodes `written`, some of which may be the same.
fn start_change<'a>(dir: &'a Inode, credits: u32, written: &[&Inode]) -> Result<NameiHandle<'a>> {
    let mut tables = [const { None }; MAX_WRITTEN];
    let mut last = None;
    for (table, inode) in tables.iter_mut().zip(written) {
        let ino = inode.ino();
        if last.replace(ino) != Some(ino) {
            *table = Some((ino, inode::hold_iloc(inode)?));
        }
    }
    let handle = dir.fs().start(credits)?;
    if dir.is_dirsync() {
        handle.set_sync();
    }
    Ok(NameiHandle { handle, tables })
}

/// What may go wrong before an operation has changed anything, for the lab.
const ERRORS: &[Error] = &[EIO, ENOMEM, ENOSPC];

/// Runs an operation, again if it found no space but a commit may make some: what was freed since
/// the last one cannot be used yet. The operation leaves no handle open.
fn with_retry(dir: &Inode, mut operation: impl FnMut() -> Result) -> Result {
    alloc::retry(dir.sb(), alloc::Effort::Commit, || {
        lab::may_fail(Point::NameChange, dir, 0..u64::MAX, ERRORS)?;
        operation()
    })?;
    lab::point(Point::NameChanged, dir, 0..u64::MAX);
    Ok(())
}

/// Makes the changes of an operation that must happen all or not at all, and stops the handle.
/// What can be foreseen to fail (space, reading, memory) was done before: `change` does not
/// allocate, and what it needs of the disk is in memory. If something fails all the same the
/// journal is aborted: half an operation must not commit.
fn apply(operation: NameiHandle<'_>, change: impl FnOnce(&NameiHandle<'_>) -> Result) -> Result {
    let result = change(&operation);
    if let Err(e) = result {
        if !operation.is_aborted() {
            pr_err!("rext4: change of a directory failed half way ({e:?})\n");
            operation.handle.journal().abort(e);
        }
    }
    result.and(operation.handle.stop())
}

/// Notes a change of a directory's entries in its inode.
fn touch(handle: &NameiHandle<'_>, dir: &Inode) -> Result {
    dir.touch_mtime();
    handle.journal(dir)
}

/// Whether a directory can have one more subdirectory. With dir_nlink the count of an indexed
/// directory stays at 1, "unknown", when it gets too large.
fn check_dir_links(dir: &Inode) -> Result {
    let fs = dir.fs();
    let unlimited = fs.geo.features.has_ro_compat(features::RO_COMPAT_DIR_NLINK) && is_indexed(dir);
    if dir.nlink() >= u32::from(LINK_MAX) && !unlimited {
        Err(EMLINK)
    } else {
        Ok(())
    }
}

/// Counts a new subdirectory.
fn inc_dir_links(dir: &Inode) {
    let links = dir.nlink();
    if links == 1 {
        return;
    }
    dir.set_nlink(match links + 1 {
        n if n > u32::from(LINK_MAX) => 1,
        n => n,
    });
}

/// Counts a subdirectory less.
fn dec_dir_links(dir: &Inode) {
    if dir.nlink() > 2 {
        dir.set_nlink(dir.nlink() - 1);
    }
}

/// Takes a link from an inode whose name is gone (all of them if it is a directory), and remembers
/// an inode without links so that a crash before its eviction does not leak it.
fn drop_links(handle: &NameiHandle<'_>, inode: &Inode, room: orphan::Room) -> Result {
    inode.touch_ctime();
    inode.set_nlink(if inode.is_dir() {
        0
    } else {
        inode.nlink().saturating_sub(1)
    });
    if inode.nlink() == 0 {
        orphan::add(handle, inode, room)?;
    }
    handle.journal(inode)
}

/// Checks that the inode of a dentry is the one that the directory's entry names.
fn check_target(dir: &Inode, dentry: &Dentry<Rext4>, ino: Ino) -> Result {
    match dentry.inode() {
        None => Err(ENOENT),
        Some(inode) if inode.ino() == ino => Ok(()),
        Some(inode) => Err(dir.corrupted(fmt!(
            "directory entry names inode {ino} instead of {}",
            inode.ino()
        ))),
    }
}
