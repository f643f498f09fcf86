// SPDX-License-Identifier: GPL-2.0

//! The algorithms of the extent tree, with nodes in memory, against a map of single blocks. Nodes
//! are small (8 entries), so that a few hundred extents make a deep tree.

use rext4_unit::disk;

#[allow(dead_code)]
#[path = "../../../../rust/fs/extent"]
mod extent {
    pub mod tree;
}
mod exchange;
mod memory;
mod pair;
mod random;
mod shift;
mod worst;

use disk::extent::{Extent, MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN};
use disk::{Corrupt, Lblk, LblkRange, Pblk};
use extent::tree::{self, Found, To};
use memory::{Failure, CAPACITY};
use pair::Pair;

/// Extents of one block each, none of which continues another, in a scattered order.
fn scattered(pair: &mut Pair, count: u32) -> Result<(), Failure> {
    for i in 0..count {
        let lblk = 2 * (i.wrapping_mul(40503) % 65536);
        pair.insert(lblk, 1, false, false)?;
    }
    Ok(())
}

#[test]
fn all_depths_up_and_down() {
    let mut pair = Pair::new();
    let full = scattered(&mut pair, 60000);
    // With nodes this small five levels are not enough for all.
    assert_eq!(full, Err(Failure::Corrupt(Corrupt::ExtentDepth)));
    assert_eq!(pair.depth(), 5);
    pair.check();
    for lblk in (0..140000).step_by(37) {
        pair.check_lookup(lblk);
    }
    let blocks: Vec<u32> = pair.model.keys().copied().collect();
    for (i, lblk) in blocks.iter().enumerate() {
        // From the front, so that keys change at every level.
        pair.cut(*lblk, lblk + 1, 1).unwrap();
        if i % 500 == 0 {
            pair.check();
        }
    }
    assert_eq!(pair.depth(), 0);
    pair.check();
}

/// What is left of a deep tree are two chains of nodes with one entry each; taking one of them away
/// frees both.
#[test]
fn chains_of_single_nodes_collapse() {
    let mut pair = Pair::new();
    let _ = scattered(&mut pair, 60000);
    let (first, last) = {
        let mut keys = pair.model.keys();
        (*keys.next().unwrap(), *keys.next_back().unwrap())
    };
    for gone in [first, last] {
        let mut pair = Pair::new();
        let _ = scattered(&mut pair, 60000);
        pair.cut(first + 1, last, 1).unwrap();
        pair.check();
        assert_eq!((pair.depth(), pair.memory.taken.len()), (5, 10));
        pair.cut(gone, gone + 1, 1).unwrap();
        pair.check();
        assert_eq!((pair.depth(), pair.memory.taken.len()), (0, 0));
    }
}

/// A file written from start to end fills its nodes.
#[test]
fn appending_leaves_full_nodes() {
    let mut pair = Pair::new();
    for i in 0..256 {
        pair.insert(2 * i, 1, false, false).unwrap();
    }
    pair.check();
    let leaves = 256 / u32::from(CAPACITY);
    assert!(pair.memory.taken.len() as u32 <= leaves + leaves / 4 + 2);
}

/// Writing into a preallocated file in order moves one boundary and needs no node.
#[test]
fn converting_in_order_takes_no_space() {
    let mut pair = Pair::new();
    pair.insert(0, 1000, true, false).unwrap();
    pair.memory.budget = Some(0);
    for i in 0..100 {
        pair.convert(10 * i, 10, To::Written).unwrap();
        pair.check();
        assert!(pair.extents().len() <= 2);
    }
    assert_eq!(pair.extents().len(), 1);
}

fn extent(lblk: u32, len: u32, pblk: u64, unwritten: bool) -> Extent {
    Extent {
        lblk: Lblk::new(lblk),
        len,
        pblk: Pblk::new(pblk),
        unwritten,
    }
}

