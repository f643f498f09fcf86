// SPDX-License-Identifier: GPL-2.0

//! Rule 7: a direct write does not drop a page that somebody else's I/O has pinned.
//!
//! iomap drops the pages of the range, and of a large folio all of it or nothing. What it does not
//! look at are pins:
//!
//! ```text
//!   direct read of another file into            direct write of 0..4096
//!   a mapping of this one, bytes 32768..
//!   pins a page, of a folio of 64 KiB
//!                                               writes the folio back: it is clean
//!                                               drops it, all of it
//!   the device stores into a page that
//!   is in no file: the read is lost
//! ```
//!
//! So such a folio does not let go ([`may_release`]), and the write goes through the page cache, as
//! with every folio that stays. A page with two sectors that are read and written so is the same
//! in small.
//!
//! Only before the write, though ([`begin`], [`end`]). Behind it, when iomap drops the range again,
//! a folio that is clean and pinned has old data for ever if it stays, and its pin may be why it is
//! there at all: the source of a write elsewhere (race 7). Who has pinned it to store into it has
//! made it dirty, so it stays anyway.

use crate::{
    fs::{
        rule::{self, Rule},
        Inode, //
    },
    vfs::folio::Folio,
};
use kernel::sync::atomic::ordering;

/// A direct write begins to drop the page cache of its range.
pub(super) fn begin(inode: &Inode) {
    inode.node().dropping.fetch_add(1, ordering::Relaxed);
}

/// It is through, or has given up.
pub(super) fn end(inode: &Inode) {
    inode.node().dropping.fetch_sub(1, ordering::Relaxed);
}

/// Whether a folio may go. It is locked and in no mapping of user memory any more: whoever wants
/// to pin it to store into it must first make its page writable, and waits for the lock.
pub(crate) fn may_release(inode: &Inode, folio: &Folio<'_>) -> bool {
    let dropping = inode.node().dropping.load(ordering::Relaxed) != 0;
    !(dropping && folio.is_pinned() && rule::kept(Rule::KeepPinned))
}
