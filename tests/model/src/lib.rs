// SPDX-License-Identifier: GPL-2.0
//! The model of a file system in memory, what a power cut may leave of it, and the histories that
//! are run against it. The oracle of the crash states (tests/crash) is the same.
#![forbid(unsafe_code)]

pub mod cut;
pub mod draw;
pub mod hunt;
pub mod look;
mod mirror;
pub mod model;
pub mod names;
pub mod op;
pub mod place;
pub mod run;
pub mod side;
pub mod space;
mod stays;
pub mod views;
pub mod world;
