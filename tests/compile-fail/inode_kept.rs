// SPDX-License-Identifier: GPL-2.0
//! An inode in use does not keep unmount waiting: it finds its super block poisoned afterwards.
#![forbid(unsafe_code)]

use crate::vfs::{super_block::FileSystem, HeldInode, Inode, InodeRef, SuperBlock};

/// What work items, threads and a file system's own data are made of.
fn lasts<T: 'static>(_: T) {}

fn owned_for_a_while<F: FileSystem>(dir: &Inode<F>, inode: &HeldInode<F>) {
    let _both = (InodeRef::from(inode), dir.sb().new_inode());
}

#[cfg(misuse = "owned_inode")]
fn owned_inode<F: FileSystem>(inode: &HeldInode<F>) {
    lasts(InodeRef::from(inode)); //~ E0521
}

#[cfg(misuse = "new_inode")]
fn new_inode<F: FileSystem>(dir: &Inode<F>) {
    lasts(dir.sb().new_inode()); //~ E0521
}

#[cfg(misuse = "found_inode")]
fn found_inode<F: FileSystem>(sb: &SuperBlock<F>) {
    lasts(sb.iget(2)); //~ E0521
}
