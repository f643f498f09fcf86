// SPDX-License-Identifier: GPL-2.0
//! What may be seen. Operations that overlap may have been done in any order, byte by byte; one
//! that was over before another began came before it.

use crate::drive::Span;
use crate::faults::Hit;
use crate::history;
use crate::moments;
use crate::op::{Op, Verb, MOST};
use crate::pairs;
use crate::program::{letter, thread_name, Program, INITIAL, PAGE};
use crate::sizes::{is_put_off, Sizes};
use std::ops::Range;

/// What an operation came back with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// How many bytes, or which place; what was read, or found.
    Done(u64, Vec<u8>),
    Failed(i32),
}

/// An operation that was done.
pub struct Act<'a> {
    pub op: &'a Op,
    pub thread: usize,
    /// Which of the thread's.
    pub nth: usize,
    pub letter: u8,
    pub span: Span,
    /// Of a store, when each of its pages was done (`moments.rs`).
    pub pages: Vec<Span>,
    pub outcome: &'a Outcome,
}

/// What an operation leaves in a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub value: u8,
    /// Nothing that was there before it is left.
    pub certain: bool,
}

/// A set of bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Values([u64; 4]);

impl Values {
    pub const NONE: Values = Values([0; 4]);

    pub fn add(&mut self, value: u8) {
        self.0[usize::from(value >> 6)] |= 1 << (value & 63);
    }

    pub fn merge(&mut self, other: &Values) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
    }

    /// What is left of these, and of what was done since, for who looks during `look`, or at the
    /// end.
    pub fn survivors(mut self, marks: &[(Span, Mark)], look: Option<&Span>) -> Values {
        let over = |s: &Span| look.is_none_or(|look| s.before(look));
        let hidden = |by: &dyn Fn(&Span) -> bool| {
            let mut certain = marks.iter().filter(|(s, m)| m.certain && over(s));
            certain.any(|(s, _)| by(s))
        };
        if hidden(&|_| true) {
            self = Values::NONE;
        }
        for (span, mark) in marks {
            if !hidden(&|other| span.before(other)) {
                self.add(mark.value);
            }
        }
        self
    }

    pub fn has(&self, value: u8) -> bool {
        self.0[usize::from(value >> 6)] & 1 << (value & 63) != 0
    }

    fn words(&self) -> String {
        let all = (0..=u8::MAX).filter(|v| self.has(*v)).map(show);
        all.collect::<Vec<_>>().join(" or ")
    }
}

/// A byte in words.
pub fn show(byte: u8) -> String {
    match byte {
        0 => "zero".into(),
        crate::disk::POISON => "what was on the device before".into(),
        b if b.is_ascii_graphic() => format!("'{}'", char::from(b)),
        b => format!("{b:#04x}"),
    }
}

pub struct Oracle<'a> {
    pub program: &'a Program,
    pub acts: Vec<Act<'a>>,
    sizes: [Sizes; 2],
    /// The errors that were put in.
    pub hits: Vec<Hit>,
}

