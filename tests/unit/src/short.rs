// SPDX-License-Identifier: GPL-2.0

//! Short forms of structures that tests write often.

use crate::disk::{
    dirent::{EntryPlace, NewEntry},
    extent::Expected,
    htree::DxEntry,
    Ino, Lblk,
};

/// A name of a regular file.
pub fn entry(name: &[u8], ino: u32) -> NewEntry<'_> {
    let (ino, ftype) = (Ino::new(ino), 1);
    NewEntry { name, ino, ftype }
}

/// An entry that is known by its offset alone: what is before it is looked for.
pub fn at(offset: usize) -> EntryPlace {
    let before = 0;
    EntryPlace { before, offset }
}

/// An entry of an index node.
pub fn dx(hash: u32, lblk: u32) -> DxEntry {
    let lblk = Lblk::new(lblk);
    DxEntry { hash, lblk }
}

/// What a node's parent says of it.
pub fn expected(depth: u16, first: Lblk, end: Lblk) -> Expected {
    Expected { depth, first, end }
}
