// SPDX-License-Identifier: GPL-2.0
//! Blocks of directly accessed files that go, or move, while a device stores into them: the page is
//! the block, so who takes it away waits.

use crate::cases::direct::dax::{fresh, Events, MIB, PAGE};
use crate::dm;
use crate::fixture::{diff_at, holds, pattern, put, T};
use crate::harness::{Case, Res, ONE};
use crate::map::Map;
use crate::source::Source;
use crate::sys::{self, Fd, Sys};
use crate::{ensure, same, skip};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("dax/shift", ONE, shift).quick(),
    Case::new("dax/pin_punch", ONE, pin_punch).quick(),
    Case::new("dax/pin_zero", ONE, pin_zero).quick(),
    Case::new("dax/pin_truncate", ONE, pin_truncate).quick(),
    Case::new("dax/pin_collapse", ONE, pin_collapse).quick(),
    Case::new("dax/pin_insert", ONE, pin_insert).quick(),
    Case::new("dax/pin_beside", ONE, pin_beside).quick(),
    Case::new("dax/pin_touched", ONE, pin_touched).quick(),
    Case::new("dax/pin_huge", ONE, pin_huge).quick(),
    Case::new("dax/pin_last", ONE, pin_last).quick(),
    Case::new("dax/pin_signal", ONE, pin_signal).quick(),
    Case::new("dax/flush_beside", ONE, flush_beside).quick(),
];

const LEN: usize = 16 * PAGE;
/// Where the read from the other device goes.
const AT: usize = 8 * PAGE;

/// Collapse and insert range below a mapping.
fn shift(t: &mut T) -> Res {
    fresh(t, 64, "dax=always")?;
    let f = put(&t.p("f"), 1, LEN)?;
    let map = Map::shared(&f, LEN)?;
    let mut want = pattern(1, 0, LEN);
    map.write(10 * PAGE, b"stored");
    want[10 * PAGE..10 * PAGE + 6].copy_from_slice(b"stored");
    f.fallocate(libc::FALLOC_FL_COLLAPSE_RANGE, PAGE as u64, 2 * PAGE as u64)?;
    want.drain(PAGE..3 * PAGE);
    same!(diff_at(&map.read(0, want.len()), &want), None, "collapsed");
    f.fallocate(
        libc::FALLOC_FL_INSERT_RANGE,
        4 * PAGE as u64,
        2 * PAGE as u64,
    )?;
    want.splice(4 * PAGE..4 * PAGE, vec![0; 2 * PAGE]);
    same!(diff_at(&map.read(0, want.len()), &want), None, "inserted");
    map.write(4 * PAGE, b"hole");
    want[4 * PAGE..4 * PAGE + 4].copy_from_slice(b"hole");
    holds(&f, 0, &want, "read")?;
    f.fsync()?;
    drop(map);
    t.cycle_with(f)?;
    t.file_holds("f", &want, "mounted again")
}

fn needs_dm() -> Res {
    if !dm::usable() {
        skip!("no device mapper");
    }
    Ok(())
}

/// A file, on the disk, with a mapping; a device is about to store into the page at `AT`.
fn asked(t: &mut T) -> Res<(Fd, Map, Source)> {
    fresh(t, 64, "dax=always")?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    let map = Map::shared(&f, LEN)?;
    let mut source = Source::new(t, &pattern(9, 0, PAGE))?;
    source.ask(&map, &(AT..AT + PAGE))?;
    Ok((f, map, source))
}

