// SPDX-License-Identifier: GPL-2.0
//! What is there after recovery: by either file system, against what was promised, and by e2fsck.

use crate::disk::{Disk, MOST};
use crate::record::{Start, LONG};
use guest::dm::{self, Dm};
use guest::fixture::{run_cmd, MNT2};
use guest::harness::Res;
use guest::kmsg::{defect, Kmsg};
use guest::sys::{self, Sys};
use model::cut::{Contents, Entry, Promises};
use model::look::found;
use model::names::TARGET;
use model::side::Side;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

/// What a file system makes of a disk.
pub struct Seen {
    names: Vec<Entry>,
    data: Contents,
}

impl Seen {
    /// Is it what may be there?
    pub fn keeps(&self, promises: &Promises) -> Result<(), String> {
        promises.kept(&self.names, &self.data).map(drop)
    }
}

pub struct Judge {
    disk: Disk,
    /// The same, for others: what they have in memory of it goes when they close it.
    device: Dm,
    /// Those who recover.
    sides: Vec<Side>,
    kmsg: Kmsg,
    /// Disks after recovery that e2fsck has found clean.
    clean: HashSet<u64>,
    /// Where the journal lies, in bytes: what is in it after recovery is of no use.
    journal: Vec<Range<usize>>,
    pub checked: u64,
}

impl Judge {
    pub fn new(file: &str) -> Res<Judge> {
        let disk = Disk::new(file)?;
        let table = dm::linear(&disk.path, 0, MOST as u64 >> 20);
        Ok(Judge {
            device: dm::start("judge", &[table])?,
            disk,
            sides: Vec::new(),
            kmsg: Kmsg::open()?,
            clean: HashSet::new(),
            journal: Vec::new(),
            checked: 0,
        })
    }

    /// Images of this kind come.
    pub fn expect(&mut self, start: &Start) {
        self.journal.clone_from(&start.journal);
        if self.clean.len() > 100_000 {
            self.clean.clear();
        }
    }

    /// Mounts these bytes, which recovers them, looks at all that is there, unmounts, and has
    /// e2fsck look.
    pub fn see(&mut self, fs: &str, bytes: &[u8]) -> Result<Seen, String> {
        let text = |e: &dyn std::fmt::Display| format!("{fs}: {e}");
        self.disk.put(bytes);
        let side = self.side(fs).map_err(|e| text(&e))?;
        let seen = mount(side).map_err(|e| text(&e)).and_then(|()| {
            let seen = look(side).map_err(|e| text(&e));
            side.umount().map_err(|e| text(&e))?;
            seen
        });
        self.log().map_err(|e| text(&e))?;
        let hash = self.what_counts(bytes.len());
        let seen = seen?;
        if !self.clean.contains(&hash) {
            self.checked += 1;
            fsck(&self.device.path).map_err(|e| format!("after recovery by {fs}: {e}"))?;
            self.clean.insert(hash);
        }
        Ok(seen)
    }

    /// As [`Self::see`], of what e2fsck has put in order before.
    pub fn see_repaired(&mut self, fs: &str, bytes: &[u8]) -> Result<Seen, String> {
        self.disk.put(bytes);
        let told = run_cmd("e2fsck", &["-fp", &self.device.path]);
        let (code, text) = told.map_err(|e| e.to_string())?;
        if code & !1 != 0 {
            return Err(format!("e2fsck -fp: {code}: {}", text.trim()));
        }
        let repaired = self.disk.look(bytes.len()).to_vec();
        self.see(fs, &repaired)
    }

    /// It has things of its own that are not made each time.
    fn side(&mut self, fs: &str) -> Sys<&Side> {
        if !self.sides.iter().any(|side| side.fs == fs) {
            self.sides.push(Side::on(fs, &self.device.path, MNT2)?);
        }
        let at = self.sides.iter().position(|side| side.fs == fs);
        Ok(&self.sides[at.unwrap_or_default()])
    }

    /// A number for what e2fsck looks at: all but what each mount changes in the superblock, and
    /// the journal.
    fn what_counts(&mut self, len: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut head = self.disk.look(len)[..2 * SUPER].to_vec();
        for range in MOVES {
            head[SUPER + range.start..SUPER + range.end].fill(0);
        }
        hasher.write(&head);
        let mut from = head.len();
        for range in &self.journal {
            self.disk.sum(from..range.start, &mut hasher);
            from = range.end;
        }
        self.disk.sum(from..len, &mut hasher);
        hasher.finish()
    }

    /// What the kernel has complained about.
    pub fn log(&self) -> Result<(), String> {
        match defect(&self.kmsg.take()) {
            Some(line) => Err(format!("the kernel log has: {line}")),
            None => Ok(()),
        }
    }
}

/// Looking changes nothing.
fn mount(side: &Side) -> Sys<()> {
    let options = "commit=900";
    sys::mount(&side.dev, &side.dir, &side.fs, libc::MS_NOATIME, options)?;
    side.unlock().map(drop)
}

fn look(side: &Side) -> Result<Seen, String> {
    let (names, data) = found(side)?;
    for link in names.iter().filter(|entry| entry.kind == libc::S_IFLNK) {
        let path = &link.path;
        let target = sys::readlink(&side.path(path)).map_err(|e| e.to_string())?;
        if target != TARGET.as_bytes() && target != LONG.as_bytes() {
            let target = String::from_utf8_lossy(&target);
            return Err(format!("the symbolic link {path} leads to {target:?}"));
        }
    }
    Ok(Seen { names, data })
}

fn fsck(dev: &str) -> Result<(), String> {
    let (code, text) = run_cmd("e2fsck", &["-fn", dev]).map_err(|e| e.to_string())?;
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("Pass ")).collect();
    if code != 0 {
        return Err(format!("e2fsck -fn: {}", lines.join(" | ")));
    }
    Ok(())
}

/// The superblock: where it begins, and in it the times, the counters, and the sum over all.
const SUPER: usize = 1024;
const MOVES: [Range<usize>; 4] = [0x2c..0x36, 0x178..0x180, 0x274..0x27a, 0x3fc..0x400];
