// SPDX-License-Identifier: GPL-2.0
//! What programs that test a file system in the guest share: system calls, mappings, images,
//! mounts, the kernel log.

pub mod aio;
pub mod aligned;
pub mod dm;
pub mod fiemap;
pub mod fixture;
pub mod harness;
pub mod kmsg;
pub mod map;
pub mod sys;
