// SPDX-License-Identifier: GPL-2.0

//! The two lists of attributes of an inode, as copies: loaded, searched, changed.

use super::{super::Inode, block};
use crate::{
    disk::{
        self,
        xattr::{XattrEntries, XattrEntry},
        xattr_edit::{AttrChange, Place, Rewritten},
        Corrupt, Pblk,
    },
    vfs::{bh::BufferHead, xattr::How},
};
use kernel::{error::code::*, prelude::*};

/// Where attributes of an inode are.
pub(in crate::fs) struct Space {
    /// Bytes in the inode for them.
    pub(in crate::fs) room: usize,
    /// These bytes, if there are attributes in them.
    pub(in crate::fs) used: Option<KVec<u8>>,
    /// The block with more of them.
    pub(in crate::fs) block: Option<Pblk>,
}

/// A list.
struct AttrList {
    /// Its bytes: the space in the inode, or the block. What it says if it has attributes.
    bytes: KVec<u8>,
    used: bool,
    changed: bool,
}

impl AttrList {
    const fn empty() -> Self {
        Self {
            bytes: KVec::new(),
            used: false,
            changed: false,
        }
    }
}

/// What [`Lists::set`] did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::fs) enum Outcome {
    /// Nothing: it was so.
    Same,
    /// The lists have changed.
    Changed,
    /// There is no room for it. The lists are as before.
    Full,
}

/// The attributes of an inode. Who has them holds the lock of the inode's attributes, or has the
/// inode to itself.
pub(in crate::fs) struct Lists<'a> {
    pub(in crate::fs) inode: &'a Inode,
    /// Bytes in the inode for attributes.
    room: usize,
    /// The block that the inode has.
    pub(in crate::fs) pblk: Option<Pblk>,
    pub(in crate::fs) bh: Option<BufferHead>,
    in_inode: AttrList,
    in_block: AttrList,
}

impl<'a> Lists<'a> {
    /// Those of an inode that has none.
    pub(in crate::fs) fn none(inode: &'a Inode) -> Self {
        let geo = &inode.fs().geo;
        let space = disk::xattr::inode_space(geo, geo.want_extra_isize);
        Self {
            inode,
            room: space.map_or(0, |space| space.len()),
            pblk: None,
            bh: None,
            in_inode: AttrList::empty(),
            in_block: AttrList::empty(),
        }
    }

    /// Those of which the list in the inode has been read. `EUCLEAN` if it is damaged.
    pub(in crate::fs) fn of(inode: &'a Inode, space: Space) -> Result<Self> {
        let Space { room, used, block } = space;
        let mut this = Self {
            room,
            pblk: block,
            ..Self::none(inode)
        };
        if let Some(bytes) = used {
            this.in_inode.bytes = bytes;
            this.in_inode.used = true;
            let checked = this.entries(Place::Inode).and_then(check_hashes);
            checked.map_err(|why| this.bad(Place::Inode, why))?;
        }
        Ok(this)
    }

    /// Loads the list in the block, if there is one. `EUCLEAN` if it is damaged, `EIO`,
    /// `ENOMEM`.
    pub(in crate::fs) fn load_block(&mut self) -> Result {
        let Some(pblk) = self.pblk else {
            return Ok(());
        };
        let (bh, bytes) = block::load_shared(self.inode, pblk)?;
        self.bh = Some(bh);
        self.in_block.bytes = bytes;
        self.in_block.used = true;
        let checked = self.entries(Place::Block).and_then(check_hashes);
        checked.map_err(|why| self.bad(Place::Block, why))?;
        block::remember(self.inode, pblk, &self.in_block.bytes);
        Ok(())
    }

    #[cold]
    #[track_caller]
    fn bad(&self, place: Place, why: Corrupt) -> Error {
        match (place, self.pblk) {
            (Place::Block, Some(pblk)) => {
                self.inode
                    .corrupted(fmt!("attribute block {}: {}", pblk, why))
            }
            _ => self.inode.corrupted(fmt!("in the inode: {}", why)),
        }
    }

