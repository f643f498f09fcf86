// SPDX-License-Identifier: GPL-2.0

//! The blocks that not everybody may use.

use crate::vfs::atomic::Atomic;
use crate::{disk::RawSuper, fs::options::Options, vfs::cred};
use kernel::sync::atomic::Relaxed;

/// How many blocks are kept, and for whom.
pub(in crate::fs) struct RootBlocks {
    blocks: Atomic<u64>,
    uid: Atomic<u32>,
    gid: Atomic<u32>,
}

impl RootBlocks {
    /// As the super block says, or the options.
    pub(super) fn new(raw: &RawSuper, blocks_count: u64, options: &Options) -> Self {
        let (uid, gid) = raw.reserved_owner();
        let this = Self {
            blocks: Atomic::new(raw.reserved_blocks_count().min(blocks_count)),
            uid: Atomic::new(uid),
            gid: Atomic::new(gid),
        };
        this.give_to(options);
        this
    }

    /// To whom the options say, as far as they do.
    pub(in crate::fs) fn give_to(&self, options: &Options) {
        if let Some(uid) = options.resuid {
            self.uid.store(uid, Relaxed);
        }
        if let Some(gid) = options.resgid {
            self.gid.store(gid, Relaxed);
        }
    }

    /// How many the current task must leave alone.
    pub(super) fn for_others(&self) -> u64 {
        let mine = || cred::may_use_reserved(self.uid.load(Relaxed), self.gid.load(Relaxed));
        let blocks = self.blocks();
        if blocks == 0 || mine() {
            0
        } else {
            blocks
        }
    }

    /// How many they are.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.load(Relaxed)
    }

    /// They are so many from now on.
    pub(super) fn set_blocks(&self, blocks: u64) {
        self.blocks.store(blocks, Relaxed);
    }
}
