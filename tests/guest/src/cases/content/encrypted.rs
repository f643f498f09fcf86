// SPDX-License-Identifier: GPL-2.0
//! Files whose contents are encrypted, all of them with a key that the kernel makes up when it
//! boots: whoever mounts the image next has the same one.

use crate::cases::content::fsx;
use crate::cases::content::shift::{COLLAPSE, INSERT};
use crate::fiemap::fiemap;
use crate::fixture::{holds, knows_fs, pattern, put, MNT, T};
use crate::harness::{Case, Res, Variant};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, fail, same, skip};

const fn with_keys(name: &'static str, bs: usize) -> Variant {
    Variant {
        name,
        bs,
        feats: "encrypt",
    }
}

pub const ENC_1K: Variant = with_keys("1k", 1024);
pub const ENC_4K: Variant = with_keys("4k", 4096);
pub const ENC: &[Variant] = &[ENC_1K, with_keys("2k", 2048), ENC_4K];

pub const CASES: &[Case] = &[
    Case::new("crypt/data", ENC, data).quick(),
    Case::new("crypt/data_both_ways", ENC, both_ways).quick(),
    Case::new("crypt/data_tails", ENC, tails).quick(),
    Case::new("crypt/data_mapped", ENC, mapped).quick(),
    Case::new("crypt/data_holes", ENC, holes).quick(),
    Case::new("crypt/data_refused", ENC, refused).quick(),
    Case::new("crypt/data_copied", ENC, copied),
    Case::new("crypt/data_uncached", ENC, uncached),
    Case::new("crypt/data_fsx", ENC, |t| random(t, 1, 4000, 256 << 10)).secs(120),
    Case::new("crypt/data_fsx_large", ENC, |t| random(t, 2, 1500, 3 << 20)).secs(120),
];

/// From now on all that is made where nothing is encrypted is.
pub fn encrypt(t: &mut T) {
    t.opts = "test_dummy_encryption";
}

/// An image that can have encrypted files, mounted so that all new ones are.
pub fn fresh(t: &mut T) -> Res {
    encrypt(t);
    t.mkfs(64, &[])?;
    match t.try_mount(0, "") {
        Err(e) if e.errno == libc::EINVAL || e.errno == libc::EOPNOTSUPP => {
            skip!("neither kernel nor file system encrypt: {e}")
        }
        mounted => Ok(mounted?),
    }
}

/// Is the file encrypted?
fn is_encrypted(path: &str) -> Res<bool> {
    Ok(sys::statx(path)?.stx_attributes & libc::STATX_ATTR_ENCRYPTED as u64 != 0)
}

/// Files of all sizes around blocks and pages, written in pieces of all sizes.
fn data(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs();
    let sizes = [
        1,
        15,
        16,
        511,
        512,
        bs - 1,
        bs,
        bs + 1,
        4095,
        4096,
        4097,
        8 * bs + 3,
        65_536,
        300_001,
        2 << 20,
    ];
    let mut all = Vec::new();
    for (i, size) in sizes.into_iter().enumerate() {
        for piece in [size as usize, 1000, 4096, 70_000] {
            let (name, want) = (
                format!("f{i}-{piece}"),
                pattern(i as u64, piece as u64, size as usize),
            );
            let f = sys::create(&t.p(&name))?;
            for (n, bytes) in want.chunks(piece).enumerate() {
                f.pwrite(bytes, (n * piece) as u64)?;
            }
            ensure!(is_encrypted(&t.p(&name))?, "{name} is not encrypted");
            if i % 2 == 0 {
                f.fsync()?;
                f.dontneed()?;
                holds(&f, 0, &want, &format!("{name}, from disk"))?;
                // Parts of blocks that are on disk only.
                f.dontneed()?;
                f.pwrite(&want[want.len() / 3..want.len() / 2], want.len() as u64 / 3)?;
            }
            holds(&f, 0, &want, &name)?;
            all.push((name, want));
        }
    }
    t.drop_caches()?;
    for (name, want) in &all {
        t.file_holds(name, want, "from disk")?;
    }
    t.cycle()?;
    for (name, want) in &all {
        t.file_holds(name, want, "mounted again")?;
    }
    Ok(())
}

