// SPDX-License-Identifier: GPL-2.0

//! Blocks of pointers in memory, and beside them what the map should be.

use crate::disk::extent::Extent;
use crate::disk::{Corrupt, Lblk, LblkRange, Pblk};
use crate::extent::pointers::{cut_run, lookup_run, place_run, PointerBlocks, PointerStore};
use crate::extent::tree::{Found, ROOT_BYTES};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of pointers are told from data by their number.
const FIRST_BLOCK: u32 = 1 << 31;

#[derive(Debug, PartialEq)]
pub enum Failure {
    Corrupt(Corrupt),
    NoSpace,
    /// What the caller does last has failed.
    NotReady,
}

pub struct Memory {
    pub root: [u8; ROOT_BYTES],
    pub blocks: BTreeMap<Pblk, Vec<u8>>,
    /// The block of each logical one.
    pub model: BTreeMap<u32, u32>,
    pub limit: u32,
    /// Allocated for pointers, whether written or not.
    pub taken: BTreeSet<Pblk>,
    /// Allocations that still succeed.
    pub budget: Option<u32>,
    pub bits: u32,
    next: u32,
}

/// The pointers on the way to a block, by division.
fn path(lblk: u32, per: u32) -> Vec<u32> {
    let (mut rel, mut level) = (u64::from(lblk), 0);
    let mut below = 12;
    while rel >= below {
        rel -= below;
        level += 1;
        below = u64::from(per).pow(level);
    }
    if level == 0 {
        return vec![lblk];
    }
    let mut path = vec![11 + level];
    for _ in 0..level {
        below /= u64::from(per);
        path.push((rel / below) as u32);
        rel %= below;
    }
    path
}

impl Memory {
    pub fn new(bits: u32) -> Self {
        Memory {
            root: [0; ROOT_BYTES],
            blocks: BTreeMap::new(),
            model: BTreeMap::new(),
            limit: u32::MAX,
            taken: BTreeSet::new(),
            budget: None,
            bits,
            next: FIRST_BLOCK,
        }
    }

    /// Has a block point to another, as another driver would.
    pub fn set(&mut self, lblk: u32, pblk: u32) {
        let path = path(lblk, 1 << (self.bits - 2));
        let mut block = None;
        for (n, i) in path.iter().enumerate() {
            let at = *i as usize * 4;
            let array: &mut [u8] = match block {
                None => &mut self.root,
                Some(block) => self.blocks.get_mut(&block).unwrap(),
            };
            let place = &mut array[at..at + 4];
            if n + 1 == path.len() {
                place.copy_from_slice(&pblk.to_le_bytes());
                break;
            }
            let mut next = u32::from_le_bytes((&*place).try_into().unwrap());
            if next == 0 {
                next = self.next;
                self.next += 1;
                place.copy_from_slice(&next.to_le_bytes());
                let empty = vec![0; 1 << self.bits];
                self.blocks.insert(Pblk::new(next.into()), empty);
                self.taken.insert(Pblk::new(next.into()));
            }
            block = Some(Pblk::new(next.into()));
        }
        self.model.insert(lblk, pblk);
    }

    pub fn lookup(&self, lblk: u32) -> Result<Found, Failure> {
        lookup_run(self, &self.root, Lblk::new(lblk))
    }

    /// An answer must be true for all blocks that it is for, and for the first of them at least.
    pub fn check_lookup(&self, lblk: u32) {
        match self.lookup(lblk).unwrap() {
            Found::Extent(e) => {
                assert_eq!(e.lblk, Lblk::new(lblk));
                assert!(e.len > 0 && !e.unwritten);
                for i in 0..e.len {
                    let pblk = u64::from(self.model[&(lblk + i)]);
                    assert_eq!(e.pblk + u64::from(i), Pblk::new(pblk));
                }
            }
            Found::Hole { end, .. } => {
                assert!(end > Lblk::new(lblk));
                let after = self.model.range(lblk..).next();
                assert!(after.is_none_or(|(l, _)| Lblk::new(*l) >= end));
            }
        }
    }
}

impl PointerBlocks for Memory {
    type Error = Failure;
    type Block = Vec<u8>;

    fn corrupt(&self, what: Corrupt) -> Failure {
        Failure::Corrupt(what)
    }

    fn block_bits(&self) -> u32 {
        self.bits
    }

    fn limit(&self) -> Lblk {
        Lblk::new(self.limit)
    }

    fn open(&self, pblk: Pblk) -> Result<Vec<u8>, Failure> {
        let block = self.blocks.get(&pblk).cloned();
        block.ok_or(Failure::Corrupt(Corrupt::MapBlock))
    }

    fn copy_pointers(&self, block: &Vec<u8>, at: usize, to: &mut [u8]) -> Result<(), Failure> {
        to.copy_from_slice(&block[at..at + to.len()]);
        Ok(())
    }
}

impl PointerStore for Memory {
    /// The block, and whether it is new.
    type Access = (Pblk, bool);

