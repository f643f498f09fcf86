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

use crate::{
    disk::bitmap,
    vfs::jbd2::Journal, //
};
use kernel::prelude::*;

struct Mask {
    tid: u32,
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
    barred_until: Option<u32>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            masks: KVec::new(),
            barred_until: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.masks.is_empty() && self.barred_until.is_none()
    }

    /// Drops what has committed. Returns whether there was something.
    pub(super) fn expire(&mut self, journal: &Journal) -> bool {
        if self.is_empty() {
            return false;
        }
        let before = self.masks.len();
        self.masks.retain(|mask| !journal.is_committed(mask.tid));
        let mut changed = self.masks.len() != before;
        if self
            .barred_until
            .is_some_and(|tid| journal.is_committed(tid))
        {
            self.barred_until = None;
            changed = true;
        }
        changed
    }

    /// Remembers that `tid` frees `len` blocks from bit `start`; `bytes` is the size of a bitmap.
    pub(super) fn add(&mut self, tid: u32, start: u32, len: u32, bytes: usize) {
        if self.try_add(tid, start, len, bytes).is_err() {
            self.barred_until = Some(tid);
        }
    }

    fn try_add(&mut self, tid: u32, start: u32, len: u32, bytes: usize) -> Result {
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
            for mask in self.masks.iter() {
                bit = bitmap::next_zero(&mask.bits, bit, end).unwrap_or(end);
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
        for mask in self.masks.iter() {
            limit = bitmap::next_set(&mask.bits, start, limit).unwrap_or(limit);
        }
        limit
    }
}
