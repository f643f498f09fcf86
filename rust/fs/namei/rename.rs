// SPDX-License-Identifier: GPL-2.0

//! Renaming. That a directory does not become its own descendant, and that types fit, is checked
//! by the VFS.

use super::{
    add::{add_name, entry_for},
    apply, check_dir_links, check_project, check_target,
    create::{give_up, Unborn},
    dec_dir_links,
    dirblock::DirBlock,
    drop_links,
    found::{Added, FoundEntry},
    inc_dir_links,
    lookup::{find_entry, is_empty, read_dots},
    orphan, start_change, touch, with_retry, Inode, NameiHandle, Rext4,
};
use crate::{
    disk::{dirent, inode::S_IFCHR, Ino},
    fs::{
        credits,
        inode::NewKind,
        io::fsync,
        lab::{self, Point},
        HeldInode,
    },
    vfs::{
        fscrypt::DiskName,
        inode::{IdMap, NewInode},
        jbd2::Handle,
        namei::RenameFlags,
        Dentry,
    },
};
use kernel::{error::code::*, prelude::*};

/// Renames; `to` may name an inode that is replaced (or exchanged).
pub(crate) fn rename(
    from_dir: &Inode,
    from: &Dentry<Rext4>,
    to_dir: &Inode,
    to: &Dentry<Rext4>,
    flags: RenameFlags<'_>,
) -> Result {
    let (from, to) = (Side::new(from_dir, from)?, Side::new(to_dir, to)?);
    if let Some(old) = to.dentry.inode() {
        fsync::before_replace(from.inode()?)?;
        if flags.exchange() {
            fsync::before_replace(old)?;
        }
    }
    if flags.exchange() {
        lab::may_fail(Point::NameChange, to_dir, 0..u64::MAX, &[EIO, ENOMEM])?;
        exchange(&from, &to)?;
        lab::point(Point::NameChanged, to_dir, 0..u64::MAX);
        Ok(())
    } else {
        with_retry(to_dir, || replace(&from, &to, flags.whiteout()))
    }
}

/// A directory of a rename and the name in it.
struct Side<'a> {
    dir: &'a Inode,
    dentry: &'a Dentry<Rext4>,
    name: DiskName<'a>,
}

impl<'a> Side<'a> {
    fn new(dir: &'a Inode, dentry: &'a Dentry<Rext4>) -> Result<Self> {
        let name = DiskName::to_make(dir, dentry)?;
        Ok(Self { dir, dentry, name })
    }

    fn inode(&self) -> Result<&'a HeldInode> {
        self.dentry.inode().ok_or(ENOENT)
    }

    /// The entry, which names the dentry's inode.
    fn find_entry(&self) -> Result<FoundEntry> {
        let found = find_entry(self.dir, &self.name)?.ok_or(ENOENT)?;
        check_target(self.dir, self.dentry, found.ino)?;
        Ok(found)
    }

    /// `inode`, and the one that it replaces or is exchanged with, are written as well.
    fn start(
        &self,
        other: &Self,
        inode: &Inode,
        old: Option<&HeldInode>,
    ) -> Result<NameiHandle<'a>> {
        let old = old.map_or(inode, |old| old);
        let handle = start_change(
            self.dir,
            credits::RENAME,
            &[self.dir, other.dir, inode, old],
        )?;
        if other.dir.is_dirsync() {
            handle.set_sync();
        }
        Ok(handle)
    }
}

/// The `..` of a directory that moves to another parent, read before anything changes.
struct DotDot<'a> {
    dir: &'a Inode,
    block: DirBlock,
}

impl<'a> DotDot<'a> {
    /// `None` if `inode` is no directory or its parent stays the same.
    fn new(inode: &'a Inode, from: &Inode, to: &Inode) -> Result<Option<Self>> {
        if !inode.is_dir() || from.ino() == to.ino() {
            return Ok(None);
        }
        let (block, dots) = read_dots(inode)?;
        if dots.parent != from.ino() {
            return Err(inode.corrupted(fmt!(
                "\"..\" names inode {} instead of {}",
                dots.parent,
                from.ino()
            )));
        }
        Ok(Some(Self { dir: inode, block }))
    }

