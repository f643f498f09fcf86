// SPDX-License-Identifier: GPL-2.0
//! Full disks, no memory, and the space that is promised.

pub mod discard;
pub mod enomem;
pub mod enospc;
pub mod enospc_tree;
pub mod fsmap;
pub mod nomem;
pub mod promise;
pub mod resize;
pub mod resize_groups;
pub mod trim;
