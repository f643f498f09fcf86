// SPDX-License-Identifier: GPL-2.0
//! The flags of chattr(1): which can be set, what they do, who inherits them.

use crate::cases::power::crash;
use crate::fixture::{holds, knows_fs, pattern, put, run_cmd, T};
use crate::flags::{self, FileAttr, FsXattr};
use crate::harness::{Case, Res, Stop, ALL, FEATS, ONE};
use crate::map::{self, Map};
use crate::sys::{self, Aligned, Fd, Sys};
use crate::{ensure, errno, fail, same, skip, wait, xattr};
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("chattr/each_bit_as_ext4", ALL, each_bit).quick(),
    Case::new("chattr/fsx_as_ext4", ALL, fsx).quick(),
    Case::new("chattr/kept", FEATS, kept).quick(),
    Case::new("chattr/lsattr", ONE, lsattr),
    Case::new("chattr/immutable", ALL, immutable).quick(),
    Case::new("chattr/immutable_meanwhile", ONE, immutable_meanwhile).quick(),
    Case::new("chattr/append_only", ALL, append_only).quick(),
    Case::new("chattr/inherited_as_ext4", ALL, inherited).quick(),
    Case::new("chattr/durable", ALL, durable),
    Case::new("chattr/who_may", ONE, who_may),
];

/// What can be set on files and directories, and is kept.
const KEPT: u32 = 0x1 | 0x2 | 0x4 | flags::SYNC | flags::NODUMP | flags::NOATIME | 0x8000;

pub fn dir(t: &T, name: &str) -> Res<Fd> {
    let path = t.p(name);
    Ok(sys::open(&path, libc::O_RDONLY | libc::O_DIRECTORY, 0)?)
}

/// Runs `ask` on ext4 and on what is under test. The answers must be the same.
fn both(t: &mut T, ask: fn(&mut T) -> Res<Vec<String>>) -> Res {
    both_with(t, &[], ask)
}

/// The same on what mke2fs makes with these options.
pub fn both_with(t: &mut T, more: &[&str], ask: fn(&mut T) -> Res<Vec<String>>) -> Res {
    let fresh = |t: &mut T| -> Res {
        t.mkfs(64, more)?;
        t.mount("")
    };
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one of the two is there");
    }
    let ours = t.fs.clone();
    t.fs = "ext4".to_string();
    fresh(t)?;
    let want = ask(t)?;
    t.umount()?;
    t.fs = ours;
    fresh(t)?;
    let got = ask(t)?;
    t.umount()?;
    let differ = got.iter().zip(&want).filter(|(a, b)| a != b);
    let differ: Vec<String> = differ.map(|(a, b)| format!("{a}, ext4 {b}")).collect();
    ensure!(differ.is_empty(), "{}", differ.join("; "));
    same!(got.len(), want.len(), "answers");
    Ok(())
}

pub fn told<R: std::fmt::Debug>(r: Sys<R>) -> String {
    match r {
        Ok(r) => format!("{r:x?}"),
        Err(e) => sys::errname(e.errno),
    }
}

/// Flags of which rext4 has not what ext4 has: j, e.
const OTHERS: u32 = 0x4000 | flags::EXTENTS;

/// Each of the 32 bits, set and taken away again, on a file and a directory.
fn each_bit(t: &mut T) -> Res {
    both(t, |t| {
        put(&t.p("f"), 1, 10_000)?;
        sys::mkdir(&t.p("d"), 0o755)?;
        let mut all = Vec::new();
        for (name, f) in [("file", sys::rdonly(&t.p("f"))?), ("dir", dir(t, "d")?)] {
            let before = f.flags()?;
            for bit in (0..32).map(|i| 1 << i).filter(|bit| bit & OTHERS == 0) {
                let set = told(f.set_flags(before | bit));
                let then = told(f.flags());
                let back = told(f.set_flags(before));
                let last = told(f.flags());
                all.push(format!("{name} {bit:x}: {set} {then} {back} {last}"));
            }
        }
        Ok(all)
    })?;
    // What ext4 has and this has not.
    t.mount("")?;
    let f = sys::rdonly(&t.p("f"))?;
    let before = f.flags()?;
    same!(before, flags::EXTENTS, "flags of a file");
    for bit in [0x4000, flags::EXTENTS] {
        errno!(f.set_flags(before ^ bit), EOPNOTSUPP);
    }
    same!(f.flags()?, before, "refused");
    Ok(())
}

/// Immutable, append, sync, noatime, nodump, DAX, and what has no flag.
const XFLAGS: [u32; 10] = [
    0x8,
    0x10,
    0x20,
    0x40,
    0x80,
    0x8000,
    0x1,
    0x2,
    0x100,
    0x8000_0000,
];

