// SPDX-License-Identifier: GPL-2.0
//! Bytes that get another place: collapse and insert range. Each of them is done at one moment, for
//! nobody else reads or writes the file meanwhile; between two of those moments a byte stays where
//! it is. So where it comes from is known for each order of them. Of what others do one may come in
//! the middle, if they hold no lock all the while (`moments.rs`).
//!
//! ```text
//!   insert 0..4096, then collapse 8192..12288
//!   byte 8200 at the end:   12296 before the collapse, 8200 before the insert
//! ```

use crate::drive::Span;
use crate::op::Verb;
use crate::oracle::{Act, Mark, Oracle, Outcome, Values};
use std::ops::RangeInclusive;

/// So many are told apart; of more than that nobody says what comes of them.
const SOME: usize = 2;

/// One order of them.
type Order<'o, 'a> = Vec<&'o Act<'a>>;

/// Where a byte was before a collapse or insert range; nowhere if that has made it.
fn before(act: &Act<'_>, at: u64) -> Option<u64> {
    let op = act.op;
    match op.verb {
        _ if at < op.at => Some(at),
        Verb::CollapseRange => Some(at + op.len),
        _ => at.checked_sub(op.len).filter(|from| *from >= op.at),
    }
}

/// How many of these may have been done when somebody is on his way.
fn epochs(order: &[&Act<'_>], span: &Span) -> RangeInclusive<usize> {
    let first = order.iter().rposition(|shift| shift.span.before(span));
    let last = order.iter().position(|shift| span.before(&shift.span));
    first.map_or(0, |i| i + 1)..=last.unwrap_or(order.len())
}

impl<'a> Oracle<'a> {
    /// Those of a file that have moved something, or may have. Who was refused has not begun.
    fn all_shifts(&self, file: u8) -> impl Iterator<Item = &Act<'a>> {
        let shifts = move |act: &&Act<'a>| act.op.file == file && act.op.verb.shifts();
        let all = self.acts.iter().filter(shifts);
        all.filter(|act| matches!(act.outcome, Outcome::Done(..)) || self.met(act))
    }

    /// May the byte have had another place?
    pub fn is_moved(&self, file: u8, at: u64) -> bool {
        self.all_shifts(file).any(|act| at >= act.op.at)
    }

    /// Can nobody say where it was? An error has come in the middle of it, or there were too many.
    fn is_torn(&self, file: u8) -> bool {
        let mut all = self.all_shifts(file);
        let failed = all.any(|act| matches!(act.outcome, Outcome::Failed(_)));
        failed || self.all_shifts(file).count() > SOME
    }

    /// Where bytes have come from that are alike, or go.
    pub fn moved_edges(&self, file: u8, edges: &mut Vec<u64>) {
        for act in self.all_shifts(file) {
            let len = act.op.len;
            let moved = |at: &u64| [at + len, at.saturating_sub(len)];
            let more: Vec<u64> = edges.iter().flat_map(moved).collect();
            edges.extend(more);
            edges.extend([act.op.at, act.op.end()]);
        }
    }

    /// All that is in the file, at whatever place.
    fn anything(&self, file: u8) -> Values {
        let mut values = Values::NONE;
        values.add(0);
        let data = self.program.start.data();
        values.add(self.initial(file, data.start));
        let here = self.acts.iter().filter(|a| a.op.file == file);
        let writers = here.filter(|a| a.op.verb.writes());
        writers.for_each(|act| values.add(act.letter));
        values
    }

    /// What a byte may be that may have had another place: as `allowed` for others.
    pub fn moved(&self, file: u8, at: u64, look: Option<&Span>) -> Values {
        if self.is_torn(file) {
            return self.anything(file);
        }
        let given: Order<'_, 'a> = self.all_shifts(file).collect();
        let back: Order<'_, 'a> = given.iter().rev().copied().collect();
        let mut values = Values::NONE;
        for order in [given, back] {
            // One after the other they have but one.
            if order.windows(2).any(|two| two[1].span.before(&two[0].span)) {
                continue;
            }
            let done = match look {
                Some(span) => epochs(&order, span),
                None => order.len()..=order.len(),
            };
            for done in done {
                values.merge(&self.line(file, (at, look), &order[..done]));
            }
        }
        values
    }

    /// The same, when these were done, one after the other.
    fn line(&self, file: u8, (at, look): (u64, Option<&Span>), order: &[&Act<'a>]) -> Values {
        // Its place before each of them, and now.
        let mut places = vec![at];
        for shift in order.iter().rev() {
            match before(shift, places[0]) {
                Some(from) => places.insert(0, from),
                None => break,
            }
        }
        let born = order.len() + 1 - places.len();
        let mark = |act: &Act<'a>| -> Option<Mark> {
            let (first, last) = epochs(order, &act.span).into_inner();
            let when = |done: usize| epochs(order, &act.span_at(places[done - born]));
            let at_place = |done: usize| {
                let mark = self.mark(act, places[done - born]);
                mark.filter(|_| when(done).contains(&done))
            };
            let epochs: Vec<usize> = (first.max(born)..=last).collect();
            let marks = || epochs.iter().map(|done| at_place(*done));
            let certain = match act.is_gradual() {
                // Other bytes of it may come before what moves this one, or after it.
                true => epochs.iter().any(|done| {
                    let once = when(*done) == (*done..=*done);
                    once && at_place(*done).is_some_and(|mark| mark.certain)
                }),
                false => first >= born && marks().all(|mark| mark.is_some_and(|m| m.certain)),
            };
            let any = marks().flatten().next()?;
            Some(Mark { certain, ..any })
        };
        let here = self.acts.iter().filter(|a| a.op.file == file);
        // Not what comes after the look.
        let early = here.filter(|a| look.is_none_or(|look| !look.before(&a.span)));
        let marks: Vec<(Span, Mark)> = early.filter_map(|a| Some((a.span, mark(a)?))).collect();
        let mut first = Values::NONE;
        if born == 0 {
            first.add(self.initial(file, places[0]));
        }
        if born > 0 || self.is_initial_lost(file, places[0]) {
            first.add(0);
        }
        first.survivors(&marks, look)
    }
}

