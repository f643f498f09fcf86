// SPDX-License-Identifier: GPL-2.0
//! Extent trees: deep ones, split, merged, cut, and made by others.

use crate::fiemap::{fiemap, UNWRITTEN};
use crate::fixture::{holds, pattern, put, MNT, T};
use crate::harness::{Case, Res, ALL, FEATS, ONE, SMALL};
use crate::sys::{self, Aligned, Fd, Sys};
use crate::{dm, ensure, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("extents/deep", ALL, deep).quick(),
    Case::new("extents/deep_backwards", SMALL, backwards),
    Case::new("extents/deep_random", FEATS, random),
    Case::new("extents/fill_gaps", ALL, fill_gaps),
    Case::new("extents/convert_deep", ALL, convert),
    Case::new("extents/by_debugfs", ALL, by_debugfs),
    Case::new("extents/groups", SMALL, groups),
    Case::new("extents/slow_bitmap", ONE, slow_bitmap).quick(),
];

/// Depth of the tree in an inode of the unmounted image, as debugfs shows it.
pub fn depth(t: &T, path: &str) -> Res<u32> {
    let text = t.debugfs(&[&format!("dump_extents {path}")])?;
    // " 0/ 2   1/ 12 ...": level / depth.
    let d = text
        .lines()
        .filter_map(|l| l.split_once('/'))
        .find_map(|(_, r)| {
            r.split_whitespace()
                .next()
                .and_then(|w| w.parse::<u32>().ok())
        });
    let Some(d) = d else {
        crate::fail!("no extents shown for {path}: {text}")
    };
    Ok(d)
}

/// A file of which every second block is written, `n` of them: one extent each.
#[derive(Clone, Copy)]
struct Comb {
    bs: usize,
    n: usize,
}

impl Comb {
    /// Where the written block `i` begins.
    fn at(self, i: usize) -> usize {
        i * 2 * self.bs
    }

    fn write(self, f: &Fd, i: usize) -> Sys<()> {
        let o = self.at(i) as u64;
        f.pwrite(&pattern(1, o, self.bs), o)
    }

    /// The file's bytes when of the first `n` blocks each `every`-th is left.
    fn bytes(self, every: usize) -> Vec<u8> {
        let mut bytes = vec![0u8; self.at(self.n - 1) + self.bs];
        for i in (0..self.n).step_by(every) {
            let o = self.at(i);
            bytes[o..o + self.bs].copy_from_slice(&pattern(1, o as u64, self.bs));
        }
        bytes
    }
}

/// Every second block: one extent each, until the tree has two levels of nodes below the inode.
fn deep(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    // An index block holds (bs - 12 - tail) / 12 entries; the inode holds 4.
    let n = (bs - 16) / 12 * 4 + if bs == 1024 { 500 } else { 50 };
    let comb = Comb { bs, n };
    let f = sys::create(&t.p("f"))?;
    for i in 0..n {
        comb.write(&f, i)?;
        if i % 512 == 511 {
            f.fsync()?;
        }
    }
    f.fsync()?;
    t.holds_both(&f, &comb.bytes(1), "written")?;
    same!(fiemap(&f, 0, u64::MAX, true, 200)?.len(), n, "extents");
    drop(f);
    t.umount()?;
    t.fsck()?;
    let d = depth(t, "/f")?;
    ensure!(d >= 2, "depth {d} for {n} extents");
    t.mount("")?;
    let f = sys::rdwr(&t.p("f"))?;
    holds(&f, 0, &comb.bytes(1), "remounted")?;
    all_but_every_fourth_punched(t, &f, comb)?;
    cut_and_grown(t, &f, comb)?;
    f.truncate(0)?;
    same!(f.stat()?.st_blocks, 0, "blocks of an emptied file");
    drop(f);
    t.cycle()?;
    same!(
        sys::statfs(&t.p(""))?.f_bfree,
        free,
        "free blocks, tree blocks included"
    );
    Ok(())
}

fn all_but_every_fourth_punched(t: &T, f: &Fd, comb: Comb) -> Res {
    for i in (0..comb.n).filter(|i| i % 4 != 0) {
        f.punch(comb.at(i) as u64, comb.bs as u64)?;
    }
    t.holds_both(f, &comb.bytes(4), "punched")
}

