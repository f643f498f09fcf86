// SPDX-License-Identifier: GPL-2.0

//! Tree blocks for data that was accepted.
//!
//! Who writes to a hole is promised the block of the data, and whoever writes to a hole or to
//! unwritten blocks is promised the tree blocks that mapping and converting may take: were there
//! none at writeback, data that was accepted would be lost. So each inode holds a promise of tree
//! blocks that is enough for all its outstanding data in the worst case ([`tree::worst_nodes`]):
//!
//! - it grows before data is accepted ([`ExtentMap::secure`]), which may be refused with `ENOSPC`;
//! - nodes that the tree takes come out of it, nodes that the tree gives back return to it;
//! - it shrinks when less is enough ([`ExtentMap::settle`]).
//!
//! Two sets tell what is outstanding: blocks reserved and not allocated ([`super::delalloc`]), and
//! blocks that are unwritten and have data on the way to them. A block counts twice, for it may add
//! one extent when it is mapped and one when it is converted.
//!
//! An unwritten block is in the second set while a page above it is dirty or under writeback, or is
//! about to be; it leaves it with the conversion, the page, or the error of the I/O. Direct writes have no page, and two may be on their way to one block: theirs is a list
//! ([`Flight`]), from the mapping to `end_io`, whatever becomes of the write. All three are empty when
//! nothing is dirty or in flight. What could stay would be space that nobody can use:
//! `alloc::check_promises` looks at the end of each mount.
//!
//! A change of the tree for other reasons (fallocate, a direct write, a punch) fills nodes that the
//! worst case has taken to be half empty. It therefore secures its own entries like a write.

use super::{
    delalloc::Reservations,
    lookup,
    nodes::TreeNodes,
    tree::{self, ROOT_BYTES},
    ExtentMap,
    State, //
};
use crate::{
    disk,
    fs::{
        alloc::{self, Kind},
        Inode,
    },
    vfs::{jbd2::Handle, trace, RequestId},
};
use kernel::{error::code::*, prelude::*};

/// Unwritten blocks that a direct write is on its way to.
pub(super) struct Flight {
    request: RequestId,
    lblk: u32,
    len: u32,
}

impl Flight {
    fn end(&self) -> u32 {
        self.lblk.saturating_add(self.len)
    }

    fn covers(&self, lblk: u32, len: u32) -> bool {
        self.lblk <= lblk && lblk.saturating_add(len) <= self.end()
    }
}

