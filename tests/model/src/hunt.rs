// SPDX-License-Identifier: GPL-2.0
//! History after history, until the time is up or one does harm; that one is made as short as it
//! can be.

use crate::draw::{history, taste};
use crate::op::{ground, History};
use crate::place::Style;
use crate::run::{run, Harm};
use crate::world::World;
use guest::finder::Stretch;
use guest::harness::Res;
use guest::kmsg::{complaint, defect, Kmsg};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Histories on one image, one after the other.
pub const BATCH: u64 = 50;
/// Of so many e2fsck looks at what one has left, and of those at the end of a batch.
const CHECKED: usize = 10;
/// Lines of the file system that are told with harm.
const TOLD: usize = 4;
/// Runs that the shortening may take.
const SHRINKS: usize = 300;

/// Which histories.
pub struct Plan {
    pub stretch: Stretch,
    pub steps: usize,
    /// A folder.
    pub out: PathBuf,
}

impl Plan {
    /// The batches that these histories are in, whole ones: `first` need not begin one.
    pub fn batches(&self) -> Range<u64> {
        let numbers = self.stretch.numbers();
        numbers.start / BATCH..numbers.end.div_ceil(BATCH)
    }
}

pub struct Hunt {
    world: World,
    kmsg: Kmsg,
    /// Histories of this batch that were begun.
    ran: usize,
    /// What [`Self::all`] has done, in a line.
    pub sum: String,
    /// And how many batches of it did no harm.
    pub batches: u64,
}

impl Hunt {
    pub fn new(fs: &str, disks: &[String]) -> Res<Hunt> {
        Ok(Hunt {
            world: World::new(fs, disks)?,
            kmsg: Kmsg::open()?,
            ran: 0,
            sum: String::new(),
            batches: 0,
        })
    }

    /// Runs one history where others have been before; what it did is left in `told`.
    fn next(&mut self, history: &History, told: &mut Vec<String>, last: bool) -> Result<(), Harm> {
        told.clear();
        self.ran += 1;
        let check = last || self.ran % CHECKED == 0;
        let result = run(&self.world, history, told, check);
        self.beside(result)
    }

    /// As it is, and what the kernel has complained about, or the file system itself; with
    /// harm also what it has told.
    fn beside(&self, result: Result<(), Harm>) -> Result<(), Harm> {
        let records = self.kmsg.records();
        let lines: Vec<String> = records.iter().map(|(_, line)| line.clone()).collect();
        let log = defect(&lines).or(complaint(&records));
        let log = log.map(|line| format!("the kernel log has: {line}"));
        let Err(harm) = result else {
            return log.map_or(Ok(()), |words| Err(Harm { step: None, words }));
        };
        let own = lines.iter().filter(|line| line.starts_with("rext4: "));
        let all: Vec<String> = log.into_iter().chain(own.take(TOLD).cloned()).collect();
        let words = [vec![harm.words.clone()], all].concat().join("; ");
        Err(Harm { words, ..harm })
    }

    /// Runs histories of one image on a new one, to its end.
    fn batch(&mut self, histories: &[History], told: &mut Vec<String>) -> Result<(), Harm> {
        let Some(first) = histories.first() else {
            return Ok(());
        };
        let begun = self.world.begin(first).or_else(|e| harm(e.to_string()));
        self.ran = 0;
        let mut all = histories.iter().zip(1..);
        let mut next = |(history, n)| self.next(history, told, n == histories.len());
        let result = begun.and_then(|()| all.try_for_each(&mut next));
        let result = result.and_then(|()| self.world.end().or_else(|e| harm(e.to_string())));
        if result.is_err() {
            self.world.clear();
        }
        self.beside(result)
    }

    /// Runs one history on a new image.
    fn once(&mut self, history: &History) -> Result<(), Harm> {
        self.batch(std::slice::from_ref(history), &mut Vec::new())
    }

    /// True if all went well.
    pub fn all(&mut self, plan: &Plan) -> Res<bool> {
        let begun = Instant::now();
        let (Range { start, end }, mut told) = (plan.batches(), Duration::ZERO);
        let mut next = start;
        while next < end && begun.elapsed() < plan.stretch.time {
            let numbers: Vec<u64> = (next * BATCH..(next + 1) * BATCH).collect();
            let histories: Vec<History> =
                numbers.iter().map(|n| drawn(plan, *n).current()).collect();
            if let Err(harm) = self.batch(&histories, &mut Vec::new()) {
                let number = numbers[self.ran.saturating_sub(1)];
                self.sum = format!("harm in history {number}: {}", harm.words);
                println!("{}", self.sum);
                if self.blame(plan, number) {
                    println!("not alone on a new image: with those of the batch before it");
                }
                return Ok(false);
            }
            next += 1;
            self.batches += 1;
            std::fs::write(plan.out.join("next"), format!("{}\n", next * BATCH))?;
            if begun.elapsed() >= told {
                self.progress((next - start) * BATCH, begun);
                told = begun.elapsed() + Duration::from_secs(10);
            }
        }
        let done = (next - start) * BATCH;
        self.progress(done, begun);
        self.sum = format!("{done} histories of seed {}", plan.stretch.seed);
        Ok(done > 0)
    }

