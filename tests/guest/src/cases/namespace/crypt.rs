// SPDX-License-Identifier: GPL-2.0
//! Encryption: policies, keys, what a directory hands on, what may go where. All of it is also
//! asked of the kernel's ext4.

use super::chattr::{both_with, dir, told};
use crate::fixture::{knows_fs, T};
use crate::harness::{Case, Res, ALL, FEATS, ONE};
use crate::sys::{self, Fd};
use crate::{ensure, errno, same, skip};
use guest::crypt::{key, KeyName, PolicyV1, PolicyV2};

pub const CASES: &[Case] = &[
    Case::new("crypt/policy_as_ext4", ALL, policy_as_ext4).quick(),
    Case::new("crypt/refused_as_ext4", ONE, refused_as_ext4),
    Case::new("crypt/handed_on_as_ext4", FEATS, handed_on_as_ext4).quick(),
    Case::new("crypt/moves_as_ext4", ONE, moves_as_ext4).quick(),
    Case::new("crypt/dummy_as_ext4", ONE, dummy_as_ext4),
    Case::new("crypt/absent_as_ext4", ONE, absent_as_ext4),
    Case::new("crypt/salt", ONE, salt).quick(),
];

pub const ENCRYPT: &[&str] = &["-O", "encrypt"];
/// `STATX_ATTR_ENCRYPTED`.
const ATTR_ENCRYPTED: u64 = 0x800;

/// An empty directory.
pub fn new_dir(t: &T, name: &str) -> Res<Fd> {
    sys::mkdir(&t.p(name), 0o755)?;
    dir(t, name)
}

/// A directory that is encrypted with key `n`, which is there.
pub fn crypt_dir(t: &T, name: &str, n: u8) -> Res<Fd> {
    let d = new_dir(t, name)?;
    let id = d.add_key(&key(n))?;
    d.set_policy(PolicyV2::new(id))?;
    Ok(d)
}

fn is_encrypted(t: &T, name: &str) -> String {
    told(sys::statx(&t.p(name)).map(|s| s.stx_attributes & ATTR_ENCRYPTED != 0))
}

/// A policy set and seen, with its key and without, of both versions.
fn policy_as_ext4(t: &mut T) -> Res {
    both_with(t, ENCRYPT, |t| {
        let mut all = Vec::new();
        let mut say = |what: &str, said: String| all.push(format!("{what}: {said}"));
        let root = dir(t, "")?;
        let d = new_dir(t, "d")?;
        say("of none", told(d.policy()));
        say("nonce of none", told(d.nonce()));
        say("seen before", is_encrypted(t, "d"));
        let policy = PolicyV2::new([7; 16]);
        say("no key", told(d.set_policy(policy)));
        let id = root.add_key(&key(1))?;
        say("key", told::<[u8; 16]>(Ok(id)));
        say("status", told(root.key_status(KeyName::V2(id))));
        let policy = PolicyV2::new(id);
        say("root", told(root.set_policy(policy)));
        say("set", told(d.set_policy(policy)));
        say("again", told(d.set_policy(policy)));
        let other = PolicyV2 { flags: 0, ..policy };
        say("another", told(d.set_policy(other)));
        say("policy", told(d.policy()));
        say("as of version 1", told(d.policy_v1()));
        say("has a nonce", told(d.nonce().map(|nonce| nonce != [0; 16])));
        say("seen", is_encrypted(t, "d"));
        say("flags", told(d.flags()));
        let old = new_dir(t, "old")?;
        let named = KeyName::V1([9; 8]);
        say("v1", told(old.set_policy_v1(PolicyV1::new([9; 8]))));
        say("v1 policy", told(old.policy()));
        say("v1 policy by the old call", told(old.policy_v1()));
        say(
            "v1 made without key",
            told(sys::mkdir(&t.p("old/x"), 0o755)),
        );
        say("v1 key", told(root.add_key_as(named, &key(2)).map(|_| ())));
        say("v1 made", told(sys::mkdir(&t.p("old/x"), 0o755)));
        drop((d, old));
        say("removed", told(root.remove_key(KeyName::V2(id))));
        say("status then", told(root.key_status(KeyName::V2(id))));
        say("removed twice", told(root.remove_key(KeyName::V2(id))));
        say("of all", told(root.remove_key_of_all(named)));
        drop(root);
        t.cycle()?;
        let mut say = |what: &str, said: String| all.push(format!("{what}: {said}"));
        say("seen later", is_encrypted(t, "d"));
        say("policy later", told(dir(t, "d")?.policy()));
        say("made later", told(sys::mkdir(&t.p("d/x"), 0o755)));
        say("v1 policy later", told(dir(t, "old")?.policy_v1()));
        Ok(all)
    })
}

