// SPDX-License-Identifier: GPL-2.0
//! The counter of changes of an inode, as it is kept on disk: each change moves it up.

use crate::cases::power::crash;
use crate::fixture::{pattern, put, T};
use crate::flags;
use crate::harness::{Case, Res, Stop, ALL, FEATS, MAPS, ONE};
use crate::map::Map;
use crate::sys::{self, Aligned};
use crate::xattr;
use crate::{ensure, same};

pub const CASES: &[Case] = &[
    Case::new("version/moves", FEATS, moves).secs(180).quick(),
    Case::new("version/moves_maps", MAPS, moves).secs(180),
    Case::new("version/small_inodes", ONE, small_inodes),
    Case::new("version/remounted", ONE, remounted),
    Case::new("version/durable", ALL, durable),
];

/// The counters on disk.
fn versions(t: &T, names: &[&str]) -> Res<Vec<u64>> {
    let cmds: Vec<String> = names.iter().map(|name| format!("stat /{name}")).collect();
    let cmds: Vec<&str> = cmds.iter().map(String::as_str).collect();
    let text = t.debugfs(&cmds)?;
    let number = |s: &str| {
        let digits = s.split_whitespace().next()?.trim_start_matches("0x");
        u64::from_str_radix(&digits.replace(':', ""), 16).ok()
    };
    let found: Option<Vec<u64>> = text.split("Version:").skip(1).map(number).collect();
    match found.filter(|found| found.len() == names.len()) {
        Some(found) => Ok(found),
        None => Err(Stop::Fail(format!("{names:?}: {text}"))),
    }
}

fn version(t: &T, name: &str) -> Res<u64> {
    Ok(versions(t, &[name])?[0])
}

type Change = fn(&T, &str) -> Res;

/// Changes of files of some blocks, which have an attribute.
const FILES: [(&str, Change); 12] = [
    ("write", |_, p| Ok(sys::rdwr(p)?.pwrite(b"x", 10)?)),
    ("append", |_, p| Ok(sys::rdwr(p)?.pwrite(b"x", 30_000)?)),
    ("direct", |_, p| {
        let block = Aligned::of(&pattern(3, 0, 4096));
        Ok(sys::direct(p)?.pwrite(&block, 0)?)
    }),
    ("mapped", |_, p| {
        let f = sys::rdwr(p)?;
        let m = Map::shared(&f, 4096)?;
        m.write(10, b"x");
        Ok(m.msync()?)
    }),
    ("truncate", |_, p| Ok(sys::truncate(p, 5000)?)),
    ("punch", |_, p| Ok(sys::rdwr(p)?.punch(4096, 4096)?)),
    ("chmod", |_, p| Ok(sys::chmod(p, 0o600)?)),
    ("owner", |_, p| Ok(sys::lchown(p, 5, 6)?)),
    ("times", |_, p| Ok(sys::utimens(p, (1, 1), (2, 2))?)),
    ("attribute", |_, p| Ok(xattr::set(p, "user.b", b"y", 0)?)),
    ("without", |_, p| Ok(xattr::remove(p, "user.a")?)),
    ("flags", |_, p| {
        let f = sys::rdonly(p)?;
        Ok(f.set_flags(f.flags()? | flags::NODUMP)?)
    }),
];

/// Changes of names: ext4 leaves the counter of what is named as it is.
const NAMES: [(&str, Change); 3] = [
    ("linked", |t, p| Ok(sys::link(p, &t.p("other"))?)),
    ("renamed", |t, p| {
        Ok(sys::rename(p, &t.p("away")).and_then(|()| sys::rename(&t.p("away"), p))?)
    }),
    ("unlinked", |t, _| Ok(sys::unlink(&t.p("second"))?)),
];

