// SPDX-License-Identifier: GPL-2.0
//! Contexts and names of encrypted inodes that are not what they should be. The kernel's ext4 is
//! asked of the same images.

use super::chattr::{dir, told};
use super::crypt::{crypt_dir, new_dir, ENCRYPT};
use crate::fixture::{knows_fs, names, MNT, T};
use crate::harness::{Case, Res, Variant, NOCSUM, ONE};
use crate::sys;
use crate::{ensure, errno, fail, same, skip};
use guest::crypt::key;

pub const CASES: &[Case] = &[
    Case::new("crypt_bad/context_as_ext4", PLAIN, context_as_ext4),
    Case::new("crypt_bad/none_as_ext4", ONE, none_as_ext4),
    Case::new("crypt_bad/elsewhere", ONE, elsewhere),
    Case::new("crypt_bad/target", ONE, target),
    Case::new("crypt_bad/short_name", ONE, short_name),
];

/// Without checksums, so that bytes can be changed.
const PLAIN: &[Variant] = &[NOCSUM];

/// A directory with a directory and a file in it; the context of the one that `bad` names, as it
/// begins on the disk: version, mode of contents, of names, flags, unit, three zeros, then the key.
fn make(t: &mut T, bad: &str) -> Res<Vec<u8>> {
    t.mkfs(16, ENCRYPT)?;
    t.mount("")?;
    let d = crypt_dir(t, "d", 1)?;
    sys::mkdir(&t.p("d/sub"), 0o755)?;
    sys::create(&t.p("d/file"))?;
    let f = sys::rdonly(&t.p(bad))?;
    let mut context = f.policy()?;
    context.extend(f.nonce()?);
    drop((d, f));
    t.umount()?;
    Ok(context)
}

/// Puts `new` over `old` wherever that is on the disk.
fn replace(t: &T, old: &[u8], new: &[u8]) -> Res {
    let mut places = Vec::new();
    t.each_mib(16, |at, bytes| {
        let found = bytes.windows(old.len()).enumerate();
        places.extend(found.filter(|(_, w)| *w == old).map(|(i, _)| at + i as u64));
        Ok(())
    })?;
    ensure!(!places.is_empty(), "not on the disk");
    for at in places {
        t.poke(at, new)?;
    }
    Ok(())
}

/// What can be done with it, and what not.
fn look(t: &T) -> Res<Vec<String>> {
    let mut all = Vec::new();
    for with_key in [false, true] {
        if with_key {
            dir(t, "")?.add_key(&key(1))?;
        }
        for name in ["d", "d/sub", "d/file"] {
            let path = t.p(name);
            all.push(format!("{name}: {}", told(sys::lstat(&path).map(|_| ()))));
            match sys::rdonly(&path) {
                Ok(f) => {
                    all.push(told(f.policy()));
                    all.push(told(f.nonce().map(|_| ())));
                }
                Err(e) => all.push(sys::errname(e.errno)),
            }
        }
        let listed = names(&t.p("d")).map_err(|e| e.to_string());
        for name in listed.clone().unwrap_or_default() {
            let path = t.p(&format!("d/{name}"));
            all.push(told(sys::lstat(&path).map(|_| ())));
            all.push(told(sys::rdonly(&path).map(|_| ())));
        }
        all.push(format!("{listed:?}"));
    }
    Ok(all)
}

/// `look`s by each of the two.
fn both(t: &mut T, what: &str) -> Res {
    let (device, ours) = (t.dev.clone(), t.fs.clone());
    let mut seen = Vec::new();
    for fs in [ours.as_str(), "ext4"] {
        t.mount_as(&device, MNT, fs, libc::MS_RDONLY, "")?;
        seen.push(look(t)?);
        t.umount()?;
    }
    let differ: Vec<_> = seen[0]
        .iter()
        .zip(&seen[1])
        .filter(|(a, b)| a != b)
        .collect();
    ensure!(differ.is_empty(), "{what}: rext4, then ext4: {differ:?}");
    same!(seen[0].len(), seen[1].len(), "answers");
    Ok(())
}

