// SPDX-License-Identifier: GPL-2.0
//! Block maps, those of ext2 and ext3: what the kernel's ext4 wrote is read and changed, and the
//! reverse.

use crate::fixture::{holds, knows_fs, names, pattern, put, run_cmd, MNT, T};
use crate::flags;
use crate::harness::{Case, Res, MAPS};
use crate::map::{sigbus_taken, Map};
use crate::sys::{self, Aligned};
use crate::{ensure, errno, same, skip};
use std::hash::{DefaultHasher, Hasher};

pub const CASES: &[Case] = &[
    Case::new("maps/read", MAPS, read).quick(),
    Case::new("maps/write", MAPS, write).quick(),
    Case::new("maps/change", MAPS, change),
    Case::new("maps/beside", MAPS, beside).quick(),
    Case::new("maps/cuts", MAPS, cuts).quick(),
    Case::new("maps/falloc", MAPS, falloc),
    Case::new("maps/limit", MAPS, limit),
    Case::new("maps/direct", MAPS, direct),
    Case::new("maps/full", MAPS, full).secs(120),
    Case::new("maps/stores", MAPS, stores).secs(120),
];

/// Blocks at the borders of the levels of a map.
fn borders(bs: u64) -> Vec<u64> {
    let per = bs / 4;
    let starts = [0, 12, 12 + per, 12 + per + per * per];
    let near = |start: &u64| [start.saturating_sub(1), *start, start + 1, start + per];
    let mut all: Vec<u64> = starts.iter().flat_map(near).collect();
    all.push(starts[3] + 5 * per + 3);
    all.sort();
    all.dedup();
    all
}

/// Files, directories and links of all sizes that are mapped in different ways.
fn furnish(t: &T) -> Res {
    let bs = t.bs();
    for (i, blocks) in [0, 1, 11, 12, 13, 12 + bs / 4, 14 + bs / 4]
        .iter()
        .enumerate()
    {
        put(&t.p(&format!("whole{i}")), i as u64, (blocks * bs) as usize)?;
        put(
            &t.p(&format!("parts{i}")),
            50 + i as u64,
            (blocks * bs) as usize + 77,
        )?;
    }
    let f = sys::create(&t.p("sparse"))?;
    for block in borders(bs) {
        f.pwrite(&pattern(block, 0, bs as usize), block * bs)?;
    }
    let f = put(&t.p("holes"), 9, (40 * bs) as usize)?;
    f.fsync()?;
    for (at, len) in [(1, 2), (10, 5), (20, 1), (30, 20)] {
        f.punch(at * bs, len * bs)?;
    }
    sys::mkdir(&t.p("dir"), 0o755)?;
    for i in 0..400 {
        let name = format!("dir/{i:03}{}", "n".repeat(i % 150));
        put(&t.p(&name), i as u64, i % 700)?;
    }
    sys::symlink("short", &t.p("fast"))?;
    sys::symlink(&"long/".repeat(60), &t.p("slow"))?;
    Ok(())
}

/// What a file holds, its size, and how many blocks it has.
fn digest(t: &T, path: &str) -> Res<String> {
    let f = sys::rdonly(path)?;
    let mut h = DefaultHasher::new();
    let mut piece = vec![0; t.var.bs];
    let size = f.size()?;
    if size > 1 << 26 {
        for block in borders(t.bs()) {
            for at in [block.saturating_sub(1), block, block + 1] {
                let n = f.pread(&mut piece, at * t.bs())?;
                h.write(&piece[..n]);
            }
        }
    } else {
        for at in (0..size).step_by(t.var.bs) {
            let n = f.pread(&mut piece, at)?;
            h.write(&piece[..n]);
        }
    }
    let blocks = sys::statx(path)?.stx_blocks;
    Ok(format!("{size} bytes, {blocks} sectors, {:x}", h.finish()))
}

/// All there is, as text.
fn see(t: &T) -> Res<Vec<String>> {
    let mut all = Vec::new();
    for dir in [MNT.to_string(), t.p("dir")] {
        for name in names(&dir)? {
            let path = format!("{dir}/{name}");
            let what = match name.as_str() {
                "fast" | "slow" => format!("{:?}", sys::readlink(&path)?),
                "dir" | "lost+found" => continue,
                _ => digest(t, &path)?,
            };
            all.push(format!("{path}: {what}"));
        }
    }
    Ok(all)
}

