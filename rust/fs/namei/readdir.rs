// SPDX-License-Identifier: GPL-2.0

//! Listing a directory.
//!
//! Positions must stay good while names come and go between two calls. In a directory of several
//! blocks without an index names do not move, and a position is a byte offset. Where there is an
//! index, or may be one soon, splits move names, and the names are listed in the order of their
//! hashes. A position is made of the hash and of nothing else (see [`Positions`]), so whatever
//! happens to other names, one that stays is listed exactly once.
//!
//! Names of one hash have one position. Two of the legacy hash's 31 bits come together among some
//! ten thousands of names, as do two of any hash for a reader with positions of 31 bits. Such names
//! are listed in the order of their bytes, and an open directory remembers which was the last
//! ([`DirFile`]). A count would not do:
//!
//! ```text
//!   reader                          remover
//!   ------                          -------
//!   lists a, the first of its hash
//!   its buffer is full
//!                                   removes a
//!   goes on at the second name:     (b is the first one now)
//!   b is never listed
//! ```
//!
//! Who seeks to such a position gets all its names again, rather than not all.
//!
//! Whoever chooses names can give as many as he likes one hash, in as many blocks. They are listed
//! in passes over these blocks, each of which lists as many of the lowest names as a [`List`]
//! holds.

use super::{
    bad_dirblock,
    dir_blocks,
    dirblock::{buffer, DirBlock, DirBlockKind},
    htree::Path,
    is_indexed,
    lookup::{read_ahead_from, read_dots},
    positions::by_hashes,
    Inode, //
};
use crate::{
    disk::{
        dirent::{self, ftype, NAME_MAX},
        hash::{Hash, Hasher},
        sort::sort_spread, //
        Ino,
        Lblk,
    },
    fs::{
        lab::{self, Point},
        Rext4,
    },
    vfs::{fscrypt::ShownNames, DirEmitter},
};
use core::ops::Range;
use kernel::{
    error::code::*,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// Positions of `.` and `..` in hash order; all names are behind them, from [`FIRST`] on.
const DOT: u64 = 0;
const DOT_DOT: u64 = 1;
const FIRST: u64 = 2;
/// The most bytes that a [`List`] takes: more than any single leaf has to list.
const MAX_LIST: usize = 128 << 10;

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
pub(crate) fn readdir(dir: &Inode, file: &DirFile, emit: &mut DirEmitter<'_>) -> Result {
    lab::may_fail(Point::Readdir, dir, emit.pos()..u64::MAX, &[EIO, ENOMEM])?;
    let count = dir_blocks(dir)?;
    let mut shown = ShownNames::new(dir)?;
    if by_hashes(dir, count) {
        by_hash(&mut shown, &mut file.last.lock(), emit)
    } else {
        by_offset(&mut shown, count, emit)
    }
}

/// What programs see of a name. Whether there is a key makes no difference to positions, which are
/// made of what the disk holds.
fn show<'n>(shown: &'n mut ShownNames<'_, Rext4>, hash: Hash, name: &'n [u8]) -> Result<&'n [u8]> {
    shown.show((hash.major, hash.minor), name)
}

fn by_offset(shown: &mut ShownNames<'_, Rext4>, count: u32, emit: &mut DirEmitter<'_>) -> Result {
    let dir = shown.dir();
    let geo = &dir.fs().geo;
    let pos = emit.pos();
    let first = pos >> geo.block_bits;
    let mut offset = (pos & u64::from(geo.block_size - 1)) as usize;
    // Beyond the end if it does not fit.
    for lblk in (u32::try_from(first).unwrap_or(count)..count).map(Lblk::new) {
        dir.go_on()?;
        read_ahead_from(dir, lblk, count);
        let block = DirBlock::read(dir, lblk, DirBlockKind::Leaf)?;
        for entry in dirent::entries_from(&block.copy()?, geo, offset) {
            let entry = entry.map_err(|e| bad_dirblock(dir, lblk, e))?;
            let at = lblk.byte(geo.block_bits) + entry.offset as u64;
            let Some(ino) = entry.ino else {
                continue;
            };
            emit.set_pos(at);
            // Without an index nobody looks it up by a hash.
            let name = show(shown, Hash::default(), entry.name)?;
            if !emit.emit(name, ino.into(), dtype(entry.ftype)) {
                return Ok(());
            }
            emit.set_pos(at + entry.rec_len as u64);
        }
        offset = 0;
        emit.set_pos((lblk + 1).byte(geo.block_bits));
    }
    Ok(())
}

