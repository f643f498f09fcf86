// SPDX-License-Identifier: GPL-2.0

//! New inodes and new names.

use super::{
    add::add,
    apply,
    check_dir_links,
    dirblock::{buffer, DirBlock},
    inc_dir_links,
    journal,
    orphan,
    start,
    touch,
    Inode,
    Rext4,
    ADD_CREDITS,
    APPEND_CREDITS,
    CREATE_CREDITS,
    INODE_CREDITS, //
};
use crate::{
    disk::{
        dirent,
        inode::{LINK_MAX, S_IFDIR, S_IFMT, S_IFREG},
    },
    fs::{
        inode::{init_new, NewKind},
        namei::bad,
        INode,
    },
    vfs::{
        inode::{IdMap, NewInode},
        jbd2::Handle,
        Dentry,
    },
};
use kernel::{prelude::*, sync::aref::ARef};

/// Makes an inode and its name in `dir`, in one handle. `fill` runs in between: it gives a
/// directory or symbolic link its block.
pub(super) fn make(
    idmap: IdMap<'_>,
    dir: &Inode,
    dentry: &Dentry<Rext4>,
    mode: u16,
    kind: NewKind<'_>,
    credits: u32,
    fill: impl FnOnce(&Handle<'_>, &Inode) -> Result,
) -> Result {
    let mut new = dir.sb().new_inode()?;
    let handle = start(dir, CREATE_CREDITS + ADD_CREDITS + credits)?;
    if let Err(e) = init_new(&handle, &mut new, dir, idmap, mode, kind) {
        // The number was not taken. The inode goes after the handle.
        drop(handle);
        return Err(e);
    }

    let result =
        fill(&handle, &new).and_then(|()| add(&handle, dir, dentry.name(), new.ino(), mode));
    if let Err(e) = result {
        give_up(handle, new);
        return Err(e);
    }
    // The name is there now, whatever comes.
    let result = apply(handle, |handle| {
        if mode & S_IFMT == S_IFDIR {
            inc_dir_links(dir);
        }
        journal(handle, &new)?;
        touch(handle, dir)
    });
    new.instantiate(dentry);
    result
}

/// Ends the handle that allocated an inode which is not wanted after all: it becomes an orphan in
/// the same transaction, and its eviction frees it.
fn give_up(handle: Handle<'_>, new: NewInode<Rext4>) {
    new.set_nlink(0);
    // Fails with the journal only, which then holds no trace of the inode.
    let _ = orphan::add(&handle, &new).and_then(|()| journal(&handle, &new));
    drop(handle);
    new.discard();
}

/// Makes a regular file.
pub(crate) fn create(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Rext4>, mode: u16) -> Result {
    make(idmap, dir, dentry, mode, NewKind::Plain, 0, |_, _| Ok(()))
}

/// Makes a device node, pipe or socket.
pub(crate) fn mknod(
    idmap: IdMap<'_>,
    dir: &Inode,
    dentry: &Dentry<Rext4>,
    mode: u16,
    rdev: u32,
) -> Result {
    make(
        idmap,
        dir,
        dentry,
        mode,
        NewKind::Device(rdev),
        0,
        |_, _| Ok(()),
    )
}

/// Makes a directory.
pub(crate) fn mkdir(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Rext4>, mode: u16) -> Result {
    check_dir_links(dir)?;
    let mode = S_IFDIR | (mode & !S_IFMT);
    let credits = APPEND_CREDITS + 1;
    make(
        idmap,
        dir,
        dentry,
        mode,
        NewKind::Plain,
        credits,
        |handle, new| {
            let mut data = buffer(dir)?;
            dirent::make_dot_entries(&mut data, &dir.fs().geo, new.ino(), dir.ino())
                .map_err(|e| bad(new, 0, e))?;
            new.set_nlink(2);
            DirBlock::append(handle, new, data, None).map(|_| ())
        },
    )
}

/// Makes a file without a name. It is on the orphan list until somebody links it.
pub(crate) fn tmpfile(idmap: IdMap<'_>, dir: &Inode, mode: u16) -> Result<NewInode<Rext4>> {
    let mode = match mode & S_IFMT {
        0 => mode | S_IFREG,
        _ => mode,
    };
    let mut new = dir.sb().new_inode()?;
    let handle = start(dir, CREATE_CREDITS)?;
    if let Err(e) = init_new(&handle, &mut new, dir, idmap, mode, NewKind::Plain) {
        drop(handle);
        return Err(e);
    }
    new.set_nlink(0);
    let result = orphan::add(&handle, &new).and_then(|()| journal(&handle, &new));
    if let Err(e) = result.and(handle.stop()) {
        new.discard();
        return Err(e);
    }
    Ok(new)
}

/// Adds a name for an inode. The VFS keeps directories and, but for files opened with O_TMPFILE,
/// inodes without links away.
pub(crate) fn link(inode: &INode, dir: &Inode, dentry: &Dentry<Rext4>) -> Result {
    let links = inode.nlink();
    if links >= u32::from(LINK_MAX) {
        return Err(EMLINK);
    }
    let handle = start(dir, ADD_CREDITS + INODE_CREDITS + orphan::ORPHAN_CREDITS)?;
    add(&handle, dir, dentry.name(), inode.ino(), inode.mode())?;
    let result = apply(handle, |handle| {
        inode.set_nlink(links + 1);
        inode.touch_ctime();
        if links == 0 {
            orphan::remove(handle, inode)?;
        }
        journal(handle, inode)?;
        touch(handle, dir)
    });
    dentry.instantiate(ARef::from(inode));
    result
}
