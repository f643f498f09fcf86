// SPDX-License-Identifier: GPL-2.0
//! Direct I/O: synchronous, libaio and io_uring.

use crate::cases::content::falloc::KEEP;
use crate::fixture::{diff_at, holds, pattern, put, slowness, T};
use crate::harness::{Case, Res, Stop, ALL, BOTH_MAPS, ONE};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, errno, same, skip};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    Case::new("dio/aligned", BOTH_MAPS, aligned).quick(),
    Case::new("dio/unaligned", BOTH_MAPS, unaligned).quick(),
    Case::new("dio/append", BOTH_MAPS, append).quick(),
    Case::new("dio/holes", BOTH_MAPS, holes).quick(),
    Case::new("dio/preallocated", ALL, preallocated),
    Case::new("dio/eof", BOTH_MAPS, eof),
    Case::new("dio/large", ONE, large),
    Case::new("dio/collapse", ONE, collapse).quick(),
    Case::new("dio/setuid", ONE, setuid).quick(),
];

fn dread(d: &Fd, off: u64, len: usize) -> Res<Vec<u8>> {
    let mut b = Aligned::new(len);
    let n = d.pread_once(&mut b, off)?;
    Ok(b[..n].to_vec())
}

/// Aligned direct reads and writes and the page cache see the same bytes.
fn aligned(t: &mut T) -> Res {
    t.fresh()?;
    let len = 1 << 20;
    let f = put(&t.p("f"), 1, len)?;
    let d = sys::direct(&t.p("f"))?;
    let mut want = pattern(1, 0, len);
    ensure!(dread(&d, 0, len)? == want, "direct read over dirty pages");
    let mut r = fastrand::Rng::with_seed(2);
    for i in 0..120u64 {
        let o = r.usize(..len / 4096) * 4096;
        let n = (r.usize(1..20) * 4096).min(len - o);
        let x = pattern(i, o as u64, n);
        d.pwrite(&Aligned::of(&x), o as u64)?;
        want[o..o + n].copy_from_slice(&x);
        if i % 3 == 0 {
            holds(&f, 0, &want, "buffered after direct")?;
        } else {
            same!(
                diff_at(&dread(&d, 0, len)?, &want),
                None,
                "direct after direct"
            );
        }
    }
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    // Blocks below the page size, where the format has them.
    let bs = t.var.bs;
    let x = pattern(77, 0, bs);
    d.pwrite(&Aligned::of(&x), 5 * bs as u64)?;
    want[5 * bs..6 * bs].copy_from_slice(&x);
    holds(&f, 0, &want, "one block")?;
    Ok(())
}

/// Below the block size: served or refused with EINVAL, never wrong.
fn unaligned(t: &mut T) -> Res {
    t.fresh()?;
    let len = 200_000;
    let f = put(&t.p("f"), 1, len)?;
    f.fsync()?;
    let d = sys::direct(&t.p("f"))?;
    let mut want = pattern(1, 0, len);
    let buf = Aligned::of(&pattern(2, 0, 16_384));
    let mut served = 0;
    for (off, n) in [
        (512, 512),
        (512, 4096),
        (1024, 3 * 512),
        (4096 - 512, 1024),
        (8192, 512),
        (100 * 512, 9 * 512),
    ] {
        match d.pwrite_once(&buf[..n], off as u64) {
            Ok(k) => {
                same!(k, n, "bytes written at {off}");
                want[off..off + n].copy_from_slice(&buf[..n]);
                served += 1;
            }
            Err(e) => same!(e.errno, libc::EINVAL, "direct write {n}@{off}"),
        }
        holds(&f, 0, &want, &format!("after {n}@{off}"))?;
        match dread(&d, off as u64, n) {
            Ok(g) => same!(
                diff_at(&g, &want[off..off + n]),
                None,
                "direct read {n}@{off}"
            ),
            Err(Stop::Fail(s)) if s.contains("EINVAL") => {}
            Err(e) => return Err(e),
        }
    }
    if t.var.bs == 1024 {
        ensure!(served > 0, "no write of whole sectors was served");
    }
    into_new_blocks(t, &buf)?;
    errno!(d.pwrite_once(&buf[..100], 0), EINVAL);
    errno!(d.pwrite_once(&buf[..4096], 100), EINVAL);
    halves_of_blocks(t, &buf, served > 0)
}

