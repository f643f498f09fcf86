// SPDX-License-Identifier: GPL-2.0
//! Rename in all its forms.

use crate::fixture::{holds, names, pattern, put, T};
use crate::harness::{Case, Res, ALL, FEATS};
use crate::sys::{self, Sys, EXCHANGE, NOREPLACE};
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("names/rename", FEATS, rename).quick(),
    Case::new("names/rename_flags", FEATS, rename_flags).quick(),
    Case::new("names/rename_errors", ALL, rename_errors),
];

/// A rename moves a file or a directory and replaces what had the name.
fn rename(t: &mut T) -> Res {
    t.fresh()?;
    let p = |n: &str| t.p(n);
    sys::mkdir(&p("d1"), 0o755)?;
    sys::mkdir(&p("d2"), 0o755)?;
    put(&p("a"), 1, 1000)?;
    put(&p("b"), 2, 2000)?;
    a_file_moves(t)?;
    a_directory_moves(t)?;
    // Symlinks and devices move too.
    sys::symlink("target", &p("sl"))?;
    sys::rename(&p("sl"), &p("d2/sl"))?;
    same!(sys::readlink(&p("d2/sl"))?, b"target", "moved symlink");
    t.cycle()?;
    let p = |n: &str| t.p(n);
    holds(
        &sys::rdonly(&p("d1/empty/f"))?,
        0,
        &pattern(3, 0, 10),
        "after remount",
    )?;
    holds(
        &sys::rdonly(&p("b"))?,
        0,
        &pattern(1, 0, 1000),
        "after remount",
    )?;
    same!(
        sys::lstat(&p("d1/empty/.."))?.st_ino,
        sys::lstat(&p("d1"))?.st_ino,
        "dot dot on disk"
    );
    Ok(())
}

/// Moves `a` about, and in the end over `b`.
fn a_file_moves(t: &T) -> Res {
    let p = |n: &str| t.p(n);
    let ino = |n: &str| sys::lstat(&p(n)).map(|s| s.st_ino);
    let (a, free) = (ino("a")?, sys::statfs(&p(""))?.f_ffree);
    // Same directory, new name; then other directory; then over a file that is open.
    sys::rename(&p("a"), &p("a2"))?;
    same!(ino("a2")?, a, "rename in a directory");
    sys::rename(&p("a2"), &p("d1/a"))?;
    same!(ino("d1/a")?, a, "rename to another directory");
    errno!(sys::lstat(&p("a2")), ENOENT);
    let open = sys::rdonly(&p("b"))?;
    sys::rename(&p("d1/a"), &p("b"))?;
    same!(ino("b")?, a, "rename over a file");
    same!(open.stat()?.st_nlink, 0, "links of the overwritten file");
    holds(&open, 0, &pattern(2, 0, 2000), "the overwritten file, open")?;
    drop(open);
    same!(
        sys::statfs(&p(""))?.f_ffree,
        free + 1,
        "inode freed by overwriting"
    );
    // Two names of one inode: rename does nothing.
    sys::link(&p("b"), &p("b2"))?;
    sys::rename(&p("b"), &p("b2"))?;
    ensure!(
        sys::exists(&p("b")) && sys::exists(&p("b2")),
        "rename of two links removed one"
    );
    sys::unlink(&p("b2"))?;
    Ok(())
}

/// Moves a directory from `d1` to `d2` and back, over an empty one.
fn a_directory_moves(t: &T) -> Res {
    let p = |n: &str| t.p(n);
    let ino = |n: &str| sys::lstat(&p(n)).map(|s| s.st_ino);
    // A directory moves: its dot dot and the link counts of both parents follow.
    sys::mkdir(&p("d1/sub"), 0o755)?;
    put(&p("d1/sub/f"), 3, 10)?;
    sys::rename(&p("d1/sub"), &p("d2/moved"))?;
    same!(parents_links(t)?, (2, 3), "parents' links");
    same!(
        ino("d2/moved/..")?,
        ino("d2")?,
        "dot dot of a moved directory"
    );
    // Over an empty directory; not over a full one.
    sys::mkdir(&p("d1/empty"), 0o755)?;
    sys::rename(&p("d2/moved"), &p("d1/empty"))?;
    same!(parents_links(t)?, (3, 2), "parents' links");
    same!(
        ino("d1/empty/..")?,
        ino("d1")?,
        "dot dot after moving over a directory"
    );
    sys::mkdir(&p("d2/full"), 0o755)?;
    put(&p("d2/full/x"), 1, 1)?;
    errno!(
        sys::rename(&p("d1/empty"), &p("d2/full")),
        ENOTEMPTY | EEXIST
    );
    Ok(())
}