#[test]
fn extents_keep_to_their_longest() {
    for (unwritten, most) in [(false, MAX_WRITTEN_LEN), (true, MAX_UNWRITTEN_LEN)] {
        let mut pair = Pair::new();
        for i in 0..3 {
            let (lblk, pblk) = (i * (most - 1), 5000 + u64::from(i * (most - 1)));
            let e = extent(lblk, most - 1, pblk, unwritten);
            tree::insert(&mut pair.memory, &mut pair.root, &e).unwrap();
        }
        let last = extent(3 * (most - 1), 1, 5000 + 3 * u64::from(most - 1), unwritten);
        tree::insert(&mut pair.memory, &mut pair.root, &last).unwrap();
        let lens: Vec<u32> = pair.extents().iter().map(|e| e.len).collect();
        assert_eq!(lens, [most - 1, most - 1, most]);
    }
    // A written extent of full length does not fit into one unwritten.
    let mut pair = Pair::new();
    pair.insert(0, MAX_WRITTEN_LEN, false, false).unwrap();
    pair.convert(0, MAX_WRITTEN_LEN, To::Unwritten).unwrap();
    pair.check();
    assert_eq!(pair.extents().len(), 2);
}

#[test]
fn the_end_of_the_range() {
    let mut pair = Pair::new();
    let last = u32::MAX - 1;
    for beyond in [extent(u32::MAX, 1, 77, true), extent(last, 2, 77, true)] {
        assert!(tree::insert(&mut pair.memory, &mut pair.root, &beyond).is_err());
    }
    let e = extent(last, 1, 77, true);
    tree::insert(&mut pair.memory, &mut pair.root, &e).unwrap();
    for lblk in [0, last - 1, last, u32::MAX] {
        let found = tree::lookup_extent(&pair.memory, &pair.root, Lblk::new(lblk)).unwrap();
        match lblk {
            l if l == last => assert_eq!(found, Found::Extent(e)),
            u32::MAX => assert!(matches!(found, Found::Hole { prev: Some(_), .. })),
            _ => assert_eq!(
                found,
                Found::Hole {
                    prev: None,
                    end: Lblk::new(last)
                }
            ),
        }
    }
    let next = tree::convert(
        &mut pair.memory,
        &mut pair.root,
        Lblk::new(last).until(Lblk::END),
        To::Written,
    );
    assert_eq!(next, Ok(Lblk::END));
    let all = LblkRange::ALL;
    let gone = tree::cut(
        &mut pair.memory,
        &mut pair.root,
        all,
        (|_| u32::MAX, |_| true),
    )
    .unwrap();
    assert_eq!(gone, Some(extent(last, 1, 77, false)));
    assert!(pair.extents().is_empty());
}

#[test]
fn nothing_is_mapped_twice() {
    let mut pair = Pair::new();
    pair.insert(100, 10, false, false).unwrap();
    for (lblk, len) in [(100, 1), (95, 6), (109, 4), (90, 40)] {
        let e = extent(lblk, len, 9000, false);
        let result = tree::insert(&mut pair.memory, &mut pair.root, &e);
        assert_eq!(result, Err(Failure::Corrupt(Corrupt::ExtentOrder)));
        pair.check();
    }
}

/// What changes one leaf and nothing else is done where that lies.
#[test]
fn a_leaf_changes_where_it_lies() {
    let mut pair = Pair::new();
    for i in 0..200 {
        pair.insert(10 * i, 4, true, false).unwrap();
    }
    assert!(pair.depth() > 1);
    // Every second one, so that no leaf becomes empty, is full, or loses its first block.
    for i in (1..200).step_by(2) {
        pair.cut(10 * i, 10 * i + 1, 1).unwrap();
    }
    pair.check();
    let (nodes, mut copied) = (pair.memory.taken.len(), 0);
    for i in (1..200).step_by(2) {
        pair.memory.copies.set(0);
        pair.convert(10 * i + 1, 3, To::Written).unwrap();
        pair.check();
        copied += pair.memory.copies.get();
        // The last block of an extent, which is one entry more where there are two states.
        pair.cut(10 * i + 3, 10 * i + 4, 1).unwrap();
        pair.check();
        copied += pair.memory.copies.get();
    }
    assert_eq!((copied, pair.memory.taken.len()), (0, nodes));
}

/// What the root has room for needs no leaf.
#[test]
fn what_fits_moves_into_the_root() {
    let mut pair = Pair::new();
    for i in 0..6 {
        pair.insert(2 * i, 1, false, false).unwrap();
    }
    for (gone, depth) in [(6, 1), (4, 0)] {
        pair.cut(gone, gone + 1, 1).unwrap();
        pair.check();
        assert_eq!(pair.depth(), depth);
    }
    assert!(pair.memory.taken.is_empty());
}
