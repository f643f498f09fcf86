// SPDX-License-Identifier: GPL-2.0
//! Modules of the kernel.

use crate::fixture::unless_busy;
use crate::sys::{self, Sys, SysErr};
use std::ffi::CStr;

/// Loads a module file; one that is there already is fine.
pub fn load(path: &str) -> Sys<()> {
    let f = sys::rdonly(path)?;
    // SAFETY: an open file and an empty parameter string.
    let r = unsafe { libc::syscall(libc::SYS_finit_module, f.raw, c"".as_ptr(), 0) };
    if r < 0 && sys::errno() != libc::EEXIST {
        return Err(SysErr {
            what: format!("load {path}"),
            errno: sys::errno(),
        });
    }
    Ok(())
}

/// Removes a module, if nobody uses it: `EAGAIN`.
pub fn try_unload(name: &CStr) -> Sys<()> {
    // SAFETY: a plain call with the name of a module.
    let r = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    if r < 0 {
        return Err(SysErr {
            what: format!("unload {}", name.to_string_lossy()),
            errno: sys::errno(),
        });
    }
    Ok(())
}

/// As [`try_unload`]. Who looks at a disk because it was written, udev for one, may have what the
/// module has made open for a moment.
pub fn unload(name: &CStr) -> Sys<()> {
    unless_busy(|| try_unload(name))
}
