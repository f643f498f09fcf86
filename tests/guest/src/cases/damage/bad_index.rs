// SPDX-License-Identifier: GPL-2.0
//! Corrupt indexes of directories.

use crate::cases::damage::bad::{corrupt, dir_block, PLAIN};
use crate::cases::power::orphans::script;
use crate::fiemap::fiemap;
use crate::fixture::{names, put, T};
use crate::harness::{Case, Res};
use crate::sys;
use crate::{ensure, fail, skip};
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    Case::new("bad/index_twice", PLAIN, index_twice),
    Case::new("bad/index_root_as_leaf", PLAIN, root_as_leaf).quick(),
    Case::new("bad/index_of_holes", PLAIN, of_holes).quick(),
    Case::new("bad/dir_of_scraps", PLAIN, of_scraps).quick(),
    Case::new("bad/index_without_map", PLAIN, without_map).quick(),
    Case::new("bad/dir_longer_than_disk", PLAIN, longer_than_disk).quick(),
];

/// A directory with an index, of some blocks; where its first one is.
fn indexed(t: &mut T) -> Res<u64> {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..60 {
        put(&t.p(&format!("d/{i:0>100}")), i, 10)?;
    }
    t.umount()?;
    t.broken = true;
    Ok(dir_block(t, "/d")? * t.bs())
}

/// An index whose entries all name one leaf: listing it ends, though not well.
fn index_twice(t: &mut T) -> Res {
    // Behind the dots and the info of 8 bytes: limit, count, first block, then hash and block.
    let at = indexed(t)? + 0x20;
    let count = 400u32;
    let mut index = (count as u16).to_le_bytes().to_vec();
    index.extend(1u32.to_le_bytes());
    for i in 1..count {
        index.extend((i << 16).to_le_bytes());
        index.extend(1u32.to_le_bytes());
    }
    t.poke(at + 2, &index)?;
    t.mount("errors=continue")?;
    // What was listed before it was noticed counts: the caller may not see the error.
    let _ = names(&t.p("d"));
    if t.ours() {
        ensure!(t.logged(&[&["more leaves than blocks"]]), "{:?}", t.seen);
    }
    Ok(())
}

/// An index node: entries of a hash and a block, the first one without a hash. Behind as many bytes
/// as `before` the limit, which is kept in the root.
fn entries(before: &[u8], limit: u16, all: &[(u32, u32)]) -> Vec<u8> {
    let mut node = before.to_vec();
    node.extend(limit.to_le_bytes());
    node.extend((all.len() as u16).to_le_bytes());
    for (nth, (hash, block)) in all.iter().enumerate() {
        if nth > 0 {
            node.extend(hash.to_le_bytes());
        }
        node.extend(block.to_le_bytes());
    }
    node
}

/// A block that is a node of one part of the index and a leaf of another, and was checked as a
/// leaf, leads to the root. That is not taken for a leaf, too, and written over by a new name.
fn root_as_leaf(t: &mut T) -> Res {
    let root = indexed(t)?;
    let bs = t.bs();
    let block = |t: &T, n: u32| -> Res<u64> {
        let text = t.debugfs(&[&format!("bmap /d {n}")])?;
        let found = text.lines().find_map(|l| l.trim().parse::<u64>().ok());
        found.map_or_else(|| fail!("bmap /d {n}: {text}"), |pblk| Ok(pblk * bs))
    };
    let (low, both) = (block(t, 1)?, block(t, 2)?);
    // One unused entry over all of the block.
    let mut unused = vec![0; 8];
    unused[4..6].copy_from_slice(&(bs as u16).to_le_bytes());
    let limit = ((bs - 8) / 8) as u16;
    t.poke(low, &entries(&unused, limit, &[(0, 2)]))?;
    t.poke(both, &entries(&unused, limit, &[(0, 0)]))?;
    let root_limit = ((bs - 0x20) / 8) as u16;
    t.poke(root + 0x1e, &[1, 0])?;
    t.poke(
        root + 0x20,
        &entries(&[], root_limit, &[(0, 1), (1 << 26, 2)]),
    )?;
    let before = t.peek(root, t.var.bs)?;
    t.mount("errors=continue")?;
    // One of 64 is in the first part, where the block is a leaf.
    for i in 0..400 {
        let _ = sys::lstat(&t.p(&format!("d/absent{i}")));
    }
    let made = (0..20).map(|i| sys::create(&t.p(&format!("d/new{i}"))).map(drop));
    let failed: Vec<_> = made.filter(|made| made.is_err()).collect();
    // ext4 goes on without the index, in these two.
    ensure!(!failed.is_empty() || !t.ours(), "all names were made");
    for made in failed {
        corrupt(t, made, "create")?;
    }
    t.umount()?;
    let kept = t.peek(root, t.var.bs)? == before;
    ensure!(kept || !t.ours(), "the root was written over");
    Ok(())
}

