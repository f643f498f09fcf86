// SPDX-License-Identifier: GPL-2.0
//! Power cuts while a file system grows: it has the old size or a new one, and is whole.

use crate::cases::power::replay::{inspect, start_on, stop};
use crate::cases::space::resize::{resize, root};
use crate::fixture::{pattern, put, run_cmd, T};
use crate::harness::{Case, Res, Variant, EXT3_1K, K1, K4, NOCSUM1K};
use crate::sys;
use crate::writelog::Entry;
use crate::{ensure, fail, same};
use std::sync::atomic::{AtomicBool, Ordering};

const VARS: &[Variant] = &[K1, NOCSUM1K, EXT3_1K, K4];

pub const CASES: &[Case] = &[
    Case::new("grown/any_cut", VARS, any_cut).secs(240),
    Case::new("grown/durable", VARS, durable),
];

/// MiB of the disk. The image has 16 of them at first.
const DISK: usize = 22;

/// Small groups, so that there are many steps.
fn options(t: &T) -> Vec<&'static str> {
    match t.bs() {
        1024 if t.var.feats.contains("^flex_bg") => vec!["-J", "size=4", "-g", "1024"],
        1024 => vec!["-J", "size=4", "-g", "1024", "-G", "4"],
        _ => vec!["-J", "size=4", "-g", "512", "-G", "2"],
    }
}

/// What was there before is there, and what is free can be used.
fn look(t: &T) -> Res {
    t.file_holds("before", &pattern(1, 0, 3 << 20), "from before")?;
    let st = sys::statfs(&t.p(""))?;
    ensure!(st.f_bfree <= st.f_blocks, "more free than there is");
    if st.f_bavail * t.bs() > 1 << 20 {
        let all = (st.f_bavail * t.bs() - (1 << 19)).min(8 << 20) as usize;
        put(&t.p("after"), 2, all)?.fsync()?;
    }
    Ok(())
}

fn grow(t: &T, mb: u64) -> Res {
    Ok(resize(&root(t)?, (mb << 20) / t.bs())?)
}

/// Commits all the time, so that each step may be in a transaction of its own.
fn grow_with_commits(t: &T) -> Res {
    let (done, dir) = (AtomicBool::new(false), root(t)?);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _ = dir.syncfs();
            }
        });
        let grown = grow(t, DISK as u64);
        done.store(true, Ordering::Relaxed);
        grown
    })
}

/// At any write, with all of them in order: writes that flushes hold apart are never mixed.
fn any_cut(t: &mut T) -> Res {
    let options = options(t);
    let l = start_on(t, DISK, &options)?;
    put(&t.p("before"), 1, 3 << 20)?.fsync()?;
    sys::sync();
    l.log.message("mark grow")?;
    grow_with_commits(t)?;
    put(&t.p("beside"), 3, 2 << 20)?.fsync()?;
    l.log.message("mark grown")?;
    let entries = stop(t)?;
    let at = |mark: &str| entries.iter().position(|e| *e == Entry::Mark(mark.into()));
    let (Some(begin), Some(end)) = (at("grow"), at("grown")) else {
        fail!("no marks in the log");
    };
    let mut disk = l.base.clone();
    let every = (end - begin).div_ceil(14).max(1);
    let (mut sizes, mut cuts) = (std::collections::BTreeSet::new(), 0);
    for (k, e) in entries.iter().enumerate() {
        if let Entry::Write(w) = e {
            disk[w.at..w.at + w.data.len()].copy_from_slice(&w.data);
        }
        // And what a log that is written back just then leaves: the super block, alone of all.
        let super_block = matches!(e, Entry::Write(w) if w.at < 2048);
        if k < begin || k > end || (k - begin) % every != 0 && !super_block {
            continue;
        }
        cuts += 1;
        t.forget_log();
        let looked = inspect(t, &disk, &mut |t| {
            sizes.insert(sys::statfs(&t.p(""))?.f_files);
            look(t)
        });
        if let Err(e) = looked {
            fail!(
                "cut at entry {} of {}: {e}: {:?}",
                k - begin,
                end - begin,
                t.log()
            );
        }
        if cuts % 3 == 0 {
            replayed_by_fsck(t, &disk)?;
        }
    }
    ensure!(
        cuts > 10 && sizes.len() > 1,
        "{cuts} cuts, inodes: {sizes:?}"
    );
    Ok(())
}

/// e2fsck replays the log itself, and has nothing to mend.
fn replayed_by_fsck(t: &T, disk: &[u8]) -> Res {
    let f = t.raw()?;
    for (i, c) in disk.chunks(1 << 20).enumerate() {
        f.pwrite(c, (i << 20) as u64)?;
    }
    f.fsync()?;
    drop(f);
    let (code, text) = run_cmd("e2fsck", &["-fp", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fp: {code}: {text}");
    // Counts in the super block are only right after an unmount.
    t.fsck()
}

/// When the ioctl has returned, the new size survives a cut, with what is there.
fn durable(t: &mut T) -> Res {
    let options = options(t);
    let l = start_on(t, DISK, &options)?;
    put(&t.p("before"), 1, 3 << 20)?.fsync()?;
    for mb in [17, 20, 21, DISK as u64] {
        grow(t, mb)?;
        l.log.message(&format!("mark {mb}"))?;
    }
    let entries = stop(t)?;
    let mut disk = l.base.clone();
    let mut marks = 0;
    for e in &entries {
        match e {
            Entry::Write(w) => disk[w.at..w.at + w.data.len()].copy_from_slice(&w.data),
            Entry::Mark(m) => {
                let Ok(mb) = m.parse::<u64>() else { continue };
                marks += 1;
                let mut got = 0;
                inspect(t, &disk, &mut |t| {
                    let (_, text) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
                    let line = text.lines().find_map(|l| l.strip_prefix("Block count:"));
                    got = line.and_then(|l| l.trim().parse().ok()).unwrap_or(0);
                    look(t)
                })?;
                same!(got, (mb << 20) / t.bs(), "blocks, durable at {mb} MiB");
            }
            Entry::Flush | Entry::Discard => {}
        }
    }
    same!(marks, 4, "marks in the log");
    Ok(())
}
