// SPDX-License-Identifier: GPL-2.0

//! Blocks get pointers, and where there is no block for these, one of those, up to three levels of
//! them. All that can fail comes before anything changes.

use super::{Array, PointerStore, ROOT_BYTES, WINDOW};
use crate::disk::{
    block_map::{Way, MAX_HEIGHT, POINTER_SIZE},
    extent::Extent,
    Corrupt, Pblk,
};
use core::ops::Range;

/// Where a run is to be placed: how far the way is there.
struct Trunk {
    way: Way,
    /// The number of the last array that is there.
    array: u32,
    /// Its block, unless it is the root.
    pblk: Option<Pblk>,
}

impl Trunk {
    /// The pointers of an array that are to be set, for a run of `len` blocks.
    fn numbers(&self, array: u32, len: u32) -> Range<u32> {
        let i = self.way.index(array);
        if array == self.way.height() {
            i..i + len
        } else {
            i..i + 1
        }
    }
}

/// The blocks that the way lacks, and the rights to change what will be changed.
struct Shoots<A> {
    old: Option<A>,
    new: [Option<(Pblk, Option<A>)>; MAX_HEIGHT as usize],
}

/// Has pointers lead to the blocks of `new`, which are a hole now and have their pointers in one
/// array. `ready` is called when all but the journal is there; if it fails nothing has changed.
pub fn place_run<S: PointerStore>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    new: &Extent,
    ready: impl FnOnce(&mut S) -> Result<(), S::Error>,
) -> Result<(), S::Error> {
    let trunk = reach(store, root, new)?;
    let mut shoots = Shoots {
        old: None,
        new: [const { None }; MAX_HEIGHT as usize],
    };
    if let Err(e) = take_missing(store, &trunk, &mut shoots).and_then(|()| ready(store)) {
        undo(store, shoots);
        return Err(e);
    }
    set_all(store, root, (&trunk, shoots), new)
}

/// Finds how far the way is there, and that nothing is mapped.
fn reach<S: PointerStore>(
    store: &S,
    root: &[u8; ROOT_BYTES],
    new: &Extent,
) -> Result<Trunk, S::Error> {
    let bad = |what| Err(store.corrupt(what));
    let Some(way) = Way::new(new.lblk, store.block_bits()) else {
        return bad(Corrupt::ExtentRange);
    };
    let last = new.pblk + u64::from(new.len);
    if new.end() > way.end().min(store.limit()) || last.get() > 1 << 32 {
        return bad(Corrupt::ExtentRange);
    }
    let mut trunk = Trunk {
        way,
        array: 0,
        pblk: None,
    };
    let mut array = Array::Root(root);
    while trunk.array < way.height() {
        let Some(pblk) = array.get(store, way.index(trunk.array))? else {
            return Ok(trunk);
        };
        array = Array::Block(store.open(pblk)?);
        trunk.array += 1;
        trunk.pblk = Some(pblk);
    }
    let numbers = trunk.numbers(trunk.array, new.len);
    let empty = array.count(store, numbers, |_, pointer| pointer.is_none())?;
    if empty < new.len {
        return bad(Corrupt::ExtentOrder);
    }
    Ok(trunk)
}

/// Allocates what is missing, and gets the rights.
fn take_missing<S: PointerStore>(
    store: &mut S,
    trunk: &Trunk,
    shoots: &mut Shoots<S::Access>,
) -> Result<(), S::Error> {
    let missing = trunk.way.height() - trunk.array;
    let mut goal = trunk.pblk;
    for shoot in shoots.new.iter_mut().take(missing as usize) {
        let pblk = store.take(goal.map(|block| block + 1))?;
        *shoot = Some((pblk, None));
        goal = Some(pblk);
    }
    // The old one may have to be read again.
    if let Some(pblk) = trunk.pblk {
        shoots.old = Some(store.change(pblk)?);
    }
    for (pblk, access) in shoots.new.iter_mut().flatten() {
        *access = Some(store.create(*pblk)?);
    }
    Ok(())
}

/// Gives everything back.
fn undo<S: PointerStore>(store: &mut S, shoots: Shoots<S::Access>) {
    let Shoots { old, new } = shoots;
    drop(old);
    for (pblk, access) in new.into_iter().flatten() {
        drop(access);
        store.give_back(pblk);
    }
}

/// Sets the pointers. Nothing can fail any more but the journal.
fn set_all<S: PointerStore>(
    store: &mut S,
    root: &mut [u8; ROOT_BYTES],
    (trunk, shoots): (&Trunk, Shoots<S::Access>),
    run: &Extent,
) -> Result<(), S::Error> {
    let Shoots { old, new } = shoots;
    // What the pointers of each array lead to: the next one, or the run.
    let mut below = new.iter().flatten().map(|(pblk, _)| *pblk);
    let mut targets = [run.pblk; MAX_HEIGHT as usize + 1];
    for target in &mut targets {
        *target = below.next().unwrap_or(run.pblk);
    }
    // From below, so that what can be reached is whole.
    let mut array = trunk.way.height();
    let fresh = new.into_iter().rev().flatten();
    for access in fresh.filter_map(|(_, access)| access) {
        let target = targets.get((array - trunk.array) as usize);
        let target = target.copied().unwrap_or(run.pblk);
        set_run(store, access, trunk.numbers(array, run.len), target)?;
        array -= 1;
    }
    let target = targets.first().copied().unwrap_or(run.pblk);
    let numbers = trunk.numbers(trunk.array, run.len);
    if let Some(access) = old {
        return set_run(store, access, numbers, target);
    }
    let at = numbers.start as usize * POINTER_SIZE..numbers.end as usize * POINTER_SIZE;
    match root.get_mut(at) {
        Some(place) => {
            encode_run(place, target);
            Ok(())
        }
        None => Err(store.corrupt(Corrupt::ShortBuffer)),
    }
}

/// Has these pointers of a block lead to blocks that follow each other.
fn set_run<S: PointerStore>(
    store: &mut S,
    mut access: S::Access,
    mut numbers: Range<u32>,
    mut target: Pblk,
) -> Result<(), S::Error> {
    let mut window = [0; WINDOW as usize * POINTER_SIZE];
    while !numbers.is_empty() {
        let some = WINDOW.min(numbers.end - numbers.start);
        if let Some(part) = window.get_mut(..some as usize * POINTER_SIZE) {
            encode_run(part, target);
            let at = numbers.start as usize * POINTER_SIZE;
            store.set_pointers(&mut access, at, part)?;
        }
        numbers.start += some;
        target = target + u64::from(some);
    }
    store.finish(access)
}

/// Pointers to blocks that follow each other.
fn encode_run(to: &mut [u8], first: Pblk) {
    for (place, i) in to.chunks_exact_mut(POINTER_SIZE).zip(0u64..) {
        // CAST: None of the blocks lies behind what 32 bits can name.
        place.copy_from_slice(&((first + i).get() as u32).to_le_bytes());
    }
}