/// What cannot be encrypted, or not so.
fn refused_as_ext4(t: &mut T) -> Res {
    both_with(t, ENCRYPT, |t| {
        let mut all = Vec::new();
        let root = dir(t, "")?;
        let id = root.add_key(&key(1))?;
        let policy = PolicyV2::new(id);
        // Empty, and still none that may be encrypted.
        sys::rmdir(&t.p("lost+found"))?;
        all.push(format!("root: {}", told(root.set_policy(policy))));
        sys::mkdir(&t.p("lost+found"), 0o700)?;
        let f = sys::create(&t.p("file"))?;
        all.push(format!("file: {}", told(f.set_policy(policy))));
        let d = new_dir(t, "full")?;
        sys::create(&t.p("full/x"))?;
        all.push(format!("not empty: {}", told(d.set_policy(policy))));
        sys::unlink(&t.p("full/x"))?;
        all.push(format!("empty again: {}", told(d.set_policy(policy))));
        let gone = new_dir(t, "gone")?;
        sys::rmdir(&t.p("gone"))?;
        all.push(format!("removed: {}", told(gone.set_policy(policy))));
        let d = new_dir(t, "d")?;
        for change in [
            |p: &mut PolicyV2| p.version = 1,
            |p: &mut PolicyV2| p.version = 3,
            |p: &mut PolicyV2| p.contents = 0,
            |p: &mut PolicyV2| p.contents = 99,
            |p: &mut PolicyV2| p.names = 1,
            |p: &mut PolicyV2| p.names = 99,
            |p: &mut PolicyV2| p.flags = 0x80,
            |p: &mut PolicyV2| p.reserved[1] = 1,
            |p: &mut PolicyV2| p.log2_data_unit_size = 3,
            |p: &mut PolicyV2| p.log2_data_unit_size = 20,
            // Both ask for inode numbers that stay.
            |p: &mut PolicyV2| p.flags = 0x08,
            |p: &mut PolicyV2| p.flags = 0x10,
        ] {
            let mut p = policy;
            change(&mut p);
            all.push(format!("{p:?}: {}", told(d.set_policy(p))));
        }
        all.push(format!("still none: {}", told(d.policy())));
        Ok(all)
    })
}

/// What is made in an encrypted directory is encrypted alike, but for special files; the disk is
/// clean.
fn handed_on_as_ext4(t: &mut T) -> Res {
    both_with(t, ENCRYPT, |t| {
        let mut all = Vec::new();
        let d = crypt_dir(t, "d", 1)?;
        let policy = d.policy()?;
        let p = |name: &str| t.p(&format!("d/{name}"));
        sys::create(&p("file"))?;
        sys::mkdir(&p("sub"), 0o755)?;
        sys::create(&p("sub/file"))?;
        sys::symlink("nowhere", &p("short"))?;
        sys::symlink(&"long/".repeat(40), &p("long"))?;
        for (kind, name) in [
            (libc::S_IFIFO, "pipe"),
            (libc::S_IFCHR, "null"),
            (libc::S_IFSOCK, "sock"),
        ] {
            sys::mknod(&p(name), kind | 0o600, libc::makedev(1, 3))?;
        }
        let flags = libc::O_TMPFILE | libc::O_RDWR;
        let tmp = sys::open(&t.p("d"), flags, 0o600)?;
        all.push(format!(
            "tmpfile: {}",
            told(tmp.policy().map(|p| p == policy))
        ));
        sys::link_fd(&tmp, &p("linked"))?;
        for name in [
            "file", "sub", "sub/file", "short", "long", "pipe", "null", "sock", "linked",
        ] {
            let (path, size) = (format!("d/{name}"), sys::lstat(&p(name))?.st_size);
            all.push(format!("{name}: {} {size}", is_encrypted(t, &path)));
        }
        for name in ["file", "sub", "sub/file", "linked"] {
            let f = sys::rdonly(&p(name))?;
            let same = told(f.policy().map(|p| p == policy));
            let own = told(f.nonce().map(|nonce| Ok(nonce) != d.nonce().map_err(drop)));
            all.push(format!("{name}: {same} {own}"));
        }
        all.push(told(sys::readlink(&p("short"))));
        all.push(told(sys::readlink(&p("long"))));
        let most = |n: usize| "x".repeat(n);
        for n in [57, 58, 59, 60, 61, 4093, 4094, 4095] {
            let name = p(&format!("l{n}"));
            let made = told(sys::symlink(&most(n), &name));
            let seen = told(sys::readlink(&name).map(|to| to.len()));
            all.push(format!("link of {n}: {made} {seen}"));
        }
        for n in [1, 15, 16, 17, 254, 255, 256] {
            all.push(format!(
                "name of {n}: {}",
                told(sys::mkdir(&p(&most(n)), 0o755))
            ));
        }
        drop((d, tmp));
        t.umount()?;
        t.fsck()?;
        t.mount("")?;
        Ok(all)
    })
}

