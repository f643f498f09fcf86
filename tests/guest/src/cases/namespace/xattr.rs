// SPDX-License-Identifier: GPL-2.0
//! Extended attributes: what can be set and read, where they lie, and that ext4 agrees.

use crate::cases::power::crash;
use crate::fixture::{knows_fs, names, pattern, put, T};
use crate::harness::{Case, Res, ALL, FEATS, ONE};
use crate::sys::{self, Sys};
use crate::xattr::{self, CREATE, REPLACE};
use crate::{ensure, errno, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("xattr/calls", FEATS, calls).quick(),
    Case::new("xattr/places", ALL, places),
    Case::new("xattr/spaces", ONE, spaces),
    Case::new("xattr/as_ext4", FEATS, |t| both(t, |t| random(t, 1)))
        .secs(180)
        .quick(),
    Case::new("xattr/as_ext4_again", ALL, |t| both(t, |t| random(t, 2))).secs(180),
    Case::new("xattr/small_inodes", ONE, small_inodes),
    Case::new("xattr/no_feature", ONE, no_feature),
    Case::new("xattr/power_cut", ALL, power_cut),
    Case::new("xattr/full_disk", ALL, full_disk),
];

/// Everything that is to be seen of attributes below the mount, and of modes and blocks.
pub fn dump(t: &T) -> Res<Vec<String>> {
    let mut lines = Vec::new();
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        for name in names(&t.p(&dir))? {
            let path = format!("{dir}{name}");
            let full = t.p(&path);
            let st = sys::lstat(&full)?;
            lines.push(format!(
                "{path} mode {:o} blocks {}",
                st.st_mode, st.st_blocks
            ));
            for name in xattr::list(&full)? {
                lines.push(format!("{path} {name}={:?}", xattr::get(&full, &name)?));
            }
            if st.st_mode & libc::S_IFMT == libc::S_IFDIR && name != "lost+found" {
                dirs.push(format!("{path}/"));
            }
        }
    }
    Ok(lines)
}

/// The first lines that differ.
pub fn agree(ours: &[String], theirs: &[String], what: &str) -> Res {
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        ensure!(a == b, "{what}, line {i}: ours {a:.300}, theirs {b:.300}");
    }
    same!(ours.len(), theirs.len(), "{what}: lines");
    Ok(())
}

/// The same on rext4 and on the kernel's ext4: the same answers, and each reads what the other
/// wrote, and goes on from there.
pub fn both(t: &mut T, run: fn(&mut T) -> Res<Vec<String>>) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("nothing to compare with");
    }
    let fs = t.fs.clone();
    let mut answers = Vec::new();
    for (writer, reader) in [(&*fs, "ext4"), ("ext4", &*fs)] {
        t.fs = writer.to_string();
        t.fresh()?;
        answers.push(run(t)?);
        let mut shown = dump(t)?;
        for (next, runs) in [(reader, false), (reader, true), (writer, false)] {
            t.umount()?;
            t.fsck()?;
            t.fs = next.to_string();
            t.mount("")?;
            agree(&dump(t)?, &shown, &format!("{writer} wrote, {next} reads"))?;
            if runs {
                answers.push(run(t)?);
                shown = dump(t)?;
            }
        }
        t.umount()?;
        t.fs = fs.clone();
    }
    let [ours, theirs_then, theirs, ours_then] = &answers[..] else {
        fail!("{} answers", answers.len());
    };
    agree(ours, theirs, "answers")?;
    agree(ours_then, theirs_then, "answers on the other's image")
}

fn answer<R: std::fmt::Debug>(result: Sys<R>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(e) => sys::errname(e.errno),
    }
}

const KINDS: [&str; 5] = ["file", "dir", "fifo", "link", "long_link"];

fn make_kinds(t: &T) -> Res {
    if sys::exists(&t.p("file")) {
        return Ok(());
    }
    put(&t.p("file"), 1, 0)?;
    sys::mkdir(&t.p("dir"), 0o755)?;
    sys::mknod(&t.p("fifo"), libc::S_IFIFO | 0o644, 0)?;
    sys::symlink("nowhere", &t.p("link"))?;
    sys::symlink(&"x".repeat(200), &t.p("long_link"))?;
    Ok(())
}

