// SPDX-License-Identifier: GPL-2.0

//! The primary super block: read, changed in a handle, or written at once.
//!
//! It has 1024 bytes, too many for a kernel stack, and is changed in handles, where there must be
//! no lack of memory: so the copy that changes are made on is allocated at mount and belongs to the
//! lock.

use super::Rext4;
use crate::{
    disk::{
        superblock::{Geometry, SUPER_OFFSET},
        Ino,
        RawSuper, //
    },
    vfs::{
        bh::BufferHead,
        jbd2::{Handle, JournaledBuffer},
        super_block::NewSuper, //
    },
};
use kernel::prelude::*;

/// The super block's buffer, in [`Rext4::primary`]'s lock, which owns its bytes.
pub(crate) struct Primary {
    bh: BufferHead,
    /// Where it begins in its block.
    off: usize,
    /// Memory to change it in; holds nothing between two uses.
    copy: KBox<RawSuper>,
}

/// The block that holds the super block, and the byte in it.
pub(super) fn position(geo: &Geometry) -> (u64, usize) {
    (
        SUPER_OFFSET >> geo.block_bits,
        SUPER_OFFSET as usize & (geo.block_size as usize - 1),
    )
}

impl Primary {
    /// Reads the block; the block size of the device has been set.
    pub(super) fn new(sb: &NewSuper<'_, Rext4>, geo: &Geometry) -> Result<Self> {
        let (block, off) = position(geo);
        let bh = sb.bread(block)?;
        let copy = bh.read_boxed(off)?;
        Ok(Self { bh, off, copy })
    }

    /// The super block as it stands, changed in the copy only.
    fn changed(&mut self, change: impl FnOnce(&mut RawSuper)) -> Result<&RawSuper> {
        self.bh.read_into(self.off, &mut *self.copy)?;
        change(&mut self.copy);
        self.copy.update_checksum();
        Ok(&self.copy)
    }
}

/// The right to change the super block, for [`change_last_orphan`]. Waits for a commit that is just
/// writing it to the log; so the lock, which every look at it takes, is not held meanwhile, nor
/// should any other be that is wanted much.
pub(crate) fn super_access<'h>(handle: &'h Handle<'_>, fs: &Rext4) -> Result<JournaledBuffer<'h>> {
    let bh = fs.primary.lock().bh.clone();
    handle.write(&bh)
}

/// Has `change` say with which inode the list of orphans begins; returns with which it began. Needs
/// no memory, and does not wait. Only these bytes are looked at and written.
pub(crate) fn change_last_orphan(
    fs: &Rext4,
    block: &mut JournaledBuffer<'_>,
    change: impl FnOnce(Option<Ino>) -> Option<Ino>,
) -> Result<Option<Ino>> {
    let primary = fs.primary.lock();
    RawSuper::change_last_orphan(block, primary.off, change).map_err(|_| EINVAL)
}

/// Changes the super block inside `handle`. Needs no memory.
pub(crate) fn journal_super(
    handle: &Handle<'_>,
    fs: &Rext4,
    change: impl FnOnce(&mut RawSuper),
) -> Result {
    let mut block = super_access(handle, fs)?;
    change_super(fs, &mut block, change)?;
    block.finish()
}

/// The same, for who has the right to change the block.
pub(crate) fn change_super(
    fs: &Rext4,
    block: &mut JournaledBuffer<'_>,
    change: impl FnOnce(&mut RawSuper),
) -> Result {
    let mut primary = fs.primary.lock();
    let off = primary.off;
    block.write(off, primary.changed(change)?)
}

/// Changes one of the copies of the super block in other groups, which lies at the beginning of
/// `bh`, inside `handle`. False if there is none: then nothing changes. Needs no memory.
pub(crate) fn journal_backup(
    handle: &Handle<'_>,
    fs: &Rext4,
    bh: &BufferHead,
    change: impl FnOnce(&mut RawSuper),
) -> Result<bool> {
    let mut block = handle.write(bh)?;
    let mut primary = fs.primary.lock();
    let copy = &mut *primary.copy;
    bh.read_into(0, copy)?;
    if !copy.is_intact() {
        return Ok(false);
    }
    change(copy);
    copy.update_checksum();
    block.write(0, copy)?;
    drop(primary);
    block.finish()?;
    Ok(true)
}

/// Looks at the super block as it stands.
pub(crate) fn read_super<R>(fs: &Rext4, look: impl FnOnce(&RawSuper) -> R) -> Result<R> {
    read_scratch(fs, |raw| look(raw))
}

/// As [`read_super`], in a copy that may be changed and goes nowhere.
pub(super) fn read_scratch<R>(fs: &Rext4, look: impl FnOnce(&mut RawSuper) -> R) -> Result<R> {
    let mut primary = fs.primary.lock();
    let Primary { bh, off, copy } = &mut *primary;
    bh.read_into(*off, &mut **copy)?;
    Ok(look(copy))
}

/// Changes the super block and writes it at once, with the errors found so far. Only while no
/// transaction can hold the block.
pub(super) fn write_super(fs: &Rext4, change: impl FnOnce(&mut RawSuper)) -> Result {
    let mut primary = fs.primary.lock();
    let mut errors = None;
    primary.changed(|raw| {
        change(raw);
        errors = fs.marks.apply(raw);
    })?;
    let mut locked = primary.bh.lock();
    let written = locked
        .write(primary.off, &*primary.copy)
        .and_then(|()| locked.write_sync());
    if written.is_err() {
        fs.marks.give_back(errors);
    }
    written
}