/// `act` while a device is about to store into the page at `AT`: it waits for that, then has the
/// file as in `want`, and what the device has stored is in no other file.
fn waits(t: &mut T, act: fn(&Fd) -> Sys<()>, want: &[u8]) -> Res {
    needs_dm()?;
    let (f, map, source) = asked(t)?;
    let bytes = AT..AT + PAGE;
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        let acting = s.spawn(|| {
            let acted = act(&f);
            done.store(true, Ordering::SeqCst);
            acted
        });
        std::thread::sleep(Duration::from_millis(700));
        let early = done.load(Ordering::SeqCst);
        // The blocks that it may have let go of.
        let others = put(&t.p("others"), 3, 40 * MIB);
        let others = others.and_then(|o| o.fsync());
        source.deliver(&bytes)?;
        let acted = acting.join();
        ensure!(!early, "it did not wait for the device");
        others?;
        ensure!(matches!(acted, Ok(Ok(()))), "{acted:?}");
        Ok(())
    })?;
    drop(map);
    holds(&f, 0, want, "in the end")?;
    t.file_holds("others", &pattern(3, 0, 40 * MIB), "another file")?;
    t.cycle_with(f)?;
    t.file_holds("f", want, "mounted again")
}

/// A hole.
fn pin_punch(t: &mut T) -> Res {
    let mut want = pattern(1, 0, LEN);
    want[AT - PAGE..AT + 2 * PAGE].fill(0);
    waits(t, |f| f.punch((AT - PAGE) as u64, 3 * PAGE as u64), &want)
}

/// Zeros in place of the page.
fn pin_zero(t: &mut T) -> Res {
    let mut want = pattern(1, 0, LEN);
    want[AT..AT + PAGE].fill(0);
    let zero = |f: &Fd| f.fallocate(libc::FALLOC_FL_ZERO_RANGE, AT as u64, PAGE as u64);
    waits(t, zero, &want)
}

/// The new end is before the page.
fn pin_truncate(t: &mut T) -> Res {
    waits(t, |f| f.truncate(AT as u64 - 10), &pattern(1, 0, AT - 10))
}

/// The page moves to the front, with what the device stores.
fn pin_collapse(t: &mut T) -> Res {
    let mut want = pattern(1, 0, LEN);
    want[AT..AT + PAGE].copy_from_slice(&pattern(9, 0, PAGE));
    want.drain(..2 * PAGE);
    let act = |f: &Fd| f.fallocate(libc::FALLOC_FL_COLLAPSE_RANGE, 0, 2 * PAGE as u64);
    waits(t, act, &want)
}

/// The page moves to the end.
fn pin_insert(t: &mut T) -> Res {
    let mut want = pattern(1, 0, LEN);
    want[AT..AT + PAGE].copy_from_slice(&pattern(9, 0, PAGE));
    want.splice(..0, vec![0; 2 * PAGE]);
    let act = |f: &Fd| f.fallocate(libc::FALLOC_FL_INSERT_RANGE, 0, 2 * PAGE as u64);
    waits(t, act, &want)
}

/// A hole beside the page need not wait, and takes nothing from what the device stores.
fn pin_beside(t: &mut T) -> Res {
    needs_dm()?;
    if !t.ours() {
        skip!("the kernel's ext4 waits for the pins of the whole file");
    }
    let (f, map, source) = asked(t)?;
    let bytes = AT..AT + PAGE;
    let punched = f.punch(0, 4 * PAGE as u64);
    source.deliver(&bytes)?;
    punched?;
    let mut want = pattern(1, 0, LEN);
    want[..4 * PAGE].fill(0);
    want[bytes].copy_from_slice(&pattern(9, 0, PAGE));
    same!(diff_at(&map.read(0, LEN), &want), None, "mapped");
    holds(&f, 0, &want, "read")
}

/// Somebody touches the mapping while a punch waits, so the page is mapped again when the device is
/// through. Nobody takes that mapping back but who waits.
fn pin_touched(t: &mut T) -> Res {
    needs_dm()?;
    if !t.ours() {
        skip!("dax_break_layout() of 7.3 waits for ever");
    }
    let (f, map, source) = asked(t)?;
    let bytes = AT..AT + PAGE;
    std::thread::scope(|s| {
        let punching = s.spawn(|| f.punch(AT as u64, PAGE as u64));
        std::thread::sleep(Duration::from_millis(400));
        let touched = map.get(AT);
        source.deliver(&bytes)?;
        let punched = punching.join();
        ensure!(matches!(punched, Ok(Ok(()))), "{punched:?}");
        same!(
            touched,
            pattern(1, AT as u64, 1)[0],
            "what was there before"
        );
        same!(map.get(AT), 0, "and after");
        Ok(())
    })
}