impl<'a> Oracle<'a> {
    pub fn new(program: &'a Program, acts: Vec<Act<'a>>) -> Oracle<'a> {
        let sizes = [0, 1].map(|file| Sizes::new(program.size(file), file, &acts, |_| false));
        Oracle {
            program,
            hits: Vec::new(),
            acts,
            sizes,
        }
    }

    /// Where the sets may change: between two of these all bytes are alike.
    pub fn edges(&self, file: u8) -> Vec<u64> {
        let data = self.program.start.data();
        let most = self.program.most();
        let mut edges = vec![0, most, data.start, data.end, self.program.size(file)];
        for act in self.acts.iter().filter(|a| a.op.file == file) {
            let (at, end, block) = (act.op.at, act.op.end(), self.program.image.block);
            edges.extend([at, end, at.next_multiple_of(block), end / block * block]);
            edges.extend((1..act.pages.len() as u64).map(|n| (at / PAGE + n) * PAGE));
            if let Outcome::Done(n, _) = act.outcome {
                edges.push(act.op.at.saturating_add(*n));
            }
        }
        edges.extend(self.sizes[usize::from(file)].all());
        self.moved_edges(file, &mut edges);
        edges.retain(|e| *e <= most);
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    /// The least size that the disk may have of a file: where data was lost, so may the size be
    /// that covers it.
    pub fn least_kept(&self, file: u8) -> u64 {
        let lost = |act: &Act<'_>| {
            let end = match act.outcome {
                Outcome::Done(n, _) => act.op.at + n,
                Outcome::Failed(_) => act.op.end(),
            };
            self.is_lost(act, end.saturating_sub(1))
        };
        Sizes::new(self.program.size(file), file, &self.acts, lost).least_kept()
    }

    /// What an operation may leave at a byte.
    pub fn mark(&self, act: &Act<'_>, at: u64) -> Option<Mark> {
        let mark = self.effect(act, at)?;
        let certain = mark.certain && !self.is_lost(act, at) && !self.is_put_back(act, at);
        Some(Mark { certain, ..mark })
    }

    /// Was it stored where there may have been no file? It is not in the file then, and if that
    /// grows at the same time it may be seen, and go again.
    pub fn is_behind(&self, act: &Act<'_>, at: u64) -> bool {
        let (least, _) = self.sizes[usize::from(act.op.file)].during(&act.span);
        act.op.verb.is_mapped() && act.op.end() > at && at >= least
    }

    /// Does anybody store behind the end of the file? In the last page that stays until it is
    /// written.
    pub fn stores_behind(&self, file: u8) -> bool {
        let mapped = |act: &&Act<'_>| act.op.verb.is_mapped() && act.op.verb.writes();
        let here = |act: &&Act<'_>| act.op.file == file && mapped(act);
        let mut stores = self.acts.iter().filter(here);
        stores.any(|act| act.op.end() > self.least(act))
    }

    /// May the disk have bytes behind the end? A direct write that comes to its end half way zeroes
    /// what it has written there, and that may meet an error, too.
    /// With DAX what is stored there is on the disk, too.
    pub fn leaves_behind(&self, file: u8) -> bool {
        if self.program.image.dax && self.stores_behind(file) {
            return true;
        }
        let mut acts = self.acts.iter().filter(|act| act.op.file == file);
        acts.any(|act| {
            let whole = matches!(act.outcome, Outcome::Done(n, ..) if *n == act.op.len);
            let direct = act.op.verb.is_direct_write();
            direct && !whole && self.hits.iter().any(|hit| hit.zeroes && hit.met(act))
        })
    }

    /// What a byte was before anybody did anything.
    pub fn initial(&self, file: u8, at: u64) -> u8 {
        match file == 0 && self.program.start.data().contains(&at) {
            true => INITIAL,
            false => 0,
        }
    }

    fn effect(&self, act: &Act<'_>, at: u64) -> Option<Mark> {
        let op = act.op;
        let inside = op.at <= at && at < op.end();
        let ok = matches!(act.outcome, Outcome::Done(..));
        let zero = |certain| Some(Mark { value: 0, certain });
        match op.verb {
            Verb::Punch | Verb::Zero | Verb::ZeroKeep if inside => zero(ok),
            v if v.cuts() && at >= op.at => zero(ok),
            v if (v.stores() || v.pins()) && inside => {
                let (least, most) = self.sizes[usize::from(op.file)].during(&act.span);
                // It may be stored behind the end, in the last page, and nobody sees it.
                let value = act.letter;
                let certain = ok && at < least;
                (at < most).then_some(Mark { value, certain })
            }
            v if v.must_not_wait() && is_put_off(act.outcome) => None,
            // Where it may have written nobody knows.
            v if v.appends() && !ok => (at >= self.least(act)).then_some(Mark {
                value: act.letter,
                certain: false,
            }),
            v if v.writes() && inside && at < op.at + op.given() => {
                let value = act.letter;
                let certain = matches!(act.outcome, Outcome::Done(n, _) if at < op.at + n);
                Some(Mark { value, certain })
            }
            _ => None,
        }
    }

    /// What a byte of a file may be: for who looks during `span`, or at the end.
    fn allowed(&self, file: u8, at: u64, span: Option<&Span>) -> Values {
        if self.is_moved(file, at) {
            return self.moved(file, at, span);
        }
        let here = self.acts.iter().filter(|a| a.op.file == file);
        // Not what comes after the look.
        let early = here.filter(|a| span.is_none_or(|look| !look.before(&a.span)));
        let marks: Vec<(Span, Mark)> = early
            .filter_map(|a| Some((a.span_at(at), self.mark(a, at)?)))
            .collect();
        let mut first = Values::NONE;
        if !self.is_new(file, at, span) {
            first.add(self.initial(file, at));
        }
        // What was in memory only is lost.
        if self.is_initial_lost(file, at) {
            first.add(0);
        }
        first.survivors(&marks, span)
    }

    /// Bytes that somebody has seen, from `base` on.
    fn check(&self, file: u8, base: u64, seen: &[u8], span: Option<&Span>) -> Result<(), String> {
        let end = base + seen.len() as u64;
        for pair in self.edges(file).windows(2) {
            let range = pair[0].max(base)..pair[1].min(end);
            if range.is_empty() {
                continue;
            }
            let values = self.allowed(file, range.start, span);
            for at in range {
                let byte = seen[(at - base) as usize];
                if !values.has(byte) {
                    let (byte, values) = (show(byte), values.words());
                    return Err(format!("{byte} at {at} instead of {values}"));
                }
            }
        }
        Ok(())
    }

    /// What is there when nothing moves any more: all bytes of a file.
    pub fn rest(&self, file: u8, seen: &[u8]) -> Result<(), String> {
        let size = seen.len() as u64;
        if !self.sizes[usize::from(file)].last(size) {
            let sizes = self.sizes[usize::from(file)].words();
            return Err(format!("{size} bytes instead of {sizes}"));
        }
        self.check(file, 0, seen, None)?;
        history::check(self, file, seen)
    }

    /// What an operation has seen of its file: bytes, from somewhere on.
    pub fn seen(&self, act: &Act<'_>) -> Vec<(u64, Vec<u8>)> {
        let (op, least) = (act.op, self.least(act));
        let zeros = |range: Range<u64>| (range.start, vec![0; range.count()]);
        match act.outcome {
            Outcome::Done(_, bytes) if op.verb.reads() => vec![(op.at, bytes.clone())],
            Outcome::Done(n, _) if op.verb == Verb::SeekData => {
                vec![zeros(op.at..(*n).min(2 * MOST))]
            }
            Outcome::Done(n, _) if op.verb == Verb::SeekHole && *n < least => {
                vec![zeros(*n..*n + 1)]
            }
            Outcome::Failed(libc::ENXIO) if op.verb == Verb::SeekData => vec![zeros(op.at..least)],
            Outcome::Done(_, bytes) if op.verb == Verb::Load => {
                // Behind the end there may be anything.
                let n = least.saturating_sub(op.at).min(bytes.len() as u64) as usize;
                vec![(op.at, bytes[..n].to_vec())]
            }
            Outcome::Done(_, bytes) if op.verb == Verb::Fiemap => {
                let n = op.end().min(least).saturating_sub(op.at) as usize;
                let mut at = op.at;
                let mut holes = Vec::new();
                for same in bytes[..n.min(bytes.len())].chunk_by(|a, b| a == b) {
                    if same[0] == 0 {
                        holes.push((at, same.to_vec()));
                    }
                    at += same.len() as u64;
                }
                holes
            }
            _ => Vec::new(),
        }
    }

    /// The least size while it was on the way.
    pub fn least(&self, act: &Act<'_>) -> u64 {
        self.sizes[usize::from(act.op.file)].during(&act.span).0
    }

    /// What the operations themselves came back with.
    pub fn outcomes(&self) -> Result<(), String> {
        self.acts.iter().try_for_each(|act| {
            let seen = match act.outcome {
                Outcome::Failed(errno) => self.failure(act, *errno),
                Outcome::Done(n, bytes) => self.result(act, *n, bytes),
            };
            let name = thread_name(act.thread);
            seen.map_err(|e| format!("{name}: {}: {e}", act.op.words()))
        })
    }

    fn result(&self, act: &Act<'_>, n: u64, bytes: &[u8]) -> Result<(), String> {
        let op = act.op;
        if self.must_tell(act) {
            return Err("done, though data of the file was lost before".into());
        }
        let (least, most) = self.sizes[usize::from(op.file)].during(&act.span);
        match op.verb {
            v if v.reads() => {
                let cut = |size: u64| size.saturating_sub(op.at).min(op.len);
                if !self.met(act) && !(cut(least)..=cut(most)).contains(&n) {
                    return Err(format!("{n} bytes; the size is {least} to {most}"));
                }
                self.check(op.file, op.at, bytes, Some(&act.span))
            }
            Verb::SeekData | Verb::SeekHole | Verb::Fiemap => self.holes(act),
            v if v.shifts() && !self.can_shift(act, most) => Err("done, where it cannot be".into()),
            v if v.writes() && n != op.given() && !self.may_be_short(act) => {
                Err(format!("{n} bytes written"))
            }
            _ => self
                .seen(act)
                .iter()
                .try_for_each(|(at, bytes)| self.check(op.file, *at, bytes, Some(&act.span))),
        }
    }

    /// Those that take the name of a file.
    fn takers(&self, file: u8) -> usize {
        let mut ops = self.program.threads.iter().flatten();
        ops.by_ref()
            .filter(|op| op.verb.takes_name() && op.file == file)
            .count()
    }

    /// May the file end inside of a sector at some time?
    fn may_end_in_sector(&self, file: u8) -> bool {
        let sizes = self.sizes[usize::from(file)].all();
        sizes.iter().any(|size| size % 512 != 0)
    }

    /// Is it about whole blocks, in the middle of a file of this size?
    fn can_shift(&self, act: &Act<'_>, size: u64) -> bool {
        let op = act.op;
        let inside = match op.verb {
            Verb::CollapseRange => op.end() < size,
            _ => op.at < size,
        };
        inside && (op.at | op.len) % self.program.image.block == 0
    }

    /// A write may have been done in part.
    pub fn may_be_short(&self, act: &Act<'_>) -> bool {
        self.met(act) || self.program.image.tight || act.op.verb.must_not_wait()
    }

    /// What it has passed over, or found, is said to be a hole.
    fn holes(&self, act: &Act<'_>) -> Result<(), String> {
        let mut seen = self.seen(act).into_iter();
        seen.try_for_each(|(at, zeros)| self.hole(act, at..at + zeros.len() as u64))
    }

    /// These bytes were said to be a hole.
    fn hole(&self, act: &Act<'_>, range: Range<u64>) -> Result<(), String> {
        let file = act.op.file;
        for pair in self.edges(file).windows(2) {
            let at = pair[0].max(range.start);
            if at >= pair[1].min(range.end) {
                continue;
            }
            let values = self.allowed(file, at, Some(&act.span));
            if !values.has(0) {
                let values = values.words();
                return Err(format!("says that {at} is a hole, where there is {values}"));
            }
        }
        Ok(())
    }

    fn failure(&self, act: &Act<'_>, errno: i32) -> Result<(), String> {
        let (least, _) = self.sizes[usize::from(act.op.file)].during(&act.span);
        let fits = match act.op.verb {
            // A page behind the end is SIGBUS.
            v if v.is_mapped() || v == Verb::OwnWrite => {
                errno == libc::EFAULT && act.op.end() > least.next_multiple_of(PAGE)
            }
            Verb::SeekData if errno == libc::ENXIO => return self.holes(act),
            Verb::SeekHole => errno == libc::ENXIO && act.op.at >= least,
            v if v.shifts() && errno == libc::EBUSY => self.is_pinned(act),
            // There may be no byte in the range.
            Verb::MoveExtents if errno == libc::EBUSY => self.is_pinned(act),
            Verb::MoveExtents => errno == libc::EINVAL,
            v if v.shifts() => errno == libc::EINVAL && !self.can_shift(act, least),
            // There may be nothing to collapse, or no memory, and two that freeze.
            Verb::Collapse => {
                [libc::EINVAL, libc::EAGAIN, libc::EBUSY, libc::ENOMEM].contains(&errno)
            }
            v if v.freezes() || v == Verb::Thaw => [libc::EBUSY, libc::EINVAL].contains(&errno),
            v if v.must_not_wait() => errno == libc::EAGAIN,
            Verb::AppendDirect => errno == libc::EINVAL && self.may_end_in_sector(act.op.file),
            // Another one has taken the name.
            Verb::Unname => errno == libc::ENOENT && self.takers(act.op.file) > 1,
            _ => false,
        };
        // There may be no space, which is SIGBUS for a store.
        let full = match act.op.verb {
            verb if verb.stores() || verb.pins() => errno == libc::EFAULT,
            // Nothing is needed to make a file shorter.
            Verb::Truncate if act.op.at <= least => false,
            verb => verb.wants_space() && errno == libc::ENOSPC,
        };
        if fits || self.may_fail(act, errno) || full && self.program.image.tight {
            return Ok(());
        }
        Err(guest::sys::errname(errno))
    }
}

/// The operations of a run, with what came of them.
pub fn acts<'a>(
    program: &'a Program,
    run: &crate::drive::Run,
    outcomes: &'a [Vec<Outcome>],
) -> Vec<Act<'a>> {
    let mut out = Vec::new();
    for (thread, ops) in program.threads.iter().enumerate() {
        let done = run.spans[thread].iter().zip(&outcomes[thread]);
        for (nth, (op, (span, outcome))) in ops.iter().zip(done).enumerate() {
            let span = Span {
                from: span.0,
                to: span.1.unwrap_or(usize::MAX),
            };
            out.push(Act {
                op,
                thread,
                nth,
                letter: letter(thread, nth),
                pages: moments::pages(run, (thread, nth), op, span),
                span,
                outcome,
            });
        }
        let first = out.len() - run.spans[thread].len().min(outcomes[thread].len());
        pairs::joined(ops, &mut out[first..]);
    }
    out
}
