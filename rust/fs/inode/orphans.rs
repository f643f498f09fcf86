// SPDX-License-Identifier: GPL-2.0

//! The list of orphans in memory. How an inode is written to its table depends on it, so it is a
//! part of the inodes. Who changes it, and when, is in [`orphan`](crate::fs::orphan).

use crate::{
    disk::Ino,
    fs::Inode,
    vfs::{
        atomic::Atomic,
        nofs::{new_nofs_mutex, NoFsMutex},
    }, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::atomic::Relaxed, //
};

/// Neighbours on the list.
#[derive(Clone, Copy)]
pub(in crate::fs) struct Link {
    /// Towards the superblock.
    pub(in crate::fs) prev: Option<Ino>,
    /// What is on disk in the inode.
    pub(in crate::fs) next: Option<Ino>,
}

/// The orphan list of a mounted filesystem.
#[pin_data]
pub(crate) struct Orphans {
    #[pin]
    pub(in crate::fs) links: NoFsMutex<RBTree<Ino, Link>>,
    /// How many there are, to look at without the lock.
    pub(in crate::fs) count: Atomic<u32>,
    /// There are some, of the last mount or after an error, whose inodes may not know it.
    pub(in crate::fs) strays: Atomic<bool>,
    /// Finishing what a crash has left was cut short, and all of the list is that.
    pub(in crate::fs) cut_short: Atomic<bool>,
    /// How many have left memory when nothing was to be written any more, so nobody frees them.
    pub(in crate::fs) left: Atomic<u32>,
}

impl Orphans {
    /// An empty list.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            links <- new_nofs_mutex!(RBTree::new(), "rext4_orphans"),
            count: Atomic::new(0),
            strays: Atomic::new(false),
            cut_short: Atomic::new(false),
            left: Atomic::new(0),
        })
    }

    pub(in crate::fs) fn contains(&self, ino: Ino) -> bool {
        self.count.load(Relaxed) > 0 && self.links.lock().get(&ino).is_some()
    }

    /// The inode that the super block names.
    pub(in crate::fs) fn first(&self) -> Option<Ino> {
        let links = self.links.lock();
        let mut first = links.iter().filter(|(_, link)| link.prev.is_none());
        first.next().map(|(&ino, _)| ino)
    }

    /// Whether an inode may be on the list. Only the lock tells for sure.
    pub(in crate::fs) fn may_contain(&self, inode: &Inode) -> bool {
        inode.info().is_orphan() || self.strays.load(Relaxed)
    }
}

/// Runs `write`, which puts a raw inode into its table, with the number that goes into its deletion
/// time field if it is on the list. That number does not change meanwhile.
///
/// The caller holds the lock of the inode's fields. An inode that is just being added may be
/// written without the number; who has called [`add`](crate::fs::orphan::add) then writes it once
/// more.
pub(in crate::fs) fn with_next<R>(inode: &Inode, write: impl FnOnce(Option<u32>) -> R) -> R {
    let orphans = &inode.fs().orphans;
    if orphans.may_contain(inode) {
        let links = orphans.links.lock();
        if let Some(&Link { next, .. }) = links.get(&inode.ino()) {
            return write(Some(Ino::to_disk(next)));
        }
    }
    write(None)
}
