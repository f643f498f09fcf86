// SPDX-License-Identifier: GPL-2.0

//! Super blocks that are being remounted.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)

use super::{FileSystem, SuperBlock};
use crate::vfs::{bindings, fs_context::MountLog};
use kernel::{error::to_result, prelude::*};

/// A remount under way. Whoever has one knows that s_umount is held exclusive.
///
/// # Invariants
///
/// `fc` is the context of a remount of `sb`, this thread's; s_umount of `sb` is held exclusive.
pub(crate) struct Remount<'a, F> {
    sb: &'a SuperBlock<F>,
    fc: *mut bindings::fs_context,
    log: MountLog<'a>,
    read_only: bool,
}

impl<'a, F: FileSystem> Remount<'a, F> {
    /// # Safety
    ///
    /// `fc` is the context of a remount of `sb`, this thread's; s_umount of `sb` is held exclusive.
    pub(in crate::vfs) unsafe fn new(
        sb: &'a SuperBlock<F>,
        fc: *mut bindings::fs_context,
        read_only: bool,
    ) -> Self {
        // INVARIANT: By the caller.
        Self {
            sb,
            fc,
            // SAFETY: By the caller.
            log: unsafe { MountLog::from_raw(fc) },
            read_only,
        }
    }

    /// The mounted super block, as it is before.
    pub(crate) fn sb(&self) -> &SuperBlock<F> {
        self.sb
    }

    /// Whether it shall be read-only afterwards. The flag is the VFS's to set.
    pub(crate) fn read_only(&self) -> bool {
        self.read_only
    }

    /// Whether it will be so whatever we say, and with writers under way: an emergency remount.
    pub(crate) fn is_forced(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { (*self.fc).sb_flags & bindings::SB_FORCE != 0 }
    }

    /// Writes out all that is dirty and waits for it. Outside of any handle.
    pub(crate) fn sync(&self) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::sync_filesystem(self.sb.as_ptr()) })
    }

    /// Where to say why it is refused.
    pub(crate) fn log(&self) -> &MountLog<'_> {
        &self.log
    }
}
