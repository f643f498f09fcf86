// SPDX-License-Identifier: GPL-2.0
//! Operations on names while memory runs out, at each allocation in turn: they fail or they do not,
//! and there is nothing in between.

use crate::cases::power::crash;
use crate::fixture::{names, put, T};
use crate::harness::{Case, Res, Variant, K1, K4};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, fail, same, skip};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("nomem/names", TWO, each_name).secs(120),
    Case::new("nomem/rename_split", TWO, rename_split).secs(120),
    Case::new("nomem/remount", TWO, remount).secs(120),
];

/// Makes this thread's n-th allocation from now on fail. Opening the file takes memory, too.
struct FailNth(Fd);

impl FailNth {
    fn open() -> Sys<FailNth> {
        Ok(FailNth(sys::rdwr("/proc/thread-self/fail-nth")?))
    }

    fn set(&self, n: u32) -> Sys<()> {
        self.0.pwrite(n.to_string().as_bytes(), 0)
    }

    /// What is left of it, which ends: 0 if an allocation has failed.
    fn left(&self) -> Res<u32> {
        let mut text = [0; 16];
        let n = self.0.pread_once(&mut text, 0)?;
        self.set(0)?;
        let text = String::from_utf8_lossy(&text[..n]);
        Ok(text.trim().parse().unwrap_or(0))
    }
}

/// Makes allocations that may wait fail, too.
fn prepare() -> Res {
    let dir = "/sys/kernel/debug/failslab";
    if !sys::exists(dir) {
        let _ = sys::mount("none", "/sys/kernel/debug", "debugfs", 0, "");
    }
    if !sys::exists(dir) || !sys::exists("/proc/thread-self/fail-nth") {
        skip!("the kernel has no failslab");
    }
    sys::write_file(&format!("{dir}/ignore-gfp-wait"), "N")?;
    sys::write_file(&format!("{dir}/verbose"), "0")?;
    Ok(())
}

type Do<'a> = &'a dyn Fn() -> Sys<()>;

/// Runs `op` with the first allocation failing, then with the second, until there is none left to
/// fail. `before` sets the stage each time, `after` is told whether it succeeded. Returns how many
/// there were.
fn each(what: &str, before: Do<'_>, op: Do<'_>, after: &dyn Fn(bool) -> Res) -> Res<u32> {
    let fail = FailNth::open()?;
    for n in 1..500 {
        before()?;
        fail.set(n)?;
        let r = op();
        let spared = fail.left()? > 0;
        match &r {
            Ok(()) => {}
            Err(e) if e.errno == libc::ENOMEM && !spared => {}
            Err(e) => fail!("{what}, allocation {n}: {e}"),
        }
        if let Err(e) = after(r.is_ok()) {
            fail!("{what}, allocation {n}, success {}: {e}", r.is_ok());
        }
        if spared {
            return Ok(n);
        }
    }
    fail!("{what}: no end of allocations")
}

/// There, or not.
fn there(path: &str, want: bool) -> Res {
    same!(sys::exists(path), want, "{path}");
    if want {
        std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path))?;
    }
    Ok(())
}

const NOTHING: Do<'_> = &|| Ok(());

/// A change of names that fails for memory leaves no trace.
fn each_name(t: &mut T) -> Res {
    prepare()?;
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    new_names(t)?;
    changed_names(t)?;
    moved_names(t)?;
    ends_well(t)
}

/// What is made is there, or nothing is.
fn new_names(t: &T) -> Res {
    let a = t.p("a");
    let made = |ok| there(&a, ok);
    let target = "s".repeat(200);
    each("create", NOTHING, &|| sys::create(&a).map(drop), &made)?;
    each("mkdir", NOTHING, &|| sys::mkdir(&a, 0o755), &made)?;
    each("symlink", NOTHING, &|| sys::symlink(&target, &a), &made)?;
    let fifo = || sys::mknod(&a, libc::S_IFIFO | 0o600, 0);
    each("mknod", NOTHING, &fifo, &made)?;
    let tmp = || sys::open(&t.p("d"), libc::O_TMPFILE | libc::O_RDWR, 0o600).map(drop);
    each("tmpfile", NOTHING, &tmp, &|_| Ok(()))?;
    Ok(())
}

fn file(path: &str) -> Sys<()> {
    put(path, 1, 5000)?.fsync()
}

fn gone(path: &str, ok: bool) -> Res {
    same!(sys::exists(path), !ok, "the old name");
    Ok(())
}

/// What is removed, cut or linked is, or all is as it was.
fn changed_names(t: &T) -> Res {
    let (a, c) = (t.p("a"), t.p("d/c"));
    let file = || file(&a);
    let gone = |ok| gone(&a, ok);
    each("unlink", &file, &|| sys::unlink(&a), &gone)?;
    let dir = || match sys::exists(&a) {
        true => Ok(()),
        false => sys::mkdir(&a, 0o755),
    };
    each("rmdir", &dir, &|| sys::rmdir(&a), &gone)?;
    each("truncate", &file, &|| sys::truncate(&a, 100), &|ok| {
        let size = sys::lstat(&a)?.st_size;
        ensure!(size == 100 || !ok, "size {size}");
        Ok(())
    })?;
    each("link", &file, &|| sys::link(&a, &c), &|ok| there(&c, ok))?;
    Ok(())
}

