// SPDX-License-Identifier: GPL-2.0
//! The kernel log, from where we began to read it.

use crate::sys::{self, Fd, Sys};

pub struct Kmsg {
    fd: Fd,
}

/// Lines that make a test fail whatever else it found.
const BAD: &[&str] = &[
    "WARNING:",
    "BUG:",
    "kernel BUG",
    "Oops",
    "Kernel panic",
    "panicked at",
    "INFO: task",
    "INFO: rcu",
    "Bad page",
    "DEBUG_LOCKS_WARN_ON",
    "possible recursive locking",
    "possible circular locking",
    "possible irq lock inversion",
    "inconsistent lock state",
    "bad unlock balance",
    "lock held when returning",
    "held lock freed",
    "suspicious RCU usage",
    "Invalid wait context",
    "scheduling while atomic",
    "sleeping function called",
    "general protection",
    "Unable to handle kernel",
    "refcount_t:",
    "UBSAN",
    "KASAN",
    "corruption. prev",
    "corruption, ",
    "Busy inodes after unmount",
    "reserved data blocks not cleared",
    "promised to nobody",
    "blocks promised to it",
    "cannot be completed where it ends",
];

impl Kmsg {
    /// Starts at the end of the log.
    pub fn open() -> Sys<Kmsg> {
        let fd = sys::open("/dev/kmsg", libc::O_RDONLY | libc::O_NONBLOCK, 0)?;
        fd.seek(0, libc::SEEK_END)?;
        Ok(Kmsg { fd })
    }

    /// New lines since the last call.
    pub fn take(&self) -> Vec<String> {
        self.records().into_iter().map(|(_, line)| line).collect()
    }

    /// The same, each with its level.
    pub fn records(&self) -> Vec<(u32, String)> {
        let mut out = Vec::new();
        let mut buf = [0u8; 8192];
        loop {
            // SAFETY: buf is valid.
            let n = unsafe { libc::read(self.fd.raw, buf.as_mut_ptr().cast(), buf.len()) };
            if n < 0 {
                // EPIPE: the ring overran us, the next read goes on behind the gap.
                if sys::errno() == libc::EPIPE {
                    continue;
                }
                return out;
            }
            if n == 0 {
                return out;
            }
            let text = String::from_utf8_lossy(&buf[..n as usize]);
            if let Some((head, msg)) = text.split_once(';') {
                let level = head.split(',').next().and_then(|word| word.parse().ok());
                let line = msg.lines().next().unwrap_or("").to_string();
                out.push((level.unwrap_or(0) & 7, line));
            }
        }
    }
}

/// KERN_WARNING: what matters less comes with a greater number.
const WARNING: u32 = 4;

/// The first warning of rext4 itself, or error: where nobody has damaged anything there is none.
/// What the race lab says of itself is about no file system.
pub fn complaint(records: &[(u32, String)]) -> Option<&String> {
    let own = |line: &str| line.starts_with("rext4: ") && !line.starts_with("rext4: lab: ");
    let mut all = records.iter();
    all.find(|(level, line)| *level <= WARNING && own(line))
        .map(|(_, line)| line)
}

/// The first line that reports a kernel defect.
pub fn defect(lines: &[String]) -> Option<&String> {
    lines
        .iter()
        .enumerate()
        .find(|(i, l)| {
            (BAD.iter().any(|b| l.contains(b)) || is_slubs(l))
                && !l.contains("EXT4-fs warning")
                && !is_umls_own(&lines[*i..])
        })
        .map(|(_, l)| l)
}

/// A report of SLUB names the cache: "BUG rext4_inode (Not tainted): Objects remaining".
fn is_slubs(line: &str) -> bool {
    let of = line
        .split_once("BUG ")
        .map(|(_, rest)| rest.split_once(" ("));
    matches!(of, Some(Some((cache, rest))) if !cache.contains(' ') && rest.contains("): "))
}

/// A report of User-Mode Linux about itself, whatever the file system: its flush_tlb_mm() walks
/// the VMAs without a lock. x86 has no function of that name in a trace.
fn is_umls_own(lines: &[String]) -> bool {
    let report = &lines[..lines.len().min(60)];
    let says = |what| report.iter().any(|l| l.contains(what));
    lines[0].contains("suspicious RCU usage")
        && says("lib/maple_tree.c")
        && says("Comm: ")
        && says("] ? flush_tlb_mm+")
}
