// SPDX-License-Identifier: GPL-2.0

//! Rules 2, 5, 11 and 14: two files exchange blocks (`EXT4_IOC_MOVE_EXT`, e4defrag). The first
//! file, the original, reads as before: its data is copied to blocks of the other one, the donor,
//! and then it gets these, and the donor gets those that it had. So both read the same there
//! afterwards. What the donor had is lost, also if this fails half way.
//!
//! No block goes, but all of them move, so the first two steps are those of a punch (5), for both
//! files: i_rwsem of both, then invalidate_lock of both, each pair in the order of C, then direct
//! I/O drains. The third is that of a collapse, for the range in both: all of it is on disk, and
//! nothing in the page cache. Without it:
//!
//! ```text
//!   exchange                                    a mapping of the original
//!   copies its block 7 to the donor's block 9
//!                                               stores into the page; writeback takes it to
//!                                               block 7
//!   the original gets block 9: without the
//!   store
//! ```
//!
//! A folio that a device has pinned cannot be dropped, and would be the page of this picture:
//! `EBUSY`. The block before the range and that behind it count as part of it: writeback that ends
//! there would make one extent of two just when the first is looked at (race 27).
//!
//! Each extent is exchanged in one handle, after the data is in the device's cache, which the
//! commit flushes (2). The locks are held until the last of these handles has committed:
//!
//! ```text
//!   exchange                                    a writer of the donor
//!   the original has block 9 now, the donor 7
//!   lets go of the locks
//!                                               writes to the donor: block 7, in place
//!   (power cut: the exchange is not committed)
//!   the original has block 7, and the data that was written to the donor
//! ```
//!
//! A crash leaves some of the extents exchanged and the others not, and the original with the same
//! bytes.

use super::{fsync, steps::Alone};
use crate::{
    disk::{
        inode::{S_ISGID, S_ISUID},
        Lblk, LblkRange, Pblk,
    },
    fs::{
        alloc::{self, Effort},
        credits,
        extent::{Exchange, State, TwoExtents},
        inode::{self, Durable},
        lab::{self, Point},
        Inode, //
    },
    vfs::{inode::InodeLocks, ioctl::MoveExtents},
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Bytes that are copied at once.
const COPY: usize = 32 << 10;

/// `EXT4_IOC_MOVE_EXT`. Returns how many blocks were exchanged, also before an error.
pub(crate) fn move_extents(orig: &Inode, donor: &Inode, what: MoveExtents) -> (u64, Result) {
    let mut moved = 0;
    let result = move_some(orig, donor, what, &mut moved);
    (moved, result)
}

fn move_some(orig: &Inode, donor: &Inode, what: MoveExtents, moved: &mut u64) -> Result {
    // Before the locks: reclaim may want them.
    let mut buffer = KVec::from_elem(0, COPY, GFP_KERNEL)?;
    let locks = InodeLocks::new(orig, donor)?;
    check_files(orig, donor)?;
    let [orig, donor] = Alone::of_two(&locks)?;
    let (orig_blocks, donor_blocks) = check_range(orig.inode(), donor.inode(), what)?;
    super::check_writable(orig.inode())?;
    let mut exchanger = Exchanger {
        orig: Quiet::new(orig, orig_blocks)?,
        donor: Quiet::new(donor, donor_blocks)?,
        buffer: &mut buffer,
        moved,
    };
    exchanger.expect_tail();
    let done = exchanger.exchange_all();
    let committed = exchanger.commit();
    done.and(committed)
}

/// What may not take part, as in ext4.
fn check_files(orig: &Inode, donor: &Inode) -> Result {
    let flags = donor.flags();
    if !orig.is_file() || !donor.is_file() {
        Err(EINVAL)
    } else if [orig, donor]
        .iter()
        .any(|inode| inode.has_block_map() || inode.is_encrypted())
    {
        // Rule 14: at another place a block is something else.
        Err(EOPNOTSUPP)
    } else if orig.is_dax() || donor.is_dax() {
        // Rule 13: nobody waits here until the pages of both are nobody's.
        Err(EOPNOTSUPP)
    } else if donor.mode() & (S_ISUID | S_ISGID) != 0 {
        Err(EINVAL)
    } else if flags.immutable || flags.append {
        Err(EPERM)
    } else if orig.is_swapfile() || donor.is_swapfile() {
        Err(ETXTBSY)
    } else if orig.size() == 0 || donor.size() == 0 {
        Err(EINVAL)
    } else {
        Ok(())
    }
}

/// The blocks, as far as both files go; none is `EINVAL`. Where blocks are smaller than pages both
/// places must be the same in a page, for ext4, which exchanges what is in the page cache.
fn check_range(orig: &Inode, donor: &Inode, what: MoveExtents) -> Result<(LblkRange, LblkRange)> {
    let block_size = u64::from(orig.fs().geo.block_size);
    let in_page = kernel::page::PAGE_SIZE as u64 / block_size - 1;
    let end = u64::from(Lblk::END.get());
    if (what.orig ^ what.donor) & in_page != 0
        || what.len > end
        || [what.orig, what.donor]
            .iter()
            .any(|&at| at >= end || at + what.len >= end)
    {
        return Err(EINVAL);
    }
    let to_end = |inode: &Inode, at: u64| inode.size().div_ceil(block_size).saturating_sub(at);
    let len = what
        .len
        .min(to_end(orig, what.orig))
        .min(to_end(donor, what.donor));
    if len == 0 {
        return Err(EINVAL);
    }
    let blocks = |at: u64| Lblk::or_end(at).until(Lblk::or_end(at + len));
    Ok((blocks(what.orig), blocks(what.donor)))
}

/// Steps 1 to 3 of rule 5 for a file whose blocks are exchanged: nobody can look at them, what they
/// are to hold is on disk, and nothing of it in the page cache.
struct Quiet<'l> {
    alone: Alone<'l>,
    /// What is left to be exchanged.
    left: LblkRange,
    /// The end of the file cuts the last of them.
    cuts: bool,
}

