// SPDX-License-Identifier: GPL-2.0

//! From a name to an inode.

use super::{
    bad_dirblock,
    blocks_within,
    dir_blocks,
    dirblock::{hole_until, read_ahead, DirBlock, DirBlockKind},
    found::FoundEntry,
    htree::Path,
    is_indexed,
    Inode, //
};
use crate::{
    disk::{
        dirent::{self, Dots, NAME_MAX},
        Ino, Lblk,
    },
    fs::{
        inode::iget,
        lab::{self, Point},
        InodeRef, Rext4,
    },
    vfs::{fscrypt::DiskName, InLookup},
};
use kernel::{error::code::*, prelude::*};

/// Blocks to read ahead where a directory is read from end to end.
const READ_AHEAD: u32 = 8;

/// The inode that `dentry` is to name in `dir`, `None` if there is none. i_rwsem of `dir` is held,
/// shared.
pub(crate) fn lookup<'a>(dir: &'a Inode, dentry: &InLookup<Rext4>) -> Result<Option<InodeRef<'a>>> {
    if dentry.name().len() > NAME_MAX {
        return Err(ENAMETOOLONG);
    }
    lab::may_fail(Point::NameLookup, dir, 0..u64::MAX, &[EIO, ENOMEM])?;
    let Some(name) = DiskName::to_look_up(dir, dentry)? else {
        return Ok(None);
    };
    let Some(found) = find_entry(dir, &name)? else {
        return Ok(None);
    };
    let ino = found.ino;
    drop(found);
    lab::may_fail(Point::NameFound, dir, 0..u64::MAX, &[EIO, ENOMEM])?;
    follow(dir, ino).map(Some)
}

/// The directory that `dir` is in. Takes i_rwsem of `dir`, shared: nobody moves or removes it, so
/// its parent stays.
pub(crate) fn parent(dir: &Inode) -> Result<InodeRef<'_>> {
    let _lock = dir.lock_shared();
    if dir.nlink() == 0 {
        return Err(ESTALE);
    }
    let ino = read_dots(dir)?.1.parent;
    let parent = follow(dir, ino)?;
    if parent.is_dir() {
        Ok(parent)
    } else {
        Err(dir.corrupted(fmt!("\"..\" names inode {ino}, which is no directory")))
    }
}

/// The inode that an entry of `dir` names. i_rwsem of `dir` is held.
fn follow(dir: &Inode, ino: Ino) -> Result<InodeRef<'_>> {
    // A directory that contains itself would send every walk of the tree round in circles.
    if !dir.fs().geo.inode_valid(ino) || ino == dir.ino() {
        return Err(dir.corrupted(fmt!("directory entry names inode {ino}")));
    }
    // Nobody can have removed the inode and its name since: i_rwsem.
    iget(dir.sb(), ino).map_err(|e| {
        if e == ESTALE {
            dir.corrupted(fmt!("directory entry names deleted inode {ino}"))
        } else {
            e
        }
    })
}

/// For who reads all `blocks` of the directory one after the other: begins to read those behind
/// `lblk`.
pub(super) fn read_ahead_from(dir: &Inode, lblk: Lblk, blocks: u32) {
    let lblk = lblk.get();
    if lblk % READ_AHEAD == 0 {
        let end = blocks.min(lblk.saturating_add(READ_AHEAD));
        for ahead in (lblk + 1..end).map(Lblk::new) {
            read_ahead(dir, ahead);
        }
    }
}

/// Finds an entry.
pub(super) fn find_entry(dir: &Inode, name: &DiskName<'_>) -> Result<Option<FoundEntry>> {
    if !is_indexed(dir) {
        return scan(dir, name, 0, false);
    }
    match find_indexed(dir, name) {
        // Reported. The names are all there without the index, but that one is not among those
        // that can be read proves nothing.
        Err(e) if e == EUCLEAN => scan(dir, name, 1, true)?.map_or(Err(e), |found| Ok(Some(found))),
        result => result,
    }
}

fn find_indexed(dir: &Inode, name: &DiskName<'_>) -> Result<Option<FoundEntry>> {
    let mut path = Path::open(dir)?;
    let major = name
        .bytes()
        .map_or(name.hash().0, |bytes| path.hash(bytes).major);
    path.seek(dir, major)?;
    // An index has no more leaves than the directory has blocks, unless it names some twice.
    for _ in 0..blocks_within(dir) {
        dir.go_on()?;
        if let Ok(found) = path.leaf(dir)?.search(dir, name)? {
            return Ok(Some(found));
        }
        // Names of one hash may go on in the next leaf, which is marked then.
        match path.advance(dir)? {
            Some(hash) if hash == major | 1 => {}
            _ => return Ok(None),
        }
    }
    Err(dir.corrupted(fmt!("directory index: more leaves than blocks")))
}

/// Looks into all blocks from `first` on. `lenient`: leaves out what cannot be read. Of holes that
/// is told by the size of the directory, which may be as damaged: millions, and a report for each.
/// So it is where the map cannot be read, and there it ends.
fn scan(dir: &Inode, name: &DiskName<'_>, first: u32, lenient: bool) -> Result<Option<FoundEntry>> {
    let count = if lenient {
        blocks_within(dir)
    } else {
        dir_blocks(dir)?
    };
    let mut next = Lblk::new(first);
    while next.get() < count {
        let lblk = next;
        dir.go_on()?;
        if lenient {
            match hole_until(dir, lblk.until(Lblk::new(count))) {
                Ok(Some(end)) => {
                    next = end;
                    continue;
                }
                Ok(None) => {}
                Err(_) => return Ok(None),
            }
        }
        next = Lblk::new(lblk.get() + 1);
        read_ahead_from(dir, lblk, count);
        let result = DirBlock::read_any(dir, lblk).and_then(|block| match block {
            Some(block) => Ok(block.search(dir, name)?.ok()),
            None => Ok(None),
        });
        match result {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(_) if lenient => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// Whether a directory holds nothing but `.` and `..`. Its i_rwsem is held.
pub(in crate::fs) fn is_empty(dir: &Inode) -> Result<bool> {
    let count = dir_blocks(dir)?;
    read_dots(dir)?;
    for lblk in (0..count).map(Lblk::new) {
        dir.go_on()?;
        read_ahead_from(dir, lblk, count);
        if let Some(block) = DirBlock::read_any(dir, lblk)? {
            if !dirent::is_empty(block.view(), &dir.fs().geo)
                .map_err(|e| bad_dirblock(dir, lblk, e))?
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Block 0 of a directory and what `.` and `..` in it say.
pub(super) fn read_dots(dir: &Inode) -> Result<(DirBlock, Dots)> {
    let kind = if is_indexed(dir) {
        DirBlockKind::Root
    } else {
        DirBlockKind::Leaf
    };
    let block = DirBlock::read(dir, Lblk::FIRST, kind)?;
    let dots =
        dirent::dots(block.view(), &dir.fs().geo).map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
    if dots.ino != dir.ino() {
        return Err(dir.corrupted(fmt!("\".\" names inode {}", dots.ino)));
    }
    Ok((block, dots))
}