    /// Does this one do it alone? Then as little of it as still does, also as a file. True if it
    /// does no harm.
    pub fn blame(&mut self, plan: &Plan, number: u64) -> bool {
        let mut tree = drawn(plan, number);
        if self.report(&tree.current()) {
            return true;
        }
        self.shorten(&mut *tree);
        let history = self.spare(tree.current());
        println!("the shortest that does harm:");
        self.report(&history);
        let name = format!("{}-{number}.ron", plan.stretch.seed);
        let text = ron::to_string(&history).unwrap_or_default();
        if let Err(e) = std::fs::write(plan.out.join(&name), text) {
            println!("{name}: {e}");
        }
        println!(
            "replay: make model SEED={} REPLAY={number}",
            plan.stretch.seed
        );
        println!("        make model REPLAY=build/model/{name}");
        false
    }

    fn progress(&self, done: u64, begun: Instant) {
        let rate = done as f64 / begun.elapsed().as_secs_f64().max(0.001);
        println!(
            "{done} histories, {rate:.1} per second, none did harm; ext4 strayed in {}",
            self.world.strays()
        );
        let _ = std::io::stdout().flush();
    }

    /// Takes away what the harm does not need.
    fn shorten(&mut self, tree: &mut dyn ValueTree<Value = History>) {
        let mut harmful = true;
        for i in 0..SHRINKS {
            if i % 20 == 0 {
                println!("shortening: {i} runs, {} steps", tree.current().steps.len());
            }
            let more = if harmful {
                tree.simplify()
            } else {
                tree.complicate()
            };
            if !more {
                break;
            }
            harmful = self.once(&tree.current()).is_err();
        }
        while !harmful && tree.complicate() {
            harmful = self.once(&tree.current()).is_err();
        }
    }

    /// Takes away one step after the other: what a step needed may have changed since it was tried.
    fn spare(&mut self, mut history: History) -> History {
        for i in (0..history.steps.len()).rev() {
            let mut less = history.clone();
            less.steps.remove(i);
            if self.once(&less).is_err() {
                history = less;
            }
        }
        history
    }

    /// Runs it once more, and tells what happens. True if it does no harm.
    pub fn report(&mut self, history: &History) -> bool {
        let mut told = Vec::new();
        let result = self.batch(std::slice::from_ref(history), &mut told);
        print!("{:?}, {:?}", history.image, history.disk);
        println!(
            "{}",
            history
                .room
                .map_or(String::new(), |n| format!(", {n} blocks free"))
        );
        for (i, line) in told.iter().enumerate() {
            println!("  {i:2} {line}");
        }
        match &result {
            Ok(()) => println!("no harm"),
            Err(Harm {
                step: Some(i),
                words,
            }) => println!("harm at step {i}: {words}"),
            Err(Harm { step: None, words }) => println!("harm at the end: {words}"),
        }
        result.is_ok()
    }
}

fn harm<T>(words: String) -> Result<T, Harm> {
    Err(Harm { step: None, words })
}

/// The history of this number, as it can be shortened.
fn drawn(plan: &Plan, number: u64) -> Box<dyn ValueTree<Value = History>> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.stretch.seed.to_le_bytes());
    seed[8..16].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let taste = taste(Style::of(number)).new_tree(&mut runner);
    let taste = taste.expect("no taste is refused").current();
    let tree = history(ground(number / BATCH), &taste, plan.steps).new_tree(&mut runner);
    Box::new(tree.expect("no step is ever refused"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(first: u64, count: u64) -> Plan {
        Plan {
            stretch: Stretch {
                seed: 3,
                first,
                count,
                time: Duration::ZERO,
            },
            steps: 30,
            out: PathBuf::new(),
        }
    }

    #[test]
    fn batches_are_counted_whole() {
        assert_eq!(plan(0, 300).batches(), 0..6);
        assert_eq!(plan(120, 50).batches(), 2..4);
        assert_eq!(plan(149, 1).batches(), 2..3);
        assert_eq!(plan(149, 2).batches(), 2..4);
    }

    /// A history is what its number says, and its text.
    #[test]
    fn histories_come_again() {
        let plan = plan(0, 0);
        let mut steps = 0;
        for number in 0..300 {
            let one = drawn(&plan, number).current();
            assert_eq!(one, drawn(&plan, number).current());
            assert_eq!(
                Ok(&one),
                ron::from_str(&ron::to_string(&one).unwrap()).as_ref()
            );
            steps += one.steps.len();
        }
        assert!(
            (25..35).contains(&(steps / 300)),
            "{steps} steps in 300 histories"
        );
        assert_ne!(drawn(&plan, 1).current(), drawn(&plan, 2).current());
    }
}
