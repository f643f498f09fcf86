// SPDX-License-Identifier: GPL-2.0
//! Collapse and insert range: what lies behind moves, whatever state it is in.

use crate::cases::damage::eio::{device, leaves, middle_leaf};
use crate::cases::damage::failing::with_hole;
use crate::cases::power::crash::MB;
use crate::cases::power::replay;
use crate::dm;
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, K1, K4};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd, Sys};
use crate::writelog::{Entry, Write};
use crate::{ensure, errno, fail, same};
use guest::sched;
use std::sync::atomic::{AtomicBool, Ordering};

pub const CASES: &[Case] = &[
    Case::new("shift/states", ALL, states).quick(),
    Case::new("shift/answers", ALL, answers).quick(),
    Case::new("shift/behind_the_end", ALL, behind_the_end).quick(),
    Case::new("shift/deep", ALL, deep).quick(),
    Case::new("shift/mapped", ALL, mapped).quick(),
    Case::new("shift/full", ALL, full),
    Case::new("shift/unreadable", ALL, unreadable),
    Case::new("shift/durable", ALL, durable),
    Case::new("shift/crash", &[K1, K4], crash).secs(300),
];

pub const COLLAPSE: i32 = libc::FALLOC_FL_COLLAPSE_RANGE;
pub const INSERT: i32 = libc::FALLOC_FL_INSERT_RANGE;
const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;

/// Does it to the file, and to the bytes that it should hold.
pub fn shift(f: &Fd, model: &mut Vec<u8>, mode: i32, at: u64, len: u64) -> Sys<()> {
    f.fallocate(mode, at, len)?;
    let (at, len) = (at as usize, len as usize);
    if mode == COLLAPSE {
        model.drain(at..at + len);
    } else {
        model.splice(at..at, std::iter::repeat_n(0, len));
    }
    Ok(())
}

/// Blocks that are dirty, clean, dropped or preallocated, and holes, move with what they hold.
fn states(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let size = 64 * bs + 123;
    let moves = [
        (INSERT, 4 * bs, 3 * bs),
        (COLLAPSE, 0, bs),
        (INSERT, 0, 5 * bs),
        (COLLAPSE, 20 * bs, 7 * bs),
        (INSERT, 64 * bs, 2 * bs),
        (COLLAPSE, 3 * bs, 9 * bs),
        (INSERT, 7 * bs, 20 * bs),
        (COLLAPSE, 7 * bs, 20 * bs),
    ];
    for mode in ["dirty", "synced", "dropped", "unwritten", "holes"] {
        let f = sys::create(&t.p(mode))?;
        if mode == "unwritten" {
            f.fallocate(0, 0, size)?;
        }
        let mut want = pattern(5, 0, size as usize);
        if mode == "holes" {
            want.fill(0);
            f.truncate(size)?;
            for i in [1, 2, 5, 19, 20, 40, 63] {
                let at = i * bs;
                let data = pattern(6, at, bs as usize);
                f.pwrite(&data, at)?;
                want[at as usize..][..bs as usize].copy_from_slice(&data);
            }
        } else {
            f.pwrite(&want, 0)?;
        }
        for (i, (what, at, len)) in moves.into_iter().enumerate() {
            match mode {
                "synced" => f.fsync()?,
                "dropped" => t.drop_caches()?,
                _ => {}
            }
            shift(&f, &mut want, what, at, len)?;
            same!(f.size()?, want.len() as u64, "{mode}: size after {i}");
            holds(&f, 0, &want, &format!("{mode}, after move {i}"))?;
            // What is written next is where it was written.
            let (at, new) = (at + bs / 2, pattern(100 + i as u64, 0, bs as usize));
            f.pwrite(&new, at)?;
            want[at as usize..][..new.len()].copy_from_slice(&new);
        }
        t.holds_both(&f, &want, mode)?;
        t.cycle_with(f)?;
        t.file_holds(mode, &want, &format!("{mode}, remounted"))?;
    }
    Ok(())
}

