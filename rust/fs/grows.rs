// SPDX-License-Identifier: GPL-2.0

//! What becomes larger while others look at it, who take no lock.
//!
//! A file system that is resized has more groups than it had at mount. The arrays that hold them
//! never move: they are made of buckets, each twice as large as the one before, and a new bucket
//! leaves the others where they are. An element never moves, changes its number or goes before the
//! mount does, so a reader keeps a plain reference to it.
//!
//! ```text
//!   who resizes                                reader
//!   reserves: the last that may fail
//!   appends group 16
//!                                              sees 16 groups in the geometry: asks for no more
//!   publishes the geometry of 17
//!                                              sees 17: finds group 16, whole
//! ```
//!
//! So the rule is: first all arrays, then the [`Latest`] geometry. Nobody computes a group's number
//! but from a geometry, or from what was made with it.
//!
//! Who may append is a value, too: [`Growing`], and there is one at most.

use crate::vfs::{atomic::Atomic, once::SetOnce};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::atomic::{Acquire, Relaxed, Release},
};

/// Elements in the first bucket.
const FIRST: usize = 4;
/// Enough for 2^32 elements.
const BUCKETS: usize = 31;

/// Whether somebody makes the file system larger just now.
pub(super) struct GrowLock(Atomic<bool>);

impl GrowLock {
    pub(super) const fn new() -> Self {
        Self(Atomic::new(false))
    }

    /// The right to do so. `EBUSY` if somebody has it.
    pub(super) fn try_take(&self) -> Result<Growing<'_>> {
        if self.0.xchg(true, Acquire) {
            return Err(EBUSY);
        }
        Ok(Growing(&self.0))
    }
}

/// The right to make the file system larger in memory. It goes back when this is dropped.
#[must_use]
pub(super) struct Growing<'a>(&'a Atomic<bool>);

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

/// An array that only grows.
pub(super) struct Grows<T> {
    buckets: KVec<SetOnce<KVVec<SetOnce<T>>>>,
    len: Atomic<usize>,
}

/// The bucket of an element, and its place there.
fn slot_of(index: usize) -> (usize, usize) {
    let bucket = (index / FIRST + 1).checked_ilog2().unwrap_or(0) as usize;
    (bucket, index - FIRST * ((1 << bucket) - 1))
}

impl<T> Grows<T> {
    /// Without elements. `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        let mut buckets = KVec::with_capacity(BUCKETS, GFP_KERNEL)?;
        for _ in 0..BUCKETS {
            buckets.push(SetOnce::new(), GFP_KERNEL)?;
        }
        Ok(Self {
            buckets,
            len: Atomic::new(0),
        })
    }

    /// With these.
    pub(super) fn with(elements: impl IntoIterator<Item = T>) -> Result<Self> {
        let this = Self::new()?;
        for element in elements {
            this.reserve(1)?;
            this.add(element)?;
        }
        Ok(this)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// One of them. Any context.
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (bucket, at) = slot_of(index);
        self.buckets.get(bucket)?.as_ref()?.get(at)?.as_ref()
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Those from `first` on, as many as there are now.
    pub(super) fn iter_from(&self, first: usize) -> impl Iterator<Item = &T> {
        (first..self.len()).filter_map(|index| self.get(index))
    }

    /// All that there are now.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0)
    }

    /// How many at the beginning are like `before`, as none behind them is.
    pub(super) fn partition_point(&self, before: impl Fn(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(&before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Memory for `more` elements. Sleeps. After this as many are [pushed](Grows::push) without
    /// fail. `ENOMEM`.
    pub(super) fn reserve(&self, more: usize) -> Result {
        let Some(last) = (self.len() + more).checked_sub(1) else {
            return Ok(());
        };
        let buckets = self.buckets.get(..=slot_of(last).0).ok_or(ENOMEM)?;
        for (n, bucket) in buckets.iter().enumerate() {
            if bucket.as_ref().is_some() {
                continue;
            }
            let size = FIRST << n;
            let mut elements = KVVec::with_capacity(size, GFP_KERNEL)?;
            for _ in 0..size {
                elements.push(SetOnce::new(), GFP_KERNEL)?;
            }
            bucket.populate(elements);
        }
        Ok(())
    }

    /// Appends an element, for which there is memory.
    pub(super) fn push(&self, _right: &Growing<'_>, element: T) -> Result {
        self.add(element)
    }

    /// By one task at a time.
    fn add(&self, element: T) -> Result {
        let index = self.len.load(Relaxed);
        let (bucket, at) = slot_of(index);
        let bucket = self.buckets.get(bucket).and_then(SetOnce::as_ref);
        let slot = bucket.and_then(|slots| slots.get(at)).ok_or(ENOMEM)?;
        if !slot.populate(element) {
            return Err(EBUSY);
        }
        self.len.store(index + 1, Release);
        Ok(())
    }
}

/// A value that is replaced as a whole. What was replaced stays as long as the mount: each look may
/// find a newer one, but what was found is there and does not change.
///
/// Who needs two of its fields to go together takes the reference once.
pub(crate) struct Latest<T> {
    // Boxed: a mount moves it from frame to frame.
    first: KBox<T>,
    /// The later ones.
    later: KBox<Grows<T>>,
}

impl<T> Latest<T> {
    /// `ENOMEM`.
    #[inline(never)]
    pub(super) fn new(first: KBox<T>) -> Result<Self> {
        let later = KBox::new(Grows::new()?, GFP_KERNEL)?;
        Ok(Self { first, later })
    }

    #[inline(never)]
    fn replaced(&self) -> &T {
        self.later.last().unwrap_or(&self.first)
    }

    /// Memory for one more. `ENOMEM`.
    pub(super) fn reserve(&self) -> Result {
        self.later.reserve(1)
    }

    /// Replaces it, for which there is memory. What was written before this is seen by who sees
    /// this one.
    pub(super) fn publish(&self, right: &Growing<'_>, next: T) -> Result {
        self.later.push(right, next)
    }
}

impl<T> Deref for Latest<T> {
    type Target = T;

    /// Most file systems never grow, and are asked some ten times in each operation.
    #[inline(always)]
    fn deref(&self) -> &T {
        match self.later.len() {
            0 => &self.first,
            _ => self.replaced(),
        }
    }
}
