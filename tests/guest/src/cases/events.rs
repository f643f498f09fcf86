// SPDX-License-Identifier: GPL-2.0
//! The trace events.

pub mod trace;