/// Names that move between directories: plain, of one key, of another one.
fn moves_as_ext4(t: &mut T) -> Res {
    both_with(t, ENCRYPT, |t| {
        let mut all = Vec::new();
        new_dir(t, "plain")?;
        let _kept = (
            crypt_dir(t, "a", 1)?,
            crypt_dir(t, "a2", 1)?,
            crypt_dir(t, "b", 2)?,
        );
        let dirs = ["plain", "a", "a2", "b"];
        for from in dirs {
            for to in dirs {
                let (x, y) = (t.p(&format!("{from}/x")), t.p(&format!("{to}/y")));
                let (sub, new) = (t.p(&format!("{from}/s")), t.p(&format!("{to}/n")));
                let p = t.p(&format!("{from}/p"));
                let make = || -> Res {
                    sys::create(&x)?;
                    sys::create(&y)?;
                    sys::mkdir(&sub, 0o755)?;
                    sys::mknod(&p, libc::S_IFIFO | 0o600, 0)?;
                    Ok(())
                };
                make()?;
                let mut did = vec![told(sys::link(&x, &new))];
                let _ = sys::unlink(&new);
                did.push(told(sys::rename2(&x, &y, libc::RENAME_EXCHANGE)));
                did.push(told(sys::rename2(&sub, &y, libc::RENAME_EXCHANGE)));
                did.push(told(sys::rename2(&x, &new, libc::RENAME_NOREPLACE)));
                did.push(told(sys::rename(&p, &new)));
                did.push(told(sys::rename2(&y, &x, libc::RENAME_WHITEOUT)));
                did.push(told(sys::rename(&sub, &t.p(&format!("{to}/z")))));
                all.push(format!("{from} {to}: {}", did.join(" ")));
                for name in dirs {
                    for e in crate::fixture::names(&t.p(name))? {
                        all.push(format!("{name}/{e}"));
                        let path = t.p(&format!("{name}/{e}"));
                        if sys::rmdir(&path).is_err() {
                            sys::unlink(&path)?;
                        }
                    }
                }
            }
        }
        Ok(all)
    })
}

/// What is made where nothing is encrypted, by the mount option.
fn dummy_as_ext4(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("only one of the two is there");
    }
    let ours = t.fs.clone();
    let mut seen = Vec::new();
    for fs in ["ext4", &ours] {
        t.fs = fs.to_string();
        let mut all = Vec::new();
        for option in ["", "=v2", "=v3", "=v1"] {
            t.mkfs(64, ENCRYPT)?;
            let mounted = t.try_mount(0, &format!("test_dummy_encryption{option}"));
            all.push(format!("{option}: {}", told(mounted.clone())));
            if mounted.is_err() {
                continue;
            }
            for name in ["d", "d/sub"] {
                all.push(told(sys::mkdir(&t.p(name), 0o755)));
            }
            all.push(told(sys::symlink("to", &t.p("link"))));
            all.push(told(sys::readlink(&t.p("link"))));
            all.push(told(dir(t, "").map_or(Ok(vec![]), |d| d.policy())));
            if let Ok(d) = dir(t, "d") {
                all.push(told(d.policy()));
            }
            for other in ["test_dummy_encryption=v1", "test_dummy_encryption=v2"] {
                all.push(format!("remount {other}: {}", told(t.remount(0, other))));
            }
            all.push(told(t.remount(0, "")));
            t.umount()?;
            t.fsck()?;
        }
        t.mkfs(64, &["-O", "^encrypt"])?;
        all.push(told(t.try_mount(0, "test_dummy_encryption")));
        seen.push(all);
    }
    let differ: Vec<_> = seen[1]
        .iter()
        .zip(&seen[0])
        .filter(|(a, b)| a != b)
        .collect();
    ensure!(differ.is_empty(), "rext4, then ext4: {differ:?}");
    same!(seen[0].len(), seen[1].len(), "answers");
    Ok(())
}

/// Without the feature.
fn absent_as_ext4(t: &mut T) -> Res {
    both_with(t, &["-O", "^encrypt"], |t| {
        let d = new_dir(t, "d")?;
        Ok(vec![
            told(d.add_key(&key(1))),
            told(d.set_policy(PolicyV2::new([1; 16]))),
            told(d.policy()),
            told(d.policy_v1()),
            told(d.nonce()),
            told(d.salt()),
            told(d.key_status(KeyName::V2([1; 16]))),
            told(d.remove_key(KeyName::V2([1; 16]))),
        ])
    })
}

/// The salt is made once and kept; a mount that cannot write makes none.
fn salt(t: &mut T) -> Res {
    t.mkfs(64, ENCRYPT)?;
    t.try_mount(libc::MS_RDONLY, "")?;
    errno!(dir(t, "")?.salt(), EROFS);
    t.umount()?;
    t.mount("")?;
    let first = dir(t, "")?.salt()?;
    ensure!(first != [0; 16], "zeros");
    same!(dir(t, "")?.salt()?, first, "asked again");
    t.umount()?;
    t.fsck()?;
    t.try_mount(libc::MS_RDONLY, "")?;
    same!(dir(t, "")?.salt()?, first, "after a mount");
    Ok(())
}
