// SPDX-License-Identifier: GPL-2.0
//! A hole is what a search under the extent lock found: filled once, before anything else happens
//! to the map, and not after the lock has gone.
#![forbid(unsafe_code)]

use crate::disk::Lblk;
use crate::fs::{
    extent::{ExtentEntry, State},
    Inode,
};
use crate::vfs::jbd2::Handle;
use kernel::prelude::*;

fn filled(handle: &Handle<'_>, inode: &Inode) -> Result {
    let mut extents = inode.extents();
    if let ExtentEntry::Hole(hole) = extents.entry(Lblk::FIRST.blocks(1))? {
        let new = hole.fill(handle, 1, State::Unwritten)?;
        extents.expect_write(new.blocks())?;
    }
    Ok(())
}

#[cfg(misuse = "twice")]
fn twice(handle: &Handle<'_>, inode: &Inode) -> Result {
    let mut extents = inode.extents();
    if let ExtentEntry::Hole(hole) = extents.entry(Lblk::FIRST.blocks(2))? {
        hole.fill(handle, 1, State::Unwritten)?;
        hole.fill(handle, 1, State::Unwritten)?; //~ E0382
    }
    Ok(())
}

#[cfg(misuse = "reserved_and_filled")]
fn reserved_and_filled(handle: &Handle<'_>, inode: &Inode) -> Result {
    let mut extents = inode.extents();
    if let ExtentEntry::Hole(hole) = extents.entry(Lblk::FIRST.blocks(1))? {
        hole.reserve(1)?;
        hole.fill(handle, 1, State::Unwritten)?; //~ E0382
    }
    Ok(())
}

#[cfg(misuse = "meanwhile")]
fn meanwhile(handle: &Handle<'_>, inode: &Inode) -> Result {
    let mut extents = inode.extents();
    if let ExtentEntry::Hole(hole) = extents.entry(Lblk::FIRST.blocks(1))? {
        extents.forget(Lblk::FIRST.blocks(1)); //~ E0499
        hole.fill(handle, 1, State::Unwritten)?;
    }
    Ok(())
}

#[cfg(misuse = "unlocked")]
fn unlocked(inode: &Inode) -> Result<ExtentEntry<'_, '_>> {
    inode.extents().entry(Lblk::FIRST.blocks(1)) //~ E0515
}

#[cfg(misuse = "mapped")]
fn mapped(handle: &Handle<'_>, inode: &Inode) -> Result {
    if let ExtentEntry::Mapped(found) = inode.extents().entry(Lblk::FIRST.blocks(1))? {
        found.fill(handle, 1, State::Unwritten)?; //~ E0599
    }
    Ok(())
}
