// SPDX-License-Identifier: GPL-2.0
//! When an operation does what it does to a byte. What holds i_rwsem all the while, as write(2),
//! fallocate and direct I/O do, is done at one moment: nobody who has it for himself comes in
//! between. Of three that is not so:
//!
//! - Who stores, or loads, holds nothing from one byte to the next. It goes from the first byte to
//!   the last one, and each page that is not mapped is a fault, at points of its own. So at such a
//!   fault all pages before it are done, and it and those behind it are not:
//!
//!   ```text
//!     A: store 0..8192                  B: collapse 0..4096
//!     page 0: a fault, and stored
//!     page 1: waits at `fault`
//!                                       page 1 is page 0 now, and has nothing of A's
//!     stores the second half, where page 2 was
//!   ```
//! - A read through the page cache takes folio after folio, with no lock between them.
//! - What io_uring could do of a write without sleeping it does at once, and a thread of the kernel
//!   does the rest, later.
//!
//! What is seen is judged byte by byte anyway, as at any moment of the whole way (`oracle.rs`). So
//! it is what they write that is told apart here.

use crate::drive::{Run, Span, Step};
use crate::op::{Op, Verb};
use crate::oracle::Act;
use crate::program::PAGE;

/// Points of a fault that makes a page writable.
const FAULTS: &[&str] = &["fault", "fault-locked", "fault-done"];

/// Of a store the steps between which each of its pages was stored into.
pub fn pages(run: &Run, (thread, nth): (usize, usize), op: &Op, span: Span) -> Vec<Span> {
    if !op.verb.stores() {
        return Vec::new();
    }
    let own = |step: &Step| {
        let fault = step.point.as_deref().is_some_and(|p| FAULTS.contains(&p));
        fault && (step.go.thread, step.op) == (thread, Some(nth))
    };
    let steps = run.steps.iter().enumerate();
    let faults: Vec<_> = steps
        .filter(|(_, step)| own(step))
        .filter_map(|(i, step)| Some((step.byte? / PAGE, step.since, i)))
        .collect();
    let page = |page: u64| {
        let here = faults.iter().filter(|(at, ..)| *at <= page);
        let behind = faults.iter().filter(|(at, ..)| *at > page);
        let from = here.map(|(.., on)| *on).max();
        let to = behind.map(|(_, since, _)| since.saturating_sub(1)).min();
        Span {
            from: from.unwrap_or(span.from).max(span.from),
            to: to.unwrap_or(span.to).min(span.to),
        }
    };
    (op.at / PAGE..op.end().div_ceil(PAGE)).map(page).collect()
}

impl Act<'_> {
    /// When it may have done what it does to this byte.
    pub fn span_at(&self, at: u64) -> Span {
        let page = (at / PAGE).checked_sub(self.op.at / PAGE);
        let page = page.and_then(|n| self.pages.get(n as usize));
        page.copied().unwrap_or(self.span)
    }

    /// May somebody come in between two bytes of it?
    pub fn is_gradual(&self) -> bool {
        use Verb::*;
        let mapped = self.op.verb.stores() || self.op.verb.pins();
        mapped || matches!(self.op.verb, RingWrite | RingDirectWrite)
    }
}

#[cfg(test)]
mod tests {
    use crate::drive::{Run, Step};
    use crate::op::Op;
    use crate::oracle::{acts, Oracle, Outcome};
    use crate::order::Go;
    use crate::program::{Program, PAGE};

    /// Steps of A in each of which it goes on from a fault of this page, where it was seen first
    /// after so many steps.
    fn run(spans: [(usize, usize); 2], faults: &[(usize, u64, usize)]) -> Run {
        let step = |i: usize| {
            let fault = faults.iter().find(|(on, ..)| *on == i);
            Step {
                go: Go {
                    thread: 0,
                    fault: None,
                },
                op: Some(0),
                point: fault.map(|_| "fault-done".into()),
                ino: Some(12),
                byte: fault.map(|(_, page, _)| page * PAGE),
                since: fault.map_or(i, |(.., since)| *since),
                tid: Some(1),
                ready: vec![0],
            }
        };
        let spans = spans.map(|(from, to)| vec![(from, Some(to))]);
        Run {
            steps: (0..10).map(step).collect(),
            spans: spans.to_vec(),
            ..Run::default()
        }
    }

