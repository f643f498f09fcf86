// SPDX-License-Identifier: GPL-2.0
//! The orphan file: who is in it, when, and what becomes of them after a crash.

use crate::cases::power::crash::{cut, lights_on, on_dm};
use crate::fixture::{knows_fs, put, run_cmd, T};
use crate::harness::{Case, Res, Stop, Variant, K1, K4, ORPHAN};
use crate::sys::{self, Fd};
use crate::{ensure, same};

pub const CASES: &[Case] = &[
    Case::new("slots/used", WITH, used).quick(),
    Case::new("slots/crash", WITH, crash).quick().secs(120),
    Case::new("slots/truncated", WITH, truncated),
    Case::new("slots/full", ONE_SMALL, full).secs(240),
    Case::new("slots/freeze", WITH, freeze),
    Case::new("slots/remount", WITH, remount),
    Case::new("slots/many", WITH, many).secs(120),
    Case::new("slots/damaged", WITH, damaged),
    Case::new("slots/twice", WITH, twice),
    Case::new("slots/errors", ONE_LARGE, errors),
];

const WITH: &[Variant] = &[SMALL, ORPHAN, NOSUM];
const ONE_SMALL: &[Variant] = &[SMALL];
const ONE_LARGE: &[Variant] = &[ORPHAN];
const SMALL: Variant = Variant {
    name: "orphan1k",
    feats: "orphan_file",
    ..K1
};
const NOSUM: Variant = Variant {
    name: "orphan_nosum",
    feats: "orphan_file,^metadata_csum",
    ..K4
};

/// The numbers in the orphan file, as it is now.
fn inside(t: &T) -> Res<Vec<u64>> {
    let inum = t.peek(1024 + 0x280, 4)?;
    let inum = u32::from_le_bytes([inum[0], inum[1], inum[2], inum[3]]);
    let out = "/mnt/orphans";
    let (code, text) = run_cmd("debugfs", &["-R", &format!("dump <{inum}> {out}"), &t.dev])?;
    ensure!(code == 0, "debugfs dump: {text}");
    let bytes = std::fs::read(out)?;
    ensure!(
        bytes.len() >= 32 * 1024,
        "an orphan file of {}",
        bytes.len()
    );
    let slots = t.var.bs - 8;
    let mut all = Vec::new();
    for block in bytes.chunks(t.var.bs) {
        for slot in block[..slots].chunks(4) {
            all.push(u64::from(u32::from_le_bytes([
                slot[0], slot[1], slot[2], slot[3],
            ])));
        }
    }
    all.retain(|&ino| ino != 0);
    all.sort_unstable();
    Ok(all)
}

/// Whether the super block says that somebody is in there.
fn present(t: &T) -> Res<bool> {
    Ok(t.peek(1024 + 0x64 + 2, 1)?[0] & 1 != 0)
}

/// The head of the list.
fn head(t: &T) -> Res<u64> {
    let head = t.peek(1024 + 0xe8, 4)?;
    Ok(u32::from_le_bytes([head[0], head[1], head[2], head[3]]).into())
}

fn tmpfile(t: &T) -> Res<Fd> {
    let flags = libc::O_TMPFILE | libc::O_RDWR;
    Ok(sys::open(&t.p(""), flags, 0o600)?)
}

/// Open files without a name.
fn orphans(t: &T, n: u64) -> Res<Vec<Fd>> {
    let mut open = Vec::new();
    for i in 0..n {
        let name = t.p("orphan");
        open.push(put(&name, i, 20_000)?);
        sys::unlink(&name)?;
        open.push(tmpfile(t)?);
    }
    Ok(open)
}

fn numbers(open: &[Fd]) -> Res<Vec<u64>> {
    let mut all = Vec::new();
    for f in open {
        all.push(f.stat()?.st_ino);
    }
    all.sort_unstable();
    Ok(all)
}

/// Files without a name are in it, those that get one or go are not.
pub fn used(t: &mut T) -> Res {
    t.fresh()?;
    ensure!(present(t)?, "mounted");
    let mut open = orphans(t, 20)?;
    same!(inside(t)?, numbers(&open)?, "in the file");
    same!(head(t)?, 0, "on the list");
    // Again, with some of the slots free.
    open.truncate(10);
    sys::link_fd(&tmpfile(t)?, &t.p("named"))?;
    same!(inside(t)?, numbers(&open)?, "some are gone");
    open.extend(orphans(t, 3)?);
    same!(inside(t)?, numbers(&open)?, "and others there");
    sys::sync();
    drop(open);
    same!(inside(t)?, [0; 0], "all are gone");
    t.umount()?;
    same!((inside(t)?, head(t)?), (vec![], 0), "unmounted");
    ensure!(!present(t)?, "unmounted");
    t.fsck()?;
    t.mount("")?;
    ensure!(present(t)?, "mounted again");
    Ok(())
}

