// SPDX-License-Identifier: GPL-2.0
//! Which read-only mounts finish the orphans of the last mount, and what becomes of those that they
//! leave.

use crate::cases::power::crash::{cut, lights_on, on_dm, start};
use crate::cases::power::orphans::{chain, killed_over, one_of_each, script, sound, usable, SUPER};
use crate::fixture::{put, T};
use crate::harness::{Case, Res, Variant, FEATS, K1, K4, ORPHAN};
use crate::sys;
use crate::{ensure, errno, same, skip};

const KINDS: &[Variant] = &[K1, K4, ORPHAN];

pub const CASES: &[Case] = &[
    Case::new("orphan/read_only", KINDS, read_only).quick(),
    Case::new("orphan/read_only_crash", FEATS, read_only_crash).quick(),
    Case::new("orphan/killed_beside", KINDS, killed_beside).quick(),
    Case::new("orphan/killed_early", KINDS, killed_early).quick(),
];

/// Whether the device refuses writes.
pub fn set_read_only(dev: &str, on: bool) -> Res {
    let f = sys::open(dev, libc::O_RDONLY, 0)?;
    let mut v = i32::from(on);
    // SAFETY: BLKROSET takes an int.
    unsafe { f.ioctl(0x125D, &mut v)? };
    Ok(())
}

