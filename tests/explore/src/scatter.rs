// SPDX-License-Identifier: GPL-2.0
//! One thread stops at its points, and the others' operations come in between, each of them whole:
//! first all at one point, at each of them or at some; then spread over the points by chance. The
//! others are led from operation to operation only, so that such a run takes a few steps.

use crate::drive::{Picker, Place, Seen};
use crate::order::Go;
use crate::program::{Program, THREADS};
use rand::seq::SliceRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Steps of the kernel's threads that are spread like operations.
const KERNEL_STEPS: usize = 2;

/// Where all come at one point.
#[derive(Clone, Copy)]
pub enum At {
    /// At each point, one after the other.
    Each,
    /// At so many that are drawn, about as far from each other. Who comes in between at one point
    /// often does at the next, too, so this is more programs for the same time. The first run,
    /// which says how many points there are, is one more.
    Some(usize),
    /// First after so many steps of the victim, and then so often there, a step beside it, or
    /// somewhere else.
    Around(usize, usize),
}

/// Points that the first of some runs may stop at: any thread comes by so many.
const FIRST: usize = 4;

pub struct Scatter {
    rng: ChaCha8Rng,
    at: At,
    victim: usize,
    /// For each operation of the others, and each step that a thread of the kernel is led, how many
    /// steps of the victim come before it, in order.
    when: Vec<usize>,
    /// The next of them.
    begun: usize,
    /// Steps of the victim: of this run, and of the longest one.
    done: usize,
    longest: usize,
    /// The others: the higher the sooner.
    priorities: Vec<u32>,
    /// They take turns: who comes next is drawn anew for each operation. Else one does all that he
    /// has to, then the next one.
    turns: bool,
    /// Runs in which all came at one point, but for the first.
    swept: usize,
    /// And those in which they do not that are left.
    spread: usize,
}

/// How the runs of a program are chosen: at which points, and how many `spread` what the others do.
#[derive(Clone, Copy)]
pub struct Choice {
    pub at: At,
    pub spread: usize,
}

impl Scatter {
    pub fn new(rng: ChaCha8Rng, program: &Program, victim: usize, choice: Choice) -> Scatter {
        let own = program.threads.get(victim).map_or(0, Vec::len);
        let by_kernel = match program.workers && victim < THREADS {
            true => KERNEL_STEPS,
            false => 0,
        };
        let others = program.ops() - own + by_kernel;
        let mut scatter = Scatter {
            rng,
            at: choice.at,
            victim,
            when: vec![0; others],
            begun: 0,
            done: 0,
            longest: 0,
            priorities: (0..16).collect(),
            turns: false,
            swept: 0,
            // One operation is at one point in any case.
            spread: if others > 1 { choice.spread } else { 0 },
        };
        match choice.at {
            At::Each => (),
            At::Some(_) => {
                let first = scatter.rng.random_range(1..=FIRST);
                scatter.all_at(first);
            }
            At::Around(at, _) => scatter.all_at(at),
        }
        scatter.order();
        scatter
    }

    /// All come at this point, or some of them before: before anything else, or at an earlier
    /// point. A race may need two windows, and the second one opens when the first has done its
    /// part.
    fn all_at(&mut self, at: usize) {
        let early = self.early();
        let first = match at > 1 && self.rng.random_ratio(1, 2) {
            true => self.rng.random_range(1..at),
            false => 0,
        };
        for (nth, when) in self.when.iter_mut().enumerate() {
            *when = if nth < early { first } else { at };
        }
    }

    /// The next point at which all come, after a run of so many steps of the victim.
    fn point(&mut self, done: usize) -> Option<usize> {
        let at = match self.at {
            At::Each => (done > self.swept).then_some(self.swept + 1),
            At::Some(all) => (self.swept < all).then(|| {
                let (from, to) = (self.swept, self.swept + 1);
                let (from, to) = (self.longest * from / all, self.longest * to / all);
                self.rng.random_range(from + 1..=to.max(from + 1))
            }),
            At::Around(at, all) => (self.swept < all).then(|| match self.rng.random_ratio(2, 3) {
                true => (at + self.rng.random_range(0..=2)).saturating_sub(1),
                false => self.rng.random_range(1..=self.longest.max(1)),
            }),
        }?;
        self.swept += 1;
        Some(at)
    }

    /// Who of the others comes first.
    fn order(&mut self) {
        self.turns = self.rng.random_ratio(1, 2);
        self.priorities.shuffle(&mut self.rng);
        // A thread of the kernel has nothing to do before somebody gives it work.
        if self.victim >= THREADS {
            self.priorities[0] = u32::MAX;
        }
    }

    /// Some of the others' operations come before anything else.
    fn early(&mut self) -> usize {
        match self.rng.random_ratio(1, 2) {
            true => 0,
            false => self.rng.random_range(0..=self.when.len()),
        }
    }

