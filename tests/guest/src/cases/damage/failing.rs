// SPDX-License-Identifier: GPL-2.0
//! Devices that begin to fail: reads, writes, the journal, or everything.

use crate::cases::power::crash::{on_dm, MB};
use crate::dm::{self, Dm};
use crate::fixture::{holds, names, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, ALL, BOTH_MAPS, ONE};
use crate::sys;
use crate::{ensure, errno, fail, same, skip, wait};
use std::sync::atomic::{AtomicBool, Ordering};

pub const CASES: &[Case] = &[
    Case::new("baddev/dies_under_load", ALL, dies).quick(),
    Case::new("baddev/reads_fail", ALL, reads_fail),
    Case::new("baddev/writes_fail", BOTH_MAPS, writes_fail),
    Case::new("baddev/punch_fails", ALL, punch_fails).quick(),
    Case::new("baddev/punch_without_tree", ALL, punch_without_tree).quick(),
    Case::new("baddev/dies_at_journal", ONE, journal_dies),
    Case::new("baddev/checkpoint_fails", ALL, checkpoint_fails),
];

pub fn error_all() -> dm::Line<'static> {
    (0, MB * 2048, "error", String::new())
}

/// Everything fails from one moment on: errors, no hang; after repair all synced data is there.
fn dies(t: &mut T) -> Res {
    let d = on_dm(t)?;
    for opt in ["errors=remount-ro", "errors=continue", ""] {
        t.mkfs(64, &[])?;
        t.mount(opt)?;
        put(&t.p("kept"), 1, 200_000)?.fsync()?;
        let cached = sys::rdonly(&t.p("kept"))?;
        dies_under_load(&d, &t.p(""))?;
        drop(cached);
        // At the latest the end of the mount tells that the journal could not be written.
        t.umount()?;
        let ok = t.logged(&[
            &["ext4", "error"],
            &["jbd2"],
            &["i/o error"],
            &["aborted"],
            &["journal"],
        ]);
        ensure!(ok, "the log says nothing");
        t.forget_log();
        errno!(t.try_mount(0, ""), EIO | EINVAL | EUCLEAN);
        d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
        if opt == "errors=remount-ro" {
            // Replay by the kernel; the error mark makes e2fsck due, nothing else.
            t.mount("")?;
            kept(t, "after replay")?;
            t.umount()?;
        }
        let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
        ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
        t.fsck()?;
        t.mount("")?;
        kept(t, "after repair")?;
        put(&t.p("again"), 1, 1000)?;
        t.umount()?;
    }
    Ok(())
}

/// The file that was synced before the device died has its bytes.
fn kept(t: &T, when: &str) -> Res {
    holds(
        &sys::rdonly(&t.p("kept"))?,
        0,
        &pattern(1, 0, 200_000),
        when,
    )
}

/// The device dies while three threads change what is in `dir`.
fn dies_under_load(d: &Dm, dir: &str) -> Res {
    let (met, stop) = (&AtomicBool::new(false), &AtomicBool::new(false));
    std::thread::scope(|s| -> Res {
        for k in 0..3 {
            s.spawn(move || load(dir, k, (met, stop)));
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        let r = d.swap(&[error_all()]);
        let errors = wait::until(|| Ok(met.load(Ordering::Relaxed)));
        std::thread::sleep(std::time::Duration::from_millis(700));
        // A sync on the dead device returns, with an error.
        let f =
            sys::create(&format!("{dir}/late")).or_else(|_| sys::rdonly(&format!("{dir}/kept")));
        let late = f.and_then(|f| f.pwrite(b"x", 0).and_then(|()| f.fsync()));
        stop.store(true, Ordering::Relaxed);
        r?;
        ensure!(errors?, "no thread met an error");
        ensure!(late.is_err(), "a sync on a dead device succeeded");
        Ok(())
    })
}

/// One thread's changes until it is told to stop: how many of them failed.
fn load(dir: &str, k: u64, (met, stop): (&AtomicBool, &AtomicBool)) {
    let mut i = 0;
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        let name = format!("{dir}/t{k}-{}", i % 20);
        let r = put(&name, i, 30_000).and_then(|f| match i % 4 {
            0 => f.fsync(),
            1 => f.truncate(5000),
            2 => sys::rename(&name, &format!("{dir}/r{k}")),
            _ => sys::mkdir(&format!("{dir}/d{k}-{i}"), 0o755),
        });
        if r.is_err() {
            met.store(true, Ordering::Relaxed);
        }
    }
}