/// The same flags as XFS has them, by ioctl and by system call.
fn fsx(t: &mut T) -> Res {
    both(t, |t| {
        put(&t.p("f"), 1, 10_000)?;
        sys::mkdir(&t.p("d"), 0o755)?;
        sys::symlink("f", &t.p("s"))?;
        sys::mknod(&t.p("p"), libc::S_IFIFO | 0o600, 0)?;
        let mut all = Vec::new();
        for (name, f) in [("f", sys::rdonly(&t.p("f"))?), ("d", dir(t, "d")?)] {
            all.push(format!("{name}: {}", told(f.fsxattr())));
            for xflags in XFLAGS {
                let attr = FsXattr {
                    xflags,
                    ..FsXattr::default()
                };
                let set = told(f.set_fsxattr(&attr));
                let then = (told(f.flags()), told(f.fsxattr()));
                let back = told(f.set_fsxattr(&FsXattr::default()));
                // rext4 refuses what it would not keep.
                if xflags & 0x80f8 != 0 || xflags == 0x8000_0000 {
                    all.push(format!("{name} {xflags:x}: {set} {then:?} {back}"));
                }
            }
            let project = FsXattr {
                projid: 7,
                ..FsXattr::default()
            };
            all.push(format!("{name} project: {}", told(f.set_fsxattr(&project))));
        }
        for name in ["f", "d", "s", "p"] {
            let get = told(flags::file_getattr(&t.p(name)));
            let attr = FileAttr {
                xflags: 0x80,
                ..FileAttr::default()
            };
            let set = told(flags::file_setattr(&t.p(name), &attr));
            let then = told(flags::file_getattr(&t.p(name)));
            all.push(format!("{name}: {get}, {set}, {then}"));
        }
        Ok(all)
    })?;
    t.mount("")?;
    let f = sys::rdonly(&t.p("f"))?;
    let hint = FsXattr {
        xflags: 0x800,
        extsize: 65536,
        ..FsXattr::default()
    };
    errno!(f.set_fsxattr(&hint), EOPNOTSUPP);
    Ok(())
}

/// Flags are on the disk, beside those that the file system needs; ctime moves, mtime does not.
fn kept(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 10_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    // Its flag for an index must stay.
    for i in 0..t.bs() / 8 {
        sys::link(&t.p("f"), &t.p(&format!("d/{i:0>40}")))?;
    }
    let before = sys::lstat(&t.p("f"))?;
    std::thread::sleep(Duration::from_millis(25));
    let f = sys::rdonly(&t.p("f"))?;
    f.set_flags(f.flags()? | KEPT)?;
    let after = sys::lstat(&t.p("f"))?;
    let ctime = |s: &libc::stat| (s.st_ctime, s.st_ctime_nsec);
    let mtime = |s: &libc::stat| (s.st_mtime, s.st_mtime_nsec);
    ensure!(ctime(&after) != ctime(&before), "ctime did not move");
    same!(mtime(&after), mtime(&before), "mtime");
    let d = dir(t, "d")?;
    let indexed = d.flags()? & flags::INDEX;
    same!(indexed, flags::INDEX, "the directory has an index");
    d.set_flags(d.flags()? | KEPT | flags::DIRSYNC)?;
    // Not its own to take away.
    d.set_flags(flags::EXTENTS | KEPT)?;
    same!(
        d.flags()?,
        flags::EXTENTS | KEPT | indexed,
        "of a directory"
    );
    drop((f, d));
    t.cycle()?;
    let (f, d) = (sys::rdonly(&t.p("f"))?, dir(t, "d")?);
    same!(f.flags()?, flags::EXTENTS | KEPT, "remounted");
    same!(d.flags()?, flags::EXTENTS | KEPT | indexed, "remounted");
    t.file_holds("f", &pattern(1, 0, 10_000), "content")?;
    f.set_flags(flags::EXTENTS)?;
    drop((f, d));
    t.cycle()?;
    same!(sys::rdonly(&t.p("f"))?.flags()?, flags::EXTENTS, "cleared");
    Ok(())
}

/// lsattr and chattr themselves, and statx.
fn lsattr(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 10_000)?;
    let path = t.p("f");
    for (how, letters, attributes) in [
        ("+aAd", "adAe", 0x20 | 0x40),
        ("=e", "e", 0),
        ("+iS", "Sie", 0x10),
        ("-iS", "e", 0),
    ] {
        let (code, text) = run_cmd("chattr", &[how, &path])?;
        same!(code, 0, "chattr {how}: {text}");
        let (_, text) = run_cmd("lsattr", &[&path])?;
        let shown = text.split_whitespace().next().unwrap_or("");
        let shown: String = shown.chars().filter(|&c| c != '-').collect();
        let mut want: Vec<char> = letters.chars().collect();
        let mut got: Vec<char> = shown.chars().collect();
        want.sort_unstable();
        got.sort_unstable();
        same!(got, want, "lsattr after {how}");
        let stat = sys::statx(&path)?;
        same!(stat.stx_attributes & 0x70, attributes, "statx after {how}");
        same!(stat.stx_attributes_mask & 0x70, 0x70, "what statx knows");
    }
    Ok(())
}

