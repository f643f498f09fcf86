// SPDX-License-Identifier: GPL-2.0
//! Project ids: stored, handed on by directories, and what may have a name where.

use super::chattr::{both_with, dir, told};
use crate::cases::power::crash;
use crate::fixture::{put, run_cmd, T};
use crate::flags::{self, FileAttr, FsXattr};
use crate::harness::{Case, Res, ALL, FEATS, ONE};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("project/as_ext4", ALL, as_ext4).quick(),
    Case::new("project/names_as_ext4", ONE, names_as_ext4).quick(),
    Case::new("project/kept", FEATS, kept).quick(),
    Case::new("project/no_place", ONE, no_place).quick(),
    Case::new("project/absent_as_ext4", ONE, absent_as_ext4).quick(),
    Case::new("project/durable", ONE, durable),
    Case::new("project/lsattr", ONE, lsattr),
];

const PROJECTS: &[&str] = &["-O", "project"];
/// `FS_XFLAG_PROJINHERIT`, which is the flag P of chattr(1).
const INHERIT: u32 = 0x200;

fn project(f: &Fd) -> Sys<u32> {
    f.fsxattr().map(|attr| attr.projid)
}

/// Sets the project, and P as `xflags` says.
fn set_project(f: &Fd, projid: u32, xflags: u32) -> Sys<()> {
    let attr = FsXattr {
        xflags,
        projid,
        ..FsXattr::default()
    };
    f.set_fsxattr(&attr)
}

/// A directory of a project that it hands on.
fn project_dir(t: &T, name: &str, projid: u32) -> Res<Fd> {
    sys::mkdir(&t.p(name), 0o755)?;
    let d = dir(t, name)?;
    set_project(&d, projid, INHERIT)?;
    Ok(d)
}

/// By each call, on each type of inode: set, seen, inherited or not.
fn as_ext4(t: &mut T) -> Res {
    both_with(t, PROJECTS, |t| {
        let mut all = Vec::new();
        let f = put(&t.p("f"), 1, 10_000)?;
        all.push(format!("before: {}", told(f.fsxattr())));
        for projid in [7, 0, u32::MAX, u32::MAX - 1, 1 << 31, 7] {
            all.push(format!("{projid}: {}", told(set_project(&f, projid, 0))));
            all.push(format!("then: {} {}", told(f.fsxattr()), told(f.flags())));
        }
        // By flags only it stays.
        all.push(format!(
            "flags: {}",
            told(f.set_flags(f.flags()? | flags::NODUMP))
        ));
        all.push(format!("then: {}", told(f.fsxattr())));
        all.push(format!(
            "P of a file: {}",
            told(set_project(&f, 7, INHERIT))
        ));
        f.set_flags(f.flags()? | flags::IMMUTABLE)?;
        all.push(format!("immutable: {}", told(set_project(&f, 8, 0x8))));
        f.set_flags(f.flags()? & !flags::IMMUTABLE)?;
        project_dir(t, "d", 7)?;
        sys::mkdir(&t.p("plain"), 0o755)?;
        set_project(&dir(t, "plain")?, 9, 0)?;
        for d in ["d", "plain"] {
            let p = |name: &str| t.p(&format!("{d}/{name}"));
            put(&p("file"), 1, 100)?;
            sys::mkdir(&p("dir"), 0o755)?;
            put(&p("dir/file"), 1, 100)?;
            sys::symlink("nowhere", &p("link"))?;
            sys::mknod(&p("pipe"), libc::S_IFIFO | 0o600, 0)?;
            for name in ["", "file", "dir", "dir/file", "link", "pipe"] {
                let seen = told(flags::file_getattr(&p(name)));
                let attr = FileAttr {
                    projid: 11,
                    ..FileAttr::default()
                };
                let set = told(flags::file_setattr(&p(name), &attr));
                all.push(format!("{d}/{name}: {seen} {set}"));
                all.push(format!("then: {}", told(flags::file_getattr(&p(name)))));
            }
        }
        Ok(all)
    })
}

