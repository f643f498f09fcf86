// SPDX-License-Identifier: GPL-2.0
//! The same random operations on the file system under test and on the kernel's ext4: the same
//! answers, the same tree, and each mounts what the other wrote.

use crate::cases::content::shift::{COLLAPSE, INSERT};
use crate::cases::namespace::tree::{self, Node};
use crate::fixture::{knows_fs, pattern, private_mounts, slowness, MNT, MNT2, T};
use crate::harness::{Case, Res, Stop, Variant, ALL, K1, K4};
use crate::sys::{self, Aligned, Fd, Sys};
use crate::{ensure, same, skip};

pub const CASES: &[Case] = &[
    Case::new("diff/names_and_data", ALL, |t| case(t, 1, 2500))
        .secs(120)
        .quick(),
    Case::new("diff/second_seed", &[K1, K4], |t| case(t, 2, 2500)).secs(120),
    Case::new("diff/third_seed", &[K1, K4], |t| case(t, 3, 4000)).secs(180),
];

const DIRS: u32 = 6;
const NAMES: u32 = 14;

/// A path among few, so that operations meet each other.
fn path(r: &mut fastrand::Rng) -> String {
    let leaf = match r.u32(..10) {
        0 => format!("dir{}", r.u32(..DIRS)),
        1 => format!("{}-{}", "long".repeat(40), r.u32(..3)),
        _ => format!("n{}", r.u32(..NAMES)),
    };
    match r.u32(..8) {
        0..=2 => leaf,
        3 => format!("dir{}/dir{}/{leaf}", r.u32(..DIRS), r.u32(..DIRS)),
        _ => format!("dir{}/{leaf}", r.u32(..DIRS)),
    }
}

/// One operation, the same on both sides.
#[derive(Debug, Clone)]
enum Op {
    Create(String, u64, usize),
    Write(String, u64, u64, usize),
    Direct(String, u64, u64, usize),
    Append(String, u64, usize),
    Truncate(String, u64),
    Punch(String, u64, u64),
    Fallocate(String, i32, u64, u64),
    Mkdir(String, u32),
    Rmdir(String),
    Unlink(String),
    Link(String, String),
    Symlink(String, String),
    Mknod(String, u32, u64),
    Rename(String, String, u32),
    Chmod(String, u32),
    Chown(String, u32, u32),
    Times(String, (i64, i64), (i64, i64)),
    Fsync(String),
    List(String),
    Look(String),
}

fn random(r: &mut fastrand::Rng, i: u64) -> Op {
    let p = path(r);
    let off = r.u64(..150_000);
    let n = r.usize(1..20_000);
    match r.u32(..100) {
        0..=17 => Op::Create(p, i, n),
        18..=27 => Op::Write(p, i, off, n),
        28..=31 => {
            let unit = [512, 1024, 4096][r.usize(..3)];
            Op::Direct(p, i, off & !(unit as u64 - 1), n.next_multiple_of(unit))
        }
        32..=36 => Op::Append(p, i, n),
        37..=40 => Op::Truncate(p, off),
        41..=44 => Op::Punch(p, off, n as u64),
        45 | 46 => Op::Fallocate(p, if r.bool() { 1 } else { 0 }, off, n as u64),
        47 => {
            let mode = if r.bool() { COLLAPSE } else { INSERT };
            // Now and then what is no block.
            let mask = if r.u32(..4) == 0 { 511 } else { 4095 };
            Op::Fallocate(p, mode, off & !mask, (n as u64).next_multiple_of(mask + 1))
        }
        48..=56 => Op::Mkdir(p, 0o700 + r.u32(..64)),
        57..=59 => Op::Rmdir(p),
        60..=66 => Op::Unlink(p),
        67..=71 => Op::Link(p, path(r)),
        72..=74 => Op::Symlink("t".repeat(r.usize(1..300)), p),
        75 => Op::Mknod(
            p,
            [libc::S_IFIFO, libc::S_IFCHR, libc::S_IFBLK][r.usize(..3)],
            r.u64(..4096),
        ),
        76..=85 => Op::Rename(
            p,
            path(r),
            [0, 0, 0, sys::NOREPLACE, sys::EXCHANGE][r.usize(..5)],
        ),
        86..=88 => Op::Chmod(p, r.u32(..0o10000)),
        89..=90 => Op::Chown(p, r.u32(..100_000), r.u32(..100_000)),
        91..=92 => Op::Times(
            p,
            (r.i64(..1 << 33), r.i64(..1_000_000_000)),
            (r.i64(..1 << 33), 17),
        ),
        93..=94 => Op::Fsync(p),
        95..=96 => Op::List(format!("dir{}", r.u32(..DIRS))),
        _ => Op::Look(p),
    }
}

