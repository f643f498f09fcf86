// SPDX-License-Identifier: GPL-2.0
//! RWF_ATOMIC: a block that a power cut leaves as a whole. Needs a device that can; scsi_debug is
//! one.

use crate::cases::power::shutdown::with_scsi_debug;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, same, skip};

pub const CASES: &[Case] = &[
    Case::new("whole/refused", ONE, refused).quick(),
    Case::new("whole/writes", ALL, writes).quick(),
];

const RWF_ATOMIC: i32 = 0x40;
const STATX_WRITE_ATOMIC: u32 = 0x1_0000;
const ATTR_WRITE_ATOMIC: u64 = 0x40_0000;

/// What statx says of it: smallest and largest, segments; whether it is there, and known.
fn told(path: &str) -> Res<([u32; 3], bool, bool)> {
    let name = std::ffi::CString::new(path).expect("path");
    let mut st = [0u8; 256];
    // SAFETY: A path and memory for a statx.
    let r = unsafe {
        libc::syscall(
            libc::SYS_statx,
            libc::AT_FDCWD,
            name.as_ptr(),
            0,
            STATX_WRITE_ATOMIC | 0x7ff,
            st.as_mut_ptr(),
        )
    };
    same!(r, 0, "statx");
    let word = |at: usize| u32::from_le_bytes(st[at..at + 4].try_into().unwrap_or_default());
    let long = |at: usize| u64::from_le_bytes(st[at..at + 8].try_into().unwrap_or_default());
    ensure!(word(0) & STATX_WRITE_ATOMIC != 0, "not in the mask");
    let attribute = |at| long(at) & ATTR_WRITE_ATOMIC != 0;
    // stx_attributes, stx_attributes_mask, stx_atomic_write_unit_min and what follows.
    Ok((
        [word(0xa8), word(0xac), word(0xb0)],
        attribute(8),
        attribute(0x38),
    ))
}

/// pwritev2 with RWF_ATOMIC, in so many pieces; the error is 0 if all was written.
fn write(f: &Fd, data: &[u8], at: u64, pieces: usize) -> Res<i32> {
    let data = Aligned::of(data);
    let each = data.len() / pieces;
    let iov: Vec<libc::iovec> = data
        .chunks(each.max(1))
        .map(|part| libc::iovec {
            iov_base: part.as_ptr() as *mut _,
            iov_len: part.len(),
        })
        .collect();
    // SAFETY: Memory that lives during the call.
    let n = unsafe { libc::pwritev2(f.raw, iov.as_ptr(), iov.len() as i32, at as i64, RWF_ATOMIC) };
    if n < 0 {
        return Ok(sys::errno());
    }
    same!(n as usize, data.len(), "bytes written");
    Ok(0)
}

/// The device cannot: statx knows the question, and says no.
fn refused(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs() as usize;
    let f = put(&t.p("f"), 1, 4 * bs)?;
    f.fsync()?;
    let (units, has, known) = told(&t.p("f"))?;
    if units[0] != 0 {
        skip!("the device can do it");
    }
    same!((units, has, known), ([0; 3], false, true), "statx");
    let d = sys::direct(&t.p("f"))?;
    for f in [&f, &d] {
        same!(
            write(f, &pattern(2, 0, bs), 0, 1)?,
            libc::EOPNOTSUPP,
            "write"
        );
    }
    holds(&f, 0, &pattern(1, 0, 4 * bs), "after refused writes")
}

fn noise(on: bool) -> Res {
    let file = "/sys/bus/pseudo/drivers/scsi_debug/opts";
    Ok(sys::write_file(file, if on { "1" } else { "0" })?)
}

/// A block, over all there can be; nothing else.
fn writes(t: &mut T) -> Res {
    with_scsi_debug(t, &["dev_size_mb=64", "atomic_wr=1"], writes_on)
}

/// On a disk that can do it, which scsi_debug has made.
pub fn writes_on(t: &mut T) -> Res {
    t.mkfs(48, &[])?;
    t.mount("")?;
    let (bs, path) = (t.bs(), t.p("f"));
    let n = bs as usize;
    let f = put(&path, 1, 8 * n)?;
    f.punch(2 * bs, bs)?;
    f.fallocate(0, 8 * bs, 2 * bs)?;
    f.fsync()?;
    let unit = bs as u32;
    same!(
        told(&path)?,
        ([unit, unit, 1], true, true),
        "statx of {path}"
    );
    let d = sys::direct(&path)?;
    let mut want = pattern(1, 0, 8 * n);
    want[2 * n..3 * n].fill(0);
    want.resize(10 * n, 0);
    // Written, a hole, unwritten, at the end, far behind it.
    for (i, block) in [1u64, 2, 9, 10, 20].into_iter().enumerate() {
        let (at, data) = (block * bs, pattern(5 + i as u64, 0, n));
        t.forget_log();
        noise(true)?;
        let r = write(&d, &data, at, 1);
        noise(false)?;
        same!(r?, 0, "write of block {block}");
        ensure!(
            t.logged(&[&["cmd 9c"]]),
            "block {block}: not WRITE ATOMIC(16)"
        );
        want.resize(want.len().max(at as usize + n), 0);
        want[at as usize..][..n].copy_from_slice(&data);
    }
    same!(f.size()?, 21 * bs, "size");
    for (what, at, len, pieces) in [
        ("two blocks", 0, 2 * n, 1),
        ("half a block", 0, n / 2, 1),
        ("unaligned", 512, n, 1),
        ("in pieces", 0, n, 2),
    ] {
        let r = write(&d, &pattern(9, 0, len), at, pieces)?;
        same!(r, libc::EINVAL, "{what}");
    }
    let r = write(&f, &pattern(9, 0, n), 0, 1)?;
    same!(r, libc::EOPNOTSUPP, "buffered");
    if t.ours() {
        appended(t, &f)?;
        want.truncate(20 * n);
        want.resize(20 * n + 512, 0);
    }
    t.holds_both(&f, &want, "at the end")
}

/// O_APPEND puts the write into two blocks. The kernel's ext4 warns of those.
fn appended(t: &T, f: &Fd) -> Res {
    let bs = t.bs();
    let flags = libc::O_WRONLY | libc::O_DIRECT | libc::O_APPEND;
    let append = sys::open(&t.p("f"), flags, 0)?;
    // Both in one extent: iomap would not mind.
    f.truncate(20 * bs)?;
    f.fallocate(libc::FALLOC_FL_KEEP_SIZE, 20 * bs, 2 * bs)?;
    f.truncate(20 * bs + 512)?;
    let r = write(&append, &pattern(9, 0, bs as usize), 0, 1)?;
    same!(r, libc::EINVAL, "unaligned by O_APPEND");
    Ok(())
}
