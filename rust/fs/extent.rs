// SPDX-License-Identifier: GPL-2.0

//! The extent map of an inode: where its blocks are, and what is only promised.
//!
//! Three parts under one lock (`Node::extents`):
//!
//! - the root of the tree on disk, a copy of `i_block`; nodes below it are metadata blocks
//!   ([`nodes`]), changed by the algorithms of [`tree`];
//! - the logical blocks that are reserved but not allocated ([`delalloc`]); they are holes in the
//!   tree;
//! - the answer of the last lookup, so that sequential I/O does not walk a deep tree every time.
//!
//! `Node::seq` counts the changes of the map. It is bumped *before* each change, so a copy of a
//! mapping whose count still agrees was true when the count was read (rule 3 of the data path).
//!
//! Functions take the inode and its map, which proves that the lock is held; those that change the
//! disk take the handle too, which is started first (lock order). Tree nodes that writeback and
//! completion need are promised when the data is accepted ([`promise`]).
//!
//! Format: `Documentation/filesystems/ext4/ifork.rst`.

mod delalloc;
mod nodes;
mod promise;
mod remove;
pub(crate) mod tree;

pub(crate) use promise::{
    delalloc_reserve, delalloc_reserve_holes, expect, expect_direct, forget, land, unexpect,
};
pub(crate) use remove::remove;

use super::{
    alloc::{self, Kind, Request},
    error::corrupted,
    Inode,
    Sb, //
};
use crate::{
    disk::{
        self,
        extent::{MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN},
        superblock::MAX_FILE_BLOCKS, //
    },
    vfs::{jbd2::Handle, trace},
};
use delalloc::Reservations;
use kernel::{
    error::code::*,
    prelude::*,
    sync::atomic::{ordering, Atomic}, //
};
use nodes::TreeNodes;
use promise::Flight;
use tree::{Found, ROOT_BYTES};

/// Credits for one insertion or conversion: the nodes of one path, a new one at every level with
/// its bitmap and group descriptor, and one more where the root moves down.
pub(crate) const INSERT_CREDITS: u32 = disk::extent::MAX_DEPTH as u32
    + (1 + alloc::ALLOC_CREDITS) * (disk::extent::MAX_DEPTH as u32 + 1);

/// Credits for [`convert`].
pub(crate) const CONVERT_CREDITS: u32 = INSERT_CREDITS;

/// Groups of which data blocks are freed in one step of [`remove`].
const STEP_GROUPS: u32 = 3;

/// Blocks of a directory or symbolic link freed in one step: each takes a revoke record.
const STEP_REVOKES: u32 = 16;

/// Credits for one step of [`remove`]: cutting the middle of an extent inserts one; at every level
/// one node may become empty and another one merge into the root.
const STEP_CREDITS: u32 = INSERT_CREDITS
    + alloc::free_credits(STEP_GROUPS)
    + alloc::free_credits(2 * disk::extent::MAX_DEPTH as u32);

/// Credits for one step of [`remove`] that takes all of a tree which is a root only, from the end:
/// no node is changed.
const ROOT_STEP_CREDITS: u32 = alloc::free_credits(STEP_GROUPS);

/// What lies below logical blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing.
    Hole,
    /// Nothing yet: space is reserved.
    Delalloc,
    /// Blocks that read as zeros.
    Unwritten,
    /// Blocks with data.
    Written,
}

/// `len` logical blocks from `lblk` on that are in one state; if that means blocks, they are
/// contiguous from `pblk` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) lblk: u32,
    pub(crate) len: u32,
    pub(crate) pblk: u64,
    pub(crate) state: State,
}

/// How far [`remove`] came.
pub(crate) enum Progress {
    /// All is gone.
    Done,
    /// What lies below this logical block is left: go on with a new handle.
    Continue(u64),
}

/// See the module.
pub(crate) struct ExtentMap {
    root: [u8; ROOT_BYTES],
    reserved: Reservations,
    /// Unwritten blocks that data is on its way to.
    converting: Reservations,
    /// The same for direct writes, each on its own.
    flights: KVec<Flight>,
    /// Tree blocks promised for all three.
    nodes: u32,
    last: Option<Found>,
}

impl ExtentMap {
    /// The map of an inode that has none.
    pub(crate) fn new() -> Self {
        Self {
            root: [0; ROOT_BYTES],
            reserved: Reservations::new(),
            converting: Reservations::new(),
            flights: KVec::new(),
            nodes: 0,
            last: None,
        }
    }

    /// Takes the root from disk; it has been checked.
    pub(crate) fn load_root(&mut self, root: &[u8; ROOT_BYTES]) {
        self.root = *root;
        self.last = None;
    }

    /// Makes the root of a new inode.
    pub(crate) fn init_root(&mut self) {
        let mut root = [0; ROOT_BYTES];
        // Fails only if the buffer were too short.
        if disk::extent::init_node(&mut root, 0, disk::extent::ROOT_ENTRIES).is_ok() {
            self.load_root(&root);
        }
    }

