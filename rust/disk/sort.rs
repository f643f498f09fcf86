// SPDX-License-Identifier: GPL-2.0

//! Sorting what users and disks put in order.
//!
//! A kernel stack has 16 KiB, and whoever chooses names or lays out an image also chooses the order
//! that a sort begins with. `core`'s sorts recurse, as deep as that order makes them, in frames of
//! near a KiB each. Heap sort needs neither memory nor depth, and its worst case is as its best.

/// Sorts in ascending order; what compares equal ends in any order. At most `2 n log2 n + 3 n`
/// comparisons, a fixed number of bytes of stack.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, |a, b| a < b);
}

/// As [`sort`], in the order that `less` says.
pub fn sort_by<T>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    // Often there is nothing to do: names of a fresh leaf, metadata of an image without flex_bg.
    if items.is_sorted_by(|a, b| !less(b, a)) {
        return;
    }
    for root in (0..items.len() / 2).rev() {
        sift_down(items, root, &less);
    }
    for end in (1..items.len()).rev() {
        // The largest of the heap goes behind it.
        items.swap(0, end);
        if let Some(heap) = items.get_mut(..end) {
            sift_down(heap, 0, &less);
        }
    }
}

/// Makes a heap of the part below `root`, whose children's parts are heaps.
fn sift_down<T>(heap: &mut [T], mut root: usize, less: &impl Fn(&T, &T) -> bool) {
    loop {
        let mut child = 2 * root + 1;
        if let (Some(left), Some(right)) = (heap.get(child), heap.get(child + 1)) {
            if less(left, right) {
                child += 1;
            }
        }
        match (heap.get(root), heap.get(child)) {
            (Some(parent), Some(larger)) if less(parent, larger) => heap.swap(root, child),
            _ => return,
        }
        root = child;
    }
}