/// How positions in hash order are made, and read.
#[derive(Clone, Copy)]
struct Positions {
    narrow: bool,
}

impl Positions {
    /// 31 bits of the hash that sorts the index (its lowest bit is always 0); then, but for who
    /// takes no more, the 32 bits that tell names of the same hash apart. In the order of hashes.
    fn of(self, hash: Hash) -> u64 {
        let major = u64::from(hash.major >> 1);
        let pos = if self.narrow {
            major
        } else {
            (major << 32) | u64::from(hash.minor)
        };
        pos.max(FIRST)
    }

    /// The lowest hash that a name at this position may have.
    fn major(self, pos: u64) -> u32 {
        match pos <= FIRST {
            true => 0,
            false if self.narrow => (pos << 1) as u32,
            false => ((pos >> 32) << 1) as u32,
        }
    }

    /// The position behind all names, the largest there is.
    fn end(self) -> u64 {
        if self.narrow {
            i32::MAX as u64
        } else {
            i64::MAX as u64
        }
    }
}

/// What an open directory remembers.
#[pin_data]
pub(crate) struct DirFile {
    /// Of the readers of one open directory one at a time is in hash order. Below i_rwsem, and
    /// above mmap_lock, like it: names go to memory of the reader.
    #[pin]
    last: Mutex<Last>,
}

impl DirFile {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            last <- new_mutex!(Last::default(), "rext4_dir"),
        })
    }

    /// A seek: what is at the new position is listed from the first name on.
    pub(crate) fn forget(&self) {
        self.last.lock().forget();
    }
}

/// The last name listed, if others of the same position follow.
struct Last {
    pos: u64,
    hash: Hash,
    len: usize,
    name: [u8; NAME_MAX],
}

impl Default for Last {
    fn default() -> Self {
        Self {
            pos: 0,
            hash: Hash::default(),
            len: 0,
            name: [0; NAME_MAX],
        }
    }
}

impl Last {
    fn forget(&mut self) {
        self.len = 0;
    }

    fn remember(&mut self, pos: u64, hash: Hash, name: &[u8]) {
        if let Some(to) = self.name.get_mut(..name.len()) {
            to.copy_from_slice(name);
            (self.pos, self.hash, self.len) = (pos, hash, name.len());
        }
    }

    /// Whether a name of this position was listed before the reader's buffer was full.
    fn covers(&self, pos: u64, hash: Hash, name: &[u8]) -> bool {
        let listed = self.name.get(..self.len).unwrap_or(&[]);
        self.len > 0 && pos == self.pos && (hash, name) <= (self.hash, listed)
    }
}

