// SPDX-License-Identifier: GPL-2.0

//! One change of two trees, of which there must not be half.

use super::{super::ROOT_BYTES, Edit, Store};
use crate::disk::extent::Extent;
use core::ops::Range;

/// What one of the two trees is to become.
pub(in super::super) struct Splice<'s, 'c, S: Store> {
    pub(in super::super) edit: Edit<'s, S>,
    pub(in super::super) root: &'c mut [u8; ROOT_BYTES],
    /// Entries of the leaf that go.
    pub(in super::super) old: Range<u16>,
    /// What comes in their place.
    pub(in super::super) new: &'c [Extent],
}

/// Makes both changes, or none. As [`Edit::splice`], each step for both trees before the next: what
/// can fail is over for the second, too, when the first is written.
#[inline(never)]
pub(in super::super) fn splice_both<S: Store>(
    one: Splice<'_, '_, S>,
    other: Splice<'_, '_, S>,
) -> Result<(), S::Error> {
    let (mut edit, mut other_edit) = (one.edit, other.edit);
    let prepared = edit
        .change(one.old, one.new)
        .and_then(|()| other_edit.change(other.old, other.new))
        .and_then(|()| edit.access_some(false))
        .and_then(|()| other_edit.access_some(false))
        .and_then(|()| edit.access_some(true))
        .and_then(|()| other_edit.access_some(true));
    if let Err(e) = prepared {
        edit.abandon();
        other_edit.abandon();
        return Err(e);
    }
    edit.finish(one.root)?;
    other_edit.finish(other.root)
}
