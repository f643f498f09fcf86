// SPDX-License-Identifier: GPL-2.0
//! What the super block says for people: where it was mounted, how often, how much was written.

use crate::fixture::{put, run_cmd, MNT, MNT2, T};
use crate::harness::{Case, Res, Stop, ALL, FEATS, ONE};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, fail, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("about/mounted", FEATS, mounted).quick(),
    Case::new("about/paths", ALL, paths),
    Case::new("about/lifetime", FEATS, lifetime).quick(),
    Case::new("about/label", FEATS, label).quick(),
    Case::new("about/label_refused", ONE, label_refused),
    Case::new("about/ioctls", ALL, ioctls).quick(),
    Case::new("about/ioctls_not_there", ONE, ioctls_not_there),
];

/// A field of `dumpe2fs -h`, of the unmounted device.
fn field(t: &T, name: &str) -> Res<String> {
    let (code, head) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    ensure!(code == 0, "dumpe2fs -h exit {code}: {head}");
    let line = head.lines().find_map(|l| l.strip_prefix(name));
    match line.and_then(|l| l.strip_prefix(':')) {
        Some(value) => Ok(value.trim().to_string()),
        None => Err(Stop::Fail(format!("no {name:?} in {head}"))),
    }
}

fn last_mounted(t: &T) -> Res<String> {
    field(t, "Last mounted on")
}

