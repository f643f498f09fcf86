// SPDX-License-Identifier: GPL-2.0

//! A change of attributes, from the handle to the inode on disk.

use super::Inode;
use crate::{
    disk::xattr_edit::AttrChange,
    fs::{
        alloc,
        attributes::{block, note_feature, set_attribute_block, Lists, Outcome},
        credits,
        inode::{hold_iloc, let_grow, load_lists, store_lists},
        lab::{self, Point},
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
        let mut lists = load_lists(inode)?;
        lists.load_block()?;
        let outcome = lists.set(&edit.change, edit.how)?;
        if outcome == Outcome::Changed || edit.always && outcome == Outcome::Same {
            store_lists(&handle, lists, None, || {
                then();
                inode.touch_ctime();
            })?;
        }
        if edit.change.value.is_none() && outcome == Outcome::Changed {
            let_grow(inode);
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
