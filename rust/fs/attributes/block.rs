// SPDX-License-Identifier: GPL-2.0

//! The block of attributes, which inodes with the same ones share.
//!
//! It says how many they are. With one owner it may be changed where it lies; with more, or while
//! somebody is about to become another one, who changes his attributes gets a block of his own.
//!
//! ```text
//!   a: gives his attributes up, alone           b: has the same attributes
//!                                               finds the block by its hash
//!   one owner: the block is freed, revoked
//!                                               asks for the right to change it: no longer revoked
//!                                               two owners  <- of a block that is free
//! ```
//!
//! So who has found a block in the cache keeps the entry until he is an owner, and a block is freed
//! or changed only after its entry is gone. To free waits for those who have found it; to change
//! does without. The number of owners is changed, and the entry of the cache removed, under
//! [`Sharers::lock`]; who has found a block looks at it again under the lock.

use super::super::Inode;
use crate::{
    disk::{
        self,
        xattr::{self, REFCOUNT_MAX},
        Corrupt, Geometry, Pblk,
    },
    fs::{
        alloc::{self, AllocRequest, BlockKind, Claim, Revoke},
        Rext4,
    },
    vfs::{
        atomic::Atomic,
        bh::BufferHead,
        gfp::GFP_NOFAIL,
        jbd2::{Handle, JournaledBuffer},
        mbcache::{CachedValue, MbCache}, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{atomic::Relaxed, Mutex}, //
};

/// Hash chains of the cache, as a power of two.
const BUCKET_BITS: u8 = 10;

/// Of the number of a block.
const BLOCK_BITS: u32 = 48;

/// From here on nothing that was found is taken: the counts are all used up.
const FORGOTTEN_MAX: u32 = (1 << (u64::BITS - BLOCK_BITS)) - 1;

/// The blocks of attributes of a mount, as far as they may be shared.
#[pin_data]
pub(in crate::fs) struct Sharers {
    /// Over the number of owners in a block.
    #[pin]
    lock: Mutex<()>,
    /// Blocks, as [`Sharers::known`] says, by the hash of what they hold.
    blocks: MbCache,
    /// How often [`Sharers::forget`] was called, up to [`FORGOTTEN_MAX`].
    forgotten: Atomic<u32>,
}

impl Sharers {
    /// `ENOMEM`.
    pub(in crate::fs) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            lock <- new_mutex!((), "rext4_sharers"),
            blocks: MbCache::new(BUCKET_BITS)?,
            forgotten: Atomic::new(0),
        }? Error)
    }

    /// Nobody takes what is known so far: somebody else may have freed these blocks. Called while
    /// nothing is written, and by nobody else meanwhile.
    pub(in crate::fs) fn forget(&self) {
        let before = self.forgotten.load(Relaxed);
        self.forgotten
            .store((before + 1).min(FORGOTTEN_MAX), Relaxed);
    }

    /// What the cache has of a block. What was forgotten stays there, but is nobody's: it has
    /// another count. (Another hash would not do. Whoever chooses attributes finds those that have
    /// it, by way of a block that is his data by now.)
    fn known(&self, pblk: Pblk) -> u64 {
        pblk.get() | u64::from(self.forgotten.load(Relaxed)) << BLOCK_BITS
    }

    /// Takes a block out. If somebody has found it it stays, and is returned.
    fn remove(&self, hash: u32, pblk: Pblk) -> Option<CachedValue<'_>> {
        self.blocks.remove(hash, self.known(pblk))
    }

    /// The block that was found, if it was not forgotten.
    fn block(&self, found: &CachedValue<'_>) -> Option<Pblk> {
        let value = found.value();
        let now = self.forgotten.load(Relaxed);
        let holds = value >> BLOCK_BITS == u64::from(now) && now < FORGOTTEN_MAX;
        holds.then(|| Pblk::new(value & ((1 << BLOCK_BITS) - 1)))
    }
}

/// Whether blocks are shared: the option `nombcache`.
fn shares(fs: &Rext4) -> bool {
    fs.in_force.mbcache()
}

fn bad(inode: &Inode, pblk: Pblk, why: Corrupt) -> Error {
    inode.corrupted(fmt!("attribute block {}: {}", pblk, why))
}

/// What is found under [`Sharers::lock`]; what is wrong is reported without it.
type Looked<T> = Result<disk::Result<T>>;

/// Copies a block out, whole: its checksum covers the number of owners. Returns that.
fn copy(fs: &Rext4, bh: &BufferHead, data: &mut [u8]) -> Looked<u32> {
    bh.copy_out(0, data)?;
    Ok(xattr::check_block(data, &fs.geo, Pblk::new(bh.blocknr())))
}

