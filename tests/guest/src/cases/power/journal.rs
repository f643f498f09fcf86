// SPDX-License-Identifier: GPL-2.0
//! Journals that are not as we leave them: what replay and remount make of them.

use crate::cases::power::crash::{crash, cut, lights_on, on_dm, start};
use crate::fixture::{holds, knows_fs, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, ALL, ONE, SMALL};
use crate::sys::{self, Fd};
use crate::{ensure, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("journal/empty_once_replayed", ALL, empty_once_replayed),
    Case::new("journal/other_checksums", ALL, other_checksums),
    Case::new("journal/far_number", ONE, far_number),
    Case::new("journal/fast_commit_area", SMALL, fast_commit_area),
    Case::new("journal/no_head", ONE, no_head),
];

/// A value of dumpe2fs.
fn said(t: &T, what: &str) -> Res<String> {
    let (code, text) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    ensure!(code == 0, "dumpe2fs: {text}");
    match text.lines().find_map(|l| l.strip_prefix(what)) {
        Some(value) => Ok(value.trim_start_matches(':').trim().to_string()),
        None => fail!("no {what}: {text}"),
    }
}

/// A log that is not spoken of is empty, at any moment: e2fsck does not mend it, but asks, and a
/// boot stops.
fn empty_once_replayed(t: &mut T) -> Res {
    let d = start(t)?;
    put(&t.p("f"), 1, 5000)?.fsync()?;
    cut(t, &d)?;
    lights_on(t, &d)?;
    t.try_mount(libc::MS_RDONLY, "")?;
    let (features, log) = (said(t, "Filesystem features")?, said(t, "Journal start")?);
    ensure!(
        log == "0" || features.contains("needs_recovery"),
        "journal start {log}, features {features}"
    );
    // The cut finds it so, too.
    cut(t, &d)?;
    lights_on(t, &d)?;
    let (code, text) = run_cmd("e2fsck", &["-p", &t.dev])?;
    ensure!(code == 0, "e2fsck -p exit {code}: {text}");
    Ok(())
}

/// Files of which each takes blocks of several kinds.
fn write_some(t: &T, first: u64) -> Res {
    for i in first..first + 12 {
        put(&t.p(&format!("f{i}")), i, 9000)?.fsync()?;
    }
    Ok(())
}

/// ext4 leaves a log without checksums in its tags. Once it is replayed we write tags with them,
/// which are longer, and the disk must say so before a cut.
fn other_checksums(t: &mut T) -> Res {
    if !knows_fs("ext4") {
        skip!("the kernel has no ext4 to leave a journal");
    }
    let d = on_dm(t)?;
    t.mkfs(64, &[])?;
    let ours = std::mem::replace(&mut t.fs, "ext4".to_string());
    t.mount("nojournal_checksum")?;
    write_some(t, 0)?;
    cut(t, &d)?;
    lights_on(t, &d)?;
    t.fs = ours;
    t.mount("")?;
    write_some(t, 12)?;
    crash(t, &d)?;
    for i in 0..24 {
        let f = sys::rdonly(&t.p(&format!("f{i}")))?;
        holds(&f, 0, &pattern(i, 0, 9000), &format!("f{i}"))?;
    }
    Ok(())
}

/// The byte of the device at which the journal, and its super block, begins.
fn log_at(t: &T) -> Res<u64> {
    let (code, place) = run_cmd("debugfs", &["-R", "bmap <8> 0", &t.dev])?;
    ensure!(code == 0, "debugfs: {place}");
    let block = place
        .lines()
        .rev()
        .find_map(|l| l.trim().parse::<u64>().ok());
    match block {
        Some(block) => Ok(block * t.bs()),
        None => fail!("debugfs says no block: {place}"),
    }
}

