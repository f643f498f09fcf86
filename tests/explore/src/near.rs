// SPDX-License-Identifier: GPL-2.0
//! Programs of operations that have to do with each other: one thread does something, and few kinds
//! of operations, on the same bytes or those beside them, come in between. Where all of them are
//! drawn from everything there is, those that a race needs seldom come together.

use crate::draw::Grammar;
use crate::op::{Kind, Op, Verb, MOST};
use crate::program::{Image, Program, Start, OPS, PAGE, THREADS};
use crate::promise::promised;
use crate::taste::{begins, chains, changes, comes, disturbs, needs_data, stops, Chain};
use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// So many they are then.
const FEW: usize = 3;
/// Operations of another thread that are a chain.
const CHAIN: usize = 2;

/// Does a thread of the kernel do a part of it?
fn is_shared(verb: Verb) -> bool {
    use Verb::*;
    let rings = matches!(
        verb,
        RingWrite | RingRead | RingDirectWrite | RingDirectRead
    );
    rings || matches!(verb, AsyncWrite | Fsync | SyncRange | Evict)
}

/// Bytes that the operations of a program are about: a page, a part of it, and two of them.
struct Bytes {
    at: u64,
    part: Range<u64>,
}

impl Bytes {
    fn draw(image: Image, start: Start, rng: &mut ChaCha8Rng) -> Bytes {
        // The end of the file moves, and is in a page with what is behind it.
        let last = start.size() / PAGE * PAGE;
        let all = [0, PAGE, last, last];
        let at = *all.choose(rng).unwrap_or(&0);
        let (block, end) = (image.block, start.size());
        // What begins at the end of the file is what makes it longer, and where it ends in a page
        // there are bytes behind it in memory.
        let part = match rng.random_range(0..6) {
            0..3 if end % PAGE != 0 && at == end / PAGE * PAGE => end..end + 512,
            0..4 if block < PAGE => at + block..at + 2 * block,
            _ => at + 512..at + 1024,
        };
        Bytes { at, part }
    }

    /// The part, as much behind or before it, or another one of the page.
    fn some(&self, rng: &mut ChaCha8Rng) -> Range<u64> {
        let (start, len) = (self.part.start, self.part.end - self.part.start);
        let before = start.checked_sub(len).unwrap_or(start);
        let other = self.at + len * rng.random_range(0..(PAGE / len).max(1));
        let at = match rng.random_range(0..8) {
            0..4 => start,
            4 | 5 => self.part.end,
            6 => before,
            _ => other,
        };
        at..at + len
    }

    /// Some of them, of ten times a part so often.
    fn place(&self, part: u32, rng: &mut ChaCha8Rng) -> Range<u64> {
        match rng.random_range(0..10) {
            n if n < part => self.some(rng),
            9 => self.at..self.at + 2 * PAGE,
            _ => self.at..self.at + PAGE,
        }
    }

    /// The operation on some of them.
    fn op(&self, verb: Verb, image: Image, part: u32, rng: &mut ChaCha8Rng) -> Op {
        self.on(&self.place(part, rng), verb, image, rng)
    }

    /// The operation on these.
    fn on(&self, bytes: &Range<u64>, verb: Verb, image: Image, rng: &mut ChaCha8Rng) -> Op {
        let mut at = bytes.start.min(MOST - PAGE);
        let mut len = (bytes.end - bytes.start).min(MOST - at);
        if verb.shifts() {
            at = at / image.block * image.block;
            len = len.next_multiple_of(image.block).min(PAGE);
            // What moves is what is there, or what is behind it.
            at += if rng.random_ratio(1, 2) { len } else { 0 };
            at = at.min(MOST - PAGE);
        }
        // What cuts, or asks, does it there or behind.
        if !verb.has_range() && rng.random_ratio(1, 3) {
            at = (at + len).min(MOST - 512);
        }
        Op {
            verb,
            file: 0,
            at: if verb.has_place() { at } else { 0 },
            len: if verb.has_range() { len } else { 0 },
        }
    }
}

/// A program, and the thread that stops at its points.
pub struct Near {
    pub program: Program,
    pub victim: usize,
}

impl Grammar {
    /// Operations on the same bytes, every second time of a shape; none if there are none on bytes.
    pub fn near(&self, image: Image, rng: &mut ChaCha8Rng) -> Option<Near> {
        let shaped = match rng.random_ratio(1, 2) {
            true => self.shaped(image, rng),
            false => None,
        };
        shaped.or_else(|| self.mixed(image, rng))
    }