/// Links of `d1` and `d2`.
fn parents_links(t: &T) -> Sys<(u64, u64)> {
    let links = |n| sys::lstat(&t.p(n)).map(|st| st.st_nlink);
    Ok((links("d1")?, links("d2")?))
}

/// RENAME_NOREPLACE replaces nothing, and RENAME_EXCHANGE swaps any two names.
fn rename_flags(t: &mut T) -> Res {
    t.fresh()?;
    let p = |n: &str| t.p(n);
    let ino = |n: &str| sys::lstat(&p(n)).map(|s| s.st_ino);
    put(&p("a"), 1, 1)?;
    put(&p("b"), 2, 2)?;
    sys::mkdir(&p("d1"), 0o755)?;
    sys::mkdir(&p("d2"), 0o755)?;
    errno!(sys::rename2(&p("a"), &p("b"), NOREPLACE), EEXIST);
    sys::rename2(&p("a"), &p("c"), NOREPLACE)?;
    let (b, c) = (ino("b")?, ino("c")?);
    sys::rename2(&p("b"), &p("c"), EXCHANGE)?;
    same!((ino("b")?, ino("c")?), (c, b), "exchange of files");
    errno!(sys::rename2(&p("b"), &p("none"), EXCHANGE), ENOENT);
    exchanges_across_directories(t)?;
    errno!(sys::rename2(&p("d1"), &p("d1/other"), EXCHANGE), EINVAL);
    errno!(sys::rename2(&p("b"), &p("c"), EXCHANGE | NOREPLACE), EINVAL);
    whiteout(t)
}

/// A directory with a file, then with another directory: both link counts and the dot dots follow.
fn exchanges_across_directories(t: &T) -> Res {
    let p = |n: &str| t.p(n);
    let ino = |n: &str| sys::lstat(&p(n)).map(|s| s.st_ino);
    sys::mkdir(&p("d1/sub"), 0o755)?;
    put(&p("d1/sub/x"), 3, 3)?;
    put(&p("d2/file"), 4, 4)?;
    let (sub, file) = (ino("d1/sub")?, ino("d2/file")?);
    sys::rename2(&p("d1/sub"), &p("d2/file"), EXCHANGE)?;
    same!(
        (ino("d1/sub")?, ino("d2/file")?),
        (file, sub),
        "exchange of a directory and a file"
    );
    same!(parents_links(t)?, (2, 3), "parents' links");
    same!(ino("d2/file/..")?, ino("d2")?, "dot dot after exchange");
    sys::mkdir(&p("d1/other"), 0o755)?;
    sys::rename2(&p("d1/other"), &p("d2/file"), EXCHANGE)?;
    same!(
        ino("d1/other/..")?,
        ino("d1")?,
        "dot dot after exchange of directories"
    );
    same!(
        ino("d2/file/..")?,
        ino("d2")?,
        "dot dot after exchange of directories"
    );
    Ok(())
}

/// RENAME_WHITEOUT leaves a 0:0 char device.
fn whiteout(t: &T) -> Res {
    sys::rename2(&t.p("b"), &t.p("moved"), sys::WHITEOUT)?;
    let st = sys::lstat(&t.p("b"))?;
    same!(
        (st.st_mode & libc::S_IFMT, st.st_rdev),
        (libc::S_IFCHR, 0),
        "whiteout"
    );
    Ok(())
}

/// A rename that cannot be changes nothing.
fn rename_errors(t: &mut T) -> Res {
    t.fresh()?;
    let p = |n: &str| t.p(n);
    sys::mkdir(&p("d"), 0o755)?;
    sys::mkdir(&p("d/e"), 0o755)?;
    put(&p("f"), 1, 1)?;
    errno!(sys::rename(&p("none"), &p("x")), ENOENT);
    errno!(sys::rename(&p("d"), &p("d/e/x")), EINVAL);
    errno!(sys::rename(&p("d"), &p("f")), ENOTDIR);
    errno!(sys::rename(&p("f"), &p("d")), EISDIR);
    errno!(sys::rename(&p("d/e"), &p("d")), ENOTEMPTY);
    errno!(sys::rename(&p("f"), "/mnt/elsewhere"), EXDEV);
    same!(names(&p(""))?, ["d", "f", "lost+found"], "nothing changed");
    same!(sys::lstat(&p("d"))?.st_nlink, 3, "links");
    Ok(())
}