/// Bytes of the super block as a number.
fn number(t: &T, at: u64, len: usize) -> Res<u64> {
    let bytes = t.peek(1024 + at, len)?;
    Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

/// Count and times of a mount, and its place from the first open on.
fn mounted(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    same!(last_mounted(t)?, "<not available>", "new");
    let began = wait::seconds();
    t.mount("")?;
    sys::mkdir(&t.p("d"), 0o755)?;
    t.umount()?;
    same!(last_mounted(t)?, "<not available>", "nothing was opened");
    same!(field(t, "Mount count")?, "1", "the first mount");
    for (at, what) in [(0x2c, "mount time"), (0x30, "write time")] {
        let time = number(t, at, 4)?;
        let (from, to) = (began as u32 as u64, wait::seconds() as u32 as u64);
        ensure!((from..=to).contains(&time), "{what} {time}");
    }
    t.mount("")?;
    put(&t.p("f"), 1, 5000)?;
    t.umount()?;
    same!(last_mounted(t)?, MNT, "after a file was made");
    same!(field(t, "Mount count")?, "2", "the second mount");
    // Read-only, nothing changes.
    let before = t.image(64)?;
    let (dev, fs) = (t.dev.clone(), t.fs.clone());
    t.mount_as(&dev, MNT2, &fs, libc::MS_RDONLY, "")?;
    sys::rdonly(&format!("{MNT2}/f"))?;
    t.umount_dir(MNT2)?;
    t.unchanged(&before, "opened on a read-only mount")?;
    // To be made writable later.
    t.mount_as(&dev, MNT2, &fs, libc::MS_RDONLY, "")?;
    sys::rdonly(&format!("{MNT2}/f"))?;
    sys::mount("none", MNT2, &fs, libc::MS_REMOUNT, "")?;
    sys::rdonly(&format!("{MNT2}/f"))?;
    t.umount_dir(MNT2)?;
    same!(last_mounted(t)?, MNT2, "opened after remount,rw");
    Ok(())
}

/// Paths as long as the field, and longer; a mount that is frozen when a file is opened first.
fn paths(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 5000)?;
    t.umount()?;
    let (dev, fs) = (t.dev.clone(), t.fs.clone());
    let mut last = MNT.to_string();
    for len in [62, 63, 64, 65, 200] {
        let dir = format!("/mnt/{}", "x".repeat(len - 5));
        sys::mkdir(&dir, 0o755)?;
        t.mount_as(&dev, &dir, &fs, 0, "")?;
        sys::rdonly(&format!("{dir}/f"))?;
        t.umount_dir(&dir)?;
        // With the zero byte behind it, it must fit in 64 bytes.
        if len < 64 {
            last = dir.clone();
        }
        same!(last_mounted(t)?, last, "a path of {len} bytes");
        sys::rmdir(&dir)?;
    }
    t.mount_as(&dev, MNT2, &fs, 0, "")?;
    let root = sys::open(MNT2, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.freeze(true)?;
    let opened = sys::rdonly(&format!("{MNT2}/f"));
    root.freeze(false)?;
    opened?;
    // Not while it was frozen, but the next time.
    sys::rdonly(&format!("{MNT2}/f"))?;
    drop(root);
    t.umount_dir(MNT2)?;
    same!(last_mounted(t)?, MNT2, "opened after a freeze");
    Ok(())
}

/// KiB written, over mounts of both file systems.
fn lifetime(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let kib = |t: &T| number(t, 0x178, 8);
    let mut before = kib(t)?;
    let ours = t.fs.clone();
    for (i, fs) in [ours.as_str(), ours.as_str(), "ext4", ours.as_str()]
        .into_iter()
        .enumerate()
    {
        if !crate::fixture::knows_fs(fs) {
            continue;
        }
        let dev = t.dev.clone();
        t.mount_as(&dev, MNT, fs, 0, "")?;
        put(&t.p("f"), i as u64, 8 << 20)?.fsync()?;
        t.umount()?;
        let after = kib(t)?;
        // And what goes to the journal.
        let range = before + 8192..before + 8192 + 2048;
        ensure!(
            range.contains(&after),
            "mount {i} ({fs}): {before} KiB, then {after}"
        );
        before = after;
    }
    // A freeze tells it, too.
    t.mount("")?;
    put(&t.p("f"), 9, 4 << 20)?.fsync()?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.freeze(true)?;
    let frozen = kib(t);
    root.freeze(false)?;
    ensure!(frozen? >= before + 4096, "while frozen");
    drop(root);
    t.umount()?;
    ensure!(kib(t)? >= before + 4096, "after the freeze");
    Ok(())
}

/// FS_IOC_GETFSLABEL.
fn get_label(f: &Fd) -> Res<String> {
    let mut text = [0xEEu8; 256];
    // SAFETY: It fills at most 256 bytes.
    unsafe { f.ioctl(0x8100_9431, text.as_mut_ptr())? };
    match text.iter().position(|&b| b == 0) {
        Some(end) => Ok(String::from_utf8_lossy(&text[..end]).into_owned()),
        None => Err(Stop::Fail("a label without an end".into())),
    }
}

/// FS_IOC_SETFSLABEL.
fn set_label(f: &Fd, label: &str) -> Sys<()> {
    let mut text = [0u8; 256];
    text[..label.len()].copy_from_slice(label.as_bytes());
    // SAFETY: It reads at most 256 bytes.
    unsafe { f.ioctl(0x4100_9432, text.as_mut_ptr()) }.map(|_| ())
}

/// The label in the super block of each group that has one.
fn labels(t: &T) -> Res<Vec<String>> {
    let per_group = 8 * t.bs();
    let first = u64::from(t.bs() == 1024);
    let mut all = vec![field(t, "Filesystem volume name")?];
    for group in [1, 3] {
        let at = (first + group * per_group).to_string();
        let (bs, dev) = (format!("blocksize={}", t.bs()), t.dev.clone());
        let at = format!("superblock={at}");
        let (code, head) = run_cmd("dumpe2fs", &["-h", "-o", &at, "-o", &bs, &dev])?;
        ensure!(code == 0, "dumpe2fs -h -o {at} exit {code}: {head}");
        let line = head
            .lines()
            .find_map(|l| l.strip_prefix("Filesystem volume name:"));
        all.push(line.unwrap_or("none").trim().to_string());
    }
    Ok(all)
}

/// A label set on the mounted file system, by the ioctl and by tune2fs, in all super blocks.
fn label(t: &mut T) -> Res {
    t.mkfs(600, &["-L", "from mke2fs"])?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, 5000)?;
    same!(get_label(&f)?, "from mke2fs", "the first label");
    for label in ["sixteen bytes ..", "short", "", "x"] {
        set_label(&f, label)?;
        same!(get_label(&f)?, label, "set and asked for");
        let (code, text) = run_cmd("e2label", &[&t.dev])?;
        same!((code, text.trim()), (0, label), "e2label");
    }
    drop(f);
    t.umount()?;
    same!(labels(t)?, ["x", "x", "x"], "after unmount");
    t.mount("")?;
    let dev = t.dev.clone();
    let (code, text) = run_cmd("tune2fs", &["-L", "by tune2fs", &dev])?;
    same!(code, 0, "tune2fs -L of a mounted file system: {text}");
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    same!(get_label(&root)?, "by tune2fs", "from the root");
    drop(root);
    t.umount()?;
    same!(labels(t)?, ["by tune2fs"; 3], "after unmount");
    // A copy that is none stays as it is.
    let at = (u64::from(t.bs() == 1024) + 8 * t.bs()) * t.bs();
    let copy = t.peek(at, 1024)?;
    let bad = [vec![0x55; 1024]].concat();
    t.poke(at, &bad)?;
    t.mount("")?;
    let f = sys::rdonly(&t.p("f"))?;
    let r = set_label(&f, "again");
    if t.ours() {
        r?;
    }
    drop(f);
    t.umount()?;
    if t.ours() {
        ensure!(t.peek(at, 1024)? == bad, "a block that is no copy changed");
    }
    let copy = [
        &copy[..120],
        &b"again\0\0\0\0\0\0\0\0\0\0\0"[..],
        &copy[136..],
    ]
    .concat();
    t.poke(at, &copy)?;
    t.broken = true;
    Ok(())
}

