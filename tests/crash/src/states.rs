// SPDX-License-Identifier: GPL-2.0
//! The disks that a power cut may leave, from the log of the writes.
//!
//! What was written before a flush is on disk when the flush is done. A cut before that finds any
//! part of it. So a state is what is surely there, and some of the writes since the last flush. All
//! calls that had returned before the flush was done had so while none of those writes was sure to
//! be there: it is at its latest moment that a state has most to keep.

use guest::writelog::{Entry, Write};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

pub const SECTOR: usize = 512;

/// What is not as in the image: sectors, by their numbers.
pub type Changes<'a> = BTreeMap<usize, &'a [u8]>;

/// When it may be that the power fails and leaves this.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Calls that have returned.
    pub returned: usize,
    /// Flushes, or writes with FUA, that are done.
    pub flushes: usize,
    pub words: String,
}

pub struct State<'a> {
    pub changes: Changes<'a>,
    /// No two that have as many calls returned.
    pub moments: Vec<Moment>,
}

/// Collects the states of one log.
struct States<'a> {
    image: &'a [u8],
    /// What is surely on disk.
    sure: Changes<'a>,
    returned: usize,
    flushes: usize,
    all: Vec<State<'a>>,
    known: HashMap<u64, usize>,
}

/// The writes of these sectors are done.
fn put<'a>(image: &[u8], changes: &mut Changes<'a>, at: usize, data: &'a [u8]) {
    for (i, sector) in data.chunks(SECTOR).enumerate() {
        let (number, start) = (at / SECTOR + i, at + i * SECTOR);
        if image.get(start..start + sector.len()) == Some(sector) {
            changes.remove(&number);
        } else {
            changes.insert(number, sector);
        }
    }
}

impl<'a> States<'a> {
    fn add(&mut self, changes: Changes<'a>, words: &str) {
        let mut hasher = DefaultHasher::new();
        changes.hash(&mut hasher);
        let next = self.all.len();
        let at = *self.known.entry(hasher.finish()).or_insert(next);
        if at == next {
            let moments = Vec::new();
            self.all.push(State { changes, moments });
        }
        let moments = &mut self.all[at].moments;
        if !moments.iter().any(|m| m.returned == self.returned) {
            moments.push(Moment {
                returned: self.returned,
                flushes: self.flushes,
                words: words.to_string(),
            });
        }
    }

