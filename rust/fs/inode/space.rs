// SPDX-License-Identifier: GPL-2.0

//! The bytes of the raw inode that its attributes have: behind its fields, whose number may grow.

use super::{hold_iloc, store_inode, Inode, Stored};
use crate::{
    disk::{xattr, Pblk},
    fs::attributes::{block, note_feature, set_attribute_block, Lists, Space},
    vfs::jbd2::Handle,
};
use core::ops::Range;
use kernel::prelude::*;

/// Loads the list in an inode whose attributes are locked. `EUCLEAN` if it is damaged, `EIO`,
/// `ENOMEM`.
pub(in crate::fs) fn load_lists(inode: &Inode) -> Result<Lists<'_>> {
    Lists::of(inode, read_space(inode)?)
}

/// Where the attributes of the inode are, not checked.
pub(super) fn read_space(inode: &Inode) -> Result<Space> {
    let geo = &inode.fs().geo;
    let place = hold_iloc(inode)?;
    let fields = inode.info().fields.lock();
    let mut space = Space {
        room: 0,
        used: None,
        block: fields.file_acl,
    };
    let Some(range) = xattr::inode_space(geo, fields.extra_isize) else {
        return Ok(space);
    };
    space.room = range.len();
    let mut start = [0u8; xattr::MAGIC_SIZE];
    let from = place.offset() + range.start;
    place.buffer().copy_out(from, &mut start)?;
    if xattr::is_in_use(&start) {
        let mut bytes = KVec::from_elem(0u8, range.len(), GFP_KERNEL)?;
        place.buffer().copy_out(from, &mut bytes)?;
        space.used = Some(bytes);
    }
    Ok(space)
}

/// Where attributes are on the device.
pub(in crate::fs) enum AttrPlace {
    /// In the inode: all bytes that are for them there.
    Inode(Range<u64>),
    Block(Pblk),
}

/// The first place in which the inode has attributes. `EIO`, `ENOMEM`.
pub(in crate::fs) fn attribute_place(inode: &Inode) -> Result<Option<AttrPlace>> {
    let _lock = inode.info().xattrs.lock();
    let Space { room, used, block } = read_space(inode)?;
    if used.is_none() {
        return Ok(block.map(AttrPlace::Block));
    }
    let (geo, table) = (&inode.fs().geo, hold_iloc(inode)?);
    // They are the last of the inode.
    let end =
        (Pblk::new(table.buffer().blocknr())).byte(geo.block_bits) + table.range(geo).end as u64;
    Ok(Some(AttrPlace::Inode(end - room as u64..end)))
}

/// Brings changed lists to the disk: the block first, the inode last, its attributes being locked.
/// `extra`: how many bytes the fields before them are to have, if that changes. `then` runs when
/// nothing can fail any more but the journal, and before the inode is written.
pub(in crate::fs) fn store_lists(
    handle: &Handle<'_>,
    mut lists: Lists<'_>,
    extra: Option<u16>,
    then: impl FnOnce(),
) -> Result {
    let (inode, old) = (lists.inode, lists.pblk);
    let new = match lists.take_block() {
        None => old,
        Some(None) => None,
        Some(Some(data)) => Some(block::place(handle, inode, lists.bh.as_ref(), data)?),
    };
    let result = finish(handle, &lists, (new, extra), then);
    if let Err(e) = result {
        // Half of it must not commit.
        if !handle.is_aborted() {
            pr_err!("rext4: change of an attribute failed half way ({e:?})\n");
            handle.journal().abort(e);
        }
    }
    result
}

/// The second half of [`store_lists`], in which nothing but the journal can fail.
fn finish(
    handle: &Handle<'_>,
    lists: &Lists<'_>,
    (new, extra): (Option<Pblk>, Option<u16>),
    then: impl FnOnce(),
) -> Result {
    let (inode, old) = (lists.inode, lists.pblk);
    if let (true, Some(bh)) = (new != old, &lists.bh) {
        block::release(handle, inode, bh)?;
    }
    set_attribute_block(inode, old, new);
    then();
    let how = Stored {
        fresh: false,
        space: lists.new_space(),
        extra,
    };
    store_inode(handle, inode, how)?;
    note_feature(handle, inode.fs())
}
