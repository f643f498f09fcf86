// SPDX-License-Identifier: GPL-2.0
//! Stripping privileges changes the mode, which wants i_rwsem exclusive.
#![forbid(unsafe_code)]

use crate::vfs::{inode::InodeLock, inode::InodeLockShared, super_block::FileSystem, Kiocb};
use kernel::prelude::*;

fn modify<F: FileSystem>(iocb: &mut Kiocb<'_, F>, lock: &InodeLock<'_, F>) -> Result {
    iocb.modified(lock)
}

#[cfg(misuse = "shared")]
fn shared<F: FileSystem>(iocb: &mut Kiocb<'_, F>, lock: &InodeLockShared<'_, F>) -> Result {
    iocb.modified(lock) //~ E0308
}

#[cfg(misuse = "no_lock")]
fn no_lock<F: FileSystem>(iocb: &mut Kiocb<'_, F>) -> Result {
    iocb.modified() //~ E0061
}
