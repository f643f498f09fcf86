// SPDX-License-Identifier: GPL-2.0
//! Buffered reads and writes.

use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, ALL, BOTH_MAPS, FEATS, ONE};
use crate::sys;
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("data/sizes", FEATS, sizes).quick(),
    Case::new("data/overwrite", BOTH_MAPS, overwrite).quick(),
    Case::new("data/holes", BOTH_MAPS, holes).quick(),
    Case::new("data/sparse_far", ALL, sparse_far),
    Case::new("data/append", BOTH_MAPS, append),
    Case::new("data/open_trunc", BOTH_MAPS, open_trunc),
    Case::new("data/vectors", ONE, vectors),
    Case::new("data/splice", BOTH_MAPS, splice),
    Case::new("data/many_files", BOTH_MAPS, many_files).quick(),
    Case::new("data/nospace_free_blocks", ALL, blocks_count),
    Case::new("data/parallel", BOTH_MAPS, parallel).quick(),
    Case::new("data/max_size", ALL, max_size),
];

/// Sizes around every boundary, in one write and in odd pieces.
fn sizes(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.var.bs;
    let list = [
        1,
        2,
        511,
        512,
        bs - 1,
        bs,
        bs + 1,
        4095,
        4096,
        4097,
        5 * bs + 7,
        65535,
        65536,
        65537,
        1 << 20,
        (1 << 20) + 13,
        (2 << 20) + 4095,
    ];
    for (i, n) in list.iter().enumerate() {
        let f = put(&t.p(&format!("w{i}")), i as u64, *n)?;
        holds(&f, 0, &pattern(i as u64, 0, *n), "just written")?;
        same!(f.pread(&mut [0; 16], *n as u64)?, 0, "read at EOF");
        let g = sys::create(&t.p(&format!("p{i}")))?;
        let data = pattern(i as u64 + 100, 0, *n);
        let mut at = 0;
        for piece in data.chunks(977) {
            g.pwrite(piece, at)?;
            at += piece.len() as u64;
        }
    }
    for round in ["caches dropped", "remounted"] {
        if round == "remounted" {
            t.cycle()?;
        } else {
            t.drop_caches()?;
        }
        for (i, n) in list.iter().enumerate() {
            for (name, seed) in [("w", i), ("p", i + 100)] {
                let f = sys::rdonly(&t.p(&format!("{name}{i}")))?;
                same!(f.size()?, *n as u64, "size, {round}");
                holds(&f, 0, &pattern(seed as u64, 0, *n), round)?;
                let mid = *n / 3;
                holds(
                    &f,
                    mid as u64,
                    &pattern(seed as u64, mid as u64, *n - mid),
                    round,
                )?;
            }
        }
    }
    Ok(())
}

/// Writes over parts of a file, of any length at any offset, replace those bytes and no others.
fn overwrite(t: &mut T) -> Res {
    t.fresh()?;
    let len = 1 << 20;
    let f = put(&t.p("f"), 1, len)?;
    let mut want = pattern(1, 0, len);
    f.fsync()?;
    let mut r = fastrand::Rng::with_seed(11);
    for step in 0..400u64 {
        let off = r.usize(..len - 1);
        let n = r.usize(1..=(len - off).min(9000));
        let d = pattern(step + 10, off as u64, n);
        f.pwrite(&d, off as u64)?;
        want[off..off + n].copy_from_slice(&d);
        if step % 100 == 50 {
            f.fsync()?;
            f.dontneed()?;
        }
    }
    holds(&f, 0, &want, "cached")?;
    same!(f.size()?, len as u64, "size");
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    drop(f);
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    Ok(())
}

