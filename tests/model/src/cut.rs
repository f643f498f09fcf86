// SPDX-License-Identifier: GPL-2.0
//! What a power cut may leave, as Documentation/crash-promises.md has it: names as they were after
//! some step, the last commit's or a later one; of each file the bytes that were promised, and
//! where nothing was promised, bytes that it had at some time since, or zeros where it was shorter.

use crate::model::{Call, Model};
use crate::names::{Id, Kind, Tree};
use crate::op::{Flag, Mount, Move, Op, Space, Sync, Way};
use std::collections::BTreeMap;
use std::ops::Range;

/// A name as it can be seen: the same in the model and on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub path: String,
    /// The type, as in a mode.
    pub kind: u32,
    pub mode: u32,
    pub links: u64,
    /// Its extended attribute.
    pub attribute: Option<Vec<u8>>,
    /// What chattr(1) has given it.
    pub flag: Flag,
    /// The first of the names of the same file.
    pub first: String,
}

/// What is in the files, by their names.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// What is promised at a moment. Stages are the states after each step since all was on disk.
#[derive(Clone)]
pub struct Promises {
    stages: Vec<Tree>,
    /// The names are not those of an earlier stage.
    names: usize,
    /// The stage of the last change of a file that is in the journal.
    changed: BTreeMap<Id, usize>,
    /// What is in these files is not that of an earlier stage.
    files: BTreeMap<Id, Since>,
    /// Nor is what is in these ranges, and the size covers them.
    ranges: Vec<(Id, Range<usize>, usize)>,
    /// Nor is what is in these files, if the names are of that stage or a later one.
    replaced: Vec<(Id, usize, Since)>,
    /// Some data of these could not be written. The size that covers it may be missing on the disk,
    /// whatever is brought there later, until the size is another one: that of this stage.
    lost: BTreeMap<Id, usize>,
    /// What was written to these behind the end that a power cut has left them: it may lie in their
    /// last block. Where data is lost that would have come over it, it is seen.
    behind: BTreeMap<Id, Vec<Behind>>,
    mount: Mount,
}

/// The end, and what a file was that went further.
#[derive(Clone)]
struct Behind(usize, Vec<u8>);

impl Behind {
    fn byte(&self, at: usize) -> Option<u8> {
        self.1.get(at).copied().filter(|_| at >= self.0)
    }
}

/// What of a file is not that of an earlier stage.
#[derive(Clone, Copy, Default)]
struct Since {
    bytes: usize,
    size: usize,
}

impl Since {
    fn max(self, other: Since) -> Since {
        Since {
            bytes: self.bytes.max(other.bytes),
            size: self.size.max(other.size),
        }
    }
}

impl Promises {
    /// All this is on disk.
    pub fn new(tree: &Tree) -> Promises {
        Promises {
            stages: vec![tree.clone()],
            names: 0,
            changed: BTreeMap::new(),
            files: BTreeMap::new(),
            ranges: Vec::new(),
            replaced: Vec::new(),
            lost: BTreeMap::new(),
            behind: BTreeMap::new(),
            mount: Mount::Usual,
        }
    }

    /// The same, mounted so.
    pub fn on(self, mount: Mount) -> Promises {
        Promises { mount, ..self }
    }

    /// All this is on disk, as it was seen after a power cut.
    pub fn after_cut(&self, tree: &Tree) -> Promises {
        let mut behind = self.behind.clone();
        for (_, id) in tree.paths() {
            let end = tree.data(id).map_or(0, |data| data.len());
            let further = self.versions(id, 0).into_iter().filter(|v| v.len() > end);
            let further = further.map(|v| Behind(end, v.clone()));
            behind.entry(id).or_default().extend(further);
        }
        Promises {
            behind,
            ..Promises::new(tree).on(self.mount)
        }
    }

    /// All this is on disk.
    fn synced(&mut self, tree: &Tree) {
        let behind = std::mem::take(&mut self.behind);
        *self = Promises {
            behind,
            ..Promises::new(tree).on(self.mount)
        };
    }

    /// A step was done in part: nothing new is promised.
    pub fn partly(&mut self, call: &Call, tree: &Tree) {
        let (now, before) = (
            self.stages.len(),
            self.stages[self.stages.len() - 1].clone(),
        );
        self.stages.push(tree.clone());
        self.note_changes(call.op, &[&before, tree], now);
        let size = |tree: &Tree, id: Id| tree.data(id).map(|data| data.len());
        for (id, since) in &mut self.lost {
            if size(&before, *id) != size(tree, *id) {
                *since = now;
            }
        }
    }

    /// What is promised of a file that is as it is now on the disk, but for what was lost.
    fn whole(&self, id: Id) -> Since {
        let now = self.stages.len() - 1;
        Since {
            bytes: now,
            size: self.lost.get(&id).copied().unwrap_or(now),
        }
    }

