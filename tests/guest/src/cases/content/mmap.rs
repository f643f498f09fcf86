// SPDX-License-Identifier: GPL-2.0
//! Mappings, and their coherence with buffered and direct I/O.

use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, BOTH_MAPS};
use crate::map::{sigbus_taken, Map};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, fail, same};
use std::ops::Range;

pub const CASES: &[Case] = &[
    Case::new("mmap/read", ALL, read).quick(),
    Case::new("mmap/write", BOTH_MAPS, write).quick(),
    Case::new("mmap/coherence", ALL, coherence).quick(),
    Case::new("mmap/private", ALL, private),
    Case::new("mmap/sparse", BOTH_MAPS, sparse).quick(),
    Case::new("mmap/beyond_eof", BOTH_MAPS, beyond_eof),
    Case::new("mmap/nospace_sigbus", BOTH_MAPS, nospace).quick(),
];

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// A mapping shows the file's bytes, at any offset, cached or not.
fn read(t: &mut T) -> Res {
    t.fresh()?;
    let len = 1_000_003;
    let f = put(&t.p("f"), 1, len)?;
    let want = pattern(1, 0, len);
    let m = Map::new(&f, 0, len, libc::PROT_READ, libc::MAP_SHARED)?;
    ensure!(m.read(0, len) == want, "cached pages");
    drop(m);
    t.drop_caches()?;
    let m = Map::new(&f, 0, len, libc::PROT_READ, libc::MAP_SHARED)?;
    let mut r = fastrand::Rng::with_seed(1);
    for _ in 0..3000 {
        let i = r.usize(..len);
        same!(m.get(i), want[i], "byte {i} faulted from disk");
    }
    let m = Map::new(&f, 8192, 50_000, libc::PROT_READ, libc::MAP_SHARED)?;
    ensure!(
        m.read(0, 50_000) == want[8192..58_192],
        "mapping at an offset"
    );
    let ro = sys::rdonly(&t.p("f"))?;
    errno!(Map::new(&ro, 0, 4096, RW, libc::MAP_SHARED), EACCES);
    drop(f);
    holds(&ro, 0, &want, "after all")?;
    Ok(())
}

/// What is stored through a mapping is read from the file, and is there after a remount.
fn write(t: &mut T) -> Res {
    t.fresh()?;
    let len = 600_001;
    let f = put(&t.p("f"), 1, len)?;
    let mut want = pattern(1, 0, len);
    for mode in ["dirty", "synced", "dropped"] {
        if mode != "dirty" {
            f.fsync()?;
        }
        if mode == "dropped" {
            t.drop_caches()?;
        }
        let m = Map::shared(&f, len)?;
        let mut r = fastrand::Rng::with_seed(mode.len() as u64);
        for i in 0..300u64 {
            let o = r.usize(..len - 1);
            let n = r.usize(1..6000).min(len - o);
            let d = pattern(i + 50, o as u64, n);
            m.write(o, &d);
            want[o..o + n].copy_from_slice(&d);
        }
        holds(&f, 0, &want, mode)?;
        m.msync()?;
        drop(m);
        t.drop_caches()?;
        holds(&f, 0, &want, &format!("{mode}, from disk"))?;
    }
    // Stores are kept without msync, through unmount.
    let m = Map::shared(&f, len)?;
    m.set(12345, 0x5a);
    want[12345] = 0x5a;
    drop((m, f));
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    Ok(())
}

const WAYS: [&str; 3] = ["buffered", "direct", "mapped"];

/// A file open in each of the `WAYS`.
struct Ways {
    f: Fd,
    d: Fd,
    m: Map,
}

impl Ways {
    fn store(&self, way: &str, off: usize, data: &[u8]) -> Res {
        match way {
            "buffered" => self.f.pwrite(data, off as u64)?,
            "direct" => self.d.pwrite(&Aligned::of(data), off as u64)?,
            _ => self.m.write(off, data),
        }
        Ok(())
    }

    fn load(&self, way: &str, off: usize, len: usize) -> Res<Vec<u8>> {
        Ok(match way {
            "buffered" => {
                let mut b = vec![0; len];
                self.f.pread(&mut b, off as u64)?;
                b
            }
            "direct" => {
                let mut b = Aligned::new(len);
                self.d.pread(&mut b, off as u64)?;
                b.to_vec()
            }
            _ => self.m.read(off, len),
        })
    }

    /// Makes the state of the page cache, or of the blocks, that `prep` names. `want`: the file.
    fn prepare(&self, prep: &str, range: Range<usize>, want: &mut [u8]) -> Res {
        let (off, n) = (range.start as u64, range.len() as u64);
        match prep {
            "clean" => self.f.fsync()?,
            "dirty" => {
                let at = range.start + 5;
                let x = pattern(off + 1000, 0, 100);
                self.f.pwrite(&x, at as u64)?;
                want[at..at + 100].copy_from_slice(&x);
            }
            "absent" => {
                self.f.fsync()?;
                self.f.dontneed()?;
            }
            "hole" => {
                self.f.punch(off, n)?;
                want[range].fill(0);
            }
            _ => {
                self.f.punch(off, n)?;
                self.f.fallocate(0, off, n)?;
                want[range].fill(0);
            }
        }
        Ok(())
    }

    /// A read of this range, by this way, must give what `want` has there.
    fn shows(&self, way: &str, range: Range<usize>, want: &[u8], what: &str) -> Res {
        let got = self.load(way, range.start, range.len())?;
        if let Some(x) = diff_at(&got, &want[range.clone()]) {
            fail!("{what}, {way} read: {x} (from {})", range.start);
        }
        Ok(())
    }
}

