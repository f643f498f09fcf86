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
            .entry(self.block.view(), self.at)
            .map_err(|e| bad_dirblock(dir, self.block.lblk, e))
    }

    fn search(&mut self, dir: &Inode, major: u32) -> Result {
        self.at = self
            .node
            .search(self.block.view(), major)
            .map_err(|e| bad_dirblock(dir, self.block.lblk, e))?;
        Ok(())
    }

    fn is_last(&self) -> bool {
        self.at + 1 >= self.node.count
    }

    /// Adds an entry behind the one that the way takes. There is room.
    fn insert(&mut self, handle: &Handle<'_>, dir: &Inode, entry: DxEntry) -> Result {
        let mut data = self.block.copy()?;
        htree_edit::insert(&mut data, &mut self.node, self.at, entry)
            .map_err(|e| bad_dirblock(dir, self.block.lblk, e))?;
        self.block.store(handle, dir, &mut data, Some(&self.node))
    }
}

/// The way from the root of an index to one of its leaves.
pub(super) struct Path {
    root: DxFrame,
    info: Root,
    /// The nodes below, as many as the index has levels of them.
    inner: [Option<DxFrame>; MAX_INNER],
    hasher: Hasher,
}

/// Levels of nodes between the root and the leaves.
const MAX_INNER: usize = htree::MAX_LEVELS - 1;

