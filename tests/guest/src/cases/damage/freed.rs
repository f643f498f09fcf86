// SPDX-License-Identifier: GPL-2.0
//! What is freed while the disk says something wrong of it, or while others free the same.

use crate::cases::damage::bad::ino;
use crate::cases::damage::eio::{groups, number_after};
use crate::cases::power::crash;
use crate::cases::power::orphans::script;
use crate::fixture::{names, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, Variant, ALL, K1, K4};
use crate::sys;
use crate::xattr;
use crate::{ensure, errno, fail, same, skip};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("freed/shared_attributes", TWO, shared_attributes)
        .quick()
        .secs(120),
    Case::new("freed/attribute_block", TWO, attribute_block_is_free),
    Case::new("freed/blocks_counted_wrong", TWO, blocks_counted_wrong),
    Case::new("freed/block_of_two_extents", ALL, block_of_two_extents).quick(),
    Case::new("freed/inode_in_use", TWO, inode_in_use),
    Case::new("freed/log_not_wanted", ALL, log_not_wanted),
];

const SHARERS: usize = 600;

/// The attribute block of a file, which has one.
pub fn attribute_block(t: &T, path: &str) -> Res<u64> {
    let (_, text) = run_cmd("debugfs", &["-R", &format!("stat {path}"), &t.dev])?;
    match number_after(&text, "File ACL: ")? {
        0 => fail!("no attribute block: {text}"),
        block => Ok(block),
    }
}

/// The block group of a block, and what dumpe2fs says of it.
pub fn group_of(t: &T, block: u64) -> Res<(u64, String)> {
    let first = u64::from(t.bs() == 1024);
    let group = (block - first) / (8 * t.bs());
    Ok((group, groups(t)?.swap_remove(group as usize)))
}

/// e2fsck finds nothing but which blocks are free, and how many, and repairs that.
pub fn only_free_blocks(t: &T) -> Res<String> {
    let (_, text) = run_cmd("e2fsck", &["-fn", &t.dev])?;
    let about = [
        "Block bitmap differences",
        "Free blocks count wrong",
        "Fix? no",
        "Pass ",
    ];
    let known = |line: &str| about.iter().any(|words| line.starts_with(words));
    let mark = |line: &str| {
        // That errors were noted, what it is, and the sum.
        line.is_empty() || line.starts_with("e2fsck ") || line.contains(&t.dev)
    };
    if let Some(line) = text.lines().find(|l| !known(l) && !mark(l)) {
        fail!("e2fsck: {line}: {text}");
    }
    let (code, repaired) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {repaired}");
    t.fsck()?;
    Ok(text)
}

/// An attribute block that many inodes share, which several tasks delete at the same time: each of
/// them counts. (e2fsck makes the number right of what debugfs made.)
fn shared_attributes(t: &mut T) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    for i in 0..SHARERS {
        put(&t.p(&format!("f{i}")), 1, 0)?;
    }
    t.umount()?;
    sys::write_file("/mnt/value", &"v".repeat(600))?;
    script(t, &["ea_set -f /mnt/value f0 user.big".to_string()])?;
    let acl = attribute_block(t, "f0")?;
    let share = |i| format!("sif f{i} file_acl {acl}");
    script(t, &(1..SHARERS).map(share).collect::<Vec<_>>())?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code == 1, "e2fsck -fy exit {code}: {text}");
    t.fsck()?;
    t.mount("")?;
    std::thread::scope(|s| {
        let all: Vec<_> = (0..4)
            .map(|part| {
                let name = |i| t.p(&format!("f{i}"));
                s.spawn(move || -> Res {
                    for i in (part..SHARERS).step_by(4) {
                        sys::unlink(&name(i))?;
                    }
                    Ok(())
                })
            })
            .collect();
        all.into_iter().try_for_each(|task| match task.join() {
            Ok(result) => result,
            Err(_) => fail!("a task panicked"),
        })
    })?;
    sys::sync();
    // The directory keeps its blocks.
    let grown = sys::lstat(&t.p(""))?.st_blocks as u64 * 512 / t.bs() - 1;
    same!(sys::statfs(&t.p(""))?.f_bfree, free - grown, "free blocks");
    t.umount()?;
    t.fsck()
}