/// Sectors into fresh blocks: the rest of the block must be zero.
fn into_new_blocks(t: &mut T, buf: &Aligned) -> Res {
    let g = sys::direct(&t.p("g"))?;
    g.truncate(40_960)?;
    let mut want = vec![0; 40_960];
    let b = sys::rdwr(&t.p("g"))?;
    for pre in [false, true] {
        let o = if pre { 20_480 } else { 0 };
        if pre && !t.extents() {
            break;
        }
        if pre {
            b.fallocate(0, 16_384, 16_384)?;
        }
        if g.pwrite_once(&buf[..512], o as u64 + 512).is_ok() {
            want[o + 512..o + 1024].copy_from_slice(&buf[..512]);
        }
        t.drop_caches()?;
        holds(
            &b,
            0,
            &want,
            &format!("sector into a new block, preallocated {pre}"),
        )?;
    }
    Ok(())
}

/// Two threads in the two halves of one block (generic/240's race).
fn halves_of_blocks(t: &mut T, buf: &Aligned, served: bool) -> Res {
    let h = sys::direct(&t.p("h"))?;
    h.truncate(1 << 20)?;
    std::thread::scope(|s| {
        for half in 0..2u64 {
            let h = &h;
            s.spawn(move || {
                for i in 0..100u64 {
                    let _ = h.pwrite_once(&buf[..512], i * 4096 + half * 512);
                }
            });
        }
    });
    let h = sys::rdonly(&t.p("h"))?;
    if served {
        t.drop_caches()?;
        for i in 0..100u64 {
            for half in 0..2u64 {
                holds(&h, i * 4096 + half * 512, &buf[..512], "halves of a block")?;
            }
        }
    }
    Ok(())
}

/// Direct writes at and beyond the end move the size, and a gap reads as zeros.
fn append(t: &mut T) -> Res {
    t.fresh()?;
    let d = sys::direct(&t.p("f"))?;
    let f = sys::rdonly(&t.p("f"))?;
    let mut want = Vec::new();
    for i in 0..60u64 {
        let x = pattern(i, 0, 4096 * (1 + i as usize % 5));
        d.pwrite(&Aligned::of(&x), want.len() as u64)?;
        want.extend_from_slice(&x);
        same!(f.size()?, want.len() as u64, "size after appending");
        if i % 7 == 0 {
            holds(&f, 0, &want, "buffered")?;
        }
    }
    // Beyond EOF with a gap; then O_APPEND.
    let gap = want.len() + 32_768;
    let x = pattern(99, 0, 8192);
    d.pwrite(&Aligned::of(&x), gap as u64)?;
    want.resize(gap, 0);
    want.extend_from_slice(&x);
    let a = sys::open(
        &t.p("f"),
        libc::O_WRONLY | libc::O_DIRECT | libc::O_APPEND,
        0,
    )?;
    same!(a.write(&Aligned::of(&x))?, 8192, "O_APPEND");
    want.extend_from_slice(&x);
    holds(&f, 0, &want, "with a gap")?;
    // A buffered tail that is no multiple of a block, then direct behind it.
    let b = sys::rdwr(&t.p("f"))?;
    b.pwrite(b"tail", want.len() as u64)?;
    want.extend_from_slice(b"tail");
    let o = want.len().next_multiple_of(4096);
    d.pwrite(&Aligned::of(&x), o as u64)?;
    want.resize(o, 0);
    want.extend_from_slice(&x);
    holds(&f, 0, &want, "behind a buffered tail")?;
    drop((a, b, d, f));
    t.cycle()?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(f.size()?, want.len() as u64, "size, remounted");
    holds(&f, 0, &want, "remounted")?;
    Ok(())
}

