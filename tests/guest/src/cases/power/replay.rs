// SPDX-License-Identifier: GPL-2.0
//! dm-log-writes: every write, in the order in which flushes made them durable. Each prefix of that
//! log is a disk that a power cut could have left; this is what catches a missing flush.

use crate::dm;
use crate::fixture::{pattern, put, T};
use crate::harness::{Case, Res, ALL, FEATS, K1, ORPHAN};
use crate::sys::{self, Aligned, Fd};
use crate::writelog::{self, Entry, Write};
use crate::{ensure, fail, same, skip};
use std::collections::BTreeMap;

pub const CASES: &[Case] = &[
    Case::new("replay/fsync_flushes", ALL, fsync_flushes).quick(),
    Case::new("replay/every_flush", FEATS, every_flush).secs(120),
    Case::new("replay/deletions", &[K1, ORPHAN], deletions).secs(180),
];

/// Files that must be whole: name, seed and length.
type Synced = BTreeMap<String, (u64, usize)>;

const MB: usize = 16;

pub struct Logged {
    pub base: Vec<u8>,
    pub log: dm::Dm,
}

/// A new image below a write log; the log is on the second half of the last disk.
pub fn start(t: &mut T) -> Res<Logged> {
    start_on(t, MB, &["-J", "size=4"])
}

/// The same on a disk of so many MiB, which may be larger than the image.
pub fn start_on(t: &mut T, mb: usize, more: &[&str]) -> Res<Logged> {
    if !dm::usable() {
        skip!("no device mapper");
    }
    let (disk, last) = (t.disks[0].clone(), t.disks[t.disks.len() - 1].clone());
    let data = dm::start("data", &[dm::linear(&disk, 0, mb as u64)])?;
    t.dms.push(data.clone());
    let logdev = dm::start("log", &[dm::linear(&last, 512, 500)])?;
    t.dms.push(logdev.clone());
    t.mkfs_on(&data.path, MB as u64, more)?;
    let mut base = vec![0; mb << 20];
    sys::rdonly(&data.path)?.pread(&mut base, 0)?;
    let table = format!("{} {}", data.path, logdev.path);
    let log = match dm::start("t", &[(0, mb as u64 * 2048, "log-writes", table)]) {
        Ok(l) => l,
        Err(e) if e.errno == libc::EINVAL => skip!("no dm-log-writes"),
        Err(e) => return Err(e.into()),
    };
    t.dms.push(log.clone());
    t.dev = log.path.clone();
    t.mount("")?;
    Ok(Logged { base, log })
}

/// Ends the logging; afterwards the device under test is a plain one for replays.
pub fn stop(t: &mut T) -> Res<Vec<Entry>> {
    t.umount()?;
    if let Some(d) = t.dms.pop() {
        d.remove()?;
    }
    let Some(logdev) = t.dms.pop() else {
        fail!("no log device")
    };
    let e = writelog::read(&sys::rdonly(&logdev.path)?)?;
    logdev.remove()?;
    if let Some(d) = t.dms.pop() {
        d.remove()?;
    }
    t.dev = t.disks[0].clone();
    let writes = e.iter().filter(|e| matches!(e, Entry::Write(_))).count();
    ensure!(writes > 5, "{writes} writes in the log");
    Ok(e)
}

/// Mounts the disk as it was, lets `look` check it, and wants e2fsck content.
pub fn inspect(t: &mut T, disk: &[u8], look: &mut dyn FnMut(&T) -> Res) -> Res {
    let f: Fd = t.raw()?;
    for (i, c) in disk.chunks(1 << 20).enumerate() {
        f.pwrite(c, (i << 20) as u64)?;
    }
    f.fsync()?;
    drop(f);
    t.mount("")?;
    look(t)?;
    t.umount()?;
    t.fsck()
}

/// After each fsync a mark: the disk up to the mark holds what was synced.
fn fsync_flushes(t: &mut T) -> Res {
    let l = start(t)?;
    let n = 4u64;
    let over = put(&t.p("over"), 50, 50_000)?;
    over.fsync()?;
    for i in 0..n {
        put_synced(&t.p(&format!("f{i}")), i)?;
        // An overwrite in place needs a flush of its own: no metadata changes.
        over.pwrite(&pattern(100 + i, 4096 * i, 4096), 4096 * i)?;
        over.fdatasync()?;
        l.log.message(&format!("mark m{i}"))?;
    }
    drop(over);
    let entries = stop(t)?;
    let mut disk = l.base.clone();
    let mut marks = 0;
    for e in &entries {
        match e {
            Entry::Write(w) => disk[w.at..w.at + w.data.len()].copy_from_slice(&w.data),
            Entry::Mark(m) => {
                let Some(i) = m.strip_prefix('m').and_then(|m| m.parse::<u64>().ok()) else {
                    continue;
                };
                marks += 1;
                inspect(t, &disk, &mut |t| synced_before(t, i))?;
            }
            Entry::Flush | Entry::Discard => {}
        }
    }
    same!(marks, n, "marks in the log");
    Ok(())
}

