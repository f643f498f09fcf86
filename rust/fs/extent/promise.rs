// SPDX-License-Identifier: GPL-2.0

//! Rule 4: tree blocks for data that was accepted.
//!
//! Who writes to a hole is promised the block of the data, and whoever writes to a hole or to
//! unwritten blocks is promised the tree blocks that mapping and converting may take: were there
//! none at writeback, data that was accepted would be lost. So each inode holds a promise of tree
//! blocks that is enough for all its outstanding data in the worst case ([`tree::worst_nodes`]):
//!
//! - it grows before data is accepted ([`Extents::secure`]), which may be refused with `ENOSPC`;
//! - nodes that the tree takes come out of it, nodes that the tree gives back return to it;
//! - it shrinks when less is enough ([`Extents::settle`]).
//!
//! Two sets tell what is outstanding: blocks reserved and not allocated ([`super::delalloc`]), and
//! blocks that are unwritten and have data on the way to them. A block counts twice, for it may add
//! one extent when it is mapped and one when it is converted.
//!
//! An unwritten block is in the second set while a page above it is dirty or under writeback, or is
//! about to be; it leaves it with the conversion, the page, or the error of the I/O. Direct writes
//! have no page, and two may be on their way to one block: theirs is a list ([`Flight`]), from the
//! mapping to `end_io`, whatever becomes of the write. All three are empty when nothing is dirty or
//! in flight. What could stay would be space that nobody can use: `alloc::check_promises` looks at
//! the end of each mount.
//!
//! A change of the tree for other reasons (fallocate, a direct write, a punch) fills nodes that the
//! worst case has taken to be half empty. It therefore secures its own entries like a write.

use super::{
    delalloc::Reservations,
    nodes::{TreeNodes, Writer},
    tree::{self, ROOT_BYTES},
    Extents,
    State, //
};
use crate::{
    disk::{self, Lblk},
    fs::alloc::{BlockKind, Promise},
    trace,
    vfs::{jbd2::Handle, RequestId},
};
use kernel::{error::code::*, prelude::*};

/// Unwritten blocks that a direct write is on its way to.
///
/// Not a value that the write has and that ends with it: between the mapping and `end_io` the
/// request is C's, which keeps nothing of ours with it, and makes one mapping after another. So it
/// is here, found by the request ([`Extents::land`]), and `end_io` of rext4 has one way out.
pub(super) struct Flight {
    request: RequestId,
    lblk: Lblk,
    len: u32,
}

impl Flight {
    fn end(&self) -> Lblk {
        self.lblk.saturating_add(self.len)
    }

    fn covers(&self, lblk: Lblk, len: u32) -> bool {
        self.lblk <= lblk && lblk.saturating_add(len) <= self.end()
    }
}

