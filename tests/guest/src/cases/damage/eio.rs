// SPDX-License-Identifier: GPL-2.0
//! Metadata that cannot be read any more while an operation needs it: the operation fails, and
//! nothing else does.

use crate::cases::content::sync::transactions;
use crate::cases::damage::failing::{data_at, error_all, with_hole};
use crate::cases::damage::freed::{attribute_block, group_of, only_free_blocks};
use crate::cases::power::crash::{self, on_dm, MB};
use crate::dm::{self, Dm};
use crate::fixture::{holds, names, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, ALL, K1, K4, ONE};
use crate::sys::{self, Fd};
use crate::xattr;
use crate::{ensure, errno, fail, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("eio/table_names", ALL, table_names),
    Case::new("eio/table_data", &[K1, K4], table_data),
    Case::new("eio/grow_reported", ALL, grow_reported),
    Case::new("eio/truncate_half", ALL, truncate_half),
    Case::new("eio/bitmap", ALL, bitmap_of_deleted),
    Case::new("eio/attributes", ALL, attributes),
    Case::new("eio/sync_after_commit", ONE, sync_after_commit).quick(),
];

/// What dumpe2fs says of each group.
pub fn groups(t: &T) -> Res<Vec<String>> {
    let (_, text) = run_cmd("dumpe2fs", &[&t.dev])?;
    let parts = text.split("\nGroup ").skip(1);
    let is_group = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    Ok(parts.filter(is_group).map(str::to_string).collect())
}

/// The number behind these words.
pub fn number_after(text: &str, words: &str) -> Res<u64> {
    let after = text.split(words).nth(1).unwrap_or("");
    let digits: String = after.chars().take_while(|c| c.is_ascii_digit()).collect();
    match digits.parse() {
        Ok(n) => Ok(n),
        Err(_) => fail!("no number behind {words:?}: {text}"),
    }
}

/// e2fsck finds no bitmap, count or checksum wrong; that the errors were noted is right.
fn whole(t: &T) -> Res {
    let (_, text) = run_cmd("e2fsck", &["-fn", &t.dev])?;
    for bad in ["ifferences", "rong", "hecksum", "deleted"] {
        ensure!(!text.contains(bad), "e2fsck: {text}");
    }
    Ok(())
}

/// The byte of the device at which the table block of an inode begins.
fn table_block(t: &T, ino: u64) -> Res<u64> {
    let (_, text) = run_cmd("debugfs", &["-R", &format!("imap <{ino}>"), &t.dev])?;
    let after = text.split("located at block ").nth(1);
    match after.and_then(|s| s.split(',').next()?.trim().parse::<u64>().ok()) {
        Some(block) => Ok(block * t.bs()),
        None => fail!("imap of {ino}: {text}"),
    }
}

pub fn device(t: &mut T) -> Res<Dm> {
    if !t.ours() {
        skip!("the kernel's ext4 takes it for corruption");
    }
    on_dm(t)
}

