// SPDX-License-Identifier: GPL-2.0
//! Preallocation, holes, and the reports about them.

use crate::fiemap::{fiemap, Ext, DELALLOC, LAST, UNWRITTEN};
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, fail, same};

pub const CASES: &[Case] = &[
    Case::new("falloc/default", ALL, default).quick(),
    Case::new("falloc/keep_size", ALL, keep_size),
    Case::new("falloc/punch", ALL, punch).quick(),
    Case::new("falloc/punch_frees", ALL, punch_frees),
    Case::new("falloc/size_kept", ALL, size_kept).quick(),
    Case::new("falloc/modes", ONE, modes),
    Case::new("falloc/write_into", ALL, write_into),
    Case::new("falloc/fiemap", ALL, fiemap_pattern).quick(),
    Case::new("falloc/seek", ALL, seek).quick(),
];

pub const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;

/// Preallocated space reads as zeros, moves the size, and leaves data that is there alone.
fn default(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, 100 * bs)?;
    same!(f.size()?, 100 * bs, "size");
    same!(f.stat()?.st_blocks as u64 * 512 / bs, 100, "blocks");
    holds(&f, 0, &vec![0; 100 * bs as usize], "preallocated, cached")?;
    // In a hole between data; unaligned; over what is there.
    let g = put(&t.p("g"), 1, 1000)?;
    g.pwrite(&pattern(1, 50 * bs, 1000), 50 * bs)?;
    g.fallocate(0, 10 * bs + 5, 20 * bs + 100)?;
    g.fallocate(0, 500, 60 * bs)?;
    same!(g.size()?, 60 * bs + 500, "size");
    // Blocks that are written later may lie elsewhere, and the tree then has a block of its own.
    let blocks = g.stat()?.st_blocks as u64 * 512 / bs;
    ensure!((61..=62).contains(&blocks), "{blocks} blocks, want 61");
    let mut want = pattern(1, 0, 1000);
    want.resize((60 * bs + 500) as usize, 0);
    want[50 * bs as usize..50 * bs as usize + 1000].copy_from_slice(&pattern(1, 50 * bs, 1000));
    holds(&g, 0, &want, "cached")?;
    t.drop_caches()?;
    holds(&g, 0, &want, "from disk")?;
    holds(
        &f,
        0,
        &vec![0; 100 * bs as usize],
        "preallocated, from disk",
    )?;
    errno!(f.fallocate(0, 0, 0), EINVAL);
    errno!(f.fallocate(0, 0, 1 << 50), EFBIG | ENOSPC);
    // More than there is: an error, and what was taken on the way is in the file or free again.
    errno!(f.fallocate(0, 0, 200 << 20), ENOSPC);
    let ro = sys::rdonly(&t.p("f"))?;
    errno!(ro.fallocate(0, 0, 100), EBADF);
    drop((f, g, ro));
    t.cycle()?;
    holds(&sys::rdonly(&t.p("g"))?, 0, &want, "remounted")?;
    Ok(())
}

/// Space kept beyond the end does not move the size, and the file grows into it.
fn keep_size(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 100)?;
    f.fallocate(KEEP, 0, 40 * bs)?;
    same!(f.size()?, 100, "size");
    same!(f.stat()?.st_blocks as u64 * 512 / bs, 40, "blocks");
    // Grow into what was kept.
    f.pwrite(&pattern(1, 100, 5000), 100)?;
    f.truncate(30 * bs)?;
    let mut want = pattern(1, 0, 5100);
    want.resize(30 * bs as usize, 0);
    holds(&f, 0, &want, "grown")?;
    t.drop_caches()?;
    holds(&f, 0, &want, "grown, from disk")?;
    let g = sys::create(&t.p("g"))?;
    g.fallocate(KEEP, 1 << 20, 5 * bs)?;
    same!(g.size()?, 0, "size of a file with blocks beyond EOF only");
    drop((f, g));
    t.cycle()?;
    let g = sys::rdwr(&t.p("g"))?;
    same!(
        (g.size()?, g.stat()?.st_blocks as u64 * 512 / bs),
        (0, 5),
        "remounted"
    );
    g.pwrite(b"x", 1 << 20)?;
    holds(
        &g,
        (1 << 20) - 50,
        &[vec![0; 50], vec![b'x']].concat(),
        "written beyond",
    )?;
    Ok(())
}

