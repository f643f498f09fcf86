// SPDX-License-Identifier: GPL-2.0
//! Blocks of attributes that inodes share.

use crate::cases::damage::bad::{inode_at, PLAIN};
use crate::cases::namespace::xattr::{agree, dump};
use crate::fixture::{knows_fs, put, T};
use crate::harness::{Case, Res, Variant, ALL, K1, K4};
use crate::sys;
use crate::xattr;
use crate::{ensure, fail, same};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("xattr/shared", ALL, shared).quick(),
    Case::new("xattr/shared_limit", TWO, limit).secs(120),
    Case::new("xattr/shared_race", TWO, race).secs(120),
    Case::new("xattr/own_block", PLAIN, own_block).quick(),
    Case::new("xattr/nombcache", TWO, nombcache),
];

/// On a damaged image an attribute is both in the inode and in the block. To set what is in the
/// block takes it out of the inode, and does not make the inode own its block twice.
fn own_block(t: &mut T) -> Res {
    t.fresh()?;
    let path = t.p("f");
    put(&path, 1, 0)?;
    xattr::set(&path, "user.b", b"x", 0)?;
    xattr::set(&path, "user.a", &[7; 200], 0)?;
    t.umount()?;
    let at = inode_at(t, "/f")?;
    let inode = t.peek(at, 256)?;
    let entries = inode[128..].chunks_exact(4).map(|word| word == b"b\0\0\0");
    let Some(name) = entries.clone().position(|is| is) else {
        fail!("no name in the inode: {inode:?}");
    };
    same!(entries.filter(|is| *is).count(), 1, "names");
    t.poke(at + 128 + 4 * name as u64, b"a")?;
    t.mount("")?;
    same!(xattr::get(&path, "user.a")?, b"x", "what is found first");
    xattr::set(&path, "user.a", &[7; 200], 0)?;
    same!(xattr::get(&path, "user.a")?, [7; 200], "what was set");
    t.umount()?;
    t.fsck()
}

fn free(t: &T) -> Res<u64> {
    sys::sync();
    Ok(sys::statfs(&t.p(""))?.f_bfree)
}

const VALUE: [u8; 500] = [9; 500];
/// As many as two blocks can have.
const TWO_FULL: u32 = 2048;

fn make(t: &T, names: std::ops::Range<u32>) -> Res {
    for i in names {
        let path = t.p(&format!("f{i}"));
        put(&path, 1, 0)?;
        give(&path)?;
    }
    Ok(())
}

fn give(path: &str) -> Res {
    Ok(xattr::set(path, "user.same", &VALUE, 0)?)
}

/// The same attributes are one block, also after a mount, whoever wrote it; a change of one leaves
/// the others, and the last one frees it.
fn shared(t: &mut T) -> Res {
    t.fresh()?;
    // Room for the names, so that the directory does not grow.
    let none = free(t)?;
    make(t, 0..10)?;
    same!(free(t)?, none - 1, "ten files, one block");
    t.cycle()?;
    // Who reads it knows it again.
    xattr::get(&t.p("f3"), "user.same")?;
    make(t, 10..12)?;
    same!(free(t)?, none - 1, "two more");
    xattr::set(&t.p("f5"), "user.same", &[1; 500], 0)?;
    same!(free(t)?, none - 2, "one differs");
    same!(xattr::get(&t.p("f6"), "user.same")?, VALUE, "another");
    xattr::set(&t.p("f5"), "user.same", &VALUE, 0)?;
    same!(free(t)?, none - 1, "the same again");
    let shown = dump(t)?;
    t.umount()?;
    t.fsck()?;
    if t.ours() && knows_fs("ext4") {
        let fs = std::mem::replace(&mut t.fs, "ext4".to_string());
        t.mount("")?;
        agree(&dump(t)?, &shown, "ext4 reads")?;
        make(t, 12..14)?;
        t.umount()?;
        t.fsck()?;
        t.fs = fs;
    }
    t.mount("")?;
    for i in 0..14 {
        let path = t.p(&format!("f{i}"));
        if sys::exists(&path) {
            sys::unlink(&path)?;
        }
    }
    same!(free(t)?, none, "all are gone");
    t.umount()
}

/// A block has 1024 owners at most, and what leaves a full one makes room in it.
fn limit(t: &mut T) -> Res {
    t.fresh()?;
    let path = |t: &T, i: u32| t.p(&format!("f{i}"));
    for i in 0..TWO_FULL {
        put(&path(t, i), 1, 0)?;
    }
    // The directory has its blocks.
    let none = free(t)?;
    for i in 0..1024 {
        give(&path(t, i))?;
    }
    same!(free(t)?, none - 1, "1024 owners");
    give(&path(t, 1024))?;
    same!(free(t)?, none - 2, "one more");
    for i in 1025..TWO_FULL {
        give(&path(t, i))?;
    }
    same!(free(t)?, none - 2, "two full blocks");
    // Some leave a full block, and others come; also after a mount, which knows of none.
    let leave_and_come = |t: &T, n: u32| -> Res {
        for i in 0..n {
            xattr::remove(&path(t, i), "user.same")?;
        }
        same!(free(t)?, none - 2, "{n} have left");
        for i in 0..n {
            give(&path(t, i))?;
        }
        same!(free(t)?, none - 2, "{n} have come");
        Ok(())
    };
    leave_and_come(t, 10)?;
    t.umount()?;
    t.fsck()?;
    t.mount("")?;
    for i in 0..TWO_FULL {
        same!(xattr::get(&path(t, i), "user.same")?, VALUE, "{i}");
    }
    leave_and_come(t, 700)?;
    for i in 0..TWO_FULL {
        same!(xattr::get(&path(t, i), "user.same")?, VALUE, "again, {i}");
        xattr::remove(&path(t, i), "user.same")?;
    }
    same!(free(t)?, none, "no owners");
    t.umount()
}

/// Several tasks give the same few values to their files, and take them away.
fn race(t: &mut T) -> Res {
    t.fresh()?;
    let run = |part: u64| -> Res {
        let mut r = fastrand::Rng::with_seed(part);
        for i in 0..400 {
            let path = t.p(&format!("p{part}-{}", r.u32(..6)));
            match r.u32(..10) {
                0 if sys::exists(&path) => sys::unlink(&path)?,
                _ if !sys::exists(&path) => drop(sys::create(&path)?),
                1..=2 => drop(xattr::remove(&path, "user.v")),
                _ => {
                    let value = [r.u8(..3); 400];
                    xattr::set(&path, "user.v", &value, 0)?;
                    same!(xattr::get(&path, "user.v")?, value, "{path} round {i}");
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|s| {
        let all: Vec<_> = (0..4).map(|part| s.spawn(move || run(part))).collect();
        all.into_iter().try_for_each(|task| match task.join() {
            Ok(result) => result,
            Err(_) => fail!("a task panicked"),
        })
    })?;
    t.umount()
}

/// With `nombcache` each has a block of its own.
fn nombcache(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.mount("nombcache")?;
    let none = free(t)?;
    make(t, 0..5)?;
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    ensure!(!t.ours() || mounts.contains("nombcache"), "{mounts}");
    same!(free(t)?, none - 5, "five blocks");
    t.umount()
}
