// SPDX-License-Identifier: GPL-2.0

//! The way from the root to a leaf, looked at where it lies.
//!
//! Most changes replace a few neighbouring entries of one leaf that has room for the new ones, and
//! whose first block stays the first: these are made where the leaf lies. All others are an
//! [`Edit`](super::edit::Edit), which works on copies of the whole path.

use super::{key_at, search_node, window_of, NodePlace, Store, ROOT_BYTES, WINDOW};
use crate::disk::{
    extent::{self, Extent, Header, MAX_DEPTH, ROOT_ENTRIES},
    Corrupt, Lblk, Pblk,
};
use core::ops::Range;

/// A node below the root that a path leads through.
pub(super) struct Passed<N> {
    pub(super) node: N,
    pub(super) pblk: Pblk,
    header: Header,
    /// In an inner node, the entry of the next level.
    pub(super) pos: u16,
}

/// A path from the root to a leaf, to be changed by at most one splice.
pub(super) struct LeafPath<'s, S: Store> {
    pub(super) store: &'s mut S,
    pub(super) root: [u8; ROOT_BYTES],
    root_header: Header,
    /// In the root, the entry of the next level, if there is one.
    pub(super) root_pos: u16,
    /// The nodes below the root, from there on.
    pub(super) below: [Option<Passed<S::Node>>; MAX_DEPTH as usize],
    /// The entry of the leaf behind the last one that begins at or before the block looked for.
    pub(super) at: u16,
    /// The first logical block that belongs to the next leaf.
    pub(super) end: Lblk,
    /// There is no leaf behind this one.
    pub(super) rightmost: bool,
}

impl<'s, S: Store> LeafPath<'s, S> {
    /// Finds the leaf where `lblk` is mapped or would be.
    #[inline(never)]
    pub(super) fn find(
        store: &'s mut S,
        root: &[u8; ROOT_BYTES],
        lblk: Lblk,
    ) -> Result<Self, S::Error> {
        let header = Header::read(root).map_err(|e| store.corrupt(e))?;
        if header.depth > MAX_DEPTH {
            return Err(store.corrupt(Corrupt::ExtentDepth));
        }
        let at = extent::search(root, header.entries, lblk).map_err(|e| store.corrupt(e))?;
        let mut path = LeafPath {
            store,
            root: *root,
            root_header: header,
            root_pos: at,
            below: [const { None }; MAX_DEPTH as usize],
            at,
            end: Lblk::END,
            rightmost: true,
        };
        for l in 0..path.depth() {
            path.go_down(l, lblk)?;
        }
        Ok(path)
    }

    /// Levels below the root.
    pub(super) fn depth(&self) -> usize {
        self.root_header.depth.into()
    }

    /// From the node of level `l`, where `at` is known, to the one below.
    fn go_down(&mut self, l: usize, lblk: Lblk) -> Result<(), S::Error> {
        // What is before the first key will go to the first leaf.
        let pos = self.at.saturating_sub(1);
        let index = extent::index_at(&self.window(l, pos)?, 0).map_err(|e| self.bad(e))?;
        if pos + 1 < self.header(l)?.entries {
            self.end = key_at(&self.window(l, pos + 1)?, 0).map_err(|e| self.bad(e))?;
            self.rightmost = false;
        }
        match l.checked_sub(1).and_then(|i| self.below.get_mut(i)) {
            Some(Some(passed)) => passed.pos = pos,
            _ => self.root_pos = pos,
        }
        let place = NodePlace {
            pblk: index.pblk,
            depth: (self.depth() - l - 1) as u16,
            first: index.lblk,
            end: self.end,
        };
        let (node, entries) = self.store.open(&place)?;
        let header = Header::read(&self.store.window(&node, 0)?).map_err(|e| self.bad(e))?;
        self.at = search_node(&*self.store, &node, entries, lblk)?;
        if let Some(level) = self.below.get_mut(l) {
            *level = Some(Passed {
                node,
                pblk: index.pblk,
                header: Header { entries, ..header },
                pos: self.at,
            });
        }
        Ok(())
    }

