// SPDX-License-Identifier: GPL-2.0
//! Orphans as a crash leaves them, of every type and at every step of their deletion, and lists of
//! them that are wrong. Made by debugfs: which step a real crash hits is chance (see `replay`).

use crate::cases::damage::bad::{ino, inode_at};
use crate::cases::power;
use crate::cases::power::orphans_read_only::set_read_only;
use crate::dm::Dm;
use crate::fixture::{put, run_cmd, T};
use crate::harness::{Case, Res, Variant, FEATS, K1, K4, ORPHAN};
use crate::sys;
use crate::{ensure, errno, fail, same, wait};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("orphan/any_step", &[K1, ORPHAN], any_step).secs(120),
    Case::new("orphan/truncated", FEATS, truncated).quick(),
    Case::new("orphan/with_links", TWO, with_links),
    Case::new("orphan/bad_list", TWO, bad_list).secs(120),
    Case::new("orphan/bad_tree", TWO, bad_tree),
    Case::new("orphan/bad_one_readonly", TWO, bad_one_readonly),
    Case::new("orphan/marked_before", TWO, marked_before),
    Case::new("orphan/log_is_slow", TWO, log_is_slow),
    Case::new("orphan/killed", TWO, killed).quick(),
];

const TYPES: [&str; 8] = ["reg", "dir", "slow", "fast", "fifo", "chr", "sock", "empty"];
pub const SUPER: u64 = 1024;

/// All commands in one run.
pub fn script(t: &T, cmds: &[String]) -> Res<String> {
    let file = "/mnt/commands";
    sys::write_file(file, &(cmds.join("\n") + "\n"))?;
    let (code, text) = run_cmd("debugfs", &["-w", "-f", file, &t.dev])?;
    let bad = |l: &&str| !l.starts_with("debugfs") && (l.contains("not") || l.contains("rror"));
    if let Some(l) = text.lines().find(bad) {
        fail!("debugfs: {l}");
    }
    ensure!(code == 0, "debugfs: {text}");
    Ok(text)
}

/// One inode of each type. Unmounted.
pub fn one_of_each(t: &mut T) -> Res {
    t.fresh()?;
    put(&t.p("reg"), 1, 50_000)?;
    put(&t.p("empty"), 1, 0)?;
    sys::mkdir(&t.p("dir"), 0o755)?;
    sys::symlink(&"s".repeat(70), &t.p("slow"))?;
    sys::symlink("fast", &t.p("fast"))?;
    sys::mknod(&t.p("fifo"), libc::S_IFIFO | 0o600, 0)?;
    sys::mknod(&t.p("chr"), libc::S_IFCHR | 0o600, 0x103)?;
    sys::mknod(&t.p("sock"), libc::S_IFSOCK | 0o600, 0)?;
    put(&t.p("good"), 2, 5000)?;
    t.umount()
}

/// Makes an orphan list of these files of the root, the first of which is its head. Returns their
/// numbers. `links`: they keep their names.
pub fn chain(t: &T, names: &[&str], links: bool) -> Res<Vec<u64>> {
    let mut all = Vec::new();
    let mut cmds = Vec::new();
    let mut next = 0;
    for name in names.iter().rev() {
        let n: u64 = match ino(t, &format!("/{name}"))?.parse() {
            Ok(n) => n,
            Err(e) => fail!("{name}: {e}"),
        };
        if !links {
            cmds.push(format!("sif <{n}> links_count 0"));
            cmds.push(format!("unlink /{name}"));
        }
        cmds.push(format!("sif <{n}> dtime @{next}"));
        if !links && *name == "dir" {
            cmds.push("sif / links_count 3".to_string());
        }
        next = n;
        all.insert(0, n);
    }
    cmds.push(format!("ssv last_orphan {next}"));
    script(t, &cmds)?;
    Ok(all)
}

/// It can be used, and has no mark of an error in the end.
pub fn sound(t: &mut T) -> Res {
    usable(t)?;
    t.umount()?;
    let text = t.debugfs(&["stats"])?;
    ensure!(!text.contains("with errors"), "an error is marked: {text}");
    t.fsck()
}

/// Works as a mounted file system should, orphans included.
pub fn usable(t: &T) -> Res {
    let f = put(&t.p("new"), 5, 20_000)?;
    sys::unlink(&t.p("new"))?;
    f.fsync()?;
    drop(f);
    put(&t.p("new"), 6, 3000)?.fsync()?;
    sys::unlink(&t.p("new"))?;
    crate::fixture::holds(
        &sys::rdonly(&t.p("good"))?,
        0,
        &crate::fixture::pattern(2, 0, 5000),
        "another file",
    )
}

