// SPDX-License-Identifier: GPL-2.0
//! Disks as large as people have: sparse files behind loop devices. And how deep the stack gets.

use crate::cases::damage::baddev::Loop;
use crate::fiemap::fiemap;
use crate::fixture::{holds, names, pattern, put, T};
use crate::harness::{Case, Res, K1, K4, ONE, SMALL};
use crate::sys::{self, Aligned};
use crate::{ensure, errno, fail, same, skip, wait, xattr};

pub const CASES: &[Case] = &[
    Case::new("large/128g", &[K4, K1], |t| large(t, 128)).quick(),
    // The largest with blocks of 1 KiB: from 1 TiB on mke2fs makes meta_bg, which is refused.
    Case::new("large/512g", SMALL, |t| large(t, 512)).secs(180),
    Case::new("large/1t", ONE, |t| large(t, 1 << 10)),
    Case::new("large/16t", ONE, |t| large(t, 16 << 10)).secs(180),
    Case::new("large/full", ONE, full).secs(180),
    Case::new("large/reach", ONE, reach).secs(180),
    Case::new("large/freed", ONE, freed).quick(),
    Case::new("large/stack", ONE, stack).quick(),
    Case::new("large/hard_order", ONE, hard_order).quick(),
];

/// What may be used of the 16 KiB of a kernel stack: interrupts and what is below us on other
/// machines need the rest.
const DEEPEST: u64 = 8 << 10;

/// The stack tracer, where the kernel has it: the deepest stack of any task since it was reset.
struct Tracer(());

const ENABLED: &str = "/proc/sys/kernel/stack_tracer_enabled";
const TRACING: &str = "/sys/kernel/tracing";

impl Tracer {
    fn new() -> Option<Tracer> {
        if !sys::exists(ENABLED) {
            return None;
        }
        if !sys::exists(&format!("{TRACING}/stack_max_size")) {
            sys::mount("none", TRACING, "tracefs", 0, "").ok()?;
        }
        sys::write_file(ENABLED, "1\n").ok()?;
        let tracer = Tracer(());
        tracer.reset();
        Some(tracer)
    }

    fn reset(&self) {
        let _ = sys::write_file(&format!("{TRACING}/stack_max_size"), "0\n");
    }

    /// Bytes since the last call; fails, with the frames, if they are too many.
    fn check(&self, what: &str) -> Res {
        let read = |name: &str| std::fs::read_to_string(format!("{TRACING}/{name}"));
        let max: u64 = read("stack_max_size")?.trim().parse().unwrap_or(u64::MAX);
        let frames = read("stack_trace")?;
        eprintln!("# stack: {what}: {max} bytes");
        ensure!(max <= DEEPEST, "{what} took {max} bytes of stack: {frames}");
        self.reset();
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = sys::write_file(ENABLED, "0\n");
    }
}

/// Mount, write, read back and check a disk of which most was never written.
fn large(t: &mut T, gib: u64) -> Res {
    let file = sys::create("/mnt/disk")?;
    file.truncate(gib << 30)?;
    let disk = Loop::new(&file)?;
    t.dev = disk.path.clone();
    // Checked below, as long as the device is there.
    t.broken = true;
    let lazy = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
    t.mkfs(gib << 10, &["-J", "size=64", "-E", lazy])?;
    let tracer = Tracer::new();
    t.mount("")?;
    if let Some(tracer) = &tracer {
        tracer.check(&format!("mount of {gib} GiB"))?;
    }
    // Directories go to groups all over the disk, and files near them.
    for i in 0..40 {
        sys::mkdir(&t.p(&format!("d{i}")), 0o755)?;
        put(&t.p(&format!("d{i}/f")), i, 50_000)?;
    }
    sys::sync();
    for i in (0..40).step_by(2) {
        sys::unlink(&t.p(&format!("d{i}/f")))?;
        sys::rmdir(&t.p(&format!("d{i}")))?;
    }
    t.cycle()?;
    same!(names(&t.p(""))?.len(), 21, "with lost+found");
    for i in (1..40).step_by(2) {
        let f = sys::rdonly(&t.p(&format!("d{i}/f")))?;
        holds(&f, 0, &pattern(i, 0, 50_000), "after another mount")?;
    }
    if let Some(tracer) = &tracer {
        tracer.check(&format!("use of {gib} GiB"))?;
    }
    t.umount()?;
    t.fsck()?;
    drop(disk);
    drop(file);
    sys::unlink("/mnt/disk")?;
    Ok(())
}

