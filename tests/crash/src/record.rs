// SPDX-License-Identifier: GPL-2.0
//! One sequence, done on a device that logs its writes; and what is promised after each call.

use crate::act::{name, Part, Sequence};
use crate::disk::Disk;
use guest::dm::{self, Dm};
use guest::ensure;
use guest::fixture::{run_cmd, MNT};
use guest::harness::Res;
use guest::sys::{self, Fd, Sys};
use guest::writelog::{self, Entry};
use model::cut::Promises;
use model::model::{Call, Model};
use model::names::TARGET;
use model::op::{Image, Mount, Move, Name, Op, Sync, Way};
use model::place::{From, Length, Place, Unit};
use model::side::Side;
use std::ops::Range;

/// The mark behind which states count.
pub const BEGIN: &str = "begin";
/// The mark at the end: the log is whole.
pub const END: &str = "end";
/// The mark in the log of a recovery behind which it is done.
pub const RECOVERED: &str = "1";
/// More than fits into an inode.
pub const LONG: &str = "a/target/that/is/too/long/for/an/inode/and/has/a/block/of/its/own/\
                        and/leads/to/nowhere/at/all";

/// What is there before anything is done: the image, and the same in the model.
pub struct Start {
    pub bytes: Vec<u8>,
    pub image: Image,
    /// Where the journal lies, in bytes, but for its first block.
    pub journal: Vec<Range<usize>>,
    /// The first part of it with that block.
    prompt: Range<usize>,
}

/// Milliseconds after which a write is done where it comes late: much more than a commit takes.
const LATE: u64 = 150;

/// A disk on which writes are late, but for those of a part of it, flushes and reads.
fn late(disk: &str, len: usize, prompt: &Range<usize>) -> Sys<Dm> {
    let sectors = |range: Range<usize>| (range.start as u64 / 512, range.len() as u64 / 512);
    let slow = |range: Range<usize>| {
        let (from, len) = sectors(range);
        let table = format!("{disk} {from} 0 {disk} {from} {LATE} {disk} {from} 0");
        (from, len, "delay", table)
    };
    let (from, count) = sectors(prompt.clone());
    let table = [
        slow(0..prompt.start),
        (from, count, "linear", format!("{disk} {from}")),
        slow(prompt.end..len),
    ];
    dm::start("late", &table)
}

/// What a sequence has done to the disk, and what is to be kept.
pub struct Recording {
    pub log: Vec<Entry>,
    /// The calls in words.
    pub told: Vec<String>,
    /// For each number of calls that have returned.
    pub promises: Vec<Promises>,
}

/// Two disks: what is written, and the log of it.
pub struct Recorder {
    pub disk: Disk,
    log: String,
    fs: String,
    /// Of the mount, each with a comma before it.
    options: String,
    /// Where the race lab takes commands, if each handle is to be committed alone.
    pub lab: Option<Fd>,
}

impl Recorder {
    pub fn new(fs: &str, [file, log]: [&str; 2], options: &str) -> Res<Recorder> {
        Ok(Recorder {
            disk: Disk::new(file)?,
            log: log.to_string(),
            fs: fs.to_string(),
            options: options.to_string(),
            lab: None,
        })
    }

    /// Whether each handle is committed before the next one starts.
    fn commits(&self, each: bool) -> Result<(), String> {
        let command: &[u8] = if each {
            b"commit each"
        } else {
            b"commit shared"
        };
        let told = self.lab.as_ref().map(|lab| lab.write(command));
        told.transpose().map(drop).map_err(|e| e.to_string())
    }

