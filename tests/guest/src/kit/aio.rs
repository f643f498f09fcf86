// SPDX-License-Identifier: GPL-2.0
//! libaio's system calls, without libaio.

use crate::sys::{errno, Fd, Sys, SysErr};

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    reqprio: i16,
    fildes: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved2: u64,
    flags: u32,
    resfd: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

#[derive(Clone, Copy)]
pub enum Op {
    Read = 0,
    Write = 1,
}

pub struct Aio {
    ctx: u64,
    room: usize,
}

fn fail<T>(what: &str) -> Sys<T> {
    Err(SysErr {
        what: what.to_string(),
        errno: errno(),
    })
}

impl Aio {
    pub fn new(n: usize) -> Sys<Aio> {
        let mut ctx = 0u64;
        // SAFETY: a valid place for the context.
        let r = unsafe { libc::syscall(libc::SYS_io_setup, n, &mut ctx) };
        if r < 0 {
            return fail("io_setup");
        }
        Ok(Aio { ctx, room: n })
    }

    /// The caller keeps `buf` alive and untouched until the request was waited for.
    pub fn submit(&mut self, f: &Fd, op: Op, buf: &mut [u8], off: u64, tag: u64) -> Sys<()> {
        let cb = Iocb {
            data: tag,
            opcode: op as u16,
            fildes: f.raw as u32,
            buf: buf.as_mut_ptr() as u64,
            nbytes: buf.len() as u64,
            offset: off as i64,
            ..Iocb::default()
        };
        let list = [&cb as *const Iocb];
        // SAFETY: one valid iocb, which the kernel copies.
        let r = unsafe { libc::syscall(libc::SYS_io_submit, self.ctx, 1, list.as_ptr()) };
        if r != 1 {
            return fail("io_submit");
        }
        Ok(())
    }

    /// Waits for `n` requests; (tag, result).
    pub fn wait(&mut self, n: usize) -> Sys<Vec<(u64, i64)>> {
        let mut out = Vec::new();
        while out.len() < n {
            let mut ev = vec![Event::default(); self.room];
            let want = (n - out.len()).min(self.room);
            // SAFETY: room for the events.
            let r = unsafe {
                libc::syscall(
                    libc::SYS_io_getevents,
                    self.ctx,
                    1,
                    want,
                    ev.as_mut_ptr(),
                    0,
                )
            };
            if r < 0 {
                return fail("io_getevents");
            }
            out.extend(ev.iter().take(r as usize).map(|e| (e.data, e.res)));
        }
        Ok(out)
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: our own context; waits for what is in flight.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.ctx) };
    }
}
