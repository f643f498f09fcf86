// SPDX-License-Identifier: GPL-2.0

//! What stands in directories and symbolic links that are encrypted
//! (`Documentation/filesystems/fscrypt.rst`, "Filenames encryption").

use super::get;
use zerocopy::little_endian::U16;

/// Prefix number and name of the attribute that says how an inode is encrypted.
pub const CONTEXT: (u8, &[u8]) = (9, b"c");

/// A name is padded to the length of a block of the cipher, at least.
const NAME_MIN: usize = 16;
/// As of all names.
const NAME_MAX: usize = 255;

/// Bytes of the length before an encrypted target.
const LENGTH_SIZE: usize = 2;

/// Whether a name can stand in an encrypted directory at all. `.` and `..` are as they are.
pub fn name_valid(name: &[u8]) -> bool {
    name == b"." || name == b".." || (NAME_MIN..=NAME_MAX).contains(&name.len())
}

/// Whether this can be the encrypted target of a symbolic link: the length of what follows, then
/// that.
pub fn target_valid(target: &[u8]) -> bool {
    let said = get::<U16>(target, 0).map_or(0, U16::get);
    said != 0 && LENGTH_SIZE + usize::from(said) == target.len()
}
