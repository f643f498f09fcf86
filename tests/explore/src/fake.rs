// SPDX-License-Identifier: GPL-2.0
//! A file of one page in memory, which is careless on purpose: a write copies the page, and puts
//! the copy back. What somebody else has written meanwhile is lost, unless there is a lock.

use crate::drive::{run, At, Picker, Place, Run, World};
use crate::faults::hits;
use crate::op::{Op, Verb};
use crate::oracle::{acts, Oracle, Outcome};
use crate::order::{Fault, Go, Schedule};
use crate::program::{letter, Program};
use crate::shrink::{shrink, Culprit, Trial};
use crate::strategy::{preemptions, Exhaustive, Pct, Random, Replay, Stop};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;

struct Thread {
    place: Place,
    copy: Vec<u8>,
    done: Vec<Outcome>,
}

struct Fake<'a> {
    program: &'a Program,
    locks: bool,
    owner: Option<usize>,
    file: Vec<u8>,
    threads: Vec<Thread>,
}

const POINT: &str = "copied";

impl<'a> Fake<'a> {
    fn new(program: &'a Program, locks: bool) -> Fake<'a> {
        let thread = |_| Thread {
            place: Place::Between(0),
            copy: Vec::new(),
            done: Vec::new(),
        };
        Fake {
            program,
            locks,
            owner: None,
            file: Vec::new(),
            threads: program.threads.iter().map(thread).collect(),
        }
    }

    fn op(&self, thread: usize) -> Op {
        self.program.threads[thread][self.threads[thread].done.len()]
    }

    fn ends(&mut self, thread: usize, outcome: Outcome) {
        let t = &mut self.threads[thread];
        t.done.push(outcome);
        t.place = Place::Between(t.done.len());
        if self.owner == Some(thread) {
            self.owner = None;
            let waits = self.threads.iter().position(|t| t.place == Place::Blocked);
            if let Some(next) = waits {
                self.begins(next);
            }
        }
    }

    fn begins(&mut self, thread: usize) {
        let op = self.op(thread);
        match op.verb {
            Verb::BufferedWrite if self.locks && self.owner.is_some() => {
                self.threads[thread].place = Place::Blocked;
            }
            Verb::BufferedWrite => {
                self.owner = Some(thread).filter(|_| self.locks);
                self.threads[thread].copy = self.file.clone();
                self.threads[thread].place = Place::Parked(at());
            }
            // With the page there is nothing to wait for.
            Verb::BufferedRead => {
                let end = self.file.len().min(op.end() as usize);
                let seen = self.file.get(op.at as usize..end).unwrap_or(&[]).to_vec();
                self.ends(thread, Outcome::Done(seen.len() as u64, seen));
            }
            _ => self.ends(thread, Outcome::Done(0, Vec::new())),
        }
    }
}

impl World for Fake<'_> {
    type Error = Infallible;

    fn settle(&mut self) -> Result<Vec<Place>, Infallible> {
        Ok(self.threads.iter().map(|t| t.place.clone()).collect())
    }

    fn go(&mut self, go: Go) -> Result<(), Infallible> {
        let thread = go.thread;
        if self.threads[thread].place != Place::Parked(at()) {
            self.begins(thread);
            return Ok(());
        }
        if go.fault.is_some() {
            self.ends(thread, Outcome::Failed(libc::EIO));
            return Ok(());
        }
        let op = self.op(thread);
        let mut file = std::mem::take(&mut self.threads[thread].copy);
        file.resize(file.len().max(op.end() as usize), 0);
        let mark = letter(thread, self.threads[thread].done.len());
        file[op.at as usize..op.end() as usize].fill(mark);
        self.file = file;
        self.ends(thread, Outcome::Done(op.len, Vec::new()));
        Ok(())
    }
}

fn at() -> At {
    At {
        point: POINT.into(),
        ino: 1,
        byte: 0,
        tid: 1,
        faults: vec![Fault::Io],
    }
}

/// Runs it, and judges.
fn judged<P: Picker>(program: &Program, locks: bool, picker: &mut P) -> (Result<(), String>, Run) {
    let mut fake = Fake::new(program, locks);
    let Ok(run) = run(&mut fake, program, picker);
    let outcomes: Vec<Vec<Outcome>> = fake.threads.into_iter().map(|t| t.done).collect();
    let mut oracle = Oracle::new(program, acts(program, &run, &outcomes));
    oracle.hits = hits(&run, |_| Some(0));
    let result = oracle.outcomes().and_then(|()| oracle.rest(0, &fake.file));
    (result, run)
}

fn random(seed: u64, faults: u32) -> Random {
    Random::new(ChaCha8Rng::seed_from_u64(seed), faults)
}

const PAIR: &str = "4k,empty:bw.a.0+100/bw.a.100+100";

