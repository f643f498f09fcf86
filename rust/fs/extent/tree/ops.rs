// SPDX-License-Identifier: GPL-2.0

//! The operations: each is one replacement of neighbouring entries of a leaf, or of two.

use super::{
    edit::{splice_both, Edit, Splice},
    path::LeafPath,
    Store, ROOT_BYTES,
};
use crate::disk::{
    extent::{Extent, MAX_UNWRITTEN_LEN},
    Corrupt, Lblk, LblkRange, Pblk,
};
use core::ops::Range;

/// Up to three extents in a row.
struct Row {
    extents: [Extent; 3],
    len: usize,
}

impl Row {
    fn new() -> Self {
        let nothing = Extent {
            lblk: Lblk::FIRST,
            len: 0,
            pblk: Pblk::default(),
            unwritten: false,
        };
        Row {
            extents: [nothing; 3],
            len: 0,
        }
    }

    /// Appends these blocks of an extent, if there are any.
    fn push(&mut self, of: &Extent, blocks: LblkRange) {
        if blocks.is_empty() {
            return;
        }
        if let Some(place) = self.extents.get_mut(self.len) {
            *place = part(of, blocks);
            self.len += 1;
        }
    }

    fn as_slice(&self) -> &[Extent] {
        self.extents.get(..self.len).unwrap_or(&[])
    }
}

/// These blocks, which are in `of`.
fn part(of: &Extent, blocks: LblkRange) -> Extent {
    let skip = blocks.start.saturating_sub(of.lblk);
    Extent {
        lblk: blocks.start,
        len: blocks.len(),
        pblk: of.pblk + u64::from(skip),
        unwritten: of.unwritten,
    }
}

/// Maps the blocks of `e`, which are not mapped yet. Goes into a neighbour of the same leaf if it
/// continues it.
pub fn insert<S: Store>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    e: &Extent,
) -> Result<(), S::Error> {
    let path = LeafPath::find(store, root, e.lblk)?;
    let mut at = path.at;
    let prev = match at.checked_sub(1) {
        Some(before) => path.entry(before)?,
        None => None,
    };
    let next = path.entry(at)?;
    let end = next.map_or(path.end, |next| next.lblk);
    let outside = e.lblk.checked_add(e.len).is_none_or(|e_end| e_end > end);
    if prev.is_some_and(|prev| prev.end() > e.lblk) || outside {
        return Err(path.bad(Corrupt::ExtentOrder));
    }

    let (mut whole, mut remove) = (*e, 0);
    if let Some(prev) = prev.filter(|prev| prev.can_append(e)) {
        whole = Extent {
            len: prev.len + e.len,
            ..prev
        };
        (at, remove) = (at - 1, 1);
    }
    if let Some(next) = next.filter(|next| whole.can_append(next)) {
        whole.len += next.len;
        remove += 1;
    }
    path.splice(root, at..at + remove, &[whole])
}

/// What [`convert`] makes of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Blocks with data.
    Written,
    /// Blocks that read as zeros.
    Unwritten,
}

/// Turns the first of the blocks, as many as are in one extent, into what `to` says. Holes and what
/// is in that state already are skipped. Returns where to go on, at most their end.
pub fn convert<S: Store>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    LblkRange { start, end }: LblkRange,
    to: To,
) -> Result<Lblk, S::Error> {
    let unwritten = to == To::Unwritten;
    let path = LeafPath::find(store, root, start)?;
    let old = match path.at.checked_sub(1) {
        Some(i) => path.entry(i)?.map(|e| (i, e)),
        None => None,
    };
    let Some((at, old)) = old.filter(|(_, e)| e.end() > start) else {
        let next = path.entry(path.at)?;
        return Ok(next.map_or(path.end, |next| next.lblk).min(end));
    };
    if old.unwritten == unwritten {
        return Ok(old.end().min(end));
    }
    // An unwritten extent cannot be as long as a written one.
    let longest = start.saturating_add(MAX_UNWRITTEN_LEN);
    let end = end.min(old.end()).min(longest);
    let mut changed = part(&old, start.until(end));
    changed.unwritten = unwritten;
    let (entries, row) = replace_part(&path, (at, old), changed)?;
    path.splice(root, entries, row.as_slice())?;
    Ok(end)
}

/// An entry of a leaf, and its number.
type Entry = (u16, Extent);

/// What the leaf is to have so that `changed` is in the place of the same logical blocks of `old`,
/// the entry before the path's: which entries go, and which come. Goes into a neighbour that it
/// continues.
#[inline(never)]
fn replace_part<S: Store>(
    path: &LeafPath<'_, S>,
    (mut at, old): Entry,
    mut changed: Extent,
) -> Result<(Range<u16>, Row), S::Error> {
    let LblkRange { start, end } = changed.blocks();
    let mut remove = 1;
    let mut prev = None;
    if start == old.lblk {
        if let Some(before) = at.checked_sub(1) {
            prev = path.entry(before)?.filter(|prev| prev.can_append(&changed));
        }
    }
    if let Some(prev) = prev {
        changed = Extent {
            len: prev.len + changed.len,
            ..prev
        };
        (at, remove) = (at - 1, 2);
    }
    if end == old.end() {
        let next = path.entry(path.at)?.filter(|next| changed.can_append(next));
        if let Some(next) = next {
            changed.len += next.len;
            remove += 1;
        }
    }
    let mut row = Row::new();
    row.push(&old, old.lblk.until(start));
    row.push(&changed, changed.blocks());
    row.push(&old, end.until(old.end()));
    Ok((at..at + remove, row))
}

