// SPDX-License-Identifier: GPL-2.0

//! Rules 1, 5 and 13: the first two steps of rule 5. Nobody writes, nobody faults, no direct I/O is
//! in flight. The locks that say so are taken in their order (1).
//!
//! Taking blocks away has four steps, always in this order:
//!
//! 1. i_rwsem and invalidate_lock, both exclusive ([`Shut`]): no write, no fault, no new page.
//! 2. Direct I/O in flight drains ([`Alone`]): it holds neither lock.
//! 3. The page cache is dropped ([`super::remove::CacheGone`]), and before it goes whatever hangs
//!    on its dirty pages is on disk. A truncate keeps nothing behind the new end, so there it is
//!    only the size.
//! 4. Only now the extents go, in as many transactions as it takes.
//!
//! Were 4 before 3, writeback would write into blocks that are somebody else's by then; were 1
//! dropped between 3 and 4, a fault would bring a page of a freed block back.
//!
//! Each step is a value that the one before gives, and what belongs to a step is a method of it. So
//! the order is the compiler's, as is that both locks are those of one inode: the second is taken
//! through the guard of the first.

use crate::{
    fs::{
        lab::{self, Point},
        rule::{self, Rule},
        Inode,
        Rext4, //
    },
    vfs::{
        inode::{InodeLock, InodeLocks},
        pagemap::{InvalidateLock, TruncateLocks},
    },
};
use core::ops::Range;
use kernel::prelude::*;

/// Rule 13: step 2, and of a range of bytes no page is mapped, and if the page is the block nobody
/// has one pinned. Its last two steps are in `remove.rs`.
#[must_use]
pub(crate) struct Unpinned<'l> {
    pub(super) alone: Alone<'l>,
    pub(super) range: Range<u64>,
}

/// Rule 5, step 1: i_rwsem and invalidate_lock of an inode are held exclusive.
#[must_use]
pub(crate) struct Shut<'l>(TruncateLocks<'l, Rext4>);

impl<'l> Shut<'l> {
    /// Takes invalidate_lock of the inode that `lock` is of. Rule 1: i_rwsem comes first.
    pub(crate) fn new(lock: &'l InodeLock<'_, Rext4>) -> Self {
        let locks = TruncateLocks::new(lock);
        lab::point(Point::Shut, lock.inode(), 0..u64::MAX);
        Self(locks)
    }

    /// The same of two inodes.
    fn of_two(locks: &'l InodeLocks<'_, Rext4>) -> [Self; 2] {
        let two = TruncateLocks::of_two(locks).map(Self);
        for Self(locks) in &two {
            lab::point(Point::Shut, locks.lock().inode(), 0..u64::MAX);
        }
        two
    }

    /// Rule 5, step 2: waits for direct I/O in flight. None starts. `EINTR` if killed.
    pub(crate) fn drain(self) -> Result<Alone<'l>> {
        if rule::kept(Rule::DioWait) {
            self.0.lock().dio_wait()?;
        }
        lab::point(Point::Drained, self.0.lock().inode(), 0..u64::MAX);
        Ok(Alone(self))
    }
}

/// Step 2: nobody else reads, writes or maps the file, whatever way.
#[must_use]
pub(crate) struct Alone<'l>(Shut<'l>);

impl<'l> Alone<'l> {
    /// Steps 1 and 2. `EINTR` if killed while direct I/O is in flight.
    pub(crate) fn new(lock: &'l InodeLock<'_, Rext4>) -> Result<Self> {
        Shut::new(lock).drain()
    }

    /// Steps 1 and 2 of two inodes: direct I/O drains when all four locks are held.
    pub(super) fn of_two(locks: &'l InodeLocks<'_, Rext4>) -> Result<[Self; 2]> {
        let [one, other] = Shut::of_two(locks);
        Ok([one.drain()?, other.drain()?])
    }

    /// The inode that is locked.
    pub(crate) fn inode(&self) -> &'l Inode {
        self.lock().inode()
    }

    /// i_rwsem.
    pub(super) fn lock(&self) -> &'l InodeLock<'l, Rext4> {
        self.locks().lock()
    }

    /// invalidate_lock.
    pub(super) fn pages(&self) -> &InvalidateLock<'l, Rext4> {
        self.locks().pages()
    }

    /// Both.
    pub(super) fn locks(&self) -> &TruncateLocks<'l, Rext4> {
        let Self(Shut(locks)) = self;
        locks
    }

    /// Rule 13: waits until nobody has a page of the range who would go on to store into it when
    /// its block is another file's: of a file that is accessed directly the page is the block. No
    /// mapping shows one any more. `ERESTARTSYS` for a signal: nothing has changed.
    ///
    /// invalidate_lock is let go of while it waits, and taken again; i_rwsem is not, so no direct
    /// I/O begins. What was learned before under the first counts for nothing.
    pub(crate) fn unpin(self, range: Range<u64>) -> Result<Unpinned<'l>> {
        let Self(Shut(locks)) = self;
        let inode = locks.lock().inode();
        let locks = if rule::kept(Rule::BreakLayout) {
            locks.wait_unpinned(&range, || {
                lab::point(Point::PinWait, inode, range.clone());
            })?
        } else {
            locks
        };
        let alone = Self(Shut(locks));
        Ok(Unpinned { alone, range })
    }

    /// A place for the lab to wait: invalidate_lock is held, if the rules are kept.
    pub(super) fn pause(self, point: Point, range: Range<u64>) -> Self {
        let Self(Shut(locks)) = self;
        Self(Shut(lab::pause(point, range, locks)))
    }
}