/// Changes of directories.
const DIRS: [(&str, Change); 4] = [
    ("create", |_, p| {
        Ok(sys::create(&format!("{p}/new")).map(drop)?)
    }),
    ("mkdir", |_, p| Ok(sys::mkdir(&format!("{p}/sub"), 0o755)?)),
    ("unlink", |_, p| Ok(sys::unlink(&format!("{p}/old"))?)),
    ("rename", |_, p| {
        Ok(sys::rename(&format!("{p}/old"), &format!("{p}/as"))?)
    }),
];

fn names() -> Vec<(&'static str, Change)> {
    [&FILES[..], &NAMES, &DIRS].concat()
}

fn make(t: &T) -> Res {
    for (name, _) in FILES.iter().chain(&NAMES) {
        put(&t.p(name), 1, 20_000)?;
        xattr::set(&t.p(name), "user.a", b"x", 0)?;
    }
    put(&t.p("untouched"), 1, 20_000)?;
    sys::link(&t.p("unlinked"), &t.p("second"))?;
    for (name, _) in DIRS {
        sys::mkdir(&t.p(name), 0o755)?;
        sys::create(&t.p(&format!("{name}/old")))?;
    }
    Ok(())
}

/// Each change moves it, to look does not; it goes on where it was after a mount.
fn moves(t: &mut T) -> Res {
    t.fresh()?;
    make(t)?;
    t.umount()?;
    let all: Vec<&str> = names().iter().map(|(name, _)| *name).collect();
    let last = versions(t, &all)?;
    let untouched = version(t, "untouched")?;
    ensure!(untouched > 0, "none of a new file");
    t.try_mount(libc::MS_NOATIME, "")?;
    for (name, change) in names() {
        change(t, &t.p(name))?;
    }
    t.file_holds("untouched", &pattern(1, 0, 20_000), "untouched")?;
    xattr::get(&t.p("untouched"), "user.none").ok();
    t.umount()?;
    let new = versions(t, &all)?;
    for ((name, before), now) in all.into_iter().zip(&last).zip(&new) {
        let named = NAMES.iter().any(|(one, _)| *one == name);
        ensure!(
            now > before || named && !t.ours(),
            "{name}: {before} and then {now}"
        );
    }
    same!(version(t, "untouched")?, untouched, "looked at only");
    t.fsck()
}

/// Where there is room for 32 bits of it.
fn small_inodes(t: &mut T) -> Res {
    t.mkfs(64, &["-I", "128"])?;
    t.mount("")?;
    put(&t.p("f"), 1, 100)?;
    t.umount()?;
    let mut last = version(t, "f")?;
    for _ in 0..3 {
        t.mount("")?;
        sys::rdwr(&t.p("f"))?.pwrite(b"y", 0)?;
        t.umount()?;
        let now = version(t, "f")?;
        ensure!(now > last, "{last} and then {now}");
        last = now;
    }
    t.fsck()
}

/// A remount, which may change flags of the mount, does not end it.
fn remounted(t: &mut T) -> Res {
    t.fresh()?;
    drop(put(&t.p("f"), 1, 100)?);
    t.remount(libc::MS_RDONLY, "")?;
    t.remount(0, "")?;
    t.umount()?;
    let before = version(t, "f")?;
    t.mount("")?;
    t.remount(libc::MS_SYNCHRONOUS, "")?;
    sys::rdwr(&t.p("f"))?.pwrite(b"y", 0)?;
    t.umount()?;
    let now = version(t, "f")?;
    ensure!(now > before, "{before} and then {now}");
    Ok(())
}

/// It is on disk with what it counts.
fn durable(t: &mut T) -> Res {
    let d = crash::start(t)?;
    put(&t.p("f"), 1, 20_000)?;
    t.umount()?;
    let mut last = version(t, "f")?;
    for change in [FILES[0].1, FILES[4].1, FILES[9].1] {
        t.mount("")?;
        change(t, &t.p("f"))?;
        sys::rdwr(&t.p("f"))?.fsync()?;
        crash::crash(t, &d)?;
        t.umount()?;
        let now = version(t, "f")?;
        ensure!(now > last, "{last} and then {now}");
        last = now;
    }
    t.fsck()
}
