// SPDX-License-Identifier: GPL-2.0

//! One change of a tree: the nodes of a path are copied, changed and written back.

mod both;
mod shift;
mod shrink;

pub(super) use both::{splice_both, Splice};

use super::{
    key_at,
    level::{copy_entries, Image, Level, Work},
    path::LeafPath,
    Store, ROOT_BYTES,
};
use crate::disk::{
    extent::{self, Extent, ExtentIndex, Header, MAX_DEPTH, ROOT_ENTRIES},
    Corrupt, Pblk,
};
use core::ops::Range;

/// Nodes with fewer places are valid but not ours: there are none in practice, and splitting needs
/// some room to work with.
const MIN_PLACES: u16 = 8;

impl<S: Store> LeafPath<'_, S> {
    /// Replaces the entries `old` of the leaf by the extents of `new`, and brings `root` up to
    /// date. Blocks are allocated before anything changes.
    pub(super) fn splice(
        self,
        root: &mut [u8; ROOT_BYTES],
        old: Range<u16>,
        new: &[Extent],
    ) -> Result<(), S::Error> {
        if self.is_for_leaf(&old, new)? {
            self.splice_leaf(root, old, new)
        } else {
            Edit::copy(self)?.splice(root, old, new)
        }
    }
}

/// A path from the root to a leaf in copies, to be changed by at most one [`Edit::splice`].
pub(super) struct Edit<'s, S: Store> {
    store: &'s mut S,
    /// The root, the levels below it, and one more if the tree grows.
    levels: S::Memory<Work<S>>,
    /// Index of the leaf in `levels`, and so the depth of the tree.
    leaf: usize,
    /// There is no leaf behind this one.
    rightmost: bool,
}

impl<'s, S: Store> Edit<'s, S> {
    /// Copies the nodes of a path.
    #[inline(never)]
    pub(super) fn copy(path: LeafPath<'s, S>) -> Result<Self, S::Error> {
        let leaf = path.depth();
        let levels = path.store.memory(leaf + 2, Work::new)?;
        let mut this = Edit {
            store: path.store,
            levels,
            leaf,
            rightmost: path.rightmost,
        };
        this.set_level(
            0,
            Level {
                image: Image::Root(path.root),
                pblk: Pblk::default(),
                pos: path.root_pos,
                dirty: false,
                fresh: false,
                dead: false,
            },
        )?;
        for (l, passed) in (1..).zip(path.below.iter().flatten()) {
            let level = Level {
                image: Image::Block(this.store.copy(&passed.node)?),
                pblk: passed.pblk,
                pos: passed.pos,
                dirty: false,
                fresh: false,
                dead: false,
            };
            this.set_level(l, level)?;
        }
        Ok(this)
    }

    fn bad(&self, what: Corrupt) -> S::Error {
        self.store.corrupt(what)
    }

    fn set_level(&mut self, l: usize, level: Level<S::Buf>) -> Result<(), S::Error> {
        match self.levels.get_mut(l) {
            Some(work) => {
                work.node = Some(level);
                Ok(())
            }
            None => Err(self.store.corrupt(Corrupt::ExtentDepth)),
        }
    }

    fn level(&self, l: usize) -> Result<&Level<S::Buf>, S::Error> {
        let level = self.levels.get(l).and_then(|work| work.node.as_ref());
        level.ok_or_else(|| self.bad(Corrupt::ExtentDepth))
    }

    /// Level `l`, to be changed.
    fn level_mut(&mut self, l: usize) -> Result<&mut Level<S::Buf>, S::Error> {
        match self.levels.get_mut(l).and_then(|work| work.node.as_mut()) {
            Some(level) => {
                level.dirty = true;
                Ok(level)
            }
            None => Err(self.store.corrupt(Corrupt::ExtentDepth)),
        }
    }

    fn header(&self, l: usize) -> Result<Header, S::Error> {
        Header::read(self.level(l)?.image.bytes()).map_err(|e| self.bad(e))
    }

    /// Replaces the entries `old` of the leaf by the extents of `new`, writes the path back and
    /// brings `root` up to date. Blocks are allocated before anything changes.
    fn splice(
        mut self,
        root: &mut [u8; ROOT_BYTES],
        old: Range<u16>,
        new: &[Extent],
    ) -> Result<(), S::Error> {
        if let Err(e) = self.change(old, new).and_then(|()| self.access()) {
            self.abandon();
            return Err(e);
        }
        self.finish(root)
    }

    /// Writes the changed path back. Nothing can fail any more but the journal.
    fn finish(mut self, root: &mut [u8; ROOT_BYTES]) -> Result<(), S::Error> {
        self.write()?;
        if let Image::Root(bytes) = &self.level(0)?.image {
            *root = *bytes;
        }
        for pblk in self.levels.iter().flat_map(|work| work.freed).flatten() {
            self.store.free(pblk);
        }
        Ok(())
    }