/// Holes at every kind of offset, over dirty, clean and preallocated blocks.
fn punch(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let len = (60 * bs + 321) as usize;
    let holes_at = [
        (0, 1),
        (5, 100),
        (bs - 1, 2),
        (bs, bs),
        (3 * bs, 4 * bs),
        (8 * bs + 1, 2 * bs - 2),
        (12 * bs - 7, bs + 14),
        (20 * bs + bs / 2, 10 * bs),
        (50 * bs, 100 * bs),
        (59 * bs, bs),
        (60 * bs + 320, 1),
        (61 * bs, 5 * bs),
    ];
    for mode in ["dirty", "synced", "dropped", "unwritten"] {
        let f = sys::create(&t.p("f"))?;
        if mode == "unwritten" {
            f.fallocate(0, 0, len as u64)?;
        }
        let mut want = pattern(5, 0, len);
        f.pwrite(&want, 0)?;
        for (off, n) in holes_at {
            if mode != "dirty" && mode != "unwritten" {
                f.fsync()?;
            }
            if mode == "dropped" {
                f.dontneed()?;
            }
            f.punch(off, n)?;
            let (a, b) = ((off as usize).min(len), ((off + n) as usize).min(len));
            want[a..b].fill(0);
            same!(f.size()?, len as u64, "size after a punch");
            holds(&f, 0, &want, &format!("{mode}, punched {off}+{n}"))?;
        }
        f.fsync()?;
        t.drop_caches()?;
        holds(&f, 0, &want, &format!("{mode}, from disk"))?;
        // Filled again, nothing old shows beside the new bytes.
        f.pwrite(b"new", 4 * bs + 10)?;
        want[(4 * bs + 10) as usize..(4 * bs + 13) as usize].copy_from_slice(b"new");
        t.drop_caches()?;
        holds(&f, 0, &want, &format!("{mode}, filled again"))?;
    }
    t.cycle()?;
    errno!(sys::rdonly(&t.p("f"))?.punch(0, 1), EBADF);
    errno!(
        sys::rdwr(&t.p("f"))?.fallocate(libc::FALLOC_FL_PUNCH_HOLE, 0, 1),
        EOPNOTSUPP | EINVAL
    );
    Ok(())
}

/// The last bytes go before they have been written: the file keeps its size, in memory and on disk.
fn size_kept(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let zero = libc::FALLOC_FL_ZERO_RANGE;
    let punch = libc::FALLOC_FL_PUNCH_HOLE | KEEP;
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for size in [2 * bs, 8192, 8192 + 321, 65_536] {
        let ranges = [
            (size / 2 / 4096 * 4096, size),
            (size - bs, size),
            (0, size),
            (0, size + 3 * bs),
            (size / 2 + 7, size),
            (bs / 2, size - bs / 4),
        ];
        for (from, to) in ranges {
            for (mode, synced) in [
                (punch, 0),
                (punch, size / 2 + 1),
                (zero, 0),
                (zero | KEEP, bs),
            ] {
                let name = t.p(&format!("f{}", files.len()));
                let mut want = pattern(files.len() as u64, 0, size as usize);
                let f = sys::create(&name)?;
                if synced > 0 {
                    f.pwrite(&want[..synced as usize], 0)?;
                    f.fsync()?;
                }
                f.pwrite(&want[synced as usize..], synced)?;
                f.fallocate(mode, from, to - from)?;
                want[from as usize..to.min(size) as usize].fill(0);
                if mode == zero {
                    want.resize(to.max(size) as usize, 0);
                }
                same!(f.size()?, want.len() as u64, "size of {name}");
                files.push((name, want));
            }
        }
    }
    // Closed by now. First the inodes are evicted, then the disk is asked.
    t.drop_caches()?;
    for round in ["evicted", "remounted"] {
        for (name, want) in &files {
            let f = sys::rdonly(name)?;
            same!(f.size()?, want.len() as u64, "{round}: size of {name}");
            holds(&f, 0, want, round)?;
        }
        t.cycle()?;
    }
    Ok(())
}

/// Punched blocks are free at once, those not yet on disk too.
fn punch_frees(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let f = put(&t.p("f"), 1, 2 << 20)?;
    f.fsync()?;
    f.punch(0, 2 << 20)?;
    same!(
        (f.stat()?.st_blocks, f.size()?),
        (0, 2 << 20),
        "blocks and size of a punched file"
    );
    f.fsync()?;
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free blocks");
    // Over delayed blocks: the reservation goes back.
    f.pwrite(&pattern(2, 0, 1 << 20), 0)?;
    f.punch(bs, (1 << 20) - 2 * bs)?;
    same!(f.stat()?.st_blocks as u64 * 512 / bs, 2, "blocks left");
    f.punch(0, 1 << 20)?;
    same!(
        sys::statfs(&t.p(""))?.f_bfree,
        free,
        "free blocks after punching delayed ones"
    );
    Ok(())
}

