// SPDX-License-Identifier: GPL-2.0

//! Blocks lose their pointers, and blocks of pointers go that have none left.

use super::{Array, PointerBlocks, PointerStore, ROOT_BYTES};
use crate::disk::{
    block_map::{Way, MAX_HEIGHT, POINTER_SIZE},
    extent::Extent,
    Corrupt, Lblk, LblkRange, Pblk,
};
use core::ops::Range;

/// The way to a block that is mapped.
struct Branch {
    way: Way,
    /// The blocks of pointers on it.
    blocks: [Pblk; MAX_HEIGHT as usize],
    /// The block itself.
    lblk: Lblk,
    pblk: Pblk,
    /// There is none: this array on the way has no pointer at all, and may go.
    empty: Option<u32>,
}

impl Branch {
    /// The block of an array, unless it is the root.
    fn block(&self, array: u32) -> Option<Pblk> {
        let i = array.checked_sub(1)?;
        self.blocks.get(i as usize).copied()
    }

    /// An array.
    fn open<'r, S: PointerBlocks>(
        &self,
        store: &S,
        root: &'r [u8; ROOT_BYTES],
        array: u32,
    ) -> Result<Array<'r, S>, S::Error> {
        Ok(match self.block(array) {
            Some(pblk) => Array::Block(store.open(pblk)?),
            None => Array::Root(root),
        })
    }
}

/// Takes the pointers from the last mapped ones of the blocks that follow each other, at most as
/// many as `limit` says of them, and returns them. `None` if nothing is mapped there.
pub fn cut_run<S: PointerStore>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    blocks: LblkRange,
    limit: impl FnOnce(&Extent) -> u32,
) -> Result<Option<Extent>, S::Error> {
    let Some(branch) = last_mapped(store, root, blocks)? else {
        return Ok(None);
    };
    let (way, last) = (branch.way, branch.way.height());
    if let Some(empty) = branch.empty {
        let gone = Extent {
            lblk: way.first(empty, 0),
            len: 0,
            pblk: branch.pblk,
            unwritten: false,
        };
        let i = way.index(empty - 1);
        take_off(store, root, (&branch, empty), (empty - 1, i..i + 1))?;
        return Ok(Some(gone));
    }
    let array = branch.open(store, root, last)?;
    let i = way.index(last);
    let most = i.min(branch.lblk.saturating_sub(blocks.start));
    let mut more = 0;
    while more < most
        && array
            .get(store, i - more - 1)?
            .map(|p| p + u64::from(more + 1))
            == Some(branch.pblk)
    {
        more += 1;
    }
    let whole = run_ending(&branch, more + 1);
    let gone = run_ending(&branch, limit(&whole).clamp(1, whole.len));
    let numbers = i + 1 - gone.len..i + 1;
    let run = gone.pblk.get()..gone.pblk.get() + u64::from(gone.len);
    let on_way = |array: u32| branch.block(array).is_some_and(|b| run.contains(&b.get()));
    if (1..=last).any(on_way) {
        return Err(store.corrupt(Corrupt::MapBlock));
    }
    take_off(store, root, (&branch, last), (last, numbers))?;
    Ok(Some(gone))
}

/// Takes these pointers of an array away, and all arrays from there on up to `last` that have none
/// left.
fn take_off<S: PointerStore>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    (branch, last): (&Branch, u32),
    (mut keeps, mut cleared): (u32, Range<u32>),
) -> Result<(), S::Error> {
    let way = branch.way;
    while keeps > 0 && is_rest_empty(store, &branch.open(store, root, keeps)?, &cleared)? {
        keeps -= 1;
        cleared = way.index(keeps)..way.index(keeps) + 1;
    }
    clear_run(store, root, branch.block(keeps), cleared)?;
    for array in keeps + 1..=last {
        if let Some(pblk) = branch.block(array) {
            store.release(pblk);
        }
    }
    Ok(())
}

