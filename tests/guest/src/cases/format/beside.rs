// SPDX-License-Identifier: GPL-2.0
//! A disk that is changed by another program while it is mounted read-only, as a root is by e2fsck.

use crate::cases::damage::errors::emergency_remount;
use crate::cases::damage::freed::{attribute_block, free_block};
use crate::cases::power::checkpoint::checkpoint;
use crate::cases::power::orphans::script;
use crate::cases::space::enospc_tree::{empty_pool, fill};
use crate::fiemap::fiemap;
use crate::fixture::{holds, names, pattern, put, run_cmd, T};
use crate::harness::{Case, Res, FEATS, NOCSUM};
use crate::sys;
use crate::xattr;
use crate::{ensure, errno, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("beside/written", FEATS, written)
        .quick()
        .secs(120),
    Case::new("beside/features", FEATS, features).quick(),
    Case::new("beside/journal", FEATS, journal).quick(),
    Case::new("beside/removed", FEATS, removed).quick(),
    Case::new("beside/attributes", FEATS, attributes).quick(),
    Case::new("beside/forged_attributes", &[NOCSUM], forged).quick(),
];

const BIG: usize = 20 << 20;

/// Blocks and inodes that another program has given away, in groups of which nothing was used
/// before: a remount to read-write does not give them away once more.
fn written(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 goes on with the counts of the mount, accepts more than fits, and hangs");
    }
    t.mkfs(64, &[])?;
    t.mount("")?;
    put(&t.p("first"), 1, 5000)?;
    t.umount()?;
    t.try_mount(libc::MS_RDONLY, "")?;
    let before = sys::statfs(&t.p(""))?;
    let source = "/mnt/big";
    put(source, 2, BIG)?;
    script(t, &[format!("write {source} big"), "rm first".to_string()])?;
    sys::unlink(source)?;
    t.remount(0, "")?;
    let now = sys::statfs(&t.p(""))?;
    // All that is free, and a second of everything would be seen.
    let f = sys::create(&t.p("rest"))?;
    let mut at = 0;
    while f
        .pwrite_once(&pattern(3, at, 1 << 20), at)
        .is_ok_and(|n| n > 0)
    {
        at += 1 << 20;
    }
    let _ = f.fsync();
    ensure!(at > 10 << 20, "only {at} bytes fit");
    drop(f);
    t.umount()?;
    t.fsck()?;
    t.mount("")?;
    holds(
        &sys::rdonly(&t.p("big"))?,
        0,
        &pattern(2, 0, BIG),
        "written beside",
    )?;
    same!(now.f_ffree, before.f_ffree, "free inodes");
    let given = before.f_bfree - now.f_bfree;
    ensure!(
        given * t.bs() > (BIG - 10_000) as u64,
        "blocks given away: {given}"
    );
    sys::unlink(&t.p("rest"))?;
    sys::unlink(&t.p("big"))?;
    t.umount()?;
    t.fsck()
}

/// What the mount has decided by features that are no longer those of the disk.
fn features(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.try_mount(libc::MS_RDONLY, "")?;
    let (code, text) = run_cmd("debugfs", &["-w", "-R", "feature FEATURE_R30", &t.dev])?;
    ensure!(code == 0, "debugfs: {text}");
    if t.ours() {
        errno!(t.remount(0, ""), EINVAL);
        t.remount(libc::MS_RDONLY, "")?;
    }
    // e2fsck does not know it, either.
    t.broken = true;
    t.umount()
}

/// The journal is taken away while the mount, which has written before, is read-only: nobody would
/// find what is written to it.
fn journal(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.mount("")?;
    put(&t.p("first"), 1, 5000)?;
    t.remount(libc::MS_RDONLY, "")?;
    let (code, text) = run_cmd("tune2fs", &["-O", "^has_journal", &t.dev])?;
    ensure!(code == 0, "tune2fs: {text}");
    errno!(t.remount(0, ""), EINVAL | EUCLEAN);
    // An orphan file without a journal is none for e2fsck.
    t.broken = true;
    t.umount()
}

/// The blocks of the orphan file: where they are, and what is in them.
fn orphan_file(t: &T) -> Res<Vec<(u64, Vec<u8>)>> {
    let mut all = Vec::new();
    let inum = t.peek(1024 + 0x280, 4)?;
    let inum = u32::from_le_bytes([inum[0], inum[1], inum[2], inum[3]]);
    if inum == 0 {
        return Ok(all);
    }
    let text = t.debugfs(&[&format!("blocks <{inum}>")])?;
    let blocks = text.lines().filter(|l| !l.starts_with("debugfs"));
    for word in blocks.flat_map(str::split_whitespace) {
        let Ok(block) = word.parse::<u64>() else {
            fail!("blocks of the orphan file: {text}");
        };
        all.push((block * t.bs(), t.peek(block * t.bs(), t.var.bs)?));
    }
    Ok(all)
}