/// A damaged index of a directory that says it is huge: who looks for a name goes through all of
/// its blocks, and not through what is none.
fn of_holes(t: &mut T) -> Res {
    let root = indexed(t)?;
    let huge = (1 << 32) - t.bs();
    script(t, &[format!("set_inode_field d size {huge}")])?;
    // No such hash.
    t.poke(root + 0x1c, &[77])?;
    t.mount("errors=continue")?;
    let look = |name: &str| {
        let begun = Instant::now();
        (sys::lstat(&t.p(&format!("d/{name}"))), begun.elapsed())
    };
    // One that takes long each time goes through all the holes.
    let (found, mut took) = look("absent");
    for name in ["away", "gone", "missing", "nowhere"] {
        took = took.min(look(name).1);
    }
    ensure!(took < Duration::from_secs(2), "took {took:?}");
    if t.ours() {
        corrupt(t, found, "lookup")?;
        let found = sys::lstat(&t.p(&format!("d/{:0>100}", 7)));
        ensure!(found.is_ok(), "a name that is there: {found:?}");
        ensure!(
            !names(&t.p("d")).is_ok_and(|all| all.is_empty()),
            "none listed"
        );
    }
    t.umount()
}

/// A directory whose only block has many entries, all unused and too short for a name: it gets an
/// index, and the name.
fn of_scraps(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 splits what has no entries: WARN_ON_ONCE in do_split");
    }
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    t.umount()?;
    t.broken = true;
    let at = dir_block(t, "/d")? * t.bs();
    let mut scraps = Vec::new();
    let mut left = t.bs() - 24;
    while left > 0 {
        let len = if left < 32 { left } else { 16 } as u8;
        scraps.extend([0, 0, 0, 0, len, 0, 1, 1]);
        scraps.resize(scraps.len() + usize::from(len) - 8, b'x');
        left -= u64::from(len);
    }
    t.poke(at + 12 + 4, &12u16.to_le_bytes())?;
    t.poke(at + 24, &scraps)?;
    t.mount("errors=continue")?;
    let name = t.p(&format!("d/{:0>40}", 1));
    sys::create(&name)?;
    t.cycle()?;
    sys::lstat(&name)?;
    t.umount()?;
    t.broken = false;
    Ok(())
}

/// Writes the 15 words of the root of an extent tree: magic and number of entries, room and depth,
/// then the entries.
fn set_root(t: &T, name: &str, depth: u32, entries: &[[u64; 3]]) -> Res {
    let mut words = vec![
        0xf30a | (entries.len() as u64) << 16,
        4 | u64::from(depth) << 16,
        0,
    ];
    words.extend(entries.iter().flatten());
    words.resize(15, 0);
    // As debugfs has it the last ones are those of a block map.
    let index = |i: usize| match i {
        12 => "IND".to_string(),
        13 => "DIND".to_string(),
        14 => "TIND".to_string(),
        _ => i.to_string(),
    };
    let set = |(i, word): (usize, &u64)| format!("sif {name} block[{}] {word}", index(i));
    script(t, &words.iter().enumerate().map(set).collect::<Vec<_>>()).map(drop)
}

/// The map of a directory that says it is huge cannot be read: that is told once or twice, and not
/// for each of its blocks.
fn without_map(t: &mut T) -> Res {
    let block = indexed(t)? / t.bs();
    let huge = (1 << 32) - t.bs();
    script(t, &[format!("sif d size {huge}")])?;
    // The directory's own block, which is none of an extent tree.
    set_root(t, "d", 1, &[[0, block, 0]])?;
    t.mount("errors=continue")?;
    let found = sys::lstat(&t.p("d/absent"));
    corrupt(t, found, "lookup")?;
    let told = |l: &&String| l.contains("error") || l.contains("inode");
    let lines = t.log().iter().filter(told).count();
    ensure!(lines < 20, "{lines} lines: {:?}", t.seen);
    t.umount()
}

/// A directory of more blocks than the disk has, which are the same good ones again and again:
/// nobody goes through them all.
fn longer_than_disk(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    sys::mkdir(&t.p("d"), 0o755)?;
    // Leaves of one unused entry.
    let mut leaves = vec![0; 24 << 20];
    for leaf in leaves.chunks_mut(bs as usize) {
        leaf[4..6].copy_from_slice(&(bs as u16).to_le_bytes());
    }
    let f = sys::create(&t.p("leaves"))?;
    f.pwrite(&leaves, 0)?;
    f.fsync()?;
    let all = fiemap(&f, 0, u64::MAX, true, 100)?;
    let Some(longest) = all.iter().max_by_key(|e| e.len) else {
        fail!("no extents");
    };
    let (run, place) = (longest.len / bs, longest.phys / bs);
    drop(f);
    t.umount()?;
    t.broken = true;
    ensure!(3 * run * bs > 64 << 20, "only {run} blocks in a row");
    let part = |nth: u64| [1 + nth * run, run, place];
    set_root(
        t,
        "d",
        0,
        &[[0, 1, dir_block(t, "/d")?], part(0), part(1), part(2)],
    )?;
    script(t, &[format!("sif d size {}", (1 + 3 * run) * bs)])?;
    t.mount("errors=continue")?;
    let name = t.p("d/absent");
    let done = [
        sys::lstat(&name).map(drop),
        sys::create(&name).map(drop),
        sys::rmdir(&t.p("d")),
    ];
    let listed = names(&t.p("d"));
    // ext4 goes through them.
    if t.ours() {
        ensure!(listed.is_err(), "{listed:?} listed");
        for (what, done) in ["lookup", "create", "rmdir"].iter().zip(done) {
            corrupt(t, done, what)?;
        }
    }
    t.umount()
}
