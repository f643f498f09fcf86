// SPDX-License-Identifier: GPL-2.0

//! FS_IOC_GETFSMAP: what the space of a file system is used for, block by block.
//!
//! The program says between which two keys, and what it has room for; it goes on with the last
//! record as the lower key. A key is a device and a place on it. There is one device here.
//!
//! C header: [`include/uapi/linux/fsmap.h`](srctree/include/uapi/linux/fsmap.h)

use super::bindings;
use core::{
    mem,
    ops::{Range, RangeInclusive}, //
};
use kernel::{
    prelude::*,
    transmute::{AsBytes, FromBytes},
    uaccess::{UserPtr, UserSlice}, //
};

/// Whose blocks are: a number that programs know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner(u64);

impl Owner {
    /// Nobody's.
    pub(crate) const FREE: Self = Self::new(0, 1);
    const UNKNOWN: Self = Self::new(0, 2);

    /// `FMR_OWNER()`.
    pub(crate) const fn new(kind: u8, code: u32) -> Self {
        Self((kind as u64) << 32 | code as u64)
    }
}

/// `struct fsmap`: a record, or a key.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record {
    device: u32,
    flags: u32,
    physical: u64,
    owner: u64,
    offset: u64,
    length: u64,
    reserved: [u64; 3],
}

/// `struct fsmap_head` without its records.
#[repr(C)]
#[derive(Clone, Copy)]
struct MapHead {
    iflags: u32,
    oflags: u32,
    count: u32,
    entries: u32,
    reserved: [u64; 6],
    keys: [Record; 2],
}

// SAFETY: Numbers without padding, for which each bit pattern is a value.
unsafe impl FromBytes for MapHead {}
// SAFETY: As above.
unsafe impl AsBytes for MapHead {}
// SAFETY: As above.
unsafe impl AsBytes for Record {}

const _: () = assert!(size_of::<Record>() == 64 && size_of::<MapHead>() == 192);

/// `FMH_OF_DEV_T`: devices have their numbers.
const HEAD_DEV_T: u32 = 0x1;
/// `FMR_OF_SPECIAL_OWNER`: no inode.
const SPECIAL_OWNER: u32 = 0x10;
/// `FMR_OF_LAST`: nothing comes after it.
const LAST: u32 = 0x20;
/// Any device, in a key.
const ALL_DEVICES: u32 = u32::MAX;

/// A file system's device, for [`answer`].
#[derive(Clone, Copy)]
pub(super) struct DeviceSpace {
    /// As programs number it.
    pub(super) device: u32,
    /// log2 of the bytes of a block.
    pub(super) block_bits: u32,
}

impl MapHead {
    /// The place of a key in blocks, and how many it has.
    fn place(&self, key: usize, bits: u32) -> Option<(u64, u64)> {
        let key = self.keys.get(key)?;
        Some((key.physical >> bits, key.length >> bits))
    }

    /// Whether what it asks for can be, and if so between which blocks.
    fn check(&self, space: DeviceSpace) -> Option<RangeInclusive<u64>> {
        let [low, high] = self.keys;
        let reserved = [low.reserved, high.reserved];
        let is_known = |device| [0, ALL_DEVICES, space.device].contains(&device);
        if self.iflags != 0
            || self.reserved != [0; 6]
            || reserved != [[0; 3]; 2]
            || low.offset != 0
            || ![0, u64::MAX].contains(&high.offset)
            || !is_known(low.device)
            || !is_known(high.device)
        {
            return None;
        }
        let (first, len) = self.place(0, space.block_bits)?;
        let (last, _) = self.place(1, space.block_bits)?;
        // One with a length is the last record of the call before. It has had its owner.
        let first = first.saturating_add(len);
        if (low.device, first, 0) >= (high.device, last, high.owner) {
            return None;
        }
        Some(first..=last)
    }
}

