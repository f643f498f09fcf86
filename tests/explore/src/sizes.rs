// SPDX-License-Identifier: GPL-2.0
//! The sizes that a file may have had, and when.

use crate::drive::Span;
use crate::op::Verb;
use crate::oracle::{Act, Outcome};
use std::collections::BTreeSet;
use std::ops::Range;

/// What an operation does to the size.
#[derive(Clone)]
enum Change {
    AtLeast(u64),
    Exactly(u64),
    /// Of bytes that begin at the end.
    Append(Range<u64>),
    /// By so much, or less.
    Longer(u64),
    /// Of bytes that end inside the file.
    Collapse(Range<u64>),
    /// At a byte of the file.
    Insert(Range<u64>),
}

impl Change {
    /// The size afterwards; nothing if it cannot have been done then.
    fn next(&self, size: u64) -> Option<u64> {
        match self {
            Change::AtLeast(end) => Some(size.max(*end)),
            Change::Exactly(end) => Some(*end),
            Change::Append(bytes) => (bytes.start == size).then_some(bytes.end),
            Change::Longer(len) => Some(size + len),
            Change::Collapse(bytes) => (bytes.end < size).then(|| size - (bytes.end - bytes.start)),
            Change::Insert(bytes) => (bytes.start < size).then(|| size + bytes.end - bytes.start),
        }
    }

    /// The same for what is on its way to the disk. What moves the blocks moves the size as well.
    fn next_kept(&self, next: u64, kept: u64) -> u64 {
        match self {
            Change::AtLeast(end) => kept.max(*end),
            Change::Append(_) | Change::Longer(_) => kept.max(next),
            _ => next,
        }
    }
}

struct Changer {
    span: Span,
    change: Change,
    /// It may have done nothing.
    failed: bool,
    /// The size on disk moves with the data, which may never get there.
    lost: bool,
    writes: bool,
}

/// Some of the changes done, and the sizes then: in memory, and on the way to the disk.
type State = (u32, u64, u64);

pub struct Sizes {
    changers: Vec<Changer>,
    states: BTreeSet<State>,
}

/// It has not begun.
fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(libc::EINVAL | libc::EBUSY))
}

/// It would have had to wait.
pub fn is_put_off(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(libc::EAGAIN))
}

fn change(act: &Act<'_>) -> Option<(Change, bool)> {
    let done = match act.outcome {
        Outcome::Done(n, _) => Some(*n),
        Outcome::Failed(_) => None,
    };
    let op = act.op;
    let change = match op.verb {
        verb if verb.must_not_wait() && is_put_off(act.outcome) => None,
        verb if verb.appends() => match done {
            Some(0) => None,
            Some(n) => Some(Change::Append(op.at..op.at + n)),
            None => Some(Change::Longer(op.len)),
        },
        verb if verb.writes() && !verb.is_mapped() => {
            let end = op.at + done.unwrap_or(op.len);
            (op.at < end).then_some(Change::AtLeast(end))
        }
        Verb::OwnWrite => {
            let end = op.at + done.unwrap_or(op.len);
            (op.at < end).then_some(Change::AtLeast(end))
        }
        Verb::Allocate | Verb::Zero => Some(Change::AtLeast(op.end())),
        verb if verb.cuts() => Some(Change::Exactly(op.at)),
        verb if verb.shifts() && is_refused(act.outcome) => None,
        Verb::CollapseRange => Some(Change::Collapse(op.at..op.end())),
        Verb::InsertRange => Some(Change::Insert(op.at..op.end())),
        _ => None,
    };
    Some((change?, done.is_none()))
}

impl Sizes {
    /// `lost`: may what it wrote last never get to the disk?
    pub fn new(start: u64, file: u8, acts: &[Act<'_>], lost: impl Fn(&Act<'_>) -> bool) -> Sizes {
        let here = acts.iter().filter(|a| a.op.file == file);
        let changers = here.filter_map(|a| {
            let (change, failed) = change(a)?;
            let writes = a.op.verb.writes() || a.op.verb == Verb::OwnWrite;
            Some(Changer {
                span: a.span,
                change,
                failed,
                lost: writes && lost(a),
                writes,
            })
        });
        let mut changers: Vec<Changer> = changers.collect();
        // What failed half way may have left an end that nobody knows of, and an append found it.
        if changers.iter().any(|changer| changer.failed) {
            for changer in &mut changers {
                if let Change::Append(bytes) = &changer.change {
                    changer.change = Change::AtLeast(bytes.end);
                }
            }
        }
        let mut sizes = Sizes {
            changers,
            states: BTreeSet::new(),
        };
        sizes.reach((0, start, start));
        sizes
    }

    /// All states that can follow.
    fn reach(&mut self, state: State) {
        if !self.states.insert(state) {
            return;
        }
        let (done, size, kept) = state;
        for i in 0..self.changers.len() {
            let changer = &self.changers[i];
            let before = |(j, other): (usize, &Changer)| {
                done & 1 << j == 0 && other.span.before(&changer.span)
            };
            if done & 1 << i != 0 || self.changers.iter().enumerate().any(before) {
                continue;
            }
            let after = done | 1 << i;
            let mut all = Vec::new();
            if let Some(next) = changer.change.next(size) {
                all.push((after, next, changer.change.next_kept(next, kept)));
                // Who has nothing to move in memory need not look at the disk.
                if changer.lost || !changer.writes && next == size {
                    all.push((after, next, kept));
                }
            }
            if changer.failed {
                all.push((after, size, kept));
            }
            all.into_iter().for_each(|state| self.reach(state));
        }
    }

    /// The least and the largest size while somebody was on the way.
    pub fn during(&self, look: &Span) -> (u64, u64) {
        let fits = |(done, ..): &&State| {
            self.changers.iter().enumerate().all(|(i, changer)| {
                let is_done = done & 1 << i != 0;
                let too_early = !is_done && changer.span.before(look);
                let too_late = is_done && look.before(&changer.span);
                !too_early && !too_late
            })
        };
        let sizes = self.states.iter().filter(fits).map(|s| s.1);
        let (least, most) = (sizes.clone().min(), sizes.max());
        (least.unwrap_or(0), most.unwrap_or(u64::MAX))
    }

    /// When all was done.
    fn last_states(&self) -> impl Iterator<Item = &State> {
        let all = (1u32 << self.changers.len()) - 1;
        self.states.iter().filter(move |s| s.0 == all)
    }

    fn ends(&self) -> BTreeSet<u64> {
        self.last_states().map(|s| s.1).collect()
    }

    /// The least that may be on disk in the end.
    pub fn least_kept(&self) -> u64 {
        self.last_states().map(|s| s.2).min().unwrap_or(0)
    }

    /// May it be this at the end?
    pub fn last(&self, size: u64) -> bool {
        let ends = self.ends();
        // What failed half way may have stopped anywhere.
        let between = ends.first() <= Some(&size) && Some(&size) <= ends.last();
        ends.contains(&size) || between && self.changers.iter().any(|c| c.failed)
    }

    pub fn all(&self) -> Vec<u64> {
        self.states.iter().map(|s| s.1).collect()
    }

    pub fn words(&self) -> String {
        let ends: Vec<String> = self.ends().iter().map(u64::to_string).collect();
        ends.join(" or ")
    }
}
