// SPDX-License-Identifier: GPL-2.0

//! The extent tree as an algorithm, without I/O: it knows the format of nodes ([`crate::disk`]) and
//! reaches those below the root through a trait. The module puts journaled buffers behind it, the
//! host tests a map in memory.
//!
//! What holds of a tree: the key of an index entry is the key of the first entry of the node below;
//! no node but the root is empty; entries are sorted and do not overlap. A change of one leaf alone
//! is made where that lies, once the journal has given the right to ([`path`]). Any other is made
//! on private copies of the nodes of one path ([`edit`]). Both become visible when nothing can fail
//! any more but the journal itself, so a tree is whole after every error.

#![allow(
    unreachable_pub,
    reason = "the host tests include this file as a crate of their own"
)]

mod edit;
mod level;
mod ops;
mod path;
mod shift;
mod worst;

pub use ops::{convert, cut, exchange_parts, insert, split, To, TreePart};
pub use shift::{shift_left, shift_right, Shift};
pub use worst::worst_nodes;

use crate::disk::{
    extent::{self, Extent, ExtentIndex, Header},
    Corrupt, Lblk, Pblk,
};
use core::ops::{DerefMut, Range};

/// Bytes of the root in the inode.
pub const ROOT_BYTES: usize = 60;

/// Bytes of a [window](Nodes::window).
pub const WINDOW: usize = 2 * extent::ENTRY_SIZE;

/// What the parent says of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodePlace {
    /// The node's block.
    pub pblk: Pblk,
    /// Levels below it.
    pub depth: u16,
    /// Its first logical block.
    pub first: Lblk,
    /// The first logical block behind it.
    pub end: Lblk,
}

/// Read access to the nodes below the root.
pub trait Nodes {
    /// What operations fail with.
    type Error;
    /// A node to read from.
    type Node;

    /// Reports a node, or the tree, as corrupt.
    fn corrupt(&self, what: Corrupt) -> Self::Error;

    /// Finds a node and the number of its entries. It has been checked to be what its parent says.
    fn open(&self, place: &NodePlace) -> Result<(Self::Node, u16), Self::Error>;

    /// Entry `i` and what is before it in the node (another entry, or the header): the entry is
    /// number 0 of the window taken as a node.
    fn window(&self, node: &Self::Node, i: u16) -> Result<[u8; WINDOW], Self::Error>;

    /// The first logical block of entry `i`.
    fn key(&self, node: &Self::Node, i: u16) -> Result<Lblk, Self::Error>;
}

/// Write access to the nodes below the root.
pub trait Store: Nodes {
    /// A private copy of a node.
    type Buf: AsRef<[u8]> + AsMut<[u8]>;
    /// The right to overwrite a node.
    type Access;
    /// Memory for some values, not on the stack.
    type Memory<T>: DerefMut<Target = [T]>;

    /// Memory for `len` values, each made by `make`.
    fn memory<T>(&self, len: usize, make: fn() -> T) -> Result<Self::Memory<T>, Self::Error>;

    /// Entries that a node block has room for.
    fn capacity(&self) -> u16;

    /// A copy of a node.
    fn copy(&self, node: &Self::Node) -> Result<Self::Buf, Self::Error>;

    /// A buffer as long as a node.
    fn blank(&self) -> Result<Self::Buf, Self::Error>;

    /// Allocates a block for a node, best at `goal`.
    fn alloc(&mut self, goal: Option<Pblk>) -> Result<Pblk, Self::Error>;

    /// Takes back a block that [`Store::alloc`] gave and nobody has seen.
    fn unalloc(&mut self, pblk: Pblk);

    /// Gets the right to overwrite a node.
    fn access(&mut self, pblk: Pblk) -> Result<Self::Access, Self::Error>;

    /// As [`Store::access`], of a block that was just allocated.
    fn access_new(&mut self, pblk: Pblk) -> Result<Self::Access, Self::Error>;

    /// Replaces the entries `old` of a leaf by those of `new`, where it lies ([`extent::splice`]),
    /// and adds its checksum. The leaf has room.
    fn splice(
        &mut self,
        leaf: &Self::Node,
        old: Range<u16>,
        new: &[Extent],
    ) -> Result<(), Self::Error>;

