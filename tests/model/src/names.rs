// SPDX-License-Identifier: GPL-2.0
//! The tree of names in memory, with what each leads to.

use crate::op::{Flag, Move, Name};
use std::collections::BTreeMap;
use std::rc::Rc;

pub type Id = usize;

/// The target of all symbolic links: it leads nowhere.
pub const TARGET: &str = "nowhere";

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Trees of which one comes of the other have the bytes in common.
    File(Rc<Vec<u8>>),
    Dir(BTreeMap<String, Id>),
    Symlink,
    Whiteout,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub links: u64,
    /// Its extended attribute, if it has one.
    pub attribute: Option<Rc<Vec<u8>>>,
    pub flag: Flag,
}

/// An operation that fails. Which errno it is the kernel's ext4 says.
#[derive(Debug, PartialEq)]
pub struct Fails;

pub type Does<T> = Result<T, Fails>;

#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<Id, Node>,
    next: Id,
    /// Somebody has this file open.
    held: Option<Id>,
}

pub const ROOT: Id = 0;

fn split(name: Name) -> (Option<&'static str>, &'static str) {
    match name.text().split_once('/') {
        Some((dir, leaf)) => (Some(dir), leaf),
        None => (None, name.text()),
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    pub fn new() -> Tree {
        let mut tree = Tree {
            nodes: BTreeMap::new(),
            next: ROOT,
            held: None,
        };
        tree.node(Kind::Dir(BTreeMap::new()), 0o755, Flag::None);
        tree
    }

    fn node(&mut self, kind: Kind, mode: u32, flag: Flag) -> Id {
        let links = if matches!(kind, Kind::Dir(_)) { 2 } else { 1 };
        let id = self.next;
        self.next += 1;
        let attribute = None;
        let node = Node {
            kind,
            mode,
            links,
            attribute,
            flag,
        };
        self.nodes.insert(id, node);
        id
    }

    pub fn at(&self, id: Id) -> &Node {
        &self.nodes[&id]
    }

    fn edit(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node that is named")
    }

    pub fn entries(&self, id: Id) -> Does<&BTreeMap<String, Id>> {
        match &self.at(id).kind {
            Kind::Dir(entries) => Ok(entries),
            _ => Err(Fails),
        }
    }

    fn entries_mut(&mut self, id: Id) -> &mut BTreeMap<String, Id> {
        match &mut self.edit(id).kind {
            Kind::Dir(entries) => entries,
            _ => unreachable!("a parent that is no directory"),
        }
    }

    /// The directory that the name is in, and its last part.
    fn parent(&self, name: Name) -> Does<(Id, &'static str)> {
        let (dir, leaf) = split(name);
        let Some(dir) = dir else {
            return Ok((ROOT, leaf));
        };
        let id = *self.entries(ROOT)?.get(dir).ok_or(Fails)?;
        self.entries(id)?;
        Ok((id, leaf))
    }

    /// A file is open from now on.
    pub fn hold(&mut self, name: Name) -> Does<()> {
        self.file(name)?;
        let id = self.find(name)?;
        self.release();
        self.held = Some(id);
        Ok(())
    }

    /// Nobody has a file open. One without a name goes.
    pub fn release(&mut self) {
        if let Some(id) = self.held.take() {
            if self.nodes.get(&id).is_some_and(|node| node.links == 0) {
                self.nodes.remove(&id);
            }
        }
    }

    pub fn find(&self, name: Name) -> Does<Id> {
        if name == Name::HELD {
            return self.held.ok_or(Fails);
        }
        let (dir, leaf) = self.parent(name)?;
        self.entries(dir)?.get(leaf).copied().ok_or(Fails)
    }

    /// The bytes of a file.
    pub fn file(&self, name: Name) -> Does<&Vec<u8>> {
        match &self.at(self.find(name)?).kind {
            Kind::File(data) => Ok(data),
            _ => Err(Fails),
        }
    }

    /// The bytes of a file that may be gone.
    pub fn data(&self, id: Id) -> Option<&Vec<u8>> {
        match &self.nodes.get(&id)?.kind {
            Kind::File(data) => Some(data),
            _ => None,
        }
    }

    /// A file has other bytes: those that a power cut left.
    pub fn set_data(&mut self, id: Id, data: Vec<u8>) {
        self.edit(id).kind = Kind::File(Rc::new(data));
    }

    pub fn file_mut(&mut self, name: Name) -> Does<&mut Vec<u8>> {
        let id = self.find(name)?;
        match &mut self.edit(id).kind {
            Kind::File(data) => Ok(Rc::make_mut(data)),
            _ => Err(Fails),
        }
    }

    pub fn add(&mut self, name: Name, kind: Kind, mode: u32) -> Does<()> {
        let (dir, leaf) = self.parent(name)?;
        if self.entries(dir)?.contains_key(leaf) {
            return Err(Fails);
        }
        let is_dir = matches!(kind, Kind::Dir(_));
        // What is made has the flags of its directory, as far as it can have them.
        let flag = match (&kind, self.at(dir).flag) {
            (Kind::Dir(_), flag) | (Kind::File(_), flag @ Flag::Sync) => flag,
            _ => Flag::None,
        };
        let id = self.node(kind, mode, flag);
        self.entries_mut(dir).insert(leaf.to_string(), id);
        self.edit(dir).links += u64::from(is_dir);
        Ok(())
    }

    pub fn link(&mut self, old: Name, new: Name) -> Does<()> {
        let id = self.find(old)?;
        let (dir, leaf) = self.parent(new)?;
        if matches!(self.at(id).kind, Kind::Dir(_)) || self.entries(dir)?.contains_key(leaf) {
            return Err(Fails);
        }
        self.entries_mut(dir).insert(leaf.to_string(), id);
        self.edit(id).links += 1;
        Ok(())
    }

    /// A name goes, and what it leads to with its last one.
    fn forget(&mut self, dir: Id, leaf: &str) {
        let Some(id) = self.entries_mut(dir).remove(leaf) else {
            return;
        };
        let node = self.edit(id);
        if matches!(node.kind, Kind::Dir(_)) {
            self.nodes.remove(&id);
            self.edit(dir).links -= 1;
            return;
        }
        node.links -= 1;
        let links = node.links;
        if links == 0 && self.held != Some(id) {
            self.nodes.remove(&id);
        }
    }

    /// unlink(2), or rmdir(2).
    pub fn remove(&mut self, name: Name, directory: bool) -> Does<()> {
        let id = self.find(name)?;
        let fits = match &self.at(id).kind {
            Kind::Dir(entries) => directory && entries.is_empty(),
            _ => !directory,
        };
        if !fits {
            return Err(Fails);
        }
        let (dir, leaf) = self.parent(name)?;
        self.forget(dir, leaf);
        Ok(())
    }

    pub fn chmod(&mut self, name: Name, mode: u32) -> Does<()> {
        let id = self.find(name)?;
        if self.at(id).kind == Kind::Symlink {
            return Err(Fails);
        }
        self.edit(id).mode = mode;
        Ok(())
    }

    /// Sets these flags of a name, and no other ones.
    pub fn set_flag(&mut self, name: Name, flag: Flag) -> Does<()> {
        let id = self.find(name)?;
        match (&self.at(id).kind, flag) {
            (Kind::Dir(_), _) | (Kind::File(_), Flag::None | Flag::Sync) => (),
            _ => return Err(Fails),
        }
        self.edit(id).flag = flag;
        Ok(())
    }

    /// The directory that a name is in.
    pub fn directory(&self, name: Name) -> Does<Id> {
        self.parent(name).map(|(dir, _)| dir)
    }

    /// Whether somebody has a file open.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Sets the extended attribute of a name, or removes the one that is there.
    pub fn set_attribute(&mut self, name: Name, value: Option<Vec<u8>>) -> Does<()> {
        let id = self.find(name)?;
        let attribute = &mut self.edit(id).attribute;
        if value.is_none() && attribute.is_none() {
            return Err(Fails);
        }
        *attribute = value.map(Rc::new);
        Ok(())
    }

    /// Is the one directory below the other, or the same?
    fn within(&self, inner: Id, outer: Id) -> bool {
        let below =
            |entries: &BTreeMap<String, Id>| entries.values().any(|&id| self.within(inner, id));
        inner == outer || self.entries(outer).is_ok_and(below)
    }

    pub fn rename(&mut self, from: Name, to: Name, how: Move) -> Does<()> {
        let old = self.find(from)?;
        let ((from_dir, from_leaf), (to_dir, to_leaf)) = (self.parent(from)?, self.parent(to)?);
        let new = self.entries(to_dir)?.get(to_leaf).copied();
        if self.within(to_dir, old)
            || new.is_some_and(|new| how == Move::Exchange && self.within(from_dir, new))
        {
            return Err(Fails);
        }
        match (how, new) {
            (Move::NoReplace, Some(_)) | (Move::Exchange, None) => return Err(Fails),
            // Two names of one file: nothing is done.
            (_, Some(new)) if new == old => return Ok(()),
            (Move::Exchange, Some(new)) => {
                self.place(from_dir, from_leaf, new, to_dir);
                self.place(to_dir, to_leaf, old, from_dir);
                return Ok(());
            }
            (_, Some(new)) => {
                let is_dir = matches!(self.at(old).kind, Kind::Dir(_));
                match &self.at(new).kind {
                    Kind::Dir(entries) if !is_dir || !entries.is_empty() => return Err(Fails),
                    Kind::Dir(_) => (),
                    _ if is_dir => return Err(Fails),
                    _ => (),
                }
                self.forget(to_dir, to_leaf);
            }
            (_, None) => (),
        }
        self.entries_mut(from_dir).remove(from_leaf);
        self.place(to_dir, to_leaf, old, from_dir);
        if how == Move::Whiteout {
            let id = self.node(Kind::Whiteout, 0, Flag::None);
            self.entries_mut(from_dir).insert(from_leaf.to_string(), id);
        }
        Ok(())
    }

    /// A node gets a name; it comes from another directory.
    fn place(&mut self, dir: Id, leaf: &str, id: Id, from: Id) {
        if matches!(self.at(id).kind, Kind::Dir(_)) {
            self.edit(from).links -= 1;
            self.edit(dir).links += 1;
        }
        self.entries_mut(dir).insert(leaf.to_string(), id);
    }

    /// Every path, parents first.
    pub fn paths(&self) -> Vec<(String, Id)> {
        let mut all = Vec::new();
        self.collect(ROOT, "", &mut all);
        all
    }

    fn collect(&self, dir: Id, path: &str, all: &mut Vec<(String, Id)>) {
        for (leaf, &id) in self.entries(dir).into_iter().flatten() {
            let path = if path.is_empty() {
                leaf.clone()
            } else {
                format!("{path}/{leaf}")
            };
            all.push((path.clone(), id));
            self.collect(id, &path, all);
        }
    }
}
