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

use crate::{
    disk::GroupDesc,
    fs::grows::{Growing, Grows}, //
    vfs::atomic::Atomic,
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::Relaxed,
        SpinLock, //
    },
};
use walk::{walk, FAN_OUT, FAN_OUT_BITS};

/// Levels: with 64 nodes under each there is one byte at the top of 2^30 groups, which have more
/// inodes than there are numbers.
const LEVELS: usize = 6;

/// The bytes of 64 groups, or of 64 nodes of the level below.
type Node = [Atomic<i8>; FAN_OUT];

fn new_node() -> Node {
    [const { Atomic::new(0) }; FAN_OUT]
}

/// How much each group has of something: blocks in a row, or inodes.
#[pin_data]
pub(super) struct GroupIndex {
    /// The groups come first, the single byte for all of them last.
    levels: KVec<Grows<Node>>,
    groups: Atomic<usize>,
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
        let mut classes = KVVec::with_capacity(groups.len(), GFP_KERNEL)?;
        for group in groups {
            classes.push(class(amount(group)), GFP_KERNEL)?;
        }
        let mut levels = KVec::new();
        for _ in 0..LEVELS {
            let (mut nodes, mut above) = (KVVec::new(), KVVec::new());
            for some in classes.chunks(FAN_OUT) {
                let node = new_node();
                for (byte, class) in node.iter().zip(some) {
                    byte.store(*class, Relaxed);
                }
                above.push(most(&node), GFP_KERNEL)?;
                nodes.push(node, GFP_KERNEL)?;
            }
            levels.push(Grows::with(nodes)?, GFP_KERNEL)?;
            classes = above;
        }
        let groups = groups.len();
        Ok(try_pin_init!(Self {
            levels,
            groups: Atomic::new(groups),
            change <- new_spinlock!((), "rext4_group_index"),
        }))
    }

    /// Each level, with the nodes that it lacks for so many groups.
    fn missing(&self, groups: u32) -> impl Iterator<Item = (&Grows<Node>, usize)> {
        let mut bytes = groups as usize;
        self.levels.iter().map(move |nodes| {
            bytes = bytes.div_ceil(FAN_OUT);
            (nodes, bytes.saturating_sub(nodes.len()))
        })
    }

    /// Memory for so many groups.
    pub(super) fn reserve(&self, groups: u32) -> Result {
        self.missing(groups)
            .try_for_each(|(nodes, more)| nodes.reserve(more))
    }

    /// For so many groups, for which there is memory. The new ones have nothing, until it is
    /// [`set`](GroupIndex::set).
    pub(super) fn grow(&self, right: &Growing<'_>, groups: u32) -> Result {
        for (nodes, more) in self.missing(groups) {
            (0..more).try_for_each(|_| nodes.push(right, new_node()))?;
        }
        self.groups.store(groups as usize, Relaxed);
        Ok(())
    }

    /// Says how much `group` has now. Under the group's lock.
    pub(super) fn set(&self, group: u32, amount: u32) {
        let (mut at, new) = (group as usize, class(amount));
        if self.get(0, at).is_none_or(|old| old == new) {
            return;
        }
        let _change = self.change.lock();
        let mut new = new;
        for (level, nodes) in self.levels.iter().enumerate() {
            let Some(node) = nodes.get(at / FAN_OUT) else {
                return;
            };
            if let Some(byte) = node.get(at % FAN_OUT) {
                byte.store(new, Relaxed);
            }
            new = most(node);
            at /= FAN_OUT;
            if self.get(level + 1, at).is_none_or(|above| above == new) {
                return;
            }
        }
    }

    fn get(&self, level: usize, at: usize) -> Option<i8> {
        let last = self.groups.load(Relaxed).checked_sub(1)?;
        // Nothing behind the end, which is where a walk ends.
        if at > last >> (level * FAN_OUT_BITS) {
            return None;
        }
        let node = self.levels.get(level)?.get(at / FAN_OUT)?;
        Some(node.get(at % FAN_OUT)?.load(Relaxed))
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
