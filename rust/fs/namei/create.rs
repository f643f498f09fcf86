// SPDX-License-Identifier: GPL-2.0

//! New inodes and new names.

use super::{
    add::{add_name, entry_for},
    apply, check_dir_links, check_project,
    dirblock::DirBlock,
    inc_dir_links, journal, orphan, start_change, touch, with_retry, Inode, NameiHandle, Rext4,
};
use crate::{
    disk::{
        inode::{LINK_MAX, S_IFDIR, S_IFMT, S_IFREG},
        xattr_edit::AttrChange,
    },
    fs::{
        acl::NewAcls,
        credits, crypt,
        inode::{init_new, Birth, NewKind},
        lab::{self, Point},
        xattr, HeldInode, InodeRef,
    },
    vfs::{
        fscrypt::DiskName,
        inode::{Fresh, IdMap, NewInode},
        jbd2::Handle,
        Dentry,
    },
};
use kernel::prelude::*;

/// An inode to be made.
#[derive(Clone, Copy)]
pub(super) struct WantedInode<'a> {
    pub(super) idmap: IdMap<'a>,
    pub(super) mode: u16,
    pub(super) kind: NewKind<'a>,
    /// What it needs beside itself and its name, in journal credits.
    pub(super) credits: u32,
}

/// Makes an inode and its name in `dir`, in one handle. `fill` runs in between: it gives a
/// directory or symbolic link its block, and journals the inode with that.
pub(super) fn make(
    dir: &Inode,
    dentry: &Dentry<Rext4>,
    mut wanted: WantedInode<'_>,
    fill: impl Fn(&Handle<'_>, &NewInode<'_, Rext4>) -> Result,
) -> Result {
    let name = DiskName::to_make(dir, dentry)?;
    wanted.credits += credits::ADD_NAME;
    with_retry(dir, || {
        let room = orphan::Room::new()?;
        let (new, handle) = start_with_inode(dir, Some(dentry), &wanted)?;
        let result =
            fill(&handle, &new).and_then(|()| add_name(&handle, dir, &entry_for(&name, &new)?));
        match result {
            Ok(_) => finish_make(dir, dentry, new, handle),
            Err(e) => {
                give_up(handle, new, room);
                Err(e)
            }
        }
    })
}

/// What an inode in `dir` is made of, before the handle that makes it.
pub(super) struct Unborn<'d, 'b> {
    inode: NewInode<'d, Rext4, Fresh>,
    dir: &'d Inode,
    acls: NewAcls,
    birth: Birth<'b>,
}

impl<'d, 'b> Unborn<'d, 'b> {
    /// Takes memory, the ACLs that it inherits and a key: may read the disk.
    pub(super) fn new(
        dir: &'d Inode,
        idmap: IdMap<'b>,
        mode: u16,
        kind: NewKind<'b>,
    ) -> Result<Self> {
        let mut inode = dir.sb().new_inode()?;
        let acls = NewAcls::new(dir, mode)?;
        let mode = acls.mode();
        inode.prepare_crypt(dir, mode)?;
        Ok(Self {
            inode,
            dir,
            acls,
            birth: Birth { idmap, mode, kind },
        })
    }

    /// Allocates it in the handle, with its ACLs and with the labels that security modules want
    /// of what has this name. [`credits::CREATE`].
    pub(super) fn init(
        self,
        handle: &Handle<'_>,
        dentry: Option<&Dentry<Rext4>>,
    ) -> Result<NewInode<'d, Rext4>> {
        let (dir, acls) = (self.dir, &self.acls);
        init_new(handle, self.inode, dir, &self.birth, |new, context| {
            let labels = new.labels(dir, dentry)?;
            let labels = labels.iter().map(|(name, value)| AttrChange {
                name_index: xattr::SECURITY,
                name,
                value: Some(value),
            });
            // The context first: no two inodes have the same.
            let context = context.into_iter().map(crypt::context_change);
            let mut all = Iterator::chain(Iterator::chain(context, acls.changes()), labels);
            let space = xattr::init(handle, new, &mut all)?;
            acls.cache(new);
            Ok(space)
        })
    }
}

/// Starts a handle and allocates an inode in it.
fn start_with_inode<'a>(
    dir: &'a Inode,
    dentry: Option<&Dentry<Rext4>>,
    wanted: &WantedInode<'_>,
) -> Result<(NewInode<'a, Rext4>, NameiHandle<'a>)> {
    let new = Unborn::new(dir, wanted.idmap, wanted.mode, wanted.kind)?;
    let handle = start_change(dir, credits::CREATE + wanted.credits, &[dir])?;
    let new = new.init(&handle, dentry)?;
    Ok((new, handle))
}

