// SPDX-License-Identifier: GPL-2.0

//! A change of attributes, from the handle to the inode on disk.

use super::{
    block,
    lists::{Lists, Outcome},
    Inode,
};
use crate::{
    disk::{
        features::COMPAT_EXT_ATTR,
        xattr_edit::AttrChange,
        Pblk,
        RawSuper, //
    },
    fs::{
        alloc, credits,
        inode::{hold_iloc, store_attributes, KeptLayout},
        lab::{self, Point},
        primary::{journal_super, read_super},
        Rext4,
    },
    vfs::{jbd2::Handle, xattr::How},
};
use kernel::{error::code::*, prelude::*};

/// What [`update`] is to do.
pub(in crate::fs) struct AttrEdit<'a> {
    pub(in crate::fs) change: AttrChange<'a>,
    pub(in crate::fs) how: How,
    /// Whether the inode is written also if the attribute is as it should be.
    pub(in crate::fs) always: bool,
}

/// What may go wrong before anything has changed, for the lab.
const ERRORS: &[Error] = &[EIO, ENOMEM, ENOSPC];

/// Sets or removes an attribute in a handle of its own. `then` runs when nothing can fail any more
/// but the journal, and before the inode is written: what it changes of the inode is there after a
/// crash if the attribute is.
///
/// `ENOSPC` if there is no room for the attribute, or no block.
pub(in crate::fs) fn update(inode: &Inode, edit: &AttrEdit<'_>, mut then: impl FnMut()) -> Result {
    let fits = alloc::retry(inode.sb(), alloc::Effort::Commit, || {
        lab::may_fail(Point::AttributeChange, inode, 0..u64::MAX, ERRORS)?;
        try_update(inode, edit, &mut then)
    })?;
    if fits {
        Ok(())
    } else {
        Err(ENOSPC)
    }
}

/// False if there is no room.
fn try_update(inode: &Inode, edit: &AttrEdit<'_>, then: &mut impl FnMut()) -> Result<bool> {
    let sb = inode.sb();
    let _table = hold_iloc(inode)?;
    // Read before the handle, which a commit may wait for.
    let acl = inode.info().file_acl();
    let _block = acl.map(|acl| sb.bread(acl.get())).transpose()?;
    let handle = inode.fs().start(credits::SET_ATTRIBUTE)?;
    if inode.is_sync() {
        handle.set_sync();
    }
    let outcome = {
        let _lock = inode.info().xattrs.lock();
        let _layout = KeptLayout::new(inode.info());
        let mut lists = Lists::load_inode(inode)?;
        lists.load_block()?;
        let outcome = lists.set(&edit.change, edit.how)?;
        if outcome == Outcome::Changed || edit.always && outcome == Outcome::Same {
            store(&handle, lists, then)?;
        }
        outcome
    };
    handle.stop()?;
    Ok(outcome != Outcome::Full)
}

/// Gives the attributes to a new inode, which nobody else has, in the handle that makes it. It has
/// not been written yet; returns what its space for attributes is to hold. `ENOSPC`, `ENOMEM`: then
/// nothing has been allocated.
pub(in crate::fs) fn init(
    handle: &Handle<'_>,
    inode: &Inode,
    changes: &mut dyn Iterator<Item = AttrChange<'_>>,
) -> Result<Option<KVec<u8>>> {
    let mut lists = Lists::none(inode);
    let mut any = false;
    for change in changes {
        any = true;
        if lists.set(&change, How::Create)? == Outcome::Full {
            return Err(ENOSPC);
        }
    }
    if let Some(Some(data)) = lists.take_block() {
        let pblk = block::place(handle, inode, None, data)?;
        set_attribute_block(inode, None, Some(pblk));
    }
    if any {
        note_feature(handle, inode.fs())?;
    }
    Ok(lists.take_space())
}

/// Brings changed lists to the disk: the block first, the inode last.
fn store(handle: &Handle<'_>, mut lists: Lists<'_>, then: &mut impl FnMut()) -> Result {
    let (inode, old) = (lists.inode, lists.pblk);
    let new = match lists.take_block() {
        None => old,
        Some(None) => None,
        Some(Some(data)) => Some(block::place(handle, inode, lists.bh.as_ref(), data)?),
    };
    let result = finish(handle, &lists, new, then);
    if let Err(e) = result {
        // Half of it must not commit.
        if !handle.is_aborted() {
            pr_err!("rext4: change of an attribute failed half way ({e:?})\n");
            handle.journal().abort(e);
        }
    }
    result
}

/// The second half of [`store`], in which nothing but the journal can fail.
fn finish(
    handle: &Handle<'_>,
    lists: &Lists<'_>,
    new: Option<Pblk>,
    then: &mut impl FnMut(),
) -> Result {
    let (inode, old) = (lists.inode, lists.pblk);
    if let (true, Some(bh)) = (new != old, &lists.bh) {
        block::release(handle, inode, bh)?;
    }
    set_attribute_block(inode, old, new);
    then();
    inode.touch_ctime();
    inode.inc_version();
    store_attributes(handle, inode, lists.new_space())?;
    note_feature(handle, inode.fs())
}

/// Notes the block of an inode, and counts it.
pub(in crate::fs) fn set_attribute_block(inode: &Inode, old: Option<Pblk>, new: Option<Pblk>) {
    let sectors = u64::from(inode.fs().geo.block_size >> 9);
    let (less, more) = (u64::from(old.is_some()), u64::from(new.is_some()));
    if less != more {
        // Writeback counts the blocks of data under it.
        let _map = inode.extents();
        let blocks = inode.blocks() + more * sectors;
        inode.set_blocks(blocks.saturating_sub(less * sectors));
    }
    inode.info().set_file_acl(new);
}

/// The super block says whether there are attributes: without that e2fsck takes them for garbage.
fn note_feature(handle: &Handle<'_>, fs: &Rext4) -> Result {
    let noted = |raw: &RawSuper| raw.features().has_compat(COMPAT_EXT_ATTR);
    if fs.geo.features.has_compat(COMPAT_EXT_ATTR) || read_super(fs, noted)? {
        return Ok(());
    }
    journal_super(handle, fs, |raw| raw.set_compat(COMPAT_EXT_ATTR, true))
}