    /// Of no shape.
    fn mixed(&self, image: Image, rng: &mut ChaCha8Rng) -> Option<Near> {
        let verbs = self.of(Kind::Bytes);
        // A thread of the kernel stops.
        let kernel = rng.random_ratio(2, 9);
        let acts = self.acts(image, kernel, rng)?;
        let starts = Start::of(Kind::Bytes);
        let start = *starts
            .choose_weighted(rng, |s| begins(image, acts, *s))
            .ok()?;
        let bytes = Bytes::draw(image, start, rng);
        let mut threads = vec![self.own(acts, &bytes, image, rng)?];
        // Few different operations meet in more ways than many.
        let verbs = match rng.random_ratio(1, 2) {
            true => self.few(image, acts, rng),
            false => verbs,
        };
        // One that waits for a lock keeps its thread: so there are more threads of a few.
        for count in [OPS, CHAIN, rng.random_range(1..=OPS)] {
            let mut ops = match count >= CHAIN && rng.random_ratio(1, 2) {
                true => self.chain(acts, &bytes, image, rng),
                false => Vec::new(),
            };
            while ops.len() < count {
                let verb = *verbs
                    .choose_weighted(rng, |v| comes(image, acts, *v))
                    .ok()?;
                ops.push(bytes.op(verb, image, 4, rng));
            }
            if rng.random_ratio(1, if image.tight { 2 } else { 6 }) {
                self.reuse(&mut ops, rng);
            }
            threads.push(ops);
        }
        let all = (1u8 << threads.len()) - 1;
        // A thread of the kernel keeps what is submitted by who stops himself, and of nobody else.
        let keeps = matches!(acts, Verb::AsyncWrite | Verb::RingDirectWrite);
        let program = promised(Program {
            image,
            // What moves meets the end of what was on its way.
            workers: kernel || rng.random_ratio(1, if acts.shifts() { 2 } else { 7 }),
            start,
            through: if kernel && !keeps { all } else { all & !1 },
            threads,
        });
        let victim = if kernel { THREADS } else { 0 };
        Some(Near { program, victim })
    }

    /// What the thread does that stops at its points.
    fn acts(&self, image: Image, kernel: bool, rng: &mut ChaCha8Rng) -> Option<Verb> {
        let verbs = self.of(Kind::Bytes);
        let weight = |v: &Verb| {
            let often = stops(image, *v);
            match (kernel, is_shared(*v)) {
                (true, false) => 0,
                // Others can act upon the file meanwhile.
                (true, true) if v.is_direct_write() => 2 * often,
                _ => often,
            }
        };
        let drawn = verbs.choose_weighted(rng, weight);
        let drawn = drawn.or_else(|_| verbs.choose_weighted(rng, |v| stops(image, *v)));
        drawn.ok().copied()
    }

