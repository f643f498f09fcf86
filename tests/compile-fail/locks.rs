// SPDX-License-Identifier: GPL-2.0
//! What asks for a lock is a method of it, so another inode's does not do.
#![forbid(unsafe_code)]

use crate::vfs::{
    inode::Inode,
    iomap::{Map, MapFlags, MapOps, Release},
    mmap::{Fault, VmFault},
    super_block::FileSystem,
};
use kernel::prelude::*;

fn give_back<R: Release>(inode: &Inode<R::Fs>, flags: MapFlags, map: &mut Map) {
    let lock = inode.invalidate_lock();
    lock.release_delalloc::<R>(0..4096, flags, map);
}

fn make_writable<'a, T: MapOps>(fault: &Fault<'a, T::Fs>) -> VmFault<'a> {
    fault.invalidate_lock_shared().page_mkwrite::<T>()
}

#[cfg(misuse = "fault_not_locked")]
fn fault_not_locked<'a, T: MapOps>(fault: &Fault<'a, T::Fs>) -> VmFault<'a> {
    fault.page_mkwrite::<T>() //~ E0599
}

#[cfg(misuse = "other_inode")]
fn other_inode<'a, T: MapOps>(fault: &Fault<'a, T::Fs>, other: &Inode<T::Fs>) -> VmFault<'a> {
    let _lock = other.invalidate_lock_shared(); //~ E0624
    fault.invalidate_lock_shared().page_mkwrite::<T>()
}

#[cfg(misuse = "reservation_not_locked")]
fn reservation_not_locked<R: Release>(inode: &Inode<R::Fs>, flags: MapFlags, map: &mut Map) {
    inode.release_delalloc::<R>(0..4096, flags, map); //~ E0599
}
