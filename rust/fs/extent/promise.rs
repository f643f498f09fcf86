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
    event_blocks,
    nodes::{TreeNodes, Writer},
    tree::{self, ROOT_BYTES},
    Extents,
    MapKind,
    Mapping,
    State, //
};
use crate::{
    disk::{self, block_map, Lblk, LblkRange},
    fs::{
        alloc::{BlockKind, Promise},
        rule::{self, Rule}, //
    },
    trace,
    vfs::{jbd2::Handle, RequestId},
};
use kernel::prelude::*;

/// Unwritten blocks that a direct write is on its way to.
///
/// Not a value that the write has and that ends with it: between the mapping and `end_io` the
/// request is C's, which keeps nothing of ours with it, and makes one mapping after another. So it
/// is here, found by the request ([`Extents::land`]), and `end_io` of rext4 has one way out.
pub(super) struct Flight {
    request: RequestId,
    blocks: LblkRange,
    /// Each in one extent, of which the conversion makes three at most, however long it is.
    mappings: u32,
}

impl Flight {
    fn covers(&self, blocks: LblkRange) -> bool {
        self.blocks.start <= blocks.start && blocks.end <= self.blocks.end
    }
}

impl<'a> Extents<'a> {
    /// The most tree blocks that all outstanding data can take, and `entries` more extents at
    /// `places`.
    fn worst(&self, entries: u64, places: u32) -> u32 {
        let map = &*self.map;
        let pointers = map.kind == MapKind::Pointers;
        let (mut blocks, mut in_places) = (0u64, 0u64);
        for set in [&map.reserved, &map.expected] {
            blocks += u64::from(set.count());
            in_places += u64::from(set.intervals());
        }
        for flight in map.flights.iter() {
            // Pointers are those of the blocks, wherever these lie on the disk.
            let (n, runs) = if pointers {
                (flight.blocks.len(), 1)
            } else {
                (flight.mappings, flight.mappings)
            };
            blocks += u64::from(n);
            in_places += u64::from(runs);
        }
        let (geo, places) = (&self.inode.fs().geo, u64::from(places));
        let n = if pointers {
            // An entry for each of two changes, and there is only one. Where the others are nobody
            // says, so they count for themselves.
            let worst = |n, places, at| block_map::worst_blocks(n, places, at, geo.block_bits);
            worst(blocks, in_places, self.outstanding()).saturating_add(worst(
                entries / 2,
                places,
                LblkRange::ALL,
            ))
        } else {
            let capacity = disk::extent::block_entries(geo);
            let entries = 2 * blocks + entries;
            tree::worst_nodes(&map.root, capacity, entries, in_places + places)
        };
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// From the first block that data is on its way to, to the last.
    fn outstanding(&self) -> LblkRange {
        let map = &*self.map;
        let (mut start, mut end) = (Lblk::END, Lblk::FIRST);
        let mut add = |blocks: LblkRange| {
            start = start.min(blocks.start);
            end = end.max(blocks.end);
        };
        map.reserved.hull().into_iter().for_each(&mut add);
        map.expected.hull().into_iter().for_each(&mut add);
        map.flights.iter().map(|f| f.blocks).for_each(&mut add);
        start.until(end)
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
        self.map.too_few_nodes = false;
        Ok(())
    }

    /// Gives back what is promised and not needed any more.
    pub(super) fn settle(&mut self) {
        if self.map.too_few_nodes && !self.is_expecting() {
            self.map.too_few_nodes = false;
        }
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

    /// How many of the blocks are not expecting data, and in how many runs.
    fn unexpected(&self, blocks: LblkRange) -> (u32, u32) {
        let (mut at, mut count, mut runs) = (blocks.start, 0, 0);
        while at < blocks.end {
            let (found, stop) = self.map.expected.run_at(at);
            let stop = stop.min(blocks.end);
            if !found {
                count += stop - at;
                runs += 1;
            }
            at = stop;
        }
        (count, runs)
    }

    /// Whether all of the blocks expect data.
    pub(super) fn is_expected(&self, blocks: LblkRange) -> bool {
        let flying = || self.map.flights.iter().any(|f| f.covers(blocks));
        self.unexpected(blocks).0 == 0 || flying()
    }

    /// The first of the blocks, as many as the same promise is for: one that lost its own must
    /// not take its neighbour along.
    pub(crate) fn promised_alike(&self, blocks: LblkRange) -> LblkRange {
        if self.is_expected(blocks) {
            return blocks;
        }
        let (_, stop) = self.map.expected.run_at(blocks.start);
        blocks.start.until(blocks.end.min(stop))
    }

    /// Whether what the conversion of these blocks may take is promised. What never was
    /// ([`Extents::expect_held`]) or is no more depends on what happens to be free.
    pub(crate) fn is_promised(&self, blocks: LblkRange) -> bool {
        let map = &*self.map;
        self.is_expected(blocks) && map.nodes.blocks() > 0 && !map.too_few_nodes
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
        let mut nodes = self.begin_change(handle, (kind, promised));
        let result = change(&mut nodes, &mut self.map.root);
        self.end_change(nodes);
        result
    }

    /// What [`Extents::change`] begins with: the nodes of the tree, to be changed.
    pub(super) fn begin_change<'h>(
        &mut self,
        handle: &'h Handle<'h>,
        (kind, promised): (BlockKind, bool),
    ) -> TreeNodes<'h, 'h>
    where
        'a: 'h,
    {
        let usable = if promised { u32::MAX } else { 0 };
        let writer = Writer {
            handle,
            kind,
            promise: self.map.nodes.take(self.inode.sb(), usable),
            expecting: self.is_expecting(),
        };
        TreeNodes::writer(self.inode, writer)
    }

    /// What it ends with: what is left of the promise is kept.
    pub(super) fn end_change(&mut self, nodes: TreeNodes<'_, '_>) {
        if let Some(left) = nodes.into_promise() {
            self.map.nodes.add(left);
        }
    }

    /// Adds the blocks to those that expect data.
    fn add_expected(&mut self, blocks: LblkRange) -> Result {
        let mut at = blocks.start;
        while at < blocks.end {
            let (found, stop) = self.map.expected.run_at(at);
            let stop = stop.min(blocks.end);
            if !found {
                self.map.expected.insert(at.until(stop))?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Takes the blocks out of those that expect data.
    pub(super) fn end_expected(&mut self, blocks: LblkRange) {
        if !self.map.expected.is_empty() {
            self.map.expected.take_out(blocks);
        }
    }

    /// The reserved ones of the blocks have become unwritten, and expect data.
    pub(super) fn use_reserved(&mut self, blocks: LblkRange) {
        let n = self.map.reserved.take_out(blocks);
        let total = self.show_reserved();
        trace::reserve_use(self.inode, event_blocks(blocks), n, total);
        // Cannot fail: the blocks are there.
        let _ = self.add_expected(blocks);
    }

    /// The reserved blocks were allocated, but cannot be mapped, and have been freed again. The
    /// data was accepted, so they stay reserved, with the promise that was made before. Without it
    /// anybody who waits for space would have it before the next try (race 13c). `None` if they
    /// are lost.
    pub(super) fn promise_again(&mut self, blocks: LblkRange, promise: Option<Promise<'_>>) {
        match promise.filter(|_| rule::kept(Rule::StayReserved)) {
            Some(promise) => self.map.blocks.add(promise),
            None => {
                self.use_reserved(blocks);
                self.end_expected(blocks);
            }
        }
    }

    /// Says that data will be written to the blocks, which are unwritten: their conversion is
    /// promised its tree blocks. `ENOSPC`, then nothing may be written there.
    pub(crate) fn expect_write(&mut self, blocks: LblkRange) -> Result {
        let (count, runs) = self.unexpected(blocks);
        if count == 0 {
            return Ok(());
        }
        self.secure(2 * u64::from(count), runs)?;
        let result = self.add_expected(blocks);
        if result.is_err() {
            self.settle();
        }
        result
    }

    /// As [`Extents::expect_write`] for data that has been accepted, and is about to be written to
    /// blocks that are held: without a promise the pool has to do.
    pub(crate) fn expect_held(&mut self, blocks: LblkRange) {
        let (count, runs) = self.unexpected(blocks);
        if count > 0 {
            if self.secure(2 * u64::from(count), runs).is_err() {
                self.map.too_few_nodes = true;
            }
            // Does not fail.
            let _ = self.add_expected(blocks);
        }
    }

    /// Writeback is about to write to these blocks, which are held. It says so itself when it is
    /// over ([`Extents::end_writing`]): a page under writeback is clean, so who takes back what is
    /// reserved or expected below clean pages (a short write) would give the block back while the
    /// I/O is in flight.
    pub(crate) fn begin_writing(&mut self, blocks: LblkRange) {
        self.expect_held(blocks);
        self.map.writing.take_out(blocks);
        // Does not fail.
        let _ = self.map.writing.insert(blocks);
    }

    /// Ends [`Extents::begin_writing`]: the I/O is over, or there will be none.
    pub(crate) fn end_writing(&mut self, blocks: LblkRange) {
        if !self.map.writing.is_empty() {
            self.map.writing.take_out(blocks);
            self.release_unused(blocks);
            self.settle();
        }
    }

    /// Whether something is on its way to a block, and the next block from there on for which the
    /// answer may be another.
    pub(super) fn is_on_its_way(&self, lblk: Lblk) -> (bool, Lblk) {
        let (expected, stop) = self.map.expected.run_at(lblk);
        let (writing, until) = self.map.writing.run_at(lblk);
        if expected || writing {
            return (true, if expected { stop } else { until });
        }
        let mut stop = stop.min(until);
        for flight in self.map.flights.iter() {
            if flight.blocks.contains(lblk) {
                return (true, flight.blocks.end);
            }
            if flight.blocks.start > lblk {
                stop = stop.min(flight.blocks.start);
            }
        }
        (false, stop)
    }

    /// Takes back what [`Extents::expect_write`] said: nothing will be written there.
    pub(crate) fn unexpect(&mut self, blocks: LblkRange) {
        self.end_expected(blocks);
        self.release_unused(blocks);
        self.settle();
    }

    /// As [`Extents::expect_write`], for a direct write to blocks of one extent, which `end_io`
    /// converts as a whole: two entries more, and not two for each block, or a write to what
    /// fallocate has promised on a full disk would want more nodes than there are. A page that
    /// splits the extent meanwhile has its own promise. It ends with [`Extents::land`].
    pub(crate) fn expect_direct(&mut self, request: RequestId, blocks: LblkRange) -> Result {
        self.map.flights.reserve(1, GFP_KERNEL)?;
        self.secure(2, 1)?;
        // Mappings of a request come one behind the other.
        let before = |f: &&mut Flight| f.request == request && f.blocks.end == blocks.start;
        match self.map.flights.iter_mut().find(before) {
            Some(flight) => {
                flight.blocks.end = blocks.end;
                flight.mappings = flight.mappings.saturating_add(1);
            }
            None => {
                let flight = Flight {
                    request,
                    blocks,
                    mappings: 1,
                };
                self.map.flights.push(flight, GFP_KERNEL)?;
            }
        }
        Ok(())
    }

    /// A direct write is over, or will not write to block `from` and behind: takes back what
    /// [`Extents::expect_direct`] said.
    pub(crate) fn land(&mut self, request: RequestId, from: Lblk) {
        self.map.flights.retain(|f| {
            if f.request == request && f.blocks.end > from {
                f.blocks.end = from;
                f.mappings = f.mappings.min(f.blocks.len());
            }
            !f.blocks.is_empty()
        });
        self.release_unused(LblkRange::ALL);
        self.settle();
    }

    /// The pages of the blocks are gone: nobody will use what is reserved and promised there.
    pub(crate) fn forget(&mut self, blocks: LblkRange) {
        self.release(blocks);
        self.unexpect(blocks);
    }

    /// Reserves space for the blocks, which are a hole. `ENOSPC`.
    pub(super) fn reserve(&mut self, hole: LblkRange) -> Result {
        self.secure(2 * u64::from(hole.len()), 1)?;
        let promise = Promise::data(self.inode.sb(), hole.len());
        let promise = promise.inspect_err(|_| self.settle())?;
        self.bump();
        self.reserve_one(hole, promise)
            .inspect_err(|_| self.settle())
    }

    /// Reserves a hole, for which space is promised. The map is known to change.
    fn reserve_one(&mut self, hole: LblkRange, promise: Promise<'_>) -> Result {
        self.map.reserved.insert(hole)?;
        self.map.blocks.add(promise);
        let total = self.show_reserved();
        trace::reserve_take(self.inode, event_blocks(hole), hole.len(), total);
        Ok(())
    }

    /// Reserves all holes among the blocks, and says that data will be written to the unwritten
    /// ones ([`Extents::expect_write`]): all of it or, with an error, nothing. No page is dirty
    /// then, so nobody would give it back. Returns what is at the first of them then: nothing more
    /// need be asked that may fail.
    pub(crate) fn reserve_holes(&mut self, blocks: LblkRange) -> Result<Mapping> {
        // What can fail comes first.
        let mut first = self.lookup(blocks)?;
        let holes = self.in_state(State::Hole, blocks)?;
        let unwritten = self.in_state(State::Unwritten, blocks)?;
        let (mut count, mut places) = (holes.count(), holes.intervals());
        for run in unwritten.iter() {
            let (more, runs) = self.unexpected(run);
            count += more;
            places += runs;
        }
        if count == 0 {
            return Ok(first);
        }
        self.secure(2 * u64::from(count), places)?;
        let promise = Promise::data(self.inode.sb(), holes.count());
        let mut promise = promise.inspect_err(|_| self.settle())?;
        for run in unwritten.iter() {
            self.add_expected(run)?;
        }
        if !holes.is_empty() {
            self.bump();
        }
        for hole in holes.iter() {
            self.reserve_one(hole, promise.split(hole.len()))?;
        }
        if first.state == State::Hole {
            first.state = State::Reserved;
        }
        Ok(first)
    }

    /// Those of the blocks that are in this state.
    fn in_state(&mut self, state: State, blocks: LblkRange) -> Result<Reservations> {
        let mut these = Reservations::new();
        let mut at = blocks.start;
        while at < blocks.end {
            let found = self.lookup(at.until(blocks.end))?;
            if found.state == state {
                these.insert(found.blocks())?;
            }
            at = found.blocks().end;
        }
        Ok(these)
    }

    /// Gives back what is reserved in the blocks. Never fails: writeback of them is over or was
    /// given up.
    fn release(&mut self, blocks: LblkRange) {
        if self.map.reserved.is_empty() {
            return;
        }
        self.bump();
        self.give_back(blocks);
        self.settle();
    }

    /// Gives back what is reserved in the blocks. The map is known to change.
    pub(super) fn give_back(&mut self, blocks: LblkRange) {
        if self.map.reserved.is_empty() {
            return;
        }
        let n = self.map.reserved.take_out(blocks);
        drop(self.map.blocks.take(self.inode.sb(), n));
        let total = self.show_reserved();
        trace::reserve_release(self.inode, event_blocks(blocks), n, total);
    }
}