/// What is refused, and that nothing happens then.
fn answers(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let size = 10 * bs + 100;
    let f = put(&t.p("f"), 1, size as usize)?;
    for mode in [COLLAPSE, INSERT] {
        errno!(f.fallocate(mode, 1, bs), EINVAL);
        errno!(f.fallocate(mode, bs, bs + 1), EINVAL);
        errno!(f.fallocate(mode, bs / 2, bs / 2), EINVAL);
        errno!(f.fallocate(mode, bs, 0), EINVAL);
        errno!(f.fallocate(mode, 11 * bs, bs), EINVAL);
        errno!(f.fallocate(mode | KEEP, 0, bs), EOPNOTSUPP);
        errno!(f.fallocate(mode, bs, 1 << 60), EFBIG);
        let reader = sys::rdonly(&t.p("f"))?;
        errno!(reader.fallocate(mode, 0, bs), EBADF);
        let appender = sys::open(&t.p("f"), libc::O_WRONLY | libc::O_APPEND, 0)?;
        appender.fallocate(mode, 9 * bs, bs)?;
    }
    // A collapse that reaches the end is a truncate, and is not made one.
    errno!(f.fallocate(COLLAPSE, 5 * bs, 6 * bs), EINVAL);
    errno!(f.fallocate(COLLAPSE, 10 * bs, bs), EINVAL);
    let whole = put(&t.p("g"), 1, 10 * bs as usize)?;
    errno!(whole.fallocate(COLLAPSE, 5 * bs, 5 * bs), EINVAL);
    errno!(whole.fallocate(INSERT, 10 * bs, bs), EINVAL);
    holds(&whole, 0, &pattern(1, 0, 10 * bs as usize), "refused")?;
    // Longer than a file can be.
    let most = bs * (u64::from(u32::MAX));
    let len = most / bs * bs - 8 * bs;
    errno!(f.fallocate(INSERT, bs, len), EFBIG | EINVAL);
    same!(f.size()?, size, "size after all that was refused");
    Ok(())
}

/// Space kept behind the end moves, too, and the old end never shows what was behind it.
fn behind_the_end(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 9 * bs as usize)?;
    f.fsync()?;
    f.truncate(4 * bs + 10)?;
    f.fallocate(KEEP, 8 * bs, 4 * bs)?;
    let mut want = pattern(1, 0, (4 * bs + 10) as usize);
    shift(&f, &mut want, INSERT, 2 * bs, 3 * bs)?;
    holds(&f, 0, &want, "inserted")?;
    f.fsync()?;
    let kept = |at: u64| -> Res {
        let behind: Vec<(u64, u64)> = fiemap(&f, 0, u64::MAX, true, 50)?
            .iter()
            .filter(|e| e.log >= at)
            .map(|e| (e.log, e.len))
            .collect();
        same!(behind, vec![(at, 4 * bs)], "space behind the end");
        Ok(())
    };
    kept(11 * bs)?;
    shift(&f, &mut want, COLLAPSE, 0, 2 * bs)?;
    holds(&f, 0, &want, "collapsed")?;
    f.fsync()?;
    kept(9 * bs)?;
    // As far as a file can have blocks there is no room for what is kept.
    let last = bs * u64::from(u32::MAX - 2);
    f.fallocate(KEEP, last, bs)?;
    errno!(f.fallocate(INSERT, 0, 2 * bs), EINVAL);
    f.truncate(want.len() as u64 + 20 * bs)?;
    want.resize(want.len() + 20 * bs as usize, 0);
    t.holds_both(&f, &want, "grown")?;
    Ok(())
}

/// A block in every second place: as many extents as `leaves` leaves of the tree have.
fn combed(t: &T, name: &str, leaves: u64) -> Res<(Fd, Vec<u8>)> {
    let bs = t.bs();
    let count = (bs - 16) / 12 * leaves;
    let f = sys::create(&t.p(name))?;
    let mut want = vec![0; (2 * count * bs) as usize];
    for at in (0..count).map(|i| 2 * i * bs) {
        let data = pattern(3, at, 64);
        f.pwrite(&data, at)?;
        want[at as usize..][..64].copy_from_slice(&data);
    }
    f.truncate(want.len() as u64)?;
    f.fsync()?;
    Ok((f, want))
}

