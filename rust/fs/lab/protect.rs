// SPDX-License-Identifier: GPL-2.0

//! Protections, and what happens where one is switched off.

use super::{point::point, Point, Rule};
use crate::{
    fs::{Inode, Rext4},
    vfs::{
        atomic::Atomic,
        nofs::{self, NoFsMutexGuard},
        pagemap::TruncateLocks,
        test_hooks::EmptyMapping,
        File, Kiocb,
    },
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::{atomic::ordering::Relaxed, Arc, SetOnce},
};

/// How many open control files have switched each protection off.
static OFF: [Atomic<u32>; Rule::ALL.len()] = [const { Atomic::new(0) }; Rule::ALL.len()];

/// What a file is shown whose page cache shall not be found, from load to unload.
static NOTHING: SetOnce<Arc<EmptyMapping>> = SetOnce::new();

/// Before a protection is switched off.
pub(super) fn init_protections() -> Result {
    let nothing = Arc::pin_init(EmptyMapping::new(), GFP_KERNEL)?;
    nothing.link();
    NOTHING.populate(nothing);
    Ok(())
}

/// Counts one more, or one less, who wants `rule` off.
pub(super) fn set_off(rule: Rule, off: bool) {
    if off {
        pr_warn!(
            "lab: PROTECTION OFF: {} (data will be lost on purpose)\n",
            rule.name()
        );
        OFF[rule as usize].fetch_add(1, Relaxed);
    } else {
        OFF[rule as usize].fetch_sub(1, Relaxed);
    }
}

/// Whether a protection is switched off.
pub(crate) fn off(rule: Rule) -> bool {
    OFF[rule as usize].load(Relaxed) != 0
}

/// A delay point under invalidate_lock. Without [`Rule::PunchLock`] the lock is let go of
/// meanwhile, as if the page cache and the blocks were dropped under a lock each.
pub(crate) fn pause<'l>(
    at: Point,
    range: Range<u64>,
    locks: TruncateLocks<'l, Rext4>,
) -> TruncateLocks<'l, Rext4> {
    let lock = locks.lock();
    if !off(Rule::PunchLock) {
        point(at, lock.inode(), range);
        return locks;
    }
    drop(locks);
    point(at, lock.inode(), range);
    TruncateLocks::new(lock)
}

/// A step whose place is after the next ones, from byte `pos` on. Without `rule` it is taken here,
/// too.
pub(crate) fn too_early(
    rule: Rule,
    inode: &Inode,
    pos: u64,
    step: impl FnOnce() -> Result,
) -> Result {
    if off(rule) {
        step()?;
        point(Point::PunchInvalidated, inode, pos..u64::MAX);
    }
    Ok(())
}

/// A hole was found under the extent lock, and is about to be reserved. Without [`Rule::OneLookup`]
/// the lock is let go of in between, and what was found is believed all the same.
pub(crate) fn pause_reservation<T>(
    inode: &Inode,
    range: Range<u64>,
    extents: &mut NoFsMutexGuard<'_, T>,
) {
    if off(Rule::OneLookup) {
        nofs::unlocked(extents, || point(Point::ReserveLookedUp, inode, range));
    }
}

/// Before direct I/O. iomap writes back and invalidates through the file's `f_mapping`; where that
/// shall not happen the file gets another one, in which there is nothing.
pub(crate) fn detach_cache(file: &File<Rext4>) {
    show_cache(file, !off(Rule::DioFlush));
}

/// After direct I/O: the file has its page cache back.
pub(crate) fn attach_cache(file: &File<Rext4>) {
    show_cache(file, true);
}

/// As [`detach_cache`], between the transfer of a direct write and the invalidation after it.
pub(crate) fn detach_cache_again(iocb: &Kiocb<'_, Rext4>) {
    let (inode, pos) = (iocb.inode(), iocb.pos());
    point(Point::DioEnd, inode, pos..pos + 1);
    show_cache(iocb.file(), !off(Rule::DioInvalidate));
}

fn show_cache(file: &File<Rext4>, show: bool) {
    if let Some(nothing) = NOTHING.as_ref() {
        file.show_cache(nothing, show);
    }
}

/// Whether the folio of this range may let go of its state.
pub(crate) fn may_release(inode: &Inode, range: Range<u64>) -> bool {
    point(Point::FolioRelease, inode, range);
    !off(Rule::Release)
}