/// A table that fails for `len` bytes from `at`.
pub fn with_hole(t: &T, at: u64, len: u64) -> Vec<dm::Line<'static>> {
    with_parts(t, vec![(at, len, "error", String::new())])
}

/// A part of a device in bytes, and what is there: a target and its parameters.
pub type Part = (u64, u64, &'static str, String);

/// A table that has something else in these parts.
pub fn with_parts(t: &T, mut parts: Vec<Part>) -> Vec<dm::Line<'static>> {
    parts.sort_by_key(|part| part.0);
    let (mut table, mut done, disk) = (Vec::new(), 0, &t.disks[0]);
    let end = MB * 2048;
    for (at, len, target, params) in parts {
        let (at, len) = (at / 512, len.div_ceil(512));
        if at > done {
            table.push((done, at - done, "linear", format!("{disk} {done}")));
        }
        table.push((at, len, target, params));
        done = at + len;
    }
    table.push((done, end - done, "linear", format!("{disk} {done}")));
    table
}

pub fn data_at(t: &T, path: &str) -> Res<u64> {
    let f = sys::rdonly(&t.p(path))?;
    match crate::fiemap::fiemap(&f, 0, u64::MAX, true, 10)?.first() {
        Some(e) => Ok(e.phys),
        None => fail!("{path} has no extent"),
    }
}

/// A sector that cannot be read is EIO, or SIGBUS in a mapping, for what lies there alone.
fn reads_fail(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    put(&t.p("f"), 1, 100_000)?.fsync()?;
    put(&t.p("good"), 2, 100_000)?.fsync()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    put(&t.p("d/x"), 1, 1)?;
    let at = data_at(t, "f")?;
    t.umount()?;
    // Data of one file.
    d.swap(&with_hole(t, at, 8192))?;
    t.mount("")?;
    let f = sys::rdonly(&t.p("f"))?;
    let mut b = vec![0; 4096];
    errno!(f.pread_once(&mut b, 0), EIO);
    let direct = sys::open(&t.p("f"), libc::O_RDONLY | libc::O_DIRECT, 0)?;
    errno!(direct.pread_once(&mut sys::Aligned::new(4096), 0), EIO);
    crate::map::sigbus_taken();
    let m = crate::map::Map::new(&f, 0, 4096, libc::PROT_READ, libc::MAP_SHARED)?;
    m.get(0);
    same!(
        crate::map::sigbus_taken(),
        1,
        "SIGBUS for a page that cannot be read"
    );
    drop(m);
    holds(
        &f,
        65_536,
        &pattern(1, 65_536, 30_000),
        "the rest of the file",
    )?;
    holds(
        &sys::rdonly(&t.p("good"))?,
        0,
        &pattern(2, 0, 100_000),
        "another file",
    )?;
    // It heals.
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    holds(&f, 0, &pattern(1, 0, 100_000), "after repair")?;
    drop((f, direct));
    t.umount()?;
    // The inode of a file.
    let at = crate::cases::damage::bad::inode_at(t, "/d/x")? / t.bs() * t.bs();
    d.swap(&with_hole(t, at, t.bs()))?;
    match t.try_mount(0, "errors=continue") {
        Err(e) => same!(e.errno, libc::EIO, "mount with an unreadable inode table"),
        Ok(()) => {
            errno!(sys::lstat(&t.p("d/x")), EIO);
            t.umount()?;
        }
    }
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.mount("")?;
    same!(sys::lstat(&t.p("d/x"))?.st_size, 1, "after repair");
    Ok(())
}

