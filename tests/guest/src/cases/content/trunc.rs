// SPDX-License-Identifier: GPL-2.0
//! Truncate both ways: no old byte comes back, no block stays behind.

use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, BOTH_MAPS};
use crate::map::Map;
use crate::sys;
use crate::{ensure, same};

pub const CASES: &[Case] = &[
    Case::new("trunc/down_up", BOTH_MAPS, down_up).quick(),
    Case::new("trunc/stale_tail", BOTH_MAPS, stale_tail).quick(),
    Case::new("trunc/written_past_by_mmap", BOTH_MAPS, past_eof).quick(),
    Case::new("trunc/extend_after_partial", BOTH_MAPS, extend),
    Case::new("trunc/delalloc", BOTH_MAPS, delalloc),
    Case::new("trunc/unwritten", ALL, unwritten),
    Case::new("trunc/against_writers", BOTH_MAPS, against_writers),
    Case::new("trunc/frees_blocks", ALL, frees),
];

/// Down to n, caches dropped, up again: zeros from n on.
fn down_up(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    let len = 40 * bs + 123;
    let points = [
        0,
        1,
        100,
        bs - 1,
        bs,
        bs + 1,
        2 * bs,
        4095,
        4096,
        4097,
        5 * bs + 9,
        16 * bs,
        16384 + 1,
        39 * bs + bs / 2,
        40 * bs,
        40 * bs + 122,
        len,
    ];
    for (seed, n) in (0..).zip(points) {
        for synced in [true, false] {
            let f = put(&t.p("f"), seed, len)?;
            if synced {
                f.fsync()?;
            }
            f.truncate(n as u64)?;
            let what = format!("down to {n}, synced {synced}");
            same!(f.size()?, n as u64, "{what}: size");
            if synced {
                f.fsync()?;
                f.dontneed()?;
            }
            f.truncate(len as u64 + 5000)?;
            let want = cut(seed, n, len + 5000);
            holds(&f, 0, &want, &format!("{what}, cached"))?;
            f.fsync()?;
            f.dontneed()?;
            holds(&f, 0, &want, &format!("{what}, from disk"))?;
        }
    }
    let f = put(&t.p("g"), 1, len)?;
    f.truncate(777)?;
    drop(f);
    t.cycle()?;
    let f = sys::rdwr(&t.p("g"))?;
    f.truncate(100_000)?;
    holds(&f, 0, &cut(1, 777, 100_000), "grown after remount")?;
    Ok(())
}

/// What a file cut to `n` bytes holds when it has `len` again.
fn cut(seed: u64, n: usize, len: usize) -> Vec<u8> {
    let mut bytes = pattern(seed, 0, n);
    bytes.resize(len, 0);
    bytes
}

/// The rest of the last block is zero on the disk itself.
fn stale_tail(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    for k in [1, bs / 2, bs - 1] {
        let f = put(&t.p("f"), 9, 3 * bs)?;
        f.fsync()?;
        f.truncate((bs + k) as u64)?;
        f.fsync()?;
        t.drop_caches()?;
        // Seen by a mapping, which shows the whole page.
        let m = Map::shared(&f, 8192.max(2 * bs))?;
        let tail = m.read(bs + k, bs - k);
        ensure!(
            tail.iter().all(|b| *b == 0),
            "old bytes behind EOF in the mapping (k = {k})"
        );
        drop(m);
        // And seen by growing without touching the tail: a write far beyond.
        f.pwrite(b"z", 10 * bs as u64)?;
        let mut want = cut(9, bs + k, 10 * bs);
        want.push(b'z');
        t.drop_caches()?;
        holds(&f, 0, &want, &format!("grown by a write, k = {k}"))?;
    }
    Ok(())
}

/// Bytes a mapping stored behind EOF never become part of the file.
fn past_eof(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    for (way, size) in [
        ("truncate", 100),
        ("write", 100),
        ("truncate", 3000),
        ("write", bs + 5),
        ("fallocate", 77),
    ] {
        if way == "fallocate" && !t.extents() {
            continue;
        }
        for writeback in [false, true] {
            let f = put(&t.p("f"), 2, size)?;
            let m = Map::shared(&f, 4096)?;
            let room = 4096 - size.min(4095);
            if size < 4096 {
                m.write(size, &vec![0xAA; room]);
            }
            if writeback {
                f.fsync()?;
            }
            let mut want = cut(2, size, 20_000);
            match way {
                "truncate" => f.truncate(20_000)?,
                "fallocate" => f.fallocate(0, 0, 20_000)?,
                _ => {
                    f.pwrite(b"!", 19_999)?;
                    want[19_999] = b'!';
                }
            }
            holds(
                &f,
                0,
                &want,
                &format!("{way} from {size}, writeback {writeback}, cached"),
            )?;
            drop(m);
            f.fsync()?;
            t.drop_caches()?;
            holds(
                &f,
                0,
                &want,
                &format!("{way} from {size}, writeback {writeback}, from disk"),
            )?;
        }
    }
    Ok(())
}

