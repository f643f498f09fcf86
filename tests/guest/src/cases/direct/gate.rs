// SPDX-License-Identifier: GPL-2.0
//! Direct writes with the option `dio_gate`: nobody brings a page of the range back meanwhile.

use crate::aio::{Aio, Op};
use crate::fixture::{holds, pattern, put, MNT, T};
use crate::harness::{Case, Res, Stop, ALL, ONE};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{dm, ensure, errno, same, wait};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    Case::new("gate/option", ONE, option).quick(),
    Case::new("gate/sync", ALL, |t| stores(t, Way::Sync)).quick(),
    Case::new("gate/libaio", ALL, |t| stores(t, Way::Libaio)).quick(),
    Case::new("gate/io_uring", ALL, |t| stores(t, Way::Uring)),
    Case::new("gate/readers_get_a_turn", ONE, turns),
    Case::new("gate/slow_write", ONE, |t| slow_write(t, false)),
    Case::new("gate/after_remount", ONE, |t| slow_write(t, true)),
];

const PAGE: usize = 4096;

pub fn ours(t: &T) -> Res {
    match t.ours() {
        true => Ok(()),
        false => crate::skip!("the option is rext4's own"),
    }
}

fn fresh(t: &mut T) -> Res {
    ours(t)?;
    t.mkfs(64, &[])?;
    t.mount("dio_gate")
}

fn shown(t: &T) -> Res<bool> {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let line = mounts.lines().find(|l| l.contains(&t.p("")[..6]));
    Ok(line.is_some_and(|l| l.contains("dio_gate")))
}

/// dio_gate is shown where it is on, and a remount switches it.
fn option(t: &mut T) -> Res {
    ours(t)?;
    t.mkfs(64, &[])?;
    t.mount("dio_gate")?;
    ensure!(shown(t)?, "dio_gate is not shown");
    t.remount(0, "nodio_gate")?;
    ensure!(!shown(t)?, "shown after nodio_gate");
    t.remount(0, "dio_gate")?;
    ensure!(shown(t)?, "not shown after a remount");
    errno!(t.remount(0, "dio_gate=1"), EINVAL);
    t.remount(0, "dio_gate,nodio_gate")?;
    ensure!(!shown(t)?, "the last one counts");
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Sync,
    Libaio,
    Uring,
}

/// Pages per direct write.
const PIECE: usize = 4;
const PIECES: usize = 8;