/// What is renamed, in its directory or to another, has one of both names.
fn moved_names(t: &T) -> Res {
    let a = t.p("a");
    for to in [&t.p("b"), &t.p("d/c")] {
        let rename = || sys::rename(&a, to);
        each("rename", &|| file(&a), &rename, &|ok| {
            gone(&a, ok)?;
            there(to, ok)
        })?;
        let both = || {
            file(&a)?;
            put(to, 2, 3000).map(drop)
        };
        each("rename over", &both, &rename, &|ok| {
            gone(&a, ok)?;
            let size = sys::lstat(to)?.st_size;
            same!(size, if ok { 5000 } else { 3000 }, "size");
            Ok(())
        })?;
        sys::unlink(to)?;
    }
    Ok(())
}

/// The journal has not been aborted, and what could not be deleted is after the next mount.
fn ends_well(t: &mut T) -> Res {
    sys::mkdir(&t.p("end"), 0o755)?;
    if t.logged(&[&["half way"], &["aborting journal"]]) {
        fail!("{:?}", t.seen);
    }
    t.umount()?;
    t.mount("")?;
    t.umount()?;
    t.fsck()
}

/// Renames in a directory whose leaves are full: the new name splits the leaf of the old one, or
/// makes the index.
fn rename_split(t: &mut T) -> Res {
    prepare()?;
    t.fresh()?;
    let name = |i: u64, k: u64| t.p(&format!("d{k}/{i:0>200}"));
    let fail = FailNth::open()?;
    let mut failed = 0;
    for k in 0..40u64 {
        sys::mkdir(&t.p(&format!("d{k}")), 0o755)?;
        // One block is full with 4 and 19 of these.
        let full = t.bs() / 208;
        let count = if k % 2 == 0 { full } else { 8 * full };
        for i in 0..count {
            put(&name(i, k), 1, 1)?;
        }
        for (to, i) in (count..).zip(0..count.min(20)) {
            fail.set(1 + ((i * 7 + k * 3) % 45) as u32)?;
            let r = sys::rename(&name(i, k), &name(to, k));
            fail.left()?;
            match r {
                Ok(()) => same!(sys::exists(&name(i, k)), false, "the old name"),
                Err(e) if e.errno == libc::ENOMEM => {
                    failed += 1;
                    errno!(sys::lstat(&name(to, k)), ENOENT);
                }
                Err(e) => fail!("rename {i} of directory {k}: {e}"),
            }
        }
        same!(names(&t.p(&format!("d{k}")))?.len() as u64, count, "names");
    }
    ensure!(failed > 50, "only {failed} failed");
    ends_well(t)
}

/// A crash has left orphans, and the mount that is read-only is made a writing one. It becomes one,
/// or stays as it is; the orphans are finished by this mount or the next one.
fn remount(t: &mut T) -> Res {
    prepare()?;
    let d = crash::start(t)?;
    let fail = FailNth::open()?;
    for n in 1..500 {
        if n > 1 {
            t.mount("")?;
        }
        let open = orphans(t, n)?;
        crash::cut(t, &d)?;
        drop(open);
        crash::lights_on(t, &d)?;
        t.try_mount(libc::MS_RDONLY, "")?;
        fail.set(n)?;
        let r = t.remount(0, "");
        let spared = fail.left()? > 0;
        let made = sys::create(&t.p("made"));
        match &r {
            Ok(()) => drop(made?),
            Err(e) if e.errno == libc::ENOMEM && !spared => errno!(made, EROFS),
            // The journal has died of it.
            Err(e) if e.errno == libc::EROFS && !spared => {
                errno!(made, EROFS);
                errno!(t.remount(0, ""), EROFS);
            }
            Err(e) => fail!("allocation {n}: {e}"),
        }
        t.umount()?;
        // A journal that has died is recovered, and e2fsck told.
        t.mount("")?;
        t.umount()?;
        t.fsck()?;
        if spared {
            return Ok(());
        }
    }
    fail!("no end of allocations")
}

/// Files that nobody names, as long as they are open. They are in the log; one has a tree.
fn orphans(t: &T, n: u32) -> Res<Vec<Fd>> {
    let mut open = Vec::new();
    for i in 0..3u64 {
        let name = t.p(&format!("o{i}"));
        let f = sys::create(&name)?;
        for k in 0..6 * (i + 1) {
            f.pwrite(&[n as u8; 10], k * 3 * t.bs())?;
        }
        f.fsync()?;
        sys::unlink(&name)?;
        open.push(f);
    }
    sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?.fsync()?;
    Ok(open)
}