/// A file that grows, by truncate or by a write beyond its end, has zeros in between.
fn extend(t: &mut T) -> Res {
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    let mut want = Vec::new();
    let mut r = fastrand::Rng::with_seed(8);
    for i in 0..200u64 {
        let n = r.usize(1..50_000);
        if r.bool() {
            f.truncate(n as u64)?;
            want.resize(n, 0);
        } else {
            let d = pattern(i, 0, n / 8);
            f.pwrite(&d, n as u64)?;
            want.resize(want.len().max(n + d.len()), 0);
            want[n..n + d.len()].copy_from_slice(&d);
        }
        if i % 10 == 0 {
            f.fsync()?;
            f.dontneed()?;
        }
        same!(f.size()?, want.len() as u64, "size at step {i}");
        holds(&f, 0, &want, &format!("step {i}"))?;
    }
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    Ok(())
}

/// Truncating data that was never written back returns its reservation.
fn delalloc(t: &mut T) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let f = sys::create(&t.p("f"))?;
    for i in 0..30u64 {
        f.pwrite(&pattern(i, 0, 100_000), 0)?;
        f.truncate(100_000 - i * 3000)?;
        f.truncate(5)?;
    }
    f.truncate(0)?;
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free blocks");
    same!(f.stat()?.st_blocks, 0, "st_blocks");
    Ok(())
}

/// A cut through preallocated space frees what is behind it, and the rest still reads as zeros.
fn unwritten(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, 50 * bs)?;
    f.pwrite(&pattern(1, 10 * bs, 300), 10 * bs)?;
    f.truncate(20 * bs + 7)?;
    same!(
        f.stat()?.st_blocks as u64 * 512 / bs,
        21,
        "blocks after truncate"
    );
    f.truncate(60 * bs)?;
    let mut want = vec![0; 60 * bs as usize];
    want[(10 * bs) as usize..(10 * bs) as usize + 300].copy_from_slice(&pattern(1, 10 * bs, 300));
    holds(&f, 0, &want, "cached")?;
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    // Blocks kept beyond EOF go with a truncate to the same size.
    let g = put(&t.p("g"), 1, 1000)?;
    g.fallocate(libc::FALLOC_FL_KEEP_SIZE, 0, 30 * bs)?;
    same!(g.size()?, 1000, "size with blocks kept beyond EOF");
    g.truncate(1000)?;
    let left = g.stat()?.st_blocks as u64 * 512 / bs;
    ensure!(
        left <= 1.max(1024 / bs),
        "{left} blocks left of those beyond EOF"
    );
    Ok(())
}

/// A writer, a reader and a truncating thread: no byte that nobody wrote.
fn against_writers(t: &mut T) -> Res {
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    let want = pattern(3, 0, 200_000);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let stop = &stop;
    let halt = || stop.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|s| -> Res {
        let (f, want) = (&f, &want);
        let w = s.spawn(move || -> Res {
            let mut r = fastrand::Rng::with_seed(1);
            while !halt() {
                let off = r.usize(..190_000);
                let n = r.usize(1..10_000);
                f.pwrite(&want[off..off + n], off as u64)?;
            }
            Ok(())
        });
        let c = s.spawn(move || -> Res {
            let mut r = fastrand::Rng::with_seed(2);
            while !halt() {
                f.truncate(r.u64(..200_000))?;
                f.sync_range(0, 0)?;
            }
            Ok(())
        });
        let rd = s.spawn(move || -> Res {
            let mut b = vec![0; 200_000];
            while !halt() {
                let n = f.pread(&mut b, 0)?;
                let bad = (0..n).find(|i| b[*i] != 0 && b[*i] != want[*i]);
                ensure!(bad.is_none(), "byte {:?} was never written there", bad);
            }
            Ok(())
        });
        std::thread::sleep(std::time::Duration::from_millis(1500));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for h in [w, c, rd] {
            h.join()
                .map_err(|_| crate::harness::Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    Ok(())
}

/// Blocks behind a cut are free when it is synced, to the last one.
fn frees(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let f = put(&t.p("f"), 1, 8 << 20)?;
    f.fsync()?;
    for n in [7 << 20, (5 << 20) + 1, 3 * bs + 1, 1, 0] {
        f.truncate(n)?;
        let want = n.div_ceil(bs);
        same!(
            f.stat()?.st_blocks as u64 * 512 / bs,
            want,
            "st_blocks at size {n}"
        );
        f.fsync()?;
        same!(
            free - sys::statfs(&t.p(""))?.f_bfree,
            want,
            "blocks used at size {n}"
        );
    }
    Ok(())
}
