// SPDX-License-Identifier: GPL-2.0
//! Files that are replaced without fsync: after a power cut the old bytes or the new ones.

use crate::cases::power::crash::{crash, start};
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL};
use crate::sys;
use crate::{ensure, same};

pub const CASES: &[Case] = &[
    Case::new("crash/replace_rename", ALL, by_rename).quick(),
    Case::new("crash/replace_truncate", ALL, by_truncate).quick(),
];

/// Commits what is running, as any program may at any time.
fn commit(t: &T) -> Res {
    Ok(put(&t.p("other"), 9, 10)?.fsync()?)
}

/// A file replaced by rename is after a crash the old or the new one, never an empty one.
fn by_rename(t: &mut T) -> Res {
    let d = start(t)?;
    let sizes = [1, 5000, 65_536, 3 << 20];
    for (i, n) in sizes.into_iter().enumerate() {
        put(&t.p(&format!("f{i}")), 1, 3000)?.fsync()?;
        put(&t.p("new"), 2, n)?;
        sys::rename(&t.p("new"), &t.p(&format!("f{i}")))?;
        commit(t)?;
    }
    crash(t, &d)?;
    for (i, n) in sizes.into_iter().enumerate() {
        let f = sys::rdonly(&t.p(&format!("f{i}")))?;
        match f.size()? {
            3000 => holds(&f, 0, &pattern(1, 0, 3000), "the old file")?,
            size => {
                same!(size, n as u64, "size of a file that replaced another one");
                holds(&f, 0, &pattern(2, 0, n), "the new file")?;
            }
        }
    }
    Ok(())
}

/// A file truncated, written anew and closed has its new bytes after a crash.
fn by_truncate(t: &mut T) -> Res {
    let d = start(t)?;
    put(&t.p("f"), 1, 3000)?.fsync()?;
    // Truncated to nothing, written, closed.
    put(&t.p("f"), 2, 5000)?;
    // What the close has sent to the disk, and nothing else, gets there.
    sys::rdonly(&t.p("f"))?.await_writeback(0, 5000)?;
    commit(t)?;
    crash(t, &d)?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(f.size()?, 5000, "size of a file that was written anew");
    holds(&f, 0, &pattern(2, 0, 5000), "written anew")?;
    t.remount(0, "noauto_da_alloc")?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    ensure!(
        mounts.lines().any(|l| l.contains("noauto_da_alloc")),
        "/proc/mounts does not show noauto_da_alloc"
    );
    Ok(())
}