/// A byte of the context of a directory, of one in it and of a file in it is another.
fn context_as_ext4(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one of the two is there");
    }
    t.broken = true;
    for bad in ["d", "d/sub", "d/file"] {
        let context = make(t, bad)?;
        let mut now = context.clone();
        for (at, byte) in [(0, 9), (1, 99), (2, 99), (3, 0x80), (4, 99), (6, 1), (8, 0)] {
            let mut next = context.clone();
            next[at] = if at == 8 { !context[8] } else { byte };
            replace(t, &now, &next)?;
            now = next;
            both(t, &format!("byte {at} of {bad}"))?;
        }
    }
    Ok(())
}

/// The flag without a context.
fn none_as_ext4(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one of the two is there");
    }
    t.mkfs(16, ENCRYPT)?;
    t.mount("")?;
    new_dir(t, "d")?;
    sys::mkdir(&t.p("d/sub"), 0o755)?;
    sys::create(&t.p("d/file"))?;
    t.umount()?;
    t.debugfs(&["sif d flags 0x80800"])?;
    t.broken = true;
    both(t, "no context")
}

/// The length before a target that has a block is not that of what follows. One that is too short
/// the kernel's ext4 takes.
fn target(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 shows something else");
    }
    t.mkfs(16, ENCRYPT)?;
    t.mount("")?;
    drop(crypt_dir(t, "d", 1)?);
    sys::symlink(&"long/".repeat(50), &t.p("d/link"))?;
    let ino = sys::lstat(&t.p("d/link"))?.st_ino;
    t.umount()?;
    let text = t.debugfs(&[&format!("blocks <{ino}>")])?;
    let block = text
        .split_whitespace()
        .find_map(|word| word.parse::<u64>().ok());
    let Some(block) = block else {
        fail!("no block: {text}")
    };
    let at = block * t.bs();
    let said = t.peek(at, 2)?;
    t.broken = true;
    for wrong in [said[0] - 16, said[0] + 16, 0] {
        t.poke(at, &[wrong, 0])?;
        t.mount("")?;
        dir(t, "")?.add_key(&key(1))?;
        errno!(sys::readlink(&t.p("d/link")).map(drop), EUCLEAN);
        t.umount()?;
    }
    Ok(())
}

/// What may not be where it is: said, but not as often as it is asked for.
fn elsewhere(t: &mut T) -> Res {
    make(t, "d")?;
    // A directory that is not encrypted, by a name that could be.
    t.debugfs(&[
        "mkdir plain",
        "ln plain d/sixteen-bytes-and",
        "sif plain links_count 3",
    ])?;
    t.broken = true;
    t.mount("")?;
    // It is said ten times in five seconds, of which the case before may have had its share.
    std::thread::sleep(std::time::Duration::from_millis(5500));
    t.forget_log();
    let mut refused = 0;
    for name in names(&t.p("d"))? {
        for _ in 0..100 {
            match sys::lstat(&t.p(&format!("d/{name}"))) {
                Err(e) => {
                    same!(e.errno, libc::EPERM, "{name}");
                    refused += 1;
                }
                Ok(_) => break,
            }
        }
    }
    same!(refused, 100, "refusals");
    let told =
        |l: &&String| l.contains("not encrypted as") || l.contains("Inconsistent encryption");
    let told = t.log().iter().filter(told).count();
    ensure!((1..50).contains(&told), "said {told} times");
    Ok(())
}

/// An entry that is too short to be encrypted is damage.
fn short_name(t: &mut T) -> Res {
    if !t.ours() {
        skip!("ext4 looks at it when it is listed only");
    }
    make(t, "d")?;
    t.debugfs(&["ln <2> d/short"])?;
    t.broken = true;
    t.mount("")?;
    let d = sys::open(&t.p("d"), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    errno!(guest::dirents::read_all(&d, 4096), EUCLEAN);
    ensure!(
        t.logged(&[&["too short where it is encrypted"]]),
        "not said"
    );
    Ok(())
}
