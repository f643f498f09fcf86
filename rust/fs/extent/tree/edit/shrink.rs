// SPDX-License-Identifier: GPL-2.0

//! Nodes that leave the tree: empty ones, and those whose entries the root has room for.

use super::{
    super::{
        level::{into_root, Image, Level},
        NodePlace, Store, ROOT_BYTES,
    },
    Edit,
};
use crate::disk::{
    extent::{self, ROOT_ENTRIES},
    Lblk, Pblk,
};

impl<S: Store> Edit<'_, S> {
    /// Takes empty node `l` (not the root) out of the tree, and its ancestors if they become empty.
    pub(super) fn drop_node(&mut self, mut l: usize) -> Result<(), S::Error> {
        while let Some(parent) = l.checked_sub(1) {
            let level = self.level_mut(l)?;
            level.dead = true;
            let pblk = level.pblk;
            self.note_freed(pblk);
            let level = self.level_mut(parent)?;
            let pos = level.pos;
            extent::close_gap(level.image.bytes_mut(), pos, 1).map_err(|e| self.bad(e))?;
            if self.header(parent)?.entries > 0 {
                return match pos {
                    0 => self.fix_keys(parent),
                    _ => Ok(()),
                };
            }
            l = parent;
        }
        // Nothing is left: an empty leaf.
        let level = self.level_mut(0)?;
        extent::init_node(level.image.bytes_mut(), 0, ROOT_ENTRIES).map_err(|e| self.bad(e))
    }

    fn note_freed(&mut self, pblk: Pblk) {
        let mut places = self.levels.iter_mut().flat_map(|work| &mut work.freed);
        if let Some(place) = places.find(|place| place.is_none()) {
            *place = Some(pblk);
        }
    }

    /// Takes nodes out of the tree that are an only child and fit into the root.
    pub(super) fn merge_up(&mut self) -> Result<(), S::Error> {
        loop {
            let root = self.header(0)?;
            if root.depth == 0 || root.entries != 1 {
                return Ok(());
            }
            let index = extent::index_at(self.level(0)?.image.bytes(), 0);
            let index = index.map_err(|e| self.bad(e))?;
            let in_path = |level: &Level<S::Buf>| level.pblk == index.pblk && !level.dead;
            let known = (1..=self.leaf).find(|&l| self.level(l).is_ok_and(in_path));
            let mut bytes = [0; ROOT_BYTES];
            let merged = match known {
                Some(l) => into_root(self.level(l)?.image.bytes(), &mut bytes),
                None => {
                    let place = NodePlace {
                        pblk: index.pblk,
                        depth: root.depth - 1,
                        first: index.lblk,
                        end: Lblk::END,
                    };
                    let (node, entries) = self.store.open(&place)?;
                    if entries > ROOT_ENTRIES {
                        Ok(false)
                    } else {
                        into_root(self.store.copy(&node)?.as_ref(), &mut bytes)
                    }
                }
            };
            if !merged.map_err(|e| self.bad(e))? {
                return Ok(());
            }
            if let Some(l) = known {
                self.level_mut(l)?.dead = true;
            }
            self.level_mut(0)?.image = Image::Root(bytes);
            self.note_freed(index.pblk);
        }
    }
}
