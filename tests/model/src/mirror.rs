// SPDX-License-Identifier: GPL-2.0
//! The twin is brought to where the model is, after something that only one side has been through:
//! a power cut, a loss, a disk that was full. So it can be asked further on.

use crate::names::{Id, Kind, Tree, TARGET};
use crate::side::Side;
use guest::crypt::{key, PolicyV2};
use guest::sys::{self, Sys};
use guest::xattr;
use libc::{O_RDWR, O_TRUNC};
use std::collections::BTreeMap;

/// Nobody needs a permission for it, whatever it belongs to, but root.
const ATTRIBUTE: &str = "trusted.a";

impl Side {
    /// The directory of a history, new; encrypted if it can be.
    pub fn work(&self) -> Sys<()> {
        sys::mkdir(&self.path(""), 0o755)?;
        match self.unlock()? {
            Some(id) => sys::rdonly(&self.path(""))?.set_policy(PolicyV2::new(id)),
            None => Ok(()),
        }
    }

    /// Adds the key to what is mounted, if it can be encrypted; its name.
    pub fn unlock(&self) -> Sys<Option<[u8; 16]>> {
        match sys::rdonly(&self.dir)?.add_key(&key(1)) {
            Err(e) if [libc::EOPNOTSUPP, libc::ENOTTY].contains(&e.errno) => Ok(None),
            added => added.map(Some),
        }
    }

    /// All that is there is what this tree has; nobody holds a file.
    pub fn copy(&self, tree: &Tree) -> Sys<()> {
        self.release();
        self.forget();
        let _ = self.remove();
        self.work()?;
        let mut firsts: BTreeMap<Id, String> = BTreeMap::new();
        for (path, id) in tree.paths() {
            let at = self.path(&path);
            if let Some(first) = firsts.get(&id) {
                sys::link(&self.path(first), &at)?;
                continue;
            }
            let node = tree.at(id);
            match &node.kind {
                Kind::File(data) => drop(sys::create(&at)?.pwrite(data, 0)?),
                Kind::Dir(_) => sys::mkdir(&at, 0o755)?,
                Kind::Symlink => sys::symlink(TARGET, &at)?,
                Kind::Whiteout => sys::mknod(&at, libc::S_IFCHR, 0)?,
            }
            if let Some(value) = &node.attribute {
                self.set_attribute(&path, Some(value))?;
            }
            if matches!(node.kind, Kind::File(_) | Kind::Dir(_)) {
                self.set_flag(&path, node.flag)?;
            }
            if !matches!(node.kind, Kind::Symlink) {
                sys::chmod(&at, node.mode)?;
            }
            firsts.insert(id, path);
        }
        Ok(())
    }

    /// A name has this extended attribute, or none any more.
    pub fn set_attribute(&self, path: &str, value: Option<&[u8]>) -> Sys<()> {
        match value {
            Some(value) => xattr::set(&self.path(path), ATTRIBUTE, value, 0),
            None => xattr::remove(&self.path(path), ATTRIBUTE),
        }
    }

    /// The extended attribute that a name has.
    pub fn attribute(&self, path: &str) -> Sys<Option<Vec<u8>>> {
        match xattr::get(&self.path(path), ATTRIBUTE) {
            Err(e) if e.errno == libc::ENODATA => Ok(None),
            other => other.map(Some),
        }
    }

    /// A file has these bytes.
    pub fn put(&self, path: &str, data: &[u8]) -> Sys<()> {
        self.forget();
        self.open_path(path, O_RDWR | O_TRUNC)?.pwrite(data, 0)
    }
}