impl<'a> Extents<'a> {
    /// The most tree blocks that all outstanding data can take, and `entries` more extents at
    /// `places`.
    fn worst(&self, entries: u64, places: u32) -> u32 {
        let map = &*self.map;
        let flying: u64 = map.flights.iter().map(|f| u64::from(f.len)).sum();
        let blocks = u64::from(map.reserved.count()) + u64::from(map.expected.count()) + flying;
        let places = u64::from(places)
            + u64::from(map.reserved.intervals())
            + u64::from(map.expected.intervals())
            + map.flights.len() as u64;
        let capacity = disk::extent::block_entries(&self.inode.fs().geo);
        let n = tree::worst_nodes(&map.root, capacity, 2 * blocks + entries, places);
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// Whether data is on its way that the tree may need blocks for.
    fn is_expecting(&self) -> bool {
        let map = &*self.map;
        !map.reserved.is_empty() || !map.expected.is_empty() || !map.flights.is_empty()
    }

    /// Promises the tree blocks for what is outstanding and `entries` more extents at `places`.
    /// `ENOSPC`.
    fn secure(&mut self, entries: u64, places: u32) -> Result {
        let worst = self.worst(entries, places);
        if let Some(more) = worst
            .checked_sub(self.map.nodes.blocks())
            .filter(|more| *more > 0)
        {
            self.map.nodes.add(Promise::nodes(self.inode.sb(), more)?);
        }
        Ok(())
    }

    /// Gives back what is promised and not needed any more.
    pub(super) fn settle(&mut self) {
        if self.map.nodes.blocks() == 0 {
            return;
        }
        let needed = if self.is_expecting() {
            self.worst(0, 0)
        } else {
            0
        };
        let less = self.map.nodes.blocks().saturating_sub(needed);
        drop(self.map.nodes.take(self.inode.sb(), less));
    }

    /// Promises tree blocks for a change of the tree that is no outstanding data. Returns whether
    /// the change may use what is promised.
    pub(super) fn secure_other(&mut self) -> bool {
        // The middle of an extent is taken out or changed: two more.
        self.is_expecting() && self.secure(2, 1).is_ok()
    }

    /// Blocks of `[lblk, lblk + len)` that are not expecting data, and in how many runs.
    fn unexpected(&self, lblk: Lblk, len: u32) -> (u32, u32) {
        let end = lblk.saturating_add(len);
        let (mut at, mut blocks, mut runs) = (lblk, 0, 0);
        while at < end {
            let (found, stop) = self.map.expected.run_at(at);
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
    pub(super) fn is_expected(&self, lblk: Lblk, len: u32) -> bool {
        let flying = || self.map.flights.iter().any(|f| f.covers(lblk, len));
        self.unexpected(lblk, len).0 == 0 || flying()
    }

    /// Changes the tree by `change`. New nodes come out of what is promised if the change is
    /// `promised` them, else they are allocated as `kind`.
    pub(super) fn change<T>(
        &mut self,
        handle: &Handle<'_>,
        kind: BlockKind,
        promised: bool,
        change: impl FnOnce(&mut TreeNodes<'_, '_>, &mut [u8; ROOT_BYTES]) -> Result<T>,
    ) -> Result<T> {
        let usable = if promised { u32::MAX } else { 0 };
        let writer = Writer {
            handle,
            kind,
            promise: self.map.nodes.take(self.inode.sb(), usable),
            expecting: self.is_expecting(),
        };
        let mut nodes = TreeNodes::writer(self.inode, writer);
        let result = change(&mut nodes, &mut self.map.root);
        if let Some(left) = nodes.into_promise() {
            self.map.nodes.add(left);
        }
        result
    }

    /// Adds `[lblk, lblk + len)` to the blocks that expect data.
    fn add_expected(&mut self, lblk: Lblk, len: u32) -> Result {
        let end = lblk.saturating_add(len);
        let mut at = lblk;
        while at < end {
            let (found, stop) = self.map.expected.run_at(at);
            let stop = stop.min(end);
            if !found {
                self.map.expected.insert(at, stop - at)?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Takes `[lblk, lblk + len)` out of the blocks that expect data.
    pub(super) fn end_expected(&mut self, lblk: Lblk, len: u32) {
        if !self.map.expected.is_empty() {
            self.map.expected.take_out(lblk, len);
        }
    }

    /// The reserved blocks among `[lblk, lblk + len)` have become unwritten ones, which expect
    /// data.
    pub(super) fn use_reserved(&mut self, lblk: Lblk, len: u32) {
        let n = self.map.reserved.take_out(lblk, len);
        let total = self.show_reserved();
        trace::reserve_use(self.inode, lblk.get(), len, n, total);
        // Cannot fail: the blocks are there.
        let _ = self.add_expected(lblk, len);
    }

    /// Says that data will be written to the unwritten blocks `[lblk, lblk + len)`: their
    /// conversion is promised its tree blocks. `ENOSPC`, then nothing may be written there.
    pub(crate) fn expect_write(&mut self, lblk: Lblk, len: u32) -> Result {
        let (blocks, runs) = self.unexpected(lblk, len);
        if blocks == 0 {
            return Ok(());
        }
        self.secure(2 * u64::from(blocks), runs)?;
        let result = self.add_expected(lblk, len);
        if result.is_err() {
            self.settle();
        }
        result
    }

    /// Takes back what [`Extents::expect_write`] said: nothing will be written there.
    pub(crate) fn unexpect(&mut self, lblk: Lblk, len: u32) {
        self.end_expected(lblk, len);
        self.settle();
    }

    /// As [`Extents::expect_write`], for a direct write. It ends with [`Extents::land`].
    pub(crate) fn expect_direct(&mut self, request: RequestId, lblk: Lblk, len: u32) -> Result {
        self.map.flights.reserve(1, GFP_KERNEL)?;
        self.secure(2 * u64::from(len), 1)?;
        // Mappings of a request come one behind the other.
        let before = |f: &&mut Flight| f.request == request && f.end() == lblk;
        match self.map.flights.iter_mut().find(before) {
            Some(flight) => flight.len = flight.len.saturating_add(len),
            None => {
                let flight = Flight { request, lblk, len };
                self.map.flights.push(flight, GFP_KERNEL)?;
            }
        }
        Ok(())
    }

    /// A direct write is over, or will not write to block `from` and behind: takes back what
    /// [`Extents::expect_direct`] said.
    pub(crate) fn land(&mut self, request: RequestId, from: Lblk) {
        self.map.flights.retain(|f| {
            if f.request == request && f.end() > from {
                f.len = from.saturating_sub(f.lblk);
            }
            f.len > 0
        });
        self.settle();
    }

    /// The pages of `[lblk, lblk + len)` are gone: nobody will use what is reserved and promised
    /// there.
    pub(crate) fn forget(&mut self, lblk: Lblk, len: u32) {
        self.release(lblk, len);
        self.unexpect(lblk, len);
    }

    /// [`Extents::expect_write`] for all unwritten blocks of `[lblk, lblk + len)`.
    fn expect_range(&mut self, lblk: Lblk, len: u32) -> Result {
        let end = lblk.checked_add(len).ok_or(EFBIG)?;
        let mut at = lblk;
        while at < end {
            let found = self.lookup(at, end - at)?;
            if found.state == State::Unwritten {
                self.expect_write(at, found.len)?;
            }
            at = at.saturating_add(found.len);
        }
        Ok(())
    }

    /// Reserves space for `len` blocks at `lblk`, which are a hole. `ENOSPC`.
    pub(super) fn reserve(&mut self, lblk: Lblk, len: u32) -> Result {
        let promise = self.promise(len, 1)?;
        self.bump();
        self.reserve_one(lblk, len, promise)
            .inspect_err(|_| self.settle())
    }

    /// Reserves `[lblk, lblk + len)`, a hole, for which space is promised. The map is known to
    /// change.
    fn reserve_one(&mut self, lblk: Lblk, len: u32, promise: Promise<'_>) -> Result {
        self.map.reserved.insert(lblk, len)?;
        self.map.blocks.add(promise);
        let total = self.show_reserved();
        trace::reserve_take(self.inode, lblk.get(), len, len, total);
        Ok(())
    }

    /// Promises `len` blocks at `places`, and the tree blocks that they may need.
    fn promise(&mut self, len: u32, places: u32) -> Result<Promise<'a>> {
        self.secure(2 * u64::from(len), places)?;
        Promise::data(self.inode.sb(), len).inspect_err(|_| self.settle())
    }

    /// Reserves all holes among the blocks `[lblk, lblk + len)`, or none of them; data will be
    /// written to the unwritten ones too.
    pub(crate) fn reserve_holes(&mut self, lblk: Lblk, len: u32) -> Result {
        let end = lblk.checked_add(len).ok_or(EFBIG)?;
        self.expect_range(lblk, len)?;
        // What can fail comes first, so that nothing is reserved of which no page is dirty.
        let holes = self.holes(lblk, end)?;
        if holes.is_empty() {
            return Ok(());
        }
        let mut promise = self.promise(holes.count(), holes.intervals())?;
        self.bump();
        for (at, n) in holes.iter() {
            self.reserve_one(at, n, promise.split(n))?;
        }
        Ok(())
    }

    /// The holes in `[lblk, end)`.
    fn holes(&mut self, lblk: Lblk, end: Lblk) -> Result<Reservations> {
        let mut holes = Reservations::new();
        let mut at = lblk;
        while at < end {
            let found = self.lookup(at, end - at)?;
            if found.state == State::Hole {
                holes.insert(at, found.len)?;
            }
            at = at.saturating_add(found.len);
        }
        Ok(holes)
    }

    /// Gives back what is reserved in `[lblk, lblk + len)`. Never fails: writeback of the range is
    /// over or was given up.
    fn release(&mut self, lblk: Lblk, len: u32) {
        if self.map.reserved.is_empty() {
            return;
        }
        self.bump();
        self.give_back(lblk, len);
        self.settle();
    }

    /// Gives back what is reserved in `[lblk, lblk + len)`. The map is known to change.
    pub(super) fn give_back(&mut self, lblk: Lblk, len: u32) {
        if self.map.reserved.is_empty() {
            return;
        }
        let n = self.map.reserved.take_out(lblk, len);
        drop(self.map.blocks.take(self.inode.sb(), n));
        let total = self.show_reserved();
        trace::reserve_release(self.inode, lblk.get(), len, n, total);
    }
}
