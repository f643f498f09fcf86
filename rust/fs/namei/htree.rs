// SPDX-License-Identifier: GPL-2.0

//! Directory indexes: ways from the root to a leaf, splits.

use super::{
    bad_dirblock,
    dir_blocks,
    dirblock::{buffer, DirBlock, DirBlockKind},
    found::Added,
    journal,
    Inode, //
};
use crate::{
    disk::{
        dirent::{self, NewEntry},
        hash::{Hash, Hasher},
        htree::{self, DxEntry, DxNode, HashedEntry, Root},
        htree_edit,
        inode::flags,
        Corrupt, Lblk,
    },
    vfs::{gfp::GFP_NOFAIL, jbd2::Handle},
};
use kernel::prelude::*;

/// An index block on the way to a leaf, and which of its entries the way takes (ext4:
/// `struct dx_frame`).
struct DxFrame {
    block: DirBlock,
    node: DxNode,
    at: u16,
}

impl DxFrame {
    fn entry(&self, dir: &Inode) -> Result<(u32, Lblk)> {
        self.node
            .entry(&self.block.data, self.at)
            .map_err(|e| bad_dirblock(dir, self.block.lblk, e))
    }

    fn search(&mut self, dir: &Inode, major: u32) -> Result {
        self.at = self
            .node
            .search(&self.block.data, major)
            .map_err(|e| bad_dirblock(dir, self.block.lblk, e))?;
        Ok(())
    }

    fn is_last(&self) -> bool {
        self.at + 1 >= self.node.count
    }

    fn store(&mut self, handle: &Handle<'_>, dir: &Inode) -> Result {
        self.block.store(handle, dir, Some(&self.node))
    }
}

/// The way from the root of an index to one of its leaves.
pub(super) struct Path {
    root: DxFrame,
    info: Root,
    inner: Option<DxFrame>,
    hasher: Hasher,
}

impl Path {
    /// Reads the root. The way then leads to the first leaf of an index without inner nodes; see
    /// [`Path::seek`].
    pub(super) fn open(dir: &Inode) -> Result<Self> {
        let geo = &dir.fs().geo;
        let block = DirBlock::read(dir, Lblk::FIRST, DirBlockKind::Root)?;
        let info =
            htree::parse_root(&block.data, geo).map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
        Ok(Self {
            root: DxFrame {
                block,
                node: info.node,
                at: 0,
            },
            info,
            inner: None,
            hasher: Hasher::new(geo, info.version),
        })
    }

    /// The hash of a name in this index.
    pub(super) fn hash(&self, name: &[u8]) -> Hash {
        self.hasher.hash(name)
    }

    /// Goes to the first leaf that may hold names of this hash.
    pub(super) fn seek(&mut self, dir: &Inode, major: u32) -> Result {
        self.root.search(dir, major)?;
        self.descend(dir)?;
        if let Some(inner) = &mut self.inner {
            inner.search(dir, major)?;
        }
        Ok(())
    }

    /// Reads the inner node below the root's entry, if the index has such.
    fn descend(&mut self, dir: &Inode) -> Result {
        self.inner = None;
        if self.info.indirect_levels > 0 {
            let (_, lblk) = self.root.entry(dir)?;
            let block = DirBlock::read(dir, lblk, DirBlockKind::Node)?;
            let node = htree::parse_node(&block.data, &dir.fs().geo)
                .map_err(|e| bad_dirblock(dir, lblk, e))?;
            self.inner = Some(DxFrame { block, node, at: 0 });
        }
        Ok(())
    }

    fn bottom(&mut self) -> &mut DxFrame {
        self.inner.as_mut().unwrap_or(&mut self.root)
    }

    /// Goes to the next leaf; returns the hash it begins with, `None` behind the last one.
    pub(super) fn advance(&mut self, dir: &Inode) -> Result<Option<u32>> {
        if let Some(inner) = self.inner.as_mut().filter(|inner| !inner.is_last()) {
            inner.at += 1;
            return Ok(Some(inner.entry(dir)?.0));
        }
        if self.root.is_last() {
            return Ok(None);
        }
        self.root.at += 1;
        self.descend(dir)?;
        Ok(Some(self.root.entry(dir)?.0))
    }

    /// Reads the leaf.
    pub(super) fn leaf(&mut self, dir: &Inode) -> Result<DirBlock> {
        let step = self.bottom();
        let (_, lblk) = step.entry(dir)?;
        // A node taken for a leaf would be overwritten by the next name.
        if lblk == step.block.lblk {
            return Err(bad_dirblock(dir, lblk, Corrupt::DxBlock));
        }
        DirBlock::read(dir, lblk, DirBlockKind::Leaf)
    }

