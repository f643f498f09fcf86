// SPDX-License-Identifier: GPL-2.0

//! Numbers that count different things, and so are no integers: only what makes sense can be done
//! with them.

use core::fmt;

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