/// Names in directories of other projects: link, rename, exchange, whiteout, files without a name.
fn names_as_ext4(t: &mut T) -> Res {
    both_with(t, PROJECTS, |t| {
        let mut all = Vec::new();
        project_dir(t, "seven", 7)?;
        project_dir(t, "eight", 8)?;
        sys::mkdir(&t.p("none"), 0o755)?;
        sys::mkdir(&t.p("eight-only"), 0o755)?;
        set_project(&dir(t, "eight-only")?, 8, 0)?;
        let dirs = ["seven", "eight", "none", "eight-only"];
        for (i, from) in dirs.into_iter().enumerate() {
            for to in dirs.into_iter().skip(i) {
                let (a, b) = (t.p(&format!("{from}/a")), t.p(&format!("{to}/b")));
                put(&a, 1, 100)?;
                put(&b, 1, 100)?;
                let (sub_a, sub_b) = (t.p(&format!("{from}/sub")), t.p(&format!("{to}/sub2")));
                sys::mkdir(&sub_a, 0o755)?;
                sys::mkdir(&sub_b, 0o755)?;
                let new = t.p(&format!("{to}/new"));
                let mut did = vec![told(sys::rename2(&a, &b, libc::RENAME_EXCHANGE))];
                did.push(told(sys::rename2(&sub_a, &sub_b, libc::RENAME_EXCHANGE)));
                did.push(told(sys::link(&a, &new)));
                let _ = sys::unlink(&new);
                did.push(told(sys::rename(&sub_a, &sub_b)));
                did.push(told(sys::rename2(&a, &b, libc::RENAME_WHITEOUT)));
                did.push(told(sys::rename(&b, &a)));
                let dir_of = t.p(from);
                let tmp = sys::open(&dir_of, libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
                did.push(told(project(&tmp)));
                did.push(told(sys::link_fd(&tmp, &new)));
                all.push(format!("{from} to {to}: {did:?}"));
                for path in [&a, &b, &new] {
                    all.push(format!("{path}: {}", told(flags::file_getattr(path))));
                    let _ = sys::unlink(path);
                }
                let _ = (sys::rmdir(&sub_a), sys::rmdir(&sub_b));
            }
        }
        Ok(all)
    })
}

/// It is on the disk: for the next mount, for ext4, for debugfs.
fn kept(t: &mut T) -> Res {
    t.mkfs(64, PROJECTS)?;
    t.mount("")?;
    project_dir(t, "d", 77)?;
    let f = put(&t.p("d/f"), 1, 10_000)?;
    let before = f.stat()?;
    std::thread::sleep(std::time::Duration::from_millis(25));
    set_project(&f, 78, 0)?;
    let after = f.stat()?;
    ensure!(
        (before.st_ctime, before.st_ctime_nsec) != (after.st_ctime, after.st_ctime_nsec),
        "ctime did not move"
    );
    drop(f);
    t.cycle()?;
    for (name, projid) in [("d", 77), ("d/f", 78)] {
        same!(flags::file_getattr(&t.p(name))?.projid, projid, "{name}");
    }
    put(&t.p("d/g"), 1, 100)?;
    same!(flags::file_getattr(&t.p("d/g"))?.projid, 77, "a new one");
    t.umount()?;
    let text = t.debugfs(&["stat /d/f", "stat /d/g", "stat /d"])?;
    let found: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split("Project:").nth(1))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    same!(found, ["78", "77", "77"], "debugfs");
    t.fsck()?;
    t.mount("")
}

/// Old inodes have no place for it: it is made, or there cannot be one.
fn no_place(t: &mut T) -> Res {
    t.mkfs(64, PROJECTS)?;
    t.mount("")?;
    drop(put(&t.p("f"), 1, 100)?);
    t.umount()?;
    t.debugfs(&["sif /f extra_isize 28"])?;
    t.mount("")?;
    let f = sys::rdwr(&t.p("f"))?;
    same!(project(&f)?, 0, "before");
    set_project(&f, 7, 0)?;
    same!(project(&f)?, 7, "after");
    t.cycle_with(f)?;
    same!(flags::file_getattr(&t.p("f"))?.projid, 7, "remounted");
    t.umount()?;
    t.fsck()?;
    // mke2fs does not make such a file system, tune2fs does not change one to it.
    t.mkfs(64, &["-I", "128"])?;
    let ro_compat = t.peek(1024 + 0x64, 4)?;
    t.broken = true;
    t.poke(1024 + 0x64, &[ro_compat[0], ro_compat[1] | 0x20])?;
    t.debugfs(&["ssv mtime now"])?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, 100)?;
    errno!(set_project(&f, 7, 0), EOPNOTSUPP);
    set_project(&f, 0, 0)?;
    same!(project(&f)?, 0, "refused");
    Ok(())
}

/// Without the feature there is one project, 0. A directory may say P all the same.
fn absent_as_ext4(t: &mut T) -> Res {
    both_with(t, &[], |t| {
        let f = put(&t.p("f"), 1, 100)?;
        sys::mkdir(&t.p("d"), 0o755)?;
        let d = dir(t, "d")?;
        let mut all = vec![told(set_project(&f, 7, 0)), told(set_project(&f, 0, 0))];
        all.push(told(set_project(&d, 0, INHERIT)));
        all.push(told(d.fsxattr()));
        sys::mkdir(&t.p("d/e"), 0o755)?;
        all.push(told(flags::file_getattr(&t.p("d/e"))));
        all.push(told(sys::link(&t.p("f"), &t.p("d/f"))));
        all.push(told(sys::rename(&t.p("f"), &t.p("d/g"))));
        all.push(told(set_project(&d, 0, 0)));
        all.push(told(d.fsxattr()));
        Ok(all)
    })
}

/// fsync makes it durable.
fn durable(t: &mut T) -> Res {
    let d = crash::start(t)?;
    t.umount()?;
    t.mkfs(256, PROJECTS)?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, 100)?;
    f.fsync()?;
    set_project(&f, 7, 0)?;
    f.fsync()?;
    drop(f);
    crash::crash(t, &d)?;
    same!(flags::file_getattr(&t.p("f"))?.projid, 7, "after the crash");
    Ok(())
}

/// The programs: chattr -p, +P, lsattr -p.
fn lsattr(t: &mut T) -> Res {
    t.mkfs(64, PROJECTS)?;
    t.mount("")?;
    let d = t.p("d");
    sys::mkdir(&d, 0o755)?;
    for args in [["-p", "123", &d], ["+P", "--", &d]] {
        let (code, text) = run_cmd("chattr", &args)?;
        same!(code, 0, "chattr {args:?}: {text}");
    }
    put(&t.p("d/f"), 1, 100)?;
    for (args, start) in [(["-pd", &d], true), (["-p", &d], false)] {
        let (code, text) = run_cmd("lsattr", &args)?;
        same!(code, 0, "lsattr {args:?}: {text}");
        let (number, rest) = text.trim().split_once(' ').unwrap_or(("", ""));
        same!(number, "123", "lsattr {args:?}: {text}");
        let flags = rest.split(' ').next().unwrap_or("");
        same!(flags.contains('P'), start, "lsattr {args:?}: {text}");
    }
    Ok(())
}
