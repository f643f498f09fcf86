// SPDX-License-Identifier: GPL-2.0
//! Inodes found by a handle, and numbers that somebody has thought up.

use crate::fixture::{holds, pattern, put, T};
use crate::handle::{Handle, IS_CONNECTABLE, IS_DIR, PLAIN, WITH_PARENT};
use crate::harness::{Case, Res, Variant, ALL, FEATS, K1, K4, ONE};
use crate::sys::{self, Fd};
use crate::{ensure, errno, fail, same};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Tables that were never written, and no checksums of what is in them.
const RUBBISH: Variant = Variant {
    name: "uninit_bg",
    bs: 1024,
    feats: "^metadata_csum,uninit_bg",
};

pub const CASES: &[Case] = &[
    Case::new("handle/types", FEATS, types).quick(),
    Case::new("handle/deep", ALL, deep).quick(),
    Case::new("handle/connectable", ONE, connectable).quick(),
    Case::new("handle/removed", ALL, removed).quick(),
    Case::new("handle/nameless", ONE, nameless),
    Case::new("handle/lost_parent", ONE, lost_parent),
    Case::new("handle/any_number", FEATS, any_number).quick(),
    Case::new("handle/old_table", &[RUBBISH, K1], old_table).secs(120),
    Case::new("handle/while_made", &[RUBBISH, K4], while_made).secs(120),
    Case::new("handle/while_removed", &[K1, K4], while_removed).secs(120),
];

const DIR: i32 = libc::O_RDONLY | libc::O_DIRECTORY;

/// Any file of the mount: what handles are opened by.
fn mount(t: &T) -> Res<Fd> {
    Ok(sys::open(&t.p(""), DIR, 0)?)
}

/// The path that the kernel knows of an open file.
fn path(f: &Fd) -> Res<String> {
    let path = sys::readlink(&format!("/proc/self/fd/{}", f.raw))?;
    Ok(String::from_utf8_lossy(&path).into_owned())
}

/// Nothing was reported, and nothing is marked on disk.
fn quiet(t: &mut T, what: &str) -> Res {
    let bad = ["rext4:", "EXT4-fs error", "EXT4-fs warning"];
    let said = |l: &&String| bad.iter().any(|b| l.contains(b)) && !l.contains("mounted");
    if let Some(l) = t.log().iter().find(said) {
        fail!("{what}: {l}");
    }
    Ok(())
}

/// Every type of inode, from memory, from the disk, and of another mount.
fn types(t: &mut T) -> Res {
    const NAMES: [&str; 7] = ["f", "d", "fast", "slow", "fifo", "chr", "."];
    t.fresh()?;
    put(&t.p("f"), 1, 10_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    sys::symlink("fast", &t.p("fast"))?;
    sys::symlink(&"s".repeat(70), &t.p("slow"))?;
    sys::mknod(&t.p("fifo"), libc::S_IFIFO | 0o600, 0)?;
    sys::mknod(&t.p("chr"), libc::S_IFCHR | 0o600, 0x103)?;
    let mut handles = Vec::new();
    for name in NAMES {
        handles.push((name, Handle::of(&t.p(name), 0)?));
    }
    errno!(Handle::within(&t.p("f"), 0, 4), EOVERFLOW);
    for round in ["in memory", "on disk", "mounted again"] {
        let m = mount(t)?;
        for (name, h) in &handles {
            let f = h.open(&m, libc::O_PATH)?;
            let (a, b) = (f.stat()?, sys::lstat(&t.p(name))?);
            same!(a.st_ino, b.st_ino, "{round}: {name}");
            same!(a.st_mode, b.st_mode, "{round}: {name}");
            same!(Handle::of(&t.p(name), 0)?, h.clone(), "{round}: {name}");
        }
        let f = handles[0].1.open(&m, libc::O_RDWR)?;
        holds(&f, 0, &pattern(1, 0, 10_000), round)?;
        f.pwrite(&pattern(1, 0, 5000), 0)?;
        drop((f, m));
        match round {
            "in memory" => t.drop_caches()?,
            _ => t.cycle()?,
        }
    }
    Ok(())
}

/// A directory whose parents nobody has in memory is connected to them, by each way in.
fn deep(t: &mut T) -> Res {
    t.fresh()?;
    let mut at = String::new();
    let mut handles = Vec::new();
    for i in 0..12 {
        at.push_str(&format!("d{i}/"));
        sys::mkdir(&t.p(&at), 0o755)?;
        // So many that the name is in the last of several blocks.
        for n in 0..60 {
            put(&t.p(&format!("{at}{}{n}", "n".repeat(100))), n, 0)?;
        }
        handles.push((Handle::of(&t.p(&at), 0)?, t.p(at.trim_end_matches('/'))));
    }
    put(&t.p(&format!("{at}f")), 7, 3000)?;
    let file = Handle::of(&t.p(&format!("{at}f")), 0)?;
    t.cycle()?;
    for pick in [11, 0, 5, 10] {
        t.drop_caches()?;
        let (h, name) = &handles[pick];
        let m = mount(t)?;
        let d = h.open(&m, DIR)?;
        same!(&path(&d)?, name, "the path of a directory");
        sys::mkdir(&format!("{}/new", path(&d)?), 0o755)?;
        sys::rmdir(&format!("{}/new", path(&d)?))?;
    }
    // A file first, which stays without a path; then a walk comes by its directory.
    t.drop_caches()?;
    let m = mount(t)?;
    let f = file.open(&m, libc::O_RDWR)?;
    holds(&f, 0, &pattern(7, 0, 3000), "a file without a path")?;
    let d = handles[11].0.open(&m, DIR)?;
    sys::rename(&t.p("d0/d1"), &t.p("moved"))?;
    ensure!(path(&d)?.starts_with(&t.p("moved/d2")), "{}", path(&d)?);
    sys::rename(&format!("{}/f", path(&d)?), &t.p("f"))?;
    f.pwrite(&pattern(8, 0, 3000), 0)?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &pattern(8, 0, 3000), "moved")?;
    sys::unlink(&t.p("f"))?;
    holds(&f, 0, &pattern(8, 0, 3000), "no name")?;
    drop((f, d));
    errno!(file.open(&m, libc::O_RDONLY), ESTALE);
    Ok(())
}

