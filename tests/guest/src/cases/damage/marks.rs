// SPDX-License-Identifier: GPL-2.0
//! The mark that errors were found: whatever happens next, e2fsck sees it.

use crate::cases::content::sync::transactions;
use crate::cases::damage::errors::{meet, with_bad_file};
use crate::cases::power::crash;
use crate::dm::Dm;
use crate::fixture::{put, run_cmd, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::sys::{self, Aligned};
use crate::{ensure, same, skip, wait};
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("marks/continue", ALL, goes_on).quick(),
    Case::new("marks/remount_ro", ALL, remount_ro).quick(),
    Case::new("marks/replayed_read_only", ALL, replayed_read_only).quick(),
    Case::new("marks/older_super_block", ALL, older_super_block).quick(),
    Case::new("marks/while_frozen", ONE, while_frozen),
    Case::new("marks/journal_error", ONE, journal_error),
    Case::new("marks/emergency_remount", ALL, emergency_remount).quick(),
    Case::new("marks/advice", ONE, advice),
];

/// An image with a bad file on a device that can be cut off, with a super block in the log.
fn start(t: &mut T, opts: &str) -> Res<Dm> {
    let d = crash::on_dm(t)?;
    with_bad_file(t)?;
    t.mount(opts)?;
    // An orphan is in the super block.
    let f = put(&t.p("orphan"), 3, 10_000)?;
    sys::unlink(&t.p("orphan"))?;
    f.fsync()?;
    Ok(d)
}

/// e2fsck, not told to check, must do it because of the mark; then it is gone.
fn e2fsck_looks(t: &T, what: &str) -> Res {
    let (_, head) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    let (code, text) = run_cmd("e2fsck", &["-y", &t.dev])?;
    ensure!(code <= 1, "{what}: e2fsck -y exit {code}: {text}");
    ensure!(
        text.contains("Pass 5"),
        "{what}: e2fsck did not check: {text} {head}"
    );
    t.fsck()
}

/// dumpe2fs shows the mark and this many errors.
fn shows(t: &T, count: u32, what: &str) -> Res {
    let (_, head) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    let find = |name: &str| {
        let line = head.lines().find_map(|l| l.strip_prefix(name));
        line.unwrap_or("").trim().to_string()
    };
    let state = find("Filesystem state:");
    ensure!(state.contains("with errors"), "{what}: state {state}");
    if t.ours() {
        same!(find("FS Error count:"), count.to_string(), "{what}: errors");
        let (ino, func) = (find("First error inode #:"), find("First error function:"));
        ensure!(
            ino != "0" && func.starts_with("fs/"),
            "{what}: {ino} {func}"
        );
    }
    Ok(())
}

/// The mark of a damaged filesystem is on disk after a crash though mounted errors=continue.
fn goes_on(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 leaves it to the next commit, five seconds");
    }
    // No other commit than that of the work item.
    let d = start(t, "errors=continue,commit=300")?;
    sys::sync();
    let before = transactions(t)?;
    meet(t)?;
    let marked = wait::until(|| Ok(transactions(t)? > before))?;
    ensure!(marked, "the mark waits for somebody else's commit");
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    // The mark is in the log.
    t.try_mount(libc::MS_RDONLY, "")?;
    t.umount()?;
    shows(t, 1, "after a crash and a replay")?;
    e2fsck_looks(t, "after a crash and a replay")
}

/// The mark of a damaged filesystem is on disk after a crash with errors=remount-ro.
fn remount_ro(t: &mut T) -> Res {
    let d = start(t, "errors=remount-ro")?;
    meet(t)?;
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    shows(t, 1, "after a crash")?;
    e2fsck_looks(t, "after a crash")?;
    // And without one.
    with_bad_file(t)?;
    t.mount("errors=remount-ro")?;
    meet(t)?;
    t.umount()?;
    shows(t, 1, "after unmount")?;
    e2fsck_looks(t, "after unmount")
}

/// The first mount after an abort is read-only, of a root file system: it replays.
fn replayed_read_only(t: &mut T) -> Res {
    let d = start(t, "errors=remount-ro")?;
    meet(t)?;
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    for _ in 0..2 {
        t.forget_log();
        t.try_mount(libc::MS_RDONLY, "")?;
        t.umount()?;
        let told = t.logged(&[&["e2fsck", "errors"], &["error recorded"]]);
        ensure!(told || !t.ours(), "not told: {:?}", t.seen);
        shows(t, 1, "after a read-only mount")?;
    }
    e2fsck_looks(t, "after a read-only mount")
}