    /// Mounts these bytes, does this, unmounts; the log of it. Where only a part of the disk is
    /// prompt, what is written elsewhere comes late.
    fn during(
        &mut self,
        bytes: &[u8],
        prompt: Option<&Range<usize>>,
        does: &mut dyn FnMut(&Side, &Dm) -> Result<(), String>,
    ) -> Result<Vec<Entry>, String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        self.disk.put(bytes);
        let late = prompt.map(|prompt| late(&self.disk.path, bytes.len(), prompt));
        let late = late.transpose().map_err(|e| text(&e))?;
        let disk = late.as_ref().map_or(&self.disk.path, |late| &late.path);
        let line = (
            0,
            (bytes.len() / 512) as u64,
            "log-writes",
            format!("{disk} {}", self.log),
        );
        let device = dm::start("crash", &[line]).map_err(|e| text(&e))?;
        let mut side = Side::on(&self.fs, &device.path, MNT).map_err(|e| text(&e))?;
        side.options.clone_from(&self.options);
        self.commits(true)?;
        let mut done = side.mount().map_err(|e| text(&e));
        if done.is_ok() {
            done = does(&side, &device);
            let end = side.umount().map_err(|e| text(&e));
            done = done.and(end);
        }
        self.commits(false)?;
        done = done.and(mark(&device, END));
        let mut gone = device.remove().map_err(|e| text(&e));
        if let Some(late) = late {
            gone = gone.and(late.remove().map_err(|e| text(&e)));
        }
        self.disk.look(bytes.len());
        done.and(gone)?;
        let log = sys::rdonly(&self.log).map_err(|e| text(&e))?;
        let log = writelog::read(&log).map_err(|e| text(&e))?;
        // dm-log-writes ends without a word when its device is full.
        match log
            .iter()
            .any(|entry| *entry == Entry::Mark(END.to_string()))
        {
            true => Ok(log),
            false => Err(format!("the log of the disk has no mark {END}")),
        }
    }

    pub fn record(&mut self, start: &Start, sequence: &Sequence) -> Result<Recording, String> {
        let mut run = Run::new(start.image, Mount::of(&self.options));
        let prompt = Some(&start.prompt).filter(|_| sequence.is_late());
        let log = self.during(&start.bytes, prompt, &mut |side, device| {
            mark(device, BEGIN)?;
            for step in &sequence.steps {
                for part in step.parts(run.size(), start.image.block()) {
                    run.part(side, part)?;
                    mark(device, &run.told.len().to_string())?;
                }
            }
            Ok(())
        })?;
        run.all.push(run.promises);
        Ok(Recording {
            log,
            told: run.told,
            promises: run.all,
        })
    }

    /// The recovery of these bytes, and after it an unmount.
    pub fn recover(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, String> {
        self.during(bytes, None, &mut |_, device| mark(device, RECOVERED))
    }
}

/// All that is written from now on comes after this mark in the log.
fn mark(device: &Dm, text: &str) -> Result<(), String> {
    let told = device.message(&format!("mark {text}"));
    told.map_err(|e| format!("mark {text}: {e}"))
}

/// The calls that make what is there at the start.
fn first() -> Vec<Call> {
    let from = From::Start;
    let (n, unit, beside) = (0, Unit::Byte, 0);
    let place = Place {
        from,
        n,
        unit,
        beside,
    };
    let length = Length { n, unit, beside };
    let (at, seed) = (0, 0);
    let plain = |op| Call {
        op,
        at,
        len: 0,
        seed,
    };
    let written = |file: &str, len, seed| Call {
        op: Op::Write(name(file), place, length, Way::Buffered),
        at,
        len,
        seed,
    };
    // So many extents need a block of their own.
    let scattered = (0..6).map(|i| Call {
        at: i * 16384,
        ..written("d/a", 4096, 103)
    });
    let mut all = vec![
        plain(Op::Create(name("a"))),
        written("a", 9500, 101),
        plain(Op::Create(name("b"))),
        written("b", 5000, 102),
        plain(Op::Mkdir(name("d"))),
        plain(Op::Create(name("d/a"))),
        plain(Op::Symlink(name("e"))),
    ];
    all.extend(scattered);
    all
}

fn populated(image: Image) -> Model {
    let mut model = Model::new(image);
    for call in first() {
        model.apply(&call).expect("a new name");
    }
    model
}

/// The image that all begins with, made on this disk.
pub fn start(fs: &str, disk: &mut Disk, image: Image) -> Res<Start> {
    let side = Side::new(fs, &disk.path, MNT)?;
    let len = model::world::make(&side, image)?.len();
    side.mount()?;
    side.begin(true)?;
    for call in first() {
        ensure!(apply(&side, &call).is_ok(), "{call:?} fails");
    }
    side.umount()?;
    let bytes = disk.look(len).to_vec();
    let journal = journal(&side.dev, image.block() as usize)?;
    let prompt = journal[0].start - image.block() as usize..journal[0].end;
    Ok(Start {
        bytes,
        image,
        journal,
        prompt,
    })
}