fn by_hash(
    shown: &mut ShownNames<'_, Rext4>,
    last: &mut Last,
    emit: &mut DirEmitter<'_>,
) -> Result {
    let dir = shown.dir();
    let positions = Positions {
        narrow: emit.narrow(),
    };
    let pos = emit.pos();
    if pos != last.pos {
        last.forget();
    }
    if pos >= positions.end() {
        return Ok(());
    }
    let (first, dots) = read_dots(dir)?;
    if pos == DOT {
        if !emit.emit(b".", dir.number(), DT_DIR) {
            return Ok(());
        }
        emit.set_pos(DOT_DOT);
    }
    if pos <= DOT_DOT {
        if !emit.emit(b"..", dots.parent.into(), DT_DIR) {
            return Ok(());
        }
        emit.set_pos(FIRST);
    }

    let mut list = List {
        positions,
        shown,
        last,
        names: KVVec::new(),
        items: KVVec::new(),
        spare: KVVec::new(),
        bound: None,
    };
    let done = if is_indexed(dir) {
        list.emit_indexed(dir, emit)?
    } else {
        let hasher =
            Hasher::new_default(&dir.fs().geo).map_err(|e| bad_dirblock(dir, Lblk::FIRST, e))?;
        let leaf = (first.lblk, &*first.copy()?);
        list.push(dir, leaf, emit.pos(), |name| hasher.hash(name))?;
        list.emit(emit)?
    };
    if done {
        emit.set_pos(positions.end());
    }
    Ok(())
}

/// One name of a [`List`].
#[derive(Clone, Copy)]
struct Item {
    hash: Hash,
    ino: Ino,
    /// Where the list has the name.
    start: u32,
    len: u8,
    ftype: u8,
}

impl Item {
    fn range(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + usize::from(self.len)
    }

    /// What orders names.
    fn key<'a>(&self, names: &'a [u8]) -> (Hash, &'a [u8]) {
        (self.hash, names.get(self.range()).unwrap_or(&[]))
    }

    #[cold]
    fn has_lower_name(&self, other: &Self, names: &[u8]) -> bool {
        self.key(names).1 < other.key(names).1
    }

    /// Bytes of a list.
    fn cost(&self) -> usize {
        size_of::<Self>() + usize::from(self.len)
    }
}

/// The names of a leaf, or of several that go on with names of one position, to be listed in order.
struct List<'a, 'd> {
    positions: Positions,
    shown: &'a mut ShownNames<'d, Rext4>,
    last: &'a mut Last,
    names: KVVec<u8>,
    items: KVVec<Item>,
    /// For a copy of them, to be put in order.
    spare: KVVec<Item>,
    /// Names were left out. This was the first of them: those from here on stay out, or one between
    /// two that are listed would be missing.
    bound: Option<Bound>,
}

/// The name that a [`List`] ends before.
struct Bound {
    hash: Hash,
    name: KVec<u8>,
}

impl List<'_, '_> {
    /// Adds the names of a leaf that are not listed yet: those from `from` on, behind the last one.
    fn push(
        &mut self,
        dir: &Inode,
        (lblk, leaf): (Lblk, &[u8]),
        from: u64,
        hash: impl Fn(&[u8]) -> Hash,
    ) -> Result {
        for entry in dirent::entries(leaf, &dir.fs().geo) {
            let entry = entry.map_err(|e| bad_dirblock(dir, lblk, e))?;
            let Some(ino) = entry.ino.filter(|_| !entry.is_dot()) else {
                continue;
            };
            let hash = hash(entry.name);
            let pos = self.positions.of(hash);
            if pos < from || self.last.covers(pos, hash, entry.name) {
                continue;
            }
            let is_out = |bound: &Bound| (hash, entry.name) >= (bound.hash, &*bound.name);
            if self.bound.as_ref().is_some_and(is_out) {
                continue;
            }
            let item = Item {
                hash,
                ino,
                start: self.names.len() as u32,
                len: entry.name.len() as u8,
                ftype: entry.ftype,
            };
            self.items.push(item, GFP_KERNEL)?;
            self.names.extend_from_slice(entry.name, GFP_KERNEL)?;
        }
        let size = self.names.len() + size_of::<Item>() * self.items.len();
        if size > MAX_LIST {
            self.cut()
        } else {
            Ok(())
        }
    }

