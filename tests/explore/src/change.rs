// SPDX-License-Identifier: GPL-2.0
//! A program that has made something happen for the first time, in another way: with an operation
//! more, or less, or another one, at another place of those that it is about, with another
//! beginning, on what is mounted now.

use crate::corpus::Corpus;
use crate::draw::Grammar;
use crate::op::{Kind, Op, Verb, MOST};
use crate::program::{Image, Program, Start, OPS, PAGE, THREADS};
use crate::promise::promised;
use crate::taste::{begins, comes, stops};
use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Changes of one program, at most.
const CHANGES: u32 = 3;

/// A changed program, who stops at his points, and after so many steps the first time.
pub struct Changed {
    pub program: Program,
    pub victim: usize,
    pub at: usize,
}

/// One thing that is changed.
#[derive(Clone, Copy)]
enum Change {
    /// Another operation, at the same place.
    Verb,
    /// The same operation, at another place.
    Place,
    Add,
    Remove,
    /// A thread of another program.
    Graft,
    /// Another beginning.
    Start,
    /// The threads of the kernel wait, or do not.
    Workers,
    /// A thread passes all points, or does not.
    Through,
}

/// How often each is drawn.
const ALL: &[(Change, u32)] = &[
    (Change::Verb, 5),
    (Change::Place, 5),
    (Change::Add, 4),
    (Change::Remove, 3),
    (Change::Graft, 2),
    (Change::Start, 1),
    (Change::Workers, 1),
    (Change::Through, 1),
];

/// So that it can be had: whole sectors, or blocks, of those that there are.
pub fn fit(mut op: Op, image: Image) -> Op {
    let verb = op.verb;
    if verb.kind() == Some(Kind::Names) {
        return op;
    }
    if verb.kind().is_none() {
        op.file = 0;
    }
    op.at = op.at.min(MOST - PAGE);
    op.len = op.len.max(1);
    if verb.has_sectors() {
        op.at &= !511;
        op.len = op.len.next_multiple_of(512);
    }
    if verb.shifts() {
        op.at = op.at / image.block * image.block;
        op.len = op.len.next_multiple_of(image.block).min(PAGE);
    }
    op.len = match verb.has_range() {
        true => op.len.min(MOST - op.at),
        false => 0,
    };
    op.at = if verb.has_place() { op.at } else { 0 };
    op
}

/// Another place that has to do with this one: `len` is nothing where that place has no end.
fn beside((at, len): (u64, u64), image: Image, rng: &mut ChaCha8Rng) -> (u64, u64) {
    let (page, block) = (at / PAGE * PAGE, image.block);
    let len = if len == 0 { block } else { len };
    let all = [
        (at, len),
        (at, block),
        (at, 512),
        (at + block, len.min(block)),
        (at.saturating_sub(block), len.min(block)),
        (at + len, 512),
        (page, PAGE),
        (page, 2 * PAGE),
        (page + 512, 512),
        (page + PAGE, PAGE),
    ];
    *all.choose(rng).unwrap_or(&(at, len))
}

/// A program that is being changed, and whose operations they may be.
struct Work<'a> {
    program: Program,
    victim: usize,
    verbs: Vec<Verb>,
    other: &'a Program,
}

