// SPDX-License-Identifier: GPL-2.0

//! What is said of a mount that is refused.

use crate::vfs::fs_context::MountLog;
use kernel::{error::code::*, fmt, prelude::*};

/// Refuses a mount or remount, and says why: in the kernel log, and to who asked for it.
pub(super) fn refuse(id: &CStr, log: &MountLog<'_>, why: fmt::Arguments<'_>, err: Error) -> Error {
    pr_err!("{}: cannot mount: {}\n", id, why);
    log.error(why);
    err
}

/// A sentence for who asked for a mount that has failed with no other.
pub(super) fn unsaid(log: &MountLog<'_>, err: Error) {
    if log.has_error() {
        return;
    }
    match err {
        e if e == EUCLEAN => log.error(fmt!(
            "the file system is damaged: the kernel log says where; run e2fsck"
        )),
        e if e == EIO => log.error(fmt!("the device cannot be read or written")),
        e if e == ENOMEM => log.error(fmt!("no memory")),
        e => log.error(fmt!("error {}", e.to_errno())),
    }
}
