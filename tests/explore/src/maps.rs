// SPDX-License-Identifier: GPL-2.0
//! Mappings of a thread under test. Where files are in the page cache each operation has one of its
//! own, which goes with it, for what is mapped is not dropped. With DAX there is nothing to be
//! dropped, and who maps a block maps it until somebody takes that back: so what a thread does
//! later it does by the mapping that it had before, with no fault.

use crate::op::{Op, Verb, MOST};
use crate::program::PAGE;
use guest::map::Map;
use guest::sys::{Fd, Sys};
use std::collections::HashMap;
use std::rc::Rc;

/// Which file, and whether with MAP_SYNC.
type Key = (u8, bool);

fn key(op: &Op) -> Key {
    (op.file, op.verb == Verb::SyncStore)
}

/// A new mapping of the file for an operation, from byte `base` of it on.
pub fn map(file: &Fd, op: &Op, base: u64) -> Sys<Map> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = match op.verb {
        Verb::SyncStore => libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC,
        _ => libc::MAP_SHARED,
    };
    Map::new(file, base, MOST as usize, prot, flags)
}

/// Loads from each page of a file of this size: what is a hole is shown as one from then on, until
/// somebody takes that back. So every second thread has done before anybody is led.
pub fn look(map: &Map, size: u64) {
    for at in (0..size.min(MOST)).step_by(PAGE as usize) {
        map.get(at as usize);
    }
}

/// Those that stay.
#[derive(Default)]
pub struct Maps(HashMap<Key, Rc<Map>>);

impl Maps {
    /// All go.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The one that is there for such an operation; else this one stays.
    pub fn keep(&mut self, op: &Op, new: Rc<Map>) -> Rc<Map> {
        self.0.entry(key(op)).or_insert(new).clone()
    }

    /// After a SIGBUS there is something else in its place.
    pub fn renew(&mut self, file: &Fd, op: &Op, base: u64) -> Sys<()> {
        if let Some(old) = self.0.get_mut(&key(op)) {
            *old = Rc::new(map(file, op, base)?);
        }
        Ok(())
    }

    /// Of an operation that is about to begin.
    pub fn of(&self, op: &Op) -> Option<Rc<Map>> {
        self.0.get(&key(op)).cloned()
    }
}