/// Nothing of an immutable file changes, also not by who had it open before.
fn immutable(t: &mut T) -> Res {
    t.fresh()?;
    let n = 50_000;
    let f = put(&t.p("f"), 1, n)?;
    let direct = sys::open(&t.p("f"), libc::O_RDWR | libc::O_DIRECT, 0)?;
    let stored = Map::shared(&f, n)?;
    stored.set(0, 7);
    let mut want = pattern(1, 0, n);
    want[0] = 7;
    f.set_flags(flags::EXTENTS | flags::IMMUTABLE)?;
    errno!(f.pwrite(b"x", 0), EPERM);
    errno!(f.pwrite(b"x", n as u64), EPERM);
    errno!(direct.pwrite(&Aligned::new(4096), 0), EPERM);
    errno!(direct.pwrite(&Aligned::new(4096), 1 << 20), EPERM);
    errno!(f.truncate(10), EPERM);
    errno!(f.truncate(1 << 20), EPERM);
    errno!(f.fallocate(0, 0, 1 << 20), EPERM);
    errno!(f.punch(0, 8192), EPERM);
    errno!(f.futimens((1, 0), (2, 0)), EPERM);
    map::sigbus_taken();
    stored.set(0, 8);
    same!(map::sigbus_taken(), 1, "SIGBUS for a store");
    drop(stored);
    let p = t.p("f");
    errno!(sys::rdwr(&p), EPERM);
    errno!(sys::chmod(&p, 0o600), EPERM);
    errno!(sys::lchown(&p, 1, 1), EPERM);
    errno!(sys::unlink(&p), EPERM);
    errno!(sys::link(&p, &t.p("l")), EPERM);
    errno!(sys::rename(&p, &t.p("g")), EPERM);
    errno!(xattr::set(&p, "user.a", b"x", 0), EPERM);
    errno!(
        f.set_flags(flags::EXTENTS | flags::IMMUTABLE | flags::NODUMP),
        EPERM
    );
    f.set_flags(flags::EXTENTS | flags::IMMUTABLE)?;
    t.holds_both(&f, &want, "as it was")?;
    drop((f, direct));
    t.cycle()?;
    errno!(sys::rdwr(&p), EPERM);
    let f = sys::rdonly(&p)?;
    holds(&f, 0, &want, "remounted")?;
    // With the flag, others may go.
    f.set_flags(flags::EXTENTS | flags::NODUMP)?;
    drop(f);
    let f = sys::rdwr(&p)?;
    f.pwrite(b"x", 0)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    put(&t.p("d/x"), 1, 10)?;
    let d = dir(t, "d")?;
    d.set_flags(flags::EXTENTS | flags::IMMUTABLE)?;
    errno!(sys::create(&t.p("d/y")), EPERM);
    errno!(sys::unlink(&t.p("d/x")), EPERM);
    errno!(sys::rmdir(&t.p("d")), EPERM);
    put(&t.p("d/x"), 2, 10)?;
    d.set_flags(flags::EXTENTS)?;
    sys::unlink(&t.p("d/x"))?;
    Ok(())
}

/// A punch that has passed the checks of the VFS, and waits while the file becomes immutable, takes
/// nothing.
fn immutable_meanwhile(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let f = put(&t.p("f"), 1, 50_000)?;
    d.suspend()?;
    let punched = std::thread::scope(|s| -> Res<Sys<()>> {
        // Writes what is dirty, with i_rwsem.
        let set = wait::spawn(s, || f.set_flags(flags::EXTENTS | flags::IMMUTABLE));
        let writes = set.waits();
        let punched = wait::spawn(s, || f.punch(0, 8192));
        let waits = punched.waits();
        d.resume()?;
        set.join()??;
        ensure!(writes? && waits? || !t.ours(), "one does not wait");
        punched.join()
    })?;
    if !t.ours() {
        skip!("the kernel's ext4 does not look again");
    }
    errno!(punched, EPERM);
    holds(&f, 0, &pattern(1, 0, 50_000), "content")?;
    f.set_flags(flags::EXTENTS)?;
    drop(f);
    t.umount()?;
    t.fsck()
}

