// SPDX-License-Identifier: GPL-2.0
//! As in `pin.rs`, where the page that is pinned is the last one of the file, and goes itself: its
//! block is freed, and what the device stores meanwhile must not be written to it.

use crate::cases::power::checkpoint::checkpoint;
use crate::dm::{self, Dm, Line};
use crate::fiemap::fiemap;
use crate::fixture::{diff_at, holds, pattern, put, run_cmd, MNT, T};
use crate::harness::{Case, Res, Stop, K4, POINTERS};
use crate::map::Map;
use crate::source::Source;
use crate::sys::{self, Aligned, Fd, Sys};
use crate::{ensure, fail, same, skip, wait};

pub const CASES: &[Case] = &[
    Case::new("pin/punch_to_end", &[POINTERS, K4], punch_to_end).quick(),
    Case::new("pin/zero_to_end", &[K4], zero_to_end).quick(),
];

const PAGE: usize = 4096;
/// In sectors.
const PART: u64 = PAGE as u64 / 512;
/// Of the file, which ends inside of its second block.
const LEN: usize = 6000;
/// Of the device.
const MIB: u64 = 16;

type Act = fn(&Fd) -> Sys<()>;

/// The device of the file system. Two parts of it are devices of their own, which can be silent.
struct Parts {
    whole: Dm,
    /// The block of the inode table that has the file.
    table: Dm,
    /// The last block of the file.
    last: Dm,
    /// Where that is, in bytes.
    at: u64,
}

impl Parts {
    /// With a new file system, on which `f` is.
    fn new(t: &mut T) -> Res<Parts> {
        t.mkfs(MIB, &[])?;
        let whole = t.mapped("whole", MIB)?;
        let fs = t.fs.clone();
        t.mount_as(&whole.path, MNT, &fs, 0, "")?;
        let f = put(&t.p("f"), 1, LEN)?;
        f.fsync()?;
        let found = fiemap(&f, PAGE as u64, 1, true, 1)?;
        ensure!(found.len() == 1, "blocks of f: {found:?}");
        let at = found[0].phys + PAGE as u64 - found[0].log;
        drop(f);
        t.umount()?;
        let places = [table_block(t)? / 512, at / 512];
        let table = part(t, "table", places[0])?;
        let last = part(t, "last", places[1])?;
        whole.swap(&around(t, places, [&table, &last])?)?;
        // The parts go after what is made of them.
        t.dms.rotate_left(1);
        // Times stay in memory, so nobody reads the table block before who frees blocks. A flush
        // would wait for the part that is silent.
        t.mount_as(&whole.path, MNT, &fs, libc::MS_LAZYTIME, "nobarrier")?;
        Ok(Parts {
            whole,
            table,
            last,
            at,
        })
    }

    /// What the disk has where the last block of the file was.
    fn freed(&self, t: &T) -> Res<Vec<u8>> {
        let mut v = Aligned::new(PAGE);
        let d = sys::open(&t.dev, libc::O_RDONLY | libc::O_DIRECT, 0)?;
        let n = d.pread(&mut v, self.at)?;
        ensure!(n == PAGE, "short read of {}: {n}", t.dev);
        Ok(v.to_vec())
    }

    /// `act` frees the last block of the file. When it has dropped the page cache, the device
    /// delivers, and what is dirty of the file then is on its way to the disk until the last part
    /// is resumed. Returns what the block has when it can be anybody's.
    fn stored_late(&self, t: &T, f: &Fd, act: Act, deliver: impl FnOnce() -> Res) -> Res<Vec<u8>> {
        self.table.suspend()?;
        std::thread::scope(|s| -> Res {
            let actor = wait::spawn(s, || act(f));
            // For the table block.
            let held = actor.waits();
            let late = self.last.suspend().map_err(Stop::from);
            let late = late.and_then(|()| deliver());
            let late = late.and_then(|()| Ok(f.start_writeback(0, 0)?));
            self.table.resume()?;
            let through = actor.ends();
            // Not through, it waits for this one.
            if !matches!(through, Ok(true)) {
                self.last.resume()?;
            }
            actor.join()??;
            let (held, through) = (held?, through?);
            if !held && !t.ours() {
                skip!("ext4 has the table block by then");
            }
            ensure!(held && through, "held somewhere else: {held}, {through}");
            late
        })?;
        // Commits.
        sys::rdonly(&t.p(""))?.fsync()?;
        self.freed(t)
    }
}

