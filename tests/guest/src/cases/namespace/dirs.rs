// SPDX-License-Identifier: GPL-2.0
//! Reading directories: positions, large (htree) directories, changes while one is read.

use crate::cases::space::enospc_tree::{empty_pool, fill};
use crate::fixture::{names, T};
use crate::harness::{Case, Res, ALL, FEATS, K1, K4, SMALL};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, same};
use std::collections::{BTreeMap, BTreeSet};

pub const CASES: &[Case] = &[
    Case::new("dirs/positions", ALL, positions).quick(),
    Case::new("dirs/htree", FEATS, htree).quick(),
    Case::new("dirs/htree_made_by_mke2fs", &[K1, K4], htree_prepared).quick(),
    Case::new("dirs/changes_while_reading", ALL, changing),
    Case::new("dirs/deep", SMALL, deep),
    Case::new("dirs/many_subdirs", SMALL, many_subdirs),
    Case::new("dirs/shrink_and_refill", ALL, refill),
    Case::new("dirs/removed", ALL, removed).quick(),
    Case::new("dirs/index_on_full_disk", ALL, index_on_full_disk).quick(),
];

pub use guest::dirents::{getdents, parse, read_all, Entry};

pub fn dir(path: &str) -> Sys<Fd> {
    sys::open(path, libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

/// Small buffers and seeks give the same entries as one large read.
fn positions(t: &mut T) -> Res {
    t.fresh()?;
    for (name, n) in [("small", 30), ("large", 1500)] {
        sys::mkdir(&t.p(name), 0o755)?;
        for i in 0..n {
            sys::create(&t.p(&format!("{name}/entry-{i}-{}", "x".repeat(i % 40))))?;
        }
        let d = dir(&t.p(name))?;
        let whole = read_all(&d, 1 << 20)?;
        same!(whole.len(), n + 2, "entries of {name}");
        let dots = whole
            .iter()
            .filter(|e| e.name == "." || e.name == "..")
            .count();
        same!(dots, 2, "dots in {name}");
        let unique: BTreeSet<_> = whole.iter().map(|e| &e.name).collect();
        same!(unique.len(), n + 2, "different names in {name}");
        same!(getdents(&d, 4096)?.len(), 0, "entries at the end");
        d.seek(0, libc::SEEK_SET)?;
        same!(read_all(&d, 100)?, whole, "small buffers of {name}");
        let step = (n / 40).max(1);
        for i in (0..whole.len()).step_by(step) {
            d.seek(whole[i].next, libc::SEEK_SET)?;
            same!(
                read_all(&d, 3000)?,
                whole[i + 1..],
                "from behind entry {i} of {name}"
            );
        }
        d.seek(0, libc::SEEK_SET)?;
        errno!(getdents(&d, 10), EINVAL);
        // Positions hold in another open directory, after the caches are gone.
        t.drop_caches()?;
        let e = dir(&t.p(name))?;
        for i in (0..whole.len()).step_by(step * 7) {
            e.seek(whole[i].next, libc::SEEK_SET)?;
            same!(
                read_all(&e, 3000)?,
                whole[i + 1..],
                "from disk, behind entry {i} of {name}"
            );
        }
        for e in whole.iter().filter(|e| !e.name.starts_with('.')) {
            same!(
                e.ino,
                sys::lstat(&t.p(&format!("{name}/{}", e.name)))?.st_ino,
                "d_ino"
            );
            same!(e.kind, libc::DT_REG, "d_type");
        }
    }
    Ok(())
}

/// A directory of thousands of names finds each of them, and none that is not there.
fn htree(t: &mut T) -> Res {
    t.fresh_mb(96)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let n = 3200;
    let name = |i: usize| format!("d/file-{i:05}-{}", "y".repeat(i * 7 % 60));
    let first = sys::create(&t.p(&name(0)))?;
    for i in 1..n {
        sys::link(&t.p(&name(0)), &t.p(&name(i)))?;
    }
    same!(first.stat()?.st_nlink, n as u64, "links");
    drop(first);
    for pass in 0..2 {
        for i in 0..n {
            ensure!(
                sys::exists(&t.p(&name(i))),
                "{} not found, pass {pass}",
                name(i)
            );
        }
        for i in 0..500 {
            errno!(sys::lstat(&t.p(&format!("d/none-{i}"))), ENOENT);
        }
        same!(names(&t.p("d"))?.len(), n, "names, pass {pass}");
        t.cycle()?;
    }
    for i in (0..n).filter(|i| i % 3 != 0) {
        sys::unlink(&t.p(&name(i)))?;
    }
    t.cycle()?;
    for i in 0..n {
        same!(
            sys::exists(&t.p(&name(i))),
            i % 3 == 0,
            "{} after removals",
            name(i)
        );
    }
    for i in (0..n).filter(|i| i % 3 == 1) {
        sys::link(&t.p(&name(0)), &t.p(&name(i)))?;
    }
    for i in (0..n).filter(|i| i % 3 == 0 && *i != 0) {
        let to = format!("d/renamed-{i}");
        sys::rename(&t.p(&name(i)), &t.p(&to))?;
    }
    let want = (0..n).filter(|i| i % 3 != 2).count();
    same!(names(&t.p("d"))?.len(), want, "names at the end");
    same!(
        sys::lstat(&t.p(&name(0)))?.st_nlink,
        want as u64,
        "links at the end"
    );
    t.umount()?;
    t.fsck()?;
    t.mount("")?;
    for e in names(&t.p("d"))? {
        sys::unlink(&t.p(&format!("d/{e}")))?;
    }
    sys::rmdir(&t.p("d"))?;
    Ok(())
}

/// A directory that `mke2fs -d` and e2fsck -D indexed is looked up through its index.
fn htree_prepared(t: &mut T) -> Res {
    let src = "/mnt/src";
    std::fs::create_dir_all(format!("{src}/d"))?;
    let n = 3100;
    for i in 0..n {
        std::fs::write(format!("{src}/d/prepared-{i}"), "")?;
    }
    t.mkfs(96, &["-d", src])?;
    std::fs::remove_dir_all(src)?;
    let (code, text) = crate::fixture::run_cmd("e2fsck", &["-fyD", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fyD exit {code}: {text}");
    let st = t.debugfs(&["stat /d"])?;
    ensure!(
        st.contains("Flags: 0x81000"),
        "the directory has no index: {st}"
    );
    t.mount("")?;
    for i in 0..n {
        ensure!(
            sys::exists(&t.p(&format!("d/prepared-{i}"))),
            "prepared-{i} not found"
        );
    }
    let d = dir(&t.p("d"))?;
    let whole = read_all(&d, 8192)?;
    same!(whole.len(), n + 2, "entries");
    drop(d);
    // And it can be changed.
    for i in 0..300 {
        sys::create(&t.p(&format!("d/new-{i}")))?;
        sys::unlink(&t.p(&format!("d/prepared-{}", i * 3)))?;
    }
    t.cycle()?;
    same!(names(&t.p("d"))?.len(), n, "names");
    for i in 0..300 {
        ensure!(
            sys::exists(&t.p(&format!("d/new-{i}"))),
            "new-{i} not found"
        );
        ensure!(
            !sys::exists(&t.p(&format!("d/prepared-{}", i * 3))),
            "removed name is back"
        );
    }
    Ok(())
}

/// A name that was there all the time is returned exactly once, whatever else changes.
fn changing(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..1000 {
        sys::create(&t.p(&format!("d/keep-{i}")))?;
        sys::create(&t.p(&format!("d/drop-{i}")))?;
    }
    let d = dir(&t.p("d"))?;
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let mut i = 0;
    loop {
        let e = getdents(&d, 1000)?;
        if e.is_empty() {
            break;
        }
        for e in e {
            *count.entry(e.name).or_default() += 1;
        }
        for _ in 0..30 {
            if i < 1000 {
                sys::unlink(&t.p(&format!("d/drop-{i}")))?;
                sys::create(&t.p(&format!("d/late-{i}")))?;
                i += 1;
            }
        }
    }
    for i in 0..1000 {
        same!(
            count.get(&format!("keep-{i}")),
            Some(&1),
            "times keep-{i} was read"
        );
    }
    ensure!(count.values().all(|n| *n == 1), "a name was read twice");
    // Removing everything while reading it.
    d.seek(0, libc::SEEK_SET)?;
    loop {
        let e = getdents(&d, 600)?;
        if e.is_empty() {
            break;
        }
        for e in e.iter().filter(|e| !e.name.starts_with('.')) {
            sys::unlink(&t.p(&format!("d/{}", e.name)))?;
        }
    }
    same!(names(&t.p("d"))?.len(), 0, "names left");
    Ok(())
}

/// Directories two hundred deep can be made, moved and removed.
fn deep(t: &mut T) -> Res {
    t.fresh()?;
    let mut p = t.p("a");
    let mut all = Vec::new();
    for _ in 0..200 {
        sys::mkdir(&p, 0o755)?;
        all.push(p.clone());
        p.push_str("/d");
    }
    t.cycle()?;
    ensure!(sys::exists(&all[199]), "deepest directory");
    sys::rename(&t.p("a/d"), &t.p("b"))?;
    same!(sys::lstat(&t.p("b/.."))?.st_ino, 2, "dot dot");
    sys::rename(&t.p("b"), &t.p("a/d"))?;
    for p in all.iter().rev() {
        sys::rmdir(p)?;
    }
    Ok(())
}

/// An indexed directory with more subdirectories than the link count can hold shows one link
/// (dir_nlink). The count is set near the limit on disk, to save 65,000 mkdir.
fn many_subdirs(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..200 {
        sys::create(&t.p(&format!("d/{i}-{}", "z".repeat(100))))?;
    }
    t.umount()?;
    t.debugfs(&["sif d links_count 64998"])?;
    t.mount("")?;
    let links = |t: &T| sys::lstat(&t.p("d")).map(|s| s.st_nlink);
    for want in [64_999, 65_000, 1, 1] {
        let n = want.to_string() + &links(t)?.to_string();
        match sys::mkdir(&t.p(&format!("d/sub{n}")), 0o755) {
            Ok(()) => same!(links(t)?, want, "links"),
            // Without an index the limit is hard.
            Err(e) if e.errno == libc::EMLINK && t.ours() && want == 1 => break,
            Err(e) if e.errno == libc::EEXIST => {}
            Err(e) => return Err(e.into()),
        }
    }
    let now = links(t)?;
    t.cycle()?;
    same!(links(t)?, now, "links, remounted");
    for e in names(&t.p("d"))?.iter().filter(|e| e.starts_with("sub")) {
        sys::rmdir(&t.p(&format!("d/{e}")))?;
    }
    t.umount()?;
    t.debugfs(&["sif d links_count 2"])?;
    Ok(())
}

/// Free room inside directory blocks is used again.
fn refill(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..600 {
        sys::create(&t.p(&format!("d/n{i:04}")))?;
    }
    let size = sys::lstat(&t.p("d"))?.st_size;
    for round in 0..3 {
        for i in 0..600 {
            sys::unlink(&t.p(&format!("d/n{i:04}")))?;
        }
        same!(names(&t.p("d"))?.len(), 0, "names, round {round}");
        for i in 0..600 {
            sys::create(&t.p(&format!("d/n{i:04}")))?;
        }
        t.cycle()?;
    }
    same!(names(&t.p("d"))?.len(), 600, "names");
    let now = sys::lstat(&t.p("d"))?.st_size;
    ensure!(now <= size * 2, "the directory grew from {size} to {now}");
    same!(now as u64 % t.bs(), 0, "size of a directory in blocks");
    Ok(())
}

/// A directory that is open and removed is empty, and nothing is made in it, not even without a
/// name.
fn removed(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let d = dir(&t.p("d"))?;
    sys::rmdir(&t.p("d"))?;
    let path = format!("/proc/self/fd/{}", d.raw);
    let flags = libc::O_TMPFILE | libc::O_RDWR;
    errno!(sys::open(&path, flags, 0o600), EPERM);
    errno!(sys::create(&format!("{path}/f")), ENOENT);
    same!(d.size()?, 0, "size");
    drop(d);
    t.cycle()
}

/// A directory gets its index with the last free block, and the name has room without a second one.
fn index_on_full_disk(t: &mut T) -> Res {
    t.mkfs(24, &["-m", "0", "-J", "size=4"])?;
    t.mount("")?;
    empty_pool(t)?;
    let bs = t.bs();
    sys::mkdir(&t.p("d"), 0o755)?;
    let name = |i: u64| t.p(&format!("d/{i:0>100}"));
    // An entry has a head of 8 bytes; the dots take 24, and the checksum 12.
    let fit = (bs - 24 - 12) / 108;
    for i in 0..fit {
        sys::create(&name(i))?;
    }
    same!(sys::lstat(&t.p("d"))?.st_size as u64, bs, "size");
    let ballast = fill(t)?;
    ballast.truncate(ballast.size()? - bs)?;
    sys::sync();
    same!(sys::statfs(&t.p(""))?.f_bfree, 1, "free blocks");
    // Too long for what is left, and not for that and the room of the dots.
    let left = (bs - 24 - 12) % 108;
    let longest = (left / 4 * 4 + 24 - 8) as usize;
    let made = sys::create(&t.p(&format!("d/{}", "x".repeat(longest))));
    if t.ours() {
        made?;
        same!(sys::lstat(&t.p("d"))?.st_size as u64, 2 * bs, "size after");
        same!(names(&t.p("d"))?.len() as u64, fit + 1, "names");
    }
    Ok(())
}
