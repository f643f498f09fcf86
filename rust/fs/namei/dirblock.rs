// SPDX-License-Identifier: GPL-2.0

//! Blocks of directories: read and checked, then looked at and changed where they lie. What moves
//! many entries at once, a split, works on a copy.

use super::{bad_dirblock, blocks_within, is_indexed, journal, Inode};
use crate::{
    disk::{
        dirent::{self, NewEntry},
        htree::{self, DxNode},
        Corrupt, Ino, Lblk, LblkRange, Pblk,
    },
    fs::extent::{ExtentEntry, Mapping, State},
    vfs::{
        bh::BufferHead,
        gfp::GFP_NOFAIL,
        jbd2::{Handle, JournaledBuffer}, //
    },
};
use kernel::prelude::*;

/// What a block of a directory holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DirBlockKind {
    /// Entries, and nothing else.
    Leaf,
    /// The root of an index: `.`, `..` and an index node.
    Root,
    /// An index node.
    Node,
}

/// A block of a directory, checked. Only the caller changes it for as long as he holds the
/// directory's i_rwsem.
pub(super) struct DirBlock {
    bh: BufferHead,
    /// Number of the block in the directory.
    pub(super) lblk: Lblk,
}

/// A zeroed buffer as long as a block.
pub(super) fn buffer(dir: &Inode) -> Result<KVec<u8>> {
    Ok(KVec::zeroed(dir.fs().geo.block_size as usize, GFP_NOFAIL)?)
}

/// What is at block `lblk`; without the extent lock if that goes, so that those who look up names
/// in one directory do not wait for one another. By its i_rwsem the blocks stay.
fn look(dir: &Inode, lblk: Lblk) -> Result<Mapping> {
    match dir.recent_extent(lblk.blocks(1)) {
        Some((found, _)) => Ok(found),
        None => dir.extents().lookup(lblk.blocks(1)),
    }
}

/// The disk block of block `lblk`. A directory has no holes and nothing is unwritten in it.
fn map(dir: &Inode, lblk: Lblk) -> Result<Pblk> {
    let found = look(dir, lblk)?;
    match found.state {
        State::Written => Ok(found.pblk),
        _ => Err(dir.corrupted(fmt!("directory block {lblk} is not there"))),
    }
}

/// Where what is not there ends, if the blocks begin with such.
pub(super) fn hole_until(dir: &Inode, blocks: LblkRange) -> Result<Option<Lblk>> {
    let found = dir.extents().lookup(blocks)?;
    Ok((found.state != State::Written).then(|| found.blocks().end))
}

/// Begins to read a block that is going to be wanted. Errors show up when it is read.
pub(super) fn read_ahead(dir: &Inode, lblk: Lblk) {
    if let Ok(found) = look(dir, lblk) {
        if found.state == State::Written {
            dir.sb().breadahead(found.pblk.get());
        }
    }
}

/// Allocates block `lblk` of a directory or symbolic link, which has none there. Returns where it
/// is.
pub(super) fn append_block(handle: &Handle<'_>, inode: &Inode, lblk: Lblk) -> Result<Pblk> {
    match inode.extents().entry(lblk.blocks(1))? {
        ExtentEntry::Hole(hole) => Ok(hole.fill(handle, 1, State::Written)?.pblk),
        ExtentEntry::Mapped(_) => Err(inode.corrupted(fmt!("block {lblk} lies behind its end"))),
    }
}

impl DirBlock {
    /// Reads a block that must be of `kind`.
    pub(super) fn read(dir: &Inode, lblk: Lblk, kind: DirBlockKind) -> Result<Self> {
        let this = Self::load(dir, lblk)?;
        this.verify(dir, kind)?;
        Ok(this)
    }

    /// Reads all that a leaf holds into `copy`, as long as a block: that is what is checked.
    pub(super) fn read_leaf(dir: &Inode, lblk: Lblk, copy: &mut [u8]) -> Result {
        let this = Self::load(dir, lblk)?;
        this.bh.copy_out(0, copy)?;
        if !this.bh.is_verified() {
            this.verify_copy(dir, DirBlockKind::Leaf, copy)?;
        }
        Ok(())
    }