/// Writeback of one file fails: its fsync says so once, others are not harmed.
fn writes_fail(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    let f = put(&t.p("f"), 1, 100_000)?;
    f.fsync()?;
    let good = put(&t.p("good"), 2, 100_000)?;
    good.fsync()?;
    let at = data_at(t, "f")?;
    d.swap(&with_hole(t, at, 100_000u64.next_multiple_of(t.bs())))?;
    f.pwrite(&pattern(3, 0, 100_000), 0)?;
    errno!(f.fsync(), EIO);
    good.pwrite(&pattern(4, 0, 50_000), 0)?;
    good.fsync()?;
    let direct = sys::direct(&t.p("f"))?;
    errno!(
        direct.pwrite_once(&sys::Aligned::of(&pattern(5, 0, 4096)), 0),
        EIO
    );
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    f.pwrite(&pattern(6, 0, 100_000), 0)?;
    f.fsync()?;
    drop((f, good, direct));
    t.cycle()?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(6, 0, 100_000),
        "written after repair",
    )?;
    holds(
        &sys::rdonly(&t.p("good"))?,
        0,
        &pattern(4, 0, 50_000),
        "another file",
    )?;
    // New blocks that cannot be written: no foreign bytes afterwards, and e2fsck is content.
    let g = sys::create(&t.p("new"))?;
    g.pwrite(&pattern(7, 0, 200_000), 0)?;
    let end = MB * 1024 * 1024;
    d.swap(&with_hole(t, 48 << 20, end - (48 << 20) - 1024 * 1024))?;
    let _ = g.fsync();
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    Ok(())
}

/// A hole is punched where writes fail, or have failed.
fn punch_fails(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    // The range is dirty and cannot be written: nothing is taken.
    let f = put(&t.p("f"), 1, 65_536)?;
    f.fsync()?;
    let at = data_at(t, "f")?;
    d.swap(&with_hole(t, at, 65_536))?;
    f.pwrite(&pattern(2, 0, 65_536), 0)?;
    if t.ours() {
        errno!(f.punch(4096, 8192), EIO);
        holds(&f, 0, &pattern(2, 0, 65_536), "beside a failed punch")?;
    }
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    f.punch(4096, 8192)?;
    let mut want = pattern(2, 0, 65_536);
    want[4096..4096 + 8192].fill(0);
    holds(&f, 0, &want, "punched after repair")?;
    // The last bytes could not be written and are punched then: what is left has its size.
    let g = sys::create(&t.p("g"))?;
    g.fallocate(libc::FALLOC_FL_KEEP_SIZE, 0, 8192)?;
    g.pwrite(&pattern(3, 0, 4096), 0)?;
    g.fsync()?;
    let at = data_at(t, "g")?;
    d.swap(&with_hole(t, at + 4096, 4096))?;
    g.pwrite(&pattern(3, 4096, 4096), 4096)?;
    errno!(g.fsync(), EIO);
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    g.punch(4096, 4096)?;
    g.fsync()?;
    // What a truncate keeps cannot be written: what it cuts off goes all the same.
    let h = sys::create(&t.p("h"))?;
    h.fallocate(libc::FALLOC_FL_KEEP_SIZE, 0, 12_288)?;
    h.pwrite(&pattern(4, 0, 4096), 0)?;
    h.fsync()?;
    let at = data_at(t, "h")?;
    d.swap(&with_hole(t, at + 4096, 4096))?;
    h.pwrite(&pattern(4, 4096, 8192), 4096)?;
    if t.ours() {
        errno!(h.truncate(8192), EIO);
    } else {
        h.truncate(8192)?;
    }
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    same!(
        h.size()?,
        8192,
        "size after a truncate that could not write"
    );
    same!(h.stat()?.st_blocks * 512, 8192, "bytes of blocks after it");
    drop((f, g, h));
    t.cycle()?;
    let mut want = pattern(3, 0, 4096);
    want.resize(8192, 0);
    let g = sys::rdonly(&t.p("g"))?;
    same!(g.size()?, 8192, "size after a failed write and a punch");
    holds(&g, 0, &want, "after a failed write and a punch")
}

/// The leaf of a file's tree that has one, in bytes of the unmounted image.
fn leaf_at(t: &T, path: &str) -> Res<u64> {
    let text = t.debugfs(&[&format!("dump_extents -n {path}")])?;
    // " 0/ 1   1/  1     0 -    26   8193             27": behind the blocks of the file.
    let top = text.lines().find(|l| l.trim_start().starts_with("0/ 1"));
    let mut words = top.unwrap_or("").split_whitespace();
    let leaf = words.by_ref().find(|w| *w == "-").and(words.nth(1));
    match leaf.and_then(|w| w.parse::<u64>().ok()) {
        Some(leaf) => Ok(leaf * t.bs()),
        None => fail!("{path} has no leaf: {text}"),
    }
}

