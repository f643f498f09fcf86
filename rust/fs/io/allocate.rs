// SPDX-License-Identifier: GPL-2.0

//! Rules 2, 4 and 10: blocks for data, whoever asks. They are allocated *unwritten* (2), what was
//! looked up before the handle was started is looked up again under the lock (4), and data that
//! nobody reserved for gets blocks, too (10).

use crate::disk::LblkRange;
use crate::fs::{
    credits,
    extent::{ExtentEntry, Extents, Mapping, State},
    inode,
    lab::{self, Point},
    Inode, //
};
use crate::vfs::RequestId;
use kernel::{
    error::{code::*, Error},
    prelude::*, //
};

/// Blocks allocated by one handle at most, for data that is there.
pub(super) const MAX: u32 = 8192;

/// Blocks that fallocate gets in one handle at most: the longest unwritten extent.
const MAX_UNWRITTEN: u32 = 32767;

/// Who allocates.
#[derive(Clone, Copy)]
pub(super) enum For {
    /// Dirty pages. Their data was accepted, so memory is waited for.
    ///
    /// Rule 10: a hole here means a page with data that is dirty though nobody reserved for it (a
    /// direct read into a mapping whose block was punched meanwhile, or `page_mkwrite` that ran out
    /// of space half way). iomap would drop the data without a word, so it is allocated like the
    /// rest, or the error is reported.
    Writeback,
    /// A direct write, also over a reservation: the page above it is older than this write, or it
    /// races with it and either order is right.
    Direct(RequestId),
    /// fallocate. Space that is reserved counts as filled: its data is dirty, and writeback will
    /// find its blocks.
    Fallocate,
}

impl For {
    /// What may go wrong before there is a block, for the lab.
    fn errors(self) -> &'static [Error] {
        match self {
            // What was reserved is there, and memory is waited for.
            For::Writeback => &[EIO],
            For::Direct(_) | For::Fallocate => &[EIO, ENOMEM, ENOSPC],
        }
    }
}

/// Allocates unwritten blocks for the first of `blocks`, in a handle of its own. `ready` is given
/// what is there now, and whether it was made here or somebody else was first, with the extent lock
/// still held. `ENOSPC`; then [`alloc::retry`](crate::fs::alloc::retry()) may help.
pub(super) fn unwritten(
    inode: &Inode,
    blocks: LblkRange,
    purpose: For,
    ready: impl FnOnce(&mut Extents<'_>, &Mapping, bool),
) -> Result<Mapping> {
    let credits = credits::ALLOCATE;
    let bytes = blocks.bytes(inode.fs().geo.block_bits);
    lab::may_fail(Point::Allocate, inode, bytes, purpose.errors())?;
    let _table = inode::hold_iloc(inode)?;
    let handle = match purpose {
        For::Writeback => inode.fs().start_nofail(credits)?,
        For::Direct(_) | For::Fallocate => inode.fs().start(credits)?,
    };
    let mut extents = inode.extents();
    // Rule 4: writeback, direct I/O and fallocate may have filled it while nobody held the lock.
    let (found, new) = match extents.entry(blocks)? {
        ExtentEntry::Mapped(found) => {
            if let (For::Direct(request), State::Unwritten) = (purpose, found.state) {
                extents.expect_direct(request, found.blocks())?;
            }
            (found, false)
        }
        ExtentEntry::Hole(hole) => match purpose {
            For::Writeback => {
                // Where nobody reserved the next one may be zeros.
                let want = if hole.is_reserved() { blocks.len() } else { 1 };
                // Rule 2: unwritten.
                let new = hole.fill(&handle, want, State::Unwritten)?;
                // Reserved ones are promised this already. Without it the pool has to do.
                let _ = extents.expect_write(new.blocks());
                (new, true)
            }
            For::Direct(request) => (hole.fill_direct(&handle, blocks.len(), request)?, true),
            For::Fallocate if hole.is_reserved() => (hole.place(), false),
            For::Fallocate => (hole.fill(&handle, blocks.len(), State::Unwritten)?, true),
        },
    };
    ready(&mut extents, &found, new);
    drop(extents);
    if new {
        inode::journal(&handle, inode)?;
        handle.stop()?;
    }
    Ok(found)
}

/// What is at the first of the blocks, for fallocate: a hole is filled before.
pub(super) fn some(inode: &Inode, blocks: LblkRange) -> Result<Mapping> {
    let blocks = blocks.first(MAX_UNWRITTEN);
    let found = inode.extents().lookup(blocks)?;
    if found.state != State::Hole {
        return Ok(found);
    }
    unwritten(inode, blocks, For::Fallocate, |_, _, _| ())
}
