// SPDX-License-Identifier: GPL-2.0

//! The race lab: places where a thread can be made to wait, and protections that can be switched
//! off, so that a race happens on demand and a rule of the data path shows what it is good for.
//!
//! Only a `make LAB=1` build has it. In every other build the functions here are empty and the
//! compiler drops the calls: no symbol, no branch and no string is left.
//!
//! The control file and its commands are in `control.rs`, what stands in the code in `point.rs`,
//! the parking in `park.rs`, the stepping from point to point in `step.rs`. The scenarios are in
//! `tests/lab`.

#[cfg(REXT4_LAB)]
use kernel::str::CStr;

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
        /// A buffered write has its mapping and has not locked the folio yet.
        WriteGetFolio = c"write-get-folio",
        /// Writeback has put a range of a folio in its bio and keeps the mapping for the next.
        WritebackAdded = c"writeback-added",
        /// Blocks for data are about to be allocated; no handle is started yet.
        Allocate = c"allocate",
        /// Writeback has found no block for its data; nobody has looked yet what may be waited for.
        NoSpace = c"no-space",
        /// Data is on disk. Its blocks are not converted and the size is not moved yet.
        Complete = c"complete",
        /// Punch, zero range and truncate: the page cache is dropped, the blocks are still there.
        PunchInvalidated = c"punch-invalidated",
        /// A hole was found, space for it is not reserved yet.
        ReserveLookedUp = c"reserve-looked-up",
        /// A direct write has flushed, invalidated and mapped its range; nothing is submitted.
        DioMapped = c"dio-mapped",
        /// An asynchronous direct write's bio is about to be submitted; its submitter goes on.
        DioSubmit = c"dio-submit",
        /// A direct write's data is on disk; the page cache is not invalidated again yet.
        DioEnd = c"dio-end",
        /// A direct write holds back for somebody who waits at the gate, or has just done so.
        GateYield = c"gate-yield",
        /// SEEK_HOLE or SEEK_DATA has a mapping and has not looked at the page cache yet.
        SeekMapped = c"seek-mapped",
        /// A folio is asked to let go of its state, and locked: it will be dropped, or replaced.
        FolioRelease = c"folio-release",
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
        /// Punch, truncate, and zeroing of the old end wait for direct I/O in flight (rules 5, 11).
        DioWait = c"dio-wait",
        /// A write fault reserves space before the page is dirtied (rule 6).
        ReserveAtFault = c"reserve-at-fault",
        /// Writeback allocates for dirty blocks that nobody reserved for (rule 10).
        FillUnreserved = c"fill-unreserved",
        /// A direct write whose range cannot be invalidated goes through the page cache (rule 7).
        Fallback = c"fallback",
        /// What is pending is noted before blocks are searched, not after (rule 4).
        PendingBefore = c"pending-before",
        /// Folios let go of their state when asked; off: they refuse, like a folio in use.
        Release = c"release",
        /// Bytes beyond the end of the file are zeroed before they can become part of it (rule 11).
        TailZero = c"tail-zero",
        /// A pinned folio stays where it is when its neighbours in the file go, or are written
        /// directly (rules 5, 7).
        KeepPinned = c"keep-pinned",
        /// The page cache goes before the blocks below it (rule 5).
        CacheFirst = c"cache-first",
        /// Punch and zero range write all that is dirty in the range before they drop it (rule 5).
        PunchFlush = c"punch-flush",
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
    }
}
