// SPDX-License-Identifier: GPL-2.0

//! The files of the module stand on each other, and none stands on itself: what they name of each
//! other makes no circle. So each can be read with what is below it, and without what is above.
//!
//! A file and those in the folder of its name are one room: between them a name says nothing. In
//! `fs` such rooms as a whole make no circle either.

use crate::{none, source};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

/// A module: the names that lead to it from the crate.
type Module = Vec<String>;

/// What a file names elsewhere: for each file what of it.
type Uses = BTreeMap<Module, BTreeSet<String>>;

/// Who names one that stands on him, and why. Those of `vfs` are of the tables of C, in which each
/// structure has pointers to functions that take another; nothing of what the module does itself.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "fs/inode",
        "fs/io/gate",
        "each inode has a gate, as it has an i_rwsem",
    ),
    (
        "vfs/super_block",
        "vfs/inode",
        "struct inode has i_sb, evict_inode takes an inode",
    ),
    (
        "vfs/super_block",
        "vfs/writeback",
        "a file system says how its files are written (FileSystem::Writeback), and its mount has \
         the queue on which that completes",
    ),
    (
        "vfs/inode/cache",
        "vfs/super_block/register",
        "a file system type has the cache of its inodes, and alloc_inode has only the super block \
         to find it by",
    ),
];

/// The module that a file is.
fn module(path: &str) -> Module {
    let inner = path.trim_start_matches("rust/").trim_end_matches(".rs");
    let inner = inner.trim_end_matches("/mod");
    let parts = inner.split('/').filter(|part| *part != "rext4");
    parts.map(str::to_string).collect()
}

/// The paths that a file imports, and others that begin with `crate`, `super` or `self`.
#[derive(Default)]
struct Paths {
    imports: Vec<Vec<String>>,
    others: Vec<Vec<String>>,
}

impl Paths {
    fn tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(p) => self.tree(&p.tree, &with(&p.ident)),
            syn::UseTree::Name(n) => self.imports.push(with(&n.ident)),
            syn::UseTree::Rename(r) => self.imports.push(with(&r.ident)),
            syn::UseTree::Glob(_) => self.imports.push(before.to_vec()),
            syn::UseTree::Group(g) => g.items.iter().for_each(|t| self.tree(t, before)),
        }
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if ["crate", "super", "self"].contains(&parts[0].as_str()) && parts.len() > 1 {
            self.others.push(parts);
        }
        visit::visit_path(self, path);
    }

    // `pub(super)` and the like name nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}
}

/// All modules, and the paths that each has.
struct House(BTreeMap<Module, Paths>);

impl House {
    fn new(files: &[source::File]) -> Self {
        let paths = |file: &source::File| {
            let mut paths = Paths::default();
            paths.visit_file(&file.parsed());
            (module(&file.path), paths)
        };
        Self(files.iter().map(paths).collect())
    }

    /// The module in which what `from` calls `path` is defined, and its name there. Follows what is
    /// imported on the way; nothing for what is not the crate's.
    fn find(&self, from: &Module, path: &[String], hops: usize) -> Option<(Module, String)> {
        let mut at = from.clone();
        let mut rest = path;
        match path[0].as_str() {
            "crate" => at.clear(),
            "self" | "super" => (),
            child => {
                at.push(child.to_string());
                self.0.get(&at)?;
                at.pop();
            }
        }
        while let [first, more @ ..] = rest {
            match first.as_str() {
                "crate" | "self" => (),
                "super" => drop(at.pop()),
                _ => {
                    at.push(first.clone());
                    if !self.0.contains_key(&at) {
                        at.pop();
                        break;
                    }
                }
            }
            rest = more;
        }
        let name = rest.first().cloned().unwrap_or_default();
        let leads_on = |p: &&Vec<String>| p.len() > 1 && p.last() == Some(&name);
        let import = self.0[&at].imports.iter().find(leads_on);
        if let Some(path) = import.filter(|_| hops > 0 && at != *from) {
            return self.find(&at, path, hops - 1).or(Some((at, name)));
        }
        Some((at, name))
    }

