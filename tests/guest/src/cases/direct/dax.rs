// SPDX-License-Identifier: GPL-2.0
//! Files that are accessed directly (DAX), on a disk that is memory: which ones are, what is read,
//! written and mapped, and what is durable.

use crate::cases::power::shutdown::{root, shut_down, NOW};
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::flags::{self, FsXattr};
use crate::harness::{Case, Res, K1, ONE};
use crate::map::{sigbus_taken, Map};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("dax/which", ONE, which).quick(),
    Case::new("dax/refused", ONE, refused).quick(),
    Case::new("dax/flag", ONE, flag).quick(),
    Case::new("dax/content", ONE, content).quick(),
    Case::new("dax/mapped", ONE, mapped).quick(),
    Case::new("dax/huge", ONE, huge).quick(),
    Case::new("dax/same_blocks", ONE, same_blocks).quick(),
    Case::new("dax/tail", ONE, tail).quick(),
    Case::new("dax/map_sync", ONE, map_sync).quick(),
    Case::new("dax/fsync", ONE, fsync).quick(),
    Case::new("dax/full", ONE, full).quick(),
    Case::new("dax/not_for", ONE, not_for).quick(),
];

pub const PAGE: usize = 4096;
pub const MIB: usize = 1 << 20;
/// STATX_ATTR_DAX.
const ATTR: u64 = 0x20_0000;
/// FS_XFLAG_DAX.
const XFLAG: u32 = 0x8000;

/// An image on a disk that is memory, mounted with these options.
pub fn fresh(t: &mut T, mb: u64, opts: &str) -> Res {
    on_memory(t)?;
    t.mkfs(mb, &[])?;
    t.mount(opts)?;
    Ok(())
}

fn on_memory(t: &mut T) -> Res {
    let disk = "/dev/pmem0";
    if !sys::exists(disk) {
        skip!("no disk that is memory (memmap= of the kernel)");
    }
    t.dev = disk.to_string();
    Ok(())
}

fn is_dax(t: &T, name: &str) -> Res<bool> {
    Ok(sys::statx(&t.p(name))?.stx_attributes & ATTR != 0)
}

fn options() -> Res<String> {
    let all = std::fs::read_to_string("/proc/mounts")?;
    let line = all.lines().find(|l| l.starts_with("/dev/pmem0 "));
    Ok(line.unwrap_or("").to_string())
}