/// Handles with the parent lead to a path.
fn connectable(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("a"), 0o755)?;
    sys::mkdir(&t.p("a/b"), 0o755)?;
    put(&t.p("a/b/f"), 1, 3000)?;
    let f = Handle::of(&t.p("a/b/f"), libc::AT_HANDLE_CONNECTABLE)?;
    let d = Handle::of(&t.p("a/b"), libc::AT_HANDLE_CONNECTABLE)?;
    same!(f.kind, WITH_PARENT | IS_CONNECTABLE, "kind of a file");
    same!(
        d.kind,
        PLAIN | IS_CONNECTABLE | IS_DIR,
        "kind of a directory"
    );
    same!(f.parent(), d.ino(), "the parent");
    t.cycle()?;
    for (h, name) in [(&f, "a/b/f"), (&d, "a/b")] {
        t.drop_caches()?;
        let m = mount(t)?;
        let open = h.open(&m, libc::O_RDONLY)?;
        same!(path(&open)?, t.p(name), "path");
    }
    // Elsewhere by now; the parent that the handle tells of has no such entry.
    sys::rename(&t.p("a/b/f"), &t.p("f"))?;
    t.cycle()?;
    let m = mount(t)?;
    errno!(f.open(&m, libc::O_RDONLY), ESTALE);
    sys::rdonly(&t.p("f"))?;
    // ... unless it is in memory with a path.
    same!(path(&f.open(&m, libc::O_RDONLY)?)?, t.p("f"), "path");
    Ok(())
}

/// Makes files until one has the number; the name of that one.
fn reuse(t: &T, ino: u64) -> Res<String> {
    for i in 0..100 {
        let name = t.p(&format!("again{i}"));
        put(&name, 9, 100)?;
        if sys::lstat(&name)?.st_ino == ino {
            return Ok(name);
        }
    }
    fail!("inode {ino} is not used again")
}

