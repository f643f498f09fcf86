// SPDX-License-Identifier: GPL-2.0
//! The generation of an inode, which handles have: asked for and changed by ioctl.

use crate::cases::power::crash;
use crate::fixture::{put, run_cmd, T};
use crate::handle::Handle;
use crate::harness::{Case, Res, Stop, Variant, EXT3_1K, FEATS, K4, NOCSUM, NOCSUM1K};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, same};

/// No checksum has it.
const PLAIN: &[Variant] = &[NOCSUM1K, EXT3_1K, NOCSUM];

pub const CASES: &[Case] = &[
    Case::new("generation/asked", FEATS, asked).quick(),
    Case::new("generation/set", PLAIN, set).quick(),
    Case::new("generation/refused", PLAIN, refused),
    Case::new("generation/checksums", &[K4], checksums).quick(),
    Case::new("generation/durable", PLAIN, durable),
];

/// FS_IOC_GETVERSION and EXT4_IOC_GETVERSION, and the same to set it: all an int.
const GET: [u64; 2] = [0x8008_7601, 0x8008_6603];
const SET: [u64; 2] = [0x4008_7602, 0x4008_6604];

fn get(f: &Fd, request: u64) -> Sys<u32> {
    let mut both = [0u32, 0x5555_5555];
    // SAFETY: It writes an int, in the space of a long.
    unsafe { f.ioctl(request, both.as_mut_ptr())? };
    assert_eq!(both[1], 0x5555_5555, "more than an int");
    Ok(both[0])
}

fn change(f: &Fd, request: u64, to: u32) -> Sys<()> {
    let mut both = [to, 0xffff_ffff];
    // SAFETY: It reads an int, in the space of a long.
    unsafe { f.ioctl(request, both.as_mut_ptr()) }.map(|_| ())
}

fn root(t: &T) -> Sys<Fd> {
    sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

/// The generation that is on disk.
fn on_disk(t: &T, name: &str) -> Res<u32> {
    let text = t.debugfs(&[&format!("stat {name}")])?;
    let word = text.split("Generation:").nth(1);
    match word.and_then(|s| s.split_whitespace().next()?.parse().ok()) {
        Some(generation) => Ok(generation),
        None => Err(Stop::Fail(format!("{name}: {text}"))),
    }
}

/// Both numbers, of files and directories, in memory and on disk.
fn asked(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 100)?;
    let made = get(&f, GET[0])?;
    same!(get(&f, GET[1])?, made, "the other number");
    for request in GET {
        get(&root(t)?, request)?;
        // SAFETY: An address that is not there is refused.
        errno!(unsafe { f.ioctl(request, 8 as *mut u8) }, EFAULT);
    }
    drop(f);
    t.umount()?;
    same!(on_disk(t, "/f")?, made, "on disk");
    t.try_mount(libc::MS_RDONLY, "")?;
    same!(get(&sys::rdonly(&t.p("f"))?, GET[0])?, made, "read again");
    Ok(())
}

/// It changes, with ctime and nothing else; a handle of before names nothing any more.
fn set(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 10_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for (i, request) in SET.into_iter().enumerate() {
        let new = 0xfedc_ba90 + i as u32;
        let (old, handle) = (f.stat()?, Handle::of(&t.p("f"), 0)?);
        change(&f, request, new)?;
        same!(get(&f, GET[i])?, new, "the new one");
        let now = f.stat()?;
        let times = |s: &libc::stat| (s.st_mtime, s.st_mtime_nsec, s.st_ino, s.st_size);
        same!(times(&now), times(&old), "mtime and the like");
        ensure!(
            (now.st_ctime, now.st_ctime_nsec) != (old.st_ctime, old.st_ctime_nsec),
            "ctime did not move"
        );
        errno!(handle.open(&root(t)?, libc::O_RDONLY), ESTALE);
        Handle::of(&t.p("f"), 0)?.open(&root(t)?, libc::O_RDONLY)?;
    }
    let d = sys::open(&t.p("d"), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    change(&d, SET[0], 5)?;
    drop((f, d));
    t.umount()?;
    same!(on_disk(t, "/f")?, 0xfedc_ba91, "on disk");
    same!(on_disk(t, "/d")?, 5, "of the directory");
    t.fsck()?;
    t.mount("")?;
    let f = sys::rdwr(&t.p("f"))?;
    same!(get(&f, GET[1])?, 0xfedc_ba91, "read again");
    let (code, text) = run_cmd("lsattr", &["-v", &t.p("f")])?;
    ensure!(
        code == 0 && text.contains("4275878545"),
        "lsattr -v: {text}"
    );
    let (code, text) = run_cmd("chattr", &["-v", "77", &t.p("f")])?;
    same!(code, 0, "chattr -v: {text}");
    same!(get(&f, GET[0])?, 77, "by chattr");
    Ok(())
}

/// Who does not own the file, and where nothing may be written.
fn refused(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 100)?;
    let made = get(&f, GET[0])?;
    for request in SET {
        // SAFETY: An address that is not there is refused.
        errno!(unsafe { f.ioctl(request, 8 as *mut u8) }, EFAULT);
    }
    let others = std::thread::scope(|s| {
        let ask = || {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            (get(&f, GET[1]), change(&f, SET[0], 7))
        };
        s.spawn(ask).join()
    });
    let Ok((seen, set)) = others else {
        return Err(Stop::Fail("thread panic".into()));
    };
    same!(seen?, made, "anybody may ask");
    errno!(set, EPERM);
    same!(get(&f, GET[0])?, made, "as it was");
    drop(f);
    t.remount(libc::MS_RDONLY, "")?;
    errno!(change(&sys::rdonly(&t.p("f"))?, SET[1], 7), EROFS);
    Ok(())
}

/// Where checksums begin with it, it stays.
fn checksums(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 100)?;
    let made = get(&f, GET[0])?;
    for request in SET {
        errno!(change(&f, request, 7), ENOTTY);
    }
    same!(get(&f, GET[0])?, made, "as it was");
    Ok(())
}

/// What was synced is there after a power cut.
fn durable(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let f = put(&t.p("f"), 1, 5000)?;
    f.fsync()?;
    change(&f, SET[1], 99)?;
    f.fsync()?;
    drop(f);
    crash::crash(t, &d)?;
    same!(get(&sys::rdonly(&t.p("f"))?, GET[1])?, 99, "synced");
    Ok(())
}