/// Whatever step of a deletion a crash left, of whatever type and with whatever attributes: the
/// mount finishes it.
fn any_step(t: &mut T) -> Res {
    sys::write_file("/mnt/value", &"v".repeat(600))?;
    for attributes in [false, true] {
        // Of ext4 the size is 0 from the first step on, of others it may be what it was.
        for step in ["unlinked", "size 0", "no blocks", "no blocks, size 0"] {
            one_of_each(t)?;
            t.mount("")?;
            let before = sys::statfs(&t.p(""))?;
            t.umount()?;
            let mut cmds = Vec::new();
            for name in TYPES.iter().filter(|_| attributes) {
                cmds.push(format!("ea_set -f /mnt/value {name} trusted.big"));
            }
            for name in TYPES {
                if step.starts_with("no blocks") && ["reg", "dir", "slow"].contains(&name) {
                    cmds.push(format!("punch {name} 0"));
                }
                if step.ends_with("size 0") {
                    cmds.push(format!("sif {name} size 0"));
                }
            }
            script(t, &cmds)?;
            chain(t, &TYPES, false)?;
            let what = format!("{step}, attributes {attributes}");
            t.forget_log();
            if let Err(e) = t.try_mount(0, "") {
                fail!("{what}: {e}: {:?}", t.log());
            }
            let now = sys::statfs(&t.p(""))?;
            same!(now.f_ffree, before.f_ffree + 8, "{what}: free inodes");
            let held = 50_000u64.div_ceil(t.bs()) + 2;
            same!(now.f_bfree, before.f_bfree + held, "{what}: free blocks");
            if t.ours() {
                ensure!(t.logged(&[&["8 orphans deleted"]]), "{what}: {:?}", t.seen);
            }
            usable(t)?;
            t.umount()?;
            t.fsck()?;
        }
    }
    Ok(())
}

