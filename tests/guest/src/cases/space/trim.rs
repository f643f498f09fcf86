// SPDX-License-Identifier: GPL-2.0
//! FITRIM: what is free on the disk is discarded, and nothing else.

use crate::cases::damage::baddev::Loop;
use crate::cases::power::crash::{self, MB};
use crate::dm::Dm;
use crate::fiemap::fiemap;
use crate::fixture::{holds, knows_fs, pattern, put, run_cmd, MNT, MNT2, T};
use crate::harness::{Case, Res, Stop, ALL, K1, K4, ONE};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, fail, same, skip, wait};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    Case::new("trim/discards_what_is_free", ALL, discards).quick(),
    Case::new("trim/freed_blocks_wait", ALL, freed_blocks).quick(),
    Case::new("trim/arguments", ALL, arguments).quick(),
    Case::new("trim/who_may", ONE, who_may),
    Case::new("trim/last_run_is_lent", ALL, last_run).quick(),
    Case::new("trim/under_load", &[K1, K4], under_load).secs(120),
    Case::new("trim/freeze_comes_first", ONE, freeze_first),
    Case::new("trim/can_be_killed", ONE, killed),
];

pub const MIB: u64 = 1 << 20;
/// On the disk before mke2fs.
pub const POISON: u8 = 0xD5;

/// `struct fstrim_range`.
#[repr(C)]
struct Range {
    start: u64,
    len: u64,
    least: u64,
}

/// FITRIM. Returns the bytes that were discarded.
fn fitrim(f: &Fd, start: u64, len: u64, least: u64) -> Sys<u64> {
    let mut range = Range { start, len, least };
    // SAFETY: It reads and writes 24 bytes.
    unsafe { f.ioctl(0xc018_5879, &mut range)? };
    Ok(range.len)
}

fn all(f: &Fd) -> Sys<u64> {
    fitrim(f, 0, u64::MAX, 0)
}

/// A disk that can discard, full of poison: a file on the kernel's ext4, in which what is discarded
/// becomes a hole. It goes when the case is over.
pub fn disk(t: &mut T) -> Res<Dm> {
    let Some(below) = t.disks.get(1).cloned().filter(|_| knows_fs("ext4")) else {
        skip!("no ext4 for a disk that can discard");
    };
    let (code, text) = run_cmd("mke2fs", &["-q", "-F", "-t", "ext4", &below])?;
    same!(code, 0, "mke2fs: {text}");
    sys::mount(&below, MNT2, "ext4", 0, "")?;
    let file = sys::create(&format!("{MNT2}/disk"));
    // It stays as long as the file is in use.
    sys::umount(MNT2, libc::MNT_DETACH)?;
    let file = file?;
    file.truncate(MB * MIB)?;
    for i in 0..64 {
        file.pwrite(&vec![POISON; MIB as usize], i * MIB)?;
    }
    let l = Loop::new(&file)?;
    t.dev = l.path.clone();
    t.disks[0] = l.path.clone();
    crash::on_dm(t)
}

pub fn root(t: &T) -> Res<Fd> {
    Ok(sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?)
}

fn free_bytes(t: &T) -> Res<u64> {
    Ok(sys::statfs(&t.p(""))?.f_bfree * t.bs())
}

/// Bytes of poison in each MiB, in pages that have nothing else.
fn poisoned(t: &T) -> Res<Vec<u64>> {
    let mut found = Vec::new();
    t.each_mib(64, |_, bytes| {
        let pages = bytes.chunks(4096);
        let bad = pages.filter(|page| page.iter().all(|&b| b == POISON));
        found.push(4096 * bad.count() as u64);
        Ok(())
    })?;
    Ok(found)
}

/// Files, and gaps between them that are free on the disk.
fn some_files(t: &T) -> Res {
    for i in 0..40u64 {
        put(&t.p(&format!("f{i}")), i, 100_000 + 3000 * i as usize)?.fsync()?;
    }
    for i in (0..40).filter(|i| i % 3 == 0) {
        sys::unlink(&t.p(&format!("f{i}")))?;
    }
    sys::sync();
    Ok(())
}

fn check_files(t: &T) -> Res {
    t.drop_caches()?;
    for i in (0..40).filter(|i| i % 3 != 0) {
        let want = pattern(i, 0, 100_000 + 3000 * i as usize);
        t.file_holds(&format!("f{i}"), &want, "after the trim")?;
    }
    Ok(())
}

