// SPDX-License-Identifier: GPL-2.0
//! FALLOC_FL_WRITE_ZEROES: zeros with blocks that are written. Needs a device that makes zeros of
//! a range by unmapping it; scsi_debug is one.

use crate::cases::damage::failing::with_leaf;
use crate::cases::power::crash;
use crate::cases::power::shutdown::with_scsi_debug;
use crate::fiemap::{fiemap, UNWRITTEN};
use crate::fixture::{holds, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("zeroes/ranges", ALL, ranges).quick(),
    Case::new("zeroes/growing", ALL, growing),
    Case::new("zeroes/refused", ONE, refused).quick(),
    Case::new("zeroes/mapped", ALL, mapped),
    Case::new("zeroes/full_disk", ONE, full_disk),
    Case::new("zeroes/power_cut", ALL, power_cut),
    Case::new("zeroes/bad_tree", ALL, bad_tree),
    Case::new("zeroes/promised", ONE, promised),
];

/// `FALLOC_FL_WRITE_ZEROES`, which the C library has not heard of.
const WRITE_ZEROES: i32 = 0x80;

/// Whether the device under test can do it.
fn is_able(t: &T) -> bool {
    let dev = t.dev.rsplit('/').next().unwrap_or_default();
    let file = format!("/sys/block/{dev}/queue/write_zeroes_unmap_max_bytes");
    std::fs::read_to_string(file).is_ok_and(|text| text.trim() != "0")
}

/// The case on a disk that can do it.
pub fn on_able(t: &mut T, act: impl FnOnce(&mut T) -> Res) -> Res {
    if is_able(t) {
        return act(t);
    }
    with_scsi_debug(t, &["dev_size_mb=260", "lbpws=1", "lbprz=1"], |t| {
        if !is_able(t) {
            skip!("scsi_debug has made a disk that cannot");
        }
        act(t)
    })
}

pub fn zero(f: &Fd, from: u64, to: u64) -> sys::Sys<()> {
    f.fallocate(WRITE_ZEROES, from, to - from)
}

/// Whether all of the bytes have blocks that are written.
fn all_written(f: &Fd, from: u64, to: u64) -> Res<bool> {
    let mut at = from;
    for e in fiemap(f, from, to - from, false, 64)? {
        if e.log > at || e.flags & UNWRITTEN != 0 {
            return Ok(false);
        }
        at = e.log + e.len;
    }
    Ok(at >= to)
}

/// Over data, dirty or not, preallocated blocks and holes, aligned and not.
pub fn ranges(t: &mut T) -> Res {
    on_able(t, |t| {
        t.mkfs(48, &[])?;
        t.mount("")?;
        let bs = t.bs();
        let size = 64 * bs;
        let list = [
            (0, 8 * bs),
            (3 * bs, 9 * bs),
            (2 * bs + 5, 5 * bs + 9),
            (bs + 1, bs + 7),
            (20 * bs, 20 * bs + 3),
            (19 * bs - 1, 31 * bs),
            (0, size),
            (size - 3, size),
        ];
        for kind in ["dirty", "synced", "dropped", "unwritten", "hole", "mixed"] {
            for (from, to) in list {
                let f = sys::create(&t.p("f"))?;
                let mut want = vec![0; size as usize];
                match kind {
                    "unwritten" => f.fallocate(0, 0, size)?,
                    "hole" => f.truncate(size)?,
                    _ => {
                        want = pattern(from, 0, size as usize);
                        f.pwrite(&want, 0)?;
                    }
                }
                if kind != "dirty" {
                    f.fsync()?;
                }
                if kind == "mixed" {
                    f.punch(4 * bs, 4 * bs)?;
                    want[(4 * bs) as usize..(8 * bs) as usize].fill(0);
                    f.pwrite(&pattern(3, 20 * bs, 100), 20 * bs)?;
                    want[(20 * bs) as usize..][..100].copy_from_slice(&pattern(3, 20 * bs, 100));
                }
                if kind == "dropped" {
                    f.dontneed()?;
                }
                zero(&f, from, to)?;
                want[from as usize..to as usize].fill(0);
                let what = format!("{kind}, {from} to {to}");
                same!(f.size()?, size, "{what}: size");
                ensure!(all_written(&f, from, to)?, "{what}: not all is written");
                t.holds_both(&f, &want, &what)?;
            }
        }
        Ok(())
    })
}

