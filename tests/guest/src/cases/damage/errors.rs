// SPDX-License-Identifier: GPL-2.0
//! What an error leaves behind: an end of all writing that can be thawed, remounted and unmounted.

use crate::cases::power::crash;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, FEATS, ONE};
use crate::sys::{self, Fd};
use crate::{ensure, errno, fail, same, skip, wait};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("errors/while_frozen", ALL, while_frozen).quick(),
    Case::new("errors/remount_after", ONE, remount_after).quick(),
    Case::new("errors/dead_journal", ONE, dead_journal),
    Case::new("errors/sysrq_u", ALL, sysrq_u).quick(),
    Case::new("errors/left_open", FEATS, left_open).quick(),
];

/// An unmounted image with the files "good", and "bad", whose extent root is none.
pub fn with_bad_file(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("good"), 1, 50_000)?;
    put(&t.p("bad"), 2, 5000)?;
    t.umount()?;
    t.debugfs(&["sif /bad block[0] 0x00010000"])?;
    t.broken = true;
    Ok(())
}

/// Meets the corruption of `with_bad_file`.
pub fn meet(t: &T) -> Res {
    let r = sys::rdonly(&t.p("bad")).and_then(|f| f.pread(&mut [0; 10], 0));
    ensure!(r.is_err(), "a bad extent root was believed");
    Ok(())
}

fn root(t: &T) -> Res<Fd> {
    Ok(sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?)
}

fn mount_line() -> Res<String> {
    let all = std::fs::read_to_string("/proc/self/mounts")?;
    match all.lines().find(|l| l.contains(crate::fixture::MNT)) {
        Some(line) => Ok(line.to_string()),
        None => fail!("not in /proc/self/mounts"),
    }
}

/// Corruption that is met under a freeze ends all writing, and the thaw still gives up the locks.
fn while_frozen(t: &mut T) -> Res {
    with_bad_file(t)?;
    t.mount("errors=remount-ro")?;
    let (good, dir) = (sys::rdwr(&t.p("good"))?, root(t)?);
    let map = crate::map::Map::shared(&good, 50_000)?;
    map.get(0);
    dir.freeze(true)?;
    let met = meet(t);
    dir.freeze(false)?;
    met?;
    // Each of them would wait for ever for a lock that a freeze keeps.
    errno!(sys::create(&t.p("new")), EROFS);
    errno!(sys::unlink(&t.p("good")), EROFS);
    errno!(good.pwrite(b"x", 0), EROFS);
    errno!(good.truncate(1), EROFS);
    crate::map::sigbus_taken();
    map.set(0, 1);
    same!(crate::map::sigbus_taken(), 1, "SIGBUS for a store");
    holds(&good, 0, &pattern(1, 0, 50_000), "still readable")?;
    if t.ours() {
        errno!(dir.freeze(true), EROFS);
    }
    let line = mount_line()?;
    ensure!(line.contains("emergency_ro"), "{line}");
    drop((map, good, dir));
    t.umount()
}

/// After an error the mount can be turned read-only, not read-write again.
fn remount_after(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 refuses the remount");
    }
    with_bad_file(t)?;
    t.mount("errors=remount-ro")?;
    meet(t)?;
    errno!(sys::mkdir(&t.p("d"), 0o755), EROFS);
    t.remount(libc::MS_RDONLY, "")?;
    holds(&sys::rdonly(&t.p("good"))?, 0, &pattern(1, 0, 50_000), "ro")?;
    errno!(t.remount(0, ""), EROFS);
    t.umount()
}

/// A journal that cannot be written: remounted read-only all the same, and nothing is forgotten.
fn dead_journal(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 refuses the remount");
    }
    let d = crash::start(t)?;
    put(&t.p("kept"), 1, 10_000)?.fsync()?;
    t.umount()?;
    let at = journal_block(t, 1)?;
    t.mount("errors=continue")?;
    let f = put(&t.p("new"), 2, 10_000)?;
    f.fsync()?;
    d.swap(&crate::cases::damage::failing::with_hole(t, at, 1 << 20))?;
    f.pwrite(&pattern(3, 0, 10_000), 5000)?;
    ensure!(f.fsync().is_err(), "fsync without a journal");
    ensure!(f.fsync().is_err(), "fsync without a journal, again");
    drop(f);
    errno!(sys::mkdir(&t.p("x"), 0o755), EROFS);
    t.remount(libc::MS_RDONLY, "")?;
    let f = sys::rdonly(&t.p("new"))?;
    ensure!(f.fsync().is_err(), "fsync after the remount");
    drop(f);
    errno!(t.remount(0, ""), EROFS);
    t.umount()?;
    d.swap(&[crate::dm::linear(&t.disks[0], 0, crash::MB)])?;
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("kept"))?,
        0,
        &pattern(1, 0, 10_000),
        "kept",
    )?;
    t.broken = true;
    Ok(())
}

