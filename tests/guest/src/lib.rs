// SPDX-License-Identifier: GPL-2.0
//! What programs that test a file system in the guest share: system calls, mappings, images,
//! mounts, the kernel log.

mod kit;

pub use kit::{
    aio, aligned, bytes, crypt, dirents, dm, fiemap, finder, fixture, flags, fsmap, handle,
    harness, kmsg, map, module, nfs, rwf, sched, slow, source, sys, uring, wait, watch, writelog,
    xattr,
};
