// SPDX-License-Identifier: GPL-2.0
//! Schedule after schedule, until the time is up or one does harm; that one is made as short as it
//! can be, told in words and drawn.

use crate::change::Changed;
use crate::clock::{timed, Part};
use crate::corpus::Corpus;
use crate::draw::{IMAGES, MEMORY};
use crate::drive::{Picker, Run};
use crate::met::Met;
use crate::near::Near;
use crate::oracle::Outcome;
use crate::order::Schedule;
use crate::plan::Plan;
use crate::program::{thread_name, Image, Program, THREADS};
use crate::scatter::{At, Choice, Scatter};
use crate::site::{Harm, Site};
use crate::strategy::{Any, Exhaustive, Pct, Random, Replay, Stop};
use crate::turns::{errors, Strategy, TURNS};
use guest::harness::Res;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::Write;
use std::time::{Duration, Instant};

/// Schedules on one mount.
const BATCH: usize = 100;
/// Orders of each program that are drawn.
const ORDERS: usize = 6;
/// Orders of a pair that are tried, at most.
const ALL: usize = 300;
/// Points of one thread at which it stops, at most.
const LONGEST: usize = 40;
/// Points of the thread that stops at which all others come in between, and runs in which they are
/// spread over its points.
const NEAR: Choice = Choice {
    at: At::Some(4),
    spread: 3,
};
/// Runs of a changed program in which all come at one point, but for the first.
const AROUND: usize = 2;
/// And if it is told the program.
const TOLD: Choice = Choice {
    at: At::Each,
    spread: 30,
};
/// Preemptions of a pair.
const BOUND: usize = 2;

/// What has been done.
#[derive(Default)]
struct Done {
    /// Without harm.
    batches: u64,
    schedules: u64,
    steps: u64,
    /// Run again, and of these those that did not do the same.
    again: u64,
    strayed: u64,
    met: Met,
    corpus: Corpus,
}

pub struct Hunt {
    pub site: Site,
    pub plan: Plan,
    done: Done,
    /// For this batch.
    faults: u32,
    begun: Instant,
    told: Duration,
}

/// What stops the hunt.
pub struct Found {
    pub harm: Harm,
    pub schedule: Option<Schedule>,
    /// Those before it on the same mount.
    pub before: usize,
}

impl Hunt {
    pub fn new(site: Site, plan: Plan) -> Hunt {
        Hunt {
            plan,
            done: Done {
                met: Met::new(&site.bench.points),
                ..Done::default()
            },
            faults: 0,
            begun: Instant::now(),
            told: Duration::ZERO,
            site,
        }
    }

    /// True if all went well.
    pub fn all(&mut self) -> Res<bool> {
        self.begun = Instant::now();
        for batch in self.plan.stretch.numbers() {
            if self.begun.elapsed() >= self.plan.stretch.time {
                break;
            }
            if let Err(found) = self.batch(batch) {
                let seconds = self.begun.elapsed().as_secs_f64();
                println!("harm in batch {batch}: {}", found.harm.words);
                self.progress();
                let ops = self.blame(found);
                println!(
                    "found: schedules={} seconds={seconds:.1} ops={ops}",
                    self.done.schedules
                );
                self.done.met.save(&self.plan.out)?;
                return Ok(false);
            }
            self.done.batches += 1;
            let next = format!("{}\n", batch + 1);
            std::fs::write(self.plan.out.join("next"), next)?;
            self.progress_now_and_then();
        }
        self.progress();
        self.done.met.save(&self.plan.out)?;
        Ok(true)
    }

    /// How many were done without harm.
    pub fn batches(&self) -> u64 {
        self.done.batches
    }

    /// Also in the middle of a batch, which takes a while where there is noise.
    fn progress_now_and_then(&mut self) {
        if self.begun.elapsed() >= self.told {
            self.progress();
            self.told = self.begun.elapsed() + Duration::from_secs(10);
        }
    }

    fn progress(&self) {
        let (done, seconds) = (&self.done, self.begun.elapsed().as_secs_f64());
        let rate = done.schedules as f64 / seconds;
        let (happened, kept) = done.corpus.size();
        println!(
            "{} schedules, {rate:.0} per second, {:.1} steps each; {} of {} did the same again; \
             {happened} things happened first, {kept} programs kept",
            done.schedules,
            done.steps as f64 / done.schedules.max(1) as f64,
            done.again - done.strayed,
            done.again,
        );
        let _ = std::io::stdout().flush();
    }

