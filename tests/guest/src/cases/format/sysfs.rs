// SPDX-License-Identifier: GPL-2.0
//! What a mount shows in /sys/fs.

use crate::fixture::{names, put, MNT, T};
use crate::harness::{Case, Res, Stop, ALL, FEATS, ONE};
use crate::sys::{self, Sys};
use crate::{ensure, errno, fail, same, wait};
use std::io::{Read, Seek};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub const CASES: &[Case] = &[
    Case::new("sysfs/files", FEATS, files).quick(),
    Case::new("sysfs/written", ALL, written).quick(),
    Case::new("sysfs/update", ONE, update).quick(),
    Case::new("sysfs/promised", ALL, promised),
    Case::new("sysfs/reserved", ONE, reserved),
    Case::new("sysfs/errors", ALL, errors).quick(),
    Case::new("sysfs/errors_stay", ONE, errors_stay),
    Case::new("sysfs/poll", ONE, poll),
    Case::new("sysfs/read_only", ONE, read_only),
    Case::new("sysfs/unmount", ONE, unmount).quick(),
    Case::new("sysfs/unmount_race", ONE, unmount_race).secs(120),
    Case::new("sysfs/features", ONE, features),
    Case::new("sysfs/path", ONE, path),
];

/// Those that are no tunable of ext4's allocator and the like.
const FILES: &[(&str, u32)] = &[
    ("delayed_allocation_blocks", 0o444),
    ("errors_count", 0o444),
    ("first_error_block", 0o444),
    ("first_error_errcode", 0o444),
    ("first_error_func", 0o444),
    ("first_error_ino", 0o444),
    ("first_error_line", 0o444),
    ("first_error_time", 0o444),
    ("journal_task", 0o444),
    ("last_error_block", 0o444),
    ("last_error_errcode", 0o444),
    ("last_error_func", 0o444),
    ("last_error_ino", 0o444),
    ("last_error_line", 0o444),
    ("last_error_time", 0o444),
    ("lifetime_write_kbytes", 0o444),
    ("reserved_clusters", 0o644),
    ("sb_update_kb", 0o644),
    ("sb_update_sec", 0o644),
    ("session_write_kbytes", 0o444),
    ("trigger_fs_error", 0o200),
];

fn dev_name(t: &T) -> &str {
    t.dev.rsplit('/').next().unwrap_or("")
}

fn folder(t: &T) -> String {
    format!("/sys/fs/{}/{}", t.fs, dev_name(t))
}

/// The text of a file, without its newline.
fn text(t: &T, name: &str) -> Res<String> {
    let path = format!("{}/{name}", folder(t));
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|e| Stop::Fail(format!("{path}: {e}")))?;
    ensure!(text.ends_with('\n'), "{name}: {text:?} is no line");
    Ok(text.trim_end_matches('\n').to_string())
}

fn number(t: &T, name: &str) -> Res<u64> {
    let text = text(t, name)?;
    let number = text.parse();
    number.map_err(|_| Stop::Fail(format!("{name}: {text:?} is no number")))
}

fn write(t: &T, name: &str, text: &str) -> Sys<()> {
    sys::write_file(&format!("{}/{name}", folder(t)), text)
}

