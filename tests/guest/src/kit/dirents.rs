// SPDX-License-Identifier: GPL-2.0
//! Directories as getdents64 tells of them.

use crate::sys::{self, Fd, Sys};

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: String,
    pub ino: u64,
    pub next: i64,
    pub kind: u8,
}

/// One getdents64 call.
pub fn getdents(d: &Fd, size: usize) -> Sys<Vec<Entry>> {
    let mut b = vec![0u8; size];
    // SAFETY: b is valid for its length.
    let n = unsafe { libc::syscall(libc::SYS_getdents64, d.raw, b.as_mut_ptr(), b.len()) };
    if n < 0 {
        return Err(sys::SysErr {
            what: format!("getdents {}", d.name),
            errno: sys::errno(),
        });
    }
    Ok(parse(&b[..n as usize]))
}

/// What getdents64 has filled.
pub fn parse(b: &[u8]) -> Vec<Entry> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < b.len() {
        let r = &b[at..];
        let num = |i: usize| u64::from_le_bytes(r[i..i + 8].try_into().unwrap_or_default());
        let len = u16::from_le_bytes([r[16], r[17]]) as usize;
        let end = r[19..len].iter().position(|c| *c == 0).unwrap_or(len - 19);
        out.push(Entry {
            name: String::from_utf8_lossy(&r[19..19 + end]).into_owned(),
            ino: num(0),
            next: num(8) as i64,
            kind: r[18],
        });
        at += len;
    }
    out
}

pub fn read_all(d: &Fd, size: usize) -> Sys<Vec<Entry>> {
    let mut v = Vec::new();
    loop {
        let e = getdents(d, size)?;
        if e.is_empty() {
            return Ok(v);
        }
        v.extend(e);
    }
}