    /// Reads a block of a directory from first to last, whatever its structure. `None` if it holds
    /// no entries but `.` and `..`.
    pub(super) fn read_any(dir: &Inode, lblk: Lblk) -> Result<Option<Self>> {
        let this = Self::load(dir, lblk)?;
        if is_indexed(dir) {
            if lblk == Lblk::FIRST {
                this.verify(dir, DirBlockKind::Root)?;
                return Ok(None);
            }
            // Where there are no checksums an empty leaf can look like a node at first sight, but
            // not at the second.
            if htree::parse_node(this.view(), &dir.fs().geo).is_ok() {
                this.verify(dir, DirBlockKind::Node)?;
                return Ok(None);
            }
        }
        this.verify(dir, DirBlockKind::Leaf)?;
        Ok(Some(this))
    }

    fn load(dir: &Inode, lblk: Lblk) -> Result<Self> {
        let bh = dir.sb().bread(map(dir, lblk)?.get())?;
        Ok(Self { bh, lblk })
    }

    /// To look at it.
    pub(super) fn view(&self) -> &BufferHead {
        &self.bh
    }

    /// A copy of the contents. The error never comes.
    pub(super) fn copy(&self) -> Result<KVec<u8>> {
        self.bh.to_vec()
    }

    /// Checks the contents, unless that was done since the block was read from the disk.
    fn verify(&self, dir: &Inode, kind: DirBlockKind) -> Result {
        if self.bh.is_verified() {
            return Ok(());
        }
        self.verify_copy(dir, kind, &self.copy()?)
    }

    fn verify_copy(&self, dir: &Inode, kind: DirBlockKind, copy: &[u8]) -> Result {
        self.check(dir, kind, (blocks_within(dir), copy))
            .map_err(|e| bad_dirblock(dir, self.lblk, e))?;
        self.bh.set_verified();
        Ok(())
    }

    fn check(
        &self,
        dir: &Inode,
        kind: DirBlockKind,
        (dir_blocks, data): (u32, &[u8]),
    ) -> Result<(), Corrupt> {
        let (geo, seed) = (&dir.fs().geo, dir.info().csum_seed());
        let node = match kind {
            DirBlockKind::Leaf if dir.is_encrypted() => {
                return dirent::check_encrypted_block(data, geo, seed)
            }
            DirBlockKind::Leaf => return dirent::check_block(data, geo, seed),
            DirBlockKind::Root => htree::parse_root(data, geo)?.node,
            DirBlockKind::Node => htree::parse_node(data, geo)?,
        };
        htree::check_node(data, geo, &node, seed, dir_blocks)
    }

    /// Makes other contents of the block part of the transaction. `node`: of an index block.
    pub(super) fn store(
        &self,
        handle: &Handle<'_>,
        dir: &Inode,
        data: &mut [u8],
        node: Option<&DxNode>,
    ) -> Result {
        self.seal(dir, data, node)?;
        let mut block = handle.write(&self.bh)?;
        block.copy_in(0, data)?;
        block.finish()
    }

