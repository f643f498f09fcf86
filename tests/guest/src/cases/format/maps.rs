// SPDX-License-Identifier: GPL-2.0
//! Block maps, those of ext2 and ext3: what the kernel's ext4 wrote is read.

use crate::ensure;
use crate::fixture::{knows_fs, names, pattern, put, MNT, T};
use crate::harness::{Case, Res, MAPS};
use crate::sys;
use crate::{errno, skip};
use std::hash::{DefaultHasher, Hasher};

pub const CASES: &[Case] = &[
    Case::new("maps/read", MAPS, read).quick(),
    Case::new("maps/beside", MAPS, beside).quick(),
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

/// What ext4 wrote is what is read, cached and from the disk.
fn read(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let want = by_ext4(t)?;
    t.try_mount(libc::MS_RDONLY, "")?;
    same_sight(&see(t)?, &want, "read")?;
    same_sight(&see(t)?, &want, "read again")?;
    t.umount()
}

/// Files with block maps beside others: in a file system that has had extents only lately.
fn beside(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let want = by_ext4(t)?;
    let (code, text) = crate::fixture::run_cmd("tune2fs", &["-O", "extent", &t.dev])?;
    ensure!(code == 0, "tune2fs: {text}");
    t.mount("")?;
    same_sight(&see(t)?, &want, "beside")?;
    put(&t.p("new"), 1, 100_000)?;
    errno!(sys::rdwr(&t.p("holes"))?.pwrite(b"x", 0), EOPNOTSUPP);
    errno!(sys::rdwr(&t.p("holes"))?.truncate(1), EOPNOTSUPP);
    t.cycle()?;
    t.file_holds("new", &pattern(1, 0, 100_000), "new")?;
    sys::unlink(&t.p("new"))?;
    same_sight(&see(t)?, &want, "again")?;
    Ok(())
}
