// SPDX-License-Identifier: GPL-2.0
//! The full disk: nothing synced is lost, and all space comes back.

use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, FEATS};
use crate::sys;
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("enospc/fill", FEATS, fill).quick(),
    Case::new("enospc/small_writes", ALL, small_writes).quick(),
    Case::new("enospc/inodes", ALL, inodes).quick(),
    Case::new("enospc/names", ALL, full_names),
    Case::new("enospc/fallocate", ALL, fallocate),
    Case::new("enospc/convert_when_full", ALL, convert),
    Case::new("enospc/parallel", ALL, parallel),
    Case::new("enospc/dio", ALL, dio),
];

fn small(t: &mut T) -> Res {
    t.mkfs(24, &["-m", "0", "-J", "size=4"])?;
    t.mount("")
}

/// Fills with files; every byte accepted and synced is there; after deleting, all is free.
fn fill(t: &mut T) -> Res {
    small(t)?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    for round in 0..3 {
        let mut have = Vec::new();
        'fill: for i in 0..200u64 {
            let path = t.p(&format!("f{i}"));
            let f = match sys::create(&path) {
                Ok(f) => f,
                Err(e) if e.errno == libc::ENOSPC => break,
                Err(e) => return Err(e.into()),
            };
            let mut at = 0u64;
            while at < 500_000 {
                match f.pwrite_once(&pattern(i, at, 50_000), at) {
                    Ok(n) => at += n as u64,
                    Err(e) => {
                        same!(e.errno, libc::ENOSPC, "write on a full disk");
                        have.push((i, at));
                        f.fsync()?;
                        break 'fill;
                    }
                }
            }
            if i % 3 == 0 {
                f.fsync()?;
            }
            have.push((i, at));
        }
        let left = sys::statfs(&t.p(""))?.f_bfree;
        ensure!(
            left < free / 20 + 60,
            "ENOSPC with {left} of {free} blocks free"
        );
        sys::sync();
        t.drop_caches()?;
        for (i, n) in &have {
            let f = sys::rdonly(&t.p(&format!("f{i}")))?;
            same!(f.size()?, *n, "size of f{i}, round {round}");
            holds(&f, 0, &pattern(*i, 0, *n as usize), "on a full disk")?;
        }
        for (i, _) in &have {
            sys::unlink(&t.p(&format!("f{i}")))?;
        }
        sys::sync();
        same!(
            sys::statfs(&t.p(""))?.f_bfree,
            free,
            "free blocks after round {round}"
        );
    }
    t.cycle()?;
    same!(
        sys::statfs(&t.p(""))?.f_bfree,
        free,
        "free blocks, remounted"
    );
    Ok(())
}

/// Scattered single-block writes need tree blocks too: what was accepted must reach the disk.
fn small_writes(t: &mut T) -> Res {
    small(t)?;
    let bs = t.bs();
    let free = sys::statfs(&t.p(""))?.f_bfree;
    // Leave little.
    let ballast = sys::create(&t.p("ballast"))?;
    ballast.fallocate(0, 0, (free - 3000 * 1024 / bs) * bs)?;
    let f = sys::create(&t.p("f"))?;
    let mut accepted = Vec::new();
    let mut refused = 0;
    for i in 0..6000u64 {
        match f.pwrite_once(&pattern(i, 0, 100), i * 2 * bs + 17) {
            Ok(n) => {
                same!(n, 100, "short write");
                accepted.push(i);
            }
            Err(e) => {
                same!(e.errno, libc::ENOSPC, "write on a full disk");
                refused += 1;
                if refused > 50 {
                    break;
                }
            }
        }
    }
    ensure!(refused > 0, "the disk never filled");
    ensure!(
        accepted.len() as u64 > 1500 * 1024 / bs,
        "only {} accepted",
        accepted.len()
    );
    f.fsync()?;
    sys::sync();
    t.drop_caches()?;
    for i in &accepted {
        holds(
            &f,
            i * 2 * bs + 17,
            &pattern(*i, 0, 100),
            "an accepted write",
        )?;
    }
    drop((f, ballast));
    sys::unlink(&t.p("f"))?;
    sys::unlink(&t.p("ballast"))?;
    sys::sync();
    same!(
        sys::statfs(&t.p(""))?.f_bfree,
        free,
        "free blocks at the end"
    );
    Ok(())
}