/// Where the journal lies, but for its first block.
fn journal(dev: &str, block: usize) -> Res<Vec<Range<usize>>> {
    let (code, text) = run_cmd("debugfs", &["-R", "blocks <8>", dev])?;
    let numbers = text.lines().flat_map(str::split_whitespace);
    let blocks: Vec<usize> = numbers.filter_map(|word| word.parse().ok()).collect();
    ensure!(code == 0 && blocks.len() >= 1024, "debugfs: {text}");
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in blocks[1..].iter().map(|number| number * block) {
        match ranges.last_mut() {
            Some(range) if range.end == at => range.end += block,
            _ => ranges.push(at..at + block),
        }
    }
    ranges.sort_by_key(|range| range.start);
    Ok(ranges)
}

/// What a name that is made leads to, if it is a symbolic link.
fn target(link: Name) -> &'static str {
    let is_long = ["e", "d/b"].contains(&link.text());
    if is_long {
        LONG
    } else {
        TARGET
    }
}

fn apply(side: &Side, call: &Call) -> Result<u64, i32> {
    match call.op {
        Op::Symlink(link) => sys::symlink(target(link), &side.path(link.text()))
            .map(|()| 0)
            .map_err(|e| e.errno),
        _ => side.apply(call),
    }
}

/// A sequence as far as it is done.
struct Run {
    model: Model,
    promises: Promises,
    told: Vec<String>,
    /// What is promised while each call is on its way.
    all: Vec<Promises>,
}

impl Run {
    fn new(image: Image, mount: Mount) -> Run {
        let model = populated(image);
        let promises = Promises::new(&model.tree).on(mount);
        Run {
            model,
            promises,
            told: Vec::new(),
            all: Vec::new(),
        }
    }

    /// Of the file `a`.
    fn size(&self) -> u64 {
        let data = self.model.tree.file(name("a"));
        data.map_or(0, |data| data.len() as u64)
    }

    fn part(&mut self, side: &Side, part: Part) -> Result<(), String> {
        let mut begun = self.promises.clone();
        let words = match part {
            Part::Call(call) => {
                let seed = self.told.len() as u64 + 1;
                self.call(side, &Call { seed, ..call }, &mut begun)?
            }
            Part::Start(name) => {
                let file = sys::rdwr(&side.path(name.text()));
                let started = file.and_then(|file| file.start_writeback(0, 0));
                if started.is_ok() != self.model.tree.file(name).is_ok() {
                    return Err(format!("sync_file_range: {started:?}"));
                }
                format!("start to write {}", name.text())
            }
            Part::Directory(path) => {
                let directory = sys::rdonly(&side.path(path)).map_err(|e| e.to_string())?;
                directory.fsync().map_err(|e| e.to_string())?;
                self.promises.directory(path);
                format!("fsync of the directory /{path}")
            }
        };
        self.all.push(begun);
        self.told.push(words);
        Ok(())
    }

    /// Does it, here and in the model, which must agree on whether it fails. In words.
    fn call(&mut self, side: &Side, call: &Call, begun: &mut Promises) -> Result<String, String> {
        let (want, got) = (self.model.apply(call), apply(side, call));
        let words = tell(call);
        match (want, got) {
            (Ok(_), Ok(_)) => {
                begun.begun(call, &self.model.tree);
                self.promises.step(call, &self.model.tree);
                Ok(words)
            }
            (Err(_), Err(_)) => Ok(format!("{words}: fails")),
            (want, got) => Err(format!("{words}: {got:?}, the model says {want:?}")),
        }
    }
}

/// A call in words.
fn tell(call: &Call) -> String {
    match call.op {
        Op::Sync(_, Sync::All) => "sync".to_string(),
        Op::Sync(name, how) => format!("{how:?} {}", name.text()),
        Op::Chmod(name, mode) => format!("chmod {} {mode:o}", name.text()),
        Op::Create(name) => format!("open {} with O_CREAT and O_TRUNC", name.text()),
        Op::Rename(from, to, Move::Exchange) => {
            format!("exchange {} and {}", from.text(), to.text())
        }
        Op::Rename(from, to, Move::Whiteout) => {
            format!(
                "rename {} to {}, leaving a whiteout",
                from.text(),
                to.text()
            )
        }
        Op::Rename(from, to, _) => format!("rename {} to {}", from.text(), to.text()),
        Op::Link(old, new) => format!("link {} to {}", old.text(), new.text()),
        Op::Unlink(name) => format!("unlink {}", name.text()),
        Op::Symlink(name) => format!("symlink {}", name.text()),
        _ => model::run::tell(call),
    }
}
