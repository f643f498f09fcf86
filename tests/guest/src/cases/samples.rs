// SPDX-License-Identifier: GPL-2.0
//! samples/rofs, the second file system on rust/vfs: romfs images that genromfs made.

use crate::cases::namespace::tree;
use crate::fixture::{holds, pattern, run_cmd, MNT, T};
use crate::harness::{Case, Res, ONE};
use crate::map::Map;
use crate::module;
use crate::sys;
use crate::{ensure, errno, fail, same, skip};
use std::ffi::CStr;

pub const CASES: &[Case] = &[
    Case::new("rofs/reads", ONE, reads).quick().secs(120),
    Case::new("rofs/read_only", ONE, read_only),
    Case::new("rofs/damaged", ONE, damaged).quick(),
];

/// Where the files of an image come from, and the image.
const SOURCE: &str = "/tmp/rofs";
const IMAGE: &str = "/tmp/rofs.img";

const NAME: &CStr = c"rofs";

/// The module, as long as a case needs it.
struct Module;

impl Module {
    fn load() -> Res<Module> {
        match std::env::var("REXT4_ROFS") {
            Ok(path) if !path.is_empty() => module::load(&path)?,
            _ => skip!("no module of samples/rofs was given (--rofs)"),
        }
        Ok(Module)
    }

    /// rmmod: refused as long as anything of it is in use.
    fn remove(self) -> Res {
        std::mem::forget(self);
        module::unload(NAME).map_err(Into::into)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _ = module::unload(NAME);
    }
}

/// Makes an image of what is in [`SOURCE`].
fn genromfs() -> Res<Vec<u8>> {
    let (code, text) = run_cmd("genromfs", &["-V", "sample", "-d", SOURCE, "-f", IMAGE])?;
    ensure!(code == 0, "genromfs: {}", text.trim());
    Ok(std::fs::read(IMAGE)?)
}

fn to_device(t: &T, image: &[u8]) -> Res {
    let dev = sys::rdwr(&t.dev)?;
    dev.pwrite(image, 0)?;
    Ok(dev.fsync()?)
}

fn mount(t: &mut T) -> sys::Sys<()> {
    let dev = t.dev.clone();
    t.mount_as(&dev, MNT, "rofs", 0, "")
}

fn source(name: &str) -> String {
    format!("{SOURCE}/{name}")
}

/// An empty folder, whatever another case has left.
fn fresh_source() -> Res {
    let _ = std::fs::remove_dir_all(SOURCE);
    Ok(sys::mkdir(SOURCE, 0o755)?)
}

/// Sizes around pieces of 16 bytes, blocks and pages, and one of many folios.
const SIZES: &[usize] = &[
    0,
    1,
    15,
    16,
    17,
    1023,
    1024,
    1025,
    4095,
    4096,
    4097,
    65537,
    9 << 20,
];

/// Files of all types and sizes, long names and targets, a directory that does not fit into one
/// buffer of getdents.
fn fill_source() -> Res {
    fresh_source()?;
    for (seed, len) in SIZES.iter().enumerate() {
        std::fs::write(source(&format!("f{len}")), pattern(seed as u64, 0, *len))?;
    }
    sys::mkdir(&source("many"), 0o755)?;
    for n in 0..400 {
        std::fs::write(source(&format!("many/{n:0>100}")), format!("{n}"))?;
    }
    std::fs::create_dir_all(source("a/b/c"))?;
    std::fs::write(source("a/b/c/deep"), "deep")?;
    sys::link(&source("f4097"), &source("a/again"))?;
    sys::symlink("b/c/deep", &source("a/short"))?;
    sys::symlink(&"x/".repeat(1000), &source("a/long"))?;
    sys::mknod(&source("fifo"), libc::S_IFIFO | 0o600, 0)?;
    sys::mknod(&source("null"), libc::S_IFCHR | 0o600, libc::makedev(1, 3))?;
    Ok(())
}

/// A mapping shows the bytes of the file, and zeros behind its end.
fn mapped(path: &str, want: &[u8]) -> Res {
    let f = sys::rdonly(path)?;
    let len = want.len().next_multiple_of(4096);
    let map = Map::new(&f, 0, len, libc::PROT_READ, libc::MAP_PRIVATE)?;
    let got = map.read(0, len);
    ensure!(got[..want.len()] == *want, "{path}: a mapping shows others");
    let zeros = got[want.len()..].iter().all(|&byte| byte == 0);
    ensure!(zeros, "{path}: a mapping shows what lies behind the file");
    Ok(())
}

/// What genromfs wrote is there: names, types, targets and bytes, by read and by mmap.
fn reads(t: &mut T) -> Res {
    let module = Module::load()?;
    fill_source()?;
    to_device(t, &genromfs()?)?;
    mount(t)?;
    let forget = |n: &mut tree::Node| {
        n.mode &= libc::S_IFMT;
        (n.nlink, n.mtime) = (0, (0, 0));
    };
    let want = tree::read(SOURCE, &mut |_| ())?;
    tree::compare(&tree::read(MNT, &mut |_| ())?, &want, &forget)?;
    for (seed, len) in SIZES.iter().enumerate() {
        let (path, want) = (t.p(&format!("f{len}")), pattern(seed as u64, 0, *len));
        if *len > 0 {
            mapped(&path, &want)?;
        }
        // Across folios, and at no boundary of anything.
        let f = sys::rdonly(&path)?;
        for at in (0..*len).step_by(99_991).chain((0..*len).rev().take(3)) {
            let end = (at + 5003).min(*len);
            holds(&f, at as u64, &want[at..end], "read")?;
        }
    }
    errno!(sys::lstat(&t.p("none")), ENOENT);
    let stat = sys::statfs(MNT)?;
    same!(stat.f_type as u32, 0x7275_u32, "the type");
    t.umount()?;
    module.remove()
}