/// Has the bitmap say that a block is free, and, if it is `counted`, the group's descriptor.
pub fn free_block(t: &T, block: u64, counted: bool) -> Res {
    let (group, told) = group_of(t, block)?;
    let before = told.split(" free blocks").next().unwrap_or("");
    let free: u64 = match before.rsplit(char::is_whitespace).next().map(str::parse) {
        Some(Ok(free)) => free,
        _ => fail!("no count of free blocks: {told}"),
    };
    script(t, &[format!("freeb {block}")])?;
    if counted {
        let count = format!("set_bg {group} free_blocks_count {}", free + 1);
        script(t, &[count, format!("set_bg {group} checksum calc")])?;
    }
    Ok(())
}

/// The bitmap says that an attribute block is free, and the group's count says so or does not. Who
/// gives the block up gets rid of the attribute; it is reported, and nothing else is wrong then but
/// what was before.
fn attribute_block_is_free(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 aborts the journal");
    }
    for counted in [false, true] {
        // More than one group: from that of the block nothing is given out any more.
        t.fresh_mb(160)?;
        put(&t.p("victim"), 1, 5000)?;
        put(&t.p("other"), 2, 50_000)?;
        xattr::set(&t.p("victim"), "user.big", &[5; 600], 0)?;
        xattr::set(&t.p("other"), "user.big", &[6; 600], 0)?;
        t.umount()?;
        let block = attribute_block(t, "victim")?;
        free_block(t, block, counted)?;
        t.mount("errors=continue")?;
        t.forget_log();
        xattr::remove(&t.p("victim"), "user.big")?;
        ensure!(
            t.logged(&[&["bitmap"], &["group"]]),
            "counted {counted}: {:?}",
            t.seen
        );
        put(&t.p("alive"), 3, 5000)?.fsync()?;
        t.umount()?;
        // What the bitmap said is right now.
        let found = only_free_blocks(t)?;
        ensure!(!found.contains("differences"), "{found}");
        t.mount("")?;
        errno!(xattr::get(&t.p("victim"), "user.big"), ENODATA);
        same!(
            xattr::get(&t.p("other"), "user.big")?,
            [6; 600],
            "the other's"
        );
        for (name, seed, len) in [
            ("victim", 1, 5000),
            ("other", 2, 50_000),
            ("alive", 3, 5000),
        ] {
            t.file_holds(name, &pattern(seed, 0, len), name)?;
        }
        t.umount()?;
    }
    Ok(())
}

/// A directory has more blocks than its inode says: no more revoke records than were asked for.
fn blocks_counted_wrong(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let name = |i: u64| t.p(&format!("d/{i:0200}"));
    let each = t.bs() / 208;
    for i in 0..60 * each {
        put(&name(i), 1, 0)?;
    }
    for i in 0..60 * each {
        sys::unlink(&name(i))?;
    }
    let blocks = sys::lstat(&t.p("d"))?.st_blocks as u64 * 512 / t.bs();
    ensure!(blocks > 30, "the directory has only {blocks} blocks");
    let before = sys::statfs(&t.p(""))?;
    t.umount()?;
    script(t, &["sif d blocks 8".to_string()])?;
    t.mount("errors=continue")?;
    sys::rmdir(&t.p("d"))?;
    sys::sync();
    let now = sys::statfs(&t.p(""))?;
    same!(now.f_bfree, before.f_bfree + blocks, "free blocks");
    same!(now.f_ffree, before.f_ffree + 1, "free inodes");
    t.umount()?;
    t.fsck()
}

