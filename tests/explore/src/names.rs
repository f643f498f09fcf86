// SPDX-License-Identifier: GPL-2.0
//! What operations on names may come back with, and leave. Each is done at one moment while it is
//! on its way; but for two. A link is made of what had the old name a moment before, and a listing
//! takes its time: names that are there all the while it has once, and others as it likes, if they
//! were there at all.

use crate::faults::{explained, Hit};
use crate::op::{Op, Verb, EACH, NAMES};
use crate::oracle::{show, Act, Outcome};
use crate::program::{thread_name, Program, OPS, THREADS};
use crate::things::{layout, End, Found, Places, Sort, Thing, LARGE};
use std::collections::HashSet;

/// What a listing says of names that stay.
pub const DOT: u8 = 250;
pub const DOT_DOT: u8 = 251;
pub const UNKNOWN: u8 = 255;
/// The first of those that fill a directory.
pub const FILLER: u8 = 32;

/// Of all operations, how much is behind us, and what is known of those on their way.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    places: Places,
    phase: [u8; THREADS * OPS],
    /// What a link is to be made of.
    source: [Option<Thing>; THREADS * OPS],
    /// For a listing: the names that were there since it began, and those that were not.
    was: [u8; THREADS * OPS],
    was_not: [u8; THREADS * OPS],
    /// And how often it may have each at most.
    most: [[u8; NAMES.len()]; THREADS * OPS],
    /// Inodes of directories just made: 0 as long as nobody has looked one up.
    made: [u64; THREADS * OPS],
    /// Of each thing, 0 if it has none.
    attributes: [u8; NAMES.len() + THREADS * OPS],
}

impl State {
    /// A bit for each name.
    fn present(&self) -> u8 {
        let all = self.places.iter().enumerate();
        all.filter(|(_, p)| p.is_some()).map(|(i, _)| 1 << i).sum()
    }

    /// A listing is on its way, and there is what there is. `before` it were these names.
    fn watches(&mut self, listing: usize, before: u8) {
        let present = self.present();
        self.was[listing] |= present;
        self.was_not[listing] |= !present;
        for (name, most) in self.most[listing].iter_mut().enumerate() {
            *most += (present & !before) >> name & 1;
        }
    }

    fn is_named(&self, thing: Thing) -> bool {
        self.places
            .iter()
            .flatten()
            .any(|t| t.number == thing.number)
    }
}

/// What happened to names.
pub struct Names<'a> {
    pub program: &'a Program,
    pub acts: Vec<Act<'a>>,
    pub hits: Vec<Hit>,
    /// The inodes of what was there at the beginning.
    pub inodes: [u64; NAMES.len()],
}

/// What comes of an operation: what it says that is there, if it says so.
type Came = Result<Option<Thing>, i32>;

