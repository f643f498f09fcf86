// SPDX-License-Identifier: GPL-2.0
//! Images that are wrong: refused or reported, named in the log, and never written over.

use crate::attr::device_sum;
use crate::fixture::{holds, names, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, Variant, ALL, FEATS, K1, K4, NOCSUM, ONE};
use crate::sys::{self, Sys};
use crate::{ensure, errno, fail, same, skip};

const PLAIN: &[Variant] = &[NOCSUM];
const BOTH: &[Variant] = &[NOCSUM, K1, K4];

pub const CASES: &[Case] = &[
    Case::new("bad/sb_magic", ALL, sb_magic).quick(),
    Case::new("bad/sb_checksum", ONE, sb_checksum).quick(),
    Case::new("bad/sb_fields", PLAIN, sb_fields).quick(),
    Case::new("bad/incompat", PLAIN, incompat).quick(),
    Case::new("bad/ro_compat", PLAIN, ro_compat).quick(),
    Case::new("bad/group_checksum", ONE, group_checksum).quick(),
    Case::new("bad/group_location", PLAIN, group_location),
    Case::new("bad/inode_checksum", ALL, inode_checksum).quick(),
    Case::new("bad/inode_fields", BOTH, inode_fields),
    Case::new("bad/root_inode", BOTH, root_inode),
    Case::new("bad/extent_header", BOTH, extent_header).quick(),
    Case::new("bad/extent_outside", BOTH, extent_outside).quick(),
    Case::new("bad/extent_block", ALL, extent_block),
    Case::new("bad/dirent", PLAIN, dirent).quick(),
    Case::new("bad/dirent_checksum", ALL, dirent_checksum),
    Case::new("bad/block_bitmap", ALL, block_bitmap).quick(),
    Case::new("bad/inode_bitmap", ALL, inode_bitmap),
    Case::new("bad/journal", FEATS, journal).quick(),
    Case::new("bad/errors_option", BOTH, errors_option).quick(),
    Case::new("bad/readonly_untouched", BOTH, readonly_untouched),
    Case::new("bad/random_flips", FEATS, random_flips)
        .secs(120)
        .quick(),
];

const SB: u64 = 1024;

/// An unmounted image with a file, a directory of files, and a file with a deep tree.
pub fn prepared(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 50_000)?;
    put(&t.p("good"), 2, 50_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..20 {
        put(&t.p(&format!("d/name{i}")), i, 10)?;
    }
    let deep = sys::create(&t.p("deep"))?;
    for i in 0..30 {
        deep.pwrite(&pattern(3, 0, 100), i * 2 * t.bs())?;
    }
    drop(deep);
    t.umount()?;
    t.broken = true;
    t.forget_log();
    Ok(())
}

/// EUCLEAN; the kernel's ext4 says EBADMSG for checksums and EIO in a few places.
pub fn corrupt<R>(t: &T, r: Sys<R>, what: &str) -> Res {
    match r {
        Ok(_) => fail!("{what}: succeeded on a corrupt image"),
        Err(e) if e.errno == libc::EUCLEAN => Ok(()),
        Err(e) if !t.ours() && [libc::EBADMSG, libc::EIO].contains(&e.errno) => Ok(()),
        Err(e) => fail!("{what}: {e}, want EUCLEAN"),
    }
}

/// The mount fails with one of these, and the log has a line with the words.
fn refused(t: &mut T, errs: &[i32], words: &[&[&str]], what: &str) -> Res {
    let before = device_sum(t, 4)?;
    for flags in [0, libc::MS_RDONLY] {
        t.forget_log();
        match t.try_mount(flags, "") {
            Ok(()) => fail!("{what}: mounted"),
            Err(e) => ensure!(errs.contains(&e.errno), "{what}: {e}"),
        }
        ensure!(
            t.logged(words),
            "{what}: the log has no line with {words:?}: {:?}",
            t.seen
        );
    }
    // The kernel's ext4 records an error met in an inode in the superblock, even so.
    if t.ours() || !what.starts_with("sif") {
        same!(
            device_sum(t, 4)?,
            before,
            "{what}: the device after a refused mount"
        );
    }
    Ok(())
}

const MOUNT_ERRS: &[i32] = &[libc::EINVAL, libc::EUCLEAN, libc::EBADMSG, libc::EIO];

