// SPDX-License-Identifier: GPL-2.0

//! What there is in the checkout: files, words, the members of types and modules, verbs of make.

use crate::source;
use std::collections::BTreeSet;
use syn::visit::{self, Visit};

/// Where the code is, and what there is of it that is none.
const FOLDERS: &[&str] = &["rust", "samples", "tests", "scripts", "Documentation"];

/// A file of the checkout that is text.
pub struct Known {
    path: String,
    text: String,
    words: BTreeSet<String>,
}

impl Known {
    fn new(path: &str, text: &str) -> Self {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        Self {
            path: path.to_string(),
            text: text.to_string(),
            words: words.map(str::to_string).collect(),
        }
    }

    pub fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Documents do not bear witness to each other, nor does the search for what they quote.
    fn is_code(&self) -> bool {
        !self.path.ends_with(".md") && !self.path.contains("/laws/")
    }

    /// The first of the lines that is not there behind those before it, if any; and how many are.
    fn missed<'a>(&self, lines: &[&'a str]) -> (usize, Option<&'a str>) {
        let mut left = lines.iter();
        let mut next = left.next();
        for line in self.text.lines().map(str::trim) {
            if next.is_some_and(|next| *next == line) {
                next = left.next();
            }
        }
        let missing = left.len() + usize::from(next.is_some());
        (lines.len() - missing, next.copied())
    }
}

/// All of it.
pub struct Tree {
    files: Vec<Known>,
    /// Of what, and the name.
    members: BTreeSet<(String, String)>,
    pub verbs: Vec<String>,
}

impl Tree {
    pub fn checkout() -> Self {
        let read = |path: String| {
            let text = std::fs::read_to_string(source::root().join(&path)).ok()?;
            Some((path, text))
        };
        let paths = source::paths(FOLDERS).into_iter();
        let roots = ["Kbuild", "Makefile", "README.md", ".ci/run"].map(String::from);
        let files: Vec<_> = paths.chain(roots).filter_map(read).collect();
        let make = files.iter().find(|f| f.0 == "Makefile");
        let verbs = make.and_then(|f| f.1.lines().find_map(|l| l.strip_prefix("verbs := ")));
        let verbs = verbs.expect("no verbs in the Makefile").to_string();
        let files: Vec<_> = files
            .iter()
            .map(|(p, t)| (p.as_str(), t.as_str()))
            .collect();
        Self::of(&files, &verbs)
    }

    /// Of files with these names and texts.
    pub fn of(files: &[(&str, &str)], verbs: &str) -> Self {
        let mut members = Members::default();
        for (path, text) in files.iter().filter(|f| f.0.ends_with(".rs")) {
            let parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("{path}: {e}"));
            members.modules = vec![module(path)];
            members.visit_file(&parsed);
        }
        Self {
            files: files.iter().map(|f| Known::new(f.0, f.1)).collect(),
            members: members.found,
            verbs: verbs.split_whitespace().map(str::to_string).collect(),
        }
    }

    pub fn has_member(&self, of: &str, name: &str) -> bool {
        self.members.contains(&(of.to_string(), name.to_string()))
    }

    /// The files of this name, or whose paths end in it.
    pub fn ending_in(&self, name: &str) -> Vec<&Known> {
        let end = format!("/{name}");
        let fits = |f: &&Known| f.path == name || f.path.ends_with(&end);
        self.files.iter().filter(fits).collect()
    }

    pub fn has_folder(&self, name: &str) -> bool {
        let (start, inside) = (format!("{name}/"), format!("/{name}/"));
        let fits = |f: &Known| f.path.starts_with(&start) || f.path.contains(&inside);
        self.files.iter().any(fits) || !self.ending_in(name).is_empty()
    }

    /// Whether a word of the code is this one.
    pub fn has_word(&self, word: &str) -> bool {
        self.files.iter().any(|f| f.is_code() && f.has_word(word))
    }

    /// Whether the code, or the name of a file, has this in it.
    pub fn says(&self, text: &str) -> bool {
        let says = |f: &Known| f.path.contains(text) || f.is_code() && f.text.contains(text);
        self.files.iter().any(says)
    }

    /// The first of the lines that the file lacks which has most of them, in their order. A file
    /// has all of them: `None`.
    pub fn lines_missed<'a>(&self, lines: &[&'a str]) -> Option<&'a str> {
        let code = self.files.iter().filter(|f| f.is_code());
        let best = code.map(|f| f.missed(lines)).max_by_key(|found| found.0);
        best.and_then(|found| found.1)
    }
}

