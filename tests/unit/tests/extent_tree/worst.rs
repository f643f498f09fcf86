// SPDX-License-Identifier: GPL-2.0

//! The nodes promised for data that is outstanding: the worst case is enough, whatever comes.

use super::*;

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

/// However data that is outstanding comes to be mapped and converted, the nodes promised for it in
/// the worst case are enough; also if the promise shrinks on the way to what is then the worst.
fn outstanding(seed: u64) {
    let mut random = Random(seed);
    let mut pair = Pair::new();
    let capacity = [12, 20, 84][random.below(3) as usize];
    pair.memory.wide = Some(capacity);
    pair.memory.returns = true;
    let space = 400 + random.below(20_000);
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
    let (mut reserved, mut converting) = (BTreeSet::new(), BTreeSet::new());
    let (longest, step) = (1 + random.below(12), 1 + random.below(40));
    let mut at = random.below(space);
    for _ in 0..random.below(1500) {
        at = match random.below(3) {
            0 => random.below(space),
            _ => at + 1 + random.below(step),
        };
        for lblk in at..at + 1 + random.below(longest) {
            match pair.model.get(&lblk) {
                None => reserved.insert(lblk),
                Some((_, true)) => converting.insert(lblk),
                Some(_) => true,
            };
        }
    }
    let worst = |pair: &Pair, reserved: &BTreeSet<u32>, converting: &BTreeSet<u32>| {
        let blocks = (reserved.len() + converting.len()) as u64;
        let places = runs(reserved) + runs(converting);
        tree::worst_nodes(&pair.root, capacity, 2 * blocks, places) as u32
    };
    pair.memory.budget = Some(worst(&pair, &reserved, &converting));
    let ahead = random.below(4);
    while !reserved.is_empty() || !converting.is_empty() {
        if !reserved.is_empty() && (converting.is_empty() || random.below(4) <= ahead) {
            let (start, len) = piece(&reserved, &mut random, longest).unwrap();
            let near = random.below(2) == 0;
            pair.insert(start, len, true, near)
                .expect("nodes for what is reserved");
            for lblk in start..start + len {
                reserved.remove(&lblk);
                converting.insert(lblk);
            }
        } else {
            let (start, len) = piece(&converting, &mut random, longest).unwrap();
            pair.convert(start, len, false)
                .expect("nodes for a conversion");
            for lblk in start..start + len {
                converting.remove(&lblk);
            }
        }
        if random.below(8) == 0 {
            let now = worst(&pair, &reserved, &converting);
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
        pair.convert(block, 1, false).unwrap();
    }
    pair.check();
}