/// All that is free is discarded, a part of it, or long runs only.
fn discards(t: &mut T) -> Res {
    disk(t)?;
    discards_on(t)
}

/// On a disk that can discard, full of poison.
pub fn discards_on(t: &mut T) -> Res {
    t.fresh()?;
    some_files(t)?;
    let (dir, before) = (root(t)?, poisoned(t)?);
    let part = fitrim(&dir, 40 * MIB, 8 * MIB, 0)?;
    let now = poisoned(t)?;
    for (i, (now, before)) in now.iter().zip(&before).enumerate() {
        if !(40..48).contains(&i) {
            same!(now, before, "MiB {i}, beside the range");
        }
    }
    let gone: u64 = before[40..48].iter().sum::<u64>() - now[40..48].iter().sum::<u64>();
    // Pages of which a part is discarded count as well.
    ensure!(
        gone > 0 && part + 64 * 4096 >= gone,
        "{part} bytes discarded, {gone} are gone"
    );
    same!(
        fitrim(&dir, 0, u64::MAX, 8 * MIB)? % t.bs(),
        0,
        "whole blocks"
    );
    let free = free_bytes(t)?;
    let done = all(&dir)?;
    let left: u64 = poisoned(t)?.iter().sum();
    ensure!(done <= free, "{done} bytes discarded, {free} are free");
    // What is shorter than the device's unit stays, and blocks that mke2fs keeps for itself.
    let all = before.iter().sum::<u64>();
    ensure!(left * 50 < all, "{left} bytes of poison of {all}");
    if t.bs() == 4096 && t.ours() {
        same!(done, free, "all that is free");
    }
    check_files(t)?;
    put(&t.p("new"), 99, 3_000_000)?.fsync()?;
    drop(dir);
    t.cycle()?;
    check_files(t)?;
    t.file_holds("new", &pattern(99, 0, 3_000_000), "written afterwards")
}

/// What was freed by a transaction that has not committed is its file's after a power cut.
fn freed_blocks(t: &mut T) -> Res {
    let d = disk(t)?;
    t.mkfs(64, &[])?;
    t.mount("commit=3000")?;
    // Whole blocks: a part of one is zeroed at once.
    let n = 3 << 20;
    for (i, name) in ["unlinked", "punched", "cut", "kept"]
        .into_iter()
        .enumerate()
    {
        put(&t.p(name), i as u64, n)?.fsync()?;
    }
    sys::sync();
    let dir = root(t)?;
    let before = all(&dir)?;
    sys::unlink(&t.p("unlinked"))?;
    sys::rdwr(&t.p("punched"))?.punch(0, n as u64)?;
    sys::truncate(&t.p("cut"), 0)?;
    let pending = all(&dir)?;
    ensure!(
        pending <= before,
        "{pending} bytes discarded, {before} before"
    );
    crash::cut(t, &d)?;
    drop(dir);
    crash::lights_on(t, &d)?;
    t.mount("")?;
    for (i, name) in ["unlinked", "punched", "cut", "kept"]
        .into_iter()
        .enumerate()
    {
        t.file_holds(name, &pattern(i as u64, 0, n), "after the cut")?;
    }
    // Committed, they go.
    let dir = root(t)?;
    let before = all(&dir)?;
    sys::unlink(&t.p("unlinked"))?;
    sys::sync();
    let after = all(&dir)?;
    if t.ours() {
        ensure!(
            after >= before + n as u64 - 8192,
            "{after} bytes, {before} before"
        );
    }
    drop(dir);
    t.umount()?;
    t.fsck()
}

/// Ranges of every kind, as ext4 takes them.
fn arguments(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one of the two is there");
    }
    disk(t)?;
    let (ours, end) = (t.fs.clone(), 64 * MIB);
    let bs = t.bs();
    let ranges = [
        (0, 0, 0),
        (0, bs - 1, 0),
        (0, bs, 0),
        (end - 1, bs, 0),
        (end, bs, 0),
        (end, u64::MAX, 0),
        (u64::MAX, u64::MAX, 0),
        (0, u64::MAX, end),
        (0, u64::MAX, 8 * bs * bs),
        (0, u64::MAX, 8 * bs * bs + bs),
        (0, u64::MAX, u64::MAX),
        (0, u64::MAX, 0),
    ];
    let mut both = Vec::new();
    for fs in ["ext4", &ours] {
        t.fs = fs.to_string();
        t.fresh()?;
        let dir = root(t)?;
        let mut answers = Vec::new();
        for (start, len, least) in ranges {
            let r = fitrim(&dir, start, len, least).map_err(|e| e.errno);
            answers.push(((start, len, least), r));
        }
        // SAFETY: An address that is not there is refused.
        errno!(unsafe { dir.ioctl(0xc018_5879, 8 as *mut u8) }, EFAULT);
        drop(dir);
        t.umount()?;
        both.push(answers);
    }
    for (theirs, ours) in both[0].iter().zip(&both[1]) {
        same!(ours, theirs, "the answer, ext4's");
    }
    Ok(())
}

