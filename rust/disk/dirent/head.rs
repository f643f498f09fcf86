// SPDX-License-Identifier: GPL-2.0

//! What an entry of a directory block says before its name, looked at where it lies.

use crate::disk::{superblock::Geometry, BlockView, Corrupt, Ino, Result};

/// Bytes of an entry before the name.
pub const HEADER_SIZE: usize = 8;
/// The smallest entry: a name of one to four bytes.
pub const MIN_REC_LEN: usize = 12;

/// Bytes an entry with a name of this length needs.
pub fn needed(name_len: usize) -> usize {
    (HEADER_SIZE + name_len + 3) & !3
}

/// What an entry says before its name.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) offset: usize,
    pub(super) rec_len: usize,
    pub(super) ino: Option<Ino>,
    pub(super) name_len: usize,
    pub(super) ftype: u8,
}

impl Head {
    pub(super) fn read<B: BlockView + ?Sized>(block: &B, offset: usize) -> Result<Self> {
        let ino = Ino::from_disk(block.le32(offset)?);
        let [low, high, name_len, ftype] = block.le32(offset + 4)?.to_le_bytes();
        Ok(Head {
            offset,
            rec_len: u16::from_le_bytes([low, high]).into(),
            ino,
            name_len: name_len.into(),
            ftype,
        })
    }

    /// Bytes that could be given to a new entry.
    pub(super) fn free(&self) -> usize {
        if self.ino.is_none() {
            self.rec_len
        } else {
            self.rec_len - needed(self.name_len)
        }
    }

    pub(super) fn has_name<B: BlockView + ?Sized>(&self, block: &B, name: &[u8]) -> bool {
        self.name_len == name.len() && block.holds(self.offset + HEADER_SIZE, name)
    }
}

/// The heads of the entries of a block, checked. Ends after the first error.
#[derive(Debug)]
pub(super) struct Heads<'a, B: ?Sized> {
    pub(super) block: &'a B,
    inodes_count: u32,
    limit: usize,
    pub(super) offset: usize,
}

pub(super) fn heads<'a, B: BlockView + ?Sized>(block: &'a B, geo: &Geometry) -> Heads<'a, B> {
    heads_from(block, geo, 0)
}

/// From the entry on that begins at `offset`.
pub(super) fn heads_from<'a, B: BlockView + ?Sized>(
    block: &'a B,
    geo: &Geometry,
    offset: usize,
) -> Heads<'a, B> {
    Heads {
        block,
        inodes_count: geo.inodes_count,
        limit: (geo.block_size as usize) - geo.dir_tail(),
        offset,
    }
}

/// The second word of an entry: bytes to the next one, bytes of the name.
#[inline(always)]
pub(super) fn lengths(word: u32) -> (usize, usize) {
    let [low, high, name_len, _] = word.to_le_bytes();
    (u16::from_le_bytes([low, high]).into(), name_len.into())
}

impl<B: BlockView + ?Sized> Heads<'_, B> {
    /// The entries from here on, of which `is_it` is told where they begin and their second word,
    /// until it says yes: that one, and where the one before it begins. Of those that are passed
    /// only what leads to the next one is looked at, for there may be a hundred of them: some
    /// thirty instructions each.
    #[inline(always)]
    pub(super) fn pass(
        mut self,
        is_it: impl Fn(usize, u32) -> bool,
    ) -> Result<Option<(usize, Head)>> {
        let limit = self.limit;
        // Behind this nothing has room.
        let last = limit.saturating_sub(MIN_REC_LEN);
        let (mut before, mut offset) = (self.offset, self.offset);
        while offset < limit {
            let word = self.block.any32(offset.wrapping_add(4));
            let word = word.ok_or(Corrupt::ShortBuffer)?;
            let (rec_len, name_len) = lengths(word);
            let next = offset.wrapping_add(rec_len);
            let is_right = rec_len & 3 == 0
                && rec_len >= needed(name_len)
                && rec_len >= MIN_REC_LEN
                && (next <= last || next == limit);
            if !is_right {
                // Says what is wrong.
                self.offset = offset;
                self.read()?;
                return Err(Corrupt::DirentRecLen);
            }
            if is_it(offset, word) {
                self.offset = offset;
                return Ok(Some((before, self.read()?)));
            }
            (before, offset) = (offset, next);
        }
        Ok(None)
    }

    #[inline(always)]
    fn read(&self) -> Result<Head> {
        let head = Head::read(self.block, self.offset)?;
        let Head { rec_len, ino, .. } = head;
        if rec_len < MIN_REC_LEN || rec_len & 3 != 0 {
            return Err(Corrupt::DirentRecLen);
        }
        if rec_len < needed(head.name_len) {
            return Err(Corrupt::DirentNameLen);
        }
        let next = self.offset + rec_len;
        // What is left behind an entry must be nothing, or have room for another one.
        if next > self.limit || (next != self.limit && self.limit - next < MIN_REC_LEN) {
            return Err(Corrupt::DirentOverrun);
        }
        if ino.is_some_and(|ino| ino.get() > self.inodes_count) {
            return Err(Corrupt::DirentInode);
        }
        if ino.is_some() && head.name_len == 0 {
            return Err(Corrupt::DirentName);
        }
        Ok(head)
    }
}

impl<B: BlockView + ?Sized> Iterator for Heads<'_, B> {
    type Item = Result<Head>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.limit {
            return None;
        }
        let head = self.read();
        match &head {
            Ok(head) => self.offset += head.rec_len,
            Err(_) => self.offset = self.limit,
        }
        Some(head)
    }
}
