// SPDX-License-Identifier: GPL-2.0

//! Which groups have what is looked for, without a look at each of them.
//!
//! A disk of 16 TiB has 131,072 groups, and when it is nearly full most of them are of no use. So
//! one byte a group says how much it has ([`class`]), and one byte of the level above is the most
//! of 64 groups, and so on up to a single one:
//!
//! ```text
//!   the disk                     47                        1 byte
//!                 47             12       ...              32
//!            12   47  0 ...   0  12  3    ...            2048
//!   groups   ...................................       131072
//! ```
//!
//! A search goes along the groups and skips each 64, each 4096 that have too little: the bytes of
//! 64 are a cache line. Neither the wanted length nor how full the disk is matters to it.
//!
//! Nobody has to believe it. A byte that is too high costs a look at the group, and one that is too
//! low means that something was freed just now: who looks afterwards finds it, for
//! [`LockedGroup`](super::group::LockedGroup) brings the index up to date before it lets go of the
//! group.

mod walk;

pub(super) use walk::{class, least};

use crate::disk::GroupDesc;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        SpinLock, //
    },
};
use walk::{walk, FAN_OUT};

/// How much each group has of something: blocks in a row, or inodes.
#[pin_data]
pub(super) struct GroupIndex {
    /// The groups come first, the single byte for all of them last.
    levels: KVec<KVVec<Atomic<i8>>>,
    /// Held to change a byte and those above it. Innermost of all locks.
    #[pin]
    change: SpinLock<()>,
}

impl GroupIndex {
    /// An index of all groups by an `amount` that their descriptors have.
    pub(super) fn new(
        groups: &[GroupDesc],
        amount: fn(&GroupDesc) -> u32,
    ) -> Result<impl PinInit<Self, Error> + use<>> {
        let mut level = KVVec::with_capacity(groups.len(), GFP_KERNEL)?;
        for group in groups {
            level.push(Atomic::new(class(amount(group))), GFP_KERNEL)?;
        }
        let mut levels = KVec::new();
        while level.len() > 1 {
            let mut above = KVVec::new();
            for node in level.chunks(FAN_OUT) {
                above.push(Atomic::new(most(node)), GFP_KERNEL)?;
            }
            levels.push(core::mem::replace(&mut level, above), GFP_KERNEL)?;
        }
        levels.push(level, GFP_KERNEL)?;
        Ok(try_pin_init!(Self {
            levels,
            change <- new_spinlock!((), "rext4_group_index"),
        }))
    }

    /// Says how much `group` has now. Under the group's lock.
    pub(super) fn set(&self, group: u32, amount: u32) {
        let (mut at, new) = (group as usize, class(amount));
        if self.get(0, at).is_none_or(|old| old == new) {
            return;
        }
        let _change = self.change.lock();
        let mut new = new;
        for (level, bytes) in self.levels.iter().enumerate() {
            if let Some(byte) = bytes.get(at) {
                byte.store(new, Relaxed);
            }
            let first = at - at % FAN_OUT;
            let node = bytes.get(first..bytes.len().min(first + FAN_OUT));
            new = most(node.unwrap_or(&[]));
            at /= FAN_OUT;
            if self.get(level + 1, at).is_none_or(|above| above == new) {
                return;
            }
        }
    }

    fn get(&self, level: usize, at: usize) -> Option<i8> {
        Some(self.levels.get(level)?.get(at)?.load(Relaxed))
    }

    /// The groups that have at least `amount`, or nearly so: those from `first` on, then those
    /// before it, and `first` once more. Looks as it goes.
    pub(super) fn around(&self, first: u32, amount: u32) -> impl Iterator<Item = u32> + '_ {
        let (first, least) = (first as usize, class(amount));
        let (mut at, mut turned) = (first, false);
        core::iter::from_fn(move || {
            let find = |at| {
                walk(
                    self.levels.len(),
                    |level, at| self.get(level, at),
                    at,
                    least,
                )
            };
            let mut next = find(at);
            if next.is_none() && !turned {
                turned = true;
                next = find(0);
            }
            let group = next.filter(|&group| !turned || group <= first)?;
            at = group + 1;
            // CAST: Groups have numbers of 32 bits.
            Some(group as u32)
        })
    }

    /// The most that a group has, or a little less.
    pub(super) fn most(&self) -> u32 {
        let top = self.levels.len().saturating_sub(1);
        self.get(top, 0).map_or(0, least)
    }
}

fn most(node: &[Atomic<i8>]) -> i8 {
    node.iter()
        .map(|byte| byte.load(Relaxed))
        .max()
        .unwrap_or(0)
}
