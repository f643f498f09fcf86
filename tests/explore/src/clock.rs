// SPDX-License-Identifier: GPL-2.0
//! Where the time goes: what each part of a schedule takes, if `--profile` asks. To look at the
//! clock takes a system call itself, so nobody does who was not asked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

macro_rules! parts {
    ($($name:ident $words:literal,)+) => {
        #[derive(Clone, Copy)]
        pub enum Part {
            $($name,)+
        }

        const NAMES: &[&str] = &[$($words,)+];
    };
}

parts! {
    Fresh "new file system, mounted",
    Create "files made",
    Begin "threads told what to do, and stepped",
    Settle "looks where everybody is",
    Go "somebody told to go on, and what he does",
    End "threads stepped no more, and their files closed",
    Judge "outcomes and files judged",
    Log "kernel log read",
    Remount "unmount, e2fsck, mount",
    Compare "files compared after that",
    Empty "files removed, unmount, e2fsck",
    Again "schedules run again",
}

static ON: AtomicBool = AtomicBool::new(false);
static SPENT: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];
static TIMES: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

/// From now on it is measured.
pub fn start() {
    ON.store(true, Relaxed);
}

/// Does something, and counts what it took. What is measured inside of it is counted twice.
pub fn timed<T>(part: Part, what: impl FnOnce() -> T) -> T {
    if !ON.load(Relaxed) {
        return what();
    }
    let begun = Instant::now();
    let result = what();
    SPENT[part as usize].fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
    TIMES[part as usize].fetch_add(1, Relaxed);
    result
}

/// A line for each part, if it is measured.
pub fn table() -> String {
    if !ON.load(Relaxed) {
        return String::new();
    }
    let mut out = String::from("   seconds     times   us each  part\n");
    for (i, name) in NAMES.iter().enumerate() {
        let (ns, times) = (SPENT[i].load(Relaxed), TIMES[i].load(Relaxed));
        let each = ns / 1000 / times.max(1);
        out += &format!("{:10.1} {times:9} {each:9}  {name}\n", ns as f64 / 1e9);
    }
    out
}