    /// All that it does. What it is about it may have made itself.
    fn own(
        &self,
        acts: Verb,
        bytes: &Bytes,
        image: Image,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<Op>> {
        let mut own = vec![bytes.op(acts, image, 5, rng)];
        let verbs = self.of(Kind::Bytes);
        let weight = |verb: &Verb| match needs_data(acts) && !changes(*verb) {
            true => 0,
            false => disturbs(image, *verb),
        };
        if rng.random_ratio(1, if needs_data(acts) { 2 } else { 3 }) {
            let before = verbs.choose_weighted(rng, weight);
            let before = before.or_else(|_| verbs.choose_weighted(rng, |v| disturbs(image, *v)));
            own.insert(0, bytes.op(*before.ok()?, image, 2, rng));
        }
        Some(own)
    }

    /// Two operations on the same bytes that go together; none if they are not to be drawn.
    fn chain(&self, acts: Verb, bytes: &Bytes, image: Image, rng: &mut ChaCha8Rng) -> Vec<Op> {
        let all = self.of(Kind::Bytes);
        let chains = chains(acts);
        let Ok((Chain(first, second), _)) = chains.choose_weighted(rng, |(_, often)| *often) else {
            return Vec::new();
        };
        let place = bytes.place(4, rng);
        let mut ops = Vec::new();
        for verbs in [first, second] {
            let known: Vec<Verb> = verbs.iter().copied().filter(|v| all.contains(v)).collect();
            let Ok(verb) = known.choose_weighted(rng, |v| disturbs(image, *v)) else {
                return Vec::new();
            };
            ops.push(bytes.on(&place, *verb, image, rng));
        }
        ops
    }

    /// Those of which operations come in between: a few.
    fn few(&self, image: Image, acts: Verb, rng: &mut ChaCha8Rng) -> Vec<Verb> {
        let all = self.of(Kind::Bytes);
        let drawn = (0..FEW).map(|_| all.choose_weighted(rng, |v| comes(image, acts, *v)));
        drawn.filter_map(|verb| verb.ok().copied()).collect()
    }

    /// Another file gets what has become free, or all that is, if these operations are to be drawn.
    pub fn reuse(&self, ops: &mut Vec<Op>, rng: &mut ChaCha8Rng) {
        let verbs = self.of(Kind::Bytes);
        let op = |verb, len| Op {
            verb,
            file: u8::from(len > 0),
            at: 0,
            len,
        };
        // On a disk that is almost full two blocks are free without it.
        let len = *[PAGE, 2 * PAGE, 4 * PAGE, MOST]
            .choose(rng)
            .unwrap_or(&PAGE);
        let all = match rng.random_ratio(2, 3) {
            true => vec![op(Verb::Commit, 0), op(Verb::DirectWrite, len)],
            false => vec![op(Verb::BufferedWrite, len)],
        };
        ops.truncate(OPS - all.len());
        ops.extend(all.into_iter().filter(|op| verbs.contains(&op.verb)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{IMAGES, MEMORY};
    use rand::SeedableRng;
    use std::collections::HashSet;

    fn draw(words: &[&str], seed: u64) -> Near {
        drawn(words, seed, Grammar::near)
    }

    type Draw = fn(&Grammar, Image, &mut ChaCha8Rng) -> Option<Near>;

    fn drawn(words: &[&str], seed: u64, how: Draw) -> Near {
        let words: Vec<String> = words.iter().map(|w| w.to_string()).collect();
        let grammar = Grammar::new(&words).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let images = if seed % 2 == 0 { IMAGES } else { MEMORY };
        let image = images[seed as usize / 2 % images.len()];
        how(&grammar, image, &mut rng).unwrap()
    }

    #[test]
    fn well_formed_and_of_a_kind() {
        let mut seen = HashSet::new();
        for seed in 0..3000 {
            let Near { program, victim } = draw(&[], seed);
            let text = program.to_string();
            assert_eq!(text.parse::<Program>().as_ref(), Ok(&program), "{text}");
            assert!(victim == 0 && !program.is_through(0) || victim == THREADS && program.workers);
            assert!(
                (1..program.threads.len()).all(|t| program.is_through(t)),
                "{text}"
            );
            seen.extend(program.threads[0].iter().map(|op| op.verb));
        }
        let bytes = Verb::ALL.iter().filter(|v| v.suits(Kind::Bytes));
        assert_eq!(seen.len(), bytes.count());
    }

    /// Of so many programs that are drawn these many have what a race takes: one that stops at its
    /// points, and two operations of another thread, one after the other.
    fn have(acts: &[&str], chain: [&[&str]; 2], fits: fn(&Op, &Op) -> bool) -> usize {
        let has = |op: &Op, words: &[&str]| words.contains(&op.verb.short());
        let drawn = (0..4000).map(|seed| drawn(&[], 2 * seed, Grammar::mixed).program);
        let with = drawn.filter(|program| {
            let mut own = program.threads[0].iter();
            let others = program.threads[1..].iter().flat_map(|ops| ops.windows(2));
            own.any(|own| has(own, acts))
                && others.into_iter().any(|two| {
                    has(&two[0], chain[0]) && has(&two[1], chain[1]) && fits(&two[0], &two[1])
                })
        });
        with.count()
    }

    #[test]
    fn what_goes_together_is_drawn_together() {
        let meet = |one: &Op, other: &Op| one.at < other.at + 4096 && other.at < one.at + 4096;
        let writers = ["bw", "st", "dw", "al"];
        let removers = ["pu", "tr", "cl", "ze", "ot"];
        let counts = [
            have(&["sd", "sh", "fm"], [&writers, &["ev", "sr", "fs"]], meet),
            have(&["fs", "sr", "ev"], [&removers, &writers], meet),
            have(&["dw", "ad", "ds"], [&["br", "ld"], &["br", "ld"]], meet),
            have(&["in", "cl"], [&writers, &["ev", "sr", "fs"]], meet),
            have(&["de", "pn"], [&["ev", "sr", "fs"], &removers], meet),
        ];
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    }

    #[test]
    fn of_those_that_were_asked_for() {
        for seed in 0..100 {
            let all = draw(&["bw", "st"], seed).program;
            let verbs = all.threads.iter().flatten().map(|op| op.verb.short());
            assert!(
                verbs.into_iter().all(|v| ["bw", "st"].contains(&v)),
                "{all}"
            );
        }
    }
}