/// Random calls on a few inodes of all kinds.
fn random(t: &mut T, seed: u64) -> Res<Vec<String>> {
    make_kinds(t)?;
    let mut r = fastrand::Rng::with_seed(seed);
    let mut answers = Vec::new();
    for i in 0..1500 {
        let path = t.p(KINDS[r.usize(..KINDS.len())]);
        let space = ["user.", "trusted.", "security.", "trusted.overlay."][r.usize(..4)];
        let name = match r.u32(..12) {
            0 => format!("{space}{}", "n".repeat(r.usize(200..240))),
            1 => format!("{space}\u{e4}\u{f6}{}", r.u32(..3)),
            n => format!("{space}{}", n % 6),
        };
        let most = [8, 60, 300, t.bs() as usize + 40][r.usize(..4)];
        let value = pattern(i, 0, r.usize(..=most));
        let said = match r.u32(..20) {
            0..=10 => answer(xattr::set(&path, &name, &value, 0)),
            11 => answer(xattr::set(&path, &name, &value, CREATE)),
            12 => answer(xattr::set(&path, &name, &value, REPLACE)),
            13 => answer(xattr::set(&path, &name, &value, CREATE | REPLACE)),
            14..=15 => answer(xattr::remove(&path, &name)),
            16 => answer(xattr::get_within(&path, &name, r.usize(..100))),
            17 => answer(xattr::list_within(&path, r.usize(..60)).map(|l| l.len())),
            _ => answer(xattr::get(&path, &name)),
        };
        let blocks = sys::lstat(&path)?.st_blocks;
        answers.push(format!(
            "{i} {path} {name} {}: {said} {blocks}",
            value.len()
        ));
    }
    Ok(answers)
}

/// Set, read, list, remove, with what the flags ask for and buffers of any size.
fn calls(t: &mut T) -> Res {
    t.fresh()?;
    let f = t.p("f");
    put(&f, 1, 5000)?;
    errno!(xattr::get(&f, "user.a"), ENODATA);
    errno!(xattr::remove(&f, "user.a"), ENODATA);
    errno!(xattr::set(&f, "user.a", b"1", REPLACE), ENODATA);
    let before = sys::statx(&f)?;
    xattr::set(&f, "user.a", b"one", CREATE)?;
    let after = sys::statx(&f)?;
    let time = |t: libc::statx_timestamp| (t.tv_sec, t.tv_nsec);
    ensure!(
        time(after.stx_ctime) > time(before.stx_ctime),
        "ctime stands still"
    );
    same!(time(after.stx_mtime), time(before.stx_mtime), "mtime");
    errno!(xattr::set(&f, "user.a", b"2", CREATE), EEXIST);
    xattr::set(&f, "user.a", b"three", REPLACE)?;
    xattr::set(&f, "user.empty", b"", 0)?;
    xattr::set(&f, "trusted.t", &[7; 40], 0)?;
    xattr::set(&f, "security.s", &[8; 400], 0)?;
    for again in [false, true] {
        if again {
            t.cycle()?;
        }
        same!(xattr::get(&f, "user.a")?, b"three", "value");
        same!(xattr::get(&f, "user.empty")?, b"", "empty value");
        same!(xattr::get(&f, "security.s")?, [8; 400], "long value");
        same!(xattr::get_within(&f, "user.a", 0)?.len(), 5, "length");
        errno!(xattr::get_within(&f, "user.a", 4), ERANGE);
        let all = ["security.s", "trusted.t", "user.a", "user.empty"];
        same!(xattr::list(&f)?, all, "names");
        let len = xattr::list_within(&f, 0)?.len();
        same!(len, all.iter().map(|n| n.len() + 1).sum::<usize>(), "names");
        errno!(xattr::list_within(&f, len - 1), ERANGE);
    }
    t.file_holds("f", &pattern(1, 0, 5000), "the data")?;
    for name in ["user.a", "user.empty", "trusted.t", "security.s"] {
        xattr::remove(&f, name)?;
        errno!(xattr::get(&f, name), ENODATA);
    }
    same!(xattr::list(&f)?.len(), 0, "names left");
    errno!(xattr::set(&f, "user.", b"", 0), EINVAL);
    errno!(xattr::set(&f, "other.x", b"", 0), EOPNOTSUPP);
    errno!(
        xattr::set(&f, "user.big", &vec![1; t.bs() as usize], 0),
        ENOSPC
    );
    t.umount()
}

