// SPDX-License-Identifier: GPL-2.0
//! Directories with an index of three levels (`large_dir`).

use crate::fixture::{knows_fs, names, run_cmd, T};
use crate::harness::{Case, Res, K1};
use crate::sys;
use crate::{ensure, errno, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("dirs_large/three_levels", &[K1], three_levels).secs(300),
    Case::new("dirs_large/of_the_other", &[K1], of_the_other).secs(300),
];

/// The longest names: three to a block.
fn name(t: &T, i: u32) -> String {
    t.p(&format!(
        "d/{:0>254}",
        format!("{}-{i}", i.wrapping_mul(2_654_435_761))
    ))
}

/// Names of one file in `d` until its index has three levels, or there is no room for one. Returns
/// how many there are.
fn fill(t: &T, most: u32) -> Res<u32> {
    sys::mkdir(&t.p("d"), 0o755)?;
    let first = t.p("file");
    sys::create(&first)?;
    for i in 0..most {
        // A file has 65,000 names.
        match sys::link(&first, &name(t, i)) {
            Err(e) if e.errno == libc::ENOSPC => return Ok(i),
            r => r?,
        }
    }
    Ok(most)
}

/// Levels of the index of `d`, as debugfs has them.
fn levels(t: &T) -> Res<u64> {
    let (_, text) = run_cmd("debugfs", &["-R", "htree_dump /d", &t.dev])?;
    let after = text.split("Indirect levels:").nth(1);
    let digits = after.and_then(|s| s.split_whitespace().next());
    match digits.and_then(|d| d.parse().ok()) {
        Some(n) => Ok(n),
        None => fail!("htree_dump: {}", &text[..text.len().min(300)]),
    }
}

const MANY: u32 = 40_000;

/// The names are there, all of them, by name and in the list.
fn all_there(t: &T, count: u32) -> Res {
    let listed = names(&t.p("d"))?;
    same!(listed.len(), count as usize, "names listed");
    for i in (0..count).step_by(37) {
        ensure!(sys::exists(&name(t, i)), "name {i}");
    }
    errno!(sys::lstat(&name(t, MANY)), ENOENT);
    Ok(())
}

/// Without the feature the third level is refused; with it names go on, and all can go again.
fn three_levels(t: &mut T) -> Res {
    t.mkfs(96, &["-N", "64"])?;
    t.mount("")?;
    let two = fill(t, MANY)?;
    ensure!(two < MANY, "no end without large_dir");
    all_there(t, two)?;
    t.umount()?;
    t.fsck()?;
    t.mkfs(96, &["-N", "64", "-O", "large_dir"])?;
    t.mount("")?;
    let count = fill(t, two + 3000)?;
    same!(count, two + 3000, "names with large_dir");
    all_there(t, count)?;
    t.umount()?;
    same!(levels(t)?, 2, "levels of nodes below the root");
    t.fsck()?;
    t.mount("")?;
    all_there(t, count)?;
    for i in 0..count {
        sys::unlink(&name(t, i))?;
    }
    same!(names(&t.p("d"))?.len(), 0, "names left");
    sys::rmdir(&t.p("d"))?;
    Ok(())
}

/// One of the kernel's ext4 is read and changed, and the other way round.
fn of_the_other(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one file system");
    }
    let ours = t.fs.clone();
    t.fs = "ext4".to_string();
    t.mkfs(96, &["-N", "64", "-O", "large_dir"])?;
    t.mount("")?;
    let count = fill(t, 30_000)?;
    t.umount()?;
    same!(levels(t)?, 2, "levels that ext4 made");
    t.fs = ours;
    t.mount("")?;
    all_there(t, count)?;
    for i in count..count + 2000 {
        sys::link(&t.p("file"), &name(t, i))?;
    }
    for i in (0..count).step_by(3) {
        sys::unlink(&name(t, i))?;
    }
    let left = names(&t.p("d"))?;
    t.umount()?;
    t.fsck()?;
    t.fs = "ext4".to_string();
    t.mount("")?;
    ensure!(names(&t.p("d"))? == left, "not what ext4 lists");
    t.umount()?;
    Ok(())
}
