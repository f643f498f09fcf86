// SPDX-License-Identifier: GPL-2.0
//! Who goes on: by chance, by priorities that change seldom, by a list, or everything in turn.

#[cfg(test)]
use crate::drive::Step;
use crate::drive::{At, Picker, Place, Seen};
use crate::order::{Fault, Go, Order};
use crate::program::{KERNEL, THREADS};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

fn plain(thread: usize) -> Go {
    Go {
        thread,
        fault: None,
    }
}

/// Anybody, each time, or the same one.
pub struct Random {
    pub rng: ChaCha8Rng,
    /// Of ten times, how often it is the same one.
    sticky: u32,
    /// Of a thousand times that a point can return an error, how often it does.
    faults: u32,
    /// Who was refused space last, and at which point.
    refused: Option<(usize, String)>,
}

impl Random {
    pub fn new(mut rng: ChaCha8Rng, faults: u32) -> Random {
        let sticky = *[1, 4, 7, 9].choose(&mut rng).unwrap_or(&1);
        Random {
            rng,
            sticky,
            faults,
            refused: None,
        }
    }

    /// Lets a thread go on, sometimes with an error.
    fn go(&mut self, thread: usize, place: &Place) -> Go {
        let mut go = plain(thread);
        let Place::Parked(at) = place else {
            return go;
        };
        if self.refuses_again(thread, at) {
            go.fault = Some(Fault::NoSpace);
        } else if !at.faults.is_empty() && self.rng.random_ratio(self.faults, 1000) {
            go.fault = at.faults.choose(&mut self.rng).copied();
        }
        if go.fault == Some(Fault::NoSpace) {
            self.refused = Some((thread, at.point.clone()));
        } else if self.refused.as_ref().is_some_and(|(who, _)| *who == thread) {
            self.refused = None;
        }
        go
    }

    /// Who is refused space asks again, and gives up only if it is refused often.
    fn refuses_again(&mut self, thread: usize, at: &At) -> bool {
        let same = |(who, point): &(usize, String)| *who == thread && *point == at.point;
        let can = at.faults.contains(&Fault::NoSpace);
        can && self.refused.as_ref().is_some_and(same) && self.rng.random_ratio(3, 4)
    }
}

impl Picker for Random {
    fn pick(&mut self, seen: &Seen<'_>) -> Go {
        let thread = match self.rng.random_ratio(self.sticky, 10) {
            true => seen.same(),
            false => *seen.ready.choose(&mut self.rng).unwrap_or(&seen.ready[0]),
        };
        self.go(thread, &seen.places[thread])
    }
}

/// PCT: each thread has a priority, and the highest goes on; `depth` - 1 times, at steps drawn
/// before, who is about to go on falls behind all others. It finds a race that needs so many
/// changes in a certain order with a probability that is known.
pub struct Pct {
    inner: Random,
    /// The higher the sooner, by thread.
    priorities: Vec<i32>,
    changes: Vec<usize>,
    step: usize,
}

impl Pct {
    /// For a run of which about so many `steps` are expected.
    pub fn new(mut inner: Random, steps: usize, depth: usize) -> Pct {
        let mut priorities: Vec<i32> = (1..=(THREADS + KERNEL) as i32).collect();
        priorities.shuffle(&mut inner.rng);
        let mut draw = |_| inner.rng.random_range(0..steps.max(1));
        let changes = (1..depth).map(&mut draw).collect();
        Pct {
            inner,
            priorities,
            changes,
            step: 0,
        }
    }

    fn highest(&self, seen: &Seen<'_>) -> usize {
        let ready = seen.ready.iter().copied();
        ready.max_by_key(|t| self.priorities[*t]).unwrap_or(0)
    }
}

impl Picker for Pct {
    fn pick(&mut self, seen: &Seen<'_>) -> Go {
        let mut thread = self.highest(seen);
        if let Some(nth) = self.changes.iter().position(|s| *s == self.step) {
            self.priorities[thread] = -(nth as i32);
            thread = self.highest(seen);
        }
        self.step += 1;
        self.inner.go(thread, &seen.places[thread])
    }
}

/// One thread stops after so many steps, and all others do what they have to do; then it goes on.
/// It finds what one thread believes while others make it untrue, if it is tried with each step.
pub struct Stop {
    inner: Random,
    victim: usize,
    /// Steps that it does before the others.
    after: usize,
    done: usize,
    /// Operations of others that are over before it begins.
    before: usize,
    /// The others: the higher the sooner.
    priorities: Vec<u32>,
}

impl Stop {
    /// `others`: operations that they have, all together.
    pub fn new(mut inner: Random, victim: usize, others: usize) -> Stop {
        let before = match inner.rng.random_ratio(1, 2) {
            true => 0,
            false => inner.rng.random_range(0..=others),
        };
        let mut priorities: Vec<u32> = (0..(THREADS + KERNEL) as u32).collect();
        priorities.shuffle(&mut inner.rng);
        Stop {
            inner,
            victim,
            after: 0,
            done: 0,
            before,
            priorities,
        }
    }