/// A page of what a PMD maps; the hole is elsewhere in it.
fn pin_huge(t: &mut T) -> Res {
    needs_dm()?;
    fresh(t, 128, "dax=always")?;
    let len = 4 * MIB;
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, len as u64)?;
    let map = Map::huge(&f, len)?;
    let mut want = pattern(1, 0, len);
    map.write(0, &want);
    let bytes = MIB..MIB + PAGE;
    let mut source = Source::new(t, &pattern(9, 0, PAGE))?;
    source.ask(&map, &bytes)?;
    std::thread::scope(|s| {
        let punching = s.spawn(|| f.punch(PAGE as u64, 100 * PAGE as u64));
        std::thread::sleep(Duration::from_millis(400));
        source.deliver(&bytes)?;
        let punched = punching.join();
        ensure!(matches!(punched, Ok(Ok(()))), "{punched:?}");
        Ok(())
    })?;
    want[PAGE..101 * PAGE].fill(0);
    want[bytes].copy_from_slice(&pattern(9, 0, PAGE));
    same!(diff_at(&map.read(0, len), &want), None, "mapped");
    f.fsync()?;
    drop(map);
    t.cycle_with(f)?;
    t.file_holds("f", &want, "mounted again")
}

/// The last user of a file without a name goes while the device has its page: the file's blocks
/// stay until then.
fn pin_last(t: &mut T) -> Res {
    needs_dm()?;
    fresh(t, 64, "dax=always")?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    sys::unlink(&t.p("f"))?;
    let map = Map::shared(&f, LEN)?;
    let bytes = AT..AT + PAGE;
    let mut source = Source::new(t, &pattern(9, 0, PAGE))?;
    source.ask(&map, &bytes)?;
    std::thread::scope(|s| {
        let leaving = s.spawn(move || drop((map, f)));
        std::thread::sleep(Duration::from_millis(400));
        let others = put(&t.p("others"), 3, 40 * MIB);
        let others = others.and_then(|o| o.fsync());
        source.deliver(&bytes)?;
        ensure!(leaving.join().is_ok(), "the one that left");
        others?;
        Ok(())
    })?;
    t.file_holds("others", &pattern(3, 0, 40 * MIB), "another file")
}

/// A signal ends the wait, and nothing has changed.
fn pin_signal(t: &mut T) -> Res {
    needs_dm()?;
    let (f, _map, source) = asked(t)?;
    let bytes = AT..AT + PAGE;
    let path = t.p("f");
    let mut child = std::process::Command::new("fallocate")
        .args(["-p", "-o", "0", "-l", "65536", &path])
        .spawn()?;
    std::thread::sleep(Duration::from_millis(1500));
    let early = child.try_wait()?;
    child.kill()?;
    let ended = child.wait()?;
    source.deliver(&bytes)?;
    same!((early, ended.success()), (None, false), "the punch");
    let mut want = pattern(1, 0, LEN);
    want[bytes].copy_from_slice(&pattern(9, 0, PAGE));
    holds(&f, 0, &want, "as it was")
}

/// A punch lets go of no page beside it that is in a CPU's cache only, of those that are mapped as
/// one with it least. What fsync writes back afterwards is told in the kernel's events.
fn flush_beside(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the kernel's ext4 forgets what is dirty in all of the file (7.3)");
    }
    fresh(t, 128, "dax=always")?;
    let f = put(&t.p("f"), 1, LEN)?;
    f.fsync()?;
    let map = Map::shared(&f, LEN)?;
    map.set(12 * PAGE, 1);
    f.punch(0, 4 * PAGE as u64)?;
    let events = Events::new("dax_writeback_one")?;
    f.fsync()?;
    let told = events.end()?;
    let page = "pgoff 0xc ";
    ensure!(told.contains(page), "page 12 was not written back: {told}");
    Ok(())
}
