// SPDX-License-Identifier: GPL-2.0

//! Parts of a file system's data that end before the data goes.

use super::{FileSystem, SuperBlock};
use core::{mem, ptr};
use kernel::prelude::*;

/// What owns something that runs by itself or uses the device: a journal, work. It begins when the
/// data is attached to the super block and is closed while that still works, after the last
/// operation and before [`FileSystem::stop`]. To drop it with the data would be too late.
///
/// Only this layer can implement it.
pub(crate) trait Part<F: FileSystem>: Sync {
    /// # Safety
    ///
    /// `self` is pinned in the data of `sb`, this is the first call, and [`Part::quiesce`] and
    /// [`Part::close`] will be called before the data goes.
    unsafe fn attach(&self, sb: &SuperBlock<F>);

    /// Ends for good what it runs in tasks of its own that may use another part. Sleeps.
    ///
    /// # Safety
    ///
    /// No operation runs on the super block and none starts, but for what the parts call. All of
    /// them still work.
    unsafe fn quiesce(&self) {}

    /// Ends it for good. Sleeps.
    ///
    /// # Safety
    ///
    /// [`Part::quiesce`] of all parts has returned, and nobody uses the part meanwhile, but for
    /// what it calls itself.
    unsafe fn close(&self) {}
}

/// As many as a file system can have.
const MAX_PARTS: usize = 4;

/// The parts of a file system's data.
pub(crate) struct Parts<'a, F>([Option<&'a (dyn Part<F> + 'static)>; MAX_PARTS]);

impl<'a, F: FileSystem> Parts<'a, F> {
    /// None.
    pub(crate) const fn none() -> Self {
        Self([None; MAX_PARTS])
    }

    /// These three. Which one comes first does not matter.
    pub(crate) fn three(
        one: &'a (dyn Part<F> + 'static),
        two: &'a (dyn Part<F> + 'static),
        three: &'a (dyn Part<F> + 'static),
    ) -> Self {
        Self([Some(one), Some(two), Some(three), None])
    }
}

/// The parts of attached data.
///
/// # Invariants
///
/// The pointers are to parts of the pinned data that this lies beside.
pub(super) struct Attached<F>([Option<ptr::NonNull<dyn Part<F>>>; MAX_PARTS]);

impl<F: FileSystem> Attached<F> {
    /// Before there are any.
    pub(super) const fn none() -> Self {
        Self([None; MAX_PARTS])
    }

    /// `EINVAL` if one does not lie in `whole`, which must be pinned beside this from now on:
    /// elsewhere it may be anybody's and live longer, or shorter.
    pub(super) fn of(whole: &F, parts: &Parts<'_, F>) -> Result<Self> {
        let mut this = Self::none();
        let data = ptr::from_ref(whole).addr();
        for (slot, part) in this.0.iter_mut().zip(parts.0) {
            let Some(part) = part else { continue };
            let offset = ptr::from_ref(part).addr().wrapping_sub(data);
            if offset.saturating_add(mem::size_of_val(part)) > size_of::<F>() {
                return Err(EINVAL);
            }
            // INVARIANT: As was just checked.
            *slot = Some(ptr::NonNull::from(part));
        }
        Ok(this)
    }

    /// # Safety
    ///
    /// `self` is that of `sb`, and [`Attached::close`] will be called before its data goes.
    pub(super) unsafe fn attach(&self, sb: &SuperBlock<F>) {
        for part in self.0.iter().flatten() {
            // SAFETY: By the type invariant and the caller.
            unsafe { part.as_ref().attach(sb) };
        }
    }

    /// Ends them, in two passes: what one part runs may use another, whose order is anybody's.
    ///
    /// ```text
    ///   unmount                                     runs by `Later`
    ///                                               has the journal
    ///   closes the journal, which frees it
    ///                                               uses it
    ///   closes `Later`, waits for it: too late
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Part::quiesce`].
    pub(super) unsafe fn close(&self) {
        for part in self.0.iter().flatten() {
            // SAFETY: By the type invariant and the caller; none has been closed.
            unsafe { part.as_ref().quiesce() };
        }
        for part in self.0.iter().flatten() {
            // SAFETY: By the type invariant. All are quiet, so that by the caller nobody uses the
            // part but what it calls itself.
            unsafe { part.as_ref().close() };
        }
    }
}