/// Opens what may be a fifo, for which nobody waits, but not what a symlink names.
fn open(p: &str, flags: i32) -> Sys<Fd> {
    sys::open(p, flags | libc::O_NONBLOCK | libc::O_NOFOLLOW, 0o644)
}

fn existing(p: &str) -> Sys<Fd> {
    open(p, libc::O_RDWR)
}

/// What stat says, without what differs from one filesystem to the other.
fn look(p: &str) -> Sys<String> {
    let s = sys::lstat(p)?;
    let size = match s.st_mode & libc::S_IFMT {
        libc::S_IFDIR => 0,
        _ => s.st_size,
    };
    Ok(format!(
        "{:o} {} {} {} {size} {}",
        s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_rdev
    ))
}

/// The names in a directory.
fn list(dir: &str) -> std::io::Result<String> {
    let mut names = std::fs::read_dir(dir)?
        .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.join("/"))
}

/// The answer of one side: an errno, or what was seen.
fn apply(root: &str, op: &Op) -> Result<String, i32> {
    let p = |s: &String| format!("{root}/{s}");
    let done = |r: Sys<()>| r.map(|()| String::new());
    let r: Sys<String> = match op {
        Op::Create(a, seed, n) => done(
            open(&p(a), libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)
                .and_then(|f| f.pwrite(&pattern(*seed, 0, *n), 0)),
        ),
        Op::Write(a, seed, off, n) => {
            done(existing(&p(a)).and_then(|f| f.pwrite(&pattern(*seed, *off, *n), *off)))
        }
        Op::Direct(a, seed, off, n) => done(
            open(&p(a), libc::O_RDWR | libc::O_DIRECT)
                .and_then(|f| f.pwrite(&Aligned::of(&pattern(*seed, *off, *n)), *off)),
        ),
        Op::Append(a, seed, n) => done(
            open(&p(a), libc::O_WRONLY | libc::O_APPEND)
                .and_then(|f| f.write(&pattern(*seed, 0, *n)))
                .map(drop),
        ),
        Op::Truncate(a, n) => done(existing(&p(a)).and_then(|f| f.truncate(*n))),
        Op::Punch(a, off, n) => done(existing(&p(a)).and_then(|f| f.punch(*off, *n))),
        Op::Fallocate(a, mode, off, n) => {
            done(existing(&p(a)).and_then(|f| f.fallocate(*mode, *off, *n)))
        }
        Op::Mkdir(a, mode) => done(sys::mkdir(&p(a), *mode)),
        Op::Rmdir(a) => done(sys::rmdir(&p(a))),
        Op::Unlink(a) => done(sys::unlink(&p(a))),
        Op::Link(a, b) => done(sys::link(&p(a), &p(b))),
        Op::Symlink(target, a) => done(sys::symlink(target, &p(a))),
        Op::Mknod(a, kind, dev) => done(sys::mknod(&p(a), kind | 0o600, *dev)),
        Op::Rename(a, b, flags) => done(sys::rename2(&p(a), &p(b), *flags)),
        // chmod follows symlinks, whose targets lead nowhere: the same on both sides.
        Op::Chmod(a, mode) => done(sys::chmod(&p(a), *mode)),
        Op::Chown(a, u, g) => done(sys::lchown(&p(a), *u, *g)),
        Op::Times(a, at, mt) => done(sys::utimens(&p(a), *at, *mt)),
        Op::Fsync(a) => done(existing(&p(a)).and_then(|f| f.fsync())),
        Op::List(a) => return list(&p(a)).map_err(|e| e.raw_os_error().unwrap_or(-1)),
        Op::Look(a) => look(&p(a)),
    };
    r.map_err(|e| e.errno)
}

/// Times that nobody set explicitly differ by when each side was asked.
fn without_time(n: &mut Node) {
    if n.mtime.1 != 17 {
        n.mtime = (0, 0);
    }
}

/// The same calls give the same answers and the same files here and on a filesystem in memory; an
/// emulated machine gets the beginning of the sequence.
fn case(t: &mut T, seed: u64, steps: u64) -> Res {
    run(t, seed, if slowness() > 2 { steps / 3 } else { steps })
}

