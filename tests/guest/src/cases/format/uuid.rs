// SPDX-License-Identifier: GPL-2.0
//! The UUID of a mounted file system: asked for, and changed.

use crate::fixture::{put, run_cmd, MNT, T};
use crate::harness::{Case, Res, Stop, Variant, FEATS, K1, NOCSUM, ONE, ORPHAN};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("uuid/asked", FEATS, asked).quick(),
    Case::new("uuid/set", SEEDED, set).quick(),
    Case::new("uuid/bad_copy", ONE_SEEDED, bad_copy),
    Case::new("uuid/not_there", FEATS, not_there),
    Case::new("uuid/refused", ONE_SEEDED, refused),
    Case::new("uuid/stable_inodes", ONE, stable_inodes),
];

/// Where the UUID can be changed: no checksum depends on it.
const SEEDED: &[Variant] = &[SEED1K, ORPHAN, NOTHING];
const ONE_SEEDED: &[Variant] = &[ORPHAN];
const SEED1K: Variant = Variant {
    name: "seed1k",
    feats: "metadata_csum,metadata_csum_seed",
    ..K1
};
const NOTHING: Variant = Variant {
    name: "nothing",
    feats: "^metadata_csum,^uninit_bg,^64bit",
    ..NOCSUM
};

const GET: u64 = 0x8008_662c;
const SET: u64 = 0x4008_662c;

const NEW: [u8; 16] = *b"rext4 test UUID.";

/// `struct fsuuid` with room for the bytes.
#[repr(C)]
struct Uuid {
    len: u32,
    flags: u32,
    bytes: [u8; 16],
}

fn ask(f: &Fd, len: u32, flags: u32) -> Sys<Uuid> {
    let bytes = [0xEE; 16];
    let mut uuid = Uuid { len, flags, bytes };
    // SAFETY: It fills at most this.
    unsafe { f.ioctl(GET, &mut uuid)? };
    Ok(uuid)
}

fn change(f: &Fd, len: u32, flags: u32) -> Sys<()> {
    let bytes = NEW;
    let mut uuid = Uuid { len, flags, bytes };
    // SAFETY: It reads at most this.
    unsafe { f.ioctl(SET, &mut uuid) }.map(|_| ())
}

/// FS_IOC_GETFSUUID.
fn of_vfs(f: &Fd) -> Sys<Vec<u8>> {
    let mut uuid = [0u8; 17];
    // SAFETY: A length and 16 bytes.
    unsafe { f.ioctl(0x8011_1500, uuid.as_mut_ptr())? };
    Ok(uuid[1..].to_vec())
}

/// Where the super blocks of groups 0, 1 and 3 lie.
fn copies(t: &T) -> [u64; 3] {
    let (per_group, first) = (8 * t.bs(), u64::from(t.bs() == 1024));
    let group = |n| (first + n * per_group) * t.bs();
    [1024, group(1), group(3)]
}

fn fsid() -> Sys<[i32; 2]> {
    let stat = sys::statfs(MNT)?;
    // SAFETY: Two numbers, which the library hides.
    Ok(unsafe { std::mem::transmute::<libc::fsid_t, [i32; 2]>(stat.f_fsid) })
}

/// The UUID as it is on disk, by whatever length is asked for.
fn asked(t: &mut T) -> Res {
    t.fresh()?;
    let on_disk = t.peek(1024 + 0x68, 16)?;
    let f = put(&t.p("f"), 1, 5000)?;
    let root = sys::open(MNT, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    for f in [&f, &root] {
        let only = ask(f, 0, 0)?;
        same!((only.len, only.bytes), (16, [0xEE; 16]), "the length");
        // The length alone is told whatever the flags.
        same!(ask(f, 0, 7)?.flags, 7, "flags with no room");
        for len in [16, 17, u32::MAX] {
            let uuid = ask(f, len, 0)?;
            same!(uuid.len, 16, "length for {len}");
            ensure!(uuid.bytes[..] == on_disk, "bytes for {len}");
        }
        errno!(ask(f, 15, 0), EINVAL);
        errno!(ask(f, 16, 1), EINVAL);
    }
    ensure!(of_vfs(&f)? == on_disk, "FS_IOC_GETFSUUID");
    // SAFETY: An address that is not there is refused.
    errno!(unsafe { f.ioctl(GET, 8 as *mut u8) }, EFAULT);
    Ok(())
}

/// A new UUID is in all super blocks; nothing else changes by it, then or after the next mount.
fn set(t: &mut T) -> Res {
    t.mkfs(600, &[])?;
    let old = t.peek(1024 + 0x68, 16)?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, 50_000)?;
    let (id, first) = (fsid()?, of_vfs(&f)?);
    change(&f, 16, 0)?;
    same!(ask(&f, 16, 0)?.bytes, NEW, "asked for");
    ensure!(of_vfs(&f)? == first, "FS_IOC_GETFSUUID before a new mount");
    ensure!(fsid()? != id, "the id of statfs is the old one");
    // All goes on: checksums of what is written now and of what is read.
    put(&t.p("g"), 2, 50_000)?.fsync()?;
    drop(f);
    t.umount()?;
    for at in copies(t) {
        ensure!(t.peek(at + 0x68, 16)? == NEW, "super block at {at}");
    }
    ensure!(old != NEW, "nothing changed");
    t.fsck()?;
    t.mount("")?;
    t.file_holds("f", &crate::fixture::pattern(1, 0, 50_000), "f")?;
    t.file_holds("g", &crate::fixture::pattern(2, 0, 50_000), "g")?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(of_vfs(&f)?, NEW, "FS_IOC_GETFSUUID after it");
    put(&t.p("h"), 3, 50_000)?;
    Ok(())
}

