// SPDX-License-Identifier: GPL-2.0
//! Power cuts: from one moment on the device drops writes, then the journal is replayed.

use crate::dm::{self, Dm};
use crate::fixture::{holds, pattern, put, T};
use crate::flags;
use crate::harness::{Case, Res, ALL, BOTH_MAPS, FEATS};
use crate::map::Map;
use crate::sys::{self, Aligned};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("crash/fsync", FEATS, fsync).quick(),
    Case::new("crash/fdatasync", BOTH_MAPS, fdatasync).quick(),
    Case::new("crash/fdatasync_leaf", ALL, fdatasync_leaf).quick(),
    Case::new("crash/dsync_append", BOTH_MAPS, dsync_append).quick(),
    Case::new("crash/names", FEATS, durable_names).quick(),
    Case::new("crash/orphans", FEATS, orphans).quick(),
    Case::new("crash/truncate", BOTH_MAPS, truncate),
    Case::new("crash/sync_size", BOTH_MAPS, sync_size).quick(),
    Case::new("crash/punch_size", BOTH_MAPS, punch_size).quick(),
];

pub const MB: u64 = 256;

/// A linear device over the first disk, as the device under test, with no known content.
pub fn on_dm(t: &mut T) -> Res<Dm> {
    let d = t.mapped("t", MB)?;
    t.dev = d.path.clone();
    Ok(d)
}

fn dropping(disk: &str) -> dm::Line<'static> {
    (
        0,
        MB * 2048,
        "flakey",
        format!("{disk} 0 0 180 1 drop_writes"),
    )
}

/// From here on nothing reaches the disk.
pub fn cut(t: &T, d: &Dm) -> Res {
    match d.swap(&[dropping(&t.disks[0])]) {
        Err(e) if e.errno == libc::EINVAL => skip!("no dm-flakey"),
        r => Ok(r?),
    }
}

/// Unmounts in the dark and lets the disk speak again.
pub fn lights_on(t: &mut T, d: &Dm) -> Res {
    t.umount()?;
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    Ok(())
}

pub fn crash(t: &mut T, d: &Dm) -> Res {
    cut(t, d)?;
    lights_on(t, d)?;
    t.mount("")
}

pub fn start(t: &mut T) -> Res<Dm> {
    let d = on_dm(t)?;
    t.fresh()?;
    Ok(d)
}

/// What was synced, in every way there is, is there after a crash.
fn fsync(t: &mut T) -> Res {
    let d = start(t)?;
    synced_in_every_way(t)?;
    crash(t, &d)?;
    all_that_was_synced(t)
}

const LEN: usize = 300_001;
const APPENDS: u64 = 20;

/// A file for each way to bring data to the disk.
fn synced_in_every_way(t: &T) -> Res {
    let n = LEN;
    put(&t.p("buffered"), 1, n)?.fsync()?;
    let f = put(&t.p("mapped"), 2, n)?;
    let m = Map::shared(&f, n)?;
    m.write(1000, b"through the mapping");
    m.msync()?;
    let g = sys::direct(&t.p("direct"))?;
    g.pwrite(&Aligned::of(&pattern(3, 0, 65_536)), 0)?;
    g.fsync()?;
    let s = sys::open(
        &t.p("osync"),
        libc::O_CREAT | libc::O_RDWR | libc::O_SYNC,
        0o644,
    )?;
    s.pwrite(&pattern(4, 0, 10_000), 0)?;
    let a = put(&t.p("append"), 5, 1000)?;
    a.fsync()?;
    for i in 0..APPENDS {
        a.pwrite(&pattern(5, 1000 + i * 777, 777), 1000 + i * 777)?;
        a.fsync()?;
    }
    let h = sys::create(&t.p("holes"))?;
    h.pwrite(b"far", 1 << 30)?;
    h.pwrite(b"near", 100)?;
    h.fsync()?;
    let w = sys::create(&t.p("prealloc"))?;
    w.fallocate(0, 0, 1 << 20)?;
    w.pwrite(&pattern(6, 0, 5000), 50_000)?;
    w.fsync()?;
    Ok(())
}

