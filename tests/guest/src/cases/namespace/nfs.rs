// SPDX-License-Identifier: GPL-2.0
//! What an NFS server asks of a file system, and what a client of it sees.
//!
//! The server finds each file by its handle, at each request (`fh_to_dentry`, `get_parent`), lists
//! directories by cookies, and tells of changes by a number in the attributes.

use crate::fixture::{holds, names, pattern, put, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::nfs::Nfs;
use crate::sys::{self, Aligned};
use crate::{errno, fail, same, wait};
use std::collections::BTreeSet;

pub const CASES: &[Case] = &[
    Case::new("nfs/files", ALL, files).quick(),
    Case::new("nfs/list", ONE, list).quick(),
    Case::new("nfs/remount", ONE, remount).quick(),
    Case::new("nfs/stale", ONE, stale).quick(),
    Case::new("nfs/changes", ONE, changes).quick(),
];

/// Made, written, renamed, linked and unlinked by the client; there on the server.
fn files(t: &mut T) -> Res {
    t.fresh()?;
    let nfs = Nfs::start()?;
    sys::mkdir(&nfs.p("a"), 0o755)?;
    sys::mkdir(&nfs.p("b"), 0o755)?;
    let f = put(&nfs.p("a/f"), 1, 300_000)?;
    f.pwrite(&pattern(2, 100_000, 50_000), 100_000)?;
    f.fsync()?;
    let mut want = pattern(1, 0, 300_000);
    want[100_000..150_000].copy_from_slice(&pattern(2, 100_000, 50_000));
    t.file_holds("a/f", &want, "on the server")?;
    // Across directories, and over a file that is there.
    put(&nfs.p("b/g"), 3, 10)?;
    sys::rename(&nfs.p("a/f"), &nfs.p("b/g"))?;
    sys::link(&nfs.p("b/g"), &nfs.p("b/h"))?;
    sys::symlink("g", &nfs.p("b/s"))?;
    same!(names(&t.p("b"))?, ["g", "h", "s"], "names on the server");
    same!(sys::readlink(&nfs.p("b/s"))?, b"g", "symbolic link");
    t.file_holds("b/h", &want, "by its other name")?;
    f.truncate(1000)?;
    t.drop_caches()?;
    holds(&f, 0, &want[..1000], "read again by the client")?;
    same!(sys::lstat(&t.p("b/g"))?.st_size, 1000, "size");
    // Open without a name: the client gives it one of its own until then.
    sys::unlink(&nfs.p("b/h"))?;
    sys::unlink(&nfs.p("b/g"))?;
    f.pwrite(&pattern(4, 0, 5000), 0)?;
    f.fsync()?;
    t.drop_caches()?;
    holds(&f, 0, &pattern(4, 0, 5000), "open without a name")?;
    drop(f);
    // The client does not wait for the answer.
    wait::until(|| Ok(names(&t.p("b"))? == ["s"]))?;
    same!(names(&t.p("b"))?, ["s"], "after the last close");
    nfs.end()
}

/// Thousands of names: each once, by cookies that the server gets back in later requests.
fn list(t: &mut T) -> Res {
    const COUNT: usize = 2000;
    t.fresh()?;
    let name = |i: usize| format!("{}{i}", "n".repeat(i % 40));
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..COUNT {
        sys::mknod(&t.p(&format!("d/{}", name(i))), libc::S_IFREG | 0o600, 0)?;
    }
    let nfs = Nfs::start()?;
    let want: BTreeSet<String> = (0..COUNT).map(name).collect();
    for round in ["first", "without caches"] {
        let got = names(&nfs.p("d"))?;
        same!(got.len(), COUNT, "{round}: count of names");
        same!(got.into_iter().collect::<BTreeSet<_>>(), want, "{round}");
        t.drop_caches()?;
    }
    // The directory changes under the client, which goes on behind the last cookie it has.
    let (mut left, mut kept) = (want.clone(), want);
    for (i, e) in std::fs::read_dir(nfs.p("d"))?.enumerate() {
        let e = e?.file_name().to_string_lossy().into_owned();
        if i % 20 == 0 {
            sys::unlink(&nfs.p(&format!("d/{e}")))?;
            kept.remove(&e);
        }
        left.remove(&e);
    }
    same!(left, BTreeSet::new(), "never listed");
    let on_server: BTreeSet<String> = names(&t.p("d"))?.into_iter().collect();
    same!(on_server, kept, "left on the server");
    nfs.end()
}

/// The server's file system is unmounted and mounted again: the client's handles still serve, of
/// files that are open too.
fn remount(t: &mut T) -> Res {
    t.fresh()?;
    let mut nfs = Nfs::start()?;
    let mut dir = String::from("d");
    for _ in 0..5 {
        sys::mkdir(&nfs.p(&dir), 0o755)?;
        dir.push_str("/d");
    }
    sys::mkdir(&nfs.p(&dir), 0o755)?;
    let f = put(&nfs.p(&format!("{dir}/f")), 1, 100_000)?;
    f.fsync()?;
    let d = sys::open(&nfs.p(&dir), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    nfs.pause()?;
    t.cycle()?;
    nfs.serve()?;
    f.pwrite(&pattern(2, 0, 1000), 50_000)?;
    f.fsync()?;
    let mut want = pattern(1, 0, 100_000);
    want[50_000..51_000].copy_from_slice(&pattern(2, 0, 1000));
    f.dontneed()?;
    holds(&f, 0, &want, "an open file")?;
    same!(d.stat()?.st_nlink, 2, "an open directory");
    // From the directory's handle alone the server finds the way up to the root.
    put(&nfs.p(&format!("{dir}/g")), 3, 5000)?.fsync()?;
    t.file_holds(&format!("{dir}/g"), &pattern(3, 0, 5000), "on the server")?;
    drop((f, d));
    nfs.end()
}

/// What the server removed itself is stale for who has its handle, also when the inode number is
/// used again.
fn stale(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 10_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let nfs = Nfs::start()?;
    let f = sys::open(&nfs.p("f"), libc::O_PATH, 0)?;
    let d = sys::open(&nfs.p("d"), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let by_fd = |f: &sys::Fd| format!("/proc/self/fd/{}", f.raw);
    holds(
        &sys::rdonly(&by_fd(&f))?,
        0,
        &pattern(1, 0, 10_000),
        "before",
    )?;
    let ino = sys::lstat(&t.p("f"))?.st_ino;
    sys::unlink(&t.p("f"))?;
    sys::rmdir(&t.p("d"))?;
    errno!(sys::rdonly(&by_fd(&f)), ESTALE);
    errno!(sys::create(&format!("{}/g", by_fd(&d))), ESTALE | ENOENT);
    for i in 0..100 {
        put(&t.p(&format!("again{i}")), 9, 100)?;
        if sys::lstat(&t.p(&format!("again{i}")))?.st_ino == ino {
            errno!(sys::rdonly(&by_fd(&f)), ESTALE);
            drop((f, d));
            return nfs.end();
        }
    }
    fail!("inode {ino} is not used again")
}

/// Each change on the server, past its page cache or through it, is seen by a client that opens
/// the file after it, however soon it follows the last one.
fn changes(t: &mut T) -> Res {
    t.fresh()?;
    let len = 64 << 10;
    put(&t.p("f"), 0, len)?.fsync()?;
    let nfs = Nfs::start()?;
    let (direct, cached) = (sys::direct(&t.p("f"))?, sys::rdwr(&t.p("f"))?);
    let mut block = Aligned::new(len);
    for round in 1..30 {
        block.copy_from_slice(&pattern(round, 0, len));
        let (how, by) = match round % 2 {
            0 => ("buffered", &cached),
            _ => ("direct", &direct),
        };
        by.pwrite(&block, 0)?;
        holds(
            &sys::rdonly(&nfs.p("f"))?,
            0,
            &block,
            &format!("{round}: {how} write"),
        )?;
        same!(sys::lstat(&nfs.p("f"))?.st_size, len as i64, "size");
    }
    // And the client's own, direct, by the server's direct writes and through its page cache.
    let client = sys::direct(&nfs.p("f"))?;
    block.copy_from_slice(&pattern(99, 0, len));
    client.pwrite(&block, 0)?;
    holds(&cached, 0, &block, "written by the client, cached")?;
    let mut seen = Aligned::new(len);
    same!(direct.pread(&mut seen, 0)?, len, "count");
    same!(seen[..] == block[..], true, "written by the client, direct");
    drop(client);
    nfs.end()
}