impl Names<'_> {
    /// What an operation makes.
    fn own(&self, act: &Act<'_>) -> Thing {
        Thing {
            number: (NAMES.len() + act.thread * OPS + act.nth) as u8,
            sort: match act.op.verb {
                Verb::MakeFolder => Sort::Folder,
                Verb::Whiteout => Sort::Whiteout,
                _ => Sort::File,
            },
        }
    }

    /// Its inode, if that is known: of a directory just made, or a whiteout, nobody has said which
    /// it is.
    fn inode(&self, state: &State, thing: Thing) -> Option<u64> {
        let number = usize::from(thing.number);
        let Some(own) = number.checked_sub(NAMES.len()) else {
            return Some(self.inodes[number]);
        };
        if thing.sort != Sort::File {
            return Some(state.made[own]).filter(|ino| *ino > 0);
        }
        let made = |a: &&Act<'_>| (a.thread, a.nth) == (own / OPS, own % OPS);
        match self.acts.iter().find(made)?.outcome {
            Outcome::Done(known, _) => Some(*known),
            Outcome::Failed(_) => None,
        }
    }

    /// Has it this inode, and nothing else that is there? Whoever looks first at a directory just
    /// made says for all others which it is.
    fn has(&self, state: &mut State, thing: Thing, ino: u64) -> bool {
        let others = state.places.into_iter().flatten();
        let mut others = others.filter(|t| t.number != thing.number);
        if others.any(|other| self.inode(state, other) == Some(ino)) {
            return false;
        }
        match (self.inode(state, thing), thing.sort) {
            (Some(known), _) => known == ino,
            (None, Sort::Folder | Sort::Whiteout) => {
                state.made[usize::from(thing.number) - NAMES.len()] = ino;
                true
            }
            _ => false,
        }
    }

    /// Does it, at one moment.
    fn whole(&self, act: &Act<'_>, places: &mut Places) -> Came {
        let (op, place) = (act.op, usize::from(act.op.file));
        let here = places.get(place).copied().flatten();
        match op.verb {
            Verb::Create | Verb::MakeFolder => {
                if here.is_some() {
                    return Err(libc::EEXIST);
                }
                let own = self.own(act);
                places[place] = Some(own);
                Ok(Some(own).filter(|own| own.sort == Sort::File))
            }
            // No driver has that device.
            Verb::Hold if here.is_some_and(|here| here.sort == Sort::Whiteout) => Err(libc::ENXIO),
            Verb::LookUp | Verb::Hold => Ok(Some(here.ok_or(libc::ENOENT)?)),
            Verb::Unlink | Verb::RemoveFolder => {
                let sort = here.ok_or(libc::ENOENT)?.sort;
                match (op.verb, sort) {
                    (Verb::RemoveFolder, Sort::Folder) => (),
                    (Verb::Unlink, sort) if !sort.is_folder() => (),
                    (Verb::Unlink, _) => return Err(libc::EISDIR),
                    (_, Sort::File | Sort::Whiteout) => return Err(libc::ENOTDIR),
                    (_, Sort::Folder | Sort::Full) => return Err(libc::ENOTEMPTY),
                }
                places[place] = None;
                Ok(None)
            }
            Verb::Rename | Verb::NoReplace | Verb::Exchange => rename(op, places),
            Verb::Whiteout => {
                rename(op, places)?;
                // Nothing is done, and left, where both names are of one file.
                let whiteout = Some(self.own(act)).filter(|_| places[place].is_none());
                places[place] = places[place].or(whiteout);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// A link: what has the old name, then the new one.
    fn link(&self, act: &Act<'_>, i: usize, state: &mut State) -> Option<Came> {
        if state.phase[i] == 0 {
            state.source[i] = state.places[usize::from(act.op.file)];
            return None;
        }
        let Some(source) = state.source[i] else {
            return Some(Err(libc::ENOENT));
        };
        let to = act.op.at as usize;
        Some(match source.sort {
            _ if state.places[to].is_some() => Err(libc::EEXIST),
            Sort::Folder | Sort::Full => Err(libc::EPERM),
            _ if !state.is_named(source) => Err(libc::ENOENT),
            Sort::File | Sort::Whiteout => {
                state.places[to] = Some(source);
                Ok(None)
            }
        })
    }

    /// An attribute: what has the name, then what is to be done to that, whether it has the name
    /// still or not.
    fn attribute(&self, act: &Act<'_>, i: usize, state: &mut State) -> Option<Came> {
        if state.phase[i] == 0 {
            state.source[i] = state.places[usize::from(act.op.file)];
            return None;
        }
        let Some(source) = state.source[i] else {
            return Some(Err(libc::ENOENT));
        };
        let value = &mut state.attributes[usize::from(source.number)];
        let read = |value: u8| matches!(act.outcome, Outcome::Done(n, _) if *n == value.into());
        Some(match (act.op.verb, *value) {
            (Verb::SetSmall, _) => {
                *value = act.letter;
                Ok(None)
            }
            (Verb::SetLarge, _) => {
                *value = LARGE;
                Ok(None)
            }
            (_, 0) => Err(libc::ENODATA),
            (Verb::RemoveAttribute, _) => {
                *value = 0;
                Ok(None)
            }
            (_, value) if read(value) => Ok(None),
            // It has read something else: nothing fails with that.
            _ => Err(0),
        })
    }

    /// Has it seen what was there?
    fn listed(&self, act: &Act<'_>, i: usize, state: &State) -> bool {
        let Outcome::Done(_, seen) = act.outcome else {
            return true;
        };
        let folder = usize::from(act.op.file);
        (folder * EACH..(folder + 1) * EACH).all(|name| {
            let times = seen.iter().filter(|b| usize::from(**b) == name).count();
            let (was, was_not) = (state.was[i] >> name & 1, state.was_not[i] >> name & 1);
            match (was, was_not) {
                (1, 0) => times == 1,
                (0, _) => times == 0,
                _ => times <= usize::from(state.most[i][name]),
            }
        })
    }

    /// May it have failed with this, and done nothing?
    fn is_excused(&self, act: &Act<'_>, errno: i32) -> bool {
        let full = self.program.image.tight && act.op.verb.wants_space();
        let freezes = act.op.verb.freezes() || act.op.verb == Verb::Thaw;
        let busy = freezes && [libc::EBUSY, libc::EINVAL].contains(&errno);
        let met = explained(&self.hits, act, errno, self.program.image.tight);
        met || busy || full && errno == libc::ENOSPC
    }

    fn phases(act: &Act<'_>) -> u8 {
        let twice = act.op.verb.has_attribute() || matches!(act.op.verb, Verb::Link | Verb::List);
        1 + u8::from(twice)
    }

    /// The next phase of an operation, if what it came back with is what comes of it now.
    fn step(&self, state: &State, i: usize) -> Option<State> {
        let act = &self.acts[i];
        let mut next = state.clone();
        let excused = matches!(act.outcome, Outcome::Failed(e) if self.is_excused(act, *e));
        let result = match act.op.verb {
            _ if excused => None,
            Verb::Link => self.link(act, i, &mut next),
            verb if verb.has_attribute() => self.attribute(act, i, &mut next),
            Verb::List if state.phase[i] == 0 => None,
            Verb::List if !self.listed(act, i, state) => return None,
            _ => Some(self.whole(act, &mut next.places)),
        };
        let fits = match (result, act.outcome) {
            (None, _) => true,
            (Some(Err(expected)), Outcome::Failed(errno)) => expected == *errno,
            (Some(Ok(None)), Outcome::Done(..)) => true,
            (Some(Ok(Some(thing))), Outcome::Done(ino, _)) => self.has(&mut next, thing, *ino),
            _ => false,
        };
        next.phase[i] += 1;
        let listings = (0..self.acts.len()).filter(|j| self.acts[*j].op.verb == Verb::List);
        for j in listings.filter(|j| next.phase[*j] == 1).collect::<Vec<_>>() {
            next.watches(j, if i == j { 0 } else { state.present() });
        }
        fits.then_some(next)
    }

    /// Goes on in all ways until the end is one that will do.
    fn search(
        &self,
        state: State,
        known: &mut HashSet<State>,
        end: &dyn Fn(&State) -> bool,
    ) -> bool {
        let open = |i: usize| state.phase[i] < Self::phases(&self.acts[i]);
        let all = 0..self.acts.len();
        if !all.clone().any(open) {
            return end(&state);
        }
        if known.contains(&state) {
            return false;
        }
        let is_next = |i: &usize| {
            let span = &self.acts[*i].span;
            open(*i)
                && !all
                    .clone()
                    .any(|j| open(j) && self.acts[j].span.before(span))
        };
        let found = all.clone().filter(is_next).any(|i| {
            let next = self.step(&state, i);
            next.is_some_and(|next| self.search(next, known, end))
        });
        known.insert(state);
        found
    }

    fn is_explained(&self, end: &dyn Fn(&State) -> bool) -> bool {
        let state = State {
            places: layout(self.program.start),
            phase: [0; THREADS * OPS],
            source: [None; THREADS * OPS],
            was: [0; THREADS * OPS],
            was_not: [0; THREADS * OPS],
            most: [[0; NAMES.len()]; THREADS * OPS],
            made: [0; THREADS * OPS],
            attributes: [0; NAMES.len() + THREADS * OPS],
        };
        self.search(state, &mut HashSet::new(), end)
    }

    /// Is this what the model has?
    fn is_end(&self, state: &State, end: &End) -> bool {
        let mut state = state.clone();
        let places = state.places;
        let same = |(place, found): (Option<Thing>, &Option<Found>)| match (place, found) {
            (None, None) => true,
            (Some(thing), Some(found)) => {
                let sort = match thing.sort {
                    Sort::Full => Sort::Folder,
                    sort => sort,
                };
                let attribute = state.attributes[usize::from(thing.number)];
                let same = (sort, attribute) == (found.sort, found.attribute);
                same && self.has(&mut state, thing, found.ino)
            }
            _ => false,
        };
        places.into_iter().zip(&end.found).all(same)
    }

    /// Names that nobody touches are listed once, and nothing that never was.
    fn fillers(&self, act: &Act<'_>, fillers: usize) -> Result<(), String> {
        let Outcome::Done(_, seen) = act.outcome else {
            return Ok(());
        };
        let mut all = vec![DOT, DOT_DOT];
        if act.op.file == 0 {
            all.extend((0..fillers).map(|i| FILLER + i as u8));
        }
        for name in all {
            let times = seen.iter().filter(|b| **b == name).count();
            if times != 1 {
                let what = match name {
                    DOT => ".".into(),
                    DOT_DOT => "..".into(),
                    _ => format!("name {} of those that stay", name - FILLER),
                };
                return Err(format!("{what} is listed {times} times"));
            }
        }
        match seen.contains(&UNKNOWN) {
            true => Err("a name is listed that was never there".into()),
            false => Ok(()),
        }
    }

    /// All of it; `fillers` names stay in m.
    pub fn judge(&self, end: &End, fillers: usize) -> Result<(), String> {
        for act in self.acts.iter().filter(|a| a.op.verb == Verb::List) {
            let name = thread_name(act.thread);
            let seen = self.fillers(act, fillers);
            seen.map_err(|e| format!("{name}: {}: {e}", act.op.words()))?;
        }
        if !self.is_explained(&|_| true) {
            return Err(format!("no order explains: {}", self.told()));
        }
        if !self.is_explained(&|state| self.is_end(state, end)) {
            let left = NAMES.iter().zip(&end.found).filter_map(|(name, found)| {
                let found = found.as_ref()?;
                let has = match found.attribute {
                    0 => String::new(),
                    byte => format!(" with {}", show(byte)),
                };
                Some(format!("{name} is inode {}{has}", found.ino))
            });
            let left = left.collect::<Vec<_>>().join(", ");
            return Err(format!("no order leaves {left} behind: {}", self.told()));
        }
        end.counts()
    }

    /// What came of all, in the order in which they began.
    fn told(&self) -> String {
        let mut acts: Vec<&Act<'_>> = self.acts.iter().collect();
        acts.sort_by_key(|a| a.span.from);
        let words = acts.into_iter().map(|act| {
            let name = format!("{}{}", thread_name(act.thread), act.nth + 1);
            let came = match act.outcome {
                Outcome::Failed(errno) => guest::sys::errname(*errno),
                Outcome::Done(_, seen) if act.op.verb == Verb::List => {
                    let names = seen.iter().filter_map(|b| NAMES.get(usize::from(*b)));
                    format!("has {}", names.collect::<String>())
                }
                Outcome::Done(0, _) => "done".into(),
                Outcome::Done(n, _) if act.op.verb.has_attribute() => {
                    format!("has {}", show(*n as u8))
                }
                Outcome::Done(ino, _) => format!("inode {ino}"),
            };
            format!("{name} {}: {came}", act.op.words())
        });
        words.collect::<Vec<_>>().join("; ")
    }
}

fn rename(op: &Op, places: &mut Places) -> Came {
    let (from, to) = (usize::from(op.file), op.at as usize);
    let source = places[from].ok_or(libc::ENOENT)?;
    let target = match (op.verb, places[to]) {
        (Verb::NoReplace, Some(_)) => return Err(libc::EEXIST),
        (Verb::Exchange, None) => return Err(libc::ENOENT),
        (_, target) => target,
    };
    // Two names of one file: nothing is done.
    if target.is_some_and(|t| t.number == source.number) {
        return Ok(None);
    }
    if op.verb == Verb::Exchange {
        places.swap(from, to);
        return Ok(None);
    }
    match (source.sort.is_folder(), target.map(|t| t.sort)) {
        (_, None) => (),
        (folder, Some(sort)) if folder != sort.is_folder() => {
            return Err(if folder { libc::ENOTDIR } else { libc::EISDIR });
        }
        (_, Some(Sort::Full)) => return Err(libc::ENOTEMPTY),
        _ => (),
    }
    places[to] = places[from].take();
    Ok(None)
}
