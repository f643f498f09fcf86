// SPDX-License-Identifier: GPL-2.0
//! FS_IOC_GETFSMAP, compared with the kernel's ext4 on the same image, record by record.

use crate::fixture::{knows_fs, put, MNT, T};
use crate::fsmap::{all, Answer, Call, Record, FREE, HIGH, LAST, LOW, ROOM, UNKNOWN};
use crate::harness::{Case, Res, Stop, Variant, ALL, FEATS, K1, K4, ONE};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, errno, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("fsmap/same", IMAGES, same_as_ext4)
        .quick()
        .secs(120),
    Case::new("fsmap/whole", FEATS, whole).quick(),
    Case::new("fsmap/changes", ALL, changes),
    Case::new("fsmap/batches", ALL, batches),
    Case::new("fsmap/devices", ONE, devices),
    Case::new("fsmap/refused", ONE, refused),
    Case::new("fsmap/no_memory", ONE, no_memory),
    Case::new("fsmap/anybody", ONE, anybody),
    Case::new("fsmap/bad_bitmap", ONE, bad_bitmap),
];

/// With the metadata of each group in it, and with that of several side by side.
const IMAGES: &[Variant] = &[
    K1,
    Variant {
        name: "2k",
        bs: 2048,
        feats: "",
    },
    K4,
    Variant {
        name: "apart1k",
        feats: "^flex_bg",
        ..K1
    },
    Variant {
        name: "few_copies",
        feats: "sparse_super2,^resize_inode",
        ..K1
    },
    Variant {
        name: "uninit",
        feats: "uninit_bg,^metadata_csum",
        ..K1
    },
];

