// SPDX-License-Identifier: GPL-2.0

//! A cache of what is the same: numbers (of blocks) that are found by a key (a hash of what is in
//! them). It shrinks when memory is short.
//!
//! A number that somebody has found is [`CachedValue`] until that is dropped, and cannot be removed
//! meanwhile: who removes waits, or does without. So the cache says which blocks may be gone.
//!
//! C header: [`include/linux/mbcache.h`](srctree/include/linux/mbcache.h)

use super::bindings;
use core::ptr::NonNull;
use kernel::{error::to_result, prelude::*};

/// A `struct mb_cache`.
///
/// # Invariants
///
/// The pointer is to a cache that is ours.
pub(crate) struct MbCache(NonNull<bindings::mb_cache>);

// SAFETY: The C functions lock as they need.
unsafe impl Send for MbCache {}
// SAFETY: As above.
unsafe impl Sync for MbCache {}

impl MbCache {
    /// A cache of `1 << bucket_bits` hash chains. `ENOMEM`.
    pub(crate) fn new(bucket_bits: u8) -> Result<Self> {
        // SAFETY: One bit at least, for `hash_32()` gives 32 of them where none is asked for; the
        // chains are an array that kmalloc gives or not.
        let cache = unsafe { bindings::mb_cache_create(bucket_bits.clamp(1, 16).into()) };
        // INVARIANT: New.
        NonNull::new(cache).map(Self).ok_or(ENOMEM)
    }

    /// Adds `value` below `key`, unless it is there. No memory for it is no error. Sleeps.
    pub(crate) fn insert(&self, key: u32, value: u64) {
        // SAFETY: By the type invariant.
        let done =
            to_result(unsafe { bindings::mb_cache_entry_create(self.0.as_ptr(), key, value) });
        // It can do without.
        let _ = done;
    }

    /// # Safety
    ///
    /// `entry` is null, or an entry of this cache whose count is given up by the caller.
    unsafe fn found(&self, entry: *mut bindings::mb_cache_entry) -> Option<CachedValue<'_>> {
        // INVARIANT: By the caller.
        NonNull::new(entry).map(|entry| CachedValue { cache: self, entry })
    }

    /// The first of those below `key` that are reusable.
    pub(crate) fn find(&self, key: u32) -> Option<CachedValue<'_>> {
        // SAFETY: By the type invariant; an entry that is returned was counted for us.
        unsafe { self.found(bindings::mb_cache_entry_find_first(self.0.as_ptr(), key)) }
    }

    /// `value` below `key`, reusable or not.
    pub(crate) fn get(&self, key: u32, value: u64) -> Option<CachedValue<'_>> {
        // SAFETY: As in `find`.
        unsafe { self.found(bindings::mb_cache_entry_get(self.0.as_ptr(), key, value)) }
    }

    /// Removes `value` below `key`. If somebody has found it it stays, and is returned.
    pub(crate) fn remove(&self, key: u32, value: u64) -> Option<CachedValue<'_>> {
        // SAFETY: As in `find`.
        unsafe {
            let used = bindings::mb_cache_entry_delete_or_get(self.0.as_ptr(), key, value);
            self.found(used)
        }
    }
}

impl Drop for MbCache {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. What was found borrows the cache, so nobody has any.
        unsafe { bindings::mb_cache_destroy(self.0.as_ptr()) }
    }
}

/// A number that was found. It is not removed while this lives.
///
/// # Invariants
///
/// The pointer is to an entry of the cache of which we own a count.
pub(crate) struct CachedValue<'a> {
    cache: &'a MbCache,
    entry: NonNull<bindings::mb_cache_entry>,
}

impl<'a> CachedValue<'a> {
    /// The number.
    pub(crate) fn value(&self) -> u64 {
        // SAFETY: By the type invariant; it does not change.
        unsafe { bindings::mb_cache_entry_value(self.entry.as_ptr()) }
    }

    /// The next reusable one below the same key.
    pub(crate) fn next(self) -> Option<Self> {
        let this = core::mem::ManuallyDrop::new(self);
        let (cache, entry) = (this.cache, this.entry.as_ptr());
        // SAFETY: By the type invariants. The function takes our count, and has counted what it
        // returns for us.
        unsafe { cache.found(bindings::mb_cache_entry_find_next(cache.0.as_ptr(), entry)) }
    }

    /// Notes that it was of use: it stays longer.
    pub(crate) fn touch(&self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::mb_cache_entry_touch(self.cache.0.as_ptr(), self.entry.as_ptr()) }
    }

    /// Whether [`MbCache::find`] shall find it.
    pub(crate) fn set_reusable(&self, reusable: bool) {
        // SAFETY: By the type invariant; the flags are changed by atomic operations.
        unsafe { bindings::mb_cache_entry_set_reusable(self.entry.as_ptr(), reusable) }
    }

    /// Waits until nobody else has it. Sleeps, not to be interrupted; the caller holds nothing that
    /// they may wait for.
    pub(crate) fn wait_unused(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::mb_cache_entry_wait_unused(self.entry.as_ptr()) }
    }
}

impl Drop for CachedValue<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the count is ours to give up.
        unsafe { bindings::mb_cache_entry_put(self.cache.0.as_ptr(), self.entry.as_ptr()) }
    }
}
