// SPDX-License-Identifier: GPL-2.0
//! How a history is drawn.
//!
//! Each has a taste of its own: of all that can be done it does some often, some seldom, and some
//! not at all. Where everything is done equally often the few things that a fault needs seldom
//! come together, with nothing between them that undoes what one of them did (Groce et al.,
//! Swarm Testing, 2012).

use crate::op::{Attribute, Disk, Flag, History, Image, Mount, Move, Name, Op};
use crate::op::{Space, Sync, View, Way};
use crate::place::{Length, Place, Style};
use proptest::prelude::*;
use proptest::strategy::Union;

/// Power cuts of a history, and losses, at most: nothing takes longer.
const FAILURES: usize = 3;

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
    ReadOnly,
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
    Attribute,
    Flag,
}

/// Always done.
const WRITES: [(u32, Verb); 1] = [(40, Verb::Write)];

const DATA: [(u32, Verb); 12] = [
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
    (1, Verb::ReadOnly),
    (1, Verb::Freeze),
];

const NAMES: [(u32, Verb); 10] = [
    (6, Verb::Create),
    (3, Verb::Mkdir),
    (1, Verb::Rmdir),
    (2, Verb::Unlink),
    (3, Verb::Link),
    (1, Verb::Symlink),
    (4, Verb::Rename),
    (1, Verb::Chmod),
    (2, Verb::Attribute),
    (2, Verb::Flag),
];

const WAYS: [(u32, Way); 8] = [
    (5, Way::Buffered),
    (4, Way::Append),
    (2, Way::Dsync),
    (4, Way::Direct),
    (4, Way::DirectDsync),
    (6, Way::Async),
    (1, Way::Own),
    (4, Way::Mapped),
];

/// What is done to a file just after some of it was lost: its size on the disk is behind.
const AFTER_LOSS: [(u32, Way); 4] = [
    (3, Way::Async),
    (1, Way::Direct),
    (1, Way::DirectDsync),
    (1, Way::Buffered),
];

const SPACES: [(u32, Space); 7] = [
    (2, Space::Allocate),
    (2, Space::KeepSize),
    (4, Space::Punch),
    (2, Space::Zero),
    (2, Space::ZeroKeepSize),
    (2, Space::Collapse),
    (2, Space::Insert),
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

/// Where things are drawn from: anew each time, or out of a few. Steps meet each other oftener at
/// few places.
#[derive(Clone, Debug)]
enum Pool<T> {
    Few(Vec<T>),
    Any(BoxedStrategy<T>),
}

impl<T: Clone + std::fmt::Debug + 'static> Pool<T> {
    /// Of some histories a few.
    fn of(any: BoxedStrategy<T>) -> BoxedStrategy<Pool<T>> {
        let few = prop::collection::vec(any.clone(), 1..4).prop_map(Pool::Few);
        prop_oneof![1 => Just(Pool::Any(any)), 1 => few].boxed()
    }

    fn one(&self) -> BoxedStrategy<T> {
        match self {
            Pool::Few(all) => prop::sample::select(all.clone()).boxed(),
            Pool::Any(any) => any.clone(),
        }
    }
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
    places: Pool<Place>,
    lengths: Pool<Length>,
    cuts: Cuts,
    /// Now and then the disk refuses what was just written to the page cache.
    loses: bool,
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
        2 => Just(Vec::new()),
        2 => Just(NAMES.to_vec()),
        2 => some_of(&NAMES),
    ];
    let parts = (some_of(&DATA), names);
    parts
        .prop_map(|(data, names)| [&WRITES, &data[..], &names[..]].concat())
        .boxed()
}

