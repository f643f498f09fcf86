// SPDX-License-Identifier: GPL-2.0

//! Blocks of a group that are free in the bitmap but may not be given out yet.
//!
//! What a transaction freed still belongs to its old owner if the system crashes before the
//! transaction commits. A new owner would write its data at once (data is not journaled), and the
//! old file would hold it after the crash. So every free is remembered with its transaction.
//!
//! jbd2 can keep the committed copy of a bitmap for this (undo access), but that is the state
//! before the transaction that *commits*: a block which that one allocated and the running one
//! frees is clear in the copy and in the bitmap, and would be given out.
//!
//! What is being discarded ([`trim`](super::trim)) is not given out either, until that is over, nor
//! what is held for data on its way ([`held`](super::held)). With the option `discard` what has
//! committed stays here until it is discarded, see [`discard`](super::discard).
//!
//! A mask is as large as a bitmap, so when a transaction has committed its masks go at once
//! ([`committed`](super::committed)). Else the removal of a large disk's files would hold a GiB
//! until somebody looks for blocks in each of the groups. [`Touched`] says where they are.

use crate::{
    disk::bitmap,
    fs::grows::{Growing, Grows},
    vfs::{atomic::Atomic, gfp::GFP_NOFAIL, jbd2::Tid}, //
};
use core::{mem, ops::Range};
use kernel::{
    prelude::*,
    sync::atomic::ordering, //
};

/// Groups with one flag in [`Touched`]: a commit looks at all flags, and at the groups of those
/// set.
const SHARE: u32 = 64;

/// Which groups have something pending, or waiting to be discarded. Made with the groups: where
/// blocks are freed, nothing can fail any more.
pub(super) struct Touched(Grows<Atomic<bool>>);

impl Touched {
    pub(super) fn new(groups: u32) -> Result<Self> {
        let flags = (0..groups.div_ceil(SHARE)).map(|_| Atomic::new(false));
        Ok(Self(Grows::with(flags)?))
    }

    /// How many flags are missing for so many groups.
    fn missing(&self, groups: u32) -> usize {
        (groups.div_ceil(SHARE) as usize).saturating_sub(self.0.len())
    }

    /// Memory for so many groups.
    pub(super) fn reserve(&self, groups: u32) -> Result {
        self.0.reserve(self.missing(groups))
    }

    /// For so many groups, for which there is memory.
    pub(super) fn grow(&self, right: &Growing<'_>, groups: u32) -> Result {
        (0..self.missing(groups)).try_for_each(|_| self.0.push(right, Atomic::new(false)))
    }

    /// There is something in `group`, and it can be found there. Under the group's lock.
    pub(super) fn set(&self, group: u32) {
        if let Some(flag) = self.0.get((group / SHARE) as usize) {
            flag.store(true, ordering::Release);
        }
    }

    /// Takes the flags that are set; returns the groups that they stand for.
    ///
    /// Who frees blocks after this sets the flag again, and its transaction has a commit of its own
    /// to come.
    pub(super) fn take(&self) -> impl Iterator<Item = u32> + '_ {
        let set = |flag: &Atomic<bool>| {
            flag.load(ordering::Relaxed) && flag.xchg(false, ordering::Acquire) //
        };
        (0u32..)
            .zip(self.0.iter())
            .filter(move |(_, flag)| set(flag))
            .flat_map(|(share, _)| share * SHARE..(share * SHARE).saturating_add(SHARE))
    }
}

/// What becomes of blocks whose removal has committed. They are free in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// They wait to be discarded.
    Discard,
    Forget,
}

struct Mask {
    tid: Tid,
    /// One bit per block of the group; set: freed by `tid`.
    bits: KVec<u8>,
}

