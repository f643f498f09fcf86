// SPDX-License-Identifier: GPL-2.0

//! Sorting what users and disks put in order.
//!
//! A kernel stack has 16 KiB, and whoever chooses names or lays out an image also chooses the order
//! that a sort begins with. `core`'s sorts recurse, as deep as that order makes them, in frames of
//! near a KiB each. Shell sort needs neither memory nor depth. With these gaps no order takes it
//! more than some n^(4/3) steps, and of the sixty or seventy names of a leaf each takes it seven
//! comparisons and as many copies of an item; heap sort, ten and twice as many.

/// Sorts in ascending order; what compares equal ends in any order. A fixed number of bytes of
/// stack, and `4 n^(4/3)` comparisons at most.
pub fn sort<T: Ord + Copy>(items: &mut [T]) {
    sort_by(items, |a, b| a < b);
}

/// As [`sort`], in the order that `less` says.
pub fn sort_by<T: Copy>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    // Often there is nothing to do: names of a fresh leaf, metadata of an image without flex_bg.
    if items.is_sorted_by(|a, b| !less(b, a)) {
        return;
    }
    // Sedgewick's gaps ("A New Upper Bound for Shellsort", 1986): 8, 23, 77, 281 and so on.
    for k in (1..usize::BITS / 2 - 1).rev() {
        let gap = (1 << (2 * k)) + 3 * (1 << (k - 1)) + 1;
        if gap < items.len() {
            insert_all(items, gap, &less);
        }
    }
    insert_all(items, 1, &less);
}

/// Sorts the items of each row, which are `gap` apart, by insertion.
#[inline(always)]
fn insert_all<T: Copy>(items: &mut [T], gap: usize, less: &impl Fn(&T, &T) -> bool) {
    for from in gap..items.len() {
        let Some(&item) = items.get(from) else {
            return;
        };
        let mut hole = from;
        while let Some(before) = hole.checked_sub(gap) {
            match items.get(before) {
                Some(&larger) if less(&item, &larger) => put(items, hole, larger),
                _ => break,
            }
            hole = before;
        }
        put(items, hole, item);
    }
}

#[inline(always)]
fn put<T>(items: &mut [T], at: usize, item: T) {
    if let Some(place) = items.get_mut(at) {
        *place = item;
    }
}
