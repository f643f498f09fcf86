// SPDX-License-Identifier: GPL-2.0
//! Direct appends and fallocates that fail in the middle. What was reported counts, the sizes in
//! memory and on disk are one, and nothing else comes to light when the file grows.

use crate::aio::{Aio, Op};
use crate::cases::content::falloc::KEEP;
use crate::cases::damage::eio::{device, middle_leaf};
use crate::cases::damage::failing::with_hole;
use crate::cases::power::crash::MB;
use crate::dm::{self, Dm};
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL};
use crate::sys::{self, Aligned, Fd, Sys};
use crate::{ensure, errno, fail, same, wait};

pub const CASES: &[Case] = &[
    Case::new("half/append_data", ALL, append_data).quick(),
    Case::new("half/append_tree", ALL, append_tree),
    Case::new("half/append_gated", ALL, append_gated),
    Case::new("half/falloc_full", ALL, falloc_full).quick(),
    Case::new("half/zero_full", ALL, zero_full).quick(),
];

/// What the file has before.
const BASE: usize = 4096;
const DIRECT: i32 = libc::O_RDWR | libc::O_DIRECT;

/// A direct write, and what came of it.
type Write = fn(&Fd, &mut Aligned, u64) -> Sys<usize>;

const WAYS: [(&str, Write); 2] = [
    ("pwrite", |f, data, at| f.pwrite_once(data, at)),
    ("libaio", |f, data, at| {
        let mut aio = Aio::new(1)?;
        aio.submit(f, Op::Write, data, at, 0)?;
        let done = aio.wait(1)?[0].1;
        usize::try_from(done).map_err(|_| sys::SysErr {
            what: "libaio's write".into(),
            errno: -done as i32,
        })
    }),
];

/// A new image on a device whose every block has had something else.
fn stained(t: &mut T, mb: u64, opts: &str) -> Res {
    t.end_of_image()?;
    let raw = t.raw()?;
    let stain = pattern(99, 0, 1 << 20);
    for i in 0..mb {
        raw.pwrite(&stain, i << 20)?;
    }
    raw.fsync()?;
    drop(raw);
    t.mkfs(mb, &["-m", "0", "-J", "size=4"])?;
    t.mount(opts)
}

/// The file, of `BASE` bytes, on disk.
fn base(t: &T) -> Sys<Fd> {
    let f = put(&t.p("f"), 1, BASE)?;
    f.fsync()?;
    Ok(f)
}

/// Where on the device this byte of the file is.
fn place(f: &Fd, at: u64) -> Res<u64> {
    match fiemap(f, at, 1, true, 1)?.first() {
        Some(e) => Ok(e.phys + at - e.log),
        None => fail!("no block at {at}"),
    }
}

/// The file has `size` bytes of its pattern, in memory and on disk. When it grows there are zeros
/// behind. Without it all blocks are free.
fn ends_at(t: &mut T, f: Fd, size: u64, free: u64) -> Res {
    let mut want = pattern(1, 0, size as usize);
    same!(f.size()?, size, "the size in memory");
    t.holds_both(&f, &want, "half")?;
    drop(f);
    t.cycle()?;
    let f = sys::rdwr(&t.p("f"))?;
    same!(f.size()?, size, "the size on disk");
    holds(&f, 0, &want, "remounted")?;
    want.resize(size as usize + (9 << 20), 0);
    f.truncate(want.len() as u64)?;
    holds(&f, 0, &want, "grown")?;
    t.cycle_with(f)?;
    t.file_holds("f", &want, "grown, remounted")?;
    sys::unlink(&t.p("f"))?;
    sys::sync();
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free blocks");
    Ok(())
}

/// Some blocks of an append cannot be written, in new blocks or in those that were kept for it.
fn append_data(t: &mut T) -> Res {
    let dm = device(t)?;
    for (what, write) in WAYS {
        for kept in [true, false] {
            stained(t, 32, "")?;
            let free = sys::statfs(&t.p(""))?.f_bfree;
            let f = base(t)?;
            f.fallocate(KEEP, BASE as u64, 3 << 20)?;
            let bad = place(&f, BASE as u64 + (2 << 20))?;
            if !kept {
                // New ones will be at the same place.
                f.truncate(BASE as u64)?;
                f.fsync()?;
            }
            let mut data = Aligned::of(&pattern(1, BASE as u64, 3 << 20));
            let direct = sys::open(&t.p("f"), DIRECT, 0)?;
            dm.swap(&with_hole(t, bad, 4096))?;
            let written = write(&direct, &mut data, BASE as u64);
            whole_again(t, &dm)?;
            ensure!(written.is_err(), "{what}, kept {kept}: {written:?}");
            errno!(written, EIO);
            drop(direct);
            ends_at(t, f, BASE as u64, free)?;
            t.umount()?;
        }
    }
    Ok(())
}

fn whole_again(t: &T, dm: &Dm) -> Sys<()> {
    dm.swap(&[dm::linear(&t.disks[0], 0, MB)])
}

/// A write that the gate takes in parts: the first is reported.
fn append_gated(t: &mut T) -> Res {
    let dm = device(t)?;
    for (what, write) in WAYS {
        stained(t, 32, "dio_gate")?;
        let free = sys::statfs(&t.p(""))?.f_bfree;
        let f = base(t)?;
        f.fallocate(KEEP, BASE as u64, 7 << 20)?;
        let bad = place(&f, BASE as u64 + (6 << 20))?;
        let mut data = Aligned::of(&pattern(1, BASE as u64, 7 << 20));
        let direct = sys::open(&t.p("f"), DIRECT, 0)?;
        dm.swap(&with_hole(t, bad, 4096))?;
        let written = write(&direct, &mut data, BASE as u64);
        whole_again(t, &dm)?;
        let written = written?;
        ensure!((1 << 20..=6 << 20).contains(&written), "{what}: {written}");
        drop(direct);
        ends_at(t, f, (BASE + written) as u64, free)?;
        t.umount()?;
    }
    Ok(())
}

