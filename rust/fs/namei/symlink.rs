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
        encrypted,
        inode::{BLOCK_BYTES, S_IFLNK},
        Lblk,
    },
    fs::{
        credits,
        extent::{MapKind, State},
        inode::NewKind, //
    },
    vfs::{
        fscrypt::LinkLen,
        inode::{IdMap, NewInode},
        jbd2::Handle,
        Dentry, //
    },
};
use kernel::{error::code::*, prelude::*};

/// Makes a symbolic link to `target`.
pub(crate) fn symlink(
    idmap: IdMap<'_>,
    dir: &Inode,
    dentry: &Dentry<Rext4>,
    target: &[u8],
) -> Result {
    let mode = S_IFLNK | 0o777;
    // Both places want room for a NUL, though the size does not count it.
    let len = LinkLen::new(dir, target, dir.fs().geo.block_size)?;
    let mut wanted = WantedInode {
        idmap,
        mode,
        kind: NewKind::Plain,
        credits: 0,
    };
    if len.get() < BLOCK_BYTES {
        wanted.kind = NewKind::ShortLink(target, len);
        return make(dir, dentry, wanted, |_, _| Ok(()));
    }
    wanted.credits = credits::FIRST_BLOCK;
    make(dir, dentry, wanted, |handle, new| {
        if new.is_encrypted() {
            write_target(handle, new, &new.encrypt_link(target, len)?)
        } else {
            write_target(handle, new, target)
        }
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

/// Reads the target of a link that is not in memory: it has a block, or is encrypted.
pub(crate) fn read_target(inode: &Inode) -> Result<KVec<u8>> {
    let bad = |what| inode.corrupted(fmt!("symbolic link {what}"));
    let len = inode.size() as usize;
    if inode.extents().kind() == MapKind::Nothing {
        // Checked when it was read.
        let block = inode.info().block();
        let target = block.get(..len).ok_or(EUCLEAN)?;
        let mut copy = KVec::new();
        copy.extend_from_slice(target, GFP_KERNEL)?;
        return Ok(copy);
    }
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
    let good = if inode.is_encrypted() {
        encrypted::target_valid(&target)
    } else {
        !target.contains(&0)
    };
    if good {
        Ok(target)
    } else {
        Err(bad("with a target that cannot be"))
    }
}
