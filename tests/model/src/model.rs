// SPDX-License-Identifier: GPL-2.0
//! What a file system must be after a step: names, and bytes.

use crate::names::{Does, Fails, Kind, Tree};
use crate::op::{Attribute, Image, Name, Op, Space, Way};
use crate::place::{Around, MOST, PAGE, SECTOR};
use crate::space::Taken;
use guest::fixture::pattern;

/// A step with its places resolved: what is asked of each side.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub op: Op,
    pub at: u64,
    pub len: u64,
    /// Whose bytes are written.
    pub seed: u64,
}

impl Call {
    /// Where the bytes of [`Way::Own`] come from.
    pub fn source(&self) -> u64 {
        self.at.saturating_sub(PAGE)
    }

    /// What the step writes.
    pub fn bytes(&self) -> Vec<u8> {
        pattern(self.seed, self.at, self.len as usize)
    }

    /// What an extended attribute is set to, on blocks of this size; nothing if it is removed.
    pub fn value(&self, how: Attribute, block: u64) -> Option<Vec<u8>> {
        match how {
            Attribute::Small => Some(pattern(self.seed, 0, 20)),
            Attribute::Large => Some(pattern(self.seed, 0, block as usize - 128)),
            Attribute::Removed => None,
        }
    }
}

pub struct Model {
    pub tree: Tree,
    pub taken: Taken,
    pub block: u64,
    /// Files have block maps.
    has_maps: bool,
    /// Files are encrypted.
    has_crypt: bool,
    last: (u64, u64),
}

impl Model {
    pub fn new(image: Image) -> Model {
        Model {
            tree: Tree::new(),
            taken: Taken::default(),
            block: image.block(),
            has_maps: image.has_maps(),
            has_crypt: image.has_crypt(),
            last: (0, 0),
        }
    }

    /// Resolves a step against what is there now.
    pub fn call(&mut self, op: Op, seed: u64) -> Call {
        let (at, len) = self.range(op);
        if len > 0 || matches!(op, Op::Truncate(..)) {
            self.last = (at, at + len);
        }
        Call { op, at, len, seed }
    }

    /// The bytes that a step is about.
    fn range(&self, op: Op) -> (u64, u64) {
        let around = |name: Name| Around {
            size: self.tree.file(name).map_or(0, |data| data.len() as u64),
            block: self.block,
            last: self.last,
        };
        match op {
            Op::Truncate(name, at) => (at.at(around(name)), 0),
            Op::Fallocate(name, at, len, how @ (Space::Collapse | Space::Insert)) => {
                // Whole blocks, and no file gets longer than it may.
                let (block, size) = (self.block, around(name).size);
                let at = at.at(around(name)) / block * block;
                let len = len.from(at, block).next_multiple_of(block);
                let room = MOST.saturating_sub(size) / block * block;
                match how {
                    Space::Insert if room == 0 => (size.next_multiple_of(block), block),
                    Space::Insert => (at, len.min(room)),
                    _ => (at, len),
                }
            }
            Op::Fallocate(name, at, len, _) => {
                let at = at.at(around(name));
                (at, len.from(at, self.block))
            }
            Op::Write(name, place, len, way) => {
                let Around { size, .. } = around(name);
                let at = if way == Way::Append {
                    size
                } else {
                    place.at(around(name))
                };
                let len = len.from(at, self.block);
                match way {
                    Way::Direct | Way::DirectDsync | Way::Async => {
                        (at / SECTOR * SECTOR, len.next_multiple_of(SECTOR))
                    }
                    // All that is read lies in the file.
                    Way::Own => {
                        let at = at / SECTOR * SECTOR;
                        let there = size.saturating_sub(at.saturating_sub(PAGE));
                        let most = PAGE.min(there / SECTOR * SECTOR);
                        // By way of the page cache nobody says in which order bytes are copied
                        // that lie over each other.
                        let most = if self.has_crypt { most.min(at) } else { most };
                        (at, len.next_multiple_of(SECTOR).min(most))
                    }
                    // No further than the page of the end.
                    Way::Mapped => {
                        let end = size.next_multiple_of(PAGE);
                        (at.min(end), len.min(end.saturating_sub(at)))
                    }
                    _ => (at, len),
                }
            }
            _ => (0, 0),
        }
    }

