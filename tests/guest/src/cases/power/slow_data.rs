// SPDX-License-Identifier: GPL-2.0
//! What the disk has while data is on its way to it.

use crate::dm::{self, Dm, FOR_GOOD};
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, put, MNT, MNT2, T};
use crate::harness::{Case, Res, K1, K4, POINTERS};
use crate::sys::{self, Fd};
use crate::{ensure, same, skip, wait};
use std::ops::Range;

pub const CASES: &[Case] = &[Case::new("crash/slow_data", &[K1, POINTERS, K4], slow_data).quick()];

/// From here on writes to these sectors are held. Flushes are not: a commit must not wait for the
/// data.
fn hold(d: &Dm, dev: &str, slow: Range<u64>) -> Res {
    let Range { start, end } = slow;
    let at = format!("{dev} {start}");
    let parts = [
        (0, start, "linear", format!("{dev} 0")),
        (
            start,
            end - start,
            "delay",
            format!("{at} 0 {at} {FOR_GOOD} {at} 0"),
        ),
        (end, 16 * 2048 - end, "linear", format!("{dev} {end}")),
    ];
    if let Err(e) = d.swap(&parts) {
        skip!("no delay target: {e}");
    }
    Ok(())
}

fn copy_disk(t: &T, to: &str) -> Res {
    let to = sys::open(to, libc::O_RDWR, 0)?;
    t.each_mib(16, |at, bytes| Ok(to.pwrite(bytes, at)?))?;
    Ok(to.fsync()?)
}

/// Data is on its way to the disk, slowly, and a transaction commits. A copy of the disk at that
/// moment is what a power cut would leave: it must not show what the blocks held before.
fn slow_data(t: &mut T) -> Res {
    let (dev, fs) = (t.dev.clone(), t.fs.clone());
    let Some(copy) = t.disks.get(1).cloned() else {
        skip!("one disk only");
    };
    t.mkfs(16, &[])?;
    let d = t.mapped("slow", 16)?;
    t.mount_as(&d.path, MNT, &fs, 0, "")?;
    let len = 40 * t.bs();
    let f = put(&t.p("f"), 1, len as usize)?;
    f.fsync()?;
    let place = |f: &Fd| -> Res<Vec<(u64, u64)>> {
        let all = fiemap(f, 0, len, true, 50)?;
        Ok(all.iter().map(|e| (e.phys, e.len)).collect())
    };
    let before = place(&f)?;
    // The blocks are free, with what they hold, and the file has a hole of that size.
    f.truncate(0)?;
    f.truncate(len)?;
    sys::sync();
    let (first, end) = (before[0].0 / 512, (before[0].0 + len) / 512);
    hold(&d, &dev, first..end)?;
    f.pwrite(&pattern(2, 0, len as usize), 0)?;
    f.start_writeback(0, 0)?;
    let waits = std::thread::scope(|s| -> Res<bool> {
        let commit = wait::spawn(s, || put(&t.p("other"), 3, 1)?.fsync());
        // The kernel's ext4 waits for the data where there are no extents.
        let waits = commit.waits();
        let copied = match waits {
            Ok(false) => copy_disk(t, &copy),
            _ => Ok(()),
        };
        d.swap(&[dm::linear(&dev, 0, 16)])?;
        commit.join()??;
        copied?;
        waits
    })?;
    ensure!(!waits || !t.ours(), "the commit waits for the data");
    let mut shown = vec![0; len as usize];
    if waits {
        copy_disk(t, &copy)?;
        shown = pattern(2, 0, len as usize);
    }
    f.fsync()?;
    same!(place(&f)?, before, "the new blocks are the old ones");
    drop(f);
    t.umount()?;
    t.mount_as(&copy, MNT2, &fs, 0, "")?;
    let g = sys::rdonly(&format!("{MNT2}/f"))?;
    holds(&g, 0, &shown, "after the cut")?;
    drop(g);
    t.umount_dir(MNT2)?;
    t.fsck_dev(&copy)?;
    t.mount_as(&d.path, MNT, &fs, 0, "")?;
    t.file_holds("f", &pattern(2, 0, len as usize), "in the end")
}
