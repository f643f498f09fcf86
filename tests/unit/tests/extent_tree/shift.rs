// SPDX-License-Identifier: GPL-2.0

//! Extents that move within the file.

use crate::disk::{Corrupt, Lblk};
use crate::extent::tree::{self, To};
use crate::memory::Failure;
use crate::pair::Pair;

impl Pair {
    /// Takes `len` blocks at `at` out of the file: what lies behind moves to the left. After each
    /// step the tree is whole.
    pub fn collapse(&mut self, at: u32, len: u32) -> Result<(), Failure> {
        self.cut(at, at + len, u32::MAX)?;
        let mut next = Some(Lblk::new(at + len));
        while let Some(first) = next {
            next = tree::shift_left(&mut self.memory, &mut self.root, first, len)?;
            assert!(next.is_none_or(|next| next > first));
            let end = next.map_or(u32::MAX, Lblk::get);
            self.move_model(first.get(), end, |lblk| lblk - len);
            self.check();
        }
        Ok(())
    }

    /// Puts `len` blocks of a hole at `at`: what lies behind moves to the right.
    pub fn insert_hole(&mut self, at: u32, len: u32) -> Result<(), Failure> {
        tree::split(&mut self.memory, &mut self.root, Lblk::new(at))?;
        self.check();
        let mut left = Some(Lblk::new(at).until(Lblk::END));
        while let Some(blocks) = left {
            left = tree::shift_right(&mut self.memory, &mut self.root, blocks, len)?;
            let first = left.map_or(at, |left| left.end.get());
            self.move_model(first, blocks.end.get(), |lblk| lblk + len);
            self.check();
        }
        Ok(())
    }

    fn move_model(&mut self, first: u32, end: u32, to: impl Fn(u32) -> u32) {
        let moved: Vec<_> = self
            .model
            .range(first..end)
            .map(|(&lblk, &block)| (lblk, block))
            .collect();
        for (lblk, _) in &moved {
            self.model.remove(lblk);
        }
        for (lblk, block) in moved {
            assert!(self.model.insert(to(lblk), block).is_none());
        }
    }
}

/// A file of many single blocks, a deep tree of it.
fn deep(count: u32) -> Pair {
    let mut pair = Pair::new();
    for i in 0..count {
        pair.insert(10 + 3 * i, 1, i % 5 == 0, false).unwrap();
    }
    pair
}

#[test]
fn a_deep_tree_moves_leaf_by_leaf() {
    for (at, len) in [
        (0, 1),
        (0, 10),
        (9, 3),
        (10, 1),
        (11, 700),
        (500, 40),
        (2000, 2),
    ] {
        let mut pair = deep(600);
        pair.insert_hole(at, len).unwrap();
        pair.collapse(at, len).unwrap();
        pair.check();
        let mut pair = deep(600);
        pair.collapse(at, len).unwrap();
        pair.insert_hole(at, len).unwrap();
        for lblk in 0..1900 {
            pair.check_lookup(lblk);
        }
    }
}

/// What was split to let something in is one again when that has gone.
#[test]
fn halves_join_again() {
    let mut pair = Pair::new();
    pair.insert(0, 100, false, false).unwrap();
    pair.insert_hole(40, 7).unwrap();
    assert_eq!(pair.extents().len(), 2);
    pair.collapse(40, 7).unwrap();
    assert_eq!(pair.extents().len(), 1);
    // An unwritten one does not join a written one.
    pair.convert(40, 60, To::Unwritten).unwrap();
    pair.insert_hole(40, 7).unwrap();
    pair.collapse(40, 7).unwrap();
    assert_eq!(pair.extents().len(), 2);
}

/// Four entries and one that joins: the root has room for them again.
#[test]
fn a_tree_becomes_flat() {
    let mut pair = Pair::new();
    for i in 0..3 {
        pair.insert(100 + 2 * i, 1, false, false).unwrap();
    }
    pair.insert(0, 10, false, false).unwrap();
    pair.insert_hole(5, 1).unwrap();
    assert_eq!(pair.depth(), 1);
    pair.collapse(5, 1).unwrap();
    assert_eq!((pair.depth(), pair.memory.taken.len()), (0, 0));
}

#[test]
fn nothing_moves_over_the_end() {
    let mut pair = Pair::new();
    let last = u32::MAX - 2;
    pair.insert(last, 1, false, false).unwrap();
    pair.insert_hole(0, 1).unwrap();
    let blocks = Lblk::FIRST.until(Lblk::END);
    let result = tree::shift_right(&mut pair.memory, &mut pair.root, blocks, 1);
    assert_eq!(result, Err(Failure::Corrupt(Corrupt::ExtentRange)));
    pair.check();
}

/// A caller that has not made room, or has not split: nothing changes.
#[test]
fn what_is_in_the_way_stays() {
    let mut pair = Pair::new();
    pair.insert(0, 10, false, false).unwrap();
    pair.insert(12, 10, false, false).unwrap();
    let at = Lblk::new(12);
    let left = tree::shift_left(&mut pair.memory, &mut pair.root, at, 3);
    assert_eq!(left, Err(Failure::Corrupt(Corrupt::ExtentOrder)));
    let blocks = Lblk::new(5).until(Lblk::END);
    let right = tree::shift_right(&mut pair.memory, &mut pair.root, blocks, 3);
    assert_eq!(right, Err(Failure::Corrupt(Corrupt::ExtentOrder)));
    pair.check();
}

/// An extent that has grown over the place, with nothing behind it: no success without a move.
#[test]
fn the_last_one_is_in_the_way() {
    let mut pair = Pair::new();
    pair.insert(0, 10, false, false).unwrap();
    let blocks = Lblk::new(5).until(Lblk::END);
    let right = tree::shift_right(&mut pair.memory, &mut pair.root, blocks, 3);
    assert_eq!(right, Err(Failure::Corrupt(Corrupt::ExtentOrder)));
    pair.check();
}

/// The split is what may want a block. Without one nothing has changed.
#[test]
fn a_split_without_space() {
    let mut pair = Pair::new();
    for i in 0..4 {
        pair.insert(10 * i, 5, false, false).unwrap();
    }
    pair.memory.budget = Some(0);
    assert_eq!(pair.insert_hole(2, 4), Err(Failure::NoSpace));
    pair.check();
    pair.insert_hole(7, 4).unwrap();
    pair.collapse(0, 7).unwrap();
    pair.check();
}
