// SPDX-License-Identifier: GPL-2.0
//! Images that are wrong: refused or reported, named in the log, and never written over.

use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Variant, ALL, K1, K4, NOCSUM, ONE};
use crate::sys::{self, Sys};
use crate::{ensure, errno, fail};

pub const PLAIN: &[Variant] = &[NOCSUM];
pub const BOTH: &[Variant] = &[NOCSUM, K1, K4];

pub const CASES: &[Case] = &[
    Case::new("bad/sb_magic", ALL, sb_magic).quick(),
    Case::new("bad/sb_checksum", ONE, sb_checksum).quick(),
    Case::new("bad/sb_fields", PLAIN, sb_fields).quick(),
    Case::new("bad/incompat", PLAIN, incompat).quick(),
    Case::new("bad/ro_compat", PLAIN, ro_compat).quick(),
    Case::new("bad/group_checksum", ONE, group_checksum).quick(),
    Case::new("bad/group_location", PLAIN, group_location),
];

const SB: u64 = 1024;

/// An unmounted image with a file, a directory of files, and a file with a deep tree.
pub fn prepared(t: &mut T) -> Res {
    prepared_mb(t, 64)
}

pub fn prepared_mb(t: &mut T, mb: u64) -> Res {
    t.fresh_mb(mb)?;
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
pub fn refused(t: &mut T, errs: &[i32], words: &[&[&str]], what: &str) -> Res {
    let before = t.image(4)?;
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
        t.unchanged(
            &before,
            &format!("{what}: the device after a refused mount"),
        )?;
    }
    Ok(())
}

pub const MOUNT_ERRS: &[i32] = &[libc::EINVAL, libc::EUCLEAN, libc::EBADMSG, libc::EIO];

/// An image without the magic number, or of zeros only, is refused.
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

/// A superblock that was changed without its checksum is refused.
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

/// An incompatible feature nobody knows is refused, and the log names it.
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

/// With an unknown read-only feature the image mounts for reading only, and is not changed.
fn ro_compat(t: &mut T) -> Res {
    prepared(t)?;
    let mut new = t.peek(SB + 0x64, 4)?;
    new[3] |= 0x40;
    t.poke(SB + 0x64, &new)?;
    let before = t.image(64)?;
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
    t.unchanged(&before, "the device")?;
    Ok(())
}

/// Group descriptors begin in the block after the superblock.
pub fn gdt(t: &T) -> u64 {
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

/// A group descriptor whose checksum is wrong is not used.
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

/// A group whose bitmaps or inode table lie where they cannot is not used.
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

/// First block of a directory.
pub fn dir_block(t: &T, path: &str) -> Res<u64> {
    let text = t.debugfs(&[&format!("bmap {path} 0")])?;
    let n = text.lines().find_map(|l| l.trim().parse::<u64>().ok());
    match n {
        Some(n) if n != 0 => Ok(n),
        _ => fail!("bmap {path}: {text}"),
    }
}
