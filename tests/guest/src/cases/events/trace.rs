// SPDX-License-Identifier: GPL-2.0
//! The trace events of rext4: which of them fire, with what numbers, in which order.

use crate::cases::power::crash;
use crate::dm::{self, Dm};
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Stop, ALL, ONE};
use crate::map::Map;
use crate::sys::{self, Aligned};
use crate::{ensure, fail, same, skip, wait};
use std::collections::HashMap;

pub const CASES: &[Case] = &[
    Case::new("trace/order", ALL, order).quick(),
    Case::new("trace/sizes", ONE, sizes),
    Case::new("trace/off", ONE, off),
    Case::new("trace/deletion_handles", ALL, deletion_handles),
    Case::new("trace/stale_write", ONE, stale_write),
    Case::new("trace/stale_writeback", ONE, stale_writeback),
];

const TRACEFS: &str = "/sys/kernel/tracing";

/// A buffer of our own with our events on; gone when dropped.
struct Tracer(String);

impl Tracer {
    fn new(t: &T) -> Res<Tracer> {
        if t.fs != "rext4" {
            skip!("events/rext4 tell of rext4, and {} is tested", t.fs);
        }
        if !sys::exists(&format!("{TRACEFS}/events")) {
            if !sys::exists(TRACEFS) {
                skip!("the kernel has no tracefs");
            }
            sys::mount("tracefs", TRACEFS, "tracefs", 0, "")?;
        }
        let dir = format!("{TRACEFS}/instances/guest-{}", std::process::id());
        std::fs::create_dir(&dir)?;
        let tracer = Tracer(dir);
        // Numbers events through, over all CPUs: the clock of User-Mode Linux is too coarse.
        tracer.set("trace_clock", "counter")?;
        tracer.on(true)?;
        Ok(tracer)
    }

    fn set(&self, file: &str, text: &str) -> Res {
        Ok(sys::write_file(&format!("{}/{file}", self.0), text)?)
    }

    fn on(&self, on: bool) -> Res {
        self.set("events/rext4/enable", if on { "1" } else { "0" })
    }

    /// The events so far of one inode.
    fn events(&self, ino: u64) -> Res<Vec<Event>> {
        let text = std::fs::read_to_string(format!("{}/trace", self.0))?;
        let all = text.lines().filter(|l| !l.starts_with('#'));
        let events: Vec<Event> = all.filter_map(Event::parse).collect();
        Ok(events.into_iter().filter(|e| e.ino() == ino).collect())
    }

