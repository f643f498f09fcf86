// SPDX-License-Identifier: GPL-2.0
//! EXT4_IOC_MOVE_EXT: two files exchange blocks.

use crate::sys::{Fd, Sys};

/// `struct move_extent`.
#[repr(C)]
struct MoveExtent {
    reserved: u32,
    donor_fd: u32,
    orig_start: u64,
    donor_start: u64,
    len: u64,
    moved_len: u64,
}

impl Fd {
    /// Exchanges `len` blocks at block `at.0` with those of the donor at block `at.1`. Returns how
    /// many it were, also if it failed then.
    pub fn exchange(&self, donor: &Fd, at: (u64, u64), len: u64) -> (u64, Sys<()>) {
        let mut what = MoveExtent {
            reserved: 0,
            donor_fd: donor.raw as u32,
            orig_start: at.0,
            donor_start: at.1,
            len,
            moved_len: u64::MAX,
        };
        // SAFETY: It reads and writes 40 bytes.
        let result = unsafe { self.ioctl(0xc028_660f, &mut what) };
        (what.moved_len, result.map(|_| ()))
    }

    /// As many blocks at the same place of both files, all of which have blocks there.
    pub fn exchange_all(&self, donor: &Fd, at: u64, len: u64) -> Sys<u64> {
        let (moved, result) = self.exchange(donor, (at, at), len);
        result.map(|()| moved)
    }
}
