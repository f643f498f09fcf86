// SPDX-License-Identifier: GPL-2.0
//! Names and targets of links that are encrypted: with the key, without it, and when it comes.
//! Images cross between rext4 and the kernel's ext4 both ways.

use super::chattr::{dir, told};
use super::crypt::{crypt_dir, ENCRYPT};
use crate::fixture::{knows_fs, names, T};
use crate::harness::{Case, Res, ALL, FEATS, ONE};
use crate::sys;
use crate::{ensure, errno, same, skip};
use guest::crypt::{key, KeyName};
use guest::dirents::{self, Entry};

pub const CASES: &[Case] = &[
    Case::new("crypt_names/cross", FEATS, cross)
        .secs(120)
        .quick(),
    Case::new("crypt_names/no_key", ALL, no_key).quick(),
    Case::new("crypt_names/key_comes", ONE, key_comes).quick(),
    Case::new("crypt_names/same_positions", ALL, same_positions),
];

/// Enough for an index, of all lengths.
const MANY: usize = 400;

fn name_of(i: usize) -> String {
    let len = 1 + i % 200;
    format!("{i}-{}", "n".repeat(len))
}

/// Directories, files, links of both lengths and a pipe, below "d".
fn fill(t: &T) -> Res {
    drop(crypt_dir(t, "d", 1)?);
    let p = |name: &str| t.p(&format!("d/{name}"));
    sys::mkdir(&p("many"), 0o755)?;
    for i in 0..MANY {
        sys::create(&p(&format!("many/{}", name_of(i))))?;
    }
    sys::mkdir(&p("sub"), 0o755)?;
    sys::symlink("short", &p("short"))?;
    sys::symlink(&"long/".repeat(50), &p("long"))?;
    sys::mknod(&p("pipe"), libc::S_IFIFO | 0o600, 0)?;
    Ok(())
}

fn check_plain(t: &T, many: &[String]) -> Res {
    let mut want = many.to_vec();
    want.sort();
    same!(names(&t.p("d/many"))?, want, "names");
    for name in many {
        ensure!(
            sys::exists(&t.p(&format!("d/many/{name}"))),
            "{name} not found"
        );
    }
    same!(sys::readlink(&t.p("d/short"))?, b"short", "the short link");
    let long = "long/".repeat(50);
    same!(
        sys::readlink(&t.p("d/long"))?,
        long.as_bytes(),
        "the long link"
    );
    same!(sys::lstat(&t.p("d/long"))?.st_size, 250, "its size");
    Ok(())
}

/// Names, inodes and types, whatever the order: ext4 has the dots of a short directory among them.
fn sorted(all: Vec<Entry>) -> Vec<(String, u64, u8)> {
    let mut all: Vec<_> = all.into_iter().map(|e| (e.name, e.ino, e.kind)).collect();
    all.sort();
    all
}

/// What a program sees without the key.
fn listed(t: &T, name: &str) -> Res<Vec<Entry>> {
    let d = sys::open(&t.p(name), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    Ok(dirents::read_all(&d, 8192)?)
}

/// The one encrypted directory in "d" with the most names, without its key.
fn many_without_key(t: &T) -> Res<String> {
    let mut best = (0, String::new());
    for name in names(&t.p("d"))? {
        let path = format!("d/{name}");
        if let Ok(all) = names(&t.p(&path)) {
            best = best.max((all.len(), path));
        }
    }
    Ok(best.1)
}

/// Each makes what the other one finds: with the key, and without it by the same texts.
fn cross(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one of the two is there");
    }
    let ours = t.fs.clone();
    for (maker, other) in [(ours.as_str(), "ext4"), ("ext4", ours.as_str())] {
        t.fs = maker.to_string();
        t.mkfs(64, ENCRYPT)?;
        t.mount("")?;
        fill(t)?;
        let mut many: Vec<String> = (0..MANY).map(name_of).collect();
        check_plain(t, &many)?;
        t.cycle()?;
        let top = sorted(listed(t, "d")?);
        let texts = sorted(listed(t, &many_without_key(t)?)?);
        t.umount()?;
        t.fsck()?;
        t.fs = other.to_string();
        t.mount("")?;
        same!(
            sorted(listed(t, "d")?),
            top,
            "{maker} to {other}: names without the key"
        );
        let found = sorted(listed(t, &many_without_key(t)?)?);
        same!(
            found,
            texts,
            "{maker} to {other}: many names without the key"
        );
        dir(t, "d")?.add_key(&key(1))?;
        check_plain(t, &many)?;
        for i in (0..MANY).step_by(3) {
            sys::unlink(&t.p(&format!("d/many/{}", name_of(i))))?;
            let new = format!("new-{i}");
            sys::create(&t.p(&format!("d/many/{new}")))?;
            many[i] = new;
        }
        t.umount()?;
        t.fsck()?;
        t.fs = maker.to_string();
        t.mount("")?;
        dir(t, "d")?.add_key(&key(1))?;
        check_plain(t, &many)?;
        t.umount()?;
    }
    Ok(())
}