    fn change(&mut self, old: Range<u16>, new: &[Extent]) -> Result<(), S::Error> {
        let (added, removed) = (new.len() as u16, old.len() as u16);
        let (nodes, grow) = self.plan(added, removed)?;
        // Behind the leaf, which has a block unless it is the root.
        let leaf = self.level(self.leaf)?.pblk;
        let goal = (self.leaf > 0).then_some(leaf + 1);
        for work in self.levels.iter_mut().take(nodes) {
            let buf = self.store.blank()?;
            work.spare = Some((self.store.alloc(goal)?, buf));
        }
        if grow {
            self.grow()?;
        }
        self.splice_leaf(old, new)?;
        if added < removed {
            self.merge_up()?;
        }
        Ok(())
    }

    /// How many new nodes replacing entries takes, and whether the root has to move down.
    fn plan(&self, added: u16, removed: u16) -> Result<(usize, bool), S::Error> {
        let (mut added, mut removed, mut nodes) = (added, removed, 0);
        let mut l = self.leaf;
        loop {
            let h = self.header(l)?;
            if h.entries.saturating_sub(removed).saturating_add(added) <= h.max {
                return Ok((nodes, false));
            }
            nodes += 1;
            if l == 0 {
                if h.depth >= MAX_DEPTH {
                    return Err(self.bad(Corrupt::ExtentDepth));
                }
                return Ok((nodes, true));
            }
            if h.max < MIN_PLACES {
                return Err(self.bad(Corrupt::ExtentMax));
            }
            // The node is split: one more entry in its parent.
            (added, removed) = (1, 0);
            l -= 1;
        }
    }

    fn take_spare(&mut self) -> Result<(Pblk, S::Buf), S::Error> {
        let spare = self.levels.iter_mut().find_map(|work| work.spare.take());
        spare.ok_or_else(|| self.bad(Corrupt::ExtentEntries))
    }

    /// Moves the contents of the root into a new node below it.
    fn grow(&mut self) -> Result<(), S::Error> {
        let (pblk, mut buf) = self.take_spare()?;
        let capacity = self.store.capacity();
        let old = self.header(0)?;
        let bad = |e| self.store.corrupt(e);
        let root = self.level(0)?;
        let (bytes, pos) = (root.image.bytes(), root.pos);
        let first = key_at(bytes, 0).map_err(bad)?;
        extent::init_node(buf.as_mut(), old.depth, capacity).map_err(bad)?;
        copy_entries(bytes, 0..old.entries, buf.as_mut()).map_err(bad)?;

        let mut bytes = [0; ROOT_BYTES];
        extent::init_node(&mut bytes, old.depth + 1, ROOT_ENTRIES).map_err(bad)?;
        extent::open_gap(&mut bytes, 0, 1).map_err(bad)?;
        extent::put_index(&mut bytes, 0, &ExtentIndex { lblk: first, pblk }).map_err(bad)?;

        // The last place is free: the depth has been checked.
        self.levels.rotate_right(1);
        self.leaf += 1;
        let moved = Level {
            image: Image::Block(buf),
            pblk,
            pos,
            dirty: true,
            fresh: true,
            dead: false,
        };
        self.set_level(1, moved)?;
        let root = Level {
            image: Image::Root(bytes),
            pblk: Pblk::default(),
            pos: 0,
            dirty: true,
            fresh: false,
            dead: false,
        };
        self.set_level(0, root)
    }

    fn splice_leaf(&mut self, old: Range<u16>, new: &[Extent]) -> Result<(), S::Error> {
        let l = self.leaf;
        let h = self.header(l)?;
        let (at, removed) = (old.start, old.len() as u16);
        let fits = h.entries.saturating_sub(removed) + new.len() as u16 <= h.max;
        let put = |node: &mut [u8], at: u16| extent::splice(node, at..at + removed, new);
        if !fits {
            let index = self.split(l, old, put)?;
            return self.add_index(l, index);
        }
        let level = self.level_mut(l)?;
        put(level.image.bytes_mut(), at).map_err(|e| self.bad(e))?;
        if l > 0 && self.header(l)?.entries == 0 {
            return self.drop_node(l);
        }
        match at {
            0 => self.fix_keys(l),
            _ => Ok(()),
        }
    }

    /// Adds the entry of a node split off from node `l` to the parent; the parent, if full, is
    /// split too, and so on up.
    fn add_index(&mut self, mut l: usize, mut index: ExtentIndex) -> Result<(), S::Error> {
        loop {
            let parent = l.checked_sub(1);
            l = parent.ok_or_else(|| self.bad(Corrupt::ExtentDepth))?;
            let at = self.level(l)?.pos + 1;
            let put = |node: &mut [u8], at: u16| {
                extent::open_gap(node, at, 1)?;
                extent::put_index(node, at, &index)
            };
            let h = self.header(l)?;
            if h.entries < h.max {
                let level = self.level_mut(l)?;
                return put(level.image.bytes_mut(), at).map_err(|e| self.bad(e));
            }
            index = self.split(l, at..at, put)?;
        }
    }

