// SPDX-License-Identifier: GPL-2.0
//! What is freed while the disk says something wrong of it, or while others free the same.

use crate::cases::damage::bad::ino;
use crate::cases::power::crash;
use crate::cases::power::orphans::script;
use crate::fixture::{names, put, run_cmd, T};
use crate::harness::{Case, Res, Variant, ALL, K1, K4};
use crate::sys;
use crate::{ensure, errno, fail, same, skip};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("freed/shared_attributes", TWO, shared_attributes)
        .quick()
        .secs(120),
    Case::new("freed/blocks_counted_wrong", TWO, blocks_counted_wrong),
    Case::new("freed/inode_in_use", TWO, inode_in_use),
    Case::new("freed/log_not_wanted", ALL, log_not_wanted),
];

const SHARERS: usize = 600;

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
    let text = t.debugfs(&["stat f0"])?;
    let acl = text.split("File ACL:").nth(1);
    let Some(acl) = acl.and_then(|w| w.split_whitespace().next()) else {
        fail!("no attribute block: {text}");
    };
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
