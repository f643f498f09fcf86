// SPDX-License-Identifier: GPL-2.0

//! The laws of the house, so that whoever carries on need not know them by heart: layers, circles,
//! names that nobody uses, choices of two without one, ranges in two parts, paths and quotes in the
//! documentation, what a case shows, faults that are put back. What is looked for in the built
//! module (frames, cycles of calls) is in `scripts/stack`.

mod bools;
mod cases;
mod circles;
mod faults;
mod layers;
mod names;
mod paths;
mod quotes;
mod ranges;
mod rooms;
mod safety;
mod shape;
mod source;
mod tree;

/// Fails with all that is wrong, a line each, not with the first of it.
fn none(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "\n{}\n{} in all",
        wrong.join("\n"),
        wrong.len()
    );
}
