// SPDX-License-Identifier: GPL-2.0
//! Where schedules are run: many on one mount, each with files of its own, and what is looked at
//! after each of them and after all.

use crate::append::placed;
use crate::clock::{timed, Part};
use crate::disk::{self, Disk};
use crate::drive::{run, Picker, Run, ENDLESS};
use crate::faults::{hits, Hit};
use crate::folder;
use crate::kernel::Bench;
use crate::names::Names;
use crate::op::{Kind, NAMES};
use crate::oracle::{acts, Act, Oracle, Outcome};
use crate::order::{Order, Schedule};
use crate::program::{Image, Program};
use crate::rest;
use crate::space::Free;
use crate::start;
use crate::things::End;
use crate::worker::{folder, path};
use guest::finder::no_error_noted;
use guest::fixture::{names, MNT};
use guest::harness::{Res, Stop};
use guest::kmsg::{complaint, defect, Kmsg};
use guest::sys::{self, Sys};

/// What went wrong.
pub struct Harm {
    pub words: String,
    /// Processes hang, and what is mounted stays so.
    pub for_good: bool,
}

impl From<String> for Harm {
    fn from(words: String) -> Harm {
        Harm {
            words,
            for_good: false,
        }
    }
}

impl From<Stop> for Harm {
    fn from(stop: Stop) -> Harm {
        Harm::from(stop.to_string())
    }
}

impl From<sys::SysErr> for Harm {
    fn from(e: sys::SysErr) -> Harm {
        Harm::from(e.to_string())
    }
}

/// A schedule that was run, and the bytes of its files.
pub struct Kept {
    pub run: u64,
    pub schedule: Schedule,
    seen: Vec<rest::Seen>,
    /// Of a program about names: what is left.
    names: Option<End>,
}

impl Kept {
    /// Is it still so, after an unmount and a mount?
    fn is_still(&self) -> Result<(), String> {
        for seen in &self.seen {
            seen.is_still(&path(self.run, seen.file))?;
        }
        match &self.names {
            Some(end) if folder::look(self.run, &self.schedule.program)? != *end => {
                Err("names, inodes or link counts are not the same".into())
            }
            _ => Ok(()),
        }
    }
}

/// A run, and whether it did harm.
pub struct Report {
    pub run: Run,
    pub outcomes: Vec<Vec<Outcome>>,
    pub result: Result<(), Harm>,
}

pub struct Site {
    disk: Disk,
    pub bench: Bench,
    kmsg: Kmsg,
    image: Image,
    /// When nothing was there.
    free: Free,
    /// When all was ready for the first schedule.
    rest: Free,
    /// An error was put in since.
    faulted: bool,
    /// Inodes that errors may have left to the next mount.
    left: usize,
    /// Schedules run since the program began.
    pub runs: u64,
    /// Those of this mount.
    kept: Vec<Kept>,
}

impl Site {
    pub fn new(disk: Disk, bench: Bench) -> Res<Site> {
        Ok(Site {
            disk,
            bench,
            kmsg: Kmsg::open()?,
            image: Image::PLAIN,
            free: Free::default(),
            rest: Free::default(),
            faulted: false,
            left: 0,
            runs: 0,
            kept: Vec::new(),
        })
    }

    /// A new file system.
    pub fn begin(&mut self, image: Image) -> Res {
        timed(Part::Fresh, || self.disk.fresh(image))?;
        self.image = image;
        (self.faulted, self.left) = (false, 0);
        self.free = disk::free()?;
        sys::mkdir(&folder(), 0o755)?;
        if image.tight {
            start::fill(image)?;
        }
        sys::rdonly(MNT)?.syncfs()?;
        self.rest = disk::free()?;
        self.kept.clear();
        Ok(())
    }