/// Every inode can be given out, then it is ENOSPC, and a freed one is given out again.
fn inodes(t: &mut T) -> Res {
    t.mkfs(32, &["-N", "256"])?;
    t.mount("")?;
    let ffree = sys::statfs(&t.p(""))?.f_ffree;
    for round in 0..3 {
        let mut n = 0u64;
        loop {
            match sys::create(&t.p(&format!("f{n}"))) {
                Ok(_) => n += 1,
                Err(e) => {
                    same!(e.errno, libc::ENOSPC, "create without inodes");
                    break;
                }
            }
        }
        same!(n, ffree, "inodes given out, round {round}");
        same!(sys::statfs(&t.p(""))?.f_ffree, 0, "free inodes");
        errno!(sys::mkdir(&t.p("d"), 0o755), ENOSPC);
        errno!(sys::symlink("x", &t.p("s")), ENOSPC);
        errno!(sys::mknod(&t.p("n"), libc::S_IFIFO | 0o600, 0), ENOSPC);
        same!(
            crate::fixture::names(&t.p(""))?.len() as u64,
            n + 1,
            "names"
        );
        sys::unlink(&t.p("f0"))?;
        sys::mkdir(&t.p("f0"), 0o755)?;
        sys::rmdir(&t.p("f0"))?;
        for i in 1..n {
            sys::unlink(&t.p(&format!("f{i}")))?;
        }
        sys::sync();
        same!(
            sys::statfs(&t.p(""))?.f_ffree,
            ffree,
            "free inodes after round {round}"
        );
    }
    Ok(())
}

/// No block for a directory, a symlink or a larger directory: the call fails and leaves nothing.
fn full_names(t: &mut T) -> Res {
    small(t)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let ballast = sys::create(&t.p("ballast"))?;
    let mut at = 0u64;
    for step in [1 << 20, 65_536, 4096, 1024] {
        while ballast
            .pwrite_once(&vec![7; step], at)
            .map(|n| at += n as u64)
            .is_ok()
        {}
    }
    ballast.fsync()?;
    // There may be blocks left that data could not use; then these may succeed.
    let mut failed = 0;
    for i in 0..2000 {
        let r = match i % 3 {
            0 => sys::mkdir(&t.p(&format!("d/sub{i}")), 0o755),
            1 => sys::symlink(
                &"s".repeat(t.var.bs.min(4096) - 2),
                &t.p(&format!("d/sym{i}")),
            ),
            _ => sys::create(&t.p(&format!("d/{}{i}", "n".repeat(200)))).map(drop),
        };
        if let Err(e) = r {
            same!(e.errno, libc::ENOSPC, "step {i}");
            failed += 1;
        }
        if failed > 60 {
            break;
        }
    }
    ensure!(failed > 0, "names never ran out of blocks");
    sys::unlink(&t.p("ballast"))?;
    drop(ballast);
    sys::mkdir(&t.p("d/again"), 0o755)?;
    Ok(())
}

/// Preallocated space is there even when the rest is full; one that does not fit takes nothing.
fn fallocate(t: &mut T) -> Res {
    small(t)?;
    let bs = t.bs();
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let f = sys::create(&t.p("f"))?;
    errno!(f.fallocate(0, 0, 40 << 20), ENOSPC);
    f.truncate(0)?;
    f.fsync()?;
    same!(
        sys::statfs(&t.p(""))?.f_bfree,
        free,
        "free blocks after a refused fallocate"
    );
    f.fallocate(0, 0, (free / 2) * bs)?;
    // Promised space is there even when the rest is taken.
    let g = sys::create(&t.p("g"))?;
    let mut at = 0u64;
    while g
        .pwrite_once(&pattern(2, at, 65_536), at)
        .map(|n| at += n as u64)
        .is_ok()
    {}
    g.fsync()?;
    for i in 0..(free / 2) * bs / 65_536 {
        f.pwrite(&pattern(1, i * 65_536, 65_536), i * 65_536)?;
    }
    f.fsync()?;
    t.drop_caches()?;
    let n = (free / 2) * bs / 65_536 * 65_536;
    holds(
        &f,
        0,
        &pattern(1, 0, n as usize),
        "preallocated space on a full disk",
    )?;
    holds(&g, 0, &pattern(2, 0, at as usize), "the other file")?;
    Ok(())
}