    /// Waits for an event of an inode.
    fn tells(&self, ino: u64, want: &str) -> Res<bool> {
        wait::until(|| Ok(self.events(ino)?.iter().any(|e| e.is(want))))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.on(false);
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A line of the trace: the name without `rext4_`, and its fields.
struct Event {
    name: String,
    fields: HashMap<String, String>,
    line: String,
}

impl Event {
    fn parse(line: &str) -> Option<Event> {
        let (_, event) = line.split_once(": rext4_")?;
        let (name, fields) = event.split_once(": ")?;
        let words: Vec<&str> = fields.split(' ').collect();
        Some(Event {
            name: name.to_string(),
            fields: words
                .chunks_exact(2)
                .map(|p| (p[0].to_string(), p[1].to_string()))
                .collect(),
            line: event.to_string(),
        })
    }

    fn number(&self, field: &str) -> Option<u64> {
        let text = self.fields.get(field)?;
        match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        }
    }

    fn ino(&self) -> u64 {
        self.number("ino").unwrap_or(0)
    }

    /// Is it the event `want` describes: its name, then some of its fields, like in the trace?
    fn is(&self, want: &str) -> bool {
        let mut words = want.split(' ');
        let fields: Vec<&str> = words.clone().skip(1).collect();
        words.next() == Some(&self.name)
            && fields
                .chunks_exact(2)
                .all(|p| self.fields.get(p[0]).is_some_and(|v| v == p[1]))
    }
}

/// Each of `want` must be there, behind the one before; others may lie between.
fn in_order(events: &[Event], want: &[String]) -> Res {
    let mut from = 0;
    for (n, w) in want.iter().enumerate() {
        match events.iter().skip(from).position(|e| e.is(w)) {
            Some(at) => from += at + 1,
            None => {
                let after = n.checked_sub(1).map_or("the start", |i| &want[i]);
                for e in events {
                    println!("rext4_{}", e.line);
                }
                fail!("no event '{w}' after '{after}'")
            }
        }
    }
    Ok(())
}

/// Every change of the extent map counts, and nothing is mapped with an older count.
fn counted(events: &[Event]) -> Res {
    let mut last = 0;
    for e in events {
        let Some(seq) = e.number("seq") else { continue };
        let changes = match e.name.as_str() {
            "reserve_take" | "extent_insert" | "extent_convert" | "extent_remove" => 1,
            "map" | "extent_free" | "reserve_use" => 0,
            _ => continue,
        };
        same!(seq, last + changes, "sequence number of '{}'", e.line);
        last = seq;
    }
    ensure!(last > 0, "no sequence numbers");
    Ok(())
}

const LEN: u64 = 64 << 10;

/// What the trace tells of `order`: blocks of `bs` bytes.
fn story(bs: u64) -> Vec<String> {
    // Numbers of blocks, hexadecimal like in the trace.
    let b = |kib: u64| format!("{:#x}", (kib << 10) / bs);
    let (all, hole) = (b(64), b(16));
    let nr = LEN / bs;
    let punch = |step| format!("step pos 0x4000 bytecount 0x4000 op PUNCH step {step}");
    vec![
        // Reserved, not allocated.
        format!("buffered_write isize 0x0 pos 0x0 bytecount {LEN:#x} seq 0"),
        format!("reserve_take lblk 0x0 len {all} nr {nr} reserved {nr} seq 1"),
        format!("map lblk 0x0 len {all} pblk 0x0 type DELALLOC flags WRITE seq 1"),
        format!("isize old_size 0x0 new_size {LEN:#x}"),
        // Allocated unwritten; the size on disk moves when the data is there.
        format!("fsync isize {LEN:#x} pos 0x0"),
        "writeback_range pos 0x0 seq 1".to_string(),
        format!("extent_insert lblk 0x0 len {all} type UNWRITTEN seq 2"),
        format!("reserve_use lblk 0x0 len {all} nr {nr} reserved 0 seq 2"),
        format!("map lblk 0x0 len {all} type UNWRITTEN flags WRITEBACK seq 2"),
        format!("writeback_end_io pos 0x0 bytecount {LEN:#x}"),
        format!("extent_convert lblk 0x0 len {all} type MAPPED seq 3"),
        format!("disize old_size 0x0 new_size {LEN:#x}"),
        // The page cache goes before the blocks.
        punch("BEGIN"),
        punch("LOCKED"),
        punch("DRAINED"),
        punch("CACHE_DROPPED"),
        format!("extent_remove lblk {hole} len {hole} type HOLE seq 4"),
        format!("extent_free lblk {hole} len {hole} seq 4"),
        punch("BLOCKS_REMOVED"),
        punch("END"),
        // iomap flushes and invalidates between the first two, and again behind the last.
        format!("dio_write isize {LEN:#x} pos 0x4000 bytecount 0x4000 seq 4"),
        format!("extent_insert lblk {hole} len {hole} type UNWRITTEN seq 5"),
        format!("map lblk {hole} len {hole} type UNWRITTEN flags WRITE|DIRECT seq 5"),
        "dio_end_io pos 0x4000 bytecount 0x4000 error 0 unwritten 1 seq 5".to_string(),
        format!("extent_convert lblk {hole} len {hole} type MAPPED seq 6"),
        // A store in the ninth page.
        "page_mkwrite pos 0x8000 bytecount 0x1000 seq 6".to_string(),
        format!("map lblk {} type MAPPED flags WRITE|FAULT seq 6", b(32)),
        "page_mkwrite_done pos 0x8000 bytecount 0x1000 result LOCKED seq 6".to_string(),
    ]
}

/// Writes, punches, writes directly and through a mapping: the story as the trace tells it.
fn order(t: &mut T) -> Res {
    t.fresh()?;
    let tracer = Tracer::new(t)?;
    let f = put(&t.p("f"), 1, LEN as usize)?;
    f.fsync()?;
    f.punch(16 << 10, 16 << 10)?;
    let direct = Aligned::of(&pattern(2, 0, 16 << 10));
    sys::direct(&t.p("f"))?.pwrite(&direct, 16 << 10)?;
    let m = Map::shared(&f, LEN as usize)?;
    m.set(33 << 10, 7);
    tracer.on(false)?;

    let events = tracer.events(f.stat()?.st_ino)?;
    in_order(&events, &story(t.bs()))?;
    counted(&events)?;
    let blocks = |name: &str| {
        let event = events.iter().find(|e| e.name == name);
        event.and_then(|e| e.number("pblk")).unwrap_or(0)
    };
    let (taken, freed) = (blocks("extent_insert"), blocks("extent_free"));
    ensure!(taken != 0, "no block in extent_insert");
    same!(freed, taken + (16 << 10) / t.bs(), "first block freed");
    Ok(())
}

/// Sizes down and up, by truncate and by a direct write, and reads.
fn sizes(t: &mut T) -> Res {
    t.fresh()?;
    let tracer = Tracer::new(t)?;
    let f = put(&t.p("f"), 1, 8192)?;
    f.fsync()?;
    f.truncate(5000)?;
    f.truncate(0x3000)?;
    let d = sys::direct(&t.p("f"))?;
    d.pwrite(&Aligned::of(&pattern(2, 0, 4096)), 0x3000)?;
    d.pread(&mut Aligned::new(4096), 0x3000)?;
    f.pread(&mut [0; 100], 1)?;
    f.truncate(0)?;
    let want = [
        "isize old_size 0x0 new_size 0x2000",
        "disize old_size 0x0 new_size 0x2000",
        // What is cut is zeroed, the size moves, then the blocks go.
        "step pos 0x1388 bytecount 0xc78 op TRUNCATE step BEGIN",
        "zero_tail pos 0x1388 bytecount 0xc78",
        "isize old_size 0x2000 new_size 0x1388",
        "step op TRUNCATE step CACHE_DROPPED isize 0x1388",
        "disize old_size 0x2000 new_size 0x1388",
        "extent_remove lblk 0x2",
        "step op TRUNCATE step BLOCKS_REMOVED",
        "step op TRUNCATE step END",
        "step pos 0x3000 bytecount 0x0 op TRUNCATE step BEGIN",
        "zero_tail pos 0x1388 bytecount 0x1c78",
        "isize old_size 0x1388 new_size 0x3000",
        "disize new_size 0x3000",
        // On disk first, then in memory.
        "dio_write isize 0x3000 pos 0x3000 bytecount 0x1000",
        "dio_end_io pos 0x3000 error 0",
        "disize old_size 0x3000 new_size 0x4000",
        "isize old_size 0x3000 new_size 0x4000",
        "dio_read isize 0x4000 pos 0x3000 bytecount 0x1000",
        "map lblk 0x3 len 0x1 type MAPPED flags DIRECT",
        "buffered_read isize 0x4000 pos 0x1 bytecount 0x64",
        "step pos 0x0 bytecount 0x4000 op TRUNCATE step BEGIN",
        "extent_free lblk 0x0",
    ];
    let events = tracer.events(f.stat()?.st_ino)?;
    in_order(&events, &want.map(String::from))
}

/// What is off tells nothing.
fn off(t: &mut T) -> Res {
    t.fresh()?;
    let tracer = Tracer::new(t)?;
    let f = put(&t.p("f"), 1, 8192)?;
    let ino = f.stat()?.st_ino;
    let before = tracer.events(ino)?.len();
    ensure!(before > 0, "no events while on");
    tracer.on(false)?;
    f.pwrite(&pattern(1, 0, 8192), 8192)?;
    f.fsync()?;
    f.truncate(0)?;
    same!(tracer.events(ino)?.len(), before, "events while off");
    tracer.set("events/rext4/rext4_isize/enable", "1")?;
    f.truncate(1)?;
    let events = tracer.events(ino)?;
    same!(events.len(), before + 1, "one event is on");
    match events.last() {
        Some(e) if e.is("isize old_size 0x0 new_size 0x1") => Ok(()),
        other => Err(Stop::Fail(format!(
            "the last event is {:?}",
            other.map(|e| &e.line)
        ))),
    }
}

/// From here on the device takes `ms` for each read or write; 0 ends it, and what is on its way
/// comes.
fn slow(t: &T, d: &Dm, ms: u32) -> Res {
    let disk = &t.disks[0];
    let table = (0, crash::MB * 2048, "delay", format!("{disk} 0 {ms}"));
    match d.swap(&[table]) {
        Err(e) if e.errno == libc::EINVAL => skip!("no dm-delay"),
        r => Ok(r?),
    }
}

/// A write has its mapping and waits for its source, which is mapped and must be read from a slow
/// device; meanwhile a store elsewhere in the file reserves a block.
fn stale_write(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let tracer = Tracer::new(t)?;
    let data = pattern(1, 0, 8192);
    let source = put(&t.p("source"), 1, 8192)?;
    source.fsync()?;
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, 8192)?;
    f.truncate(128 << 10)?;
    f.fsync()?;
    source.dontneed()?;
    let ino = f.stat()?.st_ino;
    let from = Map::shared(&source, 8192)?;
    let to = Map::shared(&f, 128 << 10)?;
    slow(t, &d, dm::FOR_GOOD)?;
    std::thread::scope(|s| -> Res {
        let writer = wait::spawn(s, || f.pwrite(from.as_slice(0, 8192), 0));
        let mapped = tracer.tells(ino, "map lblk 0x0 flags WRITE seq 1");
        to.set(64 << 10, 1);
        slow(t, &d, 0)?;
        writer.join()??;
        ensure!(mapped?, "no mapping");
        Ok(())
    })?;
    let want = [
        "extent_insert lblk 0x0 len 0x2 type UNWRITTEN seq 1",
        "buffered_write pos 0x0 bytecount 0x2000 seq 1",
        "map lblk 0x0 len 0x2 type UNWRITTEN flags WRITE seq 1",
        "page_mkwrite pos 0x10000",
        "reserve_take lblk 0x10 len 0x1 nr 1 reserved 1 seq 2",
        "page_mkwrite_done pos 0x10000 result LOCKED",
        "write_stale pos 0x0 bytecount 0x2000 type UNWRITTEN map_seq 1 seq 2",
        "map lblk 0x0 len 0x2 type UNWRITTEN flags WRITE seq 2",
    ];
    in_order(&tracer.events(ino)?, &want.map(String::from))?;
    holds(&f, 0, &data, "what was written")
}

