// SPDX-License-Identifier: GPL-2.0

//! Blocks that two trees exchange: both change, or none does.

use crate::disk::extent::Extent;
use crate::disk::{Corrupt, Lblk, Pblk};
use crate::extent::tree::{self, Found, To, TreePart};
use crate::memory::{Failure, CAPACITY};
use crate::pair::Pair;
use proptest::prelude::*;

impl Pair {
    /// What is at `lblk`, as many as `most` blocks of it.
    fn part(&self, lblk: u32, most: u32) -> Option<Extent> {
        let at = Lblk::new(lblk);
        match tree::lookup_extent(&self.memory, &self.root, at).unwrap() {
            Found::Extent(e) => Some(Extent {
                lblk: at,
                len: most.min(e.end() - at),
                pblk: e.pblk + u64::from(at - e.lblk),
                unwritten: e.unwritten,
            }),
            Found::Hole { .. } => None,
        }
    }
}

/// Exchanges what is at `at` in one and in the other, as far as both have an extent there.
fn exchange(one: &mut Pair, other: &mut Pair, at: [u32; 2], len: u32) -> Result<u32, Failure> {
    let (Some(mut orig), Some(mut donor)) = (one.part(at[0], len), other.part(at[1], len)) else {
        return Ok(0);
    };
    let len = orig.len.min(donor.len);
    (orig.len, donor.len) = (len, len);
    tree::exchange_parts(
        TreePart {
            store: &mut one.memory,
            root: &mut one.root,
            part: orig,
        },
        TreePart {
            store: &mut other.memory,
            root: &mut other.root,
            part: donor,
        },
    )?;
    for i in 0..len {
        let new = donor.pblk + u64::from(i);
        one.model.insert(at[0] + i, (new, orig.unwritten));
        let old = orig.pblk + u64::from(i);
        other.model.insert(at[1] + i, (old, orig.unwritten));
    }
    Ok(len)
}

/// Fragments of one file, a whole one of the other: then it is the other way round.
#[test]
fn fragments_become_one() {
    let (mut one, mut other) = (Pair::new(), Pair::new());
    for i in 0..200 {
        one.insert(i, 1, false, false).unwrap();
    }
    assert!(one.depth() > 1);
    other.insert(0, 200, true, false).unwrap();
    let mut at = 0;
    while at < 200 {
        at += exchange(&mut one, &mut other, [at, at], 200 - at).unwrap();
        one.check();
        other.check();
    }
    // One a leaf: those of two leaves are not joined.
    let leaves = 200 / usize::from(CAPACITY);
    assert!(one.extents().len() <= leaves, "{:?}", one.extents());
    assert_eq!(other.extents().len(), 200);
    assert!(other.extents().iter().all(|e| !e.unwritten));
}

/// What is not as it was looked up is not touched.
#[test]
fn something_else_is_not_exchanged() {
    let (mut one, mut other) = (Pair::new(), Pair::new());
    one.insert(0, 10, false, false).unwrap();
    other.insert(0, 10, true, false).unwrap();
    let (orig, donor) = (one.part(0, 10).unwrap(), other.part(0, 10).unwrap());
    let other_block = donor.pblk + 1;
    let wrong = [
        Extent { len: 11, ..donor },
        Extent { len: 0, ..donor },
        Extent {
            lblk: Lblk::new(10),
            ..donor
        },
        Extent {
            pblk: other_block,
            ..donor
        },
        Extent {
            unwritten: false,
            ..donor
        },
        Extent {
            pblk: Pblk::new(0),
            ..donor
        },
    ];
    for part in wrong {
        let result = tree::exchange_parts(
            TreePart {
                store: &mut one.memory,
                root: &mut one.root,
                part: orig,
            },
            TreePart {
                store: &mut other.memory,
                root: &mut other.root,
                part,
            },
        );
        assert_eq!(result, Err(Failure::Corrupt(Corrupt::ExtentRange)));
        one.check();
        other.check();
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert {
        of: bool,
        lblk: u32,
        len: u32,
        near: bool,
    },
    Convert {
        of: bool,
        lblk: u32,
        len: u32,
        unwritten: bool,
    },
    Exchange {
        at: [u32; 2],
        len: u32,
    },
}

fn ops() -> impl Strategy<Value = Op> {
    let at = 0..400u32;
    prop_oneof![
        4 => (any::<bool>(), at.clone(), 1..20u32, any::<bool>())
            .prop_map(|(of, lblk, len, near)| Op::Insert { of, lblk, len, near }),
        2 => (any::<bool>(), at.clone(), 1..20u32, any::<bool>())
            .prop_map(|(of, lblk, len, unwritten)| Op::Convert { of, lblk, len, unwritten }),
        4 => (at.clone(), at, 1..30u32)
            .prop_map(|(one, other, len)| Op::Exchange { at: [one, other], len }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Also when one of the two finds no space for a node.
    #[test]
    fn both_change_or_none(
        ops in prop::collection::vec(
            (ops(), any::<bool>(), prop::option::weighted(0.4, 0..3u32)),
            1..400,
        ),
    ) {
        let mut pairs = [Pair::new(), Pair::new()];
        for (op, of, budget) in &ops {
            pairs[usize::from(*of)].memory.budget = *budget;
            let [one, other] = &mut pairs;
            let result = match *op {
                Op::Insert { of, lblk, len, near } => {
                    let pair = if of { one } else { other };
                    pair.insert(lblk, len, false, near)
                }
                Op::Convert { of, lblk, len, unwritten } => {
                    let pair = if of { one } else { other };
                    pair.convert(lblk, len, if unwritten { To::Unwritten } else { To::Written })
                }
                Op::Exchange { at, len } => exchange(one, other, at, len).map(drop),
            };
            if let Err(e) = result {
                prop_assert_eq!(e, Failure::NoSpace);
            }
            for pair in &mut pairs {
                pair.check();
                pair.memory.budget = None;
            }
        }
    }
}
