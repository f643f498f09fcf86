// SPDX-License-Identifier: GPL-2.0

//! One change of two trees, of which there must not be half.

use super::{super::ROOT_BYTES, Edit, Store};
use crate::disk::extent::Extent;
use core::ops::Range;

/// What one of the two trees is to become.
pub(crate) struct Splice<'s, 'c, S: Store> {
    pub(crate) edit: Edit<'s, S>,
    pub(crate) root: &'c mut [u8; ROOT_BYTES],
    /// Entries of the leaf that go.
    pub(crate) old: Range<u16>,
    /// What comes in their place.
    pub(crate) new: &'c [Extent],
}

/// Makes both changes, or none. As [`Edit::splice`], each step for both trees before the next: what
/// can fail is over for the second, too, when the first is written.
pub(crate) fn splice_both<S: Store>(
    mut one: Splice<'_, '_, S>,
    mut other: Splice<'_, '_, S>,
) -> Result<(), S::Error> {
    let prepared = one
        .edit
        .change(one.old.clone(), one.new)
        .and_then(|()| other.edit.change(other.old.clone(), other.new))
        .and_then(|()| one.edit.access_some(false))
        .and_then(|()| other.edit.access_some(false))
        .and_then(|()| one.edit.access_some(true))
        .and_then(|()| other.edit.access_some(true));
    if let Err(e) = prepared {
        one.edit.abandon();
        other.edit.abandon();
        return Err(e);
    }
    one.edit.finish(one.root)?;
    other.edit.finish(other.root)
}