/// Both file systems and e2fsck finish what a crash leaves in it, whoever has put it there.
fn crash(t: &mut T) -> Res {
    let d = on_dm(t)?;
    let ours = t.fs.clone();
    let both: Vec<&str> = ["ext4", &ours]
        .into_iter()
        .filter(|fs| knows_fs(fs))
        .collect();
    for writer in &both {
        for reader in ["e2fsck"].iter().chain(&both) {
            let what = format!("{writer}, then {reader}");
            t.mkfs(64, &[])?;
            t.fs = writer.to_string();
            t.mount("")?;
            put(&t.p("kept"), 7, 30_000)?;
            sys::sync();
            let before = sys::statfs(&t.p(""))?;
            let open = orphans(t, 30)?;
            sys::sync();
            cut(t, &d)?;
            drop(open);
            lights_on(t, &d)?;
            t.fs = ours.clone();
            if *reader == "e2fsck" {
                let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
                ensure!(code <= 1, "{what}: e2fsck -fy exit {code}: {text}");
            } else {
                t.fs = reader.to_string();
                t.mount("")?;
                t.umount()?;
                t.fs = ours.clone();
            }
            t.fsck().map_err(|e| Stop::Fail(format!("{what}: {e}")))?;
            same!((inside(t)?, head(t)?), (vec![], 0), "{what}");
            t.mount("")?;
            let now = sys::statfs(&t.p(""))?;
            same!(now.f_ffree, before.f_ffree, "{what}: free inodes");
            same!(now.f_bfree, before.f_bfree, "{what}: free blocks");
            t.umount()?;
        }
    }
    Ok(())
}

/// A file with a name that is being truncated is in it for as long as that takes.
fn truncated(t: &mut T) -> Res {
    t.fresh()?;
    for i in 0..30 {
        let f = put(&t.p("f"), i, 300_000)?;
        f.fsync()?;
        f.truncate(i * 1000)?;
        same!(inside(t)?, [0; 0], "truncated");
        let open = orphans(t, 1)?;
        for f in &open {
            f.truncate(100)?;
        }
        same!(inside(t)?, numbers(&open)?, "those without a name");
    }
    same!(head(t)?, 0, "on the list");
    Ok(())
}

/// Where no slot is free the list is used; both are finished after a crash.
fn full(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.mkfs(64, &["-N", "16384"])?;
    let limit = libc::rlimit {
        rlim_cur: 20_000,
        rlim_max: 20_000,
    };
    // SAFETY: Plain call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    t.mount("")?;
    let before = sys::statfs(&t.p(""))?;
    let slots = 32 * (t.bs() - 8) / 4;
    let mut open = Vec::new();
    for _ in 0..slots + 20 {
        open.push(tmpfile(t)?);
    }
    same!(inside(t)?.len() as u64, slots, "in the file");
    ensure!(head(t)? != 0, "nobody is on the list");
    // Room again.
    open.drain(100..200);
    same!(inside(t)?.len() as u64, slots - 100, "in the file");
    for _ in 0..110 {
        open.push(tmpfile(t)?);
    }
    same!(inside(t)?.len() as u64, slots, "full again");
    sys::sync();
    cut(t, &d)?;
    drop(open);
    lights_on(t, &d)?;
    t.mount("")?;
    same!((inside(t)?, head(t)?), (vec![], 0), "after a crash");
    same!(
        sys::statfs(&t.p(""))?.f_ffree,
        before.f_ffree,
        "free inodes"
    );
    Ok(())
}

/// Frozen, the super block says whether somebody is in there.
fn freeze(t: &mut T) -> Res {
    t.fresh()?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    for n in [0, 3, 0] {
        let open = orphans(t, n)?;
        root.freeze(true)?;
        let frozen = (present(t), inside(t));
        root.freeze(false)?;
        same!(frozen.0?, n > 0, "frozen with {n}");
        same!(frozen.1?, numbers(&open)?, "frozen");
        ensure!(present(t)?, "thawed");
        drop(open);
        let open = orphans(t, 2)?;
        same!(inside(t)?, numbers(&open)?, "thawed");
    }
    Ok(())
}

/// Read-only and back.
fn remount(t: &mut T) -> Res {
    t.fresh()?;
    for _ in 0..3 {
        let open = orphans(t, 3)?;
        same!(inside(t)?, numbers(&open)?, "writing");
        drop(open);
        t.remount(libc::MS_RDONLY, "")?;
        ensure!(!present(t)?, "read-only");
        same!(inside(t)?, [0; 0], "read-only");
        t.remount(0, "")?;
        ensure!(present(t)?, "writing again");
    }
    t.umount()?;
    // Made writable later.
    t.try_mount(libc::MS_RDONLY, "")?;
    ensure!(!present(t)?, "mounted read-only");
    t.remount(0, "")?;
    let open = orphans(t, 3)?;
    same!(inside(t)?, numbers(&open)?, "writing");
    ensure!(present(t)?, "writing");
    Ok(())
}

