// SPDX-License-Identifier: GPL-2.0
//! Mounting: read-only, remount, options.

use crate::aio::{Aio, Op};
use crate::dm;
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, ONE};
use crate::map::Map;
use crate::sys::{self, Aligned};
use crate::{ensure, errno, fail, same, skip, wait};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("attr/readonly", ALL, readonly).quick(),
    Case::new("attr/remount", ALL, remount).quick(),
    Case::new("attr/freeze", ALL, freeze).quick(),
    Case::new("attr/frozen_dirty", ONE, frozen_dirty),
    Case::new("attr/write_after_error", ALL, after_error).quick(),
    Case::new("attr/mount_options", ONE, options),
    Case::new("attr/mount_twice", ONE, twice),
    Case::new("attr/sync_calls", ONE, sync_calls),
    Case::new("attr/device_reader", ALL, device_reader).quick(),
];

/// A read-only mount changes nothing on the device, and a read-only image still shows its files.
fn readonly(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 4, 20_000)?;
    t.umount()?;
    let before = t.image(64)?;
    t.try_mount(libc::MS_RDONLY, "")?;
    let p = |n: &str| t.p(n);
    holds(
        &sys::rdonly(&p("f"))?,
        0,
        &pattern(4, 0, 20_000),
        "read-only mount",
    )?;
    errno!(sys::create(&p("g")), EROFS);
    errno!(sys::rdwr(&p("f")), EROFS);
    errno!(sys::unlink(&p("f")), EROFS);
    errno!(sys::mkdir(&p("d"), 0o755), EROFS);
    errno!(sys::rename(&p("f"), &p("g")), EROFS);
    errno!(sys::chmod(&p("f"), 0), EROFS);
    errno!(sys::truncate(&p("f"), 0), EROFS);
    errno!(sys::link(&p("f"), &p("g")), EROFS);
    errno!(sys::symlink("f", &p("g")), EROFS);
    errno!(sys::utimens(&p("f"), (1, 1), (1, 1)), EROFS);
    sys::rdonly(&p("f"))?.fsync()?;
    t.umount()?;
    t.unchanged(&before, "the device after a read-only mount")?;
    Ok(())
}

/// Remounted read-only all data is on disk and nothing can be changed; read-write goes on again.
fn remount(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 100_000)?;
    errno!(t.remount(libc::MS_RDONLY, ""), EBUSY);
    drop(f);
    let f = sys::rdonly(&t.p("f"))?;
    // Delayed data is on disk and the journal is empty when this returns.
    t.remount(libc::MS_RDONLY, "")?;
    t.fsck()?;
    errno!(sys::create(&t.p("g")), EROFS);
    holds(&f, 0, &pattern(1, 0, 100_000), "after remount,ro")?;
    t.remount(0, "")?;
    put(&t.p("g"), 2, 5000)?;
    for i in 0..5u64 {
        t.remount(libc::MS_RDONLY, "")?;
        holds(
            &sys::rdonly(&t.p("g"))?,
            0,
            &pattern(2 + i, 0, 5000),
            "remounted ro",
        )?;
        t.remount(0, "")?;
        put(&t.p("g"), 3 + i, 5000)?;
    }
    drop(f);
    t.umount()?;
    // Mounted read-only first, then made writable.
    t.try_mount(libc::MS_RDONLY, "")?;
    t.remount(0, "")?;
    put(&t.p("h"), 9, 777)?;
    t.cycle()?;
    holds(
        &sys::rdonly(&t.p("h"))?,
        0,
        &pattern(9, 0, 777),
        "written after remount,rw",
    )?;
    Ok(())
}

/// A frozen image is complete without its journal; one thawed and unmounted says so as well.
fn freeze(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 100_000)?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.freeze(true)?;
    let frozen = t.fsck();
    root.freeze(false)?;
    frozen?;
    put(&t.p("g"), 2, 100_000)?;
    same!(recover(t)?, true, "needs recovery while it is written to");
    drop(root);
    t.umount()?;
    same!(recover(t)?, false, "needs recovery after unmount");
    Ok(())
}

