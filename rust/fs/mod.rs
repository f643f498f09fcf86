// SPDX-License-Identifier: GPL-2.0

//! The file system, in safe Rust only.
//!
//! ```text
//!   ops.rs      what the VFS calls, forwarded to the rooms below
//!   io/         the data path: read it to understand every race
//!   extent/     the extent tree, delayed allocation, the sequence number
//!   alloc/      blocks and inodes          namei/    directories and names
//!   inode.rs    inodes between disk and memory, itable.rs where they lie, evict.rs how they end
//!   attr.rs     what setattr and getattr do, chattr.rs the flags of chattr(1)
//!   xattr/      extended attributes, attributes/ their lists, acl.rs access control lists
//!   crypt.rs    encryption
//!   export.rs   from file handles to inodes
//!   mount.rs    mount, remount, unmount    primary.rs  the super block on disk
//!   about.rs    what the super block says for people to read
//!   access.rs   whether anything may be written just now
//!   grows.rs    arrays that become larger beside their readers
//!   view.rs     blocks of the buffer cache as the format looks at them
//!   credits.rs  how many metadata blocks each operation may touch in a handle
//!   orphan.rs   inodes to finish after a crash, recover.rs does so
//!   resize/     a mounted file system becomes larger
//!   sysfs.rs    what a mount shows in /sys/fs
//!   rule.rs     signposts: here a rule is kept
//!   lab/        delays and switched-off protections, in LAB=1 builds only
//!   error.rs    what happens when the disk is not what it should be
//!   marks.rs    the mark on disk that it was not
//! ```
//!
//! The lock order is rule 1 of Documentation/data-path.md.

#![forbid(unsafe_code)]

pub(crate) mod about;
pub(crate) mod access;
mod acl;
pub(crate) mod alloc;
mod attr;
mod attributes;
mod chattr;
mod credits;
mod crypt;
pub(crate) mod error;
mod evict;
pub(crate) mod export;
pub(crate) mod extent;
mod grows;
pub(crate) mod inode;
pub(crate) mod io;
mod itable;
pub(crate) mod lab;
pub(crate) mod marks;
pub(crate) mod mount;
pub(crate) mod namei;
mod ops;
pub(crate) mod options;
pub(crate) mod orphan;
pub(crate) mod primary;
mod recover;
mod resize;
pub(crate) mod rule;
mod sysfs;
mod view;
mod xattr;

use crate::{
    disk::{superblock::Geometry, Ino},
    vfs::{
        self,
        atomic::Atomic,
        fscrypt::DummyPolicy,
        gfp,
        jbd2::{Handle, Journal, JournalSlot},
        once::SetOnce,
        super_block::Later, //
    },
};
use grows::{GrowLock, Latest};
use kernel::{
    prelude::*,
    sync::{
        atomic::ordering,
        Mutex, //
    },
};
use options::{Dax, InForce, Options};

/// A super block of ours.
pub(crate) type Sb = vfs::SuperBlock<Rext4>;
/// An inode of ours, borrowed.
pub(crate) type Inode = vfs::Inode<Rext4>;
impl Inode {
    /// Inode number. Those of the format have 32 bits.
    pub(crate) fn ino(&self) -> Ino {
        Ino::new(self.number() as u32)
    }
}

/// An inode of ours that can be owned.
pub(crate) type HeldInode = vfs::HeldInode<Rext4>;
/// An inode of ours, owned while the super block is borrowed.
pub(crate) type InodeRef<'sb> = vfs::InodeRef<'sb, Rext4>;

