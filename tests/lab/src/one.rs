// SPDX-License-Identifier: GPL-2.0
//! One run of one race, in a process of its own.

use crate::lab::Lab;
use crate::race::{Mode, Race, Res, Stop};
use crate::tracing::{self, mark};
use guest::{kmsg, map};
use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;

/// Begins the line that tells how the run ended.
pub const VERDICT: char = '\u{1}';

/// Runs it and says how it ended.
pub fn run(race: &Race, mode: Mode, fs: &str, disks: &[String], out: &Path) {
    map::install_sigbus();
    let verdict = match go(race, mode, fs, disks, out) {
        Ok(()) => "clean".to_string(),
        Err(Stop::Harm(s)) => format!("harm {s}"),
        Err(Stop::Broken(s)) => format!("broken {s}"),
    };
    println!("{VERDICT}{}", verdict.replace('\n', " | "));
    let _ = std::io::stdout().flush();
    // Threads that hang in the kernel get their signal now.
    std::process::exit(0);
}

fn go(race: &Race, mode: Mode, fs: &str, disks: &[String], out: &Path) -> Res {
    // SAFETY: a NUL-terminated name.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"check".as_ptr()) };
    let mut lab = Lab::new(race, mode, fs, disks)?;
    mark(&format!("race {} {}", race.row, mode.word()));
    let mut end = catch_unwind(AssertUnwindSafe(|| (race.run)(&mut lab)))
        .unwrap_or_else(|p| Err(Stop::Broken(format!("panic: {}", text_of(p)))));
    if end.is_ok() && mode == Mode::On {
        mark("over");
        end = lab.counters();
    }
    mark("end");
    if let Err(e) = tracing::save(&out.join(format!("{}.trace", race.stem(mode)))) {
        println!("the trace was not saved: {e}");
    }
    // The session ends: what is still parked goes on, what was off is on.
    let Lab { mut t, .. } = lab;
    let over = t.finish(end.is_ok() && mode == Mode::On);
    let log = t.kmsg.take();
    if let Some(line) = defect(&log, mode) {
        for l in &log {
            println!("log: {l}");
        }
        return Err(Stop::Broken(format!("kernel log: {line}")));
    }
    match (end, over) {
        (Ok(()), Err(e)) => Err(Stop::Harm(e.to_string())),
        (end, _) => end,
    }
}

/// What the kernel may not say. Without the protection, blocks that stay reserved are the harm.
fn defect(log: &[String], mode: Mode) -> Option<String> {
    let leak = "reserved data blocks not cleared";
    let lines: Vec<String> = log
        .iter()
        .filter(|l| mode == Mode::On || !l.contains(leak))
        .cloned()
        .collect();
    kmsg::defect(&lines).cloned()
}

fn text_of(p: Box<dyn std::any::Any + Send>) -> String {
    match p.downcast::<String>() {
        Ok(s) => *s,
        Err(p) => p
            .downcast::<&str>()
            .map(|s| s.to_string())
            .unwrap_or_default(),
    }
}
