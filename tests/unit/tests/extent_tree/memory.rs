// SPDX-License-Identifier: GPL-2.0

//! The nodes of a tree in memory.

use crate::disk::extent::{self, index_at, Extent, Header};
use crate::disk::{Corrupt, Lblk, Pblk};
use crate::extent::tree::{NodePlace, Nodes, Store, WINDOW};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub const CAPACITY: u16 = 8;
/// Node blocks are told from data blocks by their number.
const FIRST_NODE: u64 = 1 << 40;

#[derive(Debug, PartialEq)]
pub enum Failure {
    Corrupt(Corrupt),
    NoSpace,
}

#[derive(Default)]
pub struct Memory {
    pub nodes: BTreeMap<Pblk, Vec<u8>>,
    /// Allocated, whether written or not.
    pub taken: BTreeSet<Pblk>,
    next: u64,
    /// Allocations that still succeed.
    pub budget: Option<u32>,
    /// Freed nodes go back to the budget.
    pub returns: bool,
    /// Copies of nodes that were made.
    pub copies: Cell<u32>,
    /// Entries of a node, if not `CAPACITY`.
    pub wide: Option<u16>,
}

impl Nodes for Memory {
    type Error = Failure;
    type Node = (Pblk, Vec<u8>);

    fn corrupt(&self, what: Corrupt) -> Failure {
        Failure::Corrupt(what)
    }

    fn open(&self, place: &NodePlace) -> Result<((Pblk, Vec<u8>), u16), Failure> {
        let node = self.nodes.get(&place.pblk).expect("a node that is stored");
        let h = Header::read(node).unwrap();
        assert_eq!(h.depth, place.depth);
        assert_eq!(h.max, self.capacity());
        assert!(h.entries > 0 && h.entries <= h.max);
        assert_eq!(index_at(node, 0).unwrap().lblk, place.first);
        assert!(place.first < place.end);
        Ok(((place.pblk, node.clone()), h.entries))
    }

    fn window(&self, (_, node): &(Pblk, Vec<u8>), i: u16) -> Result<[u8; WINDOW], Failure> {
        let at = 12 * usize::from(i);
        Ok(node[at..at + WINDOW].try_into().unwrap())
    }

    fn key(&self, (_, node): &(Pblk, Vec<u8>), i: u16) -> Result<Lblk, Failure> {
        Ok(index_at(node, i).unwrap().lblk)
    }
}

impl Store for Memory {
    type Buf = Vec<u8>;
    type Access = Pblk;
    type Memory<T> = Vec<T>;

    fn memory<T>(&self, len: usize, make: fn() -> T) -> Result<Vec<T>, Failure> {
        Ok((0..len).map(|_| make()).collect())
    }

    fn capacity(&self) -> u16 {
        self.wide.unwrap_or(CAPACITY)
    }

    fn copy(&self, (_, node): &(Pblk, Vec<u8>)) -> Result<Vec<u8>, Failure> {
        self.copies.set(self.copies.get() + 1);
        Ok(node.clone())
    }

    fn blank(&self) -> Result<Vec<u8>, Failure> {
        Ok(vec![0xa5; 12 * (usize::from(self.capacity()) + 1) + 4])
    }

    fn alloc(&mut self, _goal: Option<Pblk>) -> Result<Pblk, Failure> {
        match &mut self.budget {
            Some(0) => return Err(Failure::NoSpace),
            Some(left) => *left -= 1,
            None => (),
        }
        self.next += 1;
        let pblk = Pblk::new(FIRST_NODE + self.next);
        self.taken.insert(pblk);
        Ok(pblk)
    }

    fn unalloc(&mut self, pblk: Pblk) {
        assert!(self.taken.remove(&pblk), "given back twice");
        assert!(!self.nodes.contains_key(&pblk), "given back but stored");
    }

    fn access(&mut self, pblk: Pblk) -> Result<Pblk, Failure> {
        assert!(self.taken.contains(&pblk) && self.nodes.contains_key(&pblk));
        Ok(pblk)
    }

    fn access_new(&mut self, pblk: Pblk) -> Result<Pblk, Failure> {
        assert!(self.taken.contains(&pblk) && !self.nodes.contains_key(&pblk));
        Ok(pblk)
    }

    fn splice(
        &mut self,
        (pblk, leaf): &(Pblk, Vec<u8>),
        old: Range<u16>,
        new: &[Extent],
    ) -> Result<(), Failure> {
        let stored = self.nodes.get_mut(pblk).expect("a node that is stored");
        assert_eq!(stored, leaf, "changed since it was looked at");
        extent::splice(stored, old, new).map_err(Failure::Corrupt)
    }

    fn put(&mut self, access: Pblk, buf: &mut Vec<u8>) -> Result<(), Failure> {
        self.nodes.insert(access, buf.clone());
        Ok(())
    }

    fn free(&mut self, pblk: Pblk) {
        assert!(self.taken.remove(&pblk), "freed twice");
        self.nodes.remove(&pblk).expect("freed a stored node");
        if let Some(left) = self.budget.as_mut().filter(|_| self.returns) {
            *left += 1;
        }
    }
}