impl<'l> Quiet<'l> {
    fn new(alone: Alone<'l>, blocks: LblkRange) -> Result<Self> {
        let inode = alone.inode();
        let (size, bytes) = (inode.size(), blocks.bytes(inode.fs().geo.block_bits));
        // Rule 11: what is behind the end may come to lie inside of the other file.
        let cuts = bytes.end > size;
        if cuts {
            alone.zero_partial(size)?;
        }
        // The bytes of the blocks beside it, too (race 27).
        alone.drop_all(bytes.start.saturating_sub(1)..bytes.end + 1)?;
        if cuts {
            inode.info().set_stale_tail(false);
        }
        Ok(Self {
            alone,
            left: blocks,
            cuts,
        })
    }

    fn inode(&self) -> &'l Inode {
        self.alone.inode()
    }

    fn bytes(&self) -> Range<u64> {
        self.left.bytes(self.inode().fs().geo.block_bits)
    }
}

/// Both files, with all locks.
struct Exchanger<'l, 'b> {
    orig: Quiet<'l>,
    donor: Quiet<'l>,
    buffer: &'b mut KVec<u8>,
    /// Blocks that have been exchanged.
    moved: &'b mut u64,
}

impl Exchanger<'_, '_> {
    /// Rule 11: the donor's last block gets all of a block of the original, also what is behind the
    /// donor's end.
    fn expect_tail(&self) {
        if self.donor.cuts {
            self.donor.inode().info().set_stale_tail(true);
        }
    }