fn sb_magic(t: &mut T) -> Res {
    prepared(t)?;
    t.poke(SB + 0x38, &[0, 0])?;
    refused(
        t,
        MOUNT_ERRS,
        &[&["find ext4"], &["magic"], &["superblock"]],
        "bad magic",
    )?;
    // Nothing at all there.
    t.poke(0, &vec![0; 65_536])?;
    refused(
        t,
        MOUNT_ERRS,
        &[&["find ext4"], &["magic"], &["superblock"]],
        "zeros",
    )
}

fn sb_checksum(t: &mut T) -> Res {
    prepared(t)?;
    t.poke(SB + 0x78, b"changed")?;
    refused(t, MOUNT_ERRS, &[&["checksum"]], "superblock checksum")
}

/// Each of these fields makes nonsense; without a checksum only their check can tell.
fn sb_fields(t: &mut T) -> Res {
    let list: [(&str, u64, &[u8]); 10] = [
        ("block size", 0x18, &[60, 0, 0, 0]),
        ("blocks count", 0x04, &[0xff, 0xff, 0xff, 0x7f]),
        ("blocks count 0", 0x04, &[0, 0, 0, 0]),
        ("blocks per group", 0x20, &[0, 0, 0, 0]),
        ("blocks per group large", 0x20, &[0xff, 0xff, 0xff, 0xff]),
        ("inodes per group", 0x28, &[0, 0, 0, 0]),
        ("inodes per group large", 0x28, &[0xff, 0xff, 0xff, 0x0f]),
        ("inode size", 0x58, &[3, 0]),
        ("first data block", 0x14, &[0xff, 0xff, 0xff, 0x7f]),
        ("inode count", 0x00, &[0xff, 0xff, 0xff, 0xff]),
    ];
    prepared(t)?;
    let good = t.peek(SB, 1024)?;
    for (what, at, bytes) in list {
        t.poke(SB + at, bytes)?;
        let (a, b) = (t.try_mount(0, ""), t.try_mount(libc::MS_RDONLY, ""));
        for r in [a, b] {
            match r {
                Ok(()) => fail!("{what}: mounted"),
                Err(e) => ensure!(
                    MOUNT_ERRS.contains(&e.errno) || e.errno == libc::EFBIG,
                    "{what}: {e}"
                ),
            }
        }
        t.poke(SB, &good)?;
    }
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, 50_000),
        "restored",
    )?;
    t.broken = false;
    Ok(())
}

fn incompat(t: &mut T) -> Res {
    prepared(t)?;
    let old = t.peek(SB + 0x60, 4)?;
    let mut new = old.clone();
    new[3] |= 0x80;
    t.poke(SB + 0x60, &new)?;
    refused(
        t,
        MOUNT_ERRS,
        &[&["80000000"], &["feature_i31"], &["incompat", "8000"]],
        "unknown incompat bit",
    )?;
    // Known to others, not to any of us: compression.
    let mut new = old;
    new[0] |= 1;
    t.poke(SB + 0x60, &new)?;
    refused(t, MOUNT_ERRS, &[&["feature"], &["incompat"]], "compression")
}

fn ro_compat(t: &mut T) -> Res {
    prepared(t)?;
    let mut new = t.peek(SB + 0x64, 4)?;
    new[3] |= 0x40;
    t.poke(SB + 0x64, &new)?;
    let before = device_sum(t, 64)?;
    match t.try_mount(0, "") {
        Ok(()) => fail!("mounted read-write with an unknown ro_compat bit"),
        Err(e) => ensure!([libc::EROFS, libc::EINVAL].contains(&e.errno), "{e}"),
    }
    ensure!(
        t.logged(&[&["40000000"], &["feature_r30"]]),
        "the bit is not named: {:?}",
        t.seen
    );
    t.try_mount(libc::MS_RDONLY, "")?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, 50_000),
        "read-only",
    )?;
    errno!(sys::create(&t.p("x")), EROFS);
    errno!(t.remount(0, ""), EROFS | EINVAL);
    errno!(sys::create(&t.p("x")), EROFS);
    t.umount()?;
    same!(device_sum(t, 64)?, before, "the device");
    Ok(())
}

/// Group descriptors begin in the block after the superblock.
fn gdt(t: &T) -> u64 {
    if t.bs() == 1024 {
        2048
    } else {
        t.bs()
    }
}