/// The byte of the device at which the table block of `f` begins.
fn table_block(t: &T) -> Res<u64> {
    let (_, text) = run_cmd("debugfs", &["-R", "imap f", &t.dev])?;
    let after = text.split("located at block ").nth(1);
    match after.and_then(|s| s.split(',').next()?.trim().parse::<u64>().ok()) {
        Some(block) => Ok(block * t.bs()),
        None => fail!("imap of f: {text}"),
    }
}

/// A device that is the block at this sector.
fn part(t: &mut T, name: &str, at: u64) -> Res<Dm> {
    let dm = dm::start(name, &[(0, PART, "linear", format!("{} {at}", t.dev))])?;
    t.dms.push(dm.clone());
    Ok(dm)
}

/// A table of all the device with two parts at these sectors.
fn around<'a>(t: &T, places: [u64; 2], parts: [&Dm; 2]) -> Res<Vec<Line<'a>>> {
    let (mut table, mut from) = (Vec::new(), 0);
    for (at, dm) in places.into_iter().zip(parts) {
        ensure!(from < at, "the table lies behind the data");
        table.push((from, at - from, "linear", format!("{} {from}", t.dev)));
        table.push((at, PART, "linear", format!("{} 0", dm.path)));
        from = at + PART;
    }
    let rest = MIB * 2048 - from;
    table.push((from, rest, "linear", format!("{} {from}", t.dev)));
    Ok(table)
}

/// What `act` does with the file frees its last block, to whose page a device stores meanwhile.
fn freed_below(t: &mut T, act: Act) -> Res {
    let parts = Parts::new(t)?;
    let f = sys::rdwr(&t.p("f"))?;
    let map = Map::shared(&f, 2 * PAGE)?;
    let sector = PAGE..PAGE + 512;
    let source = Source::new(t, &pattern(9, 0, sector.len()))?;
    source.suspend()?;
    let (device, page) = (source.file()?, map.as_mut_slice(PAGE, sector.len()));
    let before = std::thread::scope(|s| -> Res<Vec<u8>> {
        // When its read returns, what it read into is dirty.
        let reader = wait::spawn(s, || device.pread(page, 0));
        let silent = reader.waits();
        let before = silent.and_then(|silent| {
            ensure!(silent, "the device is not silent");
            // Who writes looks for privileges to be stripped, the first time, and counts a change.
            f.pwrite(&pattern(1, 0, 1), 0)?;
            // All that is on disk, times too, and the log needs the table block no more.
            sys::sync();
            checkpoint(&f, 0)?;
            sys::write_file("/proc/sys/vm/drop_caches", "1\n")?;
            parts.stored_late(t, &f, act, || {
                source.resume()?;
                ensure!(reader.ends()?, "the device does not deliver");
                Ok(())
            })
        });
        let _ = source.resume();
        same!(reader.join()??, sector.len(), "the read");
        before
    });
    parts.last.resume()?;
    let before = before?;
    drop(map);
    f.fsync()?;
    let after = parts.freed(t)?;
    same!(diff_at(&after, &before), None, "written to a freed block");
    let mut want = pattern(1, 0, LEN);
    want[PAGE..].fill(0);
    holds(&f, 0, &want, "in memory")?;
    drop(f);
    let (fs, whole) = (t.fs.clone(), parts.whole.path);
    t.umount()?;
    t.mount_as(&whole, MNT, &fs, 0, "")?;
    t.file_holds("f", &want, "on disk")
}

/// To the end of the last block.
fn punch_to_end(t: &mut T) -> Res {
    freed_below(t, |f| f.punch(PAGE as u64, PAGE as u64))
}

/// Far beyond the end.
fn zero_to_end(t: &mut T) -> Res {
    const HOW: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    freed_below(t, |f| f.fallocate(HOW, PAGE as u64, 16 * PAGE as u64))
}
