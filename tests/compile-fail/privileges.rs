// SPDX-License-Identifier: GPL-2.0
//! Stripping privileges changes the mode, which wants i_rwsem exclusive, and the size stays for a
//! write that appends: the lock is that of the file that is written to.
#![forbid(unsafe_code)]

use crate::vfs::{
    file::{File, FileLock},
    inode::{Inode, InodeLock, InodeLockShared},
    iomap,
    kiocb::RequestLock,
    super_block::FileSystem,
    IovIterSource, Kiocb,
};
use kernel::prelude::*;

type Lock<'a, F> = RequestLock<'a, InodeLock<'a, F>>;

fn write<'a, W: iomap::WriteOps>(
    iocb: &mut Kiocb<'a, W::Fs>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    let lock: Lock<'a, W::Fs> = iocb.lock()?;
    iocb.write_checks(from, &lock)?;
    iocb.modified(&lock)?;
    iomap::buffered_write::<W>(iocb, from, &lock)
}

fn allocate<F: FileSystem>(file: &File<F>) -> Result {
    file.lock().modified()
}

#[cfg(misuse = "shared")]
fn shared<'a, F: FileSystem>(
    iocb: &mut Kiocb<'a, F>,
    lock: &RequestLock<'a, InodeLockShared<'a, F>>,
) -> Result {
    iocb.modified(lock) //~ E0308
}

#[cfg(misuse = "no_lock")]
fn no_lock<F: FileSystem>(iocb: &mut Kiocb<'_, F>) -> Result {
    iocb.modified() //~ E0061
}

#[cfg(misuse = "other_inode")]
fn other_inode<F: FileSystem>(iocb: &mut Kiocb<'_, F>, other: &Inode<F>) -> Result {
    iocb.modified(&other.lock()) //~ E0308
}

#[cfg(misuse = "other_inode_shared")]
fn other_inode_shared<F: FileSystem>(iocb: &mut Kiocb<'_, F>, other: &Inode<F>) -> Result<bool> {
    iocb.modified_shared(&other.lock_shared()) //~ E0308
}

/// Were the one lifetime as good as the other while both last, it would do.
#[cfg(misuse = "other_request")]
fn other_request<'a, 'b, F: FileSystem>(
    iocb: Kiocb<'a, F>,
    other: &Kiocb<'b, F>,
    from: &mut IovIterSource<'_>,
) -> Result<usize> {
    { iocb }.write_checks(from, &other.lock()?) //~ lifetime
}

#[cfg(misuse = "lock_of_nobody")]
fn lock_of_nobody<'a, F: FileSystem>(inode: &'a Inode<F>) -> Lock<'a, F> {
    RequestLock(inode.lock(), core::marker::PhantomData) //~ E0423
}

#[cfg(misuse = "file_not_locked")]
fn file_not_locked<F: FileSystem>(file: &File<F>) -> Result {
    file.modified() //~ E0599
}

#[cfg(misuse = "other_file")]
fn other_file<'a, F: FileSystem>(file: &'a File<F>, other: &'a Inode<F>) -> Result {
    let lock = other.lock();
    FileLock { file, lock }.modified() //~ E0451
}
