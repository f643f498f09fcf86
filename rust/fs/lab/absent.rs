// SPDX-License-Identifier: GPL-2.0

//! What is left of the lab in a build without it: nothing, but the calls compile.

use super::{Point, Rule};
use crate::{
    fs::{Inode, Rext4},
    vfs::{jbd2::Journal, nofs::NoFsMutexGuard, pagemap::TruncateLocks, File},
};
use kernel::{error::Error, prelude::*};

/// See `point.rs`.
#[inline(always)]
pub(crate) fn point(_: Point, _: &Inode, _bytes: core::ops::Range<u64>) {}

/// See `point.rs`.
#[inline(always)]
pub(crate) fn may_fail(
    _: Point,
    _: &Inode,
    _bytes: core::ops::Range<u64>,
    _: &'static [Error],
) -> Result {
    Ok(())
}

/// See `commit.rs`.
#[inline(always)]
pub(crate) fn before_handle(_: &Journal) {}

/// See `protect.rs`.
#[inline(always)]
pub(crate) const fn off(_: Rule) -> bool {
    false
}

/// See `protect.rs`.
#[inline(always)]
pub(crate) fn pause<'l>(
    _: Point,
    _range: core::ops::Range<u64>,
    locks: TruncateLocks<'l, Rext4>,
) -> TruncateLocks<'l, Rext4> {
    locks
}

/// See `protect.rs`.
#[inline(always)]
pub(crate) fn too_early(_: Rule, _: &Inode, _pos: u64, _step: impl FnOnce() -> Result) -> Result {
    Ok(())
}

/// See `protect.rs`.
#[inline(always)]
pub(crate) fn pause_reservation<T>(
    _: &Inode,
    _range: core::ops::Range<u64>,
    _: &mut NoFsMutexGuard<'_, T>,
) {
}

/// See `protect.rs`.
#[inline(always)]
pub(crate) fn detach_cache(_: &File<Rext4>) {}

/// See `protect.rs`.
#[inline(always)]
pub(crate) fn attach_cache(_: &File<Rext4>) {}

/// See `protect.rs`.
#[inline(always)]
pub(crate) fn may_release(_: &Inode, _range: core::ops::Range<u64>) -> bool {
    true
}
