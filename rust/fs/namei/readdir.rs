// SPDX-License-Identifier: GPL-2.0

//! Listing a directory.
//!
//! Positions must stay good while names come and go between two calls. In a directory of several
//! blocks without an index names do not move, and a position is a byte offset. Where there is an
//! index, or may be one soon, splits move names, and the names are listed in the order of their
//! hashes: a position is made of the hash (see [`cookie`]), so whatever happens to other names, one
//! that stays is listed exactly once.

use super::{
    bad,
    blocks,
    corrupted,
    dirblock::{DirBlock, Kind},
    htree::Path,
    is_indexed,
    lookup::{read_ahead_from, read_dots},
    Inode, //
};
use crate::{
    disk::{
        dirent::{self, ftype, HEADER_SIZE},
        features::COMPAT_DIR_INDEX,
        hash::{Hash, Hasher},
        sort::sort, //
    },
    vfs::DirEmitter,
};
use kernel::prelude::*;

/// The position behind the last name, the largest there is.
const END: u64 = i64::MAX as u64;
/// Positions of `.` and `..` in hash order; all names are behind them.
const DOT: u64 = 0;
const DOT_DOT: u64 = 1;
/// The most leaves whose names all have one hash. Names can be chosen so, but not this many by
/// accident; they have to be sorted in memory.
const MAX_CHAIN: usize = 64;

/// `DT_*` of a directory.
const DT_DIR: u8 = 4;

/// The type that user space is told: `DT_*`, in the order of [`ftype`].
fn dtype(ft: u8) -> u8 {
    match ft {
        ftype::REG => 8,
        ftype::DIR => DT_DIR,
        ftype::CHR => 2,
        ftype::BLK => 6,
        ftype::FIFO => 1,
        ftype::SOCK => 12,
        ftype::SYMLINK => 10,
        _ => 0,
    }
}

/// Emits the entries from `emit.pos()` on. i_rwsem is held, shared.
pub(crate) fn readdir(dir: &Inode, emit: &mut DirEmitter<'_>) -> Result {
    let count = blocks(dir)?;
    // A directory of one block gets an index when it grows: positions stay good then.
    let soon = count == 1 && dir.fs().geo.features.has_compat(COMPAT_DIR_INDEX);
    match is_indexed(dir) || soon {
        true => by_hash(dir, emit),
        false => by_offset(dir, count, emit),
    }
}

fn by_offset(dir: &Inode, count: u32, emit: &mut DirEmitter<'_>) -> Result {
    let geo = &dir.fs().geo;
    let pos = emit.pos();
    let first = pos >> geo.block_bits;
    let mut offset = (pos & u64::from(geo.block_size - 1)) as usize;
    // Beyond the end if it does not fit.
    for lblk in u32::try_from(first).unwrap_or(count)..count {
        dir.go_on()?;
        read_ahead_from(dir, lblk, count);
        let block = DirBlock::read(dir, lblk, Kind::Leaf)?;
        for entry in dirent::entries_from(&block.data, geo, offset) {
            let entry = entry.map_err(|e| bad(dir, lblk, e))?;
            let at = (u64::from(lblk) << geo.block_bits) + entry.offset as u64;
            emit.set_pos(at);
            if !emit.emit(entry.name, entry.ino, dtype(entry.ftype)) {
                return Ok(());
            }
            emit.set_pos(at + entry.rec_len as u64);
        }
        offset = 0;
        emit.set_pos((u64::from(lblk) + 1) << geo.block_bits);
    }
    Ok(())
}

/// A position in hash order: 31 bits of the hash that sorts the index (its lowest bit is always
/// 0), then the 32 bits that tell names of the same hash apart.
fn cookie(hash: Hash) -> u64 {
    (u64::from(hash.major >> 1) << 32) | u64::from(hash.minor)
}

fn by_hash(dir: &Inode, emit: &mut DirEmitter<'_>) -> Result {
    let pos = emit.pos();
    if pos >= END {
        return Ok(());
    }
    let (first, dots) = read_dots(dir)?;
    if pos == DOT {
        if !emit.emit(b".", dir.ino(), DT_DIR) {
            return Ok(());
        }
        emit.set_pos(DOT_DOT);
    }
    if pos <= DOT_DOT {
        if !emit.emit(b"..", dots.parent, DT_DIR) {
            return Ok(());
        }
        emit.set_pos(DOT_DOT + 1);
    }

    let mut list = List {
        leaves: KVec::new(),
        items: KVec::new(),
        floor: emit.pos(),
        last: DOT_DOT,
    };
    let done = if is_indexed(dir) {
        list.emit_indexed(dir, emit)?
    } else {
        let hasher = Hasher::new_default(&dir.fs().geo).map_err(|e| bad(dir, 0, e))?;
        list.push(dir, first, |name| hasher.hash(name))?;
        list.emit(dir, emit)?
    };
    if done {
        emit.set_pos(END);
    }
    Ok(())
}