/// Files that nobody names are truncated, as programs do with temporary ones, and a crash comes
/// before they are closed: they are removed all the same.
fn truncated(t: &mut T) -> Res {
    let d = power::crash::start(t)?;
    put(&t.p("pre"), 1, 1)?;
    sys::unlink(&t.p("pre"))?;
    sys::sync();
    let before = sys::statfs(&t.p(""))?;
    let mut open = Vec::new();
    for (i, size) in [0u64, 1, 5000, 100_000, 300_000].into_iter().enumerate() {
        let f = put(&t.p("named"), i as u64, 100_000)?;
        f.fsync()?;
        sys::unlink(&t.p("named"))?;
        let tmp = sys::open(&t.p(""), libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
        tmp.pwrite(&[1; 100_000], 0)?;
        for f in [f, tmp] {
            f.truncate(size)?;
            // What comes afterwards goes, too.
            f.pwrite(&[2; 70_000], 400_000)?;
            f.fsync()?;
            open.push(f);
        }
    }
    sys::sync();
    power::crash::cut(t, &d)?;
    drop(open);
    power::crash::lights_on(t, &d)?;
    t.mount("")?;
    let now = sys::statfs(&t.p(""))?;
    same!(now.f_ffree, before.f_ffree, "free inodes");
    same!(now.f_bfree, before.f_bfree, "free blocks");
    t.umount()?;
    t.fsck()
}

/// Of those with links only files are truncated. Others have no business on the list.
fn with_links(t: &mut T) -> Res {
    one_of_each(t)?;
    script(t, &["sif reg size 100".to_string()])?;
    chain(t, &["reg", "dir"], true)?;
    t.mount("")?;
    same!(sys::lstat(&t.p("reg"))?.st_size, 100, "size");
    same!(
        sys::lstat(&t.p("reg"))?.st_blocks * 512,
        t.bs() as i64,
        "blocks"
    );
    same!(sys::lstat(&t.p("dir"))?.st_size, t.bs() as i64, "directory");
    usable(t)?;
    t.umount()?;
    t.fsck()?;
    for name in ["slow", "fast", "fifo", "chr", "sock"] {
        one_of_each(t)?;
        let n = chain(t, &[name], true)?[0];
        let at = inode_at(t, &format!("/{name}"))?;
        let before = t.peek(at, 128)?;
        t.forget_log();
        t.mount("errors=continue")?;
        if t.ours() {
            let words = ["orphan", &n.to_string()];
            ensure!(t.logged(&[&words]), "{name}: {:?}", t.seen);
        }
        usable(t)?;
        t.umount()?;
        same!(t.peek(at, 128)?[40..100], before[40..100], "{name}");
        repaired(t)?;
    }
    Ok(())
}

/// There is an error mark, so that e2fsck looks, and it finds what it can repair.
fn repaired(t: &mut T) -> Res {
    let state = t.peek(SUPER + 0x3a, 1)?[0];
    ensure!(state & 2 != 0, "no error mark: state {state}");
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    t.fsck()?;
    t.mount("")?;
    usable(t)?;
    t.umount()?;
    t.fsck()
}

/// A list that goes on where it should not: the rest is given up, the file system is not.
fn bad_list(t: &mut T) -> Res {
    let names = ["reg", "fast", "slow"];
    for (what, word) in [
        ("out of range", "not in use"),
        ("reserved", "not in use"),
        ("free", "not in use"),
        ("circle", "twice"),
        ("itself", "twice"),
        ("checksum", "checksum"),
        ("type", "type"),
        ("first", "not in use"),
    ] {
        if what == "checksum" && t.var.feats.contains("^metadata_csum") {
            continue;
        }
        one_of_each(t)?;
        let n = chain(t, &names, false)?;
        let set = |next: u64| vec![format!("sif <{}> dtime @{next}", n[1])];
        let at = inode_at(t, &format!("<{}>", n[1]))?;
        match what {
            "out of range" => drop(script(t, &set(0x7fff_0000))?),
            "reserved" => drop(script(t, &set(8))?),
            "free" => drop(script(t, &set(1000))?),
            "circle" => drop(script(t, &set(n[0]))?),
            "itself" => drop(script(t, &set(n[1]))?),
            "checksum" => t.poke(at + 4, &[t.peek(at + 4, 1)?[0] ^ 1])?,
            "type" => drop(script(t, &[format!("sif <{}> mode 0070644", n[1])])?),
            _ => drop(script(t, &["ssv last_orphan 1000".to_string()])?),
        }
        t.forget_log();
        if let Err(e) = t.try_mount(0, "errors=continue") {
            fail!("{what}: {e}: {:?}", t.log());
        }
        if t.ours() {
            ensure!(t.logged(&[&["orphan", word]]), "{what}: {:?}", t.seen);
        }
        usable(t)?;
        t.umount()?;
        repaired(t)?;
    }
    Ok(())
}

/// One on the list cannot be finished: it stays there, its neighbours go. One whose attributes are
/// damaged goes, and may lose the block of them.
fn bad_tree(t: &mut T) -> Res {
    for what in ["tree", "attributes"] {
        one_of_each(t)?;
        t.mount("")?;
        let f = sys::create(&t.p("deep"))?;
        for i in 0..30 {
            f.pwrite(b"x", i * 2 * t.bs())?;
        }
        drop(f);
        t.umount()?;
        sys::write_file("/mnt/value", &"v".repeat(600))?;
        script(t, &["ea_set -f /mnt/value deep trusted.big".to_string()])?;
        let at = match what {
            "tree" => crate::cases::damage::bad_file::tree_block(t)?,
            _ => {
                let text = t.debugfs(&["stat deep"])?;
                let acl = text.split("File ACL:").nth(1);
                match acl.and_then(|w| w.split_whitespace().next()?.parse().ok()) {
                    Some(n) => n,
                    None => fail!("no attribute block: {text}"),
                }
            }
        };
        let n = chain(t, &["reg", "deep", "slow"], false)?;
        let good = t.peek(at * t.bs(), 4)?;
        t.poke(at * t.bs(), &[0; 4])?;
        t.forget_log();
        // Twice: the second mount finds what the first one left.
        for round in 0..2 {
            if let Err(e) = t.try_mount(0, "errors=continue") {
                fail!("{what}, mount {round}: {e}: {:?}", t.log());
            }
            usable(t)?;
            t.umount()?;
        }
        if t.ours() {
            let number = n[1].to_string();
            let (words, left): ([&str; 2], _) = match what {
                "tree" => (["orphan", &number], n[1] as u32),
                _ => (["attribute block", &number], 0),
            };
            ensure!(t.logged(&[&words]), "{what}: {:?}", t.seen);
            let head = t.peek(SUPER + 0xe8, 4)?;
            same!(head, left.to_le_bytes(), "{what}: left on the list");
        }
        t.poke(at * t.bs(), &good)?;
        repaired(t)?;
    }
    Ok(())
}

/// With errors=remount-ro the mount is read-only after such a list, and the list is still there.
fn bad_one_readonly(t: &mut T) -> Res {
    one_of_each(t)?;
    let n = chain(t, &["reg", "fast"], false)?;
    script(t, &[format!("sif <{}> dtime 1000", n[1])])?;
    t.mount("errors=remount-ro")?;
    errno!(sys::mkdir(&t.p("x"), 0o755), EROFS);
    same!(sys::lstat(&t.p("good"))?.st_size, 5000, "another file");
    t.umount()?;
    let (code, text) = run_cmd("e2fsck", &["-fy", &t.dev])?;
    ensure!(code <= 1, "e2fsck -fy exit {code}: {text}");
    Ok(())
}

/// Where errors were found before, nothing is freed until e2fsck has looked. (ext4 forgets the
/// list then.)
fn marked_before(t: &mut T) -> Res {
    one_of_each(t)?;
    let n = chain(t, &["reg", "fast"], false)?;
    script(t, &["ssv state 2".to_string()])?;
    t.mount("")?;
    let f = put(&t.p("x"), 1, 10)?;
    sys::unlink(&t.p("x"))?;
    usable(t)?;
    drop(f);
    t.umount()?;
    if t.ours() {
        let head = t.peek(SUPER + 0xe8, 4)?;
        same!(head, (n[0] as u32).to_le_bytes(), "head of the list");
    }
    repaired(t)
}

/// While the log is written nobody but those who want the superblock waits for it: a file becomes
/// an orphan, another one is changed and looked at.
fn log_is_slow(t: &mut T) -> Res {
    let d = crate::cases::power::crash::on_dm(t)?;
    t.fresh()?;
    for i in 0..60 {
        put(&t.p(&format!("f{i}")), i, 5000)?;
    }
    let open = [put(&t.p("a"), 1, 10)?, put(&t.p("b"), 1, 10)?];
    sys::sync();
    sys::unlink(&t.p("a"))?;
    sys::sync();
    // The superblock is part of the commit that is about to hang, the inodes in the middle are not.
    sys::unlink(&t.p("b"))?;
    let (cut, far, dir) = (t.p("f3"), t.p("f25"), t.p(""));
    sys::lstat(&far)?;
    d.suspend()?;
    std::thread::scope(|s| -> Res {
        let commit = wait::spawn(s, || sys::rdonly(&dir).and_then(|f| f.syncfs()));
        let hangs = commit.waits();
        let cut = wait::spawn(s, || sys::truncate(&cut, 0));
        let cuts = cut.waits();
        let chmod = wait::spawn(s, || sys::chmod(&far, 0o600));
        let quick = chmod.ends();
        let stat = wait::spawn(s, || sys::lstat(&far));
        let quick = [quick, stat.ends()];
        d.resume()?;
        commit.join()??;
        cut.join()??;
        chmod.join()??;
        stat.join()??;
        ensure!(hangs?, "the log was written");
        cuts?;
        for came in quick {
            ensure!(came?, "chmod or stat waits for the log");
        }
        Ok(())
    })?;
    same!(sys::lstat(&cut)?.st_size, 0, "size");
    drop(open);
    t.umount()?;
    t.fsck()
}

/// Does something in a child, which waits for the device, and is killed before that answers. Was
/// it?
pub fn killed_over(d: &Dm, what: impl FnOnce()) -> Res<bool> {
    d.suspend()?;
    // SAFETY: The child calls nothing that may take a lock of another thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        what();
        // SAFETY: As above.
        unsafe { libc::_exit(0) };
    }
    let wait = |ms| std::thread::sleep(std::time::Duration::from_millis(ms));
    wait(300);
    // SAFETY: The child is ours, and waits for the device.
    unsafe { libc::kill(child, libc::SIGKILL) };
    wait(100);
    d.resume()?;
    let mut status = 0;
    // SAFETY: The status is written to our memory.
    let gone = unsafe { libc::waitpid(child, &mut status, 0) };
    same!(gone, child, "waitpid");
    Ok(libc::WIFSIGNALED(status))
}

