// SPDX-License-Identifier: GPL-2.0
//! Directory operations: create, remove, link, rename, and large directories.

use crate::fixture::{holds, names, pattern, put, T};
use crate::harness::{Case, Res, ALL, FEATS};
use crate::sys::{self};
use crate::{ensure, errno, same};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

pub const CASES: &[Case] = &[
    Case::new("names/create", FEATS, create).quick(),
    Case::new("names/mkdir", FEATS, mkdir),
    Case::new("names/unlink_open", FEATS, unlink_open).quick(),
    Case::new("names/link", FEATS, link),
    Case::new("names/symlink", ALL, symlink).quick(),
    Case::new("names/mknod", ALL, mknod),
    Case::new("names/errors", ALL, errors),
    Case::new("names/tmpfile", FEATS, tmpfile),
    Case::new("names/long", ALL, long),
    Case::new("names/churn", FEATS, churn).quick(),
];

/// A new file is empty, with the mode asked for, and is made once.
fn create(t: &mut T) -> Res {
    t.fresh()?;
    same!(names(&t.p(""))?, ["lost+found"], "a new image");
    let f = sys::open(
        &t.p("a"),
        libc::O_CREAT | libc::O_EXCL | libc::O_RDWR,
        0o640,
    )?;
    errno!(
        sys::open(
            &t.p("a"),
            libc::O_CREAT | libc::O_EXCL | libc::O_RDWR,
            0o600
        ),
        EEXIST
    );
    let st = f.stat()?;
    same!(st.st_mode, libc::S_IFREG | 0o640, "mode");
    same!(
        (st.st_nlink, st.st_size, st.st_blocks),
        (1, 0, 0),
        "links, size, blocks"
    );
    f.pwrite(b"hello", 0)?;
    drop(f);
    t.cycle()?;
    let f = sys::rdonly(&t.p("a"))?;
    holds(&f, 0, b"hello", "after remount")?;
    same!(f.stat()?.st_ino, st.st_ino, "inode number after remount");
    sys::unlink(&t.p("a"))?;
    errno!(sys::lstat(&t.p("a")), ENOENT);
    // Open, unlinked, still readable; a new file of the same name is another inode.
    let g = put(&t.p("a"), 1, 100)?;
    ensure!(
        g.stat()?.st_ino != f.stat()?.st_ino,
        "inode of an open file was given out again"
    );
    holds(&f, 0, b"hello", "unlinked")?;
    same!(f.stat()?.st_nlink, 0, "links of an unlinked file");
    same!(names(&t.p(""))?, ["a", "lost+found"], "names");
    Ok(())
}

/// Directories are made and removed, and the links of their parents follow.
fn mkdir(t: &mut T) -> Res {
    t.fresh()?;
    let root = sys::lstat(&t.p(""))?;
    same!((root.st_ino, root.st_nlink), (2, 3), "root inode and links");
    for i in 0..20 {
        sys::mkdir(&t.p(&format!("d{i}")), 0o755)?;
    }
    let links = sys::lstat(&t.p(""))?.st_nlink;
    same!(links, 23, "links of the root after 20 mkdir");
    a_name_in_it_keeps_it(t)?;
    for i in 0..20 {
        sys::rmdir(&t.p(&format!("d{i}")))?;
    }
    let links = sys::lstat(&t.p(""))?.st_nlink;
    same!(links, 3, "links of the root at the end");
    removed_while_open(t)?;
    setgid_goes_to_children(t)
}

/// `d0` is new, gets a directory and a file, loses them.
fn a_name_in_it_keeps_it(t: &T) -> Res {
    let st = sys::lstat(&t.p("d0"))?;
    same!(
        (st.st_nlink, st.st_size),
        (2, t.bs() as i64),
        "links and size of a new directory"
    );
    sys::mkdir(&t.p("d0/x"), 0o700)?;
    put(&t.p("d0/f"), 1, 10)?;
    errno!(sys::rmdir(&t.p("d0")), ENOTEMPTY);
    errno!(sys::mkdir(&t.p("d0"), 0o755), EEXIST);
    errno!(sys::rmdir(&t.p("d0/f")), ENOTDIR);
    errno!(sys::unlink(&t.p("d0/x")), EISDIR | EPERM);
    same!(sys::lstat(&t.p("d0/x/.."))?.st_ino, st.st_ino, "dot dot");
    sys::rmdir(&t.p("d0/x"))?;
    sys::unlink(&t.p("d0/f"))?;
    same!(sys::lstat(&t.p("d0"))?.st_nlink, 2, "links after rmdir");
    Ok(())
}

