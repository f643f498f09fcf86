// SPDX-License-Identifier: GPL-2.0

//! Sorting what users and disks put in order.
//!
//! A kernel stack has 16 KiB, and whoever chooses names or lays out an image also chooses the order
//! that a sort begins with. `core`'s sorts recurse, as deep as that order makes them, in frames of
//! near a KiB each. Heap sort needs neither memory nor depth, and its worst case is as its best.

/// Sorts in ascending order; what compares equal ends in any order. At most `2 n log2 n + 3 n`
/// comparisons, a fixed number of bytes of stack.
pub fn sort<T: Ord>(items: &mut [T]) {
    // Often there is nothing to do: names of a fresh leaf, metadata of an image without flex_bg.
    if items.is_sorted() {
        return;
    }
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root);
    }
    for end in (1..items.len()).rev() {
        // The largest of the heap goes behind it.
        items.swap(0, end);
        if let Some(heap) = items.get_mut(..end) {
            sift_down(heap, 0);
        }
    }
}

/// Makes a heap of the part below `root`, whose children's parts are heaps.
fn sift_down<T: Ord>(heap: &mut [T], mut root: usize) {
    loop {
        let mut child = 2 * root + 1;
        if let (Some(left), Some(right)) = (heap.get(child), heap.get(child + 1)) {
            if left < right {
                child += 1;
            }
        }
        match (heap.get(root), heap.get(child)) {
            (Some(parent), Some(larger)) if parent < larger => heap.swap(root, child),
            _ => return,
        }
        root = child;
    }
}
