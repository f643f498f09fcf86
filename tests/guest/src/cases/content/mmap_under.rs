// SPDX-License-Identifier: GPL-2.0
//! Mappings whose file changes under them, or is written from them.

use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL};
use crate::map::Map;
use crate::sys::{self};
use crate::{ensure, same};

pub const CASES: &[Case] = &[
    Case::new("mmap/truncate_under", ALL, truncate_under),
    Case::new("mmap/punch_under", ALL, punch_under).quick(),
    Case::new("mmap/untouched_hole", ALL, untouched_hole).quick(),
    Case::new("mmap/self_copy", ALL, self_copy).quick(),
    Case::new("mmap/cross_copy", ALL, cross_copy),
    Case::new("mmap/parallel_faults", ALL, parallel),
];

/// A mapping over a cut shows the bytes before it, and zeros where the file grows again.
fn truncate_under(t: &mut T) -> Res {
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    for i in 0..40u64 {
        let n = 20_000 + (i as usize * 7919) % 60_000;
        f.pwrite(&pattern(i, 0, n), 0)?;
        f.truncate(n as u64)?;
        let m = Map::shared(&f, 100_000)?;
        m.write(0, &pattern(i + 100, 0, n));
        let cut = n / 3;
        f.truncate(cut as u64)?;
        f.truncate(90_000)?;
        let mut want = pattern(i + 100, 0, cut);
        want.resize(90_000, 0);
        let got = m.read(0, 90_000);
        let bad = diff_at(&got, &want);
        ensure!(
            bad.is_none(),
            "mapping after cut to {cut}: {}",
            bad.unwrap_or_default()
        );
        holds(&f, 0, &want, "after cut")?;
        if i % 4 == 0 {
            drop(m);
            t.drop_caches()?;
            holds(&f, 0, &want, "after cut, from disk")?;
        }
    }
    Ok(())
}

/// A store near the end dirties the whole page. Where the file grows over it, and nobody has
/// stored, it stays a hole; zeros that somebody wrote take blocks.
fn untouched_hole(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 100)?;
    let m = Map::shared(&f, 100)?;
    m.write(0, b"y");
    f.truncate(8192)?;
    f.fsync()?;
    same!(
        f.stat()?.st_blocks as u64,
        bs / 512,
        "sectors, one block stored to"
    );
    f.pwrite(&[0; 4096], 4096)?;
    f.fsync()?;
    let sectors = bs / 512 + 8;
    same!(
        f.stat()?.st_blocks as u64,
        sectors,
        "sectors, zeros written"
    );
    let mut want = pattern(1, 0, 100);
    want[0] = b'y';
    want.resize(8192, 0);
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "with a hole")
}

/// A mapping over a punch shows zeros there and everything else as it was.
fn punch_under(t: &mut T) -> Res {
    t.fresh()?;
    let len = 300_000;
    let f = put(&t.p("f"), 1, len)?;
    let mut want = pattern(1, 0, len);
    let m = Map::shared(&f, len)?;
    let mut r = fastrand::Rng::with_seed(6);
    for i in 0..60u64 {
        let o = r.usize(..len - 1);
        let n = r.usize(1..30_000).min(len - o);
        m.write(o, &pattern(i, 0, n));
        want[o..o + n].copy_from_slice(&pattern(i, 0, n));
        let o = r.usize(..len - 1);
        let n = r.usize(1..30_000).min(len - o);
        f.punch(o as u64, n as u64)?;
        want[o..o + n].fill(0);
        let bad = diff_at(&m.read(0, len), &want);
        ensure!(
            bad.is_none(),
            "mapping after punch {o}+{n}: {}",
            bad.unwrap_or_default()
        );
        if i % 10 == 5 {
            m.msync()?;
        }
    }
    holds(&f, 0, &want, "buffered")?;
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    Ok(())
}

