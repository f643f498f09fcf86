// SPDX-License-Identifier: GPL-2.0

//! The algorithms of the extent tree, with nodes in memory, against a map of single blocks. Nodes
//! are small (8 entries), so that a few hundred extents make a deep tree.

use proptest::prelude::*;
use rext4_unit::disk;
use std::collections::{BTreeMap, BTreeSet};

#[allow(dead_code)]
#[path = "../../../../rust/fs/extent"]
mod extent {
    pub mod tree;
}
mod worst;

use disk::extent::{
    extent_at, index_at, init_node, Extent, Header, MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN,
    ROOT_ENTRIES,
};
use disk::{superblock::MAX_FILE_BLOCKS, Corrupt};
use extent::tree;
use tree::{Found, Nodes, Place, Store, ROOT_BYTES, WINDOW};

const CAPACITY: u16 = 8;
/// Node blocks are told from data blocks by their number.
const FIRST_NODE: u64 = 1 << 40;

#[derive(Debug, PartialEq)]
enum Failure {
    Corrupt(Corrupt),
    NoSpace,
}

#[derive(Default)]
struct Memory {
    nodes: BTreeMap<u64, Vec<u8>>,
    /// Allocated, whether written or not.
    taken: BTreeSet<u64>,
    next: u64,
    /// Allocations that still succeed.
    budget: Option<u32>,
    /// Freed nodes go back to the budget.
    returns: bool,
    /// Entries of a node, if not `CAPACITY`.
    wide: Option<u16>,
}

impl Nodes for Memory {
    type Error = Failure;
    type Node = Vec<u8>;

    fn corrupt(&self, what: Corrupt) -> Failure {
        Failure::Corrupt(what)
    }

    fn open(&self, place: &Place) -> Result<(Vec<u8>, u16), Failure> {
        let node = self.nodes.get(&place.pblk).expect("a node that is stored");
        let h = Header::read(node).unwrap();
        assert_eq!(h.depth, place.depth);
        assert_eq!(h.max, self.capacity());
        assert!(h.entries > 0 && h.entries <= h.max);
        assert_eq!(index_at(node, 0).unwrap().lblk, place.first);
        assert!(u64::from(place.first) < place.end);
        Ok((node.clone(), h.entries))
    }

    fn window(&self, node: &Vec<u8>, i: u16) -> Result<[u8; WINDOW], Failure> {
        let at = 12 * usize::from(i);
        Ok(node[at..at + WINDOW].try_into().unwrap())
    }

    fn key(&self, node: &Vec<u8>, i: u16) -> Result<u32, Failure> {
        Ok(index_at(node, i).unwrap().lblk)
    }
}

impl Store for Memory {
    type Buf = Vec<u8>;
    type Slot = u64;
    type Memory<T> = Vec<T>;

    fn memory<T>(&self, len: usize, make: fn() -> T) -> Result<Vec<T>, Failure> {
        Ok((0..len).map(|_| make()).collect())
    }

    fn capacity(&self) -> u16 {
        self.wide.unwrap_or(CAPACITY)
    }

    fn copy(&self, node: &Vec<u8>) -> Result<Vec<u8>, Failure> {
        Ok(node.clone())
    }

    fn blank(&self) -> Result<Vec<u8>, Failure> {
        Ok(vec![0xa5; 12 * (usize::from(self.capacity()) + 1) + 4])
    }

    fn alloc(&mut self, _goal: u64) -> Result<u64, Failure> {
        match &mut self.budget {
            Some(0) => return Err(Failure::NoSpace),
            Some(left) => *left -= 1,
            None => (),
        }
        self.next += 1;
        let pblk = FIRST_NODE + self.next;
        self.taken.insert(pblk);
        Ok(pblk)
    }

    fn unalloc(&mut self, pblk: u64) {
        assert!(self.taken.remove(&pblk), "given back twice");
        assert!(!self.nodes.contains_key(&pblk), "given back but stored");
    }

    fn access(&mut self, pblk: u64, fresh: bool) -> Result<u64, Failure> {
        assert!(self.taken.contains(&pblk));
        assert_eq!(fresh, !self.nodes.contains_key(&pblk));
        Ok(pblk)
    }

