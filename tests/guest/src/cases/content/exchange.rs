// SPDX-License-Identifier: GPL-2.0
//! Two files exchange blocks (EXT4_IOC_MOVE_EXT, e4defrag): the first one reads as before.

use crate::fiemap::{fiemap, Ext, UNWRITTEN};
use crate::fixture::{diff_at, holds, pattern, put, run_cmd, T};
use crate::flags;
use crate::harness::{Case, Res, ALL};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd, Sys};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("exchange/states", ALL, states).quick(),
    Case::new("exchange/answers", ALL, answers).quick(),
    Case::new("exchange/places", ALL, places).quick(),
    Case::new("exchange/tails", ALL, tails).quick(),
    Case::new("exchange/stale", ALL, stale).quick(),
    Case::new("exchange/mapped", ALL, mapped).quick(),
    Case::new("exchange/deep", ALL, deep),
    Case::new("exchange/full", ALL, full),
    Case::new("exchange/e4defrag", ALL, e4defrag),
];

/// A file of single blocks that lie apart: between two of them one of another file was allocated.
pub fn fragments(t: &T, name: &str, seed: u64, count: u64) -> Res<Fd> {
    let bs = t.bs();
    let (f, other) = (sys::create(&t.p(name))?, sys::create(&t.p("between"))?);
    for at in (0..count).map(|i| i * bs) {
        f.fallocate(0, at, bs)?;
        other.fallocate(0, at, bs)?;
    }
    f.pwrite(&pattern(seed, 0, (count * bs) as usize), 0)?;
    f.fsync()?;
    sys::unlink(&t.p("between"))?;
    Ok(f)
}

/// A file that has its blocks in one piece, or as good as that.
pub fn whole(t: &T, name: &str, blocks: u64) -> Sys<Fd> {
    let f = sys::create(&t.p(name))?;
    f.fallocate(0, 0, blocks * t.bs())?;
    Ok(f)
}

/// The blocks of the device that a file has, one for each of its own.
fn blocks_of(t: &T, f: &Fd) -> Res<Vec<u64>> {
    let bs = t.bs();
    let one_by_one = |e: &Ext| {
        let phys = e.phys;
        (0..e.len / bs).map(move |i| phys / bs + i)
    };
    let found = fiemap(f, 0, u64::MAX, true, 50)?;
    Ok(found.iter().flat_map(one_by_one).collect())
}

/// Whatever state the blocks are in, of both files, the first one reads as before, and each has the
/// blocks of the other.
fn states(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let n = 24u64;
    for mode in ["dirty", "synced", "dropped", "unwritten"] {
        for donor_mode in ["unwritten", "written", "dropped"] {
            let name = format!("{mode}-{donor_mode}");
            let mut want = pattern(5, 0, (n * bs) as usize);
            let f = if mode == "unwritten" {
                want.fill(0);
                whole(t, &name, n)?
            } else {
                fragments(t, &name, 5, n)?
            };
            if mode == "dirty" {
                want = pattern(7, 0, (n * bs) as usize);
                f.pwrite(&want, 0)?;
            }
            let donor = whole(t, &format!("donor-{name}"), n)?;
            if donor_mode != "unwritten" {
                donor.pwrite(&pattern(6, 0, (n * bs) as usize), 0)?;
                donor.fsync()?;
            }
            if mode == "dropped" || donor_mode == "dropped" {
                t.drop_caches()?;
            }
            let (old, new) = (blocks_of(t, &f)?, blocks_of(t, &donor)?);
            same!(f.exchange_all(&donor, 0, n)?, n, "{name}: blocks moved");
            holds(&f, 0, &want, &format!("{name}, exchanged"))?;
            if t.ours() {
                holds(&donor, 0, &want, &format!("{name}, the donor"))?;
            }
            same!(blocks_of(t, &f)?, new, "{name}: the donor's blocks");
            same!(blocks_of(t, &donor)?, old, "{name}: its own blocks");
            let wrote = pattern(8, 0, 2 * bs as usize);
            f.pwrite(&wrote, bs / 2)?;
            want[bs as usize / 2..][..wrote.len()].copy_from_slice(&wrote);
            t.holds_both(&f, &want, &name)?;
            drop((f, donor));
            t.cycle()?;
            t.file_holds(&name, &want, &format!("{name}, remounted"))?;
            sys::unlink(&t.p(&name))?;
        }
    }
    Ok(())
}

