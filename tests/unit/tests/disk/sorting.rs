// SPDX-License-Identifier: GPL-2.0

//! The sort: right in any order, and no order makes it slow.

use proptest::prelude::*;
use rext4_unit::disk::sort::{sort, sort_spread};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;

/// The most comparisons that the page of the function promises.
fn most(n: usize) -> usize {
    (4.0 * (n as f64).powf(4.0 / 3.0)) as usize
}

proptest! {
    #[test]
    fn sorts_as_the_library_does(mut items in prop::collection::vec(0u16..300, 0..700)) {
        let mut right = items.clone();
        right.sort();
        sort(&mut items);
        prop_assert_eq!(items, right);
    }

    /// Keys as hashes are, and all in some places: of the same keys the others count.
    #[test]
    fn spread_as_the_library_does(
        items in prop::collection::vec((any::<u32>(), any::<u16>()), 0..700),
        mask in prop_oneof![Just(u32::MAX), Just(0x8000_0001), Just(7), Just(0), any::<u32>()],
    ) {
        let items: Vec<_> = items.iter().map(|(key, other)| (key & mask, *other)).collect();
        let mut sorted = vec![(0, 0); items.len()];
        sort_spread((&items, &mut sorted), |item| item.0, |a, b| a < b);
        let mut right = items;
        right.sort();
        prop_assert_eq!(sorted, right);
    }

    #[test]
    fn loses_nothing(items in prop::collection::vec((0u8..4, any::<u32>()), 0..400)) {
        let mut sorted = items.clone();
        sort(&mut sorted);
        prop_assert!(sorted.is_sorted());
        let mut right = items;
        right.sort();
        prop_assert_eq!(sorted, right);
    }
}

/// What McIlroy's adversary ("A Killer Adversary for Quicksort", 1999) decides while it is asked.
struct Adversary {
    /// Gas, as large as anything, until an item gets its place in the order.
    order: RefCell<Vec<usize>>,
    solid: Cell<usize>,
    candidate: Cell<usize>,
    asked: Cell<usize>,
}

impl Adversary {
    fn new(n: usize) -> Self {
        Self {
            order: RefCell::new(vec![usize::MAX; n]),
            solid: Cell::new(0),
            candidate: Cell::new(0),
            asked: Cell::new(0),
        }
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        self.asked.set(self.asked.get() + 1);
        let mut order = self.order.borrow_mut();
        if a != b && order[a] == usize::MAX && order[b] == usize::MAX {
            let fixed = if a == self.candidate.get() { a } else { b };
            order[fixed] = self.solid.get();
            self.solid.set(self.solid.get() + 1);
        }
        if order[a] == usize::MAX {
            self.candidate.set(a);
        } else if order[b] == usize::MAX {
            self.candidate.set(b);
        }
        order[a].cmp(&order[b])
    }
}

#[derive(Clone, Copy)]
struct Item<'a>(usize, &'a Adversary);

impl Ord for Item<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.1.compare(self.0, other.0)
    }
}

impl PartialOrd for Item<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Item<'_> {}

/// An opponent who chooses the order while the sort looks at it, as a user can choose names.
#[test]
fn no_adversary_makes_it_slow() {
    for n in [2, 3, 140, 338, 4096, 22_000] {
        let adversary = Adversary::new(n);
        let mut items: Vec<_> = (0..n).map(|i| Item(i, &adversary)).collect();
        // Not in order for the first look, or there would be nothing to do.
        items.reverse();
        sort(&mut items);
        let asked = adversary.asked.get();
        assert!(asked <= most(n), "{n} items took {asked} comparisons");
        // The order it came to is a hard one for the sort too: again, with that.
        let order = adversary.order.borrow().clone();
        let count = Cell::new(0);
        let mut keys: Vec<_> = order.iter().map(|&key| Counted(key, &count)).collect();
        sort(&mut keys);
        assert!(keys.is_sorted());
        assert!(count.get() <= most(n) + n, "{n}: {}", count.get());
    }
}

#[derive(Clone, Copy)]
struct Counted<'a>(usize, &'a Cell<usize>);

impl Ord for Counted<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.1.set(self.1.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Counted<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Counted<'_> {}

/// Whoever chooses the keys has them all in one part, or in as many as are few in each.
#[test]
fn keys_that_are_not_spread() {
    for n in [100usize, 2000, 6000] {
        let shapes: [fn(usize, usize) -> usize; 4] = [
            |n, i| if i == 0 { u32::MAX as usize } else { n - i },
            |n, i| (i % 2) * (u32::MAX as usize - n) + n - i,
            |_, i| (i % 16) << 28,
            |_, i| i.wrapping_mul(0x9e37_79b9) & 0xffff_ffff,
        ];
        for shape in shapes {
            let count = Cell::new(0);
            let items: Vec<_> = (0..n).map(|i| Counted(shape(n, i), &count)).collect();
            let mut sorted = items.clone();
            sort_spread((&items, &mut sorted), |item| item.0 as u32, |a, b| a < b);
            let asked = count.get();
            assert!(asked <= most(n) + 16 * n, "{n}: {asked}");
            assert!(sorted.is_sorted());
        }
    }
}

/// Runs, saw teeth, organ pipes, all equal.
#[test]
fn orders_that_are_hard_for_others() {
    for n in [0usize, 1, 2, 3, 4, 5, 1000, 4097] {
        let shapes: [fn(usize, usize) -> usize; 6] = [
            |_, i| i,
            |n, i| n - i,
            |_, _| 7,
            |_, i| i % 7,
            |n, i| i.min(n - i),
            |_, i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7,
        ];
        for shape in shapes {
            let count = Cell::new(0);
            let mut items: Vec<_> = (0..n).map(|i| Counted(shape(n, i), &count)).collect();
            sort(&mut items);
            assert!(count.get() <= most(n), "{n}: {}", count.get());
            assert!(items.is_sorted());
        }
    }
}