/// Who may not, and where nothing may be written.
fn who_may(t: &mut T) -> Res {
    disk(t)?;
    t.fresh()?;
    let dir = root(t)?;
    let refused = std::thread::scope(|s| {
        s.spawn(|| {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            all(&dir)
        })
        .join()
    });
    let Ok(refused) = refused else {
        return Err(Stop::Fail("thread panic".into()));
    };
    errno!(refused, EPERM);
    ensure!(all(&dir)? > 0, "nothing was discarded");
    t.remount(libc::MS_RDONLY, "")?;
    if t.ours() {
        errno!(all(&dir), EROFS);
    }
    t.remount(0, "")?;
    Ok(())
}

/// Where the blocks of a file are on the disk: first byte and bytes, what lies between included.
fn place(f: &Fd) -> Res<(u64, u64)> {
    let all = fiemap(f, 0, 1 << 40, true, 64)?;
    let first = all.iter().map(|e| e.phys).min();
    let end = all.iter().map(|e| e.phys + e.len).max();
    match (first, end) {
        (Some(first), Some(end)) => Ok((first, end - first)),
        _ => fail!("no extent"),
    }
}

/// The only run that is free is being discarded when somebody needs it: he waits.
fn last_run(t: &mut T) -> Res {
    let d = disk(t)?;
    t.fresh()?;
    let (hole, n) = (4 * MIB, 3 * MIB as usize + 512 * 1024);
    let gap = sys::create(&t.p("gap"))?;
    gap.fallocate(0, 0, hole)?;
    let (at, len) = place(&gap)?;
    let w = put(&t.p("w"), 1, 100)?;
    // All else.
    let rest = sys::create(&t.p("rest"))?;
    let (mut end, mut step) = (0, 16 * MIB);
    while step >= t.bs() {
        match rest.fallocate(0, end, step) {
            Ok(()) => end += step,
            Err(e) if e.errno == libc::ENOSPC => step /= 2,
            Err(e) => return Err(e.into()),
        }
    }
    gap.truncate(0)?;
    sys::sync();
    let dir = root(t)?;
    d.suspend()?;
    let (trimmed, written) = std::thread::scope(|s| {
        let trimmer = s.spawn(|| fitrim(&dir, at, len, 0));
        std::thread::sleep(Duration::from_millis(300));
        let writer = s.spawn(|| {
            w.pwrite(&pattern(2, 0, n), 0)?;
            w.fsync()
        });
        std::thread::sleep(Duration::from_millis(700));
        let resumed = d.resume();
        (resumed.and(trimmer.join().unwrap_or(Ok(0))), writer.join())
    });
    let Ok(written) = written else {
        return Err(Stop::Fail("thread panic".into()));
    };
    ensure!(trimmed? > 0, "nothing was discarded");
    written?;
    t.holds_both(&w, &pattern(2, 0, n), "written meanwhile")?;
    drop((gap, w, rest, dir));
    t.umount()?;
    t.fsck()
}

/// Makes, writes, checks and removes files, one at least.
pub fn work(dir: &str, k: u64, stop: &AtomicBool) -> Res<u64> {
    let mut rounds = 0;
    for i in 0.. {
        if rounds > 0 && stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{dir}/w{k}-{}", i % 7);
        let n = 1000 + (i as usize * 7919) % 400_000;
        let f = put(&name, i, n)?;
        match i % 3 {
            0 => f.fsync()?,
            1 => f.sync_range(0, 0)?,
            _ => (),
        }
        f.dontneed()?;
        holds(&f, 0, &pattern(i, 0, n), "own content")?;
        if i % 5 == 0 {
            sys::unlink(&name)?;
        }
        rounds += 1;
    }
    Ok(rounds)
}