/// What is refused, with what, and that nothing happens then.
fn answers(t: &mut T) -> Res {
    t.fresh()?;
    let (bs, n) = (t.bs(), 10u64);
    let f = put(&t.p("f"), 1, (n * bs) as usize)?;
    let donor = whole(t, "donor", n)?;
    f.fsync()?;
    let answer = |f: &Fd, donor: &Fd| f.exchange(donor, (0, 0), n).1;
    let reader = sys::rdonly(&t.p("f"))?;
    errno!(answer(&reader, &donor), EBADF);
    let writer = sys::open(&t.p("f"), libc::O_WRONLY, 0)?;
    errno!(answer(&writer, &donor), EBADF);
    errno!(answer(&f, &sys::rdonly(&t.p("donor"))?), EBADF);
    errno!(
        answer(&f, &sys::open(&t.p("donor"), libc::O_PATH, 0)?),
        EBADF
    );
    let nobody = Fd {
        raw: -1,
        name: "nobody".into(),
    };
    errno!(answer(&f, &nobody), EBADF);
    errno!(answer(&f, &sys::rdwr("/dev/null")?), EXDEV);
    errno!(answer(&f, &f), EINVAL);
    errno!(answer(&f, &sys::rdwr(&t.p("f"))?), EINVAL);
    let fifo = t.p("fifo");
    sys::mknod(&fifo, libc::S_IFIFO | 0o600, 0)?;
    errno!(answer(&f, &sys::rdwr(&fifo)?), EINVAL);
    let empty = sys::create(&t.p("empty"))?;
    errno!(answer(&f, &empty), EINVAL);
    errno!(answer(&empty, &donor), EINVAL);
    // A directory cannot be open for writing, so it is neither.
    errno!(
        answer(&sys::open(&t.p(""), libc::O_DIRECTORY, 0)?, &donor),
        EBADF
    );
    refused_places(t, &f, &donor)?;
    refused_modes(t, &f, &donor)?;
    t.holds_both(&f, &pattern(1, 0, (n * bs) as usize), "after all that")
}

/// Of two files of ten blocks.
fn refused_places(t: &T, f: &Fd, donor: &Fd) -> Res {
    let n = 10;
    let outside = [
        (n, n),
        (n + 4, 4),
        (0, n),
        (1 << 32, 0),
        (0, (1 << 32) - 1),
        (1 << 40, 1 << 40),
    ];
    for at in outside {
        errno!(f.exchange(donor, at, 1).1, EINVAL);
    }
    errno!(f.exchange(donor, (4, 4), 0).1, EINVAL);
    // ext4 takes the length for a large number there, and then for that of the donor.
    if t.ours() {
        errno!(f.exchange(donor, (0, 0), 0).1, EINVAL);
        errno!(f.exchange(donor, (n, 0), 1).1, EINVAL);
    }
    for len in [1 << 32, (1 << 32) - 1, u64::MAX] {
        errno!(f.exchange(donor, (0, 0), len).1, EINVAL);
    }
    if t.bs() < 4096 {
        errno!(f.exchange(donor, (0, 1), 1).1, EINVAL);
    }
    Ok(())
}