    /// Does it, and says what the call returns.
    pub fn apply(&mut self, call: &Call) -> Does<u64> {
        let done = |r: Does<()>| r.map(|()| 0);
        // Nothing is unwritten in a block map, and nothing moves.
        if matches!(call.op, Op::Fallocate(_, _, _, how) if how != Space::Punch && self.has_maps) {
            return Err(Fails);
        }
        // At another place what is encrypted is something else.
        let moves = |how| matches!(how, Space::Collapse | Space::Insert);
        if matches!(call.op, Op::Fallocate(_, _, _, how) if moves(how) && self.has_crypt) {
            return Err(Fails);
        }
        for name in Model::touched(call.op) {
            if let (Ok(id), Ok(data)) = (self.tree.find(name), self.tree.file(name)) {
                self.taken.step(call, id, data.len() as u64);
            }
        }
        match call.op {
            Op::Create(name) => self.create(name),
            Op::Write(name, _, _, way) => self.write(name, call, way),
            Op::Truncate(name, _) => {
                self.tree.file_mut(name)?.resize(call.at as usize, 0);
                Ok(0)
            }
            Op::Fallocate(name, _, _, how) => self.fallocate(name, call, how),
            Op::Sync(name, _) | Op::Forget(name) | Op::Look(name, _) => {
                self.tree.file(name).map(|_| 0)
            }
            Op::Hold(name) => done(self.tree.hold(name)),
            Op::LookHeld => self.tree.file(Name::HELD).map(|_| 0),
            Op::Lose(name) => {
                self.tree.file(name)?;
                self.tree.release();
                Ok(0)
            }
            Op::Release | Op::Remount | Op::Cut => {
                self.tree.release();
                Ok(0)
            }
            Op::Evict | Op::Freeze => Ok(0),
            // One that is open for writing forbids it.
            Op::ReadOnly if self.tree.is_held() => Err(Fails),
            Op::ReadOnly => Ok(0),
            Op::Flag(name, flag) => done(self.tree.set_flag(name, flag)),
            Op::Mkdir(name) => done(self.tree.add(name, Kind::Dir(Default::default()), 0o755)),
            Op::Rmdir(name) => done(self.tree.remove(name, true)),
            Op::Unlink(name) => done(self.tree.remove(name, false)),
            Op::Link(old, new) => done(self.tree.link(old, new)),
            Op::Symlink(name) => done(self.tree.add(name, Kind::Symlink, 0o777)),
            Op::Rename(old, new, how) => done(self.tree.rename(old, new, how)),
            Op::Chmod(name, mode) => done(self.tree.chmod(name, u32::from(mode))),
            Op::Attribute(name, how) => {
                done(self.tree.set_attribute(name, call.value(how, self.block)))
            }
        }
    }

    /// open(2) with O_CREAT and O_TRUNC.
    fn create(&mut self, name: Name) -> Does<u64> {
        if self.tree.find(name).is_ok() {
            self.tree.file_mut(name)?.clear();
        } else {
            self.tree.add(name, Kind::File(Default::default()), 0o644)?;
        }
        Ok(0)
    }

    fn write(&mut self, name: Name, call: &Call, way: Way) -> Does<u64> {
        let data = self.tree.file_mut(name)?;
        let (at, mut end) = (call.at as usize, (call.at + call.len) as usize);
        let bytes = match way {
            Way::Own if call.len == 0 => return Ok(0),
            Way::Own => data[call.source() as usize..][..end - at].to_vec(),
            _ => call.bytes(),
        };
        if way == Way::Mapped {
            // What is stored behind the end is not the file's.
            end = end.min(data.len());
        } else if data.len() < end {
            data.resize(end, 0);
        }
        if at < end {
            data[at..end].copy_from_slice(&bytes[..end - at]);
        }
        Ok(call.len)
    }

    fn fallocate(&mut self, name: Name, call: &Call, how: Space) -> Does<u64> {
        let data = self.tree.file_mut(name)?;
        let (at, end) = (call.at as usize, (call.at + call.len) as usize);
        match how {
            Space::Collapse if end >= data.len() => return Err(Fails),
            Space::Collapse => drop(data.drain(at..end)),
            Space::Insert if at >= data.len() => return Err(Fails),
            Space::Insert => drop(data.splice(at..at, vec![0; end - at])),
            _ => (),
        }
        if matches!(how, Space::Allocate | Space::Zero) && data.len() < end {
            data.resize(end, 0);
        }
        if matches!(how, Space::Punch | Space::Zero | Space::ZeroKeepSize) {
            let end = end.min(data.len());
            if at < end {
                data[at..end].fill(0);
            }
        }
        Ok(0)
    }

    /// The names that a step may have changed or looked at.
    pub fn touched(op: Op) -> Vec<Name> {
        match op {
            Op::Evict | Op::Remount | Op::ReadOnly | Op::Freeze | Op::Cut | Op::Release => {
                Vec::new()
            }
            Op::LookHeld => vec![Name::HELD],
            Op::Link(a, b) | Op::Rename(a, b, _) => vec![a, b],
            Op::Create(a) | Op::Write(a, ..) | Op::Truncate(a, _) | Op::Fallocate(a, ..) => vec![a],
            Op::Hold(a)
            | Op::Sync(a, _)
            | Op::Look(a, _)
            | Op::Forget(a)
            | Op::Lose(a)
            | Op::Mkdir(a)
            | Op::Flag(a, _)
            | Op::Rmdir(a) => {
                vec![a]
            }
            Op::Unlink(a) | Op::Symlink(a) | Op::Chmod(a, _) | Op::Attribute(a, _) => vec![a],
        }
    }
}