/// The KiB that the super block says were ever written.
fn on_disk(t: &T) -> Res<u64> {
    let bytes = t.peek(1024 + 0x178, 8)?;
    Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

/// All files are there, with their modes, and can be read; without errors they say so.
fn files(t: &mut T) -> Res {
    t.fresh()?;
    let there = names(&folder(t))?;
    for &(name, mode) in FILES {
        let path = format!("{}/{name}", folder(t));
        same!(sys::lstat(&path)?.st_mode & 0o7777, mode, "mode of {name}");
        if mode & 0o444 != 0 {
            text(t, name)?;
        } else {
            ensure!(std::fs::read(&path).is_err(), "{name} can be read");
        }
        if name.contains("error") && mode == 0o444 && !name.ends_with("func") {
            same!(number(t, name)?, 0, "{name} without errors");
        }
    }
    if t.ours() {
        let known: Vec<&str> = FILES.iter().map(|f| f.0).collect();
        same!(there, known, "the files");
    }
    same!(text(t, "first_error_func")?, "", "without errors");
    let pid = text(t, "journal_task")?;
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    ensure!(comm.starts_with("jbd2/"), "journal_task {pid} is {comm:?}");
    // Nothing can be written that is to be read.
    let path = format!("{}/errors_count", folder(t));
    ensure!(sys::write_file(&path, "1").is_err(), "errors_count written");
    t.umount()?;
    ensure!(!sys::exists(&folder(t)), "the folder stays");
    Ok(())
}

/// What was written in this mount and in all.
fn written(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let before = on_disk(t)?;
    t.mount("")?;
    put(&t.p("f"), 1, 8 << 20)?.fsync()?;
    let session = number(t, "session_write_kbytes")?;
    let life = number(t, "lifetime_write_kbytes")?;
    ensure!((8192..8192 + 2048).contains(&session), "{session} KiB");
    ensure!(
        (before + session..before + session + 64).contains(&life),
        "{before} KiB and {session} KiB are {life} KiB"
    );
    t.umount()?;
    ensure!(on_disk(t)? >= life, "at the unmount");
    t.mount("")?;
    ensure!(number(t, "session_write_kbytes")? < 1024, "a new mount");
    ensure!(number(t, "lifetime_write_kbytes")? >= life, "its life");
    Ok(())
}

/// The super block is told of what was written while mounted, too.
fn update(t: &mut T) -> Res {
    t.fresh()?;
    same!(number(t, "sb_update_sec")?, 3600, "the default");
    same!(number(t, "sb_update_kb")?, 16384, "the default");
    put(&t.p("f"), 1, 4 << 20)?.fsync()?;
    sys::sync();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let before = on_disk(t)?;
    ensure!(
        number(t, "lifetime_write_kbytes")? >= before + 4096,
        "told without need"
    );
    write(t, "sb_update_kb", "0x400\n")?;
    same!(number(t, "sb_update_kb")?, 1024, "set");
    write(t, "sb_update_sec", "0\n")?;
    put(&t.p("g"), 2, 4 << 20)?.fsync()?;
    let told = wait::until(|| Ok(on_disk(t)? >= before + 4096))?;
    ensure!(told, "not told");
    for bad in ["", "x", "-1", "4294967296", "1 2"] {
        let refused = write(t, "sb_update_sec", bad);
        // Nothing is written of no bytes.
        ensure!(bad.is_empty() || refused.is_err(), "{bad:?} was taken");
    }
    same!(number(t, "sb_update_sec")?, 0, "after bad values");
    Ok(())
}

/// Blocks that are promised to what is not written back.
fn promised(t: &mut T) -> Res {
    t.fresh()?;
    sys::sync();
    same!(number(t, "delayed_allocation_blocks")?, 0, "at first");
    let f = put(&t.p("f"), 1, 1 << 20)?;
    let blocks = (1 << 20) / t.bs();
    let now = number(t, "delayed_allocation_blocks")?;
    ensure!((blocks..blocks + 64).contains(&now), "{now}, not {blocks}");
    f.fsync()?;
    same!(number(t, "delayed_allocation_blocks")?, 0, "written back");
    Ok(())
}

/// The pool that data never gets: as ext4 makes it, and as it is set.
fn reserved(t: &mut T) -> Res {
    t.fresh()?;
    let blocks = (64 << 20) / t.bs();
    same!(number(t, "reserved_clusters")?, blocks / 50, "the default");
    let free = || sys::statfs(MNT).map(|s| s.f_bavail);
    let before = free()?;
    write(t, "reserved_clusters", "100\n")?;
    same!(number(t, "reserved_clusters")?, 100, "set");
    same!(free()?, before + blocks / 50 - 100, "to be had");
    errno!(write(t, "reserved_clusters", &format!("{blocks}")), EINVAL);
    errno!(write(t, "reserved_clusters", "none"), EINVAL);
    same!(number(t, "reserved_clusters")?, 100, "after bad values");
    Ok(())
}

/// An error that is asked for is counted, shown, and on disk; who may not ask is refused.
fn errors(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.broken = true;
    t.mount("errors=continue")?;
    let began = wait::seconds();
    t.forget_log();
    write(t, "trigger_fs_error", "a test asks for it\n")?;
    ensure!(t.logged(&[&["a test asks for it"]]), "{:?}", t.seen);
    let wait = |n: u64| -> Res {
        wait::until(|| Ok(number(t, "errors_count")? == n))?;
        same!(number(t, "errors_count")?, n, "errors");
        Ok(())
    };
    wait(1)?;
    for which in ["first", "last"] {
        let of = |what: &str| format!("{which}_error_{what}");
        let time = number(t, &of("time"))?;
        ensure!(
            (began..=wait::seconds()).contains(&time),
            "{} {time}",
            of("time")
        );
        ensure!(!text(t, &of("func"))?.is_empty(), "{}", of("func"));
        ensure!(number(t, &of("line"))? > 0, "{}", of("line"));
        same!(number(t, &of("ino"))?, 0, "{}", of("ino"));
        same!(number(t, &of("block"))?, 0, "{}", of("block"));
        // EFSCORRUPTED.
        same!(number(t, &of("errcode"))?, 5, "{}", of("errcode"));
    }
    // Who has it open, and administers the machine no more.
    let path = format!("{}/trigger_fs_error", folder(t));
    let file = sys::open(&path, libc::O_WRONLY, 0)?;
    let refused = std::thread::scope(|s| {
        let user = s.spawn(|| {
            // SAFETY: Of this thread only, which ends with it.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            file.pwrite_once(b"a user asks for it", 0)
        });
        user.join()
    });
    let Ok(refused) = refused else {
        fail!("thread panic");
    };
    errno!(refused, EPERM);
    drop(file);
    write(t, "trigger_fs_error", "once more")?;
    write(t, "trigger_fs_error", "\n")?;
    wait(2)?;
    let first = number(t, "first_error_time")?;
    ensure!(number(t, "last_error_time")? >= first, "the order");
    // Goes on.
    put(&t.p("f"), 1, 5000)?.fsync()?;
    t.umount()?;
    let (_, head) = crate::fixture::run_cmd("dumpe2fs", &["-h", &t.dev])?;
    ensure!(head.contains("clean with errors"), "{head}");
    let (code, out) = crate::fixture::run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {out}");
    t.fsck()
}

/// The record of errors survives mounts, also one that the policy has ended.
fn errors_stay(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.broken = true;
    t.mount("errors=remount-ro")?;
    write(t, "trigger_fs_error", "the end")?;
    same!(number(t, "errors_count")?, 1, "counted at once");
    let time = number(t, "first_error_time")?;
    errno!(sys::mkdir(&t.p("d"), 0o755), EROFS | EIO);
    same!(number(t, "errors_count")?, 1, "no error of its own");
    t.umount()?;
    t.mount("errors=continue")?;
    let count = number(t, "errors_count")?;
    ensure!(count >= 1, "{count} errors after a new mount");
    same!(number(t, "first_error_time")?, time, "after a new mount");
    t.umount()?;
    let (code, out) = crate::fixture::run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {out}");
    t.mount("")?;
    same!(number(t, "errors_count")?, 0, "after e2fsck");
    t.umount()?;
    t.fsck()
}

/// Who polls the number of errors wakes up.
fn poll(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.broken = true;
    t.mount("errors=continue")?;
    let path = format!("{}/errors_count", folder(t));
    let mut f = std::fs::File::open(path)?;
    let mut line = String::new();
    f.read_to_string(&mut line)?;
    let events = libc::POLLPRI | libc::POLLERR;
    let mut p = libc::pollfd {
        fd: std::os::fd::AsRawFd::as_raw_fd(&f),
        events,
        revents: 0,
    };
    // SAFETY: One descriptor.
    same!(unsafe { libc::poll(&mut p, 1, 300) }, 0, "before an error");
    write(t, "trigger_fs_error", "for the poller")?;
    // SAFETY: As above.
    same!(unsafe { libc::poll(&mut p, 1, 100_000) }, 1, "woken");
    ensure!(p.revents & events != 0, "events {:#x}", p.revents);
    f.rewind()?;
    line.clear();
    f.read_to_string(&mut line)?;
    same!(line, "1\n", "read after the poll");
    drop(f);
    t.umount()?;
    let (code, out) = crate::fixture::run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {out}");
    t.fsck()
}

/// A mount that never writes has a folder, too.
fn read_only(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let before = t.image(64)?;
    t.try_mount(libc::MS_RDONLY, "noload")?;
    same!(number(t, "errors_count")?, 0, "errors");
    same!(number(t, "session_write_kbytes")?, 0, "written");
    same!(text(t, "journal_task")?, "<none>", "no journal");
    write(t, "sb_update_sec", "0")?;
    t.umount()?;
    t.unchanged(&before, "a read-only mount")?;
    // One that is refused leaves none.
    t.poke(1024 + 0x38, &[0, 0])?;
    ensure!(t.try_mount(0, "").is_err(), "mounted without a magic");
    ensure!(!sys::exists(&folder(t)), "a folder without a mount");
    t.poke(1024 + 0x38, &[0x53, 0xef])
}

/// A file that is open does not hold up the unmount, and says that there is nothing any more.
fn unmount(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    for _ in 0..5 {
        t.mount("")?;
        let path = |name: &str| format!("{}/{name}", folder(t));
        let shown = sys::rdonly(&path("lifetime_write_kbytes"))?;
        let stored = sys::open(&path("sb_update_sec"), libc::O_WRONLY, 0)?;
        let mut buf = [0; 64];
        ensure!(shown.pread(&mut buf, 0)? > 0, "read");
        t.umount()?;
        errno!(shown.pread_once(&mut buf, 0), ENODEV);
        errno!(stored.pwrite_once(b"1\n", 0), ENODEV);
        // Nor what is mounted next.
        t.mount("")?;
        errno!(shown.pread_once(&mut buf, 0), ENODEV);
        t.umount()?;
    }
    Ok(())
}

/// Reads and writes of all files while the device is mounted and unmounted.
fn unmount_race(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.broken = true;
    let dir = folder(t);
    let (seen, stop) = (&AtomicU64::new(0), &AtomicBool::new(false));
    let on = Ordering::Relaxed;
    let look = |name: &str, written: bool| {
        let path = format!("{dir}/{name}");
        if written {
            let _ = sys::write_file(&path, "0\n");
        } else if std::fs::read(&path).is_ok() {
            seen.fetch_add(1, on);
        }
    };
    std::thread::scope(|s| {
        for i in 0..4 {
            let look = &look;
            s.spawn(move || {
                while !stop.load(on) {
                    for (name, mode) in FILES {
                        let write = i == 3 && mode & 0o200 != 0 && *name != "reserved_clusters";
                        look(name, write);
                    }
                }
            });
        }
        let mut result = Ok(());
        for i in 0..1000 {
            if i >= 40 && seen.load(on) > 100 {
                break;
            }
            result = t.mount("errors=continue").and_then(|()| {
                put(&t.p("f"), i, 100_000)?;
                t.umount()
            });
            if result.is_err() {
                break;
            }
        }
        stop.store(true, on);
        result
    })?;
    ensure!(seen.load(on) > 100, "only {seen:?} reads");
    let (code, out) = crate::fixture::run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {out}");
    t.fsck()
}

/// What the module can do, mounted or not.
fn features(t: &mut T) -> Res {
    let dir = format!("/sys/fs/{}/features", t.fs);
    // CONFIG_FS_ENCRYPTION.
    let encrypts = sys::exists("/sys/module/blk_crypto");
    t.mkfs(64, &[])?;
    for mounted in [false, true] {
        if mounted {
            t.mount("")?;
        }
        let mut all = vec!["batched_discard", "metadata_csum_seed"];
        if encrypts {
            all.extend(["encryption", "test_dummy_encryption_v2"]);
        }
        for name in &all {
            let path = format!("{dir}/{name}");
            let text = std::fs::read_to_string(&path)?;
            same!(text, "supported\n", "{name}");
        }
        if t.ours() {
            same!(names(&dir)?.len(), all.len(), "features");
        }
    }
    Ok(())
}

/// FS_IOC_GETFSSYSFSPATH.
fn path(t: &mut T) -> Res {
    t.fresh()?;
    let root = sys::open(MNT, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut path = [0xEEu8; 129];
    // SAFETY: A length, and up to 128 bytes.
    unsafe { root.ioctl(0x8081_1501, path.as_mut_ptr())? };
    let name = &path[1..1 + usize::from(path[0])];
    let name = String::from_utf8_lossy(name).into_owned();
    same!(format!("/sys/fs/{name}"), folder(t), "the path");
    Ok(())
}
