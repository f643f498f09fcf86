// SPDX-License-Identifier: GPL-2.0

//! What may be asked of open regular files, and how.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::vfs::bindings;

/// What may be asked of open regular files, beyond what the operations say.
#[derive(Clone, Copy)]
pub(crate) struct FileFlags {
    /// Reads and writes fail with `EAGAIN` rather than sleep if the request says so
    /// (`FMODE_NOWAIT`).
    pub(crate) nowait: bool,
    /// O_DIRECT, by iomap (`FMODE_CAN_ODIRECT`); requests can be polled for.
    pub(crate) direct: bool,
    /// A buffered read may be queued where its page is being read (`FOP_BUFFER_RASYNC`).
    pub(crate) async_read: bool,
    /// A buffered write that must not sleep is tried (`FOP_BUFFER_WASYNC`).
    pub(crate) nowait_write: bool,
    /// Direct writes of one file may run at once (`FOP_DIO_PARALLEL_WRITE`).
    pub(crate) parallel_direct_write: bool,
    /// Buffered I/O that leaves nothing in the page cache (`FOP_DONTCACHE`).
    pub(crate) dont_cache: bool,
}

impl FileFlags {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        nowait: false,
        direct: false,
        async_read: false,
        nowait_write: false,
        parallel_direct_write: false,
        dont_cache: false,
    };

    pub(super) const fn fop(self) -> bindings::fop_flags_t {
        let mut bits = 0;
        if self.async_read {
            bits |= bindings::FOP_BUFFER_RASYNC;
        }
        if self.nowait_write {
            bits |= bindings::FOP_BUFFER_WASYNC;
        }
        if self.parallel_direct_write {
            bits |= bindings::FOP_DIO_PARALLEL_WRITE;
        }
        if self.dont_cache {
            bits |= bindings::FOP_DONTCACHE;
        }
        bits
    }

    pub(super) const fn mode(self) -> bindings::fmode_t {
        let mut bits = 0;
        if self.nowait {
            bits |= bindings::FMODE_NOWAIT;
        }
        if self.direct {
            bits |= bindings::FMODE_CAN_ODIRECT;
        }
        bits
    }
}

/// What `fallocate` is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FallocOp {
    /// Allocate unwritten blocks.
    Allocate,
    /// Deallocate the range.
    PunchHole,
    /// Make the range read as zeros, allocated.
    ZeroRange,
    /// Take the range out of the file; what is behind it moves there. Never with `keep_size`.
    CollapseRange,
    /// Put a hole there; what is there moves behind it. Never with `keep_size`.
    InsertRange,
    /// Make the range zeros that are written, so that a write there needs no metadata. Never with
    /// `keep_size`.
    WriteZeroes,
}

/// The mode of a `fallocate` call.
#[derive(Clone, Copy)]
pub(crate) struct FallocMode {
    pub(crate) op: FallocOp,
    pub(crate) keep_size: bool,
}
