// SPDX-License-Identifier: GPL-2.0
//! What is left after the power went: fsync, replay, orphans.

pub mod checkpoint;
pub mod crash;
pub mod dirsync;
pub mod grown;
pub mod journal;
pub mod moved;
pub mod orphans;
pub mod orphans_read_only;
pub mod powercut;
pub mod replace;
pub mod replay;
pub mod shutdown;
pub mod shutdown_answers;
pub mod slots;
pub mod slow_data;
