// SPDX-License-Identifier: GPL-2.0

//! Symbolic links. A target of less than 60 bytes lies in the inode. A longer one has a block of
//! its own, which is metadata: written through the journal, and read through the buffer cache. (It
//! may reach its place on the disk long after the transaction has committed, so nobody may read it
//! past that cache, as the page cache of a file would.)

use super::{
    create::{make, WantedInode},
    dirblock::{append_block, buffer},
    journal, Inode, Rext4,
};
use crate::{
    disk::{
        inode::{BLOCK_BYTES, S_IFLNK},
        Lblk,
    },
    fs::{
        credits,
        extent::State,
        inode::NewKind, //
    },
    vfs::{
        inode::{IdMap, NewInode},
        jbd2::Handle,
        Dentry, //
    },
};
use kernel::prelude::*;

/// Makes a symbolic link to `target`.
pub(crate) fn symlink(
    idmap: IdMap<'_>,
    dir: &Inode,
    dentry: &Dentry<Rext4>,
    target: &[u8],
) -> Result {
    let mode = S_IFLNK | 0o777;
    // Both places want room for a NUL, though the size does not count it.
    if target.len() >= dir.fs().geo.block_size as usize {
        return Err(ENAMETOOLONG);
    }
    let mut wanted = WantedInode {
        idmap,
        mode,
        kind: NewKind::Symlink(target),
        credits: 0,
    };
    if target.len() < BLOCK_BYTES {
        return make(dir, dentry, wanted, |_, _| Ok(()));
    }
    wanted.credits = credits::FIRST_BLOCK;
    make(dir, dentry, wanted, |handle, new| {
        write_target(handle, new, target)
    })
}

fn write_target(handle: &Handle<'_>, inode: &NewInode<'_, Rext4>, target: &[u8]) -> Result {
    let new = append_block(handle, inode, Lblk::FIRST)?;
    let bh = inode.sb().getblk(new.get())?;
    // Zeroed, which ends the text.
    let mut block = handle.create(&bh)?;
    block.copy_in(0, target)?;
    block.finish()?;
    inode.set_size(target.len() as u64);
    journal(handle, inode)
}

/// Reads the target of a link that has a block.
pub(crate) fn read_target(inode: &Inode) -> Result<KVec<u8>> {
    let bad = |what| inode.corrupted(fmt!("symbolic link {what}"));
    let len = inode.size() as usize;
    if len == 0 || len >= inode.fs().geo.block_size as usize {
        return Err(bad("of impossible length"));
    }
    let found = inode.extents().lookup(Lblk::FIRST.blocks(1))?;
    if found.state != State::Written {
        return Err(bad("without its block"));
    }
    let bh = inode.sb().bread(found.pblk.get())?;
    let mut target = buffer(inode)?;
    target.truncate(len);
    bh.copy_out(0, &mut target)?;
    if target.contains(&0) {
        Err(bad("with a NUL in its target"))
    } else {
        Ok(target)
    }
}
