// SPDX-License-Identifier: GPL-2.0

//! A thread at a point, whoever may want it to wait there.

use super::Point;
use crate::vfs::atomic::Atomic;
use crate::{fs::Inode, trace};
use core::ops::Range;
use kernel::{error::Error, sync::atomic::ordering::Relaxed};

/// How long a thread parks at most: a forgotten scenario must not hang the machine.
pub(super) const LIMIT_MS: u32 = 120_000;

/// How many points are armed or parked at, and how many threads are stepped, for the way past them.
static BUSY: Atomic<i32> = Atomic::new(0);

/// Counts so many more, or less.
pub(super) fn busy(more: i32) {
    BUSY.fetch_add(more, Relaxed);
}

/// Whether anybody waits for a thread at a point.
pub(super) fn is_busy() -> bool {
    BUSY.load(Relaxed) != 0
}

/// The current thread at a point.
pub(super) struct Reached<'a> {
    pub(super) point: Point,
    pub(super) inode: &'a Inode,
    /// At least one byte of the file.
    pub(super) bytes: Range<u64>,
    /// What the code may meet there.
    pub(super) errors: &'static [Error],
}

impl<'a> Reached<'a> {
    pub(super) fn new(
        point: Point,
        inode: &'a Inode,
        bytes: Range<u64>,
        errors: &'static [Error],
    ) -> Self {
        let end = bytes.end.max(bytes.start.saturating_add(1));
        Self {
            point,
            inode,
            bytes: bytes.start..end,
            errors,
        }
    }
}

/// Tells the trace.
pub(super) fn told(here: &Reached<'_>, what: trace::PointAction) {
    trace::point(here.inode, here.point.name(), &here.bytes, what);
}