    /// A step was begun, and may be done or not: if it replaces a file, then by a whole one.
    pub fn begun(&mut self, call: &Call, tree: &Tree) {
        self.moving(call, tree);
        self.partly(call, tree);
        let now = self.stages.len() - 1;
        let before = &self.stages[now - 1];
        if let Op::Rename(from, to, Move::Exchange) = call.op {
            // Each replaces the other, if they are two.
            let files = [from, to]
                .into_iter()
                .filter(|name| tree.file(*name).is_ok());
            let ids = files.filter_map(|name| tree.find(name).ok());
            if before.find(from) != before.find(to) {
                let whole: Vec<_> = ids.map(|id| (id, now, self.whole(id))).collect();
                self.replaced.extend(whole);
            }
        }
        if let Op::Rename(from, to, Move::Replace) = call.op {
            // Of two names of one file none replaces the other.
            if before.file(to).is_ok() && before.find(from) != before.find(to) {
                let id = tree.find(to).ok();
                let whole = id.map(|id| (id, now, self.whole(id)));
                self.replaced.extend(whole);
            }
        }
    }

    /// What collapse and insert range move may be here or there, with a hole between.
    fn moving(&mut self, call: &Call, tree: &Tree) {
        let Op::Fallocate(name, _, _, Space::Collapse | Space::Insert) = call.op else {
            return;
        };
        let mut half = self.stages[self.stages.len() - 1].clone();
        let (Ok(id), Ok(old), Ok(new)) = (half.find(name), half.file(name), tree.file(name)) else {
            return;
        };
        let size = old.len().max(new.len());
        half.set_data(id, vec![0; size]);
        self.stages.push(half);
    }

    /// This directory was brought to the disk: no name that was made or removed before the last
    /// change of its own names is missing.
    pub fn directory(&mut self, path: &str) {
        let last = (1..self.stages.len())
            .rev()
            .find(|&s| listing(&self.stages[s], path) != listing(&self.stages[s - 1], path));
        self.names = self.names.max(last.unwrap_or(0));
    }

    /// Data of a file was lost. What was promised of it before then still is.
    pub fn lost(&mut self, id: Id) {
        let kept = self.files.get(&id).copied().unwrap_or_default();
        self.lost.insert(id, kept.size);
    }

    /// Is this what may be in a file, where it is now?
    pub fn may_be(&self, id: Id, data: &[u8]) -> Result<(), String> {
        self.file(self.stages.len() - 1, id, data)
    }

    /// The files of which data was lost.
    pub fn losers(&self) -> Vec<Id> {
        self.lost.keys().copied().collect()
    }

    /// A step was done, and did not fail.
    pub fn step(&mut self, call: &Call, tree: &Tree) {
        let before = self.stages[self.stages.len() - 1].clone();
        self.begun(call, tree);
        self.synchronous(call, &before, tree);
        let now = self.stages.len() - 1;
        match call.op {
            Op::Remount => self.synced(tree),
            Op::Sync(_, Sync::All) | Op::Freeze | Op::ReadOnly if self.lost.is_empty() => {
                self.synced(tree);
            }
            Op::Sync(_, Sync::All) | Op::Freeze | Op::ReadOnly => {
                self.names = now;
                for (_, id) in tree.paths() {
                    self.files.insert(id, self.whole(id));
                }
            }
            Op::Sync(name, how @ (Sync::Fsync | Sync::Fdatasync)) => {
                let Ok(id) = tree.find(name) else { return };
                self.files.insert(id, self.whole(id));
                // The commit that has the last change has all that came before it.
                if how == Sync::Fsync {
                    self.names = self.names.max(self.changed.get(&id).copied().unwrap_or(0));
                }
            }
            Op::Write(name, _, _, Way::Dsync | Way::DirectDsync) => {
                let range = call.at as usize..(call.at + call.len) as usize;
                let id = tree.find(name).ok();
                self.ranges.extend(id.map(|id| (id, range, now)));
            }
            _ => (),
        }
    }

    /// What a name led to before or leads to now has changed.
    fn note_changes(&mut self, op: Op, trees: &[&Tree], now: usize) {
        // A store may find its page dirty, and tells nobody.
        if matches!(
            op,
            Op::Sync(..)
                | Op::Look(..)
                | Op::Hold(_)
                | Op::LookHeld
                | Op::Forget(_)
                | Op::Lose(_)
                | Op::Write(_, _, _, Way::Mapped)
        ) {
            return;
        }
        for name in Model::touched(op) {
            let ids = trees.iter().filter_map(|tree| tree.find(name).ok());
            self.changed.extend(ids.map(|id| (id, now)));
        }
    }