    /// One step later. False if it has come to its end before.
    pub fn next(&mut self) -> bool {
        let more = self.done > self.after;
        self.after += 1;
        self.done = 0;
        more
    }

    fn thread(&self, seen: &Seen<'_>) -> usize {
        let others = seen.ready.iter().copied().filter(|t| *t != self.victim);
        let other = others.max_by_key(|t| self.priorities[*t]);
        let over = seen
            .places
            .iter()
            .enumerate()
            .map(|(t, place)| match place {
                Place::Between(done) if t != self.victim => *done,
                _ => 0,
            });
        let its_turn =
            self.done < self.after && (self.done > 0 || over.sum::<usize>() >= self.before);
        match other {
            Some(other) if !(its_turn && seen.ready.contains(&self.victim)) => other,
            _ if seen.ready.contains(&self.victim) => self.victim,
            _ => seen.ready[0],
        }
    }
}

impl Picker for Stop {
    fn pick(&mut self, seen: &Seen<'_>) -> Go {
        let thread = self.thread(seen);
        self.done += usize::from(thread == self.victim);
        self.inner.go(thread, &seen.places[thread])
    }
}

/// What was done before; where a thread of the list cannot go on it is passed over. Behind the
/// list nobody is interrupted.
pub struct Replay {
    order: Vec<Go>,
    next: usize,
    /// Entries that were passed over.
    pub strayed: usize,
}

impl Replay {
    pub fn new(order: &Order) -> Replay {
        Replay {
            order: order.0.clone(),
            next: 0,
            strayed: 0,
        }
    }
}

impl Picker for Replay {
    fn pick(&mut self, seen: &Seen<'_>) -> Go {
        while let Some(go) = self.order.get(self.next).copied() {
            self.next += 1;
            if seen.ready.contains(&go.thread) {
                let can = |fault: &Fault| match &seen.places[go.thread] {
                    Place::Parked(at) => at.faults.contains(fault),
                    _ => false,
                };
                return Go {
                    fault: go.fault.filter(can),
                    ..go
                };
            }
            self.strayed += 1;
        }
        plain(seen.same())
    }
}

/// One time at which somebody had to be picked.
#[derive(Clone, Debug)]
struct Choice {
    /// The picked one first, then those that are still to be tried.
    left: Vec<usize>,
    /// Changes that nothing forced, up to here and with it.
    preemptions: usize,
}

/// Every order with at most so many preemptions: a run is begun like the one before, up to the
/// last time at which somebody else could have been picked.
pub struct Exhaustive {
    bound: usize,
    path: Vec<Choice>,
    at: usize,
    /// Runs that did not begin as they should have.
    pub strayed: usize,
}

impl Exhaustive {
    pub fn new(bound: usize) -> Exhaustive {
        Exhaustive {
            bound,
            path: Vec::new(),
            at: 0,
            strayed: 0,
        }
    }

    /// Begins the next run; false when there is none left.
    pub fn next(&mut self) -> bool {
        // What a run that ended early has not come to is of no use.
        if self.at < self.path.len() {
            self.strayed += 1;
            self.path.truncate(self.at);
        }
        self.at = 0;
        while let Some(choice) = self.path.last_mut() {
            choice.left.remove(0);
            if !choice.left.is_empty() {
                return true;
            }
            self.path.pop();
        }
        false
    }

    fn before(&self) -> usize {
        match self.at.checked_sub(1) {
            Some(at) => self.path[at].preemptions,
            None => 0,
        }
    }
}

impl Picker for Exhaustive {
    fn pick(&mut self, seen: &Seen<'_>) -> Go {
        let before = self.before();
        let forced = !seen.last.is_some_and(|last| seen.ready.contains(&last));
        let cost = |thread: usize| usize::from(!forced && thread != seen.same());
        if let Some(choice) = self.path.get_mut(self.at) {
            if seen.ready.contains(&choice.left[0]) {
                choice.preemptions = before + cost(choice.left[0]);
                self.at += 1;
                return plain(self.path[self.at - 1].left[0]);
            }
            // It went another way than before: what follows is new.
            self.strayed += 1;
            self.path.truncate(self.at);
        }
        let mut left = vec![seen.same()];
        let others = seen.ready.iter().copied().filter(|t| *t != left[0]);
        let others: Vec<usize> = others.collect();
        if forced || before < self.bound {
            left.extend(others);
        }
        let thread = left[0];
        self.path.push(Choice {
            left,
            preemptions: before,
        });
        self.at += 1;
        plain(thread)
    }
}

/// How often somebody was interrupted who could have gone on.
#[cfg(test)]
pub fn preemptions(steps: &[Step]) -> usize {
    let pairs = steps.windows(2);
    pairs
        .filter(|pair| {
            let last = pair[0].go.thread;
            pair[1].go.thread != last && pair[1].ready.contains(&last)
        })
        .count()
}

/// One of those that are drawn.
pub enum Any {
    Random(Random),
    Pct(Pct),
}

impl Picker for Any {
    fn pick(&mut self, seen: &Seen<'_>) -> Go {
        match self {
            Any::Random(picker) => picker.pick(seen),
            Any::Pct(picker) => picker.pick(seen),
        }
    }
}