/// Many at the same time.
fn many(t: &mut T) -> Res {
    t.fresh()?;
    let dir = t.p("");
    let kept = std::thread::scope(|s| {
        let threads: Vec<_> = (0..6u64)
            .map(|n| {
                let (t, dir) = (&*t, &dir);
                s.spawn(move || -> Res<Vec<Fd>> {
                    let mut open = Vec::new();
                    for i in 0..150 {
                        open.push(tmpfile(t)?);
                        let name = format!("{dir}f{n}");
                        open.push(put(&name, i, 3000)?);
                        sys::unlink(&name)?;
                        if open.len() > 40 {
                            open.drain(..(7 * n as usize + i as usize) % 30);
                        }
                        if i % 50 == n {
                            open[0].fsync()?;
                        }
                    }
                    Ok(open)
                })
            })
            .collect();
        let mut kept = Vec::new();
        for thread in threads {
            let Ok(open) = thread.join() else {
                return Err(Stop::Fail("thread panic".into()));
            };
            kept.extend(open?);
        }
        Ok(kept)
    })?;
    same!(inside(t)?, numbers(&kept)?, "in the file");
    same!(head(t)?, 0, "on the list");
    drop(kept);
    same!(inside(t)?, [0; 0], "all are gone");
    t.umount()?;
    ensure!(!present(t)?, "unmounted");
    t.fsck()
}

/// A file that cannot be believed stays as it is, and orphans go on the list.
fn damaged(t: &mut T) -> Res {
    if !t.ours() {
        return Err(Stop::Skip("the kernel's ext4 refuses it".into()));
    }
    t.mkfs(64, &[])?;
    t.broken = true;
    let inum = inum(t)?;
    let (code, text) = run_cmd("debugfs", &["-R", &format!("blocks <{inum}>"), &t.dev])?;
    let block = text.split_whitespace().find_map(|w| w.parse::<u64>().ok());
    let Some(block) = block.filter(|_| code == 0) else {
        return Err(Stop::Fail(format!("no blocks: {text}")));
    };
    // The magic.
    let at = (block + 1) * t.bs() - 8;
    t.poke(at, &[0; 4])?;
    t.mount("errors=continue")?;
    let open = orphans(t, 5)?;
    ensure!(head(t)? != 0, "nobody is on the list");
    same!(inside(t)?, [0; 0], "in the file");
    drop(open);
    same!(head(t)?, 0, "on the list");
    t.umount()?;
    same!(t.peek(at, 4)?, [0; 4], "the magic");
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.fsck()
}

/// The number of the orphan file.
fn inum(t: &T) -> Res<u8> {
    Ok(t.peek(1024 + 0x280, 1)?[0])
}

/// Two places of the file on one block would be two copies of its slots: it is not believed.
fn twice(t: &mut T) -> Res {
    if !t.ours() {
        return Err(Stop::Skip("the kernel's ext4 does not look".into()));
    }
    t.mkfs(64, &[])?;
    t.broken = true;
    let inum = inum(t)?;
    let text = t.debugfs(&[&format!("dump_extents -l <{inum}>")])?;
    // " 0/ 0   1/  1     0 -    31  1234 -  1265     32".
    let line = text.lines().find(|l| l.trim_start().starts_with("0/ 0"));
    let numbers: Vec<u64> = line
        .unwrap_or("")
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|w| w.parse().ok())
        .collect();
    let [0, 0, 1, 1, 0, last, first, ..] = numbers[..] else {
        return Err(Stop::Fail(format!("not one extent: {text}")));
    };
    let root = [
        (0, 0xf30a | 2 << 16),
        (4, last),
        (6, last),
        (7, 1),
        (8, first),
    ];
    let words: Vec<String> = root
        .iter()
        .map(|(i, word)| format!("sif <{inum}> block[{i}] {word}"))
        .collect();
    t.debugfs(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    t.mount("errors=continue")?;
    let open = orphans(t, 5)?;
    ensure!(head(t)? != 0, "nobody is on the list");
    same!(inside(t)?, [0; 0], "in the file");
    drop(open);
    same!(head(t)?, 0, "on the list");
    t.umount()?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.fsck()
}

/// After an error nobody touches them, and the mark that somebody is in there stays.
fn errors(t: &mut T) -> Res {
    t.fresh()?;
    t.broken = true;
    t.umount()?;
    t.mount("errors=remount-ro")?;
    let open = orphans(t, 5)?;
    sys::sync();
    let dev = t.dev.rsplit('/').next().unwrap_or("").to_string();
    sys::write_file(
        &format!("/sys/fs/{}/{dev}/trigger_fs_error", t.fs),
        "the end",
    )?;
    let all = numbers(&open)?;
    drop(open);
    same!(inside(t)?, all, "in the file");
    t.umount()?;
    ensure!(present(t)?, "unmounted");
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.fsck()?;
    same!(inside(t)?, [0; 0], "after e2fsck");
    Ok(())
}
