// SPDX-License-Identifier: GPL-2.0
//! What has happened for the first time, and the programs that made it happen: they are worth more
//! than others, so they are changed and run again (`change.rs`).
//!
//! Two kinds of things are counted. That two threads are at two points of one inode at the same
//! time; and what came in between: a thread waited at one point, somebody else did something from
//! its beginning to its end, and the thread came to its next point.
//!
//! ```text
//!   A                              B
//!   waits at `write-get-folio`
//!                                  punch
//!   waits at `write-check`                   write-get-folio, punch, write-check
//! ```

use crate::drive::{Meeting, Run, Step};
use crate::op::Verb;
use crate::program::{Program, THREADS};
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, HashSet};

/// Programs that are kept; the oldest go.
const KEPT: usize = 500;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Event {
    Met(Meeting),
    /// A point, what came in between, and the next point, or nothing at the end of the operation.
    Between(String, Verb, Option<String>),
}

/// Where something happened: the thread that waited, and which of its steps came next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    thread: usize,
    step: usize,
}

/// A program that made something happen for the first time.
pub struct Kept {
    pub program: Program,
    /// Who waited then.
    pub victim: usize,
    /// How many steps it had done.
    pub at: usize,
    new: Vec<Event>,
}

#[derive(Default)]
pub struct Corpus {
    /// In how many schedules each has happened.
    seen: HashMap<Event, u32>,
    kept: Vec<Kept>,
}

/// Is it the same task, in the same operation?
fn continues(step: &Step, next: &Step) -> bool {
    match step.go.thread < THREADS {
        true => (step.go.thread, step.op) == (next.go.thread, next.op),
        false => step.tid == next.tid,
    }
}

/// The operations that came in between, from their beginning to their end, while a thread waited
/// to do this step.
fn between<'a>(run: &'a Run, program: &'a Program, nth: usize) -> impl Iterator<Item = Verb> + 'a {
    let step = &run.steps[nth];
    let all = program.threads.iter().zip(&run.spans).enumerate();
    let others = all.filter(move |(thread, _)| *thread != step.go.thread);
    let ops = others.flat_map(|(_, (ops, spans))| ops.iter().zip(spans));
    let whole =
        move |from: usize, to: Option<usize>| from >= step.since && to.is_some_and(|to| to < nth);
    ops.filter(move |(_, (from, to))| whole(*from, *to))
        .map(|(op, _)| op.verb)
}

/// All that happened in a run, and where.
fn events(run: &Run, program: &Program) -> Vec<(Event, Place)> {
    let mut out = Vec::new();
    let mut done: HashMap<usize, usize> = HashMap::new();
    let mut at: HashMap<&str, Place> = HashMap::new();
    for (nth, step) in run.steps.iter().enumerate() {
        let count = done.entry(step.go.thread).or_default();
        let place = Place {
            thread: step.go.thread,
            step: *count,
        };
        *count += 1;
        let Some(point) = &step.point else {
            continue;
        };
        at.entry(point).or_insert(place);
        let mut later = run.steps[nth + 1..].iter();
        let next = later.find(|next| continues(step, next));
        let next = next.and_then(|next| next.point.clone());
        let verbs: HashSet<Verb> = between(run, program, nth).collect();
        for verb in Verb::ALL.iter().filter(|verb| verbs.contains(verb)) {
            out.push((Event::Between(point.clone(), *verb, next.clone()), place));
        }
    }
    for meeting in &run.meetings {
        let place = [&meeting.0, &meeting.1].map(|point| at.get(point.as_str()));
        if let Some(place) = place.into_iter().flatten().next() {
            out.push((Event::Met(meeting.clone()), *place));
        }
    }
    out
}

impl Corpus {
    /// Counts what happened in a run. If any of it did for the first time the program is kept. What
    /// an error has brought about is none of it.
    pub fn count(&mut self, program: &Program, run: &Run) {
        if run.steps.iter().any(|step| step.go.fault.is_some()) {
            return;
        }
        let (mut once, mut new) = (HashSet::new(), Vec::new());
        let mut place = None;
        for (event, at) in events(run, program) {
            if !once.insert(event.clone()) {
                continue;
            }
            let count = self.seen.entry(event.clone()).or_default();
            *count += 1;
            if *count == 1 {
                new.push(event);
                place = Some(at);
            }
        }
        if let Some(place) = place {
            self.keep(program, place, new);
        }
    }