    /// Whom each module names.
    fn uses(&self) -> BTreeMap<Module, Uses> {
        let mut all = BTreeMap::new();
        for (from, paths) in &self.0 {
            let uses: &mut Uses = all.entry(from.clone()).or_default();
            let all_paths = paths.imports.iter().chain(&paths.others);
            for (to, name) in all_paths.filter_map(|path| self.find(from, path, 4)) {
                if !to.starts_with(from) && !from.starts_with(&to) {
                    uses.entry(to).or_default().insert(name);
                }
            }
        }
        all
    }
}

fn file_of(module: &Module) -> String {
    module.join("/")
}

/// All that can be reached from `from`.
fn below<'a>(uses: &'a BTreeMap<Module, Uses>, from: &'a Module) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(at) = next.pop() {
        for to in uses.get(at).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(to) {
                next.push(to);
            }
        }
    }
    seen
}

/// What whole rooms of `fs` name of each other, as files and folders that lie in `fs` itself. The
/// other layers are read by file: `disk` has no folders, and a folder of `vfs` is what C calls a
/// structure.
fn rooms(uses: &BTreeMap<Module, Uses>) -> BTreeMap<Module, Uses> {
    let room = |file: &Module| file.iter().take(2).cloned().collect::<Module>();
    let in_fs = |file: &&Module| file.len() > 1 && file[0] == "fs";
    let mut rooms: BTreeMap<Module, Uses> = BTreeMap::new();
    for (from, names) in uses.iter().filter(|(file, _)| in_fs(file)) {
        let uses = rooms.entry(room(from)).or_default();
        for (to, names) in names.iter().filter(|(file, _)| in_fs(file)) {
            if room(to) != room(from) {
                uses.entry(room(to)).or_default().extend(names.clone());
            }
        }
    }
    rooms
}

/// A line for each use that is a part of a circle.
fn circles(uses: &BTreeMap<Module, Uses>) -> Vec<String> {
    let mut found = Vec::new();
    for (from, names) in uses {
        for (to, names) in names {
            if below(uses, to).contains(from) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let (from, to) = (file_of(from), file_of(to));
                found.push(format!("{from} -> {to}: {}", names.join(", ")));
            }
        }
    }
    found
}

#[test]
fn no_file_stands_on_itself() {
    let mut uses = House::new(&source::module()).uses();
    let mut wrong = Vec::new();
    for (from, to, _) in ALLOWED {
        let (from, to) = (module(from), module(to));
        if uses
            .get_mut(&from)
            .and_then(|uses| uses.remove(&to))
            .is_none()
        {
            wrong.push(format!("{} does not name {}", file_of(&from), file_of(&to)));
        }
    }
    wrong.extend(circles(&uses));
    wrong.extend(circles(&rooms(&uses)));
    none(&wrong);
}

#[test]
fn the_search_for_circles_finds() {
    let file = |(path, text): &(&str, &str)| source::File {
        path: format!("rust/{path}"),
        text: text.to_string(),
    };
    let found = |files: &[(&str, &str)]| {
        circles(&House::new(&files.iter().map(file).collect::<Vec<_>>()).uses())
    };
    let top = ("fs/mod.rs", "mod a; mod b; pub(super) use b::B;");
    let b = ("fs/b.rs", "use super::c; struct B;");
    let c = ("fs/c.rs", "fn f() { crate::fs::a::g(); }");
    // By way of what another imports, in a list of imports, and without an import.
    let a = (
        "fs/a.rs",
        "use kernel::a; use super::{super::fs::{B, nothing}}; fn g() {}",
    );
    let circle = ["fs/a -> fs/b: B", "fs/b -> fs/c: ", "fs/c -> fs/a: g"];
    assert_eq!(found(&[top, a, b, c]), circle);
    // Half of it; a file and its folder; a word in a comment.
    let c = ("fs/c.rs", "// crate::fs::a\nmod d; use d::D;");
    let d = ("fs/c/d.rs", "use super::super::c; struct D;");
    assert!(found(&[top, a, b, c, d]).is_empty());
}