/// Trees of many leaves: the first, the middle and the last of the file.
fn deep(t: &mut T) -> Res {
    t.fresh_mb(128)?;
    let bs = t.bs();
    let (f, mut want) = combed(t, "f", 5)?;
    let blocks = f.stat()?.st_blocks;
    let last = want.len() as u64 / bs - 4;
    for at in [0, 1, last / 2, last / 2 + 1, last] {
        shift(&f, &mut want, INSERT, at * bs, 6 * bs)?;
        holds(&f, 0, &want, &format!("inserted at {at}"))?;
    }
    for at in [last, last / 2 + 1, last / 2, 1, 0] {
        shift(&f, &mut want, COLLAPSE, at * bs, 6 * bs)?;
        holds(&f, 0, &want, &format!("collapsed at {at}"))?;
    }
    f.fsync()?;
    same!(f.stat()?.st_blocks, blocks, "blocks after all went back");
    // A third of the file goes, with data and nodes.
    let third = want.len() as u64 / 3 / bs * bs;
    shift(&f, &mut want, COLLAPSE, third, third)?;
    t.holds_both(&f, &want, "without the middle third")?;
    t.cycle_with(f)?;
    t.file_holds("f", &want, "remounted")?;
    t.umount()?;
    t.fsck()?;
    t.mount("")
}

/// A mapping shows what has moved, a direct read too, and private copies of pages stay.
fn mapped(t: &mut T) -> Res {
    t.fresh()?;
    let (bs, page) = (t.bs(), 4096u64);
    let n = 16 * page as usize;
    let f = put(&t.p("f"), 1, n)?;
    let mut want = pattern(1, 0, n);
    let map = Map::shared(&f, n)?;
    let (start, unit) = (page - bs, bs);
    for round in 0..6u64 {
        let new = pattern(50 + round, 0, 2000);
        map.write(5 * page as usize + 100, &new);
        want[5 * page as usize + 100..][..2000].copy_from_slice(&new);
        shift(&f, &mut want, INSERT, start, unit)?;
        same!(map.read(0, n), want[..n].to_vec(), "mapped, inserted");
        map.write(start as usize, b"in the hole");
        want[start as usize..][..11].copy_from_slice(b"in the hole");
        shift(&f, &mut want, COLLAPSE, page, unit)?;
        same!(map.read(0, n), want[..n].to_vec(), "mapped, collapsed");
        let direct = sys::direct(&t.p("f"))?;
        let mut got = Aligned::new(n);
        direct.pread(&mut got, 0)?;
        ensure!(got[..] == want[..n], "direct, round {round}");
    }
    drop(map);
    t.holds_both(&f, &want, "in the end")
}

/// On a full disk a collapse works, and an insert if it needs no block; else nothing has changed.
fn full(t: &mut T) -> Res {
    t.mkfs(16, &["-m", "0"])?;
    t.mount("")?;
    let bs = t.bs();
    let (f, mut want) = combed(t, "f", 2)?;
    let whole = put(&t.p("whole"), 8, 60 * bs as usize)?;
    let mut flat = pattern(8, 0, 60 * bs as usize);
    whole.fsync()?;
    let filler = sys::create(&t.p("filler"))?;
    let mut at = 0;
    for step in [1 << 20, 64 << 10, bs] {
        while filler.fallocate(0, at, step).is_ok() {
            at += step;
        }
    }
    sys::sync();
    let (blocks, mut refused) = (f.stat()?.st_blocks, 0);
    for round in 0..60u64 {
        // In the middle of a block run: there is one only where something was inserted whole.
        match shift(&whole, &mut flat, INSERT, (1 + 2 * round % 50) * bs, bs) {
            Ok(()) => {}
            Err(e) if e.errno == libc::ENOSPC => refused += 1,
            Err(e) => return Err(e.into()),
        }
        same!(whole.size()?, flat.len() as u64, "size, round {round}");
        holds(&whole, 0, &flat, &format!("full, round {round}"))?;
        // In a hole.
        let at = (2 * round + 1) * bs;
        for mode in [INSERT, COLLAPSE] {
            shift(&f, &mut want, mode, at, 2 * bs)?;
            same!(f.size()?, want.len() as u64, "size after {mode} at {at}");
            // All of it now and then, else what is near.
            let (from, to) = match round % 15 {
                0 => (0, want.len()),
                _ => (at.saturating_sub(8 * bs) as usize, (at + 12 * bs) as usize),
            };
            let what = format!("full, after {mode} at {at}");
            holds(&f, from as u64, &want[from..to], &what)?;
        }
        same!(f.stat()?.st_blocks, blocks, "blocks, round {round}");
    }
    t.holds_both(&f, &want, "full")?;
    t.holds_both(&whole, &flat, "full, split")?;
    println!("    {refused} of 60 splits refused");
    ensure!(refused > 0, "the disk was not full");
    Ok(())
}

