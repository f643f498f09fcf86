// SPDX-License-Identifier: GPL-2.0
//! A callback knows one super block. It keeps no inode for the callback of another mount, where it
//! would get a name, and would be in use when its own super block goes.
#![forbid(unsafe_code)]

use crate::vfs::{
    dio::DioBio,
    inode::{Fresh, Iget, NewInode},
    super_block::FileSystem,
    HeldInode, Inode, InodeRef, SuperBlock,
};
use kernel::prelude::*;

fn ready<F: FileSystem>(sb: &SuperBlock<F>) -> Result<Option<InodeRef<'_, F>>> {
    Ok(match sb.iget(2)? {
        Iget::Ready(inode) => Some(inode),
        Iget::New(_) => None,
    })
}

fn lookup<'a, F: FileSystem>(dir: &'a Inode<F>) -> Result<Option<InodeRef<'a, F>>> {
    ready(dir.sb())
}

#[cfg(misuse = "found_elsewhere")]
fn found_elsewhere<'a, F: FileSystem>(
    _dir: &'a Inode<F>,
    other: &SuperBlock<F>,
) -> Result<Option<InodeRef<'a, F>>> {
    ready(other) //~ E0621
}

#[cfg(misuse = "kept_super_block")]
fn kept_super_block<F: FileSystem>(slot: &mut Option<&'static SuperBlock<F>>, dir: &Inode<F>) {
    *slot = Some(dir.sb()); //~ lifetime
}

#[cfg(misuse = "kept_inode")]
fn kept_inode<F: FileSystem>(slot: &mut Option<InodeRef<'static, F>>, inode: &HeldInode<F>) {
    *slot = Some(InodeRef::from(inode)); //~ lifetime
}

#[cfg(misuse = "kept_new_inode")]
fn kept_new_inode<F: FileSystem>(
    slot: &mut Option<NewInode<'static, F, Fresh>>,
    sb: &SuperBlock<F>,
) {
    *slot = sb.new_inode().ok(); //~ lifetime
}

#[cfg(misuse = "inode_of_a_bio")]
fn inode_of_a_bio<'a, F: FileSystem>(bio: DioBio<F>) -> &'a Inode<F> {
    bio.inode() //~ E0515
}