/// What is gone is stale, also when its number is back; what is open is not.
fn removed(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 10_000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let (hf, hd) = (Handle::of(&t.p("f"), 0)?, Handle::of(&t.p("d"), 0)?);
    let m = mount(t)?;
    sys::unlink(&t.p("f"))?;
    let again = hf.open(&m, libc::O_RDWR)?;
    holds(&again, 0, &pattern(1, 0, 10_000), "no name, but open")?;
    drop(f);
    let third = hf.open(&m, libc::O_RDWR)?;
    drop(again);
    holds(
        &third,
        0,
        &pattern(1, 0, 10_000),
        "the last that has it open",
    )?;
    drop(third);
    errno!(hf.open(&m, libc::O_RDONLY), ESTALE);
    let d = hd.open(&m, DIR)?;
    sys::rmdir(&t.p("d"))?;
    drop(d);
    errno!(hd.open(&m, DIR), ESTALE);
    for h in [&hf, &hd] {
        let name = reuse(t, h.ino())?;
        for _ in 0..2 {
            errno!(h.open(&m, libc::O_RDONLY), ESTALE);
            let now = Handle::of(&name, 0)?;
            same!(now.ino(), h.ino(), "number");
            holds(
                &now.open(&m, libc::O_RDONLY)?,
                0,
                &pattern(9, 0, 100),
                "new",
            )?;
            t.drop_caches()?;
        }
    }
    drop(m);
    t.cycle()?;
    let m = mount(t)?;
    errno!(hf.open(&m, libc::O_RDONLY), ESTALE);
    errno!(hd.open(&m, libc::O_RDONLY), ESTALE);
    quiet(t, "stale handles")
}

/// O_TMPFILE: found while it is open.
fn nameless(t: &mut T) -> Res {
    t.fresh()?;
    let m = mount(t)?;
    let f = sys::open(&t.p(""), libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
    f.pwrite(b"text", 0)?;
    let h = Handle::of(&format!("/proc/self/fd/{}", f.raw), libc::AT_SYMLINK_FOLLOW)?;
    holds(&h.open(&m, libc::O_RDONLY)?, 0, b"text", "by its handle")?;
    sys::link_fd(&f, &t.p("f"))?;
    drop(f);
    t.drop_caches()?;
    holds(&h.open(&m, libc::O_RDONLY)?, 0, b"text", "with a name")?;
    sys::unlink(&t.p("f"))?;
    errno!(h.open(&m, libc::O_RDONLY), ESTALE);
    Ok(())
}

/// The entry of a directory is missing: there is no path to what is below.
fn lost_parent(t: &mut T) -> Res {
    t.fresh()?;
    for dir in ["a", "a/b", "a/b/c"] {
        sys::mkdir(&t.p(dir), 0o755)?;
    }
    put(&t.p("a/b/c/f"), 1, 1000)?;
    let (c, f) = (
        Handle::of(&t.p("a/b/c"), 0)?,
        Handle::of(&t.p("a/b/c/f"), 0)?,
    );
    t.umount()?;
    t.debugfs(&["unlink /a/b"])?;
    t.broken = true;
    t.mount("")?;
    let m = mount(t)?;
    errno!(c.open(&m, DIR), ESTALE);
    holds(&f.open(&m, libc::O_RDONLY)?, 0, &pattern(1, 0, 1000), "f")?;
    quiet(t, "no entry")
}

/// Nobody can break anything by guessing.
fn any_number(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("f"), 1, 1000)?;
    let own = Handle::of(&t.p("f"), 0)?;
    let count = sys::statfs(&t.p(""))?.f_files as u32;
    let m = mount(t)?;
    t.forget_log();
    let mut rng = fastrand::Rng::with_seed(crate::fixture::seed());
    let mut numbers: Vec<u32> = (0..100).collect();
    numbers.extend((count - 20..count + 20).chain([u32::MAX, u32::MAX - 1, 1 << 31]));
    numbers.extend((0..500).map(|_| rng.u32(..count)));
    let root = Handle::of(&t.p(""), 0)?;
    let lost = Handle::of(&t.p("lost+found"), 0)?;
    let known = [&own, &root, &lost].map(|h| h.ino() as u32);
    for &n in &numbers {
        for generation in [0, 1, rng.u32(..), own.generation()] {
            let h = Handle::new(PLAIN, &[n, generation]);
            match h.open(&m, libc::O_PATH) {
                Ok(_) => ensure!(known.contains(&n), "inode {n}/{generation} is open"),
                Err(e) => same!(e.errno, libc::ESTALE, "inode {n}/{generation}"),
            }
            let h = Handle::new(
                WITH_PARENT | IS_CONNECTABLE,
                &[own.ino() as u32, own.generation(), n, generation],
            );
            if let Err(e) = h.open(&m, libc::O_PATH) {
                same!(e.errno, libc::ESTALE, "parent {n}/{generation}");
            }
        }
    }
    for words in 1..6 {
        for kind in [0, 1, 2, 3, 0x81, 0xff, 0x1_0000, 0x2_0001] {
            let h = Handle::new(kind, &vec![rng.u32(..); words]);
            errno!(h.open(&m, libc::O_PATH), ESTALE);
        }
    }
    quiet(t, "handles of no inode")?;
    drop(m);
    t.umount()?;
    let text = t.debugfs(&["show_super_stats -h"])?;
    ensure!(!text.contains("with errors"), "{text}");
    Ok(())
}

