// SPDX-License-Identifier: GPL-2.0
//! Two files exchange blocks while others use them, while the disk fails, and when the power does.

use super::exchange::{fragments, whole};
use crate::cases::damage::eio::{device, middle_leaf};
use crate::cases::damage::failing::with_hole;
use crate::cases::power::crash::MB;
use crate::cases::power::replay;
use crate::dm;
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL};
use crate::map::Map;
use crate::source::Source;
use crate::sys::{self, Aligned, Fd};
use crate::writelog::Entry;
use crate::{ensure, errno, fail, same, skip};
use std::sync::atomic::{AtomicBool, Ordering};

pub const CASES: &[Case] = &[
    Case::new("exchange/used", ALL, used).secs(60),
    Case::new("exchange/pinned", ALL, pinned).quick(),
    Case::new("exchange/failing", ALL, failing),
    Case::new("exchange/unreadable", ALL, unreadable),
    Case::new("exchange/crash", ALL, crash).secs(120),
];

/// What each of the writers of `used` does to its block.
#[derive(Clone, Copy, Debug)]
enum How {
    Mapped,
    Buffered,
    Direct,
}

/// Stores one number after the other in a block of the file, as long as it is wanted, and each time
/// finds the one before. Returns the last.
fn count(f: &Fd, block: u64, (how, bs): (How, u64), done: &AtomicBool) -> Res<u64> {
    let at = block * bs;
    let map = Map::shared(f, (at + bs) as usize)?;
    let mut page = Aligned::new(bs as usize);
    let mut last = 0u64;
    while !done.load(Ordering::Relaxed) {
        let next = last + 1;
        let mut found = [0; 8];
        match how {
            How::Mapped => {
                std::thread::yield_now();
                found.copy_from_slice(&map.read(at as usize, 8));
                map.write(at as usize, &next.to_le_bytes());
            }
            How::Buffered => {
                f.pread(&mut found, at)?;
                f.pwrite(&next.to_le_bytes(), at)?;
            }
            How::Direct => {
                f.pread(&mut page, at)?;
                found.copy_from_slice(&page[..8]);
                page[..8].copy_from_slice(&next.to_le_bytes());
                f.pwrite(&page, at)?;
            }
        }
        same!(u64::from_le_bytes(found), last, "{how:?}, block {block}");
        last = next;
    }
    Ok(last)
}

/// Stores, writes and direct writes go on in a file whose blocks come and go: none is lost, none is
/// somewhere else.
fn used(t: &mut T) -> Res {
    t.fresh()?;
    let (bs, n) = (t.bs(), 96u64);
    let f = fragments(t, "f", 0, n)?;
    f.pwrite(&vec![0; (n * bs) as usize], 0)?;
    f.fsync()?;
    let donor = whole(t, "donor", n)?;
    let per_page = 4096 / bs;
    // Each has a page for itself: a direct write drops that of a mapping.
    let jobs: Vec<(u64, How)> = [How::Mapped, How::Buffered, How::Direct]
        .into_iter()
        .cycle()
        .zip(0..6)
        .map(|(how, i)| ((3 * i + 1) * per_page, how))
        .collect();
    let done = AtomicBool::new(false);
    let (done, jobs, name) = (&done, &jobs, &t.p("f"));
    let last = std::thread::scope(|s| -> Res<Vec<u64>> {
        let writers: Vec<_> = jobs
            .iter()
            .map(|&(block, how)| {
                s.spawn(move || {
                    let f = match how {
                        How::Direct => sys::direct(name)?,
                        _ => sys::rdwr(name)?,
                    };
                    count(&f, block, (how, bs), done)
                })
            })
            .collect();
        let exchanged = exchange_often(&f, &donor, n, t.ours());
        done.store(true, Ordering::Relaxed);
        let mut last = Vec::new();
        for writer in writers {
            last.push(match writer.join() {
                Ok(last) => last?,
                Err(_) => fail!("a writer panicked"),
            });
        }
        exchanged.map(|()| last)
    })?;
    println!("    {last:?} stores");
    let mut want = vec![0; (n * bs) as usize];
    for (&(block, _), last) in jobs.iter().zip(last) {
        want[(block * bs) as usize..][..8].copy_from_slice(&last.to_le_bytes());
    }
    t.holds_both(&f, &want, "in the end")?;
    t.cycle_with((f, donor))?;
    t.file_holds("f", &want, "remounted")
}