/// The byte where a block of the journal begins; the first is its super block.
pub fn journal_block(t: &T, n: u32) -> Res<u64> {
    let text = t.debugfs(&[&format!("bmap <8> {n}")])?;
    match text.lines().find_map(|l| l.trim().parse::<u64>().ok()) {
        Some(at) => Ok(at * t.bs()),
        None => fail!("{text}"),
    }
}

/// Creates, syncs and removes until the file system is read-only. Returns what was synced.
fn work(dir: &str, k: u64, (first, stop): (&AtomicBool, &AtomicBool)) -> Vec<(String, u64)> {
    let mut synced = Vec::new();
    let mut i = 0;
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        let name = format!("{dir}/t{k}-{i}");
        let Ok(f) = put(&name, i, 20_000) else {
            continue;
        };
        let _ = f.truncate(15_000);
        match i % 3 {
            0 if f.fsync().is_ok() => {
                synced.push((name, i));
                first.store(true, Ordering::Relaxed);
            }
            1 => drop(sys::unlink(&name)),
            _ => (),
        }
    }
    synced
}

/// Allocates and frees in a file that is open: nothing but the file system stops that.
fn keep_busy(path: &str, stop: &AtomicBool) -> Res {
    let f = sys::create(path)?;
    f.fallocate(0, 0, 400_000)?;
    while !stop.load(Ordering::Relaxed) {
        let _ = f.fallocate(0, 0, 400_000);
        let _ = f.punch(0, 400_000);
    }
    Ok(())
}

/// Runs `act` while five threads work in `dir`, and ends them. Returns what was synced, and its
/// seeds: 15,000 bytes each.
pub fn under_work(dir: &str, act: impl FnOnce() -> Res) -> Res<Vec<(String, u64)>> {
    let (first, stop) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let mut synced = Vec::new();
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..3)
            .map(|k| s.spawn(move || work(dir, k, (first, stop))))
            .collect();
        let busy = [0, 1].map(|k| s.spawn(move || keep_busy(&format!("{dir}/busy{k}"), stop)));
        std::thread::sleep(Duration::from_millis(1500));
        // If none comes, that is said in the end.
        let _ = wait::until(|| Ok(first.load(Ordering::Relaxed)));
        let done = act();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(names) => synced.extend(names),
                Err(_) => return Err(Stop::Fail("thread panic".into())),
            }
        }
        for thread in busy {
            thread.join().unwrap()?;
        }
        done
    })?;
    ensure!(!synced.is_empty(), "nothing was synced");
    Ok(synced)
}

/// Makes everything read-only, by SysRq-U.
pub fn emergency_remount(t: &mut T) -> Res {
    const TRIGGER: &str = "/proc/sysrq-trigger";
    if !sys::exists(TRIGGER) {
        skip!("no {TRIGGER}");
    }
    sys::write_file(TRIGGER, "u")?;
    let ended = wait::until(|| Ok(t.logged(&[&["emergency remount complete"]])))?;
    ensure!(ended, "no end of the emergency remount: {:?}", t.seen);
    Ok(())
}

/// An emergency remount with work under way, then a power cut: the image is clean without its log,
/// as its super block says, and has what was synced.
fn sysrq_u(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let dir = t.p("");
    let synced = under_work(&dir, || {
        emergency_remount(t)?;
        // Whoever has waited for the remount has gone on by now, and a transaction would commit.
        std::thread::sleep(Duration::from_millis(6000));
        Ok(())
    })?;
    errno!(sys::mkdir(&t.p("d"), 0o755), EROFS);
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    same!(
        crate::cases::namespace::mounts::recover(t)?,
        false,
        "needs recovery"
    );
    let at = journal_block(t, 0)?;
    same!(t.peek(at + 28, 4)?, [0; 4], "start of the log");
    t.fsck()?;
    t.mount("")?;
    for (name, seed) in &synced {
        holds(&sys::rdonly(name)?, 0, &pattern(*seed, 0, 15_000), "synced")?;
    }
    Ok(())
}

/// A file that is removed, and closed when everything has become read-only, is freed by the next
/// mount. A remount for writing, which would not look for it, is refused.
fn left_open(t: &mut T) -> Res {
    t.fresh()?;
    sys::sync();
    let free = |t: &T| sys::statfs(&t.p("")).map(|s| (s.f_bfree, s.f_ffree));
    let before = free(t)?;
    let f = put(&t.p("f"), 1, 100_000)?;
    f.fsync()?;
    sys::unlink(&t.p("f"))?;
    emergency_remount(t)?;
    drop(f);
    errno!(t.remount(0, ""), EINVAL);
    t.umount()?;
    t.mount("")?;
    same!(free(t)?, before, "free blocks and inodes after the mount");
    t.umount()
}
