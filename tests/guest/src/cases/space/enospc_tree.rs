// SPDX-License-Identifier: GPL-2.0
//! The full disk and the blocks of extent trees: data is refused when it is written, or it is
//! there; never accepted and then lost.

use crate::cases::damage::failing::with_hole;
use crate::cases::power::crash::{on_dm, MB};
use crate::dm;
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, T};
use crate::harness::{Case, Res, ALL, K1, SMALL};
use crate::sys::{self, Fd};
use crate::{ensure, errno, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("enospc/tree_blocks", ALL, tree_blocks).quick(),
    Case::new("enospc/tree_convert", &[K1], tree_convert),
    Case::new("enospc/others_promises", ALL, others_promises).quick(),
    Case::new("enospc/tree_punch", ALL, tree_punch).quick(),
    Case::new("enospc/punch_ends", SMALL, punch_ends).quick(),
    Case::new("enospc/lost_promise", SMALL, lost_promise).quick(),
    Case::new("enospc/lost_beside", SMALL, lost_beside).quick(),
    Case::new("enospc/lost_before", SMALL, lost_before).quick(),
    Case::new("enospc/lost_group", SMALL, lost_group).quick(),
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

/// Takes all that fallocate can get.
pub fn fill(t: &T) -> Res<Fd> {
    let f = sys::create(&t.p("ballast"))?;
    let (mut end, mut step) = (0, 4 << 20);
    while step >= t.bs() {
        match f.fallocate(0, end, step) {
            Ok(()) => end += step,
            Err(e) if e.errno == libc::ENOSPC => step /= 2,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(f)
}

/// Punches that each take a block for the tree and free one of data, on a full disk, until all
/// that is free waits for the commit: who punches then waits for it, too.
fn tree_punch(t: &mut T) -> Res {
    t.mkfs(32, &["-m", "0", "-J", "size=8", "-N", "1500"])?;
    // What is freed stays unusable for as long as the case takes.
    t.mount("commit=600")?;
    let bs = t.bs();
    // Two of a hundred are kept back for the tree.
    let most = (32 << 20) / bs / 50 + 60;
    for i in 0..most {
        // As many extents as the inode has room for, the first one with a middle.
        let f = sys::create(&t.p(&format!("f{i}")))?;
        f.pwrite(&pattern(i, 0, 3 * bs as usize), 0)?;
        for k in [4, 6, 8] {
            f.pwrite(&pattern(i, k, 50), k * bs)?;
        }
    }
    sys::sync();
    let ballast = fill(t)?;
    sys::sync();
    let free = sys::statfs(&t.p(""))?.f_bfree;
    ensure!(free + 20 < most, "{free} blocks free for {most} punches");
    for i in 0..most {
        let f = sys::rdwr(&t.p(&format!("f{i}")))?;
        match f.punch(bs, bs) {
            // The kernel's ext4 may give up where the commit would help.
            Err(e) if !t.ours() && e.errno == libc::ENOSPC => break,
            done => done?,
        }
        let len = bs as usize;
        let mut want = pattern(i, 0, 3 * len);
        want[len..2 * len].fill(0);
        holds(&f, 0, &want, &format!("f{i}"))?;
    }
    drop(ballast);
    t.umount()?;
    t.fsck()
}

/// Gives data all that there is: nothing is kept back for nodes.
pub fn empty_pool(t: &T) -> Res {
    let dev = t.dev.rsplit('/').next().unwrap_or("");
    let path = format!("/sys/fs/{}/{dev}/reserved_clusters", t.fs);
    Ok(sys::write_file(&path, "0\n")?)
}

/// A punch that needs two blocks for the tree, where one is free: each try takes it, and gives it
/// back. That is a freed block that commits, but nothing to wait for.
fn punch_ends(t: &mut T) -> Res {
    t.mkfs(16, &["-m", "0", "-J", "size=2"])?;
    t.mount("commit=600")?;
    empty_pool(t)?;
    let bs = t.bs();
    // Four leaves that are full, as many as the inode has room for.
    let pieces = 4 * ((bs - 12) / 12);
    let f = sys::create(&t.p("f"))?;
    for i in 0..pieces {
        f.pwrite(&pattern(i, 0, 3 * bs as usize), 4 * i * bs)?;
    }
    f.fsync()?;
    let ballast = fill(t)?;
    ballast.truncate(ballast.size()? - bs)?;
    sys::sync();
    same!(sys::statfs(&t.p(""))?.f_bfree, 1, "free blocks");
    let hole = (4 * 30 + 1) * bs;
    let punched = f.punch(hole, bs);
    if t.ours() {
        errno!(punched, ENOSPC);
    }
    holds(&f, 4 * 31 * bs, &pattern(31, 0, 3 * bs as usize), "beside")?;
    ballast.truncate(0)?;
    sys::sync();
    f.punch(hole, bs)?;
    let mut want = pattern(30, 0, 3 * bs as usize);
    want[bs as usize..2 * bs as usize].fill(0);
    holds(&f, 4 * 30 * bs, &want, "punched")?;
    drop((f, ballast));
    t.umount()?;
    t.fsck()
}

/// A page that is written again after an error has lost its promise. On a full disk its conversion
/// takes the last block for the tree, finds no second one, and gives it back: that is told, and
/// nobody waits for it to change.
fn lost_promise(t: &mut T) -> Res {
    lost(t, None)
}

/// The same, and its neighbour, of the same extent, has a promise: that is kept. The neighbour has
/// room, and with it this one.
fn lost_beside(t: &mut T) -> Res {
    lost(t, Some(0))
}

/// The neighbour comes behind it.
fn lost_before(t: &mut T) -> Res {
    lost(t, Some(2))
}

/// A file with four leaves that are full, as many as the inode has room for; in one an unwritten
/// extent of `len` bytes. Where that is.
fn four_leaves(t: &T, len: u64) -> Res<(Fd, u64)> {
    let bs = t.bs();
    let (pieces, at) = (4 * ((bs - 12) / 12), 4 * 30 * bs);
    let f = sys::create(&t.p("f"))?;
    for i in (0..pieces).map(|i| 4 * i * bs) {
        if i == at {
            f.fsync()?;
            f.fallocate(0, at, len)?;
        } else {
            f.pwrite(&pattern(1, i, len as usize), i)?;
        }
    }
    f.fsync()?;
    Ok((f, at))
}

/// `beside`: which block of the extent has a promise; the one that has lost it is number 1.
fn lost(t: &mut T, beside: Option<u64>) -> Res {
    let d = on_dm(t)?;
    t.mkfs(16, &["-m", "0", "-J", "size=2"])?;
    t.mount("commit=600")?;
    empty_pool(t)?;
    let bs = t.bs();
    let len = 3 * bs;
    let block = |seed, at| pattern(seed, at, bs as usize);
    let (f, at) = four_leaves(t, len)?;
    let extents = fiemap(&f, at, len, true, 1)?;
    let Some(place) = extents.first().filter(|e| e.len == len) else {
        fail!("not one extent: {extents:?}");
    };
    let middle = at + bs;
    f.pwrite(&block(2, middle), middle)?;
    // While it is on its way, to where it fails, it is stored again.
    d.load(&with_hole(t, place.phys, len))?;
    d.suspend()?;
    let started = f.start_writeback(middle, bs);
    let again = f.pwrite(&block(3, middle), middle);
    d.resume()?;
    started?;
    again?;
    // Another descriptor, which may be told the error.
    let _ = sys::rdonly(&t.p("f"))?.await_writeback(middle, bs);
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    let beside = beside.map(|nth| at + nth * bs);
    if let Some(at) = beside {
        f.pwrite(&block(5, at), at)?;
    }
    let ballast = fill(t)?;
    ballast.truncate(ballast.size()? - bs)?;
    ballast.fsync()?;
    let synced = f.fsync();
    if let Some(beside) = beside {
        // It may be told the error of before.
        t.drop_caches()?;
        holds(&f, beside, &block(5, beside), "the neighbour")?;
        if beside < middle {
            return holds(&f, middle, &block(3, middle), "beside it");
        }
        ensure!(synced.is_err(), "one was lost, and nobody was told");
        return Ok(());
    }
    same!(sys::statfs(&t.p(""))?.f_bfree, 1, "free blocks");
    ensure!(synced.is_err(), "there was room for it");
    let next = at + 4 * bs;
    holds(&f, next, &pattern(1, next, len as usize), "beside")?;
    ballast.truncate(0)?;
    ballast.fsync()?;
    f.pwrite(&block(4, middle), middle)?;
    f.fsync()?;
    t.drop_caches()?;
    holds(&f, middle, &block(4, middle), "with room")?;
    drop((f, ballast));
    t.umount()?;
    t.fsck()
}

/// What was free in a group is lost with its bitmap, so what is promised may not be there: data
/// finds the last block, and none for the tree. It is told that it has no place, and nobody waits
/// for that to change.
fn lost_group(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 writes back for ever");
    }
    t.mkfs(16, &["-m", "0", "-J", "size=2"])?;
    t.mount("")?;
    empty_pool(t)?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    for i in 0..4 {
        f.pwrite(&pattern(i, 0, 50), 2 * i * bs)?;
    }
    f.fsync()?;
    let ballast = fill(t)?;
    // A block of the first group is free, and some of the second.
    let second = 8193 * bs;
    let extents = fiemap(&ballast, 0, u64::MAX, true, 200)?;
    let first = extents.iter().find(|e| e.phys + e.len <= second);
    let other = extents
        .iter()
        .find(|e| e.phys >= second && e.len > 300 * bs);
    let (Some(first), Some(other)) = (first, other) else {
        fail!("no extents in both groups: {extents:?}");
    };
    ballast.punch(first.log, bs)?;
    ballast.punch(other.log, 200 * bs)?;
    drop((f, ballast));
    t.umount()?;
    // The place of its bitmap is the first field of the descriptor.
    let field = t.peek(2 * bs + 64, 4)?;
    let bitmap = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
    let place = u64::from(bitmap) * bs + 100;
    let right = t.peek(place, 1)?;
    t.poke(place, &[!right[0]])?;
    t.broken = true;
    t.mount("errors=continue")?;
    empty_pool(t)?;
    let f = sys::rdwr(&t.p("f"))?;
    f.pwrite(&pattern(9, 0, 50), 8 * bs)?;
    // Somebody finds that it is bad.
    let ballast = sys::rdwr(&t.p("ballast"))?;
    let _ = ballast.punch(other.log + 200 * bs, bs);
    ensure!(t.logged(&[&["bitmap"]]), "not found: {:?}", t.seen);
    errno!(f.fsync(), ENOSPC);
    drop((f, ballast));
    t.umount()
}