/// CRC32C without inversion, as the descriptors have it.
fn crc32c(seed: u32, data: &[u8]) -> u32 {
    data.iter().fold(seed, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

/// Fields of a group descriptor, as offsets.
const FREE_BLOCKS: [usize; 2] = [0x0c, 0x2c];
const FREE_INODES: [usize; 2] = [0x0e, 0x2e];
const FLAGS: usize = 0x12;
const UNUSED_INODES: [usize; 2] = [0x1c, 0x32];
const CHECKSUM: usize = 0x1e;

/// Makes all groups full, but for the blocks of some and the inodes of another. Nobody looks at the
/// bitmaps of a full group.
fn fill_groups(t: &T, count: u32, blocks: &[u32], inodes: u32) -> Res {
    let uuid = &t.peek(1024, 1024)?[0x68..0x78];
    let seed = crc32c(!0, uuid);
    for mib in 0..count.div_ceil(1 << 14) {
        let place = 4096 + (u64::from(mib) << 20);
        let mut table = t.peek(place, 1 << 20)?;
        let groups = (mib << 14)..count;
        for (group, desc) in groups.zip(table.chunks_exact_mut(64)) {
            let mut clear = vec![CHECKSUM];
            if !blocks.contains(&group) {
                clear.extend(FREE_BLOCKS);
                desc[FLAGS] &= !2;
            }
            if group != inodes {
                clear.extend(FREE_INODES);
                clear.extend(UNUSED_INODES);
                desc[FLAGS] &= !1;
            }
            for field in clear {
                desc[field..field + 2].fill(0);
            }
            let crc = crc32c(crc32c(seed, &group.to_le_bytes()), desc);
            desc[CHECKSUM..CHECKSUM + 2].copy_from_slice(&(crc as u16).to_le_bytes());
        }
        t.poke(place, &table)?;
    }
    Ok(())
}

/// A disk of 16 TiB that is full, but for two of its groups: they are found, and without a look at
/// all the others.
fn full(t: &mut T) -> Res {
    let file = sys::create("/mnt/disk")?;
    file.truncate(16 << 40)?;
    let disk = Loop::new(&file)?;
    t.dev = disk.path.clone();
    t.broken = true;
    let lazy = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
    t.mkfs(
        16 << 20,
        &[
            "-J",
            "size=64",
            "-m",
            "0",
            "-E",
            lazy,
            "-O",
            "^metadata_csum_seed",
        ],
    )?;
    let (with_blocks, with_inodes) = (50_000, 100_000);
    fill_groups(t, 1 << 17, &[with_blocks], with_inodes)?;
    t.mount("")?;
    let timed = |what: &str, run: &mut dyn FnMut(usize) -> Res| -> Res {
        let mut times = Vec::new();
        for i in 0..100 {
            let begin = std::time::Instant::now();
            run(i)?;
            times.push(begin.elapsed().as_micros());
        }
        times.sort_unstable();
        eprintln!("# a full disk of 16 TiB: {what}: {} us", times[50]);
        Ok(())
    };
    let mut files = Vec::new();
    timed("two inodes", &mut |i| {
        files.push(sys::create(&t.p(&format!("f{i}")))?);
        files.push(sys::create(&t.p(&format!("g{i}")))?);
        Ok(())
    })?;
    timed("block", &mut |i| Ok(files[2 * i].fallocate(0, 0, 4096)?))?;
    timed("run", &mut |i| {
        Ok(files[2 * i + 1].fallocate(0, 0, 200 << 12)?)
    })?;
    let per_group = u32::from_le_bytes(t.peek(1024 + 0x28, 4)?.try_into().unwrap());
    for f in &files {
        let ino = f.stat()?.st_ino;
        same!(
            (ino - 1) / u64::from(per_group),
            u64::from(with_inodes),
            "group"
        );
        for ext in fiemap(f, 0, 1 << 30, false, 10)? {
            same!(ext.phys >> 27, u64::from(with_blocks), "group of the data");
        }
    }
    let all = sys::create(&t.p("all"))?;
    errno!(all.fallocate(0, 0, 128 << 20), ENOSPC);
    Ok(())
}

/// The pointers of a block map reach 16 TiB. On a larger disk, full as far as that, what was
/// promised to data of such a file is where it is of no use: that is told, and nobody waits for it
/// to change. What has no map, a pipe with an attribute, has the rest of the disk.
fn reach(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 has another limit for pipes");
    }
    let file = sys::create("/mnt/disk")?;
    file.truncate(17 << 40)?;
    let disk = Loop::new(&file)?;
    t.dev = disk.path.clone();
    t.broken = true;
    let lazy = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
    let more = ["-J", "size=64", "-m", "0", "-E", lazy];
    t.mkfs(
        17 << 20,
        &[&more[..], &["-O", "^metadata_csum_seed"]].concat(),
    )?;
    t.mount("")?;
    sys::create(&t.p("f"))?;
    sys::create(&t.p("ballast"))?;
    t.umount()?;
    // mke2fs makes no such disk without extents.
    let mut commands = Vec::new();
    for name in ["f", "ballast"] {
        commands.push(format!("sif {name} flags 0"));
        commands.extend((0..3).map(|i| format!("sif {name} block[{i}] 0")));
    }
    t.debugfs(&commands.iter().map(String::as_str).collect::<Vec<_>>())?;
    fill_groups(t, 17 << 13, &[50_000, 135_000], 100_000)?;
    t.mount("")?;
    let (bs, ballast) = (t.bs(), sys::direct(&t.p("ballast"))?);
    let data = Aligned::of(&pattern(1, 0, 1 << 20));
    let (mut end, mut len) = (0, data.len());
    while len >= t.var.bs {
        match ballast.pwrite_once(&data[..len], end) {
            Ok(n) => end += n as u64,
            Err(e) if e.errno == libc::ENOSPC => len /= 2,
            Err(e) => return Err(e.into()),
        }
    }
    ensure!((100..130).contains(&(end >> 20)), "{end} bytes");
    // A block of data, and one of the two blocks of pointers that it needs.
    ballast.truncate(end - 2 * bs)?;
    sys::sync();
    let f = sys::rdwr(&t.p("f"))?;
    f.pwrite(&pattern(2, 0, 50), (12 + bs / 4 + 5) * bs)?;
    errno!(f.fsync(), ENOSPC);
    same!(f.stat()?.st_blocks, 0, "sectors");
    let pipe = std::ffi::CString::new(t.p("pipe")).expect("path");
    // SAFETY: A path.
    same!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0, "mkfifo");
    xattr::set(&t.p("pipe"), "trusted.large", &pattern(3, 0, 3000), 0)?;
    same!(sys::lstat(&t.p("pipe"))?.st_blocks as u64, bs / 512, "pipe");
    Ok(())
}