/// Two extents of a file claim one block. All that the file has is freed, and that once: who comes
/// second is told of, and takes the bitmap of the group along, so what comes after it is lost until
/// e2fsck finds it. From the end on: f's blocks are 0, 2, 4 and 6, and 2 lies where 4 does.
fn block_of_two_extents(t: &mut T) -> Res {
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    for at in [0, 2, 4, 6] {
        f.pwrite(&pattern(1, 0, t.bs() as usize), at * t.bs())?;
    }
    f.fsync()?;
    drop(f);
    t.umount()?;
    let text = t.debugfs(&["bmap /f 4"])?;
    let Some(block) = text.lines().find_map(|l| l.trim().parse::<u64>().ok()) else {
        fail!("no block 4: {text}");
    };
    // The low word of where the second extent lies.
    t.debugfs(&[&format!("sif /f block[8] {block}")])?;
    t.broken = true;
    t.mount("errors=continue")?;
    t.forget_log();
    sys::unlink(&t.p("f"))?;
    sys::sync();
    let told: &[&[&str]] = &[&["free already"], &["already on to-be-freed list"]];
    ensure!(t.logged(told), "not told: {:?}", t.seen);
    t.umount()?;
    only_free_blocks(t).map(|_| ())
}

/// The bitmap says that an inode is free which has a name: nothing of it is lost, whether it is in
/// memory or not.
fn inode_in_use(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 gives such a number out, and the file is lost");
    }
    for open in [false, true] {
        t.fresh()?;
        put(&t.p("victim"), 1, 5000)?;
        t.umount()?;
        let n = ino(t, "/victim")?;
        // In the first descriptor, in the block behind the superblock's.
        let free = t.peek(t.bs().max(2048) + 14, 2)?;
        let free = u16::from_le_bytes([free[0], free[1]]);
        let count = format!("set_bg 0 free_inodes_count {}", free + 1);
        script(t, &[format!("freei <{n}>"), count])?;
        script(t, &["set_bg 0 checksum calc".to_string()])?;
        t.mount("errors=continue")?;
        let held = open.then(|| sys::rdonly(&t.p("victim"))).transpose()?;
        t.forget_log();
        let made = sys::create(&t.p("new"));
        // It may have found a place in another group.
        drop((made, held));
        ensure!(t.logged(&[&["marked free"]]), "open {open}: {:?}", t.seen);
        t.umount()?;
        t.mount("errors=continue")?;
        t.file_holds("victim", &crate::fixture::pattern(1, 0, 5000), "the file")?;
        t.umount()?;
        let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
        ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
        t.fsck()?;
    }
    Ok(())
}

/// The super block says that no recovery is needed: the log is older than the rest, and thrown
/// away, or not looked at by a mount that reads only.
fn log_not_wanted(t: &mut T) -> Res {
    let d = crash::start(t)?;
    put(&t.p("old"), 1, 10)?;
    t.umount()?;
    t.mount("")?;
    put(&t.p("new"), 1, 10)?.fsync()?;
    crash::cut(t, &d)?;
    crash::lights_on(t, &d)?;
    script(t, &["feature -needs_recovery".to_string()])?;
    let before = sequence(t)?;
    for flags in [libc::MS_RDONLY, 0] {
        t.try_mount(flags, "")?;
        same!(names(&t.p(""))?, ["lost+found", "old"], "names");
        errno!(sys::lstat(&t.p("new")), ENOENT);
        t.umount()?;
    }
    // The old transactions still lie there: no new one may have the number of one of them.
    if t.ours() {
        let now = sequence(t)?;
        ensure!(now >= before + 1024, "numbers {before}, and then {now}");
    }
    t.fsck()
}

/// The number of the next transaction, as the journal says it.
fn sequence(t: &T) -> Res<u64> {
    let (code, text) = run_cmd("dumpe2fs", &["-h", &t.dev])?;
    ensure!(code == 0, "dumpe2fs: {text}");
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("Journal sequence:"));
    let number = line.and_then(|l| u64::from_str_radix(l.trim().trim_start_matches("0x"), 16).ok());
    match number {
        Some(number) => Ok(number),
        None => fail!("no journal sequence: {text}"),
    }
}