fn same_sight(got: &[String], want: &[String], what: &str) -> Res {
    let differ: Vec<_> = got.iter().zip(want).filter(|(a, b)| a != b).collect();
    ensure!(
        differ.is_empty() && got.len() == want.len(),
        "{what}: {} and {} names, {:?}",
        got.len(),
        want.len(),
        differ.first()
    );
    Ok(())
}

/// The image, filled by the kernel's ext4; what that sees there.
fn by_ext4(t: &mut T) -> Res<Vec<String>> {
    if !t.ours() || !knows_fs("ext4") {
        skip!("nothing to compare with");
    }
    let ours = std::mem::replace(&mut t.fs, "ext4".to_string());
    t.mount("")?;
    furnish(t)?;
    t.cycle()?;
    let seen = see(t)?;
    t.umount()?;
    t.fs = ours;
    Ok(seen)
}

/// What ext4 wrote is what is read, by a mount that may not write and by one that may.
fn read(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let want = by_ext4(t)?;
    t.try_mount(libc::MS_RDONLY, "")?;
    same_sight(&see(t)?, &want, "read")?;
    same_sight(&see(t)?, &want, "read again")?;
    t.umount()?;
    t.mount("")?;
    same_sight(&see(t)?, &want, "read, writable")?;
    t.umount()
}

fn free_blocks() -> Res<u64> {
    Ok(sys::statfs(MNT)?.f_bfree)
}

/// What is written is read, from the cache and from the disk, and by ext4; all of it can be removed
/// again.
fn write(t: &mut T) -> Res {
    t.fresh()?;
    // The first name of a directory may take a block that stays.
    sys::sync();
    let before = free_blocks()?;
    furnish(t)?;
    // What is reserved does not count the blocks of pointers.
    sys::sync();
    let want = see(t)?;
    t.cycle()?;
    same_sight(&see(t)?, &want, "from the disk")?;
    t.umount()?;
    t.fsck()?;
    if t.ours() && knows_fs("ext4") {
        let dev = t.dev.clone();
        t.mount_as(&dev, MNT, "ext4", libc::MS_RDONLY, "")?;
        same_sight(&see(t)?, &want, "by ext4")?;
        t.umount()?;
    }
    t.mount("")?;
    remove_all(t)?;
    t.cycle()?;
    same!(free_blocks()?, before, "free blocks");
    Ok(())
}

fn remove_all(t: &T) -> Res {
    for name in names(&t.p("dir"))? {
        sys::unlink(&t.p(&format!("dir/{name}")))?;
    }
    sys::rmdir(&t.p("dir"))?;
    for name in names(MNT)?.iter().filter(|name| *name != "lost+found") {
        sys::unlink(&t.p(name))?;
    }
    sys::sync();
    Ok(())
}

/// What ext4 has made is changed and removed.
fn change(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.mount("")?;
    let before = free_blocks()?;
    t.umount()?;
    by_ext4(t)?;
    t.mount("")?;
    let bs = t.bs();
    for i in 0..7u64 {
        let f = sys::rdwr(&t.p(&format!("whole{i}")))?;
        let size = f.size()?;
        f.pwrite(&pattern(i, size, 3000), size)?;
        t.holds_both(&f, &pattern(i, 0, size as usize + 3000), "appended")?;
    }
    let f = sys::rdwr(&t.p("holes"))?;
    f.pwrite(&pattern(9, 0, (50 * bs) as usize), 0)?;
    t.holds_both(&f, &pattern(9, 0, (50 * bs) as usize), "filled")?;
    drop(f);
    for i in 400..500 {
        put(&t.p(&format!("dir/{i}{}", "m".repeat(150))), i, 100)?;
    }
    t.cycle()?;
    remove_all(t)?;
    t.cycle()?;
    same!(free_blocks()?, before, "free blocks");
    Ok(())
}