    /// What the kernel has complained about, or rext4 where no error was put in.
    fn log(&self) -> Result<(), Harm> {
        let records = self.kmsg.records();
        let lines: Vec<String> = records.iter().map(|(_, line)| line.clone()).collect();
        let own = complaint(&records).filter(|_| !self.faulted);
        match defect(&lines).or(own) {
            Some(line) => Err(format!("the kernel log has: {line}").into()),
            None => Ok(()),
        }
    }

    /// Runs a program on files of its own.
    pub fn run<P: Picker>(
        &mut self,
        program: &Program,
        picker: &mut P,
        drawn: bool,
    ) -> Result<Report, Harm> {
        self.runs += 1;
        let number = self.runs;
        let inodes = timed(Part::Create, || start::create(number, program))?;
        if drawn {
            rest::given(number, program)?;
        }
        let files = rest::Files::open(number, program)?;
        let bench = &mut self.bench;
        let mut kernel = timed(Part::Begin, || bench.begin(number, program, drawn))?;
        let run = run(&mut kernel, program, picker)?;
        let outcomes = std::mem::take(&mut kernel.outcomes);
        if run.stuck.is_some() {
            let what = match run.steps.len() < ENDLESS {
                true => "nobody can go on",
                false => "somebody goes on for ever",
            };
            let words = format!("hang: {what}{}", kernel.stacks());
            self.bench.kill();
            return Ok(Report {
                run,
                outcomes,
                result: Err(words.into()),
            });
        }
        timed(Part::End, || self.bench.end(program))?;
        let placed = placed(program, &outcomes);
        let acts = acts(&placed, &run, &outcomes);
        let result = timed(Part::Judge, || {
            let kept = match program.kind() {
                Kind::Bytes => self.bytes(files, program, &run, (&placed, acts)),
                Kind::Names => self.names(number, program, &run, (acts, inodes)),
            };
            kept.and_then(|kept| self.keep(kept))
        });
        Ok(Report {
            result: result.and_then(|()| timed(Part::Log, || self.log())),
            run,
            outcomes,
        })
    }

