// SPDX-License-Identifier: GPL-2.0

//! The extent map of an inode: where its blocks are, and what is only promised.
//!
//! Three parts under one lock (`InodeInfo::extents`), and copies for reads without it ([`recent`]):
//!
//! - the root of the tree on disk, a copy of `i_block`; nodes below it are metadata blocks
//!   ([`nodes`]), changed by the algorithms of [`tree`];
//! - the logical blocks that are reserved but not allocated ([`delalloc`]); they are holes in the
//!   tree;
//! - the answer of the last lookup, so that sequential I/O does not walk a deep tree every time.
//!
//! # The life of a block
//!
//! A logical block of a file is in one of five states, and these are their names everywhere:
//!
//! ```text
//!            reserve            fill              expect_write         convert
//!    hole -----------> reserved ------> unwritten ------------> expected ------> written
//!     ^  <----------- (delalloc)           |      <------------    |                |
//!     |     forget                         |         unexpect      |                |
//!     +-- remove --------------------------+-----------------------+----------------+
//!
//!    reads as:  zeros    the page          zeros      zeros, or the page      the data
//!    on disk:   nothing  nothing           a block    a block                 a block
//!    promised:  nothing  its block and     nothing    what the conversion     nothing
//!                        tree blocks                  takes of the tree
//! ```
//!
//! - *reserved*: its data is in a page, and a block is promised; iomap and ext4 say delalloc.
//! - *unwritten*: it has a block, which reads as zeros: fallocated, or filled and then lost.
//! - *expected*: unwritten, and data is on its way: a dirty page, one under writeback, or a direct
//!   write in flight. [`State`] does not tell it from unwritten, which it is on disk; the sets in
//!   [`promise`] do.
//! - A reserved block is filled by writeback (or a direct write that is first) and is expected from
//!   then on; a hole can be filled as well, by fallocate, a direct write, or for a page that nobody
//!   reserved for (rule 10). Blocks of directories and symbolic links are journaled, and go from
//!   hole to written at once.
//! - From reserved and expected on, nothing that the data needs can fail for want of space: it has
//!   been promised. A promise is a value ([`alloc::Promise`]), given back when it is dropped.
//!
//! `InodeInfo::seq` counts the changes of the map. It is bumped *before* each change, so a copy of
//! a mapping whose count still agrees was true when the count was read (rule 3 of the data path).
//!
//! All there is to do with a map is a method of [`Extents`], which is the inode with its lock held:
//! the map of another inode cannot be meant, and nobody is without the lock. What changes the disk
//! takes the handle too, which is started first (lock order). A search says what may be done with
//! what it found ([`ExtentEntry`]): only a hole can be filled, once, and nothing comes between the
//! look and the filling. Tree nodes that writeback and completion need are promised when the data
//! is accepted ([`promise`]).
//!
//! Instead of a tree an inode may have a block map ([`MapKind`], [`pointers`]).
//!
//! Format: `Documentation/filesystems/ext4/ifork.rst`.

mod delalloc;
mod entry;
mod exchange;
mod held;
mod kind;
mod nodes;
mod pointers;
mod promise;
mod recent;
mod remove;
mod shift;
pub(crate) mod tree;

pub(crate) use entry::{ExtentEntry, Hole};
pub(crate) use exchange::{Exchange, TwoExtents};
pub(crate) use kind::{check_root, MapKind};
pub(crate) use recent::Recent;
pub(crate) use shift::Move;

use super::{
    alloc::{self, BlockKind, KeptPromises},
    Inode, //
};
use crate::{
    disk::{self, Lblk, LblkRange, Pblk},
    trace,
    vfs::{jbd2::Handle, nofs::NoFsMutexGuard},
};
use core::ops::Range;
use delalloc::Reservations;
use held::HeldRuns;
use kernel::{
    error::code::*,
    prelude::*,
    sync::atomic::ordering, //
};
use nodes::TreeNodes;
use promise::Flight;
use tree::{Found, ROOT_BYTES};

/// What lies below logical blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing.
    Hole,
    /// No block yet, but space for it.
    Reserved,
    /// Blocks that read as zeros.
    Unwritten,
    /// Blocks with data.
    Written,
}

/// `len` logical blocks from `lblk` on that are in one state; if that means blocks, they are
/// contiguous from `pblk` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) lblk: Lblk,
    pub(crate) len: u32,
    pub(crate) pblk: Pblk,
    pub(crate) state: State,
}

