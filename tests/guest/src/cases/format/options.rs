// SPDX-License-Identifier: GPL-2.0
//! What mount options of ext4 change, asked of both.

use crate::cases::namespace::acl::as_user;
use crate::fixture::{pattern, put, run_cmd, MNT, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::sys;
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("options/grpid", ONE, grpid).quick(),
    Case::new("options/resuid", ALL, resuid).quick(),
    Case::new("options/minixdf", ALL, minixdf),
    Case::new("options/max_dir_size", ALL, max_dir_size),
];

/// The file system under test, then the kernel's ext4.
fn both(t: &mut T, mut act: impl FnMut(&mut T) -> Res) -> Res {
    let ours = t.fs.clone();
    for fs in [ours.as_str(), "ext4"] {
        t.fs = fs.to_string();
        act(t)?;
    }
    t.fs = ours;
    Ok(())
}

/// Group and set-group-ID bit of a new file and a new directory.
fn made(t: &T, name: &str) -> Res<[(u32, bool); 2]> {
    let (file, dir) = (t.p(&format!("d/f{name}")), t.p(&format!("d/d{name}")));
    put(&file, 1, 10)?;
    sys::mkdir(&dir, 0o755)?;
    let of = |path: &str| sys::lstat(path).map(|st| (st.st_gid, st.st_mode & 0o2000 != 0));
    Ok([of(&file)?, of(&dir)?])
}

/// Whether /proc/mounts shows an option.
fn shown(option: &str) -> Res<bool> {
    let all = std::fs::read_to_string("/proc/mounts")?;
    let line = all.lines().find(|l| l.contains(MNT)).unwrap_or("");
    let options = line.split_whitespace().nth(3).unwrap_or("");
    Ok(options.split(',').any(|o| o == option))
}

/// The group of the directory, by option or by the super block, whatever its mode.
fn grpid(t: &mut T) -> Res {
    both(t, |t| {
        t.mkfs(64, &[])?;
        t.mount("")?;
        sys::mkdir(&t.p("d"), 0o755)?;
        sys::lchown(&t.p("d"), 0, 5000)?;
        same!(made(t, "0")?, [(0, false), (0, false)], "without");
        t.remount(0, "grpid")?;
        same!(made(t, "1")?, [(5000, false), (5000, false)], "grpid");
        sys::chmod(&t.p("d"), 0o2755)?;
        same!(made(t, "2")?, [(5000, false), (5000, false)], "setgid");
        t.remount(0, "sysvgroups")?;
        same!(made(t, "3")?, [(5000, false), (5000, true)], "sysvgroups");
        sys::chmod(&t.p("d"), 0o755)?;
        t.umount()?;
        let (code, text) = run_cmd("tune2fs", &["-o", "bsdgroups", &t.dev])?;
        ensure!(code == 0, "tune2fs: {text}");
        t.mount("")?;
        same!(made(t, "4")?, [(5000, false), (5000, false)], "tune2fs -o");
        same!(shown("grpid")?, false, "the default in /proc/mounts");
        t.umount()?;
        t.mount("nogrpid")?;
        same!(shown("nogrpid")?, true, "in /proc/mounts");
        same!(made(t, "5")?, [(0, false), (0, false)], "nogrpid");
        t.umount()?;
        t.fsck()
    })
}

/// What user 1000 can write until the disk is full for him.
fn write_all(path: &str) -> i32 {
    as_user(1000, || {
        let Ok(f) = sys::open(path, libc::O_WRONLY, 0) else {
            return 2;
        };
        let Ok(mut at) = f.size() else { return 3 };
        loop {
            match f.pwrite_once(&pattern(1, at, 60_000), at) {
                Ok(n) => at += n as u64,
                Err(e) => return i32::from(e.errno != libc::ENOSPC),
            }
        }
    })
}

/// The reserved blocks are for whom the options name, from the remount on.
fn resuid(t: &mut T) -> Res {
    for option in ["resuid=1000", "resgid=1000"] {
        both(t, |t| {
            t.mkfs(24, &["-m", "25", "-J", "size=4"])?;
            t.mount("")?;
            let path = t.p("f");
            put(&path, 1, 10)?;
            sys::chmod(&path, 0o666)?;
            let kept = sys::statfs(&t.p(""))?;
            let kept = kept.f_bfree - kept.f_bavail;
            same!(write_all(&path), 0, "first");
            let left = sys::statfs(&t.p(""))?.f_bfree;
            ensure!(left >= kept / 2, "{left} blocks left of {kept}");
            t.remount(0, option)?;
            same!(write_all(&path), 0, "with {option}");
            let left = sys::statfs(&t.p(""))?.f_bfree;
            ensure!(left < kept / 2, "{option}: {left} blocks left of {kept}");
            same!(shown(option)?, true, "in /proc/mounts");
            t.umount()?;
            t.fsck()
        })?;
    }
    Ok(())
}

/// All blocks of the disk, or without those of the fixed metadata.
fn minixdf(t: &mut T) -> Res {
    let mut counts = Vec::new();
    both(t, |t| {
        t.mkfs(64, &[])?;
        for option in ["", "minixdf", "bsddf"] {
            t.mount(option)?;
            counts.push(sys::statfs(&t.p(""))?.f_blocks);
            t.umount()?;
        }
        Ok(())
    })?;
    let [plain, all, bsd, ext4 @ ..] = counts.as_slice() else {
        return Ok(());
    };
    same!(*all, (64 << 20) / t.bs(), "all blocks");
    ensure!(plain < all && plain == bsd, "{counts:?}");
    same!(ext4, &[*plain, *all, *bsd], "of ext4");
    Ok(())
}

/// A directory grows up to the limit, and not beyond.
fn max_dir_size(t: &mut T) -> Res {
    both(t, |t| {
        t.mkfs(64, &[])?;
        t.mount("max_dir_size_kb=8")?;
        let dir = t.p("d");
        sys::mkdir(&dir, 0o755)?;
        let name = |i: u32| format!("{dir}/{}{i}", "n".repeat(200));
        let made = (0..200).take_while(|i| sys::create(&name(*i)).is_ok());
        let made = made.count() as u32;
        errno!(sys::create(&name(made)).map(drop), ENOSPC);
        let size = sys::lstat(&dir)?.st_size as u64;
        same!(size, 8 << 10, "size with {made} names");
        t.remount(0, "max_dir_size_kb=0")?;
        sys::create(&name(made))?;
        t.umount()?;
        t.fsck()
    })
}
