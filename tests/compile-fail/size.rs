// SPDX-License-Identifier: GPL-2.0
//! Who sets the size of an inode has what says that nobody else does: i_rwsem, an inode that nobody
//! sees yet or any more, or the end of a direct write that moves it.
#![forbid(unsafe_code)]

use crate::vfs::{
    dio::MaySleep,
    inode::{Evicted, Inode, InodeLockShared, NewInode},
    super_block::FileSystem,
    Kiocb,
};

fn sized<F: FileSystem>(inode: &Inode<F>, new: &NewInode<'_, F>) {
    inode.lock().set_size(1);
    new.set_size(1);
}

fn evicted<F: FileSystem>(inode: &Evicted<'_, F>) {
    inode.set_size(0);
}

fn written<F: FileSystem>(iocb: &Kiocb<'_, F>, context: &MaySleep) {
    context.set_size(iocb, 1);
}

#[cfg(misuse = "not_locked")]
fn not_locked<F: FileSystem>(inode: &Inode<F>) {
    inode.set_size(1); //~ E0624
}

#[cfg(misuse = "shared")]
fn shared<F: FileSystem>(lock: &InodeLockShared<'_, F>) {
    lock.set_size(1); //~ E0599
}

/// A file system without directories has none that grow.
#[cfg(misuse = "no_directories")]
fn no_directories<F: FileSystem>(inode: &Inode<F>) {
    inode.set_dir_size(1); //~ E0599
}
