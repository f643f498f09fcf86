// SPDX-License-Identifier: GPL-2.0
//! Extended attributes, of the path itself: a symbolic link is not followed.

use crate::sys::{c_string, checked, Sys};

/// What the attribute must be before it is set.
pub const CREATE: i32 = libc::XATTR_CREATE;
pub const REPLACE: i32 = libc::XATTR_REPLACE;

pub fn set(path: &str, name: &str, value: &[u8], flags: i32) -> Sys<()> {
    let (p, n) = (c_string(path), c_string(name));
    // SAFETY: NUL-terminated strings, and the bytes of the value.
    let r = unsafe {
        libc::lsetxattr(
            p.as_ptr(),
            n.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    };
    checked(r.into(), || {
        format!("setxattr {path} {name} {}", value.len())
    })
    .map(|_| ())
}

pub fn remove(path: &str, name: &str) -> Sys<()> {
    let (p, n) = (c_string(path), c_string(name));
    // SAFETY: NUL-terminated strings.
    let r = unsafe { libc::lremovexattr(p.as_ptr(), n.as_ptr()) };
    checked(r.into(), || format!("removexattr {path} {name}")).map(|_| ())
}

/// The value, into a buffer of `room` bytes; 0 asks for its length, which is returned as so many
/// zeros.
pub fn get_within(path: &str, name: &str, room: usize) -> Sys<Vec<u8>> {
    let (p, n) = (c_string(path), c_string(name));
    let mut value = vec![0u8; room];
    // SAFETY: NUL-terminated strings, and a buffer of that many bytes.
    let r = unsafe { libc::lgetxattr(p.as_ptr(), n.as_ptr(), value.as_mut_ptr().cast(), room) };
    let len = checked(r as i64, || format!("getxattr {path} {name}"))?;
    value.resize(len as usize, 0);
    Ok(value)
}

pub fn get(path: &str, name: &str) -> Sys<Vec<u8>> {
    get_within(path, name, 65536)
}

/// The names as they are listed, into a buffer of `room` bytes.
pub fn list_within(path: &str, room: usize) -> Sys<Vec<u8>> {
    let p = c_string(path);
    let mut names = vec![0u8; room];
    // SAFETY: A NUL-terminated path, and a buffer of that many bytes.
    let r = unsafe { libc::llistxattr(p.as_ptr(), names.as_mut_ptr().cast(), room) };
    let len = checked(r as i64, || format!("listxattr {path}"))?;
    names.resize(len as usize, 0);
    Ok(names)
}

/// The names, sorted.
pub fn list(path: &str) -> Sys<Vec<String>> {
    let all = list_within(path, 65536)?;
    let mut names: Vec<String> = all
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort();
    Ok(names)
}
