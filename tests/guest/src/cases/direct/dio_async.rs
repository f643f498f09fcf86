// SPDX-License-Identifier: GPL-2.0
//! Asynchronous direct I/O, and direct I/O against others.

use crate::aio::{Aio, Op};
use crate::dm::Dm;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, ONE};
use crate::sys::{self, Aligned, Fd};
use crate::{ensure, same};
use io_uring::{opcode, types, IoUring};
use std::sync::atomic::{AtomicBool, Ordering};

pub const CASES: &[Case] = &[
    Case::new("dio/libaio", ALL, libaio).quick(),
    Case::new("dio/libaio_append", ALL, libaio_append),
    Case::new("dio/io_uring", ALL, uring).quick(),
    Case::new("dio/nowait", ONE, nowait),
    Case::new("dio/nowait_whole", ONE, nowait_whole).quick(),
    Case::new("dio/buffered_waits", ONE, buffered_waits).quick(),
    Case::new("dio/stable_pages", ONE, stable_pages).quick(),
    Case::new("dio/against_truncate", ALL, against_truncate),
    Case::new("dio/against_buffered", ALL, against_buffered).quick(),
];

/// Many requests in flight, over data, holes and preallocated space.
fn libaio(t: &mut T) -> Res {
    t.fresh()?;
    let len = 4 << 20;
    let piece = 16_384;
    let d = sys::direct(&t.p("f"))?;
    d.truncate(len as u64)?;
    d.fallocate(0, len as u64 / 4, len as u64 / 4)?;
    let mut aio = Aio::new(64)?;
    let mut want = vec![0; len];
    let mut bufs = Vec::new();
    for i in 0..len / piece {
        let x = pattern(i as u64, 0, piece);
        want[i * piece..(i + 1) * piece].copy_from_slice(&x);
        bufs.push(Aligned::of(&x));
    }
    let mut order: Vec<usize> = (0..bufs.len()).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut order);
    for chunk in order.chunks(32) {
        for i in chunk {
            aio.submit(&d, Op::Write, &mut bufs[*i], (i * piece) as u64, *i as u64)?;
        }
        for (tag, res) in aio.wait(chunk.len())? {
            same!(res, piece as i64, "result of request {tag}");
        }
    }
    let f = sys::rdonly(&t.p("f"))?;
    holds(&f, 0, &want, "buffered after libaio")?;
    for chunk in order.chunks(32) {
        for i in chunk {
            bufs[*i].fill(0);
            aio.submit(&d, Op::Read, &mut bufs[*i], (i * piece) as u64, *i as u64)?;
        }
        for (tag, res) in aio.wait(chunk.len())? {
            same!(res, piece as i64, "result of read {tag}");
        }
        for i in chunk {
            ensure!(
                bufs[*i][..] == want[i * piece..(i + 1) * piece],
                "bytes of read {i}"
            );
        }
    }
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    drop((d, f, aio));
    t.cycle()?;
    holds(&sys::rdonly(&t.p("f"))?, 0, &want, "remounted")?;
    Ok(())
}

/// A reader of all that the size covers, as often as it can: none of it is not there yet. (With
/// ext4 a page that was filled as the old end moved may show zeros.)
fn appended_so_far(f: &Fd, ours: bool) -> Res {
    let n = f.size()? as usize;
    let mut got = vec![0; n];
    f.pread(&mut got, 0)?;
    let bad = got
        .iter()
        .zip(pattern(1, 0, n))
        .position(|(g, w)| *g != w && (ours || *g != 0));
    ensure!(bad.is_none(), "not there yet, or garbage: {bad:?} of {n}");
    Ok(())
}

/// Asynchronous appends: the size never covers what is not there yet. Most begin in the middle of a
/// page, which the reader has filled with zeros behind the old end.
fn libaio_append(t: &mut T) -> Res {
    t.fresh()?;
    let d = sys::direct(&t.p("f"))?;
    let f = sys::rdonly(&t.p("f"))?;
    let (ours, over) = (t.ours(), AtomicBool::new(false));
    std::thread::scope(|s| {
        let reader = s.spawn(|| -> Res {
            while !over.load(Ordering::Relaxed) {
                appended_so_far(&f, ours)?;
            }
            Ok(())
        });
        let end = appends(&d, &f, ours);
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap()?;
        end
    })
}