/// File number `i`, written and synced in one of four ways.
fn put_synced(path: &str, i: u64) -> Res {
    match i % 4 {
        0 => put(path, i, 20_000)?.fsync()?,
        1 => put(path, i, 20_000)?.fdatasync()?,
        2 => {
            let d = sys::direct(path)?;
            d.pwrite(&Aligned::of(&pattern(i, 0, 20_480)), 0)?;
            d.fsync()?;
        }
        _ => {
            let d = sys::open(path, libc::O_CREAT | libc::O_RDWR | libc::O_DSYNC, 0o644)?;
            d.pwrite(&pattern(i, 0, 20_000), 0)?;
        }
    }
    Ok(())
}

/// What was synced before a mark is there.
fn synced_before(t: &T, mark: u64) -> Res {
    for k in 0..=mark {
        let f = sys::rdonly(&t.p(&format!("f{k}")))?;
        let when = format!("synced before mark {mark}");
        crate::fixture::holds(&f, 0, &pattern(k, 0, 20_000), &when)?;
        let o = sys::rdonly(&t.p("over"))?;
        let want = pattern(100 + k, 4096 * k, 4096);
        let when = format!("overwritten before mark {mark}");
        crate::fixture::holds(&o, 4096 * k, &want, &when)?;
    }
    Ok(())
}

/// What was synced at each mark, and what of it is untouched at the end.
#[derive(Default)]
struct Promised {
    marks: Vec<(u64, Synced)>,
    now: Synced,
}

impl Promised {
    /// What was synced at the last mark and not touched until the next one.
    fn at(&self, last: Option<u64>) -> Synced {
        let Some(a) = self.marks.iter().position(|(i, _)| Some(*i) == last) else {
            return Synced::new();
        };
        let next = self.marks.get(a + 1).map_or(&self.now, |(_, m)| m);
        let synced = self.marks[a].1.iter();
        synced
            .filter(|(k, v)| next.get(*k) == Some(*v))
            .map(|(k, v)| (k.clone(), *v))
            .collect()
    }

    /// One random change of a tree.
    fn step(&mut self, t: &T, l: &Logged, r: &mut fastrand::Rng, i: u64) -> Res {
        let name = format!("f{}", r.u32(..25));
        match r.u32(..8) {
            0..=3 => {
                let n = r.usize(1..60_000);
                let f = put(&t.p(&name), i, n)?;
                self.now.remove(&name);
                if r.bool() {
                    f.fsync()?;
                    self.now.insert(name, (i, n));
                    l.log.message(&format!("mark s{i}"))?;
                    self.marks.push((i, self.now.clone()));
                }
            }
            4 => {
                self.now.remove(&name);
                let _ = sys::unlink(&t.p(&name));
            }
            5 => {
                let to = format!("f{}", r.u32(..25));
                self.now.remove(&name);
                self.now.remove(&to);
                let _ = sys::rename(&t.p(&name), &t.p(&to));
            }
            6 => {
                let _ = sys::mkdir(&t.p(&format!("d{}", r.u32(..10))), 0o755);
            }
            _ => {
                if let Ok(f) = sys::rdwr(&t.p(&name)) {
                    self.now.remove(&name);
                    f.punch(r.u64(..50_000), 30_000)?;
                    f.truncate(r.u64(..100_000))?;
                }
            }
        }
        Ok(())
    }
}

/// Some of the places at which the disk has been flushed.
fn some_flushes(entries: &[Entry]) -> Vec<usize> {
    let is_flush = |k: &usize| {
        matches!(
            &entries[*k],
            Entry::Flush | Entry::Mark(_) | Entry::Write(Write { fua: true, .. })
        )
    };
    let points: Vec<usize> = (0..entries.len()).filter(is_flush).collect();
    let limit = if crate::fixture::slowness() > 2 {
        4
    } else {
        10
    };
    let every = points.len().div_ceil(limit).max(1);
    points.into_iter().step_by(every).collect()
}

