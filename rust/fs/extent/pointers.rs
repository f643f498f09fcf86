// SPDX-License-Identifier: GPL-2.0

//! Block maps ([`crate::disk::block_map`]) as an algorithm, without I/O, beside that of the extent
//! tree ([`super::tree`]), and with the same answers: pointers to blocks that follow each other are
//! told as one extent. It never goes beyond the pointers of one array, which is no harm.
//!
//! A pointer is not believed: who opens a block of pointers checks where that lies, and who uses an
//! extent does the same.

#![allow(
    unreachable_pub,
    reason = "the host tests include this file as a crate of their own"
)]

mod cut;
mod place;

pub use cut::cut_run;
pub use place::place_run;

use super::tree::{Found, ROOT_BYTES};
use crate::disk::{
    block_map::{decode_pointer, pointer_at, Way, POINTER_SIZE},
    extent::Extent,
    Corrupt, Lblk, Pblk,
};
use core::ops::Range;

/// Pointers read at once.
const WINDOW: u32 = 16;

/// Read access to blocks of pointers.
pub trait PointerBlocks {
    /// What operations fail with.
    type Error;
    /// A block to read from.
    type Block;

    /// Reports the map as corrupt.
    fn corrupt(&self, what: Corrupt) -> Self::Error;

    /// log2 of the bytes in a block.
    fn block_bits(&self) -> u32;

    /// The block behind all that a file may have.
    fn limit(&self) -> Lblk;

    /// Finds a block of pointers, which may lie there.
    fn open(&self, pblk: Pblk) -> Result<Self::Block, Self::Error>;

    /// Copies pointers of a block from byte `at` on.
    fn copy_pointers(
        &self,
        block: &Self::Block,
        at: usize,
        to: &mut [u8],
    ) -> Result<(), Self::Error>;
}

/// Write access to blocks of pointers.
pub trait PointerStore: PointerBlocks {
    /// The right to change a block.
    type Access;

    /// Allocates a block for pointers, best at `goal`.
    fn take(&mut self, goal: Option<Pblk>) -> Result<Pblk, Self::Error>;

    /// Takes back a block that [`PointerStore::take`] gave, which nothing points to.
    fn give_back(&mut self, pblk: Pblk);

    /// Gets the right to change a block.
    fn change(&mut self, pblk: Pblk) -> Result<Self::Access, Self::Error>;

    /// The same of a block that was just allocated: it has no pointers.
    fn create(&mut self, pblk: Pblk) -> Result<Self::Access, Self::Error>;

    /// Overwrites pointers from byte `at` on.
    fn set_pointers(
        &mut self,
        access: &mut Self::Access,
        at: usize,
        from: &[u8],
    ) -> Result<(), Self::Error>;

    /// The block has been changed.
    fn finish(&mut self, access: Self::Access) -> Result<(), Self::Error>;

    /// Frees a block that is not part of the map any more. The map has changed by then, so this has
    /// no error: a block that cannot be freed is reported, and lost.
    fn release(&mut self, pblk: Pblk);
}

/// An array of pointers.
enum Array<'a, S: PointerBlocks> {
    Root(&'a [u8; ROOT_BYTES]),
    Block(S::Block),
}

