// SPDX-License-Identifier: GPL-2.0
//! Renames that leave a whiteout, and overlayfs, which wants them of its upper layer.

use crate::cases::power::crash;
use crate::fixture::{names, pattern, put, MNT2, T};
use crate::harness::{Case, Res, ALL, FEATS};
use crate::sys::{self, Sys, EXCHANGE, NOREPLACE, WHITEOUT};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("names/whiteout", FEATS, whiteout).quick(),
    Case::new("names/whiteout_full", ALL, full),
    Case::new("names/whiteout_crash", ALL, durable),
    Case::new("names/overlay", ALL, overlay).quick(),
];

/// Whether there is a whiteout: a character device without a number and without rights.
fn is_whiteout(path: &str) -> Sys<bool> {
    let s = sys::lstat(path)?;
    Ok(s.st_mode == libc::S_IFCHR && s.st_rdev == 0 && s.st_nlink == 1 && s.st_size == 0)
}

/// In a directory, from one to another, over something; files and directories.
fn whiteout(t: &mut T) -> Res {
    t.fresh()?;
    let p = |n: &str| t.p(n);
    sys::mkdir(&p("d"), 0o755)?;
    let free = sys::statfs(&p(""))?.f_ffree;
    put(&p("a"), 1, 1000)?;
    sys::rename2(&p("a"), &p("b"), WHITEOUT)?;
    ensure!(is_whiteout(&p("a"))?, "no whiteout in the directory");
    t.file_holds("b", &pattern(1, 0, 1000), "moved")?;
    same!(sys::statfs(&p(""))?.f_ffree, free - 2, "inodes");
    sys::rename2(&p("b"), &p("d/c"), WHITEOUT | NOREPLACE)?;
    ensure!(is_whiteout(&p("b"))?, "no whiteout left behind");
    errno!(
        sys::rename2(&p("b"), &p("d/c"), WHITEOUT | NOREPLACE),
        EEXIST
    );
    errno!(
        sys::rename2(&p("b"), &p("d/c"), WHITEOUT | EXCHANGE),
        EINVAL
    );
    // Over another file, a whiteout among them.
    put(&p("e"), 2, 500)?;
    sys::rename2(&p("e"), &p("a"), WHITEOUT)?;
    ensure!(is_whiteout(&p("e"))?, "no whiteout of what replaced");
    t.file_holds("a", &pattern(2, 0, 500), "over a whiteout")?;
    // A directory, with what is in it; links are counted as without.
    sys::mkdir(&p("sub"), 0o755)?;
    put(&p("sub/f"), 3, 10)?;
    sys::rename2(&p("sub"), &p("d/sub"), WHITEOUT)?;
    ensure!(is_whiteout(&p("sub"))?, "no whiteout of a directory");
    same!(sys::lstat(&p("d"))?.st_nlink, 3, "links of the new parent");
    same!(
        sys::lstat(&p("d/sub/.."))?.st_ino,
        sys::lstat(&p("d"))?.st_ino,
        "\"..\""
    );
    many(t)?;
    for gone in ["a", "b", "e", "sub", "d/c", "d/sub/f"] {
        sys::unlink(&t.p(gone))?;
    }
    sys::rmdir(&t.p("d/sub"))?;
    same!(sys::statfs(&t.p(""))?.f_ffree, free, "inodes at the end");
    Ok(())
}

/// As many as split leaves, so that the old entry moves meanwhile.
fn many(t: &mut T) -> Res {
    let name = |i: u64| format!("d/{}{i}", "n".repeat(60));
    let moved = |i: u64| format!("d/m{}{i}", "n".repeat(60));
    for i in 0..300 {
        put(&t.p(&name(i)), i, 1)?;
        sys::rename2(&t.p(&name(i)), &t.p(&moved(i)), WHITEOUT)?;
    }
    t.cycle()?;
    for old in ["b", "e", "sub"] {
        ensure!(is_whiteout(&t.p(old))?, "{old} after a remount");
    }
    for i in 0..300 {
        ensure!(is_whiteout(&t.p(&name(i)))?, "whiteout {i}");
        t.file_holds(&moved(i), &pattern(i, 0, 1), "moved")?;
        sys::unlink(&t.p(&name(i)))?;
        sys::unlink(&t.p(&moved(i)))?;
    }
    Ok(())
}