/// A directory removed while open is empty and takes no new names.
fn removed_while_open(t: &T) -> Res {
    sys::mkdir(&t.p("gone"), 0o755)?;
    let d = sys::open(&t.p("gone"), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    sys::rmdir(&t.p("gone"))?;
    let new = format!("/proc/self/fd/{}/new", d.raw);
    errno!(sys::open(&new, libc::O_CREAT | libc::O_RDWR, 0o644), ENOENT);
    Ok(())
}

fn setgid_goes_to_children(t: &T) -> Res {
    sys::mkdir(&t.p("sg"), 0o755)?;
    sys::lchown(&t.p("sg"), 0, 1234)?;
    sys::chmod(&t.p("sg"), 0o2775)?;
    sys::mkdir(&t.p("sg/d"), 0o755)?;
    put(&t.p("sg/f"), 1, 1)?;
    let d = sys::lstat(&t.p("sg/d"))?;
    let got = (d.st_gid, d.st_mode & 0o7777);
    same!(got, (1234, 0o2755), "setgid directory");
    let gid = sys::lstat(&t.p("sg/f"))?.st_gid;
    same!(gid, 1234, "group of a file in it");
    Ok(())
}

/// A removed file lives until it is closed; then its space is free.
fn unlink_open(t: &mut T) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?;
    let len = 3 << 20;
    let f = put(&t.p("f"), 7, len)?;
    sys::unlink(&t.p("f"))?;
    t.drop_caches()?;
    holds(&f, 0, &pattern(7, 0, len), "unlinked and open")?;
    f.pwrite(b"more", len as u64)?;
    f.fsync()?;
    let held = sys::statfs(&t.p(""))?;
    ensure!(
        held.f_bfree < free.f_bfree,
        "blocks of an open file were freed"
    );
    drop(f);
    sys::sync();
    let now = sys::statfs(&t.p(""))?;
    same!(
        (now.f_bfree, now.f_ffree),
        (free.f_bfree, free.f_ffree),
        "free after last close"
    );
    // Many orphans at once: removed from the middle of the on-disk list.
    let mut open = Vec::new();
    for i in 0..40u64 {
        open.push(put(&t.p(&format!("o{i}")), i, 5000)?);
    }
    for i in 0..40 {
        sys::unlink(&t.p(&format!("o{i}")))?;
    }
    let mut r = fastrand::Rng::with_seed(3);
    while !open.is_empty() {
        let i = r.usize(..open.len());
        drop(open.swap_remove(i));
    }
    sys::sync();
    let now = sys::statfs(&t.p(""))?;
    same!(
        (now.f_bfree, now.f_ffree),
        (free.f_bfree, free.f_ffree),
        "free after 40 orphans"
    );
    Ok(())
}

/// All names of a file are equal, and the count of links is right.
fn link(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("a"), 5, 3000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    sys::link(&t.p("a"), &t.p("d/b"))?;
    same!(f.stat()?.st_nlink, 2, "links");
    same!(
        sys::lstat(&t.p("d/b"))?.st_ino,
        f.stat()?.st_ino,
        "same inode"
    );
    errno!(sys::link(&t.p("a"), &t.p("d/b")), EEXIST);
    errno!(sys::link(&t.p("d"), &t.p("dd")), EPERM);
    errno!(sys::link(&t.p("none"), &t.p("x")), ENOENT);
    sys::unlink(&t.p("a"))?;
    same!(f.stat()?.st_nlink, 1, "links after unlink");
    for i in 0..300 {
        sys::link(&t.p("d/b"), &t.p(&format!("d/l{i}")))?;
    }
    same!(f.stat()?.st_nlink, 301, "links");
    drop(f);
    t.cycle()?;
    same!(
        sys::lstat(&t.p("d/l299"))?.st_nlink,
        301,
        "links after remount"
    );
    for i in 0..300 {
        sys::unlink(&t.p(&format!("d/l{i}")))?;
    }
    holds(
        &sys::rdonly(&t.p("d/b"))?,
        0,
        &pattern(5, 0, 3000),
        "last name",
    )?;
    Ok(())
}