fn all_that_was_synced(t: &T) -> Res {
    t.file_holds("buffered", &pattern(1, 0, LEN), "fsync")?;
    let mut want = pattern(2, 0, LEN);
    want[1000..1019].copy_from_slice(b"through the mapping");
    t.file_holds("mapped", &want, "msync")?;
    t.file_holds("direct", &pattern(3, 0, 65_536), "direct and fsync")?;
    t.file_holds("osync", &pattern(4, 0, 10_000), "O_SYNC")?;
    let size = 1000 + APPENDS * 777;
    let appended = sys::rdonly(&t.p("append"))?;
    same!(appended.size()?, size, "size of the appended file");
    let want = pattern(5, 0, size as usize);
    holds(&appended, 0, &want, "append and fsync")?;
    let sparse = sys::rdonly(&t.p("holes"))?;
    same!(sparse.size()?, (1 << 30) + 3, "size of the sparse file");
    holds(&sparse, 100, b"near", "sparse")?;
    holds(&sparse, 1 << 30, b"far", "sparse")?;
    let mut want = vec![0; 1 << 20];
    want[50_000..55_000].copy_from_slice(&pattern(6, 0, 5000));
    t.file_holds("prealloc", &want, "preallocated")
}

/// A conversion that changes only a leaf of the extent tree, nothing in the inode.
fn fdatasync_leaf(t: &mut T) -> Res {
    let d = start(t)?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, 64 * bs)?;
    for i in 0..16 {
        f.pwrite(&pattern(1, 2 * i * bs, bs as usize), 2 * i * bs)?;
    }
    f.fsync()?;
    let at = 40 * bs;
    let want = pattern(2, at, bs as usize);
    f.pwrite(&want, at)?;
    f.fdatasync()?;
    drop(f);
    crash(t, &d)?;
    holds(&sys::rdonly(&t.p("f"))?, at, &want, "after fdatasync")?;
    Ok(())
}

/// fdatasync and O_DSYNC keep data and size over a crash.
fn fdatasync(t: &mut T) -> Res {
    let d = start(t)?;
    let f = put(&t.p("f"), 1, 100_000)?;
    f.fdatasync()?;
    f.pwrite(&pattern(2, 50_000, 10_000), 50_000)?;
    f.fdatasync()?;
    let g = sys::create(&t.p("g"))?;
    for i in 0..30u64 {
        g.pwrite(&pattern(3, i * 5000, 5000), i * 5000)?;
        g.fdatasync()?;
    }
    let h = sys::open(
        &t.p("h"),
        libc::O_CREAT | libc::O_RDWR | libc::O_DIRECT | libc::O_DSYNC,
        0o644,
    )?;
    h.pwrite(&Aligned::of(&pattern(4, 0, 16_384)), 8192)?;
    let m = put(&t.p("m"), 5, 8192)?;
    m.fdatasync()?;
    m.pwrite(&pattern(6, 0, 4096), 0)?;
    m.fdatasync()?;
    drop((f, g, h, m));
    crash(t, &d)?;
    let mut want = pattern(1, 0, 100_000);
    want[50_000..60_000].copy_from_slice(&pattern(2, 50_000, 10_000));
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &want,
        "overwritten and fdatasync",
    )?;
    same!(
        sys::lstat(&t.p("g"))?.st_size,
        150_000,
        "size after fdatasync"
    );
    holds(
        &sys::rdonly(&t.p("g"))?,
        0,
        &pattern(3, 0, 150_000),
        "appended and fdatasync",
    )?;
    holds(
        &sys::rdonly(&t.p("h"))?,
        0,
        &[vec![0; 8192], pattern(4, 0, 16_384)].concat(),
        "O_DSYNC direct",
    )?;
    holds(
        &sys::rdonly(&t.p("m"))?,
        0,
        &[pattern(6, 0, 4096), pattern(5, 4096, 4096)].concat(),
        "overwrite",
    )?;
    Ok(())
}

/// O_DSYNC, and a mount with `sync`: a direct append inside of a written block is durable with its
/// size, though not a block is allocated or converted.
fn dsync_append(t: &mut T) -> Res {
    let d = start(t)?;
    for (name, flags, mount) in [
        ("dsync", libc::O_DSYNC, 0),
        ("sync", libc::O_SYNC, 0),
        ("mounted_sync", 0, libc::MS_SYNCHRONOUS),
    ] {
        put(&t.p(name), 1, 512)?.fsync()?;
        if mount != 0 {
            t.umount()?;
            t.try_mount(mount, "")?;
        }
        // A device without a volatile cache, where the data alone needs no flush.
        let dev = d.path.rsplit('/').next().unwrap_or_default();
        sys::write_file(
            &format!("/sys/block/{dev}/queue/write_cache"),
            "write through",
        )?;
        let f = sys::open(&t.p(name), libc::O_RDWR | libc::O_DIRECT | flags, 0)?;
        match f.pwrite_once(&Aligned::of(&pattern(1, 512, 512)), 512) {
            Err(e) if e.errno == libc::EINVAL => skip!("sectors of more than 512 bytes"),
            r => same!(r?, 512, "append"),
        }
        drop(f);
        crash(t, &d)?;
        let f = sys::rdonly(&t.p(name))?;
        same!(f.size()?, 1024, "{name}: size");
        holds(&f, 0, &pattern(1, 0, 1024), name)?;
    }
    Ok(())
}