/// Leaves an unmounted image with the file "f": `len` bytes, and eight pieces behind them, so that
/// its tree has a leaf. Returns where that is.
pub fn with_leaf(t: &mut T, len: usize) -> Res<u64> {
    let f = put(&t.p("f"), 1, len)?;
    let bs = t.bs();
    for k in 0..8 {
        f.pwrite(&pattern(2, k, 50), len as u64 + (2 * k + 1) * bs)?;
    }
    f.fsync()?;
    drop(f);
    t.umount()?;
    leaf_at(t, "f")
}

/// The tree of a file cannot be read when a hole is punched into it. Nothing is gone: a page that
/// has blocks of the range and others shows no zeros for them.
fn punch_without_tree(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    let (bs, len) = (t.bs(), 4 * 4096);
    let leaf = with_leaf(t, len)?;
    t.mount("errors=continue")?;
    let f = sys::rdwr(&t.p("f"))?;
    holds(&f, 0, &pattern(1, 0, len), "before the punch")?;
    d.swap(&with_hole(t, leaf, bs))?;
    // The tree is read from the disk again.
    let (code, text) = run_cmd("blockdev", &["--flushbufs", &t.dev])?;
    same!(code, 0, "blockdev: {text}");
    errno!(f.punch(4096 + bs, 4096), EIO);
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    // The kernel's ext4 may show zeros until the page leaves the cache.
    if !t.ours() {
        t.drop_caches()?;
    }
    t.holds_both(&f, &pattern(1, 0, len), "after repair")
}

/// The journal's blocks cannot be written: the file system stops, nothing half-done remains.
fn journal_dies(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    put(&t.p("kept"), 1, 10_000)?.fsync()?;
    t.umount()?;
    let text = t.debugfs(&["bmap <8> 1"])?;
    let Some(at) = text.lines().find_map(|l| l.trim().parse::<u64>().ok()) else {
        fail!("{text}")
    };
    t.mount("errors=remount-ro")?;
    d.swap(&with_hole(t, at * t.bs(), 1 << 20))?;
    let r = put(&t.p("new"), 2, 10_000).and_then(|f| f.fsync());
    ensure!(r.is_err(), "fsync succeeded without a journal");
    errno!(sys::mkdir(&t.p("x"), 0o755), EROFS | EIO);
    holds(
        &sys::rdonly(&t.p("kept"))?,
        0,
        &pattern(1, 0, 10_000),
        "still readable",
    )?;
    t.umount()?;
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("kept"))?,
        0,
        &pattern(1, 0, 10_000),
        "after repair",
    )?;
    Ok(())
}

/// What has committed and cannot be written to its place is in memory, and in the log: there it is
/// read, not from the disk, which still has what was before.
fn checkpoint_fails(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    put(&t.p("d/old"), 1, 1000)?;
    t.umount()?;
    t.try_mount(libc::MS_NOATIME, "errors=continue")?;
    sys::unlink(&t.p("d/old"))?;
    put(&t.p("d/new"), 2, 10_000)?.fsync()?;
    d.swap(&[(
        0,
        MB * 2048,
        "flakey",
        format!("{} 0 0 180 1 error_writes", t.disks[0]),
    )])?;
    sys::sync();
    // Names and inodes are looked up again, in blocks that stay.
    if sys::write_file("/proc/sys/vm/drop_caches", "2\n").is_err() {
        skip!("the kernel has no drop_caches");
    }
    let new = sys::lstat(&t.p("d/new"));
    same!(new?.st_size, 10_000, "the file that was fsynced");
    errno!(sys::lstat(&t.p("d/old")), ENOENT);
    let listed = names(&t.p("d"))?;
    same!(listed, ["new"], "what is listed");
    t.umount()?;
    // jbd2 has noticed: nothing that came of an older block would have committed.
    ensure!(
        t.logged(&[&["aborting journal"]]),
        "no write failed: {:?}",
        t.seen
    );
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.mount("")?;
    same!(sys::lstat(&t.p("d/new"))?.st_size, 10_000, "from the log");
    errno!(sys::lstat(&t.p("d/old")), ENOENT);
    Ok(())
}
