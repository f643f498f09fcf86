// SPDX-License-Identifier: GPL-2.0
//! A mounted file system becomes larger: resize2fs as it is, and the ioctls beside it.

use crate::cases::namespace::acl::as_user;
use crate::dm;
use crate::fixture::{holds, knows_fs, names, pattern, put, run_cmd, MNT, MNT2, T};
use crate::harness::{
    Case, Res, Stop, Variant, EXT3_1K, K1, K2, K4, NOCSUM, NOCSUM1K, ONE, ORPHAN,
};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, same, skip};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub const VARS: &[Variant] = &[K1, K2, NOCSUM, NOCSUM1K, ORPHAN, EXT3_1K, K4];

/// Of those that take long.
const FEW: &[Variant] = &[K1, NOCSUM, ORPHAN, EXT3_1K, K4];

pub const CASES: &[Case] = &[
    Case::new("resize/by_the_tool", FEW, by_the_tool),
    Case::new("resize/under_writers", VARS, under_writers)
        .quick()
        .secs(120),
    Case::new("resize/as_ext4", FEW, as_ext4).secs(180),
    Case::new("resize/full_disk", &[K1, K4], full_disk).quick(),
    Case::new("resize/copies", FEW, copies).quick(),
    Case::new("resize/old_bytes", &[K1, EXT3_1K, NOCSUM], old_bytes),
    Case::new("resize/device_fails", &[K1, K4], device_fails).quick(),
    Case::new("resize/refusals", ONE, refusals).quick(),
    Case::new("resize/one_at_a_time", ONE, one_at_a_time),
    Case::new("resize/with_errors", ONE, with_errors),
    Case::new("resize/inode_tables", &[K1, K4], inode_tables),
];

const RESIZE_FS: u64 = 0x4008_6610;

pub fn root(t: &T) -> Res<Fd> {
    Ok(sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?)
}

/// EXT4_IOC_RESIZE_FS.
pub fn resize(f: &Fd, mut blocks: u64) -> Sys<()> {
    // SAFETY: It reads 8 bytes.
    unsafe { f.ioctl(RESIZE_FS, &mut blocks) }.map(|_| ())
}

/// An unmodified resize2fs, to so many MiB. It opens the device for writing, though it writes
/// nothing there; a kernel may refuse that while something is mounted from it.
fn resize2fs(t: &T, mb: u64) -> Res {
    if let Err(e) = sys::rdwr(&t.dev) {
        same!(e.errno, libc::EBUSY, "to open {}", t.dev);
        skip!("resize2fs: no bdev_allow_write_mounted=1 on the kernel's command line");
    }
    let (code, text) = run_cmd("resize2fs", &[&t.dev, &format!("{mb}M")])?;
    ensure!(code == 0, "resize2fs to {mb} MiB: {}", text.trim());
    Ok(())
}

/// A field of the super block, as dumpe2fs names it.
pub fn field(dev: &str, name: &str) -> Res<String> {
    let (_, text) = run_cmd("dumpe2fs", &["-h", dev])?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(&format!("{name}:")));
    Ok(line.unwrap_or("").trim().to_string())
}

pub fn blocks(t: &T) -> Res<u64> {
    Ok(field(&t.dev, "Block count")?.parse().unwrap_or(0))
}

/// Writes files until told to stop; returns how many.
fn write_files(t: &T, stop: &AtomicBool, count: &AtomicU64) -> Res {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(std::time::Duration::from_millis(5));
        // Some is left for who grows it, however long that takes.
        let st = sys::statfs(&t.p(""))?;
        if st.f_bavail * t.bs() < 20 << 20 {
            continue;
        }
        let i = count.load(Ordering::Relaxed);
        let dir = t.p(&format!("d{}", i / 20));
        if i % 20 == 0 {
            sys::mkdir(&dir, 0o755)?;
        }
        let f = put(&format!("{dir}/f{i}"), i, file_len(i))?;
        if i % 7 == 0 {
            f.fsync()?;
        }
        if i % 11 == 3 {
            sys::unlink(&t.p(&format!("d{}/f{}", (i - 1) / 20, i - 1)))?;
        }
        count.store(i + 1, Ordering::Relaxed);
    }
    Ok(())
}

fn file_len(i: u64) -> usize {
    1000 + (i as usize * 7919) % 60_000
}

fn check_files(t: &T, count: u64) -> Res {
    let gone = |i: u64| i % 11 == 2 && i + 1 < count;
    for i in (0..count).filter(|&i| !gone(i)) {
        let f = sys::rdonly(&t.p(&format!("d{}/f{i}", i / 20)))?;
        holds(
            &f,
            0,
            &pattern(i, 0, file_len(i)),
            "written beside a resize",
        )?;
    }
    Ok(())
}

