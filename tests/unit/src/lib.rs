// SPDX-License-Identifier: GPL-2.0

//! The module's on-disk format code built for the host: the same files, no copy.

#![forbid(unsafe_code)]

pub mod attributes;
#[path = "../../../rust/disk/mod.rs"]
pub mod disk;
pub mod short;
pub mod targets;

use disk::{BlockEdit, BlockView};
use std::ops::Range;

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (0u32.wrapping_sub(crc & 1)));
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// What the kernel's `crc32c()` does: a CRC32C update with no inversion at either end.
pub fn crc32c(seed: u32, data: &[u8]) -> u32 {
    data.iter().fold(seed, |crc, &byte| {
        (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

impl BlockView for Vec<u8> {
    fn le32(&self, off: usize) -> disk::Result<u32> {
        self.as_slice().le32(off)
    }

    fn any32(&self, off: usize) -> Option<u32> {
        self.as_slice().any32(off)
    }

    fn holds(&self, off: usize, bytes: &[u8]) -> bool {
        self.as_slice().holds(off, bytes)
    }

    fn crc32c(&self, seed: u32, range: Range<usize>) -> disk::Result<u32> {
        self.as_slice().crc32c(seed, range)
    }
}

impl BlockEdit for Vec<u8> {
    fn set(&mut self, off: usize, bytes: &[u8]) -> disk::Result<()> {
        self.as_mut_slice().set(off, bytes)
    }

    fn wipe(&mut self, range: Range<usize>) -> disk::Result<()> {
        self.as_mut_slice().wipe(range)
    }

    fn shift(&mut self, range: Range<usize>, to: usize) -> disk::Result<()> {
        self.as_mut_slice().shift(range, to)
    }
}

/// Continues the checksum of an inode over its bytes behind the head, as `disk::inode` asks for:
/// here all `inode_size` bytes are in `raw`.
pub fn inode_rest<'a>(raw: &'a [u8], geo: &disk::Geometry) -> impl Fn(u32) -> u32 + use<'a> {
    let rest = raw
        .get(disk::inode::head_size(geo)..usize::from(geo.inode_size))
        .unwrap_or(&[]);
    |crc| crc32c(crc, rest)
}

/// [`disk::InodeFields::decode_checked`] of whole inodes.
pub fn decode_whole(
    raw: &[u8],
    geo: &disk::Geometry,
    ino: disk::Ino,
) -> disk::Result<disk::InodeFields> {
    disk::InodeFields::decode_checked(&mut raw.to_vec(), geo, ino, inode_rest(raw, geo))
}

/// [`disk::InodeFields::encode`] into whole inodes.
pub fn encode_whole(
    inode: &disk::InodeFields,
    raw: &mut [u8],
    geo: &disk::Geometry,
    ino: disk::Ino,
) -> disk::Result<()> {
    let (head, rest) = raw.split_at_mut(disk::inode::head_size(geo));
    inode.encode(head, geo, ino, |crc| crc32c(crc, rest))
}
