// SPDX-License-Identifier: GPL-2.0

//! Checksums of the format (`Documentation/filesystems/ext4/checksums.rst`).
//!
//! `metadata_csum` uses CRC32C, seeded per filesystem; structures that belong to an inode go on
//! from a seed that includes the inode's number and generation, so that a block of a deleted file
//! is not taken for one of its successor. `gdt_csum` (older) protects only group descriptors, with
//! CRC16.

use super::Ino;

/// CRC32C update: `crc` is the running value, nothing is inverted.
pub fn crc32c(crc: u32, data: &[u8]) -> u32 {
    crate::crc32c(crc, data)
}

/// The seed of a filesystem that does not store one: CRC32C of its UUID.
pub fn fs_seed(uuid: &[u8; 16]) -> u32 {
    crc32c(!0, uuid)
}

/// The seed of everything that belongs to one inode.
pub fn inode_seed(fs_seed: u32, ino: Ino, generation: u32) -> u32 {
    let crc = crc32c(fs_seed, &ino.get().to_le_bytes());
    crc32c(crc, &generation.to_le_bytes())
}

/// CRC16 (polynomial 0x8005 reflected, the kernel's `crc16()`), a running update.
pub fn crc16(mut crc: u16, data: &[u8]) -> u16 {
    for &byte in data {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            let carry = crc & 1 != 0;
            crc >>= 1;
            if carry {
                crc ^= 0xa001;
            }
        }
    }
    crc
}
