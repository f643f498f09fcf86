// SPDX-License-Identifier: GPL-2.0

//! The data path. Read this folder to see where each race is closed.
//!
//! ```text
//!   map.rs        an iomap and its validity cookie: rule 3
//!   buffered.rs   reads and writes through the page cache, delalloc: rule 4
//!   writeback.rs  dirty folios to blocks, completion: rules 2, 10
//!   mmap.rs       write faults: rule 6
//!   direct.rs     direct I/O and its locks: rules 7, 8
//!   direct_map.rs its mappings and completion: rule 7
//!   gate.rs       nobody fills the page cache below a direct write: rule 9
//!   truncate.rs   file size, both ways: rules 5, 11
//!   fallocate.rs  allocate, punch, zero: rule 5
//!   fsync.rs      what must be durable
//! ```
//!
//! The rules are in Documentation/data-path.md. Three orders hold everywhere:
//!
//! - Locks: i_rwsem > invalidate_lock > folio lock > PG_writeback > handle > extent lock.
//! - Blocks go away only after the page cache above them is gone and direct I/O has drained.
//! - Data reaches the disk before the metadata that makes it visible.

use super::{access::Access, Inode};
use kernel::{error::code::*, prelude::*};

pub(crate) mod buffered;
pub(crate) mod direct;
mod direct_map;
pub(crate) mod fallocate;
pub(crate) mod fsync;
pub(crate) mod gate;
pub(crate) mod map;
pub(crate) mod mmap;
pub(crate) mod truncate;
pub(crate) mod writeback;

/// `EROFS` if nothing may be written any more although files are open for it: after an error
/// (`errors=remount-ro`), an emergency remount, or when the journal has died. What would go to the
/// page cache now could never be written.
fn check_writable(inode: &Inode) -> Result {
    let fs = inode.fs();
    let alive = fs.journal().is_some_and(|j| !j.is_aborted());
    match fs.access.get() {
        Access::Writing | Access::Frozen if alive => Ok(()),
        _ => Err(EROFS),
    }
}
