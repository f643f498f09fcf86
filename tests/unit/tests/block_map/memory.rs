// SPDX-License-Identifier: GPL-2.0

//! Blocks of pointers in memory, and beside them what the map should be.

use crate::disk::{Corrupt, Lblk, Pblk};
use crate::extent::pointers::{lookup_run, PointerBlocks};
use crate::extent::tree::{Found, ROOT_BYTES};
use std::collections::BTreeMap;

/// Blocks of pointers are told from data by their number.
const FIRST_BLOCK: u32 = 1 << 31;

#[derive(Debug, PartialEq)]
pub enum Failure {
    Corrupt(Corrupt),
}

pub struct Memory {
    pub root: [u8; ROOT_BYTES],
    pub blocks: BTreeMap<Pblk, Vec<u8>>,
    /// The block of each logical one.
    pub model: BTreeMap<u32, u32>,
    pub limit: u32,
    bits: u32,
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
