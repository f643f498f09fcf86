// SPDX-License-Identifier: GPL-2.0
//! A disk of which we know what is on it: only what differs is written. It is a file in memory
//! behind a loop device; we have the file mapped, and what a file system writes is there too.
//! To read it by system calls costs twenty times as much under User-Mode Linux.

use guest::ensure;
use guest::fixture::run_cmd;
use guest::harness::Res;
use guest::map::Map;
use guest::sys;

const MIB: usize = 1 << 20;
/// What is compared at once.
const PIECE: usize = 4096;
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
            known,
        })
    }

    /// These bytes are on it from now on.
    pub fn put(&mut self, bytes: &[u8]) {
        let mut from = None;
        for at in (0..=bytes.len()).step_by(PIECE) {
            let end = bytes.len().min(at + PIECE);
            let differs = at < end && bytes[at..end] != self.known[at..end];
            match (from, differs) {
                (None, true) => from = Some(at),
                (Some(start), false) => {
                    self.map.write(start, &bytes[start..at]);
                    self.known[start..at].copy_from_slice(&bytes[start..at]);
                    from = None;
                }
                _ => (),
            }
        }
    }

    /// Somebody may have written: what is on it now.
    pub fn look(&mut self, len: usize) -> &[u8] {
        self.map.read_into(&mut self.known[..len]);
        &self.known[..len]
    }
}