fn mount_or_use_fails(t: &mut T, what: &str, words: &[&[&str]]) -> Res {
    t.forget_log();
    match t.try_mount(0, "") {
        Err(e) => ensure!(MOUNT_ERRS.contains(&e.errno), "{what}: {e}"),
        Ok(()) => {
            let r = put(&t.p("new"), 1, 5000).and_then(|f| f.fsync());
            let l = sys::lstat(&t.p("f")).map(drop);
            t.umount()?;
            ensure!(
                r.is_err() || l.is_err(),
                "{what}: mounted, read and written"
            );
        }
    }
    ensure!(
        t.logged(words),
        "{what}: the log has no line with {words:?}: {:?}",
        t.seen
    );
    Ok(())
}

fn group_checksum(t: &mut T) -> Res {
    prepared(t)?;
    let at = gdt(t);
    let b = t.peek(at + 0x0c, 1)?;
    t.poke(at + 0x0c, &[b[0] ^ 1])?;
    mount_or_use_fails(
        t,
        "group checksum",
        &[&["group", "checksum"], &["group 0"], &["descriptor"]],
    )
}

fn group_location(t: &mut T) -> Res {
    prepared(t)?;
    let at = gdt(t);
    let good = t.peek(at, 32)?;
    for (off, what) in [(0, "block bitmap"), (4, "inode bitmap"), (8, "inode table")] {
        for bad in [0u32, 0x7fff_ffff] {
            t.poke(at + off, &bad.to_le_bytes())?;
            mount_or_use_fails(
                t,
                what,
                &[&["group 0"], &["group", "invalid"], &["descriptor"]],
            )?;
            t.poke(at, &good)?;
        }
    }
    Ok(())
}

/// Byte offset of an inode on the device.
pub fn inode_at(t: &T, path: &str) -> Res<u64> {
    let text = t.debugfs(&[&format!("imap {path}")])?;
    let num = |k: &str| -> Option<&str> {
        text.split(k)
            .nth(1)?
            .split([',', '\n', ' '])
            .find(|w| !w.is_empty())
    };
    let block = num("located at block").and_then(|w| w.parse::<u64>().ok());
    let off = num("offset").and_then(|w| u64::from_str_radix(w.trim_start_matches("0x"), 16).ok());
    match (block, off) {
        (Some(b), Some(o)) => Ok(b * t.bs() + o),
        _ => fail!("imap {path}: {text}"),
    }
}

/// Inode number by debugfs.
pub fn ino(t: &T, path: &str) -> Res<String> {
    let text = t.debugfs(&[&format!("stat {path}")])?;
    match text
        .split("Inode:")
        .nth(1)
        .and_then(|r| r.split_whitespace().next())
    {
        Some(n) => Ok(n.to_string()),
        None => fail!("stat {path}: {text}"),
    }
}

fn inode_checksum(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "/f")?;
    let n = ino(t, "/f")?;
    let b = t.peek(at + 0x10, 1)?;
    t.poke(at + 0x10, &[b[0] ^ 1])?;
    t.mount("errors=continue")?;
    let r = sys::lstat(&t.p("f"));
    corrupt(t, r, "lstat")?;
    let r = sys::rdonly(&t.p("f"));
    corrupt(t, r, "open")?;
    let r = sys::unlink(&t.p("f"));
    corrupt(t, r, "unlink")?;
    ensure!(
        t.logged(&[&["inode", &n]]),
        "inode {n} is not named: {:?}",
        t.seen
    );
    // Its neighbours are well.
    holds(
        &sys::rdonly(&t.p("good"))?,
        0,
        &pattern(2, 0, 50_000),
        "a good file",
    )?;
    put(&t.p("new"), 3, 5000)?.fsync()?;
    t.umount()?;
    same!(
        t.peek(at + 0x10, 1)?,
        [b[0] ^ 1],
        "the corrupt inode on disk"
    );
    Ok(())
}

