// SPDX-License-Identifier: GPL-2.0
//! Fields of inodes that grow: what a super block wants of them, attributes that are in the way,
//! and what may go wrong with that.

use crate::cases::damage::failing::with_hole;
use crate::cases::damage::freed::attribute_block;
use crate::cases::power::crash;
use crate::cases::power::orphans::script;
use crate::cases::space::enomem::{Starved, Who};
use crate::cases::space::enospc_tree;
use crate::dm;
use crate::fixture::{put, T};
use crate::harness::{Case, Res, ALL, FEATS, ONE};
use crate::sys;
use crate::xattr;
use crate::{ensure, errno, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("fields/moved", ALL, moved).secs(180).quick(),
    Case::new("fields/moved_feats", FEATS, moved).secs(180),
    Case::new("fields/shared", ALL, shared),
    Case::new("fields/removed", ALL, removed),
    Case::new("fields/full_disk", ALL, full_disk),
    Case::new("fields/damaged", ONE, damaged),
    Case::new("fields/unreadable", ALL, unreadable),
    Case::new("fields/no_memory", ONE, no_memory),
    Case::new("fields/power_cut", ALL, power_cut),
    Case::new("fields/refused", ONE, refused).quick(),
];

/// Bytes behind the first 128 of an inode; those that attributes have of them at first.
const ALL_BYTES: usize = 1024 - 128;
const OLD: usize = ALL_BYTES - 256;
/// What inodes shall have then, and what they shall have at least.
const WANT: usize = OLD + 80;
const LEAST: usize = OLD + 16;

/// An image with inodes of 1024 bytes, of which this many are for fields.
fn image(t: &mut T) -> Res {
    t.mkfs(64, &["-I", "1024"])?;
    says(t, OLD, OLD)
}

fn says(t: &T, want: usize, least: usize) -> Res {
    let cmds = [
        format!("ssv want_extra_isize {want}"),
        format!("ssv min_extra_isize {least}"),
    ];
    script(t, &cmds).map(drop)
}

/// So many attributes of 24 bytes each: ten fit into the inode.
fn give(path: &str, count: usize) -> Res {
    for i in 0..count {
        xattr::set(path, &format!("user.{i}"), b"aa", 0)?;
    }
    Ok(())
}

fn has(path: &str, count: usize) -> Res {
    let mut want: Vec<_> = (0..count).map(|i| format!("user.{i}")).collect();
    want.sort();
    same!(xattr::list(path)?, want, "{path}: names");
    for name in want {
        same!(xattr::get(path, &name)?, b"aa", "{path}: {name}");
    }
    Ok(())
}

/// Any change that writes the inode.
fn touch(path: &str) -> Res {
    Ok(sys::utimens(path, (1, 1), (2, 2))?)
}

/// The bytes of fields that the inode has. Unmounted.
fn size(t: &T, name: &str) -> Res<usize> {
    let text = t.debugfs(&[&format!("stat {name}")])?;
    let after = text.split("Size of extra inode fields:").nth(1);
    match after.and_then(|s| s.split_whitespace().next()?.parse().ok()) {
        Some(size) => Ok(size),
        None => fail!("{name}: {text}"),
    }
}

/// A file of `moved`: its attributes, those included that are not in the inode, and what it gets.
const FILES: [(&str, usize, usize); 6] = [
    ("none", 0, WANT),
    ("some", 4, WANT),
    ("room", 7, WANT),
    ("one_moves", 8, WANT),
    ("full", 10, WANT),
    ("and_block", 11, WANT),
];

/// Attributes that a block has room for.
fn in_block(t: &T) -> usize {
    (t.bs() as usize - 36) / 24
}

/// They move up in the inode, or to the block, as far as that has room.
fn moved(t: &mut T) -> Res {
    image(t)?;
    let block = 10 + in_block(t);
    let mut files = FILES.to_vec();
    files.extend([("for_least", block - 1, LEAST), ("stays", block, OLD)]);
    t.mount("")?;
    for (name, count, _) in &files {
        drop(put(&t.p(name), 1, 100)?);
        give(&t.p(name), *count)?;
    }
    sys::mkdir(&t.p("dir"), 0o755)?;
    give(&t.p("dir"), 10)?;
    t.umount()?;
    same!(size(t, "none")?, OLD, "before");
    says(t, WANT, LEAST)?;
    t.mount("")?;
    for (name, _, _) in &files {
        sys::write_file(&t.p(name), "aaaa\n")?;
    }
    drop(put(&t.p("dir/new"), 1, 0)?);
    t.drop_caches()?;
    for (name, count, _) in &files {
        has(&t.p(name), *count)?;
    }
    t.umount()?;
    t.fsck()?;
    for (name, _, want) in &files {
        same!(size(t, name)?, *want, "{name}");
    }
    same!(size(t, "dir")?, WANT, "a directory");
    same!(size(t, "dir/new")?, WANT, "a new inode");
    t.mount("")?;
    has(&t.p("dir"), 10)?;
    for (name, count, _) in &files {
        has(&t.p(name), *count)?;
        sys::unlink(&t.p(name))?;
    }
    t.umount()
}