/// One fsync commits every name made before it in the same journal.
fn durable_names(t: &mut T) -> Res {
    let d = start(t)?;
    sys::mkdir(&t.p("a"), 0o755)?;
    sys::mkdir(&t.p("a/b"), 0o700)?;
    put(&t.p("a/b/old"), 1, 5000)?;
    sys::rename(&t.p("a/b/old"), &t.p("a/new"))?;
    sys::symlink("a/new", &t.p("sym"))?;
    sys::symlink(&"x".repeat(500), &t.p("slow"))?;
    sys::mknod(&t.p("fifo"), libc::S_IFIFO | 0o600, 0)?;
    sys::link(&t.p("a/new"), &t.p("hard"))?;
    sys::mkdir(&t.p("dead"), 0o755)?;
    sys::rmdir(&t.p("dead"))?;
    sys::chmod(&t.p("a/new"), 0o600)?;
    sys::lchown(&t.p("a/new"), 7, 8)?;
    sys::utimens(&t.p("a/new"), (10, 1), (20, 2))?;
    sys::rdwr(&t.p("a/new"))?.fsync()?;
    // Replacing by rename: either the old or the new content, whole.
    put(&t.p("config"), 10, 3000)?.fsync()?;
    let n = put(&t.p("config.new"), 11, 4000)?;
    n.fsync()?;
    drop(n);
    sys::rename(&t.p("config.new"), &t.p("config"))?;
    put(&t.p("late"), 12, 10)?;
    crash(t, &d)?;
    let st = sys::lstat(&t.p("a/new"))?;
    same!(
        (st.st_mode & 0o7777, st.st_uid, st.st_gid, st.st_nlink),
        (0o600, 7, 8, 2),
        "attributes"
    );
    same!(
        (st.st_atime, st.st_mtime, st.st_mtime_nsec),
        (10, 20, 2),
        "times"
    );
    holds(
        &sys::rdonly(&t.p("hard"))?,
        0,
        &pattern(1, 0, 5000),
        "hard link",
    )?;
    same!(sys::readlink(&t.p("sym"))?, b"a/new", "symlink");
    same!(sys::readlink(&t.p("slow"))?.len(), 500, "slow symlink");
    ensure!(
        sys::exists(&t.p("fifo")) && !sys::exists(&t.p("dead")),
        "fifo and dead"
    );
    errno!(sys::lstat(&t.p("a/b/old")), ENOENT);
    let c = sys::rdonly(&t.p("config"))?;
    match c.size()? {
        3000 => holds(&c, 0, &pattern(10, 0, 3000), "old config")?,
        _ => holds(&c, 0, &pattern(11, 0, 4000), "new config")?,
    }
    Ok(())
}

