// SPDX-License-Identifier: GPL-2.0
//! What may be seen. Operations that overlap may have been done in any order, byte by byte; one
//! that was over before another began came before it.

use crate::drive::Span;
use crate::op::{Op, Verb, MOST};
use crate::program::{letter, thread_name, Program, INITIAL, PAGE};
use crate::sizes::Sizes;

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
    pub letter: u8,
    pub span: Span,
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
    const NONE: Values = Values([0; 4]);

    fn add(&mut self, value: u8) {
        self.0[usize::from(value >> 6)] |= 1 << (value & 63);
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
    program: &'a Program,
    acts: Vec<Act<'a>>,
    sizes: [Sizes; 2],
    /// An error was put in: what was to be written may be lost, and anybody may be told.
    pub faulted: bool,
}

impl<'a> Oracle<'a> {
    pub fn new(program: &'a Program, acts: Vec<Act<'a>>) -> Oracle<'a> {
        let sizes = [0, 1].map(|file| Sizes::new(program.size(file), file, &acts));
        Oracle {
            program,
            faulted: false,
            acts,
            sizes,
        }
    }

    /// Where the sets may change: between two of these all bytes are alike.
    fn edges(&self, file: u8) -> Vec<u64> {
        let data = self.program.start.data();
        let mut edges = vec![0, MOST, data.start, data.end, self.program.size(file)];
        for act in self.acts.iter().filter(|a| a.op.file == file) {
            edges.extend([act.op.at, act.op.end()]);
            if let Outcome::Done(n, _) = act.outcome {
                edges.push(act.op.at.saturating_add(*n));
            }
        }
        edges.extend(self.sizes[usize::from(file)].all());
        edges.retain(|e| *e <= MOST);
        edges.sort_unstable();
        edges.dedup();
        edges
    }

    /// What an operation may leave at a byte.
    fn mark(&self, act: &Act<'_>, at: u64) -> Option<Mark> {
        let mark = self.effect(act, at)?;
        let certain = mark.certain && !self.faulted;
        Some(Mark { certain, ..mark })
    }

    fn effect(&self, act: &Act<'_>, at: u64) -> Option<Mark> {
        let op = act.op;
        let inside = op.at <= at && at < op.end();
        let ok = matches!(act.outcome, Outcome::Done(..));
        let zero = |certain| Some(Mark { value: 0, certain });
        match op.verb {
            Verb::Punch | Verb::Zero | Verb::ZeroKeep if inside => zero(ok),
            Verb::Truncate if at >= op.at => zero(ok),
            Verb::Store if inside => {
                let (least, most) = self.sizes[usize::from(op.file)].during(&act.span);
                // It may be stored behind the end, in the last page, and nobody sees it.
                let value = act.letter;
                let certain = ok && at < least;
                (at < most).then_some(Mark { value, certain })
            }
            v if v.writes() && inside => {
                let value = act.letter;
                let certain = matches!(act.outcome, Outcome::Done(n, _) if at < op.at + n);
                Some(Mark { value, certain })
            }
            _ => None,
        }
    }

    /// What a byte of a file may be: for who looks during `span`, or at the end.
    fn allowed(&self, file: u8, at: u64, span: Option<&Span>) -> Values {
        let data = self.program.start.data();
        let inside = file == 0 && data.contains(&at);
        let initial = if inside { INITIAL } else { 0 };
        let here = self.acts.iter().filter(|a| a.op.file == file);
        // Not what comes after the look.
        let early = here.filter(|a| span.is_none_or(|look| !look.before(&a.span)));
        let marks: Vec<(&Span, Mark)> = early
            .filter_map(|a| Some((&a.span, self.mark(a, at)?)))
            .collect();
        let over = |s: &Span| span.is_none_or(|look| s.before(look));
        let hidden = |by: &dyn Fn(&Span) -> bool| {
            let certain = marks.iter().filter(|(s, m)| m.certain && over(s));
            certain.into_iter().any(|(s, _)| by(s))
        };
        let mut values = Values::NONE;
        if self.faulted {
            // What was in memory only is lost.
            values.add(0);
        }
        if !hidden(&|_| true) {
            values.add(initial);
        }
        for (span, mark) in &marks {
            if !hidden(&|other| span.before(other)) {
                values.add(mark.value);
            }
        }
        values
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
        if !self.faulted && !self.sizes[usize::from(file)].last(size) {
            let sizes = self.sizes[usize::from(file)].words();
            return Err(format!("{size} bytes instead of {sizes}"));
        }
        self.check(file, 0, seen, None)
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
        let (least, most) = self.sizes[usize::from(op.file)].during(&act.span);
        match op.verb {
            Verb::BufferedRead | Verb::DirectRead => {
                let cut = |size: u64| size.saturating_sub(op.at).min(op.len);
                if !self.faulted && !(cut(least)..=cut(most)).contains(&n) {
                    return Err(format!("{n} bytes; the size is {least} to {most}"));
                }
                self.check(op.file, op.at, bytes, Some(&act.span))
            }
            Verb::Load => {
                // Behind the end there may be anything.
                let n = least.saturating_sub(op.at).min(op.len) as usize;
                self.check(
                    op.file,
                    op.at,
                    &bytes[..n.min(bytes.len())],
                    Some(&act.span),
                )
            }
            // The size may not have moved.
            _ if self.faulted => Ok(()),
            // What is passed over is a hole.
            Verb::SeekData => self.hole(act, op.at..n),
            Verb::SeekHole if n < least => self.hole(act, n..n + 1),
            Verb::Fiemap => {
                let places = op.at..op.end().min(least);
                let mut holes = places.zip(bytes).filter(|(_, b)| **b == 0);
                holes.try_for_each(|(at, _)| self.hole(act, at..at + 1))
            }
            v if v.writes() && v != Verb::Store && n != op.len && !self.may_be_short() => {
                Err(format!("{n} bytes written"))
            }
            _ => Ok(()),
        }
    }

    /// A write may have been done in part.
    fn may_be_short(&self) -> bool {
        self.faulted || self.program.image.tight
    }

    /// These bytes were said to be a hole.
    fn hole(&self, act: &Act<'_>, range: std::ops::Range<u64>) -> Result<(), String> {
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
            Verb::Store | Verb::Load => {
                errno == libc::EFAULT && act.op.end() > least.next_multiple_of(PAGE)
            }
            Verb::SeekData if errno == libc::ENXIO => {
                return self.hole(act, act.op.at..least);
            }
            Verb::SeekHole => errno == libc::ENXIO && act.op.at >= least,
            // There may be nothing to collapse, and two that freeze.
            Verb::Collapse => true,
            Verb::Freeze => errno == libc::EBUSY || errno == libc::EINVAL,
            _ => false,
        };
        // There may be no space, which is SIGBUS for a store.
        let full = match act.op.verb {
            Verb::Store => errno == libc::EFAULT,
            verb => verb.wants_space() && errno == libc::ENOSPC,
        };
        if fits || self.faulted || full && self.program.image.tight {
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
            out.push(Act {
                op,
                thread,
                letter: letter(thread, nth),
                span: Span {
                    from: span.0,
                    to: span.1.unwrap_or(usize::MAX),
                },
                outcome,
            });
        }
    }
    out
}