/// Writes generation after generation directly, while other threads read the same pages through a
/// mapping and store into the first byte of each. All the other bytes are the writer's alone: they
/// must be of its last generation, in memory and on disk.
fn stores(t: &mut T, way: Way) -> Res {
    fresh(t)?;
    let pages = PIECE * PIECES;
    let len = pages * PAGE;
    let f = put(&t.p("f"), 1, len)?;
    f.fsync()?;
    let d = sys::direct(&t.p("f"))?;
    let m = Map::shared(&f, len)?;
    let stop = AtomicBool::new(false);
    let rounds = match crate::fixture::slowness() {
        0..=2 => 60,
        _ => 15,
    };
    std::thread::scope(|s| -> Res {
        for n in 0..2u64 {
            let (m, stop) = (&m, &stop);
            s.spawn(move || {
                let mut r = fastrand::Rng::with_seed((crate::fixture::seed() << 32) + n);
                while !stop.load(Ordering::Relaxed) {
                    let p = r.usize(..pages) * PAGE;
                    if n == 0 || r.bool() {
                        m.set(p, r.u8(..));
                    } else {
                        m.get(p + r.usize(..PAGE));
                    }
                }
            });
        }
        let result = (1..=rounds).try_for_each(|g| -> Res {
            let bytes = Aligned::of(&vec![g as u8; len]);
            generation(way, &d, bytes)?;
            let mut got = vec![0; len];
            f.pread(&mut got, 0)?;
            same!(foreign(&got, g as u8), None, "cached after generation {g}");
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    // No invalidation has failed.
    f.fsync()?;
    drop(m);
    t.drop_caches()?;
    let mut got = vec![0; len];
    f.pread(&mut got, 0)?;
    same!(foreign(&got, rounds as u8), None, "on disk");
    Ok(())
}

/// The first byte that is not of the generation, leaving out those that are stored to.
fn foreign(got: &[u8], g: u8) -> Option<(usize, u8)> {
    (0..got.len())
        .find(|i| i % PAGE != 0 && got[*i] != g)
        .map(|i| (i, got[i]))
}

fn generation(way: Way, d: &Fd, mut bytes: Aligned) -> Res {
    let piece = PIECE * PAGE;
    match way {
        Way::Sync => {
            for i in 0..PIECES {
                let at = i * piece;
                same!(
                    d.pwrite_once(&bytes[at..at + piece], at as u64)?,
                    piece,
                    "written"
                );
            }
        }
        Way::Libaio => {
            let mut aio = Aio::new(PIECES)?;
            for (i, b) in bytes.chunks_mut(piece).enumerate() {
                aio.submit(d, Op::Write, b, (i * piece) as u64, i as u64)?;
            }
            for (tag, res) in aio.wait(PIECES)? {
                same!(res, piece as i64, "request {tag}");
            }
        }
        Way::Uring => {
            use io_uring::{opcode, types};
            let mut ring = match io_uring::IoUring::new(PIECES as u32) {
                Ok(r) => r,
                Err(e) => crate::skip!("io_uring: {e}"),
            };
            for (i, b) in bytes.chunks_mut(piece).enumerate() {
                let e = opcode::Write::new(types::Fd(d.raw), b.as_mut_ptr(), piece as u32)
                    .offset((i * piece) as u64)
                    .build();
                // SAFETY: the buffer outlives the requests: all are awaited below.
                let pushed = unsafe { ring.submission().push(&e) };
                ensure!(pushed.is_ok(), "submission queue full");
            }
            ring.submit_and_wait(PIECES)?;
            for c in ring.completion() {
                same!(c.result(), piece as i32, "result");
            }
        }
    }
    Ok(())
}

/// Two threads overwrite one page for ever; whoever reads it gets on all the same.
fn turns(t: &mut T) -> Res {
    fresh(t)?;
    let f = put(&t.p("f"), 1, 16 * PAGE)?;
    f.fsync()?;
    let d = sys::direct(&t.p("f"))?;
    let m = Map::new(&f, 0, 16 * PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    let stop = AtomicBool::new(false);
    let mut slowest = Duration::ZERO;
    std::thread::scope(|s| -> Res {
        let writers: Vec<_> = (0..2u8)
            .map(|n| {
                let (d, stop) = (&d, &stop);
                s.spawn(move || -> Res {
                    let bytes = Aligned::of(&vec![n + 1; 4 * PAGE]);
                    while !stop.load(Ordering::Relaxed) {
                        d.pwrite(&bytes, 4 * PAGE as u64)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for i in 0..100 {
            let begun = Instant::now();
            if i % 2 == 0 {
                m.get(5 * PAGE);
            } else {
                f.pread(&mut [0; 100], 5 * PAGE as u64)?;
            }
            slowest = slowest.max(begun.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        for w in writers {
            w.join().map_err(|_| Stop::Fail("thread panic".into()))??;
        }
        Ok(())
    })?;
    ensure!(
        slowest < wait::LONG / 2,
        "a read took {slowest:?} beside direct writes"
    );
    Ok(())
}

/// A write that takes long, by a silent device, also where a remount (`later`) turned the gate on
/// while pages were in the cache: a store into its range comes after it, other pages are free, and
/// who waits can be killed.
fn slow_write(t: &mut T, later: bool) -> Res {
    ours(t)?;
    let dev = t.dev.clone();
    t.mkfs(64, &[])?;
    let d = t.mapped("gate", 64)?;
    let fs = t.fs.clone();
    let opts = if later { "" } else { "dio_gate" };
    t.mount_as(&d.path, MNT, &fs, 0, opts)?;
    let len = 64 * PAGE;
    let f = put(&t.p("f"), 1, len)?;
    if later {
        t.remount(0, "dio_gate")?;
    }
    f.fsync()?;
    f.dontneed()?;
    let mut want = pattern(1, 0, len);
    if let Err(e) = d.swap(&[dm::holding_writes(&dev, 64)]) {
        crate::skip!("no delay target: {e}");
    }
    let direct = sys::direct(&t.p("f"))?;
    let m = Map::shared(&f, len)?;
    let mut data = Aligned::of(&pattern(2, 0, PAGE));
    let mut aio = Aio::new(4)?;
    aio.submit(&direct, Op::Write, &mut data, 7 * PAGE as u64, 0)?;
    while_page_7_is_written(t, &m, || Ok(d.swap(&[dm::linear(&dev, 0, 64)])?))?;
    same!(aio.wait(1)?[0].1, PAGE as i64, "result of the write");
    want[7 * PAGE..8 * PAGE].copy_from_slice(&data);
    want[7 * PAGE] = 0xAA;
    holds(&f, 0, &want, "cached")?;
    f.fsync()?;
    drop(m);
    t.drop_caches()?;
    holds(&f, 0, &want, "on disk")?;
    drop((f, direct, aio));
    t.umount_dir(MNT)?;
    Ok(())
}

/// A write to page 7 has begun, and goes on when `go_on` lets it: another page can be had at once,
/// a reader of page 7 waits until it is killed, and a store into it until the write is done.
fn while_page_7_is_written(t: &T, m: &Map, go_on: impl FnOnce() -> Res) -> Res {
    let dd = std::process::Command::new("dd")
        .args([&format!("if={}", t.p("f")), "of=/dev/null", "bs=4096"])
        .args(["skip=7", "count=1"])
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let (folder, dd) = (format!("/proc/{}", dd.id()), std::cell::RefCell::new(dd));
    let gone = || dd.borrow_mut().try_wait().is_ok_and(|end| end.is_some());
    std::thread::scope(|s| -> Res {
        let other = wait::spawn(s, || m.get(40 * PAGE));
        let had = other.ends();
        let reads = wait::asleep(&folder, gone);
        let killed = dd.borrow_mut().kill();
        let dead = wait::until(|| Ok(gone()));
        let store = wait::spawn(s, || m.set(7 * PAGE, 0xAA));
        let stores = store.waits();
        go_on()?;
        store.join()?;
        other.join()?;
        dd.borrow_mut().wait()?;
        ensure!(had?, "another page waits, too");
        ensure!(reads?, "a read of the range did not wait");
        killed?;
        ensure!(dead?, "a killed reader was held");
        ensure!(stores?, "the store was done before the write");
        Ok(())
    })
}