/// Files with block maps beside others: in a file system that has had extents only lately.
fn beside(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let want = by_ext4(t)?;
    let (code, text) = run_cmd("tune2fs", &["-O", "extent", &t.dev])?;
    ensure!(code == 0, "tune2fs: {text}");
    t.mount("")?;
    same_sight(&see(t)?, &want, "beside")?;
    let f = put(&t.p("new"), 1, 100_000)?;
    same!(f.flags()? & flags::EXTENTS, flags::EXTENTS, "a new file");
    let old = sys::rdwr(&t.p("holes"))?;
    same!(old.flags()? & flags::EXTENTS, 0, "an old file");
    errno!(old.set_flags(flags::EXTENTS), EOPNOTSUPP);
    old.pwrite(&pattern(3, 0, 100_000), 0)?;
    drop((f, old));
    t.cycle()?;
    t.file_holds("new", &pattern(1, 0, 100_000), "new")?;
    t.file_holds("holes", &pattern(3, 0, 100_000), "old")?;
    remove_all(t)
}

/// Writes, cuts and holes of every kind, at every border, against bytes in memory.
pub fn cuts(t: &mut T) -> Res {
    t.fresh()?;
    let before = free_blocks()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    let blocks = 30 + bs / 2;
    let mut want: Vec<u8> = Vec::new();
    let mut rng = 1u64;
    let mut next = |most: u64| {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (rng >> 33) % most
    };
    for step in 0..400u64 {
        let unit = [1, bs / 2, bs, bs][next(4) as usize];
        let block = next(blocks);
        let at = (block * bs + next(bs)) / unit * unit;
        let most = 2 << next(18);
        let len = (1 + next(most)) / unit * unit;
        let end = (at + len) as usize;
        match next(8) {
            0 => {
                f.truncate(at)?;
                want.resize(at as usize, 0);
            }
            1 | 2 if len > 0 => {
                f.punch(at, len)?;
                let end = end.min(want.len());
                want.get_mut(at as usize..end).unwrap_or_default().fill(0);
            }
            3 => {
                f.fsync()?;
            }
            _ if len > 0 => {
                let data = pattern(step, at, len as usize);
                f.pwrite(&data, at)?;
                want.resize(want.len().max(end), 0);
                want[at as usize..end].copy_from_slice(&data);
            }
            _ => (),
        }
        if step % 50 == 49 {
            t.holds_both(&f, &want, &format!("step {step}"))?;
        }
    }
    drop(f);
    t.cycle()?;
    t.file_holds("f", &want, "at the end")?;
    sys::unlink(&t.p("f"))?;
    t.cycle()?;
    same!(free_blocks()?, before, "free blocks");
    Ok(())
}

/// fallocate does what it does for such files in ext4: it punches.
fn falloc(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, (20 * bs) as usize)?;
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    for mode in [
        0,
        keep,
        libc::FALLOC_FL_ZERO_RANGE,
        libc::FALLOC_FL_ZERO_RANGE | keep,
        libc::FALLOC_FL_COLLAPSE_RANGE,
        libc::FALLOC_FL_INSERT_RANGE,
    ] {
        errno!(f.fallocate(mode, 2 * bs, 3 * bs), EOPNOTSUPP);
    }
    f.punch(3 * bs, 5 * bs)?;
    let mut want = pattern(1, 0, (20 * bs) as usize);
    want[3 * bs as usize..8 * bs as usize].fill(0);
    t.holds_both(&f, &want, "punched")
}

/// The last block that the pointers can reach, and those behind it.
fn limit(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let max: u64 = bs
        * match t.var.name {
            "ext3_1k" => 16_843_020,
            "ext3_2k" => 134_480_396,
            _ => 1_074_791_436,
        };
    let f = sys::create(&t.p("f"))?;
    let data = pattern(1, 0, 2 * bs as usize);
    // A write over the end is a short one, and then one that is refused.
    errno!(f.pwrite(&data, max - bs), EFBIG);
    errno!(f.pwrite(&data, max), EFBIG);
    errno!(f.pwrite(&data, max + 5 * bs), EFBIG);
    errno!(f.truncate(max + 1), EFBIG);
    f.truncate(max)?;
    f.fsync()?;
    t.drop_caches()?;
    holds(&f, max - bs, &data[..bs as usize], "the last block")?;
    holds(&f, max - 2 * bs, &vec![0; bs as usize], "the one before")?;
    // Three blocks of pointers.
    same!(sys::statx(&t.p("f"))?.stx_blocks, 4 * bs / 512, "sectors");
    f.truncate(max - bs)?;
    same!(sys::statx(&t.p("f"))?.stx_blocks, 0, "sectors, cut");
    Ok(())
}