fn free(t: &T) -> Res<u64> {
    sys::sync();
    Ok(sys::statfs(&t.p(""))?.f_bfree)
}

/// From the inode to a block and back; the block is counted, and freed when it is empty, or with
/// the inode.
fn places(t: &mut T) -> Res {
    t.fresh()?;
    let f = t.p("f");
    put(&f, 1, 0)?;
    let (none, sectors) = (free(t)?, t.bs() as i64 / 512);
    let blocks = || -> Res<i64> { Ok(sys::lstat(&t.p("f"))?.st_blocks) };
    xattr::set(&f, "user.v", &[1; 40], 0)?;
    same!((blocks()?, free(t)?), (0, none), "in the inode");
    xattr::set(&f, "user.v", &[2; 400], 0)?;
    same!((blocks()?, free(t)?), (sectors, none - 1), "in a block");
    xattr::set(&f, "user.w", &[3; 40], 0)?;
    same!((blocks()?, free(t)?), (sectors, none - 1), "in both places");
    xattr::set(&f, "user.v", &[4; 4], 0)?;
    same!(xattr::get(&f, "user.w")?, [3; 40], "the other");
    same!(xattr::get(&f, "user.v")?, [4; 4], "smaller");
    xattr::remove(&f, "user.w")?;
    same!((blocks()?, free(t)?), (0, none), "back in the inode");
    let large = vec![5; t.bs() as usize - 32 - 20 - 4];
    xattr::set(&f, "user.v", &large, 0)?;
    errno!(
        xattr::set(&f, "user.v", &[&large[..], &[1; 4]].concat(), 0),
        ENOSPC
    );
    same!(xattr::get(&f, "user.v")?, large, "the largest");
    xattr::set(&f, "user.in", &[6; 16], 0)?;
    xattr::remove(&f, "user.v")?;
    same!((blocks()?, free(t)?), (0, none), "without the block");
    xattr::set(&f, "user.v", &[7; 300], 0)?;
    sys::unlink(&f)?;
    // The inode is evicted at once.
    same!(free(t)?, none, "with the inode");
    sys::symlink("x", &t.p("l"))?;
    xattr::set(&t.p("l"), "trusted.l", &[1; 300], 0)?;
    t.cycle()?;
    same!(sys::readlink(&t.p("l"))?, b"x", "a link with a block");
    same!(xattr::get(&t.p("l"), "trusted.l")?, [1; 300], "of a link");
    sys::unlink(&t.p("l"))?;
    same!(free(t)?, none, "with the link");
    t.umount()
}

/// Which names are there for whom, and the mount options.
fn spaces(t: &mut T) -> Res {
    t.fresh()?;
    make_kinds(t)?;
    let f = t.p("file");
    for name in ["user.u", "trusted.t", "security.s"] {
        xattr::set(&f, name, b"v", 0)?;
    }
    // As somebody else, in a child, since it is for good.
    // SAFETY: The child calls nothing that may take a lock of another thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: Only this process changes.
        unsafe { libc::setresuid(1234, 1234, 1234) };
        let seen = xattr::list(&f).map(|l| l.len()).unwrap_or(9);
        let got = xattr::get(&f, "trusted.t").is_ok();
        // SAFETY: As above.
        unsafe { libc::_exit(seen as i32 + 10 * i32::from(got)) };
    }
    let mut status = 0;
    // SAFETY: The child is ours, and the status is written to our memory.
    unsafe { libc::waitpid(child, &mut status, 0) };
    same!(libc::WEXITSTATUS(status), 2, "names that a user sees");
    t.umount()?;
    t.mount("nouser_xattr")?;
    errno!(xattr::get(&f, "user.u"), EOPNOTSUPP);
    errno!(xattr::set(&f, "user.u", b"w", 0), EOPNOTSUPP);
    same!(xattr::list(&f)?, ["security.s", "trusted.t"], "names");
    t.remount(0, "user_xattr")?;
    same!(xattr::get(&f, "user.u")?, b"v", "after a remount");
    t.umount()?;
    t.try_mount(libc::MS_RDONLY, "")?;
    errno!(xattr::set(&f, "user.u", b"w", 0), EROFS);
    same!(xattr::get(&f, "user.u")?, b"v", "read-only");
    t.umount()
}

