// SPDX-License-Identifier: GPL-2.0
//! Shapes of races: what stops, what comes in between in which order, at which places, and what is
//! there before. Of what the rules of the data path forbid each is one kind, with any operations of
//! that kind. They were made of races that were known: what is found by them says little about
//! those that are not.

use crate::change::fit;
use crate::draw::Grammar;
use crate::near::Near;
use crate::op::{Kind, Op, Verb, MOST};
use crate::program::{Image, Program, Start, PAGE};
use crate::promise::promised;
use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use Verb::*;

/// Where the one is who stops, and where those are who come in between.
#[derive(Clone, Copy)]
enum Where {
    /// The same page.
    Same,
    /// Two parts of a page.
    Parts,
    /// A page, and a block of it.
    Inside,
    /// Two pages, and the second one of them.
    Later,
    /// Behind the end, and the page of the end.
    End,
    /// A page, and the block before it.
    Before,
}

struct Shape {
    fits: fn(Image) -> bool,
    starts: &'static [Start],
    /// What the thread that stops has done before, if anything.
    before: &'static [Verb],
    stops: &'static [Verb],
    /// One after the other.
    comes: &'static [&'static [Verb]],
    place: Where,
    /// Another file gets what is free, or what has become so.
    reuse: bool,
}

const CLEANS: &[Verb] = &[Fsync, SyncRange, Evict];
const PINS: &[Verb] = &[Deliver, Pin, ReadInto];
const PLAIN: Shape = Shape {
    fits: |_| true,
    starts: &[Start::Written],
    before: &[],
    stops: CLEANS,
    comes: &[],
    place: Where::Same,
    reuse: false,
};

const SHAPES: &[Shape] = &[
    // What a device has goes, for its neighbours go.
    Shape {
        fits: |image| !image.tight,
        stops: PINS,
        comes: &[&[DirectWrite, DurableDirect]],
        place: Where::Parts,
        ..PLAIN
    },
    // It is clean by then, and has no block, or is dirty in part.
    Shape {
        fits: |image| !image.tight && image.block < PAGE,
        stops: PINS,
        comes: &[CLEANS, &[BufferedWrite]],
        place: Where::Parts,
        ..PLAIN
    },
    Shape {
        fits: |image| !image.tight && image.block < PAGE,
        stops: PINS,
        comes: &[CLEANS, &[Punch]],
        place: Where::Inside,
        ..PLAIN
    },
    // What is asked for is written and gone.
    Shape {
        starts: &[Start::Unwritten, Start::Part],
        stops: &[SeekData, SeekHole],
        comes: &[&[Store, BufferedWrite], &[Evict]],
        ..PLAIN
    },
    // A block goes that was looked up with others, and another one comes.
    Shape {
        starts: &[Start::Dirty],
        comes: &[&[Punch, Truncate, OpenEmpty, Zero], &[BufferedWrite, Store]],
        place: Where::Later,
        ..PLAIN
    },
    // Another file gets what is being written.
    Shape {
        fits: |image| image.tight,
        starts: &[Start::Dirty, Start::Written],
        before: &[BufferedWrite, Store],
        comes: &[&[Truncate, Punch, OpenEmpty]],
        reuse: true,
        ..PLAIN
    },
    // What was freed is committed.
    Shape {
        fits: |image| image.pending,
        starts: &[Start::Dirty],
        comes: &[&[Commit]],
        ..PLAIN
    },
    // There is a block for the data, and none for the node.
    Shape {
        fits: |image| image.pending && image.block < PAGE,
        starts: &[Start::Comb],
        before: &[BufferedWrite, Store],
        comes: &[&[BufferedWrite]],
        place: Where::Parts,
        reuse: true,
        ..PLAIN
    },
    // Who fills the page of the end finds nothing behind it.
    Shape {
        fits: |image| image.block < PAGE,
        starts: &[Start::Written, Start::Cold, Start::Sparse],
        stops: &[DirectWrite, AppendDirect, DurableDirect],
        comes: &[&[BufferedRead, Load], &[BufferedRead, Load]],
        place: Where::End,
        ..PLAIN
    },
    // What was on its way beside what moves comes to its end.
    Shape {
        fits: |image| !image.maps,
        starts: &[Start::Part],
        stops: &[InsertRange, CollapseRange],
        comes: &[&[BufferedWrite, Store], &[SyncRange]],
        place: Where::Before,
        ..PLAIN
    },
];

