// SPDX-License-Identifier: GPL-2.0
//! ACLs: who may do what, what new inodes get, how modes and ACLs go together; and what goes from
//! a program that somebody writes to. All compared with ext4.

use crate::cases::namespace::xattr::both;
use crate::cases::power::crash;
use crate::fixture::{put, T};
use crate::harness::{Case, Res, Variant, FEATS, K1, K4, ONE};
use crate::sys::{self, Sys};
use crate::xattr;
use crate::{ensure, errno, same};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("acl/enforced", ONE, enforced).quick(),
    Case::new("acl/as_ext4", FEATS, |t| both(t, |t| random(t, 1)))
        .secs(120)
        .quick(),
    Case::new("acl/as_ext4_again", TWO, |t| both(t, |t| random(t, 2))).secs(120),
    Case::new("acl/off", ONE, off),
    Case::new("acl/apart", ONE, apart).quick(),
    Case::new("acl/chmod_power_cut", TWO, chmod_power_cut),
    Case::new("acl/capabilities", TWO, capabilities).quick(),
];

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// Tags, of `include/uapi/linux/posix_acl.h`.
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// An ACL as the system calls have it.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

const NONE: u32 = u32::MAX;

/// With a user and a group by name.
fn long(r: &mut fastrand::Rng) -> Vec<u8> {
    let mut list = vec![(USER_OBJ, r.u16(..8), NONE)];
    let users = r.u32(..4);
    list.extend((0..users).map(|n| (USER, r.u16(..8), 1000 + n)));
    list.push((GROUP_OBJ, r.u16(..8), NONE));
    if r.bool() {
        list.push((GROUP, r.u16(..8), 2000));
    }
    if list.len() > 2 {
        list.push((MASK, r.u16(..8), NONE));
    }
    list.push((OTHER, r.u16(..8), NONE));
    acl(&list)
}

fn answer(result: Sys<()>) -> String {
    result.map_or_else(|e| sys::errname(e.errno), |()| "ok".to_string())
}

fn make(path: &str, kind: u32, mode: u32) -> Sys<()> {
    match kind {
        0 => sys::mkdir(path, mode),
        1 => sys::mknod(path, libc::S_IFIFO | mode, 0),
        2 => sys::symlink("x", path),
        3 => {
            let dir = path.rsplit_once('/').map_or(path, |(dir, _)| dir);
            let flags = libc::O_TMPFILE | libc::O_RDWR;
            let file = sys::open(dir, flags, mode)?;
            sys::link_fd(&file, path)
        }
        _ => sys::open(path, libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, mode).map(drop),
    }
}

/// Random calls in a tree of three levels.
fn random(t: &mut T, seed: u64) -> Res<Vec<String>> {
    let mut r = fastrand::Rng::with_seed(seed);
    let mut answers = Vec::new();
    for i in 0..800 {
        let levels = r.u32(1..4);
        let path: Vec<String> = (0..levels).map(|_| format!("n{}", r.u32(..4))).collect();
        let path = t.p(&path.join("/"));
        let mode = r.u32(..0o10000);
        // SAFETY: A number; only this process has it.
        unsafe { libc::umask([0o22, 0, 0o77, 0o7][r.usize(..4)]) };
        let said = match r.u32(..14) {
            0..=4 => answer(make(&path, r.u32(..7), mode)),
            5 | 6 => answer(xattr::set(&path, ACCESS, &long(&mut r), 0)),
            7 | 8 => answer(xattr::set(&path, DEFAULT, &long(&mut r), 0)),
            9 => answer(xattr::remove(&path, [ACCESS, DEFAULT][r.usize(..2)])),
            10 | 11 if !path.contains("x") => answer(sys::chmod(&path, mode)),
            12 => answer(sys::lchown(&path, r.u32(..3), r.u32(..3))),
            _ => answer(sys::unlink(&path).or_else(|_| sys::rmdir(&path))),
        };
        let mode = sys::lstat(&path).map_or(0, |st| st.st_mode);
        answers.push(format!("{i} {path}: {said} {mode:o}"));
    }
    // SAFETY: As above.
    unsafe { libc::umask(0o22) };
    Ok(answers)
}

/// Runs `f` as another user; what it says is a small number.
pub fn as_user(id: u32, f: impl Fn() -> i32) -> i32 {
    // SAFETY: The child calls nothing that may take a lock of another thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: Only the child changes, and ends.
        unsafe {
            libc::setgroups(0, std::ptr::null());
            libc::setresgid(id, id, id);
            libc::setresuid(id, id, id);
            libc::_exit(f());
        }
    }
    let mut status = 0;
    // SAFETY: The child is ours, and the status is written to our memory.
    unsafe { libc::waitpid(child, &mut status, 0) };
    libc::WEXITSTATUS(status)
}

/// Bit 0: may read, bit 1: may write.
fn rights(path: &str, id: u32) -> i32 {
    as_user(id, || {
        let may = |flags| i32::from(sys::open(path, flags, 0).is_ok());
        may(libc::O_RDONLY) + 2 * may(libc::O_WRONLY)
    })
}