fn appends(d: &Fd, f: &Fd, ours: bool) -> Res {
    let mut aio = Aio::new(16)?;
    let piece = 7 * 512;
    for round in 0..20u64 {
        let mut bufs: Vec<Aligned> = (0..8)
            .map(|i| Aligned::of(&pattern(1, (round * 8 + i) * piece as u64, piece)))
            .collect();
        for (i, b) in bufs.iter_mut().enumerate() {
            let off = (round * 8 + i as u64) * piece as u64;
            aio.submit(d, Op::Write, b, off, i as u64)?;
            appended_so_far(f, ours)?;
        }
        for (tag, res) in aio.wait(8)? {
            same!(res, piece as i64, "append {tag}");
        }
        let n = (round as usize + 1) * 8 * piece;
        same!(f.size()?, n as u64, "size");
        appended_so_far(f, ours)?;
    }
    Ok(())
}

/// How much a request of [`uring`] moves, and how many there are.
const PIECE: usize = 8192;
const PIECES: usize = 200;

/// Reads and writes by io_uring, many at a time, do what the plain calls do.
fn uring(t: &mut T) -> Res {
    t.fresh()?;
    let mut ring = match IoUring::new(32) {
        Ok(r) => r,
        Err(e) => crate::skip!("io_uring: {e}"),
    };
    let d = sys::direct(&t.p("f"))?;
    let f = sys::rdwr(&t.p("f"))?;
    let mut want = vec![0; PIECES * PIECE];
    let mut bufs: Vec<Aligned> = Vec::new();
    for (i, piece) in want.chunks_mut(PIECE).enumerate() {
        piece.copy_from_slice(&pattern(i as u64, 0, PIECE));
        bufs.push(Aligned::of(piece));
    }
    d.truncate((PIECES * PIECE) as u64)?;
    uring_pieces(&mut ring, &f, &d, &mut bufs, Op::Write)?;
    holds(&f, 0, &want, "written")?;
    t.drop_caches()?;
    for b in &mut bufs {
        b.fill(0);
    }
    uring_pieces(&mut ring, &f, &d, &mut bufs, Op::Read)?;
    for (i, piece) in want.chunks(PIECE).enumerate() {
        ensure!(bufs[i][..] == *piece, "bytes of read {i}");
    }
    uring_others(&mut ring, &d, &mut bufs[0])?;
    want[1 << 20..(1 << 20) + PIECE].copy_from_slice(&bufs[0]);
    holds(&f, 0, &want, "at the end")?;
    drop(ring);
    t.drop_caches()?;
    holds(&f, 0, &want, "from disk")?;
    Ok(())
}

/// All pieces, sixteen at a time: direct and buffered requests side by side, on different blocks.
fn uring_pieces(ring: &mut IoUring, f: &Fd, d: &Fd, bufs: &mut [Aligned], op: Op) -> Res {
    for chunk in (0..PIECES).collect::<Vec<_>>().chunks(16) {
        for &i in chunk {
            let fd = types::Fd(if i % 3 == 0 { f.raw } else { d.raw });
            let (p, off, n) = (bufs[i].as_mut_ptr(), (i * PIECE) as u64, PIECE as u32);
            let e = match op {
                Op::Read => opcode::Read::new(fd, p, n).offset(off).build(),
                Op::Write => opcode::Write::new(fd, p, n).offset(off).build(),
            };
            // SAFETY: the buffers outlive the requests: all are awaited below.
            let pushed = unsafe { ring.submission().push(&e.user_data(i as u64)) };
            ensure!(pushed.is_ok(), "submission queue full");
        }
        ring.submit_and_wait(chunk.len())?;
        let done: Vec<_> = ring.completion().collect();
        same!(done.len(), chunk.len(), "completions");
        for c in done {
            let (res, i) = (c.result(), c.user_data());
            same!(res, PIECE as i32, "result of request {i}");
        }
    }
    Ok(())
}

/// fallocate, fsync and a registered buffer through the ring.
fn uring_others(ring: &mut IoUring, d: &Fd, buf: &mut Aligned) -> Res {
    let fd = types::Fd(d.raw);
    let ops = [
        opcode::Fallocate::new(fd, 65_536)
            .offset(4 << 20)
            .build()
            .user_data(1),
        opcode::Fsync::new(fd).build().user_data(2),
    ];
    for e in ops {
        // SAFETY: no buffers are involved.
        ensure!(
            unsafe { ring.submission().push(&e) }.is_ok(),
            "submission queue full"
        );
        ring.submit_and_wait(1)?;
        let c = ring.completion().next().map(|c| c.result());
        same!(c, Some(0), "fallocate or fsync through io_uring");
    }
    same!(d.size()?, (4 << 20) + 65_536, "size after fallocate");
    let iov = [libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: PIECE,
    }];
    // SAFETY: the caller drops the ring before the buffer.
    unsafe { ring.submitter().register_buffers(&iov)? };
    let e = opcode::WriteFixed::new(fd, buf.as_ptr(), PIECE as u32, 0)
        .offset(1 << 20)
        .build();
    // SAFETY: awaited below.
    ensure!(
        unsafe { ring.submission().push(&e) }.is_ok(),
        "submission queue full"
    );
    ring.submit_and_wait(1)?;
    same!(
        ring.completion().next().map(|c| c.result()),
        Some(PIECE as i32),
        "fixed buffer"
    );
    Ok(())
}

