// SPDX-License-Identifier: GPL-2.0

//! Shutdown: the disk stays as it is from now on, and all that needs it fails.
//!
//! Asked for by `FS_IOC_SHUTDOWN`, or by a device that is gone. It is no error: nothing is marked,
//! the log is the truth, and the next mount replays it. Until the unmount, what is in memory can be
//! looked at as far as it takes no I/O of ours: names, attributes, pages that are mapped.
//!
//! ```text
//!             before                       the disk afterwards
//!   Sync      a freeze                     clean, all is in it
//!   Commit    a commit                     a log to replay; what was dirty of files is lost
//!   Now                                    a log to replay, as it was
//! ```
//!
//! Data of files is not for the journal, so `Commit` writes none, as in ext4 without ordered mode.

use crate::{
    fs::{Rext4, Sb},
    vfs::{ioctl::Shutdown, super_block::Remount},
};
use kernel::{error::code::*, prelude::*};

/// Ends all use of the disk. Once is enough. For [`Shutdown::Sync`] the caller holds nothing that
/// holds off a freeze, nor s_umount.
pub(in crate::fs) fn shut_down(sb: &Sb, how: Shutdown) -> Result {
    let fs = sb.data();
    if fs.access.is_shut_down() {
        return Ok(());
    }
    let journal = fs.journal();
    let first = match how {
        Shutdown::Sync => {
            // The thaw finds that writing has ended, and leaves the disk clean.
            let _frozen = sb.device().freeze()?;
            fs.access.shut_down()
        }
        Shutdown::Commit => {
            // A journal that cannot commit has died of it, and is not aborted once more below.
            if let Some(journal) = journal {
                let _ = journal.force_commit();
            }
            fs.access.shut_down()
        }
        Shutdown::Now => fs.access.shut_down(),
    };
    if how != Shutdown::Sync {
        // Of one that has died before, jbd2 would forget why.
        if let Some(journal) = journal.filter(|journal| !journal.is_aborted()) {
            journal.abort(ESHUTDOWN);
        }
    }
    if first {
        pr_alert!(
            "{}: shut down: nothing is read or written any more\n",
            sb.id()
        );
        sb.report_metadata(None, ESHUTDOWN);
    }
    Ok(())
}

/// Remount after it: never from or to read-only, for that would write. The VFS does not take no for
/// an answer where it forces that.
pub(super) fn check_reconfigure(remount: &Remount<'_, Rext4>) -> Result {
    let sb = remount.sb();
    if remount.is_forced() || remount.read_only() == sb.is_read_only() {
        return Ok(());
    }
    let why = fmt!("shut down: unmount it and mount it again");
    Err(super::refuse(sb.id(), remount.log(), why, EROFS))
}
