// SPDX-License-Identifier: GPL-2.0

//! The data path. Read this folder to see where each race is closed.
//!
//! ```text
//!   map.rs        an iomap and its validity cookie: rule 3
//!   buffered.rs   reads and writes through the page cache, delalloc: rule 4
//!   writeback.rs  dirty folios to blocks, completion: rules 2, 10
//!   mmap.rs       write faults: rule 6
//!   direct.rs     direct I/O: rules 7, 8
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

pub(crate) mod buffered;
pub(crate) mod direct;
pub(crate) mod fallocate;
pub(crate) mod fsync;
pub(crate) mod map;
pub(crate) mod mmap;
pub(crate) mod truncate;
pub(crate) mod writeback;