    // The sort has an array on the stack, which is not to be there when a name is copied to the
    // reader.
    #[inline(never)]
    fn put_in_order(&mut self) -> Result {
        let names = &self.names;
        self.spare.clear();
        self.spare.extend_from_slice(&self.items, GFP_KERNEL)?;
        // Hardly ever are two the same.
        let less = |a: &Item, b: &Item| {
            let (one, other) = (a.hash.rank(), b.hash.rank());
            one < other || one == other && a.has_lower_name(b, names)
        };
        sort_spread((&self.spare, &mut self.items), |item| item.hash.major, less);
        Ok(())
    }

    /// Drops the upper half.
    fn cut(&mut self) -> Result {
        self.put_in_order()?;
        let mut left = MAX_LIST / 2;
        let fits = |item: &&Item| {
            left = left.saturating_sub(item.cost());
            left > 0
        };
        let kept = self.items.iter().take_while(fits).count();
        let Some(first_out) = self.items.get(kept) else {
            return Ok(());
        };
        let (hash, name) = first_out.key(&self.names);
        let mut copy = KVec::new();
        copy.extend_from_slice(name, GFP_KERNEL)?;
        self.bound = Some(Bound { hash, name: copy });
        self.items.truncate(kept);

        let mut names = KVVec::with_capacity(MAX_LIST, GFP_KERNEL)?;
        for item in self.items.iter_mut() {
            let start = names.len() as u32;
            names.extend_from_slice(item.key(&self.names).1, GFP_KERNEL)?;
            item.start = start;
        }
        self.names = names;
        Ok(())
    }

    /// Lists what is in the list and empties it. False if the reader's buffer is full.
    fn emit(&mut self, emit: &mut DirEmitter<'_>) -> Result<bool> {
        self.put_in_order()?;
        let bound = self.bound.take().map(|bound| bound.hash);
        let mut items = self.items.iter().peekable();
        while let Some(item) = items.next() {
            let (hash, name) = item.key(&self.names);
            let pos = self.positions.of(hash);
            emit.set_pos(pos);
            let shown = show(self.shown, hash, name)?;
            if !emit.emit(shown, item.ino.into(), dtype(item.ftype)) {
                return Ok(false);
            }
            // Now, or a reader would get this name again and again when what comes next cannot be
            // read.
            let next = items.peek().map(|item| item.hash).or(bound);
            if next.is_some_and(|next| self.positions.of(next) == pos) {
                self.last.remember(pos, hash, name)
            } else {
                self.last.forget();
                emit.set_pos(pos + 1);
            }
        }
        self.names.clear();
        self.items.clear();
        Ok(true)
    }

    /// Lists an indexed directory from `emit.pos()` on. True at the end of the directory.
    fn emit_indexed(&mut self, dir: &Inode, emit: &mut DirEmitter<'_>) -> Result<bool> {
        let mut path = Path::open(dir)?;
        path.seek(dir, self.positions.major(emit.pos()))?;
        let positions = self.positions;
        // Of one leaf after the other.
        let mut copy = buffer(dir)?;
        // An index has no more leaves than the directory has blocks, unless it names some twice:
        // a node full of the same one would be sorted some 100,000 times for each call.
        for _ in 0..dir_blocks(dir)? {
            dir.go_on()?;
            let leaf = path.leaf_into(dir, &mut copy)?;
            self.push(dir, (leaf, &copy), emit.pos(), |name| path.hash(name))?;
            let next = path.advance(dir)?;
            // The lowest bit: more names of the last hash follow, to be sorted with these. So are
            // the lowest hashes, which share one position with each other.
            let joined = |major| {
                let hash = Hash { major, minor: 0 };
                major & 1 != 0 || positions.of(hash) == FIRST
            };
            if next.is_some_and(joined) {
                continue;
            }
            // Some hundred names of many are listed, and the reader will come for more: as long as
            // one pass takes nobody can change the directory.
            let cut = self.bound.is_some();
            if !self.emit(emit)? || cut {
                return Ok(false);
            }
            if next.is_none() {
                return Ok(true);
            }
        }
        Err(dir.corrupted(fmt!("directory index: more leaves than blocks")))
    }
}