/// A part of the tree cannot be read: the call fails before anything has moved.
fn unreadable(t: &mut T) -> Res {
    let dm = device(t)?;
    for mode in [COLLAPSE, INSERT] {
        t.fresh()?;
        let bs = t.bs();
        let (f, want) = combed(t, "f", 5)?;
        let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        root.freeze(true)?;
        root.freeze(false)?;
        let leaf = middle_leaf(t, "/f")?;
        ensure!(leaves(t, "/f")?.len() > 4, "a flat tree");
        t.drop_caches()?;
        dm.swap(&with_hole(t, leaf * bs, bs))?;
        let moved = f.fallocate(mode, 2 * bs, 4 * bs);
        dm.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
        errno!(moved, EIO);
        same!(f.size()?, want.len() as u64, "size");
        t.holds_both(&f, &want, "nothing has moved")?;
        drop((f, root));
        t.umount()?;
    }
    Ok(())
}

/// fdatasync makes a move durable, O_SYNC does so by itself.
fn durable(t: &mut T) -> Res {
    use crate::cases::power::crash;
    let d = crash::start(t)?;
    let bs = t.bs();
    let mut files = Vec::new();
    for (name, flags) in [("data", 0), ("sync", libc::O_SYNC)] {
        for mode in [COLLAPSE, INSERT] {
            let name = format!("{name}{mode}");
            let mut want = pattern(2, 0, 50 * bs as usize);
            put(&t.p(&name), 2, want.len())?.fsync()?;
            let f = sys::open(&t.p(&name), libc::O_RDWR | flags, 0)?;
            shift(&f, &mut want, mode, 10 * bs, 5 * bs)?;
            if flags == 0 {
                f.fdatasync()?;
            }
            files.push((name, want));
        }
    }
    crash::crash(t, &d)?;
    for (name, want) in files {
        let f = sys::rdonly(&t.p(&name))?;
        same!(f.size()?, want.len() as u64, "size of {name}");
        holds(&f, 0, &want, &name)?;
    }
    Ok(())
}

/// A hole that a file has beside those it was made with: the number of the first block behind it,
/// and its blocks.
type Gap = (u64, u64);

/// The hole in the file whose blocks are numbered from 1 and lie in every second place. All blocks
/// are there, each once, in their order, those behind the hole all as far from where they were.
fn gap(f: &Fd, bs: u64, count: u64) -> Res<Option<Gap>> {
    let (mut next, mut gap) = (1, None);
    for at in 0..f.size()?.div_ceil(bs) {
        let mut bytes = [0; 8];
        f.pread(&mut bytes, at * bs)?;
        let number = u64::from_le_bytes(bytes);
        if number == 0 {
            continue;
        }
        same!(number, next, "the block at {at}, gap {gap:?}");
        let place = 2 * (number - 1);
        ensure!(at >= place, "block {number} at {at}");
        let moved = at - place;
        if gap.is_none() && moved > 0 {
            gap = Some((number, moved));
        }
        same!(moved, gap.map_or(0, |g| g.1), "how far block {number} is");
        next += 1;
    }
    same!(next - 1, count, "blocks");
    Ok(gap)
}

/// What the device had when these entries of its log were done.
fn disk_at(base: &[u8], entries: &[Entry]) -> Vec<u8> {
    let mut disk = base.to_vec();
    for e in entries {
        if let Entry::Write(w) = e {
            disk[w.at..w.at + w.data.len()].copy_from_slice(&w.data);
        }
    }
    disk
}

