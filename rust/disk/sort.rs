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

/// Parts of the range of keys that [`sort_spread`] tells apart, and the most items of one of them
/// that are few.
const PARTS: usize = 128;
const FEW: u32 = 16;

/// Puts `from` into `to`, which is as long, in the order that `less` says: one of keys that are
/// spread evenly, as hashes are, and of others where these are the same. By its key each item goes
/// to about where it belongs, which takes a third of the steps. Who chooses the keys can have too
/// many in one place, and gets [`sort_by`].
pub fn sort_spread<T: Copy>(
    (from, to): (&[T], &mut [T]),
    key: impl Fn(&T) -> u32,
    less: impl Fn(&T, &T) -> bool,
) {
    let low = from.iter().map(&key).min().unwrap_or(0);
    let high = from.iter().map(&key).max().unwrap_or(0);
    // With 32 bits behind the point: a product with what is less than `width` is less than this.
    let width = u64::from(high - low) + 1;
    let scale = ((PARTS as u64) << 32) / width;
    let part = |item: &T| ((u64::from(key(item).wrapping_sub(low)) * scale) >> 32) as usize;

    let mut ends = [0u32; PARTS];
    for item in from {
        if let Some(count) = ends.get_mut(part(item)) {
            *count += 1;
        }
    }
    let (mut end, mut most) = (0, 0);
    for place in ends.iter_mut() {
        most = most.max(*place);
        end += *place;
        *place = end;
    }
    for item in from {
        if let Some(end) = ends.get_mut(part(item)) {
            *end -= 1;
            put(to, *end as usize, *item);
        }
    }
    if most > FEW {
        sort_by(to, less);
    } else {
        insert_all(to, 1, &less);
    }
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