/// Each value of the option, and none: which files are accessed directly.
fn which(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    put(&t.p("f"), 1, 10_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    same!((is_dax(t, "f")?, is_dax(t, "d")?), (true, false), "always");
    ensure!(options()?.contains("dax=always"), "{}", options()?);
    for other in ["dax=never", "dax=inode"] {
        errno!(t.remount(0, other), EINVAL);
    }
    t.remount(0, "")?;
    ensure!(options()?.contains("dax=always"), "{}", options()?);
    t.umount()?;
    for (opts, shown) in [
        ("dax=never", "dax=never"),
        ("dax=inode", "dax=inode"),
        ("", ""),
    ] {
        t.mount(opts)?;
        ensure!(!is_dax(t, "f")?, "with '{opts}'");
        ensure!(options()?.contains(shown), "{}", options()?);
        errno!(t.remount(0, "dax=always"), EINVAL);
        t.file_holds("f", &pattern(1, 0, 10_000), "through the page cache")?;
        t.umount()?;
    }
    t.mount("dax")?;
    ensure!(is_dax(t, "f")?, "dax is dax=always");
    t.file_holds("f", &pattern(1, 0, 10_000), "directly")
}

/// Where it cannot be: `always` is refused, and the others do without.
fn refused(t: &mut T) -> Res {
    let plain = t.dev.clone();
    on_memory(t)?;
    let (pmem, blocks) = (t.dev.clone(), t.var);
    for (dev, var) in [(&plain, blocks), (&pmem, K1)] {
        t.dev = dev.clone();
        t.var = var;
        t.mkfs(64, &[])?;
        errno!(t.try_mount(0, "dax=always"), EINVAL);
        errno!(t.try_mount(0, "dax=perhaps"), EINVAL);
        for opts in ["dax=inode", "dax=never", ""] {
            t.mount(opts)?;
            let f = put(&t.p("f"), 1, 10_000)?;
            f.set_flags(f.flags()? | flags::DAX)?;
            t.cycle_with(f)?;
            ensure!(!is_dax(t, "f")?, "with '{opts}' on {dev}");
            t.umount()?;
        }
    }
    Ok(())
}

/// The flag: on a file it is for the next time that it is read, of a directory it is inherited.
fn flag(t: &mut T) -> Res {
    fresh(t, 64, "dax=inode")?;
    let f = put(&t.p("f"), 1, 10_000)?;
    let attr = FsXattr {
        xflags: XFLAG,
        ..FsXattr::default()
    };
    f.set_fsxattr(&attr)?;
    same!(f.flags()? & flags::DAX, flags::DAX, "the flag");
    ensure!(!is_dax(t, "f")?, "it has pages in the page cache");
    holds(&f, 0, &pattern(1, 0, 10_000), "before")?;
    drop(f);
    // With its last user it has left the memory.
    ensure!(is_dax(t, "f")?, "read again");
    let f = sys::rdwr(&t.p("f"))?;
    holds(&f, 0, &pattern(1, 0, 10_000), "after")?;
    f.set_fsxattr(&FsXattr::default())?;
    ensure!(is_dax(t, "f")?, "as long as it is open");
    drop(f);
    ensure!(!is_dax(t, "f")?, "and then no more");
    sys::mkdir(&t.p("d"), 0o755)?;
    let d = sys::open(&t.p("d"), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    d.set_fsxattr(&attr)?;
    put(&t.p("d/new"), 2, 100)?;
    sys::mkdir(&t.p("d/e"), 0o755)?;
    put(&t.p("d/e/new"), 2, 100)?;
    sys::symlink("new", &t.p("d/s"))?;
    drop(d);
    for name in ["d/new", "d/e/new"] {
        ensure!(is_dax(t, name)?, "{name}");
    }
    t.umount()?;
    t.mount("dax=never")?;
    ensure!(!is_dax(t, "d/new")?, "never");
    let f = sys::rdonly(&t.p("d/new"))?;
    same!(f.flags()? & flags::DAX, flags::DAX, "the flag stays");
    Ok(())
}

/// Reads and writes of all sizes, past O_DIRECT or not, over holes, preallocated blocks and the
/// end, beside a mapping.
fn content(t: &mut T) -> Res {
    fresh(t, 128, "dax=always")?;
    let len = 3 * MIB;
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, MIB as u64, MIB as u64 / 2)?;
    f.truncate(len as u64)?;
    let d = sys::direct(&t.p("f"))?;
    let map = Map::shared(&f, len)?;
    let mut want = vec![0; len];
    let mut r = fastrand::Rng::with_seed(3);
    for i in 0..150u64 {
        let (o, n) = (r.usize(..len), r.usize(1..40_000));
        let n = n.min(len - o);
        let x = pattern(i, o as u64, n);
        match r.u32(..3) {
            0 => f.pwrite(&x, o as u64)?,
            1 => d.pwrite(&Aligned::of(&x), o as u64)?,
            _ => map.write(o, &x),
        }
        want[o..o + n].copy_from_slice(&x);
        let from = o.saturating_sub(5000);
        let seen = map.read(from, (o + n + 5000).min(len) - from);
        // The kernel's ext4 goes on to show zeros where a hole was mapped (7.3).
        let right = diff_at(&seen, &want[from..from + seen.len()]).filter(|_| t.ours());
        same!(right, None, "mapped, step {i}");
    }
    holds(&f, 0, &want, "read")?;
    drop(map);
    // Appends, the last of them over a gap.
    for n in [100, 5000, 3, PAGE, 9000] {
        let x = pattern(n as u64, want.len() as u64, n);
        f.pwrite(&x, want.len() as u64)?;
        want.extend(&x);
    }
    want.resize(want.len() + 70_000, 0);
    f.pwrite(b"end", want.len() as u64)?;
    want.extend(b"end");
    holds(&f, 0, &want, "after appends")?;
    drop(d);
    t.cycle_with(f)?;
    t.file_holds("f", &want, "mounted again")?;
    t.umount()?;
    t.mount("dax=never")?;
    t.file_holds("f", &want, "through the page cache")
}

/// A mapping of a sparse file: what is loaded from a hole and stored there later, by itself,
/// another mapping, and write(2).
fn mapped(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    let f = sys::create(&t.p("f"))?;
    f.truncate(8 * PAGE as u64)?;
    let (a, b) = (Map::shared(&f, 8 * PAGE)?, Map::shared(&f, 8 * PAGE)?);
    let mut want = vec![0; 8 * PAGE];
    same!(diff_at(&a.read(0, 8 * PAGE), &want), None, "a hole");
    same!(
        f.stat()?.st_blocks,
        0,
        "blocks of a hole that was loaded from"
    );
    b.set(PAGE, 7);
    f.pwrite(&[8], 2 * PAGE as u64 + 9)?;
    f.fallocate(0, 3 * PAGE as u64, PAGE as u64)?;
    f.pwrite(&[9], 3 * PAGE as u64)?;
    for (at, byte) in [(PAGE, 7), (2 * PAGE + 9, 8), (3 * PAGE, 9)] {
        want[at] = byte;
    }
    same!(
        diff_at(&a.read(0, 8 * PAGE), &want),
        None,
        "filled by others"
    );
    same!(
        diff_at(&b.read(0, 8 * PAGE), &want),
        None,
        "filled by others, b"
    );
    holds(&f, 0, &want, "read")?;
    let private = Map::new(
        &f,
        0,
        PAGE,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE,
    )?;
    private.set(0, 1);
    same!((private.get(0), a.get(0)), (1, 0), "a private copy");
    let busy = sigbus_taken();
    f.truncate(2 * PAGE as u64)?;
    let _ = a.get(2 * PAGE);
    ensure!(sigbus_taken() > busy, "no SIGBUS behind the end");
    Ok(())
}

/// An event of the kernel's own DAX code, told as long as this lives.
pub struct Events(String);

const TRACE: &str = "/sys/kernel/tracing";

impl Events {
    pub fn new(name: &str) -> Res<Events> {
        let on = format!("{TRACE}/events/fs_dax/{name}/enable");
        if !sys::exists(&on) {
            skip!("no events of DAX");
        }
        sys::write_file(&format!("{TRACE}/trace"), "")?;
        sys::write_file(&on, "1")?;
        Ok(Events(on))
    }

    /// What they said.
    pub fn end(self) -> Res<String> {
        Ok(std::fs::read_to_string(format!("{TRACE}/trace"))?)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = sys::write_file(&self.0, "0");
    }
}

/// Two MiB by one fault, where the file has them in one piece; then a hole in it.
fn huge(t: &mut T) -> Res {
    fresh(t, 200, "dax=always")?;
    let len = 8 * MIB;
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, len as u64)?;
    let map = Map::huge(&f, len)?;
    let mut want = vec![0; len];
    let events = Events::new("dax_pmd_fault_done")?;
    for at in (0..len).step_by(MIB + 5000) {
        map.write(at, &pattern(5, at as u64, 300));
        want[at..at + 300].copy_from_slice(&pattern(5, at as u64, 300));
    }
    let told = events.end()?;
    ensure!(
        told.contains("NOPAGE"),
        "no PMD maps a file of {len} bytes in one piece: {told}"
    );
    f.punch(2 * MIB as u64 + 100, MIB as u64)?;
    want[2 * MIB + 100..3 * MIB + 100].fill(0);
    same!(diff_at(&map.read(0, len), &want), None, "mapped");
    holds(&f, 0, &want, "read")?;
    map.write(2 * MIB + 200_000, b"again");
    want[2 * MIB + 200_000..2 * MIB + 200_005].copy_from_slice(b"again");
    f.fsync()?;
    drop(map);
    t.cycle_with(f)?;
    t.file_holds("f", &want, "mounted again")
}

