// SPDX-License-Identifier: GPL-2.0

//! Blocks of directories: read, checked and copied; copied back into a handle.

use super::{bad_dirblock, dir_blocks, is_indexed, journal, Inode};
use crate::{
    disk::{
        dirent,
        htree::{self, DxNode},
        Corrupt, Lblk, Pblk,
    },
    fs::extent::{ExtentEntry, Mapping, State},
    vfs::{bh::BufferHead, gfp::GFP_NOFAIL, jbd2::Handle},
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

/// A private copy of a directory block. It is what the disk has, or will have, for as long as the
/// caller holds the directory's i_rwsem.
pub(super) struct DirBlock {
    bh: BufferHead,
    /// Number of the block in the directory.
    pub(super) lblk: Lblk,
    /// The contents.
    pub(super) data: KVec<u8>,
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
        ExtentEntry::Mapped(_) => Err(EINVAL),
    }
}

impl DirBlock {
    /// Reads a block that must be of `kind`.
    pub(super) fn read(dir: &Inode, lblk: Lblk, kind: DirBlockKind) -> Result<Self> {
        let this = Self::load(dir, lblk)?;
        this.verify(dir, kind)?;
        Ok(this)
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
            if htree::parse_node(&this.data, &dir.fs().geo).is_ok() {
                this.verify(dir, DirBlockKind::Node)?;
                return Ok(None);
            }
        }
        this.verify(dir, DirBlockKind::Leaf)?;
        Ok(Some(this))
    }

    fn load(dir: &Inode, lblk: Lblk) -> Result<Self> {
        let bh = dir.sb().bread(map(dir, lblk)?.get())?;
        let mut data = buffer(dir)?;
        bh.copy_out(0, &mut data)?;
        Ok(Self { bh, lblk, data })
    }

    /// Checks the contents, unless that was done since the block was read from the disk.
    fn verify(&self, dir: &Inode, kind: DirBlockKind) -> Result {
        if self.bh.is_verified() {
            return Ok(());
        }
        let dir_blocks = dir_blocks(dir)?;
        self.check(dir, kind, dir_blocks)
            .map_err(|e| bad_dirblock(dir, self.lblk, e))?;
        self.bh.set_verified();
        Ok(())
    }

    fn check(
        &self,
        dir: &Inode,
        kind: DirBlockKind,
        dir_blocks: u32,
    ) -> core::result::Result<(), Corrupt> {
        let (geo, seed) = (&dir.fs().geo, dir.info().csum_seed());
        let node = match kind {
            DirBlockKind::Leaf => return dirent::check_block(&self.data, geo, seed),
            DirBlockKind::Root => htree::parse_root(&self.data, geo)?.node,
            DirBlockKind::Node => htree::parse_node(&self.data, geo)?,
        };
        htree::check_node(&self.data, geo, &node, seed, dir_blocks)
    }

    /// Makes changes of [`DirBlock::data`] part of the transaction. `node`: of an index block.
    pub(super) fn store(
        &mut self,
        handle: &Handle<'_>,
        dir: &Inode,
        node: Option<&DxNode>,
    ) -> Result {
        self.seal(dir, node)?;
        let mut block = handle.write(&self.bh)?;
        block.copy_in(0, &self.data)?;
        block.finish()
    }

    fn seal(&mut self, dir: &Inode, node: Option<&DxNode>) -> Result {
        let (geo, seed) = (&dir.fs().geo, dir.info().csum_seed());
        match node {
            Some(node) => htree::update_csum(&mut self.data, geo, node, seed),
            None => dirent::update_csum(&mut self.data, geo, seed),
        }
        .map_err(|e| bad_dirblock(dir, self.lblk, e))
    }

    /// Adds a block with these contents to the end of a directory: allocated, written, and the
    /// inode journaled. `ENOSPC` leaves the directory as it was.
    pub(super) fn append(
        handle: &Handle<'_>,
        dir: &Inode,
        data: KVec<u8>,
        node: Option<&DxNode>,
    ) -> Result<Self> {
        let geo = &dir.fs().geo;
        if dir.size() >> geo.block_bits >= htree::max_blocks(geo).into() {
            return Err(ENOSPC);
        }
        let most = dir.fs().options.lock().max_dir_size_kb;
        if most != 0 && dir.size() >> 10 >= most.into() {
            return Err(ENOSPC);
        }
        let size = dir.size() + u64::from(geo.block_size);
        let lblk = Lblk::or_end(dir.size() >> geo.block_bits);
        let bh = dir.sb().getblk(append_block(handle, dir, lblk)?.get())?;
        let mut this = Self { bh, lblk, data };
        this.seal(dir, node)?;
        let mut block = handle.create(&this.bh)?;
        block.copy_in(0, &this.data)?;
        block.finish()?;
        dir.set_dir_size(size);
        journal(handle, dir)?;
        Ok(this)
    }
}
