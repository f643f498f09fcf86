// SPDX-License-Identifier: GPL-2.0

//! Extents that move within the file, those of one leaf at a time: after each step the tree is
//! whole, and the gap that they move into has gone on by that leaf.

use super::{path::LeafPath, Store, ROOT_BYTES};
use crate::disk::{extent::Extent, Corrupt, Lblk, LblkRange};

/// Where extents move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// So many blocks towards the beginning of the file.
    Left(u32),
    /// So many blocks towards its end.
    Right(u32),
}

impl Shift {
    /// Where an extent begins then; `None` if a file has no such blocks.
    pub(super) fn of(self, e: &Extent) -> Option<Lblk> {
        match self {
            Shift::Left(by) => e.lblk.get().checked_sub(by).map(Lblk::new),
            Shift::Right(by) => {
                let lblk = e.lblk.checked_add(by)?;
                lblk.checked_add(e.len).map(|_| lblk)
            }
        }
    }
}

/// Moves the extents that begin at `first` or behind it, as many as one leaf has, to the left by as
/// many blocks as are free before `first`. An extent that reaches beyond `first` there must not be.
/// Returns where to go on, if there is a leaf behind.
pub fn shift_left<S: Store>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    first: Lblk,
    by: u32,
) -> Result<Option<Lblk>, S::Error> {
    let path = LeafPath::find(store, root, first)?;
    let next = (!path.rightmost).then_some(path.end);
    let at = path.entries_before(first)?;
    let Some(head) = path.entry(at)? else {
        return Ok(next);
    };
    if let Some(before) = at.checked_sub(1) {
        let free = path.entry(before)?.map_or(Lblk::FIRST, |prev| prev.end());
        if head.lblk.saturating_sub(free) < by {
            return Err(path.bad(Corrupt::ExtentOrder));
        }
    }
    let entries = at..path.len()?;
    path.shift(root, entries, Shift::Left(by))?;
    Ok(next)
}

/// Moves the extents that begin in the blocks, the last ones, as many as one leaf has, to the
/// right, where nothing is mapped. An extent that reaches into the blocks from before there must
/// not be. Returns what is left to be moved, if anything may be.
pub fn shift_right<S: Store>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    LblkRange { start, end }: LblkRange,
    by: u32,
) -> Result<Option<LblkRange>, S::Error> {
    let Some(last) = end.get().checked_sub(1) else {
        return Ok(None);
    };
    let path = LeafPath::find(store, root, Lblk::new(last))?;
    let entries = path.entries_before(start)?..path.at;
    if let Some(before) = entries.start.checked_sub(1) {
        if path.entry(before)?.is_some_and(|prev| prev.end() > start) {
            return Err(path.bad(Corrupt::ExtentOrder));
        }
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let head = path.entry(entries.start)?.map_or(start, |head| head.lblk);
    let all = entries.start > 0;
    path.shift(root, entries, Shift::Right(by))?;
    let left = start.until(head);
    Ok((!all && !left.is_empty()).then_some(left))
}
