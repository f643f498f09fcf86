// SPDX-License-Identifier: GPL-2.0
//! Encrypted files with keys that are added and taken away, and with all kinds of policies.

use crate::cases::content::encrypted::{scribble, ENC};
use crate::crypt::{key, KeyName, PolicyV2};
use crate::fixture::{holds, knows_fs, pattern, put, MNT, T};
use crate::harness::{Case, Res};
use crate::map::Map;
use crate::sys::{self, Aligned};
use crate::{ensure, errno, same, skip};

pub const CASES: &[Case] = &[
    Case::new("crypt/data_policies", ENC, policies),
    Case::new("crypt/data_key_removed", ENC, key_removed).quick(),
    Case::new("crypt/data_key_of_busy", ENC, key_of_busy).quick(),
];

/// `FSCRYPT_POLICY_FLAG_*`.
const INO_LBLK_64: u8 = 8;
pub const INO_LBLK_32: u8 = 16;
/// `FSCRYPT_MODE_ADIANTUM`.
const ADIANTUM: u8 = 9;
/// `FSCRYPT_KEY_REMOVAL_STATUS_FLAG_FILES_BUSY`.
const BUSY: u32 = 1;

/// Gives the mounted file system the key of all cases.
pub fn add_key(t: &T) -> Res<[u8; 16]> {
    match sys::rdonly(&t.p(""))?.add_key(&key(1)) {
        Err(e) if e.errno == libc::EOPNOTSUPP || e.errno == libc::ENOTTY => {
            skip!("neither kernel nor file system encrypt: {e}")
        }
        added => Ok(added?),
    }
}

fn remove_key(t: &T, id: [u8; 16]) -> Res<u32> {
    Ok(sys::rdonly(&t.p(""))?.remove_key(KeyName::V2(id))?)
}

/// A directory in which all is encrypted.
pub fn encrypted_dir(path: &str, policy: PolicyV2) -> sys::Sys<()> {
    sys::mkdir(path, 0o755)?;
    sys::rdonly(path)?.set_policy(policy)
}

/// The directories that there are policies for.
fn directories(t: &T, id: [u8; 16]) -> Res<Vec<String>> {
    let usual = PolicyV2::new(id);
    let mut all = vec![("plain".to_string(), usual)];
    for bits in 9..=t.bs().ilog2() as u8 {
        let units = PolicyV2 {
            log2_data_unit_size: bits,
            ..usual
        };
        all.push((format!("units{bits}"), units));
    }
    for (name, more) in [("lblk64", INO_LBLK_64), ("lblk32", INO_LBLK_32)] {
        let numbered = PolicyV2 {
            flags: usual.flags | more,
            ..usual
        };
        all.push((name.to_string(), numbered));
    }
    let other = PolicyV2 {
        contents: ADIANTUM,
        names: ADIANTUM,
        ..usual
    };
    all.push(("adiantum".to_string(), other));
    let mut made = Vec::new();
    for (name, policy) in all {
        let path = t.p(&name);
        let done = encrypted_dir(&path, policy);
        let done = done.and_then(|()| sys::create(&format!("{path}/first")).map(drop));
        match done {
            // Only where blocks are pages.
            Err(e) if policy.flags & INO_LBLK_32 != 0 => same!(e.errno, libc::EINVAL, "{name}"),
            // Not all kernels have all ciphers.
            Err(e) if policy.contents == ADIANTUM => {
                ensure!(
                    [libc::ENOPKG, libc::ENOKEY].contains(&e.errno),
                    "{name}: {e}"
                );
            }
            done => {
                done?;
                made.push(name);
            }
        }
    }
    Ok(made)
}

/// With units smaller than blocks and with other ways to number them, written here and by the
/// kernel's ext4 in turn.
fn policies(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "encrypt,stable_inodes"])?;
    t.mount("")?;
    let id = add_key(t)?;
    let names = directories(t, id)?;
    ensure!(names.len() >= 4, "{names:?} only");
    let mut models = vec![<[Vec<u8>; 6]>::default(); names.len()];
    let ours = t.fs.clone();
    let rounds = if knows_fs("ext4") { 4 } else { 1 };
    for round in 0..rounds {
        for (name, model) in names.iter().zip(&mut models) {
            scribble(t, name, round * 7 + 1, model)?;
        }
        t.umount()?;
        t.fsck()?;
        let fs = match round % 2 {
            0 if rounds > 1 => "ext4",
            _ => &ours,
        };
        let dev = t.dev.clone();
        t.mount_as(&dev, MNT, fs, 0, "")?;
        same!(add_key(t)?, id, "identifier");
        for (name, model) in names.iter().zip(&models) {
            for (i, want) in model.iter().enumerate() {
                let file = format!("{name}/f{i}");
                t.file_holds(&file, want, &format!("round {round}, by {fs}"))?;
            }
        }
    }
    Ok(())
}

