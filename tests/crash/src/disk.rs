// SPDX-License-Identifier: GPL-2.0
//! A disk of which we know what is on it: only what differs is written. It is a file in memory
//! behind a loop device; we have the file mapped, and what a file system writes is there too.
//! To read it by system calls costs twenty times as much under User-Mode Linux.

use guest::ensure;
use guest::fixture::run_cmd;
use guest::harness::Res;
use guest::map::Map;
use guest::sys;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

const MIB: usize = 1 << 20;
/// What is compared at once, and has a sum: the superblock is one of them.
pub const PIECE: usize = 1024;
/// What all disks have.
pub const MOST: usize = 16 * MIB;
/// What is on it where nobody has written: not zeros, so that it shows.
const POISON: u8 = 0xdb;

pub struct Disk {
    /// The loop device.
    pub path: String,
    map: Map,
    /// What is in it, as far as we know; nobody else has written since.
    known: Vec<u8>,
    /// Of each piece of that.
    sums: Vec<u64>,
    /// Memory for what is there.
    seen: Vec<u8>,
}

fn sum(piece: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(piece);
    hasher.finish()
}

impl Disk {
    /// The file must not be there yet.
    pub fn new(file: &str) -> Res<Disk> {
        let device = sys::create(file)?;
        let known = vec![POISON; MOST];
        device.pwrite(&known, 0)?;
        let (code, text) = run_cmd("losetup", &["--find", "--show", file])?;
        ensure!(code == 0, "losetup: {}", text.trim());
        Ok(Disk {
            path: text.trim().to_string(),
            map: Map::shared(&device, MOST)?,
            sums: known.chunks(PIECE).map(sum).collect(),
            seen: vec![0; MOST],
            known,
        })
    }

    /// These bytes are on it from now on.
    pub fn put(&mut self, bytes: &[u8]) {
        for at in self.note(bytes) {
            let end = bytes.len().min(at + PIECE);
            self.map.write(at, &bytes[at..end]);
        }
    }

    /// Somebody may have written: what is on it now.
    pub fn look(&mut self, len: usize) -> &[u8] {
        let mut seen = std::mem::take(&mut self.seen);
        self.map.read_into(&mut seen[..len]);
        self.note(&seen[..len]);
        self.seen = seen;
        &self.known[..len]
    }

    /// This is on it: where that is not what we knew.
    fn note(&mut self, bytes: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        for (i, piece) in bytes.chunks(PIECE).enumerate() {
            let at = i * PIECE;
            let known = &mut self.known[at..at + piece.len()];
            if known != piece {
                known.copy_from_slice(piece);
                self.sums[i] = sum(piece);
                all.push(at);
            }
        }
        all
    }

    /// A number for what we know of this part, in whole pieces.
    pub fn sum(&self, part: Range<usize>, hasher: &mut DefaultHasher) {
        for sum in &self.sums[part.start / PIECE..part.end / PIECE] {
            hasher.write_u64(*sum);
        }
    }
}