/// `n` blocks behind the end of the file, of which no two lie together on the disk: another file's
/// are in between.
fn scattered(t: &T, f: &Fd, n: u64) -> Res {
    let other = put(&t.p("other"), 2, BASE)?;
    other.fsync()?;
    for at in (0..n).map(|i| BASE as u64 + i * t.bs()) {
        f.fallocate(KEEP, at, t.bs())?;
        other.fallocate(KEEP, at, t.bs())?;
    }
    Ok(())
}

/// The data is on disk, but a leaf of the tree cannot be read when the blocks are converted.
fn append_tree(t: &mut T) -> Res {
    let dm = device(t)?;
    let bs = t.bs();
    let n = (bs - 16) / 12 * 6;
    for (what, write) in WAYS {
        stained(t, 64, "")?;
        let free = sys::statfs(&t.p(""))?.f_bfree;
        let f = base(t)?;
        scattered(t, &f, n)?;
        let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        root.freeze(true)?;
        root.freeze(false)?;
        let leaf = middle_leaf(t, "/f")?;
        let direct = sys::open(&t.p("f"), DIRECT, 0)?;
        let mut data = Aligned::of(&pattern(1, BASE as u64, (n * bs) as usize));
        // All of the tree is in memory until the data is under way.
        fiemap(&f, 0, u64::MAX, true, 100)?;
        dm.suspend()?;
        let written = std::thread::scope(|s| -> Res<Sys<usize>> {
            let writer = wait::spawn(s, || write(&direct, &mut data, BASE as u64));
            let waits = writer.waits();
            let dropped = sys::write_file("/proc/sys/vm/drop_caches", "1");
            dm.load(&with_hole(t, leaf * bs, bs))?;
            dm.resume()?;
            let written = writer.join()?;
            dropped?;
            ensure!(waits?, "the writer does not wait");
            Ok(written)
        })?;
        whole_again(t, &dm)?;
        errno!(written, EIO);
        let size = f.size()?;
        let half = BASE as u64 + bs..BASE as u64 + n * bs;
        ensure!(half.contains(&size), "{what}: {size} bytes, not {half:?}");
        drop((direct, root));
        sys::unlink(&t.p("other"))?;
        ends_at(t, f, size, free)?;
        t.umount()?;
    }
    Ok(())
}

/// Leaves about 4 MiB free.
fn nearly_full(t: &mut T) -> Res<Fd> {
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let ballast = sys::create(&t.p("ballast"))?;
    ballast.fallocate(0, 0, free * t.bs() - (4 << 20))?;
    Ok(ballast)
}

/// What is in the inode, by the file system.
fn shape(path: &str) -> Sys<(i64, i64, i64, i64)> {
    let st = sys::lstat(path)?;
    Ok((st.st_size, st.st_blocks, st.st_mtime, st.st_mtime_nsec))
}

/// More is asked for than there is. What was taken on the way is the same before and after.
fn falloc_full(t: &mut T) -> Res {
    for mode in [0, KEEP] {
        stained(t, 24, "")?;
        let free = sys::statfs(&t.p(""))?.f_bfree;
        nearly_full(t)?;
        let f = base(t)?;
        errno!(f.fallocate(mode, 0, 16 << 20), ENOSPC);
        let before = shape(&t.p("f"))?;
        same!(before.0, BASE as i64, "mode {mode}: the size");
        t.cycle_with(f)?;
        same!(shape(&t.p("f"))?, before, "mode {mode}: remounted");
        sys::unlink(&t.p("ballast"))?;
        let f = sys::rdwr(&t.p("f"))?;
        ends_at(t, f, BASE as u64, free)?;
        t.umount()?;
    }
    Ok(())
}

/// The last bytes could not be written, and are zeroed then by a call that finds no space for the
/// rest: the file keeps its size.
fn zero_full(t: &mut T) -> Res {
    let dm = device(t)?;
    let (size, step) = (BASE as u64 * 2, BASE as u64);
    for mode in [0, KEEP] {
        stained(t, 24, "")?;
        let f = sys::create(&t.p("f"))?;
        f.fallocate(KEEP, 0, size)?;
        f.pwrite(&pattern(1, 0, BASE), 0)?;
        f.fsync()?;
        dm.swap(&with_hole(t, place(&f, step)?, 4096))?;
        f.pwrite(&pattern(1, step, BASE), step)?;
        errno!(f.fsync(), EIO);
        whole_again(t, &dm)?;
        let zero = libc::FALLOC_FL_ZERO_RANGE | mode;
        errno!(f.fallocate(zero, step, 200 << 20), ENOSPC);
        let before = shape(&t.p("f"))?;
        same!(before.0, size as i64, "mode {mode}: the size");
        t.cycle_with(f)?;
        same!(shape(&t.p("f"))?, before, "mode {mode}: remounted");
        let mut want = pattern(1, 0, BASE);
        want.resize(size as usize, 0);
        t.file_holds("f", &want, "remounted")?;
        t.umount()?;
    }
    Ok(())
}
