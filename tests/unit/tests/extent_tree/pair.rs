// SPDX-License-Identifier: GPL-2.0

//! A tree beside a map of single blocks.

use crate::disk::extent::{extent_at, index_at, init_node, Extent, Header, ROOT_ENTRIES};
use crate::disk::{Lblk, Pblk};
use crate::extent::tree::{self, Found, NodePlace, Nodes, To, ROOT_BYTES};
use crate::memory::{Failure, Memory};
use std::collections::{BTreeMap, BTreeSet};

/// A tree, and what it should be: the physical block and state of every logical one.
pub struct Pair {
    pub memory: Memory,
    pub root: [u8; ROOT_BYTES],
    pub model: BTreeMap<u32, (Pblk, bool)>,
    next_data: Pblk,
}

impl Pair {
    pub fn new() -> Self {
        let mut root = [0; ROOT_BYTES];
        init_node(&mut root, 0, ROOT_ENTRIES).unwrap();
        Pair {
            memory: Memory::default(),
            root,
            model: BTreeMap::new(),
            next_data: Pblk::new(1000),
        }
    }

    pub fn depth(&self) -> u16 {
        Header::read(&self.root).unwrap().depth
    }

    /// All extents, having checked what holds of every tree, and that no node is lost.
    pub fn extents(&self) -> Vec<Extent> {
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        let h = Header::read(&self.root).unwrap();
        assert_eq!(h.max, ROOT_ENTRIES);
        assert!(h.depth == 0 || h.entries > 0);
        self.walk(&self.root, h, Lblk::END, &mut all, &mut seen);
        assert_eq!(seen, self.memory.taken, "nodes lost, or used twice");
        assert_eq!(seen.len(), self.memory.nodes.len());
        for pair in all.windows(2) {
            assert!(pair[0].end() <= pair[1].lblk, "{pair:?}");
        }
        all
    }

    fn walk(
        &self,
        node: &[u8],
        h: Header,
        end: Lblk,
        all: &mut Vec<Extent>,
        seen: &mut BTreeSet<Pblk>,
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
                true => index_at(node, i + 1).unwrap().lblk,
                false => end,
            };
            assert!(seen.insert(index.pblk), "a node with two parents");
            let place = NodePlace {
                pblk: index.pblk,
                depth: h.depth - 1,
                first: index.lblk,
                end,
            };
            let ((_, below), _) = self.memory.open(&place).unwrap();
            let h = Header::read(&below).unwrap();
            self.walk(&below, h, end, all, seen);
        }
    }

    pub fn check(&self) {
        let mut blocks = BTreeMap::new();
        for e in self.extents() {
            for i in 0..e.len {
                blocks.insert(e.lblk.get() + i, (e.pblk + u64::from(i), e.unwritten));
            }
        }
        assert_eq!(blocks, self.model);
    }

    pub fn check_lookup(&self, lblk: u32) {
        let at = Lblk::new(lblk);
        let found = tree::lookup_extent(&self.memory, &self.root, at).unwrap();
        assert!(found.covers(at));
        match (found, self.model.get(&lblk)) {
            (Found::Extent(e), Some(&(pblk, unwritten))) => {
                assert_eq!(e.pblk + u64::from(at - e.lblk), pblk);
                assert_eq!(e.unwritten, unwritten);
            }
            (Found::Hole { prev, end }, None) => {
                let before = self.model.range(..lblk).next_back();
                assert_eq!(
                    prev.map(|e| e.end()),
                    before.map(|(&l, _)| Lblk::new(l + 1))
                );
                let after = self.model.range(lblk..).next();
                assert_eq!(end, after.map_or(Lblk::END, |(&l, _)| Lblk::new(l)));
            }
            (found, model) => panic!("{lblk}: {found:?}, not {model:?}"),
        }
    }

    /// Maps the free part of a range from its start on. `near`: in line with what is before it.
    pub fn insert(
        &mut self,
        lblk: u32,
        len: u32,
        unwritten: bool,
        near: bool,
    ) -> Result<(), Failure> {
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
            lblk: Lblk::new(lblk),
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

    pub fn convert(&mut self, lblk: u32, len: u32, to: To) -> Result<(), Failure> {
        let (mut at, end) = (Lblk::new(lblk), Lblk::new(lblk + len));
        while at < end {
            let next = tree::convert(&mut self.memory, &mut self.root, at.until(end), to)?;
            assert!(next > at && next <= end);
            for (_, (_, state)) in self.model.range_mut(at.get()..next.get()) {
                *state = to == To::Unwritten;
            }
            at = next;
        }
        Ok(())
    }

    pub fn cut(&mut self, start: u32, end: u32, limit: u32) -> Result<(), Failure> {
        let (first, mut before) = (Lblk::new(start), Lblk::new(end));
        loop {
            let blocks = first.until(before);
            let mut also = Vec::new();
            let more = |e: &Extent| {
                let goes = also.len() < limit as usize % 8;
                also.extend(goes.then_some(*e));
                goes
            };
            let gone = tree::cut(&mut self.memory, &mut self.root, blocks, (|_| limit, more))?;
            let Some(e) = gone else {
                assert!(also.is_empty() && self.model.range(start..end).next().is_none());
                return Ok(());
            };
            assert!(e.len <= limit);
            for e in std::iter::once(e).chain(also) {
                assert!(e.lblk >= first && e.end() <= before);
                for i in 0..e.len {
                    let was = self.model.remove(&(e.lblk.get() + i));
                    assert_eq!(was, Some((e.pblk + u64::from(i), e.unwritten)));
                }
                let range = e.lblk.get()..before.get();
                assert!(self.model.range(range).next().is_none());
                before = e.lblk;
            }
        }
    }
}