/// The deepest stack of what the file system does, each below the limit.
fn stack(t: &mut T) -> Res {
    let Some(tracer) = Tracer::new() else {
        skip!("the kernel has no stack tracer")
    };
    t.mkfs(256, &[])?;
    t.mount("")?;
    tracer.check("mount")?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..3000 {
        sys::create(&t.p(&format!("d/{i:0120}")))?;
    }
    tracer.check("create, with a split index")?;
    t.cycle()?;
    same!(names(&t.p("d"))?.len(), 3000, "names");
    tracer.check("readdir")?;
    // Every second block: a tree of several levels, allocated in writeback.
    let f = sys::create(&t.p("holes"))?;
    for i in 0..4000 {
        f.pwrite(&pattern(1, 0, 4096), i * 8192)?;
    }
    f.fsync()?;
    tracer.check("writeback")?;
    f.truncate(4096)?;
    tracer.check("truncate")?;
    sys::unlink(&t.p("holes"))?;
    drop(f);
    tracer.check("evict")?;
    for i in 0..3000 {
        sys::unlink(&t.p(&format!("d/{i:0120}")))?;
    }
    sys::sync();
    tracer.check("unlink and evict of 3000")?;
    t.umount()?;
    tracer.check("unmount")?;
    Ok(())
}

