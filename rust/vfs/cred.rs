// SPDX-License-Identifier: GPL-2.0

//! Who the current task is, and what it may do.
//!
//! C headers: [`include/linux/cred.h`](srctree/include/linux/cred.h),
//! [`include/linux/capability.h`](srctree/include/linux/capability.h)

use super::bindings;

/// Whether the current task may use the space that a file system keeps for a user and a group
/// (ids in the initial namespace; group 0 does not count): it is that user, is in that group, or
/// has `CAP_SYS_RESOURCE`. Any context of a task.
pub(crate) fn may_use_reserved(uid: u32, gid: u32) -> bool {
    // SAFETY: Reads the credentials of the current task.
    unsafe { bindings::may_use_reserved(uid, gid) }
}

/// Whether the current task may go beyond what resources are limited to (`CAP_SYS_RESOURCE`). Any
/// context of a task.
pub(crate) fn may_raise_limits() -> bool {
    // SAFETY: As above.
    unsafe { bindings::capable_resource() }
}

/// Whether the current task administers the machine (`CAP_SYS_ADMIN`). Any context of a task.
pub(crate) fn is_admin() -> bool {
    // SAFETY: As above.
    unsafe { bindings::capable_admin() }
}
