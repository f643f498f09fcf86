// SPDX-License-Identifier: GPL-2.0
//! Power cuts with much in flight, and journals read by others.

use crate::cases::power::crash::{crash, cut, lights_on, on_dm, start};
use crate::cases::power::orphans_read_only::set_read_only;
use crate::dm::Dm;
use crate::fixture::{holds, knows_fs, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, BOTH_MAPS, FEATS, K1, ORPHAN};
use crate::sys::{self, Aligned};
use crate::{ensure, errno, same, skip};
use std::sync::atomic::{AtomicBool, Ordering};

pub const CASES: &[Case] = &[
    Case::new("crash/unsynced_is_own_or_zero", BOTH_MAPS, no_foreign).quick(),
    Case::new("crash/old_end_is_zero", BOTH_MAPS, old_end).quick(),
    Case::new("crash/freed_blocks_wait", BOTH_MAPS, freed_blocks),
    Case::new("crash/revoked_metadata", BOTH_MAPS, revoked),
    Case::new("crash/under_load", &[K1, ORPHAN], under_load)
        .secs(120)
        .quick(),
    Case::new("crash/e2fsck_replays", ALL, e2fsck_replays),
    Case::new("crash/journal_by_other", FEATS, by_other).quick(),
    Case::new("crash/readonly_mount", ALL, readonly_mount),
    Case::new("crash/readonly_device", ALL, readonly_device),
];

/// Bytes on the disk before mke2fs; no file may ever show them.
const POISON: u8 = 0xD5;

fn poison(t: &mut T) -> Res {
    t.end_of_image()?;
    let f = t.raw()?;
    let b = vec![POISON; 1 << 20];
    for i in 0..32 {
        f.pwrite(&b, i << 20)?;
    }
    f.fsync()?;
    Ok(())
}

/// Only the file's own bytes and zeros are in it.
fn own_or_zero(path: &str, seeds: &[u64]) -> Res {
    let f = sys::rdonly(path)?;
    let n = f.size()? as usize;
    let mut got = vec![0; n];
    f.pread(&mut got, 0)?;
    let pats: Vec<Vec<u8>> = seeds.iter().map(|s| pattern(*s, 0, n)).collect();
    let bad = (0..n).find(|i| got[*i] != 0 && !pats.iter().any(|p| p[*i] == got[*i]));
    if let Some(i) = bad {
        let run: Vec<String> = got[i..(i + 8).min(n)]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        crate::fail!(
            "{path} (size {n}) has foreign bytes at {i}: {}",
            run.join("")
        );
    }
    Ok(())
}

fn all_own_or_zero(t: &T) -> Res {
    for n in crate::fixture::names(&t.p(""))? {
        if let Some(Ok(i)) = n.strip_prefix(['f', 'd']).map(str::parse) {
            own_or_zero(&t.p(&n), &[i])?;
        }
    }
    Ok(())
}