/// What the donor may not be.
fn refused_modes(t: &T, f: &Fd, donor: &Fd) -> Res {
    let answer = |f: &Fd, donor: &Fd| f.exchange(donor, (0, 0), 10).1;
    for (mode, errno) in [(0o4600, libc::EINVAL), (0o2600, libc::EINVAL), (0o600, 0)] {
        sys::chmod(&t.p("donor"), mode)?;
        let got = answer(f, donor).map_or_else(|e| e.errno, |()| 0);
        same!(got, errno, "the donor has mode {mode:o}");
    }
    for flag in [flags::IMMUTABLE, flags::APPEND] {
        let old = donor.flags()?;
        donor.set_flags(old | flag)?;
        errno!(answer(f, donor), EPERM);
        donor.set_flags(old)?;
        // Of the first file only who opens it is asked.
        f.set_flags(f.flags()? | flag)?;
        answer(f, donor)?;
        f.set_flags(old)?;
    }
    Ok(())
}

/// Parts of files, other places of the donor, holes, more than there is.
fn places(t: &mut T) -> Res {
    t.fresh()?;
    let (bs, n) = (t.bs(), 64u64);
    let mut want = pattern(5, 0, (n * bs) as usize);
    let f = fragments(t, "f", 5, n)?;
    for i in [3, 20, 21, 40] {
        f.punch(i * bs, bs)?;
        want[(i * bs) as usize..][..bs as usize].fill(0);
    }
    let donor = whole(t, "donor", 2 * n)?;
    donor.punch(48 * bs, 8 * bs)?;
    f.fsync()?;
    donor.fsync()?;
    let holes = |at: u64, len: u64| {
        let hole = |i: &u64| [3, 20, 21, 40].contains(i);
        (at..at + len).filter(hole).count() as u64
    };
    for (at, to, len) in [
        (0, 0, 8),
        (1, 5, 1),
        (16, 64, 16),
        (17, 77, 6),
        (36, 100, 20),
    ] {
        let (old, blocks) = (blocks_of(t, &f)?, f.stat()?.st_blocks);
        let (moved, result) = f.exchange(&donor, (at, to), len);
        result?;
        same!(moved, len - holes(at, len), "{len} blocks at {at}");
        t.holds_both(&f, &want, &format!("{len} blocks at {at}"))?;
        same!(f.stat()?.st_blocks, blocks, "as many blocks");
        ensure!(blocks_of(t, &f)? != old, "other blocks");
    }
    // The donor has a hole.
    same!(
        f.exchange_all(&donor, 44, 16)?,
        8,
        "where the donor has blocks"
    );
    // Behind the end of the one and of the other.
    same!(
        f.exchange_all(&donor, 60, 1000)?,
        4,
        "to the end of the file"
    );
    donor.truncate(30 * bs)?;
    same!(
        f.exchange_all(&donor, 28, 20)?,
        2,
        "to the end of the donor"
    );
    t.holds_both(&f, &want, "in the end")?;
    t.cycle_with((f, donor))?;
    t.file_holds("f", &want, "remounted")
}

/// Neither file shows bytes of the other behind its end, now or when it grows.
fn tails(t: &mut T) -> Res {
    let bs_of = |t: &T| t.bs() as usize;
    for (size, donor_size) in [(100, 900), (900, 100), (0, 17), (17, 0), (333, 333)] {
        t.fresh()?;
        let bs = bs_of(t);
        let len = |tail: usize| if tail == 0 { 4 * bs } else { 3 * bs + tail };
        let (n, m) = (len(size), len(donor_size));
        // What was behind the ends before.
        let (f, donor) = (put(&t.p("f"), 1, 4 * bs)?, put(&t.p("donor"), 2, 4 * bs)?);
        f.fsync()?;
        donor.fsync()?;
        f.truncate(n as u64)?;
        donor.truncate(m as u64)?;
        let (map, donor_map) = (Map::shared(&f, 4 * bs)?, Map::shared(&donor, 4 * bs)?);
        if n < 4 * bs {
            map.write(n, b"behind the end");
        }
        same!(f.exchange_all(&donor, 0, 4)?, 4, "blocks");
        let mut want = pattern(1, 0, n);
        holds(&f, 0, &want, "exchanged")?;
        want.resize(4 * bs, 0);
        same!(diff_at(&map.read(0, 4 * bs), &want), None, "mapped");
        let mut donor_want = want.clone();
        donor_want[m.min(n)..].fill(0);
        if t.ours() {
            let got = donor_map.read(0, 4 * bs);
            same!(diff_at(&got, &donor_want), None, "the donor mapped");
        }
        drop((map, donor_map));
        f.truncate(5 * bs as u64)?;
        donor.truncate(5 * bs as u64)?;
        want.resize(5 * bs, 0);
        donor_want.resize(5 * bs, 0);
        t.holds_both(&f, &want, "grown")?;
        if t.ours() {
            t.holds_both(&donor, &donor_want, "the donor, grown")?;
        }
        t.cycle_with((f, donor))?;
        t.file_holds("f", &want, "remounted")?;
        t.umount()?;
    }
    Ok(())
}