impl Work<'_> {
    fn some_thread(&self, rng: &mut ChaCha8Rng) -> usize {
        rng.random_range(0..self.program.threads.len())
    }

    fn some_op(&self, rng: &mut ChaCha8Rng) -> (usize, usize) {
        let thread = self.some_thread(rng);
        (
            thread,
            rng.random_range(0..self.program.threads[thread].len()),
        )
    }

    /// What the thread does that stops at its points.
    fn acts(&self) -> Option<Verb> {
        let own = self.program.threads.get(self.victim)?;
        own.last().map(|op| op.verb)
    }

    /// What may come here: every second time one that is there already, for few different
    /// operations meet in more ways than many.
    fn verb(&self, thread: usize, rng: &mut ChaCha8Rng) -> Verb {
        let acts = self.acts();
        let known: Vec<&Op> = self.program.threads.iter().flatten().collect();
        let known = known.choose(rng).map_or(Verb::Commit, |op| op.verb);
        if rng.random_ratio(1, 2) && self.verbs.contains(&known) {
            return known;
        }
        let weight = |verb: &Verb| match acts {
            Some(acts) if thread != self.victim => comes(self.program.image, acts, *verb),
            _ => stops(self.program.image, *verb),
        };
        let drawn = self.verbs.choose_weighted(rng, weight);
        drawn.copied().unwrap_or(known)
    }

    /// A place of one of its operations, or one beside that.
    fn place(&self, rng: &mut ChaCha8Rng) -> (u64, u64) {
        let all = self.program.threads.iter().flatten();
        let all: Vec<&Op> = all.filter(|op| op.verb.has_place()).collect();
        let (at, len) = all.choose(rng).map_or((0, PAGE), |op| (op.at, op.len));
        match rng.random_ratio(1, 2) {
            true => (at, len),
            false => beside((at, len), self.program.image, rng),
        }
    }

    fn op(&self, thread: usize, rng: &mut ChaCha8Rng) -> Op {
        let verb = self.verb(thread, rng);
        if verb.kind() == Some(Kind::Names) {
            return Grammar::named(verb, rng);
        }
        let (at, len) = self.place(rng);
        let often = if self.program.image.tight { 3 } else { 10 };
        let file = u8::from(rng.random_ratio(1, often) && thread != self.victim);
        fit(
            Op {
                verb,
                file,
                at,
                len,
            },
            self.program.image,
        )
    }

    fn change(&mut self, what: Change, rng: &mut ChaCha8Rng) {
        match what {
            Change::Verb => {
                let (thread, nth) = self.some_op(rng);
                let (old, verb) = (self.program.threads[thread][nth], self.verb(thread, rng));
                self.program.threads[thread][nth] = match verb.kind() == old.verb.kind() {
                    true if verb.kind() == Some(Kind::Bytes) => {
                        let len = if old.len == 0 { PAGE } else { old.len };
                        fit(Op { verb, len, ..old }, self.program.image)
                    }
                    _ => self.op(thread, rng),
                };
            }
            Change::Place => {
                let (thread, nth) = self.some_op(rng);
                let old = self.program.threads[thread][nth];
                let (at, len) = self.place(rng);
                self.program.threads[thread][nth] = match old.verb.kind() {
                    Some(Kind::Names) => Grammar::named(old.verb, rng),
                    _ => fit(Op { at, len, ..old }, self.program.image),
                };
            }
            Change::Add => self.add(rng),
            Change::Remove => {
                let (thread, nth) = self.some_op(rng);
                if self.program.threads[thread].len() > 1 {
                    self.program.threads[thread].remove(nth);
                }
            }
            Change::Graft => self.graft(rng),
            Change::Start => {
                let all = Start::of(self.program.kind());
                let image = self.program.image;
                let acts = self.acts().unwrap_or(Verb::Commit);
                let drawn = all.choose_weighted(rng, |start| begins(image, acts, *start));
                self.program.start = drawn.copied().unwrap_or(self.program.start);
            }
            Change::Workers => self.program.workers = !self.program.workers,
            Change::Through => self.program.through ^= 1 << self.some_thread(rng),
        }
    }

    /// An operation more, or a thread of one.
    fn add(&mut self, rng: &mut ChaCha8Rng) {
        let (count, thread) = (self.program.threads.len(), self.some_thread(rng));
        if count < THREADS && rng.random_ratio(1, 3) {
            let op = self.op(count, rng);
            self.program.threads.push(vec![op]);
            self.program.through |= 1 << count;
        } else if self.program.threads[thread].len() < OPS {
            let op = self.op(thread, rng);
            let nth = rng.random_range(0..=self.program.threads[thread].len());
            self.program.threads[thread].insert(nth, op);
        }
    }

    /// A thread of another program, in the place of one that does not stop, or besides.
    fn graft(&mut self, rng: &mut ChaCha8Rng) {
        if self.other.kind() != self.program.kind() {
            return;
        }
        let Some(ops) = self.other.threads.choose(rng) else {
            return;
        };
        let ops = ops.iter().map(|op| fit(*op, self.program.image)).collect();
        let threads = &mut self.program.threads;
        let mut thread = rng.random_range(0..=threads.len().min(THREADS - 1));
        if thread == self.victim {
            thread = threads.len().min(THREADS - 1);
        }
        match threads.get_mut(thread) {
            Some(old) => *old = ops,
            None => threads.push(ops),
        }
        self.program.through |= 1 << thread;
    }
}

impl Grammar {
    /// One of those that are kept, changed, on what is mounted; none if none are kept.
    pub fn changed(&self, corpus: &Corpus, image: Image, rng: &mut ChaCha8Rng) -> Option<Changed> {
        let (kept, other) = (corpus.draw(rng)?, corpus.draw(rng)?);
        let mut work = Work {
            program: Program {
                image,
                ..kept.program.clone()
            },
            victim: kept.victim,
            verbs: self.of(kept.program.kind()),
            other: &other.program,
        };
        let ops = work.program.threads.iter_mut().flatten();
        ops.for_each(|op| *op = fit(*op, image));
        for _ in 0..rng.random_range(1..=CHANGES) {
            let (what, _) = ALL.choose_weighted(rng, |(_, often)| *often).ok()?;
            work.change(*what, rng);
        }
        // Who stops at points does not pass them, and is there.
        let mut program = work.program;
        let victim = match kept.victim {
            THREADS if program.workers => THREADS,
            THREADS => 0,
            victim => victim,
        };
        // And the others mostly do: that takes a third of the steps.
        if victim < THREADS && rng.random_ratio(3, 4) {
            program.through = (1 << program.threads.len()) - 1;
        }
        program.through &= !(1 << victim);
        let (program, at) = (promised(program), kept.at);
        Some(Changed {
            program,
            victim,
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::IMAGES;
    use crate::drive::Run;
    use rand::SeedableRng;
    use std::collections::HashSet;

    #[test]
    fn well_formed_and_not_the_same() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let grammar = Grammar::new(&[]).unwrap();
        let mut corpus = Corpus::default();
        assert!(grammar.changed(&corpus, IMAGES[0], &mut rng).is_none());
        for text in [
            "4kg,written:dw.a.0+4096/!bw.a.512+512,ev.a/!cl.a.0+4096",
            "1kg,comb:st.a.0+4096,fs.a/sd.a.0",
            "4k,files:rn.x.u,cr.x/ls.m",
        ] {
            corpus.add(text.parse().unwrap(), 0, 3);
        }
        let mut seen = HashSet::new();
        for nth in 0..3000 {
            let image = IMAGES[nth % IMAGES.len()];
            let Changed {
                program, victim, ..
            } = grammar.changed(&corpus, image, &mut rng).unwrap();
            let text = program.to_string();
            assert_eq!(text.parse::<Program>().as_ref(), Ok(&program), "{text}");
            assert!(!program.is_through(victim) && victim < program.threads.len());
            seen.insert(text);
            // As if it had met something new.
            if nth % 10 == 0 {
                corpus.count(&program, &Run::default());
                corpus.add(program, victim, 2);
            }
        }
        assert!(seen.len() > 2500, "{}", seen.len());
    }
}