    fn set(&self, handle: &Handle<'_>, parent: Ino) -> Result {
        let (dir, geo) = (self.dir, &self.dir.fs().geo);
        self.block
            .change(handle, dir, |block| dirent::set_parent(block, geo, parent))
    }
}

/// What says at the old name that there is no such name any more, whatever a layer below has: a
/// character device without a number.
struct Whiteout<'a> {
    inode: NewInode<'a, Rext4>,
    /// Should it not be wanted after all.
    room: orphan::Room,
}

/// What a [`Whiteout`] is made of, before the handle.
struct FreshWhiteout<'d, 'b> {
    inode: Unborn<'d, 'b>,
    room: orphan::Room,
}

impl<'d, 'b> FreshWhiteout<'d, 'b> {
    fn new(dir: &'d Inode, owner: IdMap<'b>) -> Result<Self> {
        Ok(Self {
            inode: Unborn::new(dir, owner, S_IFCHR, NewKind::Device(0))?,
            room: orphan::Room::new()?,
        })
    }

    /// Allocates it in the handle, for the name that it takes.
    fn init(self, handle: &Handle<'_>, from: &Side<'_>) -> Result<Whiteout<'d>> {
        let inode = self.inode.init(handle, Some(from.dentry))?;
        let room = self.room;
        Ok(Whiteout { inode, room })
    }
}

/// The entries of a rename.
struct Names<'a> {
    old: FoundEntry,
    /// Of the inode that is replaced, if there is one.
    target: Option<FoundEntry>,
    /// Where the new name went, if there is none.
    added: Option<Added>,
    /// What the old name is to lead to.
    left: Option<&'a Inode>,
}

impl Names<'_> {
    /// Has the new name, `to`, lead to the inode, and removes the old one, `from`, or has it lead
    /// to what is left there. Needs no memory.
    #[inline(never)]
    fn change(
        self,
        handle: &Handle<'_>,
        (from, to): (&Side<'_>, &Side<'_>),
        inode: &Inode,
    ) -> Result {
        let same_dir = from.dir.ino() == to.dir.ino();
        let mut old = self.old;
        if let Some(target) = self.target {
            target.set_inode(handle, to.dir, inode)?;
        }
        if let Some(added) = self.added.filter(|_| same_dir) {
            old = added.follow(from.dir, &from.name, old)?;
        }
        match self.left {
            Some(left) => old.set_inode(handle, from.dir, left),
            None => old.delete(handle, from.dir),
        }
    }
}

// Each has a frame of its own, below which trees are changed.
#[inline(never)]
/// `owner`: of the whiteout that is left at the old name, if one is.
fn replace(from: &Side<'_>, to: &Side<'_>, owner: Option<IdMap<'_>>) -> Result {
    let inode = from.inode()?;
    let victim = to.dentry.inode();
    check_project(to.dir, inode)?;

    let old = from.find_entry()?;
    let target = match victim {
        Some(_) => Some(to.find_entry()?),
        None => None,
    };
    check_replaced(from, to)?;
    let dotdot = DotDot::new(inode, from.dir, to.dir)?;
    let room = orphan::Room::new()?;
    let fresh = match owner {
        Some(owner) => Some(FreshWhiteout::new(from.dir, owner)?),
        None => None,
    };

    let handle = from.start(to, inode, victim)?;
    let whiteout = match fresh {
        Some(fresh) => Some(fresh.init(&handle, from)?),
        None => None,
    };
    let added = match victim {
        // The last step for lack of space: no name has changed when it fails.
        None => match entry_for(&to.name, inode).and_then(|new| add_name(&handle, to.dir, &new)) {
            Ok(added) => Some(added),
            Err(e) => {
                if let Some(Whiteout { inode, room }) = whiteout {
                    give_up(handle, inode, room);
                }
                return Err(e);
            }
        },
        Some(_) => None,
    };
    let left = whiteout.as_ref().map(|whiteout| &*whiteout.inode);
    let names = Names {
        old,
        target,
        added,
        left,
    };
    let result = apply(handle, |handle| {
        names.change(handle, (from, to), inode)?;
        if let Some(dotdot) = &dotdot {
            dotdot.set(handle, to.dir.ino())?;
        }
        write_inodes(handle, (from, to), room)
    });
    // Nobody knows it before its name, and it must not go inside the handle.
    if let Some(whiteout) = whiteout {
        drop(whiteout.inode.publish());
    }
    result
}

