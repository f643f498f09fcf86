// SPDX-License-Identifier: GPL-2.0
//! Ways to see what a file holds that ask first where it holds something.

use guest::fiemap;
use guest::sys::{Fd, Sys};
use std::ops::Range;

/// What is data for SEEK_DATA, in a file of this size.
pub fn data(f: &Fd, size: usize) -> Sys<Vec<Range<usize>>> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < size as i64 {
        let data = match f.seek(at, libc::SEEK_DATA) {
            Err(e) if e.errno == libc::ENXIO => break,
            other => other?,
        };
        at = f.seek(data, libc::SEEK_HOLE)?;
        all.push(data as usize..at as usize);
    }
    Ok(all)
}

/// What FIEMAP says is written, up to this size; what touches is one.
pub fn written(f: &Fd, size: usize) -> Sys<Vec<Range<usize>>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    // Nothing is asked of a file that has no byte.
    let extents = match size {
        0 => Vec::new(),
        _ => fiemap::fiemap(f, 0, size as u64, true, 64)?,
    };
    for extent in extents {
        let range = extent.log as usize..size.min((extent.log + extent.len) as usize);
        if extent.flags & fiemap::UNWRITTEN != 0 || range.is_empty() {
            continue;
        }
        match all.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => all.push(range),
        }
    }
    Ok(all)
}

/// The bytes of these ranges; the rest zeros.
fn only(f: &Fd, size: usize, ranges: Vec<Range<usize>>) -> Sys<Vec<u8>> {
    let mut seen = vec![0; size];
    for range in ranges {
        let at = range.start as u64;
        f.pread(&mut seen[range], at)?;
    }
    Ok(seen)
}

/// The bytes of what is data for SEEK_DATA; the rest zeros.
pub fn seek(f: &Fd, size: usize) -> Sys<Vec<u8>> {
    only(f, size, data(f, size)?)
}

/// The bytes of what FIEMAP says is written; the rest zeros.
pub fn mapped(f: &Fd, size: usize) -> Sys<Vec<u8>> {
    only(f, size, written(f, size)?)
}