/// Exchanges parts of the files for three seconds.
fn exchange_often(f: &Fd, donor: &Fd, n: u64, ours: bool) -> Res {
    let mut r = fastrand::Rng::with_seed(4);
    let (begin, mut times) = (std::time::Instant::now(), 0);
    while begin.elapsed().as_secs() < 3 || times < 5 {
        let at = r.u64(0..n);
        let len = r.u64(1..n + 1 - at);
        match f.exchange(donor, (at, at), len) {
            (moved, Ok(())) => same!(!ours || moved == len, true, "{moved} of {len}"),
            // ext4 says so of what is dirty.
            (_, Err(e)) if e.errno == libc::EBUSY && !ours => {}
            (_, Err(e)) => return Err(e.into()),
        }
        times += 1;
        std::thread::yield_now();
    }
    println!("    {times} exchanges");
    Ok(())
}

/// A device is about to store into a page of one of the files: that one stays where it is.
fn pinned(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 leaves the page in the cache, and exchanges the blocks below");
    }
    if !dm::usable() {
        skip!("no device mapper");
    }
    for which in ["original", "donor"] {
        t.fresh()?;
        let (len, bytes) = (65_536, 32_768..36_864);
        let n = len as u64 / t.bs();
        let (f, donor) = (put(&t.p("f"), 1, len)?, put(&t.p("donor"), 2, len)?);
        f.fsync()?;
        donor.fsync()?;
        let pinned = if which == "donor" { &donor } else { &f };
        let map = Map::shared(pinned, len)?;
        let mut source = Source::new(t, &pattern(9, 0, bytes.len()))?;
        source.ask(&map, &bytes)?;
        let (moved, result) = f.exchange(&donor, (0, 0), n);
        source.deliver(&bytes)?;
        errno!(result, EBUSY);
        same!(moved, 0, "blocks");
        let mut want = pattern(1, 0, len);
        if which == "donor" {
            let mut donor_want = pattern(2, 0, len);
            donor_want[bytes.clone()].copy_from_slice(&pattern(9, 0, bytes.len()));
            t.holds_both(&donor, &donor_want, "the donor")?;
        } else {
            want[bytes.clone()].copy_from_slice(&pattern(9, 0, bytes.len()));
        }
        t.holds_both(&f, &want, which)?;
        same!(f.exchange_all(&donor, 0, n)?, n, "afterwards");
        t.holds_both(&f, &want, "exchanged")?;
        drop((map, f, donor));
        t.umount()?;
        // The device of the source.
        if let Some(d) = t.dms.pop() {
            d.remove()?;
        }
    }
    Ok(())
}

