// SPDX-License-Identifier: GPL-2.0
//! The kit: what cases are made with.

pub mod aio;
pub mod aligned;
pub mod bytes;
pub mod crypt;
pub mod dirents;
pub mod dm;
pub mod exchange;
pub mod fiemap;
pub mod finder;
pub mod fixture;
pub mod flags;
pub mod fsmap;
pub mod handle;
pub mod harness;
pub mod kmsg;
pub mod map;
pub mod nfs;
pub mod sched;
pub mod slow;
pub mod source;
pub mod sys;
pub mod uring;
pub mod watch;
pub mod writelog;
pub mod xattr;
