// SPDX-License-Identifier: GPL-2.0

//! Rules 1 and 6: write faults in shared mappings, which announce the write (6), and take freeze
//! PAGEFAULT and invalidate_lock between mmap_lock and the folio lock (1).
//!
//! Stores into a mapped page are invisible to us, but the first one announces itself here. Now is
//! the time to reserve space: no space means SIGBUS now, not data lost at writeback. The lock keeps
//! a punch from taking the blocks between the mapping and the dirty bit: a dirty page over a hole
//! is a store that is lost (race 4).

use super::delalloc::BufferedWriteOps;
use crate::{
    fs::{
        lab::{self, Point},
        Rext4, //
    },
    trace,
    vfs::{
        mmap::{Fault, VmFault}, //
    },
};
use kernel::error::code::*;

/// `page_mkwrite`. mmap_lock is held; the folio is not locked yet.
pub(crate) fn page_mkwrite<'a>(fault: &Fault<'a, Rext4>) -> VmFault<'a> {
    trace::page_mkwrite(fault);
    let result = make_writable(fault);
    trace::page_mkwrite_done(fault, &result);
    lab::point(
        Point::FaultDone,
        fault.inode(),
        fault.pos()..fault.pos() + 1,
    );
    result
}

fn make_writable<'a>(fault: &Fault<'a, Rext4>) -> VmFault<'a> {
    let inode = fault.inode();
    let byte = fault.pos()..fault.pos() + 1;
    lab::point(Point::Fault, inode, byte.clone());
    // Rule 1: freeze PAGEFAULT, invalidate_lock, a handle for the times that ends with them, and in
    // iomap the folio lock.
    let _freeze = inode.sb().start_pagefault();
    if let Err(e) = super::check_writable(inode) {
        return e.into();
    }
    let locked = fault.invalidate_lock_shared();
    // Only here: who sets it has the lock while he writes what was mapped.
    if inode.flags().immutable {
        return EIO.into();
    }
    if let Err(e) = fault.update_time() {
        return e.into();
    }
    lab::point(Point::FaultLocked, inode, byte);
    // Rule 6.
    locked.page_mkwrite::<BufferedWriteOps>()
}