/// Modes that take extents do as they say, and where there are none they say that they do not.
fn modes(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 20 * bs as usize)?;
    let full = pattern(1, 0, 20 * bs as usize);
    let b = bs as usize;
    let known = |r: Sys<()>| -> Res<bool> {
        match r {
            Ok(()) => Ok(true),
            Err(e) if e.errno == libc::EOPNOTSUPP && !t.extents() => Ok(false),
            Err(e) => Err(e.into()),
        }
    };
    if known(f.fallocate(libc::FALLOC_FL_ZERO_RANGE, 5 * bs + 3, 3 * bs))? {
        let mut want = full.clone();
        want[5 * b + 3..8 * b + 3].fill(0);
        holds(&f, 0, &want, "ZERO_RANGE")?;
    }
    f.pwrite(&full, 0)?;
    if known(f.fallocate(libc::FALLOC_FL_COLLAPSE_RANGE, 4 * bs, 2 * bs))? {
        let want = [&full[..4 * b], &full[6 * b..]].concat();
        same!(f.size()?, 18 * bs, "size after COLLAPSE_RANGE");
        holds(&f, 0, &want, "COLLAPSE_RANGE")?;
    }
    f.truncate(20 * bs)?;
    f.pwrite(&full, 0)?;
    if known(f.fallocate(libc::FALLOC_FL_INSERT_RANGE, 4 * bs, 2 * bs))? {
        let want = [&full[..4 * b], &vec![0; 2 * b], &full[4 * b..]].concat();
        holds(&f, 0, &want, "INSERT_RANGE")?;
        f.truncate(20 * bs)?;
    }
    f.pwrite(&full, 0)?;
    for bad in [0x4, 0x80, 0x40 | 0x8, 0x1000, 0x2 | 0x8] {
        errno!(f.fallocate(bad, 0, bs), EOPNOTSUPP | EINVAL);
    }
    holds(&f, 0, &full, "after refused modes")?;
    Ok(())
}

/// Small writes inside preallocated space convert just what they touch.
fn write_into(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    let len = 200 * bs as usize;
    f.fallocate(0, 0, len as u64)?;
    let mut want = vec![0; len];
    let mut r = fastrand::Rng::with_seed(4);
    for i in 0..150u64 {
        let off = r.usize(..len - 5000);
        let n = r.usize(1..3 * bs as usize).min(len - off);
        let d = pattern(i, off as u64, n);
        f.pwrite(&d, off as u64)?;
        want[off..off + n].copy_from_slice(&d);
        match i % 5 {
            1 => f.fsync()?,
            3 => f.sync_range(off as u64, n as u64)?,
            _ => {}
        }
    }
    holds(&f, 0, &want, "cached")?;
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    same!(f.stat()?.st_blocks as u64 * 512 / bs >= 200, true, "blocks");
    drop(f);
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    Ok(())
}

/// Blocks of a file: d = data, u = preallocated, . = hole; runs of different length.
const PLAN: &str = "dd..uuu.d.dddddd....uud..duuuu.....d";

/// FIEMAP says what was written where, and the device holds it there.
fn fiemap_pattern(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    for (i, c) in PLAN.bytes().enumerate() {
        let off = i as u64 * bs;
        match c {
            b'd' => f.pwrite(&pattern(1, off, t.var.bs), off)?,
            b'u' => f.fallocate(KEEP, off, bs)?,
            _ => {}
        }
    }
    let dirty = fiemap(&f, 0, u64::MAX, false, 50)?;
    ensure!(
        dirty.iter().any(|e| e.flags & DELALLOC != 0),
        "no delayed extent reported: {dirty:?}"
    );
    f.fsync()?;
    for batch in [1, 3, 100] {
        let ext = fiemap(&f, 0, u64::MAX, true, batch)?;
        as_planned(&ext, bs, &format!("in batches of {batch}"))?;
    }
    // Part of the file only.
    let part = fiemap(&f, 10 * bs, 6 * bs, true, 10)?;
    ensure!(
        part.iter()
            .all(|e| e.log < 16 * bs && e.log + e.len > 10 * bs),
        "range: {part:?}"
    );
    same!(
        fiemap(&sys::create(&t.p("e"))?, 0, u64::MAX, true, 5)?.len(),
        0,
        "empty file"
    );
    let ext = fiemap(&f, 0, u64::MAX, true, 100)?;
    drop(f);
    t.umount()?;
    on_the_device(t, &ext)
}