/// A file that only grows.
fn append_only(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 5000)?;
    f.set_flags(flags::EXTENTS | flags::APPEND)?;
    let p = t.p("f");
    errno!(f.truncate(10), EPERM);
    errno!(f.punch(0, 4096), EPERM);
    errno!(sys::truncate(&p, 10_000), EPERM);
    errno!(sys::rdwr(&p), EPERM);
    errno!(sys::chmod(&p, 0o600), EPERM);
    errno!(sys::unlink(&p), EPERM);
    errno!(f.futimens((1, 0), (2, 0)), EPERM);
    let a = sys::open(&p, libc::O_WRONLY | libc::O_APPEND, 0)?;
    a.write(&pattern(1, 5000, 5000))?;
    drop((f, a));
    t.cycle()?;
    errno!(sys::rdwr(&p), EPERM);
    t.file_holds("f", &pattern(1, 0, 10_000), "appended")?;
    sys::rdonly(&p)?.set_flags(flags::EXTENTS)?;
    sys::rdwr(&p)?.truncate(10)?;
    Ok(())
}

/// What new inodes have from their directory.
fn inherited(t: &mut T) -> Res {
    both(t, |t| {
        let mut all = Vec::new();
        let set = KEPT | flags::DIRSYNC | 0x2_0000;
        for (i, bits) in [set, flags::APPEND, flags::DIRSYNC, 0x2_0000]
            .into_iter()
            .enumerate()
        {
            let name = format!("d{i}");
            sys::mkdir(&t.p(&name), 0o755)?;
            let d = dir(t, &name)?;
            d.set_flags(flags::EXTENTS | bits)?;
            let f = put(&t.p(&format!("{name}/f")), 1, 5000)?;
            sys::mkdir(&t.p(&format!("{name}/d")), 0o755)?;
            let tmp = sys::open(&t.p(&name), libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
            all.push(format!(
                "{bits:x}: file {:x}, directory {:x}, tmpfile {:x}",
                f.flags()?,
                dir(t, &format!("{name}/d"))?.flags()?,
                tmp.flags()?
            ));
            d.set_flags(flags::EXTENTS)?;
        }
        // Symbolic links and the like keep a few, which only the disk shows.
        sys::mkdir(&t.p("e"), 0o755)?;
        dir(t, "e")?.set_flags(flags::EXTENTS | set)?;
        sys::symlink(&"s".repeat(100), &t.p("e/slow"))?;
        sys::symlink("s", &t.p("e/fast"))?;
        sys::mknod(&t.p("e/p"), libc::S_IFIFO | 0o600, 0)?;
        t.umount()?;
        for name in ["e/slow", "e/fast", "e/p"] {
            let stat = t.debugfs(&[&format!("stat {name}")])?;
            let flags = stat.split("Flags:").nth(1).unwrap_or("");
            let flags = flags.split_whitespace().next().unwrap_or("");
            all.push(format!("{name}: {flags}"));
        }
        t.mount("")?;
        Ok(all)
    })
}

/// A flag is durable after fsync, and on a synchronous file at once.
fn durable(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let f = put(&t.p("f"), 1, 5000)?;
    let g = put(&t.p("g"), 1, 5000)?;
    g.set_flags(flags::EXTENTS | flags::SYNC)?;
    sys::sync();
    f.set_flags(flags::EXTENTS | flags::NODUMP)?;
    f.fsync()?;
    g.set_flags(flags::EXTENTS | flags::SYNC | flags::NOATIME)?;
    drop((f, g));
    crash::crash(t, &d)?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(f.flags()?, flags::EXTENTS | flags::NODUMP, "after fsync");
    let g = sys::rdonly(&t.p("g"))?;
    let want = flags::EXTENTS | flags::SYNC | flags::NOATIME;
    same!(g.flags()?, want, "of a synchronous file");
    Ok(())
}

/// Who does not own the file, who owns it but is nobody else, and where nothing may be written.
fn who_may(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 5000)?;
    let mine = put(&t.p("mine"), 1, 5000)?;
    sys::lchown(&t.p("mine"), 1000, 1000)?;
    let asked = std::thread::scope(|s| {
        s.spawn(|| {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            let dump = flags::EXTENTS | flags::NODUMP;
            [
                f.flags().map(drop),
                f.set_flags(dump),
                mine.set_flags(dump),
                mine.set_flags(flags::EXTENTS | flags::IMMUTABLE),
                mine.set_flags(flags::EXTENTS | flags::APPEND),
            ]
        })
        .join()
    });
    let Ok([seen, others, own, fixed, append]) = asked else {
        return Err(Stop::Fail("thread panic".into()));
    };
    seen?;
    errno!(others, EPERM);
    own?;
    errno!(fixed, EPERM);
    errno!(append, EPERM);
    drop((f, mine));
    t.remount(libc::MS_RDONLY, "")?;
    let f = sys::rdonly(&t.p("f"))?;
    errno!(f.set_flags(flags::EXTENTS | flags::NODUMP), EROFS);
    if f.flags()? != flags::EXTENTS {
        fail!("flags changed though that was refused");
    }
    Ok(())
}
