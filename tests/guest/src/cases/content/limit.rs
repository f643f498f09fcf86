// SPDX-License-Identifier: GPL-2.0
//! RLIMIT_FSIZE: what would make a file longer than its writer may is refused, with SIGXFSZ.

use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, BOTH_MAPS, ONE};
use crate::sys::{self, errname, Aligned, Sys};
use crate::{errno, fail, same};
use std::sync::atomic::{AtomicUsize, Ordering};

pub const CASES: &[Case] = &[
    Case::new("limit/file_size", BOTH_MAPS, file_size).quick(),
    Case::new("limit/insert_range", ONE, insert),
];

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_signal(_: i32) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// While this lives, no file of ours grows beyond the limit.
struct Limited(libc::rlimit);

impl Limited {
    fn new(bytes: u64) -> Res<Limited> {
        // SAFETY: the handler only touches an atomic, and all is valid.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            libc::sigaction(libc::SIGXFSZ, &action, std::ptr::null_mut());
            let mut before: libc::rlimit = std::mem::zeroed();
            libc::getrlimit(libc::RLIMIT_FSIZE, &mut before);
            let limit = libc::rlimit {
                rlim_cur: bytes,
                ..before
            };
            let limited = Limited(before);
            same!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0, "setrlimit");
            Ok(limited)
        }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // SAFETY: a valid limit.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &self.0) };
    }
}

/// The call is refused, and its caller is told by a signal.
fn refused<R>(what: &str, call: Sys<R>) -> Res {
    let signals = SIGNALS.swap(0, Ordering::SeqCst);
    match call {
        Err(e) if e.errno == libc::EFBIG => same!(signals, 1, "{what}: SIGXFSZ"),
        Err(e) => fail!("{what}: {}", errname(e.errno)),
        Ok(_) => fail!("{what}: done"),
    }
    Ok(())
}

const LIMIT: u64 = 65_536;

/// A write is cut off at the limit, and one that begins there is refused. So is whatever else moves
/// the end beyond it; what does not move the end so far is none of its business.
fn file_size(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, LIMIT as usize - 8192)?;
    let long = put(&t.p("long"), 2, 2 * LIMIT as usize)?;
    let direct = sys::direct(&t.p("f"))?;
    let append = sys::open(&t.p("f"), libc::O_WRONLY | libc::O_APPEND, 0)?;
    let data = pattern(1, LIMIT - 8192, 16_384);
    let (zero, keep) = (libc::FALLOC_FL_ZERO_RANGE, libc::FALLOC_FL_KEEP_SIZE);

    let limited = Limited::new(LIMIT)?;
    refused("truncate", f.truncate(LIMIT + 1))?;
    refused("truncate by name", sys::truncate(&t.p("f"), LIMIT + 1))?;
    same!(
        f.pwrite_once(&data, LIMIT - 8192)?,
        8192,
        "a write across the limit"
    );
    refused("write", f.pwrite_once(&data, LIMIT))?;
    refused("write far behind it", f.pwrite_once(&data, LIMIT + 100_000))?;
    refused("append", append.write(&data))?;
    let aligned = Aligned::of(&data);
    same!(
        direct.pwrite_once(&aligned, LIMIT - 8192)?,
        8192,
        "a direct write across the limit"
    );
    refused("direct write", direct.pwrite_once(&aligned, LIMIT))?;
    if t.extents() {
        refused("fallocate", f.fallocate(0, 0, LIMIT + 1))?;
        refused("zero range", f.fallocate(zero, LIMIT - 8192, 8193))?;
        f.fallocate(0, 0, LIMIT)?;
        f.fallocate(keep, 0, LIMIT + 8192)?;
    }
    f.truncate(LIMIT)?;
    same!(f.size()?, LIMIT, "size");
    // Inside of what was longer before a write is refused, too; a punch or a cut is not.
    refused("overwrite", long.pwrite_once(&data, LIMIT))?;
    refused(
        "direct overwrite",
        sys::direct(&t.p("long"))?.pwrite_once(&aligned, LIMIT),
    )?;
    long.punch(LIMIT, 4096)?;
    long.truncate(2 * LIMIT - 100)?;
    errno!(long.truncate(2 * LIMIT), EFBIG);
    drop(limited);
    SIGNALS.store(0, Ordering::SeqCst);

    let mut want = pattern(2, 0, 2 * LIMIT as usize - 100);
    want[LIMIT as usize..][..4096].fill(0);
    holds(&long, 0, &want, "the longer file")?;
    same!(long.size()?, want.len() as u64, "size of the longer file");
    t.holds_both(&f, &pattern(1, 0, LIMIT as usize), "up to the limit")?;
    drop((f, long, direct, append));
    t.cycle()?;
    same!(sys::lstat(&t.p("f"))?.st_size, LIMIT as i64, "size, again");
    t.file_holds("f", &pattern(1, 0, LIMIT as usize), "mounted again")
}

/// It is not asked where the end moves because something is put before it: as in ext4 and XFS.
fn insert(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, LIMIT as usize)?;
    let limited = Limited::new(LIMIT)?;
    let done = f.fallocate(libc::FALLOC_FL_INSERT_RANGE, 0, 4096);
    drop(limited);
    done?;
    same!(SIGNALS.swap(0, Ordering::SeqCst), 0, "signals");
    let want = [vec![0; 4096], pattern(1, 0, LIMIT as usize)].concat();
    t.holds_both(&f, &want, "behind the limit")
}