/// Random operations on the files of a directory, and what they have then.
pub fn scribble(t: &T, dir: &str, seed: u64, models: &mut [Vec<u8>; 6]) -> Res {
    let bs = t.bs() as usize;
    let mut r = fastrand::Rng::with_seed(seed);
    for (i, model) in models.iter_mut().enumerate() {
        let path = t.p(&format!("{dir}/f{i}"));
        let f = sys::open(&path, libc::O_RDWR | libc::O_CREAT, 0o644)?;
        let d = sys::direct(&path)?;
        for n in 0..12 {
            let (off, len) = (r.usize(..120_000), r.usize(1..30_000));
            let bytes = pattern(seed + n, off as u64, len);
            let put = |model: &mut Vec<u8>, off: usize, bytes: &[u8]| {
                let end = off + bytes.len();
                model.resize(model.len().max(end), 0);
                model[off..end].copy_from_slice(bytes);
            };
            match r.u32(..6) {
                0 | 1 => {
                    f.pwrite(&bytes, off as u64)?;
                    put(model, off, &bytes);
                }
                2 => {
                    let (off, len) = (off & !(bs - 1), len.next_multiple_of(bs));
                    let bytes = pattern(seed + n, off as u64, len);
                    d.pwrite(&Aligned::of(&bytes), off as u64)?;
                    put(model, off, &bytes);
                }
                3 => {
                    f.truncate(off as u64)?;
                    model.resize(off, 0);
                }
                4 => {
                    f.punch(off as u64, len as u64)?;
                    let end = model.len();
                    model[off.min(end)..(off + len).min(end)].fill(0);
                }
                _ if model.len() > 4096 => {
                    let m = Map::shared(&f, model.len())?;
                    let (at, len) = (model.len() / 3, model.len() / 2);
                    let bytes = pattern(seed + n, at as u64, len);
                    m.write(at, &bytes);
                    put(model, at, &bytes);
                }
                _ => (),
            }
        }
        if i % 2 == 0 {
            f.fsync()?;
        }
        holds(&f, 0, model, "cached")?;
    }
    Ok(())
}

/// The kernel's ext4 reads what was written here, and the other way round.
fn both_ways(t: &mut T) -> Res {
    fresh(t)?;
    let ours = t.fs.clone();
    if !knows_fs("ext4") {
        skip!("no ext4 in this kernel");
    }
    let mut models: [Vec<u8>; 6] = Default::default();
    for round in 0..6 {
        scribble(t, ".", round, &mut models)?;
        t.umount()?;
        t.fsck()?;
        let other = if round % 2 == 0 { "ext4" } else { &ours };
        let dev = t.dev.clone();
        t.mount_as(&dev, MNT, other, 0, "")?;
        for (i, model) in models.iter().enumerate() {
            t.file_holds(
                &format!("f{i}"),
                model,
                &format!("round {round}, by {other}"),
            )?;
        }
    }
    Ok(())
}

/// What is cut off is zeros when the file grows again, on disk and in memory.
fn tails(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs() as usize;
    for (i, cut) in [1, 100, bs - 1, bs, bs + 1, 4095, 4097, 3 * bs + 17]
        .into_iter()
        .enumerate()
    {
        for how in 0..4 {
            let name = format!("f{i}-{how}");
            let f = put(&t.p(&name), 1, 5 * bs + 4096)?;
            if how & 1 != 0 {
                f.fsync()?;
                f.dontneed()?;
            }
            f.truncate(cut as u64)?;
            if how & 2 != 0 {
                f.fsync()?;
                f.dontneed()?;
            }
            let mut want = pattern(1, 0, cut);
            let new = cut + bs + 1000;
            match i % 3 {
                0 => f.truncate(new as u64)?,
                1 => f.pwrite(&[0; 1], new as u64 - 1)?,
                _ => f.fallocate(0, 0, new as u64)?,
            }
            want.resize(new, 0);
            t.holds_both(&f, &want, &format!("cut at {cut}, {how}"))?;
            let bytes = pattern(7, 0, 300);
            f.pwrite(&bytes, new as u64)?;
            want.extend_from_slice(&bytes);
            t.holds_both(&f, &want, &format!("appended, {how}"))?;
        }
    }
    Ok(())
}