/// What [`copy`] said, with the hash of the block.
fn with_hash(owners: disk::Result<u32>, data: &[u8]) -> disk::Result<(u32, u32)> {
    Ok((owners?, xattr::block_hash(data)?))
}

/// As [`copy`], with the lock.
fn copy_once(inode: &Inode, bh: &BufferHead, data: &mut [u8]) -> Result<u32> {
    let fs = inode.fs();
    let sharers = fs.sharers.lock.lock();
    let owners = copy(fs, bh, data)?;
    drop(sharers);
    owners.map_err(|why| bad(inode, Pblk::new(bh.blocknr()), why))
}

/// Writes the block with another number of owners.
fn write_owners(
    mut block: JournaledBuffer<'_>,
    data: &mut [u8],
    geo: &Geometry,
    (pblk, owners): (Pblk, u32),
) -> Looked<()> {
    if let Err(why) = xattr::set_refcount(data, geo, pblk, owners) {
        return Ok(Err(why));
    }
    block.copy_in(0, data)?;
    block.finish()?;
    Ok(Ok(()))
}

/// Reads the block of an inode, and checks it.
pub(super) fn load_shared(inode: &Inode, pblk: Pblk) -> Result<(BufferHead, KVec<u8>)> {
    let bh = inode.sb().bread(pblk.get())?;
    let mut data = KVec::from_elem(0u8, bh.size(), GFP_KERNEL)?;
    copy_once(inode, &bh, &mut data)?;
    Ok((bh, data))
}

/// Lets others find the block of an inode, whose attributes are locked.
pub(super) fn remember(inode: &Inode, pblk: Pblk, data: &[u8]) {
    let fs = inode.fs();
    let Ok(hash) = xattr::block_hash(data) else {
        return;
    };
    let room = xattr::refcount(data).is_ok_and(|owners| owners < REFCOUNT_MAX);
    if hash != 0 && room && shares(fs) {
        fs.sharers.blocks.insert(hash, fs.sharers.known(pblk));
    }
}

/// Finds a place for a list that is not empty: a block that holds the same, the inode's own block
/// `old` if that is nobody else's, a new block. The caller gives up `old` if it is another one.
pub(in crate::fs) fn place(
    handle: &Handle<'_>,
    inode: &Inode,
    old: Option<&BufferHead>,
    mut data: KVec<u8>,
) -> Result<Pblk> {
    let own = old.map(|bh| Pblk::new(bh.blocknr()));
    if let Some(pblk) = share(handle, inode, own, &data)? {
        return Ok(pblk);
    }
    if let Some(bh) = old {
        if overwrite(handle, inode, bh, &mut data)? {
            return Ok(Pblk::new(bh.blocknr()));
        }
    }
    take_new(handle, inode, &mut data)
}

/// Looks for a block that holds the same, and becomes another owner of it, unless it is the inode's
/// `own`: what changes may lie in the inode alone.
fn share(
    handle: &Handle<'_>,
    inode: &Inode,
    own: Option<Pblk>,
    data: &[u8],
) -> Result<Option<Pblk>> {
    let fs = inode.fs();
    let hash = xattr::block_hash(data).unwrap_or(0);
    if hash == 0 || !shares(fs) {
        return Ok(None);
    }
    let mut theirs = KVec::from_elem(0u8, data.len(), GFP_KERNEL)?;
    let mut next = fs.sharers.blocks.find(hash);
    while let Some(found) = next {
        let Some(pblk) = fs.sharers.block(&found) else {
            next = found.next();
            continue;
        };
        // What is wrong with it is for its owners to report.
        if let Ok(bh) = inode.sb().bread(pblk.get()) {
            let mut look = || {
                bh.copy_out(0, &mut theirs)?;
                let owners = xattr::check_block(&theirs, &fs.geo, pblk);
                let same = xattr::same_entries(data, &theirs, &fs.geo);
                Ok::<_, Error>(owners.ok().filter(|_| same == Ok(true)))
            };
            let same = {
                let _sharers = fs.sharers.lock.lock();
                look()?.is_some()
            };
            if same && own == Some(pblk) {
                return Ok(own);
            }
            if same {
                // May wait for the log, so before the lock. Not used it costs nothing.
                let block = handle.write(&bh)?;
                let sharers = fs.sharers.lock.lock();
                let owners = look()?.filter(|owners| *owners < REFCOUNT_MAX);
                if owners.is_none_or(|owners| owners + 1 == REFCOUNT_MAX) {
                    found.set_reusable(false);
                }
                if let Some(owners) = owners {
                    let written = write_owners(block, &mut theirs, &fs.geo, (pblk, owners + 1))?;
                    drop(sharers);
                    written.map_err(|why| bad(inode, pblk, why))?;
                    found.touch();
                    return Ok(Some(pblk));
                }
            }
        }
        next = found.next();
    }
    Ok(None)
}

