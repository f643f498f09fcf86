// SPDX-License-Identifier: GPL-2.0
//! The main job, told step by step: an image made by mke2fs from a real tree is read, written three
//! ways, punched, checked, and handed to the kernel's ext4 and back.

use crate::cases::namespace::tree::{self, Node, Tree};
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, private_mounts, MNT, T};
use crate::harness::{Res, Stop};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, same};
use std::io::Write;
use std::time::Instant;

const FILE: &str = "rext4-demo";
const LEN: usize = 4 << 20;
const BACK: usize = 200;

struct Steps {
    n: usize,
    since: Instant,
}

impl Steps {
    fn start(&mut self, what: &str) {
        self.n += 1;
        self.since = Instant::now();
        print!("[{}] {what} ... ", self.n);
        let _ = std::io::stdout().flush();
    }

    fn done(&self, found: &str) {
        println!("{found} ({:.1} s)", self.since.elapsed().as_secs_f32());
    }

    fn read(&mut self, what: &str, root: &str) -> Res<Tree> {
        self.start(what);
        println!();
        let mut last = Instant::now();
        let t = tree::read(root, &mut |n| {
            if last.elapsed().as_secs() >= 2 {
                println!("    {n} names so far");
                last = Instant::now();
            }
        })?;
        let files = t
            .values()
            .filter(|n| n.mode & libc::S_IFMT == libc::S_IFREG)
            .count();
        let bytes: u64 = t.values().map(|n| n.size).sum();
        print!("    ");
        self.done(&format!(
            "{} names, {files} files, {} MiB hashed",
            t.len(),
            bytes >> 20
        ));
        Ok(t)
    }
}

/// mke2fs -d copies these; link counts of directories and times of links it makes itself.
fn as_copied(n: &mut Node) {
    let kind = n.mode & libc::S_IFMT;
    n.mtime.1 = 0;
    if kind != libc::S_IFREG {
        n.nlink = 0;
    }
    if kind == libc::S_IFLNK {
        n.mtime = (0, 0);
        n.mode |= 0o777;
    }
}

/// What one way wrote, the others must see.
fn seen(what: &str, f: &Fd, d: &Fd, m: &Map, want: &[u8]) -> Res {
    if what != "buffered write" {
        holds(f, 0, want, &format!("{what}, seen by a buffered read"))?;
    }
    if what != "direct write" {
        let mut b = Aligned::new(want.len());
        let n = d.pread(&mut b, 0)?;
        same!(n, want.len(), "direct read");
        let bad = crate::fixture::diff_at(&b, want);
        ensure!(
            bad.is_none(),
            "{what}, seen by a direct read: {}",
            bad.unwrap_or_default()
        );
    }
    if what != "store through a mapping" {
        let bad = crate::fixture::diff_at(&m.read(0, want.len()), want);
        ensure!(
            bad.is_none(),
            "{what}, seen through the mapping: {}",
            bad.unwrap_or_default()
        );
    }
    Ok(())
}

fn three_ways(s: &mut Steps, t: &T) -> Res<Vec<u8>> {
    let path = t.p(FILE);
    let f = sys::create(&path)?;
    let mut want = pattern(1, 0, LEN);
    f.pwrite(&want, 0)?;
    let d = sys::direct(&path)?;
    let m = Map::shared(&f, LEN)?;
    m.read(0, LEN);

    for round in 0..2u64 {
        s.start(&format!(
            "round {}: buffered write of 1 MiB, seen direct and mapped",
            round + 1
        ));
        let at = (round as usize) * 8192;
        let data = pattern(10 + round, 0, 1 << 20);
        f.pwrite(&data, at as u64)?;
        want[at..at + data.len()].copy_from_slice(&data);
        seen("buffered write", &f, &d, &m, &want)?;
        s.done("same bytes");

        s.start(&format!(
            "round {}: direct write of 1 MiB, seen buffered and mapped",
            round + 1
        ));
        let at = (512 << 10) + (round as usize) * 4096;
        let data = Aligned::of(&pattern(20 + round, 0, 1 << 20));
        d.pwrite(&data, at as u64)?;
        want[at..at + data.len()].copy_from_slice(&data);
        seen("direct write", &f, &d, &m, &want)?;
        s.done("same bytes");

        s.start(&format!(
            "round {}: store of 1 MiB through a mapping, seen buffered and direct",
            round + 1
        ));
        let at = (1 << 20) + 1000 + (round as usize) * 77;
        let data = pattern(30 + round, 0, 1 << 20);
        m.write(at, &data);
        want[at..at + data.len()].copy_from_slice(&data);
        seen("store through a mapping", &f, &d, &m, &want)?;
        s.done("same bytes");
    }

    s.start("punch a hole of 1 MiB under the mapping");
    let (at, len) = (1usize << 20, 1usize << 20);
    let before = f.stat()?.st_blocks;
    f.punch(at as u64, len as u64)?;
    want[at..at + len].fill(0);
    seen("hole", &f, &d, &m, &want)?;
    let freed = (before - f.stat()?.st_blocks) / 2;
    let over = fiemap(&f, at as u64, len as u64, true, 10)?;
    ensure!(over.is_empty(), "blocks are left in the hole: {over:?}");
    s.done(&format!(
        "zeros in the mapping, buffered and direct; {freed} KiB freed"
    ));

    s.start("store into the hole through the mapping");
    m.write(at + 5000, b"back in the hole");
    want[at + 5000..at + 5016].copy_from_slice(b"back in the hole");
    seen("store through a mapping", &f, &d, &m, &want)?;
    f.fsync()?;
    s.done("seen buffered and direct, synced");
    Ok(want)
}