/// Conversion of preallocated blocks needs tree blocks at completion, with none left.
fn convert(t: &mut T) -> Res {
    small(t)?;
    let bs = t.bs();
    let n = 1500u64.min(12 * 1024 * 1024 / bs);
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, n * bs)?;
    let g = sys::create(&t.p("g"))?;
    let mut at = 0u64;
    for step in [65_536, 4096, 1024] {
        while g
            .pwrite_once(&pattern(2, at, step), at)
            .map(|n| at += n as u64)
            .is_ok()
        {}
    }
    g.fsync()?;
    for i in (0..n).step_by(2) {
        f.pwrite(&pattern(1, i * bs, t.var.bs), i * bs)?;
    }
    f.fsync()?;
    t.drop_caches()?;
    for i in 0..n {
        let want = if i % 2 == 0 {
            pattern(1, i * bs, t.var.bs)
        } else {
            vec![0; t.var.bs]
        };
        holds(&f, i * bs, &want, &format!("block {i}"))?;
    }
    Ok(())
}

/// Writers that fill the disk together keep all that was accepted, and no block is lost.
fn parallel(t: &mut T) -> Res {
    small(t)?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let dir = t.p("");
    let done = std::thread::scope(|s| -> Res<Vec<(u64, u64)>> {
        let hs: Vec<_> = (0..4u64)
            .map(|k| {
                let dir = &dir;
                s.spawn(move || -> Res<(u64, u64)> {
                    let f = sys::create(&format!("{dir}/p{k}"))?;
                    let mut at = 0u64;
                    loop {
                        match f.pwrite_once(&pattern(k, at, 30_000), at) {
                            Ok(n) => at += n as u64,
                            Err(e) if e.errno == libc::ENOSPC => break,
                            Err(e) => return Err(e.into()),
                        }
                        if at % 900_000 == 0 {
                            f.fsync()?;
                        }
                    }
                    f.fsync()?;
                    Ok((k, at))
                })
            })
            .collect();
        hs.into_iter()
            .map(|h| h.join().map_err(|_| Stop::Fail("thread panic".into()))?)
            .collect()
    })?;
    t.drop_caches()?;
    for (k, n) in &done {
        let f = sys::rdonly(&t.p(&format!("p{k}")))?;
        same!(f.size()?, *n, "size");
        holds(&f, 0, &pattern(*k, 0, *n as usize), "filled in parallel")?;
        drop(f);
        sys::unlink(&t.p(&format!("p{k}")))?;
    }
    sys::sync();
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free blocks");
    Ok(())
}

/// Direct writes fill the disk, end in ENOSPC, and what was accepted is there.
fn dio(t: &mut T) -> Res {
    small(t)?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let d = sys::direct(&t.p("f"))?;
    let mut at = 0u64;
    loop {
        match d.pwrite_once(&crate::sys::Aligned::of(&pattern(1, at, 65_536)), at) {
            Ok(n) => at += n as u64,
            Err(e) => {
                same!(e.errno, libc::ENOSPC, "direct write on a full disk");
                break;
            }
        }
    }
    ensure!(at > (free * t.bs()) * 8 / 10, "only {at} bytes fitted");
    same!(d.size()?, at, "size");
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, at as usize),
        "direct, full disk",
    )?;
    drop(d);
    sys::unlink(&t.p("f"))?;
    sys::sync();
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free blocks");
    put(&t.p("g"), 1, 100_000)?;
    Ok(())
}
