// SPDX-License-Identifier: GPL-2.0
//! One run: again and again, when nothing moves any more, somebody says who goes on.

use crate::order::{Fault, Go, Order};
use crate::program::{thread_name, Program, KERNEL, THREADS};

/// With more steps a run does not end: somebody tries the same thing again and again.
pub const ENDLESS: usize = 1500;
/// Who is here asks again and again whether pages are free.
const AGAIN: &str = "pin-wait";

/// Where a thread waits in the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At {
    pub point: String,
    pub ino: u64,
    /// The first byte of the file that it is about.
    pub byte: u64,
    /// Which thread it is for the kernel.
    pub tid: i32,
    /// The errors that the point can return.
    pub faults: Vec<Fault>,
}

/// Where a thread under test is when nothing moves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In user space, with so many operations behind it.
    Between(usize),
    Parked(At),
    /// Asleep in the kernel until somebody else goes on.
    Blocked,
}

/// What the threads run in: the kernel, or one that is made up.
pub trait World {
    type Error;

    /// Waits until nothing moves, and says where all threads are; those of the kernel, if they are
    /// led, behind those that a program may have. So that they do not stay so for
    /// ever when all are blocked, it may take its time then.
    fn settle(&mut self) -> Result<Vec<Place>, Self::Error>;

    /// Lets a thread go on from where it waits.
    fn go(&mut self, go: Go) -> Result<(), Self::Error>;
}

/// What somebody who picks knows.
pub struct Seen<'a> {
    /// Who can go on; never nobody.
    pub ready: &'a [usize],
    pub places: &'a [Place],
    /// Who went on last.
    pub last: Option<usize>,
}

impl Seen<'_> {
    /// Who goes on if there is no reason to change: the same as before.
    pub fn same(&self) -> usize {
        match self.last {
            Some(last) if self.ready.contains(&last) => last,
            _ => self.ready[0],
        }
    }
}

/// Who says who goes on.
pub trait Picker {
    fn pick(&mut self, seen: &Seen<'_>) -> Go;
}

/// One that went on, from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub go: Go,
    /// Its operation; a thread of the kernel has none.
    pub op: Option<usize>,
    /// The point, or nothing at the beginning of the operation.
    pub point: Option<String>,
    /// The file that the point is about, and the first byte.
    pub ino: Option<u64>,
    pub byte: Option<u64>,
    /// So many steps had been done when it was first seen to wait there.
    pub since: usize,
    /// Which thread it was for the kernel, at a point: those of the kernel itself change places.
    pub tid: Option<i32>,
    /// Who could have gone on.
    pub ready: Vec<usize>,
}

/// The steps between which an operation was on its way: it began with the first one, and was over
/// after the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub from: usize,
    pub to: usize,
}

impl Span {
    /// Was it over before the other began?
    pub fn before(&self, other: &Span) -> bool {
        self.to < other.from
    }
}

/// Two threads that were at points with the same file.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Meeting(pub String, pub String);

#[derive(Default)]
pub struct Run {
    pub steps: Vec<Step>,
    /// For each thread those of its operations that were begun; one without an end was on its way
    /// when all came to a halt.
    pub spans: Vec<Vec<(usize, Option<usize>)>>,
    /// Nobody could go on, and somebody was not done; or it did not end.
    pub stuck: Option<Vec<Place>>,
    pub meetings: Vec<Meeting>,
}

impl Run {
    /// To run it again.
    pub fn order(&self) -> Order {
        Order(self.steps.iter().map(|s| s.go).collect())
    }

    /// What must be the same when it is run again.
    pub fn trace(&self) -> Vec<(usize, Option<String>)> {
        let steps = self.steps.iter();
        steps.map(|s| (s.go.thread, s.point.clone())).collect()
    }

    /// In plain words: a line for each time that another one goes on.
    pub fn words(&self, program: &Program) -> String {
        let mut out = String::new();
        for same in self.steps.chunk_by(|a, b| a.go.thread == b.go.thread) {
            let mut words = Vec::new();
            for step in same {
                let mut text = match (&step.point, step.op) {
                    (None, Some(op)) => program.threads[step.go.thread][op].words(),
                    (point, _) => format!("on from {}", point.as_deref().unwrap_or("?")),
                };
                if let Some(fault) = step.go.fault {
                    text += &format!(" with {}", fault.name());
                }
                words.push(text);
            }
            let name = thread_name(same[0].go.thread);
            out += &format!("  {name}: {}\n", words.join(", "));
        }
        out
    }
}

