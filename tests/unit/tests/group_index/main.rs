// SPDX-License-Identifier: GPL-2.0

//! The index of groups against a look at each of them.

#[path = "../../../../rust/fs/alloc/index/walk.rs"]
mod walk;

use proptest::prelude::*;
use walk::{class, least, walk, FAN_OUT};

#[test]
fn classes_are_in_order_and_end_where_the_next_begins() {
    let mut before = class(0);
    assert_eq!(before, 0);
    for amount in 1..200_000 {
        let now = class(amount);
        assert!(now == before || now == before + 1);
        assert!(amount > 7 || now > before);
        if now > before {
            assert_eq!(least(now), amount);
        }
        // A step is a fifth of what it begins with, at most a quarter.
        assert!(u64::from(amount - least(now)) * 4 <= u64::from(least(now)));
        before = now;
    }
    assert!(least(class(u32::MAX)) > 3 << 30);
    // Seven eighths of a power of two, which is what is looked for first.
    assert!((3..31).all(|bit| least(class(7 << (bit - 3))) == 7 << (bit - 3)));
}

fn levels(leaves: Vec<i8>) -> Vec<Vec<i8>> {
    let mut levels = vec![leaves];
    while levels.last().unwrap().len() > 1 {
        let below = levels.last().unwrap().chunks(FAN_OUT);
        levels.push(below.map(|node| *node.iter().max().unwrap()).collect());
    }
    levels
}

/// A search that also says how often it looked.
fn find(levels: &[Vec<i8>], start: usize, least: i8) -> (Option<usize>, usize) {
    let looks = std::cell::Cell::new(0);
    let get = |level: usize, at: usize| {
        looks.set(looks.get() + 1);
        levels.get(level)?.get(at).copied()
    };
    let found = walk(levels.len(), get, start, least);
    (found, looks.get())
}

proptest! {
    #[test]
    fn finds_what_a_look_at_each_finds(
        size in prop_oneof![1..200usize, 4000..4200usize, 260_000..270_000usize],
        some in prop::collection::vec((any::<prop::sample::Index>(), 1..100i8), 0..40),
        start in any::<prop::sample::Index>(),
        least in 1..100i8,
    ) {
        let mut leaves = vec![0; size];
        for (at, class) in some {
            leaves[at.index(size)] = class;
        }
        let levels = levels(leaves.clone());
        for start in [start.index(size), 0, size] {
            let wanted = (start..size).find(|&at| leaves[at] >= least);
            let (found, looks) = find(&levels, start, least);
            prop_assert_eq!(found, wanted);
            prop_assert!(looks <= 2 * levels.len() * FAN_OUT, "{} looks", looks);
        }
    }
}

/// What is too high above costs time, and nothing else: the byte is lowered from below.
#[test]
fn a_promise_that_is_not_kept() {
    let mut levels = levels(vec![0; 10_000]);
    for above in &mut levels[1..] {
        above.fill(9);
    }
    levels[0][9_999] = 9;
    assert_eq!(find(&levels, 0, 9).0, Some(9_999));
    assert_eq!(find(&levels, 0, 10).0, None);
}
