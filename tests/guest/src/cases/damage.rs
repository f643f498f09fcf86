// SPDX-License-Identifier: GPL-2.0
//! Images and devices that are not what they should be.

pub mod bad;
pub mod bad_dir;
pub mod bad_file;
pub mod bad_index;
pub mod bad_map;
pub mod baddev;
pub mod eio;
pub mod errors;
pub mod failing;
pub mod freed;
pub mod freeze;
pub mod half;
pub mod marks;
pub mod unmapped;