fn inode_fields(t: &mut T) -> Res {
    prepared(t)?;
    sys::lstat("/")?;
    t.mount("")?;
    sys::symlink(&"s".repeat(30), &t.p("sym"))?;
    t.umount()?;
    // debugfs writes a good checksum, so that only the field is wrong.
    let list: [(&str, &str, &str); 6] = [
        ("mode of no type", "f", "sif /f mode 0070644"),
        (
            "extra size beyond the inode",
            "f",
            "sif /f extra_isize 0x200",
        ),
        ("no links", "f", "sif /f links_count 0"),
        ("directory size", "d", "sif /d size 0x100000"),
        ("symlink size", "sym", "sif /sym size 5000"),
        ("directory without blocks", "d", "sif /d size 0"),
    ];
    for (what, name, cmd) in list {
        let at = inode_at(t, &format!("/{name}"))?;
        let good = t.peek(at, 256)?;
        t.debugfs(&[cmd])?;
        ensure!(t.peek(at, 256)? != good, "{what}: debugfs changed nothing");
        t.forget_log();
        t.mount("errors=continue")?;
        let path = t.p(name);
        // Whatever is refused is refused with EUCLEAN (ESTALE without links); no wrong content.
        let mut refused = 0;
        let l = sys::lstat(&path).map(drop);
        let o = match name {
            "sym" => sys::readlink(&path).map(drop),
            "d" => names(&path).map(drop).map_err(|_| sys::SysErr {
                what: "readdir".into(),
                errno: libc::EUCLEAN,
            }),
            _ => sys::rdonly(&path).map(drop),
        };
        for r in [l, o] {
            if let Err(e) = r {
                refused += 1;
                let ok = [libc::EUCLEAN, libc::ESTALE].contains(&e.errno);
                ensure!(
                    ok || !t.ours() && [libc::EIO, libc::EBADMSG].contains(&e.errno),
                    "{what}: {e}"
                );
            }
        }
        // A directory of holes or without blocks may count as empty.
        ensure!(refused > 0 || name == "d", "{what}: accepted");
        holds(
            &sys::rdonly(&t.p("good"))?,
            0,
            &pattern(2, 0, 50_000),
            "a good file",
        )?;
        t.umount()?;
        t.poke(at, &good)?;
    }
    Ok(())
}

fn root_inode(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "<2>")?;
    let good = t.peek(at, 256)?;
    for cmd in ["sif <2> mode 0100644", "sif <2> links_count 0"] {
        t.debugfs(&[cmd])?;
        refused(
            t,
            &[
                libc::EINVAL,
                libc::EUCLEAN,
                libc::EBADMSG,
                libc::EIO,
                libc::ESTALE,
            ],
            &[&["root"], &["inode", "2"]],
            cmd,
        )?;
        t.poke(at, &good)?;
    }
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, 50_000),
        "restored",
    )?;
    t.broken = false;
    Ok(())
}

/// Reading, writing, cutting and mapping this file all fail; others work.
fn file_is_corrupt(t: &mut T, path: &str, what: &str) -> Res {
    let n = ino(t, &format!("/{path}"))?;
    t.forget_log();
    t.mount("errors=continue")?;
    let p = t.p(path);
    let mut b = vec![0; 20_000];
    // A bad header may be seen as early as lookup.
    match sys::rdwr(&p) {
        Err(e) => corrupt::<()>(t, Err(e), &format!("{what}: open"))?,
        Ok(f) => {
            let r = f.pread(&mut b, 0);
            // A failed readahead shows as EIO of the page, as read(2) of any file system does.
            match r {
                Err(e) if e.errno == libc::EIO => {}
                r => corrupt(t, r, &format!("{what}: read"))?,
            }
            let r = crate::falloc::fiemap(&f, 0, u64::MAX, false, 10);
            corrupt(t, r, &format!("{what}: fiemap"))?;
            let r = f.pwrite(&pattern(9, 0, 5000), 0).and_then(|()| f.fsync());
            ensure!(r.is_err(), "{what}: write and fsync succeeded");
        }
    }
    let words: [&[&str]; 2] = [&["inode", &n, "ext"], &["inode", &n, "map"]];
    ensure!(
        t.logged(&words),
        "{what}: inode {n} and its extents are not named: {:?}",
        t.seen
    );
    holds(
        &sys::rdonly(&t.p("good"))?,
        0,
        &pattern(2, 0, 50_000),
        "a good file",
    )?;
    put(&t.p("new"), 3, 5000)?.fsync()?;
    t.umount()
}