    fn take(&mut self, _goal: Option<Pblk>) -> Result<Pblk, Failure> {
        match &mut self.budget {
            Some(0) => return Err(Failure::NoSpace),
            Some(left) => *left -= 1,
            None => (),
        }
        let pblk = Pblk::new(self.next.into());
        self.next += 1;
        self.taken.insert(pblk);
        Ok(pblk)
    }

    fn give_back(&mut self, pblk: Pblk) {
        assert!(self.taken.remove(&pblk), "given back twice");
        self.blocks.remove(&pblk);
    }

    fn change(&mut self, pblk: Pblk) -> Result<(Pblk, bool), Failure> {
        assert!(self.taken.contains(&pblk) && self.blocks.contains_key(&pblk));
        Ok((pblk, false))
    }

    fn create(&mut self, pblk: Pblk) -> Result<(Pblk, bool), Failure> {
        assert!(self.taken.contains(&pblk));
        let zeros = vec![0; 1 << self.bits];
        assert_eq!(self.blocks.insert(pblk, zeros), None);
        Ok((pblk, true))
    }

    fn set_pointers(
        &mut self,
        access: &mut (Pblk, bool),
        at: usize,
        from: &[u8],
    ) -> Result<(), Failure> {
        let block = self.blocks.get_mut(&access.0).unwrap();
        block[at..at + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn finish(&mut self, _access: (Pblk, bool)) -> Result<(), Failure> {
        Ok(())
    }

    fn release(&mut self, pblk: Pblk) {
        assert!(self.taken.remove(&pblk), "freed twice");
        self.blocks.remove(&pblk).expect("freed a stored block");
    }
}

impl Memory {
    /// Has pointers lead to a run, which the model lacks.
    pub fn place(&mut self, lblk: u32, len: u32, pblk: u32, ready: bool) -> Result<(), Failure> {
        let run = Extent {
            lblk: Lblk::new(lblk),
            len,
            pblk: Pblk::new(pblk.into()),
            unwritten: false,
        };
        let mut root = self.root;
        let result = place_run(self, &mut root, &run, |_| match ready {
            true => Ok(()),
            false => Err(Failure::NotReady),
        });
        self.root = root;
        if result.is_ok() {
            self.model.extend((0..len).map(|i| (lblk + i, pblk + i)));
        }
        result
    }

    /// Takes all pointers from the blocks, `most` at a time.
    pub fn cut(&mut self, start: u32, end: u32, most: u32) -> Result<(), Failure> {
        let mut left = Lblk::new(start).until(Lblk::new(end));
        loop {
            let mut root = self.root;
            let gone = cut_run(self, &mut root, left, |_| most)?;
            self.root = root;
            let Some(e) = gone else {
                assert!(self.model.range(start..end).next().is_none());
                return Ok(());
            };
            // None: an empty block of pointers has gone.
            assert!(e.len <= most && e.lblk >= left.start && e.end() <= left.end);
            for i in 0..e.len {
                let was = self.model.remove(&(e.lblk.get() + i)).map(u64::from);
                assert_eq!(was, Some((e.pblk + u64::from(i)).get()));
            }
            let behind = self.model.range(e.lblk.get()..end).next();
            assert!(behind.is_none(), "{behind:?} was left behind");
            left = LblkRange {
                end: e.lblk,
                ..left
            };
        }
    }

    /// What is mapped is the model, and each block of pointers is used once, and for something.
    pub fn check(&self) {
        let (mut found, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for (i, place) in self.root.chunks(4).enumerate() {
            let pointer = u32::from_le_bytes(place.try_into().unwrap());
            let height = (i + 1).saturating_sub(12) as u32;
            let per = 1u64 << (self.bits - 2);
            let first = (0..height).fold(i.min(12) as u64, |sum, h| {
                sum + per.pow(h) * u64::from(h > 0)
            });
            self.walk(pointer, height, first, &mut found, &mut seen);
        }
        assert_eq!(found, self.model);
        assert_eq!(seen, self.taken, "blocks lost, or used twice");
        assert_eq!(seen.len(), self.blocks.len());
    }

    fn walk(
        &self,
        pointer: u32,
        height: u32,
        first: u64,
        found: &mut BTreeMap<u32, u32>,
        seen: &mut BTreeSet<Pblk>,
    ) {
        if pointer == 0 {
            return;
        }
        if height == 0 {
            found.insert(first as u32, pointer);
            return;
        }
        let pblk = Pblk::new(pointer.into());
        assert!(seen.insert(pblk), "a block with two parents");
        let block = &self.blocks[&pblk];
        assert!(block.iter().any(|byte| *byte != 0), "an empty block");
        let below = (1u64 << (self.bits - 2)).pow(height - 1);
        for (i, place) in block.chunks(4).enumerate() {
            let pointer = u32::from_le_bytes(place.try_into().unwrap());
            self.walk(pointer, height - 1, first + i as u64 * below, found, seen);
        }
    }
}
