// SPDX-License-Identifier: GPL-2.0

//! The orphan file while the file system is mounted for writing: a slot for each orphan, as long as
//! there are some. Then orphans do not meet at the superblock and the lock of the list.
//!
//! It is used from the end of recovery on, which leaves it empty ([`recover`](crate::fs::recover)),
//! and only if that has found nothing wrong with it. `orphan_present` says on disk that somebody
//! has to look into it: from before the first slot is taken until the file is empty at the end of
//! writing.
//!
//! What is in a block is kept beside it, under the block's lock, inside a handle that may already
//! change the block: nobody waits for the log with the lock held. A slot is reserved before, by the
//! number of those that are free, so that only one block is changed.

use crate::{
    disk::{orphan, Corrupt, Geometry, Ino, Lblk, Pblk},
    fs::{extent, Inode},
    vfs::{
        atomic::Atomic,
        bh::BufferHead,
        jbd2::{Handle, JournaledBuffer},
        nofs::{new_nofs_mutex, NoFsMutex}, //
        once::SetOnce,
    },
};
use kernel::{prelude::*, sync::atomic::Relaxed};

/// One block of the file.
#[pin_data]
struct SlotBlock {
    bh: BufferHead,
    pblk: Pblk,
    /// Slots that are free and not reserved.
    free: Atomic<u32>,
    /// What is in the block.
    #[pin]
    data: NoFsMutex<KVec<u8>>,
}

/// The file, all of it.
struct SlotFile {
    /// Where its checksums begin.
    seed: u32,
    blocks: KVVec<Pin<KBox<SlotBlock>>>,
}

/// The orphan file of a mount, once it may be used.
pub(crate) struct Slots {
    file: SetOnce<SlotFile>,
    used: Atomic<u32>,
    /// After an error there may be some whose inodes do not know it.
    strays: Atomic<bool>,
}

impl Slots {
    /// None to be used so far.
    pub(crate) fn new() -> Self {
        Self {
            file: SetOnce::new(),
            used: Atomic::new(0),
            strays: Atomic::new(false),
        }
    }

    /// Whether the file may be used.
    pub(crate) fn is_open(&self) -> bool {
        self.file.as_ref().is_some()
    }

    /// Whether an inode is in it.
    pub(crate) fn are_used(&self) -> bool {
        self.used.load(Relaxed) > 0
    }