/// write(2) and a mapping fill halves of the same new blocks at the same time. Who comes second
/// must not zero what the first has put there.
fn same_blocks(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    let (pages, half) = (2000, PAGE / 2);
    let f = sys::create(&t.p("f"))?;
    for round in 0..4u8 {
        f.truncate(0)?;
        f.truncate((pages * PAGE) as u64)?;
        let map = Map::shared(&f, pages * PAGE)?;
        std::thread::scope(|s| {
            s.spawn(|| (0..pages).for_each(|i| map.write(i * PAGE + half, &[round + 1; PAGE / 2])));
            let x = vec![round + 101; half];
            (0..pages).try_for_each(|i| f.pwrite(&x, (i * PAGE) as u64))
        })?;
        let mut want = vec![round + 101; pages * PAGE];
        want.chunks_mut(PAGE)
            .for_each(|page| page[half..].fill(round + 1));
        holds(&f, 0, &want, &format!("round {round}"))?;
    }
    Ok(())
}

/// What a mapping has put behind the end does not become part of the file when that grows.
fn tail(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    let grow: [fn(&Fd) -> sys::Sys<()>; 4] = [
        |f| f.truncate(9000),
        |f| f.pwrite(b"x", 8999),
        |f| f.fallocate(0, 0, 9000),
        |f| f.pwrite(b"x", 2000),
    ];
    for (i, grow) in grow.iter().enumerate() {
        let f = put(&t.p("f"), 1, 1000)?;
        f.truncate(1000)?;
        let map = Map::shared(&f, PAGE)?;
        map.write(1000, &[0xEE; PAGE - 1000]);
        same!(f.size()?, 1000, "a store moves no size");
        grow(&f)?;
        let mut got = vec![1; f.size()? as usize - 1000];
        f.pread(&mut got, 1000)?;
        let found = got.iter().position(|b| *b != 0 && *b != b'x');
        same!(found, None, "garbage behind the old end, way {i}");
        drop((map, f));
        sys::unlink(&t.p("f"))?;
    }
    // Cut off, and grown again.
    let f = put(&t.p("g"), 1, 10_000)?;
    f.truncate(5000)?;
    f.truncate(10_000)?;
    let mut want = pattern(1, 0, 10_000);
    want[5000..].fill(0);
    holds(&f, 0, &want, "cut and grown")
}

