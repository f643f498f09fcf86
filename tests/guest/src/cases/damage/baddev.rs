// SPDX-License-Identifier: GPL-2.0
//! Devices that are too small, or whose sectors are too large.

use crate::cases::power::crash::{on_dm, MB};
use crate::dm;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::sys::{self, Fd};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("baddev/truncated", ALL, truncated).quick(),
    Case::new("baddev/zero_length", ONE, zero_length).quick(),
    Case::new("baddev/sectors_4k", ALL, sectors_4k).quick(),
];

/// A device shorter than its filesystem is refused, and the log says what is wrong.
fn truncated(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh()?;
    put(&t.p("f"), 1, 100_000)?;
    t.umount()?;
    for mb in [1, 2, 33, 63] {
        d.swap(&[dm::linear(&t.disks[0], 0, mb)])?;
        for flags in [0, libc::MS_RDONLY] {
            errno!(t.try_mount(flags, ""), EINVAL | EUCLEAN | EIO);
        }
        let ok = t.logged(&[
            &["size"],
            &["block count"],
            &["blocks"],
            &["journal"],
            &["superblock"],
        ]);
        ensure!(
            ok,
            "{mb} MiB: the log does not say what is wrong: {:?}",
            t.seen
        );
        t.forget_log();
    }
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, 100_000),
        "whole again",
    )?;
    Ok(())
}

/// A loop device over a file.
pub struct Loop {
    pub path: String,
    fd: Fd,
}

impl Loop {
    pub fn new(file: &Fd) -> Res<Loop> {
        Loop::with_sectors(file, 512)
    }

    pub fn with_sectors(file: &Fd, size: usize) -> Res<Loop> {
        let Ok(c) = sys::open("/dev/loop-control", libc::O_RDWR, 0) else {
            skip!("no loop devices")
        };
        // SAFETY: LOOP_CTL_GET_FREE takes nothing.
        let n = unsafe { c.ioctl::<u8>(0x4C82, std::ptr::null_mut())? };
        let path = format!("/dev/loop{n}");
        let fd = sys::open(&path, libc::O_RDWR, 0)?;
        // SAFETY: LOOP_SET_FD takes a descriptor as its value.
        unsafe { fd.ioctl(0x4C00, file.raw as usize as *mut u8)? };
        if size != 512 {
            // SAFETY: LOOP_SET_BLOCK_SIZE takes a number as its value.
            unsafe { fd.ioctl(0x4C09, size as *mut u8)? };
        }
        // A device open for writing cannot be mounted (CONFIG_BLK_DEV_WRITE_MOUNTED off).
        let fd = sys::rdonly(&path)?;
        Ok(Loop { path, fd })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // SAFETY: LOOP_CLR_FD takes nothing.
        let _ = unsafe { self.fd.ioctl::<u8>(0x4C01, std::ptr::null_mut()) };
    }
}

/// A device with next to nothing on it is refused.
fn zero_length(t: &mut T) -> Res {
    let f = sys::create("/mnt/empty")?;
    for size in [0, 512, 1024, 2048, 4096] {
        f.truncate(size)?;
        let l = Loop::new(&f)?;
        let fs = t.fs.clone();
        for flags in [0, libc::MS_RDONLY] {
            let r = t.mount_as(&l.path, crate::fixture::MNT, &fs, flags, "");
            // The kernel's ext4 has no memory for a block larger than the device.
            if t.ours() {
                errno!(r, EINVAL | EIO | EUCLEAN);
            } else {
                errno!(r, EINVAL | EIO | EUCLEAN | ENOMEM);
            }
        }
    }
    drop(f);
    sys::unlink("/mnt/empty")?;
    Ok(())
}

/// A device with sectors of 4 KiB: blocks of that size work, smaller ones are refused.
fn sectors_4k(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let disk = t.raw()?;
    let l = Loop::with_sectors(&disk, 4096)?;
    drop(disk);
    t.dev = l.path.clone();
    if t.bs() < 4096 {
        for flags in [0, libc::MS_RDONLY] {
            errno!(t.try_mount(flags, ""), EINVAL);
        }
        ensure!(
            t.logged(&[&["sectors of 4096"], &["block size"], &["blocksize"]]),
            "the log does not say why: {:?}",
            t.seen
        );
    } else {
        for round in 0..2 {
            t.mount("errors=remount-ro")?;
            let f = put(&t.p("f"), round, 100_000)?;
            f.fsync()?;
            let d = sys::direct(&t.p("d"))?;
            d.pwrite(&sys::Aligned::of(&pattern(2, 0, 40_960)), 4096)?;
            errno!(
                d.pwrite_once(&sys::Aligned::of(&pattern(2, 0, 512)), 0),
                EINVAL
            );
            drop((f, d));
            sys::mkdir(&t.p(&format!("dir{round}")), 0o755)?;
            t.umount()?;
            t.fsck()?;
            t.try_mount(libc::MS_RDONLY, "")?;
            holds(
                &sys::rdonly(&t.p("f"))?,
                0,
                &pattern(round, 0, 100_000),
                "f",
            )?;
            t.umount()?;
        }
        // The mark of an error is written past the journal, in whole sectors.
        crate::cases::damage::errors::with_bad_file(t)?;
        t.mount("errors=remount-ro")?;
        crate::cases::damage::errors::meet(t)?;
        t.umount()?;
        same!(t.peek(1024 + 0x3a, 1)?[0] & 2, 2, "marked as with errors");
    }
    t.dev = t.disks[0].clone();
    Ok(())
}