/// A mark that somebody has written while the log holds a super block without it.
fn older_super_block(t: &mut T) -> Res {
    let d = start(t, "")?;
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    t.debugfs(&[
        "ssv state 3",
        "ssv error_count 7",
        "ssv first_error_time 1000",
        "ssv first_error_ino 12",
        "ssv first_error_func fs/first",
        "ssv last_error_time 2000",
    ])?;
    t.mount("")?;
    t.umount()?;
    shows(t, 7, "after a replay")?;
    e2fsck_looks(t, "after a replay")
}

/// Found while frozen, with errors=continue: recorded at the thaw.
fn while_frozen(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 warns of a transaction under a freeze");
    }
    let d = start(t, "errors=continue")?;
    let dir = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    dir.freeze(true)?;
    let met = meet(t);
    // Time for what must not happen.
    std::thread::sleep(Duration::from_millis(1500));
    same!(
        crate::cases::namespace::mounts::recover(t)?,
        false,
        "needs recovery, frozen"
    );
    dir.freeze(false)?;
    met?;
    drop(dir);
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    shows(t, 1, "after the thaw")?;
    e2fsck_looks(t, "after the thaw")
}

/// A journal that cannot be written ends all writing, whatever errors= says, and leaves the mark.
fn journal_error(t: &mut T) -> Res {
    let d = crash::start(t)?;
    t.umount()?;
    let at = crate::cases::damage::errors::journal_block(t, 1)?;
    t.mount("errors=continue")?;
    let f = put(&t.p("f"), 2, 10_000)?;
    f.fsync()?;
    d.swap(&crate::cases::damage::failing::with_hole(t, at, 1 << 20))?;
    f.pwrite(&[1; 10_000], 5000)?;
    ensure!(f.fsync().is_err(), "fsync without a journal");
    drop(f);
    // The kernel's ext4 sees it when the next handle starts.
    let _ = sys::mkdir(&t.p("d"), 0o755);
    let mut mounts = String::new();
    let ended = wait::until(|| {
        mounts = std::fs::read_to_string("/proc/self/mounts")?;
        Ok(mounts.contains("emergency_ro"))
    })?;
    ensure!(ended, "{mounts}");
    // A work item writes the mark, which no journal holds.
    let disk = sys::open(&t.disks[0], libc::O_RDONLY | libc::O_DIRECT, 0)?;
    let mut begin = Aligned::new(4096);
    let marked = wait::until(|| {
        disk.pread(&mut begin, 0)?;
        Ok(begin[1024 + 0x3a] & 2 != 0)
    })?;
    ensure!(marked, "no mark on the disk");
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    t.broken = true;
    shows(t, 1, "after the journal died")?;
    e2fsck_looks(t, "after the journal died")
}

/// The log cannot be emptied when everything is made read-only. That takes no error for an answer,
/// and afterwards nobody writes who would meet the dead journal.
fn emergency_remount(t: &mut T) -> Res {
    let d = crash::start(t)?;
    put(&t.p("f"), 2, 10_000)?.fsync()?;
    // The inode table of the first group, by its descriptor.
    let gdt = (1024 / t.bs() + 1) * t.bs();
    let table = t.peek(gdt + 8, 4)?;
    let at = u64::from(u32::from_le_bytes(table.try_into().unwrap_or([0; 4]))) * t.bs();
    d.swap(&crate::cases::damage::failing::with_hole(t, at, 8 * t.bs()))?;
    crate::cases::damage::errors::emergency_remount(t)?;
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    t.broken = true;
    shows(t, 1, "after the emergency remount")?;
    e2fsck_looks(t, "after the emergency remount")?;
    t.mount("")?;
    let f = sys::rdonly(&t.p("f"))?;
    crate::fixture::holds(
        &f,
        0,
        &crate::fixture::pattern(2, 0, 10_000),
        "from the log",
    )
}

/// A file system that should be checked says so when it is mounted.
fn advice(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.forget_log();
    t.mount("")?;
    t.umount()?;
    ensure!(
        !t.logged(&[&["e2fsck"]]),
        "advice for a new one: {:?}",
        t.seen
    );
    for (args, word) in [
        (["-c", "1", "-C", "5"], "mount count"),
        (["-c", "0", "-C", "0"], ""),
        (["-i", "1d", "-T", "20200101"], "check"),
    ] {
        let dev = t.dev.clone();
        let mut all = args.to_vec();
        all.push(&dev);
        let (code, text) = run_cmd("tune2fs", &all)?;
        ensure!(code == 0, "tune2fs {args:?}: {text}");
        t.forget_log();
        t.mount("")?;
        t.umount()?;
        let told = t.logged(&[&["e2fsck", word]]);
        ensure!(told != word.is_empty(), "{word}: {:?}", t.seen);
    }
    Ok(())
}
