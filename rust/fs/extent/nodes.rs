// SPDX-License-Identifier: GPL-2.0

//! The nodes of an extent tree on disk: what the algorithms of [`super::tree`] work on. Blocks of
//! pointers are the same to the allocator and the journal ([`arrays`]).

mod arrays;

use crate::{
    disk::{extent as format, Corrupt, Ino, Lblk, Pblk},
    fs::{
        alloc::{self, AllocRequest, BlockKind, Claim, Promise, Revoke},
        Inode,
        Sb, //
    },
    vfs::{
        bh::BufferHead,
        gfp::GFP_NOFAIL,
        jbd2::{Handle, JournaledBuffer}, //
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

use super::tree::{NodePlace, Nodes, Store, WINDOW};

/// Length of a node's header, which is that of an entry.
const HEADER: usize = format::ENTRY_SIZE;

/// The nodes of one inode. Under its extent lock.
pub(super) struct TreeNodes<'a, 'h> {
    inode: &'a Inode,
    /// Nodes freed so far: a revoke record each.
    pub(super) freed: u32,
    /// How many new ones came out of the promise.
    drawn: u32,
    writer: Option<Writer<'a, 'h>>,
    /// Only nodes that are in memory: `EAGAIN` for others.
    cached: bool,
}

/// What it takes to change them.
pub(super) struct Writer<'a, 'h> {
    pub(super) handle: &'a Handle<'h>,
    /// How nodes are allocated for which nothing is promised.
    pub(super) kind: BlockKind,
    /// New nodes come out of this while it lasts.
    pub(super) promise: Promise<'a>,
    /// Data is outstanding: nodes that are freed are promised again, and go there.
    pub(super) expecting: bool,
}

impl<'a, 'h> TreeNodes<'a, 'h> {
    /// To look only.
    pub(super) fn reader(inode: &'a Inode) -> Self {
        Self {
            inode,
            freed: 0,
            drawn: 0,
            writer: None,
            cached: false,
        }
    }

    /// To look only, and not to sleep for it.
    pub(super) fn cached(inode: &'a Inode) -> Self {
        Self {
            cached: true,
            ..Self::reader(inode)
        }
    }

    /// To change.
    pub(super) fn writer(inode: &'a Inode, writer: Writer<'a, 'h>) -> Self {
        Self {
            writer: Some(writer),
            ..Self::reader(inode)
        }
    }

    /// What is left of the promise.
    pub(super) fn into_promise(self) -> Option<Promise<'a>> {
        self.writer.map(|writer| writer.promise)
    }

    /// Frees a block that was allocated in this handle. Fails with the journal only, and then
    /// nothing of the handle stays.
    fn take_back(&mut self, pblk: Pblk, revoke: Revoke) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        let inode = self.inode;
        super::sub_blocks(inode, 1);
        let again = (self.drawn > 0).then(|| Promise::freeing(inode.sb(), 1));
        let freed = alloc::free_run(writer.handle, inode, (pblk, 1), revoke);
        if let Some(promise) = again.filter(|_| freed == Ok(1)) {
            self.drawn -= 1;
            writer.promise.join(promise);
        }
    }

    fn handle(&self) -> Result<&'a Handle<'h>> {
        self.writer.as_ref().map(|w| w.handle).ok_or(EROFS)
    }

    fn bad(&self, pblk: Pblk, what: Corrupt) -> Error {
        self.inode.corrupted(fmt!("extent block {pblk}: {what}"))
    }

    /// Checks all of a node that has just been read: checksum, entries, and that none of them
    /// points to the file system's own structures.
    fn verify(&self, bh: &BufferHead, place: &NodePlace) -> Result {
        let inode = self.inode;
        let (sb, geo) = (inode.sb(), &inode.fs().geo);
        let node = bh.to_vec()?;
        let seed = inode.info().csum_seed();
        let bad = |what| self.bad(place.pblk, what);
        let expected = format::Expected {
            depth: place.depth,
            first: place.first,
            end: place.end,
        };
        let h = format::check_block(&node, geo, seed, expected).map_err(bad)?;
        check_targets(sb, inode.ino(), &node, &h).map_err(bad)?;
        bh.set_verified();
        Ok(())
    }
}

/// Checks that no entry of a node of inode `ino` points to the file system's own structures.
pub(super) fn check_targets(
    sb: &Sb,
    ino: Ino,
    node: &[u8],
    h: &format::Header,
) -> core::result::Result<(), Corrupt> {
    for i in 0..h.entries {
        let (pblk, len) = match h.depth {
            0 => format::extent_at(node, i).map(|e| (e.pblk, e.len))?,
            _ => format::index_at(node, i).map(|e| (e.pblk, 1))?,
        };
        if alloc::is_system_block(sb, pblk, len, Some(ino)) {
            return Err(Corrupt::ExtentBlock);
        }
    }
    Ok(())
}

impl Nodes for TreeNodes<'_, '_> {
    type Error = Error;
    type Node = BufferHead;

    fn corrupt(&self, what: Corrupt) -> Error {
        self.inode.corrupted(fmt!("extent tree: {}", what))
    }

