// SPDX-License-Identifier: GPL-2.0
//! Swap files: the kernel reads and writes their blocks, and nobody else may move them.

use crate::fiemap::{fiemap, UNWRITTEN};
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL};
use crate::map::{install_sigbus, sigbus_taken, Map};
use crate::sys::{self, Aligned, Fd, Sys, SysErr};
use crate::{ensure, errno, same, wait};
use std::ffi::CString;

pub const CASES: &[Case] = &[
    Case::new("swap/pages", ALL, pages).quick(),
    Case::new("swap/pieces", ALL, pieces),
    Case::new("swap/refused", ALL, refused).quick(),
    Case::new("swap/busy", ALL, busy).quick(),
    Case::new("swap/frozen", ALL, frozen),
];

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// A file in use as swap space; taken out of use at the end.
struct Swap(CString);

impl Swap {
    fn on(path: &str) -> Sys<Swap> {
        let name = CString::new(path).unwrap_or_default();
        // SAFETY: A NUL-terminated path.
        match unsafe { libc::swapon(name.as_ptr(), 0) } {
            0 => Ok(Swap(name)),
            _ => Err(failed("swapon", path)),
        }
    }

    fn off(self) -> Sys<()> {
        // SAFETY: As in `on`.
        let r = unsafe { libc::swapoff(self.0.as_ptr()) };
        match r {
            0 => {
                std::mem::forget(self);
                Ok(())
            }
            _ => Err(failed("swapoff", &self.0.to_string_lossy())),
        }
    }

    /// The pages it has room for, and those in use.
    fn pages(&self) -> Res<(u64, u64)> {
        let name = self.0.to_string_lossy();
        let table = std::fs::read_to_string("/proc/swaps")?;
        let line = table.lines().find(|l| l.starts_with(&*name));
        let words: Vec<&str> = line.unwrap_or("").split_whitespace().collect();
        let kib = |i: usize| words.get(i).and_then(|w| w.parse::<u64>().ok());
        match (kib(2), kib(3)) {
            (Some(size), Some(used)) => Ok((size * 1024 / PAGE, used * 1024 / PAGE)),
            _ => Err(Stop::Fail(format!("{name} is not in /proc/swaps: {table}"))),
        }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        // SAFETY: As in `on`.
        unsafe { libc::swapoff(self.0.as_ptr()) };
    }
}

fn failed(call: &str, path: &str) -> SysErr {
    SysErr {
        what: format!("{call} {path}"),
        errno: sys::errno(),
    }
}

/// What mkswap writes for a file of `len` bytes. Left dirty.
fn make_swap(f: &Fd, len: u64) -> Res {
    let mut page = vec![0; PAGE as usize];
    page[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&((len / PAGE - 1) as u32).to_le_bytes());
    page[PAGE as usize - 10..].copy_from_slice(b"SWAPSPACE2");
    f.pwrite(&page, 0)?;
    Ok(())
}

/// A preallocated swap file.
fn swap_file(t: &T, name: &str, len: u64) -> Res<Fd> {
    let f = sys::create(&t.p(name))?;
    f.fallocate(0, 0, len)?;
    make_swap(&f, len)?;
    Ok(f)
}

/// Until so many pages are out: one that another task holds at the moment is passed over.
fn page_out(swap: &Swap, m: &Map, pages: u64) -> Res {
    let mut used = 0;
    let out = wait::until(|| {
        m.page_out()?;
        used = swap.pages()?.1;
        Ok(used >= pages)
    })?;
    ensure!(out, "{used} pages swapped out, of {pages}");
    Ok(())
}

/// Lets memory go out and come in again.
fn out_and_in(swap: &Swap, pages: u64, seed: u64) -> Res {
    let want = pattern(seed, 0, (pages * PAGE) as usize);
    let m = Map::anonymous(want.len())?;
    m.write(0, &want);
    for _ in 0..2 {
        page_out(swap, &m, pages * 3 / 4)?;
        if let Some(d) = diff_at(&m.read(0, want.len()), &want) {
            return Err(Stop::Fail(format!("swapped in: {d}")));
        }
    }
    Ok(())
}