    /// Prepares the next run; false when all have been done.
    pub fn next(&mut self) -> bool {
        let done = self.done;
        self.longest = self.longest.max(done);
        (self.begun, self.done) = (0, 0);
        if let Some(at) = self.point(done) {
            if !matches!(self.at, At::Each) {
                self.order();
            }
            self.all_at(at);
            return true;
        }
        self.at = At::Some(0);
        let Some(left) = self.spread.checked_sub(1) else {
            return false;
        };
        self.spread = left;
        self.order();
        let end = self.longest;
        let rng = &mut self.rng;
        self.when.fill_with(|| rng.random_range(0..=end));
        self.when.sort_unstable();
        true
    }
}

impl Picker for Scatter {
    fn pick(&mut self, seen: &Seen<'_>) -> Go {
        let others = seen.ready.iter().copied().filter(|t| *t != self.victim);
        let other = others.max_by_key(|t| self.priorities.get(*t));
        let can = seen.ready.contains(&self.victim);
        let its_turn = self
            .when
            .get(self.begun)
            .is_none_or(|when| self.done < *when);
        let thread = match other {
            Some(other) if !(can && its_turn) => other,
            _ if can => self.victim,
            _ => seen.ready[0],
        };
        if thread == self.victim {
            self.done += 1;
        } else if thread >= THREADS || matches!(seen.places[thread], Place::Between(_)) {
            self.begun += 1;
            if self.turns {
                self.priorities.shuffle(&mut self.rng);
            }
        }
        Go {
            thread,
            fault: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Two operations of B while A does three steps: the orders that are tried.
    fn orders(at: At, spread: usize) -> Vec<String> {
        let rng = ChaCha8Rng::seed_from_u64(1);
        let program = "4k,written:fs.a/!pu.a.0+1,fs.a".parse().unwrap();
        let mut picker = Scatter::new(rng, &program, 0, Choice { at, spread });
        let mut all = Vec::new();
        loop {
            let (mut left, mut text) = ([3, 2], String::new());
            while left != [0, 0] {
                let ready: Vec<usize> = (0..2).filter(|t| left[*t] > 0).collect();
                let places = [3, 2]
                    .iter()
                    .zip(left)
                    .map(|(all, left)| Place::Between(all - left));
                let places: Vec<Place> = places.collect();
                let seen = Seen {
                    ready: &ready,
                    places: &places,
                    last: None,
                };
                let thread = picker.pick(&seen).thread;
                left[thread] -= 1;
                text.push(if thread == 0 { 'A' } else { 'B' });
            }
            all.push(text);
            if !picker.next() {
                return all;
            }
        }
    }

    #[test]
    fn at_some_points() {
        let some = orders(At::Some(2), 0);
        assert_eq!(some.len(), 3);
        assert!(some.iter().all(|order| order != "BBAAA"), "{some:?}");
    }

    #[test]
    fn around_a_point() {
        let around = orders(At::Around(1, 40), 0);
        assert_eq!((around.len(), around[0].as_str()), (41, "ABBAA"));
        let there = around.iter().filter(|order| *order == "ABBAA").count();
        let others = around.iter().filter(|order| *order == "AAABB").count();
        assert!(there > others && others > 0, "{around:?}");
    }

    /// One of them opens the window that the other one comes in by.
    #[test]
    fn in_two_windows() {
        let around = orders(At::Around(2, 60), 0);
        for order in ["ABABA", "BAABA", "AABBA"] {
            assert!(around.iter().any(|o| o == order), "{order}: {around:?}");
        }
    }

    #[test]
    fn at_each_point_then_spread() {
        let swept = orders(At::Each, 0);
        assert_eq!(swept.len(), 4);
        assert_eq!((swept[0].as_str(), swept[3].as_str()), ("BBAAA", "AAABB"));
        // Or one of them before all.
        assert!(["ABBAA", "BABAA"].contains(&swept[1].as_str()), "{swept:?}");
        let all = orders(At::Each, 60);
        assert_eq!(all.len(), 64);
        for order in ["BBAAA", "ABABA", "BAABA", "AABBA", "ABAAB"] {
            assert!(all.iter().any(|o| o == order), "{order}");
        }
    }

    /// Where others have to come in between two operations of one thread.
    #[test]
    fn they_take_turns() {
        let rng = ChaCha8Rng::seed_from_u64(1);
        let program = "4k,written:fs.a/!fs.a,fs.a/!fs.a".parse().unwrap();
        let spread = 40;
        let mut picker = Scatter::new(
            rng,
            &program,
            0,
            Choice {
                at: At::Some(2),
                spread,
            },
        );
        let mut all = Vec::new();
        loop {
            let (mut done, mut text) = ([0, 0, 0], String::new());
            while done != [1, 2, 1] {
                let ready: Vec<usize> = (0..3).filter(|t| done[*t] < [1, 2, 1][*t]).collect();
                let seen = Seen {
                    ready: &ready,
                    places: &done.map(Place::Between),
                    last: None,
                };
                let thread = picker.pick(&seen).thread;
                done[thread] += 1;
                text.push(char::from(b'A' + thread as u8));
            }
            all.push(text.replace('A', ""));
            if !picker.next() {
                break;
            }
        }
        for order in ["BBC", "BCB", "CBB"] {
            assert!(all.iter().any(|o| o == order), "{order}");
        }
    }
}
