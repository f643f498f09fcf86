// SPDX-License-Identifier: GPL-2.0
//! Attributes, statfs, remount, sync.

use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, FEATS, ONE};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, same, skip};

pub const CASES: &[Case] = &[
    Case::new("attr/mode_owner", ALL, mode_owner).quick(),
    Case::new("attr/times_set", FEATS, times_set).quick(),
    Case::new("attr/times_moved", ALL, times_moved),
    Case::new("attr/times_never_twice", ONE, times_never_twice),
    Case::new("attr/statx", ALL, statx),
    Case::new("attr/statfs", FEATS, statfs),
    Case::new("attr/statfs_as_ext4", ALL, statfs_as_ext4).quick(),
    Case::new("attr/inode_128", ONE, small_inode),
    Case::new("attr/inode_sizes", ONE, inode_sizes),
];

/// Modes and owners of every kind of file are kept, ids above 16 bits as well.
fn mode_owner(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 10)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    sys::symlink("x", &t.p("s"))?;
    for m in [0, 0o777, 0o4755, 0o2755, 0o1777, 0o7777, 0o644] {
        sys::chmod(&t.p("f"), m)?;
        same!(sys::lstat(&t.p("f"))?.st_mode, libc::S_IFREG | m, "mode");
        sys::chmod(&t.p("d"), m)?;
        same!(
            sys::lstat(&t.p("d"))?.st_mode,
            libc::S_IFDIR | m,
            "mode of a directory"
        );
    }
    // Above 16 bits the ids are stored in two halves.
    let ids = [
        (1, 2),
        (65535, 65536),
        (0x12345, 0x6789a),
        (0x7fff_fff0, 0xffff_fff0),
    ];
    for (i, (u, g)) in ids.iter().enumerate() {
        put(&t.p(&format!("f{i}")), 1, 1)?;
        for n in [format!("f{i}"), "d".into(), "s".into()] {
            sys::lchown(&t.p(&n), *u, *g)?;
            let st = sys::lstat(&t.p(&n))?;
            same!((st.st_uid, st.st_gid), (*u, *g), "owner of {n}");
        }
    }
    sys::chmod(&t.p("f"), 0o6777)?;
    sys::lchown(&t.p("f"), 5, 6)?;
    same!(
        sys::lstat(&t.p("f"))?.st_mode & 0o7777,
        0o777,
        "chown clears setuid and setgid"
    );
    sys::chmod(&t.p("d"), 0o1750)?;
    t.cycle()?;
    for (i, (u, g)) in ids.iter().enumerate() {
        let st = sys::lstat(&t.p(&format!("f{i}")))?;
        same!((st.st_uid, st.st_gid), (*u, *g), "owner, remounted");
    }
    same!(
        sys::lstat(&t.p("d"))?.st_mode,
        libc::S_IFDIR | 0o1750,
        "mode, remounted"
    );
    same!(
        sys::lstat(&t.p("s"))?.st_uid,
        ids[3].0,
        "owner of a symlink, remounted"
    );
    Ok(())
}

/// Times from 1901 to 2446 are kept to the nanosecond.
fn times_set(t: &mut T) -> Res {
    t.fresh()?;
    // 34 bits of seconds from 1901 to 2446, 30 bits of nanoseconds.
    let list: [(i64, i64); 9] = [
        (0, 0),
        (1, 999_999_999),
        (-1, 1),
        (-0x8000_0000, 0),
        (0x7fff_ffff, 123_456_789),
        (0x8000_0000, 5),
        (0xffff_ffff, 7),
        (0x1_0000_0000, 11),
        (0x3_7fff_fffe, 999_999_998),
    ];
    for (i, mt) in list.iter().enumerate() {
        let at = list[(i + 4) % list.len()];
        let f = put(&t.p(&format!("f{i}")), 1, 3)?;
        sys::mkdir(&t.p(&format!("d{i}")), 0o755)?;
        sys::symlink("t", &t.p(&format!("s{i}")))?;
        f.futimens(at, *mt)?;
        sys::utimens(&t.p(&format!("d{i}")), at, *mt)?;
        sys::utimens(&t.p(&format!("s{i}")), at, *mt)?;
    }
    for pass in ["cached", "remounted"] {
        for (i, mt) in list.iter().enumerate() {
            let at = list[(i + 4) % list.len()];
            for n in ["f", "d", "s"] {
                let st = sys::lstat(&t.p(&format!("{n}{i}")))?;
                same!(
                    (st.st_mtime, st.st_mtime_nsec),
                    *mt,
                    "mtime of {n}{i}, {pass}"
                );
                same!(
                    (st.st_atime, st.st_atime_nsec),
                    at,
                    "atime of {n}{i}, {pass}"
                );
            }
        }
        t.cycle()?;
    }
    // Out of the format's range: clamped, as the VFS does by s_time_min and s_time_max.
    sys::utimens(&t.p("f0"), (-0x8000_0001, 0), (0x4_0000_0000, 0))?;
    let st = sys::lstat(&t.p("f0"))?;
    same!(
        (st.st_atime, st.st_mtime),
        (-0x8000_0000, 0x3_7fff_ffff),
        "clamped times"
    );
    // Only one of both.
    sys::utimens(&t.p("f1"), (50, 0), (0, libc::UTIME_OMIT))?;
    let st = sys::lstat(&t.p("f1"))?;
    same!((st.st_atime, st.st_mtime), (50, list[1].0), "UTIME_OMIT");
    Ok(())
}

