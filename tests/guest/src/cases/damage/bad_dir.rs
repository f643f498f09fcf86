// SPDX-License-Identifier: GPL-2.0
//! Corrupt directories, bitmaps and journals; the errors= option; random damage.

use crate::cases::damage::bad::{
    corrupt, dir_block, gdt, ino, inode_at, prepared, prepared_mb, BOTH, MOUNT_ERRS, PLAIN,
};
use crate::cases::damage::bad_file::tree_block;
use crate::cases::power::orphans::script;
use crate::fixture::{holds, names, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, ALL, FEATS, K1};
use crate::sys::{self};
use crate::{ensure, fail, same, skip};
use guest::dirents::getdents;

pub const CASES: &[Case] = &[
    Case::new("bad/dirent", PLAIN, dirent).quick(),
    Case::new("bad/dirent_checksum", ALL, dirent_checksum),
    Case::new("bad/dir_of_all_blocks", ALL, dir_of_all_blocks).quick(),
    Case::new("bad/block_bitmap", ALL, block_bitmap).quick(),
    Case::new("bad/inode_bitmap", ALL, inode_bitmap),
    Case::new("bad/journal", FEATS, journal).quick(),
    Case::new("bad/journal_twice", &[K1], journal_twice).quick(),
    Case::new("bad/errors_option", BOTH, errors_option).quick(),
    Case::new("bad/readonly_untouched", BOTH, readonly_untouched),
    Case::new("bad/random_flips", FEATS, random_flips)
        .secs(120)
        .quick(),
];

/// A directory record that cannot be is an error of its directory, named in the log.
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
            // The kernel's ext4 compares names before it checks a record.
            Err(e)
                if !t.ours()
                    && e.errno == libc::ENOENT
                    && (what.starts_with("name") || what.starts_with("first")) => {}
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
        t.file_holds("good", &pattern(2, 0, 50_000), "a good file")?;
        t.umount()?;
        t.poke(at, &good)?;
    }
    Ok(())
}

/// A directory that says it has all blocks which can be counted can be read at its very end.
fn dir_of_all_blocks(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "large_dir,huge_file"])?;
    t.mount("")?;
    sys::mkdir(&t.p("d"), 0o755)?;
    t.umount()?;
    let size = u64::from(u32::MAX) * t.bs();
    script(t, &[format!("set_inode_field d size {size}")])?;
    t.broken = true;
    t.mount("errors=continue")?;
    let d = sys::rdonly(&t.p("d"))?;
    for block in [0xffff_fff8, 0xffff_fffe] {
        d.seek((block * t.bs()) as i64, libc::SEEK_SET)?;
        // A hole, which is nothing or an error, and not the end of the kernel.
        if let Ok(entries) = getdents(&d, 4096) {
            ensure!(entries.is_empty(), "{} names in a hole", entries.len());
        }
    }
    drop(d);
    t.umount()
}

/// A changed directory block is neither read nor written; the log names the directory.
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

/// No inode is given out by a bitmap that is damaged.
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

/// A journal of which the second half is in the same blocks as the first is refused at mount.
fn journal_twice(t: &mut T) -> Res {
    t.fresh()?;
    t.umount()?;
    let at = inode_at(t, "<8>")?;
    let raw = t.peek(at, 256)?;
    let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|b| raw[40 + 4 * i + b]));
    // Of the header the magic and the number of entries, and the depth; of an extent the logical
    // block, the length and the block.
    same!((word(0), word(1) >> 16), (0x1_f30a, 0), "root of the tree");
    let (half, block) = ((word(4) & 0xffff) / 2, word(5));
    t.debugfs(&[
        "sif <8> block[0] 0x2f30a",
        &format!("sif <8> block[4] {half}"),
        &format!("sif <8> block[6] {half}"),
        &format!("sif <8> block[7] {half}"),
        &format!("sif <8> block[8] {block}"),
    ])?;
    t.forget_log();
    match t.try_mount(0, "") {
        Ok(()) => fail!("mounted"),
        Err(e) => ensure!(MOUNT_ERRS.contains(&e.errno), "{e}"),
    }
    ensure!(t.logged(&[&["journal"], &["inode", "8"]]), "{:?}", t.seen);
    t.poke(at, &raw)
}

/// A journal that cannot be one is refused at mount.
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

/// After damage is met, errors=continue goes on writing and errors=remount-ro does not.
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
        t.file_holds("good", &pattern(2, 0, 50_000), "a good file")?;
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
    let before = t.image(64)?;
    t.try_mount(libc::MS_RDONLY, "errors=remount-ro")?;
    let _ = names(&t.p("d"));
    for n in ["f", "deep", "good", "d/name3"] {
        let mut b = vec![0; 100_000];
        let _ = sys::rdonly(&t.p(n)).and_then(|f| f.pread(&mut b, 0));
    }
    t.umount()?;
    t.unchanged(&before, "a read-only mount of a corrupt image")?;
    Ok(())
}

/// Bytes changed at random in metadata: any error is fine, a crash or a hang is not.
fn random_flips(t: &mut T) -> Res {
    // Small, so that all of it can be put back after each round.
    prepared_mb(t, 16)?;
    let size = 16 << 20;
    let image = t.peek(0, size)?;
    let mut hot = metadata(t)?;
    hot.retain(|h| h + 512 < size);
    let mut r = fastrand::Rng::with_seed(2024 + t.bs());
    let rounds = if crate::fixture::slowness() > 2 {
        12
    } else {
        40
    };
    for round in 0..rounds {
        let spots = flip(t, &image, &hot, &mut r)?;
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
        t.poke(0, &image)?;
    }
    t.mount("")?;
    t.file_holds("good", &pattern(2, 0, 50_000), "restored")
}

/// Where metadata of each kind begins on the unmounted device, in bytes.
fn metadata(t: &T) -> Res<Vec<usize>> {
    let mut at = vec![0, 1024, gdt(t)];
    for p in ["/f", "/d", "/deep", "<2>", "<8>"] {
        at.push(inode_at(t, p)?);
    }
    at.push(dir_block(t, "/d")? * t.bs());
    at.push(dir_block(t, "/")? * t.bs());
    at.push(tree_block(t)? * t.bs());
    at.push(bitmap_at(t, "Block")?);
    at.push(bitmap_at(t, "Inode")?);
    Ok(at.into_iter().map(|at| at as usize).collect())
}

/// Changes a few bytes behind the places of `hot`, by a bit or to anything. Returns where.
fn flip(t: &T, image: &[u8], hot: &[usize], r: &mut fastrand::Rng) -> Res<Vec<usize>> {
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
    Ok(spots)
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
            let _ = crate::fiemap::fiemap(&f, 0, u64::MAX, true, 10);
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
