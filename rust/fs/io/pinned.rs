// SPDX-License-Identifier: GPL-2.0

//! Rule 7: a direct write does not drop a page that somebody else's I/O has pinned.
//!
//! iomap drops the pages of the range, and of a large folio all of it or nothing. What it does not
//! look at are pins: a page that a device is about to store into, for a direct read of another file
//! into a mapping of this one, would be in no file by then, and the read be lost (race 26).
//!
//! So such a folio does not let go ([`may_drop`]), and the write goes through the page cache, as
//! with every folio that stays. A page with two sectors that are read and written so is the same
//! in small.
//!
//! Only the write that is about to drop it asks so, and only before it writes ([`DROPPERS`]).
//! Afterwards, when iomap drops the range again, a folio that is clean and pinned has old data for
//! ever if it stays, and its pin may be why it is there at all: the source of a write elsewhere
//! (race 7). Who has pinned it to store into it has made it dirty, and it stays for that, unless
//! somebody has written it meanwhile.

use crate::{
    fs::rule::{self, Rule},
    vfs::{atomic::Atomic, current_task, folio::Folio},
};
use kernel::{
    error::code::*,
    prelude::*,
    sync::atomic::ordering, //
};

/// The tasks that are about to drop pages of a file for a direct write: each is itself the caller
/// of [`may_drop`] then. A place is 0, or the address of a task. A task looks for one in the row
/// that its address leads to.
static DROPPERS: [DropperRow; ROWS] =
    [const { DropperRow([const { Atomic::new(0) }; PLACES]) }; ROWS];

const ROWS: usize = 64;

/// Whose task finds no place goes through the page cache.
const PLACES: usize = 8;

/// In a cache line.
#[repr(align(64))]
struct DropperRow([Atomic<usize>; PLACES]);

/// The places for a task.
fn places_for(task: usize) -> &'static [Atomic<usize>; PLACES] {
    // Tasks are objects of some KiB in slabs; the bits in the middle tell them apart.
    let mixed = (task as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ROWS.ilog2());
    &DROPPERS[mixed as usize % ROWS].0
}

/// A direct write begins to drop the page cache of its range. `ENOTBLK`: it cannot.
pub(super) fn begin_drop() -> Result {
    let me = current_task();
    let free = |place: &Atomic<usize>| place.cmpxchg(0, me, ordering::Relaxed).is_ok();
    if places_for(me).iter().any(free) {
        Ok(())
    } else {
        Err(ENOTBLK)
    }
}

/// It is through, or has given up.
pub(super) fn end_drop() {
    let me = current_task();
    let mine = |place: &Atomic<usize>| place.cmpxchg(me, 0, ordering::Relaxed).is_ok();
    let _ = places_for(me).iter().any(mine);
}

/// Rule 7: whether a folio may go. It is locked and in no mapping of user memory any more: whoever
/// wants to pin it to store into it must first make its page writable, and waits for the lock.
pub(crate) fn may_drop(folio: &Folio<'_>) -> bool {
    let me = current_task();
    let mine = |place: &Atomic<usize>| place.load(ordering::Relaxed) == me;
    let dropping = places_for(me).iter().any(mine);
    !(dropping && folio.is_pinned() && rule::kept(Rule::KeepPinned))
}