/// A device that wants stable pages gets what the program had in its buffer when it asked, even if
/// it changes the buffer while the write is in flight.
fn stable_pages(t: &mut T) -> Res {
    if !t.ours() {
        crate::skip!("ext4 does not ask for a copy");
    }
    t.mkfs(64, &[])?;
    let d = t.mapped("stable", 64)?;
    let dev = d.path.rsplit('/').next().unwrap_or_default();
    sys::write_file(&format!("/sys/block/{dev}/queue/stable_writes"), "1")?;
    let fs = t.fs.clone();
    t.mount_as(&d.path, crate::fixture::MNT, &fs, 0, "")?;
    changed_in_flight(t, &d)
}

/// A direct write to the device that is mounted, which has the buffer's bytes of when it was asked
/// for, although they change before it is done.
pub fn changed_in_flight(t: &T, d: &Dm) -> Res {
    let f = put(&t.p("f"), 1, 65_536)?;
    f.fsync()?;
    let direct = sys::direct(&t.p("f"))?;
    let asked = pattern(2, 0, 65_536);
    let mut buf = Aligned::of(&asked);
    let mut aio = Aio::new(1)?;
    d.suspend()?;
    let sent = aio.submit(&direct, Op::Write, &mut buf, 0, 0);
    buf.fill(0xEE);
    d.resume()?;
    sent?;
    same!(aio.wait(1)?, vec![(0, 65_536)], "result");
    f.dontneed()?;
    holds(&f, 0, &asked, "after the buffer was changed in flight")
}

/// RWF_NOWAIT over blocks and a hole: not even the first half of it is written.
fn nowait_whole(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 16_384)?;
    f.truncate(65_536)?;
    f.fsync()?;
    f.dontneed()?;
    let d = sys::direct(&t.p("f"))?;
    // The extents are in memory.
    let mut b = Aligned::new(32_768);
    d.pread(&mut b, 0)?;
    let want = b.to_vec();
    let data = Aligned::of(&pattern(2, 0, 32_768));
    let iov = libc::iovec {
        iov_base: data.as_ptr() as *mut _,
        iov_len: data.len(),
    };
    for _ in 0..50 {
        // A change of times would be EAGAIN, too. Once in a tick is enough.
        d.pwrite(&Aligned::new(4096), 61_440)?;
        // SAFETY: a valid iovec.
        let n = unsafe { libc::pwritev2(d.raw, &iov, 1, 0, libc::RWF_NOWAIT) };
        same!((n, sys::errno()), (-1, libc::EAGAIN), "RWF_NOWAIT");
        d.pread(&mut b, 0)?;
        ensure!(b[..] == want[..], "a part of it was written");
    }
    Ok(())
}

/// A direct write of one part of a block, in flight, and a write(2) of another part: neither is
/// lost, though the second reads the rest of the block.
fn buffered_waits(t: &mut T) -> Res {
    let dev = t.dev.clone();
    t.mkfs(64, &[])?;
    let d = t.mapped("waits", 64)?;
    let fs = t.fs.clone();
    t.mount_as(&d.path, crate::fixture::MNT, &fs, 0, "")?;
    let f = put(&t.p("f"), 1, 8192)?;
    f.fsync()?;
    f.dontneed()?;
    let slow = (0, 64 * 2048, "delay", format!("{dev} 0 0 {dev} 0 1500"));
    if let Err(e) = d.swap(&[slow]) {
        crate::skip!("no delay target: {e}");
    }
    let direct = sys::direct(&t.p("f"))?;
    let mut data = Aligned::of(&pattern(2, 0, 512));
    let mut aio = Aio::new(1)?;
    aio.submit(&direct, Op::Write, &mut data, 512, 0)?;
    f.pwrite(&pattern(3, 0, 100), 0)?;
    same!(aio.wait(1)?, vec![(0, 512)], "result");
    d.swap(&[crate::dm::linear(&dev, 0, 64)])?;
    f.fsync()?;
    f.dontneed()?;
    let mut want = pattern(1, 0, 8192);
    want[..100].copy_from_slice(&pattern(3, 0, 100));
    want[512..1024].copy_from_slice(&data);
    holds(&f, 0, &want, "both")?;
    drop((f, direct, aio));
    t.umount_dir(crate::fixture::MNT)?;
    Ok(())
}