/// Of every fourth block the first half is left, and one byte of the block in the middle.
fn cut_and_grown(t: &T, f: &Fd, comb: Comb) -> Res {
    let (middle, end) = (comb.at(comb.n / 2), comb.at(comb.n));
    f.truncate(middle as u64 + 1)?;
    f.truncate(end as u64)?;
    let mut want = comb.bytes(4);
    want[middle + 1..].fill(0);
    want.resize(end, 0);
    t.holds_both(f, &want, "cut and grown")
}

/// A file written from its end to its start, block beside hole, reads as written.
fn backwards(t: &mut T) -> Res {
    t.fresh()?;
    let comb = Comb {
        bs: t.var.bs,
        n: 900,
    };
    let f = sys::create(&t.p("f"))?;
    for i in (0..comb.n).rev() {
        comb.write(&f, i)?;
        if i % 64 == 0 {
            f.fsync()?;
        }
    }
    t.holds_both(&f, &comb.bytes(1), "written")?;
    drop(f);
    t.umount()?;
    ensure!(depth(t, "/f")? >= 2, "depth");
    Ok(())
}

/// Random single blocks, allocated one at a time, with random punches between.
fn random(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    let blocks = 3000;
    let f = sys::create(&t.p("f"))?;
    f.truncate((blocks * bs) as u64)?;
    let mut have = vec![0u64; blocks];
    let mut r = fastrand::Rng::with_seed(77);
    for i in 1..2500u64 {
        let b = r.usize(..blocks);
        if r.u32(..4) == 0 {
            let n = r.usize(1..20).min(blocks - b);
            f.punch((b * bs) as u64, (n * bs) as u64)?;
            have[b..b + n].fill(0);
        } else {
            f.pwrite(&pattern(i, 0, bs), (b * bs) as u64)?;
            have[b] = i;
        }
        if i % 40 == 0 {
            f.sync_range(0, 0)?;
        }
    }
    let want: Vec<u8> = have
        .iter()
        .flat_map(|s| {
            if *s == 0 {
                vec![0; bs]
            } else {
                pattern(*s, 0, bs)
            }
        })
        .collect();
    t.holds_both(&f, &want, "written and punched")?;
    let used = have.iter().filter(|s| **s != 0).count();
    let got = f.stat()?.st_blocks as usize * 512 / bs;
    ensure!(
        got >= used && got <= used + used / 20 + 12,
        "{got} blocks for {used} of data"
    );
    drop(f);
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    Ok(())
}

/// The gaps of a fragmented file filled afterwards.
fn fill_gaps(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    let n = 500;
    let f = sys::create(&t.p("f"))?;
    for odd in [0, 1] {
        for i in 0..n {
            let o = ((2 * i + odd) * bs) as u64;
            f.pwrite(&pattern(1, o, bs), o)?;
        }
        f.fsync()?;
    }
    let want = pattern(1, 0, 2 * n * bs);
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    drop(f);
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    Ok(())
}

/// One preallocated extent becomes hundreds by single-block writes.
fn convert(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    let n = 700;
    let f = sys::create(&t.p("f"))?;
    let comb = Comb { bs, n };
    f.fallocate(0, 0, comb.at(n) as u64)?;
    for i in 0..n {
        comb.write(&f, i)?;
    }
    f.fsync()?;
    t.drop_caches()?;
    holds(&f, 0, &comb.bytes(1), "from disk")?;
    let ext = fiemap(&f, 0, u64::MAX, true, 100)?;
    let written: u64 = ext
        .iter()
        .filter(|e| e.flags & UNWRITTEN == 0)
        .map(|e| e.len)
        .sum();
    // An implementation may zero small neighbours instead of splitting.
    ensure!(written >= (n * bs) as u64, "{written} bytes are written");
    let all: u64 = ext.iter().map(|e| e.len).sum();
    same!(all, (2 * n * bs) as u64, "allocated bytes");
    // Fill the rest: all written now.
    for i in 0..n {
        let o = ((2 * i + 1) * bs) as u64;
        f.pwrite(&pattern(1, o, bs), o)?;
    }
    f.fsync()?;
    let ext = fiemap(&f, 0, u64::MAX, true, 100)?;
    ensure!(
        ext.iter().all(|e| e.flags & UNWRITTEN == 0),
        "unwritten extents are left: {ext:?}"
    );
    t.drop_caches()?;
    holds(&f, 0, &pattern(1, 0, 2 * n * bs), "all written")?;
    Ok(())
}