/// Writeback has a mapping of two pages and waits for the second, which is being written already:
/// the end of that I/O changes the extent.
fn stale_writeback(t: &mut T) -> Res {
    let d = crash::start(t)?;
    let tracer = Tracer::new(t)?;
    let f = sys::create(&t.p("f"))?;
    f.fallocate(0, 0, 8192)?;
    f.fsync()?;
    let ino = f.stat()?.st_ino;
    slow(t, &d, dm::FOR_GOOD)?;
    f.pwrite(&pattern(1, 4096, 4096), 4096)?;
    f.start_writeback(4096, 4096)?;
    f.pwrite(&pattern(2, 4096, 4096), 4096)?;
    f.pwrite(&pattern(2, 0, 4096), 0)?;
    std::thread::scope(|s| -> Res {
        let syncer = wait::spawn(s, || f.fsync());
        let mapped = tracer.tells(ino, "map lblk 0x0 flags WRITEBACK seq 1");
        let waits = syncer.waits();
        slow(t, &d, 0)?;
        syncer.join()??;
        ensure!(mapped? && waits?, "the second page is written meanwhile");
        Ok(())
    })?;
    let want = [
        "extent_insert lblk 0x0 len 0x2 type UNWRITTEN seq 1",
        "writeback_range pos 0x1000 bytecount 0x1000 seq 1",
        "writeback_range pos 0x0 bytecount 0x1000 seq 1",
        "map lblk 0x0 len 0x2 type UNWRITTEN flags WRITEBACK seq 1",
        "writeback_end_io pos 0x1000 bytecount 0x1000",
        "extent_convert lblk 0x1 len 0x1 type MAPPED seq 2",
        "writeback_range pos 0x1000 bytecount 0x1000 seq 2",
        "writeback_stale pos 0x0 bytecount 0x2000 type UNWRITTEN map_seq 1 seq 2",
        "map lblk 0x1 len 0x1 type MAPPED flags WRITEBACK seq 2",
        "extent_convert lblk 0x0 len 0x1 type MAPPED seq 3",
    ];
    in_order(&tracer.events(ino)?, &want.map(String::from))?;
    t.drop_caches()?;
    holds(&f, 0, &pattern(2, 0, 8192), "what was written")
}