fn steps(t: &mut T, source: &str, other: &str) -> Res {
    if !crate::fixture::knows_fs(other) {
        crate::fail!("the kernel has no {other} to hand the image to");
    }
    let mut s = Steps {
        n: 0,
        since: Instant::now(),
    };
    let (dev, fs) = (t.dev.clone(), t.fs.clone());

    s.start(&format!("mount {dev} as {fs}"));
    t.mount("")?;
    let st = sys::statfs(MNT)?;
    s.done(&format!(
        "{} MiB, block size {}",
        (st.f_blocks * st.f_bsize as u64) >> 20,
        st.f_bsize
    ));

    let src = s.read(&format!("hash the source tree {source}"), source)?;
    let got = s.read(&format!("hash every file of the image through {fs}"), MNT)?;
    s.start("compare names, modes, owners, sizes, times, targets and hashes");
    let files = src
        .values()
        .filter(|n| n.mode & libc::S_IFMT == libc::S_IFREG)
        .count();
    ensure!(files > 0, "the source has no files");
    tree::compare(&got, &src, &as_copied)?;
    s.done(&format!("all {} agree", src.len()));

    let want = three_ways(&mut s, t)?;
    s.start("unmount and e2fsck -fn");
    let ours = tree::read(MNT, &mut |_| {})?;
    t.umount()?;
    t.fsck()?;
    s.done("clean");

    s.start(&format!("mount by the kernel's {other}"));
    t.mount_as(&dev, MNT, other, 0, "")?;
    s.done("mounted");
    let theirs = s.read(&format!("hash every file through {other}"), MNT)?;
    s.start(&format!("compare with what {fs} showed"));
    tree::compare(&theirs, &ours, &|_| {})?;
    holds(
        &sys::rdonly(&t.p(FILE))?,
        0,
        &want,
        "the file written three ways",
    )?;
    s.done(&format!(
        "all {} agree, the file written three ways too",
        ours.len()
    ));

    s.start(&format!(
        "the way back: {other} writes {BACK} files and changes that one"
    ));
    sys::mkdir(&t.p("by-ext4"), 0o755)?;
    for i in 0..BACK {
        let f = sys::create(&t.p(&format!("by-ext4/{i}")))?;
        f.pwrite(&pattern(i as u64, 0, i * 300 + 1), (i % 7) as u64 * 10_000)?;
    }
    let f = sys::rdwr(&t.p(FILE))?;
    f.pwrite(&pattern(99, 0, 100_000), 2 << 20)?;
    drop(f);
    let theirs = tree::read(MNT, &mut |_| {})?;
    t.umount()?;
    t.fsck()?;
    s.done("written, e2fsck clean");

    s.start(&format!("mount by {fs} again"));
    t.mount("")?;
    s.done("mounted");
    let again = s.read(&format!("hash every file through {fs}"), MNT)?;
    s.start(&format!("compare with what {other} showed"));
    tree::compare(&again, &theirs, &|_| {})?;
    s.done(&format!("all {} agree", theirs.len()));
    s.start("unmount and e2fsck -fn");
    t.umount()?;
    t.fsck()?;
    s.done("clean");
    Ok(())
}

/// Runs the demonstration; the first failure ends it with its reason.
pub fn run(fs: &str, disks: &[String], source: &str, other: &str) -> Res {
    private_mounts()?;
    let mut t = T::for_tool(fs, disks)?;
    let mut r = steps(&mut t, source, other);
    let _ = t.finish(false);
    let lines = t.kmsg.take();
    if let (Ok(()), Some(l)) = (&r, crate::kmsg::defect(&lines)) {
        r = Err(Stop::Fail(format!("the kernel log has: {l}")));
    }
    if r.is_err() {
        println!("FAILED");
        for l in lines.iter().rev().take(20).rev() {
            println!("    kernel: {l}");
        }
    } else {
        println!("all steps passed");
    }
    r
}