    /// The root as it goes to disk.
    pub(crate) fn root(&self) -> &[u8; ROOT_BYTES] {
        &self.root
    }

    /// Levels of nodes below the root.
    fn depth(&self) -> u32 {
        disk::extent::Header::read(&self.root).map_or(0, |h| h.depth.into())
    }

    /// Credits for one step of a removal.
    fn step_credits(&self, inode: &Inode, start: u32, end: u64) -> u32 {
        let blocks = inode.blocks() >> (inode.fs().geo.block_bits - 9);
        let few = inode.is_file() || blocks <= STEP_REVOKES.into();
        match start == 0 && end >= MAX_FILE_BLOCKS && self.depth() == 0 && few {
            true => ROOT_STEP_CREDITS,
            false => STEP_CREDITS,
        }
    }

    /// Credits, and revoke records, for [`remove`] of a range, which takes as many steps as they
    /// allow: most files have a few extents in the root, and a transaction has room for many that go
    /// at the same time.
    pub(crate) fn remove_credits(&self, inode: &Inode, start: u32, end: u64) -> u32 {
        let steps = match self.step_credits(inode, start, end) {
            ROOT_STEP_CREDITS => disk::extent::ROOT_ENTRIES.into(),
            _ => 3,
        };
        steps * self.step_credits(inode, start, end)
    }

    /// Whether no block is mapped.
    pub(crate) fn is_empty(&self) -> bool {
        disk::extent::Header::read(&self.root).is_ok_and(|h| h.entries == 0)
    }

    /// Shows `stat` how many blocks are reserved, after each change of that. Returns it.
    fn show_reserved(&self, inode: &Inode) -> u32 {
        let count = self.reserved.count();
        inode.node().set_reserved_blocks(count);
        count
    }

    /// Gives all reservations back; the inode goes away.
    pub(crate) fn clear(&mut self, inode: &Inode) {
        let n = self.reserved.clear();
        if n > 0 {
            alloc::unreserve(inode.sb(), n);
            let total = self.show_reserved(inode);
            trace::reserve_release(inode, 0, u32::MAX, n, total);
        }
        self.converting.clear();
        self.flights.clear();
        self.settle(inode);
    }

    /// Says that the map is about to change. Everybody who holds a copy of a mapping compares.
    fn bump(&mut self, seq: &Atomic<u32>) {
        self.last = None;
        seq.fetch_add(1, ordering::Full);
    }
}

