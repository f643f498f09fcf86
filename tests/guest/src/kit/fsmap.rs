// SPDX-License-Identifier: GPL-2.0
//! FS_IOC_GETFSMAP: what the blocks of a file system are used for.

use crate::sys::{Fd, Sys};

/// A record, or a key.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub device: u32,
    pub flags: u32,
    pub physical: u64,
    pub owner: u64,
    pub offset: u64,
    pub length: u64,
    pub reserved: [u64; 3],
}

impl Record {
    pub fn end(&self) -> u64 {
        self.physical + self.length
    }
}

/// The lowest key, and the highest.
pub const LOW: Record = Record {
    device: 0,
    flags: 0,
    physical: 0,
    owner: 0,
    offset: 0,
    length: 0,
    reserved: [0; 3],
};
pub const HIGH: Record = Record {
    device: u32::MAX,
    flags: u32::MAX,
    physical: u64::MAX,
    owner: u64::MAX,
    offset: u64::MAX,
    length: 0,
    reserved: [0; 3],
};

pub const LAST: u32 = 0x20;
pub const FREE: u64 = 1;
pub const UNKNOWN: u64 = 2;

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub iflags: u32,
    pub count: u32,
    pub reserved: u64,
    pub keys: [Record; 2],
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub oflags: u32,
    pub entries: u32,
    pub records: Vec<Record>,
}

#[repr(C)]
struct Memory {
    iflags: u32,
    oflags: u32,
    count: u32,
    entries: u32,
    reserved: [u64; 6],
    keys: [Record; 2],
    records: [Record; ROOM],
}

/// Records that one call can be asked for.
pub const ROOM: usize = 512;

impl Call {
    /// For all that lies between two keys.
    pub fn between(low: Record, high: Record, count: u32) -> Self {
        Self {
            iflags: 0,
            count,
            reserved: 0,
            keys: [low, high],
        }
    }

    pub fn make(&self, f: &Fd) -> Sys<Answer> {
        assert!(self.count as usize <= ROOM);
        let mut m = Box::new(Memory {
            iflags: self.iflags,
            oflags: 0xEE,
            count: self.count,
            entries: 0xEE,
            reserved: [0; 6],
            keys: self.keys,
            records: [HIGH; ROOM],
        });
        m.reserved[5] = self.reserved;
        // SAFETY: It fills at most `count` records.
        unsafe { f.ioctl(0xC0C0_583B, &mut *m)? };
        let filled = if self.count == 0 { 0 } else { m.entries };
        Ok(Answer {
            oflags: m.oflags,
            entries: m.entries,
            records: m.records[..filled as usize].to_vec(),
        })
    }
}

/// All between two keys, in calls of `batch` records.
pub fn all(f: &Fd, low: Record, high: Record, batch: u32) -> Sys<Vec<Record>> {
    let mut found = Vec::new();
    let mut low = low;
    loop {
        let answer = Call::between(low, high, batch).make(f)?;
        found.extend(&answer.records);
        match answer.records.last() {
            Some(last) if last.flags & LAST == 0 => low = *last,
            _ => return Ok(found),
        }
    }
}