    /// Changes some bytes of a leaf or of block 0, as part of the transaction. Where `change` fails
    /// it has changed nothing. Needs no memory.
    pub(super) fn change(
        &self,
        handle: &Handle<'_>,
        dir: &Inode,
        change: impl FnOnce(&mut JournaledBuffer<'_>) -> Result<(), Corrupt>,
    ) -> Result {
        let bad = |e| bad_dirblock(dir, self.lblk, e);
        let geo = &dir.fs().geo;
        // Where the checksum goes, before anything changes.
        let node = if is_indexed(dir) && self.lblk == Lblk::FIRST {
            Some(htree::parse_root(&self.bh, geo).map_err(bad)?.node)
        } else {
            dirent::check_tail(&self.bh, geo).map_err(bad)?;
            None
        };
        let mut block = handle.write(&self.bh)?;
        change(&mut block).map_err(bad)?;
        // Nothing fails any more, also if somebody writes the mounted device: half a change would
        // be in the transaction.
        let seed = dir.info().csum_seed();
        let put = match node {
            Some(node) => htree::update_csum(&mut block, geo, &node, seed),
            None => dirent::put_csum(&mut block, geo, seed),
        };
        put.map_err(bad)?;
        block.finish()
    }

    /// Adds an entry to a leaf, as part of the transaction. False if there is no room.
    pub(super) fn insert(
        &self,
        handle: &Handle<'_>,
        dir: &Inode,
        entry: &NewEntry<'_>,
    ) -> Result<bool> {
        let found = dirent::find_room(&self.bh.bytes(), &dir.fs().geo, entry)
            .map_err(|e| bad_dirblock(dir, self.lblk, e))?;
        let Some(room) = found else {
            return Ok(false);
        };
        let insert = |block: &mut JournaledBuffer<'_>| {
            dirent::insert_in(block, room, entry).map(|_| ()) //
        };
        self.change(handle, dir, insert).map(|()| true)
    }

    fn seal(&self, dir: &Inode, data: &mut [u8], node: Option<&DxNode>) -> Result {
        let (geo, seed) = (&dir.fs().geo, dir.info().csum_seed());
        match node {
            Some(node) => htree::update_csum(data, geo, node, seed),
            None => dirent::update_csum(data, geo, seed),
        }
        .map_err(|e| bad_dirblock(dir, self.lblk, e))
    }

    /// Adds a block with these contents to the end of a directory: allocated, written, and the
    /// inode journaled. `ENOSPC` leaves the directory as it was.
    pub(super) fn append(
        handle: &Handle<'_>,
        dir: &Inode,
        mut data: KVec<u8>,
        node: Option<&DxNode>,
    ) -> Result<Self> {
        let this = Self::at_end(handle, dir)?;
        this.seal(dir, &mut data, node)?;
        let mut block = handle.create(&this.bh)?;
        block.copy_in(0, &data)?;
        block.finish()?;
        this.count_in(handle, dir)?;
        Ok(this)
    }

    /// Gives a directory that nobody knows yet its only block, as [`DirBlock::append`]: made where
    /// it lies, since there is nothing that has to stay if that fails.
    pub(super) fn first(handle: &Handle<'_>, dir: &Inode, parent: Ino) -> Result {
        let geo = &dir.fs().geo;
        let this = Self::at_end(handle, dir)?;
        let mut block = handle.create(&this.bh)?;
        dirent::make_dot_entries(&mut block, geo, dir.ino(), parent)
            .and_then(|()| dirent::put_csum(&mut block, geo, dir.info().csum_seed()))
            .map_err(|e| bad_dirblock(dir, this.lblk, e))?;
        block.finish()?;
        this.count_in(handle, dir)
    }

    /// Allocates a block at the end, which is not counted yet.
    fn at_end(handle: &Handle<'_>, dir: &Inode) -> Result<Self> {
        let geo = &dir.fs().geo;
        if dir.size() >> geo.block_bits >= htree::max_blocks(geo).into() {
            return Err(ENOSPC);
        }
        let most = dir.fs().in_force.max_dir_size_kb();
        if most != 0 && dir.size() >> 10 >= most.into() {
            return Err(ENOSPC);
        }
        let lblk = Lblk::or_end(dir.size() >> geo.block_bits);
        let bh = dir.sb().getblk(append_block(handle, dir, lblk)?.get())?;
        Ok(Self { bh, lblk })
    }

    /// The directory is longer by this block.
    fn count_in(&self, handle: &Handle<'_>, dir: &Inode) -> Result {
        dir.set_dir_size(dir.size() + u64::from(dir.fs().geo.block_size));
        journal(handle, dir)
    }
}