/// Who mounts, or makes the mount a writing one, is killed while a truncation is finished: no
/// reason to call the disk corrupt. The next one finishes it.
fn killed(t: &mut T) -> Res {
    let d = crate::cases::power::crash::on_dm(t)?;
    for remount in [false, true] {
        t.fresh()?;
        put(&t.p("cut"), 1, 50_000)?;
        put(&t.p("good"), 2, 5000)?;
        t.umount()?;
        chain(t, &["cut"], true)?;
        script(t, &["sif /cut size 777".to_string()])?;
        t.drop_caches()?;
        if remount {
            // Else they are finished here.
            set_read_only(&t.dev, true)?;
            let mounted = t.try_mount(libc::MS_RDONLY, "");
            set_read_only(&t.dev, false)?;
            mounted?;
            let killed = killed_over(&d, || drop(t.remount(0, "")))?;
            ensure!(killed || !t.ours(), "the remount had ended");
            // The kernel's ext4 refuses that while there are orphans.
            if t.remount(0, "").is_err() && !t.ours() {
                t.umount()?;
                t.mount("")?;
                return t.umount();
            }
        } else {
            let killed = killed_over(&d, || drop(sys::mount(&t.dev, &t.p(""), &t.fs, 0, "")))?;
            ensure!(killed, "the mount had ended");
            // Mounted or not: it is no error of the disk.
            let _ = sys::umount(&t.p(""), 0);
            t.mount("")?;
        }
        let f = sys::rdonly(&t.p("cut"))?;
        same!(f.size()?, 777, "size");
        let held = f.stat()?.st_blocks as u64 * 512;
        same!(held, t.bs(), "bytes of its blocks, remount {remount}");
        drop(f);
        sound(t)?;
    }
    Ok(())
}
