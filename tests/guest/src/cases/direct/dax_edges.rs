// SPDX-License-Identifier: GPL-2.0
//! Directly accessed files at the edges of what goes and of what comes: a page that a truncate
//! cuts, pages that are mapped as one, an append that ends early.

use crate::cases::direct::dax::{fresh, Events, MIB, PAGE};
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, ONE};
use crate::map::{sigbus_taken, Map};
use crate::sys::{self, Fd};
use crate::{ensure, same, skip};
use std::sync::atomic::{AtomicUsize, Ordering};

pub const CASES: &[Case] = &[
    Case::new("dax/huge_beside", ONE, huge_beside).quick(),
    Case::new("dax/short_append", ONE, short_append).quick(),
    Case::new("dax/flush_cut", ONE, flush_cut).quick(),
    Case::new("dax/load_beside", ONE, load_beside).quick(),
    Case::new("dax/poison", ONE, poison).quick(),
];

/// Two MiB of a file are mapped as one, and a page of them once more by itself. A hole elsewhere
/// in the two MiB takes both mappings back: what is stored to the page later is written back.
fn huge_beside(t: &mut T) -> Res {
    fresh(t, 128, "dax=always")?;
    let len = 2 * MIB;
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, 4 * MIB as u64)?;
    let all = Map::huge(&f, len)?;
    let one = Map::shared(&f, 4 * PAGE)?;
    let mut want = pattern(1, 0, len);
    let events = Events::new("dax_pmd_fault_done")?;
    all.write(0, &want);
    let told = events.end()?;
    if !told.contains("NOPAGE") {
        ensure!(!t.ours(), "no PMD: {told}");
        skip!("the kernel's ext4 does not have the file at a multiple of 2 MiB");
    }
    one.set(3 * PAGE, 5);
    f.punch(10 * PAGE as u64, PAGE as u64)?;
    want[3 * PAGE] = 6;
    want[10 * PAGE..11 * PAGE].fill(0);
    one.set(3 * PAGE, 6);
    let events = Events::new("dax_writeback_one")?;
    f.fsync()?;
    let told = events.end()?;
    ensure!(
        told.contains("pgoff 0x3 "),
        "page 3 was not written back: {told}"
    );
    same!(diff_at(&all.read(0, len), &want), None, "mapped");
    holds(&f, 0, &want, "read")?;
    drop((one, all));
    t.cycle_with(f)?;
    t.file_holds("f", &pad(want, 4 * MIB), "mounted again")?;
    sys::unlink(&t.p("f"))?;
    Ok(())
}

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

/// Loads of pages of a hole while write(2) fills it. A page that a load has found filled stays
/// known as one that is mapped, or the kernel warns; and what was a hole shows what is written.
fn load_beside(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 drops what is mapped (7.3: a warning of dax_folio_put())");
    }
    fresh(t, 128, "dax=always")?;
    let chunks = 32;
    let f = sys::create(&t.p("f"))?;
    f.truncate((chunks * MIB) as u64)?;
    let (prot, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // Too small for a PMD, so each page is a fault of its own.
    let maps: sys::Sys<Vec<Map>> = (0..chunks)
        .map(|i| Map::new(&f, (i * MIB) as u64, MIB, prot, shared))
        .collect();
    let maps = maps?;
    let now = AtomicUsize::new(0);
    std::thread::scope(|s| {
        s.spawn(|| loop {
            let i = now.load(Ordering::SeqCst);
            let Some(map) = maps.get(i) else { break };
            for page in 0..MIB / PAGE {
                map.get(page * PAGE);
            }
            while now.load(Ordering::SeqCst) == i {
                std::thread::yield_now();
            }
        });
        let written = (0..chunks).try_for_each(|i| {
            now.store(i, Ordering::SeqCst);
            let x = pattern(i as u64 + 1, 0, MIB);
            f.pwrite(&x, (i * MIB) as u64)?;
            same!(diff_at(&maps[i].read(0, MIB), &x), None, "mapped, {i}");
            Ok(())
        });
        now.store(chunks, Ordering::SeqCst);
        written
    })?;
    drop(maps);
    f.fsync()?;
    for i in 0..chunks {
        let x = pattern(i as u64 + 1, 0, MIB);
        holds(&f, (i * MIB) as u64, &x, "read")?;
    }
    Ok(())
}

/// A page of the memory fails: who has it mapped is told by SIGBUS, also where its block was made
/// by a write(2) beside loads.
fn poison(t: &mut T) -> Res {
    const MADV_HWPOISON: i32 = 100;
    fresh(t, 64, "dax=always")?;
    let f = sys::create(&t.p("f"))?;
    f.truncate(4 * PAGE as u64)?;
    let map = Map::shared(&f, 4 * PAGE)?;
    let before = map.get(PAGE);
    f.pwrite(&pattern(1, 0, 4 * PAGE), 0)?;
    same!(
        (before, map.get(PAGE)),
        (0, pattern(1, PAGE as u64, 1)[0]),
        "mapped"
    );
    sigbus_taken();
    // SAFETY: a page of our own mapping; the handler puts another one there.
    let r = unsafe { libc::madvise(map.addr().add(PAGE).cast(), PAGE, MADV_HWPOISON) };
    if r < 0 {
        skip!("no memory errors to be had: {}", sys::errname(sys::errno()));
    }
    ensure!(sigbus_taken() > 0, "nobody was told");
    same!(map.get(0), pattern(1, 0, 1)[0], "the page beside it");
    Ok(())
}