    fn put(&mut self, slot: u64, buf: &mut Vec<u8>) -> Result<(), Failure> {
        self.nodes.insert(slot, buf.clone());
        Ok(())
    }

    fn free(&mut self, pblk: u64) -> Result<(), Failure> {
        assert!(self.taken.remove(&pblk), "freed twice");
        self.nodes.remove(&pblk).expect("freed a stored node");
        if let Some(left) = self.budget.as_mut().filter(|_| self.returns) {
            *left += 1;
        }
        Ok(())
    }
}

/// A tree, and what it should be: the physical block and state of every logical one.
struct Pair {
    memory: Memory,
    root: [u8; ROOT_BYTES],
    model: BTreeMap<u32, (u64, bool)>,
    next_data: u64,
}

impl Pair {
    fn new() -> Self {
        let mut root = [0; ROOT_BYTES];
        init_node(&mut root, 0, ROOT_ENTRIES).unwrap();
        Pair {
            memory: Memory::default(),
            root,
            model: BTreeMap::new(),
            next_data: 1000,
        }
    }

    fn depth(&self) -> u16 {
        Header::read(&self.root).unwrap().depth
    }

    /// All extents, having checked what holds of every tree, and that no node is lost.
    fn extents(&self) -> Vec<Extent> {
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        let h = Header::read(&self.root).unwrap();
        assert_eq!(h.max, ROOT_ENTRIES);
        assert!(h.depth == 0 || h.entries > 0);
        self.walk(&self.root, h, MAX_FILE_BLOCKS, &mut all, &mut seen);
        assert_eq!(seen, self.memory.taken, "nodes lost, or used twice");
        assert_eq!(seen.len(), self.memory.nodes.len());
        for pair in all.windows(2) {
            assert!(pair[0].end() <= u64::from(pair[1].lblk), "{pair:?}");
        }
        all
    }

    fn walk(
        &self,
        node: &[u8],
        h: Header,
        end: u64,
        all: &mut Vec<Extent>,
        seen: &mut BTreeSet<u64>,
    ) {
        for i in 0..h.entries {
            if h.depth == 0 {
                let e = extent_at(node, i).unwrap();
                assert!(e.len > 0 && e.end() <= end, "{e:?} beyond {end}");
                all.push(e);
                continue;
            }
            let index = index_at(node, i).unwrap();
            let end = match i + 1 < h.entries {
                true => index_at(node, i + 1).unwrap().lblk.into(),
                false => end,
            };
            assert!(seen.insert(index.pblk), "a node with two parents");
            let place = Place {
                pblk: index.pblk,
                depth: h.depth - 1,
                first: index.lblk,
                end,
            };
            let (below, _) = self.memory.open(&place).unwrap();
            let h = Header::read(&below).unwrap();
            self.walk(&below, h, end, all, seen);
        }
    }

    fn check(&self) {
        let mut blocks = BTreeMap::new();
        for e in self.extents() {
            for i in 0..e.len {
                blocks.insert(e.lblk + i, (e.pblk + u64::from(i), e.unwritten));
            }
        }
        assert_eq!(blocks, self.model);
    }

    fn check_lookup(&self, lblk: u32) {
        let found = tree::lookup(&self.memory, &self.root, lblk).unwrap();
        assert!(found.covers(lblk));
        match (found, self.model.get(&lblk)) {
            (Found::Extent(e), Some(&(pblk, unwritten))) => {
                assert_eq!(e.pblk + u64::from(lblk - e.lblk), pblk);
                assert_eq!(e.unwritten, unwritten);
            }
            (Found::Hole { prev, end }, None) => {
                let before = self.model.range(..lblk).next_back();
                assert_eq!(prev.map(|e| e.end() - 1), before.map(|(&l, _)| l.into()));
                let after = self.model.range(lblk..).next();
                assert_eq!(end, after.map_or(MAX_FILE_BLOCKS, |(&l, _)| l.into()));
            }
            (found, model) => panic!("{lblk}: {found:?}, not {model:?}"),
        }
    }

