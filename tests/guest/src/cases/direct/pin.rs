// SPDX-License-Identifier: GPL-2.0
//! A mapping of the file is the buffer of a direct read from another device. While the device has
//! not delivered, a neighbour of the pinned page goes: by a punch, a truncate, a direct write. Both
//! are in one large folio. What the device then puts into the page must not get lost.

use crate::dm;
use crate::fiemap::fiemap;
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, K1, K4};
use crate::map::Map;
use crate::source::Source;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, same, skip};
use std::ops::Range;

pub const CASES: &[Case] = &[
    Case::new("pin/punch", ALL, punch).quick(),
    Case::new("pin/punch_odd", ALL, punch_odd),
    Case::new("pin/punch_again", ALL, punch_again),
    Case::new("pin/zero", ALL, zero).quick(),
    Case::new("pin/truncate", ALL, truncate).quick(),
    Case::new("pin/grow", ALL, grow).quick(),
    Case::new("pin/direct_write", ALL, direct_write).quick(),
    Case::new("pin/same_page", ALL, same_page).quick(),
    Case::new("pin/append", &[K1, K4], append).quick(),
    Case::new("pin/write_after_sync", ALL, write_after_sync).quick(),
    Case::new("pin/write_after_sync_large", ALL, write_after_sync_large).quick(),
];

const LEN: usize = 65_536;
const PAGE: usize = 4096;
/// Where the read from the other device goes.
const AT: usize = 32_768;

/// What `act` does to the file, of which it has what is expected.
type Act = fn(&T, &Fd, &mut Vec<u8>) -> Res;

/// As `around`, with a page in the middle of a folio.
fn beside(t: &mut T, act: Act) -> Res {
    needs_large()?;
    around(t, AT..AT + PAGE, act)
}

fn needs_large() -> Res {
    if !sys::exists("/sys/kernel/mm/transparent_hugepage") {
        skip!("no large folios in this kernel");
    }
    needs_dm()
}

fn needs_dm() -> Res {
    if !dm::usable() {
        skip!("no device mapper");
    }
    Ok(())
}

/// A file of `LEN` bytes on disk, in one folio where there are such; `act` while a device is about
/// to put something into `bytes`. Then they have what was read, and the rest what `act` makes of
/// it.
fn around(t: &mut T, bytes: Range<usize>, act: Act) -> Res {
    needs_dm()?;
    t.fresh()?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    let map = Map::shared(&f, LEN)?;
    let mut want = pattern(1, 0, LEN);
    let mut source = Source::new(t, &pattern(9, 0, PAGE))?;
    source.ask(&map, &bytes)?;
    let acted = act(t, &f, &mut want);
    source.deliver(&bytes)?;
    acted?;
    want[bytes.clone()].copy_from_slice(&pattern(9, 0, bytes.len()));
    let got = map.read(0, want.len());
    same!(diff_at(&got, &want), None, "mapped");
    drop(map);
    stays(t, f, &want)
}

/// The file has this, in memory and on disk.
fn stays(t: &mut T, f: Fd, want: &[u8]) -> Res {
    holds(&f, 0, want, "in memory")?;
    f.fsync()?;
    drop(f);
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, want, "on disk")
}

/// A hole before the page.
fn punch(t: &mut T) -> Res {
    beside(t, |_, f, want| {
        want[..PAGE].fill(0);
        Ok(f.punch(0, PAGE as u64)?)
    })
}

/// A hole that begins and ends inside of blocks, the last one beside the page.
fn punch_odd(t: &mut T) -> Res {
    beside(t, |_, f, want| {
        want[PAGE + 100..AT - 100].fill(0);
        Ok(f.punch(PAGE as u64 + 100, (AT - PAGE - 200) as u64)?)
    })
}

/// What the device puts over a hole, part of which is then punched out again.
fn punch_again(t: &mut T) -> Res {
    needs_large()?;
    t.fresh()?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    let map = Map::shared(&f, LEN)?;
    let mut source = Source::new(t, &pattern(9, 0, PAGE))?;
    source.ask(&map, &(0..PAGE))?;
    // The folio is kept for its first page.
    let punched = f.punch(0, 2 * PAGE as u64);
    source.deliver(&(0..PAGE))?;
    punched?;
    f.punch(100, 100)?;
    let mut want = pattern(1, 0, LEN);
    want[..PAGE].copy_from_slice(&pattern(9, 0, PAGE));
    want[100..200].fill(0);
    want[PAGE..2 * PAGE].fill(0);
    drop(map);
    stays(t, f, &want)
}