/// Memory of a mapping that a device had pinned becomes dirty under a freeze. Who wants it written
/// waits for the thaw, and does not hear of it.
fn frozen_dirty(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 warns of a transaction under a freeze");
    }
    if !dm::usable() {
        skip!("no device mapper");
    }
    let slow = dm::start("slow", &[dm::linear(&t.disks[1], 0, 1)])?;
    let source = sys::open(&slow.path, libc::O_RDWR | libc::O_DIRECT, 0)?;
    source.pwrite(&Aligned::of(&pattern(2, 0, 65_536)), 0)?;
    t.fresh()?;
    let f = put(&t.p("f"), 1, 131_072)?;
    f.fsync()?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let m = Map::shared(&f, 131_072)?;
    let mut aio = Aio::new(1)?;
    slow.suspend()?;
    aio.submit(&source, Op::Read, m.as_mut_slice(0, 65_536), 0, 0)?;
    root.freeze(true)?;
    slow.resume()?;
    same!(aio.wait(1)?[0].1, 65_536, "read into the mapping");
    let direct = sys::open(&t.p("f"), libc::O_RDONLY | libc::O_DIRECT, 0)?;
    let mut b = Aligned::new(65_536);
    let iov = libc::iovec {
        iov_base: b.as_mut_ptr().cast(),
        iov_len: b.len(),
    };
    // The pages are marked by a worker. Until then they need not be written.
    let refused = wait::until(|| {
        // SAFETY: one buffer, which is ours.
        let n = unsafe { libc::preadv2(direct.raw, &iov, 1, 0, libc::RWF_NOWAIT) };
        Ok((n, sys::errno()) == (-1, libc::EAGAIN))
    })?;
    ensure!(refused, "RWF_NOWAIT reads though dirty pages wait");
    // Nothing waits for sync(2), which would keep the thaw from coming.
    sys::sync();
    let ended = AtomicU32::new(0);
    let end = |r| {
        ended.fetch_add(1, Ordering::Relaxed);
        r
    };
    std::thread::scope(|s| -> Res {
        let reader = s.spawn(|| end(direct.pread(&mut b, 0).map(|_| ())));
        let syncer = s.spawn(|| end(f.fsync()));
        std::thread::sleep(Duration::from_millis(300));
        let early = ended.load(Ordering::Relaxed);
        root.freeze(false)?;
        let gone = |_| Stop::Fail("thread panic".into());
        reader.join().map_err(gone)??;
        syncer.join().map_err(gone)??;
        same!(early, 0, "did not wait for the thaw");
        Ok(())
    })?;
    ensure!(b[..] == pattern(2, 0, 65_536)[..], "an old direct read");
    drop((m, f, direct, root, source));
    slow.remove()?;
    Ok(())
}

/// Whether the super block says that the journal needs recovery.
pub fn recover(t: &T) -> Res<bool> {
    let mut b = [0];
    sys::rdonly(&t.dev)?.pread(&mut b, 1024 + 96)?;
    Ok(b[0] & 4 != 0)
}

/// Files that were open for writing when errors=remount-ro struck can be read, not written.
fn after_error(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 100_000)?;
    put(&t.p("bad"), 2, 5000)?;
    t.umount()?;
    t.debugfs(&["sif /bad block[0] 0x00010000"])?;
    t.broken = true;
    t.mount("errors=remount-ro")?;
    let f = sys::rdwr(&t.p("f"))?;
    let d = sys::direct(&t.p("f"))?;
    let r = sys::rdonly(&t.p("bad")).and_then(|f| f.pread(&mut [0; 10], 0));
    ensure!(r.is_err(), "a bad extent root was believed");
    errno!(f.pwrite(b"x", 0), EROFS | EIO);
    errno!(f.pwrite(b"x", 200_000), EROFS | EIO);
    errno!(d.pwrite(&Aligned::of(&[7; 4096]), 4096), EROFS | EIO);
    errno!(f.fallocate(0, 0, 300_000), EROFS | EIO);
    errno!(f.punch(100, 50_000), EROFS | EIO);
    errno!(f.truncate(10), EROFS | EIO);
    same!(f.size()?, 100_000, "size after all that");
    holds(&f, 0, &pattern(1, 0, 100_000), "after all that")?;
    drop((f, d));
    t.umount()?;
    let mut got = vec![0; 100_000];
    t.try_mount(libc::MS_RDONLY, "")?;
    sys::rdonly(&t.p("f"))?.pread(&mut got, 0)?;
    ensure!(got == pattern(1, 0, 100_000), "changed on disk");
    Ok(())
}