impl Mapping {
    /// The logical blocks.
    pub(crate) fn blocks(&self) -> LblkRange {
        self.lblk.blocks(self.len)
    }

    /// The first of the blocks, as many as lie in an extent of the tree that covers the very first.
    fn part(e: &disk::extent::Extent, blocks: LblkRange) -> Self {
        let lblk = blocks.start;
        let skip = lblk.saturating_sub(e.lblk);
        let state = if e.unwritten {
            State::Unwritten
        } else {
            State::Written
        };
        Self {
            lblk,
            len: e.len.saturating_sub(skip).min(blocks.len()).max(1),
            pblk: e.pblk + u64::from(skip),
            state,
        }
    }
}

/// How far [`Extents::remove_space`] came.
pub(crate) enum Progress {
    /// All is gone.
    Done,
    /// These blocks are left: go on with a new handle.
    Continue(LblkRange),
}

/// See the module.
pub(crate) struct ExtentMap {
    kind: MapKind,
    root: [u8; ROOT_BYTES],
    reserved: Reservations,
    /// Unwritten blocks that a page's data is on its way to.
    expected: Reservations,
    /// The same for direct writes, each on its own.
    flights: KVec<Flight>,
    /// The promise of `reserved`, block by block.
    blocks: KeptPromises,
    /// Tree blocks promised for all three.
    nodes: KeptPromises,
    /// They are too few: data that was accepted got none.
    too_few_nodes: bool,
    /// Blocks that a block map gets later, and the promise that they came out of.
    held: HeldRuns,
    /// Those of them that writeback is writing to, until it is over.
    writing: Reservations,
    held_promise: KeptPromises,
    last: Option<Found>,
    /// No block from here on is written, as far as is known; the end if nothing is.
    unwritten_from: Lblk,
}

impl ExtentMap {
    /// The map of an inode that has none.
    pub(crate) fn new() -> impl Init<Self> {
        // Made where it stays: it is many bytes to be handed on.
        init!(Self {
            kind: MapKind::Nothing,
            root: [0; ROOT_BYTES],
            reserved: Reservations::new(),
            expected: Reservations::new(),
            flights: KVec::new(),
            blocks: KeptPromises::new(),
            nodes: KeptPromises::new(),
            too_few_nodes: false,
            held: HeldRuns::new(),
            writing: Reservations::new(),
            held_promise: KeptPromises::new(),
            last: None,
            unwritten_from: Lblk::END,
        })
    }

    /// Takes the root from disk; it has been checked.
    pub(crate) fn load_root(&mut self, kind: MapKind, root: &[u8; ROOT_BYTES]) {
        self.kind = kind;
        self.root = *root;
        self.last = None;
        self.unwritten_from = Lblk::END;
    }

    /// Makes the root of a new inode.
    pub(crate) fn init_root(&mut self, kind: MapKind) {
        self.load_root(kind, &kind::empty_root(kind));
    }

    /// Levels of nodes below the root.
    fn depth(&self) -> u32 {
        kind::depth(self.kind, &self.root)
    }
}

/// Logical blocks as events tell them.
fn event_blocks(blocks: LblkRange) -> Range<u32> {
    blocks.start.get()..blocks.end.get()
}

/// 512-byte units per block.
fn sectors(inode: &Inode) -> u64 {
    u64::from(inode.fs().geo.block_size >> 9)
}

fn add_blocks(inode: &Inode, n: u32) {
    inode.set_blocks(inode.blocks() + u64::from(n) * sectors(inode));
}

fn sub_blocks(inode: &Inode, n: u32) {
    let sectors = u64::from(n) * sectors(inode);
    inode.set_blocks(inode.blocks().saturating_sub(sectors));
}

/// The extent map of an inode, and its lock.
pub(crate) struct Extents<'a> {
    inode: &'a Inode,
    map: NoFsMutexGuard<'a, ExtentMap>,
    /// Answers come from what is in memory: `EAGAIN` where the disk would have to be read.
    cached: bool,
}