fn extent_header(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "/f")?;
    let good = t.peek(at, 256)?;
    // block[0] = magic and entries, block[1] = max and depth.
    for (what, cmd) in [
        ("magic", "sif /f block[0] 0x00010000"),
        ("more entries than room", "sif /f block[0] 0x0009f30a"),
        ("room beyond the inode", "sif /f block[1] 0x00000040"),
        ("depth 9", "sif /f block[1] 0x00090004"),
        ("depth 1 over leaf entries", "sif /f block[1] 0x00010004"),
    ] {
        t.debugfs(&[cmd])?;
        file_is_corrupt(t, "f", what)?;
        t.poke(at, &good)?;
    }
    Ok(())
}

fn extent_outside(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "/f")?;
    let good = t.peek(at, 256)?;
    // Words of the first extent: logical, length and high block, low block.
    for (what, cmds) in [
        ("beyond the device", vec!["sif /f block[5] 0x7ffffff0"]),
        ("high bits of the block", vec!["sif /f block[4] 0x7fff0030"]),
        ("block 0", vec!["sif /f block[5] 0"]),
        ("over the inode table", vec!["sif /f block[5] 2"]),
        ("length 0", vec!["sif /f block[4] 0"]),
    ] {
        t.debugfs(&cmds)?;
        file_is_corrupt(t, "f", what)?;
        t.poke(at, &good)?;
    }
    Ok(())
}

/// The first block of the tree of /deep.
fn tree_block(t: &T) -> Res<u64> {
    let text = t.debugfs(&["dump_extents -n /deep"])?;
    // " 0/ 1   1/  1     0 -    58   1234             59"
    let block = text.lines().find_map(|l| {
        let (_, right) = l.split_once('-')?;
        l.trim_start()
            .starts_with("0/")
            .then(|| right.split_whitespace().nth(1)?.parse().ok())?
    });
    match block {
        Some(b) => Ok(b),
        None => fail!("no tree block of /deep: {text}"),
    }
}

fn extent_block(t: &mut T) -> Res {
    prepared(t)?;
    let at = tree_block(t)? * t.bs();
    let good = t.peek(at, t.var.bs)?;
    ensure!(
        good[..2] == [0x0a, 0xf3],
        "no extent header in the tree block: {:x?}",
        &good[..12]
    );
    for (what, off, bytes) in [
        ("tree block checksum", 20, [good[20] ^ 1]),
        ("tree block magic", 0, [0]),
        ("tree block depth", 6, [3]),
    ] {
        t.poke(at + off, &bytes)?;
        file_is_corrupt(t, "deep", what)?;
        same!(t.peek(at + off, 1)?, bytes, "{what} on disk");
        t.poke(at, &good)?;
    }
    Ok(())
}

/// First block of a directory.
fn dir_block(t: &T, path: &str) -> Res<u64> {
    let text = t.debugfs(&[&format!("bmap {path} 0")])?;
    let n = text.lines().find_map(|l| l.trim().parse::<u64>().ok());
    match n {
        Some(n) if n != 0 => Ok(n),
        _ => fail!("bmap {path}: {text}"),
    }
}

fn dirent(t: &mut T) -> Res {
    prepared(t)?;
    let at = dir_block(t, "/d")? * t.bs();
    let good = t.peek(at, t.var.bs)?;
    let n = ino(t, "/d")?;
    // The third record, behind the dots, at 24: inode, rec_len, name_len, type, name.
    for (what, off, bytes) in [
        ("rec_len 3", 28, vec![3, 0]),
        ("rec_len 0", 28, vec![0, 0]),
        ("rec_len beyond the block", 28, vec![0xf0, 0x7f]),
        ("name longer than the record", 30, vec![200]),
        ("inode beyond the last", 24, vec![0xff, 0xff, 0xff, 0x7f]),
        ("first rec_len", 4, vec![5, 0]),
    ] {
        t.poke(at + off, &bytes)?;
        t.forget_log();
        t.mount("errors=continue")?;
        let l = sys::lstat(&t.p("d/name0"));
        match l {
            // The kernel's ext4 looks at the names first: this one does not match.
            Err(e) if !t.ours() && e.errno == libc::ENOENT && what.starts_with("name") => {
                ensure!(names(&t.p("d")).is_err(), "{what}: listed");
            }
            l => corrupt(t, l, &format!("{what}: lookup"))?,
        }
        // Listing reports it, or shows what is before it; the rest of the image is well.
        if let Ok(v) = names(&t.p("d")) {
            ensure!(v.len() <= 20, "{what}: {} names", v.len());
        }
        let r = sys::create(&t.p("d/another-name-that-needs-room"));
        if what.starts_with("rec_len") || what.starts_with("first") {
            corrupt(t, r.map(drop), &format!("{what}: create"))?;
        }
        let ok = t.logged(&[&["inode", &n], &["inode", "2147483647"], &["dir", &n]]);
        ensure!(ok, "{what}: directory {n} is not named: {:?}", t.seen);
        holds(
            &sys::rdonly(&t.p("good"))?,
            0,
            &pattern(2, 0, 50_000),
            "a good file",
        )?;
        t.umount()?;
        t.poke(at, &good)?;
    }
    Ok(())
}