/// Points that two threads have met at, for the same file.
fn meetings(places: &[Place], out: &mut Vec<Meeting>) {
    let parked: Vec<&At> = places
        .iter()
        .filter_map(|p| match p {
            Place::Parked(at) => Some(at),
            _ => None,
        })
        .collect();
    for (i, one) in parked.iter().enumerate() {
        for other in parked[i + 1..].iter().filter(|o| o.ino == one.ino) {
            let mut both = [one.point.clone(), other.point.clone()];
            both.sort();
            let [a, b] = both;
            out.push(Meeting(a, b));
        }
    }
}

/// A run under way.
struct Driver<'a, W, P> {
    world: &'a mut W,
    picker: &'a mut P,
    ops: Vec<usize>,
    last: Option<usize>,
    /// For each thread that waits at a point, how many steps had been done when it came there.
    since: Vec<Option<usize>>,
    out: Run,
}

impl<W: World, P: Picker> Driver<'_, W, P> {
    /// What has ended since the last look.
    fn note(&mut self, places: &[Place]) {
        let to = self.out.steps.len().saturating_sub(1);
        for (thread, place) in places.iter().enumerate() {
            let Place::Between(done) = place else {
                continue;
            };
            for span in self.out.spans[thread].iter_mut().take(*done) {
                span.1.get_or_insert(to);
            }
        }
        self.since.resize(places.len(), None);
        for (thread, since) in self.since.iter_mut().enumerate() {
            match &places[thread] {
                // It has come from one point to the next.
                Place::Parked(_) if self.last == Some(thread) => {
                    *since = Some(self.out.steps.len())
                }
                Place::Parked(_) => {
                    since.get_or_insert(self.out.steps.len());
                }
                _ => *since = None,
            }
        }
        meetings(places, &mut self.out.meetings);
    }

    fn ready(&self, places: &[Place]) -> Vec<usize> {
        let can = |(thread, place): &(usize, &Place)| match place {
            Place::Between(done) => *done < self.ops[*thread],
            Place::Parked(_) => true,
            Place::Blocked => false,
        };
        let all = places.iter().enumerate();
        let all: Vec<usize> = all.filter(can).map(|(thread, _)| thread).collect();
        let (waits, others): (Vec<usize>, _) =
            (all.iter()).partition(|thread| self.waits(**thread, &places[**thread]));
        match others.is_empty() {
            true => waits,
            false => others,
        }
    }

    /// Has it gone on from here just now, and waits for what only others can change?
    fn waits(&self, thread: usize, place: &Place) -> bool {
        let again = |at: &At| at.point == AGAIN;
        let same = |step: &Step| step.go.thread == thread && step.point.as_deref() == Some(AGAIN);
        matches!(place, Place::Parked(at) if again(at)) && self.out.steps.last().is_some_and(same)
    }

    /// False: nobody can go on any more.
    fn step(&mut self) -> Result<bool, W::Error> {
        let places = self.world.settle()?;
        self.note(&places);
        let ready = self.ready(&places);
        if self.out.steps.len() >= ENDLESS {
            self.out.stuck = Some(places);
            return Ok(false);
        }
        if ready.is_empty() {
            if places.contains(&Place::Blocked) {
                self.out.stuck = Some(places);
            }
            return Ok(false);
        }
        let seen = Seen {
            ready: &ready,
            places: &places,
            last: self.last,
        };
        let go = self.picker.pick(&seen);
        let at = match &places[go.thread] {
            Place::Parked(at) => Some(at),
            _ => None,
        };
        let point = at.map(|at| at.point.clone());
        let (ino, byte, tid) = (
            at.map(|at| at.ino),
            at.map(|at| at.byte),
            at.map(|at| at.tid),
        );
        let since = self.since[go.thread].unwrap_or(self.out.steps.len());
        let spans = &mut self.out.spans[go.thread];
        if point.is_none() {
            spans.push((self.out.steps.len(), None));
        }
        let op = spans.len().checked_sub(1);
        self.out.steps.push(Step {
            go,
            op,
            point,
            ino,
            byte,
            since,
            tid,
            ready,
        });
        self.last = Some(go.thread);
        self.world.go(go)?;
        Ok(true)
    }
}

/// Runs a program; `picker` says who goes on.
pub fn run<W: World, P: Picker>(
    world: &mut W,
    program: &Program,
    picker: &mut P,
) -> Result<Run, W::Error> {
    let mut ops: Vec<usize> = program.threads.iter().map(Vec::len).collect();
    ops.resize(THREADS + KERNEL, 0);
    let mut driver = Driver {
        world,
        picker,
        last: None,
        since: Vec::new(),
        out: Run {
            spans: vec![Vec::new(); ops.len()],
            ..Run::default()
        },
        ops,
    };
    while driver.step()? {}
    Ok(driver.out)
}