/// Holes come and go while transactions commit at any time. Whenever the power fails all blocks are
/// there, each once, in their order; and at least once it fails in the middle of a move. When that
/// is depends on when transactions commit.
fn crash(t: &mut T) -> Res {
    for _ in 0..12 {
        if cuts_in_a_move(t)? > 0 {
            return Ok(());
        }
    }
    fail!("no crash fell into the middle of a move")
}

fn cuts_in_a_move(t: &mut T) -> Res<u32> {
    let l = replay::start(t)?;
    let bs = t.bs();
    // A handle for each leaf: 20, 10 or 5 of them.
    let count = (bs - 16) / 12 * (20480 / bs);
    let f = sys::create(&t.p("f"))?;
    for i in 0..count {
        f.pwrite(&(i + 1).to_le_bytes(), 2 * i * bs)?;
    }
    f.fsync()?;
    l.log.message("mark begin")?;
    let whole = moved_while_committed(t, (&f, &l.log), count)?;
    drop(f);
    let entries = replay::stop(t)?;
    let (commits, inside) = commits(&entries);
    // Some, from all the time; then likely ones, until one is of the middle of a move.
    let every = commits.len().div_ceil(SOME).max(1);
    let few = commits.iter().step_by(every);
    let (mut looked, mut half) = (0, 0);
    for &i in few.chain(&inside) {
        if looked >= SOME && half > 0 || looked >= MOST {
            break;
        }
        looked += 1;
        let disk = disk_at(&l.base, &entries[..=i]);
        replay::inspect(t, &disk, &mut |t| {
            let found = gap(&sys::rdonly(&t.p("f"))?, bs, count)?;
            half += u32::from(found.is_some_and(|gap| !whole.contains(&gap)));
            Ok(())
        })?;
    }
    let all = commits.len();
    println!("    {half} cuts in a move, of {looked} of {all}");
    Ok(half)
}

/// The commits, and those which were done while a move was under way, but for the first in each: it
/// may be of what came before. The last ones of the moves first.
fn commits(entries: &[Entry]) -> (Vec<usize>, Vec<usize>) {
    let (mut all, mut inside) = (Vec::new(), Vec::new());
    let (mut begun, mut moving) = (false, None);
    for (i, e) in entries.iter().enumerate() {
        match e {
            Entry::Mark(mark) => {
                begun = true;
                moving = (mark == "move").then_some(0);
            }
            Entry::Write(Write { fua: true, .. }) if begun => {
                all.push(i);
                if let Some(nth) = &mut moving {
                    inside.extend((*nth > 0).then_some((*nth, i)));
                    *nth += 1;
                }
            }
            _ => {}
        }
    }
    inside.sort_unstable();
    (all, inside.into_iter().rev().map(|(_, i)| i).collect())
}

/// Power cuts of `crash` that are looked at: at least, and at most.
const SOME: usize = 10;
const MOST: usize = 40;

/// Puts holes into the file, anywhere, and takes them out, while somebody has all of it committed.
/// Returns the holes, as they are when they are whole.
fn moved_while_committed(t: &T, (f, log): (&Fd, &dm::Dm), count: u64) -> Res<Vec<Gap>> {
    let bs = t.bs();
    let done = AtomicBool::new(false);
    let (done, dir) = (&done, t.p(""));
    std::thread::scope(|s| -> Res<Vec<Gap>> {
        s.spawn(move || -> Res {
            let d = sys::rdonly(&dir)?;
            while !done.load(Ordering::Relaxed) {
                d.syncfs()?;
            }
            Ok(())
        });
        let mover = s.spawn(move || -> Res<Vec<Gap>> {
            // A commit that can go on does so between two handles, and not when the move is over.
            sched::idle()?;
            let mut r = fastrand::Rng::with_seed(8);
            let move_once = |_| -> Res<Gap> {
                let (at, len) = (r.u64(..count), r.u64(1..9));
                for mode in [INSERT, COLLAPSE] {
                    log.message("mark move")?;
                    f.fallocate(mode, at * bs, len * bs)?;
                    log.message("mark moved")?;
                }
                Ok((at.div_ceil(2) + 1, len))
            };
            (0..40).map(move_once).collect()
        });
        let result = mover.join();
        done.store(true, Ordering::Relaxed);
        match result {
            Ok(moves) => moves,
            Err(_) => fail!("the mover panicked"),
        }
    })
}