#[test]
fn everything_in_turn() {
    let program: Program = PAIR.parse().unwrap();
    for (bound, runs, harms) in [(0, 2, 0), (1, 4, 2), (2, 6, 4)] {
        let (mut all, mut bad) = (0, 0);
        let mut picker = Exhaustive::new(bound);
        let mut traces = std::collections::HashSet::new();
        loop {
            let (result, run) = judged(&program, false, &mut picker);
            all += 1;
            bad += usize::from(result.is_err());
            assert!(preemptions(&run.steps) <= bound);
            assert!(
                traces.insert(run.order().to_string()),
                "twice: {}",
                run.order()
            );
            if !picker.next() {
                break;
            }
        }
        assert_eq!(
            (all, bad, picker.strayed),
            (runs, harms, 0),
            "bound {bound}"
        );
    }
}

#[test]
fn a_lock_is_enough() {
    let program: Program = PAIR.parse().unwrap();
    let mut picker = Exhaustive::new(2);
    let mut runs = 0;
    loop {
        let (result, run) = judged(&program, true, &mut picker);
        result.unwrap();
        assert!(run.stuck.is_none());
        runs += 1;
        if !picker.next() {
            break;
        }
    }
    assert!(runs > 2);
}

#[test]
fn chance_and_priorities_find_it() {
    let program: Program = "4k,empty:bw.a.0+10,fs.a/fs.a,bw.a.10+10/br.a.0+5,br.a.0+5"
        .parse()
        .unwrap();
    let found = |picker: &mut dyn FnMut(u64) -> Result<(), String>| {
        (0..50).filter(|seed| picker(*seed).is_err()).count()
    };
    let by_chance = found(&mut |seed| judged(&program, false, &mut random(seed, 0)).0);
    let by_priority = found(&mut |seed| {
        let mut pct = Pct::new(random(seed, 0), 8, 2);
        judged(&program, false, &mut pct).0
    });
    assert!(
        by_chance > 5 && by_priority > 3,
        "{by_chance} {by_priority}"
    );
    // And neither where there is nothing.
    assert_eq!(
        found(&mut |seed| judged(&program, true, &mut random(seed, 0)).0),
        0
    );
}

/// It stops at each of its steps, once, and there is an end.
#[test]
fn who_stops_finds_it() {
    let program: Program = "4k,empty:bw.a.0+10/fs.a,bw.a.10+10/br.a.0+5"
        .parse()
        .unwrap();
    let mut found = 0;
    for seed in 0..20 {
        let mut picker = Stop::new(random(seed, 0), 0, 3);
        let mut runs = 1;
        let harm = loop {
            if judged(&program, false, &mut picker).0.is_err() {
                break true;
            }
            if !picker.next() {
                break false;
            }
            runs += 1;
        };
        assert!(runs < 20);
        found += usize::from(harm);
    }
    assert!(found > 10, "{found}");
}

#[test]
fn errors_are_no_harm() {
    let program: Program = "4k,empty:bw.a.0+10/bw.a.5+10".parse().unwrap();
    let mut some = 0;
    for seed in 0..50 {
        let (result, run) = judged(&program, true, &mut random(seed, 500));
        result.unwrap();
        some += usize::from(run.steps.iter().any(|s| s.go.fault.is_some()));
        // The same again by what is written down.
        let text = run.order().to_string();
        let mut replay = Replay::new(&text.parse().unwrap());
        let (_, again) = judged(&program, true, &mut replay);
        assert_eq!(again.steps, run.steps);
        assert_eq!(replay.strayed, 0);
    }
    assert!(some > 10);
}

struct Careless;

impl Trial for Careless {
    fn harm(&mut self, schedule: &Schedule) -> Option<(String, Run)> {
        let mut replay = Replay::new(&schedule.order);
        let (result, run) = judged(&schedule.program, false, &mut replay);
        Some((result.err()?, run))
    }
}

#[test]
fn shrinks_to_the_two() {
    let program: Program =
        "2kg,empty:fs.a,bw.a.0+10,br.a.0+9/br.a.0+1,bw.a.10+10,fs.a/br.a.0+5,fs.a,br.a.0+5"
            .parse()
            .unwrap();
    let mut shrunk = 0;
    for seed in 0..40 {
        let (result, run) = judged(&program, false, &mut random(seed, 100));
        let Err(harm) = result else {
            continue;
        };
        let schedule = Schedule {
            program: program.clone(),
            order: run.order(),
        };
        let culprit = shrink(
            &mut Careless,
            Culprit {
                schedule,
                harm,
                run,
            },
        );
        let text = culprit.schedule.to_string();
        // The reader is needed where only it has seen the loss.
        assert!(culprit.schedule.program.ops() <= 3, "{text}");
        assert!(preemptions(&culprit.run.steps) <= 2, "{text}");
        assert!(text.starts_with("4kg,empty:"), "{text}");
        shrunk += 1;
    }
    assert!(shrunk > 5);
}

#[test]
fn nobody_can_go_on() {
    let program: Program = PAIR.parse().unwrap();
    let mut fake = Fake::new(&program, true);
    fake.owner = Some(3);
    let Ok(run) = run(&mut fake, &program, &mut random(1, 0));
    let blocked = vec![Place::Blocked, Place::Blocked];
    assert_eq!(run.stuck, Some(blocked));
}
