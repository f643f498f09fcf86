// SPDX-License-Identifier: GPL-2.0
//! Which strategy is whose turn, and which batches have errors.

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub enum Strategy {
    /// All orders of a pair with up to two preemptions.
    Pairs,
    /// Operations on the same bytes: one thread stops at each of its points, and those of others
    /// come in between.
    Near,
    /// What has made something happen for the first time, changed.
    Change,
    /// One thread stops at each of its points in turn while the others do all that they have to.
    Stop,
    Random,
    /// PCT with one change of priorities.
    Pct2,
    Pct3,
}

/// Two times of three it is what has found most; that comes first. Every second one of these draws
/// nothing anew.
pub const TURNS: &[Strategy] = &[
    Strategy::Near,
    Strategy::Change,
    Strategy::Pairs,
    Strategy::Near,
    Strategy::Change,
    Strategy::Random,
    Strategy::Near,
    Strategy::Change,
    Strategy::Pct2,
    Strategy::Near,
    Strategy::Change,
    Strategy::Stop,
    Strategy::Near,
    Strategy::Change,
    Strategy::Pct3,
];

/// Of a thousand times that a point can return an error, how often it does in some batches.
const FAULTS: u32 = 50;

/// Of a thousand times that a point can return an error, how often it does in this batch. Errors
/// hide losses, so most of the time there are none; of those drawn by chance two in three have.
pub fn errors(batch: u64) -> u32 {
    const DRAWN: [Strategy; 3] = [Strategy::Pct3, Strategy::Random, Strategy::Pct2];
    let turns = TURNS.len() as u64;
    let (round, turn) = (batch / turns, TURNS[(batch % turns) as usize]);
    match DRAWN.contains(&turn) && turn != DRAWN[(round % 3) as usize] {
        true => FAULTS,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `make check` runs batches 0 to 23.
    #[test]
    fn errors_come_early_and_seldom() {
        let some = |batches: std::ops::Range<u64>| -> Vec<u64> {
            batches.filter(|batch| errors(*batch) > 0).collect()
        };
        assert_eq!(some(0..24), [5, 8, 23]);
        assert_eq!(some(24..60), [29, 35, 44, 50, 53]);
    }
}