/// Symlinks of every length lead where they say.
fn symlink(t: &mut T) -> Res {
    t.fresh()?;
    // 59 bytes is the longest that fits the inode; a block holds the rest.
    for n in [1, 58, 59, 60, 61, 255, 1000, t.var.bs.min(4095) - 1] {
        let target = "x".repeat(n);
        let p = t.p(&format!("s{n}"));
        sys::symlink(&target, &p)?;
        same!(sys::readlink(&p)?.len(), n, "readlink");
        let st = sys::lstat(&p)?;
        same!(st.st_size, n as i64, "size of a symlink");
        same!(
            st.st_mode & libc::S_IFMT,
            libc::S_IFLNK,
            "type of a symlink"
        );
    }
    errno!(sys::symlink("y", &t.p("s1")), EEXIST);
    put(&t.p("f"), 9, 50)?;
    sys::symlink("f", &t.p("to-f"))?;
    sys::symlink("loop", &t.p("loop"))?;
    t.cycle()?;
    for n in [1, 58, 59, 60, 61, 255, 1000, t.var.bs.min(4095) - 1] {
        same!(
            sys::readlink(&t.p(&format!("s{n}")))?,
            "x".repeat(n).into_bytes(),
            "after remount"
        );
        let st = sys::lstat(&t.p(&format!("s{n}")))?;
        same!(
            st.st_blocks == 0,
            n < 60,
            "fast symlink of {n} bytes has no block"
        );
    }
    holds(
        &sys::rdonly(&t.p("to-f"))?,
        0,
        &pattern(9, 0, 50),
        "through a symlink",
    )?;
    errno!(sys::rdonly(&t.p("loop")), ELOOP);
    let long = "z".repeat(t.var.bs);
    errno!(sys::symlink(&long, &t.p("too-long")), ENAMETOOLONG);
    ensure!(
        !sys::exists(&t.p("too-long")),
        "a refused symlink left its name"
    );
    for n in [1, 59, 60, 1000] {
        sys::unlink(&t.p(&format!("s{n}")))?;
    }
    Ok(())
}

/// Devices, fifos and sockets keep their kind and number.
fn mknod(t: &mut T) -> Res {
    t.fresh()?;
    let devs = [(8, 1), (255, 255), (300, 7), (4095, 0xfffff)];
    let kinds = [("block", libc::S_IFBLK), ("char", libc::S_IFCHR)];
    for (i, (major, minor)) in devs.iter().enumerate() {
        let d = libc::makedev(*major, *minor);
        for (name, kind) in kinds {
            sys::mknod(&t.p(&format!("{name}{i}")), kind | 0o600, d)?;
        }
    }
    sys::mknod(&t.p("fifo"), libc::S_IFIFO | 0o622, 0)?;
    sys::mknod(&t.p("sock"), libc::S_IFSOCK | 0o600, 0)?;
    sys::mknod(&t.p("reg"), libc::S_IFREG | 0o604, 0)?;
    sys::chmod(&t.p("fifo"), 0o622)?;
    t.cycle()?;
    for (i, (major, minor)) in devs.iter().enumerate() {
        let d = libc::makedev(*major, *minor);
        for (name, kind) in kinds {
            let st = sys::lstat(&t.p(&format!("{name}{i}")))?;
            let got = (st.st_mode, st.st_rdev);
            same!(got, (kind | 0o600, d), "{name} device {major}:{minor}");
        }
    }
    let mode = |n: &str| sys::lstat(&t.p(n)).map(|st| st.st_mode);
    same!(mode("fifo")?, libc::S_IFIFO | 0o622, "fifo");
    same!(mode("sock")?, libc::S_IFSOCK | 0o600, "socket");
    let kind = mode("reg")? & libc::S_IFMT;
    same!(kind, libc::S_IFREG, "regular by mknod");
    a_byte_goes_through(t)?;
    entries_know_the_kind(t)
}

/// The fifo works as one.
fn a_byte_goes_through(t: &T) -> Res {
    let r = sys::open(&t.p("fifo"), libc::O_RDONLY | libc::O_NONBLOCK, 0)?;
    let w = sys::open(&t.p("fifo"), libc::O_WRONLY | libc::O_NONBLOCK, 0)?;
    w.write(b"x")?;
    let mut b = [0u8; 4];
    // SAFETY: b is valid.
    let n = unsafe { libc::read(r.raw, b.as_mut_ptr().cast(), 4) };
    same!(n, 1, "read of a fifo");
    Ok(())
}

/// The type byte of each directory entry agrees with the inode.
fn entries_know_the_kind(t: &T) -> Res {
    for e in std::fs::read_dir(t.p(""))? {
        let e = e?;
        let (d, m) = (e.file_type()?, e.metadata()?.mode() & libc::S_IFMT);
        let by_dirent = match () {
            _ if d.is_block_device() => libc::S_IFBLK,
            _ if d.is_char_device() => libc::S_IFCHR,
            _ if d.is_fifo() => libc::S_IFIFO,
            _ if d.is_socket() => libc::S_IFSOCK,
            _ if d.is_dir() => libc::S_IFDIR,
            _ => libc::S_IFREG,
        };
        same!(by_dirent, m, "d_type of {:?}", e.file_name());
    }
    Ok(())
}

