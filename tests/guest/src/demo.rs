// SPDX-License-Identifier: GPL-2.0
//! The main job, told step by step: an image made by mke2fs from a real tree is read, written three
//! ways, punched, checked, and handed to the kernel's ext4 and back.

use crate::cases::namespace::tree::{self, Node, Tree};
use crate::fiemap::fiemap;
use crate::fixture::{diff_at, holds, pattern, private_mounts, MNT, T};
use crate::harness::{Res, Stop};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, fail, same};
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
        let files = files(&t);
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

/// How many of the names are of regular files.
fn files(tree: &Tree) -> usize {
    let is_file = |n: &&Node| n.mode & libc::S_IFMT == libc::S_IFREG;
    tree.values().filter(is_file).count()
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

const BUFFERED: &str = "buffered write";
const DIRECT: &str = "direct write";
const MAPPED: &str = "store through a mapping";

/// The file that is written three ways, open in each, and what it must hold.
struct Ways {
    f: Fd,
    d: Fd,
    m: Map,
    want: Vec<u8>,
}

impl Ways {
    fn new(path: &str) -> Res<Ways> {
        let f = sys::create(path)?;
        let want = pattern(1, 0, LEN);
        f.pwrite(&want, 0)?;
        let d = sys::direct(path)?;
        let m = Map::shared(&f, LEN)?;
        m.read(0, LEN);
        Ok(Ways { f, d, m, want })
    }

    /// Writes it one way; the other ways must see it.
    fn write(&mut self, way: &str, at: usize, data: &[u8]) -> Res {
        match way {
            BUFFERED => self.f.pwrite(data, at as u64)?,
            DIRECT => self.d.pwrite(&Aligned::of(data), at as u64)?,
            _ => self.m.write(at, data),
        }
        self.want[at..at + data.len()].copy_from_slice(data);
        self.seen(way)
    }

    /// What one way wrote, the others must see.
    fn seen(&self, what: &str) -> Res {
        let want = &self.want;
        if what != BUFFERED {
            let what = format!("{what}, seen by a buffered read");
            holds(&self.f, 0, want, &what)?;
        }
        if what != DIRECT {
            let mut b = Aligned::new(want.len());
            let n = self.d.pread(&mut b, 0)?;
            same!(n, want.len(), "direct read");
            if let Some(bad) = diff_at(&b, want) {
                fail!("{what}, seen by a direct read: {bad}");
            }
        }
        if what != MAPPED {
            if let Some(bad) = diff_at(&self.m.read(0, want.len()), want) {
                fail!("{what}, seen through the mapping: {bad}");
            }
        }
        Ok(())
    }
}

fn three_ways(s: &mut Steps, t: &T) -> Res<Vec<u8>> {
    let mut w = Ways::new(&t.p(FILE))?;
    for round in 0..2 {
        let n = round + 1;
        let data = |seed| pattern(seed + round as u64, 0, 1 << 20);

        s.start(&format!(
            "round {n}: buffered write of 1 MiB, seen direct and mapped"
        ));
        w.write(BUFFERED, round * 8192, &data(10))?;
        s.done("same bytes");

        s.start(&format!(
            "round {n}: direct write of 1 MiB, seen buffered and mapped"
        ));
        w.write(DIRECT, (512 << 10) + round * 4096, &data(20))?;
        s.done("same bytes");

        s.start(&format!(
            "round {n}: store of 1 MiB through a mapping, seen buffered and direct"
        ));
        w.write(MAPPED, (1 << 20) + 1000 + round * 77, &data(30))?;
        s.done("same bytes");
    }
    hole(s, &mut w)?;
    Ok(w.want)
}

/// A hole under the mapping, and a store into it.
fn hole(s: &mut Steps, w: &mut Ways) -> Res {
    s.start("punch a hole of 1 MiB under the mapping");
    let (at, len) = (1usize << 20, 1usize << 20);
    let before = w.f.stat()?.st_blocks;
    w.f.punch(at as u64, len as u64)?;
    w.want[at..at + len].fill(0);
    w.seen("hole")?;
    let freed = (before - w.f.stat()?.st_blocks) / 2;
    let over = fiemap(&w.f, at as u64, len as u64, true, 10)?;
    ensure!(over.is_empty(), "blocks are left in the hole: {over:?}");
    s.done(&format!(
        "zeros in the mapping, buffered and direct; {freed} KiB freed"
    ));

    s.start("store into the hole through the mapping");
    w.write(MAPPED, at + 5000, b"back in the hole")?;
    w.f.fsync()?;
    s.done("seen buffered and direct, synced");
    Ok(())
}

fn steps(t: &mut T, source: &str, other: &str) -> Res {
    if !crate::fixture::knows_fs(other) {
        fail!("the kernel has no {other} to hand the image to");
    }
    let mut s = Steps {
        n: 0,
        since: Instant::now(),
    };
    let (dev, fs) = (t.dev.clone(), t.fs.clone());
    as_its_source(&mut s, t, source)?;
    let want = three_ways(&mut s, t)?;
    s.start("unmount and e2fsck -fn");
    let ours = tree::read(MNT, &mut |_| {})?;
    leave(&s, t, "clean")?;

    s.start(&format!("mount by the kernel's {other}"));
    t.mount_as(&dev, MNT, other, 0, "")?;
    s.done("mounted");
    let theirs = s.read(&format!("hash every file through {other}"), MNT)?;
    s.start(&format!("compare with what {fs} showed"));
    tree::compare(&theirs, &ours, &|_| {})?;
    t.file_holds(FILE, &want, "the file written three ways")?;
    s.done(&format!(
        "all {} agree, the file written three ways too",
        ours.len()
    ));
    let theirs = the_way_back(&mut s, t, other)?;

    s.start(&format!("mount by {fs} again"));
    t.mount("")?;
    s.done("mounted");
    let again = s.read(&format!("hash every file through {fs}"), MNT)?;
    s.start(&format!("compare with what {other} showed"));
    tree::compare(&again, &theirs, &|_| {})?;
    s.done(&format!("all {} agree", theirs.len()));
    s.start("unmount and e2fsck -fn");
    leave(&s, t, "clean")
}

/// Mounts the image, and compares it with the tree it was made from.
fn as_its_source(s: &mut Steps, t: &mut T, source: &str) -> Res {
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
    ensure!(files(&src) > 0, "the source has no files");
    tree::compare(&got, &src, &as_copied)?;
    s.done(&format!("all {} agree", src.len()));
    Ok(())
}

/// The other file system, which has the image mounted, writes. Returns the tree as it shows it.
fn the_way_back(s: &mut Steps, t: &mut T, other: &str) -> Res<Tree> {
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
    leave(s, t, "written, e2fsck clean")?;
    Ok(theirs)
}

/// Unmounts; e2fsck finds nothing.
fn leave(s: &Steps, t: &mut T, found: &str) -> Res {
    t.umount()?;
    t.fsck()?;
    s.done(found);
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