    /// Whether the file's blocks are as they are known: somebody else may have written a mount that
    /// only reads.
    pub(crate) fn are_on_disk(&self) -> Result<bool> {
        let blocks = self.file.as_ref().map_or(&[][..], |file| &*file.blocks);
        for block in blocks {
            if *block.bh.to_vec()? != **block.data.lock() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl SlotBlock {
    /// Takes one of the free slots out of their number.
    fn reserve(&self) -> bool {
        loop {
            let free = self.free.load(Relaxed);
            if free == 0 {
                return false;
            }
            if self.free.cmpxchg(free, free - 1, Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Puts `new` into the first slot that has `old`; returns which.
    fn change(
        &self,
        buf: &mut JournaledBuffer<'_>,
        (geo, seed): (&Geometry, u32),
        (old, new): (Option<Ino>, Option<Ino>),
    ) -> Result<usize> {
        let mut data = self.data.lock();
        let bad = |_: Corrupt| EINVAL;
        for slot in 0..orphan::entries_per_block(geo) {
            if orphan::entry(&data, geo, slot).map_err(bad)? == old {
                orphan::set_entry(&mut data, geo, slot, new).map_err(bad)?;
                orphan::update_csum(&mut data, geo, seed, self.pblk).map_err(bad)?;
                // The rest of the block is as it is here.
                for changed in orphan::changed_bytes(geo, slot) {
                    let bytes = data.get(changed.clone()).ok_or(EINVAL)?;
                    buf.copy_in(changed.start, bytes)?;
                }
                return Ok(slot);
            }
        }
        Err(ENOENT)
    }
}

/// Opens `file`, the orphan file, of so many blocks, all of whose slots are free. Called while
/// nobody else uses the mount.
pub(in crate::fs) fn open_slots(file: &Inode, count: u32) -> Result {
    let (sb, geo) = (file.sb(), &file.fs().geo);
    let seed = file.info().csum_seed();
    let mut blocks = KVVec::with_capacity(count as usize, GFP_KERNEL)?;
    for lblk in (0..count).map(Lblk::new) {
        let extent = file.extents().lookup(lblk.blocks(1))?;
        let twice = blocks
            .iter()
            .any(|other: &Pin<KBox<SlotBlock>>| other.pblk == extent.pblk);
        if extent.state != extent::State::Written || twice {
            return Err(EUCLEAN);
        }
        let bh = sb.bread(extent.pblk.get())?;
        let mut data = KVec::zeroed(bh.size(), GFP_KERNEL)?;
        bh.copy_out(0, &mut data)?;
        let slots = orphan::entries_per_block(geo);
        let is_free = |slot| orphan::entry(&data, geo, slot) == Ok(None);
        if orphan::check_block(&data, geo, seed, extent.pblk).is_err() || !(0..slots).all(is_free) {
            return Err(EUCLEAN);
        }
        let block = try_pin_init!(SlotBlock {
            bh,
            pblk: extent.pblk,
            // CAST: Fewer than the bytes of a block.
            free: Atomic::new(slots as u32),
            data <- new_nofs_mutex!(data, "rext4_slots"),
        }? Error);
        blocks.push(KBox::pin_init(block, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    if count > 0 {
        file.fs().slots.file.populate(SlotFile { seed, blocks });
    }
    Ok(())
}

/// Puts an inode that is no orphan into a slot. False: there is none, and nothing was done.
pub(super) fn take_slot(handle: &Handle<'_>, inode: &Inode) -> Result<bool> {
    let (fs, ino) = (inode.fs(), inode.ino());
    let Some(file) = fs.slots.file.as_ref() else {
        return Ok(false);
    };
    let count = file.blocks.len();
    // Neighbours go to different blocks.
    let start = ino.get() as usize % count;
    for index in (start..start + count).map(|n| n % count) {
        let Some(block) = file.blocks.get(index).filter(|block| block.reserve()) else {
            continue;
        };
        let put = || {
            let mut buf = handle.write(&block.bh)?;
            block.change(&mut buf, (&fs.geo, file.seed), (None, Some(ino)))?;
            buf.finish()
        };
        put().inspect_err(|_| block.free.add(1, Relaxed))?;
        fs.slots.used.add(1, Relaxed);
        // CAST: At most `orphan::MAX_BLOCKS`.
        inode.info().set_orphan_block(Some(index as u32));
        return Ok(true);
    }
    Ok(false)
}

/// The block in which an inode has a slot, if in one. The caller is who may put it there.
pub(super) fn find(inode: &Inode) -> Option<u32> {
    let (fs, ino) = (inode.fs(), Some(inode.ino()));
    let known = inode.info().orphan_block();
    if known.is_some() || !fs.slots.strays.load(Relaxed) {
        return known;
    }
    let slots = orphan::entries_per_block(&fs.geo);
    let has = |block: &SlotBlock| {
        // A stray's slot is not free.
        if block.free.load(Relaxed) as usize == slots {
            return false;
        }
        let data = block.data.lock();
        (0..slots).any(|slot| orphan::entry(&data, &fs.geo, slot) == Ok(ino))
    };
    let blocks = &fs.slots.file.as_ref()?.blocks;
    (0u32..)
        .zip(blocks.iter())
        .find_map(|(index, block)| has(block).then_some(index))
}

/// An inode leaves memory. Should it still have a slot, after an error, it does not know so when it
/// comes back.
pub(super) fn forget_slot(inode: &Inode) {
    if inode.info().orphan_block().is_some() {
        inode.fs().slots.strays.store(true, Relaxed);
    }
}

/// Takes an inode out of the slot that it has in this block. Needs no memory and reads nothing.
pub(super) fn give_back_slot(handle: &Handle<'_>, inode: &Inode, index: u32) -> Result {
    let (fs, ino) = (inode.fs(), inode.ino());
    let file = fs.slots.file.as_ref().ok_or(EINVAL)?;
    let block = file.blocks.get(index as usize).ok_or(EINVAL)?;
    let mut buf = handle.write(&block.bh)?;
    block.change(&mut buf, (&fs.geo, file.seed), (Some(ino), None))?;
    buf.finish()?;
    inode.info().set_orphan_block(None);
    fs.slots.used.fetch_sub(1, Relaxed);
    block.free.add(1, Relaxed);
    Ok(())
}