/// RWF_NOWAIT either does the whole thing or says EAGAIN; over blocks that are known and not
/// cached nothing has to be waited for. (ext4 knows it of direct writes alone.)
fn nowait(t: &mut T) -> Res {
    t.fresh()?;
    let f = put(&t.p("f"), 1, 65_536)?;
    f.fsync()?;
    let d = sys::direct(&t.p("f"))?;
    let b = Aligned::of(&pattern(2, 0, 4096));
    let iov = libc::iovec {
        iov_base: b.as_ptr() as *mut _,
        iov_len: 4096,
    };
    let mut want = pattern(1, 0, 65_536);
    want[61_440..].copy_from_slice(&[0; 4096]);
    let mut done = [0; 3];
    let all = |done: [u32; 3]| done[0] > 0 && done[2] > 0 && (done[1] > 0 || !t.ours());
    for round in 0..500 {
        // A tick may come in between, each time.
        if round >= 10 && all(done) {
            break;
        }
        for (i, fd) in [&d, &f, &d].iter().enumerate() {
            f.fsync()?;
            f.dontneed()?;
            let off = i * 8192;
            // The extents are in memory, and the times are this tick's.
            d.pread(&mut Aligned::new(8192), off as u64)?;
            d.pwrite(&Aligned::new(4096), 61_440)?;
            // SAFETY: a valid iovec.
            let n = unsafe { libc::pwritev2(fd.raw, &iov, 1, off as i64, libc::RWF_NOWAIT) };
            match n {
                4096 => {
                    want[off..off + 4096].copy_from_slice(&b);
                    done[i] += 1;
                }
                -1 => ensure!(
                    [libc::EAGAIN, libc::EOPNOTSUPP].contains(&sys::errno()),
                    "errno {}",
                    sys::errno()
                ),
                n => crate::fail!("RWF_NOWAIT wrote {n}"),
            }
            holds(&f, 0, &want, "after RWF_NOWAIT")?;
        }
    }
    ensure!(all(done), "direct, buffered, direct: {done:?}");
    Ok(())
}

/// A truncate or a punch waits for the direct writes in flight.
fn against_truncate(t: &mut T) -> Res {
    t.fresh()?;
    let d = sys::direct(&t.p("f"))?;
    let f = sys::rdwr(&t.p("f"))?;
    let mut aio = Aio::new(16)?;
    let mut bufs: Vec<Aligned> = (0..8)
        .map(|i| Aligned::of(&pattern(1, i * 8192, 8192)))
        .collect();
    for round in 0..60 {
        for (i, b) in bufs.iter_mut().enumerate() {
            aio.submit(&d, Op::Write, b, i as u64 * 8192, 0)?;
        }
        // The truncate waits for what is in flight.
        f.truncate(20_000)?;
        if round % 2 == 0 {
            f.punch(4096, 8192)?;
        }
        for (_, res) in aio.wait(8)? {
            same!(res, 8192, "request");
        }
        // What was cut off, or punched, is zero.
        appended_so_far(&f, false)?;
        f.truncate(0)?;
    }
    Ok(())
}

/// A direct and a buffered writer on neighbouring blocks, a reader on all of it.
fn against_buffered(t: &mut T) -> Res {
    t.fresh()?;
    let blocks = 64usize;
    let len = blocks * 4096;
    let f = put(&t.p("f"), 1, len)?;
    let d = sys::direct(&t.p("f"))?;
    std::thread::scope(|s| -> Res {
        let (f, d) = (&f, &d);
        let one = s.spawn(move || -> Res {
            for i in 0..600usize {
                let k = (i * 2) % blocks;
                d.pwrite(
                    &Aligned::of(&pattern(i as u64 % 5, (k * 4096) as u64, 4096)),
                    (k * 4096) as u64,
                )?;
            }
            Ok(())
        });
        let two = s.spawn(move || -> Res {
            for i in 0..2000usize {
                let k = (i * 2 + 1) % blocks;
                f.pwrite(
                    &pattern(i as u64 % 5, (k * 4096) as u64, 4096),
                    (k * 4096) as u64,
                )?;
            }
            Ok(())
        });
        for h in [one, two] {
            h.join().map_err(|_| Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    let mut cached = vec![0; len];
    f.pread(&mut cached, 0)?;
    t.drop_caches()?;
    holds(&f, 0, &cached, "cache against disk")?;
    for k in 0..blocks {
        let g = &cached[k * 4096..(k + 1) * 4096];
        let ok = (0..5).any(|s| pattern(s, (k * 4096) as u64, 4096) == g);
        ensure!(ok, "block {k} is mixed");
    }
    Ok(())
}