/// Without an inode, or without room for the new name, nothing has happened.
fn full(t: &mut T) -> Res {
    t.mkfs(16, &["-m", "0", "-N", "64"])?;
    t.mount("")?;
    let p = |n: &str| t.p(n);
    sys::mkdir(&p("d"), 0o755)?;
    put(&p("a"), 1, 100)?;
    let mut made = 0;
    while sys::create(&p(&format!("i{made}"))).is_ok() {
        made += 1;
    }
    errno!(sys::rename2(&p("a"), &p("b"), WHITEOUT), ENOSPC);
    errno!(sys::lstat(&p("b")), ENOENT);
    for i in 0..made {
        sys::unlink(&p(&format!("i{i}")))?;
    }
    // A directory that is full, and no block for it.
    let name = |i: u32| p(&format!("d/{}{i}", "x".repeat(200)));
    let filler = sys::create(&p("filler"))?;
    let mut at = 0;
    for step in [1 << 20, 64 << 10, t.bs()] {
        while filler.fallocate(0, at, step).is_ok() {
            at += step;
        }
    }
    sys::sync();
    let mut linked = 0;
    while sys::link(&p("filler"), &name(linked)).is_ok() {
        linked += 1;
    }
    let inodes = sys::statfs(&p(""))?.f_ffree;
    errno!(sys::rename2(&p("a"), &name(9999), WHITEOUT), ENOSPC);
    t.file_holds("a", &pattern(1, 0, 100), "where it was")?;
    sys::sync();
    same!(sys::statfs(&p(""))?.f_ffree, inodes, "inodes");
    Ok(())
}

/// After a crash both are there, or none.
fn durable(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let p = |n: &str| t.p(n);
    sys::mkdir(&p("d"), 0o755)?;
    for i in 0..40 {
        put(&p(&format!("f{i}")), i, 100)?.fsync()?;
    }
    sys::sync();
    for i in 0..40 {
        sys::rename2(&p(&format!("f{i}")), &p(&format!("d/f{i}")), WHITEOUT)?;
        if i == 20 {
            sys::rdonly(&p("d"))?.fsync()?;
        }
    }
    crash::crash(t, &d)?;
    for i in 0..40 {
        let (old, new) = (t.p(&format!("f{i}")), t.p(&format!("d/f{i}")));
        let moved = sys::exists(&new);
        ensure!(i > 20 || moved, "f{i} was durable");
        same!(is_whiteout(&old)?, moved, "whiteout of f{i}");
        let here = format!("{}f{i}", if moved { "d/" } else { "" });
        t.file_holds(&here, &pattern(i, 0, 100), "after the crash")?;
    }
    Ok(())
}

/// The layers of an overlay: below a tmpfs, above the file system under test.
struct Overlay;

impl Overlay {
    fn mount(t: &T) -> Res<Overlay> {
        let opts = format!(
            "lowerdir=/mnt/lower,upperdir={},workdir={}",
            t.p("upper"),
            t.p("work")
        );
        match sys::mount("none", MNT2, "overlay", 0, &opts) {
            Err(e) if e.errno == libc::ENODEV => skip!("no overlayfs"),
            r => r?,
        }
        Ok(Overlay)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = sys::umount(MNT2, libc::MNT_DETACH);
    }
}

/// What a lower layer has is renamed and removed above, and stays so.
fn overlay(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("upper"), 0o755)?;
    sys::mkdir(&t.p("work"), 0o755)?;
    if !sys::exists("/mnt/lower") {
        sys::mkdir("/mnt/lower", 0o755)?;
        for name in ["file", "gone", "moved", "over"] {
            put(&format!("/mnt/lower/{name}"), 5, 3000)?;
        }
        sys::mkdir("/mnt/lower/dir", 0o755)?;
        put("/mnt/lower/dir/inside", 6, 10)?;
        sys::mkdir("/mnt/lower/empty", 0o755)?;
    }
    let u = |n: &str| format!("{MNT2}/{n}");
    let over = Overlay::mount(t)?;
    put(&u("new"), 7, 100)?;
    sys::unlink(&u("gone"))?;
    sys::rename(&u("moved"), &u("there"))?;
    sys::rename(&u("new"), &u("over"))?;
    sys::rmdir(&u("empty"))?;
    sys::unlink(&u("dir/inside"))?;
    let want = ["dir", "file", "over", "there"];
    same!(
        names(&u("dir"))?,
        Vec::<String>::new(),
        "names in the directory"
    );
    same!(names(MNT2)?, want, "names of the overlay");
    ensure!(is_whiteout(&t.p("upper/moved"))?, "no whiteout above");
    drop(over);
    t.cycle()?;
    let over = Overlay::mount(t)?;
    same!(names(MNT2)?, want, "names after a remount");
    let there = std::fs::read(u("there"))?;
    ensure!(there == pattern(5, 0, 3000), "the moved file");
    let replaced = std::fs::read(u("over"))?;
    ensure!(replaced == pattern(7, 0, 100), "the file that replaced");
    drop(over);
    Ok(())
}
