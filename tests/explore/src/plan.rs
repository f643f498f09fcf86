// SPDX-License-Identifier: GPL-2.0
//! What is looked for, and how.

use crate::draw::Grammar;
use crate::order::Schedule;
use crate::program::Program;
use crate::turns::Strategy;
use guest::finder::Stretch;
use std::path::PathBuf;

pub struct Plan {
    pub stretch: Stretch,
    pub grammar: Grammar,
    /// These only, if there are any.
    pub programs: Vec<Program>,
    pub strategy: Option<Strategy>,
    /// Of a thousand times that a point can return an error, how often it does.
    pub faults: Option<u32>,
    pub off: Vec<String>,
    /// So many of each batch are run twice more, to see whether they do the same.
    pub again: usize,
    /// The machine does between steps what it does by itself.
    pub noise: bool,
    /// On the disk that is memory.
    pub dax: bool,
    pub out: PathBuf,
}

impl Plan {
    /// How to do it again.
    pub fn replay(&self, schedule: &Schedule) -> String {
        let off = self.off.iter().map(|switch| format!("--off {switch}"));
        let dax = schedule.program.image.dax.then(|| "--dax".to_string());
        let noise = self.noise.then(|| "--noise".to_string());
        let words: Vec<String> = dax.into_iter().chain(noise).chain(off).collect();
        match words.as_slice() {
            [] => format!("replay: make explore REPLAY='{schedule}'"),
            words => {
                let words = words.join(" ");
                format!("replay: scripts/explore {words} --replay '{schedule}'")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_has_all_that_it_needs() {
        let schedule: Schedule = "4k,bare:cr.x:A".parse().unwrap();
        let plan = |noise, off: &[&str]| Plan {
            stretch: Stretch {
                time: std::time::Duration::ZERO,
                seed: 1,
                first: 0,
                count: 1,
            },
            grammar: Grammar::new(&[]).unwrap(),
            programs: Vec::new(),
            strategy: None,
            faults: None,
            off: off.iter().map(|s| s.to_string()).collect(),
            again: 1,
            noise,
            dax: false,
            out: PathBuf::new(),
        };
        let with = |noise, off: &[&str]| plan(noise, off).replay(&schedule);
        assert_eq!(
            with(false, &[]),
            "replay: make explore REPLAY='4k,bare:cr.x:A'"
        );
        let both = "replay: scripts/explore --noise --off gate --off pin --replay '4k,bare:cr.x:A'";
        assert_eq!(with(true, &["gate", "pin"]), both);
        assert!(with(true, &[]).contains("--noise"));
        let schedule = "4kd,bare:cr.x:A".parse().unwrap();
        assert!(plan(false, &[])
            .replay(&schedule)
            .contains("explore --dax --replay"));
    }
}