/// A copy that is none stays as it is, and the others change.
fn bad_copy(t: &mut T) -> Res {
    t.mkfs(600, &[])?;
    t.broken = true;
    let [_, bad, good] = copies(t);
    t.poke(bad, &[0x55; 1024])?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, 5000)?;
    let r = change(&f, 16, 0);
    if t.ours() {
        r?;
    }
    drop(f);
    t.umount()?;
    ensure!(t.peek(1024 + 0x68, 16)? == NEW, "the first one");
    if t.ours() {
        ensure!(t.peek(good + 0x68, 16)? == NEW, "behind the bad one");
        ensure!(t.peek(bad, 1024)? == [0x55; 1024], "the bad one");
    }
    let (code, out) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {out}");
    t.fsck()
}

/// Where a checksum begins with the UUID it stays; who must not change it is told so first.
fn not_there(t: &mut T) -> Res {
    t.fresh()?;
    let (code, head) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    same!(code, 0, "dumpe2fs -h");
    let features = head.lines().find(|l| l.starts_with("Filesystem features:"));
    let features: Vec<&str> = features.unwrap_or("").split_whitespace().collect();
    let has = |name: &str| features.contains(&name);
    let sum = has("metadata_csum") || has("uninit_bg");
    let f = put(&t.p("f"), 1, 5000)?;
    if sum && !has("metadata_csum_seed") {
        errno!(change(&f, 16, 0), EOPNOTSUPP);
        errno!(change(&f, 15, 1), EOPNOTSUPP);
        // SAFETY: It is not looked at.
        errno!(unsafe { f.ioctl(SET, 8 as *mut u8) }, EOPNOTSUPP);
        ensure!(ask(&f, 16, 0)?.bytes != NEW, "changed");
        drop(f);
        t.remount(libc::MS_RDONLY, "")?;
        let f = sys::rdonly(&t.p("f"))?;
        errno!(change(&f, 16, 0), EOPNOTSUPP);
    } else {
        change(&f, 16, 0)?;
        same!(ask(&f, 16, 0)?.bytes, NEW, "changed");
    }
    Ok(())
}

/// Who may not, what is no UUID, and where nothing may be written.
fn refused(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 5000)?;
    for (len, flags) in [(0, 0), (15, 0), (17, 0), (16, 1)] {
        errno!(change(&f, len, flags), EINVAL);
    }
    // SAFETY: An address that is not there is refused.
    errno!(unsafe { f.ioctl(SET, 8 as *mut u8) }, EFAULT);
    let refused = std::thread::scope(|s| {
        s.spawn(|| {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            (ask(&f, 16, 0).is_ok(), change(&f, 16, 0), change(&f, 0, 9))
        })
        .join()
    });
    let Ok((seen, set, bad)) = refused else {
        return Err(Stop::Fail("thread panic".into()));
    };
    ensure!(seen, "anybody may ask");
    errno!(set, EPERM);
    errno!(bad, EPERM);
    ensure!(ask(&f, 16, 0)?.bytes != NEW, "changed");
    drop(f);
    t.remount(libc::MS_RDONLY, "")?;
    let f = sys::rdonly(&t.p("f"))?;
    errno!(change(&f, 16, 0), EROFS);
    errno!(change(&f, 15, 0), EINVAL);
    ask(&f, 16, 0)?;
    Ok(())
}

/// Keys of encrypted files may have the UUID in them.
fn stable_inodes(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "metadata_csum_seed"])?;
    t.debugfs(&["feature stable_inodes"])?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, 5000)?;
    errno!(change(&f, 16, 0), EOPNOTSUPP);
    Ok(())
}