/// Options that are unknown or make no sense are refused, and the known ones mount.
fn options(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    errno!(t.try_mount(0, "no_such_option"), EINVAL);
    errno!(t.try_mount(0, "errors=perhaps"), EINVAL);
    errno!(t.try_mount(0, "commit=abc"), EINVAL);
    for o in [
        "errors=continue",
        "errors=remount-ro",
        "errors=panic",
        "commit=1",
        "nobarrier",
        "barrier=1",
    ] {
        t.mount(o)?;
        put(&t.p("f"), 1, 100)?;
        t.umount()?;
    }
    t.mount("errors=remount-ro")?;
    let m = std::fs::read_to_string("/proc/self/mounts")?;
    ensure!(
        m.lines().any(|l| l.contains("errors=remount-ro")),
        "errors= is not shown in mounts"
    );
    Ok(())
}

/// One device mounted in two places is one file system.
fn twice(t: &mut T) -> Res {
    t.fresh()?;
    let (dev, fs) = (t.dev.clone(), t.fs.clone());
    t.mount_as(&dev, crate::fixture::MNT2, &fs, 0, "")?;
    put(&t.p("f"), 6, 1000)?;
    holds(
        &sys::rdonly("/mnt/u/f")?,
        0,
        &pattern(6, 0, 1000),
        "through the other mount",
    )?;
    t.umount_dir(crate::fixture::MNT2)?;
    put(&t.p("g"), 7, 1000)?;
    let f = sys::rdonly(&t.p("g"))?;
    let e = sys::umount(crate::fixture::MNT, 0);
    same!(
        e.err().map(|e| e.errno),
        Some(libc::EBUSY),
        "umount with an open file"
    );
    holds(&f, 0, &pattern(7, 0, 1000), "still there")?;
    Ok(())
}

/// Every call that syncs succeeds, on files, directories and the whole.
fn sync_calls(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 300_000)?;
    f.sync_range(0, 300_000)?;
    f.fdatasync()?;
    f.fsync()?;
    f.syncfs()?;
    sys::sync();
    let d = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    d.fsync()?;
    let s = sys::open(
        &t.p("s"),
        libc::O_CREAT | libc::O_RDWR | libc::O_SYNC,
        0o644,
    )?;
    s.pwrite(&pattern(2, 0, 10_000), 0)?;
    let s = sys::open(&t.p("s"), libc::O_RDWR | libc::O_DSYNC, 0)?;
    s.pwrite(&pattern(3, 0, 10_000), 0)?;
    holds(&s, 0, &pattern(3, 0, 10_000), "O_DSYNC")?;
    Ok(())
}

/// Who has the device open all along, and has read it while it was mounted, reads the disk as it is
/// after the unmount: what was written past the page cache of the device is not hidden by it.
fn device_reader(t: &mut T) -> Res {
    let dev = sys::rdonly(&t.dev)?;
    let mut seen = vec![0; 1 << 20];
    for round in 0..3 {
        t.fresh()?;
        for mib in 0..64 {
            dev.pread(&mut seen, mib << 20)?;
        }
        put(&t.p("f"), round, 3 << 20)?.fsync()?;
        sys::mkdir(&t.p("d"), 0o755)?;
        t.umount()?;
        t.each_mib(64, |at, disk| {
            dev.pread(&mut seen, at)?;
            match diff_at(&seen, disk) {
                Some(d) => {
                    fail!("round {round}: through the page cache of the device, from {at}: {d}")
                }
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}
