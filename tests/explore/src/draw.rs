// SPDX-License-Identifier: GPL-2.0
//! Programs by chance, and those that are not left to it: every pair of operations.

use crate::op::{Kind, Op, Verb, FOLDERS, MOST, NAMES};
use crate::program::{Image, Program, Start, OPS};
use crate::promise::promised;
use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What is mounted, in turn.
pub const IMAGES: &[Image] = &[
    image(4096, true, Space::Much),
    image(1024, true, Space::Much),
    image(4096, false, Space::Much),
    image(1024, true, Space::Tight),
    image(2048, true, Space::Much),
    image(1024, false, Space::Much),
    image(1024, true, Space::Pending),
    maps(image(4096, true, Space::Much)),
    image(4096, true, Space::Tight),
    image(2048, false, Space::Much),
    image(1024, false, Space::Tight),
    image(4096, false, Space::Pending),
    maps(image(1024, false, Space::Much)),
    maps(image(1024, true, Space::Tight)),
    far(image(1024, true, Space::Much)),
    far(image(4096, false, Space::Much)),
];

/// The same on the disk that is memory.
pub const MEMORY: &[Image] = &[
    memory(Space::Much),
    memory(Space::Much),
    memory(Space::Tight),
    memory(Space::Much),
    memory(Space::Pending),
    far(memory(Space::Much)),
];

/// On the disk.
enum Space {
    Much,
    Tight,
    Pending,
}

const fn image(block: u64, gate: bool, space: Space) -> Image {
    Image {
        block,
        gate,
        tight: !matches!(space, Space::Much),
        pending: matches!(space, Space::Pending),
        maps: false,
        dax: false,
        far: false,
    }
}

const fn memory(space: Space) -> Image {
    Image {
        dax: true,
        ..image(4096, false, space)
    }
}

const fn far(image: Image) -> Image {
    Image { far: true, ..image }
}

const fn maps(image: Image) -> Image {
    Image {
        maps: true,
        ..image
    }
}

/// Which operations there are.
pub struct Grammar {
    verbs: Vec<Verb>,
}

/// How often each is drawn: what moves bytes, or drops them, more than what looks.
fn weight(verb: Verb) -> u32 {
    use Verb::*;
    match verb {
        BufferedWrite | DirectWrite | Store | Fsync | Evict => 4,
        BufferedRead | Punch | Truncate | Load | AsyncWrite => 3,
        DirectRead | SyncRange | Commit | RingWrite | RingDirectWrite => 2,
        CollapseRange | InsertRange | SyncStore => 2,
        // They come with what they end.
        Bring | Thaw => 0,
        _ => 1,
    }
}

/// Beginnings, and ends, of what operations are about.
fn edges(image: Image, size: u64) -> Vec<u64> {
    let block = image.block;
    let near = [
        size,
        size.saturating_sub(512),
        size + 512,
        size.next_multiple_of(block),
    ];
    let mut all = vec![
        0,
        512,
        block,
        block + 512,
        4096 - 512,
        4096,
        4096 + 512,
        8192,
        12288,
    ];
    all.extend(near);
    all.retain(|at| *at < MOST);
    all
}

/// One or two places at which most operations of a program are.
fn hot(image: Image, start: Start, rng: &mut ChaCha8Rng) -> Vec<u64> {
    let all = edges(image, start.size());
    let count = *[1, 1, 2].choose(rng).unwrap_or(&1);
    (0..count)
        .filter_map(|_| all.choose(rng).copied())
        .collect()
}

impl Grammar {
    pub fn new(words: &[String]) -> Result<Grammar, String> {
        let find = |word: &String| {
            let found = Verb::ALL.iter().copied().find(|v| v.short() == word);
            found.ok_or_else(|| {
                let all: Vec<&str> = Verb::ALL.iter().map(|v| v.short()).collect();
                format!("there is no operation {word}; there are {}", all.join(" "))
            })
        };
        let verbs: Vec<Verb> = words.iter().map(find).collect::<Result<_, _>>()?;
        let verbs = if verbs.is_empty() {
            Verb::ALL.to_vec()
        } else {
            verbs
        };
        Ok(Grammar { verbs })
    }