/// Inodes of 128 bytes have no room: all of it is in blocks. Large ones have much.
fn small_inodes(t: &mut T) -> Res {
    for (size, count) in [("128", 0), ("1024", 12)] {
        t.mkfs(64, &["-I", size])?;
        t.mount("")?;
        let f = t.p("f");
        put(&f, 1, 0)?;
        for i in 0..12 {
            xattr::set(&f, &format!("user.{i}"), &[i; 30], 0)?;
        }
        let blocks = sys::lstat(&f)?.st_blocks * 512 / t.bs() as i64;
        same!(blocks, i64::from(count == 0), "inodes of {size}: blocks");
        t.cycle()?;
        for i in 0..12 {
            same!(
                xattr::get(&f, &format!("user.{i}"))?,
                [i; 30],
                "{size}: {i}"
            );
        }
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// The first attribute of a file system that says it has none.
fn no_feature(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "^ext_attr"])?;
    t.mount("")?;
    put(&t.p("f"), 1, 0)?;
    xattr::set(&t.p("f"), "user.x", &[1; 300], 0)?;
    t.umount()?;
    let text = t.debugfs(&["stats"])?;
    ensure!(text.contains("ext_attr"), "no feature: {text:.600}");
    t.fsck()
}

/// What fsync of the file promised is there after a power cut, else all of a change or nothing.
fn power_cut(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let f = t.p("f");
    put(&f, 1, 3000)?;
    xattr::set(&f, "user.in", &[1; 20], 0)?;
    xattr::set(&f, "user.block", &[2; 500], 0)?;
    sys::rdwr(&f)?.fsync()?;
    for i in 0..40 {
        put(&t.p(&format!("g{i}")), 1, 0)?;
        xattr::set(&t.p(&format!("g{i}")), "user.block", &[2; 500], 0)?;
        xattr::set(&f, "user.block", &vec![i; 100 + 10 * usize::from(i)], 0)?;
    }
    crash::crash(t, &d)?;
    same!(xattr::get(&f, "user.in")?, [1; 20], "in the inode");
    let value = xattr::get(&f, "user.block")?;
    let first = value.first().copied().unwrap_or(0);
    ensure!(value.iter().all(|b| *b == first), "a mixture: {value:?}");
    t.umount()?;
    t.fsck()
}

/// No block is left: the attribute stays as it was, and nothing is lost.
fn full_disk(t: &mut T) -> Res {
    t.fresh_mb(8)?;
    put(&t.p("f"), 1, 0)?;
    put(&t.p("g"), 1, 0)?;
    xattr::set(&t.p("f"), "user.v", &[1; 20], 0)?;
    let fill = sys::create(&t.p("fill"))?;
    let block = vec![1; t.bs() as usize];
    let mut at = 0;
    loop {
        match fill.pwrite(&block, at) {
            Ok(()) => at += t.bs(),
            Err(e) if e.errno == libc::ENOSPC => break,
            Err(e) => return Err(e.into()),
        }
    }
    let mut refused = 0;
    for i in 0..400 {
        let name = t.p(&format!("h{i}"));
        if sys::create(&name).is_err() {
            break;
        }
        let value: Vec<u8> = [&[1; 300][..], &[i as u8, (i >> 8) as u8]].concat();
        match xattr::set(&name, "user.v", &value, 0) {
            Ok(()) => same!(xattr::get(&name, "user.v")?, value, "{name}"),
            Err(e) => {
                same!(e.errno, libc::ENOSPC, "{name}");
                errno!(xattr::get(&name, "user.v"), ENODATA);
                refused += 1;
            }
        }
    }
    ensure!(refused > 0, "the disk was not full");
    // A promise may have come back meanwhile.
    let want = match xattr::set(&t.p("f"), "user.v", &[2; 300], 0) {
        Ok(()) => vec![2; 300],
        Err(e) if e.errno == libc::ENOSPC => vec![1; 20],
        Err(e) => return Err(e.into()),
    };
    same!(xattr::get(&t.p("f"), "user.v")?, want, "all or nothing");
    drop(fill);
    sys::unlink(&t.p("fill"))?;
    xattr::set(&t.p("f"), "user.v", &[2; 300], 0)?;
    t.umount()
}