/// What one case works with: `d` holds `a`, whose table block is not that of `d` or of others, and
/// `b`; `e` is empty. All are open, so that they stay in memory.
struct Bench {
    dm: Dm,
    root: Fd,
    _open: Vec<Fd>,
    tables: [(&'static str, u64); 3],
}

impl Bench {
    fn new(t: &mut T, dm: &Dm) -> Res<Bench> {
        t.fresh()?;
        let dir = libc::O_RDONLY | libc::O_DIRECTORY;
        let (mut open, mut tables) = (Vec::new(), Vec::new());
        for name in ["d", "e", "d/a"] {
            // As many inodes as a block of the table has, and more.
            for i in 0..20 {
                sys::create(&t.p(&format!("fill-{}-{i}", name.replace('/', "-"))))?;
            }
            if name == "d/a" {
                sys::create(&t.p(name))?.pwrite(&pattern(1, 0, 100_000), 0)?;
                open.push(sys::rdwr(&t.p(name))?);
            } else {
                sys::mkdir(&t.p(name), 0o755)?;
                open.push(sys::open(&t.p(name), dir, 0)?);
            }
            let ino = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(t.p(name))?);
            tables.push((name, ino));
        }
        for i in 0..20 {
            sys::create(&t.p(&format!("fill-{i}")))?;
        }
        sys::create(&t.p("d/b"))?.pwrite(b"b", 0)?;
        open.push(sys::rdonly(&t.p("d/b"))?);
        let root = sys::open(&t.p(""), dir, 0)?;
        sys::sync();
        let at = |i: usize| -> Res<(&'static str, u64)> {
            Ok((tables[i].0, table_block(t, tables[i].1)?))
        };
        let tables = [at(0)?, at(1)?, at(2)?];
        Ok(Bench {
            dm: dm.clone(),
            root,
            _open: open,
            tables,
        })
    }

    /// Runs `f` while the table block at `at` can neither be read nor is in memory.
    fn without(&self, t: &T, at: u64, f: impl FnOnce() -> Res) -> Res {
        // Empties the log, so that the journal keeps no block.
        self.root.freeze(true)?;
        self.root.freeze(false)?;
        t.drop_caches()?;
        self.dm.swap(&with_hole(t, at, t.bs()))?;
        let result = f();
        self.dm.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
        result
    }
}

/// Names: each operation fails with EIO or works, and is not half done.
fn table_names(t: &mut T) -> Res {
    let dm = device(t)?;
    let bench = Bench::new(t, &dm)?;
    let p = |name: &str| t.p(name);
    type Op<'a> = (&'a str, Box<dyn Fn() -> sys::Sys<()> + 'a>);
    let ops: [Op<'_>; 8] = [
        ("create", Box::new(|| sys::create(&p("d/new")).map(|_| ()))),
        ("mkdir", Box::new(|| sys::mkdir(&p("d/sub"), 0o755))),
        ("link", Box::new(|| sys::link(&p("d/a"), &p("d/c")))),
        ("unlink", Box::new(|| sys::unlink(&p("d/a")))),
        ("rename", Box::new(|| sys::rename(&p("d/a"), &p("e/a")))),
        ("replace", Box::new(|| sys::rename(&p("d/b"), &p("d/a")))),
        ("chmod", Box::new(|| sys::chmod(&p("d/a"), 0o600))),
        (
            "symlink",
            Box::new(|| sys::symlink(&"x".repeat(200), &p("d/s"))),
        ),
    ];
    for (of, at) in bench.tables {
        for (what, op) in &ops {
            let before = (names(&p("d"))?, names(&p("e"))?);
            let mut failed = false;
            bench.without(t, at, || {
                let result = op();
                failed = result.is_err();
                if failed {
                    errno!(result, EIO);
                }
                Ok(())
            })?;
            let after = (names(&p("d"))?, names(&p("e"))?);
            ensure!(
                !failed || before == after,
                "{what} without the table block of {of} is half done"
            );
            let alive = sys::create(&p("alive"));
            ensure!(alive.is_ok(), "{what}, table of {of}: {:?}", alive.err());
            sys::unlink(&p("alive"))?;
            // As before, for the next.
            for name in ["d/new", "d/c", "d/s"] {
                let _ = sys::unlink(&p(name));
            }
            let _ = sys::rmdir(&p("d/sub"));
            let _ = sys::rename(&p("e/a"), &p("d/a"));
            if !sys::exists(&p("d/a")) {
                sys::link(&p("d/b"), &p("d/a"))?;
            }
            if !sys::exists(&p("d/b")) {
                sys::link(&p("d/a"), &p("d/b"))?;
            }
        }
    }
    Ok(())
}

/// Data of a file whose table block cannot be read: what commits then is whole, so that a power cut
/// leaves no block that is free and named by the file as well.
fn table_data(t: &mut T) -> Res {
    let dm = device(t)?;
    for round in 0..6 {
        let bench = Bench::new(t, &dm)?;
        let f = sys::rdwr(&t.p("d/a"))?;
        let direct = sys::direct(&t.p("d/a"))?;
        let bs = t.bs();
        let mut failed = false;
        bench.without(t, bench.tables[2].1, || {
            let result = match round {
                0 => f.truncate(10_000),
                1 => f.fallocate(3, bs * 4, bs * 4),
                2 => f.fallocate(0, 200_000, 100_000),
                3 => f.pwrite(&[1; 5000], 400_000).and_then(|()| f.fsync()),
                4 => direct.pwrite(&sys::Aligned::of(&[2; 8192]), 1 << 20),
                _ => f.truncate(3 << 20),
            };
            failed = result.is_err();
            if failed {
                errno!(result, EIO);
            }
            if matches!(round, 0 | 2 | 5) {
                same!(f.size()?, 100_000, "the size");
            }
            // Commits what there is.
            sys::sync();
            Ok(())
        })?;
        ensure!(failed, "round {round} did not need the table block");
        let alive = sys::create(&t.p("alive"));
        ensure!(alive.is_ok(), "round {round}: {:?}", alive.err());
        drop((alive, f, direct, bench));
        crash::cut(t, &dm)?;
        crash::lights_on(t, &dm)?;
        t.mount("")?;
        t.umount()?;
        if let Err(why) = t.fsck() {
            fail!("round {round}: {why:?}");
        }
    }
    Ok(())
}

/// A write that failed before is reported by a truncate that makes the file grow. Then it has not
/// grown, on the disk neither.
fn grow_reported(t: &mut T) -> Res {
    const SIZE: u64 = 5000;
    let dm = device(t)?;
    type Grow = fn(&Fd) -> sys::Sys<()>;
    let ways: [(&str, Grow); 2] = [
        ("truncate", |f| f.truncate(1 << 20)),
        ("fallocate", |f| f.fallocate(0, 0, 1 << 20)),
    ];
    for (what, grow) in ways {
        t.fresh()?;
        let f = put(&t.p("f"), 1, SIZE as usize)?;
        f.fsync()?;
        dm.swap(&with_hole(t, data_at(t, "f")?, t.bs()))?;
        f.pwrite(&[7; 100], 0)?;
        // Leaves the error to be told.
        sys::sync();
        dm.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
        errno!(grow(&f), EIO);
        same!(f.size()?, SIZE, "{what}: in memory");
        drop(f);
        t.umount()?;
        t.mount("")?;
        let size = sys::rdonly(&t.p("f"))?.size()?;
        same!(size, SIZE, "{what}: on disk");
        t.umount()?;
        whole(t)?;
    }
    Ok(())
}

/// The block of the tree in the middle of its leaves.
pub fn middle_leaf(t: &T, path: &str) -> Res<u64> {
    let leaves = leaves(t, path)?;
    Ok(leaves[leaves.len() / 2].1)
}

/// The leaves of a tree, of more than four: the first block of the file that each maps, and where
/// it is itself.
pub fn leaves(t: &T, path: &str) -> Res<Vec<(u64, u64)>> {
    let (_, text) = run_cmd("debugfs", &["-R", &format!("ex -n {path}"), &t.dev])?;
    let mut leaves = Vec::new();
    for line in text.lines().skip(1) {
        // "level/depth entry/entries first - last block length", and a leaf is below the deepest.
        let numbers: Vec<u64> = line
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect();
        if let [level, depth, _, _, first, _, block, ..] = numbers[..] {
            leaves.extend((level + 1 == depth).then_some((first, block)));
        }
    }
    ensure!(leaves.len() > 4, "few leaves: {text}");
    Ok(leaves)
}

/// A truncate cannot read the tree to its end: blocks with data stay behind the end. Nothing of it
/// is seen when the file grows again.
fn truncate_half(t: &mut T) -> Res {
    let dm = device(t)?;
    t.fresh()?;
    let bs = t.var.bs;
    let n = (bs - 16) / 12 * 6;
    let f = sys::create(&t.p("f"))?;
    for i in 0..n {
        let at = (i * 2 * bs) as u64;
        f.pwrite(&pattern(1, at, bs), at)?;
    }
    f.fsync()?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.freeze(true)?;
    root.freeze(false)?;
    let leaf = middle_leaf(t, "/f")?;
    t.drop_caches()?;
    dm.swap(&with_hole(t, leaf * t.bs(), t.bs()))?;
    let cut = f.truncate(bs as u64);
    dm.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    errno!(cut, EIO);
    same!(f.size()?, bs as u64, "the size");
    let end = n * 2 * bs;
    f.pwrite(&[7; 100], end as u64)?;
    let mut want = pattern(1, 0, bs);
    want.resize(end, 0);
    want.extend([7; 100]);
    holds(&f, 0, &want, "in memory")?;
    drop((f, root));
    t.umount()?;
    t.mount("")?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "on disk")?;
    t.umount()?;
    whole(t)
}