/// A file without a name that is open is freed by another program, as e2fsck does, after a forced
/// remount to read-only. It is not freed once more by its last user, when that may write again and
/// its blocks are somebody else's.
fn removed(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 asks the disk alone, and frees them twice");
    }
    t.fresh()?;
    let empty = orphan_file(t)?;
    let f = put(&t.p("f"), 1, 50_000)?;
    f.fsync()?;
    let n = f.stat()?.st_ino;
    sys::unlink(&t.p("f"))?;
    emergency_remount(t)?;
    for (at, bytes) in empty {
        t.poke(at, &bytes)?;
    }
    let cmds = [
        "ssv last_orphan 0",
        "feature -orphan_present",
        &format!("kill_file <{n}>"),
    ];
    script(t, &cmds.map(str::to_string))?;
    t.forget_log();
    errno!(t.remount(0, ""), EINVAL);
    ensure!(t.logged(&[&["unmount and mount again"]]), "{:?}", t.seen);
    drop(f);
    t.umount()?;
    t.fsck()?;
    t.mount("")?;
    put(&t.p("g"), 2, 60_000)?.fsync()?;
    t.umount()
}

/// A block of attributes that another program frees: nobody shares it who gets the same ones later.
fn attributes(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 goes on with the counts of the mount");
    }
    t.fresh()?;
    put(&t.p("first"), 1, 5000)?;
    xattr::set(&t.p("first"), "user.big", &[5; 600], 0)?;
    t.remount(libc::MS_RDONLY, "")?;
    let block = attribute_block(t, "first")?;
    let left = 5000u64.div_ceil(t.bs()) * t.bs() / 512;
    let cmds = [
        "sif /first file_acl 0".to_string(),
        format!("sif /first blocks {left}"),
    ];
    script(t, &cmds)?;
    free_block(t, block, true)?;
    t.remount(0, "")?;
    put(&t.p("second"), 2, 5000)?;
    xattr::set(&t.p("second"), "user.big", &[5; 600], 0)?;
    t.umount()?;
    t.fsck()?;
    t.mount("")?;
    same!(
        xattr::get(&t.p("second"), "user.big")?,
        [5; 600],
        "attributes"
    );
    t.umount()
}

/// What a file system remembers of blocks of attributes ends with them, also what it has put aside
/// at a remount: no file gets its attributes from a block that is somebody's data by now.
fn forged(t: &mut T) -> Res {
    t.mkfs(16, &["-I", "128"])?;
    t.mount("")?;
    // Words of attributes are in their hash by exclusive or: these two hashes differ in one bit.
    let (mut one, mut other) = ([5; 600], [5; 600]);
    one[596] = 4;
    other[596] = 5;
    let path = |name: &str| t.p(name);
    let (f, model, late) = (path("f"), path("model"), path("late"));
    for name in [&f, &model, &late] {
        drop(put(name, 1, 100)?);
    }
    let dirs: Vec<_> = (0..40).map(|i| path(&format!("d{i}"))).collect();
    dirs.iter().try_for_each(|dir| sys::mkdir(dir, 0o755))?;
    xattr::set(&f, "user.big", &one, 0)?;
    sys::sync();
    let block = attribute_block(t, "f")?;
    t.remount(libc::MS_RDONLY, "")?;
    t.remount(0, "")?;
    xattr::set(&model, "user.big", &other, 0)?;
    sys::sync();
    let forged = t.peek(attribute_block(t, "model")? * t.bs(), t.var.bs)?;
    for name in [&f, &model] {
        xattr::remove(name, "user.big")?;
    }
    sys::sync();
    empty_pool(t)?;
    drop(put(&path("spare"), 1, 20_000)?);
    sys::sync();
    let ballast = fill(t)?;
    let found = fiemap(&ballast, 0, u64::MAX, true, 200)?;
    let holds_it = |e: &&crate::fiemap::Ext| (e.phys..e.phys + e.len).contains(&(block * t.bs()));
    let Some(place) = found.iter().find(holds_it) else {
        skip!("the block went elsewhere");
    };
    let at = place.log + block * t.bs() - place.phys;
    sys::unlink(&path("spare"))?;
    sys::sync();
    ballast.pwrite(&forged, at)?;
    ballast.fsync()?;
    // The log has the block no more, nor have the last ones that were looked at.
    checkpoint(&ballast, 0)?;
    for dir in &dirs {
        names(dir)?;
    }
    // A 3 would shrink what is remembered, too.
    sys::write_file("/proc/sys/vm/drop_caches", "1\n")?;
    xattr::set(&late, "user.big", &other, 0)?;
    sys::sync();
    ensure!(attribute_block(t, "late")? != block, "attributes from data");
    holds(&ballast, at, &forged, "the data")
}