    /// What is surely there, and what `done` says of each write.
    fn some(&mut self, writes: &[&'a Write], words: &str, done: impl Fn(usize) -> (usize, usize)) {
        let mut changes = self.sure.clone();
        for (i, write) in writes.iter().enumerate() {
            let (from, to) = done(i);
            put(
                self.image,
                &mut changes,
                write.at + from,
                &write.data[from..to],
            );
        }
        self.add(changes, words);
    }

    /// The power fails before these writes are sure to be there: none is, all are, all but one,
    /// all but some sectors of one.
    fn before(&mut self, writes: &[&'a Write]) {
        let whole = |i: usize| (0, writes[i].data.len());
        self.some(writes, "nothing since the last flush", |_| (0, 0));
        self.some(writes, "all since the last flush", whole);
        for (i, write) in writes.iter().enumerate() {
            let what = format!("{} bytes at {}", write.data.len(), write.at);
            let but = |part| move |k| if k == i { part } else { whole(k) };
            self.some(writes, &format!("all but {what}"), but((0, 0)));
            let sectors = write.data.len() / SECTOR;
            if sectors > 1 {
                let cut = torn(write, i);
                let words = format!("of {what} the first {cut} only, all others");
                self.some(writes, &words, but((0, cut)));
                let words = format!("of {what} not the first {cut}, all others");
                self.some(writes, &words, but((cut, write.data.len())));
            }
        }
    }

    fn done(&mut self, writes: &[&'a Write]) {
        for write in writes {
            put(self.image, &mut self.sure, write.at, &write.data);
        }
        self.flushes += 1;
    }
}

/// The sector inside of the superblock that is not the first: it has the sum over both, so without
/// the other nobody mounts it.
const SUPER: usize = 1024 + SECTOR;

/// Where a write of more than one sector is torn: at another place in each.
fn torn(write: &Write, i: usize) -> usize {
    let sectors = write.data.len() / SECTOR;
    let cut = (1 + (i + write.at / SECTOR) % (sectors - 1)) * SECTOR;
    match write.at + cut {
        SUPER if sectors > 2 => cut + SECTOR,
        SUPER => 0,
        _ => cut,
    }
}

/// All states from this mark on, or from the start, each once. Marks are the numbers of the calls
/// that have returned.
pub fn states<'a>(image: &'a [u8], log: &'a [Entry], begin: Option<&str>) -> Vec<State<'a>> {
    let mut states = States {
        image,
        sure: Changes::new(),
        returned: 0,
        flushes: 0,
        all: Vec::new(),
        known: HashMap::new(),
    };
    let (mut since, mut begun) = (Vec::new(), begin.is_none());
    for entry in log {
        match entry {
            Entry::Mark(text) if Some(text.as_str()) == begin => begun = true,
            Entry::Mark(text) => states.returned = text.parse().unwrap_or(states.returned),
            Entry::Discard => (),
            // It is in the log when it is done; what else was on its way then is not known.
            Entry::Write(write) if write.fua => {
                if begun {
                    states.before(&[write]);
                }
                states.done(&[write]);
            }
            Entry::Write(write) => since.push(write),
            Entry::Flush => {
                if begun {
                    states.before(&since);
                }
                states.done(&since);
                since.clear();
            }
        }
    }
    states.before(&since);
    states.all
}

/// The image with these changes.
pub fn image(base: &[u8], changes: &Changes, all: &mut Vec<u8>) {
    all.clear();
    all.extend_from_slice(base);
    for (number, sector) in changes {
        let start = number * SECTOR;
        all[start..start + sector.len()].copy_from_slice(sector);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: usize, byte: u8, sectors: usize) -> Entry {
        Entry::Write(Write {
            at: at * SECTOR,
            data: vec![byte; sectors * SECTOR],
            fua: false,
        })
    }

    fn mark(text: &str) -> Entry {
        Entry::Mark(text.to_string())
    }

    /// The first byte of each sector, and how many calls have returned.
    fn all(log: &[Entry], sectors: usize) -> Vec<(Vec<u8>, Vec<usize>)> {
        let base = vec![0; sectors * SECTOR];
        let look = |state: &State| {
            let mut bytes = Vec::new();
            image(&base, &state.changes, &mut bytes);
            let firsts = bytes.chunks(SECTOR).map(|s| s[0]).collect();
            (firsts, state.moments.iter().map(|m| m.returned).collect())
        };
        states(&base, log, Some("begin")).iter().map(look).collect()
    }

    #[test]
    fn each_write_may_be_missing() {
        let log = [mark("begin"), write(0, 1, 1), write(1, 2, 1), Entry::Flush];
        let found: Vec<Vec<u8>> = all(&log, 2).into_iter().map(|s| s.0).collect();
        assert_eq!(found, [[0, 0], [1, 2], [0, 2], [1, 0]]);
    }

    #[test]
    fn a_write_may_be_torn() {
        let log = [mark("begin"), write(0, 1, 2), Entry::Flush];
        let found: Vec<Vec<u8>> = all(&log, 2).into_iter().map(|s| s.0).collect();
        assert_eq!(found, [[0, 0], [1, 1], [1, 0], [0, 1]]);
    }

    #[test]
    fn what_is_flushed_stays() {
        let log = [
            write(0, 9, 1),
            Entry::Flush,
            mark("begin"),
            write(1, 1, 1),
            Entry::Flush,
            mark("1"),
        ];
        let found = all(&log, 2);
        assert_eq!(
            found,
            [(vec![9, 0], vec![0]), (vec![9, 1], vec![0, 1])],
            "what comes before the mark is no state, and the end is one"
        );
    }

    #[test]
    fn a_call_that_returned_before_the_flush_is_to_be_kept() {
        let log = [mark("begin"), mark("1"), write(0, 1, 1), Entry::Flush];
        let found = all(&log, 1);
        assert_eq!(found, [(vec![0], vec![1]), (vec![1], vec![1])]);
    }

    #[test]
    fn fua_is_there_before_what_came_earlier() {
        let fua = Entry::Write(Write {
            at: SECTOR,
            data: vec![2; SECTOR],
            fua: true,
        });
        let log = [mark("begin"), fua, write(0, 1, 1), Entry::Flush];
        let found: Vec<Vec<u8>> = all(&log, 2).into_iter().map(|s| s.0).collect();
        assert_eq!(found, [[0, 0], [0, 2], [1, 2]]);
    }
}
