// SPDX-License-Identifier: GPL-2.0
//! The mount option `discard`: what was freed is discarded when that is durable, and nothing else.

use crate::cases::power::crash::{self, MB};
use crate::cases::space::trim::{disk, fast, root, slow, work, MIB};
use crate::fiemap::fiemap;
use crate::fixture::{pattern, put, run_cmd, MNT, T};
use crate::harness::{Case, Res, Stop, ALL, K1, K4, ONE};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, same, skip, wait};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    Case::new("discard/after_commit", ALL, after_commit).quick(),
    Case::new("discard/power_cut", ALL, power_cut).quick(),
    Case::new("discard/beside_commit", &[K1, K4], beside_commit).secs(60),
    Case::new("discard/under_load", &[K1, K4], under_load).secs(120),
    Case::new("discard/options", ONE, options).quick(),
    Case::new("discard/no_device", ONE, no_device).quick(),
    Case::new("discard/error", ONE, error),
    Case::new("discard/freeze", ONE, freeze).secs(60),
    Case::new("discard/last_run", ONE, last_run).secs(60),
];

/// Where a file is on the disk, in whole pages, and what it has there.
struct Place {
    name: String,
    /// First byte on the disk, and the bytes there.
    parts: Vec<(u64, Vec<u8>)>,
}

/// A new file on the disk, with this many bytes of a pattern.
fn place(t: &T, name: &str, seed: u64, len: usize) -> Res<Place> {
    let f = put(&t.p(name), seed, len)?;
    f.fsync()?;
    let page = 4096;
    let mut parts = Vec::new();
    for e in fiemap(&f, 0, 1 << 40, true, 256)? {
        let (at, end) = (
            e.phys.next_multiple_of(page),
            (e.phys + e.len) / page * page,
        );
        let end = end.min(e.phys + len as u64 - e.log);
        if at + page <= end {
            let from = e.log + (at - e.phys);
            parts.push((at, pattern(seed, from, ((end - at) / page * page) as usize)));
        }
    }
    ensure!(!parts.is_empty(), "{name} has no page on the disk");
    let name = name.to_string();
    Ok(Place { name, parts })
}

impl Place {
    /// Pages on the disk that have the bytes of the file, pages of zeros, and others.
    fn count(&self, t: &T) -> Res<[usize; 3]> {
        let d = sys::open(&t.dev, libc::O_RDONLY | libc::O_DIRECT, 0)?;
        let mut found = [0; 3];
        for (at, want) in &self.parts {
            let mut got = Aligned::new(want.len());
            d.pread(&mut got, *at)?;
            for (got, want) in got.chunks(4096).zip(want.chunks(4096)) {
                let which = if got == want {
                    0
                } else {
                    1 + usize::from(got.iter().any(|&b| b != 0))
                };
                found[which] += 1;
            }
        }
        Ok(found)
    }

    fn stays(&self, t: &T, when: &str) -> Res {
        let [_, zero, other] = self.count(t)?;
        same!((zero, other), (0, 0), "pages of {} {when}", self.name);
        Ok(())
    }

