// SPDX-License-Identifier: GPL-2.0
//! Dirty pages of which writeback finds no place for one: a leaf of the tree cannot be read. What
//! becomes of the others, of those who write there meanwhile, and of the rest of the range.

use crate::aio::{Aio, Op};
use crate::cases::damage::failing::{with_hole, with_leaf};
use crate::cases::power::crash::{on_dm, MB};
use crate::dm;
use crate::fixture::{holds, pattern, run_cmd, T};
use crate::harness::{Case, Res, ALL, SMALL};
use crate::map::Map;
use crate::slow::{SlowMemory, HALF};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, fail, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("unmapped/beside", ALL, beside).quick(),
    Case::new("unmapped/dead", ALL, dead).quick(),
    Case::new("unmapped/written_again", ALL, written_again),
    Case::new("unmapped/pinned", SMALL, pinned).quick(),
];

/// Blocks of each piece of the file, and from one piece to the next.
const STEP: u64 = 2;

/// The file "f" of single blocks, so many that its tree has two leaves, unmounted.
struct TwoLeaves {
    /// Where the second one is, in bytes.
    leaf: u64,
    /// A block in the middle of the first, and the last of the second.
    middle: u64,
    last: u64,
}

/// Makes it. Behind the last piece so many blocks are preallocated.
fn two_leaves(t: &mut T, unwritten: u64) -> Res<TwoLeaves> {
    t.mkfs(64, &[])?;
    t.mount("")?;
    let bs = t.bs();
    let pieces = (bs - 12) / 12 + 20;
    let f = sys::create(&t.p("f"))?;
    for i in 0..pieces {
        f.pwrite(&pattern(i, 0, bs as usize), i * STEP * bs)?;
    }
    let last = (pieces - 1) * STEP;
    f.fsync()?;
    if unwritten > 0 {
        f.fallocate(0, (last + 8) * bs, unwritten * bs)?;
    }
    f.fsync()?;
    drop(f);
    t.umount()?;
    let middle = (pieces / 3) * STEP;
    let leaf = leaf_at_block(t, last)?;
    Ok(TwoLeaves { leaf, middle, last })
}

/// The leaf of "f" with this block, in bytes of the unmounted image.
fn leaf_at_block(t: &T, block: u64) -> Res<u64> {
    // Of two levels: " 0/ 1   2/  2   168 -   206   8210             39": logical blocks, the leaf.
    let text = t.debugfs(&["dump_extents -n f"])?;
    for line in text.lines().filter(|l| l.trim_start().starts_with("0/ 1")) {
        let numbers: Vec<u64> = line
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|w| w.parse().ok())
            .collect();
        if let [_, _, _, _, first, end, leaf, ..] = numbers[..] {
            if (first..=end).contains(&block) {
                return Ok(leaf * t.bs());
            }
        }
    }
    fail!("no leaf with block {block}: {text}")
}

/// The tree is read from the disk again, but for the place that is looked up now.
fn forget_tree(t: &T, f: &Fd, block: u64, whence: i32) -> Res {
    f.seek((block * t.bs()) as i64, whence)?;
    let (code, text) = run_cmd("blockdev", &["--flushbufs", &t.dev])?;
    same!(code, 0, "blockdev: {text}");
    Ok(())
}

/// The page at the beginning is overwritten, and so is one whose leaf is bad by the time that both
/// are to be written.
fn both_dirty(t: &T, f: &Fd, two: &TwoLeaves, bad: impl FnOnce() -> Res) -> Res {
    let bs = t.bs();
    forget_tree(t, f, two.last, libc::SEEK_DATA)?;
    bad()?;
    f.pwrite(&pattern(1001, 0, bs as usize), two.last * bs)?;
    f.pwrite(&pattern(1000, 0, bs as usize), 0)?;
    Ok(())
}

/// The one that has its place is written; the other is told.
fn beside(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 remembers the extents");
    }
    let d = on_dm(t)?;
    let two = two_leaves(t, 0)?;
    t.mount("errors=continue")?;
    let bs = t.bs();
    let f = sys::rdwr(&t.p("f"))?;
    let hole = with_hole(t, two.leaf, bs);
    both_dirty(t, &f, &two, || Ok(d.swap(&hole)?))?;
    errno!(f.fsync(), EIO);
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    t.drop_caches()?;
    holds(&f, 0, &pattern(1000, 0, bs as usize), "beside")?;
    let last = two.last / STEP;
    let old = pattern(last, 0, bs as usize);
    holds(&f, two.last * bs, &old, "without a place")
}

/// What is found ends all writing: then nothing of it is written, before it neither.
fn dead(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 remembers the extents");
    }
    on_dm(t)?;
    let two = two_leaves(t, 0)?;
    let bs = t.bs();
    let right = t.peek(two.leaf, bs as usize)?;
    t.mount("errors=remount-ro")?;
    t.broken = true;
    let f = sys::rdwr(&t.p("f"))?;
    let disk = sys::open(&t.disks[0], libc::O_RDWR | libc::O_DIRECT | libc::O_SYNC, 0)?;
    let damage = Aligned::of(&vec![0x5A; bs as usize]);
    both_dirty(t, &f, &two, || Ok(disk.pwrite(&damage, two.leaf)?))?;
    errno!(f.fsync(), EUCLEAN | EROFS | EIO);
    errno!(sys::mkdir(&t.p("d"), 0o755), EROFS | EIO);
    drop(f);
    t.umount()?;
    disk.pwrite(&Aligned::of(&right), two.leaf)?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.mount("")?;
    t.file_holds("f", &pattern(0, 0, bs as usize), "the page before it")
}