/// Bytes that a truncate has left behind the end do not come to light in the donor.
fn stale(t: &mut T) -> Res {
    if !t.ours() {
        skip!("of what the donor has ext4 promises nothing");
    }
    t.fresh()?;
    let (bs, end) = (t.bs(), 3 * t.bs() + 100);
    put(&t.p("f"), 1, 4 * bs as usize)?.fsync()?;
    t.umount()?;
    t.debugfs(&[&format!("sif /f size {end}")])?;
    t.mount("")?;
    let f = sys::rdwr(&t.p("f"))?;
    let donor = put(&t.p("donor"), 2, 6 * bs as usize)?;
    same!(f.exchange_all(&donor, 0, 4)?, 4, "blocks");
    let mut want = pattern(2, 0, 6 * bs as usize);
    want[..4 * bs as usize].fill(0);
    want[..end as usize].copy_from_slice(&pattern(1, 0, end as usize));
    t.holds_both(&donor, &want, "the donor")?;
    t.holds_both(&f, &want[..end as usize], "the original")
}

/// A mapping, a direct read, and what is stored between two exchanges.
fn mapped(t: &mut T) -> Res {
    t.fresh()?;
    let (bs, n) = (t.bs(), 64u64);
    let len = (n * bs) as usize;
    let f = fragments(t, "f", 1, n)?;
    let mut want = pattern(1, 0, len);
    let donor = whole(t, "donor", n)?;
    let (map, donor_map) = (Map::shared(&f, len)?, Map::shared(&donor, len)?);
    for round in 0..6u64 {
        let new = pattern(50 + round, 0, 2000);
        let at = (round * 3 * bs) as usize + 100;
        map.write(at, &new);
        want[at..][..2000].copy_from_slice(&new);
        if !t.ours() {
            // What is dirty is busy to it.
            map.msync()?;
        }
        let (at, part) = (4 * round, n - 8 * round);
        same!(f.exchange_all(&donor, at, part)?, part, "round {round}");
        ensure!(map.read(0, len) == want, "mapped, round {round}");
        let mut got = Aligned::new(len);
        sys::direct(&t.p("f"))?.pread(&mut got, 0)?;
        ensure!(got[..] == want[..], "direct, round {round}");
        // What is stored in the donor now is not the original's.
        if t.ours() {
            donor_map.write(0, &pattern(90 + round, 0, len));
            donor_map.msync()?;
        }
    }
    drop((map, donor_map));
    t.holds_both(&f, &want, "in the end")
}