/// Without the key names are looked up and removed by the texts that stand for them, and nothing is
/// made.
fn no_key(t: &mut T) -> Res {
    t.mkfs(64, ENCRYPT)?;
    t.mount("")?;
    fill(t)?;
    t.cycle()?;
    let many = many_without_key(t)?;
    for name in ["new", &"x".repeat(255)] {
        let path = t.p(&format!("d/{name}"));
        errno!(sys::mkdir(&path, 0o755), ENOKEY);
        errno!(sys::create(&path), ENOKEY);
        errno!(sys::symlink("to", &path), ENOKEY);
        errno!(sys::mknod(&path, libc::S_IFIFO | 0o600, 0), ENOKEY);
        errno!(sys::lstat(&path), ENOENT);
    }
    let flags = libc::O_TMPFILE | libc::O_RDWR;
    errno!(sys::open(&t.p("d"), flags, 0o600), ENOKEY);
    // Texts that stand for "." and "..", which the kernel's ext4 finds, and calls corrupt.
    for text in ["AAAAAAAAAAAu", "AAAAAAAAAAAuLg"] {
        if t.ours() {
            errno!(sys::lstat(&t.p(&format!("d/{text}"))), ENOENT);
        }
    }
    let texts = names(&t.p(&many))?;
    same!(texts.len(), MANY, "texts");
    for (i, text) in texts.iter().enumerate() {
        let path = t.p(&format!("{many}/{text}"));
        sys::lstat(&path)?;
        if i % 40 == 0 {
            errno!(sys::rdonly(&path), ENOKEY);
            errno!(sys::rename(&path, &t.p(&format!("{many}/other"))), ENOKEY);
            errno!(sys::link(&path, &t.p(&format!("{many}/other"))), ENOKEY);
        }
        sys::unlink(&path)?;
    }
    same!(names(&t.p(&many))?, Vec::<String>::new(), "what is left");
    sys::rmdir(&t.p(&many))?;
    // Links give a text, too, whose length is the size.
    let mut links = 0;
    for text in names(&t.p("d"))? {
        let path = t.p(&format!("d/{text}"));
        let stat = sys::lstat(&path)?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
            links += 1;
            let to = sys::readlink(&path)?;
            same!(to.len() as i64, stat.st_size, "size of a link");
        }
    }
    same!(links, 2, "links");
    Ok(())
}

/// A name that was looked up without the key is void once that is there, and none comes back when
/// it goes.
fn key_comes(t: &mut T) -> Res {
    t.mkfs(64, ENCRYPT)?;
    t.mount("")?;
    fill(t)?;
    t.cycle()?;
    let d = dir(t, "d")?;
    let texts = names(&t.p("d"))?;
    for text in &texts {
        sys::lstat(&t.p(&format!("d/{text}")))?;
    }
    errno!(sys::lstat(&t.p("d/short")), ENOENT);
    let id = d.add_key(&key(1))?;
    // Before anything is looked up, which would set up the key of the directory.
    let plain = ["long", "many", "pipe", "short", "sub"];
    same!(names(&t.p("d"))?, plain, "names with the key");
    for text in &texts {
        errno!(sys::lstat(&t.p(&format!("d/{text}"))), ENOENT);
    }
    let many: Vec<String> = (0..MANY).map(name_of).collect();
    check_plain(t, &many)?;
    drop(d);
    let left = dir(t, "")?.remove_key(KeyName::V2(id))?;
    same!(left, 0, "in use after the key was removed");
    same!(names(&t.p("d"))?, texts, "texts again");
    errno!(sys::lstat(&t.p("d/short")), ENOENT);
    same!(
        told(sys::mkdir(&t.p("d/new"), 0o755)),
        sys::errname(libc::ENOKEY),
        "made"
    );
    Ok(())
}

/// A position that was handed out without the key is the same with it.
fn same_positions(t: &mut T) -> Res {
    t.mkfs(64, ENCRYPT)?;
    t.mount("")?;
    fill(t)?;
    let places = |all: &[Entry]| all.iter().map(|e| (e.ino, e.next)).collect::<Vec<_>>();
    let with = places(&listed(t, "d/many")?);
    t.cycle()?;
    let many = many_without_key(t)?;
    same!(places(&listed(t, &many)?), with, "positions");
    let d = sys::open(&t.p(&many), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut inos: Vec<u64> = dirents::getdents(&d, 4096)?.iter().map(|e| e.ino).collect();
    dir(t, "d")?.add_key(&key(1))?;
    inos.extend(dirents::read_all(&d, 4096)?.iter().map(|e| e.ino));
    let all: Vec<u64> = with.iter().map(|(ino, _)| *ino).collect();
    same!(inos, all, "listed half without the key, half with it");
    Ok(())
}
