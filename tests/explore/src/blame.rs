// SPDX-License-Identifier: GPL-2.0
//! What is told of harm: as little as does it, in words and drawn.

use crate::drive::Run;
use crate::hunt::{Found, Hunt};
use crate::order::Schedule;
use crate::shrink::{shrink, Culprit, Trial};
use crate::site::Site;

impl Hunt {
    /// Does it do it alone? Then as little of it as still does, in words and drawn. The names of
    /// its operations.
    pub fn blame(&mut self, found: Found) -> String {
        let Some(schedule) = found.schedule else {
            println!("no schedule of this batch does it alone on a new file system");
            return "unknown".into();
        };
        println!("schedule: {schedule}");
        if !self.site.clear() || found.harm.for_good {
            println!("the file system cannot be unmounted any more: run it again for more");
            println!("{}", self.plan.replay(&schedule));
            return names(&schedule);
        }
        let Some(culprit) = self.site.harm_of(&schedule) else {
            let before = found.before;
            println!("not alone on a new file system: {before} were before it on the same mount");
            return names(&schedule);
        };
        let least = shrink(&mut self.site, culprit);
        self.tell(&least);
        names(&least.schedule)
    }

    /// One schedule, shortened if it does harm. True if it does none.
    pub fn replay(&mut self, schedule: &Schedule) -> bool {
        match self.site.again(schedule, false) {
            Ok((Ok(()), _)) => {
                println!("no harm: {schedule}");
                return true;
            }
            Ok((Err(harm), run)) if !harm.for_good => {
                let least = shrink(&mut self.site, Culprit::new(schedule, harm.words, run));
                self.tell(&least);
            }
            Ok((Err(harm), _)) | Err(harm) => {
                println!("harm: {}", harm.words);
                println!("it cannot be run again in this machine, so it is not shortened");
            }
        }
        false
    }

    fn tell(&mut self, least: &Culprit) {
        let program = &least.schedule.program;
        println!("\nthe least that does harm:\n{}", program.words());
        println!("{}", least.run.words(program));
        println!("harm: {}", least.harm);
        println!("{}", self.plan.replay(&least.schedule));
        if let Err(e) = crate::picture::draw(&mut self.site, least, &self.plan) {
            println!("no picture: {e}");
        }
    }
}

fn names(schedule: &Schedule) -> String {
    let ops = schedule.program.threads.iter().flatten();
    let mut names: Vec<&str> = ops.map(|op| op.verb.short()).collect();
    names.sort_unstable();
    names.join("+")
}

impl Site {
    /// What a schedule does alone.
    fn harm_of(&mut self, schedule: &Schedule) -> Option<Culprit> {
        let (harm, run) = self.harm(schedule)?;
        Some(Culprit::new(schedule, harm, run))
    }
}

impl Trial for Site {
    fn harm(&mut self, schedule: &Schedule) -> Option<(String, Run)> {
        match self.again(schedule, false) {
            Ok((Err(harm), run)) if !harm.for_good => Some((harm.words, run)),
            Ok(_) => None,
            Err(harm) => {
                println!("{}", harm.words);
                self.clear();
                None
            }
        }
    }
}