/// With a file open, and to a size that is no multiple of a group.
fn by_the_tool(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 30 << 20)?;
    for mb in [70, 70, 201, 333] {
        resize2fs(t, mb)?;
        same!(blocks(t)?, (mb << 20) / t.bs(), "blocks, at {mb} MiB");
    }
    put(&t.p("g"), 2, 150 << 20)?.fsync()?;
    t.cycle_with(f)?;
    t.file_holds("f", &pattern(1, 0, 30 << 20), "from before")?;
    t.file_holds("g", &pattern(2, 0, 150 << 20), "from afterwards")?;
    t.umount()?;
    t.fsck()
}

/// Several times, by a few blocks and by many groups, while files come and go.
fn under_writers(t: &mut T) -> Res {
    t.fresh()?;
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let sizes = [65, 100, 128, 200, 520];
    let this = &*t;
    std::thread::scope(|s| -> Res {
        let writer = s.spawn(|| write_files(this, &stop, &count));
        let grown = sizes.into_iter().try_for_each(|mb| {
            resize(&root(this)?, (mb << 20) / this.bs())?;
            let st = sys::statfs(&this.p(""))?;
            let size = st.f_blocks * this.bs();
            ensure!(
                size <= mb << 20 && size > (mb << 20) * 7 / 10,
                "{size} bytes at {mb} MiB"
            );
            ensure!(st.f_bfree <= st.f_blocks, "more free than there is");
            ensure!(st.f_ffree <= st.f_files, "more inodes free than there are");
            // Wants space in the new groups.
            put(&this.p(&format!("big{mb}")), mb, 10 << 20)?;
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap_or(Err(Stop::Fail("writer".into())));
        grown.and(written)
    })?;
    let count = count.load(Ordering::Relaxed);
    same!(blocks(t)?, (520 << 20) / t.bs(), "blocks on disk");
    check_files(t, count)?;
    t.cycle()?;
    check_files(t, count)?;
    for mb in sizes {
        t.file_holds(&format!("big{mb}"), &pattern(mb, 0, 10 << 20), "big")?;
    }
    t.umount()?;
    t.fsck()
}

/// What dumpe2fs says of both, but for what is another in any two images.
const SAME: &[&str] = &[
    "Filesystem features",
    "Inode count",
    "Block count",
    "Overhead clusters",
    "Free blocks",
    "Free inodes",
    "First block",
    "Reserved GDT blocks",
    "Blocks per group",
    "Inodes per group",
    "First meta block group",
];

/// The same image grown by the kernel's ext4 has as much of everything; and ext4 goes on with ours.
fn as_ext4(t: &mut T) -> Res {
    if t.disks.len() < 2 || !knows_fs("ext4") {
        skip!("no ext4 to compare with");
    }
    let other = t.disks[1].clone();
    for (from, to) in [(64, 65), (61, 700), (40, 264)] {
        for dev in [t.dev.clone(), other.clone()] {
            t.mkfs_on(&dev, from, &["-U", "5b5e6c2e-2f4d-4a53-9d6c-7d0a0e2f6b11"])?;
        }
        t.mount("")?;
        t.mount_as(&other, MNT2, "ext4", 0, "")?;
        let mut free = Vec::new();
        for dir in [MNT, MNT2] {
            let f = sys::open(dir, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            resize(&f, (to << 20) / t.bs())?;
            let st = sys::statfs(dir)?;
            // What is available to users has the pool in it, which ext4 leaves as it was.
            free.push((st.f_blocks, st.f_bfree, st.f_files, st.f_ffree));
        }
        same!(
            free[0],
            free[1],
            "statfs, from {from} to {to} MiB, ext4's last"
        );
        t.umount()?;
        t.umount_dir(MNT2)?;
        for name in SAME {
            let ours = field(&t.dev, name)?;
            same!(
                ours,
                field(&other, name)?,
                "{name}, from {from} to {to} MiB"
            );
        }
        // Rounded down in each step, and ext4 makes its own.
        let root = |dev: &str| -> Res<u64> {
            Ok(field(dev, "Reserved block count")?.parse().unwrap_or(0))
        };
        let (ours, theirs) = (root(&t.dev)?, root(&other)?);
        ensure!(
            ours > 0 && ours.abs_diff(theirs) < 4,
            "root's: {ours}, ext4 {theirs}"
        );
        t.fsck()?;
        t.fsck_dev(&other)?;
        let dev = t.dev.clone();
        t.mount_as(&dev, MNT2, "ext4", 0, "")?;
        put(&format!("{MNT2}/f"), 1, 20 << 20)?.fsync()?;
        let f = sys::open(MNT2, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        resize(&f, ((to + 100) << 20) / t.bs())?;
        drop(f);
        t.umount_dir(MNT2)?;
        t.fsck()?;
        t.mount("")?;
        t.file_holds("f", &pattern(1, 0, 20 << 20), "written by ext4")?;
        t.umount()?;
    }
    Ok(())
}

/// No space, then space.
fn full_disk(t: &mut T) -> Res {
    t.fresh_mb(32)?;
    let f = sys::create(&t.p("f"))?;
    let mut at = 0;
    let chunk = 1 << 20;
    let full = loop {
        match f.pwrite(&pattern(1, at, chunk), at) {
            Ok(()) => at += chunk as u64,
            Err(e) => break e,
        }
    };
    same!(full.errno, libc::ENOSPC, "a full disk");
    let dir = root(t)?;
    resize(&dir, (96 << 20) / t.bs())?;
    for i in 0..40 {
        let at = at + i * chunk as u64;
        f.pwrite(&pattern(1, at, chunk), at)?;
    }
    f.fsync()?;
    let len = at as usize + 40 * chunk;
    drop(dir);
    t.cycle_with(f)?;
    t.file_holds("f", &pattern(1, 0, len), "written behind the old end")
}

/// Each copy of the super block says the new size, and e2fsck finds everything by it.
fn copies(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 10 << 20)?;
    resize(&root(t)?, (300 << 20) / t.bs())?;
    put(&t.p("g"), 2, 100 << 20)?;
    t.umount()?;
    t.fsck()?;
    let bs = t.bs();
    let (group, first) = match bs {
        1024 => (8192, 1),
        _ => (bs * 8, 0),
    };
    let groups = ((300 << 20) / bs - first).div_ceil(group);
    let mut seen = 0;
    for n in [1u64, 3, 5, 7, 9, 25, 27] {
        if n >= groups {
            continue;
        }
        seen += 1;
        let at = (first + n * group).to_string();
        let args = ["-fn", "-b", &at, "-B", &bs.to_string(), &t.dev];
        let (code, text) = run_cmd("e2fsck", &args)?;
        // By a copy it counts what is free anew, and takes no bitmap for unused.
        let size = format!("/{} blocks", (300 << 20) / bs);
        ensure!(
            code <= 4 && text.contains(&size),
            "by the copy in group {n}: {code}: {text}"
        );
        for bad in [
            "superblock is corrupt",
            "not in group",
            "Illegal",
            "invalid",
        ] {
            ensure!(!text.contains(bad), "by the copy in group {n}: {text}");
        }
    }
    ensure!(seen > 0, "no copies");
    Ok(())
}

/// What lay on the device before is seen by nobody: not as inodes, nor as names, also where the
/// device's own page cache has it.
fn old_bytes(t: &mut T) -> Res {
    // An older file system, full of inodes.
    t.fresh_mb(400)?;
    for d in 0..40 {
        sys::mkdir(&t.p(&format!("old{d}")), 0o755)?;
        for i in 0..100 {
            put(&t.p(&format!("old{d}/f{i}")), i, 10)?;
        }
    }
    t.umount()?;
    t.fresh_mb(32)?;
    // In the cache, as far as it goes.
    let dev = sys::rdonly(&t.dev)?;
    let mut buf = vec![0; 1 << 20];
    for i in 32..200 {
        dev.pread(&mut buf, i << 20)?;
    }
    let dir = root(t)?;
    resize(&dir, (200 << 20) / t.bs())?;
    drop(dir);
    for i in 0..3000u64 {
        let at = t.p(&format!("d{}", i / 100));
        if i % 100 == 0 {
            sys::mkdir(&at, 0o755)?;
        }
        sys::create(&format!("{at}/f{i}"))?;
    }
    drop(dev);
    t.umount()?;
    t.fsck()
}

/// Inodes of new groups, all of them.
fn inode_tables(t: &mut T) -> Res {
    t.mkfs(16, &["-N", "64"])?;
    t.mount("")?;
    let before = sys::statfs(&t.p(""))?;
    let dir = root(t)?;
    resize(&dir, (200 << 20) / t.bs())?;
    let after = sys::statfs(&t.p(""))?;
    ensure!(after.f_ffree > before.f_ffree, "no more inodes");
    let mut made = 0;
    let full = loop {
        match sys::create(&t.p(&format!("f{made}"))) {
            Ok(_) => made += 1,
            Err(e) => break e,
        }
        ensure!(made <= after.f_ffree, "more files than inodes");
    };
    same!(full.errno, libc::ENOSPC, "no inodes left");
    same!(made, after.f_ffree, "files made");
    drop(dir);
    t.cycle()?;
    same!(names(&t.p(""))?.len() as u64, made + 1, "names");
    t.umount()?;
    t.fsck()
}

/// The disk, with so many MiB from `at` on that cannot be written.
fn with_hole<'a>(disk: &'a str, at: u64, mb: u64, all: u64) -> [dm::Line<'a>; 3] {
    let rest = at + mb;
    let (_, len, target, what) = dm::linear(disk, rest, all - rest);
    [
        dm::linear(disk, 0, at),
        (at * 2048, mb * 2048, "error", String::new()),
        (rest * 2048, len, target, what),
    ]
}

/// What a new group needs cannot be written: whole steps are done, nothing is lost, and it goes on
/// when the device is well.
fn device_fails(t: &mut T) -> Res {
    let disk = t.dev.clone();
    let d = t.mapped("t", 256)?;
    t.dev = d.path.clone();
    t.fresh()?;
    put(&t.p("f"), 1, 10 << 20)?.fsync()?;
    let at = if t.bs() == 1024 { 65 } else { 129 };
    d.swap(&with_hole(&disk, at, 2, 256))?;
    errno!(resize(&root(t)?, (200 << 20) / t.bs()), EIO);
    let size = blocks(t)? * t.bs();
    ensure!(size < (at + 1) << 20, "{size} bytes in spite of the error");
    // All else works.
    put(&t.p("g"), 2, 10 << 20)?.fsync()?;
    d.swap(&[dm::linear(&disk, 0, 256)])?;
    resize(&root(t)?, (200 << 20) / t.bs())?;
    same!(blocks(t)?, (200 << 20) / t.bs(), "blocks at last");
    put(&t.p("h"), 3, 100 << 20)?.fsync()?;
    t.cycle()?;
    t.file_holds("g", &pattern(2, 0, 10 << 20), "after the error")?;
    t.umount()?;
    t.fsck()
}

/// What is refused, and with what.
fn refusals(t: &mut T) -> Res {
    t.fresh()?;
    let dir = root(t)?;
    let bs = t.bs();
    errno!(resize(&dir, (63 << 20) / bs), EINVAL);
    errno!(resize(&dir, 0), ENOSPC);
    errno!(resize(&dir, 1 << 40), ENOSPC);
    errno!(resize(&dir, u64::MAX), ENOSPC);
    let device = sys::open(&t.dev, libc::O_RDONLY, 0)?.seek(0, libc::SEEK_END)? as u64;
    errno!(resize(&dir, device / bs + 1), ENOSPC);
    // Nothing to do.
    resize(&dir, (64 << 20) / bs)?;
    // Too little for a group.
    resize(&dir, (128 << 20) / bs + 10)?;
    same!(blocks(t)?, (128 << 20) / bs, "a group too small for itself");
    let path = t.p("");
    let other = as_user(1000, || {
        let open = sys::open(&path, libc::O_RDONLY | libc::O_DIRECTORY, 0);
        open.and_then(|f| resize(&f, (200 << 20) / bs))
            .map_or_else(|e| e.errno, |()| 0)
    });
    same!(other, libc::EPERM, "as a user");
    drop(dir);
    t.umount()?;
    t.try_mount(libc::MS_RDONLY, "")?;
    errno!(resize(&root(t)?, (200 << 20) / bs), EROFS);
    t.umount()?;
    t.mkfs(64, &["-O", "sparse_super2,^resize_inode"])?;
    t.mount("")?;
    errno!(resize(&root(t)?, (200 << 20) / bs), EOPNOTSUPP);
    t.umount()?;
    t.fsck()
}

/// The second one is told so, and neither does harm.
fn one_at_a_time(t: &mut T) -> Res {
    t.fresh()?;
    let (dir, bs) = (root(t)?, t.bs());
    let (busy, done) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|s| {
        for n in 0..4 {
            let (dir, busy, done) = (&dir, &busy, &done);
            s.spawn(move || {
                for mb in (70..700).skip(n).step_by(9) {
                    let at = match resize(dir, (mb << 20) / bs) {
                        Ok(()) => done,
                        Err(e) if e.errno == libc::EBUSY => busy,
                        // Another one has gone further.
                        Err(e) if e.errno == libc::EINVAL => continue,
                        Err(e) => {
                            eprintln!("{e}");
                            continue;
                        }
                    };
                    at.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    ensure!(done.load(Ordering::Relaxed) > 0, "none has grown it");
    drop(dir);
    t.cycle()?;
    put(&t.p("f"), 1, 100 << 20)?.fsync()?;
    t.umount()?;
    t.fsck()
}

/// Not with errors.
fn with_errors(t: &mut T) -> Res {
    t.mkfs(64, &["-e", "continue"])?;
    t.mount("")?;
    t.umount()?;
    t.debugfs(&["ssv error_count 1", "ssv state 2"])?;
    t.mount("")?;
    errno!(resize(&root(t)?, (200 << 20) / t.bs()), EPERM);
    t.broken = true;
    Ok(())
}