    fn open(&self, place: &NodePlace) -> Result<(BufferHead, u16)> {
        let sb = self.inode.sb();
        if alloc::is_system_block(sb, place.pblk, 1, Some(self.inode.ino())) {
            return Err(self.bad(place.pblk, Corrupt::ExtentBlock));
        }
        let bh = if self.cached {
            sb.find_block(place.pblk.get()).ok_or(EAGAIN)?
        } else {
            sb.bread(place.pblk.get())?
        };
        if !bh.is_verified() {
            if self.cached {
                // Takes memory, and is done by whoever comes next.
                return Err(EAGAIN);
            }
            self.verify(&bh, place)?;
        }
        // A block that two parents claim has been verified for one of them only.
        let head: [u8; WINDOW] = bh.read(0)?;
        let bad = |what| self.bad(place.pblk, what);
        let h = format::Header::read(&head).map_err(bad)?;
        h.check(place.depth, self.capacity()).map_err(bad)?;
        if h.entries == 0 || format::index_at(&head, 0).map_err(bad)?.lblk != place.first {
            return Err(bad(Corrupt::ExtentRange));
        }
        Ok((bh, h.entries))
    }

    fn window(&self, node: &BufferHead, i: u16) -> Result<[u8; WINDOW]> {
        node.read(usize::from(i) * format::ENTRY_SIZE)
    }

    fn key(&self, node: &BufferHead, i: u16) -> Result<Lblk> {
        node.le32(HEADER + usize::from(i) * format::ENTRY_SIZE)
            .map(Lblk::new)
    }
}

/// A private copy of a node.
pub(super) struct NodeBuf(KVec<u8>);

impl AsRef<[u8]> for NodeBuf {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for NodeBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl<'a> Store for TreeNodes<'a, '_> {
    type Buf = NodeBuf;
    type Access = JournaledBuffer<'a>;
    type Memory<T> = KVec<T>;

    fn memory<T>(&self, len: usize, make: fn() -> T) -> Result<KVec<T>> {
        let mut values = KVec::with_capacity(len, GFP_NOFAIL)?;
        for _ in 0..len {
            values.push(make(), GFP_NOFAIL)?;
        }
        Ok(values)
    }

    fn capacity(&self) -> u16 {
        format::block_entries(&self.inode.fs().geo)
    }

    fn copy(&self, node: &BufferHead) -> Result<NodeBuf> {
        Ok(NodeBuf(node.to_vec()?))
    }

    fn blank(&self) -> Result<NodeBuf> {
        let size = self.inode.fs().geo.block_size as usize;
        Ok(NodeBuf(KVec::zeroed(size, GFP_NOFAIL)?))
    }

    fn alloc(&mut self, goal: Option<Pblk>) -> Result<Pblk> {
        let writer = self.writer.as_mut().ok_or(EROFS)?;
        let request = AllocRequest {
            goal,
            want: 1,
            min: 1,
            kind: writer.kind,
            claim: Claim::Allocate,
        };
        let promise = Some(&mut writer.promise).filter(|promise| promise.blocks() > 0);
        let drawn = u32::from(promise.is_some());
        let (pblk, _) = alloc::allocate_run(writer.handle, self.inode, request, promise)?;
        self.drawn += drawn;
        super::add_blocks(self.inode, 1);
        Ok(pblk)
    }

    fn unalloc(&mut self, pblk: Pblk) {
        // Was never written, so there is nothing to revoke.
        self.take_back(pblk, Revoke::No);
    }

    fn access(&mut self, pblk: Pblk) -> Result<JournaledBuffer<'a>> {
        let handle = self.handle()?;
        handle.write(&self.inode.sb().bread(pblk.get())?)
    }

    fn access_new(&mut self, pblk: Pblk) -> Result<JournaledBuffer<'a>> {
        let handle = self.handle()?;
        handle.create(&self.inode.sb().getblk(pblk.get())?)
    }

    fn splice(&mut self, leaf: &BufferHead, old: Range<u16>, new: &[format::Extent]) -> Result {
        let mut access = self.handle()?.write(leaf)?;
        let (geo, seed) = (&self.inode.fs().geo, self.inode.info().csum_seed());
        format::splice(&mut access, old, new)
            .and_then(|()| format::update_block_csum(&mut access, geo, seed))
            .map_err(|what| self.corrupt(what))?;
        access.finish()
    }

    fn put(&mut self, mut access: JournaledBuffer<'a>, buf: &mut NodeBuf) -> Result {
        let seed = self.inode.info().csum_seed();
        format::replace_entries(&mut access, &buf.0, &self.inode.fs().geo, seed)
            .map_err(|what| self.corrupt(what))?;
        access.finish()
    }

    fn free(&mut self, pblk: Pblk) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        let inode = self.inode;
        super::sub_blocks(inode, 1);
        self.freed += 1;
        // Outstanding data counts on the node that it had.
        let again = writer.expecting.then(|| Promise::freeing(inode.sb(), 1));
        let freed = alloc::free_or_lose(writer.handle, inode, (pblk, 1), Revoke::Yes);
        if let Some(promise) = again.filter(|_| freed) {
            writer.promise.join(promise);
        }
    }
}