/// The module that a file is.
fn module(path: &str) -> String {
    let plain = path.trim_end_matches(".rs");
    let (folder, name) = plain.rsplit_once('/').unwrap_or(("", plain));
    if ["mod", "main", "lib"].contains(&name) {
        folder.rsplit('/').next().unwrap_or("").to_string()
    } else {
        name.to_string()
    }
}

/// Collects what types, traits and modules have.
#[derive(Default)]
struct Members {
    /// The modules that the walk is in.
    modules: Vec<String>,
    found: BTreeSet<(String, String)>,
}

impl Members {
    fn add(&mut self, of: &[String], name: &syn::Ident) {
        let all = of.iter().map(|of| (of.clone(), name.to_string()));
        self.found.extend(all);
    }

    fn here(&mut self, name: &syn::Ident) {
        if let Some(module) = self.modules.last().cloned() {
            self.add(&[module], name);
        }
    }

    /// The names that an import brings into the module.
    fn import(&mut self, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.import(&path.tree),
            syn::UseTree::Name(name) => self.here(&name.ident),
            syn::UseTree::Rename(name) => self.here(&name.rename),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.import(item)),
            syn::UseTree::Glob(_) => (),
        }
    }
}

/// The last name of a path.
fn last(path: &syn::Path) -> Option<String> {
    path.segments.last().map(|s| s.ident.to_string())
}

/// Functions that note the name of an item for the module.
macro_rules! items {
    ($($visit:ident: $ty:ident, $($name:ident).+;)+) => {
        $(fn $visit(&mut self, item: &'a syn::$ty) {
            self.here(&item.$($name).+);
            visit::$visit(self, item);
        })+
    };
}

impl<'a> Visit<'a> for Members {
    items! {
        visit_item_fn: ItemFn, sig.ident;
        visit_item_const: ItemConst, ident;
        visit_item_static: ItemStatic, ident;
        visit_item_type: ItemType, ident;
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.here(&item.ident);
        for name in item.fields.iter().filter_map(|field| field.ident.as_ref()) {
            self.add(&[item.ident.to_string()], name);
        }
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        self.here(&item.ident);
        for variant in &item.variants {
            self.add(&[item.ident.to_string()], &variant.ident);
        }
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        self.here(&item.ident);
        for member in &item.items {
            let name = match member {
                syn::TraitItem::Fn(f) => &f.sig.ident,
                syn::TraitItem::Const(c) => &c.ident,
                syn::TraitItem::Type(t) => &t.ident,
                _ => continue,
            };
            self.add(&[item.ident.to_string()], name);
        }
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        let of_type = match &*item.self_ty {
            syn::Type::Path(path) => last(&path.path),
            _ => None,
        };
        let of_trait = item.trait_.as_ref().and_then(|t| last(&t.1));
        let of: Vec<String> = of_type.into_iter().chain(of_trait).collect();
        for member in &item.items {
            let name = match member {
                syn::ImplItem::Fn(f) => &f.sig.ident,
                syn::ImplItem::Const(c) => &c.ident,
                syn::ImplItem::Type(t) => &t.ident,
                _ => continue,
            };
            self.add(&of, name);
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.here(&item.ident);
        self.modules.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.modules.pop();
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if !matches!(item.vis, syn::Visibility::Inherited) {
            self.import(&item.tree);
        }
    }
}