/// A user who is named may do what the ACL says, from memory and from the disk.
fn enforced(t: &mut T) -> Res {
    t.fresh()?;
    let f = t.p("f");
    put(&f, 1, 100)?;
    sys::chmod(&f, 0o600)?;
    same!(rights(&f, 1000), 0, "before");
    let list = acl(&[
        (USER_OBJ, 6, NONE),
        (USER, 6, 1000),
        (USER, 4, 1001),
        (GROUP_OBJ, 0, NONE),
        (MASK, 6, NONE),
        (OTHER, 0, NONE),
    ]);
    xattr::set(&f, ACCESS, &list, 0)?;
    for again in [false, true] {
        if again {
            t.cycle()?;
        }
        same!(rights(&f, 1000), 3, "the first");
        same!(rights(&f, 1001), 1, "the second");
        same!(rights(&f, 1002), 0, "somebody else");
        same!(xattr::get(&f, ACCESS)?, list, "the list");
        same!(sys::lstat(&f)?.st_mode & 0o7777, 0o660, "mode");
    }
    // The group's bits are the mask.
    sys::chmod(&f, 0o640)?;
    same!(rights(&f, 1000), 1, "with a mask of r");
    t.cycle()?;
    same!(rights(&f, 1000), 1, "with a mask of r, from the disk");
    // An ACL that is a mode is none.
    let mode = acl(&[(USER_OBJ, 7, NONE), (GROUP_OBJ, 5, NONE), (OTHER, 1, NONE)]);
    xattr::set(&f, ACCESS, &mode, 0)?;
    errno!(xattr::get(&f, ACCESS), ENODATA);
    same!(sys::lstat(&f)?.st_mode & 0o7777, 0o751, "mode");
    errno!(xattr::set(&f, DEFAULT, &list, 0), EACCES);
    errno!(xattr::set(&f, ACCESS, &list[..20], 0), EINVAL);
    t.umount()
}

/// With `noacl` there are none to be seen, and they come back.
fn off(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let list = long(&mut fastrand::Rng::with_seed(3));
    xattr::set(&t.p("d"), DEFAULT, &list, 0)?;
    t.umount()?;
    t.mount("noacl")?;
    errno!(xattr::get(&t.p("d"), DEFAULT), EOPNOTSUPP);
    errno!(xattr::set(&t.p("d"), DEFAULT, &list, 0), EOPNOTSUPP);
    same!(xattr::list(&t.p("d"))?.len(), 0, "names");
    // SAFETY: A number; only this process has it.
    unsafe { libc::umask(0o27) };
    let made = make(&t.p("d/f"), 9, 0o666);
    // SAFETY: As above.
    unsafe { libc::umask(0o22) };
    made?;
    same!(sys::lstat(&t.p("d/f"))?.st_mode & 0o777, 0o640, "umask");
    t.remount(0, "acl")?;
    same!(xattr::get(&t.p("d"), DEFAULT)?, list, "after a remount");
    t.umount()
}

/// A mode that was changed without the ACL: chmod brings them together, also to the same mode.
fn apart(t: &mut T) -> Res {
    t.fresh()?;
    let f = t.p("f");
    put(&f, 1, 100)?;
    let list = acl(&[
        (USER_OBJ, 6, NONE),
        (USER, 6, 1000),
        (GROUP_OBJ, 0, NONE),
        (MASK, 6, NONE),
        (OTHER, 0, NONE),
    ]);
    xattr::set(&f, ACCESS, &list, 0)?;
    t.umount()?;
    t.mount("noacl")?;
    sys::chmod(&f, 0o640)?;
    t.cycle()?;
    same!(rights(&f, 1000), 3, "as the ACL says");
    sys::chmod(&f, 0o640)?;
    same!(rights(&f, 1000), 1, "as the mode says");
    t.cycle()?;
    same!(rights(&f, 1000), 1, "from the disk");
    t.umount()
}

/// A mode and its ACL change together.
fn chmod_power_cut(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let f = t.p("f");
    put(&f, 1, 0)?;
    let list = [
        (USER_OBJ, 6, NONE),
        (USER, 7, 1000),
        (GROUP_OBJ, 7, NONE),
        (MASK, 7, NONE),
        (OTHER, 0, NONE),
    ];
    xattr::set(&f, ACCESS, &acl(&list), 0)?;
    for i in 0..200 {
        sys::chmod(&f, 0o600 + (i % 8) * 0o10)?;
        if i % 16 == 0 {
            put(&t.p(&format!("other{i}")), 1, 10)?.fsync()?;
        }
    }
    crash::crash(t, &d)?;
    let mode = sys::lstat(&f)?.st_mode;
    let value = xattr::get(&f, ACCESS)?;
    let mask = value[4 + 8 * 3 + 2];
    same!(
        u32::from(mask),
        mode >> 3 & 7,
        "the mask and the mode {mode:o}"
    );
    t.umount()?;
    t.fsck()
}

/// `security.capability` goes from a file when it is written, truncated or given away.
fn capabilities(t: &mut T) -> Res {
    const NAME: &str = "security.capability";
    t.fresh()?;
    let f = t.p("f");
    // cap_net_raw, permitted and effective: of version 2.
    let value: Vec<u8> = [0x0200_0001u32, 1 << 13, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    for (what, act) in [
        (
            "write",
            (|f: &str| sys::rdwr(f)?.pwrite(b"x", 0)) as fn(&str) -> Sys<()>,
        ),
        ("direct", |f| {
            sys::direct(f)?.pwrite(&sys::Aligned::of(&[1; 4096])[..], 0)
        }),
        ("truncate", |f| sys::truncate(f, 100)),
        ("fallocate", |f| sys::rdwr(f)?.fallocate(0, 0, 20000)),
        ("chown", |f| sys::lchown(f, 5, 5)),
    ] {
        for again in [false, true] {
            put(&f, 1, 8192)?.fsync()?;
            xattr::set(&f, NAME, &value, 0)?;
            if again {
                t.cycle()?;
            }
            same!(xattr::get(&f, NAME)?.len(), 20, "{what}: before");
            act(&f)?;
            errno!(xattr::get(&f, NAME), ENODATA);
        }
    }
    ensure!(xattr::list(&f)?.is_empty(), "something is left");
    t.umount()
}
