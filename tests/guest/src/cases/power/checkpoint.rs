// SPDX-License-Identifier: GPL-2.0
//! EXT4_IOC_CHECKPOINT: the log is empty afterwards, what it held can be made to go, and nothing
//! else changes.

use crate::cases::power::shutdown::{root, shut_down, NOW};
use crate::cases::space::trim;
use crate::fixture::{pattern, put, run_cmd, T};
use crate::harness::{Case, Res, Stop, ALL, ONE};
use crate::sys::{Fd, Sys};
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("checkpoint/zeroed", ALL, zeroed).quick(),
    Case::new("checkpoint/kept", ONE, kept),
    Case::new("checkpoint/discarded", ALL, discarded),
    Case::new("checkpoint/refused", ONE, refused).quick(),
    Case::new("checkpoint/no_journal", ONE, no_journal),
    Case::new("checkpoint/under_load", ALL, under_load),
];

const DISCARD: u32 = 1;
const ZERO: u32 = 2;
const DRY_RUN: u32 = 4;

pub fn checkpoint(f: &Fd, flags: u32) -> Sys<()> {
    let mut flags = flags;
    // SAFETY: It reads 4 bytes.
    unsafe { f.ioctl(0x4004_662b, &mut flags) }.map(|_| ())
}

/// The bytes of the journal, as the device has them.
fn journal(t: &T) -> Res<Vec<u8>> {
    let to = "/tmp/journal";
    let (code, text) = run_cmd("debugfs", &["-R", &format!("dump <8> {to}"), &t.dev])?;
    ensure!(code == 0, "debugfs dump: {text}");
    std::fs::read(to).map_err(|e| Stop::Fail(format!("{to}: {e}")))
}

/// How many blocks behind the first are not zero all over, and whether the journal's super block
/// says that the log is empty.
fn log(t: &T) -> Res<(usize, bool)> {
    let bytes = journal(t)?;
    let used = |block: &&[u8]| block.iter().any(|&b| b != 0);
    let blocks = bytes.chunks(t.bs() as usize).skip(1).filter(used).count();
    // The magic number, and `s_start`.
    same!(&bytes[..4], [0xc0, 0x3b, 0x39, 0x98], "no journal");
    Ok((blocks, bytes[0x1c..0x20] == [0; 4]))
}

const LEN: usize = 30_000;

fn some_names(t: &T, from: u64) -> Res {
    for i in from..from + 20 {
        put(&t.p(&format!("a-name-to-be-forgotten-{i}")), i, LEN)?.fsync()?;
    }
    Ok(())
}

fn all_there(t: &T, names: std::ops::Range<u64>) -> Res {
    for i in names {
        let name = format!("a-name-to-be-forgotten-{i}");
        t.file_holds(&name, &pattern(i, 0, LEN), &name)?;
    }
    Ok(())
}

/// Empties the log, and what is written afterwards is recovered.
fn emptied(t: &mut T, flags: u32, gone: fn(usize) -> bool) -> Res {
    some_names(t, 0)?;
    let (before, empty) = log(t)?;
    ensure!(before > 10 && !empty, "{before} blocks in the log");
    let dir = root(t)?;
    checkpoint(&dir, flags | DRY_RUN)?;
    ensure!(!log(t)?.1, "a dry run emptied the log");
    checkpoint(&dir, flags)?;
    let (after, empty) = log(t)?;
    ensure!(empty && gone(after), "{after} blocks of {before} left");
    // Once more, with nothing in it.
    checkpoint(&dir, flags)?;
    some_names(t, 20)?;
    let (now, empty) = log(t)?;
    ensure!(now > 10 && !empty, "{now} blocks in the log afterwards");
    shut_down(&dir, NOW)?;
    drop(dir);
    t.umount()?;
    t.mount("")?;
    all_there(t, 0..40)?;
    t.cycle()?;
    all_there(t, 0..40)
}

/// Nothing but zeros is left in the log.
fn zeroed(t: &mut T) -> Res {
    t.fresh()?;
    emptied(t, ZERO, |blocks| blocks == 0)
}

/// The log is empty, though its blocks stay as they were.
fn kept(t: &mut T) -> Res {
    t.fresh()?;
    emptied(t, 0, |blocks| blocks > 10)
}

/// On a device that gives zeros for what was discarded.
fn discarded(t: &mut T) -> Res {
    trim::disk(t)?;
    t.fresh()?;
    emptied(t, DISCARD, |blocks| blocks == 0)
}

/// Flags that are none, users who may not, mounts that must not write.
fn refused(t: &mut T) -> Res {
    t.fresh()?;
    let dir = root(t)?;
    for flags in [8, DISCARD | ZERO, DISCARD | ZERO | DRY_RUN, u32::MAX] {
        errno!(checkpoint(&dir, flags), EINVAL);
    }
    let refused = std::thread::scope(|s| {
        s.spawn(|| {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            checkpoint(&dir, DRY_RUN)
        })
        .join()
    });
    let Ok(refused) = refused else {
        return Err(Stop::Fail("thread panic".into()));
    };
    errno!(refused, EPERM);
    // Any file will do.
    let file = put(&t.p("f"), 1, LEN)?;
    checkpoint(&file, 0)?;
    drop(file);
    t.remount(libc::MS_RDONLY, "")?;
    // ext4 writes to the log of a read-only mount.
    if t.ours() {
        let before = t.image(64)?;
        errno!(checkpoint(&dir, ZERO), EROFS);
        t.unchanged(&before, "read-only")?;
    }
    checkpoint(&dir, ZERO | DRY_RUN)?;
    t.remount(0, "")?;
    shut_down(&dir, NOW)?;
    errno!(checkpoint(&dir, 0), EIO);
    drop(dir);
    t.cycle()
}

/// Without a journal there is nothing to empty.
fn no_journal(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "^has_journal"])?;
    t.try_mount(libc::MS_RDONLY, "")?;
    let dir = root(t)?;
    errno!(checkpoint(&dir, 0), ENODEV);
    errno!(checkpoint(&dir, DRY_RUN), ENODEV);
    drop(dir);
    t.umount()
}

/// Beside writers, and two at a time.
fn under_load(t: &mut T) -> Res {
    t.fresh()?;
    let dir = root(t)?;
    let (emptied, written) = std::thread::scope(|s| {
        let again = |flags| {
            let dir = &dir;
            s.spawn(move || (0..10).try_for_each(|_| checkpoint(dir, flags)))
        };
        let threads = [again(ZERO), again(0)];
        let written = some_names(t, 0).and_then(|()| some_names(t, 20));
        (threads.map(|thread| thread.join()), written)
    });
    written?;
    for done in emptied {
        match done {
            Ok(done) => done?,
            Err(_) => return Err(Stop::Fail("thread panic".into())),
        }
    }
    shut_down(&dir, NOW)?;
    drop(dir);
    t.umount()?;
    t.mount("")?;
    all_there(t, 0..40)
}
