// SPDX-License-Identifier: GPL-2.0

//! The arithmetic of the index: no memory, no locks.

/// Bytes of one level under a byte of the next, as a power of two.
pub(super) const FAN_OUT_BITS: usize = 6;
pub(super) const FAN_OUT: usize = 1 << FAN_OUT_BITS;

/// Classes from one power of two to the next.
const STEPS: u32 = 4;

/// The class of an amount: the larger the amount, the larger the class, and up to 7 each has its
/// own.
pub(crate) fn class(amount: u32) -> i8 {
    let octave = (amount / STEPS).checked_ilog2().unwrap_or(0);
    // CAST: At most 29 * 4 + 7.
    (octave * STEPS + (amount >> octave)) as i8
}

/// The least amount of a class.
pub(crate) fn least(class: i8) -> u32 {
    // CAST: No class is below zero.
    let class = class as u32;
    let octave = (class / STEPS).saturating_sub(1);
    (class - octave * STEPS) << octave
}

/// The first leaf from `start` on that is at least `least`. `get` gives the bytes of `levels`
/// levels, the leaves as level 0, and nothing behind the end of a level.
pub(super) fn walk(
    levels: usize,
    get: impl Fn(usize, usize) -> Option<i8>,
    start: usize,
    least: i8,
) -> Option<usize> {
    let (mut level, mut at) = (0, start);
    loop {
        if get(level, at)? < least {
            at += 1;
            // To the next node, and from above: it may have nothing, as may those behind it.
            while at % FAN_OUT == 0 && level + 1 < levels {
                (level, at) = (level + 1, at / FAN_OUT);
            }
        } else if level == 0 {
            return Some(at);
        } else {
            (level, at) = (level - 1, at * FAN_OUT);
        }
    }
}