    /// Maps the free part of a range from its start on. `near`: in line with what is before it.
    fn insert(&mut self, lblk: u32, len: u32, unwritten: bool, near: bool) -> Result<(), Failure> {
        let len = (0..len)
            .take_while(|i| !self.model.contains_key(&(lblk + i)))
            .count() as u32;
        if len == 0 {
            return Ok(());
        }
        let before = self.model.range(..lblk).next_back();
        let pblk = match before {
            Some((&l, &(pblk, _))) if near => pblk + u64::from(lblk - l),
            _ => self.next_data,
        };
        self.next_data = self.next_data.max(pblk + u64::from(len)) + 7;
        let e = Extent {
            lblk,
            len,
            pblk,
            unwritten,
        };
        tree::insert(&mut self.memory, &mut self.root, &e)?;
        for i in 0..len {
            self.model
                .insert(lblk + i, (pblk + u64::from(i), unwritten));
        }
        Ok(())
    }

    fn convert(&mut self, lblk: u32, len: u32, unwritten: bool) -> Result<(), Failure> {
        let (mut at, end) = (lblk, u64::from(lblk + len));
        while u64::from(at) < end {
            let next = tree::convert(&mut self.memory, &mut self.root, at, end, unwritten)?;
            assert!(next > at.into() && next <= end);
            for (_, (_, state)) in self.model.range_mut(at..next as u32) {
                *state = unwritten;
            }
            at = next as u32;
        }
        Ok(())
    }

    fn cut(&mut self, start: u32, end: u32, limit: u32) -> Result<(), Failure> {
        let mut before = u64::from(end);
        loop {
            let gone = tree::cut(&mut self.memory, &mut self.root, start, before, |_| limit)?;
            let Some(e) = gone else {
                assert!(self.model.range(start..end).next().is_none());
                return Ok(());
            };
            assert!(e.len <= limit && e.lblk >= start && e.end() <= before);
            for i in 0..e.len {
                let was = self.model.remove(&(e.lblk + i));
                assert_eq!(was, Some((e.pblk + u64::from(i), e.unwritten)));
            }
            assert!(self.model.range(e.lblk..before as u32).next().is_none());
            before = e.lblk.into();
        }
    }
}

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
        1 => (at, 1..60u32, 1..8u32).prop_map(
            |(start, len, limit)| Op::Cut { start, len, limit }
        ),
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
            } => self.convert(lblk, len, unwritten),
            Op::Cut { start, len, limit } => self.cut(start, start + len, limit),
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
        pair.convert(10 * i, 10, false).unwrap();
        pair.check();
        assert!(pair.extents().len() <= 2);
    }
    assert_eq!(pair.extents().len(), 1);
}

fn extent(lblk: u32, len: u32, pblk: u64, unwritten: bool) -> Extent {
    Extent {
        lblk,
        len,
        pblk,
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
    pair.convert(0, MAX_WRITTEN_LEN, true).unwrap();
    pair.check();
    assert_eq!(pair.extents().len(), 2);
}

#[test]
fn the_end_of_the_range() {
    let mut pair = Pair::new();
    let last = u32::MAX - 1;
    let e = extent(last, 1, 77, true);
    tree::insert(&mut pair.memory, &mut pair.root, &e).unwrap();
    for lblk in [0, last - 1, last, u32::MAX] {
        let found = tree::lookup(&pair.memory, &pair.root, lblk).unwrap();
        match lblk {
            l if l == last => assert_eq!(found, Found::Extent(e)),
            u32::MAX => assert!(matches!(found, Found::Hole { prev: Some(_), .. })),
            _ => assert_eq!(
                found,
                Found::Hole {
                    prev: None,
                    end: last.into()
                }
            ),
        }
    }
    let next = tree::convert(&mut pair.memory, &mut pair.root, last, u64::MAX, false);
    assert_eq!(next, Ok(MAX_FILE_BLOCKS));
    let gone = tree::cut(&mut pair.memory, &mut pair.root, 0, u64::MAX, |_| u32::MAX).unwrap();
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
