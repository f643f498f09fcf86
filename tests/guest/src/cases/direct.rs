// SPDX-License-Identifier: GPL-2.0
//! Direct I/O, and the gate that keeps the cache out of its way.

pub mod dax;
pub mod dax_blocks;
pub mod dax_edges;
pub mod dio;
pub mod dio_async;
pub mod dio_end;
pub mod dio_kill;
pub mod encrypted;
pub mod gate;
pub mod gate_source;
pub mod pin;
pub mod pin_end;
pub mod sectors;
pub mod whole;