/// Direct writes: into holes, over data, appended, of parts of blocks.
fn direct(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    let f = sys::open(
        &t.p("f"),
        libc::O_RDWR | libc::O_CREAT | libc::O_DIRECT,
        0o644,
    )?;
    let mut want = vec![0; 400 * bs];
    let mut put = |at: usize, len: usize, seed: u64| -> Res {
        let mut a = Aligned::new(len);
        a.copy_from_slice(&pattern(seed, at as u64, len));
        f.pwrite(&a, at as u64)?;
        want[at..at + len].copy_from_slice(&a);
        Ok(())
    };
    put(399 * bs, bs, 1)?;
    for (i, (at, blocks)) in [(0, 3), (5, 1), (10, 40), (2, 10), (200, 100), (60, 300)]
        .iter()
        .enumerate()
    {
        put(at * bs, blocks * bs, 2 + i as u64)?;
    }
    put(100 * bs + 512, 512, 50)?;
    let g = sys::rdonly(&t.p("f"))?;
    t.holds_both(&g, &want, "direct")?;
    drop((f, g));
    t.cycle()?;
    t.file_holds("f", &want, "direct, remounted")
}

/// A disk that becomes full: what was accepted is there, and all comes back with the removal.
pub fn full(t: &mut T) -> Res {
    t.fresh_mb(if t.bs() < 4096 { 8 } else { 12 })?;
    let (bs, before) = (t.bs(), free_blocks()?);
    // One after the other; and far apart, so that each needs blocks of pointers of its own.
    for step in [1, 2, bs / 4 + 1] {
        let f = sys::create(&t.p("f"))?;
        let (mut written, mut failed) = (0, false);
        while !failed && written < 40_000 {
            let at = written * step * bs;
            match f.pwrite(&pattern(step, at, bs as usize), at) {
                Ok(_) => written += 1,
                Err(e) if e.errno == libc::ENOSPC => failed = true,
                Err(e) => return Err(e.into()),
            }
        }
        f.fsync()?;
        ensure!(failed && written > 100, "{written} blocks");
        t.drop_caches()?;
        for i in (0..written).step_by(17) {
            let at = i * step * bs;
            holds(&f, at, &pattern(step, at, bs as usize), "in a full disk")?;
        }
        drop(f);
        sys::unlink(&t.p("f"))?;
        t.cycle()?;
        same!(free_blocks()?, before, "free blocks after step {step}");
    }
    Ok(())
}

/// Stores to every second page of a sparse file: before anything is written back they take what is
/// free of the disk, for the blocks share their pointers. All that was accepted is there.
fn stores(t: &mut T) -> Res {
    t.fresh_mb(32)?;
    let (bs, before) = (t.bs(), free_blocks()?);
    let f = sys::create(&t.p("f"))?;
    let len = 4 * before * bs;
    f.truncate(len)?;
    let m = Map::shared(&f, len as usize)?;
    sigbus_taken();
    let byte = |page: u64| 1 + (page % 251) as u8;
    let mut pages = 0;
    while sigbus_taken() == 0 {
        m.set(pages as usize * 8192, byte(pages));
        pages += 1;
    }
    pages -= 1;
    drop(m);
    let taken = pages * 4096 / bs;
    ensure!(taken * 20 > before * 19, "{taken} blocks of {before}");
    f.fsync()?;
    t.drop_caches()?;
    for page in 0..pages {
        holds(&f, page * 8192, &[byte(page)], "an accepted store")?;
    }
    drop(f);
    sys::unlink(&t.p("f"))?;
    t.cycle()?;
    same!(free_blocks()?, before, "free blocks");
    Ok(())
}
