// SPDX-License-Identifier: GPL-2.0
//! Corrupt inodes and extent trees.

use crate::cases::damage::bad::{corrupt, ino, inode_at, prepared, refused, BOTH};
use crate::fixture::{holds, names, pattern, put, T};
use crate::harness::{Case, Res, ALL};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, fail, same};

pub const CASES: &[Case] = &[
    Case::new("bad/inode_checksum", ALL, inode_checksum).quick(),
    Case::new("bad/inode_fields", BOTH, inode_fields),
    Case::new("bad/size_below_blocks", ALL, size_below_blocks).quick(),
    Case::new("bad/attribute_block", BOTH, attribute_block),
    Case::new("bad/root_inode", BOTH, root_inode),
    Case::new("bad/extent_header", BOTH, extent_header).quick(),
    Case::new("bad/extent_outside", BOTH, extent_outside).quick(),
    Case::new("bad/extent_block", ALL, extent_block),
];

/// A changed inode can be neither looked at, opened nor removed; its neighbours can.
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
    t.file_holds("good", &pattern(2, 0, 50_000), "a good file")?;
    put(&t.p("new"), 3, 5000)?.fsync()?;
    t.umount()?;
    same!(
        t.peek(at + 0x10, 1)?,
        [b[0] ^ 1],
        "the corrupt inode on disk"
    );
    Ok(())
}

/// Data behind the end, as a truncate leaves it that could not read the tree to its end: when the
/// file grows over it, zeros are there, and it is no file system with errors any more.
fn size_below_blocks(t: &mut T) -> Res {
    const SIZE: usize = 5000;
    const GROWN: usize = 90_112;
    type Grow = fn(&T, &Fd) -> sys::Sys<()>;
    let ways: [(&str, Grow); 5] = [
        ("truncate", |_, f| f.truncate(GROWN as u64)),
        ("fallocate", |_, f| f.fallocate(0, 0, GROWN as u64)),
        ("zero range", |_, f| {
            f.fallocate(libc::FALLOC_FL_ZERO_RANGE, 81_920, 8192)
        }),
        ("write", |_, f| f.pwrite(&[0; 8192], 81_920)),
        ("direct write", |t, _| {
            let direct = sys::direct(&t.p("f"))?;
            direct.pwrite(&Aligned::of(&[0; 8192]), 81_920)
        }),
    ];
    for (what, grow) in ways {
        t.fresh()?;
        put(&t.p("f"), 1, 300_000)?.fsync()?;
        t.umount()?;
        t.debugfs(&[&format!("sif /f size {SIZE}")])?;
        t.mount("")?;
        let f = sys::rdwr(&t.p("f"))?;
        // In memory as well, if it gets there.
        f.pread(&mut [0; SIZE], 0)?;
        grow(t, &f)?;
        let mut want = pattern(1, 0, SIZE);
        want.resize(GROWN, 0);
        holds(&f, 0, &want, what)?;
        drop(f);
        t.cycle()?;
        holds(&sys::rdonly(&t.p("f"))?, 0, &want, what)?;
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// An inode with a field that cannot be is refused, even under a good checksum.
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
        let refused = refusals(t, name, what)?;
        // A directory of holes or without blocks may count as empty.
        ensure!(refused > 0 || name == "d", "{what}: accepted");
        t.file_holds("good", &pattern(2, 0, 50_000), "a good file")?;
        t.umount()?;
        t.poke(at, &good)?;
    }
    Ok(())
}

/// Looks at a corrupt inode, and into it: how often that is refused. Whatever is refused is refused
/// with EUCLEAN (ESTALE without links); no wrong content.
fn refusals(t: &T, name: &str, what: &str) -> Res<usize> {
    let path = t.p(name);
    let at = sys::lstat(&path).map(drop);
    let into = match name {
        "sym" => sys::readlink(&path).map(drop),
        "d" => names(&path).map(drop).map_err(|_| sys::SysErr {
            what: "readdir".into(),
            errno: libc::EUCLEAN,
        }),
        _ => sys::rdonly(&path).map(drop),
    };
    let refused: Vec<_> = [at, into].into_iter().filter_map(Result::err).collect();
    for e in &refused {
        let ok = [libc::EUCLEAN, libc::ESTALE].contains(&e.errno);
        ensure!(
            ok || !t.ours() && [libc::EIO, libc::EBADMSG].contains(&e.errno),
            "{what}: {e}"
        );
    }
    Ok(refused.len())
}

/// An attribute block where bitmaps, tables or the journal are: deleting the file would change or
/// free it.
fn attribute_block(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "/f")?;
    let good = t.peek(at, 256)?;
    let text = t.debugfs(&["bmap <8> 700"])?;
    let Some(log) = text.lines().find_map(|l| l.trim().parse::<u64>().ok()) else {
        fail!("no block of the journal: {text}");
    };
    for (what, block) in [("inode table", at / t.bs()), ("journal", log)] {
        t.debugfs(&[&format!("sif /f file_acl {block}")])?;
        t.forget_log();
        t.mount("errors=continue")?;
        let r = sys::lstat(&t.p("f"));
        corrupt(t, r, &format!("{what}: lstat"))?;
        let r = sys::unlink(&t.p("f"));
        corrupt(t, r, &format!("{what}: unlink"))?;
        t.umount()?;
        t.poke(at, &good)?;
    }
    Ok(())
}

/// An image whose root is no directory is refused.
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
            let r = crate::fiemap::fiemap(&f, 0, u64::MAX, false, 10);
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
    t.file_holds("good", &pattern(2, 0, 50_000), "a good file")?;
    put(&t.p("new"), 3, 5000)?.fsync()?;
    t.umount()
}

/// A file whose extent tree has a bad root is an error to read.
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

/// An extent that lies outside the device, or over metadata, is an error and is never followed.
fn extent_outside(t: &mut T) -> Res {
    prepared(t)?;
    let at = inode_at(t, "/f")?;
    let good = t.peek(at, 256)?;
    let text = t.debugfs(&["bmap <8> 700"])?;
    let Some(log) = text.lines().find_map(|l| l.trim().parse::<u64>().ok()) else {
        fail!("no block of the journal: {text}");
    };
    let journal = format!("sif /f block[5] {log}");
    // Words of the first extent: logical, length and high block, low block.
    for (what, cmds) in [
        ("beyond the device", vec!["sif /f block[5] 0x7ffffff0"]),
        ("high bits of the block", vec!["sif /f block[4] 0x7fff0030"]),
        ("block 0", vec!["sif /f block[5] 0"]),
        ("over the inode table", vec!["sif /f block[5] 2"]),
        ("over the journal", vec![journal.as_str()]),
        ("length 0", vec!["sif /f block[4] 0"]),
    ] {
        t.debugfs(&cmds)?;
        file_is_corrupt(t, "f", what)?;
        t.poke(at, &good)?;
    }
    Ok(())
}

/// The first block of the tree of /deep.
pub fn tree_block(t: &T) -> Res<u64> {
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

/// A damaged block of an extent tree is an error, and stays on disk as it was found.
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