/// Random work; the disk as it was after flushes along the way is consistent after replay.
fn every_flush(t: &mut T) -> Res {
    let l = start(t)?;
    let mut r = fastrand::Rng::with_seed(31);
    let mut promised = Promised::default();
    for i in 0..150u64 {
        promised.step(t, &l, &mut r, i)?;
        if i % 30 == 29 {
            sys::sync();
        }
    }
    let entries = stop(t)?;
    let mut disk = l.base.clone();
    let chosen = some_flushes(&entries);
    let mut last: Option<u64> = None;
    for (k, e) in entries.iter().enumerate() {
        match e {
            Entry::Write(w) => disk[w.at..w.at + w.data.len()].copy_from_slice(&w.data),
            Entry::Mark(m) => last = m.strip_prefix('s').and_then(|m| m.parse().ok()).or(last),
            Entry::Flush | Entry::Discard => {}
        }
        if !chosen.contains(&k) {
            continue;
        }
        let must = promised.at(last);
        inspect(t, &disk, &mut |t| {
            for (name, (seed, n)) in &must {
                let f = sys::rdonly(&t.p(name))?;
                same!(f.size()?, *n as u64, "size of {name} at entry {k}");
                crate::fixture::holds(&f, 0, &pattern(*seed, 0, *n), &format!("at entry {k}"))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Makes one of each type, with and without blocks, and has each go, by unlink, by rename over it,
/// or by half (truncate).
fn come_and_go(dir: &str, round: u64) -> Res {
    let p = |name: &str| format!("{dir}/{name}{}", round % 3);
    let f = put(&p("big"), round, 300_000)?;
    // Many extents, so that its blocks take more than one handle.
    for i in 0..20 {
        f.pwrite(b"x", 400_000 + i * 16_384)?;
    }
    f.fsync()?;
    f.truncate(10_000)?;
    sys::symlink(&"s".repeat(70), &p("slow"))?;
    sys::symlink(&"s".repeat(1000), &p("slower"))?;
    sys::symlink("fast", &p("fast"))?;
    sys::mkdir(&p("dir"), 0o755)?;
    sys::mknod(&p("fifo"), libc::S_IFIFO | 0o600, 0)?;
    put(&p("over"), 1, 5000)?;
    sys::rename(&p("over"), &p("slower"))?;
    for name in ["big", "slow", "slower", "fast", "fifo"] {
        sys::unlink(&p(name))?;
    }
    Ok(sys::rmdir(&p("dir"))?)
}

/// Commits all the time while all kinds of inodes are deleted, so that many fall between two
/// handles of one deletion. Whoever crashed, the next mount finishes what was begun.
fn deletions(t: &mut T) -> Res {
    let ours = t.fs.clone();
    let mut sides = vec![ours.clone()];
    if t.ours() && crate::fixture::knows_fs("ext4") {
        sides.push("ext4".to_string());
    }
    for side in sides {
        t.fs = side.clone();
        let l = start(t)?;
        let done = std::sync::atomic::AtomicBool::new(false);
        let (done, dir) = (&done, t.p(""));
        std::thread::scope(|s| -> Res {
            s.spawn(move || -> Res {
                let d = sys::rdonly(&dir)?;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    d.syncfs()?;
                }
                Ok(())
            });
            let r = (0..40).try_for_each(|round| come_and_go(&t.p(""), round));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            r
        })?;
        let entries = stop(t)?;
        t.fs = ours.clone();
        let is_fua = |e: &Entry| matches!(e, Entry::Write(Write { fua: true, .. }));
        let all = entries.iter().filter(|e| is_fua(e)).count();
        let every = all.div_ceil(24).max(1);
        let mut disk = l.base.clone();
        let mut nth = 0;
        for e in &entries {
            let Entry::Write(w) = e else {
                continue;
            };
            disk[w.at..w.at + w.data.len()].copy_from_slice(&w.data);
            nth += usize::from(w.fua);
            if w.fua && nth % every == 0 {
                t.forget_log();
                if let Err(e) = inspect(t, &disk, &mut |_| Ok(())) {
                    fail!("{side}, after flush {nth} of {all}: {e}: {:?}", t.log());
                }
                if t.ours() && t.logged(&[&["left to e2fsck"], &["cannot be finished"]]) {
                    fail!("{side}, after flush {nth} of {all}: {:?}", t.seen);
                }
            }
        }
    }
    Ok(())
}