/// A deleted file whose bitmap cannot be read stays on the list of orphans: it is not lost.
fn bitmap_of_deleted(t: &mut T) -> Res {
    let dm = device(t)?;
    let bench = Bench::new(t, &dm)?;
    put(&t.p("victim"), 1, 50_000)?.fsync()?;
    let ino = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(t.p("victim"))?);
    let (_, imap) = run_cmd("debugfs", &["-R", &format!("imap <{ino}>"), &t.dev])?;
    let group = number_after(&imap, "block group ")?;
    let at = number_after(&groups(t)?[group as usize], "Inode bitmap at ")? * t.bs();
    bench.without(t, at, || Ok(sys::unlink(&t.p("victim"))?))?;
    ensure!(!sys::exists(&t.p("victim")), "the name is there");
    drop(bench);
    t.umount()?;
    let (_, text) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    same!(
        number_after(&text, "First orphan inode:       ")?,
        ino,
        "first orphan"
    );
    // With errors noted it is e2fsck that frees orphans.
    run_cmd("e2fsck", &["-fy", &t.dev])?;
    let (_, text) = run_cmd("debugfs", &["-R", &format!("testi <{ino}>"), &t.dev])?;
    ensure!(text.contains("not in use"), "{text}");
    whole(t)
}

/// An attribute block that cannot be read stays what it is. One whose bitmap cannot be read may be
/// lost when it is given up, until e2fsck finds it: no more, whatever the call says.
fn attributes(t: &mut T) -> Res {
    const BIG: [u8; 600] = [5; 600];
    let dm = device(t)?;
    let bench = Bench::new(t, &dm)?;
    let file = t.p("d/a");
    xattr::set(&file, "user.big", &BIG, 0)?;
    sys::sync();
    let block = attribute_block(t, "/d/a")?;
    bench.without(t, block * t.bs(), || {
        errno!(xattr::get(&file, "user.big"), EIO);
        errno!(xattr::set(&file, "user.more", &[6; 500], 0), EIO);
        errno!(xattr::set(&file, "user.big", &[6; 500], 0), EIO);
        errno!(xattr::remove(&file, "user.big"), EIO);
        Ok(())
    })?;
    same!(xattr::list(&file)?, ["user.big"], "the names");
    same!(xattr::get(&file, "user.big")?, BIG, "the value");
    let (_, told) = group_of(t, block)?;
    let bitmap = number_after(&told, "Block bitmap at ")? * t.bs();
    let mut gone = false;
    bench.without(t, bitmap, || {
        let removed = xattr::remove(&file, "user.big");
        gone = removed.is_ok();
        if !gone {
            errno!(removed, EIO);
        }
        Ok(())
    })?;
    ensure!(
        sys::create(&t.p("alive")).is_ok(),
        "nothing is written any more"
    );
    let want: &[&str] = if gone { &[] } else { &["user.big"] };
    same!(xattr::list(&file)?, want, "names after that");
    drop(bench);
    t.umount()?;
    let found = only_free_blocks(t)?;
    let lost = found.contains("differences");
    ensure!(!lost || found.contains(&format!("-{block}")), "{found}");
    ensure!(!lost || gone, "lost, and the file has it: {found}");
    t.mount("")?;
    same!(xattr::list(&file)?, want, "names in the end");
    t.file_holds("d/a", &pattern(1, 0, 100_000), "the file")?;
    t.umount()
}

/// A commit that failed when nobody waited for it: who syncs after it is told, and nobody is told
/// that all is well.
fn sync_after_commit(t: &mut T) -> Res {
    let d = device(t)?;
    t.mkfs(64, &[])?;
    t.mount("commit=5")?;
    let root = sys::open(&t.p(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    root.syncfs()?;
    let before = transactions(t)?;
    sys::mkdir(&t.p("lost"), 0o755)?;
    d.swap(&[error_all()])?;
    // All of the commit is over: as long as it runs, jbd2 answers for it.
    let over = wait::until(|| Ok(transactions(t)? > before))?;
    ensure!(over, "no commit has come by itself");
    d.swap(&[dm::linear(&t.disks[0], 0, MB)])?;
    ensure!(root.syncfs().is_err(), "synced, and nothing was");
    drop(root);
    t.umount()?;
    t.mount("")?;
    ensure!(!sys::exists(&t.p("lost")), "it was not lost after all");
    t.broken = true;
    whole(t)
}
