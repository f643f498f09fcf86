// SPDX-License-Identifier: GPL-2.0
//! What lasts from one operation of a thread to another one: pages that a device has, and a file
//! system that is frozen. Others, and other operations of the thread, come in between.

use crate::op::{Op, Verb};
use crate::oracle::{Act, Outcome};
use crate::program::Program;

/// Which operation of a thread ends what which one began, the first one first.
pub fn pairs(ops: &[Op]) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    for (over, op) in ops.iter().enumerate() {
        let begins = |(nth, begun): &(usize, &Op)| {
            let open = !all.iter().any(|(other, _)| other == nth);
            open && begun.verb.lasts().is_some_and(|(end, _)| end == op.verb)
        };
        let begun = ops[..over].iter().enumerate().find(begins);
        all.extend(begun.map(|(nth, _)| (nth, over)));
    }
    all
}

/// Those that nothing ends.
pub fn open(ops: &[Op]) -> Vec<usize> {
    let pairs = pairs(ops);
    let lasts = |nth: &usize| ops[*nth].verb.lasts().is_some();
    let ended = |nth: &usize| pairs.iter().any(|(begun, _)| begun == nth);
    let all = (0..ops.len()).filter(lasts);
    all.filter(|nth| !ended(nth)).collect()
}

impl Program {
    /// What nothing ends is over at once.
    pub fn paired(mut self) -> Program {
        for ops in &mut self.threads {
            for nth in open(ops) {
                if let Some((_, alone)) = ops[nth].verb.lasts() {
                    ops[nth].verb = alone;
                }
            }
        }
        self
    }
}

/// What there is to be said of an end is said of the beginning.
static NOTHING: Outcome = Outcome::Done(0, Vec::new());

/// What a device was asked for is on its way until it has delivered: `acts` are those of a thread.
pub fn joined(ops: &[Op], acts: &mut [Act<'_>]) {
    let pins = pairs(ops).into_iter();
    for (begun, over) in pins.filter(|(begun, _)| ops[*begun].verb == Verb::Pin) {
        if begun >= acts.len() || matches!(acts[begun].outcome, Outcome::Failed(_)) {
            continue;
        }
        let Some(end) = acts.get_mut(over) else {
            // It has not come so far.
            acts[begun].span.to = usize::MAX;
            continue;
        };
        let (outcome, to) = (end.outcome, end.span.to);
        end.outcome = &NOTHING;
        (acts[begun].outcome, acts[begun].span.to) = (outcome, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{Run, Span};
    use crate::oracle::acts;

    fn ops(text: &str) -> Vec<Op> {
        text.split(',').map(|op| op.parse().unwrap()).collect()
    }

    #[test]
    fn each_end_has_one_beginning() {
        let all = |text: &str| (pairs(&ops(text)), open(&ops(text)));
        assert_eq!(all("pn.a.0+512,bw.a.0+1,dl.a"), (vec![(0, 2)], vec![]));
        assert_eq!(all("pn.a.0+512,pn.a.0+512,dl.a"), (vec![(0, 2)], vec![1]));
        assert_eq!(all("fz.a,dl.a,th.a"), (vec![(0, 2)], vec![]));
        assert_eq!(all("dl.a,pn.a.0+512"), (vec![], vec![1]));
    }

    #[test]
    fn without_an_end_it_is_over_at_once() {
        let program: Program = "4kg,written:de.a.0+512/fs.a".parse().unwrap();
        let mut open = program.clone();
        open.threads[0][0].verb = Verb::Pin;
        assert_eq!(open.paired(), program);
    }

    #[test]
    fn it_lasts_until_the_device_has_delivered() {
        let program: Program = "4kg,written:pn.a.0+512,fs.a,dl.a".parse().unwrap();
        let spans = vec![(0, Some(1)), (2, Some(3)), (4, Some(5))];
        let run = Run {
            spans: vec![spans],
            ..Run::default()
        };
        let outcomes =
            |pinned: Outcome, came: Outcome| vec![vec![pinned, Outcome::Done(0, vec![]), came]];
        let done = || Outcome::Done(512, vec![]);
        let all = outcomes(done(), Outcome::Failed(libc::EFAULT));
        let acts_of = acts(&program, &run, &all);
        assert_eq!(acts_of[0].outcome, &Outcome::Failed(libc::EFAULT));
        assert_eq!(acts_of[0].span, Span { from: 0, to: 5 });
        assert_eq!(acts_of[2].outcome, &NOTHING);
        // Of what it was not asked for nothing comes.
        let all = outcomes(Outcome::Failed(libc::EFAULT), Outcome::Done(0, vec![]));
        let acts_of = acts(&program, &run, &all);
        assert_eq!(acts_of[0].outcome, &Outcome::Failed(libc::EFAULT));
        assert_eq!(acts_of[0].span, Span { from: 0, to: 1 });
    }
}
