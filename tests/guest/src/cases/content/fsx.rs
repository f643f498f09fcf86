// SPDX-License-Identifier: GPL-2.0
//! A long random sequence of data operations on one file against a model in memory.

use crate::cases::content::falloc::KEEP;
use crate::cases::content::shift::{self, COLLAPSE, INSERT};
use crate::fixture::{diff_at, pattern, T};
use crate::harness::{Case, Res, Stop, ALL, NOCSUM1K};
use crate::map::{sigbus_taken, Map};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, fail, same};

pub const CASES: &[Case] = &[
    Case::new("fsx/mixed", ALL, |t| run(t, 1, 4000, 256 * 1024, true))
        .quick()
        .secs(120),
    Case::new("fsx/mixed2", ALL, |t| run(t, 2, 4000, 256 * 1024, true)).secs(120),
    Case::new("fsx/large", ALL, |t| run(t, 3, 1500, 3 << 20, true)).secs(120),
    Case::new("fsx/small_file", ALL, |t| run(t, 4, 4000, 20_000, true))
        .quick()
        .secs(120),
    Case::new("fsx/no_direct", ALL, |t| run(t, 5, 4000, 256 * 1024, false)).secs(120),
    Case::new("fsx/no_checksums", &[NOCSUM1K], |t| {
        run(t, 6, 4000, 256 * 1024, true)
    })
    .secs(120),
];

struct Fsx {
    path: String,
    f: Fd,
    d: Fd,
    model: Vec<u8>,
    max: usize,
    log: Vec<String>,
    block: usize,
    /// Blocks can move.
    shifts: bool,
}

impl Fsx {
    fn note(&mut self, s: String) {
        self.log.push(s);
        if self.log.len() > 14 {
            self.log.remove(0);
        }
    }

    /// Puts bytes into the model, growing it with zeros.
    fn put(&mut self, off: usize, data: &[u8]) {
        let end = off + data.len();
        if end > self.model.len() {
            self.model.resize(end, 0);
        }
        self.model[off..end].copy_from_slice(data);
    }

    fn zero(&mut self, off: usize, len: usize) {
        let n = self.model.len();
        self.model[off.min(n)..(off + len).min(n)].fill(0);
    }

    fn check(&self, way: &str, off: usize, len: usize) -> Res {
        let end = (off + len).min(self.model.len());
        if off >= end {
            return Ok(());
        }
        let mut got = vec![0xEE; end - off];
        let n = match way {
            "direct" => {
                // Sectors, outwards; the answer is cut to what was asked.
                let (lo, hi) = (off & !511, end.next_multiple_of(512));
                let mut b = Aligned::new(hi - lo);
                let n = self.d.pread(&mut b, lo as u64)?;
                same!(
                    n,
                    hi.min(self.model.len()) - lo,
                    "bytes of a direct read at {lo}"
                );
                got.copy_from_slice(&b[off - lo..end - lo]);
                end - off
            }
            "mapped" => {
                let lo = off & !4095;
                let m = Map::new(
                    &self.f,
                    lo as u64,
                    end - lo,
                    libc::PROT_READ,
                    libc::MAP_SHARED,
                )?;
                got.copy_from_slice(&m.read(off - lo, end - off));
                end - off
            }
            _ => self.f.pread(&mut got, off as u64)?,
        };
        same!(n, end - off, "bytes of a {way} read at {off}");
        match diff_at(&got, &self.model[off..end]) {
            None => Ok(()),
            Some(d) => fail!(
                "{way} read {off}+{} of {}: {d}",
                end - off,
                self.model.len()
            ),
        }
    }

    fn mapped_write(&mut self, off: usize, data: &[u8], garbage: bool) -> Res {
        let end = off + data.len();
        if end > self.model.len() {
            self.f.truncate(end as u64)?;
            self.model.resize(end, 0);
        }
        let lo = off & !4095;
        let m = Map::new(
            &self.f,
            lo as u64,
            end - lo,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
        )?;
        m.write(off - lo, data);
        self.put(off, data);
        // Bytes behind EOF in the last page are nobody's and must not come to light.
        let size = self.model.len();
        if garbage && size % 4096 != 0 && lo <= size && size - lo < m.len.next_multiple_of(4096) {
            let last = size & !4095;
            let g = Map::new(
                &self.f,
                last as u64,
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
            )?;
            g.write(size - last, &vec![0xBD; 4096 - (size - last)]);
        }
        same!(sigbus_taken(), 0, "SIGBUS");
        Ok(())
    }