/// Trims without end beside work.
fn under_load(t: &mut T) -> Res {
    disk(t)?;
    t.fresh()?;
    let (stop, path, dir) = (AtomicBool::new(false), t.p(""), root(t)?);
    std::thread::scope(|s| -> Res {
        let (stop, path) = (&stop, &path);
        let threads: Vec<_> = (0..3)
            .map(|k| s.spawn(move || work(path, k, stop)))
            .collect();
        let (begin, mut trims) = (Instant::now(), 0);
        let mut result = Ok(());
        while (begin.elapsed() < Duration::from_secs(8) || trims < 2) && result.is_ok() {
            result = all(&dir).map(drop);
            trims += 1;
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(rounds) => drop(rounds?),
                Err(_) => return Err(Stop::Fail("thread panic".into())),
            }
        }
        Ok(result?)
    })
}

/// A device on which each discard takes this long, and free space in many pieces.
pub fn slow(t: &mut T, d: &Dm, ms: u64) -> Res {
    t.fresh()?;
    for i in 0..80u64 {
        put(&t.p(&format!("f{i}")), i, 20_000)?.fsync()?;
    }
    for i in (0..80).step_by(2) {
        sys::unlink(&t.p(&format!("f{i}")))?;
    }
    sys::sync();
    let (disk, len) = (&t.disks[0], MB * 2048);
    let params = format!("{disk} 0 0 {disk} 0 {ms}");
    match d.swap(&[(0, len, "delay", params)]) {
        Err(e) if e.errno == libc::EINVAL => skip!("no dm-delay"),
        r => Ok(r?),
    }
}

pub fn fast(t: &T, d: &Dm) -> Res {
    Ok(d.swap(&[crate::dm::linear(&t.disks[0], 0, MB)])?)
}

/// How many discards the device has come to the end of.
fn discards_done(d: &Dm) -> Res<u64> {
    let name = d.path.trim_start_matches("/dev/");
    let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat"))?;
    // "discard I/Os" of the kernel's block/stat.rst
    match stat.split_whitespace().nth(11).map(str::parse) {
        Some(Ok(number)) => Ok(number),
        _ => fail!("{name}: {stat}"),
    }
}

/// A freeze waits for one run, not for all.
fn freeze_first(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 goes on");
    }
    let d = disk(t)?;
    slow(t, &d, 200)?;
    let (dir, free, before) = (root(t)?, free_bytes(t)?, discards_done(&d)?);
    let (begun, frozen, trimmed) = std::thread::scope(|s| {
        let trimmer = s.spawn(|| all(&dir));
        // One run is discarded, and many are left.
        let begun = wait::until(|| Ok(discards_done(&d)? > before || trimmer.is_finished()));
        let frozen = dir.freeze(true);
        let trimmed = trimmer.join();
        (begun, frozen.and_then(|()| dir.freeze(false)), trimmed)
    });
    fast(t, &d)?;
    let Ok(trimmed) = trimmed else {
        return Err(Stop::Fail("thread panic".into()));
    };
    ensure!(begun?, "nothing is discarded");
    frozen?;
    let trimmed = trimmed?;
    ensure!(trimmed > 0 && trimmed < free, "{trimmed} bytes of {free}");
    ensure!(all(&dir)? > trimmed, "after the thaw");
    Ok(())
}

/// Whoever trims can be killed.
fn killed(t: &mut T) -> Res {
    let d = disk(t)?;
    slow(t, &d, 200)?;
    let before = discards_done(&d)?;
    let spawned = Command::new("/sbin/fstrim")
        .arg(MNT)
        .stdin(Stdio::null())
        .spawn();
    let Ok(mut child) = spawned else {
        skip!("no program fstrim");
    };
    let begun = wait::until(|| Ok(discards_done(&d)? > before || child.try_wait()?.is_some()))?;
    let early = child.try_wait()?;
    child.kill()?;
    let first = discards_done(&d)?;
    let end = child.wait()?;
    let more = discards_done(&d)? - first;
    fast(t, &d)?;
    ensure!(begun && early.is_none(), "it was over too early: {early:?}");
    ensure!(!end.success(), "it was not killed");
    // It has come to the end of one, and there are more than forty.
    ensure!(more < 20, "{more} runs were discarded after it was killed");
    Ok(())
}
