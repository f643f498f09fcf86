// SPDX-License-Identifier: GPL-2.0

//! The resize inode: whose the blocks are that are kept for more descriptors.
//!
//! Behind the table of descriptors, and behind each copy of it, blocks are kept for it to grow. So
//! that nobody else gets them they are a file's, inode 7. Its map has one block of pointers to
//! blocks of pointers, and those are the kept blocks behind the table itself. Each of them lists
//! the blocks of its own number in the groups with copies:
//!
//! ```text
//!   inode 7 -> block -> kept block 3 of group 0 -> kept block 3 of groups 1, 3, 5, 7, 9, 25...
//!                       kept block 4 of group 0 -> kept block 4 of groups 1, 3, 5, 7, 9, 25...
//! ```
//!
//! So a kept block that becomes one of the table leaves the file with all that it lists, and a new
//! group with copies gets into each list. Nobody else changes any of it, and it is not in the cache
//! of inodes: its number is one of those that no name leads to.

use crate::{
    disk::{
        features::COMPAT_RESIZE_INODE,
        inode::HEAD_MAX,
        Geometry,
        Ino,
        InodeFields,
        Pblk, //
    },
    fs::{itable::Iloc, Sb},
    vfs::{
        bh::BufferHead,
        jbd2::{Handle, JournaledBuffer}, //
    },
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

const RESIZE_INO: Ino = Ino::new(7);
/// Which word of `i_block` leads to the block of pointers to blocks of pointers.
const DOUBLE: usize = 13;

/// What a step changes of it, read and checked.
pub(super) struct Reserve {
    place: Iloc,
    fields: KBox<InodeFields>,
    double: BufferHead,
    /// The kept block that becomes one of the table: where its pointer is, and how many blocks it
    /// lists.
    taken: Option<(usize, usize)>,
    /// Those that get more to list, and from where in them on.
    lists: KVVec<BufferHead>,
    behind: usize,
    /// Groups to be listed.
    groups: KVVec<u32>,
    blocks_per_group: u32,
    /// Units of 512 bytes in a block.
    unit: u64,
}

/// The right to change it.
pub(super) struct ReserveAccess<'h> {
    inode: JournaledBuffer<'h>,
    double: JournaledBuffer<'h>,
    lists: KVVec<JournaledBuffer<'h>>,
}

fn bad_reserve(sb: &Sb, what: &'static str) -> Error {
    sb.corrupted(fmt!("the resize inode: {what}"))
}

/// The number at byte 4 times `index`.
fn word(bh: &BufferHead, index: usize) -> Result<u32> {
    bh.le32(4 * index)
}

impl Reserve {
    /// Reads what adding `groups` changes of it; nothing, if it changes nothing. `EUCLEAN` if it is
    /// not as it should be, `ENOSPC` if a list is full.
    #[inline(never)]
    pub(super) fn open(sb: &Sb, new: &Geometry, groups: &Range<u32>) -> Result<Option<KBox<Self>>> {
        let old: &Geometry = &sb.data().geo;
        let takes = new.gdt_blocks > old.gdt_blocks;
        let mut listed = KVVec::new();
        if new.reserved_gdt_blocks > 0 {
            for group in groups.clone().filter(|&group| new.group_has_super(group)) {
                listed.push(group, GFP_KERNEL)?;
            }
        }
        if !old.features.has_compat(COMPAT_RESIZE_INODE) || !takes && listed.is_empty() {
            return Ok(None);
        }
        let place = Iloc::locate(sb, RESIZE_INO)?;
        let fields = read_fields(sb, old, &place)?;
        let double = read_double(sb, old, &fields)?;
        let (copies, pointers) = (old.backups().count(), old.block_size as usize / 4);
        if copies + listed.len() > pointers {
            return Err(ENOSPC);
        }
        let mut lists = KVVec::new();
        let kept = old.gdt_blocks..old.gdt_blocks + u32::from(old.reserved_gdt_blocks);
        for index in kept {
            let bh = check_list(sb, old, (&double, index))?;
            if index >= new.gdt_blocks {
                lists.push(bh, GFP_KERNEL)?;
            }
        }
        let first = old.gdt_blocks as usize % pointers;
        let this = Self {
            place,
            fields,
            double,
            taken: takes.then_some((first, copies)),
            lists: if listed.is_empty() {
                KVVec::new()
            } else {
                lists
            },
            behind: copies,
            groups: listed,
            blocks_per_group: old.blocks_per_group,
            unit: u64::from(old.block_size >> 9),
        };
        Ok(Some(KBox::new(this, GFP_KERNEL)?))
    }

