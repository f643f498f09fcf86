// SPDX-License-Identifier: GPL-2.0
//! Shutdown of a mounted file system: what is refused, as ext4 does, and what is there afterwards.

use crate::cases::damage::errors::{journal_block, meet, under_work, with_bad_file};
use crate::cases::damage::failing::with_hole;
use crate::cases::namespace::mounts::recover;
use crate::cases::power::crash;
use crate::fixture::{holds, names, pattern, put, run_cmd, MNT, T};
use crate::harness::{Case, Res, Stop, Variant, ALL, FEATS, K1, K4, ORPHAN};
use crate::map::Map;
use crate::module;
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, fail, same, skip};
use std::time::Duration;

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("shutdown/modes", FEATS, modes).quick(),
    Case::new("shutdown/arguments", TWO, arguments),
    Case::new("shutdown/read_only", ALL, read_only).quick(),
    Case::new("shutdown/under_load", &[K1, ORPHAN], under_load)
        .quick()
        .secs(120),
    Case::new("shutdown/after_corruption", ALL, after_corruption).quick(),
    Case::new("shutdown/after_dead_journal", TWO, after_dead_journal),
    Case::new("shutdown/frozen", TWO, frozen),
    Case::new("shutdown/device_gone", TWO, device_gone),
];

pub const SYNC: u32 = 0;
pub const COMMIT: u32 = 1;
pub const NOW: u32 = 2;

/// FS_IOC_SHUTDOWN.
pub fn shut_down(f: &Fd, how: u32) -> Sys<()> {
    let mut how = how;
    // SAFETY: It reads 4 bytes.
    unsafe { f.ioctl(0x8004_587d, &mut how) }.map(|_| ())
}

pub fn root(t: &T) -> Res<Fd> {
    Ok(sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?)
}

const LEN: usize = 50_000;

/// Files that are synced, not synced, changed after a sync, and open without a name. Returns what
/// is open.
fn fill(t: &T) -> Res<Vec<Fd>> {
    put(&t.p("synced"), 1, LEN)?.fsync()?;
    put(&t.p("cut"), 2, LEN)?;
    put(&t.p("grown"), 3, LEN)?;
    put(&t.p("rewritten"), 4, LEN)?;
    let gone = put(&t.p("gone"), 5, LEN)?;
    let big = put(&t.p("big"), 6, 20 * LEN)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    sys::sync();
    sys::unlink(&t.p("gone"))?;
    sys::unlink(&t.p("big"))?;
    let cut = sys::rdwr(&t.p("cut"))?;
    cut.truncate(100)?;
    cut.fsync()?;
    let grown = sys::rdwr(&t.p("grown"))?;
    grown.pwrite(&pattern(3, LEN as u64, LEN), LEN as u64)?;
    let rewritten = sys::rdwr(&t.p("rewritten"))?;
    rewritten.pwrite(&pattern(7, 0, LEN), 0)?;
    // Not a block of it is allocated yet.
    let delayed = put(&t.p("delayed"), 8, LEN)?;
    Ok(vec![cut, grown, rewritten, delayed, gone, big])
}

/// What every mode keeps, then what hangs on it.
fn check(t: &T, how: u32) -> Res {
    t.file_holds("synced", &pattern(1, 0, LEN), "synced")?;
    let cut = sys::rdonly(&t.p("cut"))?;
    same!(cut.size()?, 100, "size of what was cut and synced");
    holds(&cut, 0, &pattern(2, 0, 100), "cut")?;
    let all = names(&t.p(""))?;
    let has = |name: &str| all.iter().any(|n| n == name);
    same!((has("gone"), has("big")), (false, false), "unlinked names");
    let grown = sys::rdonly(&t.p("grown"))?;
    holds(&grown, 0, &pattern(3, 0, LEN), "grown, its old part")?;
    let n = grown.size()? as usize;
    ensure!(n == LEN || n == 2 * LEN, "grown has {n} bytes");
    holds(&grown, 0, &pattern(3, 0, n), "grown")?;
    // An overwrite that was not synced may have been written, page by page.
    let mut got = vec![0; LEN];
    sys::rdonly(&t.p("rewritten"))?.pread(&mut got, 0)?;
    let (old, new) = (pattern(4, 0, LEN), pattern(7, 0, LEN));
    let bad = (0..LEN).find(|&i| got[i] != old[i] && got[i] != new[i]);
    same!(bad, None, "a byte of rewritten that is neither");
    if how == SYNC {
        same!(n, 2 * LEN, "size of grown");
        ensure!(got == new, "rewritten is not what was written last");
        t.file_holds("delayed", &pattern(8, 0, LEN), "delayed")?;
    } else if how == COMMIT {
        ensure!(has("delayed"), "a name was not committed");
    }
    if has("delayed") {
        let f = sys::rdonly(&t.p("delayed"))?;
        holds(&f, 0, &pattern(8, 0, f.size()? as usize), "delayed")?;
    }
    Ok(())
}