fn dirent_checksum(t: &mut T) -> Res {
    prepared(t)?;
    let at = dir_block(t, "/d")? * t.bs();
    let n = ino(t, "/d")?;
    // A letter of a name: only the checksum can tell.
    let b = t.peek(at + 32, 1)?;
    t.poke(at + 32, &[b[0] ^ 1])?;
    t.mount("errors=continue")?;
    let r = sys::lstat(&t.p("d/name5"));
    corrupt(t, r, "lookup")?;
    let r = sys::create(&t.p("d/new")).map(drop);
    corrupt(t, r, "create")?;
    if let Ok(v) = names(&t.p("d")) {
        ensure!(
            v.is_empty(),
            "{} names are listed from a bad block",
            v.len()
        );
    }
    let ok = t.logged(&[
        &["inode", &n, "checksum"],
        &["dir", &n, "checksum"],
        &["inode", &n, "dir"],
    ]);
    ensure!(ok, "directory {n} is not named: {:?}", t.seen);
    t.umount()?;
    same!(t.peek(at + 32, 1)?, [b[0] ^ 1], "the bad block on disk");
    Ok(())
}

fn bitmap_at(t: &T, which: &str) -> Res<u64> {
    let (_, text) = run_cmd("dumpe2fs", &[&t.dev])?;
    let n = text
        .split(&format!("{which} bitmap at "))
        .nth(1)
        .and_then(|r| r.split([' ', ',']).next())
        .and_then(|w| w.parse::<u64>().ok());
    match n {
        Some(n) => Ok(n * t.bs()),
        None => fail!("no {which} bitmap in dumpe2fs"),
    }
}

/// MiB of an image that is one group.
fn one_group(t: &T) -> u64 {
    match t.var.bs {
        1024 => 8,
        2048 => 30,
        _ => 60,
    }
}

/// One bit of the only group's bitmap flipped: nothing is allocated by it.
fn block_bitmap(t: &mut T) -> Res {
    t.mkfs(one_group(t), &["-N", "64"])?;
    t.mount("")?;
    put(&t.p("good"), 2, 50_000)?;
    t.umount()?;
    t.broken = true;
    let groups = t.debugfs(&["stats"])?.matches(" Group ").count();
    same!(groups, 1, "groups");
    let at = bitmap_at(t, "Block")? + 200;
    let b = t.peek(at, 1)?;
    t.poke(at, &[b[0] ^ 0x10])?;
    t.forget_log();
    t.mount("errors=continue")?;
    holds(
        &sys::rdonly(&t.p("good"))?,
        0,
        &pattern(2, 0, 50_000),
        "reading",
    )?;
    let r = put(&t.p("new"), 3, 50_000).and_then(|f| f.fsync());
    let Err(e) = r else {
        fail!("written with a corrupt block bitmap")
    };
    let allowed = [libc::EUCLEAN, libc::ENOSPC, libc::EIO, libc::EBADMSG];
    ensure!(allowed.contains(&e.errno), "{e}");
    let ok = t.logged(&[
        &["bitmap", "group 0"],
        &["bitmap", "bg 0"],
        &["group 0", "checksum"],
        &["bg 0"],
    ]);
    ensure!(ok, "the bitmap of group 0 is not named: {:?}", t.seen);
    t.umount()?;
    same!(t.peek(at, 1)?, [b[0] ^ 0x10], "the bitmap on disk");
    Ok(())
}