impl Inode {
    /// Takes the extent lock. Inside a handle, or before one is started and not across that.
    pub(crate) fn extents(&self) -> Extents<'_> {
        Extents {
            inode: self,
            map: self.info().extents.lock(),
            cached: false,
        }
    }

    /// What is at the first of the blocks, as [`Extents::lookup`] says, and the number of changes
    /// that belongs to it. Without the extent lock; `None` if that needs it.
    pub(crate) fn recent_extent(&self, blocks: LblkRange) -> Option<(Mapping, u32)> {
        let info = self.info();
        let (found, seq) = info.recent.covering(blocks.start, &info.seq)?;
        Some((Mapping::part(&found, blocks), seq))
    }

    /// Takes the extent lock if that and the answers under it need no sleep, else `EAGAIN`. Who has
    /// the lock may be reading nodes of the tree.
    pub(crate) fn extents_nowait(&self) -> Result<Extents<'_>> {
        Ok(Extents {
            inode: self,
            map: self.info().extents.try_lock().ok_or(EAGAIN)?,
            cached: true,
        })
    }
}

impl<'a> Extents<'a> {
    /// Whose they are.
    pub(crate) fn inode(&self) -> &'a Inode {
        self.inode
    }

    /// Number of changes of the map: says of a copy, later, whether it is still true.
    pub(crate) fn seq(&self) -> u32 {
        self.inode.info().seq.load(ordering::Acquire)
    }

    /// The format of the map.
    pub(crate) fn kind(&self) -> MapKind {
        self.map.kind
    }

    /// The root as it goes to disk.
    pub(crate) fn root(&self) -> &[u8; ROOT_BYTES] {
        &self.map.root
    }

    /// Whether no block is mapped.
    pub(crate) fn is_empty(&self) -> bool {
        kind::maps_nothing(self.map.kind, &self.map.root)
    }

    /// Sets the size on disk, which is the lock's too; [`super::inode::journal`] writes it.
    pub(crate) fn set_disk_size(&mut self, size: u64) {
        trace::disize_set(self.inode, size);
        self.inode.info().set_disk_size(size);
    }

    /// The size on disk is `size` at most.
    pub(crate) fn lower_disk_size(&mut self, size: u64) {
        if size < self.inode.info().disk_size() {
            self.set_disk_size(size);
        }
    }

    /// The size on disk is `size` at least.
    pub(crate) fn raise_disk_size(&mut self, size: u64) {
        if size > self.inode.info().disk_size() {
            self.set_disk_size(size);
        }
    }

    /// Shows `stat` how many blocks are reserved, or held, after each change of that. Returns the
    /// first.
    fn show_reserved(&self) -> u32 {
        let count = self.map.reserved.count();
        let held = self.map.held.count();
        self.inode.info().set_reserved_blocks(count + held);
        count
    }

    /// Gives all promises back, whatever the sets say: the inode goes away.
    pub(crate) fn clear(&mut self) {
        let n = self.map.reserved.clear();
        if n > 0 {
            let total = self.show_reserved();
            trace::reserve_release(self.inode, event_blocks(LblkRange::ALL), n, total);
        }
        self.map.expected.clear();
        self.map.flights.clear();
        self.map.writing.clear();
        self.release_all(LblkRange::ALL);
        let sb = self.inode.sb();
        drop(self.map.blocks.take(sb, u32::MAX));
        drop(self.map.nodes.take(sb, u32::MAX));
    }

    /// Says that the map is about to change. Everybody who holds a copy of a mapping compares.
    fn bump(&mut self) {
        self.inode.info().seq.fetch_add(1, ordering::Full);
    }

    /// The same where it is the tree that changes, in these blocks: nobody finds them without the
    /// lock any more. Nothing is looked up between this and the change.
    fn bump_tree(&mut self, blocks: LblkRange) {
        self.map.last = None;
        self.map.unwritten_from = self.map.unwritten_from.max(blocks.end);
        self.inode.info().recent.take_out(blocks);
        self.bump();
    }

    /// Whether it is known that no block from `first` on is written.
    pub(crate) fn is_unwritten_from(&self, first: Lblk) -> bool {
        self.map.unwritten_from <= first
    }

    /// Nobody has seen a written block from `first` on. It is known until the tree changes there.
    pub(crate) fn note_unwritten_from(&mut self, first: Lblk) {
        self.map.unwritten_from = first;
    }

    fn find_extent(&mut self, lblk: Lblk) -> Result<Found> {
        if let Some(found) = self.map.last.filter(|found| found.covers(lblk)) {
            return Ok(found);
        }
        let nodes = if self.cached {
            TreeNodes::cached(self.inode)
        } else {
            TreeNodes::reader(self.inode)
        };
        let found = if self.map.kind == MapKind::Pointers {
            pointers::lookup_run(&nodes, &self.map.root, lblk)?
        } else {
            tree::lookup_extent(&nodes, &self.map.root, lblk)?
        };
        // Checked of every answer, so also of the root, and of a node that was verified when it was
        // read for another inode that claims it.
        if let Found::Extent(e) = found {
            let inode = self.inode;
            let fits = inode.fs().geo.blocks_valid(e.pblk, e.len.into());
            if !fits || alloc::is_system_block(inode.sb(), e.pblk, e.len, Some(inode.ino())) {
                return Err(inode.corrupted(fmt!(
                    "extent of block {} lies at {}, len {}",
                    e.lblk,
                    e.pblk,
                    e.len
                )));
            }
            inode.info().recent.put(&e);
        }
        // Of a hole among pointers it is not known where it begins.
        let is_kept = self.map.kind == MapKind::Tree || matches!(found, Found::Extent(_));
        self.map.last = Some(found).filter(|_| is_kept);
        Ok(found)
    }

    /// What is at the first of the blocks: the answer starts there and covers at least that one, at
    /// most all of them. May read the disk.
    pub(crate) fn lookup(&mut self, blocks: LblkRange) -> Result<Mapping> {
        Ok(self.look(blocks)?.0)
    }

    /// As [`Extents::lookup`], with what may be done there.
    pub(crate) fn entry(&mut self, blocks: LblkRange) -> Result<ExtentEntry<'_, 'a>> {
        let (found, prev) = self.look(blocks)?;
        Ok(match found.state {
            State::Written | State::Unwritten => ExtentEntry::Mapped(found),
            State::Hole | State::Reserved => ExtentEntry::Hole(Hole::new(self, found, prev)),
        })
    }

    /// What is at the first of the blocks; if that is a hole, the extent before it, too.
    fn look(&mut self, blocks: LblkRange) -> Result<(Mapping, Option<disk::extent::Extent>)> {
        let lblk = blocks.start;
        let (prev, end) = match self.find_extent(lblk)? {
            Found::Extent(e) => return Ok((Mapping::part(&e, blocks), None)),
            Found::Hole { prev, end } => (prev, end),
        };
        let mut end = end.min(blocks.end);
        let mut prev = prev;
        if self.map.kind == MapKind::Pointers {
            match self.find_held(lblk) {
                (Some(run), _) => return Ok((Mapping::part(&run, blocks), None)),
                (None, stop) => end = end.min(stop),
            }
            prev = self.map.held.ending_at(lblk).or(prev);
        }
        let (state, stop) = match self.map.reserved.run_at(lblk) {
            (true, stop) => (State::Reserved, stop),
            (false, stop) => (State::Hole, stop),
        };
        let len = end.min(stop).saturating_sub(lblk);
        let found = Mapping {
            lblk,
            len: len.max(1),
            pblk: Pblk::default(),
            state,
        };
        Ok((found, prev))
    }

    /// Turns the blocks, which lie in one extent and are unwritten, into written ones. The caller
    /// journals the inode. Costs [`credits::INSERT`].
    pub(crate) fn convert(&mut self, handle: &Handle<'_>, blocks: LblkRange) -> Result {
        let inode = self.inode;
        if self.map.kind == MapKind::Pointers {
            return self.convert_held(handle, blocks);
        }
        self.bump_tree(blocks);
        trace::extent_convert(inode, event_blocks(blocks), State::Written.into());
        // In a tree with leaves of its own the inode does not change, neither its root nor the
        // number of its blocks, so `inode::journal` cannot tell that fdatasync has to wait.
        inode.info().set_datasync_tid(handle.tid());
        let promised = self.is_expected(blocks) || self.secure_other();
        let mut at = blocks.start;
        while at < blocks.end {
            let next = self.change(handle, BlockKind::Completion, promised, |nodes, root| {
                tree::convert(nodes, root, at.until(blocks.end), tree::To::Written)
            })?;
            if next <= at {
                return Err(self.inode.corrupted(fmt!("extents at {} do not end", at)));
            }
            at = next;
        }
        self.end_expected(blocks);
        self.settle();
        Ok(())
    }
}
