// SPDX-License-Identifier: GPL-2.0

//! The race lab: places where a thread can be made to wait, and protections that can be switched
//! off, so that a race happens on demand and a rule of the data path shows what it is good for.
//!
//! Only a `make LAB=1` build has it. In every other build the functions here are empty and the
//! compiler drops the calls: no symbol, no branch and no string is left.
//!
//! The control file and its commands are in `control.rs`, what stands in the code in `point.rs`,
//! the parking in `park.rs`, the stepping from point to point in `step.rs`, commits in `commit.rs`.
//! The scenarios are in `tests/lab`.

#[cfg(REXT4_LAB)]
use kernel::str::CStr;

#[cfg(REXT4_LAB)]
mod commit;
#[cfg(REXT4_LAB)]
mod control;
#[cfg(REXT4_LAB)]
mod park;
#[cfg(REXT4_LAB)]
mod point;
#[cfg(REXT4_LAB)]
mod protect;
#[cfg(REXT4_LAB)]
mod reached;
#[cfg(REXT4_LAB)]
mod step;

#[cfg(REXT4_LAB)]
pub(crate) use {
    commit::before_handle,
    control::Lab,
    point::{hold_bio, may_fail, point},
    protect::{
        attach_cache, detach_cache, detach_cache_again, may_release, off, pause, pause_reservation,
        too_early,
    },
};

#[cfg(not(REXT4_LAB))]
mod absent;
#[cfg(not(REXT4_LAB))]
pub(crate) use absent::*;