fn inode_bitmap(t: &mut T) -> Res {
    t.mkfs(one_group(t), &["-N", "64"])?;
    t.broken = true;
    let at = bitmap_at(t, "Inode")? + 3;
    let b = t.peek(at, 1)?;
    t.poke(at, &[b[0] ^ 0x10])?;
    t.forget_log();
    t.mount("errors=continue")?;
    let r = sys::create(&t.p("new"));
    let Err(e) = r else {
        fail!("created with a corrupt inode bitmap")
    };
    let allowed = [libc::EUCLEAN, libc::ENOSPC, libc::EIO, libc::EBADMSG];
    ensure!(allowed.contains(&e.errno), "{e}");
    let ok = t.logged(&[
        &["bitmap", "group 0"],
        &["bitmap", "bg 0"],
        &["inode bitmap"],
        &["bg 0"],
    ]);
    ensure!(ok, "the inode bitmap is not named: {:?}", t.seen);
    t.umount()?;
    same!(t.peek(at, 1)?, [b[0] ^ 0x10], "the bitmap on disk");
    Ok(())
}

fn journal(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "<8>")?;
    let good = t.peek(at, 256)?;
    let first = dir_block(t, "<8>")? * t.bs();
    let sb = t.peek(first, 1024)?;
    same!(
        sb[..4],
        [0xc0, 0x3b, 0x39, 0x98],
        "magic of the journal superblock"
    );
    for cmd in [
        "sif <8> mode 0",
        "sif <8> links_count 0",
        "sif <8> block[0] 0",
        "sif <8> size 4096",
    ] {
        t.debugfs(&[cmd])?;
        t.forget_log();
        match t.try_mount(0, "") {
            Ok(()) => fail!("{cmd}: mounted"),
            Err(e) => ensure!(
                MOUNT_ERRS.contains(&e.errno) || e.errno == libc::ESTALE,
                "{cmd}: {e}"
            ),
        }
        let ok = t.logged(&[&["journal"], &["inode", "8"], &["jbd2"]]);
        ensure!(ok, "{cmd}: the journal is not named: {:?}", t.seen);
        t.poke(at, &good)?;
    }
    for (what, off, bytes) in [
        ("magic", 0, [0u8]),
        ("block size", 15, [7]),
        ("length", 16, [0xff]),
        ("type", 7, [9]),
    ] {
        t.poke(first + off, &bytes)?;
        t.forget_log();
        match t.try_mount(0, "") {
            Ok(()) => fail!("journal {what}: mounted"),
            Err(e) => ensure!(MOUNT_ERRS.contains(&e.errno), "journal {what}: {e}"),
        }
        ensure!(
            t.logged(&[&["journal"], &["jbd2"]]),
            "journal {what}: not named: {:?}",
            t.seen
        );
        t.poke(first, &sb)?;
    }
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, 50_000),
        "restored",
    )?;
    t.broken = false;
    Ok(())
}

fn errors_option(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "/f")?;
    let good = t.peek(at, 256)?;
    t.debugfs(&["sif /f block[0] 0x00010000"])?;
    for (opt, ro) in [("errors=continue", false), ("errors=remount-ro", true)] {
        t.mount(opt)?;
        let mut b = [0; 100];
        let r = sys::rdonly(&t.p("f")).and_then(|f| f.pread(&mut b, 0));
        ensure!(r.is_err(), "{opt}: read succeeded");
        std::thread::sleep(std::time::Duration::from_millis(200));
        let r = put(&t.p("new"), 1, 5000);
        match r {
            Ok(f) => {
                let s = f.fsync();
                ensure!(!ro, "{opt}: still writable");
                s?;
            }
            Err(e) => {
                ensure!(ro, "{opt}: {e}");
                same!(e.errno, libc::EROFS, "{opt}: create");
            }
        }
        holds(
            &sys::rdonly(&t.p("good"))?,
            0,
            &pattern(2, 0, 50_000),
            "a good file",
        )?;
        t.umount()?;
        // The superblock remembers that e2fsck is due.
        let (_, text) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
        ensure!(
            text.contains("with errors"),
            "{opt}: the state on disk is not 'with errors'"
        );
    }
    t.poke(at, &good)?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, 50_000),
        "repaired",
    )?;
    put(&t.p("new2"), 1, 10)?;
    t.broken = false;
    Ok(())
}