    fn list(&mut self, place: Place) -> &mut AttrList {
        match place {
            Place::Inode => &mut self.in_inode,
            Place::Block => &mut self.in_block,
        }
    }

    fn entries(&self, place: Place) -> disk::Result<Option<XattrEntries<'_>>> {
        match place {
            Place::Inode if self.in_inode.used => disk::xattr::inode_entries(&self.in_inode.bytes),
            Place::Block if self.in_block.used => {
                let geo = &self.inode.fs().geo;
                disk::xattr::block_entries(&self.in_block.bytes, geo).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The attribute of this prefix and name in what is loaded, and where it is.
    pub(in crate::fs) fn find(
        &self,
        index: u8,
        name: &[u8],
    ) -> Result<Option<(Place, XattrEntry<'_>)>> {
        for place in [Place::Inode, Place::Block] {
            let found = self
                .entries(place)
                .and_then(|list| list.map_or(Ok(None), |list| list.find(index, name)))
                .map_err(|why| self.bad(place, why))?;
            if let Some(entry) = found {
                return Ok(Some((place, entry)));
            }
        }
        Ok(None)
    }

    /// Goes through the attributes in what is loaded.
    pub(in crate::fs) fn each(&self, mut f: impl FnMut(&XattrEntry<'_>) -> Result) -> Result {
        for place in [Place::Inode, Place::Block] {
            let list = self.entries(place).map_err(|why| self.bad(place, why))?;
            for entry in list.into_iter().flatten() {
                f(&entry.map_err(|why| self.bad(place, why))?)?;
            }
        }
        Ok(())
    }

    /// Makes a change, both lists being loaded. `EEXIST` and `ENODATA` as `how` says, `ENOMEM`.
    pub(in crate::fs) fn set(&mut self, change: &AttrChange<'_>, how: How) -> Result<Outcome> {
        let found = self.find(change.name_index, change.name)?;
        let found = found.map(|(place, entry)| (place, change.value == Some(entry.value)));
        match (how, found) {
            (How::Create | How::Never, Some(_)) => return Err(EEXIST),
            (How::Replace | How::Never, None) => return Err(ENODATA),
            (_, Some((_, true))) => return Ok(Outcome::Same),
            _ => (),
        }
        if change.value.is_none() {
            return match found {
                Some((place, _)) => self.remove(place, change),
                None => Ok(Outcome::Same),
            };
        }
        for place in [Place::Inode, Place::Block] {
            let (result, new) = self.rewrite(place, change)?;
            if result == Rewritten::Full {
                continue;
            }
            if let Some((old, _)) = found.filter(|(old, _)| *old != place) {
                self.remove(old, change)?;
            }
            self.replace(place, result, new);
            return Ok(Outcome::Changed);
        }
        Ok(Outcome::Full)
    }

    fn remove(&mut self, place: Place, change: &AttrChange<'_>) -> Result<Outcome> {
        let removal = AttrChange {
            value: None,
            ..*change
        };
        let (result, new) = self.rewrite(place, &removal)?;
        if result == Rewritten::Full {
            // Less than there was, and yet too much.
            return Err(self.bad(place, Corrupt::XattrValue));
        }
        self.replace(place, result, new);
        Ok(Outcome::Changed)
    }

    /// The list with the change made, in a buffer of its own.
    fn rewrite(&self, place: Place, change: &AttrChange<'_>) -> Result<(Rewritten, KVec<u8>)> {
        let len = match place {
            Place::Inode => self.room,
            Place::Block => self.inode.fs().geo.block_size as usize,
        };
        if len == 0 {
            return Ok((Rewritten::Full, KVec::new()));
        }
        let mut new = KVec::from_elem(0u8, len, GFP_KERNEL)?;
        let result = self
            .entries(place)
            .and_then(|old| disk::xattr_edit::rewrite(old, change, place, &mut new))
            .map_err(|why| self.bad(place, why))?;
        Ok((result, new))
    }

    /// By how many bytes the list in the inode does not fit into `room` bytes.
    pub(in crate::fs) fn lacks(&self, room: usize) -> Result<usize> {
        Ok(self.used(Place::Inode)?.saturating_sub(room))
    }

    fn used(&self, place: Place) -> Result<usize> {
        self.entries(place)
            .and_then(|list| disk::xattr_edit::used(list, place))
            .map_err(|why| self.bad(place, why))
    }

    /// Moves attributes from the inode to the block, both lists being loaded, until those that stay
    /// fit into `room` bytes. False if the block has no place for them: then some may have moved.
    pub(in crate::fs) fn move_out(&mut self, room: usize) -> Result<bool> {
        loop {
            let need = self.lacks(room)?;
            if need == 0 {
                return Ok(true);
            }
            // As ext4 counts: a block that is to come has room for its head, too.
            let block = self.inode.fs().geo.block_size as usize;
            let free = block.saturating_sub(self.used(Place::Block)?);
            if free < need || !self.move_one(need, free)? {
                return Ok(false);
            }
        }
    }

    fn move_one(&mut self, need: usize, free: usize) -> Result<bool> {
        let bad = |why| self.bad(Place::Inode, why);
        let Some(list) = self.entries(Place::Inode).map_err(bad)? else {
            return Ok(false);
        };
        let Some(entry) = disk::xattr_edit::to_leave(list, need, free).map_err(bad)? else {
            return Ok(false);
        };
        let change = AttrChange {
            name_index: entry.name_index,
            name: entry.name,
            value: Some(entry.value),
        };
        let (result, block) = self.rewrite(Place::Block, &change)?;
        if result == Rewritten::Full {
            return Ok(false);
        }
        let (left, inode) = self.rewrite(
            Place::Inode,
            &AttrChange {
                value: None,
                ..change
            },
        )?;
        self.replace(Place::Block, result, block);
        self.replace(Place::Inode, left, inode);
        Ok(true)
    }

    /// Gives the list in the inode so many bytes, into which it fits. `ENOMEM`.
    pub(in crate::fs) fn resize(&mut self, room: usize) -> Result {
        let mut new = KVec::from_elem(0u8, room, GFP_KERNEL)?;
        let result = match self.entries(Place::Inode) {
            Ok(Some(list)) => disk::xattr_edit::fit(list, &mut new),
            Ok(None) => Ok(Rewritten::Empty),
            Err(why) => Err(why),
        };
        let result = result.map_err(|why| self.bad(Place::Inode, why))?;
        if result == Rewritten::Full {
            return Err(ENOSPC);
        }
        self.room = room;
        self.replace(Place::Inode, result, new);
        Ok(())
    }

    fn replace(&mut self, place: Place, result: Rewritten, bytes: KVec<u8>) {
        *self.list(place) = AttrList {
            bytes,
            used: result == Rewritten::Filled,
            changed: true,
        };
    }

    /// What the space in the inode is to hold, if it has changed.
    pub(in crate::fs) fn new_space(&self) -> Option<&[u8]> {
        let AttrList { bytes, changed, .. } = &self.in_inode;
        changed.then_some(&**bytes)
    }

    /// The same, to be kept.
    pub(in crate::fs) fn take_space(mut self) -> Option<KVec<u8>> {
        let list = core::mem::replace(&mut self.in_inode, AttrList::empty());
        list.changed.then_some(list.bytes)
    }

    /// What the block is to hold, if it has changed; no block if it is empty now.
    pub(in crate::fs) fn take_block(&mut self) -> Option<Option<KVec<u8>>> {
        let list = core::mem::replace(&mut self.in_block, AttrList::empty());
        list.changed.then(|| list.used.then_some(list.bytes))
    }
}

fn check_hashes(list: Option<XattrEntries<'_>>) -> disk::Result<()> {
    list.map_or(Ok(()), |list| list.check_hashes())
}