impl Path {
    /// Reads the root. The way then leads to the first leaf of an index without inner nodes; see
    /// [`Path::seek`].
    pub(super) fn open(dir: &Inode) -> Result<Self> {
        let geo = &dir.fs().geo;
        let block = DirBlock::read(dir, Lblk::FIRST, DirBlockKind::Root)?;
        let info =
            htree::parse_root(block.view(), geo).map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
        Ok(Self {
            root: DxFrame {
                block,
                node: info.node,
                at: 0,
            },
            info,
            inner: [const { None }; MAX_INNER],
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
        self.descend(dir, 0, Some(major))
    }

    /// Reads the nodes below that of `level` (the root: 0), by its entry: the way goes on to the
    /// leaf for the hash, or to the first one.
    fn descend(&mut self, dir: &Inode, level: usize, major: Option<u32>) -> Result {
        for below in level..usize::from(self.info.indirect_levels) {
            let (_, lblk) = self.frame(dir, below)?.entry(dir)?;
            self.check_new(dir, lblk, below)?;
            let block = DirBlock::read(dir, lblk, DirBlockKind::Node)?;
            let node = htree::parse_node(block.view(), &dir.fs().geo)
                .map_err(|e| bad_dirblock(dir, lblk, e))?;
            let mut frame = DxFrame { block, node, at: 0 };
            if let Some(major) = major {
                frame.search(dir, major)?;
            }
            if let Some(place) = self.inner.get_mut(below) {
                *place = Some(frame);
            }
        }
        Ok(())
    }

    /// The node of a level; the root's is 0.
    fn frame(&mut self, dir: &Inode, level: usize) -> Result<&mut DxFrame> {
        let Some(below) = level.checked_sub(1) else {
            return Ok(&mut self.root);
        };
        let frame = self.inner.get_mut(below).and_then(Option::as_mut);
        frame.ok_or_else(|| bad_dirblock(dir, Lblk::FIRST, Corrupt::DxLevels))
    }

    /// The level of the node above the leaves.
    fn last_level(&self) -> usize {
        self.info.indirect_levels.into()
    }

    fn bottom(&mut self) -> &mut DxFrame {
        let inner = self.inner.iter_mut().flatten().next_back();
        inner.unwrap_or(&mut self.root)
    }

    /// Goes to the next leaf; returns the hash it begins with, `None` behind the last one.
    pub(super) fn advance(&mut self, dir: &Inode) -> Result<Option<u32>> {
        for level in (0..=self.last_level()).rev() {
            let frame = self.frame(dir, level)?;
            if frame.is_last() {
                continue;
            }
            frame.at += 1;
            let (hash, _) = frame.entry(dir)?;
            self.descend(dir, level, None)?;
            return Ok(Some(hash));
        }
        Ok(None)
    }

    /// Reads the leaf.
    pub(super) fn leaf(&mut self, dir: &Inode) -> Result<DirBlock> {
        DirBlock::read(dir, self.leaf_lblk(dir)?, DirBlockKind::Leaf)
    }

    /// Reads all that the leaf holds into `copy`, as long as a block. Returns which one it is.
    pub(super) fn leaf_into(&mut self, dir: &Inode, copy: &mut [u8]) -> Result<Lblk> {
        let lblk = self.leaf_lblk(dir)?;
        DirBlock::read_leaf(dir, lblk, copy)?;
        Ok(lblk)
    }

    fn leaf_lblk(&mut self, dir: &Inode) -> Result<Lblk> {
        let (_, lblk) = self.bottom().entry(dir)?;
        self.check_new(dir, lblk, self.last_level())?;
        Ok(lblk)
    }

    /// Checks that a block below `level` is none of those above: a node does not say of which level
    /// it is, and taken for a leaf it would be overwritten by the next name. Nor is a node always
    /// checked as one: a block that is both a node and a leaf of another was checked as what it was
    /// first, so it may name the root.
    fn check_new(&self, dir: &Inode, lblk: Lblk, level: usize) -> Result {
        let mut above = self.inner.iter().take(level).flatten();
        if lblk == Lblk::FIRST || above.any(|frame| frame.block.lblk == lblk) {
            return Err(bad_dirblock(dir, lblk, Corrupt::DxBlock));
        }
        Ok(())
    }

    /// Splits a full node, the one above the leaves or, if those above it are full as well, the
    /// highest of these, which may be the root: the way is void after.
    fn split_node(&mut self, handle: &Handle<'_>, dir: &Inode) -> Result {
        let mut level = self.last_level();
        while level > 0 && self.frame(dir, level - 1)?.node.is_full() {
            level -= 1;
        }
        if level == 0 {
            return self.grow_root(handle, dir);
        }
        let geo = &dir.fs().geo;
        let mut data = buffer(dir)?;
        let frame = self.frame(dir, level)?;
        let mut kept = frame.block.copy()?;
        let (node, hash) = htree_edit::split_node(&mut kept, &mut frame.node, &mut data, geo)
            .map_err(|e| bad_dirblock(dir, frame.block.lblk, e))?;
        let new = DirBlock::append(handle, dir, data, Some(&node))?;
        frame
            .block
            .store(handle, dir, &mut kept, Some(&frame.node))?;
        let lblk = new.lblk;
        let above = self.frame(dir, level - 1)?;
        above.insert(handle, dir, DxEntry { hash, lblk })
    }

    /// Adds a level below the full root, if there may be one more.
    fn grow_root(&mut self, handle: &Handle<'_>, dir: &Inode) -> Result {
        let geo = &dir.fs().geo;
        if self.last_level() + 1 >= htree::levels(geo) {
            return Err(ENOSPC);
        }
        let mut data = buffer(dir)?;
        let lblk = Lblk::new(dir_blocks(dir)?);
        let root = &self.root.block;
        let mut kept = root.copy()?;
        let node = htree_edit::grow_root(&mut kept, &mut self.info, &mut data, lblk, geo)
            .map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
        DirBlock::append(handle, dir, data, Some(&node))?;
        root.store(handle, dir, &mut kept, Some(&self.info.node))
    }

    /// Splits a full leaf in two, one of which gets the name. The node above has room.
    fn split_leaf(
        &mut self,
        handle: &Handle<'_>,
        dir: &Inode,
        leaf: DirBlock,
        entry: &NewEntry<'_>,
    ) -> Result<(DirBlock, DirBlock)> {
        let geo = &dir.fs().geo;
        let lblk = leaf.lblk;
        let major = self.hash(entry.name).major;
        let (mut kept, mut data) = (leaf.copy()?, buffer(dir)?);
        let mut scratch =
            KVec::from_elem(HashedEntry::default(), htree::MAX_LEAF_ENTRIES, GFP_NOFAIL)?;
        // All on copies: nothing has changed if there is no space for the new leaf.
        let split = htree_edit::split_leaf(&mut kept, &mut data, geo, &self.hasher, &mut scratch)
            .map_err(|e| bad_dirblock(dir, lblk, e))?;
        let half = if split.is_in_new(major) {
            &mut data
        } else {
            &mut kept
        };
        if !insert_in_copy(half, dir, lblk, entry)? {
            return Err(bad_dirblock(dir, lblk, Corrupt::DxLeaf));
        }
        let new = DirBlock::append(handle, dir, data, None)?;
        leaf.store(handle, dir, &mut kept, None)?;
        let below = DxEntry {
            hash: split.hash,
            lblk: new.lblk,
        };
        self.bottom().insert(handle, dir, below)?;
        Ok((leaf, new))
    }
}

/// Adds an entry to the copy of a leaf. False if there is no room.
pub(super) fn insert_in_copy(
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
    Ok(match insert_entry(handle, dir, entry)? {
        (_, None) => Added::Beside,
        (leaf, other) => Added::Moved(leaf, other),
    })
}

/// Returns the leaf that has the entry, and the other half if it was split for that.
fn insert_entry(
    handle: &Handle<'_>,
    dir: &Inode,
    entry: &NewEntry<'_>,
) -> Result<(DirBlock, Option<DirBlock>)> {
    // A new leaf goes behind the last block, where nobody finds it if the size is wrong.
    dir_blocks(dir)?;
    // Each level is split at most once, after which it has room: more rounds mean a wrong index.
    for _ in 0..=htree::MAX_LEVELS {
        let mut path = Path::open(dir)?;
        let major = path.hash(entry.name).major;
        path.seek(dir, major)?;
        let leaf = path.leaf(dir)?;
        if leaf.insert(handle, dir, entry)? {
            return Ok((leaf, None));
        }
        if !path.bottom().node.is_full() {
            let (leaf, other) = path.split_leaf(handle, dir, leaf, entry)?;
            return Ok((leaf, Some(other)));
        }
        // Complete in itself: if there is no space for the leaf after, nothing is lost.
        path.split_node(handle, dir)?;
    }
    Err(dir.corrupted(fmt!("directory index: no room after a split")))
}

/// Adds an entry to a directory that has just got its index. Without the dots its only leaf may
/// have room for some more, but is split at once: so does ext4, and an index of one entry leads
/// nowhere. On a full disk the room will do, and also if the block was full of unused entries only.
pub(super) fn add_first(handle: &Handle<'_>, dir: &Inode, entry: &NewEntry<'_>) -> Result<Added> {
    let mut path = Path::open(dir)?;
    let major = path.hash(entry.name).major;
    path.seek(dir, major)?;
    let leaf = path.leaf(dir)?;
    let few = dirent::entries_from(&leaf.copy()?, &dir.fs().geo, 0).count() < 2;
    let halves = if few {
        None
    } else {
        match path.split_leaf(handle, dir, leaf, entry) {
            Err(e) if e == ENOSPC => None,
            halves => Some(halves?),
        }
    };
    let (leaf, other) = match halves {
        Some((leaf, new)) => (leaf, Some(new)),
        None => insert_entry(handle, dir, entry)?,
    };
    // Also from the block that is the root now.
    Ok(Added::Moved(leaf, other))
}

/// Gives a directory of one full block an index.
pub(super) fn make_index(handle: &Handle<'_>, dir: &Inode, first: DirBlock) -> Result {
    let geo = &dir.fs().geo;
    let hasher = Hasher::new_default(geo).map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
    let (mut kept, mut data) = (first.copy()?, buffer(dir)?);
    let (version, leaf) = (hasher.version, Lblk::new(1));
    let root = htree_edit::make_indexed(&mut kept, &mut data, geo, version, leaf)
        .map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
    DirBlock::append(handle, dir, data, None)?;
    dir.info().set_flags(flags::INDEX, true);
    first.store(handle, dir, &mut kept, Some(&root.node))?;
    journal(handle, dir)
}