/// The frees of one group that have not committed.
///
/// At most two transactions are not committed at any time, one committing and one running, so
/// there are at most two masks that count.
pub(super) struct Pending {
    masks: KVec<Mask>,
    /// Set when there was no memory for a mask: nothing is given out until this one commits.
    barred_until: Option<Tid>,
    /// A run that is being discarded.
    held: Range<usize>,
    /// What waits to be discarded, one bit per block; empty if nothing does. Some of it may have an
    /// owner again.
    waiting: KVec<u8>,
    /// Blocks kept for data on its way, and how many they are.
    kept: KVec<u8>,
    kept_count: usize,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            masks: KVec::new(),
            barred_until: None,
            held: 0..0,
            waiting: KVec::new(),
            kept: KVec::new(),
            kept_count: 0,
        }
    }

    /// A run that is free and usable shall not be used, until the next call. Only one at a time.
    pub(super) fn hold(&mut self, run: Range<usize>) {
        self.held = run;
    }

    /// A run that is free and usable shall not be used, until it is let go. `bytes` is the size of
    /// a bitmap. Does not fail.
    pub(super) fn keep(&mut self, run: Range<usize>, bytes: usize) -> Result {
        if self.kept.is_empty() {
            self.kept = KVec::zeroed(bytes, GFP_NOFAIL)?;
        }
        let already = bitmap::set_range(&mut self.kept, run.start, run.len());
        self.kept_count += run.len() - already;
        Ok(())
    }

    /// Ends [`Pending::keep`], of all of a run or of a part of it.
    pub(super) fn let_go(&mut self, run: Range<usize>) {
        let already = bitmap::clear_range(&mut self.kept, run.start, run.len());
        self.kept_count = self.kept_count.saturating_sub(run.len() - already);
        if self.kept_count == 0 {
            self.kept = KVec::new();
        }
    }

    /// What must not be given out: a set bit is such a block.
    fn masks(&self) -> impl Iterator<Item = &KVec<u8>> {
        let kept = (!self.kept.is_empty()).then_some(&self.kept);
        Iterator::chain(self.masks.iter().map(|mask| &mask.bits), kept)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.masks.is_empty() && self.barred_until.is_none()
    }

    /// Whether something waits to be discarded.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// These blocks, one bit each, wait to be discarded, beside those that do so already.
    pub(super) fn put_waiting(&mut self, bits: KVec<u8>) {
        if self.waiting.is_empty() {
            self.waiting = bits;
            return;
        }
        for (all, some) in self.waiting.iter_mut().zip(bits.iter()) {
            *all |= some;
        }
    }

    /// What waits to be discarded; nothing does any more.
    pub(super) fn take_waiting(&mut self) -> KVec<u8> {
        mem::replace(&mut self.waiting, KVec::new())
    }

    /// Drops what has committed. Returns whether there was something.
    pub(super) fn expire(&mut self, is_committed: impl Fn(Tid) -> bool, then: Then) -> bool {
        if self.is_empty() {
            return false;
        }
        let before = self.masks.len();
        // One running and one committing: few, so that taking one out of the middle costs nothing.
        while let Some(at) = self.masks.iter().position(|mask| is_committed(mask.tid)) {
            let Ok(Mask { bits, .. }) = self.masks.remove(at) else {
                break;
            };
            if then == Then::Discard {
                self.put_waiting(bits);
            }
        }
        let mut changed = self.masks.len() != before;
        if self.barred_until.is_some_and(is_committed) {
            self.barred_until = None;
            changed = true;
        }
        changed
    }

    /// Remembers that `tid` frees `len` blocks from bit `start`; `bytes` is the size of a bitmap.
    pub(super) fn add(&mut self, tid: Tid, start: u32, len: u32, bytes: usize) {
        if self.try_add(tid, start, len, bytes).is_err() {
            self.barred_until = Some(tid);
        }
    }

    fn try_add(&mut self, tid: Tid, start: u32, len: u32, bytes: usize) -> Result {
        let known = self.masks.iter().position(|mask| mask.tid == tid);
        let index = match known {
            Some(index) => index,
            None => {
                let bits = KVec::zeroed(bytes, GFP_KERNEL)?;
                self.masks.push(Mask { tid, bits }, GFP_KERNEL)?;
                self.masks.len() - 1
            }
        };
        let mask = self.masks.get_mut(index).ok_or(ENOMEM)?;
        bitmap::set_range(&mut mask.bits, start as usize, len as usize);
        Ok(())
    }

    /// The first bit from `start` on that is not pending; `end` if there is none before.
    pub(super) fn next_usable(&self, start: usize, end: usize) -> usize {
        if self.barred_until.is_some() {
            return end;
        }
        let mut bit = start;
        loop {
            let from = bit;
            if self.held.contains(&bit) {
                bit = self.held.end.min(end);
            }
            for mask in self.masks() {
                bit = bitmap::next_zero(mask, bit, end).unwrap_or(end);
            }
            if bit == from || bit >= end {
                return bit.min(end);
            }
        }
    }

    /// The first pending bit from `start` on; `end` if there is none before.
    pub(super) fn next_pending(&self, start: usize, end: usize) -> usize {
        if self.barred_until.is_some() {
            return start;
        }
        let mut limit = end;
        if self.held.end > start {
            limit = limit.min(self.held.start.max(start));
        }
        for mask in self.masks() {
            limit = bitmap::next_set(mask, start, limit).unwrap_or(limit);
        }
        limit
    }
}
