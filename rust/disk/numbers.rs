// SPDX-License-Identifier: GPL-2.0

//! Numbers that count different things, and so are no integers: only what makes sense can be done
//! with them.

use core::fmt;
use core::ops::{Add, Range, Sub};

/// The number of an inode. Those of the format have 32 bits and begin with 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Ino(u32);

impl Ino {
    /// The root directory (`EXT4_ROOT_INO`).
    pub const ROOT: Ino = Ino(2);

    /// The inode of this number, which may not exist: see [`super::Geometry::inode_exists`].
    #[inline]
    pub const fn new(number: u32) -> Self {
        Ino(number)
    }

    /// What a field on disk names, in which 0 is no inode.
    #[inline]
    pub const fn from_disk(field: u32) -> Option<Self> {
        match field {
            0 => None,
            number => Some(Ino(number)),
        }
    }

    /// The reverse of [`Ino::from_disk`].
    #[inline]
    pub fn to_disk(inode: Option<Self>) -> u32 {
        inode.map_or(0, Ino::get)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl From<Ino> for u64 {
    #[inline]
    fn from(ino: Ino) -> u64 {
        ino.0.into()
    }
}

impl fmt::Display for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A block of a file, counted from its beginning: 32 bits on disk (`ext4_lblk_t`). Or one past the
/// last block of a range, which needs no more bits: no file has the block of the last number
/// (`EXT_MAX_BLOCKS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Lblk(u32);

impl Lblk {
    /// The first block of a file.
    pub const FIRST: Lblk = Lblk(0);
    /// One past the last block that a file can have.
    pub const END: Lblk = Lblk(u32::MAX);

    /// The block of this number.
    #[inline]
    pub const fn new(number: u32) -> Self {
        Lblk(number)
    }

    /// The block of this number, [`Lblk::END`] if there is none.
    #[inline]
    pub fn or_end(number: u64) -> Self {
        u32::try_from(number).map_or(Lblk::END, Lblk)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The byte of the file with which it begins.
    #[inline]
    pub const fn byte(self, block_bits: u32) -> u64 {
        (self.0 as u64) << block_bits
    }

    /// `count` blocks on, [`Lblk::END`] at most.
    #[inline]
    pub const fn saturating_add(self, count: u32) -> Self {
        Lblk(self.0.saturating_add(count))
    }

    /// `count` blocks on, `None` behind [`Lblk::END`].
    #[inline]
    pub fn checked_add(self, count: u32) -> Option<Self> {
        self.0.checked_add(count).map(Lblk)
    }

    /// `len` blocks from this one on, none behind [`Lblk::END`].
    #[inline]
    pub const fn blocks(self, len: u32) -> LblkRange {
        self.until(self.saturating_add(len))
    }

    /// The blocks from this one on up to `end`, which is not one of them.
    #[inline]
    pub const fn until(self, end: Lblk) -> LblkRange {
        LblkRange { start: self, end }
    }

    /// How many blocks lie between `before` and this one; 0 if it comes first.
    #[inline]
    pub const fn saturating_sub(self, before: Lblk) -> u32 {
        self.0.saturating_sub(before.0)
    }
}

impl From<Lblk> for u64 {
    #[inline]
    fn from(block: Lblk) -> u64 {
        block.0.into()
    }
}

impl Add<u32> for Lblk {
    type Output = Lblk;

    #[inline]
    fn add(self, count: u32) -> Lblk {
        Lblk(self.0 + count)
    }
}

impl Sub for Lblk {
    type Output = u32;

    #[inline]
    fn sub(self, before: Lblk) -> u32 {
        self.0 - before.0
    }
}

impl fmt::Display for Lblk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Blocks of a file that follow each other, the one way to say so: [`Lblk::until`] and
/// [`Lblk::blocks`] make it. As [`Range`], but `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LblkRange {
    /// The first.
    pub start: Lblk,
    /// One past the last. There are none if it is not above the first.
    pub end: Lblk,
}

impl LblkRange {
    /// All that a file can have.
    pub const ALL: LblkRange = Lblk::FIRST.until(Lblk::END);

    /// How many they are.
    #[inline]
    pub const fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether `block` is one of them.
    #[inline]
    pub fn contains(self, block: Lblk) -> bool {
        self.start <= block && block < self.end
    }

    /// Whether some of `other` are among them. Neither is empty.
    #[inline]
    pub fn overlaps(self, other: LblkRange) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Those that are among `other`.
    #[inline]
    pub fn within(self, other: LblkRange) -> Self {
        self.start.max(other.start).until(self.end.min(other.end))
    }

    /// The bytes of the file that they are.
    #[inline]
    pub const fn bytes(self, block_bits: u32) -> Range<u64> {
        self.start.byte(block_bits)..self.end.byte(block_bits)
    }

    /// The first ones, `most` at most.
    #[inline]
    pub const fn first(self, most: u32) -> Self {
        match self.len() {
            len if len > most => self.start.blocks(most),
            _ => self,
        }
    }
}

/// A block of the filesystem, counted from its beginning: 48 bits on disk (`ext4_fsblk_t`). Two of
/// them have a distance, in blocks, and no sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Pblk(u64);

impl Pblk {
    /// The block of this number, which may lie outside: see [`super::Geometry::blocks_valid`].
    #[inline]
    pub const fn new(number: u64) -> Self {
        Pblk(number)
    }

    /// The block that the two halves of a field on disk name.
    #[inline]
    pub(super) const fn from_halves(lo: u32, hi: u16) -> Self {
        Pblk(lo as u64 | (hi as u64) << 32)
    }

    /// The reverse of [`Pblk::from_halves`].
    #[inline]
    pub(super) const fn halves(self) -> (u32, u16) {
        (self.0 as u32, (self.0 >> 32) as u16)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The byte of the device with which it begins.
    #[inline]
    pub const fn byte(self, block_bits: u32) -> u64 {
        self.0 << block_bits
    }
}

impl From<Pblk> for u64 {
    #[inline]
    fn from(block: Pblk) -> u64 {
        block.0
    }
}

impl Add<u64> for Pblk {
    type Output = Pblk;

    #[inline]
    fn add(self, count: u64) -> Pblk {
        Pblk(self.0 + count)
    }
}

impl Sub for Pblk {
    type Output = u64;

    #[inline]
    fn sub(self, before: Pblk) -> u64 {
        self.0 - before.0
    }
}

impl fmt::Display for Pblk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