    /// One operation about names.
    pub fn named(verb: Verb, rng: &mut ChaCha8Rng) -> Op {
        let among = match verb.has_folder() {
            true => FOLDERS.len(),
            false => NAMES.len(),
        };
        // Most of them meet at the first ones.
        let mut some = |among: usize| {
            let both = [rng.random_range(0..among), rng.random_range(0..among)];
            both[0].min(both[1])
        };
        let (file, at) = (some(among) as u8, some(NAMES.len()) as u64);
        Op {
            verb,
            file,
            at: if verb.has_two_names() { at } else { 0 },
            len: 0,
        }
    }

    /// One operation. `hot` is where most of them meet.
    fn op(&self, verb: Verb, image: Image, hot: &[u64], rng: &mut ChaCha8Rng) -> Op {
        if verb.kind() == Some(Kind::Names) {
            return Grammar::named(verb, rng);
        }
        let often = if image.tight { 3 } else { 8 };
        let file = u8::from(rng.random_ratio(1, often));
        let mut at = *hot.choose(rng).unwrap_or(&0);
        let lengths = [
            100,
            512,
            512,
            1024,
            image.block,
            4096,
            4096,
            4096 + 512,
            8192,
        ];
        let mut len = *lengths.choose(rng).unwrap_or(&512);
        // Odd places now and then.
        if !verb.has_sectors() && rng.random_ratio(1, 6) {
            at += rng.random_range(1..200);
        }
        if verb.has_sectors() {
            at &= !511;
            len = len.next_multiple_of(512);
        }
        // What is not about whole blocks is refused.
        if verb.shifts() && !rng.random_ratio(1, 8) {
            at = at / image.block * image.block;
            len = len.next_multiple_of(image.block).min(4096);
        }
        at = at.min(MOST - 512);
        if !verb.has_range() {
            len = 0;
        }
        let anywhere =
            !verb.has_range() && !matches!(verb, Verb::Truncate | Verb::SeekData | Verb::SeekHole);
        Op {
            verb,
            file: if verb.kind().is_none() { 0 } else { file },
            at: if anywhere { 0 } else { at },
            len: len.min(MOST - at),
        }
    }

    fn verb(&self, rng: &mut ChaCha8Rng) -> Verb {
        let drawn = self.verbs.choose_weighted(rng, |v| weight(*v));
        *drawn.unwrap_or(&Verb::Fsync)
    }

    /// What a program is about, and the operations that it may have.
    fn of_a_kind(&self, rng: &mut ChaCha8Rng) -> (Kind, Grammar) {
        let kind = match rng.random_ratio(1, 4) {
            true => Kind::Names,
            false => Kind::Bytes,
        };
        let has = |kind| self.verbs.iter().any(|v| v.kind() == Some(kind));
        let other = match kind {
            Kind::Names => Kind::Bytes,
            Kind::Bytes => Kind::Names,
        };
        let kind = if has(kind) || !has(other) {
            kind
        } else {
            other
        };
        let verbs = self.of(kind);
        (kind, Grammar { verbs })
    }

    /// Those that a program of this kind may have.
    pub fn of(&self, kind: Kind) -> Vec<Verb> {
        let all = self.verbs.iter().copied();
        all.filter(|v| v.suits(kind)).collect()
    }

    /// A program of two to four threads.
    pub fn program(&self, image: Image, rng: &mut ChaCha8Rng) -> Program {
        let (kind, suits) = self.of_a_kind(rng);
        // Few different operations meet in more ways than many.
        let few: Vec<Verb> = (0..4).map(|_| suits.verb(rng)).collect();
        if rng.random_ratio(1, 2) {
            return Grammar { verbs: few }.threads(kind, image, rng);
        }
        suits.threads(kind, image, rng)
    }

    fn threads(&self, kind: Kind, image: Image, rng: &mut ChaCha8Rng) -> Program {
        let threads = *[2, 3, 3, 4, 4].choose(rng).unwrap_or(&2);
        let start = Start::of(kind);
        let start = *start.choose(rng).unwrap_or(&Start::Empty);
        let hot = hot(image, start, rng);
        let mut thread = |_| {
            let count = *[1, 2, 2, OPS, OPS].choose(rng).unwrap_or(&1);
            self.thread(count, image, &hot, rng)
        };
        let threads = (0..threads).map(&mut thread).collect();
        promised(Program {
            image,
            workers: rng.random_ratio(1, 2),
            start,
            threads,
            through: 0,
        })
    }

