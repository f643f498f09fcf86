// SPDX-License-Identifier: GPL-2.0
//! What it costs to write many inodes, and who writes them.

use crate::fixture::{names, put, MNT2, T};
use crate::harness::{Case, Res, ONE};
use crate::sys;
use crate::{ensure, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("sync/lazytime", ONE, lazytime).quick(),
    Case::new("sync/full_disk", ONE, full_disk).quick(),
    Case::new("sync/own_queue", ONE, own_queue).quick(),
];

/// Transactions of the file system's journal so far.
pub fn transactions(t: &T) -> Res<u64> {
    let dev = t.dev.rsplit('/').next().unwrap_or_default();
    let text = std::fs::read_to_string(format!("/proc/fs/jbd2/{dev}-8/info"));
    let first = text.ok().and_then(|s| s.split(' ').next()?.parse().ok());
    match first {
        Some(n) => Ok(n),
        None => skip!("no statistics of the journal"),
    }
}

/// sync(2) after many files were read with lazytime: one commit, not one for each.
fn lazytime(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.try_mount(libc::MS_LAZYTIME | libc::MS_STRICTATIME, "commit=300")?;
    for i in 0..200 {
        put(&t.p(&format!("f{i}")), i, 100)?;
    }
    sys::sync();
    for i in 0..200 {
        sys::rdonly(&t.p(&format!("f{i}")))?.pread(&mut [0; 100], 0)?;
    }
    let before = transactions(t)?;
    sys::sync();
    let n = transactions(t)? - before;
    ensure!(n < 10, "{n} transactions for one sync");
    Ok(())
}

/// Writes that a full disk refuses, over and over: nothing is left to write, and nothing is.
fn full_disk(t: &mut T) -> Res {
    t.mkfs(32, &["-m", "0"])?;
    t.mount("commit=300")?;
    let f = sys::create(&t.p("f"))?;
    let mut at = 0;
    while let Ok(n) = f.pwrite_once(&[7; 65_536], at) {
        at += n as u64;
    }
    let before = transactions(t)?;
    for _ in 0..100 {
        same!(
            f.pwrite_once(&[7], at + (1 << 20)).map_err(|e| e.errno),
            Err(libc::ENOSPC),
            "write on a full disk"
        );
    }
    let n = transactions(t)? - before;
    ensure!(n < 20, "{n} transactions for 100 refused writes");
    Ok(())
}

/// The threads that work queues of ours have in reserve.
fn rescuers() -> Res<usize> {
    let comm = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let ours = |pid: &String| comm(pid).is_ok_and(|c| c.starts_with("kworker/R-rext4"));
    Ok(names("/proc")?.iter().filter(|pid| ours(pid)).count())
}

/// How many there are when none of earlier mounts is on its way out any more.
fn settled() -> Res<usize> {
    let (mut last, mut looks) = (0, 0);
    let settles = wait::until(|| {
        let now = rescuers()?;
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        Ok(looks >= 20)
    })?;
    ensure!(settles, "rescuers come and go");
    Ok(last)
}

/// Each mount completes its writes in a queue of its own: one may wait for the other.
fn own_queue(t: &mut T) -> Res {
    if !t.ours() {
        skip!("about threads of rext4");
    }
    let Some(other) = t.disks.get(1).cloned() else {
        skip!("needs a second disk");
    };
    t.fresh()?;
    let one = settled()?;
    t.mkfs_on(&other, 64, &[])?;
    let fs = t.fs.clone();
    t.mount_as(&other, MNT2, &fs, 0, "")?;
    same!(settled()?, one + 1, "rescuers with a second mount");
    put(&format!("{MNT2}/f"), 1, 1 << 20)?.fsync()?;
    t.umount_dir(MNT2)?;
    same!(settled()?, one, "rescuers after its unmount");
    put(&t.p("f"), 1, 1 << 20)?.fsync()?;
    Ok(())
}
