// SPDX-License-Identifier: GPL-2.0

//! The data path. Read this folder to see where each race is closed.
//!
//! ```text
//!   map.rs        an iomap and its validity cookie: rule 3
//!   buffered.rs   reads and writes through the page cache
//!   delalloc.rs   what they reserve: rule 4
//!   allocate.rs   blocks for data, whoever asks: rules 2, 4, 10
//!   writeback.rs  dirty folios to blocks, completion: rules 2, 10
//!   mmap.rs       write faults: rule 6
//!   direct.rs     direct I/O and its locks: rules 7, 8
//!   direct_map.rs its mappings and completion: rule 7
//!   gate.rs       nobody fills the page cache below a direct write: rule 9
//!   steps.rs      blocks go in four steps, the first two: rule 5
//!   remove.rs     the last two: rule 5
//!   eof.rs        zeros behind the end: rule 11
//!   truncate.rs   file size, both ways
//!   fallocate.rs  allocate, punch, zero
//!   seek.rs       SEEK_HOLE and SEEK_DATA: rule 3, without a folio
//!   fsync.rs      what must be durable, and what is written unasked
//! ```
//!
//! The rules are in Documentation/data-path.md. Three orders hold everywhere:
//!
//! - Locks: i_rwsem > invalidate_lock > folio lock > PG_writeback > handle > extent lock.
//! - Blocks go away only after the page cache above them is gone and direct I/O has drained.
//! - Data reaches the disk before the metadata that makes it visible.
//!
//! Who calls what, and what is allowed there ("handle": it may start one, and wait for the
//! journal). Where it may not sleep it takes no lock and looks at atomic fields only.
//!
//! | callback                      | when                       | holds on entry             | sleeps | handle |
//! |-------------------------------|----------------------------|----------------------------|--------|--------|
//! | `map::ReadOps::begin`         | a folio is read, readahead | folios, invalidate_lock shared | yes | no |
//! |                               | FIEMAP, seek; bmap         | i_rwsem shared; nothing    | yes    | no     |
//! | `map::SwapOps::begin`         | swapon                     | i_rwsem                    | yes    | no     |
//! | `gate::may_fill`              | a folio was added          | its lock                   | no     | no     |
//! | `gate::wait`                  | it may not be filled       | no folio; else as the filler | yes  | no     |
//! | `delalloc::WriteOps::begin`   | write(2), zeroing          | i_rwsem; zeroing: invalidate_lock | yes | no |
//! |                               | write fault                | mmap_lock or the VMA's, invalidate_lock shared, the folio | yes | no |
//! | `delalloc::WriteOps::valid`   | before a folio is changed  | the folio                  | no     | no     |
//! | `delalloc::WriteOps::end`     | a mapping is used up       | as `begin`                 | yes    | no     |
//! | `writeback::map_blocks`       | flusher, fsync             | the folio, PG_writeback    | yes    | yes    |
//! | `writeback::discard`          | its error; a memory error  | the folio                  | yes    | no     |
//! | `writeback::needs_completion` | before a bio is sent       | PG_writeback               | no     | no     |
//! | `end_bio` in `vfs/writeback.rs` | the bio is done          | interrupt                  | no     | no     |
//! | `writeback::complete`         | a worker, soon after       | PG_writeback; reclaim stays out | yes | yes  |
//! | `writeback::failed`           | the same, after an error   | PG_writeback; reclaim stays out | yes | no   |
//! | `direct_map::ReadOps::begin`  | direct read                | i_rwsem shared             | yes    | no     |
//! | `direct_map::WriteOps::begin` | direct write               | i_rwsem; with `dio_gate` the gate | yes | yes |
//! | `direct_map::WriteOps::is_done` | a direct write ends      | anything; interrupt        | no     | no     |
//! | `direct_map::WriteOps::end_io` | it has more to do         | nothing, in a worker; or what the waiting writer holds | yes | yes |
//! | drop of `gate::Closed`        | the request is completed   | anything; interrupt        | no     | no     |
//!
//! With `IOMAP_NOWAIT` a `begin` does not sleep for a lock or for the disk, but says `EAGAIN`.

use super::{access::Access, Inode};
use kernel::{error::code::*, prelude::*};

mod allocate;
pub(crate) mod buffered;
mod delalloc;
pub(crate) mod direct;
mod direct_map;
mod eof;
pub(crate) mod fallocate;
pub(crate) mod fsync;
pub(crate) mod gate;
pub(crate) mod map;
pub(crate) mod mmap;
pub(crate) mod pinned;
pub(crate) mod remove;
pub(crate) mod seek;
pub(crate) mod steps;
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