/// Stores and loads through a mapping, and what they meet.
fn mapped(t: &mut T) -> Res {
    fresh(t)?;
    let len = 20 * 4096;
    let f = sys::create(&t.p("f"))?;
    f.truncate(len as u64)?;
    let mut want = vec![0; len];
    let m = Map::shared(&f, len)?;
    let store = |want: &mut Vec<u8>, seed, at: usize, n: usize| {
        let bytes = pattern(seed, at as u64, n);
        m.write(at, &bytes);
        want[at..at + n].copy_from_slice(&bytes);
    };
    // Over a hole, then over what is on disk and nowhere else.
    store(&mut want, 1, 100, 9000);
    store(&mut want, 2, 50_000, 5000);
    m.msync()?;
    t.drop_caches()?;
    holds(&f, 0, &want, "over a hole")?;
    f.dontneed()?;
    store(&mut want, 3, 5000, 30_000);
    f.punch(8192, 6000)?;
    want[8192..14_192].fill(0);
    ensure!(m.read(0, len) == want, "the mapping after a punch");
    m.msync()?;
    t.holds_both(&f, &want, "punched")?;
    f.truncate(30_001)?;
    f.truncate(len as u64)?;
    want[30_001..].fill(0);
    ensure!(m.read(0, len) == want, "the mapping after a truncate");
    store(&mut want, 4, 29_000, 3000);
    drop(m);
    drop(f);
    t.cycle()?;
    t.file_holds("f", &want, "mounted again")
}

/// Holes, unwritten blocks and data, beside each other in the file but not on the disk. (The other
/// way round: `crypt/data_neighbours`.)
fn holes(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs() as usize;
    let f = sys::create(&t.p("f"))?;
    let mut want = vec![0; 64 * bs];
    // Every second block: a gap in the file keeps its width on the disk.
    for block in (0..64).step_by(2) {
        let bytes = pattern(1, (block * bs) as u64, bs);
        f.pwrite(&bytes, (block * bs) as u64)?;
        want[block * bs..(block + 1) * bs].copy_from_slice(&bytes);
    }
    f.truncate(want.len() as u64)?;
    t.holds_both(&f, &want, "every second block")?;
    // The others, in another order.
    for block in (1..64).step_by(2).rev() {
        let bytes = pattern(2, (block * bs) as u64, bs);
        f.pwrite(&bytes, (block * bs) as u64)?;
        want[block * bs..(block + 1) * bs].copy_from_slice(&bytes);
        if block % 16 == 1 {
            f.fsync()?;
        }
    }
    t.holds_both(&f, &want, "all blocks")?;
    f.fallocate(
        libc::FALLOC_FL_ZERO_RANGE,
        10 * bs as u64 + 5,
        13 * bs as u64,
    )?;
    want[10 * bs + 5..23 * bs + 5].fill(0);
    f.punch(30 * bs as u64 - 3, 5 * bs as u64)?;
    want[30 * bs - 3..35 * bs - 3].fill(0);
    f.pwrite(&pattern(3, 0, 10), 15 * bs as u64 + 7)?;
    want[15 * bs + 7..][..10].copy_from_slice(&pattern(3, 0, 10));
    t.holds_both(&f, &want, "zeroed and punched")?;
    for (whence, from) in [(libc::SEEK_DATA, 11), (libc::SEEK_HOLE, 24)] {
        ensure!(f.seek((from * bs) as i64, whence)? > 0, "seek {whence}");
    }
    Ok(())
}

