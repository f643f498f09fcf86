// SPDX-License-Identifier: GPL-2.0
//! Reading directories whose names have one hash: positions while names go, seeks, 32-bit readers.

use crate::cases::namespace::dirs::{dir, getdents, parse, read_all, Entry};
use crate::fixture::{names, run_cmd, T};
use crate::harness::{Case, Res, K1, K4, ONE, SMALL};
use crate::sys::{self, Fd, Sys};
use crate::{ensure, same, skip};
use std::collections::{BTreeMap, BTreeSet};

pub const CASES: &[Case] = &[
    Case::new("dirs_hash/removed_while_read", &[K1, K4], removed).quick(),
    Case::new("dirs_hash/changed_while_read", SMALL, changed),
    Case::new("dirs_hash/seeks", &[K1, K4], seeks),
    Case::new("dirs_hash/two_readers", ONE, two_readers),
    Case::new("dirs_hash/positions_32bit", &[K1, K4], narrow).quick(),
    Case::new("dirs_hash/chosen", &[K1], chosen),
];

/// With 80 times `p` before them names of one legacy hash, 0x2ec16242: three or more leaves of 1
/// KiB.
const SAME_HASH: [&str; 40] = [
    "aaaaaaa", "6zcfjkq", "xvfv9ra", "vbos7zj", "xra9a0q", "a5rc1rb", "v03ziat", "ls4totb",
    "idfpmrs", "76l31r4", "21zqrud", "l8zf1v4", "e67h4m8", "kp5v7rl", "oj8g9zv", "cbjxy6x",
    "w9myrta", "623ryp2", "w2myk11", "vy3heg0", "1tuc4d7", "zjnd6ay", "t45xhv6", "rbzg8hq",
    "z94lp9w", "guhxfbr", "y7b8usi", "0kj7hyp", "u9g5260", "c1ra1ea", "jpd626v", "a22v9e0",
    "p3u9d77", "rfsltiw", "t3ew6t5", "efwalor", "m3ujrpf", "mk3fn7z", "gho3zqe", "irz795j",
];

fn same_hash() -> impl Iterator<Item = String> {
    SAME_HASH.iter().map(|s| format!("{}{s}", "p".repeat(80)))
}

/// A buffer for one or two of these names.
const SMALL_BUFFER: usize = 130;

/// An image with this hash for new indexes, and a directory `d` with names of one hash among
/// others.
fn made(t: &mut T, alg: &str) -> Res<BTreeSet<String>> {
    t.mkfs(64, &[])?;
    let (code, text) = run_cmd("tune2fs", &["-E", &format!("hash_alg={alg}"), &t.dev])?;
    ensure!(code == 0, "tune2fs: {text}");
    for name in same_hash().take(3) {
        let (_, text) = run_cmd(
            "debugfs",
            &["-R", &format!("dx_hash -h legacy {name}"), &t.dev],
        )?;
        ensure!(text.contains("0x2ec16242"), "another hash: {text}");
    }
    t.mount("")?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let mut all = BTreeSet::new();
    let first = t.p(&format!("d/{}{}", "p".repeat(80), SAME_HASH[0]));
    let others = (0..100).map(|i| format!("other-{i}-{}", "x".repeat(i % 30)));
    for (i, name) in same_hash().chain(others).enumerate() {
        // Hard links: the order of names may not hang on inode numbers.
        match i % 3 {
            2 => sys::link(&first, &t.p(&format!("d/{name}")))?,
            _ => drop(sys::create(&t.p(&format!("d/{name}")))?),
        }
        all.insert(name);
    }
    Ok(all)
}

fn plain(e: &[Entry]) -> impl Iterator<Item = &Entry> {
    e.iter().filter(|e| e.name != "." && e.name != "..")
}

/// What `rm -r` does: nothing may be left.
fn removed(t: &mut T) -> Res {
    for (alg, size) in [
        ("legacy", SMALL_BUFFER),
        ("legacy", 700),
        ("half_md4", 300),
        ("tea", 300),
    ] {
        let all = made(t, alg)?;
        let d = dir(&t.p("d"))?;
        let mut seen = BTreeSet::new();
        loop {
            let e = getdents(&d, size)?;
            if e.is_empty() {
                break;
            }
            for e in plain(&e) {
                ensure!(seen.insert(e.name.clone()), "{alg}: {} twice", e.name);
                sys::unlink(&t.p(&format!("d/{}", e.name)))?;
            }
        }
        let left: Vec<_> = all.difference(&seen).collect();
        ensure!(
            left.is_empty(),
            "{alg}, buffer of {size}: not listed: {left:?}"
        );
        drop(d);
        sys::rmdir(&t.p("d"))?;
        t.umount()?;
    }
    Ok(())
}

