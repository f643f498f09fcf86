// SPDX-License-Identifier: GPL-2.0

//! Rule 3, without a folio: SEEK_HOLE and SEEK_DATA.
//!
//! iomap asks for a mapping; where it is told "unwritten" there may be data in the page cache, and
//! it looks there. Between the two the answer grows old, as in rule 3, but nobody asks whether it
//! is still true: there is no folio whose lock one would hold. If writeback converts the block
//! meanwhile and its clean page is evicted, none is found, and a sparse copy leaves the data out
//! (race 20).
//!
//! So the count of changes ([`map`]) is compared when the search is through, and if it has moved
//! all of it is done again. A page goes after PG_writeback, that after the conversion, and that
//! after the count: who has missed the page sees the new count.

use super::map::{self, ReadOps};
use crate::{
    fs::{
        extent::State,
        lab::{self, Point},
        rule::{self, Rule},
        Inode, Rext4,
    },
    vfs::iomap::{self, Map, MapFlags, MapOps},
};
use core::ops::Range;
use kernel::{
    error::code::*,
    prelude::*,
    sync::{
        atomic::ordering,
        barrier::{smp_mb, Read}, //
    },
};

/// Searches with the page cache, before one without it.
const ATTEMPTS: u32 = 4;

/// Finds the next hole or data from byte `offset`; `ENXIO` beyond the end.
pub(crate) fn seek(inode: &Inode, offset: u64, hole: bool) -> Result<u64> {
    let _lock = inode.lock_shared();
    let seq = || inode.info().seq.load(ordering::Acquire);
    for _ in 0..ATTEMPTS {
        let before = seq();
        let found = iomap::seek::<Cached>(inode, offset, hole);
        lab::point(Point::SeekSearched, inode, offset..u64::MAX);
        // Rule 3: the page cache was looked at before the count is.
        smp_mb(Read);
        if seq() == before || !rule::kept(Rule::SeekValidity) {
            return found;
        }
        if inode.interrupted() {
            return Err(EINTR);
        }
    }
    // Somebody writes all the time. To call data what may be zeros is always right.
    iomap::seek::<Allocated>(inode, offset, hole)
}

/// Mappings as they are. For what is unwritten the page cache decides.
struct Cached;

#[vtable]
impl MapOps for Cached {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        ReadOps::begin(inode, bytes.clone(), flags, map)?;
        lab::point(Point::SeekMapped, inode, bytes);
        Ok(())
    }
}

/// Whatever has blocks is data: each answer is complete when it is made.
struct Allocated;

#[vtable]
impl MapOps for Allocated {
    type Fs = Rext4;

    fn begin(inode: &Inode, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result {
        let blocks = map::lblk_range(inode, bytes)?;
        let mut extents = inode.extents();
        let mut found = extents.lookup(blocks)?;
        if found.state == State::Unwritten {
            found.state = State::Written;
        }
        map::fill(&extents, &found, flags, map);
        Ok(())
    }
}