/// What would put a block to another place.
fn refused(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs();
    let len = 4 * 4096;
    let f = put(&t.p("f"), 1, 3 * len)?;
    let g = put(&t.p("g"), 2, 3 * len)?;
    f.fsync()?;
    g.fsync()?;
    errno!(f.fallocate(COLLAPSE, 0, 4096), EOPNOTSUPP);
    errno!(f.fallocate(INSERT, 0, 4096), EOPNOTSUPP);
    // Bad for any file, too: it is asked for later.
    errno!(f.fallocate(COLLAPSE, 1, 7), EOPNOTSUPP);
    let (moved, result) = f.exchange(&g, (0, 0), len as u64 / bs);
    errno!(result, EOPNOTSUPP);
    ensure!(moved == 0 || moved == u64::MAX, "{moved} blocks moved");
    let path = std::ffi::CString::new(t.p("f")).unwrap_or_default();
    // SAFETY: a path.
    let swaps = unsafe { libc::swapon(path.as_ptr(), 0) };
    ensure!(
        swaps < 0 && matches!(sys::errno(), libc::EINVAL | libc::ENOSYS),
        "swapon: {swaps} {}",
        sys::errname(sys::errno())
    );
    // As ext4, which does not say so here.
    let found = fiemap(&f, 0, 3 * len as u64, true, 8)?;
    ensure!(found.iter().all(|e| e.flags & 0x80 == 0), "{found:?}");
    holds(&f, 0, &pattern(1, 0, 3 * len), "f")?;
    holds(&g, 0, &pattern(2, 0, 3 * len), "g")
}

/// From file to file in the kernel.
fn copied(t: &mut T) -> Res {
    fresh(t)?;
    let want = pattern(1, 0, 300_000);
    let f = put(&t.p("f"), 1, want.len())?;
    f.fsync()?;
    t.drop_caches()?;
    let g = sys::create(&t.p("g"))?;
    let h = sys::create(&t.p("h"))?;
    let copy = |to: &Fd, range: bool| -> Res {
        let mut at = 0i64;
        while at < want.len() as i64 {
            let (mut out, left) = (at, want.len() - at as usize);
            // SAFETY: open files, and places for both positions.
            let n = unsafe {
                if range {
                    libc::copy_file_range(f.raw, &mut at, to.raw, &mut out, left, 0)
                } else {
                    libc::lseek(to.raw, at, libc::SEEK_SET);
                    libc::sendfile(to.raw, f.raw, &mut at, left)
                }
            };
            if n <= 0 {
                fail!("copy at {at}: {n} {}", sys::errname(sys::errno()));
            }
        }
        Ok(())
    };
    copy(&g, true)?;
    copy(&h, false)?;
    t.holds_both(&g, &want, "copy_file_range")?;
    t.holds_both(&h, &want, "sendfile")
}

/// Pages that are dropped when they are read or written.
fn uncached(t: &mut T) -> Res {
    const RWF_DONTCACHE: i32 = 0x80;
    fresh(t)?;
    let mut want = pattern(1, 0, 300_000);
    let f = sys::create(&t.p("f"))?;
    let mut got = vec![0; want.len()];
    let iov = |p: *mut u8, len| libc::iovec {
        iov_base: p.cast(),
        iov_len: len,
    };
    // SAFETY: memory of that length.
    let n = unsafe { libc::pwritev2(f.raw, &iov(want.as_mut_ptr(), 300_000), 1, 0, RWF_DONTCACHE) };
    if n < 0 && sys::errno() == libc::EOPNOTSUPP {
        skip!("no RWF_DONTCACHE");
    }
    same!(n, 300_000, "written");
    f.fsync()?;
    // SAFETY: memory of that length.
    let n = unsafe { libc::preadv2(f.raw, &iov(got.as_mut_ptr(), 300_000), 1, 0, RWF_DONTCACHE) };
    same!(n, 300_000, "read");
    ensure!(got == want, "bytes");
    t.holds_both(&f, &want, "later")
}

/// Random operations against a model.
fn random(t: &mut T, seed: u64, steps: u64, max: usize) -> Res {
    // Whether this can be done at all.
    fresh(t)?;
    t.umount()?;
    fsx::run(t, 40 + seed, steps, max, true)
}