/// Appends, rewrites and preallocation in flight at the cut.
fn no_foreign(t: &mut T) -> Res {
    let d = on_dm(t)?;
    for round in 0..3u64 {
        poison(t)?;
        t.fresh_mb(32)?;
        // What every file has, and how many of them were synced all together.
        let (mut files, mut synced, mut alone) = (Vec::new(), 0, 0);
        for i in 0..40u64 {
            let mut want = pattern(i, 0, 10_000 + i as usize * 3331);
            let f = put(&t.p(&format!("f{i}")), i, want.len())?;
            match i % 4 {
                0 => f.sync_range(0, 0)?,
                1 => {
                    f.truncate(5000 + i)?;
                    want.truncate(5000 + i as usize);
                }
                2 if t.extents() => {
                    f.fallocate(0, 0, 200_000)?;
                    want.resize(200_000, 0);
                }
                _ => {}
            }
            files.push((format!("f{i}"), want));
            if i == 20 * (round % 2) {
                f.fsync()?;
                alone = files.len() - 1;
            }
            if i % 5 == 0 {
                let g = sys::direct(&t.p(&format!("d{i}")))?;
                g.pwrite(&Aligned::of(&pattern(i, 0, 20_480)), 0)?;
                files.push((format!("d{i}"), pattern(i, 0, 20_480)));
            }
            if i % 7 == round {
                sys::sync();
                synced = files.len();
            }
        }
        if round == 2 {
            // Let a periodic commit happen without the data.
            put(&t.p("other"), 7, 1)?.fsync()?;
        }
        crash(t, &d)?;
        for (i, (name, want)) in files.iter().enumerate() {
            if i == alone || i < synced {
                let f = sys::rdonly(&t.p(name))?;
                same!(f.size()?, want.len() as u64, "size of {name}, synced");
                holds(&f, 0, want, "synced")?;
            }
        }
        all_own_or_zero(t)?;
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// A file is cut and grows again. Of the new data a later block reaches the disk, and the size with
/// it. What was cut off must not be there again.
fn old_end(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh_mb(32)?;
    let page = 4096u64;
    // Where the write begins, behind the new end of 100: at the end, in the block, in another.
    let list = [("append", 100), ("gap", 200), ("beyond", 2 * page)];
    let mut grown = Vec::new();
    for direct in [false, true] {
        for (name, _) in list {
            put(&t.p(name), 1, 3 * page as usize)?.fsync()?;
        }
        sys::sync();
        for (name, at) in list {
            let f = sys::rdwr(&t.p(name))?;
            f.truncate(100)?;
            let n = 3 * page - at;
            if direct && at % page == 0 {
                let g = sys::direct(&t.p(name))?;
                g.pwrite(&Aligned::of(&pattern(2, at, n as usize)), at)?;
            } else {
                f.pwrite(&pattern(2, at, n as usize), at)?;
                f.sync_range(2 * page, page)?;
            }
        }
        // Commits the sizes, writes none of their data.
        put(&t.p("other"), 7, 1)?.fsync()?;
        crash(t, &d)?;
        for (name, at) in list {
            let f = sys::rdonly(&t.p(name))?;
            let what = format!("{name}, direct {direct}");
            if f.size()? <= 100 {
                continue;
            }
            same!(f.size()?, 3 * page, "{what}: size");
            grown.push(what.clone());
            holds(&f, 0, &pattern(1, 0, 100), &what)?;
            let mut got = vec![0; page as usize - 100];
            f.pread(&mut got, 100)?;
            // Of the new data any page may have been written, by whoever.
            let new = pattern(2, 100, got.len());
            let old = (0..got.len())
                .find(|&i| got[i] != 0 && ((100 + i as u64) < at || got[i] != new[i]));
            let byte = old.map(|i| (100 + i, got[i], new[i]));
            same!(
                byte,
                None,
                "{what}: a byte from before the cut (where, it, new)"
            );
        }
        t.umount()?;
        t.fsck()?;
        t.mount("")?;
    }
    let beyond = |what: &String| what == "beyond, direct true";
    ensure!(
        grown.iter().any(beyond) && !grown.iter().all(beyond),
        "new sizes on the disk, of written and of direct data: {grown:?}"
    );
    Ok(())
}

/// Blocks freed by a transaction that did not commit still belong to the old file.
fn freed_blocks(t: &mut T) -> Res {
    let d = on_dm(t)?;
    // No commit comes by itself.
    t.opts = "commit=3000";
    t.fresh_mb(32)?;
    let mut back = 0;
    for round in 0..4u64 {
        let n = 10 << 20;
        put(&t.p("old"), 1, n)?.fsync()?;
        sys::sync();
        sys::unlink(&t.p("old"))?;
        // Most of the rest of the disk: reuses what was just freed, if it is given out.
        let g = put(&t.p("new"), 2, 13 << 20)?;
        g.sync_range(0, 0)?;
        if round % 2 == 1 {
            std::thread::sleep(std::time::Duration::from_millis(30 * round));
        }
        drop(g);
        crash(t, &d)?;
        if sys::exists(&t.p("old")) {
            holds(
                &sys::rdonly(&t.p("old"))?,
                0,
                &pattern(1, 0, n),
                "removal did not commit",
            )?;
            back += 1;
            sys::unlink(&t.p("old"))?;
        }
        if sys::exists(&t.p("new")) {
            own_or_zero(&t.p("new"), &[2])?;
            sys::unlink(&t.p("new"))?;
        }
    }
    ensure!(back > 0, "every removal did commit");
    Ok(())
}

/// A directory block freed and reused for data: replay must not write the old block over it.
fn revoked(t: &mut T) -> Res {
    let d = on_dm(t)?;
    t.fresh_mb(24)?;
    for round in 0..2u64 {
        for i in 0..20 {
            sys::mkdir(&t.p(&format!("d{i}")), 0o755)?;
            for j in 0..30 {
                put(&t.p(&format!("d{i}/{}{j}", "n".repeat(100))), 1, 1)?;
            }
        }
        // Extent tree blocks too.
        let s = sys::create(&t.p("sparse"))?;
        for i in 0..600 {
            s.pwrite(b"x", i * 2 * t.bs())?;
        }
        s.fsync()?;
        s.truncate(0)?;
        for i in 0..20 {
            std::fs::remove_dir_all(t.p(&format!("d{i}")))?;
        }
        s.fsync()?;
        // Fills most of the image, over the freed metadata, and is synced.
        let n = 12 << 20;
        let f = put(&t.p("f"), round, n)?;
        f.fsync()?;
        drop((f, s));
        crash(t, &d)?;
        holds(
            &sys::rdonly(&t.p("f"))?,
            0,
            &pattern(round, 0, n),
            "over freed metadata",
        )?;
        t.umount()?;
        t.fsck()?;
        t.mount("")?;
        sys::unlink(&t.p("f"))?;
    }
    Ok(())
}

/// Path, seed and length of a file that was synced before the cut.
type Synced = (String, u64, usize);

/// What the threads of `under_load` are told.
#[derive(Default)]
struct Lights {
    /// The cut is coming: what is synced from now on may be lost.
    dark: AtomicBool,
    stop: AtomicBool,
}

/// Threads at work, a cut at any moment: consistent after replay, nothing synced is lost.
fn under_load(t: &mut T) -> Res {
    let d = on_dm(t)?;
    for round in 0..4u64 {
        t.fresh()?;
        let synced = work_until_cut(t, &d, round)?;
        lights_on(t, &d)?;
        t.mount("")?;
        for (name, seed, n) in &synced {
            let f = sys::rdonly(name)?;
            same!(f.size()?, *n as u64, "size of synced {name}");
            holds(&f, 0, &pattern(*seed, 0, *n), "synced")?;
        }
        t.umount()?;
        t.fsck()?;
    }
    Ok(())
}

/// Three threads work, each round a little longer, until nothing reaches the disk any more.
fn work_until_cut(t: &T, d: &Dm, round: u64) -> Res<Vec<Synced>> {
    let lights = Lights::default();
    std::thread::scope(|s| -> Res<Vec<Synced>> {
        let workers: Vec<_> = (0..3u64)
            .map(|k| {
                let (dir, seed, lights) = (t.p(&format!("t{k}")), round * 10 + k, &lights);
                s.spawn(move || work(&dir, seed, lights))
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(250 + 130 * round));
        lights.dark.store(true, Ordering::SeqCst);
        let c = cut(t, d);
        lights.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for w in workers {
            all.extend(w.join().map_err(|_| Stop::Fail("thread panic".into()))??);
        }
        c?;
        Ok(all)
    })
}

/// Makes files in a directory of its own, and with each a thing at random. Returns which it synced.
fn work(dir: &str, seed: u64, lights: &Lights) -> Res<Vec<Synced>> {
    let mut r = fastrand::Rng::with_seed(seed);
    let mut done = Vec::new();
    let mut i = 0u64;
    sys::mkdir(dir, 0o755)?;
    while !lights.stop.load(Ordering::Relaxed) && i < 600 {
        i += 1;
        let name = format!("{dir}/{i}");
        let n = r.usize(1..60_000);
        let f = put(&name, i, n)?;
        match r.u32(..6) {
            0 => {
                f.fsync()?;
                // Counts only if the lights were on when it returned.
                if !lights.dark.load(Ordering::SeqCst) {
                    done.push((name, i, n));
                }
            }
            1 => sys::rename(&name, &format!("{dir}/r{}", i % 10))?,
            2 => sys::unlink(&name)?,
            3 => f.truncate(r.u64(..80_000))?,
            4 => f.punch(r.u64(..30_000), 20_000)?,
            _ => {
                sys::mkdir(&format!("{dir}/d{i}"), 0o755)?;
                put(&format!("{dir}/d{i}/x"), 1, 10)?;
            }
        }
    }
    Ok(done)
}

/// e2fsck can replay the journal we leave.
fn e2fsck_replays(t: &mut T) -> Res {
    let d = start(t)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    for i in 0..50 {
        put(&t.p(&format!("d/{i}")), i, 5000)?.fsync()?;
    }
    let o = put(&t.p("orphan"), 1, 50_000)?;
    o.fsync()?;
    sys::unlink(&t.p("orphan"))?;
    put(&t.p("last"), 77, 100)?.fsync()?;
    cut(t, &d)?;
    drop(o);
    lights_on(t, &d)?;
    let (code, text) = crate::fixture::run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    ensure!(
        text.contains("recovering journal"),
        "the journal was empty: {text}"
    );
    t.fsck()?;
    t.mount("")?;
    for i in 0..50 {
        holds(
            &sys::rdonly(&t.p(&format!("d/{i}")))?,
            0,
            &pattern(i, 0, 5000),
            "after e2fsck",
        )?;
    }
    holds(
        &sys::rdonly(&t.p("last"))?,
        0,
        &pattern(77, 0, 100),
        "after e2fsck",
    )?;
    Ok(())
}

/// A journal left by the kernel's ext4 is replayed here, and ours there.
fn by_other(t: &mut T) -> Res {
    if !knows_fs("ext4") {
        skip!("the kernel has no ext4 to leave a journal");
    }
    let d = on_dm(t)?;
    let ours = t.fs.clone();
    for (writer, reader) in [("ext4", ours.as_str()), (ours.as_str(), "ext4")] {
        t.mkfs(64, &[])?;
        t.fs = writer.to_string();
        t.mount("")?;
        for i in 0..60u64 {
            put(&t.p(&format!("f{i}")), i, 3000 + i as usize * 100)?;
        }
        let o = put(&t.p("orphan"), 1, 500_000)?;
        sys::sync();
        sys::unlink(&t.p("orphan"))?;
        let part = put(&t.p("last"), 5, 400_000)?;
        part.fsync()?;
        let free = sys::statfs(&t.p(""))?.f_ffree;
        cut(t, &d)?;
        drop((o, part));
        lights_on(t, &d)?;
        t.fs = reader.to_string();
        t.mount("")?;
        for i in 0..60u64 {
            let f = sys::rdonly(&t.p(&format!("f{i}")))?;
            holds(
                &f,
                0,
                &pattern(i, 0, 3000 + i as usize * 100),
                &format!("{writer}, read by {reader}"),
            )?;
        }
        holds(
            &sys::rdonly(&t.p("last"))?,
            0,
            &pattern(5, 0, 400_000),
            "the last file",
        )?;
        same!(
            sys::statfs(&t.p(""))?.f_ffree,
            free + 1,
            "free inodes: the orphan of {writer} by {reader}"
        );
        t.umount()?;
        t.fsck()?;
    }
    t.fs = ours;
    Ok(())
}

/// A read-only mount replays the journal too (the device is writable), as ext4 does.
fn readonly_mount(t: &mut T) -> Res {
    let d = start(t)?;
    put(&t.p("f"), 1, 5000)?.fsync()?;
    cut(t, &d)?;
    lights_on(t, &d)?;
    t.try_mount(libc::MS_RDONLY, "")?;
    holds(
        &sys::rdonly(&t.p("f"))?,
        0,
        &pattern(1, 0, 5000),
        "read-only mount after a crash",
    )?;
    errno!(sys::create(&t.p("g")), EROFS);
    t.umount()?;
    t.mount("")?;
    put(&t.p("g"), 1, 10)?;
    Ok(())
}

/// A device that cannot be written refuses a mount that needs replay, and takes no write.
fn readonly_device(t: &mut T) -> Res {
    let d = start(t)?;
    put(&t.p("f"), 1, 5000)?.fsync()?;
    cut(t, &d)?;
    lights_on(t, &d)?;
    let before = t.image(64)?;
    set_read_only(&t.dev, true)?;
    let a = t.try_mount(0, "");
    let b = t.try_mount(libc::MS_RDONLY, "");
    set_read_only(&t.dev, false)?;
    errno!(a, EACCES | EROFS);
    errno!(b, EROFS | EACCES);
    t.unchanged(&before, "a read-only device")?;
    t.mount("")?;
    t.umount()?;
    set_read_only(&t.dev, true)?;
    let r = t.try_mount(libc::MS_RDONLY, "");
    if r.is_ok() {
        holds(
            &sys::rdonly(&t.p("f"))?,
            0,
            &pattern(1, 0, 5000),
            "clean image on a read-only device",
        )?;
        errno!(t.remount(0, ""), EROFS | EACCES);
        t.umount()?;
    }
    set_read_only(&t.dev, false)?;
    r?;
    Ok(())
}
