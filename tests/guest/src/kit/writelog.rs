// SPDX-License-Identifier: GPL-2.0
//! The log that dm-log-writes leaves, as it is on its device. A head, then for each entry a sector
//! that describes it and the sectors that were written. Plain writes come to the log with the next
//! flush, before it; one with FUA, or a mark, when it is done.

use crate::harness::Res;
use crate::sys::Fd;
use crate::{ensure, same};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
/// Where the text of a mark begins in its sector.
const TEXT: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// In bytes.
    pub at: usize,
    pub data: Vec<u8>,
    /// On disk when it is done, whatever the cache of the device has.
    pub fua: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    Write(Write),
    /// All writes before it are on disk.
    Flush,
    Mark(String),
    Discard,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

/// All entries of the log on this device.
pub fn read(f: &Fd) -> Res<Vec<Entry>> {
    let mut head = [0u8; 512];
    f.pread(&mut head, 0)?;
    same!(number(&head, 0), MAGIC, "magic of the write log");
    let (n, sector) = (number(&head, 16), u64::from(number(&head, 24) as u32));
    ensure!(
        n > 0 && sector >= 512,
        "write log of {n} entries, sector size {sector}"
    );
    let mut all = Vec::new();
    let (mut at, mut about) = (sector, vec![0u8; sector as usize]);
    for _ in 0..n {
        f.pread(&mut about, at)?;
        at += sector;
        let (flags, len) = (number(&about, 16), number(&about, 8) * sector);
        if flags & MARK != 0 {
            let end = TEXT + number(&about, 24) as usize;
            let text = String::from_utf8_lossy(&about[TEXT..end]).into_owned();
            all.push(Entry::Mark(text));
            continue;
        }
        if flags & DISCARD != 0 {
            all.push(Entry::Discard);
            continue;
        }
        if flags & FLUSH != 0 {
            all.push(Entry::Flush);
        }
        if len > 0 {
            let mut data = vec![0; len as usize];
            f.pread(&mut data, at)?;
            at += len;
            all.push(Entry::Write(Write {
                at: (number(&about, 0) * sector) as usize,
                data,
                fua: flags & FUA != 0,
            }));
        }
    }
    Ok(all)
}