/// Zeros behind the page.
fn zero(t: &mut T) -> Res {
    beside(t, |_, f, want| {
        want[AT + PAGE..].fill(0);
        let (from, len) = ((AT + PAGE) as u64, (LEN - AT - PAGE) as u64);
        Ok(f.fallocate(libc::FALLOC_FL_ZERO_RANGE, from, len)?)
    })
}

/// The new end is two pages behind, in the same folio.
fn truncate(t: &mut T) -> Res {
    beside(t, |_, f, want| {
        want.truncate(AT + 2 * PAGE);
        // Somebody writes what is dirty. Without that the folio is kept for its dirty pages.
        f.fsync()?;
        Ok(f.truncate(want.len() as u64)?)
    })
}

/// A direct write before the page.
fn direct_write(t: &mut T) -> Res {
    beside(t, |t, _, want| {
        want[..PAGE].copy_from_slice(&pattern(2, 0, PAGE));
        sys::direct(&t.p("f"))?.pwrite(&Aligned::of(&want[..PAGE]), 0)?;
        Ok(())
    })
}

/// Two sectors of one page: here the folio need not be large.
fn same_page(t: &mut T) -> Res {
    around(t, 512..1024, |t, _, want| {
        want[..512].copy_from_slice(&pattern(2, 0, 512));
        sys::direct(&t.p("f"))?.pwrite(&Aligned::of(&want[..512]), 0)?;
        Ok(())
    })
}

/// Nothing is dirty any more, and then a part is, beside what the device is about to store: another
/// block, where blocks are smaller than pages.
fn write_after_sync(t: &mut T) -> Res {
    around(t, PAGE / 2..PAGE, |t, f, want| write_first(t, f, want))
}

/// Another page of the folio.
fn write_after_sync_large(t: &mut T) -> Res {
    beside(t, |t, f, want| write_first(t, f, want))
}

fn write_first(_: &T, f: &Fd, want: &mut [u8]) -> Res {
    f.fsync()?;
    want[..512].copy_from_slice(&pattern(2, 0, 512));
    Ok(f.pwrite(&want[..512], 0)?)
}

/// The page is behind the new end, and the device delivers there. When the file grows again, it
/// reads as zeros.
fn grow(t: &mut T) -> Res {
    needs_large()?;
    t.fresh()?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    let map = Map::shared(&f, LEN)?;
    let page = AT..AT + PAGE;
    let mut source = Source::new(t, &pattern(9, 0, PAGE))?;
    source.ask(&map, &page)?;
    f.fsync()?;
    let cut = f.truncate(AT as u64 / 2);
    source.deliver(&page)?;
    cut?;
    f.truncate(LEN as u64)?;
    let mut want = pattern(1, 0, LEN);
    want[AT / 2..].fill(0);
    drop(map);
    stays(t, f, &want)
}

/// The end of the file is in the page, and a direct write is to append to it, over what fallocate
/// has put there: it goes through the page cache, to those blocks.
fn append(t: &mut T) -> Res {
    needs_dm()?;
    t.fresh()?;
    let end = PAGE + 2048;
    let f = put(&t.p("f"), 1, end)?;
    f.fallocate(libc::FALLOC_FL_KEEP_SIZE, 0, LEN as u64)?;
    f.fsync()?;
    let before = places(&f)?;
    let map = Map::shared(&f, end)?;
    let mut source = Source::new(t, &pattern(9, 0, PAGE))?;
    let bytes = PAGE..PAGE + 512;
    source.ask(&map, &bytes)?;
    let more = pattern(2, 0, 16_384);
    let written = sys::direct(&t.p("f")).and_then(|d| d.pwrite(&Aligned::of(&more), end as u64));
    let mut want = pattern(1, 0, end);
    want.extend(&more);
    let in_between = places(&f)?;
    source.deliver(&bytes)?;
    written?;
    want[bytes].copy_from_slice(&pattern(9, 0, 512));
    ensure!(in_between == before, "the blocks are others");
    drop(map);
    stays(t, f, &want)
}

/// Where each KiB is on the disk.
fn places(f: &Fd) -> Res<Vec<u64>> {
    let all = fiemap(f, 0, LEN as u64, false, 64)?;
    let each = all
        .iter()
        .flat_map(|e| (0..e.len / 1024).map(|i| e.phys + 1024 * i));
    Ok(each.collect())
}