impl<S: PointerBlocks> Array<'_, S> {
    /// Copies pointers from number `i` on.
    fn copy(&self, store: &S, i: u32, to: &mut [u8]) -> Result<(), S::Error> {
        let at = i as usize * POINTER_SIZE;
        match self {
            Array::Block(block) => store.copy_pointers(block, at, to),
            Array::Root(root) => match root.get(at..at + to.len()) {
                Some(from) => {
                    to.copy_from_slice(from);
                    Ok(())
                }
                None => Err(store.corrupt(Corrupt::ShortBuffer)),
            },
        }
    }

    /// Pointer number `i`.
    fn get(&self, store: &S, i: u32) -> Result<Option<Pblk>, S::Error> {
        let mut pointer = [0; POINTER_SIZE];
        self.copy(store, i, &mut pointer)?;
        Ok(decode_pointer(u32::from_le_bytes(pointer)))
    }

    /// How many of the pointers from number `i` on, up to the last before `end`, are what `is`
    /// says of the first, the second and so on.
    fn count(
        &self,
        store: &S,
        numbers: Range<u32>,
        is: impl Fn(u32, Option<Pblk>) -> bool,
    ) -> Result<u32, S::Error> {
        let mut window = [0; WINDOW as usize * POINTER_SIZE];
        let mut count = 0;
        while numbers.start + count < numbers.end {
            let some = WINDOW.min(numbers.end - numbers.start - count);
            let part = window.get_mut(..some as usize * POINTER_SIZE);
            let part = part.ok_or_else(|| store.corrupt(Corrupt::ShortBuffer))?;
            self.copy(store, numbers.start + count, part)?;
            for i in 0..some {
                let pointer = pointer_at(part, i).map_err(|e| store.corrupt(e))?;
                if !is(count, pointer) {
                    return Ok(count);
                }
                count += 1;
            }
        }
        Ok(count)
    }

    /// The last of a few pointers before number `i` that points to something.
    fn before(&self, store: &S, i: u32) -> Result<Option<(u32, Pblk)>, S::Error> {
        for i in (i.saturating_sub(WINDOW)..i).rev() {
            if let Some(pblk) = self.get(store, i)? {
                return Ok(Some((i, pblk)));
            }
        }
        Ok(None)
    }
}

/// What is at `lblk`. An extent begins there, and of a hole `prev` says only where on the disk one
/// might look for a block.
pub fn lookup_run<S: PointerBlocks>(
    store: &S,
    root: &[u8; ROOT_BYTES],
    lblk: Lblk,
) -> Result<Found, S::Error> {
    let nothing = Found::Hole {
        prev: None,
        end: Lblk::END,
    };
    let Some(way) = Way::new(lblk, store.block_bits()).filter(|_| lblk < store.limit()) else {
        return Ok(nothing);
    };
    let (mut array, mut number) = (Array::Root(root), 0);
    loop {
        let i = way.index(number);
        let Some(pblk) = array.get(store, i)? else {
            return hole_at(store, &array, (way, number), lblk);
        };
        if number == way.height() {
            // A pointer of the inode to a block of the file, or one of the last block on the way.
            let end = way.end().min(store.limit());
            let follows = |n: u32, next| next == Some(pblk + u64::from(n + 1));
            let more = end.saturating_sub(lblk).saturating_sub(1);
            let more = array.count(store, i + 1..i + 1 + more, follows)?;
            return Ok(Found::Extent(Extent {
                lblk,
                len: 1 + more,
                pblk,
                unwritten: false,
            }));
        }
        array = Array::Block(store.open(pblk)?);
        number += 1;
    }
}

/// The hole at `lblk`, whose way ends with an empty pointer of `array`, the one of this number.
fn hole_at<S: PointerBlocks>(
    store: &S,
    array: &Array<'_, S>,
    (way, number): (Way, u32),
    lblk: Lblk,
) -> Result<Found, S::Error> {
    let (i, len) = (way.index(number), way.len(number));
    let empty = array.count(store, i..len, |_, pointer| pointer.is_none())?;
    let mut end = way.first(number, i + empty);
    if number == 0 && i + empty == len || end >= store.limit() {
        end = Lblk::END;
    }
    let prev = array.before(store, i)?.map(|(before, pblk)| Extent {
        // Before a block of pointers that is not there the data is near the one before that.
        lblk: if number == way.height() {
            way.first(number, before)
        } else {
            Lblk::new(lblk.get().saturating_sub(1))
        },
        len: 1,
        pblk,
        unwritten: false,
    });
    Ok(Found::Hole { prev, end })
}