/// Trees of several leaves: the fragments go, and come back.
fn deep(t: &mut T) -> Res {
    t.fresh_mb(64)?;
    let bs = t.bs();
    let n = (bs - 16) / 12 * 3 + 5;
    let want = pattern(3, 0, (n * bs) as usize);
    let f = fragments(t, "f", 3, n)?;
    let donor = whole(t, "donor", n)?;
    let pieces = |f: &Fd| -> Res<usize> { Ok(fiemap(f, 0, u64::MAX, true, 100)?.len()) };
    let before = pieces(&f)?;
    ensure!(before as u64 > n / 2, "{before} pieces of {n} blocks");
    same!(f.exchange_all(&donor, 0, n)?, n, "blocks");
    let after = pieces(&f)?;
    ensure!(after < 20, "still {after} pieces");
    t.holds_both(&f, &want, "in one piece")?;
    // Of what the donor has ext4 promises nothing.
    if t.ours() {
        same!(donor.exchange_all(&f, 0, n)?, n, "blocks back");
        t.holds_both(&f, &want, "back")?;
        ensure!(pieces(&f)? == before, "not in pieces again");
        t.holds_both(&donor, &want, "the donor")?;
        let unwritten = |e: &Ext| e.flags & UNWRITTEN != 0;
        ensure!(
            !fiemap(&donor, 0, u64::MAX, true, 100)?
                .iter()
                .any(unwritten),
            "unwritten blocks"
        );
    }
    t.cycle_with((f, donor))?;
    t.file_holds("f", &want, "remounted")
}

/// No block for a node of the tree: as much is exchanged as there is room for, no byte is lost.
fn full(t: &mut T) -> Res {
    t.mkfs(16, &["-m", "0"])?;
    t.mount("")?;
    let bs = t.bs();
    let n = (bs - 16) / 12 + 40;
    let f = whole(t, "f", n)?;
    let want = pattern(8, 0, (n * bs) as usize);
    f.pwrite(&want, 0)?;
    let donor = fragments(t, "donor", 9, n)?;
    f.fsync()?;
    let filler = sys::create(&t.p("filler"))?;
    let mut at = 0;
    for step in [1 << 20, 64 << 10, bs] {
        while filler.fallocate(0, at, step).is_ok() {
            at += step;
        }
    }
    sys::sync();
    let (moved, result) = f.exchange(&donor, (0, 0), n);
    errno!(result, ENOSPC);
    ensure!(moved < n, "all {n} blocks were moved");
    t.holds_both(&f, &want, "full")?;
    drop(filler);
    sys::unlink(&t.p("filler"))?;
    let rest = f.exchange_all(&donor, moved, n)?;
    same!(moved + rest, n, "blocks");
    t.holds_both(&f, &want, "with room")?;
    t.cycle_with((f, donor))?;
    t.file_holds("f", &want, "remounted")
}

/// Runs `e4defrag`, which wants a file system of the type "ext4": it is told so in its own mtab.
fn run_e4defrag(t: &T, path: &str) -> Res<String> {
    let (mtab, dir) = ("/tmp/mtab", t.p(""));
    let line = format!("{} {} ext4 rw 0 0\n", t.dev, dir.trim_end_matches('/'));
    sys::write_file(mtab, &line)?;
    let script = "mount --bind /tmp/mtab /proc/$$/mounts && exec e4defrag -v \"$1\"";
    let (code, text) = run_cmd("unshare", &["-m", "sh", "-c", script, "sh", path])?;
    same!(code, 0, "e4defrag: {text}");
    Ok(text)
}

/// The program.
fn e4defrag(t: &mut T) -> Res {
    t.fresh_mb(64)?;
    let (bs, n) = (t.bs(), 300u64);
    let f = fragments(t, "f", 4, n)?;
    let mut want = pattern(4, 0, (n * bs) as usize);
    f.pwrite(b"an odd end", n * bs)?;
    want.extend_from_slice(b"an odd end");
    let before = fiemap(&f, 0, u64::MAX, true, 100)?.len();
    let text = run_e4defrag(t, &t.p("f"))?;
    let after = fiemap(&f, 0, u64::MAX, true, 100)?.len();
    ensure!(
        before > 200 && after <= 100,
        "{before} pieces, then {after}: {text}"
    );
    t.holds_both(&f, &want, "defragmented")?;
    t.cycle_with(f)?;
    t.file_holds("f", &want, "remounted")
}