/// What moves out of several inodes may be one block.
fn shared(t: &mut T) -> Res {
    image(t)?;
    t.mount("")?;
    let all = ["a", "b", "c"];
    for name in all {
        drop(put(&t.p(name), 1, 0)?);
        give(&t.p(name), 10)?;
    }
    t.umount()?;
    says(t, WANT, LEAST)?;
    t.mount("")?;
    let free = |t: &T| -> Res<u64> {
        sys::sync();
        Ok(sys::statfs(&t.p(""))?.f_bfree)
    };
    let before = free(t)?;
    for name in all {
        touch(&t.p(name))?;
    }
    same!(free(t)?, before - 1, "free blocks");
    for name in all {
        has(&t.p(name), 10)?;
        same!(
            sys::lstat(&t.p(name))?.st_blocks,
            t.bs() as i64 / 512,
            "{name}"
        );
        sys::unlink(&t.p(name))?;
    }
    same!(free(t)?, before, "free blocks without them");
    t.umount()
}

/// A file whose attributes leave no place at all. Mounted by who wants more.
fn stuck(t: &mut T) -> Res<String> {
    image(t)?;
    t.mount("")?;
    let path = t.p("f");
    drop(put(&path, 1, 100)?);
    give(&path, 10 + in_block(t))?;
    t.umount()?;
    says(t, WANT, LEAST)?;
    t.mount("")?;
    Ok(path)
}

/// When an attribute has gone it is tried again.
fn removed(t: &mut T) -> Res {
    let path = stuck(t)?;
    t.forget_log();
    touch(&path)?;
    touch(&path)?;
    if t.ours() {
        ensure!(
            t.logged(&[&["no room for more fields"]]),
            "nothing was said"
        );
    }
    let left = 10 + in_block(t) - 4;
    for i in left..left + 4 {
        xattr::remove(&path, &format!("user.{i}"))?;
    }
    touch(&path)?;
    has(&path, left)?;
    t.umount()?;
    same!(size(t, "f")?, WANT, "without four");
    t.mount("")?;
    has(&path, left)
}

/// No block is free, for attributes neither. What data may have is in `ballast`.
fn fill_all(t: &T) -> Res {
    for i in 0..400 {
        drop(put(&t.p(&format!("g{i}")), 1, 0)?);
    }
    drop(enospc_tree::fill(t)?);
    let full = |i: u32| {
        let value = [i.to_le_bytes(); 100].concat();
        xattr::set(&t.p(&format!("g{i}")), "user.big", &value, 0)
    };
    match (0..400).map(full).find(|set| set.is_err()) {
        Some(Err(e)) if e.errno == libc::ENOSPC => Ok(()),
        other => fail!("not full: {other:?}"),
    }
}

/// No block is left: the inode is written as it is, and grows another time.
fn full_disk(t: &mut T) -> Res {
    image(t)?;
    t.mount("")?;
    let path = t.p("f");
    drop(put(&path, 1, 100)?);
    give(&path, 10)?;
    t.umount()?;
    says(t, WANT, LEAST)?;
    t.mount("")?;
    fill_all(t)?;
    touch(&path)?;
    has(&path, 10)?;
    t.umount()?;
    same!(size(t, "f")?, OLD, "on a full disk");
    t.fsck()?;
    t.mount("")?;
    sys::unlink(&t.p("ballast"))?;
    sys::sync();
    touch(&path)?;
    t.umount()?;
    same!(size(t, "f")?, WANT, "with room");
    t.mount("")?;
    has(&path, 10)
}

