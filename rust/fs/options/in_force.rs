// SPDX-License-Identifier: GPL-2.0

//! Options that operations ask for while others ask too: a lock for all of [`Options`] would be one
//! that all who make files, or write, share. Each is looked at alone, and may change any time.

use super::Options;
use crate::vfs::atomic::Atomic;
use kernel::sync::atomic::Relaxed;

/// See [`Options`] for what they say.
pub(in crate::fs) struct InForce {
    barrier: Atomic<bool>,
    discard: Atomic<bool>,
    grpid: Atomic<bool>,
    auto_da_alloc: Atomic<bool>,
    user_xattr: Atomic<bool>,
    mbcache: Atomic<bool>,
    max_dir_size_kb: Atomic<u32>,
}

impl InForce {
    /// Those of a mount.
    pub(in crate::fs) fn new(options: &Options) -> Self {
        Self {
            barrier: Atomic::new(options.barrier()),
            discard: Atomic::new(options.discard()),
            grpid: Atomic::new(options.grpid.is_on()),
            auto_da_alloc: Atomic::new(options.auto_da_alloc),
            user_xattr: Atomic::new(options.user_xattr),
            mbcache: Atomic::new(options.mbcache),
            max_dir_size_kb: Atomic::new(options.max_dir_size_kb),
        }
    }

    /// Of a remount, from now on.
    pub(in crate::fs) fn set(&self, options: &Options) {
        self.barrier.store(options.barrier(), Relaxed);
        self.discard.store(options.discard(), Relaxed);
        self.grpid.store(options.grpid.is_on(), Relaxed);
        self.auto_da_alloc.store(options.auto_da_alloc, Relaxed);
        self.user_xattr.store(options.user_xattr, Relaxed);
        self.mbcache.store(options.mbcache, Relaxed);
        self.max_dir_size_kb.store(options.max_dir_size_kb, Relaxed);
    }

    /// Whether the device's cache is flushed at commits and fsync.
    pub(in crate::fs) fn barrier(&self) -> bool {
        self.barrier.load(Relaxed)
    }

    /// Whether the device is told of blocks that were freed.
    pub(in crate::fs) fn discard(&self) -> bool {
        self.discard.load(Relaxed)
    }

    /// Whether what is new has the group of its directory, not that of who makes it.
    pub(in crate::fs) fn grpid(&self) -> bool {
        self.grpid.load(Relaxed)
    }

    /// Whether what replaces something is written without being asked.
    pub(in crate::fs) fn auto_da_alloc(&self) -> bool {
        self.auto_da_alloc.load(Relaxed)
    }

    /// Whether there are extended attributes of users.
    pub(in crate::fs) fn user_xattr(&self) -> bool {
        self.user_xattr.load(Relaxed)
    }

    /// Whether inodes with the same attributes share a block.
    pub(in crate::fs) fn mbcache(&self) -> bool {
        self.mbcache.load(Relaxed)
    }

    /// From this size on, in KiB, a directory does not grow; 0 is no limit.
    pub(in crate::fs) fn max_dir_size_kb(&self) -> u32 {
        self.max_dir_size_kb.load(Relaxed)
    }
}