    /// A number of schedules of one kind.
    fn batch(&mut self, batch: u64) -> Result<(), Found> {
        if !self.plan.programs.is_empty() {
            return self.given(batch);
        }
        let turn = TURNS[(batch % TURNS.len() as u64) as usize];
        let round = batch / TURNS.len() as u64;
        let images = if self.plan.dax { MEMORY } else { IMAGES };
        let image = images[((round + batch) % images.len() as u64) as usize];
        let mut rng =
            ChaCha8Rng::seed_from_u64(self.plan.stretch.seed.wrapping_mul(1_000_003) ^ batch);
        self.mount(image)?;
        let strategy = self.plan.strategy.unwrap_or(turn);
        self.faults = self.plan.faults.unwrap_or(errors(batch));
        match strategy {
            Strategy::Pairs => self.pair(batch, image, &mut rng)?,
            Strategy::Stop => self.stops(image, &mut rng)?,
            Strategy::Near => self.near(image, &mut rng)?,
            Strategy::Change => self.changed(image, &mut rng)?,
            _ => self.drawn(strategy, image, &mut rng)?,
        }
        self.unmount()
    }

    /// A program of the list: each thread of it stops everywhere.
    fn given(&mut self, batch: u64) -> Result<(), Found> {
        let all = &self.plan.programs;
        let program = all[(batch % all.len() as u64) as usize].clone();
        let mut rng = ChaCha8Rng::seed_from_u64(self.plan.stretch.seed ^ batch);
        self.faults = self.plan.faults.unwrap_or(0);
        self.mount(program.image)?;
        let kernel = program.workers.then_some(THREADS);
        for victim in (0..program.threads.len()).chain(kernel) {
            self.sweep(&program, victim, &mut rng)?;
            self.scatter(&program, victim, TOLD, &mut rng)?;
        }
        self.unmount()
    }

    fn pair(&mut self, batch: u64, image: Image, rng: &mut ChaCha8Rng) -> Result<(), Found> {
        let round = batch / TURNS.len() as u64;
        let turns = match self.plan.strategy {
            Some(_) => batch,
            None => round,
        };
        let program = self.plan.grammar.pair(turns as usize, image, rng);
        self.exhaust(&program)
    }

    fn mount(&mut self, image: Image) -> Result<(), Found> {
        self.site.begin(image).map_err(|e| Found {
            harm: e.into(),
            schedule: None,
            before: 0,
        })
    }

    /// What is looked at after many schedules.
    fn unmount(&mut self) -> Result<(), Found> {
        let kept = self.site.kept();
        self.site.end().map_err(|(harm, nth)| Found {
            harm,
            schedule: nth.map(|n| kept[n].clone()).or_else(|| self.guilty(&kept)),
            before: kept.len(),
        })?;
        let mut some = kept
            .iter()
            .step_by(kept.len().div_ceil(self.plan.again.max(1)).max(1));
        timed(Part::Again, || some.try_for_each(|s| self.again(s)))
    }

    /// Which of them does harm alone?
    fn guilty(&mut self, kept: &[Schedule]) -> Option<Schedule> {
        self.site.clear();
        let mut all = kept.iter();
        all.find(|s| matches!(self.site.again(s, false), Ok((Err(_), _)) | Err(_)))
            .cloned()
    }

    /// All orders of a program.
    fn exhaust(&mut self, program: &Program) -> Result<(), Found> {
        let mut picker = Exhaustive::new(BOUND);
        for _ in 0..ALL {
            self.one(program, &mut picker)?;
            if !picker.next() {
                break;
            }
        }
        Ok(())
    }

    fn stops(&mut self, image: Image, rng: &mut ChaCha8Rng) -> Result<(), Found> {
        let end = self.done.schedules + BATCH as u64;
        while self.done.schedules < end {
            let program = self.plan.grammar.uneven(image, rng);
            // Or a thread of the kernel, which does for others what they do not wait for.
            let victim = match program.workers && rng.random_ratio(1, 3) {
                true => THREADS,
                false => 0,
            };
            self.sweep(&program, victim, rng)?;
        }
        Ok(())
    }

    /// Operations on the same bytes.
    fn near(&mut self, image: Image, rng: &mut ChaCha8Rng) -> Result<(), Found> {
        let end = self.done.schedules + BATCH as u64;
        while self.done.schedules < end {
            let Some(Near { program, victim }) = self.plan.grammar.near(image, rng) else {
                return self.stops(image, rng);
            };
            self.scatter(&program, victim, NEAR, rng)?;
        }
        Ok(())
    }

    /// What has made something happen for the first time, in another way. At the beginning there is
    /// nothing to be changed.
    fn changed(&mut self, image: Image, rng: &mut ChaCha8Rng) -> Result<(), Found> {
        let end = self.done.schedules + BATCH as u64;
        while self.done.schedules < end {
            let grammar = &self.plan.grammar;
            let Some(Changed {
                program,
                victim,
                at,
            }) = grammar.changed(&self.done.corpus, image, rng)
            else {
                return self.near(image, rng);
            };
            let choice = Choice {
                at: At::Around(at, AROUND),
                ..NEAR
            };
            self.scatter(&program, victim, choice, rng)?;
        }
        Ok(())
    }