fn run(t: &mut T, seed: u64, steps: u64) -> Res {
    if t.disks.len() < 2 {
        skip!("two devices are needed");
    }
    if !knows_fs("ext4") {
        skip!("the kernel has no ext4 to compare with");
    }
    let (one, two, fs) = (t.disks[0].clone(), t.disks[1].clone(), t.fs.clone());
    t.mkfs_on(&one, 128, &[])?;
    t.mkfs_on(&two, 128, &[])?;
    t.mount_as(&one, MNT, &fs, 0, "")?;
    t.mount_as(&two, MNT2, "ext4", 0, "")?;
    let mut r = fastrand::Rng::with_seed(seed * 7919 + t.bs());
    for d in 0..DIRS {
        for m in [MNT, MNT2] {
            sys::mkdir(&format!("{m}/dir{d}"), 0o755)?;
        }
    }
    side_by_side(t, &mut r, steps)?;
    t.drop_caches()?;
    let (x, y) = both_trees()?;
    ensure!(x.len() > 30, "only {} names", x.len());
    tree::compare(&x, &y, &without_time)?;
    part(t, &one, &two)?;
    // Crosswise: each reads what the other wrote, with all times now.
    t.mount_as(&two, MNT, &fs, 0, "")?;
    t.mount_as(&one, MNT2, "ext4", 0, "")?;
    let (yx, xy) = both_trees()?;
    tree::compare(&yx, &y, &|_| {}).map_err(|e| Stop::Fail(format!("{fs} reads ext4's: {e}")))?;
    tree::compare(&xy, &x, &|_| {}).map_err(|e| Stop::Fail(format!("ext4 reads {fs}'s: {e}")))?;
    // And goes on where the other stopped.
    for i in 1..=steps / 4 {
        let op = random(&mut r, steps + i);
        let (a, b) = (apply(MNT, &op), apply(MNT2, &op));
        ensure!(
            a == b,
            "crosswise step {i}: {fs} says {a:?}, ext4 says {b:?}: {op:?}"
        );
    }
    let (x, y) = both_trees()?;
    tree::compare(&x, &y, &without_time).map_err(|e| Stop::Fail(format!("crosswise: {e}")))?;
    part(t, &one, &two)?;
    same!(x.is_empty(), false, "the tree is not empty");
    Ok(())
}

/// What is in both.
fn both_trees() -> Res<(tree::Tree, tree::Tree)> {
    Ok((
        tree::read(MNT, &mut |_| {})?,
        tree::read(MNT2, &mut |_| {})?,
    ))
}

/// The end of both mounts: nothing is wrong on either device.
fn part(t: &mut T, one: &str, two: &str) -> Res {
    t.umount_dir(MNT)?;
    t.umount_dir(MNT2)?;
    t.fsck_dev(one)?;
    t.fsck_dev(two)
}

/// Does the same on both, and compares the answers, and the trees now and then.
fn side_by_side(t: &mut T, r: &mut fastrand::Rng, steps: u64) -> Res {
    let fs = t.fs.clone();
    let mut log: Vec<String> = Vec::new();
    let mut failed = 0;
    for i in 1..=steps {
        let op = random(r, i);
        let (a, b) = (apply(MNT, &op), apply(MNT2, &op));
        failed += u64::from(b.is_err());
        log.push(format!("{op:?}"));
        if log.len() > 6 {
            log.remove(0);
        }
        ensure!(
            a == b,
            "step {i}: {fs} says {a:?}, ext4 says {b:?}: {}",
            log.join("; ")
        );
        if i % 500 == 0 {
            let (x, y) = both_trees()?;
            tree::compare(&x, &y, &without_time)
                .map_err(|e| Stop::Fail(format!("step {i}: {e}")))?;
            if i % 1000 == 0 {
                t.drop_caches()?;
            }
        }
    }
    ensure!(
        steps - failed > steps / 8,
        "{failed} of {steps} operations failed: too few do something"
    );
    Ok(())
}

/// `guest diff`: many seeds, one after the other.
pub fn tool(
    fs: &str,
    disks: &[String],
    var: Variant,
    seeds: std::ops::Range<u64>,
    steps: u64,
) -> Res {
    private_mounts()?;
    for seed in seeds {
        let mut t = T::new(fs, disks, var)?;
        let r = run(&mut t, seed, steps);
        let end = t.finish(false);
        r.and(end)
            .map_err(|e| Stop::Fail(format!("seed {seed}: {e}")))?;
        let lines = t.kmsg.take();
        if let Some(l) = crate::kmsg::defect(&lines) {
            return Err(Stop::Fail(format!("seed {seed}: the kernel log has: {l}")));
        }
        println!("seed {seed}: {steps} operations, same answers, same tree, readable crosswise");
    }
    Ok(())
}