/// An order of `n` items that the library's sort goes deep with, found by an opponent who decides
/// about the order while it is asked (McIlroy, "A Killer Adversary for Quicksort", 1999): what it
/// has not decided about is smaller than all else, so the left part, for which the sort calls
/// itself, stays large.
fn hard(n: usize) -> Vec<usize> {
    const OPEN: usize = usize::MAX;
    let mut place = vec![OPEN; n];
    // Not in order at the beginning, or the sort has nothing to do.
    place[..3].copy_from_slice(&[1, 0, 2]);
    let (mut decided, mut candidate) = (3, 0);
    // As large as what the module sorts.
    let mut items: Vec<(usize, u64, u32)> = (0..n).map(|i| (i, 0, 0)).collect();
    items.sort_unstable_by(|&(a, ..), &(b, ..)| {
        if a != b && place[a] == OPEN && place[b] == OPEN {
            let fixed = if a == candidate { a } else { b };
            place[fixed] = decided;
            decided += 1;
        }
        if place[a] == OPEN {
            candidate = a;
        } else if place[b] == OPEN {
            candidate = b;
        }
        place[b].cmp(&place[a])
    });
    for place in place.iter_mut() {
        if *place == OPEN {
            *place = decided;
            decided += 1;
        }
        *place = n - 1 - *place;
    }
    place
}

/// Names lie in a block as they were made, and are listed in the order of their hashes: whoever
/// makes them chooses what the sort finds.
fn hard_order(t: &mut T) -> Res {
    t.fresh()?;
    let tracer = Tracer::new();
    sys::mkdir(&t.p("easy"), 0o755)?;
    for i in 0..330 {
        sys::create(&t.p(&format!("easy/{i:04}")))?;
    }
    let listed = |dir: &str| -> Res<Vec<std::ffi::OsString>> {
        let entries: Result<Vec<_>, _> = std::fs::read_dir(t.p(dir))?.collect();
        Ok(entries?.iter().map(|e| e.file_name()).collect())
    };
    let by_hash = listed("easy")?;
    sys::mkdir(&t.p("hard"), 0o755)?;
    for rank in hard(by_hash.len()) {
        sys::create(&t.p(&format!("hard/{}", by_hash[rank].to_string_lossy())))?;
    }
    same!(listed("hard")?, by_hash, "the order of the hashes");
    if let Some(tracer) = &tracer {
        tracer.check("readdir of a hard order")?;
    }
    Ok(())
}

/// KiB of the kernel's own memory that cannot be reclaimed.
fn slabs() -> Res<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix("SUnreclaim:"));
    match line.and_then(|l| l.split_whitespace().next()?.parse().ok()) {
        Some(kib) => Ok(kib),
        None => fail!("no SUnreclaim in /proc/meminfo"),
    }
}

/// What is remembered of freed blocks, up to a bitmap for each group, goes with the commit, and not
/// when somebody happens to look for blocks there.
fn freed(t: &mut T) -> Res {
    // As many groups as 175 GiB have.
    t.mkfs(
        1400,
        &[
            "-g",
            "256",
            "-O",
            "^resize_inode",
            "-J",
            "size=64",
            "-m",
            "0",
        ],
    )?;
    t.mount("commit=600")?;
    let free = sys::statfs(&t.p(""))?.f_bavail;
    for round in 0..3 {
        let file = sys::create(&t.p("f"))?;
        file.fallocate(0, 0, (free - free / 20) * t.bs())?;
        drop(file);
        t.drop_caches()?;
        let before = slabs()?;
        sys::unlink(&t.p("f"))?;
        let pending = slabs()?;
        sys::sync();
        let mut after = slabs()?;
        // What is freed may wait for its grace period.
        wait::until(|| {
            after = slabs()?;
            Ok(after < before + 1500)
        })?;
        eprintln!("# slabs: {before} KiB, freed: {pending}, committed: {after}");
        ensure!(
            !t.ours() || pending > before + 4000,
            "nothing is remembered: {before} KiB before, {pending} after"
        );
        ensure!(
            after < before + 1500,
            "round {round}: {before} KiB of slabs, {after} when all is free and committed"
        );
    }
    Ok(())
}
