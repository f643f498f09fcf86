// SPDX-License-Identifier: GPL-2.0
//! Ways of writing: with the flags of pwritev2(2), and at the end of the file.

use crate::sys::{self, Fd, Sys};

impl Fd {
    /// One pwritev2(2) with flags (`libc::RWF_DSYNC`, ...).
    pub fn pwrite_with(&self, buf: &[u8], off: u64, flags: i32) -> Sys<usize> {
        let part = libc::iovec {
            iov_base: buf.as_ptr().cast_mut().cast(),
            iov_len: buf.len(),
        };
        // SAFETY: one part, which is valid for its length and is not written to.
        let n = unsafe { libc::pwritev2(self.raw, &part, 1, off as i64, flags) };
        self.told(n as i64, "pwritev2")
    }

    /// One write(2) of a file that was opened with O_APPEND: how much, and where that has begun.
    pub fn append_once(&self, buf: &[u8]) -> Sys<(usize, u64)> {
        let n = self.write(buf)?;
        let end = self.seek(0, libc::SEEK_CUR)? as u64;
        Ok((n, end - n as u64))
    }

    fn told(&self, n: i64, call: &str) -> Sys<usize> {
        usize::try_from(n).map_err(|_| sys::SysErr {
            what: format!("{call} {}", self.name),
            errno: sys::errno(),
        })
    }
}