/// The file grows, and what was behind its end does not come to light.
pub fn growing(t: &mut T) -> Res {
    if !t.ours() {
        // It reads the page of the old end in again, between the page cache and the blocks.
        skip!("the kernel's ext4 shows old bytes before the old end");
    }
    on_able(t, |t| {
        t.mkfs(48, &[])?;
        t.mount("")?;
        let bs = t.bs();
        let mut files = Vec::new();
        for (i, (size, from, to)) in [
            (0, 0, 10 * bs),
            (100, 0, 10 * bs),
            (100, 50, 10 * bs + 7),
            (3 * bs + 100, 3 * bs + 200, 3 * bs + 300),
            (3 * bs + 100, 9 * bs + 1, 17 * bs + 1),
            (3 * bs, 3 * bs, 300 * bs),
        ]
        .into_iter()
        .enumerate()
        {
            for synced in [false, true] {
                let name = t.p(&format!("f{i}{synced}"));
                let f = put(&name, 1, 4 * bs as usize)?;
                f.fsync()?;
                // The disk has old bytes behind the end.
                f.truncate(size)?;
                if synced {
                    f.fsync()?;
                }
                zero(&f, from, to)?;
                let mut want = pattern(1, 0, size as usize);
                want.truncate(size.min(from) as usize);
                let kept = want.len();
                want.resize(to as usize, 0);
                if from < size {
                    want[kept..].fill(0);
                } else {
                    want[..size as usize].copy_from_slice(&pattern(1, 0, size as usize));
                }
                same!(f.size()?, to, "size of {name}");
                ensure!(all_written(&f, from, to)?, "{name}: not all is written");
                t.holds_both(&f, &want, &name)?;
                files.push((name, want));
            }
        }
        t.cycle()?;
        for (name, want) in files {
            let f = sys::rdonly(&name)?;
            same!(f.size()?, want.len() as u64, "remounted: size of {name}");
            holds(&f, 0, &want, "remounted")?;
        }
        Ok(())
    })
}

/// With other modes, and where the device cannot.
fn refused(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 10_000)?;
    for mode in [0x1, 0x2, 0x2 | 0x1, 0x8, 0x10, 0x20, 0x40] {
        errno!(f.fallocate(WRITE_ZEROES | mode, 0, 4096), EOPNOTSUPP);
    }
    if !is_able(t) {
        errno!(zero(&f, 0, 4096), EOPNOTSUPP);
        errno!(zero(&f, 0, 20_000), EOPNOTSUPP);
    }
    same!(f.size()?, 10_000, "size");
    holds(&f, 0, &pattern(1, 0, 10_000), "after refused modes")
}

/// A mapping of it all sees the zeros, and what is stored there later stays.
pub fn mapped(t: &mut T) -> Res {
    on_able(t, |t| {
        t.mkfs(48, &[])?;
        t.mount("")?;
        let len = 64 << 10;
        let f = put(&t.p("f"), 1, len)?;
        let m = Map::shared(&f, len)?;
        m.write(100, b"stored before");
        zero(&f, 5000, 40_000)?;
        same!(
            (m.get(4999) != 0, m.get(5000), m.get(39_999)),
            (true, 0, 0),
            "mapped"
        );
        m.write(6000, b"stored after");
        m.msync()?;
        let mut want = pattern(1, 0, len);
        want[100..113].copy_from_slice(b"stored before");
        want[5000..40_000].fill(0);
        want[6000..6012].copy_from_slice(b"stored after");
        t.holds_both(&f, &want, "stored through the mapping")?;
        // Behind the end, in its page.
        let g = put(&t.p("g"), 1, 100)?;
        let m = Map::shared(&g, 4096)?;
        m.write(200, b"behind the end");
        zero(&g, 5000, 9000)?;
        let mut want = pattern(1, 0, 100);
        want.resize(9000, 0);
        t.holds_both(&g, &want, "stored behind the end")
    })
}

/// No room half way: the file has what was there, or zeros, and its size is right.
fn full_disk(t: &mut T) -> Res {
    on_able(t, |t| {
        t.mkfs(48, &[])?;
        t.mount("")?;
        let f = put(&t.p("f"), 1, 50_000)?;
        f.fsync()?;
        errno!(zero(&f, 40_000, 200 << 20), ENOSPC);
        let size = f.size()?;
        ensure!(size >= 50_000, "size {size}");
        let mut want = pattern(1, 0, 40_000);
        want.resize(size as usize, 0);
        let beside = vec![0; 10_000];
        let mut got = vec![1; 10_000];
        f.pread(&mut got, 40_000)?;
        ensure!(
            got == beside || got == pattern(1, 40_000, 10_000),
            "neither zeros nor what was there"
        );
        want[40_000..50_000].copy_from_slice(&got);
        t.holds_both(&f, &want, "after ENOSPC")?;
        drop(f);
        t.umount()?;
        t.fsck()
    })
}