/// Each way to shut down, and what the next mount finds.
fn modes(t: &mut T) -> Res {
    for how in [SYNC, COMMIT, NOW] {
        t.mkfs(64, &[])?;
        let at = journal_block(t, 0)?;
        t.mount("")?;
        let open = fill(t)?;
        let dir = root(t)?;
        shut_down(&dir, how)?;
        // Once is enough.
        shut_down(&dir, NOW)?;
        errno!(sys::create(&t.p("new")), EIO);
        let line = std::fs::read_to_string("/proc/self/mounts")?;
        let line = line.lines().find(|l| l.contains(MNT)).unwrap_or("");
        ensure!(line.contains("shutdown"), "{line}");
        ensure!(!line.contains("emergency_ro"), "{line}");
        drop((open, dir));
        t.forget_log();
        t.umount()?;
        ensure!(!t.logged(&[&["error"]]), "{:?}", t.seen);
        same!(recover(t)?, how != SYNC, "needs recovery, mode {how}");
        // No error of the journal is stored.
        same!(t.peek(at + 32, 4)?, [0; 4], "s_errno");
        t.mount("")?;
        ensure!(
            !t.logged(&[&["run e2fsck"], &["aborted before"]]),
            "{:?}",
            t.seen
        );
        check(t, how)?;
        put(&t.p("after"), 9, LEN)?.fsync()?;
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// Who may not, and what is no way to shut down.
fn arguments(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, LEN)?;
    errno!(shut_down(&f, 3), EINVAL);
    // SAFETY: An address that is not there is refused.
    errno!(unsafe { f.ioctl(0x8004_587d, 8 as *mut u8) }, EFAULT);
    let refused = std::thread::scope(|s| {
        s.spawn(|| {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            shut_down(&f, NOW)
        })
        .join()
    });
    let Ok(refused) = refused else {
        return Err(Stop::Fail("thread panic".into()));
    };
    errno!(refused, EPERM);
    f.pwrite(b"goes on", 0)?;
    f.fsync()?;
    shut_down(&f, NOW)?;
    errno!(f.fsync(), EIO);
    Ok(())
}

/// A mount that is read-only writes nothing, and reads nothing afterwards; nor is it made writable.
fn read_only(t: &mut T) -> Res {
    for how in [SYNC, COMMIT, NOW] {
        t.fresh()?;
        put(&t.p("f"), 1, LEN)?;
        t.umount()?;
        let before = t.image(64)?;
        t.try_mount(libc::MS_RDONLY, "")?;
        let f = sys::rdonly(&t.p("f"))?;
        holds(&f, 0, &pattern(1, 0, LEN), "before")?;
        shut_down(&f, how)?;
        errno!(f.pread(&mut [0; 10], 0), EIO);
        errno!(f.fsync(), EIO);
        errno!(t.remount(0, ""), EROFS);
        drop(f);
        t.umount()?;
        t.unchanged(&before, "shut down read-only")?;
    }
    // One that was writable before, and keeps its journal.
    t.mount("")?;
    put(&t.p("g"), 2, LEN)?;
    t.remount(libc::MS_RDONLY, "")?;
    let f = sys::rdonly(&t.p("f"))?;
    shut_down(&f, NOW)?;
    errno!(t.remount(0, ""), EROFS);
    drop(f);
    t.umount()?;
    same!(recover(t)?, false, "needs recovery");
    t.fsck()
}

/// Shut down with work under way. What was synced is there.
fn under_load(t: &mut T) -> Res {
    for how in [SYNC, COMMIT, NOW] {
        t.fresh()?;
        let (dir, top) = (t.p(""), root(t)?);
        let synced = under_work(&dir, || {
            let done = shut_down(&top, how);
            std::thread::sleep(Duration::from_millis(300));
            Ok(done?)
        })?;
        errno!(sys::mkdir(&t.p("x"), 0o755), EIO);
        drop(top);
        t.umount()?;
        t.mount("")?;
        for (name, seed) in &synced {
            holds(&sys::rdonly(name)?, 0, &pattern(*seed, 0, 15_000), name)?;
        }
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// Whether e2fsck, not told to check, does.
fn is_marked(t: &T) -> Res<bool> {
    let (_, head) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    let state = head.lines().find(|l| l.starts_with("Filesystem state:"));
    Ok(state.is_some_and(|l| l.contains("with errors")))
}

/// Corruption that was found before is marked, wherever the mark has got by then: nowhere, into a
/// transaction that is lost, or onto the disk.
fn after_corruption(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 leaves the mark to the next commit");
    }
    for (opts, wait) in [
        ("errors=continue", 0),
        ("errors=continue", 1500),
        ("errors=remount-ro", 0),
    ] {
        with_bad_file(t)?;
        same!(is_marked(t)?, false, "marked from the start");
        t.mount(opts)?;
        // An orphan is in the super block, in the log and in memory.
        let f = put(&t.p("orphan"), 3, 10_000)?;
        sys::unlink(&t.p("orphan"))?;
        f.fsync()?;
        meet(t)?;
        std::thread::sleep(Duration::from_millis(wait));
        shut_down(&f, NOW)?;
        // Met afterwards, it is nobody's business.
        let _ = meet(t);
        drop(f);
        t.umount()?;
        t.try_mount(libc::MS_RDONLY, "norecovery")?;
        t.umount()?;
        same!(is_marked(t)?, true, "{opts}, after {wait} ms: marked");
        // And a replay does not take it away.
        t.try_mount(libc::MS_RDONLY, "")?;
        t.umount()?;
        same!(
            is_marked(t)?,
            true,
            "{opts}, after {wait} ms: marked, replayed"
        );
    }
    t.broken = true;
    Ok(())
}

/// A journal that has died of an error keeps it.
fn after_dead_journal(t: &mut T) -> Res {
    let d = crash::start(t)?;
    t.umount()?;
    let (head, at) = (journal_block(t, 0)?, journal_block(t, 1)?);
    t.mount("errors=continue")?;
    let f = put(&t.p("f"), 2, 10_000)?;
    f.fsync()?;
    // The journal's super block can be written, the next blocks cannot.
    d.swap(&with_hole(t, at, 1 << 20))?;
    f.pwrite(&[1; 10_000], 5000)?;
    ensure!(f.fsync().is_err(), "fsync without a journal");
    shut_down(&f, NOW)?;
    errno!(f.fsync(), EIO);
    drop(f);
    t.umount()?;
    d.swap(&[crate::dm::linear(&t.disks[0], 0, crash::MB)])?;
    ensure!(
        t.peek(head + 32, 4)? != [0; 4] || is_marked(t)?,
        "the error of the journal is forgotten"
    );
    let (code, text) = run_cmd("e2fsck", &["-y", &t.dev])?;
    ensure!(
        code <= 1 && text.contains("Pass 5"),
        "e2fsck {code}: {text}"
    );
    t.fsck()
}

/// Shut down while somebody else has it frozen: the thaw leaves the disk as it is.
fn frozen(t: &mut T) -> Res {
    for how in [SYNC, COMMIT, NOW] {
        t.fresh()?;
        put(&t.p("f"), 1, LEN)?;
        let dir = root(t)?;
        dir.freeze(true)?;
        let r = shut_down(&dir, how);
        dir.freeze(false)?;
        r?;
        errno!(sys::mkdir(&t.p("d"), 0o755), EIO);
        drop(dir);
        t.umount()?;
        if t.ours() {
            same!(recover(t)?, false, "needs recovery, mode {how}");
        }
        t.mount("")?;
        t.file_holds("f", &pattern(1, 0, LEN), "written before the freeze")?;
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// The disk that scsi_debug has made, if it has.
fn scsi_disk() -> Option<String> {
    for host in std::fs::read_dir("/sys/bus/scsi/devices").ok()?.flatten() {
        let model = std::fs::read_to_string(host.path().join("model")).unwrap_or_default();
        if model.trim() == "scsi_debug" {
            let disk = std::fs::read_dir(host.path().join("block")).ok()?.flatten();
            let names: Vec<_> = disk.map(|d| d.file_name()).collect();
            return Some(names.first()?.to_string_lossy().into_owned());
        }
    }
    None
}

/// A disk that scsi_debug makes, as these parameters say, is the device under test for a while.
pub fn with_scsi_debug(t: &mut T, parameters: &[&str], act: impl FnOnce(&mut T) -> Res) -> Res {
    let (code, _) = run_cmd("modprobe", &[&["-q", "scsi_debug"], parameters].concat())?;
    if code != 0 {
        skip!("no module scsi_debug");
    }
    let Some(name) = (0..600).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        scsi_disk().filter(|name| sys::exists(&format!("/dev/{name}")))
    }) else {
        fail!("scsi_debug has made no disk");
    };
    t.dev = format!("/dev/{name}");
    let result = act(t);
    // What the case has left mounted, and the check of it.
    let finished = t.finish(result.is_ok());
    t.broken = true;
    let unloaded = module::unload(c"scsi_debug");
    result?;
    finished?;
    Ok(unloaded?)
}

/// The device goes away under the mount.
fn device_gone(t: &mut T) -> Res {
    with_scsi_debug(t, &["dev_size_mb=64"], |t| {
        t.broken = true;
        gone(t)
    })
}

fn gone(t: &mut T) -> Res {
    let name = t.dev.trim_start_matches("/dev/").to_string();
    t.mkfs(48, &[])?;
    t.mount("")?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    f.pwrite(&pattern(2, 0, LEN), 0)?;
    let mapped = Map::shared(&f, LEN)?;
    mapped.get(0);
    sys::write_file(&format!("/sys/block/{name}/device/delete"), "1")?;
    errno!(f.pread(&mut [0; 10], 0), EIO);
    errno!(f.fsync(), EIO);
    errno!(sys::mkdir(&t.p("d"), 0o755), EIO);
    same!(mapped.get(1), pattern(2, 0, 2)[1], "a page that is mapped");
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    ensure!(mounts.contains(",shutdown"), "{mounts}");
    drop((mapped, f));
    t.umount()
}
