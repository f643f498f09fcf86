// SPDX-License-Identifier: GPL-2.0
//! Races told to happen, and pictures of them. The control file, the recording and the pictures
//! are for others as well.

pub mod control;
pub mod draw;
pub mod lab;
pub mod one;
pub mod process;
pub mod race;
pub mod races;
pub mod runner;
pub mod selftest;
pub mod thread;
pub mod tracing;
