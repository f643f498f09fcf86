// SPDX-License-Identifier: GPL-2.0

//! How many nodes a tree may still need.

use super::ROOT_BYTES;
use crate::disk::extent::{Header, MAX_DEPTH, ROOT_ENTRIES};

/// The most new nodes that a tree takes while `entries` entries are added to its leaves, at
/// `places` places at most, in any order. `capacity` is that of a node block. A node that is given
/// back meanwhile may be taken again: it is not counted twice.
///
/// A node that is there may be full, so the first entry added splits it, and at a place that spans
/// several nodes only the two at its ends get entries that it does not pay for. The last node may
/// be full and stay so, with a new one behind it. After that a split halves a node, and a half must
/// be filled before it is split again. Each split is an entry added to the level above.
pub fn worst_nodes(root: &[u8; ROOT_BYTES], capacity: u16, entries: u64, places: u64) -> u64 {
    let Ok(root) = Header::read(root) else {
        return 0;
    };
    // A split may leave some entries less than half: it keeps together what is replaced.
    let half = u64::from((capacity / 2).saturating_sub(3).max(1));
    let used = u64::from(root.entries);
    let (mut added, mut total) = (entries, 0u64);
    for level in 0..=MAX_DEPTH {
        if let Some(above) = root.depth.checked_sub(level + 1) {
            let nodes = used.saturating_mul(u64::from(capacity).saturating_pow(above.into()));
            let touched = places.saturating_mul(2).min(nodes.saturating_add(1));
            added = touched.saturating_add(added / half).min(added);
        } else {
            // The root, or what it will be after it has moved down: a node with some room.
            let used = if level == root.depth { used } else { 1 };
            if used + added <= u64::from(ROOT_ENTRIES) {
                break;
            }
            added = (used + added) / half;
            total += 1;
        }
        total = total.saturating_add(added);
    }
    total
}