    fn keep(&mut self, program: &Program, place: Place, mut new: Vec<Event>) {
        let victim = place.thread.min(THREADS);
        // The runs of one program come one after the other: the last one counts.
        if self
            .kept
            .last()
            .is_some_and(|last| last.program == *program)
        {
            new.extend(self.kept.pop().into_iter().flat_map(|last| last.new));
        }
        if self.kept.len() == KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Kept {
            program: program.clone(),
            victim,
            at: place.step,
            new,
        });
    }

    /// The seldomer what it has made happen has happened since, the more it is worth.
    fn worth(&self, kept: &Kept) -> f64 {
        let seen = |event| f64::from(self.seen.get(event).copied().unwrap_or(1));
        kept.new.iter().map(|event| 1.0 / seen(event)).sum()
    }

    /// One of those that are kept.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Option<&Kept> {
        self.kept.choose_weighted(rng, |kept| self.worth(kept)).ok()
    }

    /// Things that have happened, and programs that are kept.
    pub fn size(&self) -> (usize, usize) {
        (self.seen.len(), self.kept.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Go;
    use rand::SeedableRng;

    impl Corpus {
        /// As if it had just made something happen.
        pub fn add(&mut self, program: Program, thread: usize, step: usize) {
            let met = Meeting(program.to_string(), String::new());
            let new = vec![Event::Met(met)];
            self.keep(&program, Place { thread, step }, new);
        }
    }

    /// Steps of A and B; where somebody waited, and since when.
    fn run(steps: &[(usize, usize, Option<&str>, usize)], spans: Vec<Vec<(usize, usize)>>) -> Run {
        let step = |(thread, op, point, since): &(usize, usize, Option<&str>, usize)| Step {
            go: Go {
                thread: *thread,
                fault: None,
            },
            op: Some(*op),
            point: point.map(str::to_string),
            ino: Some(12),
            byte: None,
            since: *since,
            tid: Some(*thread as i32),
            ready: vec![0, 1],
        };
        let ended = |spans: Vec<(usize, usize)>| {
            let all = spans.into_iter();
            all.map(|(from, to)| (from, Some(to))).collect()
        };
        Run {
            steps: steps.iter().map(step).collect(),
            spans: spans.into_iter().map(ended).collect(),
            ..Run::default()
        }
    }

    #[test]
    fn what_comes_in_between_is_new_once() {
        let program: Program = "4k,written:fs.a/!pu.a.0+1,ev.a".parse().unwrap();
        // The punch comes while A waits at one, the eviction at two.
        let steps = [
            (0, 0, None, 0),
            (1, 0, None, 1),
            (0, 0, Some("one"), 1),
            (1, 1, None, 3),
            (0, 0, Some("two"), 3),
        ];
        let first = run(&steps, vec![vec![(0, 4)], vec![(1, 1), (3, 3)]]);
        let all: Vec<Event> = events(&first, &program).into_iter().map(|e| e.0).collect();
        let between = |point: &str, verb, next: Option<&str>| {
            Event::Between(point.into(), verb, next.map(str::to_string))
        };
        let punch = between("one", Verb::Punch, Some("two"));
        let evict = between("two", Verb::Evict, None);
        assert_eq!(all, [punch, evict.clone()]);
        let mut corpus = Corpus::default();
        corpus.count(&program, &first);
        corpus.count(&program, &first);
        assert_eq!(corpus.size(), (2, 1));
        // After two steps of A.
        assert_eq!((corpus.kept[0].victim, corpus.kept[0].at), (0, 2));
        assert_eq!(corpus.seen[&evict], 2);
        // A program that does nothing new is not kept.
        let other: Program = "1k,written:fs.a/!pu.a.0+1,ev.a".parse().unwrap();
        corpus.count(&other, &first);
        assert_eq!(corpus.size(), (2, 1));
    }

    #[test]
    fn what_is_seldom_is_drawn_more_often() {
        let mut corpus = Corpus::default();
        let often: Program = "4k,written:fs.a".parse().unwrap();
        let seldom: Program = "4k,written:ev.a".parse().unwrap();
        corpus.add(often.clone(), 0, 0);
        corpus.add(seldom.clone(), 0, 0);
        let event = corpus.kept[0].new[0].clone();
        corpus.seen.insert(event, 9);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn = (0..100).filter(|_| corpus.draw(&mut rng).unwrap().program == seldom);
        assert!((80..100).contains(&drawn.count()));
    }

    #[test]
    fn errors_bring_nothing_about() {
        let program: Program = "4k,written:fs.a/!pu.a.0+1".parse().unwrap();
        let steps = [(0, 0, None, 0), (1, 0, None, 1), (0, 0, Some("one"), 1)];
        let mut with = run(&steps, vec![vec![(0, 2)], vec![(1, 1)]]);
        with.steps[2].go.fault = Some(crate::order::Fault::Io);
        let mut corpus = Corpus::default();
        corpus.count(&program, &with);
        assert_eq!(corpus.size(), (0, 0));
    }
}
