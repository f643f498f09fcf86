// SPDX-License-Identifier: GPL-2.0
//! What the super block says for people: where it was mounted, how often, how much was written.

use crate::fixture::{put, run_cmd, MNT, MNT2, T};
use crate::harness::{Case, Res, Stop, ALL, FEATS};
use crate::sys;
use crate::{ensure, same};
use std::time::{SystemTime, UNIX_EPOCH};

pub const CASES: &[Case] = &[
    Case::new("about/mounted", FEATS, mounted).quick(),
    Case::new("about/paths", ALL, paths),
    Case::new("about/lifetime", FEATS, lifetime).quick(),
];

/// A field of `dumpe2fs -h`, of the unmounted device.
fn field(t: &T, name: &str) -> Res<String> {
    let (code, head) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    ensure!(code == 0, "dumpe2fs -h exit {code}: {head}");
    let line = head.lines().find_map(|l| l.strip_prefix(name));
    match line.and_then(|l| l.strip_prefix(':')) {
        Some(value) => Ok(value.trim().to_string()),
        None => Err(Stop::Fail(format!("no {name:?} in {head}"))),
    }
}

fn last_mounted(t: &T) -> Res<String> {
    field(t, "Last mounted on")
}

/// Bytes of the super block as a number.
fn number(t: &T, at: u64, len: usize) -> Res<u64> {
    let bytes = t.peek(1024 + at, len)?;
    Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// Count and times of a mount, and its place from the first open on.
fn mounted(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    same!(last_mounted(t)?, "<not available>", "new");
    let began = now();
    t.mount("")?;
    sys::mkdir(&t.p("d"), 0o755)?;
    t.umount()?;
    same!(last_mounted(t)?, "<not available>", "nothing was opened");
    same!(field(t, "Mount count")?, "1", "the first mount");
    for (at, what) in [(0x2c, "mount time"), (0x30, "write time")] {
        let time = number(t, at, 4)?;
        let (from, to) = (began as u32 as u64, now() as u32 as u64);
        ensure!((from..=to).contains(&time), "{what} {time}");
    }
    t.mount("")?;
    put(&t.p("f"), 1, 5000)?;
    t.umount()?;
    same!(last_mounted(t)?, MNT, "after a file was made");
    same!(field(t, "Mount count")?, "2", "the second mount");
    // Read-only, nothing changes.
    let before = t.image(64)?;
    let (dev, fs) = (t.dev.clone(), t.fs.clone());
    t.mount_as(&dev, MNT2, &fs, libc::MS_RDONLY, "")?;
    sys::rdonly(&format!("{MNT2}/f"))?;
    t.umount_dir(MNT2)?;
    t.unchanged(&before, "opened on a read-only mount")?;
    // To be made writable later.
    t.mount_as(&dev, MNT2, &fs, libc::MS_RDONLY, "")?;
    sys::rdonly(&format!("{MNT2}/f"))?;
    sys::mount("none", MNT2, &fs, libc::MS_REMOUNT, "")?;
    sys::rdonly(&format!("{MNT2}/f"))?;
    t.umount_dir(MNT2)?;
    same!(last_mounted(t)?, MNT2, "opened after remount,rw");
    Ok(())
}

/// Paths as long as the field, and longer; a mount that is frozen when a file is opened first.
fn paths(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 5000)?;
    t.umount()?;
    let (dev, fs) = (t.dev.clone(), t.fs.clone());
    let mut last = MNT.to_string();
    for len in [62, 63, 64, 65, 200] {
        let dir = format!("/mnt/{}", "x".repeat(len - 5));
        sys::mkdir(&dir, 0o755)?;
        t.mount_as(&dev, &dir, &fs, 0, "")?;
        sys::rdonly(&format!("{dir}/f"))?;
        t.umount_dir(&dir)?;
        // With the zero byte behind it, it must fit in 64 bytes.
        if len < 64 {
            last = dir.clone();
        }
        same!(last_mounted(t)?, last, "a path of {len} bytes");
        sys::rmdir(&dir)?;
    }
    t.mount_as(&dev, MNT2, &fs, 0, "")?;
    let root = sys::open(MNT2, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.freeze(true)?;
    let opened = sys::rdonly(&format!("{MNT2}/f"));
    root.freeze(false)?;
    opened?;
    // Not while it was frozen, but the next time.
    sys::rdonly(&format!("{MNT2}/f"))?;
    drop(root);
    t.umount_dir(MNT2)?;
    same!(last_mounted(t)?, MNT2, "opened after a freeze");
    Ok(())
}

/// KiB written, over mounts of both file systems.
fn lifetime(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let kib = |t: &T| number(t, 0x178, 8);
    let mut before = kib(t)?;
    let ours = t.fs.clone();
    for (i, fs) in [ours.as_str(), ours.as_str(), "ext4", ours.as_str()]
        .into_iter()
        .enumerate()
    {
        if !crate::fixture::knows_fs(fs) {
            continue;
        }
        let dev = t.dev.clone();
        t.mount_as(&dev, MNT, fs, 0, "")?;
        put(&t.p("f"), i as u64, 8 << 20)?.fsync()?;
        t.umount()?;
        let after = kib(t)?;
        // And what goes to the journal.
        let range = before + 8192..before + 8192 + 2048;
        ensure!(
            range.contains(&after),
            "mount {i} ({fs}): {before} KiB, then {after}"
        );
        before = after;
    }
    // A freeze tells it, too.
    t.mount("")?;
    put(&t.p("f"), 9, 4 << 20)?.fsync()?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.freeze(true)?;
    let frozen = kib(t);
    root.freeze(false)?;
    ensure!(frozen? >= before + 4096, "while frozen");
    drop(root);
    t.umount()?;
    ensure!(kib(t)? >= before + 4096, "after the freeze");
    Ok(())
}
