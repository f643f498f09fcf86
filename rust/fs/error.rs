// SPDX-License-Identifier: GPL-2.0

//! Rule 12: what happens when the disk is not what it should be.
//!
//! Every structure is checked before it is believed. When a check fails, one line in the log says
//! which structure of which inode or block, watchers are told, the `errors=` policy is applied,
//! and the operation fails with `EUCLEAN`. Nothing is written over what was not understood.

use super::{access::Access, marks, Inode, Sb};
use crate::{
    disk::{
        features::FeatureName,
        superblock::{ErrorPolicy, SbError},
        Corrupt,
        Ino,
        Lblk,
        Pblk, //
    },
    vfs::blkdev::system_going_down,
};
use core::panic::Location;
use kernel::{
    error::code::*,
    fmt,
    prelude::*,
    sync::atomic::ordering, //
};

/// `EFSCORRUPTED`, as the kernel's file systems define it.
pub(crate) const EFSCORRUPTED: Error = EUCLEAN;

/// Lines logged in full; after them only every 1024th, so that a broken disk does not flood the
/// log.
const LOUD: u32 = 64;

impl Inode {
    /// Reports that this inode, or a structure of its own, is not what it should be; `what` is
    /// wrong with which. Returns the error to fail with. Any context that may sleep.
    #[cold]
    #[track_caller]
    pub(crate) fn corrupted(&self, what: fmt::Arguments<'_>) -> Error {
        corrupted(self.sb(), Some(self), what)
    }
}

impl Sb {
    /// As [`Inode::corrupted`], of what belongs to no inode, or to one that cannot be had.
    #[cold]
    #[track_caller]
    pub(crate) fn corrupted(&self, what: fmt::Arguments<'_>) -> Error {
        corrupted(self, None, what)
    }
}

/// Reports corruption and returns the error to fail with.
#[cold]
#[track_caller]
fn corrupted(sb: &Sb, inode: Option<&Inode>, what: fmt::Arguments<'_>) -> Error {
    let fs = sb.data();
    let count = fs.errored.fetch_add(1, ordering::Relaxed);
    if count < LOUD || count % 1024 == 0 {
        let id = sb.id();
        match inode {
            Some(inode) => pr_err!("{}: inode {}: {}\n", id, inode.ino(), what),
            None => pr_err!("{}: {}\n", id, what),
        }
    }
    // After a shutdown memory need not agree with itself: what changes were on their way is not
    // written, nor is a mark.
    if !fs.access.is_shut_down() {
        fs.marks.note(inode, EFSCORRUPTED, Location::caller());
    }
    sb.report_metadata(inode, EFSCORRUPTED);
    apply_policy(sb, EFSCORRUPTED);
    // After the policy, which may have ended what it would do with a journal.
    fs.later.schedule();
    EFSCORRUPTED
}

/// What the format's own code says as plain Rust does, for the kernel's messages.
macro_rules! displays {
    ($($name:ty),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }
    )* };
}

displays!(Corrupt, FeatureName, Ino, Lblk, Pblk, SbError);

/// Does what `errors=` says. Read-only there is nothing to protect, and a mount that is just being
/// made is refused.
fn apply_policy(sb: &Sb, err: Error) {
    let fs = sb.data();
    if !matches!(fs.access.get(), Access::Writing | Access::Frozen) {
        return;
    }
    match fs.error_policy() {
        ErrorPolicy::Continue => (),
        policy => end(sb, policy, err),
    }
}

/// Ends all writing, or the machine.
fn end(sb: &Sb, policy: ErrorPolicy, err: Error) {
    let fs = sb.data();
    // The journal first: what is half done in running handles must not be committed.
    if let Some(journal) = fs.journal() {
        journal.abort(err);
    }
    if fs.access.end() {
        ended(sb, policy);
    }
}

/// All writing has ended just now.
fn ended(sb: &Sb, policy: ErrorPolicy) {
    // Before a panic: after it nobody would know, and meet the same again.
    marks::past_journal(sb);
    // While the system goes down an error may only mean that the device is off.
    if policy == ErrorPolicy::Panic && !system_going_down() {
        sb.panic(c"errors were found and errors=panic");
    }
    pr_err!("{}: nothing is written any more, after errors\n", sb.id());
}

/// What cannot be done where an error is met. No lock and no handle is held.
pub(super) fn later(sb: &Sb) {
    let fs = sb.data();
    if fs.journal_dead.xchg(false, ordering::Relaxed) {
        pr_err!("{}: the journal was aborted\n", sb.id());
        journal_error(sb);
        ended(sb, fs.error_policy());
    } else {
        marks::through_journal(sb);
    }
}

/// Notes for the super block that the journal was aborted.
#[track_caller]
pub(super) fn journal_error(sb: &Sb) {
    let fs = sb.data();
    fs.errored.fetch_add(1, ordering::Relaxed);
    fs.marks.note(None, EIO, Location::caller());
}
