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
    Heads {
        block,
        inodes_count: geo.inodes_count,
        limit: (geo.block_size as usize) - geo.dir_tail(),
        offset: 0,
    }
}

impl<B: BlockView + ?Sized> Heads<'_, B> {
    /// The next entry with this name. Of those before only what leads to the next one is looked
    /// at, for there may be a hundred of them.
    pub(super) fn find(&mut self, name: &[u8]) -> Result<Option<Head>> {
        while self.offset < self.limit {
            let [low, high, name_len, _] = self.block.le32(self.offset + 4)?.to_le_bytes();
            let rec_len = usize::from(u16::from_le_bytes([low, high]));
            let rest = self.limit.wrapping_sub(self.offset + rec_len);
            let leads_on = rec_len & 3 == 0
                && rec_len >= needed(name_len.into()).max(MIN_REC_LEN)
                && (rest == 0 || (MIN_REC_LEN..self.limit).contains(&rest));
            if !leads_on {
                // Says what is wrong.
                self.read()?;
                return Err(Corrupt::DirentRecLen);
            }
            let same = usize::from(name_len) == name.len();
            if same && self.block.holds(self.offset + HEADER_SIZE, name) {
                let head = self.read()?;
                if head.ino.is_some() {
                    return Ok(Some(head));
                }
            }
            self.offset += rec_len;
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