    /// Judges what is in the files; `placed` is the program with appends where they were done.
    fn bytes(
        &mut self,
        files: rest::Files,
        program: &Program,
        run: &Run,
        (placed, acts): (&Program, Vec<Act<'_>>),
    ) -> Result<Kept, Harm> {
        let mut oracle = Oracle::new(placed, acts);
        let inodes = files.inodes();
        let file = |ino| inodes.iter().position(|i| *i == Some(ino));
        oracle.hits = hits(run, |ino| Some(file(ino)? as u8));
        if self.image.dax {
            oracle.hits.iter_mut().for_each(Hit::without_cache);
        }
        self.faulted |= !oracle.hits.is_empty();
        oracle.outcomes()?;
        Ok(Kept {
            run: files.run,
            schedule: Schedule {
                program: program.clone(),
                order: run.order(),
            },
            seen: files.look(program, &oracle)?,
            names: None,
        })
    }

    /// Judges what is in the directories; with the inodes of the beginning.
    fn names(
        &mut self,
        number: u64,
        program: &Program,
        run: &Run,
        (acts, inodes): (Vec<Act<'_>>, [u64; NAMES.len()]),
    ) -> Result<Kept, Harm> {
        let names = Names {
            program,
            acts,
            hits: hits(run, |_| None),
            inodes,
        };
        self.faulted |= !names.hits.is_empty();
        self.left += names.hits.iter().filter(|hit| hit.leaves).count();
        let end = folder::look(number, program)?;
        names.judge(&end, folder::count(program))?;
        Ok(Kept {
            run: number,
            schedule: Schedule {
                program: program.clone(),
                order: run.order(),
            },
            seen: Vec::new(),
            names: Some(end),
        })
    }

    /// The files are on the disk as they were seen; then they go, and nothing is left over. With
    /// the number of the schedule among those of this mount, if it is known.
    pub fn end(&mut self) -> Result<(), (Harm, Option<usize>)> {
        let kept = std::mem::take(&mut self.kept);
        let none = |e| (e, None);
        timed(Part::Remount, || self.remount()).map_err(none)?;
        let compare = || self.compare(&kept);
        timed(Part::Compare, compare)?;
        timed(Part::Empty, || self.emptied()).map_err(none)
    }

    fn compare(&self, kept: &[Kept]) -> Result<(), (Harm, Option<usize>)> {
        for (nth, kept) in kept.iter().enumerate() {
            let harm = |e| (Harm::from(format!("after a remount: {e}")), Some(nth));
            kept.is_still().map_err(harm)?;
        }
        Ok(())
    }

    fn remount(&mut self) -> Result<(), Harm> {
        sys::umount(MNT, 0)?;
        self.left = 0;
        // Now, with all that there is in it. What an error has cut short the next mount finishes.
        if !self.faulted {
            self.disk.fsck(self.image)?;
        }
        self.disk.mount(self.image)?;
        self.log()
    }

    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// Schedules of this mount so far.
    pub fn kept(&self) -> Vec<Schedule> {
        self.kept.iter().map(|k| k.schedule.clone()).collect()
    }

    /// An error that was put in is told to whoever syncs first.
    fn sync(&self) -> Sys<()> {
        match sys::rdonly(MNT)?.syncfs() {
            Err(_) if self.faulted => sys::rdonly(MNT)?.syncfs(),
            other => other,
        }
    }

    /// The files of all schedules go.
    fn remove(&self) -> Result<(), Harm> {
        for name in names(&folder())? {
            folder::remove(&format!("{}/{name}", folder()))?;
        }
        Ok(())
    }

    /// What has been seen of a schedule stays, or goes at once for want of space. An inode that an
    /// error has left behind goes with the next mount.
    fn keep(&mut self, kept: Kept) -> Result<(), Harm> {
        if !self.image.tight {
            self.kept.push(kept);
            return Ok(());
        }
        self.remove()?;
        self.sync()?;
        if self.rest.waits(disk::free()?, self.left) {
            self.remount()?;
            self.sync()?;
        }
        self.left = 0;
        Ok(self.rest.same(disk::free()?)?)
    }

    fn emptied(&self) -> Result<(), Harm> {
        self.remove()?;
        sys::rmdir(&folder())?;
        if self.image.tight {
            sys::unlink(&start::filler())?;
        }
        self.sync()?;
        self.free.same(disk::free()?)?;
        sys::umount(MNT, 0)?;
        self.log()?;
        if !self.faulted {
            no_error_noted(self.disk.dev(self.image))?;
        }
        Ok(self.disk.fsck(self.image)?)
    }

    /// Nothing is mounted any more; what was there is of no interest.
    pub fn leave(&mut self) -> Result<(), Harm> {
        self.kept.clear();
        sys::umount(MNT, 0)?;
        self.log()
    }

    /// After harm: nothing is mounted. False if that cannot be.
    pub fn clear(&mut self) -> bool {
        self.bench.kill();
        self.kept.clear();
        let _ = self.kmsg.take();
        self.disk.clear()
    }

    /// A schedule alone on a new file system: the harm if it does any, and the run.
    pub fn once<P: Picker>(
        &mut self,
        program: &Program,
        picker: &mut P,
        drawn: bool,
    ) -> Result<(Result<(), Harm>, Run), Harm> {
        self.begin(program.image)?;
        let report = self.run(program, picker, drawn)?;
        let result = match report.result {
            Ok(()) => self.end().map_err(|(harm, _)| harm),
            harm => harm,
        };
        let for_good = result.is_err() && !self.clear();
        Ok((result.map_err(|h| Harm { for_good, ..h }), report.run))
    }

    /// As `once`, with the order that is written down.
    pub fn again(
        &mut self,
        schedule: &Schedule,
        drawn: bool,
    ) -> Result<(Result<(), Harm>, Run), Harm> {
        let order: &Order = &schedule.order;
        let mut replay = crate::strategy::Replay::new(order);
        self.once(&schedule.program, &mut replay, drawn)
    }
}
