// SPDX-License-Identifier: GPL-2.0

//! Entries of a leaf that get other places in the file. Their blocks stay, and so does their order.

use super::{
    super::{path::LeafPath, Shift, Store, ROOT_BYTES},
    Edit,
};
use crate::disk::{
    extent::{self, Extent},
    Corrupt,
};
use core::ops::Range;

impl<S: Store> LeafPath<'_, S> {
    /// Moves entries of the leaf, where nothing is in their way. No block is allocated.
    pub(in super::super) fn shift(
        self,
        root: &mut [u8; ROOT_BYTES],
        entries: Range<u16>,
        shift: Shift,
    ) -> Result<(), S::Error> {
        Edit::copy(self)?.shift(root, entries, shift)
    }
}

impl<S: Store> Edit<'_, S> {
    /// As [`Edit::splice`], for [`LeafPath::shift`].
    fn shift(
        mut self,
        root: &mut [u8; ROOT_BYTES],
        entries: Range<u16>,
        shift: Shift,
    ) -> Result<(), S::Error> {
        self.shift_leaf(entries, shift)?;
        self.access()?;
        self.finish(root)
    }

    fn shift_leaf(&mut self, entries: Range<u16>, shift: Shift) -> Result<(), S::Error> {
        let (l, at) = (self.leaf, entries.start);
        let joined = {
            let node = self.level_mut(l)?.image.bytes_mut();
            move_entries(node, entries, shift).and_then(|()| join(node, at))
        };
        if joined.map_err(|e| self.bad(e))? {
            self.merge_up()
        } else if at == 0 {
            self.fix_keys(l)
        } else {
            Ok(())
        }
    }
}

fn move_entries(node: &mut [u8], entries: Range<u16>, shift: Shift) -> Result<(), Corrupt> {
    for i in entries {
        let old = extent::extent_at(node, i)?;
        let lblk = shift.of(&old).ok_or(Corrupt::ExtentRange)?;
        extent::put_extent(node, i, &Extent { lblk, ..old })?;
    }
    Ok(())
}

/// Makes one of entry `at` and the one before it, if it continues that. Returns whether it did.
fn join(node: &mut [u8], at: u16) -> Result<bool, Corrupt> {
    let Some(before) = at.checked_sub(1) else {
        return Ok(false);
    };
    let (prev, moved) = (
        extent::extent_at(node, before)?,
        extent::extent_at(node, at)?,
    );
    if !prev.can_append(&moved) {
        return Ok(false);
    }
    let len = prev.len + moved.len;
    extent::put_extent(node, before, &Extent { len, ..prev })?;
    extent::close_gap(node, at, 1)?;
    Ok(true)
}