/// What deleting a file asks of the journal: handles, and blocks that it may change.
fn deletion_handles(t: &mut T) -> Res {
    let tracer = Tracer::new(t)?;
    tracer.on(false)?;
    tracer.set("events/jbd2/jbd2_handle_stats/enable", "1")?;
    t.fresh()?;
    put(&t.p("empty"), 1, 0)?;
    put(&t.p("small"), 1, 5000)?.fsync()?;
    sys::symlink(&"s".repeat(70), &t.p("slow"))?;
    sys::mkdir(&t.p("dir"), 0o755)?;
    sys::sync();
    // Some other task may write something back.
    // SAFETY: plain call.
    let me = format!("-{} ", unsafe { libc::gettid() });
    for (name, handles) in [("empty", 2), ("small", 3), ("slow", 3), ("dir", 3)] {
        tracer.set("trace", "")?;
        let path = t.p(name);
        sys::unlink(&path).or_else(|_| sys::rmdir(&path))?;
        let text = std::fs::read_to_string(format!("{}/trace", tracer.0))?;
        let asked: Vec<u32> = text
            .lines()
            .filter(|l| l.contains(&me))
            .filter_map(|l| {
                l.split_once("requested_blocks ")?
                    .1
                    .split(' ')
                    .next()?
                    .parse()
                    .ok()
            })
            .collect();
        same!(asked.len(), handles, "handles for {name}: {asked:?}");
        let most = asked.iter().max().copied().unwrap_or(0);
        ensure!(most < 60, "{name}: {asked:?} blocks");
    }
    tracer.set("events/jbd2/jbd2_handle_stats/enable", "0")
}
