// SPDX-License-Identifier: GPL-2.0

//! The ext4 on-disk format.
//!
//! Pure `core` Rust over byte slices: no allocation, no I/O, no kernel types, so the same code runs
//! in the module and in the host tests and fuzzers. Callers copy a block out of the buffer cache,
//! use these functions on the copy, and copy the result back under the lock that owns it; or have
//! it looked at and changed where it lies ([`BlockView`], [`BlockEdit`]).
//!
//! Every number that comes from the disk is checked before it is used as an offset or a count; a
//! value that fails a check is reported as [`Corrupt`], which says which structure and why. The
//! format is described in `Documentation/filesystems/ext4` of the kernel tree.
//!
//! The crate root provides `crc32c(seed, data)`, the plain CRC32C update without inversion at
//! either end (the kernel's `crc32c()`).

#![allow(
    unreachable_pub,
    reason = "private to the module, public to the host tests"
)]

pub mod acl;
pub mod bitmap;
pub mod block_map;
pub mod checksum;
pub mod dirent;
pub mod encrypted;
mod error_mark;
pub mod extent;
pub mod features;
mod geometry;
pub mod group;
pub mod grow;
pub mod hash;
pub mod htree;
pub mod htree_edit;
pub mod inode;
pub mod inode_flags;
mod inode_raw;
mod numbers;
pub mod orphan;
pub mod sort;
mod super_check;
mod super_raw;
pub mod superblock;
pub mod time;
mod view;
pub mod xattr;
pub mod xattr_edit;
mod xattr_hash;

pub use group::GroupDesc;
pub use inode::InodeFields;
pub use numbers::{Ino, Lblk, LblkRange, Pblk};
pub use superblock::{Geometry, RawSuper};
pub use time::Timestamp;
pub use view::{BlockEdit, BlockView};

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What the readers and checkers of this module return.
pub type Result<T, E = Corrupt> = core::result::Result<T, E>;

macro_rules! corrupt {
    ($($name:ident => $text:literal,)*) => {
        /// A structure that does not obey the format: which one, and the rule it breaks.
        ///
        /// Callers add the inode or block number, log it, and return `EUCLEAN`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each text below says it")]
        pub enum Corrupt {
            $($name,)*
        }

        impl Corrupt {
            /// The structure and the reason, fit for a log line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Corrupt::$name => $text,)*
                }
            }
        }
    };
}

corrupt! {
    ShortBuffer => "structure does not fit in its buffer",
    GroupNumber => "group descriptor: group number out of range",
    GroupChecksum => "group descriptor: bad checksum",
    GroupBlockBitmap => "group descriptor: block bitmap outside its range",
    GroupInodeBitmap => "group descriptor: inode bitmap outside its range",
    GroupInodeTable => "group descriptor: inode table outside its range",
    GroupFreeBlocks => "group descriptor: more free blocks than blocks",
    GroupFreeInodes => "group descriptor: more free inodes than inodes",
    GroupUsedDirs => "group descriptor: more directories than inodes",
    GroupUnusedInodes => "group descriptor: more unused inodes than inodes",
    BlockBitmapChecksum => "block bitmap: bad checksum",
    BlockBitmapTail => "block bitmap: blocks beyond the end of the group are free",
    BlockBitmapMetadata => "block bitmap: metadata of the group is marked free",
    InodeBitmapChecksum => "inode bitmap: bad checksum",
    InodeBitmapTail => "inode bitmap: inodes beyond the end of the group are free",
    InodeNumber => "inode: number out of range",
    InodeChecksum => "inode: bad checksum",
    InodeExtraIsize => "inode: bad extra_isize",
    InodeMode => "inode: unknown file type",
    InodeSize => "inode: impossible size",
    InodeBlocks => "inode: impossible block count",
    InodeFlags => "inode: flags that contradict each other or the features",
    InodeAcl => "inode: extended attribute block outside the filesystem",
    InodeSymlink => "inode: bad fast symlink",
    ExtentMagic => "extent node: bad magic",
    ExtentDepth => "extent node: unexpected depth",
    ExtentMax => "extent node: bad capacity",
    ExtentEntries => "extent node: more entries than capacity, or an empty index",
    ExtentChecksum => "extent node: bad checksum",
    ExtentOrder => "extent node: entries overlap or are out of order",
    ExtentRange => "extent node: entry outside the range its parent gives",
    ExtentBlock => "extent node: entry points outside the filesystem",
    MapBlock => "block map: pointer outside the filesystem, or to its own structures",
    DirentRecLen => "directory: bad rec_len",
    DirentNameLen => "directory: rec_len too small for the name",
    DirentOverrun => "directory: entry runs over the end of the block",
    DirentInode => "directory: inode number out of range",
    DirentName => "directory: name is empty or holds a slash or a NUL, or too short where it is encrypted",
    DirentOffset => "directory: no entry at this offset",
    DirentDots => "directory: bad \".\" or \"..\" entry",
    DirentTail => "directory: no checksum tail",
    DirentChecksum => "directory: bad checksum",
    DxRoot => "directory index: bad root",
    DxHashVersion => "directory index: unknown hash version",
    DxLevels => "directory index: too many levels",
    DxLimit => "directory index: bad limit",
    DxCount => "directory index: bad count",
    DxOrder => "directory index: hashes out of order",
    DxBlock => "directory index: block number out of range",
    DxChecksum => "directory index: bad checksum",
    DxLeaf => "directory index: leaf that cannot be split",
    OrphanMagic => "orphan file: bad magic",
    OrphanChecksum => "orphan file: bad checksum",
    OrphanInode => "orphan file: inode number out of range",
    XattrMagic => "extended attributes: bad magic",
    XattrHeader => "extended attributes: bad header",
    XattrChecksum => "extended attributes: bad checksum",
    XattrEntry => "extended attributes: entry runs over the end",
    XattrValue => "extended attributes: value outside its block",
    AclHeader => "access control list: bad header",
    AclEntry => "access control list: bad entry",
    XattrHash => "extended attributes: wrong hash of a value",
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a structure at byte `off`; an offset outside the buffer is [`Corrupt::ShortBuffer`].
pub(crate) fn get<T: FromBytes>(buf: &[u8], off: usize) -> Result<T> {
    let tail = buf.get(off..).ok_or(Corrupt::ShortBuffer)?;
    T::read_from_prefix(tail)
        .map(|(value, _)| value)
        .map_err(|_| Corrupt::ShortBuffer)
}

/// Writes a structure at byte `off`; an offset outside the buffer is [`Corrupt::ShortBuffer`].
pub(crate) fn put<T: IntoBytes + Immutable>(buf: &mut [u8], off: usize, value: &T) -> Result<()> {
    let tail = buf.get_mut(off..).ok_or(Corrupt::ShortBuffer)?;
    value
        .write_to_prefix(tail)
        .map_err(|_| Corrupt::ShortBuffer)
}

/// The bytes `off .. off + len`, checked.
pub(crate) fn bytes(buf: &[u8], off: usize, len: usize) -> Result<&[u8]> {
    let end = off.checked_add(len).ok_or(Corrupt::ShortBuffer)?;
    buf.get(off..end).ok_or(Corrupt::ShortBuffer)
}

/// The bytes `off .. off + len`, checked, for writing.
pub(crate) fn bytes_mut(buf: &mut [u8], off: usize, len: usize) -> Result<&mut [u8]> {
    let end = off.checked_add(len).ok_or(Corrupt::ShortBuffer)?;
    buf.get_mut(off..end).ok_or(Corrupt::ShortBuffer)
}