    /// Splits full node `l` (not the root) in two and lets `put` change the half with the first
    /// entry of `old`, which will all go. Returns the entry of the new node.
    fn split(
        &mut self,
        l: usize,
        old: Range<u16>,
        put: impl FnOnce(&mut [u8], u16) -> Result<(), Corrupt>,
    ) -> Result<ExtentIndex, S::Error> {
        let h = self.header(l)?;
        let at = old.start;
        // Files grow at their end: a full node stays full there. Elsewhere, and so in any order of
        // insertion, both halves get room.
        let mut middle = if self.rightmost && at == h.entries {
            h.entries
        } else {
            h.entries / 2
        };
        if at < middle && middle < old.end {
            middle = at;
        }
        let (pblk, mut buf) = self.take_spare()?;
        let capacity = self.store.capacity();
        let level = self.level_mut(l)?;
        let left = level.image.bytes_mut();
        let right = buf.as_mut();
        let halve = || {
            extent::init_node(right, h.depth, capacity)?;
            copy_entries(left, middle..h.entries, right)?;
            extent::close_gap(left, middle, h.entries - middle)?;
            if at >= middle {
                put(right, at - middle)?
            } else {
                put(left, at)?
            }
            key_at(right, 0)
        };
        let first = halve().map_err(|e| self.store.corrupt(e))?;
        let mut places = self.levels.iter_mut().map(|work| &mut work.split_off);
        if let Some(place) = places.find(|place| place.is_none()) {
            *place = Some((pblk, buf));
        }
        if at == 0 {
            self.fix_keys(l)?;
        }
        Ok(ExtentIndex { lblk: first, pblk })
    }

    /// Brings the keys above node `l` in line after its first entry changed.
    fn fix_keys(&mut self, mut l: usize) -> Result<(), S::Error> {
        while let Some(parent) = l.checked_sub(1) {
            let node = self.level(l)?;
            let (lblk, pblk) = (key_at(node.image.bytes(), 0), node.pblk);
            let lblk = lblk.map_err(|e| self.bad(e))?;
            let level = self.level_mut(parent)?;
            let pos = level.pos;
            extent::put_index(level.image.bytes_mut(), pos, &ExtentIndex { lblk, pblk })
                .map_err(|e| self.bad(e))?;
            if pos != 0 {
                break;
            }
            l = parent;
        }
        Ok(())
    }

    /// Gets the right to write every node that changed. From here on only a dead journal can fail.
    ///
    /// First those that are there, which may have to be read again: a new one is in the journal as
    /// soon as it has the right, and its block, given back, would be written over by a replay.
    fn access(&mut self) -> Result<(), S::Error> {
        self.access_some(false)?;
        self.access_some(true)
    }

    /// Half of [`Edit::access`]: nodes that are new (`fresh`), or those that are there.
    fn access_some(&mut self, fresh: bool) -> Result<(), S::Error> {
        for (l, work) in self.levels.iter_mut().enumerate() {
            let [of_node, of_new] = &mut work.access;
            let changed = |level: &&Level<S::Buf>| l > 0 && level.dirty && !level.dead;
            let node = work.node.as_ref().filter(changed);
            if let Some(level) = node.filter(|level| level.fresh == fresh) {
                *of_node = Some(if fresh {
                    self.store.access_new(level.pblk)?
                } else {
                    self.store.access(level.pblk)?
                });
            }
            if let Some((pblk, _)) = work.split_off.as_ref().filter(|_| fresh) {
                *of_new = Some(self.store.access_new(*pblk)?);
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), S::Error> {
        for work in self.levels.iter_mut() {
            let [of_node, of_new] = &mut work.access;
            let image = work.node.as_mut().map(|level| &mut level.image);
            if let (Some(access), Some(Image::Block(buf))) = (of_node.take(), image) {
                self.store.put(access, buf)?;
            }
            if let (Some(access), Some((_, buf))) = (of_new.take(), &mut work.split_off) {
                self.store.put(access, buf)?;
            }
        }
        Ok(())
    }

    /// Gives back what was allocated for a change that will not be made.
    fn abandon(&mut self) {
        for work in self.levels.iter() {
            if let Some(level) = work.node.as_ref().filter(|level| level.fresh) {
                self.store.unalloc(level.pblk);
            }
            for (pblk, _) in work.spare.iter().chain(&work.split_off) {
                self.store.unalloc(*pblk);
            }
        }
    }
}