/// How many blocks are promised.
fn promised(t: &T) -> Res<u64> {
    let dev = t.dev.rsplit('/').next().unwrap_or("");
    let path = format!("/sys/fs/{}/{dev}/delayed_allocation_blocks", t.fs);
    let text = std::fs::read_to_string(path)?;
    Ok(text.trim().parse().unwrap_or(u64::MAX))
}

/// A write has its mapping, and what it needs is promised, when writeback of the page gives that
/// up. Then the page is dirty again: writeback asks once more before it writes.
fn written_again(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 remembers the extents");
    }
    let d = on_dm(t)?;
    let two = two_leaves(t, 8)?;
    let memory = SlowMemory::new(t, &[], &pattern(7, 0, HALF))?;
    t.mount("errors=continue")?;
    let (bs, at) = (t.bs(), (two.last + 8) * t.bs());
    let at = at.next_multiple_of(HALF as u64);
    let f = sys::rdwr(&t.p("f"))?;
    let (prot, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let map = Map::new(&f, at, HALF, prot, shared)?;
    // It is there when it is stored to: nothing is read ahead.
    holds(&f, at, &[0; HALF], "preallocated")?;
    forget_tree(t, &f, at / bs, libc::SEEK_HOLE)?;
    map.set(0, 1);
    ensure!(promised(t)? > 0, "nothing is promised to the store");
    std::thread::scope(|s| -> Res {
        let writer = wait::spawn(s, || memory.pwrite(&f, HALF, HALF, at));
        let waits = writer.waits();
        let failed = give_up(t, &d, &f, &two);
        memory.deliver()?;
        let n = writer.join()?;
        failed?;
        ensure!(waits?, "the writer does not wait for its data");
        same!(n, Ok(HALF), "written");
        Ok(())
    })?;
    // The leaf is read before nothing can be.
    f.seek(((two.last - 4 * STEP) * bs) as i64, libc::SEEK_DATA)?;
    d.suspend()?;
    let started = f.start_writeback(at, HALF as u64);
    let during = promised(t);
    d.resume()?;
    started?;
    ensure!(during? > 0, "nothing is promised to what is being written");
    f.fsync()?;
    same!(promised(t)?, 0, "promised at the end");
    drop(map);
    t.drop_caches()?;
    holds(&f, at, &pattern(7, 0, HALF), "in the end")
}

/// Writeback of the page whose leaf cannot be read.
fn give_up(t: &T, d: &dm::Dm, f: &Fd, two: &TwoLeaves) -> Res {
    let bs = t.bs();
    d.swap(&with_hole(t, two.leaf, bs))?;
    // The last answer of the tree is another place.
    let mut block = vec![0; bs as usize];
    f.pread(&mut block, two.middle * bs)?;
    errno!(f.fsync(), EIO);
    same!(promised(t)?, 0, "promised after the error");
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    Ok(())
}

/// A hole cannot be punched, and a device has a page pinned that has blocks of it and others: what
/// the page shows stays what it shows.
fn pinned(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 may show zeros until the page leaves the cache");
    }
    let d = on_dm(t)?;
    t.fresh()?;
    let (bs, len) = (t.bs(), 4 * 4096);
    let leaf = with_leaf(t, len)?;
    let sink = dm::start("sink", &[dm::linear(&t.disks[1], 0, 1)])?;
    t.dms.push(sink.clone());
    t.mount("errors=continue")?;
    let f = sys::rdwr(&t.p("f"))?;
    holds(&f, 0, &pattern(1, 0, len), "before the punch")?;
    let map = Map::shared(&f, len)?;
    let to = sys::open(&sink.path, libc::O_WRONLY | libc::O_DIRECT, 0)?;
    let mut aio = Aio::new(1)?;
    sink.suspend()?;
    aio.submit(&to, Op::Write, map.as_mut_slice(4096, 4096), 0, 0)?;
    d.swap(&with_hole(t, leaf, bs))?;
    let (code, text) = run_cmd("blockdev", &["--flushbufs", &t.dev])?;
    same!(code, 0, "blockdev: {text}");
    let punched = f.punch(4096 + bs, 4096);
    let mut shown = vec![0; len];
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    f.pread(&mut shown, 0)?;
    sink.resume()?;
    same!(aio.wait(1)?, vec![(0, 4096)], "the write elsewhere");
    errno!(punched, EIO);
    drop(map);
    let (want, hole) = (pattern(1, 0, len), 4096 + bs as usize..8192 + bs as usize);
    same!(shown[..hole.start], want[..hole.start], "before the hole");
    same!(shown[hole.end..], want[hole.end..], "behind the hole");
    t.holds_both(&f, &shown, "what was shown")
}
