// SPDX-License-Identifier: GPL-2.0

//! Hashes of extended attributes (`Documentation/filesystems/ext4/attributes.rst`): of an entry,
//! over its name and value, and of a block, over its entries. Blocks of the same hash may be the
//! same, so that one can do for both.

/// Over name and value, where `extend` makes a word of a byte of the name. The value counts in
/// words, zeros behind it.
fn over(name: &[u8], value: &[u8], extend: fn(u8) -> u32) -> u32 {
    let of_name = |hash: u32, &byte: &u8| hash.rotate_left(5) ^ extend(byte);
    let hash = name.iter().fold(0, of_name);
    value.chunks(4).fold(hash, |hash: u32, bytes| {
        let of_byte = |word: u32, &byte: &u8| word << 8 | u32::from(byte);
        hash.rotate_left(16) ^ bytes.iter().rev().fold(0, of_byte)
    })
}

/// The hash of an attribute.
pub fn entry_hash(name: &[u8], value: &[u8]) -> u32 {
    over(name, value, u32::from)
}

/// Whether `stored` can be the hash of an attribute, or says nothing: in inodes it is 0. Names were
/// hashed as signed characters where `char` is, until that was found out; they differ beyond ASCII.
pub fn hash_matches(stored: u32, name: &[u8], value: &[u8]) -> bool {
    stored == 0
        || stored == entry_hash(name, value)
        || stored == over(name, value, |byte| i32::from(byte as i8) as u32)
}

/// Goes on with the hash of a block. An entry whose hash is 0 keeps its block from being shared,
/// which `None` stands for.
pub fn add_to_block(block: Option<u32>, entry: u32) -> Option<u32> {
    block
        .filter(|_| entry != 0)
        .map(|hash| hash.rotate_left(16) ^ entry)
}