    /// A thread of one or two operations, and one or two others of up to three.
    pub fn uneven(&self, image: Image, rng: &mut ChaCha8Rng) -> Program {
        let (kind, suits) = self.of_a_kind(rng);
        let start = Start::of(kind);
        let start = *start.choose(rng).unwrap_or(&Start::Empty);
        let hot = hot(image, start, rng);
        let mut counts = vec![*[1, 1, 2].choose(rng).unwrap_or(&1)];
        counts.push(*[2, OPS, OPS].choose(rng).unwrap_or(&OPS));
        if rng.random_ratio(1, 2) {
            counts.push(*[1, 2, OPS].choose(rng).unwrap_or(&1));
        }
        let threads = counts.iter().map(|n| suits.thread(*n, image, &hot, rng));
        let threads = threads.collect();
        promised(Program {
            image,
            workers: rng.random_ratio(1, 2),
            start,
            threads,
            through: 0,
        })
    }

    fn thread(&self, ops: usize, image: Image, hot: &[u64], rng: &mut ChaCha8Rng) -> Vec<Op> {
        let mut op = || {
            let verb = self.verb(rng);
            self.op(verb, image, hot, rng)
        };
        (0..ops).map(|_| op()).collect()
    }

    /// All pairs of operations that a program can have.
    fn pairs(&self) -> Vec<[Verb; 2]> {
        let all = self.verbs.iter().enumerate();
        let both = all.flat_map(|(i, a)| self.verbs[i..].iter().map(|b| [*a, *b]));
        both.filter(|[a, b]| match (a.kind(), b.kind()) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        })
        .collect()
    }

    /// Pair number `nth` of all: two threads of one operation.
    pub fn pair(&self, nth: usize, image: Image, rng: &mut ChaCha8Rng) -> Program {
        let all = self.pairs();
        let both = all[nth % all.len()];
        let kind = both.iter().find_map(|v| v.kind()).unwrap_or(Kind::Bytes);
        let start = Start::of(kind);
        let start = *start.choose(rng).unwrap_or(&Start::Empty);
        let hot = hot(image, start, rng);
        let mut thread = |verb| {
            let mut op = self.op(verb, image, &hot, rng);
            op.file = 0;
            vec![op]
        };
        let threads = both.into_iter().map(&mut thread).collect();
        promised(Program {
            image,
            workers: rng.random_ratio(1, 2),
            start,
            threads,
            through: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::HashSet;

    #[test]
    fn programs_are_well_formed() {
        let grammar = Grammar::new(&[]).unwrap();
        let mut seen = HashSet::new();
        for seed in 0..3000 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let images = if seed % 2 == 0 { IMAGES } else { MEMORY };
            let image = images[seed as usize / 2 % images.len()];
            let program = grammar.program(image, &mut rng);
            let text = program.to_string();
            assert_eq!(text.parse::<Program>().as_ref(), Ok(&program), "{text}");
            seen.extend(program.threads.iter().flatten().map(|op| op.verb));
        }
        assert_eq!(seen.len(), Verb::ALL.len());
    }

    #[test]
    fn every_pair() {
        let grammar = Grammar::new(&[]).unwrap();
        let mut seen = HashSet::new();
        for nth in 0..2 * grammar.pairs().len() {
            let mut rng = ChaCha8Rng::seed_from_u64(nth as u64);
            let image = if nth % 2 == 0 { IMAGES[0] } else { MEMORY[0] };
            let program = grammar.pair(nth / 2, image, &mut rng);
            let text = program.to_string();
            assert_eq!(text.parse::<Program>().as_ref(), Ok(&program), "{text}");
            let verbs = program.threads.iter().map(|t| t[0].verb.short());
            let mut verbs: Vec<&str> = verbs.collect();
            verbs.sort_unstable();
            seen.insert(verbs);
        }
        // But for those of which one is about bytes, and the other one about names.
        let count = |kind| Verb::ALL.iter().filter(|v| v.kind() == kind).count();
        let mixed = count(Some(Kind::Bytes)) * count(Some(Kind::Names));
        // And one that is only had with DAX, two that are not; and pins while it is frozen.
        let apart = 2 + 3;
        let all = Verb::ALL.len();
        assert_eq!(seen.len(), all * (all + 1) / 2 - mixed - apart);
    }

    #[test]
    fn wrong_word() {
        assert!(Grammar::new(&["xx".into()]).is_err_and(|e| e.contains("bw")));
        assert_eq!(
            Grammar::new(&["bw".into()]).unwrap().verbs,
            [Verb::BufferedWrite]
        );
    }
}
