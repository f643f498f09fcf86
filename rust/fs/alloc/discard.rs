// SPDX-License-Identifier: GPL-2.0

//! The mount option `discard`: the device is told of blocks that were freed.
//!
//! Only when it is durable that they are free: a crash before that gives them back to their file.
//! What a transaction frees is noted ([`pending`](super::pending)), and when it has committed the
//! notes stay with the group. The rest is done here, in a task of its own: the commit is over for
//! nobody before the journal's thread has returned from telling us.
//!
//! ```text
//!   a commit                     write                        the task
//!   notes what is free now
//!                                takes a block of it, and
//!                                writes to it
//!                                                             discards it: the data is gone
//! ```
//!
//! So a note is only a hint where to look. What is free there now is held and discarded as for
//! FITRIM, one run at a time ([`trim`](super::trim)).
//!
//! It is a service, and no promise. What waits is given up when somebody finds no block
//! ([`retry`](super::retry())), when the mount ends or becomes read-only, when the device reports
//! an error, and when a slow device has left too much of it; what was freed without memory for a
//! note was never known. FITRIM finds all of it. A freeze holds it up.

use super::{
    group::LockedGroup,
    pending::Touched,
    trim::{check_free, discard_next}, //
};
use crate::{
    disk::bitmap,
    fs::{access::Access, Sb},
    vfs::atomic::Atomic,
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// Groups with something that waits, at most: each has a mask as large as a bitmap.
const MOST: u32 = 16384;

/// What waits to be discarded.
pub(super) struct Discards {
    /// Groups that have something.
    touched: Touched,
    /// How many.
    waiting: Atomic<u32>,
    /// How many have found no block, and want none to be held.
    hungry: Atomic<u32>,
    /// An error of the device was told.
    told: Atomic<bool>,
}

impl Discards {
    pub(super) fn new(groups: u32) -> Result<Self> {
        Ok(Self {
            touched: Touched::new(groups)?,
            waiting: Atomic::new(0),
            hungry: Atomic::new(0),
            told: Atomic::new(false),
        })
    }

    /// Which groups have something.
    pub(super) fn touched(&self) -> &Touched {
        &self.touched
    }

    /// Whether one more group may have something.
    pub(super) fn have_room(&self) -> bool {
        self.waiting.load(Relaxed) < MOST
    }

    /// Something waits in `group`, where nothing did. Under the group's lock.
    pub(super) fn note(&self, group: u32) {
        self.waiting.add(1, Relaxed);
        self.touched.set(group);
    }

    /// It waits no more. Under the group's lock.
    pub(super) fn over(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    /// From here on nothing is held, but for a run that is being discarded now.
    pub(super) fn hold_none(&self) {
        self.hungry.add(1, Relaxed);
    }

    /// Ends [`Discards::hold_none`].
    pub(super) fn go_on(&self) {
        self.hungry.fetch_sub(1, Relaxed);
    }
}

/// What is to be done with what waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Discard,
    /// Leave it where it is, until the thaw.
    Wait,
    GiveUp,
}

fn wish(sb: &Sb) -> Wish {
    let fs = sb.data();
    let hungry = fs.groups.discards.hungry.load(Relaxed) != 0;
    match fs.access.get() {
        Access::Frozen => Wish::Wait,
        Access::Writing if fs.discards() && sb.is_active() && !hungry => Wish::Discard,
        _ => Wish::GiveUp,
    }
}

/// Discards what was freed and has committed. In a task of its own, once for all that asked.
pub(in crate::fs) fn discard_freed(sb: &Sb) {
    let discards = &sb.data().groups.discards;
    let mut failed = false;
    for group in discards.touched.take() {
        if wish(sb) == Wish::Wait {
            discards.touched.set(group);
            continue;
        }
        let bits = take_waiting(sb, group);
        if failed || wish(sb) == Wish::GiveUp {
            continue;
        }
        let result = discard_bits(sb, group, &bits);
        match wish(sb) {
            Wish::Wait => wait_again(sb, group, bits),
            // Where nothing may be written any more that has been told.
            _ if check_free(sb).is_ok() => {
                if let Err(e) = result {
                    failed = true;
                    say_failed(sb, e);
                }
            }
            _ => (),
        }
    }
}

fn say_failed(sb: &Sb, e: Error) {
    if !sb.data().groups.discards.told.xchg(true, Relaxed) {
        let errno = e.to_errno();
        pr_warn!("{}: freed blocks not discarded: error {errno}\n", sb.id());
    }
}

/// Takes what waits in a group. Nothing if there is no such group.
fn take_waiting(sb: &Sb, group: u32) -> KVec<u8> {
    let Ok(mut locked) = LockedGroup::new(sb, group) else {
        return KVec::new();
    };
    let bits = locked.group.pending.take_waiting();
    if !bits.is_empty() {
        locked.groups.discards.over();
    }
    bits
}

/// What was taken from a group waits again. Some of it may have been discarded.
fn wait_again(sb: &Sb, group: u32, bits: KVec<u8>) {
    if bits.is_empty() {
        return;
    }
    let Ok(mut locked) = LockedGroup::new(sb, group) else {
        return;
    };
    let waited = locked.group.pending.waits();
    locked.group.pending.put_waiting(bits);
    if !waited {
        locked.groups.discards.note(group);
    }
}

/// Discards what is free now among the blocks whose bits are set, until something else is wished.
fn discard_bits(sb: &Sb, group: u32, bits: &[u8]) -> Result {
    let end = bits.len() * 8;
    let mut from = 0;
    while let Some(start) = bitmap::next_set(bits, from, end) {
        from = bitmap::next_zero(bits, start, end).unwrap_or(end);
        let mut run = start..from;
        while !run.is_empty() {
            if wish(sb) != Wish::Discard {
                return Ok(());
            }
            let Some(done) = discard_next(sb, group, run.clone(), 1)? else {
                break;
            };
            run.start = done.end;
        }
    }
    Ok(())
}