/// One name of a [`List`]. Names of the same hash are ordered by their inodes, which splits do not
/// change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    hash: Hash,
    ino: u32,
    leaf: u16,
    offset: u16,
    len: u8,
    ftype: u8,
}

/// The names of a leaf, or of several that all hold names of one hash, to be listed in order.
struct List {
    leaves: KVec<DirBlock>,
    items: KVec<Item>,
    /// The lowest position not listed yet.
    floor: u64,
    /// The position of the last item, listed or not.
    last: u64,
}

impl List {
    /// Adds the names of a leaf.
    fn push(&mut self, dir: &Inode, leaf: DirBlock, hash: impl Fn(&[u8]) -> Hash) -> Result {
        let nr = self.leaves.len() as u16;
        for entry in dirent::entries(&leaf.data, &dir.fs().geo) {
            let entry = entry.map_err(|e| bad(dir, leaf.lblk, e))?;
            if entry.ino == 0 || entry.is_dot() {
                continue;
            }
            let item = Item {
                hash: hash(entry.name),
                ino: entry.ino,
                leaf: nr,
                offset: entry.offset as u16,
                len: entry.name.len() as u8,
                ftype: entry.ftype,
            };
            self.items.push(item, GFP_KERNEL)?;
        }
        Ok(self.leaves.push(leaf, GFP_KERNEL)?)
    }

    /// Lists what is in the list and empties it. False if the reader's buffer is full.
    fn emit(&mut self, dir: &Inode, emit: &mut DirEmitter<'_>) -> Result<bool> {
        sort(&mut self.items);
        for item in &self.items {
            // Positions of names whose whole hash is the same are made different, always in the
            // same way, or the reader could not get past them.
            self.last = cookie(item.hash).max(self.last + 1);
            if self.last < self.floor {
                continue;
            }
            if self.last >= END {
                break;
            }
            let Some(leaf) = self.leaves.get(usize::from(item.leaf)) else {
                continue;
            };
            let start = usize::from(item.offset) + HEADER_SIZE;
            let name = leaf
                .data
                .get(start..start + usize::from(item.len))
                .ok_or_else(|| bad(dir, leaf.lblk, crate::disk::Corrupt::DirentOverrun))?;
            emit.set_pos(self.last);
            if !emit.emit(name, item.ino, dtype(item.ftype)) {
                return Ok(false);
            }
            // Also the position, or a reader would get this name again and again when what comes
            // next cannot be read.
            self.floor = self.last + 1;
            emit.set_pos(self.floor);
        }
        self.leaves.clear();
        self.items.clear();
        Ok(true)
    }

    /// Lists an indexed directory from [`List::floor`] on. True at the end of the directory.
    fn emit_indexed(&mut self, dir: &Inode, emit: &mut DirEmitter<'_>) -> Result<bool> {
        let mut path = Path::open(dir)?;
        path.seek(dir, ((self.floor >> 32) << 1) as u32)?;
        // An index has no more leaves than the directory has blocks, unless it names some twice:
        // a node full of the same one would be sorted some 100,000 times for each call.
        for _ in 0..blocks(dir)? {
            dir.go_on()?;
            let leaf = path.leaf(dir)?;
            self.push(dir, leaf, |name| path.hash(name))?;
            let next = path.advance(dir)?;
            // The lowest bit: more names of the last hash follow, to be sorted with these.
            if next.is_some_and(|hash| hash & 1 != 0) {
                if self.leaves.len() < MAX_CHAIN {
                    continue;
                }
                return Err(corrupted(
                    dir.sb(),
                    Some(dir),
                    fmt!("directory index: {MAX_CHAIN} blocks of the same hash"),
                ));
            }
            if !self.emit(dir, emit)? {
                return Ok(false);
            }
            if next.is_none() {
                return Ok(true);
            }
        }
        Err(corrupted(
            dir.sb(),
            Some(dir),
            fmt!("directory index: more leaves than blocks"),
        ))
    }
}
