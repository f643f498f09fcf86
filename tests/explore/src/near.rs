// SPDX-License-Identifier: GPL-2.0
//! Programs of operations that have to do with each other: one thread does something, and few kinds
//! of operations, on the same bytes or those beside them, come in between. Where all of them are
//! drawn from everything there is, those that a race needs seldom come together.

use crate::draw::Grammar;
use crate::op::{Kind, Op, Verb, MOST};
use crate::program::{Image, Program, Start, OPS, PAGE, THREADS};
use crate::promise::promised;
use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// How often one stops at its points: what acts upon what it has looked up.
pub fn stops(verb: Verb) -> u32 {
    use Verb::*;
    match verb {
        Deliver => 4,
        Pin => 8,
        // They come with what they end.
        Bring | Thaw => 0,
        Fsync | BufferedWrite | DirectWrite | AsyncWrite => 6,
        OwnWrite | SeekData | Store | SyncStore | ReadInto | SyncRange | InsertRange => 4,
        Truncate | OpenEmpty | Punch | Load | BufferedRead | CollapseRange => 3,
        HalfWrite | DirectRead | SeekHole | RingWrite | RingDirectWrite => 2,
        _ => 1,
    }
}

/// How often one comes in between: what removes blocks, changes bytes, writes pages or drops them.
fn disturbs(verb: Verb) -> u32 {
    use Verb::*;
    match verb {
        Store | Evict | BufferedWrite | Punch => 8,
        Fsync | DirectWrite | Allocate | BufferedRead => 5,
        Truncate | CollapseRange | InsertRange | Load | SyncRange => 3,
        AsyncWrite | Zero | Commit | Pin | OpenEmpty => 2,
        Bring | Thaw => 0,
        _ => 1,
    }
}

/// So many they are then.
const FEW: usize = 3;

/// Does it have i_rwsem for itself?
fn has_lock(verb: Verb) -> bool {
    use Verb::*;
    let plans = matches!(verb, Allocate | KeepSize | Zero | ZeroKeep | Punch);
    let writes = matches!(verb, BufferedWrite | HalfWrite | RingWrite);
    plans || writes || verb.shifts() || verb.cuts()
}

/// Does it share i_rwsem, and is led by points below it? One that the kernel finishes is not.
fn shares_lock(verb: Verb) -> bool {
    use Verb::*;
    let direct = verb.is_direct() && !matches!(verb, AsyncWrite | RingDirectWrite);
    direct || matches!(verb, SeekData | SeekHole)
}

/// How often one comes in between the steps of another. One that has to wait keeps all that comes
/// behind it in its thread, so there are fewer of these.
pub fn comes(victim: Verb, verb: Verb) -> u32 {
    let waits = has_lock(victim) && (has_lock(verb) || shares_lock(verb))
        || shares_lock(victim) && has_lock(verb);
    match waits {
        true => disturbs(verb),
        false => 5 * disturbs(verb),
    }
}

/// How often a program begins with it: where what is promised and what is there differ, more is
/// looked up.
pub fn begins(start: Start) -> u32 {
    match start {
        Start::Dirty | Start::Unwritten => 3,
        Start::Part => 2,
        _ => 1,
    }
}

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

    /// The part, or as much behind it.
    fn some(&self, rng: &mut ChaCha8Rng) -> Range<u64> {
        let len = self.part.end - self.part.start;
        match rng.random_ratio(1, 3) {
            true => self.part.end..self.part.end + len,
            false => self.part.clone(),
        }
    }

    /// The operation on some of them, of ten times on a part so often.
    fn op(&self, verb: Verb, image: Image, part: u32, rng: &mut ChaCha8Rng) -> Op {
        let bytes = match rng.random_range(0..10) {
            n if n < part => self.some(rng),
            9 => self.at..self.at + 2 * PAGE,
            _ => self.at..self.at + PAGE,
        };
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
    /// Operations on the same bytes; none if there are none on bytes.
    pub fn near(&self, image: Image, rng: &mut ChaCha8Rng) -> Option<Near> {
        let verbs = self.of(Kind::Bytes);
        let starts = Start::of(Kind::Bytes);
        let start = *starts.choose_weighted(rng, |s| begins(*s)).ok()?;
        let bytes = Bytes::draw(image, start, rng);
        let workers = rng.random_ratio(1, 3);
        let kernel = workers && rng.random_ratio(2, 3);
        let by_kernel = |v: &Verb| {
            match (kernel, is_shared(*v)) {
                (true, false) => 0,
                // Others can act upon the file meanwhile.
                (true, true) if v.is_direct_write() => 2 * stops(*v),
                _ => stops(*v),
            }
        };
        let own = verbs
            .choose_weighted(rng, by_kernel)
            .or_else(|_| verbs.choose_weighted(rng, |v| stops(*v)));
        let acts = *own.ok()?;
        let mut own = vec![bytes.op(acts, image, 5, rng)];
        // What it is about it may have made itself.
        if rng.random_ratio(1, 3) {
            let before = *verbs.choose_weighted(rng, |v| disturbs(*v)).ok()?;
            own.insert(0, bytes.op(before, image, 2, rng));
        }
        let mut threads = vec![own];
        // Few different operations meet in more ways than many.
        let verbs = match rng.random_ratio(1, 2) {
            true => self.few(acts, rng),
            false => verbs,
        };
        // One that waits for a lock keeps its thread: so there are more threads of a few.
        for count in [OPS, 2, rng.random_range(1..=OPS)] {
            let mut ops = Vec::new();
            for _ in 0..count {
                let verb = *verbs.choose_weighted(rng, |v| comes(acts, *v)).ok()?;
                ops.push(bytes.op(verb, image, 4, rng));
            }
            if rng.random_ratio(1, if image.tight { 2 } else { 6 }) {
                self.reuse(&mut ops, rng);
            }
            if !ops.is_empty() {
                threads.push(ops);
            }
        }
        let all = (1u8 << threads.len()) - 1;
        // A thread of the kernel keeps what is submitted by who stops himself, and of nobody else.
        let keeps = matches!(acts, Verb::AsyncWrite | Verb::RingDirectWrite);
        let victim = if kernel { THREADS } else { 0 };
        let program = promised(Program {
            image,
            workers,
            start,
            through: if kernel && !keeps { all } else { all & !1 },
            threads,
        });
        Some(Near { program, victim })
    }

    /// Those of which operations come in between: a few.
    fn few(&self, acts: Verb, rng: &mut ChaCha8Rng) -> Vec<Verb> {
        let all = self.of(Kind::Bytes);
        let drawn = (0..FEW).map(|_| all.choose_weighted(rng, |v| comes(acts, *v)));
        drawn.filter_map(|verb| verb.ok().copied()).collect()
    }

    /// Another file gets what has become free, if these operations are to be drawn.
    fn reuse(&self, ops: &mut Vec<Op>, rng: &mut ChaCha8Rng) {
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
        let all = [op(Verb::Commit, 0), op(Verb::DirectWrite, len)];
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
        let words: Vec<String> = words.iter().map(|w| w.to_string()).collect();
        let grammar = Grammar::new(&words).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let images = if seed % 2 == 0 { IMAGES } else { MEMORY };
        let image = images[seed as usize / 2 % images.len()];
        grammar.near(image, &mut rng).unwrap()
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