/// Writes with gaps: the gaps read as zeros, take no blocks, and stay when filled around.
fn holes(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    let len = (bs * 64 + 100) as usize;
    let mut want = vec![0u8; len];
    // A block, part of a block across a boundary, single bytes, the end.
    let pieces = [
        (3, bs),
        (8 * bs - 5, 10),
        (20 * bs + 17, 1),
        (40 * bs, 4 * bs),
        (64 * bs + 99, 1),
    ];
    for (i, (off, n)) in pieces.iter().enumerate() {
        let d = pattern(i as u64, *off, *n as usize);
        f.pwrite(&d, *off)?;
        want[*off as usize..(*off + *n) as usize].copy_from_slice(&d);
        if i == 2 {
            holds(&f, 0, &want[..f.size()? as usize], "part")?;
            f.fsync()?;
        }
    }
    holds(&f, 0, &want, "cached")?;
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    let blocks = f.stat()?.st_blocks as u64 * 512 / bs;
    // Ten blocks of data; five extents do not fit the inode, so one of the tree.
    ensure!(
        (10..=11).contains(&blocks),
        "{blocks} blocks used, want 10 or 11"
    );
    // Only a size: one huge hole.
    let g = sys::create(&t.p("g"))?;
    g.truncate(5 << 20)?;
    same!(g.stat()?.st_blocks, 0, "blocks of a hole");
    holds(&g, 0, &vec![0; 5 << 20], "hole")?;
    drop((f, g));
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    holds(
        &sys::rdonly(&t.p("g"))?,
        0,
        &vec![0; 5 << 20],
        "hole, remounted",
    )?;
    Ok(())
}

/// Bytes far behind 4 GiB, up to a file's last block, hold, and the holes between take no space.
fn sparse_far(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let f = sys::create(&t.p("f"))?;
    // Beyond 32 bits of bytes, and near the last logical block the format can name.
    let last = (u32::MAX as u64 - 1) * bs;
    let offs = [0, (4 << 30) - 10, (4 << 30) + bs, 1 << 40, last - bs];
    for (i, off) in offs.iter().enumerate() {
        f.pwrite(&pattern(i as u64, *off, 100), *off)?;
    }
    same!(f.size()?, last - bs + 100, "size");
    drop(f);
    t.cycle()?;
    let f = sys::rdonly(&t.p("f"))?;
    same!(f.size()?, last - bs + 100, "size, remounted");
    for (i, off) in offs.iter().enumerate() {
        holds(&f, *off, &pattern(i as u64, *off, 100), "far away")?;
    }
    holds(&f, (1 << 39) + 5, &[0; 10000], "between")?;
    ensure!(
        f.stat()?.st_blocks < 200,
        "a sparse file took {} sectors",
        f.stat()?.st_blocks
    );
    Ok(())
}

/// Two writers with O_APPEND never write over each other, and pwrite appends there too.
fn append(t: &mut T) -> Res {
    t.fresh()?;
    let p = t.p("f");
    let f = sys::open(&p, libc::O_CREAT | libc::O_WRONLY | libc::O_APPEND, 0o644)?;
    let g = sys::open(&p, libc::O_WRONLY | libc::O_APPEND, 0)?;
    let mut want = Vec::new();
    let mut r = fastrand::Rng::with_seed(5);
    for i in 0..500u64 {
        let d = pattern(i, 0, r.usize(1..3000));
        let w = if i % 2 == 0 { &f } else { &g };
        same!(w.write(&d)?, d.len(), "append");
        want.extend_from_slice(&d);
        if i % 120 == 60 {
            w.fsync()?;
        }
    }
    // pwrite on an O_APPEND file appends too, as Linux documents.
    f.pwrite_once(b"tail", 0)?;
    want.extend_from_slice(b"tail");
    drop((f, g));
    holds(&sys::rdonly(&p)?, 0, &want, "cached")?;
    t.cycle()?;
    let f = sys::rdonly(&p)?;
    same!(f.size()?, want.len() as u64, "size");
    holds(&f, 0, &want, "remounted")?;
    Ok(())
}

/// O_TRUNC empties a file and its space is free again.
fn open_trunc(t: &mut T) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    for i in 0..20u64 {
        let f = put(&t.p("f"), i, 300_000)?;
        holds(&f, 0, &pattern(i, 0, 300_000), "rewritten")?;
        if i % 3 == 0 {
            f.fsync()?;
        }
    }
    let f = sys::open(&t.p("f"), libc::O_RDWR | libc::O_TRUNC, 0)?;
    same!(
        (f.size()?, f.stat()?.st_blocks),
        (0, 0),
        "size and blocks after O_TRUNC"
    );
    f.fsync()?;
    t.cycle_with(f)?;
    same!(sys::lstat(&t.p("f"))?.st_size, 0, "size, remounted");
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free blocks");
    Ok(())
}