    /// All of it is discarded, now or soon.
    fn goes(&self, t: &T, when: &str) -> Res {
        let (mut left, mut other) = (0, 0);
        let gone = wait::until(|| {
            [left, _, other] = self.count(t)?;
            Ok(left == 0 && other == 0)
        })?;
        ensure!(
            gone,
            "{} {when}: {left} pages are there, {other} have something else",
            self.name
        );
        Ok(())
    }
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

const LEN: usize = 2 << 20;

/// Nothing goes before the commit, and then all that was freed.
fn after_commit(t: &mut T) -> Res {
    disk(t)?;
    after_commit_on(t)
}

/// On a disk that can discard.
pub fn after_commit_on(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.mount("discard,commit=3000")?;
    let mut places = Vec::new();
    for (i, name) in ["unlinked", "punched", "cut", "kept"].iter().enumerate() {
        places.push(place(t, name, i as u64, LEN)?);
    }
    sys::sync();
    sys::unlink(&t.p("unlinked"))?;
    sys::rdwr(&t.p("punched"))?.punch(0, LEN as u64)?;
    sys::truncate(&t.p("cut"), 0)?;
    pause(500);
    for place in &places {
        place.stays(t, "before the commit")?;
    }
    sys::sync();
    let (kept, gone) = (&places[3], &places[..3]);
    for place in gone {
        place.goes(t, "after the commit")?;
    }
    kept.stays(t, "at the end")?;
    put(&t.p("new"), 9, 5 << 20)?.fsync()?;
    t.cycle()?;
    t.file_holds("kept", &pattern(3, 0, LEN), "kept")?;
    t.file_holds("new", &pattern(9, 0, 5 << 20), "written afterwards")
}

/// What a transaction freed that has not committed is its file's after a power cut, whatever
/// earlier ones have discarded.
fn power_cut(t: &mut T) -> Res {
    let d = disk(t)?;
    t.mkfs(64, &[])?;
    t.mount("discard,commit=3000")?;
    let first = place(t, "first", 1, LEN)?;
    for (i, name) in ["unlinked", "punched", "cut"].into_iter().enumerate() {
        place(t, name, 2 + i as u64, LEN)?;
    }
    sys::sync();
    sys::unlink(&t.p("first"))?;
    sys::sync();
    first.goes(t, "after its commit")?;
    sys::unlink(&t.p("unlinked"))?;
    sys::rdwr(&t.p("punched"))?.punch(0, LEN as u64)?;
    sys::truncate(&t.p("cut"), 0)?;
    pause(500);
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    t.mount("")?;
    for (i, name) in ["unlinked", "punched", "cut"].into_iter().enumerate() {
        t.file_holds(name, &pattern(2 + i as u64, 0, LEN), "after the cut")?;
    }
    Ok(())
}

/// A file goes while a commit with other removals runs: it is there or not after a power cut, and
/// if it is, all of it.
fn beside_commit(t: &mut T) -> Res {
    let d = disk(t)?;
    t.mkfs(64, &[])?;
    for round in 0..8u64 {
        t.mount("discard,commit=3000")?;
        for i in 0..20 {
            put(&t.p(&format!("f{i}")), i, 60_000)?.fsync()?;
        }
        put(&t.p("last"), 99, LEN)?.fsync()?;
        sys::sync();
        for i in 0..20 {
            sys::unlink(&t.p(&format!("f{i}")))?;
        }
        let removed = std::thread::scope(|s| {
            let syncer = s.spawn(sys::sync);
            std::thread::sleep(Duration::from_micros(400 * round));
            let removed = sys::unlink(&t.p("last"));
            let _ = syncer.join();
            removed
        });
        removed?;
        pause(300);
        crash::cut(t, &d)?;
        crash::lights_on(t, &d)?;
        t.mount("")?;
        if sys::exists(&t.p("last")) {
            t.file_holds("last", &pattern(99, 0, LEN), "its removal did not commit")?;
        }
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// Files come and go, and their blocks get new owners at once.
fn under_load(t: &mut T) -> Res {
    disk(t)?;
    t.mkfs(64, &[])?;
    t.mount("discard,commit=1")?;
    let (stop, path) = (AtomicBool::new(false), t.p(""));
    std::thread::scope(|s| -> Res {
        let (stop, path) = (&stop, &path);
        let threads: Vec<_> = (0..3)
            .map(|k| s.spawn(move || work(path, k, stop)))
            .collect();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(8) {
            sys::sync();
            pause(20);
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(rounds) => drop(rounds?),
                Err(_) => return Err(Stop::Fail("thread panic".into())),
            }
        }
        Ok(())
    })
}

/// Whether /proc/mounts shows the option.
fn is_shown() -> Res<bool> {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let line = mounts.lines().find(|l| l.split(' ').nth(1) == Some(MNT));
    let options = line.and_then(|l| l.split(' ').nth(3)).unwrap_or_default();
    Ok(options.split(',').any(|o| o == "discard"))
}

/// A file is made and removed; whether it is discarded.
fn removed(t: &T, discarded: bool, when: &str) -> Res {
    let place = place(t, "f", 5, LEN)?;
    sys::sync();
    sys::unlink(&t.p("f"))?;
    sys::sync();
    if discarded {
        return place.goes(t, when);
    }
    pause(500);
    place.stays(t, when)
}

/// By mount, remount and super block.
fn options(t: &mut T) -> Res {
    disk(t)?;
    t.mkfs(64, &[])?;
    t.mount("")?;
    same!(is_shown()?, false, "by default");
    removed(t, false, "by default")?;
    t.remount(0, "discard")?;
    same!(is_shown()?, true, "remounted with it");
    removed(t, true, "remounted with it")?;
    t.remount(0, "nodiscard")?;
    same!(is_shown()?, false, "remounted without");
    removed(t, false, "remounted without")?;
    t.umount()?;
    t.mount("discard")?;
    same!(is_shown()?, true, "mounted with it");
    removed(t, true, "mounted with it")?;
    t.umount()?;
    let (code, text) = run_cmd("tune2fs", &["-o", "discard", &t.dev])?;
    ensure!(code == 0, "tune2fs: {text}");
    t.mount("")?;
    removed(t, true, "by the super block")?;
    t.umount()?;
    t.mount("nodiscard")?;
    same!(is_shown()?, false, "nodiscard");
    removed(t, false, "against the super block")?;
    t.umount()?;
    errno!(t.try_mount(0, "discard=1"), EINVAL);
    Ok(())
}

fn queue_file(t: &T, name: &str) -> String {
    let dev = t.dev.rsplit('/').next().unwrap_or_default();
    format!("/sys/block/{dev}/queue/{name}")
}

/// A device that cannot discard: one line says so, and the option is not shown.
fn no_device(t: &mut T) -> Res {
    disk(t)?;
    sys::write_file(&queue_file(t, "discard_max_bytes"), "0")?;
    t.mkfs(64, &[])?;
    t.forget_log();
    t.mount("discard")?;
    same!(is_shown()?, false, "mounted");
    ensure!(t.logged(&[&["discard", "device"]]), "nothing was said");
    removed(t, false, "mounted")?;
    if t.ours() {
        t.forget_log();
        t.remount(0, "discard")?;
        same!(is_shown()?, false, "remounted");
        ensure!(t.logged(&[&["discard", "device"]]), "nothing was said");
    }
    Ok(())
}

/// The device reports an error: nobody is hurt, and what is freed later is discarded.
fn error(t: &mut T) -> Res {
    let d = disk(t)?;
    t.mkfs(64, &[])?;
    t.mount("discard")?;
    let place = place(t, "f", 1, LEN)?;
    sys::sync();
    let at = place.parts.iter().map(|(at, _)| *at).min().unwrap_or(0) / 512;
    let ends = place.parts.iter().map(|(at, b)| at + b.len() as u64);
    let end = ends.max().unwrap_or(0) / 512;
    let under = t.disks[0].clone();
    d.swap(&[
        (0, at, "linear", format!("{under} 0")),
        (at, end - at, "error", String::new()),
        (end, MB * 2048 - end, "linear", format!("{under} {end}")),
    ])?;
    let max = std::fs::read_to_string(queue_file(t, "discard_max_bytes"))?;
    if max.trim() == "0" {
        fast(t, &d)?;
        skip!("no discard beside an error target");
    }
    t.forget_log();
    sys::unlink(&t.p("f"))?;
    sys::sync();
    // The kernel's ext4 says nothing.
    let ours = t.ours();
    let told = wait::until(|| Ok(t.logged(&[&["not discarded", "error -5"]]) || !ours))?;
    pause(500);
    fast(t, &d)?;
    place.stays(t, "after the error")?;
    ensure!(told, "nothing was said");
    put(&t.p("g"), 2, LEN)?.fsync()?;
    t.holds_both(&sys::rdonly(&t.p("g"))?, &pattern(2, 0, LEN), "afterwards")?;
    removed(t, true, "afterwards")
}

fn zeros(t: &T, places: &[Place]) -> Res<usize> {
    let mut sum = 0;
    for place in places {
        sum += place.count(t)?[1];
    }
    Ok(sum)
}

/// A freeze does not wait for all of it, and nothing is discarded until the thaw. Then it is.
fn freeze(t: &mut T) -> Res {
    let d = disk(t)?;
    slow(t, &d, 0)?;
    t.remount(0, "discard,commit=3000")?;
    let mut places = Vec::new();
    for i in 0..40 {
        places.push(place(t, &format!("g{i}"), i, 16_384)?);
        put(&t.p(&format!("h{i}")), i, 4096)?.fsync()?;
    }
    sys::sync();
    let (under, len) = (&t.disks[0], MB * 2048);
    let params = format!("{under} 0 0 {under} 0 1000");
    d.swap(&[(0, len, "delay", params)])?;
    for i in 0..40 {
        sys::unlink(&t.p(&format!("g{i}")))?;
    }
    let dir = root(t)?;
    dir.freeze(true)?;
    let (first, later) = (zeros(t, &places)?, {
        pause(3000);
        zeros(t, &places)?
    });
    dir.freeze(false)?;
    fast(t, &d)?;
    if t.ours() {
        same!(later, first, "pages discarded while frozen");
        ensure!(first < 4 * 40, "all was discarded before");
    }
    for place in &places {
        place.goes(t, "after the thaw")?;
    }
    Ok(())
}

fn fill(f: &Fd, bs: u64) -> Res {
    let (mut end, mut step) = (0, 16 * MIB);
    while step >= bs {
        match f.fallocate(0, end, step) {
            Ok(()) => end += step,
            Err(e) if e.errno == libc::ENOSPC => step /= 2,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// What was just freed is needed at once, all of it: who asks waits for the discards.
fn last_run(t: &mut T) -> Res {
    let d = disk(t)?;
    for round in 0..6 {
        t.mkfs(64, &[])?;
        t.mount("discard,commit=3000")?;
        for i in 0..6 {
            sys::create(&t.p(&format!("gap{i}")))?.fallocate(0, 0, 3 * MIB)?;
            sys::create(&t.p(&format!("wall{i}")))?.fallocate(0, 0, t.bs())?;
        }
        fill(&sys::create(&t.p("rest"))?, t.bs())?;
        sys::sync();
        let (under, len) = (&t.disks[0], MB * 2048);
        let params = format!("{under} 0 0 {under} 0 100");
        d.swap(&[(0, len, "delay", params)])?;
        for i in 0..6 {
            sys::unlink(&t.p(&format!("gap{i}")))?;
        }
        sys::sync();
        pause(30 * round);
        let new = sys::create(&t.p("new"))?;
        let got = new.fallocate(0, 0, 18 * MIB - 8 * t.bs());
        fast(t, &d)?;
        got?;
        drop(new);
        t.umount()?;
    }
    Ok(())
}