/// The extents are those of `PLAN`, and the last of them says so.
fn as_planned(ext: &[Ext], bs: u64, what: &str) -> Res {
    let mut got = vec![b'.'; PLAN.len()];
    for e in ext {
        ensure!(
            e.log % bs == 0 && e.len % bs == 0 && e.phys % bs == 0,
            "{what}: unaligned {e:?}"
        );
        for k in e.log / bs..(e.log + e.len) / bs {
            ensure!(
                (k as usize) < got.len(),
                "{what}: extent beyond the file: {e:?}"
            );
            got[k as usize] = if e.flags & UNWRITTEN != 0 { b'u' } else { b'd' };
        }
    }
    same!(String::from_utf8_lossy(&got), PLAN, "map {what}");
    let last: Vec<bool> = ext.iter().map(|e| e.flags & LAST != 0).collect();
    let marked = last.iter().filter(|l| **l).count();
    same!(marked, 1, "{what}: extents marked last");
    same!(
        last.last(),
        Some(&true),
        "{what}: the last extent is marked"
    );
    Ok(())
}

/// The written extents hold their part of the file, where the report says they are.
fn on_the_device(t: &T, ext: &[Ext]) -> Res {
    for e in ext.iter().filter(|e| e.flags & UNWRITTEN == 0) {
        let disk = t.peek(e.phys, e.len as usize)?;
        if let Some(d) = diff_at(&disk, &pattern(1, e.log, e.len as usize)) {
            fail!("the device at {}: {d}", e.phys);
        }
    }
    Ok(())
}

const DATA: i32 = libc::SEEK_DATA;
const HOLE: i32 = libc::SEEK_HOLE;

/// SEEK_DATA and SEEK_HOLE tell data from holes, dirty, synced or dropped.
fn seek(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    errno!(f.seek(0, DATA), ENXIO);
    errno!(f.seek(0, HOLE), ENXIO);
    // One page is the finest a dirty page cache can tell.
    let u = bs.max(4096);
    f.pwrite(&pattern(1, 4 * u, 2 * u as usize), 4 * u)?;
    f.pwrite(&pattern(1, 10 * u, 1), 10 * u)?;
    f.truncate(20 * u)?;
    for pass in ["dirty", "synced", "dropped"] {
        data_and_holes(&f, u, bs, pass)?;
        if pass == "dirty" {
            f.fsync()?;
        } else {
            t.drop_caches()?;
        }
    }
    preallocated_is_a_hole(t, u)?;
    a_hole_at_the_end(t, u)
}

/// Two units of data at the fourth, one byte at the tenth, a hole from there to the twentieth.
fn data_and_holes(f: &Fd, u: u64, bs: u64, pass: &str) -> Res {
    let at = |o: u64, w: i32| f.seek(o as i64, w).map(|x| x as u64);
    same!(at(0, DATA)?, 4 * u, "{pass}: data from 0");
    same!(at(0, HOLE)?, 0, "{pass}: hole from 0");
    let inside = 4 * u + 7;
    same!(at(inside, DATA)?, inside, "{pass}: data from inside data");
    same!(at(4 * u, HOLE)?, 6 * u, "{pass}: hole after data");
    same!(at(6 * u, DATA)?, 10 * u, "{pass}: next data");
    let h = at(10 * u, HOLE)?;
    ensure!(
        h == 10 * u + bs || h == 11 * u,
        "{pass}: hole after one byte at {h}"
    );
    errno!(at(12 * u, DATA), ENXIO);
    same!(at(12 * u, HOLE)?, 12 * u, "{pass}: hole in the last hole");
    errno!(at(20 * u, HOLE), ENXIO);
    errno!(f.seek(-1, DATA), ENXIO | EINVAL);
    Ok(())
}

/// Preallocated and clean is a hole; dirty in it is data.
fn preallocated_is_a_hole(t: &T, u: u64) -> Res {
    let f = sys::create(&t.p("g"))?;
    f.fallocate(0, 0, 20 * u)?;
    errno!(f.seek(0, DATA), ENXIO);
    same!(f.seek(0, HOLE)?, 0, "hole in preallocated space");
    f.pwrite(&[1; 10], 8 * u)?;
    let data = f.seek(0, DATA)? as u64;
    same!(data, 8 * u, "dirty data in preallocated space");
    f.fsync()?;
    let data = f.seek(0, DATA)? as u64;
    same!(data, 8 * u, "written data in preallocated space");
    Ok(())
}

/// A file without holes has one at its end.
fn a_hole_at_the_end(t: &T, u: u64) -> Res {
    let f = put(&t.p("h"), 1, 12_345)?;
    same!(f.seek(0, HOLE)?, 12_345, "the hole at EOF");
    same!(f.seek(12_344, DATA)?, 12_344, "the last byte");
    f.punch(0, u)?;
    same!(f.seek(0, DATA)? as u64, u, "data behind a punched hole");
    Ok(())
}