/// Names that stay are listed once, while others of their hash go and come, and leaves split.
fn changed(t: &mut T) -> Res {
    for alg in ["legacy", "half_md4"] {
        let all = made(t, alg)?;
        let same: Vec<String> = same_hash().collect();
        let d = dir(&t.p("d"))?;
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        let (mut turn, mut gone) = (0, BTreeSet::new());
        loop {
            let e = getdents(&d, SMALL_BUFFER)?;
            if e.is_empty() {
                break;
            }
            for e in plain(&e) {
                *count.entry(e.name.clone()).or_default() += 1;
            }
            // Every second one goes, at once behind the reader or before it; those of odd turns
            // come back.
            let name = &same[turn * 2 % same.len()];
            match gone.contains(name) {
                false => sys::unlink(&t.p(&format!("d/{name}")))?,
                true => drop(sys::create(&t.p(&format!("d/{name}")))?),
            }
            gone.insert(name.clone());
            sys::create(&t.p(&format!("d/new-{turn}-{}", "y".repeat(60))))?;
            turn += 1;
        }
        for name in all.difference(&gone) {
            same!(count.get(name), Some(&1), "{alg}: times {name} was listed");
        }
        drop(d);
        t.umount()?;
    }
    Ok(())
}

/// From a position that telldir(3) gave nothing is missing that came behind it.
fn seeks(t: &mut T) -> Res {
    let all = made(t, "legacy")?;
    let d = dir(&t.p("d"))?;
    let whole = read_all(&d, 1 << 20)?;
    same!(plain(&whole).count(), all.len(), "names");
    d.seek(0, libc::SEEK_SET)?;
    same!(read_all(&d, SMALL_BUFFER)?, whole, "small buffers");
    for (i, e) in whole.iter().enumerate().step_by(3) {
        // Somewhere among names of one position, so that it is not remembered but sought.
        d.seek(e.next, libc::SEEK_SET)?;
        getdents(&d, SMALL_BUFFER)?;
        d.seek(e.next, libc::SEEK_SET)?;
        let rest: Vec<String> = read_all(&d, 400)?.into_iter().map(|e| e.name).collect();
        let unique: BTreeSet<_> = rest.iter().collect();
        same!(unique.len(), rest.len(), "names twice from behind {i}");
        for e in &whole[i + 1..] {
            ensure!(unique.contains(&e.name), "{} missing behind {i}", e.name);
        }
    }
    // Where one is may be asked for.
    d.seek(0, libc::SEEK_SET)?;
    let mut v = Vec::new();
    loop {
        let e = getdents(&d, SMALL_BUFFER)?;
        d.seek(0, libc::SEEK_CUR)?;
        if e.is_empty() {
            break;
        }
        v.extend(e);
    }
    same!(v, whole, "with lseek(0, SEEK_CUR) between");
    Ok(())
}

/// Two open directories do not know of each other's position.
fn two_readers(t: &mut T) -> Res {
    let all = made(t, "legacy")?;
    let (a, b) = (dir(&t.p("d"))?, dir(&t.p("d"))?);
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    loop {
        let (x, y) = (getdents(&a, SMALL_BUFFER)?, getdents(&b, 400)?);
        if x.is_empty() && y.is_empty() {
            break;
        }
        of_a.extend(x);
        of_b.extend(y);
    }
    same!(plain(&of_a).count(), all.len(), "names");
    same!(of_a, of_b, "what two readers see");
    Ok(())
}