/// Ends [`make`] once the inode has its name, which stays whatever comes.
fn finish_make(
    dir: &Inode,
    dentry: &Dentry<Rext4>,
    new: NewInode<'_, Rext4>,
    handle: NameiHandle<'_>,
) -> Result {
    let result = apply(handle, |handle| {
        if new.is_dir() {
            inc_dir_links(dir);
        }
        touch(handle, dir)
    });
    lab::point(Point::NameWritten, dir, 0..u64::MAX);
    new.instantiate(dentry);
    result
}

/// Ends the handle that allocated an inode which is not wanted after all: it becomes an orphan in
/// the same transaction, for which there is `room`, and its eviction frees it.
pub(super) fn give_up(handle: NameiHandle<'_>, new: NewInode<'_, Rext4>, room: orphan::Room) {
    new.set_nlink(0);
    // Fails with the journal only, which then holds no trace of the inode.
    let _ = orphan::add(&handle, &new, room).and_then(|()| journal(&handle, &new));
    drop(handle);
    new.discard();
}

/// Makes a regular file.
pub(crate) fn create(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Rext4>, mode: u16) -> Result {
    let wanted = WantedInode {
        idmap,
        mode,
        kind: NewKind::Plain,
        credits: 0,
    };
    make(dir, dentry, wanted, |_, _| Ok(()))
}

/// Makes a device node, pipe or socket.
pub(crate) fn mknod(
    idmap: IdMap<'_>,
    dir: &Inode,
    dentry: &Dentry<Rext4>,
    mode: u16,
    rdev: u32,
) -> Result {
    let wanted = WantedInode {
        idmap,
        mode,
        kind: NewKind::Device(rdev),
        credits: 0,
    };
    make(dir, dentry, wanted, |_, _| Ok(()))
}

/// Makes a directory.
pub(crate) fn mkdir(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Rext4>, mode: u16) -> Result {
    check_dir_links(dir)?;
    let wanted = WantedInode {
        idmap,
        mode: S_IFDIR | (mode & !S_IFMT),
        kind: NewKind::Plain,
        credits: credits::FIRST_BLOCK,
    };
    make(dir, dentry, wanted, |handle, new| {
        new.set_nlink(2);
        DirBlock::first(handle, new, dir.ino())
    })
}

/// Makes a file without a name. It is on the orphan list until somebody links it.
pub(crate) fn tmpfile<'a>(
    idmap: IdMap<'_>,
    dir: &'a Inode,
    mode: u16,
) -> Result<NewInode<'a, Rext4>> {
    // The one call that comes without a name to look at, so the VFS has not.
    if dir.nlink() == 0 {
        return Err(EPERM);
    }
    let mode = match mode & S_IFMT {
        0 => mode | S_IFREG,
        _ => mode,
    };
    let wanted = WantedInode {
        idmap,
        mode,
        kind: NewKind::Plain,
        credits: 0,
    };
    let mut made = None;
    with_retry(dir, || {
        let room = orphan::Room::new()?;
        let (new, handle) = start_with_inode(dir, None, &wanted)?;
        new.set_nlink(0);
        let result = orphan::add(&handle, &new, room).and_then(|()| journal(&handle, &new));
        if let Err(e) = result.and(handle.handle.stop()) {
            new.discard();
            return Err(e);
        }
        made = Some(new);
        Ok(())
    })?;
    made.ok_or(EIO)
}

/// Adds a name for an inode. The VFS keeps directories and, but for files opened with O_TMPFILE,
/// inodes without links away.
pub(crate) fn link(inode: &HeldInode, dir: &Inode, dentry: &Dentry<Rext4>) -> Result {
    with_retry(dir, || try_link(inode, dir, dentry))
}

fn try_link(inode: &HeldInode, dir: &Inode, dentry: &Dentry<Rext4>) -> Result {
    let name = DiskName::to_make(dir, dentry)?;
    let links = inode.nlink();
    if links >= u32::from(LINK_MAX) {
        return Err(EMLINK);
    }
    check_project(dir, inode)?;
    let _before = orphan::hold_prev(inode)?;
    let credits = credits::LINK;
    let handle = start_change(dir, credits, &[dir, inode])?;
    add_name(&handle, dir, &entry_for(&name, inode)?)?;
    let result = apply(handle, |handle| {
        inode.set_nlink(links + 1);
        inode.touch_ctime();
        if links == 0 {
            orphan::del(handle, inode)?;
        }
        handle.journal(inode)?;
        touch(handle, dir)
    });
    lab::point(Point::NameWritten, dir, 0..u64::MAX);
    dentry.instantiate(InodeRef::from(inode));
    result
}