    /// What others do comes in between the steps of one thread.
    fn scatter(
        &mut self,
        program: &Program,
        victim: usize,
        choice: Choice,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), Found> {
        let mut picker = Scatter::new(ChaCha8Rng::from_rng(rng), program, victim, choice);
        for _ in 0..LONGEST + choice.spread {
            self.one(program, &mut picker)?;
            if !picker.next() {
                break;
            }
        }
        Ok(())
    }

    /// One thread stops at each of its points in turn.
    fn sweep(
        &mut self,
        program: &Program,
        victim: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), Found> {
        let own = program.threads.get(victim).map_or(0, Vec::len);
        let inner = Random::new(ChaCha8Rng::from_rng(rng), self.faults);
        let mut picker = Stop::new(inner, victim, program.ops() - own);
        for _ in 0..LONGEST {
            self.one(program, &mut picker)?;
            if !picker.next() {
                break;
            }
        }
        Ok(())
    }

    /// Programs and orders that are drawn.
    fn drawn(&mut self, how: Strategy, image: Image, rng: &mut ChaCha8Rng) -> Result<(), Found> {
        for _ in 0..BATCH / ORDERS {
            let program = self.plan.grammar.program(image, rng);
            // Of the first run, how long it takes.
            let mut steps = 3 * program.ops();
            for _ in 0..ORDERS {
                let inner = Random::new(ChaCha8Rng::from_rng(rng), self.faults);
                let mut picker = match how {
                    Strategy::Pct2 => Any::Pct(Pct::new(inner, steps, 2)),
                    Strategy::Pct3 => Any::Pct(Pct::new(inner, steps, 3)),
                    _ => Any::Random(inner),
                };
                steps = self.one(&program, &mut picker)?;
            }
        }
        Ok(())
    }

    /// One schedule: the steps it took.
    fn one<P: Picker>(&mut self, program: &Program, picker: &mut P) -> Result<usize, Found> {
        let before = self.site.count();
        let report = self
            .site
            .run(program, picker, false)
            .map_err(|harm| Found {
                harm,
                schedule: None,
                before,
            })?;
        self.count(program, &report.run);
        if self.told > Duration::ZERO {
            self.progress_now_and_then();
        }
        let schedule = Schedule {
            program: program.clone(),
            order: report.run.order(),
        };
        let steps = report.run.steps.len();
        match report.result {
            Ok(()) => Ok(steps),
            Err(harm) => Err(Found {
                harm,
                schedule: Some(schedule),
                before,
            }),
        }
    }

    fn count(&mut self, program: &Program, run: &Run) {
        self.done.schedules += 1;
        self.done.steps += run.steps.len() as u64;
        self.done.met.count(run);
        self.done.corpus.count(program, run);
    }

    /// Does it do the same twice, by what is written down? Each time on a new file system, for
    /// where blocks are free tells how many there are in one piece.
    fn again(&mut self, schedule: &Schedule) -> Result<(), Found> {
        let schedule: Schedule = schedule.to_string().parse().unwrap_or(schedule.clone());
        let mut once = || {
            self.site.begin(schedule.program.image)?;
            let mut replay = Replay::new(&schedule.order);
            let report = self.site.run(&schedule.program, &mut replay, false)?;
            let done = (report.run.trace(), report.outcomes);
            report.result?;
            self.site.leave()?;
            Ok(done)
        };
        let both = once().and_then(|first| Ok(difference(&first, &once()?)));
        let differs = both.map_err(|harm| Found {
            harm,
            schedule: Some(schedule.clone()),
            before: 0,
        })?;
        self.done.again += 1;
        if let Some(what) = differs {
            self.done.strayed += 1;
            println!("not the same again: {what}: {schedule}");
        }
        Ok(())
    }
}

/// The steps of a run: who went on, from where; and what came of it.
type Again = (Vec<(usize, Option<String>)>, Vec<Vec<Outcome>>);

/// What is not the same, in words.
fn difference(one: &Again, other: &Again) -> Option<String> {
    let all = one.0.len().max(other.0.len());
    let step = (0..all).find(|i| one.0.get(*i) != other.0.get(*i));
    let told = |again: &Again, i: usize| match again.0.get(i) {
        None => "the end".into(),
        Some((thread, point)) => {
            let point = point.as_deref().unwrap_or("begins");
            format!("{} {point}", thread_name(*thread))
        }
    };
    match step {
        Some(i) => Some(format!("step {i}: {} or {}", told(one, i), told(other, i))),
        None => (one.1 != other.1).then(|| "what it came back with".into()),
    }
}