/// getdents64 as a 32-bit program calls it.
#[cfg(target_arch = "x86_64")]
fn getdents_32bit(d: &Fd, size: usize) -> Sys<Vec<Entry>> {
    const NR_GETDENTS64: u64 = 220;
    // SAFETY: a new mapping, in the first 2 GiB, where a 32-bit pointer can name it.
    let b = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        )
    };
    let mut ret = NR_GETDENTS64;
    // SAFETY: the system call gate of 32-bit programs; it writes to our mapping only. rbx is not
    // ours to name.
    unsafe {
        std::arch::asm!(
            "xchg {fd}, rbx",
            "int 0x80",
            "xchg {fd}, rbx",
            fd = inout(reg) d.raw as u64 => _,
            inout("rax") ret,
            in("rcx") b,
            in("rdx") size as u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let n = ret as i32;
    let bytes = match n {
        // SAFETY: the call filled these.
        0.. => unsafe { std::slice::from_raw_parts(b.cast::<u8>(), n as usize) }.to_vec(),
        _ => Vec::new(),
    };
    // SAFETY: our mapping.
    unsafe { libc::munmap(b, size) };
    if n < 0 {
        return Err(sys::SysErr {
            what: format!("32-bit getdents {}", d.name),
            errno: -n,
        });
    }
    Ok(parse(&bytes))
}

#[cfg(not(target_arch = "x86_64"))]
fn getdents_32bit(d: &Fd, size: usize) -> Sys<Vec<Entry>> {
    getdents(d, size)
}

/// A 32-bit program gets positions that its `off_t` holds, and all names.
fn narrow(t: &mut T) -> Res {
    // A setting of the kernel's for 32-bit programs, there if it runs them.
    if !sys::exists("/proc/sys/abi/vsyscall32") || cfg!(not(target_arch = "x86_64")) {
        skip!("no 32-bit programs here");
    }
    let all = made(t, "half_md4")?;
    sys::mkdir(&t.p("d/small"), 0o755)?;
    sys::create(&t.p("d/small/x"))?;
    for name in ["d", "d/small"] {
        let d = dir(&t.p(name))?;
        let mut seen = Vec::new();
        loop {
            let e = getdents_32bit(&d, SMALL_BUFFER)?;
            if e.is_empty() {
                break;
            }
            for e in &e {
                let bits = 64 - (e.next as u64).leading_zeros();
                ensure!(bits <= 31, "a position of {bits} bits behind {}", e.name);
            }
            seen.extend(e);
        }
        let want = names(&t.p(name))?;
        let mut got: Vec<_> = plain(&seen).map(|e| e.name.clone()).collect();
        for e in seen.iter().step_by(17) {
            d.seek(e.next, libc::SEEK_SET)?;
            let next = getdents_32bit(&d, 4096)?;
            let at = seen.iter().position(|x| x.name == e.name).unwrap_or(0) + 1;
            same!(next.first(), seen.get(at), "behind {}", e.name);
        }
        got.sort();
        same!(got, want, "names of {name}");
    }
    same!(names(&t.p("d"))?.len(), all.len() + 1, "names");
    Ok(())
}

/// Behind 100 times `p` each row is two ways to one state of the legacy hash, whatever was taken of
/// the rows before it.
const TWO_WAYS: [[&str; 2]; 10] = [
    ["A!!sNW", "A!!~Yb"],
    ["=!!'2o", "=!!^i8"],
    ["q#!Nsr", "q#!sNM"],
    ["'$!(P5", "'$!>fK"],
    [")!!+<C", ")!!GX'"],
    ["$!!)UR", "$!!+WT"],
    [")(!@K9", ")(!lwe"],
    ["W%!1:)", "W%!]fU"],
    ["|!!2fO", "|!!IOf"],
    ["&!!.5.", "&!!JQJ"],
];

/// As many names of one hash as fill some hundred blocks.
fn chosen_names() -> impl Iterator<Item = String> {
    (0..1 << TWO_WAYS.len()).map(|nr| {
        let middle: String = (TWO_WAYS.iter().enumerate())
            .map(|(i, ways)| ways[nr >> i & 1])
            .collect();
        format!("{}{middle}{}", "p".repeat(100), "z".repeat(95))
    })
}

/// Anybody can choose names of one hash: however many blocks they fill, they are listed, and go.
fn chosen(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    let (code, text) = run_cmd("tune2fs", &["-E", "hash_alg=legacy", &t.dev])?;
    ensure!(code == 0, "tune2fs: {text}");
    t.mount("")?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let mut all = BTreeSet::new();
    let others = (0..50).map(|i| format!("other-{i}"));
    for (i, name) in chosen_names().chain(others).enumerate() {
        match i % 8 {
            0 => drop(sys::create(&t.p(&format!("d/{name}")))?),
            _ => sys::link(&t.p("d/first"), &t.p(&format!("d/{name}")))?,
        }
        if i == 0 {
            sys::link(&t.p(&format!("d/{name}")), &t.p("d/first"))?;
        }
        all.insert(name);
    }
    all.insert("first".into());
    let d = dir(&t.p("d"))?;
    let mut whole = Vec::new();
    for size in [1 << 20, 32 << 10, 700] {
        d.seek(0, libc::SEEK_SET)?;
        let e = read_all(&d, size)?;
        let names: BTreeSet<_> = plain(&e).map(|e| e.name.clone()).collect();
        same!(
            plain(&e).count(),
            names.len(),
            "names twice, buffer of {size}"
        );
        ensure!(names == all, "{} of {} names", names.len(), all.len());
        ensure!(whole.is_empty() || whole == e, "another order");
        whole = e;
    }
    for i in (0..whole.len()).step_by(111) {
        d.seek(whole[i].next, libc::SEEK_SET)?;
        let rest: BTreeSet<_> = read_all(&d, 32 << 10)?
            .into_iter()
            .map(|e| e.name)
            .collect();
        for e in &whole[i + 1..] {
            ensure!(rest.contains(&e.name), "{} missing behind {i}", e.name);
        }
    }
    d.seek(0, libc::SEEK_SET)?;
    loop {
        let e = getdents(&d, 2000)?;
        if e.is_empty() {
            break;
        }
        for e in plain(&e) {
            ensure!(all.remove(&e.name), "{} twice", e.name);
            sys::unlink(&t.p(&format!("d/{}", e.name)))?;
        }
    }
    ensure!(all.is_empty(), "{} names not listed", all.len());
    sys::rmdir(&t.p("d"))?;
    Ok(())
}
