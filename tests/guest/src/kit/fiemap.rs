// SPDX-License-Identifier: GPL-2.0
//! FIEMAP: where the blocks of a file are.

use crate::sys::{Fd, Sys};

/// One extent of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ext {
    pub log: u64,
    pub phys: u64,
    pub len: u64,
    pub flags: u32,
}

pub const LAST: u32 = 1;
pub const DELALLOC: u32 = 4;
pub const UNWRITTEN: u32 = 0x800;

/// FS_IOC_FIEMAP of a range, in several calls of `batch` extents.
pub fn fiemap(f: &Fd, start: u64, len: u64, sync: bool, batch: usize) -> Sys<Vec<Ext>> {
    let mut out: Vec<Ext> = Vec::new();
    let mut at = start;
    let end = start.saturating_add(len);
    loop {
        let mut b = vec![0u64; 4 + batch * 7];
        b[0] = at;
        b[1] = end - at;
        b[2] = u64::from(sync);
        b[3] = batch as u64;
        // SAFETY: a struct fiemap with room for `batch` extents.
        unsafe { f.ioctl(0xC020_660B, b.as_mut_ptr())? };
        let n = (b[2] >> 32) as usize;
        for e in b[4..].chunks(7).take(n) {
            out.push(Ext {
                log: e[0],
                phys: e[1],
                len: e[2],
                flags: e[5] as u32,
            });
        }
        match out.last() {
            Some(l) if n == batch && l.flags & LAST == 0 && l.log + l.len < end => {
                at = l.log + l.len
            }
            _ => return Ok(out),
        }
    }
}