    /// What the disk knows: size and bytes.
    fn remount(&mut self, t: &mut T) -> Res {
        self.f = sys::rdonly("/dev/null")?;
        self.d = sys::rdonly("/dev/null")?;
        t.cycle()?;
        self.f = sys::rdwr(&self.path)?;
        self.d = sys::direct(&self.path)?;
        same!(self.f.size()?, self.model.len() as u64, "size on disk");
        self.check("buffered", 0, self.max)
    }

    fn step(&mut self, i: u64, r: &mut fastrand::Rng, dio: bool, t: &mut T) -> Res {
        let (off, len) = self.range(r);
        match r.u32(..100) {
            op @ 0..=43 => self.write((i, op), (off, len), r, t.ours() || !dio, dio)?,
            op @ 44..=70 => self.allocate((i, op), (off, len), r)?,
            op @ 71..=76 => self.settle((i, op), (off, len), r, t)?,
            77..=84 => self.check("buffered", off, len)?,
            85..=92 => self.check("mapped", off, len)?,
            _ if dio => self.check("direct", off, len)?,
            _ => {}
        }
        same!(self.f.size()?, self.model.len() as u64, "size");
        if i % 200 == 0 {
            self.note(format!("{i} remount"));
            self.remount(t)?;
        }
        if i % 64 == 63 {
            self.check(
                ["buffered", "mapped", "direct"][i as usize / 64 % if dio { 3 } else { 2 }],
                0,
                self.max,
            )?;
        }
        Ok(())
    }

    /// A range of the file.
    fn range(&self, r: &mut fastrand::Rng) -> (usize, usize) {
        let off = r.usize(..self.max);
        let len = if r.u32(..8) == 0 {
            r.usize(1..self.max)
        } else {
            r.usize(1..20_000)
        };
        let len = len.min(self.max - off).max(1);
        // Databases and virtual machines know page-aligned ranges and sizes only.
        match r.u32(..3) {
            0 => (
                off & !4095,
                len.next_multiple_of(4096).min(self.max - (off & !4095)),
            ),
            _ => (off, len),
        }
    }

    /// Writes in one of three ways. `garbage`: also where nobody's bytes are.
    fn write(
        &mut self,
        (i, op): (u64, u32),
        (off, len): (usize, usize),
        r: &mut fastrand::Rng,
        garbage: bool,
        dio: bool,
    ) -> Res {
        let size = self.model.len();
        // Pages, blocks and sectors.
        let unit = [4096, self.block, 512][r.usize(..3)];
        let lo = off & !(unit - 1);
        let blocks = len
            .next_multiple_of(unit)
            .min((self.max - lo) & !(unit - 1));
        match op {
            0..=17 => {
                self.note(format!("{i} write {off}+{len}"));
                let d = pattern(i, off as u64, len);
                self.f.pwrite(&d, off as u64)?;
                self.put(off, &d);
                self.check("buffered", off, len)
            }
            18..=31 => {
                self.note(format!("{i} mapped write {off}+{len} (size {size})"));
                let d = pattern(i, off as u64, len);
                // The kernel's ext4 (7.3) lets such bytes show when a direct write beyond EOF moves
                // the size, with blocks below the page size.
                let garbage = r.bool() && garbage;
                self.mapped_write(off, &d, garbage)?;
                self.check("mapped", off, len)
            }
            _ if dio && blocks > 0 => {
                self.note(format!("{i} direct write {lo}+{blocks} (size {size})"));
                let d = pattern(i, lo as u64, blocks);
                self.d.pwrite(&Aligned::of(&d), lo as u64)?;
                self.put(lo, &d);
                self.check("buffered", lo, blocks)
            }
            _ => Ok(()),
        }
    }

    /// Blocks come and go.
    fn allocate(
        &mut self,
        (i, op): (u64, u32),
        (off, len): (usize, usize),
        r: &mut fastrand::Rng,
    ) -> Res {
        let size = self.model.len();
        match op {
            44..=51 => {
                self.note(format!("{i} truncate {off} (size {size})"));
                self.f.truncate(off as u64)?;
                self.model.resize(off, 0);
            }
            52..=60 => {
                // To the end now and then: the size must not go with the last bytes.
                let len = match r.u32(..4) {
                    0 if off < size => size - off,
                    _ => len,
                };
                self.note(format!("{i} punch {off}+{len} (size {size})"));
                self.f.punch(off as u64, len as u64)?;
                self.zero(off, len);
                self.check("mapped", off.saturating_sub(5000), len + 10_000)?;
            }
            61..=67 => {
                let keep = r.bool();
                self.note(format!(
                    "{i} fallocate {off}+{len} keep {keep} (size {size})"
                ));
                self.f
                    .fallocate(if keep { KEEP } else { 0 }, off as u64, len as u64)?;
                if !keep && off + len > size {
                    self.model.resize(off + len, 0);
                }
            }
            68 if self.shifts => self.shift(i, (off, len))?,
            68 => {}
            _ => {
                self.note(format!("{i} zero range {off}+{len} (size {size})"));
                self.zero_range(off, len)?;
            }
        }
        Ok(())
    }