/// Once a commit has the size and the written blocks, the disk has the zeros.
fn power_cut(t: &mut T) -> Res {
    let first = t.disks[0].clone();
    let result = on_able(t, |t| {
        t.disks[0] = t.dev.clone();
        t.end_of_image()?;
        let poison = vec![0xD5; 1 << 20];
        let raw = t.raw()?;
        for i in 0..48 {
            raw.pwrite(&poison, i << 20)?;
        }
        raw.fsync()?;
        drop(raw);
        let d = crash::on_dm(t)?;
        t.mkfs(48, &[])?;
        t.mount("commit=3000")?;
        let f = put(&t.p("f"), 1, 3 << 20)?;
        f.fsync()?;
        zero(&f, 1 << 20, 6 << 20)?;
        // The disk has old bytes behind the end.
        let g = put(&t.p("g"), 3, 4096)?;
        g.fsync()?;
        g.truncate(100)?;
        zero(&g, 8192, 16_384)?;
        put(&t.p("other"), 2, 1000)?.fsync()?;
        drop((f, g));
        crash::crash(t, &d)?;
        let mut want = pattern(1, 0, 1 << 20);
        want.resize(6 << 20, 0);
        let f = sys::rdonly(&t.p("f"))?;
        same!(f.size()?, 6 << 20, "size after the cut");
        holds(&f, 0, &want, "after the cut")?;
        let mut want = pattern(3, 0, 100);
        want.resize(16_384, 0);
        t.file_holds("g", &want, "behind the old end")
    });
    t.disks[0] = first;
    result
}

/// Changes a block of the disk below the mounted file system.
fn change_block(t: &T, at: u64, bytes: &[u8]) -> Res {
    let disk = sys::open(&t.disks[0], libc::O_RDWR | libc::O_DIRECT | libc::O_SYNC, 0)?;
    disk.pwrite(&Aligned::of(bytes), at)?;
    let (code, text) = run_cmd("blockdev", &["--flushbufs", &t.dev])?;
    same!(code, 0, "blockdev: {text}");
    Ok(())
}

/// The tree of the file is damaged: nothing has changed, and a page that has blocks of the range
/// and others shows no zeros for them.
fn bad_tree(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 remembers the extents");
    }
    let first = t.disks[0].clone();
    let result = on_able(t, |t| {
        t.disks[0] = t.dev.clone();
        crash::on_dm(t)?;
        t.mkfs(48, &[])?;
        t.mount("")?;
        let (bs, len) = (t.bs(), 4 * 4096);
        let leaf = with_leaf(t, len)?;
        let right = t.peek(leaf, bs as usize)?;
        t.mount("errors=continue")?;
        t.broken = true;
        let f = sys::rdwr(&t.p("f"))?;
        holds(&f, 0, &pattern(1, 0, len), "before")?;
        // The last answer of the tree is another place.
        f.seek((len as u64 + 14 * bs) as i64, libc::SEEK_DATA)?;
        change_block(t, leaf, &vec![0x5A; bs as usize])?;
        errno!(zero(&f, 4096 + bs, 8192 + bs), EUCLEAN);
        change_block(t, leaf, &right)?;
        // The kernel's ext4 may show zeros until the page leaves the cache.
        if !t.ours() {
            t.drop_caches()?;
        }
        t.holds_both(&f, &pattern(1, 0, len), "after repair")
    });
    t.disks[0] = first;
    result
}

/// Zeros over preallocated blocks, of files whose trees need a node for that, on a full disk: the
/// last quarter of the pool is left to data that was accepted.
fn promised(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 promises no blocks of the tree");
    }
    on_able(t, |t| {
        t.mkfs(48, &["-m", "0"])?;
        t.mount("")?;
        let (bs, keep) = (t.bs(), libc::FALLOC_FL_KEEP_SIZE);
        let dev = t.dev.rsplit('/').next().unwrap_or("");
        let pool = format!("/sys/fs/{}/{dev}/reserved_clusters", t.fs);
        sys::write_file(&pool, "40\n")?;
        let mut files = Vec::new();
        for i in 0..60 {
            let f = sys::create(&t.p(&format!("f{i}")))?;
            for k in 0..4 {
                f.fallocate(0, 4 * k * bs, 3 * bs)?;
            }
            files.push(f);
        }
        let ballast = sys::create(&t.p("ballast"))?;
        let (mut end, mut step) = (0, 8 << 20);
        while step >= bs {
            match ballast.fallocate(keep, end, step) {
                Ok(()) => end += step,
                Err(e) if e.errno == libc::ENOSPC => step /= 2,
                Err(e) => return Err(e.into()),
            }
        }
        sys::sync();
        let free = || sys::statfs(&t.p("")).map(|s| s.f_bfree);
        let before = free()?;
        ensure!((40..50).contains(&before), "{before} blocks free");
        let mut done = 0;
        for f in &files {
            match zero(f, bs, 2 * bs) {
                Ok(()) => done += 1,
                Err(e) if e.errno == libc::ENOSPC => break,
                Err(e) => return Err(e.into()),
            }
        }
        let left = free()?;
        ensure!((1..60).contains(&done), "{done} files");
        ensure!(left >= 10, "{left} of {before} blocks left, {done} files");
        Ok(())
    })
}
