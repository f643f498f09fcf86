// SPDX-License-Identifier: GPL-2.0
//! Where gated direct writes take their bytes from: mappings of files under the gate, memory that
//! is not there, more memory than is pinned at once.

use crate::aio::{Aio, Op};
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, ONE};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("gate/from_own_mapping", ALL, own).quick(),
    Case::new("gate/from_each_other", ALL, each_other).quick(),
    Case::new("gate/missing_memory", ALL, missing).quick(),
    Case::new("gate/large", ONE, large).secs(120),
    Case::new("gate/large_pieces", ALL, pieces).secs(120),
    Case::new("gate/large_append", ONE, append).secs(120),
];

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

fn fresh(t: &mut T, mb: u64) -> Res {
    crate::cases::direct::gate::ours(t)?;
    t.mkfs(mb, &[])?;
    t.mount("dio_gate")
}

/// The source is the file itself, elsewhere or overlapping the target.
fn own(t: &mut T) -> Res {
    fresh(t, 64)?;
    let len = MIB;
    let f = put(&t.p("f"), 1, len)?;
    let d = sys::direct(&t.p("f"))?;
    let mut want = pattern(1, 0, len);
    let m = Map::shared(&f, len)?;
    let n = 64 * PAGE;
    for (from, to) in [(0, 512 * 1024), (0, PAGE), (2 * PAGE, 0), (PAGE, PAGE)] {
        for cached in [true, false] {
            if !cached {
                f.fsync()?;
                t.drop_caches()?;
            }
            // A dirty page in the target and one in the source.
            m.set(to + 5 * PAGE, 0x11);
            m.set(from + 9 * PAGE, 0x22);
            want[to + 5 * PAGE] = 0x11;
            want[from + 9 * PAGE] = 0x22;
            same!(d.pwrite_once(m.as_slice(from, n), to as u64)?, n, "written");
            want.copy_within(from..from + n, to);
            holds(&f, 0, &want, &format!("{from} to {to}, cached {cached}"))?;
        }
    }
    // The same asynchronously, several at once.
    let mut aio = Aio::new(8)?;
    for i in 0..8 {
        let from = m.as_mut_slice((8 + i) * 16 * PAGE, 8 * PAGE);
        aio.submit(&d, Op::Write, from, (i * 16 * PAGE) as u64, i as u64)?;
    }
    for (tag, res) in aio.wait(8)? {
        same!(res, 8 * PAGE as i64, "request {tag}");
    }
    for i in 0..8 {
        let from = (8 + i) * 16 * PAGE;
        want.copy_within(from..from + 8 * PAGE, i * 16 * PAGE);
    }
    same!(diff_at(&m.read(0, len), &want), None, "mapped");
    f.fsync()?;
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "on disk")?;
    Ok(())
}

