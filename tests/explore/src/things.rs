// SPDX-License-Identifier: GPL-2.0
//! What has a name: at the beginning, and when nothing moves any more.

use crate::op::{EACH, FOLDERS, NAMES};
use crate::program::Start;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sort {
    File,
    Folder,
    /// A directory that is not empty.
    Full,
    /// The device that is left where something was renamed.
    Whiteout,
}

impl Sort {
    pub fn is_folder(self) -> bool {
        matches!(self, Sort::Folder | Sort::Full)
    }
}

/// What a large attribute is made of: all have the same, so inodes share its block. A small one has
/// the letter of the operation.
pub const LARGE: u8 = b'Z';

/// What has a name, by number: those of the beginning first, then each operation's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Thing {
    pub number: u8,
    pub sort: Sort,
}

/// What each name names.
pub type Places = [Option<Thing>; NAMES.len()];

/// At the beginning.
pub fn layout(start: Start) -> Places {
    let thing = |number, sort| Some(Thing { number, sort });
    let (file, folder) = (|n| thing(n, Sort::File), |n| thing(n, Sort::Folder));
    match start {
        Start::Files | Start::Index => [file(0), None, file(2), None],
        Start::Linked => [file(0), None, file(0), file(3)],
        Start::Folders => [folder(0), file(1), folder(2), None],
        Start::Tree => [thing(0, Sort::Full), None, folder(2), None],
        Start::Crowd => [None, None, file(2), None],
        _ => [None; NAMES.len()],
    }
}

/// What a name names, when it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    pub ino: u64,
    /// Of a directory not whether it is empty.
    pub sort: Sort,
    pub links: u64,
    /// A byte of its attribute, 0 if it has none.
    pub attribute: u8,
}

/// All that is there when nothing moves any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    pub found: [Option<Found>; NAMES.len()],
    /// Link counts of the directories.
    pub links: [u64; FOLDERS.len()],
}

impl End {
    /// Each thing has as many links as names.
    pub fn counts(&self) -> Result<(), String> {
        for (i, found) in self.found.iter().enumerate() {
            let Some(found) = found else {
                continue;
            };
            let same = |f: &&Found| f.ino == found.ino;
            let names = self.found.iter().flatten().filter(same).count() as u64;
            let is_folder = found.sort.is_folder();
            let expected = if is_folder { 2 } else { names };
            if found.links != expected || is_folder && names > 1 {
                let (name, links) = (NAMES[i], found.links);
                return Err(format!("{name} has {links} links, and {names} names"));
            }
        }
        for (folder, links) in self.links.iter().enumerate() {
            let here = self.found[folder * EACH..][..EACH].iter().flatten();
            let inside = here.filter(|f| f.sort.is_folder()).count() as u64;
            if *links != 2 + inside {
                let name = FOLDERS[folder];
                return Err(format!(
                    "{name} has {links} links, and {inside} directories"
                ));
            }
        }
        Ok(())
    }
}