/// Writes a list over the inode's own block. False if others have it, too, or may soon.
fn overwrite(
    handle: &Handle<'_>,
    inode: &Inode,
    bh: &BufferHead,
    data: &mut KVec<u8>,
) -> Result<bool> {
    let fs = inode.fs();
    let pblk = Pblk::new(bh.blocknr());
    let mut old = KVec::from_elem(0u8, bh.size(), GFP_KERNEL)?;
    let block = handle.write(bh)?;
    let sharers = fs.sharers.lock.lock();
    let owners = copy(fs, bh, &mut old)?;
    let written = match with_hash(owners, &old) {
        // Others have it, or have found it.
        Ok((2.., _)) => Ok(false),
        Ok((_, hash)) if fs.sharers.remove(hash, pblk).is_some() => Ok(false),
        Ok(_) => write_owners(block, data, &fs.geo, (pblk, 1))?.map(|()| true),
        Err(why) => Err(why),
    };
    drop(sharers);
    let written = written.map_err(|why| bad(inode, pblk, why))?;
    if written {
        remember(inode, pblk, data);
    }
    Ok(written)
}

/// Writes a list to a new block.
fn take_new(handle: &Handle<'_>, inode: &Inode, data: &mut KVec<u8>) -> Result<Pblk> {
    let sb = inode.sb();
    let request = AllocRequest {
        goal: None,
        want: 1,
        min: 1,
        kind: BlockKind::Metadata,
        claim: Claim::Allocate,
    };
    let (pblk, _) = alloc::allocate_run(handle, inode, request, None)?;
    let bh = match sb.getblk(pblk.get()) {
        Ok(bh) => bh,
        Err(e) => {
            alloc::free_run(handle, inode, (pblk, 1), Revoke::No)?;
            return Err(e);
        }
    };
    let geo = &sb.data().geo;
    xattr::set_refcount(data, geo, pblk, 1).map_err(|why| bad(inode, pblk, why))?;
    let mut block = handle.create(&bh)?;
    block.copy_in(0, data)?;
    block.finish()?;
    remember(inode, pblk, data);
    Ok(pblk)
}

/// Gives up the inode's share of a block; the last one frees it. Does not fail for want of memory,
/// and not for damage: that is reported, and the share is lost until e2fsck comes. Fails with the
/// journal only.
pub(in crate::fs) fn release(handle: &Handle<'_>, inode: &Inode, bh: &BufferHead) -> Result {
    let released = release_share(handle, inode, bh);
    if handle.is_aborted() {
        released
    } else {
        Ok(())
    }
}

fn release_share(handle: &Handle<'_>, inode: &Inode, bh: &BufferHead) -> Result {
    let fs = inode.fs();
    let pblk = Pblk::new(bh.blocknr());
    let mut data = KVec::from_elem(0u8, bh.size(), GFP_NOFAIL)?;
    // The right to change a block brings it back that this transaction has freed, so it had better
    // be one of attributes.
    copy_once(inode, bh, &mut data)?;
    loop {
        // May wait for the log, so before the lock. Not used it costs nothing.
        let block = handle.write(bh)?;
        let sharers = fs.sharers.lock.lock();
        let owners = copy(fs, bh, &mut data)?;
        let (owners, hash) = match with_hash(owners, &data) {
            Ok(found) => found,
            Err(why) => {
                drop(sharers);
                return Err(bad(inode, pblk, why));
            }
        };
        if owners > 1 {
            // Under the lock: who is the last one then frees the block, and the journal forgets it.
            let written = write_owners(block, &mut data, &fs.geo, (pblk, owners - 1))?;
            if owners == REFCOUNT_MAX {
                let known = fs.sharers.known(pblk);
                if let Some(found) = fs.sharers.blocks.get(hash, known) {
                    found.set_reusable(true);
                }
            }
            drop(sharers);
            return written.map_err(|why| bad(inode, pblk, why));
        }
        let user = fs.sharers.remove(hash, pblk);
        // Nobody else's any more, unless somebody has found it.
        drop((sharers, block));
        match user {
            None => {
                alloc::free_or_lose(handle, inode, (pblk, 1), Revoke::Yes);
                return Ok(());
            }
            Some(user) => user.wait_unused(),
        }
    }
}