/// An image made over another one, whose inodes are still in its tables.
fn over_old(t: &mut T) -> Res {
    t.mkfs(64, &["-N", "8192"])?;
    t.mount("")?;
    for i in 0..1500 {
        put(&t.p(&format!("f{i}")), i, 100)?;
    }
    for i in 0..30 {
        sys::mkdir(&t.p(&format!("d{i}")), 0o755)?;
        put(&t.p(&format!("d{i}/f")), i, 100)?;
    }
    t.umount()?;
    t.mkfs(64, &["-N", "8192", "-E", "nodiscard,lazy_itable_init=1"])?;
    t.mount("")
}

/// A free inode is none, whatever is in its place.
fn old_table(t: &mut T) -> Res {
    over_old(t)?;
    t.forget_log();
    let m = mount(t)?;
    let open = |n| Handle::new(PLAIN, &[n, 0]).open(&m, libc::O_PATH).is_ok();
    let found: Vec<u32> = (0..8200).filter(|&n| open(n)).collect();
    same!(found, [2, 11], "inodes");
    quiet(t, "handles of free inodes")
}

/// Runs `work` in threads until the time is over; the first failure.
fn for_a_while(secs: u64, works: &[&(dyn Fn(&AtomicBool) -> Res + Sync)]) -> Res {
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let stop = &stop;
        let threads: Vec<_> = works.iter().map(|w| s.spawn(move || w(stop))).collect();
        let end = Instant::now() + Duration::from_secs(secs);
        while Instant::now() < end && !threads.iter().any(|t| t.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|t| t.join().unwrap())
    })
}

/// ext4 says ENOMEM of an inode that is being made: `iget_locked()` does not tell the two apart.
fn is_stale(t: &T, errno: i32) -> bool {
    errno == libc::ESTALE || !t.ours() && errno == libc::ENOMEM
}

/// A number is asked for just when it is given out: there is the new inode, or none.
fn while_made(t: &mut T) -> Res {
    over_old(t)?;
    t.forget_log();
    let m = mount(t)?;
    let make = |stop: &AtomicBool| -> Res {
        while !stop.load(Ordering::Relaxed) {
            for i in 0..100 {
                put(&t.p(&format!("x{i}")), 1, 0)?;
            }
            for i in 0..100 {
                sys::unlink(&t.p(&format!("x{i}")))?;
            }
        }
        Ok(())
    };
    let ask = |stop: &AtomicBool| -> Res {
        while !stop.load(Ordering::Relaxed) {
            for n in 12..120 {
                match Handle::new(PLAIN, &[n, 0]).open(&m, libc::O_RDONLY) {
                    Ok(f) => same!(f.size()?, 0, "size of inode {n}"),
                    Err(e) => ensure!(is_stale(t, e.errno), "inode {n}: {e}"),
                }
            }
        }
        Ok(())
    };
    for_a_while(6, &[&make, &ask, &ask])?;
    drop(m);
    quiet(t, "inodes in the making")
}

/// A handle is opened just when its inode goes.
fn while_removed(t: &mut T) -> Res {
    t.fresh()?;
    let m = mount(t)?;
    let dir = t.p("");
    let last = std::sync::Mutex::new(Handle::of(&dir, 0)?);
    let remove = |stop: &AtomicBool| -> Res {
        while !stop.load(Ordering::Relaxed) {
            let f = put(&format!("{dir}/f"), 3, 20_000)?;
            *last.lock().unwrap() = Handle::of(&format!("{dir}/f"), 0)?;
            sys::unlink(&format!("{dir}/f"))?;
            drop(f);
        }
        Ok(())
    };
    let ask = |stop: &AtomicBool| -> Res {
        while !stop.load(Ordering::Relaxed) {
            let h = last.lock().unwrap().clone();
            match h.open(&m, libc::O_RDONLY) {
                Ok(f) if f.stat()?.st_mode & libc::S_IFMT == libc::S_IFREG => {
                    holds(&f, 0, &pattern(3, 0, 20_000), "an inode that goes")?;
                }
                Ok(_) => (),
                Err(e) => ensure!(is_stale(t, e.errno), "{e}"),
            }
        }
        Ok(())
    };
    for_a_while(5, &[&remove, &ask, &ask])?;
    drop(m);
    quiet(t, "inodes on their way out")
}