/// A time before all others.
const OLD: (i64, i64) = (1000, 0);

/// Which times an operation moves.
#[derive(Clone, Copy)]
enum Moves {
    Both,
    Ctime,
    None,
}

/// An operation moves these times of `path` and no others.
fn moves(what: &str, path: &str, times: Moves, op: &mut dyn FnMut() -> Res) -> Res {
    let stamp = || sys::lstat(path).map(|s| (s.st_mtime, (s.st_ctime, s.st_ctime_nsec)));
    sys::utimens(path, OLD, OLD)?;
    let before = stamp()?;
    std::thread::sleep(std::time::Duration::from_millis(25));
    op()?;
    let after = stamp()?;
    let (mtime, ctime) = match times {
        Moves::Both => (true, true),
        Moves::Ctime => (false, true),
        Moves::None => (false, false),
    };
    same!(after.0 != OLD.0, mtime, "{what} moves mtime");
    same!(after.1 != before.1, ctime, "{what} moves ctime");
    Ok(())
}

/// Operations that move mtime and ctime, and those that do not.
fn times_moved(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 10_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    times_of_a_file(t, &f)?;
    times_of_a_directory(t)?;
    // relatime: the first read after a change moves atime.
    f.pwrite(b"y", 0)?;
    sys::utimens(&t.p("f"), OLD, (2000, 0))?;
    f.pread(&mut [0; 10], 0)?;
    ensure!(
        sys::lstat(&t.p("f"))?.st_atime > 2000,
        "read does not move atime under relatime"
    );
    Ok(())
}

fn times_of_a_file(t: &T, f: &Fd) -> Res {
    use Moves::{Both, Ctime, None};
    let (p, l, m) = (&t.p("f"), &t.p("l"), &t.p("m"));
    moves("write", p, Both, &mut || Ok(f.pwrite(b"x", 0)?))?;
    moves("truncate", p, Both, &mut || Ok(f.truncate(5000)?))?;
    moves("chmod", p, Ctime, &mut || Ok(sys::chmod(p, 0o600)?))?;
    moves("chown", p, Ctime, &mut || Ok(sys::lchown(p, 1, 1)?))?;
    moves("link", p, Ctime, &mut || Ok(sys::link(p, l)?))?;
    moves("rename", p, Ctime, &mut || Ok(sys::rename(l, m)?))?;
    moves("unlink", p, Ctime, &mut || Ok(sys::unlink(m)?))?;
    moves("punch", p, Both, &mut || Ok(f.punch(0, 4096)?))?;
    moves(
        "fallocate",
        p,
        Both,
        &mut || Ok(f.fallocate(0, 0, 100_000)?),
    )?;
    moves("read", p, None, &mut || {
        Ok(f.pread(&mut [0; 10], 0).map(drop)?)
    })?;
    moves("mapped write", p, Both, &mut || {
        let m = crate::map::Map::shared(f, 4096)?;
        m.set(1, 7);
        m.msync()?;
        Ok(())
    })
}

fn times_of_a_directory(t: &T) -> Res {
    let both = |what: &str, op: &mut dyn FnMut() -> Res| moves(what, &t.p("d"), Moves::Both, op);
    let (x, y, e) = (&t.p("d/x"), &t.p("d/y"), &t.p("d/e"));
    both("create in", &mut || Ok(put(x, 1, 1).map(drop)?))?;
    both("rename in", &mut || Ok(sys::rename(x, y)?))?;
    both("unlink in", &mut || Ok(sys::unlink(y)?))?;
    both("mkdir in", &mut || Ok(sys::mkdir(e, 0o755)?))?;
    both("rmdir in", &mut || Ok(sys::rmdir(e)?))
}