/// Whatever is met on the way, a read-only mount changes nothing.
fn readonly_untouched(t: &mut T) -> Res {
    prepared(t)?;
    t.debugfs(&["sif /f block[0] 0x00010000"])?;
    let dirb = dir_block(t, "/d")? * t.bs();
    t.poke(dirb + 32, b"#")?;
    if !t.ours() {
        skip!("the kernel's ext4 records errors in superblock and journal even when read-only");
    }
    let sum = |t: &T| -> Res<String> {
        let all = t.peek(0, 64 << 20)?;
        use sha2::Digest;
        let h = sha2::Sha256::digest(&all);
        Ok(h.iter().map(|x| format!("{x:02x}")).collect())
    };
    let before = sum(t)?;
    t.try_mount(libc::MS_RDONLY, "errors=remount-ro")?;
    let _ = names(&t.p("d"));
    for n in ["f", "deep", "good", "d/name3"] {
        let mut b = vec![0; 100_000];
        let _ = sys::rdonly(&t.p(n)).and_then(|f| f.pread(&mut b, 0));
    }
    t.umount()?;
    same!(
        sum(t)?,
        before,
        "the device after a read-only mount of a corrupt image"
    );
    Ok(())
}

/// Bytes changed at random in metadata: any error is fine, a crash or a hang is not.
fn random_flips(t: &mut T) -> Res {
    prepared(t)?;
    let size = 12 << 20;
    let image = t.peek(0, size)?;
    let mut hot: Vec<usize> = vec![0, 1024, gdt(t) as usize];
    for p in ["/f", "/d", "/deep", "<2>", "<8>"] {
        hot.push(inode_at(t, p)? as usize);
    }
    hot.push((dir_block(t, "/d")? * t.bs()) as usize);
    hot.push((dir_block(t, "/")? * t.bs()) as usize);
    hot.push((tree_block(t)? * t.bs()) as usize);
    hot.push(bitmap_at(t, "Block")? as usize);
    hot.push(bitmap_at(t, "Inode")? as usize);
    hot.retain(|h| h + 512 < size);
    let mut r = fastrand::Rng::with_seed(2024 + t.bs());
    let rounds = if crate::runner::slowness() > 2 {
        12
    } else {
        40
    };
    for round in 0..rounds {
        let f = t.raw()?;
        let mut spots = Vec::new();
        for _ in 0..r.usize(1..6) {
            let at = hot[r.usize(..hot.len())] + r.usize(..256);
            let v = if r.bool() {
                image[at] ^ (1 << r.u32(..8))
            } else {
                r.u8(..)
            };
            f.pwrite(&[v], at as u64)?;
            spots.push(at);
        }
        f.fsync()?;
        drop(f);
        let flags = if round % 3 == 0 { libc::MS_RDONLY } else { 0 };
        let opt = if round % 2 == 0 {
            "errors=continue"
        } else {
            "errors=remount-ro"
        };
        if t.try_mount(flags, opt).is_ok() {
            walk(t);
            if let Err(e) = t.umount() {
                fail!("round {round}, bytes {spots:x?}: {e}");
            }
        }
        let f = t.raw()?;
        for (i, c) in image.chunks(1 << 20).enumerate() {
            f.pwrite(c, (i << 20) as u64)?;
        }
        f.fsync()?;
    }
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("good"))?,
        0,
        &pattern(2, 0, 50_000),
        "restored",
    )?;
    Ok(())
}

/// Touches everything; results do not matter.
fn walk(t: &T) {
    let mut b = vec![0; 70_000];
    for d in ["", "d"] {
        let _ = names(&t.p(d));
    }
    for n in ["f", "good", "deep", "d/name0", "d/name7", "d/none"] {
        let _ = sys::lstat(&t.p(n));
        if let Ok(f) = sys::rdwr(&t.p(n)) {
            let _ = f.pread(&mut b, 0);
            let _ = f.pwrite(&b[..6000], 3000);
            let _ = f.punch(5000, 9000);
            let _ = f.truncate(20_000);
            let _ = f.fallocate(0, 0, 60_000);
            let _ = crate::falloc::fiemap(&f, 0, u64::MAX, true, 10);
            let _ = f.fsync();
        }
    }
    for i in 0..5 {
        let _ = put(&t.p(&format!("d/new{i}")), 1, 8000);
        let _ = sys::mkdir(&t.p(&format!("dir{i}")), 0o755);
    }
    let _ = sys::rename(&t.p("d/name1"), &t.p("moved"));
    let _ = sys::unlink(&t.p("d/name2"));
    let _ = sys::unlink(&t.p("f"));
    let _ = sys::rmdir(&t.p("dir0"));
    sys::sync();
}
