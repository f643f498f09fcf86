// SPDX-License-Identifier: GPL-2.0
//! As little of a schedule as still does harm.

use crate::drive::Run;
use crate::order::{Go, Order, Schedule};
use crate::program::{Image, Program, Start, THREADS};
use std::time::{Duration, Instant};

/// Runs a schedule: the harm, and the run.
pub trait Trial {
    fn harm(&mut self, schedule: &Schedule) -> Option<(String, Run)>;
}

/// What is known to do harm.
pub struct Culprit {
    pub schedule: Schedule,
    pub harm: String,
    pub run: Run,
}

impl Culprit {
    /// With the order that was kept.
    pub fn new(schedule: &Schedule, harm: String, run: Run) -> Culprit {
        let schedule = Schedule {
            order: run.order(),
            ..schedule.clone()
        };
        Culprit {
            schedule,
            harm,
            run,
        }
    }
}

/// Runs that it may take.
const TRIES: usize = 400;
/// And how long: a hang takes its time each time.
const LONG: Duration = Duration::from_secs(60);

struct Shrink<'a, T> {
    trial: &'a mut T,
    best: Culprit,
    left: usize,
    begun: Instant,
}

/// Operations, threads, changes of who goes on and errors are taken away while the harm stays.
pub fn shrink<T: Trial>(trial: &mut T, culprit: Culprit) -> Culprit {
    let mut shrink = Shrink {
        trial,
        best: culprit,
        left: TRIES,
        begun: Instant::now(),
    };
    while shrink.ops() || shrink.faults() || shrink.runs() || shrink.world() {}
    shrink.best
}

impl<T: Trial> Shrink<'_, T> {
    /// Keeps it if it does harm.
    fn try_it(&mut self, schedule: Schedule) -> bool {
        let over = self.left == 0 || self.begun.elapsed() > LONG;
        if over || schedule == self.best.schedule {
            return false;
        }
        self.left -= 1;
        let Some((harm, run)) = self.trial.harm(&schedule) else {
            return false;
        };
        let schedule = Schedule {
            order: run.order(),
            ..schedule
        };
        // Else it goes round in a circle.
        if weight(&schedule) >= weight(&self.best.schedule) {
            return false;
        }
        self.best = Culprit {
            schedule,
            harm,
            run,
        };
        true
    }

    /// Without one of the operations.
    fn ops(&mut self) -> bool {
        let best = &self.best.schedule;
        // A program has one.
        if best.program.ops() == 1 {
            return false;
        }
        let places: Vec<(usize, usize)> = (0..best.program.threads.len())
            .flat_map(|t| (0..best.program.threads[t].len()).map(move |o| (t, o)))
            .collect();
        places.into_iter().any(|(t, o)| {
            let schedule = self.without(t, o);
            self.try_it(schedule)
        })
    }

    fn without(&self, thread: usize, op: usize) -> Schedule {
        let Schedule { mut program, .. } = self.best.schedule.clone();
        program.threads[thread].remove(op);
        let gone = program.threads[thread].is_empty();
        if gone && program.threads.len() > 1 {
            program.threads.remove(thread);
            let before = (1 << thread) - 1;
            program.through = program.through & before | program.through >> 1 & !before;
        }
        let steps = self.best.run.steps.iter();
        let mut order: Vec<Go> = steps
            .filter(|s| s.go.thread != thread || s.op != Some(op))
            .map(|s| s.go)
            .collect();
        if gone {
            for go in order
                .iter_mut()
                .filter(|go| (thread + 1..THREADS).contains(&go.thread))
            {
                go.thread -= 1;
            }
        }
        let (program, order) = (program.paired(), Order(order));
        Schedule { program, order }
    }

    /// Without one of the errors.
    fn faults(&mut self) -> bool {
        let count = self.best.schedule.order.0.len();
        (0..count).any(|i| {
            let mut schedule = self.best.schedule.clone();
            let Some(go) = schedule.order.0.get_mut(i) else {
                return false;
            };
            go.fault.take().is_some() && self.try_it(schedule)
        })
    }

    /// With one change less of who goes on: what a thread does after it comes before it.
    fn runs(&mut self) -> bool {
        let order = &self.best.schedule.order.0;
        let runs: Vec<Vec<Go>> = order
            .chunk_by(|a, b| a.thread == b.thread)
            .map(<[Go]>::to_vec)
            .collect();
        (1..runs.len().saturating_sub(1)).any(|i| {
            let again = (i + 1..runs.len()).find(|j| runs[*j][0].thread == runs[i - 1][0].thread);
            let Some(j) = again else {
                return false;
            };
            // All of it, or only to begin with.
            let mut earlier = runs.clone();
            let moved = earlier.remove(j);
            earlier.insert(i, moved);
            let mut later = runs.clone();
            let moved = later.remove(i - 1);
            later.insert(j - 1, moved);
            [earlier, later].into_iter().any(|runs| {
                let order = Order(runs.concat());
                let program = self.best.schedule.program.clone();
                self.try_it(Schedule { program, order })
            })
        })
    }

    /// With the simplest file, and mount, that will do.
    fn world(&mut self) -> bool {
        let program = self.best.schedule.program.clone();
        // Not without the gate: less is promised then.
        let plain = Image {
            block: 4096,
            tight: false,
            pending: false,
            maps: false,
            far: false,
            ..program.image
        };
        let mut all = Vec::new();
        let fits = |start: &Start| !program.image.maps || start.on_maps() == *start;
        for start in Start::of(program.kind()).into_iter().filter(fits) {
            all.push(Program {
                start,
                ..program.clone()
            });
        }
        let loose = Image {
            tight: false,
            pending: false,
            ..program.image
        };
        let usable = Image {
            pending: false,
            ..program.image
        };
        for image in [plain, loose, usable] {
            all.push(Program {
                image,
                ..program.clone()
            });
        }
        all.push(Program {
            workers: false,
            ..program
        });
        all.into_iter().any(|program| {
            let order = self.best.schedule.order.clone();
            self.try_it(Schedule { program, order })
        })
    }
}

/// What is to become less, the most important first.
fn weight(schedule: &Schedule) -> [usize; 6] {
    let program = &schedule.program;
    let order = &schedule.order.0;
    [
        program.ops(),
        program.threads.len(),
        order.iter().filter(|go| go.fault.is_some()).count(),
        order.chunk_by(|a, b| a.thread == b.thread).count(),
        usize::from(program.image.block != 4096)
            + usize::from(program.image.tight)
            + usize::from(program.image.pending)
            + usize::from(program.image.far)
            + usize::from(program.workers),
        program.start as usize,
    ]
}