fn root() -> Sys<Fd> {
    sys::open(MNT, libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

fn key(physical: u64, length: u64) -> Record {
    Record {
        physical,
        length,
        ..LOW
    }
}

fn up_to(physical: u64) -> Record {
    Record { physical, ..HIGH }
}

/// Files with holes between them and in them, some of them gone again.
fn fill(t: &T) -> Res {
    for i in 0..60 {
        put(&t.p(&format!("f{i}")), i, 30_000 + 7_000 * i as usize)?.fsync()?;
    }
    for i in (0..60).step_by(3) {
        sys::unlink(&t.p(&format!("f{i}")))?;
    }
    let f = sys::rdwr(&t.p("f1"))?;
    f.punch(8192, 8192)?;
    // Across groups.
    let big = sys::create(&t.p("big"))?;
    big.fallocate(0, 0, 40 << 20)?;
    for at in (0..40u64).step_by(5) {
        big.punch(at << 20, 1 << 20)?;
    }
    Ok(())
}

/// A mount of the image that changes nothing, and what it answers to each question.
fn ask(t: &mut T, fs: &str, calls: &[Call]) -> Res<Vec<Answer>> {
    let dev = t.dev.clone();
    t.mount_as(&dev, MNT, fs, libc::MS_RDONLY, "")?;
    let root = root()?;
    let answers = calls.iter().map(|call| call.make(&root)).collect();
    drop(root);
    t.umount()?;
    Ok::<Sys<Vec<_>>, Stop>(answers)?.map_err(Stop::from)
}

/// Where a group begins with blocks in use, ext4 forgets what is unknown before it: all of it, or
/// what lies in the group before. Whether that is the only difference.
fn lost(t: &T, ours: &[Record], theirs: &[Record]) -> bool {
    let group = 8 * t.bs() * t.bs();
    let first = if t.bs() == 1024 { 1024 } else { 0 };
    let mut rest = theirs;
    for r in ours {
        rest = match rest {
            [same, more @ ..] if same == r => more,
            [cut, more @ ..]
                if r.owner == UNKNOWN
                    && (cut.owner, cut.end(), cut.flags) == (UNKNOWN, r.end(), r.flags)
                    && cut.physical > r.physical
                    && (cut.physical - first) % group == 0 =>
            {
                more
            }
            _ if r.owner == UNKNOWN => rest,
            _ => return false,
        };
    }
    rest.is_empty()
}

/// Between each boundary and others: all records, so many, and their number.
fn questions(list: &[Record], bs: u64) -> Vec<[Call; 3]> {
    let end = 300 << 20;
    let mut places = vec![
        0,
        1,
        bs - 1,
        bs,
        2 * bs,
        end - bs,
        end - 1,
        end,
        end + bs,
        u64::MAX,
    ];
    for r in list {
        places.extend([r.physical, r.physical + bs, r.end() - 1, r.end() - bs]);
    }
    places.sort_unstable();
    places.dedup();
    let mut keys = vec![(LOW, HIGH)];
    for (i, &at) in places.iter().enumerate() {
        let to = places[(i + 7).min(places.len() - 1)];
        if i % 8 == 0 {
            keys.push((key(at, 0), HIGH));
            keys.push((LOW, up_to(at)));
        }
        keys.push((key(at, 3 * bs), up_to(to)));
        keys.push((key(at, 0), up_to(to)));
        keys.push((key(at, 0), up_to(at)));
    }
    keys.retain(|(low, high)| {
        low.physical
            .checked_add(low.length)
            .is_some_and(|at| at <= high.physical)
    });
    let call = |(low, high)| [ROOM as u32, 3, 0].map(|count| Call::between(low, high, count));
    keys.into_iter().map(call).collect()
}

/// Both file systems answer alike, asked for all and from and to each boundary.
fn same_as_ext4(t: &mut T) -> Res {
    if !knows_fs("ext4") {
        skip!("no ext4 to compare with");
    }
    t.mkfs(300, &[])?;
    t.mount("")?;
    fill(t)?;
    t.umount()?;
    let ours = t.fs.clone();
    let whole = Call::between(LOW, HIGH, ROOM as u32);
    let list = ask(t, &ours, &[whole])?.remove(0).records;
    ensure!(list.len() > 60, "only {} records", list.len());
    let calls = questions(&list, t.bs()).concat();
    let (mine, theirs) = (ask(t, &ours, &calls)?, ask(t, "ext4", &calls)?);
    let (mut alike, mut cut) = (0, 0);
    for ((call, mine), theirs) in calls.chunks(3).zip(mine.chunks(3)).zip(theirs.chunks(3)) {
        let [all, some, counted] = mine else { continue };
        let first = all.records.iter().zip(&some.records);
        let first = first
            .filter(|(a, b)| {
                Record {
                    flags: b.flags,
                    ..**a
                } == **b
            })
            .count();
        same!(first, all.records.len().min(3), "in part, {:?}", call[0]);
        same!(counted.entries as usize, all.records.len(), "{:?}", call[0]);
        if mine == theirs {
            alike += 1;
        } else {
            let known = lost(t, &all.records, &theirs[0].records);
            ensure!(known, "{:?}: {all:?}, ext4: {:?}", call[0], theirs[0]);
            cut += 1;
        }
    }
    println!("{alike} answers alike, {cut} where ext4 leaves something out");
    // Where groups begin with their own metadata it does not.
    let exact = ["4k", "apart1k"].contains(&t.var.name);
    ensure!(
        alike > 100 && (cut == 0 || !exact),
        "{alike} alike, {cut} not"
    );
    Ok(())
}

/// One record after the other, from the first byte to the last; as many free blocks as statfs says.
fn whole(t: &mut T) -> Res {
    t.fresh_mb(300)?;
    fill(t)?;
    sys::sync();
    let root = root()?;
    let list = all(&root, LOW, HIGH, ROOM as u32)?;
    let mut at = 0;
    for r in &list {
        // See `lost`.
        let cut = !t.ours() && r.physical > at;
        ensure!(cut || r.physical == at, "{r:?} begins behind {at}");
        ensure!(
            r.length > 0 && r.offset == 0 && r.reserved == [0; 3],
            "{r:?}"
        );
        same!(r.flags & !LAST, 0x10, "flags of {r:?}");
        at = r.end();
    }
    same!(at, 300 << 20, "the end");
    let lasts = list.iter().filter(|r| r.flags & LAST != 0).count();
    same!(
        (lasts, list.last().map(|r| r.flags & LAST)),
        (1, Some(LAST)),
        "the mark"
    );
    if t.ours() {
        let free: u64 = list
            .iter()
            .filter(|r| r.owner == FREE)
            .map(|r| r.length)
            .sum();
        same!(free, sys::statfs(MNT)?.f_bfree * t.bs(), "free bytes");
    }
    let kinds: std::collections::BTreeSet<u64> = list.iter().map(|r| r.owner).collect();
    let letter = |c: u8, n: u64| (c as u64) << 32 | n;
    for (kind, what) in [
        (letter(b'X', 1), "super blocks"),
        (letter(b'f', 1), "descriptors"),
        (letter(b'f', 2), "reserved descriptors"),
        (letter(b'f', 3), "block bitmaps"),
        (letter(b'f', 4), "inode bitmaps"),
        (letter(b'X', 5), "inode tables"),
        (UNKNOWN, "others"),
    ] {
        ensure!(kinds.contains(&kind), "no {what}: {kinds:?}");
    }
    same!(kinds.len(), 8, "owners");
    Ok(())
}

/// What is written is not free any more, and what is removed is, once that is on the disk.
fn changes(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.mount("commit=3000")?;
    let free = |f: &Fd| -> Res<u64> {
        let list = all(f, LOW, HIGH, 64)?;
        let free = list.iter().filter(|r| r.owner == FREE);
        Ok(free.map(|r| r.length).sum())
    };
    let root = root()?;
    let before = free(&root)?;
    let f = put(&t.p("f"), 1, 4 << 20)?;
    same!(free(&root)?, before, "not yet allocated");
    f.fsync()?;
    same!(free(&root)?, before - (4 << 20), "allocated");
    sys::sync();
    sys::unlink(&t.p("f"))?;
    drop(f);
    same!(
        free(&root)?,
        before - (4 << 20),
        "removed, but not on the disk"
    );
    sys::sync();
    // The callback of the commit may come after it.
    wait::until(|| Ok(free(&root)? == before))?;
    same!(free(&root)?, before, "removed");
    Ok(())
}

/// The answer does not depend on how much a program has room for; none: it is counted.
fn batches(t: &mut T) -> Res {
    t.fresh()?;
    fill_some(t)?;
    sys::sync();
    let root = root()?;
    let list = all(&root, LOW, HIGH, ROOM as u32)?;
    let n = list.len() as u32;
    ensure!(n > 20, "only {n} records");
    for batch in [1, 2, 3, 7, n - 1, n, n + 1] {
        let found = all(&root, LOW, HIGH, batch)?;
        ensure!(found == list, "in calls of {batch}: {found:?}");
        let answer = Call::between(LOW, HIGH, batch).make(&root)?;
        same!(answer.entries, batch.min(n), "entries of {batch}");
        let last = answer.records.last().map(|r| r.flags & LAST != 0);
        same!(last, Some(batch >= n), "the mark with {batch}");
    }
    let counted = Call::between(LOW, HIGH, 0).make(&root)?;
    same!((counted.entries, counted.oflags), (n, 1), "counted");
    // After the last one there is nothing.
    let end = *list.last().unwrap_or(&LOW);
    let answer = Call::between(end, HIGH, 5).make(&root)?;
    same!((answer.entries, answer.oflags), (0, 1), "after the last");
    Ok(())
}

fn fill_some(t: &T) -> Res {
    for i in 0..20 {
        put(&t.p(&format!("f{i}")), i, 30_000)?.fsync()?;
    }
    for i in (0..20).step_by(2) {
        sys::unlink(&t.p(&format!("f{i}")))?;
    }
    Ok(())
}

/// Keys of the device, of any, and of another one.
fn devices(t: &mut T) -> Res {
    t.fresh()?;
    fill_some(t)?;
    sys::sync();
    let root = root()?;
    let list = all(&root, LOW, HIGH, ROOM as u32)?;
    let dev = list[0].device;
    same!(dev, stat_dev(t)?, "the device");
    let on = |device: u32, key: Record| Record { device, ..key };
    let ask = |low, high| -> Sys<u32> { Ok(Call::between(low, high, 0).make(&root)?.entries) };
    let n = list.len() as u32;
    let (from, to) = (key(8 << 20, 0), up_to(8 << 20));
    let tail = ask(on(dev, from), HIGH)?;
    let head = ask(LOW, on(dev, to))?;
    ensure!(
        tail < n && head < n && tail + head >= n,
        "{head} and {tail} of {n}"
    );
    same!(
        ask(on(dev, LOW), on(dev, HIGH))?,
        n,
        "the device's own keys"
    );
    // A place on another device is none on this one.
    same!(ask(LOW, on(u32::MAX, to))?, n, "a place behind the device");
    same!(ask(on(u32::MAX, LOW), HIGH)?, 0, "behind the device");
    same!(ask(LOW, on(0, to))?, 0, "before the device");
    for other in [dev + 1, dev - 1, 1] {
        errno!(ask(on(other, LOW), HIGH), EINVAL);
        errno!(ask(LOW, on(other, HIGH)), EINVAL);
    }
    errno!(ask(on(u32::MAX, LOW), on(dev, HIGH)), EINVAL);
    Ok(())
}

/// Keys out of order, and what must be zero.
fn refused(t: &mut T) -> Res {
    t.fresh()?;
    let root = root()?;
    let ask = |low, high| Call::between(low, high, 1).make(&root);
    let high = |physical, owner| Record {
        owner,
        device: 0,
        ..up_to(physical)
    };
    let at = 1 << 20;
    errno!(ask(key(at, 0), high(at - 4096, 9)), EINVAL);
    errno!(ask(key(at, 0), high(at, 0)), EINVAL);
    same!(
        ask(key(at, 0), high(at, 1))?.entries,
        0,
        "before the device"
    );
    errno!(ask(key(at, 4096), high(at, u64::MAX)), EINVAL);
    // The owner of the lower key says nothing.
    let low = Record {
        owner: u64::MAX,
        ..key(at, 0)
    };
    same!(ask(low, high(at, 1))?.entries, 0, "with an owner");
    let call = Call::between(LOW, HIGH, 1);
    for (i, keep) in [(0, [1, 0, 0]), (0, [0, 0, 1]), (1, [0, 1, 0])] {
        let mut bad = call.clone();
        bad.keys[i].reserved = keep;
        errno!(bad.make(&root), EINVAL);
    }
    errno!(
        Call {
            reserved: 1,
            ..call.clone()
        }
        .make(&root),
        EINVAL
    );
    errno!(
        Call {
            iflags: 1,
            ..call.clone()
        }
        .make(&root),
        EINVAL
    );
    errno!(ask(Record { offset: 1, ..LOW }, HIGH), EINVAL);
    errno!(ask(LOW, Record { offset: 1, ..HIGH }), EINVAL);
    ask(LOW, Record { offset: 0, ..HIGH })?;
    ask(Record { flags: 7, ..LOW }, HIGH)?;
    // SAFETY: An address that is not there is refused.
    errno!(unsafe { root.ioctl(0xC0C0_583B, 8 as *mut u8) }, EFAULT);
    Ok(())
}

/// No memory for the records: a page with the head at its end.
fn no_memory(t: &mut T) -> Res {
    t.fresh()?;
    let root = root()?;
    let pages = crate::map::Map::anonymous(2 * 4096)?;
    let at = pages.addr() as usize + 4096 - 192;
    // SAFETY: The second page can be used no more; the head is in the first.
    unsafe {
        libc::mprotect((at + 192) as *mut _, 4096, libc::PROT_NONE);
        std::ptr::write_bytes(at as *mut u8, 0, 128);
        std::ptr::write_bytes((at + 128) as *mut u8, 0xFF, 40);
        std::ptr::write_bytes((at + 168) as *mut u8, 0, 24);
    }
    // SAFETY: A head without room is filled in place.
    unsafe { root.ioctl(0xC0C0_583B, at as *mut u8)? };
    // SAFETY: As above, with room for 4 records that is not there.
    unsafe { ((at + 8) as *mut u32).write(4) };
    // SAFETY: As above.
    errno!(unsafe { root.ioctl(0xC0C0_583B, at as *mut u8) }, EFAULT);
    Ok(())
}

/// Nobody is refused, whichever file is asked.
fn anybody(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 5000)?;
    let n = Call::between(LOW, HIGH, 0).make(&root()?)?.entries;
    let asked = std::thread::scope(|s| {
        s.spawn(|| {
            // SAFETY: Plain call, of this thread alone.
            unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
            Call::between(LOW, HIGH, 0).make(&f)
        })
        .join()
    });
    let Ok(asked) = asked else {
        return Err(Stop::Fail("thread panic".into()));
    };
    same!(asked?.entries, n, "by a file and another user");
    Ok(())
}

/// A bitmap that cannot be believed says nothing of what is free.
fn bad_bitmap(t: &mut T) -> Res {
    t.mkfs(300, &[])?;
    t.broken = true;
    let text = t.debugfs(&["stats"])?;
    let of = |group: &str| -> Option<u64> {
        let at = text.split(group).nth(1)?.split("block bitmap at ").nth(1)?;
        at.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let Some(block) = of("Group  1:") else {
        return Err(Stop::Fail(format!("no bitmap in {text}")));
    };
    let at = block * t.bs();
    let mut byte = t.peek(at + 100, 1)?;
    byte[0] ^= 0xFF;
    t.poke(at + 100, &byte)?;
    t.try_mount(libc::MS_RDONLY, "errors=continue")?;
    let root = root()?;
    errno!(Call::between(LOW, HIGH, 100).make(&root), EUCLEAN | EBADMSG);
    errno!(Call::between(LOW, HIGH, 100).make(&root), EUCLEAN | EBADMSG);
    // What lies before it can still be told.
    Call::between(
        LOW,
        Record {
            device: stat_dev(t)?,
            ..up_to(1 << 20)
        },
        100,
    )
    .make(&root)?;
    Ok(())
}

fn stat_dev(t: &T) -> Sys<u32> {
    let stat = sys::lstat(&t.dev)?.st_rdev;
    let minor = libc::minor(stat);
    Ok((minor & 0xff) | libc::major(stat) << 8 | (minor & !0xff) << 12)
}