/// write() and direct write() whose buffer is a mapping of the same file.
fn self_copy(t: &mut T) -> Res {
    t.fresh()?;
    let len = 256 * 1024;
    let path = t.p("f");
    let f = put(&path, 1, len)?;
    let d = sys::direct(&path)?;
    let m = Map::shared(&f, len)?;
    let mut want = pattern(1, 0, len);
    for (i, (from, to, n)) in [
        (0, 131_072, 65_536),
        (8192, 0, 4096),
        (4096, 200_704, 8192),
        (0, 65_536, 65_536),
    ]
    .iter()
    .enumerate()
    {
        for (way, fd) in [("buffered", &f), ("direct", &d)] {
            for dropped in [false, true] {
                let x = pattern(i as u64 + 9, 7, *n);
                f.pwrite(&x, *from as u64)?;
                want[*from..from + n].copy_from_slice(&x);
                if dropped {
                    f.fsync()?;
                    f.dontneed()?;
                }
                fd.pwrite(m.as_slice(*from, *n), *to as u64)?;
                want.copy_within(*from..from + n, *to);
                let bad = diff_at(&m.read(0, len), &want);
                ensure!(
                    bad.is_none(),
                    "{way} {from}->{to}+{n}, dropped {dropped}, mapped: {}",
                    bad.unwrap_or_default()
                );
                holds(
                    &f,
                    0,
                    &want,
                    &format!("{way} {from}->{to}+{n}, dropped {dropped}"),
                )?;
            }
        }
    }
    // Reading into a mapping of the same file.
    for (way, fd) in [("buffered", &f), ("direct", &d)] {
        let n = fd.pread_once(m.as_mut_slice(16_384, 8192), 131_072)?;
        same!(n, 8192, "{way} read into a mapping of the file");
        want.copy_within(131_072..139_264, 16_384);
        holds(&f, 0, &want, &format!("{way} read into its own mapping"))?;
    }
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    Ok(())
}

/// Two files written from each other's mappings by two threads make progress.
fn cross_copy(t: &mut T) -> Res {
    t.fresh()?;
    let len = 128 * 1024;
    let (a, b) = (put(&t.p("a"), 1, len)?, put(&t.p("b"), 2, len)?);
    let (da, db) = (sys::direct(&t.p("a"))?, sys::direct(&t.p("b"))?);
    let (ma, mb) = (Map::shared(&a, len)?, Map::shared(&b, len)?);
    std::thread::scope(|s| -> Res {
        let x = s.spawn(|| -> Res {
            for i in 0..200 {
                let fd = if i % 2 == 0 { &da } else { &a };
                b.dontneed()?;
                fd.pwrite(mb.as_slice((i % 8) * 8192, 8192), (i as u64 % 8) * 8192)?;
            }
            Ok(())
        });
        let y = s.spawn(|| -> Res {
            for i in 0..200 {
                let fd = if i % 2 == 0 { &db } else { &b };
                a.dontneed()?;
                fd.pwrite(ma.as_slice((i % 8) * 8192, 8192), (i as u64 % 8) * 8192)?;
            }
            Ok(())
        });
        for h in [x, y] {
            h.join().map_err(|_| Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    // Every block is one of the two origins.
    let (pa, pb) = (pattern(1, 0, len), pattern(2, 0, len));
    for (f, m) in [(&a, &ma), (&b, &mb)] {
        let mut got = vec![0; len];
        f.pread(&mut got, 0)?;
        ensure!(got == m.read(0, len), "mapping and file differ");
        for i in (0..len).step_by(8192) {
            let g = &got[i..i + 8192];
            ensure!(
                g == &pa[i..i + 8192] || g == &pb[i..i + 8192],
                "block {i} of {} is mixed",
                f.name
            );
        }
    }
    Ok(())
}

/// Threads store into one mapping, others read, while it is synced and evicted.
fn parallel(t: &mut T) -> Res {
    t.fresh()?;
    let len = 512 * 1024;
    let f = sys::create(&t.p("f"))?;
    f.truncate(len as u64)?;
    let m = Map::shared(&f, len)?;
    std::thread::scope(|s| -> Res {
        let hs: Vec<_> = (0..4usize)
            .map(|k| {
                let (f, m) = (&f, &m);
                s.spawn(move || -> Res {
                    for i in 0..2000usize {
                        // Words of different threads share pages.
                        let o = (i * 97 % 8192) * 64 + k * 8;
                        m.write(o, &((i << 8 | k) as u64 + 1).to_le_bytes());
                        if m.read(o, 8) != ((i << 8 | k) as u64 + 1).to_le_bytes() {
                            crate::fail!("thread {k} lost its store {i}");
                        }
                        if i % 300 == 100 * k {
                            f.sync_range(0, 0)?;
                            f.dontneed()?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for h in hs {
            h.join().map_err(|_| Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    let want = m.read(0, len);
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    for k in 0..4usize {
        let i = 1999usize;
        let o = (i * 97 % 8192) * 64 + k * 8;
        ensure!(
            want[o..o + 8] == ((i << 8 | k) as u64 + 1).to_le_bytes(),
            "last store of thread {k}"
        );
    }
    Ok(())
}