/// A preallocated file takes pages and gives them back, into its own blocks only.
fn pages(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("before"), 1, 300_000)?;
    let len = 16 * MIB;
    let f = swap_file(t, "swap", len)?;
    put(&t.p("after"), 2, 300_000)?;
    let swap = Swap::on(&t.p("swap"))?;
    same!(swap.pages()?, (usable(&f, len)? - 1, 0), "size and use");
    let map = fiemap(&f, 0, len, false, 50)?;
    ensure!(
        map.iter().any(|e| e.flags & UNWRITTEN != 0),
        "swapon has written the file: {map:?}"
    );
    out_and_in(&swap, 2000, 7)?;
    // A file that grows and goes meanwhile does not come into its blocks.
    put(&t.p("beside"), 3, 8_000_000)?.fsync()?;
    sys::unlink(&t.p("beside"))?;
    sys::sync();
    out_and_in(&swap, 3000, 8)?;
    let m = Map::anonymous(4 << 20)?;
    let want = pattern(9, 0, m.len);
    m.write(0, &want);
    page_out(&swap, &m, 1)?;
    swap.off()?;
    ensure!(m.read(0, m.len) == want, "after swapoff");
    same!(fiemap(&f, 0, len, false, 50)?, map, "the file's extents");
    drop(f);
    t.cycle()?;
    for (name, seed) in [("before", 1), ("after", 2)] {
        let f = sys::rdonly(&t.p(name))?;
        holds(&f, 0, &pattern(seed, 0, 300_000), "beside the swap file")?;
    }
    // The header is still there, and what was never written through the file reads as zeros.
    let again = Swap::on(&t.p("swap"))?;
    out_and_in(&again, 1000, 10)?;
    again.off()?;
    sys::unlink(&t.p("swap"))?;
    Ok(())
}

/// Whole pages on the disk within one piece of the file: what can be used, the header included.
fn usable(f: &Fd, len: u64) -> Res<u64> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for e in fiemap(f, 0, len, false, 50)? {
        let end = e.phys + e.len.min(len - e.log);
        match runs.last_mut() {
            Some(run) if run.1 == e.phys => run.1 = end,
            _ => runs.push((e.phys, end)),
        }
    }
    let whole = |&(from, to): &(u64, u64)| (to / PAGE).saturating_sub(from.div_ceil(PAGE));
    Ok(runs.iter().map(whole).sum())
}

/// A file in many pieces, not all of them at whole pages of the disk.
fn pieces(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let (f, g) = (sys::create(&t.p("swap"))?, sys::create(&t.p("other"))?);
    // A page, so that the header has one, then pieces of every length up to some pages.
    let mut end = 0;
    for i in 0..40 {
        let len = PAGE + (i % 23) * bs;
        f.fallocate(0, end, len)?;
        g.fallocate(0, end, bs)?;
        end += len;
    }
    let len = end.next_multiple_of(PAGE) + 3 * MIB;
    f.fallocate(0, end, len - end)?;
    // Blocks behind the end are not for swap.
    f.fallocate(libc::FALLOC_FL_KEEP_SIZE, len, MIB)?;
    make_swap(&f, len)?;
    f.fsync()?;
    let want = usable(&f, len)?;
    let swap = Swap::on(&t.p("swap"))?;
    same!(swap.pages()?.0, want - 1, "pages that can be used");
    if bs < PAGE {
        ensure!(want < len / PAGE, "every piece is at whole pages");
    }
    out_and_in(&swap, want * 3 / 4, 11)?;
    swap.off()?;
    drop((f, g));
    t.umount()?;
    t.fsck()
}

