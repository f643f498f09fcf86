// SPDX-License-Identifier: GPL-2.0
//! Ways to see what a file holds that ask first where it holds something.

use guest::fiemap;
use guest::sys::{Fd, Sys};

/// The bytes of what is data for SEEK_DATA; the rest zeros.
pub fn seek(f: &Fd, size: usize) -> Sys<Vec<u8>> {
    let mut seen = vec![0; size];
    let mut at = 0;
    while at < size as i64 {
        let data = match f.seek(at, libc::SEEK_DATA) {
            Err(e) if e.errno == libc::ENXIO => break,
            other => other?,
        };
        at = f.seek(data, libc::SEEK_HOLE)?;
        f.pread(&mut seen[data as usize..at as usize], data as u64)?;
    }
    Ok(seen)
}

/// The bytes of what FIEMAP says is written; the rest zeros.
pub fn mapped(f: &Fd, size: usize) -> Sys<Vec<u8>> {
    let mut seen = vec![0; size];
    for extent in fiemap::fiemap(f, 0, size as u64, true, 64)? {
        let range = extent.log as usize..size.min((extent.log + extent.len) as usize);
        if extent.flags & fiemap::UNWRITTEN == 0 && range.start < range.end {
            f.pread(&mut seen[range], extent.log)?;
        }
    }
    Ok(seen)
}