/// Unlinked and open at the cut: removed at the next mount, with their blocks.
fn orphans(t: &mut T) -> Res {
    let d = start(t)?;
    // The directory itself keeps its blocks: count from when it has them.
    for i in 0..30 {
        put(&t.p(&format!("pre{i}")), 1, 1)?;
        sys::unlink(&t.p(&format!("pre{i}")))?;
    }
    sys::sync();
    let free = sys::statfs(&t.p(""))?;
    let mut open = Vec::new();
    for i in 0..30u64 {
        let f = put(&t.p(&format!("o{i}")), i, 100_000)?;
        if i % 2 == 0 {
            // Sparse, so that several extents go.
            f.pwrite(b"tail", 5 << 20)?;
        }
        open.push(f);
    }
    sys::sync();
    for i in 0..30 {
        sys::unlink(&t.p(&format!("o{i}")))?;
    }
    let tmp = sys::open(&t.p(""), libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
    tmp.pwrite(&[1; 50_000], 0)?;
    let keep = put(&t.p("keep"), 99, 10)?;
    keep.fsync()?;
    // A third is closed and thereby removed, but that need not have reached the disk.
    open.drain(..10);
    cut(t, &d)?;
    drop((open, tmp, keep));
    lights_on(t, &d)?;
    t.mount("")?;
    let now = sys::statfs(&t.p(""))?;
    same!(
        now.f_ffree,
        free.f_ffree - 1,
        "free inodes after orphan processing"
    );
    same!(
        now.f_bfree,
        free.f_bfree - 1,
        "free blocks after orphan processing"
    );
    t.umount()?;
    t.fsck()?;
    Ok(())
}

/// A synced cut or punch holds over a crash, and no old byte comes back.
fn truncate(t: &mut T) -> Res {
    let d = start(t)?;
    let bs = t.bs();
    let f = put(&t.p("f"), 1, 2 << 20)?;
    f.fsync()?;
    f.truncate(100_001)?;
    f.fsync()?;
    let p = put(&t.p("p"), 2, 1 << 20)?;
    p.fsync()?;
    p.punch(bs, 100 * bs)?;
    p.fsync()?;
    let up = put(&t.p("up"), 3, 777)?;
    up.fsync()?;
    up.truncate(1 << 20)?;
    up.fsync()?;
    // Not synced: old or new size, and then no old byte behind a cut that reached the disk.
    let u = put(&t.p("u"), 4, 200_000)?;
    u.fsync()?;
    u.truncate(5000)?;
    drop((f, p, up, u));
    crash(t, &d)?;
    let f = sys::rdwr(&t.p("f"))?;
    same!(f.size()?, 100_001, "size after a synced truncate");
    f.truncate(200_000)?;
    let mut want = pattern(1, 0, 100_001);
    want.resize(200_000, 0);
    holds(&f, 0, &want, "grown again")?;
    let mut want = pattern(2, 0, 1 << 20);
    want[bs as usize..(101 * bs) as usize].fill(0);
    holds(&sys::rdonly(&t.p("p"))?, 0, &want, "a synced hole")?;
    let mut want = pattern(3, 0, 777);
    want.resize(1 << 20, 0);
    holds(&sys::rdonly(&t.p("up"))?, 0, &want, "grown and synced")?;
    let u = sys::rdwr(&t.p("u"))?;
    let n = u.size()? as usize;
    ensure!(n == 5000 || n == 200_000, "size {n}");
    u.truncate(200_000)?;
    let mut want = pattern(4, 0, n);
    want.resize(200_000, 0);
    holds(&u, 0, &want, "an unsynced truncate")?;
    Ok(())
}

/// The last bytes are punched, or zeroed, before they were written: fsync keeps the size.
fn punch_size(t: &mut T) -> Res {
    let d = start(t)?;
    let zero = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let mut files = Vec::new();
    let modes = [punch, zero].into_iter().take(1 + usize::from(t.extents()));
    for (i, mode) in modes.enumerate() {
        for (size, from) in [(8192, 4096), (8192, 0), (65_536, 32_768), (9000, 4096)] {
            let name = t.p(&format!("f{i}-{size}-{from}"));
            let f = put(&name, 1, size)?;
            f.fallocate(mode, from as u64, (size - from) as u64)?;
            f.fsync()?;
            let mut want = pattern(1, 0, size);
            want[from..].fill(0);
            files.push((name, want));
        }
    }
    crash(t, &d)?;
    for (name, want) in files {
        let f = sys::rdonly(&name)?;
        same!(f.size()?, want.len() as u64, "size of {name}");
        holds(&f, 0, &want, "synced")?;
    }
    Ok(())
}

/// The size of a synchronous file, by its flag or by the mount: what truncate(2) and O_TRUNC have
/// made of it is there after a power cut, both ways.
fn sync_size(t: &mut T) -> Res {
    let d = start(t)?;
    for mount in [0, libc::MS_SYNCHRONOUS] {
        put(&t.p("cut"), 1, 50_000)?.fsync()?;
        for name in ["grown", "emptied"] {
            put(&t.p(name), 1, 700)?.fsync()?;
        }
        t.umount()?;
        t.try_mount(mount, "")?;
        if mount == 0 {
            for name in ["cut", "grown", "emptied"] {
                let f = sys::rdonly(&t.p(name))?;
                f.set_flags(f.flags()? | flags::SYNC)?;
            }
            sys::sync();
        }
        sys::truncate(&t.p("cut"), 777)?;
        // ext4 waits where blocks go.
        let grown = if t.ours() { 90_000 } else { 700 };
        sys::truncate(&t.p("grown"), grown)?;
        sys::open(&t.p("emptied"), libc::O_WRONLY | libc::O_TRUNC, 0)?;
        crash(t, &d)?;
        for (name, size) in [("cut", 777), ("grown", grown), ("emptied", 0)] {
            let f = sys::rdonly(&t.p(name))?;
            same!(f.size()?, size, "{name}: size, mounted with {mount:#x}");
            let mut want = pattern(1, 0, size.min(700) as usize);
            want.resize(size.min(2000) as usize, 0);
            if name != "cut" {
                holds(&f, 0, &want, name)?;
            }
        }
        for name in ["cut", "grown", "emptied"] {
            sys::unlink(&t.p(name))?;
        }
    }
    Ok(())
}
