// SPDX-License-Identifier: GPL-2.0

//! The nodes promised for data that is outstanding: the worst case is enough, whatever comes.

use crate::extent::tree::{self, Store, To};
use crate::pair::Pair;
use std::collections::BTreeSet;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) % u64::from(n.max(1))) as u32
    }
}

/// The first blocks of the runs of a set.
fn runs(set: &BTreeSet<u32>) -> u64 {
    let first = |b: &&u32| **b == 0 || !set.contains(&(**b - 1));
    set.iter().filter(first).count() as u64
}

/// Some neighbours in a set.
fn piece(set: &BTreeSet<u32>, random: &mut Random, longest: u32) -> Option<(u32, u32)> {
    let nth = random.below(set.len() as u32) as usize;
    let start = *set.iter().nth(nth)?;
    let most = 1 + random.below(longest);
    let len = (0..most).take_while(|i| set.contains(&(start + i))).count();
    Some((start, len as u32))
}

/// A tree of many extents and some holes, with nodes of this capacity.
fn some_tree(random: &mut Random, space: u32, capacity: u16) -> Pair {
    let mut pair = Pair::new();
    pair.memory.wide = Some(capacity);
    pair.memory.returns = true;
    for _ in 0..random.below(2000) {
        let (lblk, len) = (random.below(space), 1 + random.below(9));
        let unwritten = random.below(2) == 0;
        // In a row fills leaves; at random leaves them between half full and full.
        pair.insert(lblk, len, unwritten, random.below(4) == 0)
            .unwrap();
    }
    for _ in 0..random.below(4) {
        let start = random.below(space);
        pair.cut(start, start + random.below(space / 4), 1000)
            .unwrap();
    }
    pair
}

/// Blocks whose data is outstanding: without a place yet, and with one that is unwritten.
#[derive(Default)]
struct Due {
    reserved: BTreeSet<u32>,
    converting: BTreeSet<u32>,
}

impl Due {
    /// Some of it here and there, and how long its pieces are at most.
    fn some(pair: &Pair, random: &mut Random, space: u32) -> (Due, u32) {
        let mut due = Due::default();
        let (longest, step) = (1 + random.below(12), 1 + random.below(40));
        let mut at = random.below(space);
        for _ in 0..random.below(1500) {
            at = match random.below(3) {
                0 => random.below(space),
                _ => at + 1 + random.below(step),
            };
            for lblk in at..at + 1 + random.below(longest) {
                match pair.model.get(&lblk) {
                    None => due.reserved.insert(lblk),
                    Some((_, true)) => due.converting.insert(lblk),
                    Some(_) => true,
                };
            }
        }
        (due, longest)
    }

    fn is_empty(&self) -> bool {
        self.reserved.is_empty() && self.converting.is_empty()
    }

    /// The nodes promised for it.
    fn worst(&self, pair: &Pair) -> u32 {
        let blocks = (self.reserved.len() + self.converting.len()) as u64;
        let places = runs(&self.reserved) + runs(&self.converting);
        tree::worst_nodes(&pair.root, pair.memory.capacity(), 2 * blocks, places) as u32
    }

    /// Gives a piece of what is reserved its place.
    fn map(&mut self, pair: &mut Pair, random: &mut Random, longest: u32) {
        let (start, len) = piece(&self.reserved, random, longest).unwrap();
        let near = random.below(2) == 0;
        pair.insert(start, len, true, near)
            .expect("nodes for what is reserved");
        for lblk in start..start + len {
            self.reserved.remove(&lblk);
            self.converting.insert(lblk);
        }
    }

    /// Converts a piece of what has its place.
    fn convert(&mut self, pair: &mut Pair, random: &mut Random, longest: u32) {
        let (start, len) = piece(&self.converting, random, longest).unwrap();
        pair.convert(start, len, To::Written)
            .expect("nodes for a conversion");
        for lblk in start..start + len {
            self.converting.remove(&lblk);
        }
    }
}

/// However data that is outstanding comes to be mapped and converted, the nodes promised for it in
/// the worst case are enough; also if the promise shrinks on the way to what is then the worst.
fn outstanding(seed: u64) {
    let mut random = Random(seed);
    let capacity = [12, 20, 84][random.below(3) as usize];
    let space = 400 + random.below(20_000);
    let mut pair = some_tree(&mut random, space, capacity);
    let (mut due, longest) = Due::some(&pair, &mut random, space);
    pair.memory.budget = Some(due.worst(&pair));
    let ahead = random.below(4);
    while !due.is_empty() {
        let has_reserved = !due.reserved.is_empty();
        if has_reserved && (due.converting.is_empty() || random.below(4) <= ahead) {
            due.map(&mut pair, &mut random, longest);
        } else {
            due.convert(&mut pair, &mut random, longest);
        }
        if random.below(8) == 0 {
            let now = due.worst(&pair);
            pair.memory.budget = pair.memory.budget.map(|left| left.min(now));
        }
    }
    pair.check();
}

#[test]
fn the_worst_case_is_enough() {
    for seed in 0..300 {
        outstanding(seed);
    }
}

/// Every full leaf gets one entry, a new last one included.
#[test]
fn the_worst_case_of_full_leaves() {
    let mut pair = Pair::new();
    let capacity = 84;
    pair.memory.wide = Some(capacity);
    // In ascending order leaves are filled.
    for i in 0..8400 {
        pair.insert(4 * i, 1, false, false).unwrap();
    }
    let leaves = 8400 / u32::from(capacity);
    let mut blocks: Vec<u32> = (0..leaves)
        .map(|i| 4 * i * u32::from(capacity) + 2)
        .collect();
    blocks.push(40_000);
    blocks.reverse();
    let n = blocks.len() as u64;
    let worst = tree::worst_nodes(&pair.root, capacity, 2 * n, n) as u32;
    assert!(
        worst >= leaves && worst < 4 * leaves,
        "{worst} for {leaves} leaves"
    );
    pair.memory.budget = Some(worst);
    for block in blocks {
        pair.insert(block, 1, true, false).unwrap();
        pair.convert(block, 1, To::Written).unwrap();
    }
    pair.check();
}
