// SPDX-License-Identifier: GPL-2.0
//! io_uring, one request at a time.

use crate::sys::{Fd, Sys, SysErr};
use io_uring::{opcode, squeue, types, IoUring};

pub struct Ring(IoUring);

fn failed(what: &str, errno: i32) -> SysErr {
    SysErr {
        what: what.to_string(),
        errno,
    }
}

impl Ring {
    pub fn new() -> Sys<Ring> {
        let ring = IoUring::new(1);
        let failed = |e: std::io::Error| failed("io_uring", e.raw_os_error().unwrap_or(0));
        ring.map(Ring).map_err(failed)
    }

    /// One that polls for its requests, of which the device tells nobody.
    pub fn polled() -> Sys<Ring> {
        let ring = IoUring::builder().setup_iopoll().build(1);
        let failed = |e: std::io::Error| failed("io_uring", e.raw_os_error().unwrap_or(0));
        ring.map(Ring).map_err(failed)
    }

    /// Writes at `off`, and waits for it.
    pub fn write(&mut self, f: &Fd, buf: &[u8], off: u64) -> Sys<usize> {
        let write = opcode::Write::new(types::Fd(f.raw), buf.as_ptr(), buf.len() as u32);
        self.run(&write.offset(off).build())
    }

    /// Reads at `off`, and waits for it.
    pub fn read(&mut self, f: &Fd, buf: &mut [u8], off: u64) -> Sys<usize> {
        let read = opcode::Read::new(types::Fd(f.raw), buf.as_mut_ptr(), buf.len() as u32);
        self.run(&read.offset(off).build())
    }

    /// The buffer outlives the request, which is over when this returns.
    fn run(&mut self, request: &squeue::Entry) -> Sys<usize> {
        // SAFETY: file and buffer are there until the request is over: see below.
        let pushed = unsafe { self.0.submission().push(request) };
        pushed.map_err(|_| failed("io_uring: queue full", 0))?;
        loop {
            let sent = self.0.submit_and_wait(1);
            if let Some(end) = self.0.completion().next() {
                return usize::try_from(end.result())
                    .map_err(|_| failed("io_uring", -end.result()));
            }
            // It may still be under way: whoever frees the buffer now loses it to the kernel.
            match sent.map_err(|e| e.raw_os_error().unwrap_or(0)) {
                Ok(_) | Err(libc::EINTR | libc::EAGAIN | libc::EBUSY) => (),
                Err(e) => panic!("io_uring_enter: {e}"),
            }
        }
    }
}
