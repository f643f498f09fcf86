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
            if let Some((_, msg)) = text.split_once(';') {
                out.push(msg.lines().next().unwrap_or("").to_string());
            }
        }
    }
}

/// The first line that reports a kernel defect.
pub fn defect(lines: &[String]) -> Option<&String> {
    lines
        .iter()
        .enumerate()
        .find(|(i, l)| {
            BAD.iter().any(|b| l.contains(b))
                && !l.contains("EXT4-fs warning")
                && !is_umls_own(&lines[*i..])
        })
        .map(|(_, l)| l)
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
