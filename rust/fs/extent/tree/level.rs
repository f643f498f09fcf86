// SPDX-License-Identifier: GPL-2.0

//! What an [`Edit`](super::edit::Edit) has in memory of each level of the tree, and how entries
//! move between nodes.

use super::{Store, ROOT_BYTES};
use crate::disk::{
    extent::{self, Header, ROOT_ENTRIES},
    Corrupt, Pblk,
};
use core::ops::Range;

/// All that one level takes. It lies in memory that the [`Store`] allocates: together the levels
/// are too much for a kernel stack.
pub struct Work<S: Store> {
    /// The node of the path.
    pub(super) node: Option<Level<S::Buf>>,
    /// A block allocated and not yet used.
    pub(super) spare: Option<(Pblk, S::Buf)>,
    /// A node split off, the right neighbour of one of the path.
    pub(super) split_off: Option<(Pblk, S::Buf)>,
    /// The rights to overwrite both.
    pub(super) access: [Option<S::Access>; 2],
    /// Nodes to free: in the worst case a chain that became empty, and one that merged into the
    /// root.
    pub(super) freed: [Option<Pblk>; 2],
}

impl<S: Store> Work<S> {
    pub(super) fn new() -> Self {
        Work {
            node: None,
            spare: None,
            split_off: None,
            access: [None, None],
            freed: [None; 2],
        }
    }
}

pub(super) enum Image<B> {
    Root([u8; ROOT_BYTES]),
    Block(B),
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Image<B> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Image::Root(bytes) => bytes,
            Image::Block(buf) => buf.as_ref(),
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Image::Root(bytes) => bytes,
            Image::Block(buf) => buf.as_mut(),
        }
    }
}

/// A node of the path.
pub(super) struct Level<B> {
    pub(super) image: Image<B>,
    /// Its block; not of the root.
    pub(super) pblk: Pblk,
    /// In an inner node, the entry of the next level.
    pub(super) pos: u16,
    /// Differs from what is stored.
    pub(super) dirty: bool,
    /// Not stored yet.
    pub(super) fresh: bool,
    /// Not part of the tree any more.
    pub(super) dead: bool,
}

/// Copies entries of one node into an empty one.
pub(super) fn copy_entries(from: &[u8], entries: Range<u16>, to: &mut [u8]) -> Result<(), Corrupt> {
    let count = entries.len() as u16;
    extent::open_gap(to, 0, count)?;
    let place = |i: u16| extent::ENTRY_SIZE * (usize::from(i) + 1);
    let src = from.get(place(entries.start)..place(entries.end));
    let dst = to.get_mut(place(0)..place(count));
    match (src, dst) {
        (Some(src), Some(dst)) => {
            dst.copy_from_slice(src);
            Ok(())
        }
        _ => Err(Corrupt::ShortBuffer),
    }
}

/// Makes a root with the contents of a node, if they fit.
pub(super) fn into_root(node: &[u8], root: &mut [u8; ROOT_BYTES]) -> Result<bool, Corrupt> {
    let h = Header::read(node)?;
    if h.entries > ROOT_ENTRIES {
        return Ok(false);
    }
    extent::init_node(root, h.depth, ROOT_ENTRIES)?;
    copy_entries(node, 0..h.entries, root)?;
    Ok(true)
}