    /// Step 4 of rule 5: the extents, one by one. Where one of the files has none both stay as they
    /// are.
    fn exchange_all(&mut self) -> Result {
        let (orig, donor) = (self.orig.inode(), self.donor.inode());
        while !self.orig.left.is_empty() {
            orig.go_on()?;
            let (left, donor_left) = (self.orig.left, self.donor.left);
            let found = TwoExtents::lock(orig, donor).lookup(left, donor_left)?;
            if found.is_mapped() {
                if found.orig.state == State::Written {
                    self.copy(&found)?;
                }
                lab::point(Point::MoveCopied, orig, self.orig.bytes());
                alloc::retry(orig.sb(), Effort::Commit, || self.exchange(&found))?;
                *self.moved += u64::from(found.orig.len);
            }
            self.orig.left.start = found.orig.blocks().end;
            self.donor.left.start = found.donor.blocks().end;
        }
        Ok(())
    }

    /// The data of the original goes to the donor's blocks.
    #[inline(never)]
    fn copy(&mut self, found: &Exchange) -> Result {
        let inode = self.orig.inode();
        let bits = inode.fs().geo.block_bits;
        let at = |pblk: Pblk| pblk.get() << bits;
        let (from, to) = (at(found.orig.pblk), at(found.donor.pblk));
        let len = u64::from(found.orig.len) << bits;
        let device = inode.sb().device();
        let mut done = 0;
        while done < len {
            super::check_writable(inode)?;
            inode.go_on()?;
            let some = (len - done).min(COPY as u64);
            self.buffer.resize(some as usize, 0, GFP_KERNEL)?;
            device.read_past_cache(from + done, self.buffer)?;
            device.write(to + done, self.buffer)?;
            done += some;
        }
        Ok(())
    }

    /// One extent, in one handle.
    #[inline(never)]
    fn exchange(&self, found: &Exchange) -> Result {
        let (orig, donor) = (self.orig.inode(), self.donor.inode());
        lab::may_fail(
            Point::MoveSome,
            orig,
            self.orig.bytes(),
            &[EIO, ENOMEM, ENOSPC],
        )?;
        let _tables = (inode::hold_iloc(orig)?, inode::hold_iloc(donor)?);
        let handle = orig.fs().start_with_revoke(credits::EXCHANGE)?;
        let exchanged = TwoExtents::lock(orig, donor).exchange(&handle, found);
        // Also after an error: a node may have been allocated, and given back.
        let ended = inode::journal(&handle, orig)
            .and_then(|()| inode::journal(&handle, donor))
            .and_then(|()| handle.stop());
        exchanged.and(ended)
    }

    /// Rule 2: nobody writes to a block before the commit that makes it this file's. Also after an
    /// error: what came before it was exchanged.
    fn commit(&mut self) -> Result {
        if *self.moved > 0 {
            lab::point(Point::Moved, self.orig.inode(), self.orig.bytes());
            fsync::commit(self.orig.inode(), Durable::Data)?;
            fsync::commit(self.donor.inode(), Durable::Data)?;
        }
        if self.donor.cuts {
            // Now that the block is the donor's for good. In memory the tail is taken for stale
            // until it is zeroed there, also should this fail.
            let _ = self.zero_tail();
        }
        Ok(())
    }

    /// Zeroes what is behind the donor's end in its last block, on the device: nothing of it is in
    /// the page cache, and by way of that it could not be done for who is being killed.
    #[inline(never)]
    fn zero_tail(&mut self) -> Result {
        let inode = self.donor.inode();
        let geo = &inode.fs().geo;
        let (size, block) = (inode.size(), u64::from(geo.block_size));
        let last = Lblk::or_end(size >> geo.block_bits).blocks(1);
        let found = inode.extents().lookup(last)?;
        let behind = (size % block) as usize;
        if found.state != State::Written || behind == 0 {
            return Ok(());
        }
        let (device, at) = (inode.sb().device(), found.pblk.get() << geo.block_bits);
        self.buffer.resize(block as usize, 0, GFP_KERNEL)?;
        device.read_past_cache(at, self.buffer)?;
        self.buffer
            .iter_mut()
            .skip(behind)
            .for_each(|byte| *byte = 0);
        device.write(at, self.buffer)
    }
}