/// Who may not, where nothing may be written, and what is too long.
fn label_refused(t: &mut T) -> Res {
    t.mkfs(64, &["-L", "kept"])?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, 5000)?;
    errno!(set_label(&f, "seventeen bytes ."), EINVAL);
    let refused = std::thread::scope(|s| {
        s.spawn(|| {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            (get_label(&f).is_ok(), set_label(&f, "mine"))
        })
        .join()
    });
    let Ok((seen, refused)) = refused else {
        return Err(Stop::Fail("thread panic".into()));
    };
    ensure!(seen, "anybody may ask");
    errno!(refused, EPERM);
    // SAFETY: An address that is not there is refused.
    errno!(unsafe { f.ioctl(0x4100_9432, 8 as *mut u8) }, EFAULT);
    // SAFETY: As above.
    errno!(unsafe { f.ioctl(0x8100_9431, 8 as *mut u8) }, EFAULT);
    // Frozen, it waits for the thaw.
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.freeze(true)?;
    let late = std::thread::scope(|s| {
        let setter = s.spawn(|| set_label(&f, "late"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        let early = get_label(&root);
        let waits = !setter.is_finished();
        let thawed = root.freeze(false);
        (early, waits, thawed, setter.join())
    });
    let (early, waits, thawed, Ok(set)) = late else {
        return Err(Stop::Fail("thread panic".into()));
    };
    thawed?;
    same!(early?, "kept", "frozen");
    ensure!(waits, "set while frozen");
    set?;
    same!(get_label(&root)?, "late", "thawed");
    drop((f, root));
    t.remount(libc::MS_RDONLY, "")?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(get_label(&f)?, "late", "read-only");
    errno!(set_label(&f, "later"), EROFS);
    Ok(())
}

/// Of ext4, and of nothing that there is here.
const NOT_THERE: [(&str, u64); 7] = [
    ("EXT4_IOC_MIGRATE", 0x6609),
    ("EXT4_IOC_ALLOC_DA_BLKS", 0x660c),
    ("EXT4_IOC_SWAP_BOOT", 0x6611),
    ("EXT4_IOC_PRECACHE_EXTENTS", 0x6612),
    ("EXT4_IOC_CLEAR_ES_CACHE", 0x6628),
    ("EXT4_IOC_GETSTATE", 0x4004_6629),
    ("EXT4_IOC_GET_ES_CACHE", 0xc020_662a),
];

/// What is not there is said to be not there, of files and directories.
fn ioctls_not_there(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 has them");
    }
    t.fresh()?;
    let f = put(&t.p("f"), 1, 5000)?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    for (name, request) in NOT_THERE {
        for f in [&f, &root] {
            let mut arg = [0u64; 8];
            // SAFETY: More than any of them has.
            match unsafe { f.ioctl(request, arg.as_mut_ptr()) } {
                Err(e) if e.errno == libc::ENOTTY => (),
                other => fail!("{name}: {other:?}"),
            }
        }
    }
    Ok(())
}

/// FS_IOC_GETVERSION and FS_IOC_GETFSUUID, and one that nobody knows.
fn ioctls(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 5000)?;
    let mut generation = 0u64;
    // SAFETY: It writes an int, in the space of a long.
    unsafe { f.ioctl(0x8008_7601, &mut generation)? };
    let mut uuid = [0u8; 17];
    // SAFETY: A length and 16 bytes.
    unsafe { f.ioctl(0x8011_1500, uuid.as_mut_ptr())? };
    // SAFETY: It has no argument.
    errno!(
        unsafe { f.ioctl::<u8>(0x5555, std::ptr::null_mut()) },
        ENOTTY
    );
    drop(f);
    t.umount()?;
    let stat = t.debugfs(&["stat f"])?;
    let want = stat.split("Generation:").nth(1).unwrap_or("");
    let want = want.split_whitespace().next().unwrap_or("");
    same!(generation.to_string(), want, "generation");
    same!(uuid[0], 16, "length of the UUID");
    ensure!(t.peek(1024 + 0x68, 16)? == uuid[1..], "the UUID");
    Ok(())
}
