// SPDX-License-Identifier: GPL-2.0
//! Trace events, and those of fanotify.

pub mod fanotify;
pub mod trace;