/// A tree, and an extent of it or a part of one.
pub struct TreePart<'a, S: Store> {
    /// The nodes.
    pub store: &'a mut S,
    /// The root.
    pub root: &'a mut [u8; ROOT_BYTES],
    /// What is there.
    pub part: Extent,
}

/// Finds the path to an extent, or a part of one, and the entry that it lies in.
#[inline(never)]
fn find_part<'s, S: Store>(
    store: &'s mut S,
    root: &[u8; ROOT_BYTES],
    wanted: &Extent,
) -> Result<(LeafPath<'s, S>, Entry), S::Error> {
    let path = LeafPath::find(store, root, wanted.lblk)?;
    let old = match path.at.checked_sub(1) {
        Some(i) => path.entry(i)?.map(|e| (i, e)),
        None => None,
    };
    let reaches = |e: &Extent| wanted.len > 0 && wanted.end() <= e.end();
    match old.filter(|(_, e)| reaches(e) && part(e, wanted.blocks()) == *wanted) {
        Some(old) => Ok((path, old)),
        // Not as it was when it was looked up: somebody writes to the device.
        None => Err(path.bad(Corrupt::ExtentRange)),
    }
}

/// Copies the path to an extent, or a part of one, which becomes another. On its own for the sake
/// of the stack.
#[inline(never)]
fn begin_part<'s, S: Store>(
    store: &'s mut S,
    root: &[u8; ROOT_BYTES],
    (wanted, new): (&Extent, Extent),
) -> Result<(Edit<'s, S>, Range<u16>, Row), S::Error> {
    let (path, old) = find_part(store, root, wanted)?;
    let (entries, row) = replace_part(&path, old, new)?;
    Ok((Edit::copy(path)?, entries, row))
}

/// Gives each of two trees the blocks that the other has. Both become what `orig` is, written or
/// not: the logical blocks of `orig` read as before, if the blocks that they get have been given
/// the data before. As many of the one as of the other. Both trees change, or none.
#[inline(never)]
pub fn exchange_parts<S: Store>(
    orig: TreePart<'_, S>,
    donor: TreePart<'_, S>,
) -> Result<(), S::Error> {
    let of_orig = Extent {
        pblk: donor.part.pblk,
        ..orig.part
    };
    let of_donor = Extent {
        lblk: donor.part.lblk,
        ..orig.part
    };
    let (edit, entries, row) = begin_part(orig.store, orig.root, (&orig.part, of_orig))?;
    let (donor_edit, donor_entries, donor_row) =
        begin_part(donor.store, donor.root, (&donor.part, of_donor))?;
    splice_both(
        Splice {
            edit,
            root: orig.root,
            old: entries,
            new: row.as_slice(),
        },
        Splice {
            edit: donor_edit,
            root: donor.root,
            old: donor_entries,
            new: donor_row.as_slice(),
        },
    )
}

/// Unmaps the last mapped ones of the blocks that are in one extent, at most as many as `limit`
/// says of them, and returns them. `None` if nothing is mapped there.
///
/// If they are a whole extent, those before it in the same leaf go as well, from the last one on,
/// for as long as they are whole in the blocks and `more` says so. The leaf is written once for all
/// of them. On an error none has gone, whatever `more` has said.
pub fn cut<S: Store>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    blocks: LblkRange,
    (limit, mut more): (
        impl FnOnce(&Extent) -> u32,
        impl FnMut(&Extent) -> bool, //
    ),
) -> Result<Option<Extent>, S::Error> {
    if blocks.is_empty() {
        return Ok(None);
    }
    let LblkRange { start, end } = blocks;
    // The last block of the range, or what comes before it.
    let last = Lblk::new(end.get() - 1);
    let path = LeafPath::find(store, root, last)?;
    let old = match path.at.checked_sub(1) {
        Some(i) => path.entry(i)?.map(|e| (i, e)),
        None => None,
    };
    let Some((at, old)) = old.filter(|(_, e)| e.end() > start) else {
        return Ok(None);
    };
    let end = old.end().min(end);
    let mut gone = part(&old, start.max(old.lblk).until(end));
    if gone.len == 0 {
        // Not as it was when it was checked: somebody writes to the device.
        return Err(path.bad(Corrupt::ExtentRange));
    }
    let most = limit(&gone).clamp(1, gone.len);
    gone = part(&gone, Lblk::new(end.get() - most).until(end));

    let mut first = at;
    while let Some(before) = first
        .checked_sub(1)
        .filter(|_| gone.blocks() == old.blocks())
    {
        let whole = |e: &Extent| e.lblk >= start && e.len > 0;
        match path.entry(before)?.filter(whole) {
            Some(e) if more(&e) => first = before,
            _ => break,
        }
    }
    let mut row = Row::new();
    row.push(&old, old.lblk.until(gone.lblk));
    row.push(&old, end.until(old.end()));
    path.splice(root, first..at + 1, row.as_slice())?;
    Ok(Some(gone))
}

/// Makes two extents of the one that reaches over the beginning of `at`, if there is one: then none
/// does.
pub fn split<S: Store>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    at: Lblk,
) -> Result<(), S::Error> {
    let path = LeafPath::find(store, root, at)?;
    let old = match path.at.checked_sub(1) {
        Some(i) => path.entry(i)?.map(|e| (i, e)),
        None => None,
    };
    let Some((i, old)) = old.filter(|(_, e)| e.lblk < at && at < e.end()) else {
        return Ok(());
    };
    let mut row = Row::new();
    row.push(&old, old.lblk.until(at));
    row.push(&old, at.until(old.end()));
    path.splice(root, i..i + 1, row.as_slice())
}
