// SPDX-License-Identifier: GPL-2.0
//! Names in a synchronous directory: each change is on the disk when the call returns.

use crate::cases::power::crash::{cut, lights_on, on_dm};
use crate::fixture::{put, T};
use crate::flags;
use crate::harness::{Case, Res, Variant, K1, K4};
use crate::sys::{self, Sys};
use crate::{ensure, same};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("crash/dirsync", TWO, |t| changes(t, By::Flag))
        .secs(120)
        .quick(),
    Case::new("crash/dirsync_mount", TWO, |t| {
        changes(t, By::Mount(libc::MS_DIRSYNC))
    })
    .secs(120),
    Case::new("crash/sync_mount", TWO, |t| {
        changes(t, By::Mount(libc::MS_SYNCHRONOUS))
    })
    .secs(120),
];

/// What makes the directory synchronous.
enum By {
    /// Its own flag.
    Flag,
    /// Those of the mount.
    Mount(u64),
}

/// A change, and what must be so after it.
type Change = (&'static str, fn(&T) -> Sys<()>, fn(&T) -> bool);

fn is(t: &T, name: &str) -> bool {
    sys::exists(&t.p(name))
}

fn links(t: &T, name: &str) -> u64 {
    sys::lstat(&t.p(name)).map_or(0, |s| s.st_nlink)
}

/// "d" is the synchronous one, "e" is synchronous by the mount alone.
const CHANGES: [Change; 13] = [
    (
        "create",
        |t| sys::create(&t.p("d/new")).map(drop),
        |t| is(t, "d/new"),
    ),
    (
        "link",
        |t| sys::link(&t.p("d/kept"), &t.p("d/linked")),
        |t| is(t, "d/linked") && links(t, "d/kept") == 2,
    ),
    (
        "unlink one of two",
        |t| sys::unlink(&t.p("d/linked")),
        |t| !is(t, "d/linked") && links(t, "d/kept") == 1,
    ),
    (
        "unlink",
        |t| sys::unlink(&t.p("d/gone")),
        |t| !is(t, "d/gone"),
    ),
    (
        "rename",
        |t| sys::rename(&t.p("d/from"), &t.p("d/to")),
        |t| is(t, "d/to") && !is(t, "d/from"),
    ),
    (
        "rename out of it",
        |t| sys::rename(&t.p("d/to"), &t.p("e/to")),
        |t| is(t, "e/to") && !is(t, "d/to"),
    ),
    (
        "rename into it",
        |t| sys::rename(&t.p("e/to"), &t.p("d/back")),
        |t| is(t, "d/back") && !is(t, "e/to"),
    ),
    (
        "exchange",
        |t| sys::rename2(&t.p("d/back"), &t.p("e/large"), sys::EXCHANGE),
        |t| sys::lstat(&t.p("d/back")).is_ok_and(|s| s.st_size == 5000),
    ),
    (
        "mkdir",
        |t| sys::mkdir(&t.p("d/made"), 0o755),
        |t| is(t, "d/made"),
    ),
    (
        "rmdir",
        |t| sys::rmdir(&t.p("d/empty")),
        |t| !is(t, "d/empty"),
    ),
    (
        "symlink",
        |t| sys::symlink("target", &t.p("d/fast")),
        |t| sys::readlink(&t.p("d/fast")).is_ok_and(|to| to == b"target"),
    ),
    (
        "long symlink",
        |t| sys::symlink(&"x".repeat(500), &t.p("d/slow")),
        |t| sys::readlink(&t.p("d/slow")).is_ok_and(|to| to == [b'x'; 500]),
    ),
    (
        "mknod",
        |t| sys::mknod(&t.p("d/fifo"), libc::S_IFIFO | 0o600, 0),
        |t| is(t, "d/fifo"),
    ),
];

/// The power goes after each change, which was made and not synced.
fn changes(t: &mut T, by: By) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    for dir in ["d", "e", "d/empty"] {
        sys::mkdir(&t.p(dir), 0o755)?;
    }
    for name in ["d/kept", "d/gone", "d/from"] {
        put(&t.p(name), 1, 1000)?;
    }
    put(&t.p("e/large"), 2, 5000)?;
    let flags = match by {
        By::Flag => {
            let dir = sys::open(&t.p("d"), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            dir.set_flags(dir.flags()? | flags::DIRSYNC)?;
            0
        }
        By::Mount(flags) => flags,
    };
    t.umount()?;
    t.try_mount(flags, "")?;
    for (what, change, is_done) in CHANGES {
        change(t)?;
        cut(t, &d)?;
        lights_on(t, &d)?;
        t.try_mount(flags, "")?;
        ensure!(is_done(t), "{what}: lost with the power");
    }
    t.umount()?;
    t.fsck()?;
    t.mount("")?;
    same!(links(t, "d"), 3, "links of the directory");
    Ok(())
}
