// SPDX-License-Identifier: GPL-2.0
//! The full disk and the blocks of extent trees: data is refused when it is written, or it is
//! there; never accepted and then lost.

use crate::fixture::{holds, pattern, T};
use crate::harness::{Case, Res, ALL, K1};
use crate::sys;
use crate::{ensure, same};

pub const CASES: &[Case] = &[
    Case::new("enospc/tree_blocks", ALL, tree_blocks).quick(),
    Case::new("enospc/tree_convert", &[K1], tree_convert),
    Case::new("enospc/others_promises", ALL, others_promises).quick(),
];

/// Thousands of files, each with so many separate blocks that its tree needs a block of its own,
/// and nothing is written back before the disk is full of promises.
fn tree_blocks(t: &mut T) -> Res {
    t.mkfs(24, &["-m", "0", "-J", "size=4", "-N", "5000"])?;
    t.mount("")?;
    let bs = t.bs();
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let files = (free / 5 + 50).min(4900);
    for i in 0..files {
        sys::create(&t.p(&format!("f{i}")))?;
    }
    sys::sync();
    let mut have = Vec::new();
    let mut refused = 0;
    for i in 0..files {
        let f = sys::rdwr(&t.p(&format!("f{i}")))?;
        for k in 0..5u64 {
            match f.pwrite_once(&pattern(i, k, 50), k * 2 * bs + 9) {
                Ok(n) => {
                    same!(n, 50, "short write");
                    have.push((i, k));
                }
                Err(e) => {
                    same!(e.errno, libc::ENOSPC, "write on a full disk");
                    refused += 1;
                }
            }
        }
        if refused > 20 {
            break;
        }
    }
    ensure!(refused > 0, "the disk never filled");
    ensure!(
        have.len() as u64 > free * 6 / 10,
        "only {} blocks of {free} accepted",
        have.len()
    );
    sys::sync();
    for i in 0..files {
        sys::rdwr(&t.p(&format!("f{i}")))?.fsync()?;
    }
    t.drop_caches()?;
    for (i, k) in &have {
        let f = sys::rdonly(&t.p(&format!("f{i}")))?;
        let at = k * 2 * bs + 9;
        holds(&f, at, &pattern(*i, *k, 50), &format!("f{i}, block {k}"))?;
    }
    for i in 0..files {
        sys::unlink(&t.p(&format!("f{i}")))?;
    }
    sys::sync();
    let end = sys::statfs(&t.p(""))?.f_bfree;
    // The directory has grown.
    ensure!(end + 400 > free, "{end} of {free} blocks free at the end");
    t.cycle()?;
    same!(sys::statfs(&t.p(""))?.f_bfree, end, "free, remounted");
    Ok(())
}

/// Small files, none of which will need a tree block, though each could. Writing them back gives
/// that room to the next file: a write is refused when the disk is full, not before.
fn others_promises(t: &mut T) -> Res {
    t.mkfs(24, &["-m", "0", "-J", "size=4", "-N", "1000"])?;
    t.mount("")?;
    let bs = t.bs();
    let len = (24 * bs) as usize;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let mut files: u64 = 0;
    while let Ok(f) = sys::create(&t.p(&format!("f{files}"))) {
        match f.pwrite_once(&pattern(files, 0, len), 0) {
            Ok(n) if n == len => files += 1,
            Err(e) if e.errno != libc::ENOSPC => return Err(e.into()),
            _ => break,
        }
    }
    ensure!(files > 20 && files < 900, "{files} files");
    sys::sync();
    let left = sys::statfs(&t.p(""))?.f_bfree;
    // Two of a hundred are kept back for metadata.
    ensure!(
        left * 25 < free,
        "{left} of {free} blocks free with {files} files of 24"
    );
    t.drop_caches()?;
    for i in 0..files {
        let f = sys::rdonly(&t.p(&format!("f{i}")))?;
        holds(&f, 0, &pattern(i, 0, len), &format!("f{i}"))?;
    }
    Ok(())
}

/// Every second block of a file that takes the whole disk, allocated before: the conversion makes
/// two extents of each block written, more than the pool has tree blocks for.
fn tree_convert(t: &mut T) -> Res {
    t.mkfs(24, &["-m", "0", "-J", "size=1", "-N", "64"])?;
    t.mount("")?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    let mut n = sys::statfs(&t.p(""))?.f_bavail;
    while f.fallocate(0, 0, n * bs).is_err() {
        f.truncate(0)?;
        sys::sync();
        n -= 8;
    }
    f.fsync()?;
    let mut have = Vec::new();
    for i in (0..n).step_by(2) {
        match f.pwrite_once(&pattern(i, 0, 60), i * bs + 3) {
            Ok(len) => {
                same!(len, 60, "short write");
                have.push(i);
            }
            Err(e) => same!(e.errno, libc::ENOSPC, "write on a full disk"),
        }
    }
    f.fsync()?;
    t.drop_caches()?;
    ensure!(
        have.len() as u64 > n / 4,
        "only {} of {} blocks accepted",
        have.len(),
        n / 2
    );
    for i in &have {
        holds(&f, i * bs + 3, &pattern(*i, 0, 60), &format!("block {i}"))?;
    }
    Ok(())
}