/// A gathered write is one write; a source that cannot be read is EFAULT and changes nothing.
fn vectors(t: &mut T) -> Res {
    t.fresh()?;
    let f = sys::create(&t.p("f"))?;
    let parts: Vec<Vec<u8>> = (0..50u64)
        .map(|i| pattern(i, 0, (i as usize * 997) % 6000))
        .collect();
    let iov: Vec<libc::iovec> = parts
        .iter()
        .map(|p| libc::iovec {
            iov_base: p.as_ptr() as *mut _,
            iov_len: p.len(),
        })
        .collect();
    let want: Vec<u8> = parts.concat();
    // SAFETY: the iovecs point to live vectors.
    let n = unsafe { libc::pwritev(f.raw, iov.as_ptr(), iov.len() as i32, 123) };
    same!(n, want.len() as isize, "pwritev");
    holds(&f, 123, &want, "gathered")?;
    // A source that faults half way: what was copied counts, the rest is untouched.
    let m = crate::map::Map::new(&f, 0, 4096, libc::PROT_READ, libc::MAP_SHARED)?;
    // SAFETY: deliberately beyond the mapping, into an unmapped page or one that is not ours to
    // read.
    let n = unsafe { libc::pwrite(f.raw, m.addr().cast(), 4096, 1 << 20) };
    same!(n, 4096, "write from a mapping of the file itself");
    holds(&f, 1 << 20, &m.read(0, 4096), "copied from its own mapping")?;
    // SAFETY: an address that is never mapped.
    let n = unsafe { libc::pwrite(f.raw, 4096 as *const _, 100, 2 << 20) };
    ensure!(
        n < 0 && sys::errno() == libc::EFAULT,
        "write from a bad address gave {n}"
    );
    // The kernel's ext4 moves the size to where the failed write would have begun.
    if t.ours() {
        same!(f.size()?, (1 << 20) + 4096, "size after EFAULT");
    }
    Ok(())
}

/// sendfile and copy_file_range move a file's bytes unchanged.
fn splice(t: &mut T) -> Res {
    t.fresh()?;
    let len = 700_001;
    let f = put(&t.p("f"), 3, len)?;
    let g = sys::create(&t.p("g"))?;
    let mut off: libc::off_t = 0;
    while (off as usize) < len {
        // SAFETY: two open files and a valid offset.
        let n = unsafe { libc::sendfile(g.raw, f.raw, &mut off, len) };
        ensure!(n > 0, "sendfile gave {n} at {off}");
    }
    holds(&g, 0, &pattern(3, 0, len), "sent")?;
    let h = sys::create(&t.p("h"))?;
    let (mut a, mut b) = (0i64, 0i64);
    while (a as usize) < len {
        // SAFETY: two open files and valid offsets.
        let n = unsafe {
            libc::syscall(
                libc::SYS_copy_file_range,
                f.raw,
                &mut a,
                h.raw,
                &mut b,
                len,
                0,
            )
        };
        ensure!(n > 0, "copy_file_range gave {n} at {a}");
    }
    t.drop_caches()?;
    holds(&h, 0, &pattern(3, 0, len), "copied")?;
    holds(&g, 0, &pattern(3, 0, len), "sent, from disk")?;
    Ok(())
}

/// A thousand files of different sizes keep their contents over an unmount.
fn many_files(t: &mut T) -> Res {
    t.fresh()?;
    for d in 0..10 {
        sys::mkdir(&t.p(&format!("d{d}")), 0o755)?;
        for i in 0..100u64 {
            put(
                &t.p(&format!("d{d}/f{i}")),
                d * 1000 + i,
                (i * 173 + d) as usize % 20_000,
            )?;
        }
    }
    t.cycle()?;
    for d in 0..10 {
        for i in 0..100u64 {
            let f = sys::rdonly(&t.p(&format!("d{d}/f{i}")))?;
            let n = (i * 173 + d) as usize % 20_000;
            same!(f.size()?, n as u64, "size of d{d}/f{i}");
            holds(&f, 0, &pattern(d * 1000 + i, 0, n), "remounted")?;
        }
    }
    Ok(())
}