/// The key goes: no byte can be had any more, though all was in the page cache. What was dirty is
/// on disk, and all is there when the key comes back.
fn key_removed(t: &mut T) -> Res {
    t.fresh()?;
    let id = add_key(t)?;
    encrypted_dir(&t.p("d"), PolicyV2::new(id))?;
    let want = pattern(1, 0, 200_000);
    put(&t.p("d/synced"), 1, want.len())?.fsync()?;
    put(&t.p("d/dirty"), 1, want.len())?;
    let names = ["synced", "dirty"];
    let sizes = |t: &T| -> Res<Vec<(String, u64)>> {
        let mut all = Vec::new();
        for name in crate::fixture::names(&t.p("d"))? {
            let size = sys::lstat(&t.p(&format!("d/{name}")))?.st_size as u64;
            all.push((name, size));
        }
        Ok(all)
    };
    for _ in 0..3 {
        for name in names {
            t.file_holds(&format!("d/{name}"), &want, "with the key")?;
        }
        same!(remove_key(t, id)?, 0, "status");
        errno!(sys::rdonly(&t.p("d/synced")), ENOENT);
        let shown = sizes(t)?;
        same!(shown.len(), 2, "names without the key");
        for (name, size) in shown {
            let path = t.p(&format!("d/{name}"));
            same!(size, want.len() as u64, "size without the key");
            errno!(sys::rdonly(&path), ENOKEY);
            errno!(sys::open(&path, libc::O_RDWR | libc::O_DIRECT, 0), ENOKEY);
            errno!(sys::truncate(&path, 0), ENOKEY);
        }
        errno!(sys::create(&t.p("d/new")), ENOKEY);
        same!(add_key(t)?, id, "identifier");
    }
    t.cycle()?;
    for (name, _) in sizes(t)? {
        errno!(sys::rdonly(&t.p(&format!("d/{name}"))), ENOKEY);
    }
    add_key(t)?;
    for name in names {
        t.file_holds(&format!("d/{name}"), &want, "mounted again")?;
    }
    Ok(())
}

/// The key of files that are in use goes: who has them open reads and writes on, in every way.
fn key_of_busy(t: &mut T) -> Res {
    t.fresh()?;
    let id = add_key(t)?;
    encrypted_dir(&t.p("d"), PolicyV2::new(id))?;
    let len = 16 * 4096;
    let mut want = pattern(1, 0, len);
    let f = put(&t.p("d/f"), 1, len)?;
    let d = sys::direct(&t.p("d/f"))?;
    let m = Map::shared(&f, len)?;
    let other = put(&t.p("d/other"), 2, len)?;
    drop(other);
    same!(remove_key(t, id)?, BUSY, "status");
    for (i, at) in [0usize, 8192, 20_000].into_iter().enumerate() {
        let bytes = pattern(5 + i as u64, at as u64, 5000);
        f.pwrite(&bytes, at as u64)?;
        want[at..at + 5000].copy_from_slice(&bytes);
    }
    m.write(50_000, &[7; 3000]);
    want[50_000..53_000].fill(7);
    f.fsync()?;
    f.dontneed()?;
    holds(&f, 0, &want, "read anew")?;
    d.pwrite(&Aligned::of(&[9; 4096]), 40_960)?;
    want[40_960..45_056].fill(9);
    let mut got = Aligned::new(len);
    same!(d.pread(&mut got, 0)?, len, "bytes read directly");
    ensure!(got[..] == want[..], "bytes read directly");
    f.truncate(60_001)?;
    f.truncate(len as u64)?;
    want[60_001..].fill(0);
    t.holds_both(&f, &want, "cut")?;
    f.pwrite(&[1; 100], 100)?;
    want[100..200].fill(1);
    // The last of it is dirty when it is closed for good.
    drop((m, d, f));
    // Removed in part it already is: what was busy goes now.
    let again = sys::rdonly(&t.p(""))?.remove_key(KeyName::V2(id));
    errno!(
        again.and_then(|_| sys::rdonly(&t.p("d/f"))),
        ENOENT | ENOKEY
    );
    add_key(t)?;
    t.file_holds("d/f", &want, "later")?;
    t.file_holds("d/other", &pattern(2, 0, len), "another file")
}