/// Counts what directories have, and writes all inodes of a rename. Needs no memory.
fn write_inodes(
    handle: &NameiHandle<'_>,
    (from, to): (&Side<'_>, &Side<'_>),
    room: orphan::Room,
) -> Result {
    let (inode, victim) = (from.inode()?, to.dentry.inode());
    let same_dir = from.dir.ino() == to.dir.ino();
    if inode.is_dir() {
        // In the new parent one comes, and the victim, a directory too, goes.
        if victim.is_some() || !same_dir {
            dec_dir_links(from.dir);
        }
        if victim.is_none() && !same_dir {
            inc_dir_links(to.dir);
        }
    }
    inode.touch_ctime();
    handle.journal(inode)?;
    if let Some(victim) = victim {
        drop_links(handle, victim, room)?;
    }
    touch(handle, from.dir)?;
    if same_dir {
        Ok(())
    } else {
        touch(handle, to.dir)
    }
}

/// Whether the inode that goes may go, or the one that comes may come.
fn check_replaced(from: &Side<'_>, to: &Side<'_>) -> Result {
    match to.dentry.inode() {
        Some(victim) if victim.is_dir() && !is_empty(victim)? => Err(ENOTEMPTY),
        Some(_) => Ok(()),
        None if from.inode()?.is_dir() && from.dir.ino() != to.dir.ino() => check_dir_links(to.dir),
        None => Ok(()),
    }
}

#[inline(never)]
fn exchange(a: &Side<'_>, b: &Side<'_>) -> Result {
    let (inode_a, inode_b) = (a.inode()?, b.inode()?);
    let same_dir = a.dir.ino() == b.dir.ino();
    check_project(b.dir, inode_a)?;
    check_project(a.dir, inode_b)?;
    let (entry_a, entry_b) = (a.find_entry()?, b.find_entry()?);
    if inode_a.is_dir() != inode_b.is_dir() && !same_dir {
        check_dir_links(if inode_a.is_dir() { b.dir } else { a.dir })?;
    }
    let dotdot_a = DotDot::new(inode_a, a.dir, b.dir)?;
    let dotdot_b = DotDot::new(inode_b, b.dir, a.dir)?;

    apply(a.start(b, inode_a, Some(inode_b))?, |handle| {
        entry_a.set_inode(handle, a.dir, inode_b)?;
        entry_b.set_inode(handle, b.dir, inode_a)?;
        if let Some(dotdot) = &dotdot_a {
            dotdot.set(handle, b.dir.ino())?;
        }
        if let Some(dotdot) = &dotdot_b {
            dotdot.set(handle, a.dir.ino())?;
        }

        match (inode_a.is_dir(), inode_b.is_dir()) {
            (true, false) if !same_dir => {
                dec_dir_links(a.dir);
                inc_dir_links(b.dir);
            }
            (false, true) if !same_dir => {
                inc_dir_links(a.dir);
                dec_dir_links(b.dir);
            }
            _ => {}
        }
        inode_a.touch_ctime();
        inode_b.touch_ctime();
        handle.journal(inode_a)?;
        handle.journal(inode_b)?;
        touch(handle, a.dir)?;
        if same_dir {
            Ok(())
        } else {
            touch(handle, b.dir)
        }
    })
}