    /// How many blocks of pointers it changes, but for the one that leads to them.
    pub(super) fn listing(&self) -> u32 {
        // CAST: At most as many as pointers in a block.
        self.lists.len() as u32
    }

    /// The right to change all of it. The caller does nothing before this that cannot be undone.
    pub(super) fn access<'h>(&self, handle: &'h Handle<'_>) -> Result<ReserveAccess<'h>> {
        let mut lists = KVVec::with_capacity(self.lists.len(), GFP_KERNEL)?;
        for bh in self.lists.iter() {
            lists.push(handle.write(bh)?, GFP_KERNEL)?;
        }
        Ok(ReserveAccess {
            inode: handle.write(self.place.buffer())?,
            double: handle.write(&self.double)?,
            lists,
        })
    }

    /// Changes it.
    #[inline(never)]
    pub(super) fn apply(&self, sb: &Sb, change: ReserveAccess<'_>) -> Result {
        let ReserveAccess {
            mut inode,
            mut double,
            lists,
        } = change;
        let mut blocks = self.fields.blocks;
        if let Some((at, listed)) = self.taken {
            double.copy_in(4 * at, &[0; 4])?;
            blocks = blocks.saturating_sub((listed as u64 + 1) * self.unit);
        }
        for mut list in lists {
            let number = list.blocknr() as u32;
            for (group, at) in self.groups.iter().zip(self.behind..) {
                let block = group
                    .wrapping_mul(self.blocks_per_group)
                    .wrapping_add(number);
                list.copy_in(4 * at, &block.to_le_bytes())?;
                blocks += self.unit;
            }
            list.finish()?;
        }
        let (geo, fields) = (
            &sb.data().geo,
            InodeFields {
                blocks,
                ..InodeFields::clone(&self.fields)
            },
        );
        let mut raw = [0u8; HEAD_MAX];
        let raw = self.place.read(geo, &mut raw)?;
        fields
            .encode(raw, geo, RESIZE_INO, self.place.rest(geo))
            .map_err(|_| EINVAL)?;
        inode.copy_in(self.place.offset(), raw)?;
        inode.finish()?;
        double.finish()
    }
}

#[inline(never)]
fn read_fields(sb: &Sb, geo: &Geometry, place: &Iloc) -> Result<KBox<InodeFields>> {
    let mut raw = [0u8; HEAD_MAX];
    let raw = place.read(geo, &mut raw)?;
    let fields = InodeFields::decode_checked(raw, geo, RESIZE_INO, place.rest(geo))
        .map_err(|why| sb.corrupted(fmt!("the resize inode: {why}")))?;
    Ok(KBox::new(fields, GFP_KERNEL)?)
}

fn read_double(sb: &Sb, geo: &Geometry, fields: &InodeFields) -> Result<BufferHead> {
    let block = fields.block_word(DOUBLE).into();
    if !geo.blocks_valid(Pblk::new(block), 1) {
        return Err(bad_reserve(sb, "its pointers are nowhere"));
    }
    sb.bread(block)
}

/// Reads a kept block by its number in the table. It lists all copies of itself.
fn check_list(sb: &Sb, geo: &Geometry, (double, index): (&BufferHead, u32)) -> Result<BufferHead> {
    let block = geo.super_block + 1 + index;
    if word(double, index as usize % (geo.block_size as usize / 4))? != block {
        return Err(bad_reserve(sb, "a block kept for descriptors is not there"));
    }
    let bh = sb.bread(block.into())?;
    for (at, group) in geo.backups().enumerate() {
        let copy = group.wrapping_mul(geo.blocks_per_group).wrapping_add(block);
        if word(&bh, at)? != copy {
            return Err(bad_reserve(
                sb,
                "a block kept for copies of descriptors is not there",
            ));
        }
    }
    Ok(bh)
}