/// Attributes in the inode that are damaged stay where they are, whoever writes the inode without
/// asking for them.
fn damaged(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 does not read such an inode");
    }
    t.broken = true;
    t.mkfs(64, &["-I", "1024", "-O", "^metadata_csum"])?;
    says(t, OLD, OLD)?;
    t.mount("")?;
    let path = t.p("f");
    drop(put(&path, 1, 100)?);
    give(&path, 4)?;
    t.umount()?;
    let at = crate::cases::damage::bad::inode_at(t, "/f")? + 128 + OLD as u64;
    // The length of the first name.
    t.poke(at + 4, &[200])?;
    let before = t.peek(at, 256)?;
    says(t, WANT, LEAST)?;
    t.mount("errors=remount-ro")?;
    touch(&path)?;
    t.umount()?;
    same!(t.peek(at, 256)?, before, "the attributes");
    same!(size(t, "f")?, OLD, "the fields");
    t.mount("errors=continue")?;
    same!(sys::lstat(&path)?.st_mtime, 2, "what was written");
    errno!(xattr::get(&path, "user.1"), EUCLEAN);
    Ok(())
}

/// The block that attributes are to move to cannot be read.
fn unreadable(t: &mut T) -> Res {
    let dm = crate::cases::damage::eio::device(t)?;
    image(t)?;
    t.mount("")?;
    let path = t.p("f");
    drop(put(&path, 1, 100)?);
    give(&path, 11)?;
    t.umount()?;
    says(t, WANT, LEAST)?;
    let at = attribute_block(t, "/f")? * t.bs();
    t.mount("")?;
    let f = sys::rdwr(&path)?;
    dm.swap(&with_hole(t, at, t.bs()))?;
    let written = touch(&path).and_then(|()| Ok(f.fsync()?));
    dm.swap(&[dm::linear(&t.disks[0], 0, crash::MB)])?;
    written?;
    drop(f);
    t.umount()?;
    same!(size(t, "f")?, OLD, "the fields");
    t.fsck()?;
    t.mount("")?;
    same!(sys::lstat(&path)?.st_mtime, 2, "what was written");
    has(&path, 11)?;
    touch(&path)?;
    t.umount()?;
    same!(size(t, "f")?, WANT, "when it can be read");
    Ok(())
}

const MANY: usize = 40;

/// Files with all their room taken, each with other names.
fn many(t: &mut T) -> Res {
    for i in 0..MANY {
        let path = t.p(&format!("f{i}"));
        drop(put(&path, 1, 0)?);
        give(&path, 9)?;
        xattr::set(&path, "user.own", &[i as u8; 2], 0)?;
    }
    t.umount()?;
    says(t, WANT, LEAST)?;
    t.mount("")
}

fn many_have(t: &T) -> Res {
    for i in 0..MANY {
        let path = t.p(&format!("f{i}"));
        same!(xattr::list(&path)?.len(), 10, "{path}: names");
        same!(xattr::get(&path, "user.own")?, [i as u8; 2], "{path}");
    }
    Ok(())
}

/// Without memory they grow later, and nothing is lost.
fn no_memory(t: &mut T) -> Res {
    image(t)?;
    t.mount("")?;
    many(t)?;
    let touch_all = |t: &T| -> usize {
        let all = (0..MANY).filter(|i| touch(&t.p(&format!("f{i}"))).is_err());
        all.count()
    };
    {
        let _starved = Starved::new(Who::Caller)?;
        touch_all(t);
    }
    many_have(t)?;
    same!(touch_all(t), 0, "errors with memory");
    many_have(t)?;
    t.cycle()?;
    many_have(t)
}

/// All of it or nothing, at whatever moment the power goes.
fn power_cut(t: &mut T) -> Res {
    let d = crash::on_dm(t)?;
    image(t)?;
    t.mount("")?;
    many(t)?;
    for i in 0..MANY {
        touch(&t.p(&format!("f{i}")))?;
        if i == MANY / 2 {
            sys::rdonly(&t.p("f0"))?.fsync()?;
        }
    }
    crash::crash(t, &d)?;
    many_have(t)?;
    t.umount()?;
    t.fsck()?;
    same!(size(t, "f0")?, WANT, "what was synced");
    t.mount("")
}

/// A super block that wants more than an inode has.
fn refused(t: &mut T) -> Res {
    image(t)?;
    t.broken = true;
    let most = ALL_BYTES;
    for (want, least) in [(most + 4, OLD), (OLD, most + 4), (0xfffc, 0)] {
        says(t, want, least)?;
        match t.try_mount(0, "") {
            Err(e) if e.errno == libc::EUCLEAN && t.ours() => (),
            other => errno!(other, EINVAL),
        }
    }
    // All of it, which leaves attributes no room.
    says(t, most, OLD)?;
    t.mount("")?;
    let path = t.p("f");
    drop(put(&path, 1, 100)?);
    give(&path, 3)?;
    t.cycle()?;
    has(&path, 3)?;
    t.umount()?;
    t.fsck()?;
    same!(size(t, "f")?, most, "a new inode");
    Ok(())
}