/// Who has seen a time sees another one after the next change, however soon that comes.
fn times_never_twice(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 4096)?;
    let d = sys::direct(&t.p("f"))?;
    let block = Aligned::of(&pattern(2, 0, 4096));
    let map = crate::map::Map::shared(&f, 4096)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let (pf, pd) = (t.p("f"), t.p("d"));
    let times = |p: &str| -> Res<[(i64, i64); 2]> {
        let s = sys::lstat(p)?;
        Ok([(s.st_mtime, s.st_mtime_nsec), (s.st_ctime, s.st_ctime_nsec)])
    };
    type Op<'a> = (&'a str, &'a str, bool, &'a dyn Fn(u64) -> Res);
    let ops: [Op<'_>; 9] = [
        ("write", &pf, true, &|i| Ok(f.pwrite(b"x", i)?)),
        ("direct write", &pf, true, &|_| Ok(d.pwrite(&block, 0)?)),
        ("truncate", &pf, true, &|i| Ok(f.truncate(5000 + i)?)),
        ("punch", &pf, true, &|_| Ok(f.punch(0, 100)?)),
        ("mapped write", &pf, true, &|_| {
            map.set(1, 7);
            // The next store faults again.
            Ok(map.msync()?)
        }),
        ("chmod", &pf, false, &|i| {
            Ok(sys::chmod(&pf, 0o600 + (i as u32 & 7))?)
        }),
        ("create", &pd, true, &|i| {
            Ok(sys::create(&format!("{pd}/{i}")).map(drop)?)
        }),
        ("rename", &pd, true, &|i| {
            Ok(sys::rename(&format!("{pd}/{i}"), &format!("{pd}/r{i}"))?)
        }),
        ("unlink", &pd, true, &|i| {
            Ok(sys::unlink(&format!("{pd}/r{i}"))?)
        }),
    ];
    for (what, path, both, op) in ops {
        let mut last = times(path)?;
        for i in 0..100 {
            op(i)?;
            let now = times(path)?;
            ensure!(now[1] > last[1], "{what} {i} leaves ctime {:?}", now[1]);
            ensure!(
                !both || now[0] > last[0],
                "{what} {i} leaves mtime {:?}",
                now[0]
            );
            last = now;
        }
    }
    let before = times(&pf)?;
    drop(map);
    drop((f, d));
    t.cycle()?;
    same!(times(&t.p("f"))?, before, "times, remounted");
    Ok(())
}

/// statx tells size, block size and a birth time that never changes.
fn statx(t: &mut T) -> Res {
    t.fresh()?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    put(&t.p("f"), 1, 5000)?.fsync()?;
    let s = sys::statx(&t.p("f"))?;
    same!(s.stx_size, 5000, "size");
    same!(
        s.stx_blksize as u64 % t.bs(),
        0,
        "preferred I/O size is a multiple of the block size"
    );
    ensure!(s.stx_mask & libc::STATX_BTIME != 0, "no birth time");
    ensure!(
        (s.stx_btime.tv_sec - now as i64).abs() < 100,
        "birth time {}",
        s.stx_btime.tv_sec
    );
    let birth = (s.stx_btime.tv_sec, s.stx_btime.tv_nsec);
    t.cycle()?;
    let s = sys::statx(&t.p("f"))?;
    same!(
        (s.stx_btime.tv_sec, s.stx_btime.tv_nsec),
        birth,
        "birth time, remounted"
    );
    Ok(())
}

/// The numbers of statfs are those of the kernel's ext4, on an image as mke2fs makes it.
fn statfs_as_ext4(t: &mut T) -> Res {
    if !crate::fixture::knows_fs("ext4") {
        skip!("no ext4 to compare with");
    }
    for (mb, more) in [
        (64, vec![]),
        (300, vec!["-J", "size=8"]),
        (700, vec!["-O", "^flex_bg"]),
        (200, vec!["-O", "^resize_inode,sparse_super2"]),
        (128, vec!["-N", "2000", "-m", "0"]),
        (200, vec!["-O", "bigalloc", "-C", "65536"]),
    ] {
        t.mkfs(mb, &more)?;
        // What rext4 does not write, ext4 is not to write either.
        let flags = match more[..] {
            ["-O", "bigalloc", ..] => libc::MS_RDONLY,
            _ => 0,
        };
        let (dev, ours) = (t.dev.clone(), t.fs.clone());
        let mut seen = Vec::new();
        for fs in ["ext4", ours.as_str()] {
            t.mount_as(&dev, crate::fixture::MNT, fs, flags, "")?;
            let s = sys::statfs(&t.p(""))?;
            seen.push((
                (s.f_type as u64, s.f_bsize as u64, s.f_namelen as u64),
                (s.f_blocks, s.f_bfree, s.f_bavail),
                (s.f_files, s.f_ffree),
                format!("{:?}", s.f_fsid),
            ));
            t.umount()?;
        }
        same!(seen[1], seen[0], "statfs of {mb} MiB {more:?}");
    }
    Ok(())
}