/// The number at the head of the list.
fn head(t: &T) -> Res<u32> {
    let raw = t.peek(SUPER + 0xe8, 4)?;
    Ok(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
}

/// A clean log and a list: as a remount to read-only leaves it to ext4 with a removed file open.
/// They are finished, unless something is in the way, and then the list stays as it was.
fn read_only(t: &mut T) -> Res {
    for (what, option, kept) in [
        ("device", "", true),
        ("norecovery", "norecovery", true),
        ("feature", "", true),
        ("mark", "", true),
        ("nothing", "", false),
    ] {
        // ext4 finishes them, without the journal.
        if what == "norecovery" && !t.ours() {
            continue;
        }
        one_of_each(t)?;
        t.broken = kept;
        t.mount("")?;
        let before = sys::statfs(&t.p(""))?;
        t.umount()?;
        let first = chain(t, &["reg", "fast", "slow"], false)?[0] as u32;
        match what {
            // Of those that a reader may ignore: nobody knows what writers would have to do.
            "feature" => drop(script(t, &["feature FEATURE_R30".to_string()])?),
            "mark" => drop(script(t, &["ssv state 3".to_string()])?),
            _ => (),
        }
        let image = t.image(64)?;
        set_read_only(&t.dev, what == "device")?;
        let mounted = t.try_mount(libc::MS_RDONLY, option);
        set_read_only(&t.dev, false)?;
        mounted?;
        let now = sys::statfs(&t.p(""))?;
        errno!(sys::mkdir(&t.p("x"), 0o755), EROFS);
        same!(sys::lstat(&t.p("good"))?.st_size, 5000, "another file");
        t.umount()?;
        if kept {
            same!(now.f_ffree, before.f_ffree, "{what}: free inodes");
            // ext4 throws the list of a marked file system away.
            if t.ours() || what != "mark" {
                same!(head(t)?, first, "{what}: head of the list");
                t.unchanged(&image, what)?;
            }
            continue;
        }
        same!(head(t)?, 0, "{what}: head of the list");
        same!(now.f_ffree, before.f_ffree + 3, "{what}: free inodes");
        let held = 50_000u64.div_ceil(t.bs()) + 1;
        same!(now.f_bfree, before.f_bfree + held, "{what}: free blocks");
        t.fsck()?;
        t.try_mount(libc::MS_RDONLY, option)?;
        t.remount(0, "")?;
        usable(t)?;
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// After a power cut a read-only mount leaves a disk that is clean: the log is empty, files that
/// nobody names are gone, those that were being cut are as long as they say.
fn read_only_crash(t: &mut T) -> Res {
    let d = start(t)?;
    put(&t.p("stays"), 1, 5000)?.fsync()?;
    sys::sync();
    let before = sys::statfs(&t.p(""))?;
    let gone: Vec<_> = (0..3)
        .map(|i| {
            let f = put(&t.p("gone"), i, 60_000)?;
            f.fsync()?;
            sys::unlink(&t.p("gone"))?;
            Ok(f)
        })
        .collect::<Res<_>>()?;
    sys::sync();
    cut(t, &d)?;
    drop(gone);
    lights_on(t, &d)?;
    t.try_mount(libc::MS_RDONLY, "")?;
    let now = sys::statfs(&t.p(""))?;
    same!(now.f_ffree, before.f_ffree, "free inodes");
    same!(now.f_bfree, before.f_bfree, "free blocks");
    same!(
        sys::lstat(&t.p("stays"))?.st_size,
        5000,
        "a file with a name"
    );
    t.umount()?;
    same!(head(t)?, 0, "head of the list");
    let text = t.debugfs(&["stats"])?;
    ensure!(!text.contains("needs_recovery"), "not clean: {text}");
    ensure!(!text.contains("orphan_present"), "orphans: {text}");
    t.fsck()
}

/// An image with a file of 50,000 bytes, "cut", that is truncated to 777 by who makes the mount a
/// writing one; `more` of an orphan list are behind it. Mounted read-only. Returns the number of
/// the file.
fn to_be_cut(t: &mut T, more: &[&str]) -> Res<u64> {
    one_of_each(t)?;
    t.mount("")?;
    put(&t.p("cut"), 1, 50_000)?;
    t.umount()?;
    let next = match more {
        [] => 0,
        _ => chain(t, more, false)?[0],
    };
    let n = chain(t, &["cut"], true)?[0];
    script(
        t,
        &[
            format!("sif <{n}> dtime @{next}"),
            "sif /cut size 777".to_string(),
        ],
    )?;
    t.drop_caches()?;
    // Else they are finished here.
    set_read_only(&t.dev, true)?;
    let mounted = t.try_mount(libc::MS_RDONLY, "");
    set_read_only(&t.dev, false)?;
    mounted?;
    Ok(n)
}

/// A remount to read-write is killed while a truncation is finished. Before the next one another
/// program finishes it, or removes the file: no reason to call the disk corrupt.
fn killed_beside(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 goes on with the counts of the mount");
    }
    let d = on_dm(t)?;
    for end in ["punch /cut 1", "rm /cut"] {
        let n = to_be_cut(t, &[])?;
        let killed = killed_over(&d, || drop(t.remount(0, "")))?;
        ensure!(killed, "the remount had ended");
        let cmds = ["ssv last_orphan 0", &format!("sif <{n}> dtime @0"), end];
        script(t, &cmds.map(str::to_string))?;
        t.forget_log();
        t.remount(0, "")?;
        ensure!(!t.logged(&[&["orphan"]]), "{end}: {:?}", t.seen);
        if end == "rm /cut" {
            errno!(sys::lstat(&t.p("cut")), ENOENT);
        } else {
            let held = sys::lstat(&t.p("cut"))?.st_blocks as u64 * 512;
            same!(held, t.bs(), "bytes of its blocks");
        }
        sound(t)?;
    }
    Ok(())
}

/// Who is killed over the first orphan of many does not finish the others; the next one does.
fn killed_early(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 refuses the remount");
    }
    let d = on_dm(t)?;
    to_be_cut(t, &["reg", "slow"])?;
    let killed = killed_over(&d, || drop(t.remount(0, "")))?;
    ensure!(killed, "the remount had ended");
    let before = sys::statfs(&t.p(""))?;
    t.remount(0, "")?;
    let now = sys::statfs(&t.p(""))?;
    same!(now.f_ffree, before.f_ffree + 2, "free inodes");
    let held = sys::lstat(&t.p("cut"))?.st_blocks as u64 * 512;
    same!(held, t.bs(), "bytes of its blocks");
    sound(t)
}