/// As `Map::shared`, durable without fsync.
fn synced(f: &Fd, len: usize) -> sys::Sys<Map> {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SYNC);
    Map::new(f, 0, len, prot, libc::MAP_SHARED_VALIDATE | flags)
}

/// MAP_SYNC: the block of a store is in the log before the store is done, so a crash leaves it.
fn map_sync(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    let f = sys::create(&t.p("f"))?;
    f.truncate(16 * PAGE as u64)?;
    f.fallocate(0, 8 * PAGE as u64, 4 * PAGE as u64)?;
    f.fsync()?;
    let map = synced(&f, 16 * PAGE)?;
    let places = [0, 3 * PAGE, 8 * PAGE + 5, 15 * PAGE];
    for (at, byte) in places.iter().zip(1..) {
        map.set(*at, byte);
    }
    shut_down(&root(t)?, NOW)?;
    drop(map);
    t.cycle_with(f)?;
    let f = sys::rdonly(&t.p("f"))?;
    for (at, byte) in places.iter().zip(1u8..) {
        holds(&f, *at as u64, &[byte], "after a crash")?;
    }
    drop(f);
    t.umount()?;
    t.mount("dax=never")?;
    let f = sys::rdwr(&t.p("f"))?;
    errno!(synced(&f, PAGE), EOPNOTSUPP);
    Ok(())
}

/// What is durable after fsync, whatever wrote it; and what a crash leaves of the rest.
fn fsync(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    let f = sys::create(&t.p("f"))?;
    f.truncate(MIB as u64)?;
    let map = Map::shared(&f, MIB)?;
    map.write(300_000, &pattern(1, 0, 10_000));
    f.pwrite(&pattern(2, 0, 50_000), 1000)?;
    f.pwrite(&pattern(3, 0, 50_000), MIB as u64)?;
    f.fdatasync()?;
    let late = put(&t.p("late"), 4, 50_000)?;
    shut_down(&root(t)?, NOW)?;
    drop((map, late));
    t.cycle_with(f)?;
    let mut want = vec![0; MIB];
    want[1000..51_000].copy_from_slice(&pattern(2, 0, 50_000));
    want[300_000..310_000].copy_from_slice(&pattern(1, 0, 10_000));
    want.extend(pattern(3, 0, 50_000));
    t.file_holds("f", &want, "after fdatasync and a crash")?;
    same!(
        sys::lstat(&t.p("f"))?.st_size,
        want.len() as i64,
        "its size"
    );
    if sys::exists(&t.p("late")) {
        let n = sys::lstat(&t.p("late"))?.st_size as usize;
        t.file_holds("late", &pattern(4, 0, n), "not synced")?;
    }
    Ok(())
}

/// A full disk: write(2) says so, a store is SIGBUS, and what was there stays.
fn full(t: &mut T) -> Res {
    fresh(t, 32, "dax=always")?;
    let sparse = sys::create(&t.p("sparse"))?;
    sparse.truncate(64 * PAGE as u64)?;
    let map = Map::shared(&sparse, 64 * PAGE)?;
    let f = sys::create(&t.p("f"))?;
    let mut len = 0;
    for n in [MIB, PAGE] {
        let x = vec![0x55; n];
        while let Ok(done) = f.pwrite_once(&x, len) {
            len += done as u64;
        }
    }
    same!(f.size()?, len, "size of what fills the disk");
    let busy = sigbus_taken();
    (0..64).for_each(|i| map.set(i * PAGE, 1));
    ensure!(sigbus_taken() > busy, "no SIGBUS on a full disk");
    f.truncate(len - MIB as u64)?;
    f.fsync()?;
    map.set(PAGE, 2);
    same!(map.get(PAGE), 2, "stored when there is room");
    Ok(())
}

/// What there is only with a page cache: swap, and writes that are whole or not.
fn not_for(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    let f = put(&t.p("swap"), 1, MIB)?;
    f.fsync()?;
    let name = std::ffi::CString::new(t.p("swap")).unwrap_or_default();
    // SAFETY: A NUL-terminated path.
    same!(unsafe { libc::swapon(name.as_ptr(), 0) }, -1, "swapon");
    same!(sys::errno(), libc::EINVAL, "swapon");
    let whole = sys::statx(&t.p("swap"))?.stx_attributes & 0x40_0000;
    same!(whole, 0, "whole writes");
    Ok(())
}