/// statfs tells sizes and free space, and what is kept for root.
fn statfs(t: &mut T) -> Res {
    t.fresh()?;
    let s = sys::statfs(&t.p(""))?;
    same!(s.f_bsize as u64, t.bs(), "block size");
    same!(s.f_type, 0xef53, "magic");
    same!(s.f_namelen, 255, "longest name");
    let total = 64 * 1024 * 1024 / t.bs();
    ensure!(
        s.f_blocks < total && s.f_blocks > total * 8 / 10,
        "{} blocks of {total}",
        s.f_blocks
    );
    ensure!(
        s.f_bfree <= s.f_blocks && s.f_bavail < s.f_bfree,
        "free {} avail {}",
        s.f_bfree,
        s.f_bavail
    );
    // 5 % are kept for root; up to 2.5 % more may be kept for conversions at completion.
    let kept = s.f_bfree - s.f_bavail;
    let range = total / 20 - 80..=total / 20 + total / 40;
    ensure!(
        range.contains(&kept),
        "{kept} blocks are kept, want {range:?}"
    );
    let orphan_file = u64::from(t.var.feats.contains("orphan_file"));
    same!(
        s.f_files - s.f_ffree,
        11 + orphan_file,
        "inodes used by a new image"
    );
    for i in 0..10 {
        put(&t.p(&format!("f{i}")), 1, t.var.bs * 3)?;
    }
    sys::sync();
    let n = sys::statfs(&t.p(""))?;
    same!(s.f_ffree - n.f_ffree, 10, "inodes used");
    same!(s.f_bfree - n.f_bfree, 30, "blocks used");
    t.umount()?;
    // The superblock and the groups agree with it: dumpe2fs counts the same.
    let (_, text) = crate::fixture::run_cmd("dumpe2fs", &["-h", &t.dev])?;
    let field = |k: &str| -> u64 {
        text.lines()
            .find_map(|l| l.strip_prefix(k))
            .and_then(|v| v.trim().parse().ok())
            .unwrap_or(0)
    };
    same!(
        (field("Free blocks:"), field("Free inodes:")),
        (n.f_bfree, n.f_ffree),
        "on disk"
    );
    Ok(())
}

/// 128-byte inodes have seconds only, and no birth time.
fn small_inode(t: &mut T) -> Res {
    t.mkfs(64, &["-I", "128"])?;
    t.mount("")?;
    put(&t.p("f"), 1, 5000)?;
    let mask = sys::statx(&t.p("f"))?.stx_mask;
    same!(mask & libc::STATX_BTIME, 0, "a birth time without a field");
    sys::utimens(&t.p("f"), (77, 5), (88, 6))?;
    t.cycle()?;
    let st = sys::lstat(&t.p("f"))?;
    same!(
        (st.st_atime, st.st_mtime, st.st_mtime_nsec),
        (77, 88, 0),
        "times"
    );
    holds(&sys::rdonly(&t.p("f"))?, 0, &pattern(1, 0, 5000), "content")?;
    Ok(())
}

/// Inodes of each size up to a block: what lies behind the fields that are known stays, counts in
/// the checksum, and is gone when the inode is used again.
fn inode_sizes(t: &mut T) -> Res {
    for size in ["256", "512", "1024", "2048", "4096"] {
        t.mkfs(64, &["-I", size, "-N", "1024"])?;
        t.mount("")?;
        put(&t.p("f"), 1, 5000)?;
        let ino = sys::lstat(&t.p("f"))?.st_ino;
        t.umount()?;
        t.debugfs(&["ea_set f user.kept some-value"])?;
        t.mount("")?;
        sys::utimens(&t.p("f"), (1 << 32, 5), (88, 6))?;
        for i in 0..20 {
            put(&t.p(&format!("n{i}")), i, 100)?;
        }
        t.cycle()?;
        same!(sys::lstat(&t.p("f"))?.st_atime, 1 << 32, "time, {size}");
        holds(&sys::rdonly(&t.p("f"))?, 0, &pattern(1, 0, 5000), "content")?;
        t.umount()?;
        let text = t.debugfs(&["ea_get f user.kept"])?;
        ensure!(text.contains("some-value"), "{size}: {text}");
        t.fsck()?;
        t.mount("")?;
        sys::unlink(&t.p("f"))?;
        sys::sync();
        put(&t.p("g"), 2, 10)?;
        same!(sys::lstat(&t.p("g"))?.st_ino, ino, "the number again");
        t.umount()?;
        let text = t.debugfs(&["ea_list g"])?;
        ensure!(!text.contains("kept"), "{size}: {text}");
        t.fsck()?;
    }
    Ok(())
}