    pub(super) fn bad(&self, what: Corrupt) -> S::Error {
        self.store.corrupt(what)
    }

    /// The node of level `l`, unless that is the root.
    fn node(&self, l: usize) -> Option<&Passed<S::Node>> {
        self.below.get(l.checked_sub(1)?)?.as_ref()
    }

    fn header(&self, l: usize) -> Result<Header, S::Error> {
        match self.node(l) {
            Some(passed) => Ok(passed.header),
            None if l == 0 => Ok(self.root_header),
            None => Err(self.bad(Corrupt::ExtentDepth)),
        }
    }

    /// Entry `i` of the node of level `l`, and what is before it.
    fn window(&self, l: usize, i: u16) -> Result<[u8; WINDOW], S::Error> {
        match self.node(l) {
            Some(passed) => self.store.window(&passed.node, i),
            None => window_of(&self.root, i).map_err(|e| self.bad(e)),
        }
    }

    /// How many entries the leaf has.
    pub(super) fn len(&self) -> Result<u16, S::Error> {
        self.header(self.depth()).map(|h| h.entries)
    }

    /// Entry `i` of the leaf, if it has so many.
    pub(super) fn entry(&self, i: u16) -> Result<Option<Extent>, S::Error> {
        if i >= self.len()? {
            return Ok(None);
        }
        let window = self.window(self.depth(), i)?;
        extent::extent_at(&window, 0)
            .map(Some)
            .map_err(|e| self.bad(e))
    }

    /// The number of entries of the leaf that begin before `lblk`.
    pub(super) fn entries_before(&self, lblk: Lblk) -> Result<u16, S::Error> {
        let Some(last) = lblk.get().checked_sub(1).map(Lblk::new) else {
            return Ok(0);
        };
        let entries = self.len()?;
        match self.node(self.depth()) {
            Some(leaf) => search_node(&*self.store, &leaf.node, entries, last),
            None => extent::search(&self.root, entries, last).map_err(|e| self.bad(e)),
        }
    }

    /// Replaces the entries `old` of the leaf by the extents of `new`, where it lies. The root, if
    /// that is the leaf, is brought up to date.
    pub(super) fn splice_leaf(
        self,
        root: &mut [u8; ROOT_BYTES],
        old: Range<u16>,
        new: &[Extent],
    ) -> Result<(), S::Error> {
        let leaf = self.depth();
        let LeafPath { store, below, .. } = self;
        if let Some(leaf) = leaf.checked_sub(1).and_then(|i| below.get(i)?.as_ref()) {
            return store.splice(&leaf.node, old, new);
        }
        let mut changed = *root;
        extent::splice(&mut changed[..], old, new).map_err(|e| store.corrupt(e))?;
        *root = changed;
        Ok(())
    }

    /// Whether no other node has to know of it: the leaf has room and keeps its key (so it does not
    /// become empty), and neither it nor what leads to it fits into the root then.
    pub(super) fn is_for_leaf(&self, old: &Range<u16>, new: &[Extent]) -> Result<bool, S::Error> {
        let h = self.header(self.depth())?;
        let (added, removed) = (new.len() as u16, old.len() as u16);
        let entries = h.entries.saturating_sub(removed).saturating_add(added);
        if self.depth() == 0 || entries > h.max {
            return Ok(entries <= h.max);
        }
        if old.start == 0 {
            let key = self.entry(0)?.map(|first| first.lblk);
            if new.first().map(|first| first.lblk) != key {
                return Ok(false);
            }
        }
        let only_child = if self.depth() == 1 {
            entries
        } else {
            self.header(1)?.entries
        };
        let merges = self.root_header.entries == 1 && only_child <= ROOT_ENTRIES;
        Ok(added >= removed || !merges)
    }
}