/// The numbers of transactions go in a circle, and a journal may begin anywhere. An inode that was
/// read before it was opened waits for none that is to come.
fn far_number(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "^metadata_csum"])?;
    t.mount("")?;
    put(&t.p("f"), 1, 5000)?;
    t.umount()?;
    let place = t.debugfs(&["bmap <8> 0"])?;
    let Some(block) = place
        .lines()
        .rev()
        .find_map(|l| l.trim().parse::<u64>().ok())
    else {
        fail!("debugfs says no block: {place}");
    };
    // Of the journal's super block.
    const SEQUENCE: u64 = 24;
    let raw: Fd = t.raw()?;
    raw.pwrite(&0x9000_0000_u32.to_be_bytes(), block * t.bs() + SEQUENCE)?;
    raw.fsync()?;
    drop(raw);
    t.try_mount(libc::MS_RDONLY, "")?;
    let f = sys::rdonly(&t.p("f"))?;
    t.remount(0, "")?;
    f.fsync()?;
    let f = sys::rdwr(&t.p("f"))?;
    f.pwrite(&pattern(2, 0, 1000), 0)?;
    f.fdatasync()?;
    t.drop_caches()?;
    holds(&f, 0, &pattern(2, 0, 1000), "overwritten")
}

/// The last part of the log is for fast commits where a file system has them, and ext4 aborts if a
/// clean log is said to end there.
fn fast_commit_area(t: &mut T) -> Res {
    if !knows_fs("ext4") {
        skip!("the kernel has no ext4 to take the journal over");
    }
    if !t.ours() {
        skip!("ext4 aborts over a log of its own, too");
    }
    let ours = t.fs.clone();
    t.mkfs(64, &["-J", "size=2"])?;
    let area = 2048 - 256..2048;
    for round in 0..40 {
        t.fs.clone_from(&ours);
        t.mount("")?;
        for i in 0..100 + round * 8 {
            sys::mkdir(&t.p(&format!("d{round}.{i}")), 0o755)?;
            sys::sync();
        }
        t.umount()?;
        let head = head(t)?;
        if head == 0 || area.contains(&head) {
            break;
        }
    }
    let (code, text) = run_cmd("tune2fs", &["-O", "fast_commit", &t.dev])?;
    ensure!(code == 0, "tune2fs: {text}");
    t.fs = "ext4".to_string();
    t.mount("")?;
    for i in 0..60 {
        sys::mkdir(&t.p(&format!("e{i}")), 0o755)?;
        sys::sync();
    }
    t.umount()?;
    t.fs = ours;
    t.mount("")?;
    same!(sys::exists(&t.p("e59")), true, "the last directory of ext4");
    Ok(())
}

/// Whatever ends the writing takes back where the log was, and then nothing more is written.
fn no_head(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 goes on where it was");
    }
    t.fresh()?;
    put(&t.p("f"), 1, 5000)?.fsync()?;
    let mnt = sys::rdonly(&t.p(""))?;
    mnt.freeze(true)?;
    let frozen = head(t);
    mnt.freeze(false)?;
    same!(frozen?, 0, "head while frozen");
    put(&t.p("g"), 1, 5000)?.fsync()?;
    drop(mnt);
    t.remount(libc::MS_RDONLY, "")?;
    same!(head(t)?, 0, "head when remounted read-only");
    let before = writes(t)?;
    t.umount()?;
    same!(
        writes(t)?,
        before,
        "writes by the end of a mount that is read-only"
    );
    Ok(())
}

/// How many writes the device has had.
fn writes(t: &T) -> Res<u64> {
    let name = t.dev.trim_start_matches("/dev/");
    let stat = std::fs::read_to_string(format!("/sys/class/block/{name}/stat"))?;
    // "write I/Os" of the kernel's block/stat.rst
    match stat.split_whitespace().nth(4).map(str::parse) {
        Some(Ok(number)) => Ok(number),
        _ => fail!("{name}: {stat}"),
    }
}

/// Where a clean log ends, as its super block says.
fn head(t: &T) -> Res<u32> {
    const HEAD: u64 = 0x58;
    let mut head = [0; 4];
    sys::rdonly(&t.dev)?.pread(&mut head, log_at(t)? + HEAD)?;
    Ok(u32::from_be_bytes(head))
}
