// SPDX-License-Identifier: GPL-2.0

//! Random changes: after each the pointers are the map.

use crate::disk::block_map::{worst_blocks, Way};
use crate::disk::{Lblk, LblkRange};
use crate::memory::{Failure, Memory};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Place {
        lblk: u32,
        len: u32,
        near: bool,
        ready: bool,
    },
    Cut {
        start: u32,
        len: u32,
        most: u32,
    },
}

/// Blocks near the borders of the levels, for blocks of 1 KiB.
fn places() -> impl Strategy<Value = u32> {
    let starts = prop::sample::select(vec![0, 12, 268, 268 + 65536, 268 + 3 * 256]);
    (starts, 0..600u32).prop_map(|(start, more)| (start + more).saturating_sub(20))
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (places(), 1..80u32, any::<bool>(), prop::bool::weighted(0.9)).prop_map(
            |(lblk, len, near, ready)| Op::Place { lblk, len, near, ready }
        ),
        2 => (places(), 1..700u32, 1..90u32).prop_map(
            |(start, len, most)| Op::Cut { start, len, most }
        ),
        1 => (places(), 1..9u32).prop_map(
            |(start, most)| Op::Cut { start, len: 100_000, most }
        ),
    ]
}

fn range(start: u32, end: u32) -> LblkRange {
    Lblk::new(start).until(Lblk::new(end))
}

impl Memory {
    /// The part of a range that is free and has its pointers in one array.
    fn free_part(&self, lblk: u32, len: u32) -> u32 {
        let way = Way::new(Lblk::new(lblk), self.bits).unwrap();
        let free = |i: &u32| !self.model.contains_key(&(lblk + i));
        let len = len.min(way.end() - Lblk::new(lblk));
        (0..len).take_while(free).count() as u32
    }

    fn apply(&mut self, op: &Op, next: &mut u32) -> Result<(), Failure> {
        match *op {
            Op::Place {
                lblk,
                len,
                near,
                ready,
            } => {
                let len = self.free_part(lblk, len);
                let before = self.model.range(..lblk).next_back();
                let pblk = match before {
                    Some((&l, &p)) if near => p + (lblk - l),
                    _ => *next,
                };
                *next = (*next).max(pblk + len) + 7;
                if len == 0 {
                    return Ok(());
                }
                self.place(lblk, len, pblk, ready)
            }
            Op::Cut { start, len, most } => self.cut(start, start + len, most),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn pointers_are_a_map(
        ops in prop::collection::vec(ops(), 1..150),
        probes in prop::collection::vec(places(), 20),
    ) {
        let (mut map, mut next) = (Memory::new(10), 1000);
        for op in &ops {
            match map.apply(op, &mut next) {
                Ok(()) | Err(Failure::NotReady) => (),
                Err(e) => prop_assert!(false, "{:?}", e),
            }
            map.check();
        }
        for lblk in probes {
            map.check_lookup(lblk);
        }
        map.cut(0, u32::MAX, u32::MAX).unwrap();
        map.check();
        prop_assert!(map.taken.is_empty() && map.root == [0; 60]);
    }

    /// With no block to be had for pointers, what fails leaves no trace.
    #[test]
    fn no_space_changes_nothing(
        ops in prop::collection::vec((ops(), prop::option::weighted(0.4, 0..3u32)), 1..120),
    ) {
        let (mut map, mut next) = (Memory::new(10), 1000);
        for (op, budget) in &ops {
            map.budget = *budget;
            match map.apply(op, &mut next) {
                Ok(()) | Err(Failure::NotReady | Failure::NoSpace) => (),
                Err(e) => prop_assert!(false, "{:?}", e),
            }
            map.check();
        }
    }

    /// What is promised is enough.
    #[test]
    fn the_worst_case_is_no_less(
        places in prop::collection::vec((places(), 1..700u32), 1..20),
    ) {
        let (mut map, mut blocks) = (Memory::new(10), 0);
        for (i, (start, len)) in places.iter().enumerate() {
            let mut at = *start;
            while at < start + len {
                let some = map.free_part(at, start + len - at);
                if some > 0 {
                    map.place(at, some, 1000 + at, true).unwrap();
                }
                at += some.max(1);
            }
            blocks += u64::from(*len);
            let all = places[..=i].iter().map(|(start, len)| start + len);
            let first = places[..=i].iter().map(|(start, _)| *start).min();
            let within = range(first.unwrap_or(0), all.max().unwrap_or(0));
            let worst = worst_blocks(blocks, i as u64 + 1, within, 10);
            prop_assert!(map.taken.len() as u64 <= worst, "{} of {worst}", map.taken.len());
        }
    }

    /// And not more, where blocks are so close that no array between them is without one: then it
    /// is what the map takes, however many they are.
    #[test]
    fn scattered_blocks_share_their_pointers(
        first in prop_oneof![places(), 0..200_000u32],
        gaps in prop::collection::vec(2..257u32, 0..600),
    ) {
        let (mut map, mut at) = (Memory::new(10), first);
        let mut blocks = vec![first];
        for gap in gaps {
            at += gap;
            blocks.push(at);
        }
        for &block in blocks.iter().rev() {
            map.place(block, 1, 1000 + block, true).unwrap();
        }
        let n = blocks.len() as u64;
        prop_assert_eq!(worst_blocks(n, n, range(first, at + 1), 10), map.taken.len() as u64);
    }
}
