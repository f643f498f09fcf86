// SPDX-License-Identifier: GPL-2.0
//! How a history is drawn.
//!
//! Each has a taste of its own: of all that can be done it does some often, some seldom, and some
//! not at all. Where everything is done equally often the few things that a fault needs seldom
//! come together, with nothing between them that undoes what one of them did (Groce et al.,
//! Swarm Testing, 2012).

use crate::op::{Disk, History, Image, Move, Name, Op, Space, Sync, View, Way};
use crate::place::Style;
use proptest::prelude::*;
use proptest::strategy::Union;

/// Power cuts of a history, at most: none takes longer.
const CUTS: usize = 3;

/// What can be done, and how often to begin with.
type Weighted<T> = Vec<(u32, T)>;

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Write,
    Truncate,
    Fallocate,
    Sync,
    Look,
    Forget,
    Hold,
    LookHeld,
    Release,
    Evict,
    Remount,
    Freeze,
    Cut,
    Create,
    Mkdir,
    Rmdir,
    Unlink,
    Link,
    Symlink,
    Rename,
    Chmod,
}

/// Always done.
const WRITES: [(u32, Verb); 1] = [(24, Verb::Write)];

const DATA: [(u32, Verb); 11] = [
    (10, Verb::Truncate),
    (14, Verb::Fallocate),
    (8, Verb::Sync),
    (10, Verb::Look),
    (2, Verb::Forget),
    (4, Verb::Hold),
    (2, Verb::LookHeld),
    (1, Verb::Release),
    (1, Verb::Evict),
    (1, Verb::Remount),
    (1, Verb::Freeze),
];

const NAMES: [(u32, Verb); 8] = [
    (6, Verb::Create),
    (3, Verb::Mkdir),
    (1, Verb::Rmdir),
    (2, Verb::Unlink),
    (3, Verb::Link),
    (1, Verb::Symlink),
    (4, Verb::Rename),
    (1, Verb::Chmod),
];

const WAYS: [(u32, Way); 7] = [
    (6, Way::Buffered),
    (2, Way::Append),
    (2, Way::Dsync),
    (4, Way::Direct),
    (4, Way::DirectDsync),
    (4, Way::Async),
    (4, Way::Mapped),
];

const SPACES: [(u32, Space); 5] = [
    (2, Space::Allocate),
    (2, Space::KeepSize),
    (4, Space::Punch),
    (2, Space::Zero),
    (2, Space::ZeroKeepSize),
];

const SYNCS: [(u32, Sync); 4] = [
    (3, Sync::Fsync),
    (2, Sync::Fdatasync),
    (2, Sync::Range),
    (1, Sync::All),
];

/// When the power fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cuts {
    Never,
    /// At the end, and now and then.
    Sometimes,
    /// Now and then just after something was promised.
    AfterPromises,
}

/// What a history does often, seldom, and not at all.
#[derive(Clone, Debug)]
pub struct Taste {
    verbs: Weighted<Verb>,
    ways: Weighted<Way>,
    spaces: Weighted<Space>,
    syncs: Weighted<Sync>,
    /// Nearly all is done to one file.
    one_file: bool,
    /// All is done to few blocks.
    near: bool,
    cuts: Cuts,
}

/// Some of these oftener, some not at all.
fn some_of<T: Copy + std::fmt::Debug + 'static>(all: &[(u32, T)]) -> BoxedStrategy<Weighted<T>> {
    let all = all.to_vec();
    let factors = prop::collection::vec(prop::sample::select(vec![0, 0, 1, 1, 3]), all.len());
    let chosen = factors.prop_map(move |factors| {
        let weighed = all.iter().zip(factors).map(|(&(w, x), f)| (w * f, x));
        let some: Weighted<T> = weighed.filter(|(w, _)| *w > 0).collect();
        if some.is_empty() {
            all.clone()
        } else {
            some
        }
    });
    chosen.boxed()
}

fn verbs() -> BoxedStrategy<Weighted<Verb>> {
    let names = prop_oneof![
        1 => Just(Vec::new()),
        2 => Just(NAMES.to_vec()),
        2 => some_of(&NAMES),
    ];
    let parts = (some_of(&DATA), names);
    parts
        .prop_map(|(data, names)| [&WRITES, &data[..], &names[..]].concat())
        .boxed()
}

/// The taste of a history: every fifth likes everything.
pub fn taste() -> BoxedStrategy<Taste> {
    let cuts = || {
        prop_oneof![
            4 => Just(Cuts::Never),
            2 => Just(Cuts::Sometimes),
            4 => Just(Cuts::AfterPromises),
        ]
    };
    let all = cuts().prop_map(|cuts| Taste {
        verbs: [&WRITES, &DATA[..], &NAMES[..]].concat(),
        ways: WAYS.to_vec(),
        spaces: SPACES.to_vec(),
        syncs: SYNCS.to_vec(),
        one_file: false,
        near: false,
        cuts,
    });
    let parts = (verbs(), some_of(&WAYS), some_of(&SPACES), some_of(&SYNCS));
    let some = (parts, any::<[bool; 2]>(), cuts()).prop_map(
        |((verbs, ways, spaces, syncs), [one_file, near], cuts)| Taste {
            verbs,
            ways,
            spaces,
            syncs,
            one_file,
            near,
            cuts,
        },
    );
    prop_oneof![1 => all, 4 => some].boxed()
}

