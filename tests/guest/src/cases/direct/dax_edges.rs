// SPDX-License-Identifier: GPL-2.0
//! Directly accessed files at the edges of what goes and of what comes: a page that a truncate
//! cuts, an append that ends early.

use crate::cases::direct::dax::{fresh, Events, PAGE};
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ONE};
use crate::map::Map;
use crate::sys::Fd;
use crate::{ensure, same, skip};

pub const CASES: &[Case] = &[
    Case::new("dax/short_append", ONE, short_append).quick(),
    Case::new("dax/flush_cut", ONE, flush_cut).quick(),
];

/// With zeros up to this length.
fn pad(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    bytes.resize(len, 0);
    bytes
}

/// Writes these bytes and, with the same call, as many that cannot be read. Returns what it does.
fn torn(f: &Fd, good: &[u8], at: u64) -> Res<isize> {
    let bad = Map::new(
        f,
        0,
        PAGE,
        libc::PROT_NONE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    let iov = [
        libc::iovec {
            iov_base: good.as_ptr().cast_mut().cast(),
            iov_len: good.len(),
        },
        libc::iovec {
            iov_base: bad.addr().cast(),
            iov_len: PAGE,
        },
    ];
    // SAFETY: Two valid iovecs; the second is of memory that cannot be read.
    Ok(unsafe { libc::pwritev(f.raw, iov.as_ptr(), 2, at as i64) })
}

/// An append of which a part cannot be read: what it says it has written is there, to the byte, in
/// the block of the old end, at the start of a block, and behind a gap.
fn short_append(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    for (i, (size, at, n)) in [
        (0, 0, 2000),
        (0, 0, PAGE + 5),
        (1000, 1000, 2000),
        (PAGE, PAGE, 1),
        (PAGE, PAGE, 2 * PAGE + 100),
        (1000, 2 * PAGE + 300, 700),
        (3 * PAGE, 5 * PAGE, 4000),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("f{i}");
        let f = put(&t.p(&name), 1, size)?;
        let x = pattern(2, at as u64, n);
        same!(torn(&f, &x, at as u64)?, n as isize, "written, {name}");
        let mut want = pad(pattern(1, 0, size), at);
        want.extend(&x);
        same!(f.size()?, want.len() as u64, "size of {name}");
        holds(&f, 0, &want, &name)?;
        // The rest of the block is zeros, too.
        f.truncate(at as u64 + 4 * PAGE as u64)?;
        let want = pad(want, at + 4 * PAGE);
        holds(&f, 0, &want, &format!("{name} grown"))?;
        t.cycle_with(f)?;
        t.file_holds(&name, &want, "mounted again")?;
    }
    Ok(())
}

/// What a mapping has stored before the new end is written back, though the page is one that the
/// truncate cuts.
fn flush_cut(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 forgets what is dirty in all of the file (7.3)");
    }
    fresh(t, 64, "dax=always")?;
    let f = put(&t.p("f"), 1, 4 * PAGE)?;
    f.fsync()?;
    let map = Map::shared(&f, 4 * PAGE)?;
    map.set(PAGE + 100, 1);
    let events = Events::new("dax_writeback_one")?;
    f.truncate(PAGE as u64 + 1000)?;
    f.fsync()?;
    let told = events.end()?;
    ensure!(
        told.contains("pgoff 0x1 "),
        "page 1 was not written back: {told}"
    );
    let mut want = pattern(1, 0, PAGE + 1000);
    want[PAGE + 100] = 1;
    holds(&f, 0, &want, "read")
}