/// st_blocks and statfs count what is allocated or promised, and go back to the start.
fn blocks_count(t: &mut T) -> Res {
    t.fresh()?;
    let bs = t.bs();
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let f = put(&t.p("f"), 1, 1 << 20)?;
    let n = (1 << 20) / bs;
    let used = free - sys::statfs(&t.p(""))?.f_bfree;
    // Tree blocks are promised with the data, for the worst case.
    ensure!(
        (n..=n + n / 16 + 8).contains(&used),
        "1 MiB not yet written back takes {used} blocks of {n}"
    );
    same!(
        f.stat()?.st_blocks as u64 * 512 / bs,
        n,
        "st_blocks before writeback"
    );
    f.fsync()?;
    same!(
        f.stat()?.st_blocks as u64 * 512 / bs,
        n,
        "st_blocks after writeback"
    );
    let used = free - sys::statfs(&t.p(""))?.f_bfree;
    ensure!(
        (n..=n + 8).contains(&used),
        "1 MiB written takes {used} blocks of {n}"
    );
    f.pwrite(&pattern(2, 0, 1 << 20), 0)?;
    f.fsync()?;
    same!(
        free - sys::statfs(&t.p(""))?.f_bfree,
        used,
        "used after overwriting"
    );
    // Never written back, then truncated away: the promise must be returned.
    let g = put(&t.p("g"), 1, 2 << 20)?;
    g.truncate(0)?;
    drop(g);
    sys::unlink(&t.p("g"))?;
    let h = put(&t.p("h"), 1, 2 << 20)?;
    drop(h);
    sys::unlink(&t.p("h"))?;
    same!(
        free - sys::statfs(&t.p(""))?.f_bfree,
        used,
        "used after dropping delayed blocks"
    );
    drop(f);
    sys::unlink(&t.p("f"))?;
    sys::sync();
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free at the end");
    t.cycle()?;
    same!(sys::statfs(&t.p(""))?.f_bfree, free, "free after remount");
    Ok(())
}

/// Threads on files of their own and on regions of one shared file.
fn parallel(t: &mut T) -> Res {
    t.fresh()?;
    let shared = sys::create(&t.p("shared"))?;
    let region = 256 * 1024u64;
    let dir = t.p("");
    std::thread::scope(|s| -> Res {
        let hs: Vec<_> = (0..4u64)
            .map(|k| {
                let (dir, shared) = (&dir, &shared);
                s.spawn(move || -> Res {
                    let mut r = fastrand::Rng::with_seed(k);
                    for i in 0..60u64 {
                        let n = r.usize(1..60_000);
                        let name = format!("{dir}/t{k}-{i}");
                        let f = put(&name, k * 100 + i, n)?;
                        if i % 9 == 0 {
                            f.fsync()?;
                        }
                        holds(&f, 0, &pattern(k * 100 + i, 0, n), "own file")?;
                        if i % 3 == 0 {
                            sys::unlink(&name)?;
                        }
                        let at = k * region + (i * 4099) % (region - 5000);
                        shared.pwrite(&pattern(k, at, 5000), at)?;
                    }
                    shared.pwrite(&pattern(k, k * region, region as usize), k * region)?;
                    Ok(())
                })
            })
            .collect();
        for h in hs {
            h.join()
                .map_err(|_| crate::harness::Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    t.drop_caches()?;
    for k in 0..4u64 {
        holds(
            &shared,
            k * region,
            &pattern(k, k * region, region as usize),
            "shared file",
        )?;
    }
    Ok(())
}

/// A file grows to the largest size the format has, and not a byte further.
fn max_size(t: &mut T) -> Res {
    t.fresh()?;
    // Logical blocks have 32 bits and the last cannot be used.
    let max = u32::MAX as u64 * t.bs();
    let f = sys::create(&t.p("f"))?;
    errno!(f.truncate(max + 1), EFBIG);
    errno!(f.pwrite_once(b"x", max), EFBIG);
    f.truncate(max)?;
    same!(f.size()?, max, "largest size");
    f.pwrite(b"end", max - 3)?;
    holds(&f, max - 3, b"end", "last bytes")?;
    // A write across the limit is cut short.
    same!(
        f.pwrite_once(b"abcdef", max - 3)?,
        3,
        "write across the limit"
    );
    f.fsync()?;
    drop(f);
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, max - 3, b"abc", "remounted")?;
    Ok(())
}