    /// Splits the inner node, or the root into one: the way is void after.
    fn split_node(&mut self, handle: &Handle<'_>, dir: &Inode) -> Result {
        let geo = &dir.fs().geo;
        let mut data = buffer(dir)?;
        let Some(inner) = &mut self.inner else {
            let lblk = Lblk::new(dir_blocks(dir)?);
            let root = &mut self.root;
            let node =
                htree_edit::grow_root(&mut root.block.data, &mut self.info, &mut data, lblk, geo)
                    .map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
            DirBlock::append(handle, dir, data, Some(&node))?;
            root.node = self.info.node;
            return root.store(handle, dir);
        };
        if self.root.node.is_full() {
            return Err(ENOSPC);
        }
        let (node, hash) =
            htree_edit::split_node(&mut inner.block.data, &mut inner.node, &mut data, geo)
                .map_err(|e| bad_dirblock(dir, inner.block.lblk, e))?;
        let new = DirBlock::append(handle, dir, data, Some(&node))?;
        inner.store(handle, dir)?;
        let root = &mut self.root;
        let lblk = new.lblk;
        let entry = DxEntry { hash, lblk };
        htree_edit::insert(&mut root.block.data, &mut root.node, root.at, entry)
            .map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
        root.store(handle, dir)
    }

    /// Splits a full leaf in two, one of which gets the name. The node above has room.
    fn split_leaf(
        &mut self,
        handle: &Handle<'_>,
        dir: &Inode,
        mut leaf: DirBlock,
        entry: &NewEntry<'_>,
    ) -> Result<Added> {
        let geo = &dir.fs().geo;
        let lblk = leaf.lblk;
        let major = self.hash(entry.name).major;
        let mut data = buffer(dir)?;
        let mut scratch =
            KVec::from_elem(HashedEntry::default(), htree::MAX_LEAF_ENTRIES, GFP_NOFAIL)?;
        // All on copies: nothing has changed if there is no space for the new leaf.
        let split =
            htree_edit::split_leaf(&mut leaf.data, &mut data, geo, &self.hasher, &mut scratch)
                .map_err(|e| bad_dirblock(dir, lblk, e))?;
        let half = if split.is_in_new(major) {
            &mut data
        } else {
            &mut leaf.data
        };
        if !insert_in_leaf(half, dir, lblk, entry)? {
            return Err(bad_dirblock(dir, lblk, Corrupt::DxLeaf));
        }
        let new = DirBlock::append(handle, dir, data, None)?;
        leaf.store(handle, dir, None)?;
        let step = self.bottom();
        let parent = &mut step.block;
        let below = DxEntry {
            hash: split.hash,
            lblk: new.lblk,
        };
        htree_edit::insert(&mut parent.data, &mut step.node, step.at, below)
            .map_err(|e| bad_dirblock(dir, lblk, e))?;
        step.store(handle, dir)?;
        Ok(Added::split(leaf, new))
    }
}

/// Adds an entry to the copy of a leaf. False if there is no room.
pub(super) fn insert_in_leaf(
    leaf: &mut [u8],
    dir: &Inode,
    lblk: Lblk,
    entry: &NewEntry<'_>,
) -> Result<bool> {
    dirent::insert(leaf, &dir.fs().geo, entry)
        .map(|at| at.is_some())
        .map_err(|e| bad_dirblock(dir, lblk, e))
}

/// Adds an entry to an indexed directory.
pub(super) fn add_entry(handle: &Handle<'_>, dir: &Inode, entry: &NewEntry<'_>) -> Result<Added> {
    // A node is split at most once, after which it has room: more rounds mean a wrong index.
    for _ in 0..3 {
        let mut path = Path::open(dir)?;
        let major = path.hash(entry.name).major;
        path.seek(dir, major)?;
        let mut leaf = path.leaf(dir)?;
        if insert_in_leaf(&mut leaf.data, dir, leaf.lblk, entry)? {
            leaf.store(handle, dir, None)?;
            return Ok(Added::one(leaf));
        }
        if !path.bottom().node.is_full() {
            return path.split_leaf(handle, dir, leaf, entry);
        }
        // Complete in itself: if there is no space for the leaf after, nothing is lost.
        path.split_node(handle, dir)?;
    }
    Err(dir.corrupted(fmt!("directory index: no room after a split")))
}

/// Gives a directory of one full block an index.
pub(super) fn make_index(handle: &Handle<'_>, dir: &Inode, mut first: DirBlock) -> Result {
    let geo = &dir.fs().geo;
    let hasher = Hasher::new_default(geo).map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
    let mut data = buffer(dir)?;
    let root = htree_edit::make_indexed(
        &mut first.data,
        &mut data,
        geo,
        hasher.version,
        Lblk::new(1),
    )
    .map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
    DirBlock::append(handle, dir, data, None)?;
    dir.info().set_flags(flags::INDEX, true);
    first.store(handle, dir, Some(&root.node))?;
    journal(handle, dir)
}