/// One of these.
fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &[(u32, T)]) -> BoxedStrategy<T> {
    Union::new_weighted(all.iter().map(|&(w, x)| (w, Just(x))).collect()).boxed()
}

fn any_name() -> impl Strategy<Value = Name> {
    prop::sample::select(Name::all())
}

impl Taste {
    /// What is mostly meant.
    fn name(&self) -> BoxedStrategy<Name> {
        let [a, b] = Name::FIRST;
        let others = if self.one_file { 1 } else { 4 };
        prop_oneof![12 => Just(a), others => Just(b), others => any_name()].boxed()
    }

    /// What data operations are about.
    fn file(&self) -> BoxedStrategy<Name> {
        if self.verbs.iter().any(|verb| verb.1 == Verb::Hold) {
            prop_oneof![17 => self.name(), 4 => Just(Name::HELD)].boxed()
        } else {
            self.name()
        }
    }

    fn op(&self, verb: Verb, style: Style) -> BoxedStrategy<Op> {
        let range = || (self.file(), style.place(self.near), style.length(self.near));
        match verb {
            Verb::Write => (range(), one_of(&self.ways))
                .prop_map(|((n, at, len), way)| Op::Write(n, at, len, way))
                .boxed(),
            Verb::Truncate => (self.file(), style.place(self.near))
                .prop_map(|(n, at)| Op::Truncate(n, at))
                .boxed(),
            Verb::Fallocate => (range(), one_of(&self.spaces))
                .prop_map(|((n, at, len), how)| Op::Fallocate(n, at, len, how))
                .boxed(),
            Verb::Sync => (self.file(), one_of(&self.syncs))
                .prop_map(|(n, how)| Op::Sync(n, how))
                .boxed(),
            Verb::Look => (self.file(), prop::sample::select(View::ALL.to_vec()))
                .prop_map(|(n, view)| Op::Look(n, view))
                .boxed(),
            Verb::Forget => self.file().prop_map(Op::Forget).boxed(),
            Verb::Hold => self.name().prop_map(Op::Hold).boxed(),
            Verb::LookHeld => Just(Op::LookHeld).boxed(),
            Verb::Release => Just(Op::Release).boxed(),
            Verb::Evict => Just(Op::Evict).boxed(),
            Verb::Remount => Just(Op::Remount).boxed(),
            Verb::Freeze => Just(Op::Freeze).boxed(),
            Verb::Cut => Just(Op::Cut).boxed(),
            _ => self.naming(verb),
        }
    }

    /// The steps that are about names.
    fn naming(&self, verb: Verb) -> BoxedStrategy<Op> {
        use Move::{Exchange, NoReplace, Replace};
        let how = prop::sample::select(vec![Replace, Replace, NoReplace, Exchange]);
        match verb {
            Verb::Mkdir => any_name().prop_map(Op::Mkdir).boxed(),
            Verb::Rmdir => any_name().prop_map(Op::Rmdir).boxed(),
            Verb::Unlink => any_name().prop_map(Op::Unlink).boxed(),
            Verb::Link => (self.name(), any_name())
                .prop_map(|(a, b)| Op::Link(a, b))
                .boxed(),
            Verb::Symlink => any_name().prop_map(Op::Symlink).boxed(),
            Verb::Rename => (any_name(), any_name(), how)
                .prop_map(|(a, b, how)| Op::Rename(a, b, how))
                .boxed(),
            Verb::Chmod => (any_name(), 0u16..0o1000)
                .prop_map(|(n, mode)| Op::Chmod(n, mode))
                .boxed(),
            _ => self.name().prop_map(Op::Create).boxed(),
        }
    }

    /// A step, and what follows at once.
    fn phrase(&self, style: Style) -> BoxedStrategy<Vec<Op>> {
        let mut verbs = self.verbs.clone();
        verbs.extend((self.cuts == Cuts::Sometimes).then_some((1, Verb::Cut)));
        let ops = verbs.iter().map(|&(w, verb)| (w, self.op(verb, style)));
        let op = Union::new_weighted(ops.collect());
        let chance = if self.cuts == Cuts::AfterPromises {
            0.5
        } else {
            0.0
        };
        (op, prop::bool::weighted(chance))
            .prop_map(|(op, cut)| {
                let cut = (cut && op.is_promise()).then_some(Op::Cut);
                [op].into_iter().chain(cut).collect()
            })
            .boxed()
    }
}

/// Histories of so many steps on average. None of them has a least length, so all can shrink.
pub fn history(
    (image, disk): (Image, Disk),
    (taste, style): (&Taste, Style),
    steps: usize,
) -> impl Strategy<Value = History> {
    let steps = prop::collection::vec(taste.phrase(style), 0..=2 * steps);
    let at_end = taste.cuts == Cuts::Sometimes;
    let room = prop::option::weighted(0.15, 0u64..48);
    (steps, room).prop_map(move |(steps, room)| {
        let mut cuts = 0;
        let mut steps = steps.concat();
        steps.retain(|op| {
            cuts += usize::from(*op == Op::Cut);
            *op != Op::Cut || cuts <= CUTS
        });
        steps.extend((at_end && cuts < CUTS).then_some(Op::Cut));
        History {
            image,
            disk,
            room,
            steps,
        }
    })
}