/// A block of the original cannot be read, or one of the donor not written: what came before is
/// exchanged, and the rest is as it was.
fn failing(t: &mut T) -> Res {
    let dm = device(t)?;
    for which in ["original", "donor"] {
        t.fresh()?;
        let (bs, n) = (t.bs(), 40u64);
        let want = pattern(1, 0, (n * bs) as usize);
        let f = fragments(t, "f", 1, n)?;
        let donor = whole(t, "donor", n)?;
        donor.fsync()?;
        t.drop_caches()?;
        let bad = if which == "donor" { &donor } else { &f };
        let extents = fiemap(bad, 17 * bs, bs, true, 10)?;
        let Some(e) = extents.first() else {
            fail!("no block there");
        };
        let phys = e.phys + (17 * bs - e.log);
        let before = fiemap(&f, 0, u64::MAX, true, 100)?;
        dm.swap(&with_hole(t, phys, bs))?;
        let (moved, result) = f.exchange(&donor, (0, 0), n);
        dm.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
        errno!(result, EIO);
        same!(moved, 17, "blocks before the bad one of the {which}");
        t.holds_both(&f, &want, which)?;
        let after = fiemap(&f, 0, u64::MAX, true, 100)?;
        same!(before.last(), after.last(), "the last extent");
        same!(f.exchange_all(&donor, 0, n)?, n, "when it is well again");
        t.holds_both(&f, &want, "exchanged")?;
        drop((f, donor));
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// A part of the tree cannot be read.
fn unreadable(t: &mut T) -> Res {
    let dm = device(t)?;
    for which in ["/f", "/donor"] {
        t.fresh()?;
        let bs = t.bs();
        let n = (bs - 16) / 12 * 5;
        let want = pattern(1, 0, (n * bs) as usize);
        let f = fragments(t, "f", 1, n)?;
        let donor = fragments(t, "donor", 2, n)?;
        let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        root.freeze(true)?;
        root.freeze(false)?;
        let leaf = middle_leaf(t, which)?;
        t.drop_caches()?;
        dm.swap(&with_hole(t, leaf * bs, bs))?;
        let (moved, result) = f.exchange(&donor, (0, 0), n);
        dm.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
        errno!(result, EIO);
        ensure!(moved < n, "all {n} blocks");
        t.holds_both(&f, &want, &format!("{which} was unreadable"))?;
        drop((f, donor, root));
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// The power fails at any time while blocks are exchanged to and fro, and the donor is written to
/// all the time: the original never shows any of that.
fn crash(t: &mut T) -> Res {
    let l = replay::start(t)?;
    let (bs, n) = (t.bs(), 64u64);
    let len = (n * bs) as usize;
    let want = pattern(1, 0, len);
    let f = fragments(t, "f", 1, n)?;
    whole(t, "donor", n)?.fsync()?;
    let donor = sys::direct(&t.p("donor"))?;
    sys::sync();
    l.log.message("mark begin")?;
    for round in 0..6u64 {
        let (at, part) = (3 * round, n - 6 * round);
        let (moved, result) = f.exchange(&donor, (at, at), part);
        result?;
        same!(moved, part, "blocks");
        // In place, where the original was until now.
        let new = Aligned::of(&pattern(70 + round, 0, (part * bs) as usize));
        donor.pwrite(&new, at * bs)?;
        if round % 2 == 0 {
            donor.fdatasync()?;
        }
    }
    holds(&f, 0, &want, "before the power failed")?;
    drop((f, donor));
    let entries = replay::stop(t)?;
    let begin = entries.iter().position(|e| matches!(e, Entry::Mark(_)));
    let Some(begin) = begin else {
        fail!("no mark in the log");
    };
    let step = (entries.len() - begin).div_ceil(CUTS).max(1);
    let (mut disk, mut looked, mut after) = (l.base.clone(), 0, None);
    for (i, e) in entries.iter().enumerate() {
        if let Entry::Write(w) = e {
            disk[w.at..w.at + w.data.len()].copy_from_slice(&w.data);
            let donors = (70..76).any(|seed| w.data.starts_with(&pattern(seed, 0, 8)));
            // The first and the last write of each round, and some of all.
            let is_cut = donors != after.unwrap_or(false) || i % step == 0;
            after = Some(donors);
            if i < begin || !is_cut {
                continue;
            }
            looked += 1;
            replay::inspect(t, &disk, &mut |t| {
                t.file_holds("f", &want, &format!("cut after {i} of {}", entries.len()))
            })?;
        }
    }
    println!("    {looked} cuts of {}", entries.len() - begin);
    Ok(())
}

/// Power cuts of `crash` that are looked at, beside those where the donor is written.
const CUTS: usize = 12;