/// What has not all its blocks is no swap file; what has them in memory only gets them now.
fn refused(t: &mut T) -> Res {
    t.fresh()?;
    let len = 4 * MIB;
    let f = sys::create(&t.p("sparse"))?;
    f.truncate(len)?;
    make_swap(&f, len)?;
    errno!(Swap::on(&t.p("sparse")), EINVAL);
    let f = swap_file(t, "holed", len)?;
    f.punch(MIB, t.bs())?;
    errno!(Swap::on(&t.p("holed")), EINVAL);
    // The last block.
    let f = swap_file(t, "short", len - PAGE)?;
    f.truncate(len)?;
    make_swap(&f, len)?;
    errno!(Swap::on(&t.p("short")), EINVAL);
    // No signature.
    put(&t.p("plain"), 1, len as usize)?;
    errno!(Swap::on(&t.p("plain")), EINVAL);
    errno!(Swap::on(&t.p("")), EISDIR);
    // A part of a page at the end is not used.
    let f = swap_file(t, "tail", len)?;
    f.truncate(len + 100)?;
    let swap = Swap::on(&t.p("tail"))?;
    let room = usable(&f, len)? - 1;
    same!(swap.pages()?.0, room, "pages of a file with a tail");
    swap.off()?;
    // Written, and not yet on the disk.
    let f = put(&t.p("dirty"), 2, len as usize)?;
    make_swap(&f, len)?;
    let swap = Swap::on(&t.p("dirty"))?;
    out_and_in(&swap, 500, 12)?;
    swap.off()?;
    // A failed swapon leaves a file like any other.
    sys::rdwr(&t.p("holed"))?.fallocate(0, 0, len)?;
    let swap = Swap::on(&t.p("holed"))?;
    out_and_in(&swap, 500, 13)?;
    swap.off()?;
    Ok(())
}

/// Everything that would write a swap file or move its blocks is refused as long as it is one.
fn busy(t: &mut T) -> Res {
    install_sigbus();
    t.fresh()?;
    let len = 4 * MIB;
    let p = t.p("swap");
    let f = swap_file(t, "swap", len)?;
    let m = Map::shared(&f, len as usize)?;
    // A dirty page from before: no store may follow.
    m.set(MIB as usize, 1);
    let d = sys::direct(&p)?;
    let swap = Swap::on(&p)?;
    out_and_in(&swap, 500, 14)?;
    let whole = Aligned::of(&pattern(3, 0, PAGE as usize));
    errno!(f.pwrite_once(b"x", 0), ETXTBSY);
    errno!(f.pwrite_once(b"x", len), ETXTBSY);
    errno!(d.pwrite_once(&whole, PAGE), ETXTBSY);
    errno!(f.truncate(0), ETXTBSY);
    errno!(f.truncate(len - 1), ETXTBSY);
    errno!(f.truncate(len), ETXTBSY);
    errno!(sys::create(&p), ETXTBSY);
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    for mode in [
        0,
        keep,
        keep | libc::FALLOC_FL_PUNCH_HOLE,
        libc::FALLOC_FL_ZERO_RANGE,
        libc::FALLOC_FL_COLLAPSE_RANGE,
        libc::FALLOC_FL_INSERT_RANGE,
    ] {
        errno!(f.fallocate(mode, MIB, MIB), ETXTBSY);
    }
    sigbus_taken();
    m.set(MIB as usize, 2);
    m.set(2 * MIB as usize, 2);
    same!(sigbus_taken(), 2, "stores through a mapping from before");
    errno!(Map::shared(&f, PAGE as usize), ETXTBSY);
    errno!(sys::unlink(&p), EPERM);
    errno!(sys::rename(&p, &t.p("other")), EPERM);
    put(&t.p("other"), 4, 5000)?;
    errno!(sys::rename(&t.p("other"), &p), EPERM);
    errno!(Swap::on(&p), EBUSY);
    errno!(sys::umount(crate::fixture::MNT, 0), EBUSY);
    errno!(t.remount(libc::MS_RDONLY, ""), EBUSY);
    // To grow it moves nothing.
    f.truncate(len + MIB)?;
    f.fsync()?;
    sys::chmod(&p, 0o600)?;
    out_and_in(&swap, 500, 15)?;
    swap.off()?;
    f.pwrite(b"x", 0)?;
    f.punch(MIB, MIB)?;
    holds(&f, MIB, &vec![0; MIB as usize], "punched afterwards")?;
    f.truncate(0)?;
    sys::unlink(&p)?;
    Ok(())
}

/// Memory goes out and comes in while the file system is frozen.
fn frozen(t: &mut T) -> Res {
    t.fresh()?;
    let f = swap_file(t, "swap", 8 * MIB)?;
    let swap = Swap::on(&t.p("swap"))?;
    f.freeze(true)?;
    let done = out_and_in(&swap, 1000, 16);
    f.freeze(false)?;
    done?;
    swap.off()?;
    Ok(())
}