/// Files that libext2fs wrote, sparse and fragmented, and unwritten extents it made.
fn by_debugfs(t: &mut T) -> Res {
    let bs = t.bs();
    let src = "/mnt/source";
    let s = put(src, 4, 700_000)?;
    s.punch(100_000, 200_000)?;
    t.mkfs(64, &[])?;
    t.debugfs(&[
        &format!("write {src} copied"),
        "write /dev/null pre",
        &format!("fallocate pre 0 {}", 50),
        &format!("sif pre size {}", 20 * bs),
    ])?;
    t.mount("")?;
    let mut want = pattern(4, 0, 700_000);
    want[100_000..300_000].fill(0);
    holds(
        &sys::rdonly(&t.p("copied"))?,
        0,
        &want,
        "written by debugfs",
    )?;
    let f = sys::rdwr(&t.p("pre"))?;
    holds(&f, 0, &vec![0; 20 * bs as usize], "preallocated by debugfs")?;
    f.pwrite(&pattern(5, 3 * bs, 100), 3 * bs)?;
    t.drop_caches()?;
    let mut want = vec![0; 20 * bs as usize];
    want[3 * bs as usize..3 * bs as usize + 100].copy_from_slice(&pattern(5, 3 * bs, 100));
    holds(&f, 0, &want, "written into it")?;
    sys::unlink(src)?;
    Ok(())
}

/// A file larger than a block group, and groups never used before (uninit bitmaps).
fn groups(t: &mut T) -> Res {
    t.fresh_mb(256)?;
    let f = sys::create(&t.p("f"))?;
    let piece = 1 << 20;
    for i in 0..150u64 {
        f.pwrite(&pattern(i, 0, piece), i * piece as u64)?;
    }
    f.fsync()?;
    t.drop_caches()?;
    for i in 0..150u64 {
        holds(&f, i * piece as u64, &pattern(i, 0, piece), "from disk")?;
    }
    for i in 0..60 {
        sys::mkdir(&t.p(&format!("d{i}")), 0o755)?;
        put(&t.p(&format!("d{i}/f")), i, 50_000)?;
    }
    drop(f);
    t.cycle()?;
    for i in 0..60 {
        holds(
            &sys::rdonly(&t.p(&format!("d{i}/f")))?,
            0,
            &pattern(i, 0, 50_000),
            "remounted",
        )?;
    }
    Ok(())
}

/// An allocation waits for a bitmap from a slow disk. Reads of what the file has do not wait too.
fn slow_bitmap(t: &mut T) -> Res {
    let dev = t.dev.clone();
    t.mkfs(64, &[])?;
    let d = t.mapped("slow", 64)?;
    let fs = t.fs.clone();
    t.mount_as(&d.path, MNT, &fs, 0, "")?;
    put(&t.p("f"), 1, 4096)?;
    t.umount_dir(MNT)?;
    // A new access time goes to the disk with the root of the tree, which the extent lock owns.
    t.mount_as(&d.path, MNT, &fs, libc::MS_NOATIME, "")?;
    // As udev's probes do: what it leaves in the cache must not be what e2fsck sees in the end.
    t.peek(0, 8192)?;
    let f = sys::rdwr(&t.p("f"))?;
    let first = fiemap(&f, 0, 4096, false, 1)?[0].phys / 512;
    holds(&f, 0, &pattern(1, 0, 4096), "before")?;
    // All metadata lies before the first file's data: what is read of it stays on its way.
    let for_good = dm::FOR_GOOD;
    let params = format!("{dev} 0 {for_good} {dev} 0 0");
    let slow = (0, first, "delay", params);
    let rest = (first, 64 * 2048 - first, "linear", format!("{dev} {first}"));
    if let Err(e) = d.swap(&[slow, rest]) {
        skip!("no delay target: {e}");
    }
    f.pwrite(b"x", 1 << 20)?;
    let direct = sys::direct(&t.p("f"))?;
    std::thread::scope(|s| -> Res {
        let allocation = wait::spawn(s, || f.fsync());
        let waits = allocation.waits();
        let read = wait::spawn(s, || direct.pread(&mut Aligned::new(4096), 0));
        let came = read.ends();
        d.swap(&[dm::linear(&dev, 0, 64)])?;
        allocation.join()??;
        read.join()??;
        ensure!(waits?, "the bitmap was there");
        ensure!(came?, "a read waits for the bitmap of an allocation");
        Ok(())
    })?;
    drop((f, direct));
    t.umount_dir(MNT)?;
    Ok(())
}