/// Checks the root of the tree of inode `ino` as it comes from disk.
pub(crate) fn check_root(
    sb: &Sb,
    ino: u32,
    root: &[u8; ROOT_BYTES],
) -> core::result::Result<(), disk::Corrupt> {
    let h = disk::extent::check_root(root, &sb.data().geo)?;
    nodes::check_targets(sb, ino, root, &h)
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

fn find(inode: &Inode, map: &mut ExtentMap, lblk: u32) -> Result<Found> {
    find_in(&TreeNodes::reader(inode), inode, map, lblk)
}

fn find_in(
    nodes: &TreeNodes<'_, '_>,
    inode: &Inode,
    map: &mut ExtentMap,
    lblk: u32,
) -> Result<Found> {
    if let Some(found) = map.last.filter(|found| found.covers(lblk)) {
        return Ok(found);
    }
    let found = tree::lookup(nodes, &map.root, lblk)?;
    // Checked of every answer, so also of the root, and of a node that was verified when it was
    // read for another inode that claims it.
    if let Found::Extent(e) = found {
        let sb = inode.sb();
        let fits = inode.fs().geo.blocks_valid(e.pblk, e.len.into());
        if !fits || alloc::is_system_block(sb, e.pblk, e.len, inode.ino()) {
            return Err(corrupted(
                sb,
                Some(inode),
                fmt!(
                    "extent of block {} lies at {}, len {}",
                    e.lblk,
                    e.pblk,
                    e.len
                ),
            ));
        }
    }
    map.last = Some(found);
    Ok(found)
}

/// What is at `lblk`: the answer starts there and covers 1 to `max` blocks. May read the disk.
pub(crate) fn lookup(inode: &Inode, map: &mut ExtentMap, lblk: u32, max: u32) -> Result<Extent> {
    let end = match find(inode, map, lblk)? {
        Found::Extent(e) => {
            let skip = lblk.saturating_sub(e.lblk);
            return Ok(Extent {
                lblk,
                len: (e.len.saturating_sub(skip)).min(max).max(1),
                pblk: e.pblk + u64::from(skip),
                state: if e.unwritten {
                    State::Unwritten
                } else {
                    State::Written
                },
            });
        }
        Found::Hole { end, .. } => end,
    };
    let end = end.min(u64::from(lblk) + u64::from(max.max(1)));
    let (state, stop) = match map.reserved.find(lblk) {
        (true, stop) => (State::Delalloc, stop),
        (false, stop) => (State::Hole, stop),
    };
    let len = end.min(stop.into()).saturating_sub(lblk.into());
    Ok(Extent {
        lblk,
        len: (len as u32).max(1),
        pblk: 0,
        state,
    })
}

/// As [`lookup`], from what is in memory: `EAGAIN` if the disk would have to be read.
pub(crate) fn lookup_cached(
    inode: &Inode,
    map: &mut ExtentMap,
    lblk: u32,
    max: u32,
) -> Result<Extent> {
    find_in(&TreeNodes::cached(inode), inode, map, lblk)?;
    // Answers from what was found last.
    lookup(inode, map, lblk, max)
}

/// Allocates blocks for `[lblk, lblk + len)`, which is a hole or reserved throughout, and maps
/// them in `state`. Returns what was mapped: it starts at `lblk` and may be shorter. The caller
/// journals the inode in the same handle, after it has dropped the lock. Costs [`INSERT_CREDITS`]
/// and [`alloc::ALLOC_CREDITS`].
pub(crate) fn allocate(
    handle: &Handle<'_>,
    inode: &Inode,
    map: &mut ExtentMap,
    lblk: u32,
    len: u32,
    state: State,
) -> Result<Extent> {
    let longest = match state {
        State::Unwritten => MAX_UNWRITTEN_LEN,
        _ => MAX_WRITTEN_LEN,
    };
    let place = lookup(inode, map, lblk, len.min(longest))?;
    let reserved = match place.state {
        State::Hole => false,
        State::Delalloc => true,
        // The caller looked under the lock.
        _ => return Err(EINVAL),
    };
    // A gap in the file keeps its width on disk: what fills it later has its place.
    let goal = match find(inode, map, lblk)? {
        Found::Hole { prev: Some(e), .. } => e.pblk + u64::from(lblk.saturating_sub(e.lblk)),
        _ => 0,
    };
    // Data of somebody else that was accepted comes before what can still be refused.
    let (kind, promised) = match reserved {
        true => (Kind::Completion, true),
        false => (Kind::Metadata, map.secure_other(inode)),
    };
    let data = if inode.is_file() {
        Kind::Data
    } else {
        Kind::Metadata
    };
    let request = Request {
        goal,
        want: place.len,
        min: 1,
        kind: data,
        reserved,
    };
    let (pblk, len) = alloc::blocks(handle, inode.sb(), inode, request)?;

    map.bump(&inode.node().seq);
    trace::extent_insert(inode, lblk, len, pblk, state.into());
    // The reservation has become blocks, whatever happens to them below.
    if reserved {
        let n = map.reserved.remove(lblk, len);
        let total = map.show_reserved(inode);
        trace::reserve_use(inode, lblk, len, n, total);
        // Cannot fail: the blocks are there.
        let _ = map.add_expected(lblk, len);
    }
    let new = disk::extent::Extent {
        lblk,
        len,
        pblk,
        unwritten: state == State::Unwritten,
    };
    let result = map.change(inode, handle, kind, promised, |nodes, root| {
        tree::insert(nodes, root, &new)
    });
    if let Err(e) = result {
        map.end_expected(lblk, if reserved { len } else { 0 });
        map.settle(inode);
        // Never journaled, so there is nothing to revoke.
        let _ = alloc::free(handle, inode.sb(), Some(inode), pblk, len, false);
        return Err(e);
    }
    map.settle(inode);
    add_blocks(inode, len);
    Ok(Extent {
        lblk,
        len,
        pblk,
        state,
    })
}

/// Turns the blocks of `[lblk, lblk + len)`, which lie in one extent, into `state`. The caller
/// journals the inode. Costs [`CONVERT_CREDITS`].
pub(crate) fn convert(
    handle: &Handle<'_>,
    inode: &Inode,
    map: &mut ExtentMap,
    lblk: u32,
    len: u32,
    state: State,
) -> Result {
    map.bump(&inode.node().seq);
    trace::extent_convert(inode, lblk, len, state.into());
    // In a tree with leaves of its own the inode does not change, neither its root nor the number
    // of its blocks, so `inode::journal` cannot tell that fdatasync has to wait.
    inode.node().set_datasync_tid(handle.tid());
    let promised = map.is_expected(lblk, len) || map.secure_other(inode);
    let end = u64::from(lblk) + u64::from(len);
    let mut at = lblk;
    while u64::from(at) < end {
        let unwritten = state == State::Unwritten;
        let next = map.change(inode, handle, Kind::Completion, promised, |nodes, root| {
            tree::convert(nodes, root, at, end, unwritten)
        })?;
        if next <= at.into() {
            return Err(corrupted(
                inode.sb(),
                Some(inode),
                fmt!("extents at {} do not end", at),
            ));
        }
        at = u32::try_from(next).unwrap_or(u32::MAX);
    }
    map.end_expected(lblk, len);
    map.settle(inode);
    Ok(())
}