/// It is mounted read-only and stays so; nothing can be changed.
fn read_only(t: &mut T) -> Res {
    let module = Module::load()?;
    fresh_source()?;
    std::fs::write(source("file"), "text")?;
    to_device(t, &genromfs()?)?;
    mount(t)?;
    for _ in 0..2 {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let line = format!("{MNT} rofs ro,");
        ensure!(mounts.contains(&line), "not mounted read-only: {mounts}");
        errno!(sys::create(&t.p("new")), EROFS);
        errno!(sys::rdwr(&t.p("file")), EROFS);
        errno!(sys::unlink(&t.p("file")), EROFS);
        errno!(sys::chmod(&t.p("file"), 0o777), EROFS);
        sys::mount("none", MNT, "rofs", libc::MS_REMOUNT, "")?;
    }
    errno!(sys::open(&t.p("file"), libc::O_DIRECT, 0), EINVAL);
    // Still in use.
    ensure!(
        module::try_unload(NAME).is_err(),
        "the module went with a mount of it"
    );
    t.umount()?;
    module.remove()
}

/// Where the header of the file called `name` lies.
fn header(image: &[u8], name: &str) -> Res<usize> {
    let mut want = name.as_bytes().to_vec();
    want.push(0);
    let places = (16..image.len() - want.len()).step_by(16);
    match places
        .into_iter()
        .find(|&at| image[at..].starts_with(&want))
    {
        Some(at) => Ok(at - 16),
        None => fail!("no {name} in the image"),
    }
}

/// Makes the words from `at` on sum up to 0 again, by the one of the checksum.
fn mend(image: &mut [u8], at: usize, len: usize) {
    image[at + 12..at + 16].fill(0);
    let words = image[at..at + len].chunks_exact(4);
    let sum = words.fold(0_u32, |sum, w| {
        sum.wrapping_add(u32::from_be_bytes(w.try_into().unwrap()))
    });
    image[at + 12..at + 16].copy_from_slice(&sum.wrapping_neg().to_be_bytes());
}

fn set(image: &mut [u8], at: usize, word: u32) {
    image[at..at + 4].copy_from_slice(&word.to_be_bytes());
}

/// An image whose beginning is wrong is not mounted.
fn refused(t: &mut T, good: &[u8], damage: impl Fn(&mut [u8])) -> Res {
    let mut image = good.to_vec();
    damage(&mut image);
    to_device(t, &image)?;
    errno!(mount(t), EINVAL | EUCLEAN);
    Ok(())
}

/// A damaged header is an error to who meets it; others do not notice.
fn met(t: &mut T, good: &[u8], damage: impl Fn(&mut [u8], usize) -> usize) -> Res {
    let mut image = good.to_vec();
    let at = header(good, "second")?;
    let mended = damage(&mut image, at);
    if mended > 0 {
        mend(&mut image, at, mended);
    }
    mend(&mut image, 0, 512);
    to_device(t, &image)?;
    mount(t)?;
    errno!(sys::lstat(&t.p("dir/second")), EUCLEAN);
    sys::lstat(&t.p("dir"))?;
    holds(&sys::rdonly(&t.p("other"))?, 0, b"other", "a whole file")?;
    t.umount()
}

/// What is wrong in an image is an error, not a loop and not somebody else's memory.
fn damaged(t: &mut T) -> Res {
    let module = Module::load()?;
    fresh_source()?;
    sys::mkdir(&source("dir"), 0o755)?;
    for name in ["first", "second", "third"] {
        std::fs::write(source(&format!("dir/{name}")), name)?;
    }
    std::fs::write(source("other"), "other")?;
    let good = genromfs()?;
    to_device(t, &good)?;
    mount(t)?;
    sys::lstat(&t.p("dir/second"))?;
    t.umount()?;

    refused(t, &good, |image| image[0] ^= 1)?;
    refused(t, &good, |image| image[17] ^= 1)?;
    refused(t, &good, |image| image.fill(0))?;
    refused(t, &good, |image| {
        set(image, 8, !15);
        mend(image, 0, 512);
    })?;
    // The root is a file.
    refused(t, &good, |image| {
        image[32 + 3] = image[32 + 3] & !7 | 2;
        mend(image, 32, 32);
        mend(image, 0, 512);
    })?;

    // Its checksum, for no word of it is mended.
    met(t, &good, |image, at| {
        image[at + 17] ^= 1;
        0
    })?;
    // The next one is itself, or one before.
    met(t, &good, |image, at| {
        set(image, at, at as u32 | 2);
        32
    })?;
    met(t, &good, |image, at| {
        set(image, at, 32 | 2);
        32
    })?;
    // It ends beyond the image.
    met(t, &good, |image, at| {
        set(image, at + 8, u32::MAX);
        32
    })?;
    // Another name of itself.
    met(t, &good, |image, at| {
        let next = u32::from_be_bytes(image[at..at + 4].try_into().unwrap());
        set(image, at, next & !15);
        set(image, at + 4, at as u32);
        32
    })?;
    module.remove()
}