/// The taste of a history: every fifth likes everything.
pub fn taste(style: Style) -> BoxedStrategy<Taste> {
    let cuts = || {
        prop_oneof![
            4 => Just(Cuts::Never),
            2 => Just(Cuts::Sometimes),
            4 => Just(Cuts::AfterPromises),
        ]
    };
    let loses = || prop::bool::weighted(0.6);
    let all = (cuts(), loses()).prop_map(move |(cuts, loses)| Taste {
        verbs: [&WRITES, &DATA[..], &NAMES[..]].concat(),
        ways: WAYS.to_vec(),
        spaces: SPACES.to_vec(),
        syncs: SYNCS.to_vec(),
        one_file: false,
        places: Pool::Any(style.place(false)),
        lengths: Pool::Any(style.length(false)),
        cuts,
        loses,
    });
    let parts = (verbs(), some_of(&WAYS), some_of(&SPACES), some_of(&SYNCS));
    let places = any::<bool>()
        .prop_flat_map(move |near| (Pool::of(style.place(near)), Pool::of(style.length(near))));
    let some = (parts, any::<bool>(), places, cuts(), loses()).prop_map(
        |((verbs, ways, spaces, syncs), one_file, (places, lengths), cuts, loses)| Taste {
            verbs,
            ways,
            spaces,
            syncs,
            one_file,
            places,
            lengths,
            cuts,
            loses,
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
        let others = if self.one_file { 1 } else { 3 };
        prop_oneof![12 => Just(a), others => Just(b), others => any_name()].boxed()
    }

    fn name_or_dir(&self) -> BoxedStrategy<Name> {
        prop_oneof![2 => self.name(), 1 => any_name()].boxed()
    }

    /// What data operations are about.
    fn file(&self) -> BoxedStrategy<Name> {
        if self.verbs.iter().any(|verb| verb.1 == Verb::Hold) {
            prop_oneof![17 => self.name(), 3 => Just(Name::HELD)].boxed()
        } else {
            self.name()
        }
    }

    fn op(&self, verb: Verb) -> BoxedStrategy<Op> {
        let range = || (self.file(), self.places.one(), self.lengths.one());
        match verb {
            Verb::Write => (range(), one_of(&self.ways))
                .prop_map(|((n, at, len), way)| Op::Write(n, at, len, way))
                .boxed(),
            Verb::Truncate => (self.file(), self.places.one())
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
            Verb::ReadOnly => Just(Op::ReadOnly).boxed(),
            Verb::Freeze => Just(Op::Freeze).boxed(),
            Verb::Cut => Just(Op::Cut).boxed(),
            _ => self.naming(verb),
        }
    }

    /// The steps that are about names.
    fn naming(&self, verb: Verb) -> BoxedStrategy<Op> {
        use Attribute::{Large, Removed, Small};
        use Move::{Exchange, NoReplace, Replace, Whiteout};
        let how = prop::sample::select(vec![Replace, Replace, NoReplace, Exchange, Whiteout]);
        let value = prop::sample::select(vec![Small, Large, Large, Removed]);
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
            Verb::Attribute => (any_name(), value)
                .prop_map(|(n, value)| Op::Attribute(n, value))
                .boxed(),
            Verb::Flag => {
                let flag = vec![Flag::Sync, Flag::Sync, Flag::Dirsync, Flag::None];
                (self.name_or_dir(), prop::sample::select(flag))
                    .prop_map(|(n, flag)| Op::Flag(n, flag))
                    .boxed()
            }
            _ => self.name().prop_map(Op::Create).boxed(),
        }
    }

    /// A step, and what follows at once.
    fn phrase(&self, mount: Mount) -> BoxedStrategy<Vec<Op>> {
        let flags = self.verbs.iter().any(|verb| verb.1 == Verb::Flag);
        let synchronous = mount != Mount::Usual || flags;
        let mut verbs = self.verbs.clone();
        verbs.extend((self.cuts == Cuts::Sometimes).then_some((1, Verb::Cut)));
        let ops = verbs.iter().map(|&(w, verb)| (w, self.op(verb)));
        let op = Union::new_weighted(ops.collect());
        let cuts = self.cuts == Cuts::AfterPromises;
        let (cut, lost) = (
            if cuts { 0.5 } else { 0.0 },
            if self.loses { 0.4 } else { 0.0 },
        );
        let (cut, lost) = (prop::bool::weighted(cut), prop::bool::weighted(lost));
        let next = (
            self.places.one(),
            self.lengths.one(),
            one_of(&AFTER_LOSS),
            any::<bool>(),
        );
        (op, cut, lost, next)
            .prop_map(move |(op, cut, lost, (at, len, way, goes_on))| {
                let promise = op.is_promise() || synchronous && op.may_be_promise();
                let cut = (cut && promise).then_some(Op::Cut);
                let lost = op.cached().filter(|_| lost);
                let next = lost.filter(|_| goes_on);
                let next = next.map(|name| Op::Write(name, at, len, way));
                let all = [op].into_iter().chain(cut).chain(lost.map(Op::Lose));
                all.chain(next).collect()
            })
            .boxed()
    }
}

/// Histories of so many steps on average. None of them has a least length, so all can shrink.
pub fn history(
    (image, disk, mount): (Image, Disk, Mount),
    taste: &Taste,
    steps: usize,
) -> impl Strategy<Value = History> {
    let steps = prop::collection::vec(taste.phrase(mount), 0..=2 * steps);
    let at_end = taste.cuts == Cuts::Sometimes;
    let room = prop::option::weighted(0.15, 0u64..48);
    (steps, room).prop_map(move |(steps, room)| {
        let (mut cuts, mut losses) = (0, 0);
        let mut steps = steps.concat();
        steps.retain(|op| {
            cuts += usize::from(*op == Op::Cut);
            losses += usize::from(matches!(op, Op::Lose(_)));
            match op {
                Op::Cut => cuts <= FAILURES,
                Op::Lose(_) => losses <= FAILURES,
                _ => true,
            }
        });
        steps.extend((at_end && cuts < FAILURES).then_some(Op::Cut));
        History {
            image,
            disk,
            mount,
            room,
            steps,
        }
    })
}