    /// May the file end so: parts of a length, and what is in them?
    fn ends(text: &str, run: &Run, parts: &[(usize, u8)]) -> bool {
        let program: Program = text.parse().unwrap();
        let done = |op: &Op| Outcome::Done(op.len, Vec::new());
        let ops = program.threads.iter();
        let outcomes: Vec<Vec<Outcome>> = ops.map(|ops| ops.iter().map(done).collect()).collect();
        let parts = parts.iter().map(|(len, byte)| vec![*byte; *len]);
        let bytes: Vec<u8> = parts.flatten().collect();
        let oracle = Oracle::new(&program, acts(&program, run, &outcomes));
        oracle.rest(0, &bytes).is_ok()
    }

    /// After a collapse of the first page.
    fn collapsed(run: &Run, first: u8, rest: u8) -> bool {
        let text = "4k,written:st.a.0+8192/cl.a.0+4096";
        ends(text, run, &[(4096, first), (512, rest)])
    }

    #[test]
    fn a_collapse_between_two_pages() {
        // A waits at page 1 from step 3 to step 7, and the collapse is steps 4 and 5.
        let between = run([(0, 9), (4, 5)], &[(1, 0, 1), (7, 1, 3)]);
        assert!(collapsed(&between, b'i', b'A'));
        // Nor may it be anything else: one of the stores would be lost, or another one there.
        assert!(!collapsed(&between, b'A', b'A') && !collapsed(&between, b'i', b'i'));
        assert!(!collapsed(&between, b'A', b'i') && !collapsed(&between, 0, b'A'));
        // All of it before, or behind.
        let before = run([(0, 3), (4, 5)], &[(1, 0, 1), (2, 1, 2)]);
        assert!(collapsed(&before, b'A', b'i') && !collapsed(&before, b'i', b'A'));
        assert!(!collapsed(&before, b'i', b'i') && !collapsed(&before, b'A', b'A'));
        let behind = run([(4, 9), (0, 3)], &[(5, 0, 5), (7, 1, 6)]);
        assert!(collapsed(&behind, b'A', b'A') && !collapsed(&behind, b'i', b'A'));
        // On its way all the while it may come anywhere.
        let both = run([(0, 9), (0, 9)], &[(1, 0, 1), (7, 1, 3)]);
        assert!(collapsed(&both, b'i', b'A') && collapsed(&both, b'A', b'A'));
        assert!(collapsed(&both, b'A', b'i') && !collapsed(&both, 0, b'A'));
    }

    #[test]
    fn an_insert_and_a_punch_between_two_pages() {
        let between = run([(0, 9), (4, 5)], &[(1, 0, 1), (7, 1, 3)]);
        let text = "4k,written:st.a.0+8192/in.a.0+4096";
        let inserted = |last| [(4096, 0), (4096, b'A'), (4096, last), (512, b'i')];
        assert!(ends(text, &between, &inserted(b'i')));
        assert!(!ends(text, &between, &inserted(b'A')));
        let text = "4k,written:st.a.0+8192/pu.a.0+8192";
        let punched = |first, second| [(4096, first), (4096, second), (512, b'i')];
        assert!(ends(text, &between, &punched(0, b'A')));
        assert!(!ends(text, &between, &punched(b'A', b'A')));
        assert!(!ends(text, &between, &punched(0, 0)));
    }

    #[test]
    fn what_holds_its_lock_is_done_at_one_moment() {
        let both = run([(0, 9), (1, 8)], &[]);
        let says = |verb: &str, first| {
            let text = format!("4k,written:{verb}.a.0+8192/cl.a.0+4096");
            // What comes behind the collapse makes the file longer again.
            ends(&text, &both, &[(4096, first), (4096, b'A')])
        };
        for verb in ["bw", "dw", "aw"] {
            assert!(says(verb, b'A') && !says(verb, b'i'), "{verb}");
        }
        // Its second half may be left to a thread of the kernel.
        assert!(says("uw", b'A') && says("uw", b'i') && !says("uw", 0));
    }
}