impl ExtentMap {
    /// The most tree blocks that all outstanding data can take, and `entries` more extents at
    /// `places`.
    fn worst(&self, inode: &Inode, entries: u64, places: u32) -> u32 {
        let flying: u64 = self.flights.iter().map(|f| u64::from(f.len)).sum();
        let blocks = u64::from(self.reserved.count()) + u64::from(self.converting.count()) + flying;
        let places = u64::from(places)
            + u64::from(self.reserved.intervals())
            + u64::from(self.converting.intervals())
            + self.flights.len() as u64;
        let capacity = disk::extent::block_entries(&inode.fs().geo);
        let n = tree::worst_nodes(&self.root, capacity, 2 * blocks + entries, places);
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// Whether data is on its way that the tree may need blocks for.
    pub(super) fn is_expecting(&self) -> bool {
        !self.reserved.is_empty() || !self.converting.is_empty() || !self.flights.is_empty()
    }

    /// Promises the tree blocks for what is outstanding and `entries` more extents at `places`.
    /// `ENOSPC`.
    pub(super) fn secure(&mut self, inode: &Inode, entries: u64, places: u32) -> Result {
        let worst = self.worst(inode, entries, places);
        if let Some(more) = worst.checked_sub(self.nodes).filter(|more| *more > 0) {
            alloc::reserve_nodes(inode.sb(), more)?;
            self.nodes = worst;
        }
        Ok(())
    }

    /// Gives back what is promised and not needed any more.
    pub(super) fn settle(&mut self, inode: &Inode) {
        if self.nodes == 0 {
            return;
        }
        let needed = match self.is_expecting() {
            true => self.worst(inode, 0, 0),
            false => 0,
        };
        if let Some(less) = self.nodes.checked_sub(needed).filter(|less| *less > 0) {
            alloc::unreserve(inode.sb(), less);
            self.nodes = needed;
        }
    }

    /// Promises tree blocks for a change of the tree that is no outstanding data. Returns whether
    /// the change may use what is promised.
    pub(super) fn secure_other(&mut self, inode: &Inode) -> bool {
        // The middle of an extent is taken out or changed: two more.
        self.is_expecting() && self.secure(inode, 2, 1).is_ok()
    }

    /// Blocks of `[lblk, lblk + len)` that are not expecting data, and in how many runs.
    fn unexpected(&self, lblk: u32, len: u32) -> (u32, u32) {
        let end = lblk.saturating_add(len);
        let (mut at, mut blocks, mut runs) = (lblk, 0, 0);
        while at < end {
            let (found, stop) = self.converting.find(at);
            let stop = stop.min(end);
            if !found {
                blocks += stop - at;
                runs += 1;
            }
            at = stop;
        }
        (blocks, runs)
    }

    /// Whether all of `[lblk, lblk + len)` expects data.
    pub(super) fn is_expected(&self, lblk: u32, len: u32) -> bool {
        self.unexpected(lblk, len).0 == 0 || self.flights.iter().any(|f| f.covers(lblk, len))
    }

    /// Changes the tree by `change`. New nodes come out of what is promised if the change is
    /// `promised` them, else they are allocated as `kind`.
    pub(super) fn change<T>(
        &mut self,
        inode: &Inode,
        handle: &Handle<'_>,
        kind: Kind,
        promised: bool,
        change: impl FnOnce(&mut TreeNodes<'_, '_>, &mut [u8; ROOT_BYTES]) -> Result<T>,
    ) -> Result<T> {
        let usable = if promised { self.nodes } else { 0 };
        let mut nodes = TreeNodes::writer(inode, handle, kind, usable);
        nodes.expecting = self.is_expecting();
        let result = change(&mut nodes, &mut self.root);
        self.nodes = self.nodes - usable + nodes.promised;
        result
    }

    /// Adds `[lblk, lblk + len)` to the blocks that expect data.
    pub(super) fn add_expected(&mut self, lblk: u32, len: u32) -> Result {
        let end = lblk.saturating_add(len);
        let mut at = lblk;
        while at < end {
            let (found, stop) = self.converting.find(at);
            let stop = stop.min(end);
            if !found {
                self.converting.insert(at, stop - at)?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Takes `[lblk, lblk + len)` out of the blocks that expect data.
    pub(super) fn end_expected(&mut self, lblk: u32, len: u32) {
        if !self.converting.is_empty() {
            self.converting.remove(lblk, len);
        }
    }
}

/// Says that data will be written to the unwritten blocks `[lblk, lblk + len)`: their conversion
/// is promised its tree blocks. `ENOSPC`, then nothing may be written there.
pub(crate) fn expect(inode: &Inode, map: &mut ExtentMap, lblk: u32, len: u32) -> Result {
    let (blocks, runs) = map.unexpected(lblk, len);
    if blocks == 0 {
        return Ok(());
    }
    map.secure(inode, 2 * u64::from(blocks), runs)?;
    let result = map.add_expected(lblk, len);
    if result.is_err() {
        map.settle(inode);
    }
    result
}

/// Takes back what [`expect`] said: nothing will be written there.
pub(crate) fn unexpect(inode: &Inode, map: &mut ExtentMap, lblk: u32, len: u32) {
    map.end_expected(lblk, len);
    map.settle(inode);
}

/// As [`expect`], for a direct write. It ends with [`land`].
pub(crate) fn expect_direct(
    inode: &Inode,
    map: &mut ExtentMap,
    request: RequestId,
    lblk: u32,
    len: u32,
) -> Result {
    map.flights.reserve(1, GFP_KERNEL)?;
    map.secure(inode, 2 * u64::from(len), 1)?;
    // Mappings of a request come one behind the other.
    let before = |f: &&mut Flight| f.request == request && f.end() == lblk;
    match map.flights.iter_mut().find(before) {
        Some(flight) => flight.len = flight.len.saturating_add(len),
        None => map
            .flights
            .push(Flight { request, lblk, len }, GFP_KERNEL)?,
    }
    Ok(())
}

/// A direct write is over, or will not write to block `from` and behind: takes back what
/// [`expect_direct`] said.
pub(crate) fn land(inode: &Inode, map: &mut ExtentMap, request: RequestId, from: u32) {
    map.flights.retain(|f| {
        if f.request == request && f.end() > from {
            f.len = from.saturating_sub(f.lblk);
        }
        f.len > 0
    });
    map.settle(inode);
}

/// The pages of `[lblk, lblk + len)` are gone: nobody will use what is reserved and promised there.
pub(crate) fn forget(inode: &Inode, map: &mut ExtentMap, lblk: u32, len: u32) {
    delalloc_release(inode, map, lblk, len);
    unexpect(inode, map, lblk, len);
}

/// [`expect`] for all unwritten blocks of `[lblk, lblk + len)`.
fn expect_range(inode: &Inode, map: &mut ExtentMap, lblk: u32, len: u32) -> Result {
    let end = lblk.checked_add(len).ok_or(EFBIG)?;
    let mut at = lblk;
    while at < end {
        let found = lookup(inode, map, at, end - at)?;
        if found.state == State::Unwritten {
            expect(inode, map, at, found.len)?;
        }
        at = at.saturating_add(found.len);
    }
    Ok(())
}

/// Reserves space for `len` blocks at `lblk`, which are a hole. `ENOSPC`.
pub(crate) fn delalloc_reserve(inode: &Inode, map: &mut ExtentMap, lblk: u32, len: u32) -> Result {
    reserve(inode, map, len, 1)?;
    map.bump(&inode.node().seq);
    let result = map.reserved.insert(lblk, len);
    if result.is_err() {
        alloc::unreserve(inode.sb(), len);
        map.settle(inode);
        return result;
    }
    let total = map.show_reserved(inode);
    trace::reserve_take(inode, lblk, len, len, total);
    Ok(())
}

/// Promises `len` blocks at `places`, and the tree blocks that they may need.
fn reserve(inode: &Inode, map: &mut ExtentMap, len: u32, places: u32) -> Result {
    map.secure(inode, 2 * u64::from(len), places)?;
    alloc::reserve(inode.sb(), len).inspect_err(|_| map.settle(inode))
}

/// Reserves all holes among the blocks `[lblk, lblk + len)`, or none of them; data will be
/// written to the unwritten ones too.
pub(crate) fn delalloc_reserve_holes(
    inode: &Inode,
    map: &mut ExtentMap,
    lblk: u32,
    len: u32,
) -> Result {
    let end = lblk.checked_add(len).ok_or(EFBIG)?;
    expect_range(inode, map, lblk, len)?;
    // What can fail comes first, so that nothing is reserved of which no page is dirty.
    let holes = holes(inode, map, lblk, end)?;
    if holes.is_empty() {
        return Ok(());
    }
    reserve(inode, map, holes.count(), holes.intervals())?;
    map.bump(&inode.node().seq);
    for (at, n) in holes.iter() {
        map.reserved.insert(at, n)?;
        let total = map.show_reserved(inode);
        trace::reserve_take(inode, at, n, n, total);
    }
    Ok(())
}

/// The holes in `[lblk, end)`.
fn holes(inode: &Inode, map: &mut ExtentMap, lblk: u32, end: u32) -> Result<Reservations> {
    let mut holes = Reservations::new();
    let mut at = lblk;
    while at < end {
        let found = lookup(inode, map, at, end - at)?;
        if found.state == State::Hole {
            holes.insert(at, found.len)?;
        }
        at = at.saturating_add(found.len);
    }
    Ok(holes)
}

/// Gives back what is reserved in `[lblk, lblk + len)`. Never fails: writeback of the range is
/// over or was given up.
fn delalloc_release(inode: &Inode, map: &mut ExtentMap, lblk: u32, len: u32) {
    if map.reserved.is_empty() {
        return;
    }
    map.bump(&inode.node().seq);
    let n = map.reserved.remove(lblk, len);
    if n > 0 {
        alloc::unreserve(inode.sb(), n);
        map.settle(inode);
    }
    let total = map.show_reserved(inode);
    trace::reserve_release(inode, lblk, len, n, total);
}
