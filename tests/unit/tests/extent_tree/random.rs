// SPDX-License-Identifier: GPL-2.0

//! Random changes: after each the tree is the map.

use crate::extent::tree::To;
use crate::memory::Failure;
use crate::pair::Pair;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Insert {
        lblk: u32,
        len: u32,
        unwritten: bool,
        near: bool,
    },
    Convert {
        lblk: u32,
        len: u32,
        unwritten: bool,
    },
    Cut {
        start: u32,
        len: u32,
        limit: u32,
    },
    Collapse {
        at: u32,
        len: u32,
    },
    InsertHole {
        at: u32,
        len: u32,
    },
}

fn ops() -> impl Strategy<Value = Op> {
    let at = 0..1200u32;
    prop_oneof![
        6 => (at.clone(), 1..6u32, any::<bool>(), any::<bool>()).prop_map(
            |(lblk, len, unwritten, near)| Op::Insert { lblk, len, unwritten, near }
        ),
        3 => (at.clone(), 1..40u32, any::<bool>()).prop_map(
            |(lblk, len, unwritten)| Op::Convert { lblk, len, unwritten }
        ),
        1 => (at.clone(), 1..60u32, 1..8u32).prop_map(
            |(start, len, limit)| Op::Cut { start, len, limit }
        ),
        1 => (at.clone(), 1..60u32).prop_map(|(at, len)| Op::Collapse { at, len }),
        1 => (at, 1..60u32).prop_map(|(at, len)| Op::InsertHole { at, len }),
    ]
}

impl Pair {
    fn apply(&mut self, op: &Op) -> Result<(), Failure> {
        match *op {
            Op::Insert {
                lblk,
                len,
                unwritten,
                near,
            } => self.insert(lblk, len, unwritten, near),
            Op::Convert {
                lblk,
                len,
                unwritten,
            } => {
                let to = if unwritten {
                    To::Unwritten
                } else {
                    To::Written
                };
                self.convert(lblk, len, to)
            }
            Op::Cut { start, len, limit } => self.cut(start, start + len, limit),
            Op::Collapse { at, len } => self.collapse(at, len),
            Op::InsertHole { at, len } => self.insert_hole(at, len),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_a_map(
        ops in prop::collection::vec(ops(), 1..400),
        probes in prop::collection::vec(0..1300u32, 20),
    ) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.apply(op).unwrap();
            pair.check();
        }
        for lblk in probes {
            pair.check_lookup(lblk);
        }
        pair.cut(0, u32::MAX, u32::MAX).unwrap();
        pair.check();
        prop_assert_eq!(pair.depth(), 0);
        prop_assert!(pair.memory.taken.is_empty());
    }

    /// With no block to be had for a node, what fails leaves no trace.
    #[test]
    fn no_space_changes_nothing(
        ops in prop::collection::vec((ops(), prop::option::weighted(0.3, 0..3u32)), 1..300),
    ) {
        let mut pair = Pair::new();
        for (op, budget) in &ops {
            pair.memory.budget = *budget;
            match pair.apply(op) {
                Ok(()) => (),
                Err(e) => prop_assert_eq!(e, Failure::NoSpace),
            }
            pair.check();
        }
    }
}