/// Each way of writing, seen by each way of reading, on every state of the page cache.
fn coherence(t: &mut T) -> Res {
    t.fresh()?;
    let len = 256 * 1024;
    let path = t.p("f");
    let f = put(&path, 1, len)?;
    let d = sys::direct(&path)?;
    let m = Map::shared(&f, len)?;
    let w = Ways { f, d, m };
    let mut want = pattern(1, 0, len);
    let mut k = 0;
    for prep in ["clean", "dirty", "absent", "hole", "unwritten"] {
        for a in WAYS {
            for b in WAYS {
                k += 1;
                // Whole 4 KiB blocks, so that direct I/O is aligned at every block size.
                let off = (k * 12_288) % (len - 65_536);
                let n = 4096 * (1 + k % 8);
                w.prepare(prep, off..off + n, &mut want)?;
                let data = pattern(k as u64, off as u64, n);
                w.store(a, off, &data)?;
                want[off..off + n].copy_from_slice(&data);
                let around = off.saturating_sub(4096)..(off + n + 4096).min(len);
                w.shows(b, around, &want, &format!("{prep}, {a} write"))?;
            }
        }
    }
    for way in WAYS {
        w.shows(way, 0..len, &want, "at the end")?;
    }
    let Ways { f, m, .. } = w;
    f.fsync()?;
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    Ok(())
}

/// Stores into a private mapping stay there; the file does not change.
fn private(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 20_000)?;
    let m = Map::new(&f, 0, 20_000, RW, libc::MAP_PRIVATE)?;
    m.write(100, b"mine only");
    holds(&f, 0, &pattern(1, 0, 20_000), "the file")?;
    ensure!(m.read(100, 9) == b"mine only", "the private copy");
    f.pwrite(b"file", 8192)?;
    ensure!(
        m.read(8192, 4) == b"file",
        "a page not yet copied follows the file"
    );
    let ro = sys::rdonly(&t.p("f"))?;
    Map::new(&ro, 0, 4096, RW, libc::MAP_PRIVATE)?.set(5, 1);
    Ok(())
}

/// Stores into holes: each touched page gets blocks, the rest stays a hole.
fn sparse(t: &mut T) -> Res {
    t.fresh()?;
    let len = 2 << 20;
    let f = sys::create(&t.p("f"))?;
    f.truncate(len as u64)?;
    let m = Map::shared(&f, len)?;
    let mut want = vec![0; len];
    ensure!(m.read(0, len) == want, "a hole reads as zeros");
    for i in (0..len).step_by(13 * 4096) {
        m.write(i + 100, b"store");
        want[i + 100..i + 105].copy_from_slice(b"store");
    }
    let free = sys::statfs(&t.p(""))?.f_bfree;
    holds(&f, 0, &want, "cached")?;
    f.fsync()?;
    // Reservations made at the fault are exact enough not to grow by more than tree blocks.
    ensure!(
        sys::statfs(&t.p(""))?.f_bfree + 40 >= free,
        "blocks taken at writeback were not reserved"
    );
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    let touched = len.div_ceil(13 * 4096);
    let used = f.stat()?.st_blocks as usize * 512;
    ensure!(used >= touched * t.var.bs, "{used} bytes allocated");
    ensure!(
        used <= len / 2,
        "{used} bytes allocated for {touched} touched pages"
    );
    Ok(())
}

/// A mapping shows zeros to the end of the last page; behind it is SIGBUS, until the file grows.
fn beyond_eof(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 5000)?;
    let m = Map::shared(&f, 16384)?;
    sigbus_taken();
    same!(m.get(4999), pattern(1, 4999, 1)[0], "last byte");
    same!(m.get(5000), 0, "behind EOF in the last page");
    same!(sigbus_taken(), 0, "SIGBUS in the last page");
    m.get(8192);
    same!(sigbus_taken(), 1, "SIGBUS behind the last page");
    drop(m);
    let m = Map::shared(&f, 16384)?;
    f.truncate(16384)?;
    same!(m.get(8192), 0, "after growing");
    m.set(12_000, 9);
    same!(sigbus_taken(), 0, "SIGBUS after growing");
    holds(&f, 12_000, &[9], "stored")?;
    f.truncate(4096)?;
    m.get(4095);
    same!(sigbus_taken(), 0, "SIGBUS before the cut");
    m.get(12_000);
    same!(sigbus_taken(), 1, "SIGBUS after the cut");
    Ok(())
}

/// A store with the disk full raises SIGBUS at once; what was accepted is kept.
fn nospace(t: &mut T) -> Res {
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    let len = 80 << 20;
    f.truncate(len as u64)?;
    let m = Map::shared(&f, len)?;
    sigbus_taken();
    let mut accepted = Vec::new();
    let mut refused = 0;
    for i in (0..len).step_by(4096) {
        m.write(i, &(i as u64 + 1).to_le_bytes());
        if sigbus_taken() > 0 {
            refused += 1;
            if refused > 200 {
                break;
            }
        } else {
            accepted.push(i);
        }
    }
    ensure!(refused > 0, "80 MiB were stored in an image of 64 MiB");
    ensure!(
        accepted.len() > 8000,
        "only {} pages were accepted",
        accepted.len()
    );
    drop(m);
    f.fsync()?;
    t.drop_caches()?;
    for i in &accepted {
        holds(
            &f,
            *i as u64,
            &(*i as u64 + 1).to_le_bytes(),
            "an accepted store",
        )?;
    }
    f.truncate(0)?;
    f.fsync()?;
    let g = put(&t.p("g"), 3, 30 << 20)?;
    g.fsync()?;
    holds(&g, 0, &pattern(3, 0, 30 << 20), "after room was made")?;
    Ok(())
}