    /// Is this what may be there? Then as a tree.
    pub fn kept(&self, seen: &[Entry], data: &Contents) -> Result<Tree, String> {
        let stages = self.names..self.stages.len();
        let fitting: Vec<usize> = stages
            .filter(|&s| entries(&self.stages[s]) == seen)
            .collect();
        let mut why = Vec::new();
        for stage in fitting {
            match self.contents(stage, data) {
                Ok(tree) => return Ok(tree),
                Err(e) if !why.contains(&e) => why.push(e),
                Err(_) => (),
            }
        }
        if why.is_empty() {
            let tell = |entry: &Entry| format!("{} ({} links)", entry.path, entry.links);
            let names: Vec<String> = seen.iter().map(tell).collect();
            return Err(format!(
                "the names are of no step since the last commit: {}",
                names.join(", ")
            ));
        }
        Err(why.join("; or, after another step, "))
    }

    /// The names are those of this stage: what is in the files?
    fn contents(&self, stage: usize, data: &Contents) -> Result<Tree, String> {
        let mut tree = self.stages[stage].clone();
        for (path, id) in tree.paths() {
            if let Some(data) = data.get(&path) {
                self.file(stage, id, data)
                    .map_err(|e| format!("{path}: {e}"))?;
                tree.set_data(id, data.clone());
            }
        }
        Ok(tree)
    }

    fn file(&self, stage: usize, id: Id, data: &[u8]) -> Result<(), String> {
        let from = self.files.get(&id).copied().unwrap_or_default();
        let replaced = self.replaced.iter().filter(|r| r.0 == id && r.1 <= stage);
        let from = replaced.map(|r| r.2).fold(from, Since::max);
        let sized = self.versions(id, from.size);
        let sizes = sized.iter().map(|v| v.len());
        let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
        if !(least..=most).contains(&data.len()) {
            return Err(format!(
                "{} bytes, promised were {least} to {most}",
                data.len()
            ));
        }
        let behind = self.behind.get(&id).filter(|_| self.lost.contains_key(&id));
        let is_behind = |at: usize| {
            let mut all = behind.into_iter().flatten();
            all.any(|behind| behind.byte(at) == Some(data[at]))
        };
        let versions = self.versions(id, from.bytes);
        one_of(data, 0..data.len(), &versions, is_behind)?;
        for (_, range, since) in self.ranges.iter().filter(|r| r.0 == id) {
            let versions = self.versions(id, from.bytes.max(*since));
            let least = versions
                .iter()
                .map(|v| v.len().min(range.end))
                .min()
                .unwrap_or(0);
            if data.len() < least {
                let size = data.len();
                return Err(format!("{size} bytes, O_DSYNC promised {least}"));
            }
            let range = range.start..range.end.min(data.len());
            one_of(data, range, &versions, |_| false)?;
        }
        Ok(())
    }

    /// What the file was, from this stage on.
    fn versions(&self, id: Id, from: usize) -> Vec<&Vec<u8>> {
        let mut versions: Vec<&Vec<u8>> = Vec::new();
        for version in self.stages[from..].iter().filter_map(|tree| tree.data(id)) {
            if versions.last() != Some(&version) {
                versions.push(version);
            }
        }
        versions
    }
}

/// Each byte is that of one of the versions; one that is shorter has zeros there. But for those
/// that are excused.
fn one_of(
    data: &[u8],
    range: Range<usize>,
    versions: &[&Vec<u8>],
    is_excused: impl Fn(usize) -> bool,
) -> Result<(), String> {
    for i in range {
        let mut bytes = versions.iter().map(|v| v.get(i).copied().unwrap_or(0));
        if !bytes.clone().any(|b| b == data[i]) && !is_excused(i) {
            let first = bytes.next().unwrap_or(0);
            let got = data[i];
            return Err(format!(
                "byte {i} is {got:#04x}, {first:#04x} was promised, or later ones"
            ));
        }
    }
    Ok(())
}

/// What leads where in one directory.
fn listing(tree: &Tree, dir: &str) -> Vec<(String, Id)> {
    let mut all = tree.paths();
    all.retain(|(path, _)| path.rsplit_once('/').map_or("", |(parent, _)| parent) == dir);
    all
}

/// The names of a tree as they can be seen.
fn entries(tree: &Tree) -> Vec<Entry> {
    let mut firsts = BTreeMap::new();
    let mut entry = |(path, id): (String, Id)| {
        let node = tree.at(id);
        let kind = match node.kind {
            Kind::File(_) => libc::S_IFREG,
            Kind::Dir(_) => libc::S_IFDIR,
            Kind::Symlink => libc::S_IFLNK,
            Kind::Whiteout => libc::S_IFCHR,
        };
        Entry {
            first: firsts.entry(id).or_insert_with(|| path.clone()).clone(),
            path,
            kind,
            mode: node.mode,
            links: node.links,
            attribute: node.attribute.as_deref().cloned(),
            flag: node.flag,
        }
    };
    let mut all: Vec<Entry> = tree.paths().into_iter().map(&mut entry).collect();
    all.sort();
    all
}

mod synchronous;
#[cfg(test)]
mod tests;