#[cfg(test)]
mod tests {
    use crate::judged::oracle_says;
    use crate::oracle::Outcome;

    const BOTH: [(usize, usize); 2] = [(0, 2), (1, 3)];
    const APART: [(usize, usize); 2] = [(0, 1), (2, 3)];

    /// A write of four bytes, and something else; the file at the end: these letters there, else
    /// `i` in front of `size` and zeros before `zeros`.
    fn ends(text: &str, spans: [(usize, usize); 2], zeros: usize, end: (&[usize], usize)) -> bool {
        let (letters, size) = end;
        let mut bytes = vec![b'i'; size];
        bytes[..zeros].fill(0);
        for at in letters {
            bytes[*at..at + 4].fill(if text.contains(":bw") { b'A' } else { b'D' });
        }
        let done = |n| Outcome::Done(n, vec![]);
        let outcomes = if text.contains(":bw") {
            [done(4), done(0)]
        } else {
            [done(0), done(4)]
        };
        let both = oracle_says(text, &spans, &outcomes, |oracle| {
            oracle.outcomes()?;
            oracle.rest(0, &bytes)
        });
        both.is_ok()
    }

    #[test]
    fn what_lies_behind_comes_nearer() {
        let text = "4k,written:bw.a.4096+4/cl.a.0+4096";
        assert!(ends(text, APART, 0, (&[0], 4608)));
        assert!(!ends(text, APART, 0, (&[4096], 4608)));
        assert!(!ends(text, APART, 0, (&[], 4608)) && !ends(text, APART, 0, (&[0], 8704)));
        // Either may be first.
        assert!(ends(text, BOTH, 0, (&[0], 4608)) && ends(text, BOTH, 0, (&[4096], 4608)));
        assert!(!ends(text, BOTH, 0, (&[2], 4608)) && !ends(text, BOTH, 4, (&[], 4608)));
        // What is taken out is gone.
        let text = "4k,written:bw.a.0+4/cl.a.0+4096";
        assert!(ends(text, APART, 0, (&[], 4608)) && !ends(text, APART, 0, (&[0], 4608)));
    }

    #[test]
    fn what_lies_behind_goes_away() {
        let text = "4k,written:in.a.0+4096/bw.a.0+4";
        assert!(ends(text, APART, 4096, (&[0], 12800)));
        assert!(!ends(text, APART, 4096, (&[], 12800)));
        assert!(!ends(text, APART, 0, (&[0], 12800)));
        assert!(!ends(text, APART, 4096, (&[4096], 12800)));
        assert!(ends(text, BOTH, 4096, (&[4096], 12800)));
        assert!(ends(text, BOTH, 4096, (&[0], 12800)));
    }

    #[test]
    fn one_after_the_other() {
        let text = "4k,written:in.a.0+4096,cl.a.8192+4096";
        let mut bytes = vec![b'i'; 8704];
        let says = |bytes: &[u8]| {
            let outcomes = [0, 0].map(|n| Outcome::Done(n, vec![]));
            oracle_says(text, &APART, &outcomes, |oracle| oracle.rest(0, bytes))
        };
        bytes[..4096].fill(0);
        assert_eq!(says(&bytes), Ok(()));
        bytes[4095] = b'i';
        assert!(says(&bytes).is_err());
    }

    #[test]
    fn who_is_refused() {
        let says = |op: &str, outcome: Outcome| {
            let text = format!("4k,written:{op}");
            oracle_says(&text, &[(0, 1)], &[outcome], |oracle| oracle.outcomes()).is_ok()
        };
        let refused = || Outcome::Failed(libc::EINVAL);
        let done = || Outcome::Done(0, vec![]);
        assert!(says("cl.a.0+4096", done()) && !says("cl.a.0+4096", refused()));
        assert!(says("in.a.8192+4096", done()) && !says("in.a.8192+4096", refused()));
        for wrong in [
            "cl.a.0+512",
            "cl.a.4096+8192",
            "in.a.512+4096",
            "in.a.12288+4096",
        ] {
            assert!(says(wrong, refused()) && !says(wrong, done()), "{wrong}");
        }
        assert!(!says("cl.a.0+4096", Outcome::Failed(libc::ENOSPC)));
    }
}
