// SPDX-License-Identifier: GPL-2.0
//! What a file system that was shut down answers to each question: as ext4 does.

use crate::cases::power::shutdown::{root, shut_down, COMMIT, NOW, SYNC};
use crate::fixture::{knows_fs, names, put, T};
use crate::harness::{Case, Res, ALL};
use crate::map::{self, Map};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, fail, same, skip, xattr};

pub const CASES: &[Case] = &[Case::new("shutdown/as_ext4", ALL, as_ext4).quick()];

const LEN: usize = 50_000;

type Answers = Vec<(&'static str, Result<(), i32>)>;

struct Open {
    file: Fd,
    direct: Fd,
    dir: Fd,
    mapped: Map,
}

fn prepare(t: &T) -> Res<Open> {
    for (i, name) in ["f", "g", "h"].into_iter().enumerate() {
        put(&t.p(name), i as u64, LEN)?;
    }
    sys::mkdir(&t.p("d"), 0o755)?;
    sys::mkdir(&t.p("e"), 0o755)?;
    put(&t.p("d/x"), 3, 10)?;
    sys::symlink("f", &t.p("s"))?;
    xattr::set(&t.p("f"), "user.a", b"value", 0)?;
    sys::sync();
    let file = sys::rdwr(&t.p("f"))?;
    file.pread(&mut [0; LEN], 0)?;
    let mapped = Map::shared(&file, LEN)?;
    mapped.get(0);
    Ok(Open {
        direct: sys::open(&t.p("g"), libc::O_RDWR | libc::O_DIRECT, 0)?,
        dir: root(t)?,
        file,
        mapped,
    })
}

fn splice(f: &Fd) -> Sys<()> {
    let mut ends = [0; 2];
    // SAFETY: Two descriptors are written; they are closed below.
    unsafe {
        libc::pipe(ends.as_mut_ptr());
        let mut at = 0i64;
        let null = std::ptr::null_mut();
        let r = libc::splice(f.raw, &mut at, ends[1], null, 4096, 0);
        let errno = sys::errno();
        libc::close(ends[0]);
        libc::close(ends[1]);
        if r < 0 {
            let what = "splice".to_string();
            return Err(sys::SysErr { what, errno });
        }
    }
    Ok(())
}

/// Takes one answer.
type Asked<'a> = &'a mut dyn FnMut(&'static str, Sys<()>);

/// Asks for everything; what comes first must not change what comes later.
fn ask(t: &T, o: &Open) -> Answers {
    let mut all: Answers = Vec::new();
    let mut q = |what, r: Sys<()>| all.push((what, r.map_err(|e| e.errno)));
    of_open_files(o, &mut q);
    of_names(t, &mut q);
    of_the_rest(t, o, &mut q);
    all
}

fn of_open_files(o: &Open, q: Asked<'_>) {
    let mut page = sys::Aligned::new(4096);
    q("read", o.file.pread(&mut [0; 100], 0).map(drop));
    q("read direct", o.direct.pread(&mut page, 0).map(drop));
    q("splice", splice(&o.file));
    q("write", o.file.pwrite(b"x", 0));
    q("write direct", o.direct.pwrite(&page, 0));
    q("ftruncate", o.file.truncate(10));
    q("fallocate", o.file.fallocate(0, 0, 1 << 20));
    q("punch", o.file.punch(0, 8192));
    q(
        "zero range",
        o.file.fallocate(libc::FALLOC_FL_ZERO_RANGE, 0, 8192),
    );
    q(
        "collapse",
        o.file.fallocate(libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
    );
    q("fsync", o.file.fsync());
    q("fdatasync", o.file.fdatasync());
    q("fsync dir", o.dir.fsync());
    q("syncfs", o.file.syncfs());
    q("mmap", Map::shared(&o.file, 4096).map(drop));
    q("seek", o.file.seek(0, libc::SEEK_DATA).map(drop));
    q("fstat", o.file.stat().map(drop));
    q("utimens", o.file.futimens((1, 0), (2, 0)));
}

fn of_names(t: &T, q: Asked<'_>) {
    let p = |name: &str| t.p(name);
    let tmp = libc::O_TMPFILE | libc::O_RDWR;
    q("open", sys::rdonly(&p("h")).map(drop));
    q("open rw", sys::rdwr(&p("h")).map(drop));
    q(
        "open dir",
        sys::open(&p("d"), libc::O_DIRECTORY, 0).map(drop),
    );
    q("create", sys::create(&p("new")).map(drop));
    q("tmpfile", sys::open(&p("d"), tmp, 0o600).map(drop));
    q("mkdir", sys::mkdir(&p("n"), 0o755));
    q("mknod", sys::mknod(&p("n"), libc::S_IFIFO | 0o600, 0));
    q("symlink", sys::symlink("x", &p("n")));
    q("link", sys::link(&p("f"), &p("n")));
    q("unlink", sys::unlink(&p("h")));
    q("rmdir", sys::rmdir(&p("e")));
    q("rename", sys::rename(&p("h"), &p("i")));
    q("rename over", sys::rename(&p("g"), &p("h")));
    q("chmod", sys::chmod(&p("f"), 0o600));
    q("chown", sys::lchown(&p("f"), 1, 1));
    q("truncate", sys::truncate(&p("h"), 10));
}

fn of_the_rest(t: &T, o: &Open, q: Asked<'_>) {
    let p = |name: &str| t.p(name);
    q("lstat", sys::lstat(&p("f")).map(drop));
    q("lookup", sys::lstat(&p("d/x")).map(drop));
    q("absent", sys::lstat(&p("d/y")).map(drop));
    q("readlink", sys::readlink(&p("s")).map(drop));
    q("statfs", sys::statfs(&p("")).map(drop));
    q("getxattr", xattr::get(&p("f"), "user.a").map(drop));
    q("no xattr", xattr::get(&p("f"), "user.b").map(drop));
    q("listxattr", xattr::list(&p("f")).map(drop));
    q("setxattr", xattr::set(&p("f"), "user.a", b"other", 0));
    q("rmxattr", xattr::remove(&p("f"), "user.a"));
    q("freeze", o.dir.freeze(true));
    q("remount", t.remount(0, ""));
    q("again", shut_down(&o.dir, NOW));
}

/// What can still be seen: bytes that are mapped, names, a size.
fn look(t: &T, o: &Open) -> Res<(u8, Vec<String>, u64)> {
    let (byte, size) = (o.mapped.get(1), sys::lstat(&t.p("f"))?.st_size as u64);
    map::sigbus_taken();
    o.mapped.set(0, 1);
    // ext4 takes a store that it will never write, where the page has its blocks.
    if t.ours() {
        same!(map::sigbus_taken(), 1, "SIGBUS for a store");
    }
    Ok((byte, names(&t.p(""))?, size))
}

/// Every question has the same answer as from ext4.
fn as_ext4(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one of the two is there");
    }
    let ours = t.fs.clone();
    for how in [SYNC, COMMIT, NOW] {
        let mut both = Vec::new();
        for fs in ["ext4", &ours] {
            t.fs = fs.to_string();
            t.fresh()?;
            let open = prepare(t)?;
            shut_down(&open.dir, how)?;
            let answers = ask(t, &open);
            let seen = look(t, &open)?;
            drop(open);
            errno!(t.remount(libc::MS_RDONLY, ""), EROFS);
            t.umount()?;
            t.mount("")?;
            t.umount()?;
            t.fsck()?;
            both.push((answers, seen));
        }
        let Some((ours, theirs)) = both.pop().zip(both.pop()) else {
            fail!("no answers");
        };
        let differ: Vec<String> = ours
            .0
            .iter()
            .zip(&theirs.0)
            .filter(|(a, b)| a != b)
            .map(|(a, b)| format!("{}: {:?}, ext4 {:?}", a.0, a.1, b.1))
            .collect();
        ensure!(differ.is_empty(), "mode {how}: {}", differ.join("; "));
        same!(ours.1, theirs.1, "mode {how}: what is seen");
    }
    Ok(())
}