/// A type of which each value has a name and a description.
macro_rules! named {
    ($(#[$doc:meta])* $ty:ident {
        $($(#[doc = $text:literal])+ $variant:ident = $name:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(not(REXT4_LAB), allow(dead_code, reason = "nobody asks where they are"))]
        pub(crate) enum $ty {
            $($(#[doc = $text])+ $variant,)+
        }

        #[cfg(REXT4_LAB)]
        impl $ty {
            /// Every value, its name and what it means.
            const ALL: &'static [(Self, &'static CStr, &'static [&'static str])] = &[
                $((Self::$variant, $name, &[$($text),+]),)+
            ];

            fn parse(name: &str) -> Option<Self> {
                let all = Self::ALL.iter();
                let mut named = all.filter(|(_, n, _)| n.to_bytes() == name.as_bytes());
                named.next().map(|(v, _, _)| *v)
            }

            fn name(self) -> &'static CStr {
                Self::ALL[self as usize].1
            }
        }
    };
}

named! {
    /// Where a thread can be made to wait. Each is one moment; the operations that have it share
    /// it.
    Point {
        /// A buffered write has i_rwsem, and its limits are checked. Nothing is zeroed or reserved.
        WriteLocked = c"write-locked",
        /// A buffered write, a write fault or zeroing is about to look up its blocks, and to
        /// reserve.
        WriteMap = c"write-map",
        /// A buffered write has its mapping and has not locked the folio yet.
        WriteGetFolio = c"write-get-folio",
        /// A buffered write has locked its folio, and not asked whether its mapping is still true.
        WriteCheck = c"write-check",
        /// The same; it has asked, and believes the answer.
        WriteChecked = c"write-checked",
        /// The bytes of a mapping are in the page cache; what was reserved and not used is still
        /// there.
        WriteEnd = c"write-end",
        /// A buffered write has let go of i_rwsem. If it is to be durable, that comes now.
        WriteUnlocked = c"write-unlocked",
        /// A read through the page cache begins.
        Read = c"read",
        /// A read, or a report, is about to look up blocks that are not known without the lock.
        ReadMap = c"read-map",
        /// A read, or a report, has its mapping, and has read nothing.
        ReadMapped = c"read-mapped",
        /// A write fault begins; mmap_lock is held, and nothing of ours.
        Fault = c"fault",
        /// A write fault has invalidate_lock, shared, and has not locked its folio.
        FaultLocked = c"fault-locked",
        /// A write fault is answered; mmap_lock is held, and the folio's lock if that went well.
        FaultDone = c"fault-done",
        /// Writeback has a locked folio, and wants a mapping for dirty bytes of it.
        WritebackMap = c"writeback-map",
        /// Writeback has found that its old mapping is still true, and has not used it.
        WritebackUsable = c"writeback-usable",
        /// Writeback has no mapping, or found it out of date, and is about to look blocks up.
        WritebackLookup = c"writeback-lookup",
        /// Writeback has found blocks that are there, and has not used them.
        WritebackMapped = c"writeback-mapped",
        /// Writeback has put a range of a folio in its bio and keeps the mapping for the next.
        WritebackAdded = c"writeback-added",
        /// A write, or what comes after it, has failed. What it was promised is not taken back yet.
        WritebackFailed = c"writeback-failed",
        /// Blocks for data are about to be allocated, or an extent is about to be split, which may
        /// take one; no handle is started yet.
        Allocate = c"allocate",
        /// Writeback has found no block for its data; nobody has looked yet what may be waited for.
        NoSpace = c"no-space",
        /// Data is on disk. Its blocks are not converted and the size is not moved yet.
        Complete = c"complete",
        /// Blocks are converted, the size on disk is moved. PG_writeback is still set.
        Completed = c"completed",
        /// Who removes blocks, or zeroes the end, has i_rwsem and invalidate_lock.
        Shut = c"shut",
        /// The same, and direct I/O in flight has ended.
        Drained = c"drained",
        /// Who removes blocks of a directly accessed file has found a page of them that somebody
        /// has, let go of invalidate_lock, and is about to wait.
        PinWait = c"pin-wait",
        /// Punch and zero range have zeroed parts of blocks; the range is not written out.
        EdgesZeroed = c"edges-zeroed",
        /// Punch and zero range have written the range out, collapse and insert range all behind
        /// it, and not dropped it.
        RangeWritten = c"range-written",
        /// Whoever removes or moves blocks has dropped the page cache; the blocks are still where
        /// they were.
        PunchInvalidated = c"punch-invalidated",
        /// A handle that removes blocks is about to be started: the first, one more, or once more
        /// after ENOSPC.
        RemoveSome = c"remove-some",
        /// Punch and zero range have removed the blocks. The size on disk is not looked after yet.
        BlocksRemoved = c"blocks-removed",
        /// A handle that moves blocks within the file is about to be started, the first or one
        /// more.
        ShiftSome = c"shift-some",
        /// Two files exchange an extent: its data is in the donor's blocks, the extents are as they
        /// were.
        MoveCopied = c"move-copied",
        /// The same; the handle is about to be started, or once more after ENOSPC.
        MoveSome = c"move-some",
        /// Two files have exchanged blocks; that is not committed, and all locks are held.
        Moved = c"moved",
        /// A truncate begins, with i_rwsem. It may still fail.
        Truncate = c"truncate",
        /// The size in memory is cut and the page cache dropped; what is before the end is not
        /// written.
        TruncateSized = c"truncate-sized",
        /// The size on disk is cut and the inode an orphan. Its blocks are still there.
        Orphaned = c"orphaned",
        /// The blocks of a truncate are gone, the inode is still an orphan.
        Unorphan = c"unorphan",
        /// A file is about to grow. Bytes behind its end are zeros in memory, and not on disk.
        TailZeroed = c"tail-zeroed",
        /// The zeros behind the end are on disk. The file has not grown.
        TailWritten = c"tail-written",
        /// The size in memory has grown, that on disk has not.
        Grown = c"grown",
        /// fallocate has its blocks, and has not moved the size.
        Allocated = c"allocated",
        /// fallocate has some of its blocks, and goes on.
        AllocateMore = c"allocate-more",
        /// A hole was found, space for it is not reserved yet.
        ReserveLookedUp = c"reserve-looked-up",
        /// A direct read has i_rwsem, shared.
        DioReadLocked = c"dio-read-locked",
        /// A direct read has flushed, and is about to look up blocks.
        DioReadMap = c"dio-read-map",
        /// A direct read has found a reservation, and is about to write the range out.
        DioReadFlush = c"dio-read-flush",
        /// A direct read has its mapping; nothing is submitted.
        DioReadMapped = c"dio-read-mapped",
        /// A direct write has looked at the sizes, without a lock.
        DioEnter = c"dio-enter",
        /// A direct write has i_rwsem, shared, and needs no more.
        DioLocked = c"dio-locked",
        /// A direct write has i_rwsem exclusive; others may be in flight.
        DioAlone = c"dio-alone",
        /// The same, and none is in flight.
        DioDrained = c"dio-drained",
        /// A direct write of parts of blocks has found that it must be alone, and holds nothing.
        DioAgain = c"dio-again",
        /// A direct write has flushed and invalidated, and is about to look up blocks.
        DioMap = c"dio-map",
        /// A direct write has flushed, invalidated and mapped its range; nothing is submitted.
        DioMapped = c"dio-mapped",
        /// An asynchronous direct write's bio is about to be submitted; its submitter goes on.
        DioSubmit = c"dio-submit",
        /// A direct write's I/O has ended. Nothing is converted, no size is moved.
        DioEndIo = c"dio-end-io",
        /// A direct write's blocks are converted, the pages of its range dropped. The size is about
        /// to move.
        DioGrow = c"dio-grow",
        /// A direct write's data is on disk; the page cache is not invalidated again yet.
        DioEnd = c"dio-end",
        /// A page would not go: a direct write is about to go through the page cache.
        DioFallBack = c"dio-fall-back",
        /// The same; it is in the page cache, i_rwsem is let go of, and nothing is written out.
        DioFellBack = c"dio-fell-back",
        /// A direct write holds back for somebody who waits at the gate, or has just done so.
        GateYield = c"gate-yield",
        /// A direct write is about to close the gate.
        GateClose = c"gate-close",
        /// A direct write has closed the gate, and not looked for pages yet.
        GateClosed = c"gate-closed",
        /// Who wanted to fill a page is about to wait at the gate, and has no page any more.
        GateWait = c"gate-wait",
        /// The same; the gate was open for a moment.
        GatePassed = c"gate-passed",
        /// SEEK_HOLE or SEEK_DATA has a mapping and has not looked at the page cache yet.
        SeekMapped = c"seek-mapped",
        /// SEEK_HOLE or SEEK_DATA has searched, and not asked whether that is still true.
        SeekSearched = c"seek-searched",
        /// fsync begins.
        Fsync = c"fsync",
        /// fsync has written the data; it has not looked which transaction to wait for.
        FsyncWritten = c"fsync-written",
        /// It is known which transaction must be on disk; nobody waits for it yet.
        CommitTid = c"commit-tid",
        /// The data of a file that is about to replace another one is written.
        ReplaceWritten = c"replace-written",
        /// A folio is asked to let go of its state, and locked: it will be dropped, or replaced.
        FolioRelease = c"folio-release",
        /// Nobody names or uses an inode any more. All of it is still there.
        Evict = c"evict",
        /// The same; its blocks are gone. It is still an orphan.
        EvictFreed = c"evict-freed",
        /// A name is about to be looked up on disk; i_rwsem of the directory is held.
        NameLookup = c"name-lookup",
        /// A name was found, its inode is not read yet.
        NameFound = c"name-found",
        /// A directory is about to change; no handle is started.
        NameChange = c"name-change",
        /// A new name is in its directory, the handle stopped. The dentry has no inode yet.
        NameWritten = c"name-written",
        /// A directory was changed: names, links and orphans. i_rwsem is still held.
        NameChanged = c"name-changed",
        /// An extended attribute, or a mode with an ACL, is about to change; no handle is started.
        AttributeChange = c"attribute-change",
        /// A directory is about to be listed from some position on.
        Readdir = c"readdir",
    }
}

named! {
    /// What can be switched off.
    Rule {
        /// A buffered write checks under the folio lock that its mapping is still true (rule 3).
        WriteValidity = c"write-validity",
        /// Writeback checks its mapping for every range it writes (rule 3).
        WritebackValidity = c"writeback-validity",
        /// Punch holds invalidate_lock from the page cache to the blocks (rule 5).
        PunchLock = c"punch-lock",
        /// Lookup and reservation are one critical section (rule 4).
        OneLookup = c"one-lookup",
        /// The page cache is written back and invalidated before direct I/O (rule 7).
        DioFlush = c"dio-flush",
        /// The page cache is invalidated again after a direct write (rule 7).
        DioInvalidate = c"dio-invalidate",
        /// Punch, truncate, zeroing of the old end and write(2) wait for direct I/O in flight
        /// (rules 5, 9, 11).
        DioWait = c"dio-wait",
        /// A write fault reserves space before the page is dirtied (rule 6).
        ReserveAtFault = c"reserve-at-fault",
        /// Writeback allocates for dirty blocks that nobody reserved for (rule 10).
        FillUnreserved = c"fill-unreserved",
        /// A direct write whose range cannot be invalidated goes through the page cache (rule 7).
        Fallback = c"fallback",
        /// What is pending is noted before blocks are searched, not after (rule 4).
        PendingBefore = c"pending-before",
        /// What is reserved stays so when its blocks cannot be mapped and are given back (rule 4).
        StayReserved = c"stay-reserved",
        /// Folios let go of their state when asked; off: they refuse, like a folio in use.
        Release = c"release",
        /// Bytes beyond the end of the file are zeroed before they can become part of it (rule 11).
        TailZero = c"tail-zero",
        /// A pinned folio stays where it is when its neighbours in the file go, or are written
        /// directly (rules 5, 7).
        KeepPinned = c"keep-pinned",
        /// A page goes whole when the block of the end of the file does (rule 5).
        EndWhole = c"end-whole",
        /// Who removes blocks of a directly accessed file waits for those that have its pages
        /// pinned (rule 13).
        BreakLayout = c"break-layout",
        /// A write fault of a directly accessed file takes back what shows the hole before the
        /// block is a written one (rule 13).
        UnmapHole = c"unmap-hole",
        /// The page cache goes before the blocks below it (rule 5).
        CacheFirst = c"cache-first",
        /// Punch and zero range write all that is dirty in the range before they drop it (rule 5).
        PunchFlush = c"punch-flush",
        /// Collapse and insert range wait for writeback of the block before the place (rule 5).
        BlockBefore = c"block-before",
        /// SEEK_HOLE and SEEK_DATA search again if the extent map has changed meanwhile (rule 3).
        SeekValidity = c"seek-validity",
        /// A direct write closes the gate, if the mount has the option `dio_gate` (rule 9).
        Gate = c"gate",
        /// A direct write pins its user memory before it closes the gate (rule 8).
        Pin = c"pin",
        /// Direct writes hold back for those who have waited at the gate (rule 9).
        Turn = c"turn",
        /// A direct write that ends at the end of the file and cuts a block is alone (rule 11).
        EofAlone = c"eof-alone",
        /// A direct append drops the pages before the size moves, not only after (rule 7).
        AppendInvalidate = c"append-invalidate",
        /// Files have no folios as large as khugepaged makes them (rule 7). For inodes read later.
        FolioOrder = c"folio-order",
        /// Writeback encrypts what is in the page cache of an encrypted file (rule 14).
        Encrypt = c"encrypt",
    }
}