/// The run of `len` blocks that ends with that of the branch.
fn run_ending(branch: &Branch, len: u32) -> Extent {
    Extent {
        lblk: Lblk::new(branch.lblk.get() + 1 - len),
        len,
        pblk: Pblk::new(branch.pblk.get() + 1 - u64::from(len)),
        unwritten: false,
    }
}

/// Whether an array has nothing but these pointers.
fn is_rest_empty<S: PointerBlocks>(
    store: &S,
    array: &Array<'_, S>,
    but: &Range<u32>,
) -> Result<bool, S::Error> {
    let len = 1 << (store.block_bits() - POINTER_SIZE.trailing_zeros());
    let is_none = |_, pointer: Option<Pblk>| pointer.is_none();
    Ok(array.count(store, 0..but.start, is_none)? == but.start
        && array.count(store, but.end..len, is_none)? == len - but.end)
}

/// Takes pointers out of a block, or out of the root.
fn clear_run<S: PointerStore>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    block: Option<Pblk>,
    numbers: Range<u32>,
) -> Result<(), S::Error> {
    let zeros = [0; ROOT_BYTES];
    if let Some(pblk) = block {
        let mut access = store.change(pblk)?;
        let mut at = numbers.start as usize * POINTER_SIZE;
        let end = numbers.end as usize * POINTER_SIZE;
        while at < end {
            let part = zeros.get(..ROOT_BYTES.min(end - at)).unwrap_or(&zeros);
            store.set_pointers(&mut access, at, part)?;
            at += part.len();
        }
        return store.finish(access);
    }
    let at = numbers.start as usize * POINTER_SIZE..numbers.end as usize * POINTER_SIZE;
    match root.get_mut(at) {
        Some(place) => {
            place.fill(0);
            Ok(())
        }
        None => Err(store.corrupt(Corrupt::ShortBuffer)),
    }
}

/// Finds the last of the blocks that is mapped.
fn last_mapped<S: PointerBlocks>(
    store: &S,
    root: &[u8; ROOT_BYTES],
    blocks: LblkRange,
) -> Result<Option<Branch>, S::Error> {
    // What has no pointer of its own ends where the pointers do.
    let pointers = Way::end_of_all(store.block_bits());
    let mut end = blocks.end.min(pointers);
    while blocks.start < end {
        let at = Lblk::new(end.get() - 1);
        match branch_at(store, root, at, blocks)? {
            Ok(branch) => return Ok(Some(branch)),
            Err(before) => end = before,
        }
    }
    Ok(None)
}

/// The way to a block, if that is mapped; else the end of what may be mapped before it.
fn branch_at<S: PointerBlocks>(
    store: &S,
    root: &[u8; ROOT_BYTES],
    lblk: Lblk,
    blocks: LblkRange,
) -> Result<Result<Branch, Lblk>, S::Error> {
    let Some(way) = Way::new(lblk, store.block_bits()) else {
        return Ok(Err(Lblk::FIRST));
    };
    let mut branch = Branch {
        way,
        blocks: [Pblk::default(); MAX_HEIGHT as usize],
        lblk,
        pblk: Pblk::default(),
        empty: None,
    };
    let mut array = Array::Root(root);
    for number in 0..=way.height() {
        let mut i = way.index(number);
        let Some(pblk) = array.get(store, i)? else {
            while i > 0 && array.get(store, i - 1)?.is_none() {
                i -= 1;
            }
            let (first, len) = (way.first(number, 0), way.len(number));
            let inside = blocks.start <= first && way.first(number, len) <= blocks.end;
            let is_none = |_, pointer: Option<Pblk>| pointer.is_none();
            if number > 0 && i == 0 && inside && array.count(store, 0..len, is_none)? == len {
                branch.empty = Some(number);
                return Ok(Ok(branch));
            }
            return Ok(Err(way.first(number, i)));
        };
        if number == way.height() {
            branch.pblk = pblk;
            break;
        }
        if let Some(block) = branch.blocks.get_mut(number as usize) {
            *block = pblk;
        }
        array = Array::Block(store.open(pblk)?);
    }
    Ok(Ok(branch))
}