    /// Takes whole pages out, or puts some in, as far as the file has them and may grow.
    fn shift(&mut self, i: u64, (off, len): (usize, usize)) -> Res {
        let size = self.model.len();
        let (off, len) = (off & !4095, len.next_multiple_of(4096));
        if off + len < size && i % 2 == 0 {
            self.note(format!("{i} collapse {off}+{len} (size {size})"));
            shift::shift(&self.f, &mut self.model, COLLAPSE, off as u64, len as u64)?;
        } else if off < size && size + len <= self.max {
            self.note(format!("{i} insert {off}+{len} (size {size})"));
            shift::shift(&self.f, &mut self.model, INSERT, off as u64, len as u64)?;
        }
        self.check("mapped", off.saturating_sub(5000), len + 10_000)
    }

    fn zero_range(&mut self, off: usize, len: usize) -> Res {
        let mode = libc::FALLOC_FL_ZERO_RANGE;
        self.f.fallocate(mode, off as u64, len as u64)?;
        self.zero(off, len);
        if off + len > self.model.len() {
            self.model.resize(off + len, 0);
        }
        Ok(())
    }

    /// Has data written, opens the file anew, drops caches.
    fn settle(
        &mut self,
        (i, op): (u64, u32),
        (off, len): (usize, usize),
        r: &mut fastrand::Rng,
        t: &mut T,
    ) -> Res {
        match op {
            71..=74 => {
                self.note(format!("{i} sync and drop"));
                match r.u32(..4) {
                    0 => self.f.fsync()?,
                    1 => self.f.fdatasync()?,
                    2 => self.f.sync_range(off as u64, len as u64)?,
                    _ => {
                        self.f.fsync()?;
                        self.f.dontneed()?;
                    }
                }
            }
            75 => {
                self.note(format!("{i} reopen"));
                self.f = sys::rdwr(&self.path)?;
                self.d = sys::direct(&self.path)?;
            }
            _ if i % 3 == 0 => {
                self.note(format!("{i} drop all caches"));
                t.drop_caches()?;
                self.check("buffered", 0, self.max)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whatever is done to a file in whatever order, its bytes, size and space are as the model says.
pub fn run(t: &mut T, seed: u64, steps: u64, max: usize, dio: bool) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let path = t.p("f");
    let f = sys::create(&path)?;
    let d = sys::direct(&path)?;
    let mut x = Fsx {
        path,
        f,
        d,
        model: Vec::new(),
        max,
        log: Vec::new(),
        block: t.var.bs,
        shifts: !t.var.feats.contains("encrypt"),
    };
    // An emulated machine gets the beginning of the same sequence.
    let steps = if crate::fixture::slowness() > 2 {
        steps / 4
    } else {
        steps
    };
    let other = crate::fixture::seed() << 32;
    let mut r = fastrand::Rng::with_seed(other + seed * 1_000_003 + t.bs());
    sigbus_taken();
    let with_log = |x: &Fsx, e: Stop| match e {
        Stop::Fail(s) => Stop::Fail(format!("{s}; last steps: {}", x.log.join(", "))),
        s => s,
    };
    for i in 1..=steps {
        if let Err(e) = x.step(i, &mut r, dio, t) {
            return Err(with_log(&x, e));
        }
    }
    t.drop_caches()?;
    x.check("buffered", 0, max).map_err(|e| with_log(&x, e))?;
    // What the file holds is counted exactly: all of it comes back.
    x.f.fsync()?;
    let used = free - sys::statfs(&t.p(""))?.f_bfree;
    same!(
        x.f.stat()?.st_blocks as u64 * 512 / t.bs(),
        used,
        "st_blocks against statfs"
    );
    let model = std::mem::take(&mut x.model);
    let path = x.path.clone();
    drop(x);
    t.cycle()?;
    crate::fixture::holds(&sys::rdonly(&path)?, 0, &model, "remounted")?;
    sys::unlink(&path)?;
    sys::sync();
    let now = sys::statfs(&t.p(""))?.f_bfree;
    ensure!(
        now == free,
        "{now} blocks free at the end, {free} at the start"
    );
    Ok(())
}