/// Direct I/O over holes reads zeros and fills them, beside dirty pages too.
fn holes(t: &mut T) -> Res {
    t.fresh()?;
    let len = 600_000usize.next_multiple_of(4096);
    let d = sys::direct(&t.p("f"))?;
    let f = sys::rdwr(&t.p("f"))?;
    d.truncate(len as u64)?;
    let mut want = vec![0; len];
    same!(
        diff_at(&dread(&d, 0, len)?, &want),
        None,
        "direct read of a hole"
    );
    let mut r = fastrand::Rng::with_seed(21);
    for i in 0..60u64 {
        let o = r.usize(..len / 4096) * 4096;
        let n = (r.usize(1..6) * 4096).min(len - o);
        match i % 4 {
            3 => {
                f.punch(o as u64, n as u64)?;
                want[o..o + n].fill(0);
            }
            // Dirty delayed blocks beside and under the direct write.
            2 => {
                let x = pattern(i + 500, 0, 3000.min(len - o));
                f.pwrite(&x, o as u64)?;
                want[o..o + x.len()].copy_from_slice(&x);
            }
            _ => {
                let x = pattern(i, 0, n);
                d.pwrite(&Aligned::of(&x), o as u64)?;
                want[o..o + n].copy_from_slice(&x);
            }
        }
        same!(
            diff_at(&dread(&d, 0, len)?, &want),
            None,
            "direct read at step {i}"
        );
    }
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    Ok(())
}

/// Direct writes into preallocated space show, and what they did not write stays zeros.
fn preallocated(t: &mut T) -> Res {
    t.fresh()?;
    let len = 1 << 20;
    let d = sys::direct(&t.p("f"))?;
    d.fallocate(0, 0, len as u64)?;
    let mut want = vec![0; len];
    same!(
        diff_at(&dread(&d, 0, len)?, &want),
        None,
        "direct read of preallocated space"
    );
    let mut r = fastrand::Rng::with_seed(22);
    for i in 0..40u64 {
        let o = r.usize(..len / 4096) * 4096;
        let n = (r.usize(1..9) * 4096).min(len - o);
        let x = pattern(i, 0, n);
        d.pwrite(&Aligned::of(&x), o as u64)?;
        want[o..o + n].copy_from_slice(&x);
    }
    same!(diff_at(&dread(&d, 0, len)?, &want), None, "direct read");
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "buffered read")?;
    // Blocks kept beyond EOF: the write moves the size.
    let g = sys::direct(&t.p("g"))?;
    g.fallocate(KEEP, 0, 1 << 20)?;
    g.pwrite(&Aligned::of(&pattern(5, 0, 8192)), 4096)?;
    same!(g.size()?, 12_288, "size");
    drop((d, g));
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    holds(
        &sys::rdonly(&t.p("g"))?,
        0,
        &[vec![0; 4096], pattern(5, 0, 8192)].concat(),
        "remounted",
    )?;
    Ok(())
}

/// A direct read ends at the end of the file.
fn eof(t: &mut T) -> Res {
    t.fresh()?;
    let len = 10_000;
    let f = put(&t.p("f"), 1, len)?;
    let d = sys::direct(&t.p("f"))?;
    same!(dread(&d, 0, 65_536)?.len(), len, "direct read across EOF");
    same!(
        dread(&d, 8192, 4096)?,
        pattern(1, 8192, len - 8192),
        "direct read of the tail"
    );
    same!(dread(&d, 12_288, 4096)?.len(), 0, "direct read behind EOF");
    same!(
        dread(&d, 1 << 30, 4096)?.len(),
        0,
        "direct read far behind EOF"
    );
    f.fsync()?;
    same!(
        dread(&d, 0, 16_384)?,
        pattern(1, 0, len),
        "direct read after sync"
    );
    let e = sys::direct(&t.p("e"))?;
    same!(dread(&e, 0, 4096)?.len(), 0, "direct read of an empty file");
    Ok(())
}