/// What is told of the space, in ascending order.
pub(crate) struct SpaceMap {
    /// Where the records go.
    user: UserPtr,
    space: DeviceSpace,
    /// Room for so many; none: they are only counted.
    count: u32,
    entries: u32,
    /// What comes before was told of.
    next: u64,
    /// There was no room for one.
    full: bool,
}

impl SpaceMap {
    /// All blocks before this one were told of, or not asked for.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    fn record(&mut self, blocks: Range<u64>, owner: Owner) -> Result {
        if self.entries == u32::MAX || self.count != 0 && self.entries >= self.count {
            self.full = true;
            return Ok(());
        }
        if self.count != 0 {
            let record = Record {
                device: self.space.device,
                flags: SPECIAL_OWNER,
                physical: blocks.start << self.space.block_bits,
                owner: owner.0,
                offset: 0,
                length: (blocks.end - blocks.start) << self.space.block_bits,
                reserved: [0; 3],
            };
            UserSlice::new(self.slot(self.entries), size_of::<Record>())
                .writer()
                .write(&record)?;
        }
        self.entries += 1;
        Ok(())
    }

    /// Where the record of this number is in the program's memory.
    fn slot(&self, index: u32) -> UserPtr {
        let records = (index as usize).wrapping_mul(size_of::<Record>());
        self.user
            .wrapping_byte_add(size_of::<MapHead>().wrapping_add(records))
    }

    /// Marks the last record, unless there is more to tell.
    fn mark_last(&self) -> Result {
        if self.full || self.count == 0 || self.entries == 0 {
            return Ok(());
        }
        let at = self.slot(self.entries - 1);
        let flags = at.wrapping_byte_add(mem::offset_of!(Record, flags));
        UserSlice::new(flags, size_of::<u32>())
            .writer()
            .write(&(SPECIAL_OWNER | LAST))
    }

    /// What lies between `next` and `block` is somebody's whom nobody knows. False: no room.
    pub(crate) fn skip_to(&mut self, block: u64) -> Result<bool> {
        if block > self.next && !self.full {
            self.record(self.next..block, Owner::UNKNOWN)?;
            if !self.full {
                self.next = block;
            }
        }
        Ok(!self.full)
    }

    /// These blocks are the owner's. False: there is no room for more. `EINTR` if the current task
    /// was killed. Touches memory of the program: no lock is held that a page fault may want.
    pub(crate) fn tell(&mut self, blocks: Range<u64>, owner: Owner) -> Result<bool> {
        // SAFETY: Looks at the current task only.
        if unsafe { bindings::fatal_signal_pending() } {
            return Err(EINTR);
        }
        if self.skip_to(blocks.start)? {
            self.next = self.next.max(blocks.end);
            self.record(blocks, owner)?;
        }
        Ok(!self.full)
    }
}

/// Answers a program. `ask` tells what it knows of these blocks; some of them need not be there.
/// What is only partly among them may be told of as a whole.
pub(super) fn answer(
    user: UserPtr,
    space: DeviceSpace,
    ask: impl FnOnce(RangeInclusive<u64>, &mut SpaceMap) -> Result,
) -> Result {
    let mut head: MapHead = UserSlice::new(user, size_of::<MapHead>()).reader().read()?;
    let asked = head.check(space).ok_or(EINVAL)?;
    let mut map = SpaceMap {
        user,
        space,
        count: head.count,
        entries: 0,
        next: *asked.start(),
        full: false,
    };
    let [low, high] = head.keys;
    if low.device <= space.device && high.device >= space.device {
        // A key of another device lies before or behind all of this one.
        let on = |key: &Record| key.device == space.device;
        let first = if on(&low) { *asked.start() } else { 0 };
        let last = if on(&high) { *asked.end() } else { u64::MAX };
        ask(first..=last, &mut map)?;
    }
    map.mark_last()?;
    head.entries = map.entries;
    head.oflags = HEAD_DEV_T;
    UserSlice::new(user, size_of::<MapHead>())
        .writer()
        .write(&head)
}