/// A mounted file system.
#[pin_data]
pub(crate) struct Rext4 {
    /// The checked numbers of the format. Those that say how large the file system is may grow.
    pub(crate) geo: Latest<Geometry>,
    /// Who has it may make them grow.
    growth: GrowLock,
    /// The primary super block. The lock owns its bytes; it nests inside a handle and inside the
    /// extent lock.
    #[pin]
    primary: Mutex<primary::Primary>,
    journal: JournalSlot,
    /// Blocks of extended attributes that several inodes have.
    #[pin]
    sharers: attributes::block::Sharers,
    /// Group descriptors and free counts.
    #[pin]
    pub(crate) groups: alloc::Groups,
    /// Inodes to be finished after a crash.
    #[pin]
    pub(crate) orphans: inode::Orphans,
    /// The same in the orphan file.
    pub(crate) slots: orphan::Slots,
    /// Mount options in force.
    #[pin]
    options: Mutex<Options>,
    /// The option `dio_gate`, for each direct write and each page.
    dio_gate: io::gate::Switch,
    /// The option `dax`, for each inode that is read or made.
    dax: Dax,
    /// What the option `test_dummy_encryption` has new inodes encrypted with.
    dummy_policy: SetOnce<DummyPolicy>,
    /// Options that are asked for often.
    in_force: InForce,
    /// Whether we may write just now.
    #[pin]
    pub(crate) access: access::AccessState,
    /// What the super block says for people to read.
    about: about::About,
    /// Somebody was told that an inode has no room for more fields.
    told_no_room: Atomic<bool>,
    /// Errors since mount.
    errored: Atomic<u32>,
    /// What the super block on disk is to say of them.
    #[pin]
    pub(crate) marks: marks::ErrorMarks,
    /// jbd2 has aborted the journal, and nobody has dealt with it yet.
    journal_dead: Atomic<bool>,
    /// Runs [`error::later`].
    #[pin]
    later: Later<Rext4>,
    /// Runs [`alloc::discard_freed`].
    #[pin]
    discarder: Later<Rext4>,
}

impl Rext4 {
    /// Starts a transaction handle that may change `credits` metadata blocks. `EROFS` while nothing
    /// may be written ([`access`]), or when the journal was aborted; `EIO` after a shutdown.
    pub(crate) fn start(&self, credits: u32) -> Result<Handle<'_>> {
        self.start_handle(credits, credits::TREE_REVOKES)
    }

    /// Like [`Rext4::start`], for what must not fail for want of memory: data that was accepted,
    /// and what nobody can be told of.
    pub(crate) fn start_nofail(&self, credits: u32) -> Result<Handle<'_>> {
        gfp::retry(|| self.start_handle(credits, credits::TREE_REVOKES))
    }

    /// Like [`Rext4::start_nofail`], for handles that free as many metadata blocks as they change.
    pub(crate) fn start_with_revoke(&self, credits: u32) -> Result<Handle<'_>> {
        gfp::retry(|| self.start_handle(credits, credits))
    }

    fn start_handle(&self, credits: u32, revokes: u32) -> Result<Handle<'_>> {
        let refusal = || self.access.refusal();
        let journal = self.journal.get().ok_or_else(refusal)?;
        if journal.is_aborted() {
            self.journal_died();
            return Err(refusal());
        }
        lab::before_handle(journal);
        let _admitted = self.access.admit(journal)?;
        let started = journal.start_with_revoke(credits, revokes);
        // A shutdown may come at any time.
        started.map_err(|e| if e == EROFS { refusal() } else { e })
    }

    /// The journal was found aborted. Whoever did that has dealt with it, except jbd2 itself: then
    /// all writing ends here, and [`error::later`] does what the policy says.
    pub(crate) fn journal_died(&self) {
        if self.access.end() {
            self.journal_dead.store(true, ordering::Relaxed);
            self.later.schedule();
        }
    }

    /// The journal, unless the mount never writes.
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    /// The `errors=` policy in force.
    pub(crate) fn error_policy(&self) -> crate::disk::superblock::ErrorPolicy {
        self.options.lock().errors.unwrap_or(self.geo.errors)
    }

    /// Whether the device's cache is flushed at commits and fsync.
    pub(crate) fn uses_barriers(&self) -> bool {
        self.in_force.barrier()
    }

    /// Whether the device is told of blocks that were freed: `discard`.
    pub(crate) fn discards(&self) -> bool {
        self.in_force.discard()
    }

    /// Has what was freed and has committed discarded soon, or forgotten where that is not wanted
    /// any more.
    fn discard_later(&self) {
        self.discarder.schedule();
    }

    /// Whether what replaces something is written without being asked: `auto_da_alloc`.
    pub(crate) fn writes_replacements(&self) -> bool {
        self.in_force.auto_da_alloc()
    }

    /// Whether corruption was found since mount.
    pub(crate) fn has_errors(&self) -> bool {
        self.errored.load(ordering::Relaxed) != 0
    }
}