/// One direct request of 16 MiB, or of many scattered pages, is done as a whole.
fn large(t: &mut T) -> Res {
    t.fresh_mb(128)?;
    let len = 16 << 20;
    let d = sys::direct(&t.p("f"))?;
    let x = pattern(1, 0, len);
    same!(
        d.pwrite_once(&Aligned::of(&x), 0)?,
        len,
        "one write of 16 MiB"
    );
    ensure!(dread(&d, 0, len)? == x, "one read of 16 MiB");
    // A vector of single pages, out of order in memory.
    let b = Aligned::of(&x[..1 << 20]);
    let iov: Vec<libc::iovec> = (0..256usize)
        .map(|i| {
            let at = (i * 97 % 256) * 4096;
            libc::iovec {
                iov_base: b[at..].as_ptr() as *mut _,
                iov_len: 4096,
            }
        })
        .collect();
    // SAFETY: every iovec points into b.
    let n = unsafe { libc::pwritev(d.raw, iov.as_ptr(), 256, 32 << 20) };
    same!(n, 1 << 20, "direct pwritev");
    let want: Vec<u8> = (0..256)
        .flat_map(|i| b[(i * 97 % 256) * 4096..][..4096].to_vec())
        .collect();
    holds(&sys::rdonly(&t.p("f"))?, 32 << 20, &want, "gathered")?;
    Ok(())
}

/// What was written directly is what read(2) returns, also while somebody makes huge folios of the
/// file all the time. The kernel's ext4 fails here.
fn collapse(t: &mut T) -> Res {
    const HUGE: usize = 2 << 20;
    if !sys::exists("/sys/kernel/mm/transparent_hugepage") {
        skip!("this kernel has no huge pages");
    }
    t.fresh()?;
    let f = put(&t.p("f"), 1, HUGE)?;
    f.fsync()?;
    let (d, m) = (sys::direct(&t.p("f"))?, Map::huge(&f, HUGE)?);
    let over = AtomicBool::new(false);
    let writes = || -> Res {
        let mut r = fastrand::Rng::with_seed(1);
        let begun = Instant::now();
        for i in 0.. {
            if begun.elapsed() > Duration::from_secs(8) {
                break;
            }
            let at = r.u64(..(HUGE / 4096) as u64) * 4096;
            let x = pattern(i, at, 4096);
            d.pwrite(&Aligned::of(&x), at)?;
            holds(&f, at, &x, "after a direct write")?;
        }
        Ok(())
    };
    std::thread::scope(|s| {
        s.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = m.collapse();
            }
        });
        let end = writes();
        over.store(true, Ordering::Relaxed);
        end
    })
}

/// A direct write by a user, for whom a thread of its own is at an end.
fn as_user(d: &sys::Fd, at: u64) -> Res {
    // SAFETY: Of this thread only, which ends with it.
    let gone = unsafe { libc::syscall(libc::SYS_setresuid, 1000, 1000, 1000) };
    same!(gone, 0, "setresuid");
    d.pwrite(&Aligned::of(&pattern(3, 0, 4096)), at)?;
    Ok(())
}

/// Two users' direct writes and a chmod wait for the inode's lock, the chmod before them. When they
/// came there was nothing to strip, so that they wait for it shared; when they get it there is.
fn setuid(t: &mut T) -> Res {
    t.fresh()?;
    let path = t.p("f");
    let f = put(&path, 1, 8192)?;
    let d = sys::direct(&path)?;
    let long = vec![7; 48 << 20];
    let pause = || std::thread::sleep(Duration::from_millis(10 * slowness()));
    for round in 0..5 {
        sys::chmod(&path, 0o755)?;
        // Finds that there is nothing to strip.
        d.pwrite(&Aligned::of(&pattern(2, 0, 4096)), 0)?;
        std::thread::scope(|s| -> Res {
            let holder = s.spawn(|| f.pwrite(&long, 8192));
            pause();
            let chmod = s.spawn(|| sys::chmod(&path, 0o6755));
            pause();
            let d = &d;
            let writers = [0, 4096].map(|at| s.spawn(move || as_user(d, at)));
            for writer in writers {
                writer.join().unwrap()?;
            }
            holder.join().unwrap()?;
            chmod.join().unwrap()?;
            Ok(())
        })?;
        let mode = sys::lstat(&path)?.st_mode & 0o7777;
        ensure!(
            mode & 0o4000 == 0 || mode == 0o6755,
            "mode {mode:o} in round {round}"
        );
        // Whichever came last: a write after both leaves neither bit.
        std::thread::scope(|s| s.spawn(|| as_user(&d, 0)).join().unwrap())?;
        let mode = sys::lstat(&path)?.st_mode & 0o7777;
        same!(mode, 0o755, "mode after another write, round {round}");
        f.truncate(8192)?;
    }
    Ok(())
}