/// Both places, the first byte and the length.
fn places(how: Where, image: Image, start: Start, rng: &mut ChaCha8Rng) -> [(u64, u64); 2] {
    let page = *[0, PAGE].choose(rng).unwrap_or(&0);
    let part = image.block.min(PAGE / 4);
    let end = start.size();
    match how {
        Where::Same => [(page, PAGE), (page, PAGE)],
        Where::Parts => {
            let nth = rng.random_range(0..3);
            let other = rng.random_range(nth + 1..4);
            let both = [(page + nth * part, part), (page + other * part, part)];
            match rng.random_range(0..4) {
                0 => [both[1], both[0]],
                _ => both,
            }
        }
        Where::Inside => {
            let nth = rng.random_range(0..PAGE / image.block);
            [(page, PAGE), (page + nth * image.block, image.block)]
        }
        Where::Later => [(0, 2 * PAGE), (PAGE, image.block)],
        Where::End => [(end, part), (end / PAGE * PAGE, PAGE)],
        Where::Before => [(PAGE, PAGE), (PAGE - image.block, image.block)],
    }
}

impl Grammar {
    /// A program of a shape that there can be, with these operations; none if there is none.
    pub fn shaped(&self, image: Image, rng: &mut ChaCha8Rng) -> Option<Near> {
        let verbs = self.of(Kind::Bytes);
        let known = |all: &&[Verb]| all.iter().any(|verb| verbs.contains(verb));
        let can = |shape: &&Shape| {
            (shape.fits)(image) && known(&shape.stops) && shape.comes.iter().all(&known)
        };
        let all: Vec<&Shape> = SHAPES.iter().filter(can).collect();
        let shape = *all.choose(rng)?;
        let start = *shape.starts.choose(rng)?;
        let [own, other] = places(shape.place, image, start, rng);
        let mut op = |all: &[Verb], (at, len): (u64, u64)| {
            let all: Vec<Verb> = all.iter().copied().filter(|v| verbs.contains(v)).collect();
            let verb = *all.choose(rng)?;
            let file = 0;
            Some(fit(
                Op {
                    verb,
                    file,
                    at,
                    len,
                },
                image,
            ))
        };
        let before = op(shape.before, own);
        let stops = op(shape.stops, own)?;
        let comes = shape.comes.iter().map(|all| op(all, other));
        let mut threads = vec![
            before.into_iter().chain([stops]).collect(),
            comes.flatten().collect(),
        ];
        if shape.reuse {
            let mut ops = Vec::new();
            self.reuse(&mut ops, rng);
            threads.push(ops);
        }
        threads.retain(|ops: &Vec<Op>| !ops.is_empty());
        let program = promised(Program {
            image,
            workers: stops.verb.shifts() || rng.random_ratio(1, 6),
            start,
            through: (1 << threads.len()) - 2,
            threads,
        });
        Some(Near { program, victim: 0 })
    }
}

const _: () = assert!(2 * PAGE <= MOST);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::IMAGES;
    use rand::SeedableRng;

    fn shaped(words: &[&str], seed: u64) -> Option<Program> {
        let words: Vec<String> = words.iter().map(|w| w.to_string()).collect();
        let grammar = Grammar::new(&words).unwrap();
        let image = IMAGES[seed as usize % IMAGES.len()];
        let drawn = grammar.shaped(image, &mut ChaCha8Rng::seed_from_u64(seed))?;
        Some(drawn.program)
    }

    /// How many of so many have all of these operations.
    fn with(words: &[&str]) -> usize {
        let all = (0..2000).filter_map(|seed| shaped(&[], seed));
        let has = |program: &Program, word: &str| {
            let mut ops = program.threads.iter().flatten();
            ops.any(|op| op.verb.short() == word)
        };
        all.filter(|p| words.iter().all(|word| has(p, word)))
            .count()
    }

    #[test]
    fn each_shape_is_drawn() {
        let all: [&[&str]; 7] = [
            &["de", "dw"],
            &["sd", "st", "ev"],
            &["fs", "pu", "st"],
            &["bw", "fs", "tr"],
            &["fs", "cm"],
            &["ad", "br"],
            &["in", "sr"],
        ];
        let counts = all.map(with);
        assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
    }

    #[test]
    fn of_those_that_were_asked_for() {
        let asked = ["sd", "st", "ev"];
        for program in (0..100).filter_map(|seed| shaped(&asked, seed)) {
            let ops: Vec<&str> = program
                .threads
                .iter()
                .flatten()
                .map(|op| op.verb.short())
                .collect();
            assert!(ops.iter().all(|word| asked.contains(word)), "{program}");
        }
        assert!((0..100).all(|seed| shaped(&["rn", "ul"], seed).is_none()));
    }
}
