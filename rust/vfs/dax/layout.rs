// SPDX-License-Identifier: GPL-2.0

//! Who has a page of the device's memory: mappings, and devices that have pinned it for a transfer.
//!
//! The page *is* the block. A block that is given to another file while a device stores into its
//! page has that file's data destroyed, so before a block goes nobody may have its page.

use crate::vfs::{
    bindings,
    inode::Inode,
    pagemap::{InvalidateLock, TruncateLocks},
    super_block::FileSystem, //
};
use core::ops::Range;
use kernel::{current, pr_err_once, prelude::*};

/// The first and the last byte as C wants them: `i64::MAX` is the end of all.
fn first_and_last(bytes: &Range<u64>) -> (i64, i64) {
    let most = i64::MAX as u64;
    if bytes.end >= most {
        (bytes.start.min(most) as i64, i64::MAX)
    } else {
        (bytes.start as i64, bytes.end.saturating_sub(1) as i64)
    }
}

impl<F: FileSystem> InvalidateLock<'_, F> {
    /// A page of the bytes, rounded out to what is mapped as one, that somebody has who is no
    /// mapping. They are in no mapping any more, and as long as the lock is held in none again.
    ///
    /// What one mapping maps as one, another may map page by page, and C unmaps no more than the
    /// bytes: a page beside them would stay mapped there when the entry for all of it goes.
    fn busy_page(&self, bytes: &Range<u64>) -> Option<*mut bindings::page> {
        let (start, last) = first_and_last(bytes);
        let mapping = self.inode().mapping();
        // SAFETY: By the type invariant, as the C functions ask; there are some bytes.
        let page = unsafe {
            bindings::dax_unmap(mapping, start, last);
            bindings::dax_busy_page(mapping, start, last)
        };
        (!page.is_null()).then_some(page)
    }

    /// Lets go of the pages of the bytes, which are in nobody's hands
    /// ([`TruncateLocks::wait_unpinned`]) and have been written back. Those that are, stay, and the
    /// log says so: a bug of the file system.
    pub(in crate::vfs) fn drop_memory(&self, bytes: &Range<u64>) {
        if self.busy_page(bytes).is_some() {
            pr_err_once!("a page of a device's memory is let go of that somebody has\n");
            return;
        }
        let (start, last) = first_and_last(bytes);
        // SAFETY: By the type invariant nobody gets a page meanwhile, and by the look before nobody
        // has one.
        unsafe { bindings::dax_forget_range(self.inode().mapping(), start, last) }
    }
}

impl<'l, F: FileSystem> TruncateLocks<'l, F> {
    /// Waits until nobody has a page of the bytes, rounded out to what is mapped as one. While it
    /// waits invalidate_lock is not held: who has pinned a page may be pinning the next one, for
    /// which he needs it. `ERESTARTSYS` for a signal, then neither lock of the result is.
    ///
    /// Whoever touches a mapping meanwhile has a page again that he takes no reference for. C waits
    /// until nobody has (`dax_break_layout()`), thus for ever, where he never unmaps it. So here
    /// all of it is looked at again, each time that the page is free or a moment has passed.
    ///
    /// `waits` is called each time that it is about to wait, with i_rwsem held.
    pub(crate) fn wait_unpinned(self, bytes: &Range<u64>, mut waits: impl FnMut()) -> Result<Self> {
        let Self { lock, mut pages } = self;
        let inode: &Inode<F> = lock.inode();
        if !inode.is_dax() || bytes.is_empty() {
            return Ok(Self { lock, pages });
        }
        while let Some(page) = pages.busy_page(bytes) {
            drop(pages);
            waits();
            // SAFETY: A page of the device's memory, which is there as long as the super block has
            // the device.
            unsafe { bindings::dax_wait_idle(page) };
            if current!().signal_pending() {
                return Err(ERESTARTSYS);
            }
            pages = inode.invalidate_lock();
        }
        Ok(Self { lock, pages })
    }
}