/// Wrong names get the errors that POSIX has for them.
fn errors(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 1)?;
    errno!(sys::rdonly(&t.p("none")), ENOENT);
    errno!(sys::rdonly(&t.p("f/x")), ENOTDIR);
    errno!(sys::unlink(&t.p("none")), ENOENT);
    errno!(sys::rmdir(&t.p("none")), ENOENT);
    errno!(sys::rdwr(&t.p("")), EISDIR);
    let name = "n".repeat(256);
    errno!(sys::create(&t.p(&name)), ENAMETOOLONG);
    errno!(sys::lstat(&t.p(&name)), ENAMETOOLONG);
    errno!(sys::mkdir(&t.p(&name), 0o755), ENAMETOOLONG);
    errno!(sys::rename(&t.p("f"), &t.p(&name)), ENAMETOOLONG);
    errno!(sys::rmdir(&t.p("f")), ENOTDIR);
    let d = sys::open(&t.p(""), libc::O_RDONLY, 0)?;
    errno!(d.pread_once(&mut [0; 10], 0), EISDIR);
    Ok(())
}

/// A file without a name is gone when closed, unless it was linked.
fn tmpfile(t: &mut T) -> Res {
    t.fresh()?;
    let ffree = sys::statfs(&t.p(""))?.f_ffree;
    let f = sys::open(&t.p(""), libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
    f.pwrite(b"temporary", 0)?;
    same!(f.stat()?.st_nlink, 0, "links");
    sys::link_fd(&f, &t.p("named"))?;
    same!(f.stat()?.st_nlink, 1, "links after linkat");
    let g = sys::open(&t.p(""), libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
    g.pwrite(&[1; 9000], 0)?;
    drop((f, g));
    t.cycle()?;
    holds(
        &sys::rdonly(&t.p("named"))?,
        0,
        b"temporary",
        "linked temporary",
    )?;
    same!(sys::statfs(&t.p(""))?.f_ffree, ffree - 1, "free inodes");
    Ok(())
}

/// Names of every length up to 255, of any bytes, are kept.
fn long(t: &mut T) -> Res {
    t.fresh()?;
    // Names of every length, so that records of every size are split and merged.
    for n in 1..=255 {
        put(&t.p(&"m".repeat(n)), n as u64, n)?;
    }
    let weird = [
        "a b",
        "\u{e9}\u{4e2d}\u{6587}",
        "back\\slash",
        "new\nline",
        "-dash",
        "...",
    ];
    for w in weird {
        put(&t.p(w), 1, 5)?;
    }
    // SAFETY: bytes that are no UTF-8; ext4 names are bytes.
    let raw = unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, 0x80]) };
    put(&t.p(&raw), 1, 5)?;
    t.cycle()?;
    same!(names(&t.p(""))?.len(), 1 + 255 + weird.len() + 1, "names");
    for n in 1..=255 {
        same!(sys::lstat(&t.p(&"m".repeat(n)))?.st_size, n as i64, "size");
    }
    for w in weird {
        same!(sys::lstat(&t.p(w))?.st_size, 5, "size of {w:?}");
    }
    for n in (1..=255).step_by(2) {
        sys::unlink(&t.p(&"m".repeat(n)))?;
    }
    for n in 1..=60 {
        put(&t.p(&format!("k{}", "k".repeat(n * 4))), 1, 1)?;
    }
    Ok(())
}

/// Random creates, removes and renames against a model.
fn churn(t: &mut T) -> Res {
    t.fresh()?;
    let mut r = fastrand::Rng::with_seed(0xc0ffee);
    let mut model = std::collections::BTreeMap::new();
    sys::mkdir(&t.p("d"), 0o755)?;
    for step in 0..3000u64 {
        let name = format!("d/{}-{}", "n".repeat(r.usize(1..40)), r.u32(..150));
        match r.u32(..10) {
            0..=4 => {
                put(&t.p(&name), step, 20)?;
                model.insert(name, step);
            }
            5..=6 => match model.remove(&name) {
                Some(_) => sys::unlink(&t.p(&name))?,
                None => errno!(sys::unlink(&t.p(&name)), ENOENT),
            },
            _ => {
                let Some(from) = model.keys().nth(r.usize(..model.len().max(1))).cloned() else {
                    continue;
                };
                sys::rename(&t.p(&from), &t.p(&name))?;
                if let Some(v) = model.remove(&from) {
                    model.insert(name, v);
                }
            }
        }
    }
    for pass in 0..2 {
        let want: Vec<String> = model.keys().map(|k| k[2..].to_string()).collect();
        same!(names(&t.p("d"))?, want, "names, pass {pass}");
        for (k, v) in &model {
            holds(&sys::rdonly(&t.p(k))?, 0, &pattern(*v, 0, 20), "content")?;
        }
        t.cycle()?;
    }
    Ok(())
}
