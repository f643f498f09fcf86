// SPDX-License-Identifier: GPL-2.0
//! Freezes that fail: nothing is written any more, and the disk can be recovered. And those that do
//! not: what they say in the super block is on the disk, whoever else writes the device's cache
//! out.

use crate::cases::damage::failing::with_hole;
use crate::cases::namespace::mounts::recover;
use crate::cases::power::{crash, replay};
use crate::dm::{self, Dm};
use crate::fixture::{pattern, put, run_cmd, T};
use crate::harness::{Case, Res, ALL};
use crate::sys::{self, Fd};
use crate::writelog::Entry;
use crate::{ensure, errno, same, skip};
use std::sync::atomic::{AtomicBool, Ordering};

pub const CASES: &[Case] = &[
    Case::new("freeze/super_fails", ALL, super_fails).quick(),
    Case::new("freeze/super_is_durable", ALL, super_is_durable).quick(),
];

/// A mounted image whose super block is on the disk as it is in memory, and its root.
fn start(t: &mut T) -> Res<(Dm, Fd)> {
    if !t.ours() {
        skip!("the kernel's ext4 goes on with a log that nobody would recover");
    }
    let d = crash::start(t)?;
    put(&t.p("f"), 1, 10_000)?;
    sys::sync();
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    Ok((d, root))
}

/// The byte where the block of the super block begins.
fn super_at(t: &T) -> u64 {
    1024 / t.bs() * t.bs()
}

/// The super block cannot be written, neither that it needs no recovery nor that it does: nothing
/// is written any more, as what the disk says of its log is not known. It still says that there is
/// one, and e2fsck finds nothing to decide.
fn super_fails(t: &mut T) -> Res {
    let (d, root) = start(t)?;
    d.swap(&with_hole(t, super_at(t), t.bs()))?;
    errno!(root.freeze(true), EIO);
    drop(root);
    d.swap(&[dm::linear(&t.disks[0], 0, crash::MB)])?;
    errno!(sys::create(&t.p("g")), EROFS);
    errno!(sys::unlink(&t.p("f")), EROFS);
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    same!(recover(t)?, true, "needs recovery, after the cut");
    let (code, text) = run_cmd("e2fsck", &["-fp", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fp exit {code}: {text}");
    t.fsck()?;
    t.mount("")?;
    t.file_holds("f", &pattern(1, 0, 10_000), "from before")?;
    put(&t.p("g"), 2, 10_000)?.fsync()?;
    Ok(())
}

const ROUNDS: usize = 40;

/// When a freeze (or a thaw) returns, the last write of the super block went past the device's
/// cache: all the time somebody writes out what is dirty in the cache of the block device, which
/// does not.
fn super_is_durable(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 journals the super block at a freeze");
    }
    let l = replay::start(t)?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let device = sys::rdonly(&t.dev)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|s| -> Res {
        let writer = s.spawn(|| -> Res {
            while !done.load(Ordering::Relaxed) {
                device.fsync()?;
            }
            Ok(())
        });
        let result = (0..ROUNDS).try_for_each(|_| -> Res {
            root.freeze(true)?;
            l.log.message("mark frozen")?;
            root.freeze(false)?;
            l.log.message("mark thawed")?;
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap()?;
        result
    })?;
    drop((root, device));
    let at = super_at(t) as usize;
    let (mut past_cache, mut seen) = (None, 0);
    for entry in replay::stop(t)? {
        match entry {
            Entry::Write(w) if (w.at..w.at + w.data.len()).contains(&at) => {
                past_cache = Some(w.fua);
            }
            Entry::Mark(what) if ["frozen", "thawed"].contains(&what.as_str()) => {
                same!(past_cache.take(), Some(true), "super block: {what} {seen}");
                seen += 1;
            }
            _ => (),
        }
    }
    same!(seen, 2 * ROUNDS, "marks in the log");
    t.fsck()
}
