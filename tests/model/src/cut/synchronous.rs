// SPDX-License-Identifier: GPL-2.0
//! What is promised where nobody calls fsync: by the mount options `sync` and `dirsync`, and by the
//! flags of the same names that files and directories have.

use super::Promises;
use crate::model::Call;
use crate::names::{Id, Tree};
use crate::op::{Flag, Mount, Name, Op, Way};

impl Promises {
    /// What is done to this file is on the disk when the call returns.
    fn is_sync(&self, tree: &Tree, id: Id) -> bool {
        self.mount == Mount::Sync || tree.at(id).flag == Flag::Sync
    }

    /// So are the names that are made and removed where this one is.
    fn is_dirsync(&self, tree: &Tree, name: Name) -> bool {
        let flag = tree.directory(name).map(|dir| tree.at(dir).flag);
        self.mount != Mount::Usual || flag.is_ok_and(|flag| flag != Flag::None)
    }

    /// A step was done that turned `before` into `tree`.
    pub(super) fn synchronous(&mut self, call: &Call, before: &Tree, tree: &Tree) {
        let now = self.stages.len() - 1;
        let file = |name| {
            before
                .find(name)
                .ok()
                .filter(|id| self.is_sync(before, *id))
        };
        let mut is_committed = false;
        match call.op {
            Op::Write(name, _, _, way) if way != Way::Mapped && call.len > 0 => {
                let range = call.at as usize..(call.at + call.len) as usize;
                let id = file(name);
                self.ranges.extend(id.map(|id| (id, range, now)));
            }
            Op::Truncate(name, _) | Op::Fallocate(name, ..) => {
                is_committed = file(name).is_some();
                self.resized(file(name), before, tree);
            }
            Op::Create(name) if before.find(name).is_ok() => {
                is_committed = file(name).is_some();
                self.resized(file(name), before, tree);
            }
            Op::Attribute(name, _) | Op::Flag(name, _) => is_committed = file(name).is_some(),
            Op::Create(name) | Op::Mkdir(name) | Op::Rmdir(name) => {
                is_committed = self.is_dirsync(before, name);
            }
            Op::Unlink(name) | Op::Link(_, name) | Op::Symlink(name) => {
                is_committed = self.is_dirsync(before, name);
            }
            // Of two names of one file nothing is done.
            Op::Rename(from, to, _) if before.paths() != tree.paths() => {
                is_committed = self.is_dirsync(before, from) || self.is_dirsync(before, to);
            }
            _ => (),
        }
        if is_committed {
            // And with it all that came before.
            self.names = now;
        }
    }

    /// A synchronous file has another size.
    fn resized(&mut self, id: Option<Id>, before: &Tree, tree: &Tree) {
        let size = |tree: &Tree, id| tree.data(id).map(|data| data.len());
        if let Some(id) = id.filter(|id| size(before, *id) != size(tree, *id)) {
            let whole = self.whole(id);
            self.files.entry(id).or_default().size = whole.size;
        }
    }
}