    /// Overwrites a node; adds its checksum.
    fn put(&mut self, access: Self::Access, buf: &mut Self::Buf) -> Result<(), Self::Error>;

    /// Frees the block of a node that is not part of the tree any more. The tree has changed by
    /// then, so this has no error: a block that cannot be freed is reported, and lost.
    fn free(&mut self, pblk: Pblk);
}

/// What is at a logical block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// An extent that contains it.
    Extent(Extent),
    /// Nothing.
    Hole {
        /// The extent before, if any: the hole begins where it ends.
        prev: Option<Extent>,
        /// The first logical block behind the hole.
        end: Lblk,
    },
}

impl Found {
    /// `entry` is the last that begins at or before `lblk`, `next` where the next one does.
    fn new(entry: Extent, lblk: Lblk, next: Lblk) -> Self {
        if lblk < entry.end() {
            return Found::Extent(entry);
        }
        Found::Hole {
            prev: Some(entry),
            end: next,
        }
    }

    /// The logical blocks for which this is the answer.
    pub fn covers(&self, lblk: Lblk) -> bool {
        match self {
            Found::Extent(e) => e.blocks().contains(lblk),
            Found::Hole { prev, end } => {
                let start = prev.map_or(Lblk::FIRST, |e| e.end());
                start.until(*end).contains(lblk)
            }
        }
    }
}

/// The key of entry `i` of a node in memory; leaves and inner nodes have it at the same place.
fn key_at(node: &[u8], i: u16) -> Result<Lblk, Corrupt> {
    extent::index_at(node, i).map(|index| index.lblk)
}

/// [`Nodes::window`] of a node in memory.
fn window_of(node: &[u8], i: u16) -> Result<[u8; WINDOW], Corrupt> {
    let at = usize::from(i) * extent::ENTRY_SIZE;
    let window = node.get(at..at + WINDOW).and_then(|w| w.try_into().ok());
    window.ok_or(Corrupt::ShortBuffer)
}

/// The number of entries of a node whose first logical block is at most `lblk`, as
/// [`extent::search`].
fn search_node<N: Nodes>(
    nodes: &N,
    node: &N::Node,
    entries: u16,
    lblk: Lblk,
) -> Result<u16, N::Error> {
    let (mut n, mut above) = (0, entries);
    while n < above {
        let mid = n + (above - n) / 2;
        if nodes.key(node, mid)? <= lblk {
            n = mid + 1
        } else {
            above = mid
        }
    }
    Ok(n)
}

/// Finds what is at `lblk`, with no copy of any node. `root` has been checked.
pub fn lookup_extent<N: Nodes>(nodes: &N, root: &[u8], lblk: Lblk) -> Result<Found, N::Error> {
    let bad = |what| nodes.corrupt(what);
    let root_header = Header::read(root).map_err(bad)?;
    let n = extent::search(root, root_header.entries, lblk).map_err(bad)?;
    let mut end = if n < root_header.entries {
        key_at(root, n).map_err(bad)?
    } else {
        Lblk::END
    };
    let Some(i) = n.checked_sub(1) else {
        return Ok(Found::Hole { prev: None, end });
    };
    let mut depth = root_header.depth;
    if depth == 0 {
        let entry = extent::extent_at(root, i).map_err(bad)?;
        return Ok(Found::new(entry, lblk, end));
    }
    let mut index: ExtentIndex = extent::index_at(root, i).map_err(bad)?;
    loop {
        depth -= 1;
        let (node, entries) = nodes.open(&NodePlace {
            pblk: index.pblk,
            depth,
            first: index.lblk,
            end,
        })?;
        let n = search_node(nodes, &node, entries, lblk)?;
        if n < entries {
            end = nodes.key(&node, n)?;
        }
        // The first key is the parent's, which is not above `lblk`.
        let i = n.checked_sub(1).ok_or_else(|| bad(Corrupt::ExtentRange))?;
        let window = nodes.window(&node, i)?;
        if depth == 0 {
            let entry = extent::extent_at(&window, 0).map_err(bad)?;
            return Ok(Found::new(entry, lblk, end));
        }
        index = extent::index_at(&window, 0).map_err(bad)?;
    }
}
