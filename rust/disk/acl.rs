// SPDX-License-Identifier: GPL-2.0

//! POSIX ACLs as ext4 keeps them, in the attributes of the prefixes [`ACCESS`] and [`DEFAULT`]: a
//! version, then entries, which have an id only where their tag wants one. (`struct
//! ext4_acl_header` and `ext4_acl_entry`, `fs/ext4/acl.h`; the tags are those of
//! `include/uapi/linux/posix_acl.h`.)

use super::{bytes_mut, get, put, Corrupt, Result};
use zerocopy::little_endian::{U16, U32};

/// The prefix of who may do what; there is no name behind it.
pub const ACCESS: u8 = 2;
/// The prefix of what a directory gives to new inodes; there is no name behind it.
pub const DEFAULT: u8 = 3;

const VERSION: u32 = 1;
const HEADER_SIZE: usize = 4;
const SHORT_SIZE: usize = 4;
const LONG_SIZE: usize = 8;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is for.
    pub tag: u16,
    /// What these may do: bits of `rwx`.
    pub perm: u16,
    /// The user or group, where the tag means one.
    pub id: Option<u32>,
}

/// Bytes of an entry, by its tag.
fn entry_size(tag: u16) -> Result<usize> {
    match tag {
        USER | GROUP => Ok(LONG_SIZE),
        USER_OBJ | GROUP_OBJ | MASK | OTHER => Ok(SHORT_SIZE),
        _ => Err(Corrupt::AclEntry),
    }
}

/// The entries of an ACL. Ends after the first error.
#[derive(Clone, Debug)]
struct Entries<'a>(&'a [u8]);

impl Entries<'_> {
    fn read(&mut self) -> Result<AclEntry> {
        let tag = get::<U16>(self.0, 0).map_err(|_| Corrupt::AclEntry)?.get();
        let perm = get::<U16>(self.0, 2).map_err(|_| Corrupt::AclEntry)?.get();
        let size = entry_size(tag)?;
        let rest = self.0.get(size..).ok_or(Corrupt::AclEntry)?;
        let id = if size == LONG_SIZE {
            Some(get::<U32>(self.0, SHORT_SIZE)?.get())
        } else {
            None
        };
        self.0 = rest;
        Ok(AclEntry { tag, perm, id })
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<AclEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.read();
        if entry.is_err() {
            self.0 = &[];
        }
        Some(entry)
    }
}

/// Reads an ACL: the entries and how many there are. All of them have been checked, each by
/// itself.
pub fn parse(value: &[u8]) -> Result<(usize, impl Iterator<Item = Result<AclEntry>> + Clone + '_)> {
    let version: U32 = get(value, 0).map_err(|_| Corrupt::AclHeader)?;
    if version.get() != VERSION {
        return Err(Corrupt::AclHeader);
    }
    let entries = Entries(value.get(HEADER_SIZE..).ok_or(Corrupt::AclHeader)?);
    let mut count = 0;
    for entry in entries.clone() {
        entry?;
        count += 1;
    }
    Ok((count, entries))
}

/// Bytes of an ACL.
pub fn encoded_size(entries: impl Iterator<Item = AclEntry>) -> Result<usize> {
    entries
        .map(|entry| entry_size(entry.tag))
        .try_fold(HEADER_SIZE, |sum, size| Ok(sum + size?))
}

/// Writes an ACL of [`encoded_size`] bytes.
pub fn encode(entries: impl Iterator<Item = AclEntry>, out: &mut [u8]) -> Result<()> {
    put(out, 0, &U32::new(VERSION))?;
    let mut at = HEADER_SIZE;
    for entry in entries {
        let size = entry_size(entry.tag)?;
        bytes_mut(out, at, size)?.fill(0);
        put(out, at, &U16::new(entry.tag))?;
        put(out, at + 2, &U16::new(entry.perm))?;
        if size == LONG_SIZE {
            put(
                out,
                at + SHORT_SIZE,
                &U32::new(entry.id.ok_or(Corrupt::AclEntry)?),
            )?;
        }
        at += size;
    }
    Ok(())
}