/// Two files, each written from a mapping of the other: no deadlock.
fn each_other(t: &mut T) -> Res {
    fresh(t, 64)?;
    let len = 128 * PAGE;
    let (a, b) = (put(&t.p("a"), 1, len)?, put(&t.p("b"), 1, len)?);
    let (da, db) = (sys::direct(&t.p("a"))?, sys::direct(&t.p("b"))?);
    let (ma, mb) = (Map::shared(&a, len)?, Map::shared(&b, len)?);
    std::thread::scope(|s| -> Res {
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let (d, m, f) = match i % 2 {
                    0 => (&da, &mb, &b),
                    _ => (&db, &ma, &a),
                };
                s.spawn(move || -> Res {
                    let mut r = fastrand::Rng::with_seed(i);
                    for k in 0..150 {
                        let n = r.usize(1..32) * PAGE;
                        let at = r.usize(..=(len - n) / PAGE) * PAGE;
                        same!(d.pwrite_once(m.as_slice(at, n), at as u64)?, n, "written");
                        if k % 8 == 0 {
                            f.fsync()?;
                            f.dontneed()?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for h in threads {
            h.join().map_err(|_| Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    // Both had the same bytes, and only those went to and fro.
    let want = pattern(1, 0, len);
    holds(&a, 0, &want, "a")?;
    holds(&b, 0, &want, "b")?;
    a.fsync()?;
    b.fsync()?;
    drop((ma, mb));
    t.drop_caches()?;
    holds(&a, 0, &want, "a on disk")?;
    holds(&b, 0, &want, "b on disk")?;
    Ok(())
}

/// A file under the gate, open for the page cache and for direct I/O, and its block size.
struct Target {
    f: Fd,
    d: Fd,
    bs: usize,
}

/// Memory that holds `new` from `start` on, but cannot be read from `good` on.
struct Torn {
    map: Map,
    start: usize,
    good: usize,
    new: Vec<u8>,
}

impl Torn {
    fn new(good: usize, n: usize, start: usize) -> Res<Torn> {
        let map = Map::anonymous(n + PAGE)?;
        let new = pattern(good as u64 + 7, start as u64, n);
        map.write(start, &new);
        // Not unmapped: something else could be mapped there.
        // SAFETY: the tail of our own mapping, which is not looked at any more.
        let r = unsafe {
            let tail = map.addr().add(good).cast();
            libc::mprotect(tail, n + PAGE - good, libc::PROT_NONE)
        };
        same!(r, 0, "mprotect");
        Ok(Torn {
            map,
            start,
            good,
            new,
        })
    }

    /// How many of the bytes of `new` can be read.
    fn there(&self) -> usize {
        self.good.saturating_sub(self.start)
    }

    fn what(&self, off: u64) -> String {
        let (good, n, start) = (self.good, self.new.len(), self.start);
        format!("{good} of {n} bytes there, from {start}, at {off}")
    }

    /// One call writes at most what is there, or fails and writes nothing that counts: the bytes
    /// reported are new, the rest is old or new sector by sector.
    fn pwrite(&self, to: &Target, off: u64) -> Res {
        let (n, what) = (self.new.len(), self.what(off));
        let (mut old, mut got) = (vec![0; n], vec![0; n]);
        to.f.pread(&mut old, off)?;
        let k = match to.d.pwrite_once(self.map.as_slice(self.start, n), off) {
            Ok(k) => k,
            Err(e) if e.errno == libc::EINVAL && self.start % to.bs != 0 => return Ok(()),
            Err(e) => {
                same!(e.errno, libc::EFAULT, "{what}");
                0
            }
        };
        ensure!(k <= self.there(), "{what}: wrote {k}");
        to.f.pread(&mut got, off)?;
        ensure!(
            got[..k] == self.new[..k],
            "{what}: the {k} bytes reported are not there"
        );
        for i in (k..n).step_by(512) {
            let r = i..(i + 512).min(n);
            let now = &got[r.clone()];
            ensure!(
                *now == old[r.clone()] || *now == self.new[r],
                "{what}: garbage at {i}"
            );
        }
        Ok(())
    }

    /// The same by libaio: as many bytes at most.
    fn submit(&self, to: &Target, off: u64) -> Res {
        let (n, what) = (self.new.len(), self.what(off));
        let mut aio = Aio::new(1)?;
        match aio.submit(
            &to.d,
            Op::Write,
            self.map.as_mut_slice(self.start, n),
            off,
            0,
        ) {
            Ok(()) => {
                let (_, res) = aio.wait(1)?[0];
                ensure!(res <= self.there() as i64, "{what}: libaio wrote {res}");
            }
            Err(e) => ensure!(
                [libc::EFAULT, libc::EINVAL].contains(&e.errno),
                "{what}: {e}"
            ),
        }
        Ok(())
    }
}

/// Memory that cannot be read, in whole or from somewhere on: EFAULT, or a short write.
fn missing(t: &mut T) -> Res {
    fresh(t, 64)?;
    let len = 16 * MIB;
    let f = put(&t.p("f"), 1, len)?;
    f.fsync()?;
    let d = sys::direct(&t.p("f"))?;
    let bs = t.var.bs;
    let to = Target { f, d, bs };
    for (good, n) in [
        (0, 16 * PAGE),
        (5 * PAGE, 16 * PAGE),
        (PAGE, 2 * PAGE),
        (6 * MIB, 10 * MIB),
        (4 * MIB, 5 * MIB),
    ] {
        for start in [0, 512] {
            let torn = Torn::new(good, n, start)?;
            for off in [0, MIB as u64] {
                torn.pwrite(&to, off)?;
                torn.submit(&to, off)?;
            }
        }
    }
    let Target { f, d, .. } = to;
    same!(f.size()?, len as u64, "size");
    // Beyond the end: the size covers what is reported and no more.
    let zero = sys::rdwr("/dev/zero")?;
    let m = Map::new(&zero, 0, 16 * PAGE, libc::PROT_NONE, libc::MAP_PRIVATE)?;
    errno!(d.pwrite_once(m.as_slice(0, 16 * PAGE), len as u64), EFAULT);
    same!(f.size()?, len as u64, "size after EFAULT beyond the end");
    let b = Aligned::of(&pattern(3, 0, PAGE));
    d.pwrite(&b, 0)?;
    holds(&f, 0, &b, "afterwards")?;
    Ok(())
}

/// One call writes more than is pinned at once.
fn large(t: &mut T) -> Res {
    fresh(t, 128)?;
    let len = 24 * MIB;
    let d = sys::direct(&t.p("f"))?;
    let f = sys::rdonly(&t.p("f"))?;
    let x = pattern(1, 0, len);
    let mut b = Aligned::of(&x);
    same!(d.pwrite_once(&b, 0)?, len, "24 MiB into a new file");
    holds(&f, 0, &x, "appended")?;
    let x = pattern(2, 0, len);
    b.copy_from_slice(&x);
    same!(d.pwrite_once(&b, 0)?, len, "24 MiB over it");
    holds(&f, 0, &x, "overwritten")?;
    let x = pattern(3, 0, len);
    b.copy_from_slice(&x);
    let mut aio = Aio::new(4)?;
    for (i, part) in b.chunks_mut(len / 4).enumerate() {
        aio.submit(&d, Op::Write, part, (i * len / 4) as u64, i as u64)?;
    }
    for (tag, res) in aio.wait(4)? {
        same!(res, len as i64 / 4, "request {tag}");
    }
    t.drop_caches()?;
    holds(&f, 0, &x, "asynchronous")?;
    Ok(())
}

/// Many segments, odd offsets, sectors at the ends: above and below what is pinned at once.
fn pieces(t: &mut T) -> Res {
    fresh(t, 128)?;
    let room = 24 * MIB;
    let d = sys::direct(&t.p("f"))?;
    let f = sys::rdwr(&t.p("f"))?;
    f.truncate(room as u64)?;
    f.fallocate(0, 0, room as u64 / 2)?;
    let mut want = vec![0; room];
    for (i, (seg, count, off)) in [
        (5120usize, 1024usize, 0usize),
        (8192, 1000, 3 * PAGE),
        (512, 1024, MIB),
        (9 * MIB + 512, 1, 512),
        (5 * MIB + 1024, 2, 11 * MIB + 1024),
        (4 * MIB, 2, PAGE),
        (3 * MIB + PAGE, 3, 2 * PAGE),
    ]
    .into_iter()
    .enumerate()
    {
        let n = seg * count;
        let x = pattern(i as u64 + 1, off as u64, n);
        let b = Aligned::of(&[vec![0; 512], x.clone()].concat());
        let iov: Vec<libc::iovec> = (0..count)
            .map(|k| libc::iovec {
                iov_base: b[512 + k * seg..].as_ptr() as *mut _,
                iov_len: seg,
            })
            .collect();
        // SAFETY: every iovec points into b.
        let r = unsafe { libc::pwritev(d.raw, iov.as_ptr(), count as i32, off as i64) };
        let whole = (off | n) % t.var.bs == 0;
        if r < 0 && !whole {
            same!(sys::errno(), libc::EINVAL, "{count} of {seg} at {off}");
            continue;
        }
        same!(r, n as isize, "{count} of {seg} at {off}");
        want[off..off + n].copy_from_slice(&x);
        holds(&f, 0, &want, &format!("{count} of {seg} at {off}"))?;
    }
    t.drop_caches()?;
    holds(&f, 0, &want, "on disk")?;
    Ok(())
}

/// Records appended by several threads do not mix, though each takes several chunks.
fn append(t: &mut T) -> Res {
    fresh(t, 256)?;
    let record = 9 * MIB;
    drop(sys::create(&t.p("f"))?);
    std::thread::scope(|s| -> Res {
        let threads: Vec<_> = (1..=3u8)
            .map(|n| {
                let path = t.p("f");
                s.spawn(move || -> Res {
                    let flags = libc::O_WRONLY | libc::O_DIRECT | libc::O_APPEND;
                    let d = sys::open(&path, flags, 0)?;
                    let b = Aligned::of(&vec![n; record]);
                    for _ in 0..2 {
                        same!(d.write(&b)?, record, "appended");
                    }
                    Ok(())
                })
            })
            .collect();
        for h in threads {
            h.join().map_err(|_| Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(f.size()?, 6 * record as u64, "size");
    let mut seen = [0; 4];
    for i in 0..6 {
        let mut got = vec![0; record];
        f.pread(&mut got, (i * record) as u64)?;
        let n = got[0];
        ensure!((1..=3).contains(&n), "record {i} begins with {n}");
        same!(got.iter().position(|b| *b != n), None, "record {i}");
        seen[n as usize] += 1;
    }
    same!(seen, [0, 2, 2, 2], "records");
    Ok(())
}
