// SPDX-License-Identifier: GPL-2.0

//! A name has one meaning: a type stands once, and so does a function of `fs` outside of a type.
//! Who looks for one finds it.
//!
//! Nothing is public that nobody names. The compiler cannot tell: a name that only tests use, or
//! that is public further than it is needed, is no dead code to it.
//!
//! Another thing of the same name does not help: where a name is defined it is not used, a function
//! is called by the module that it is in or by one that has that one inside, or is imported from
//! there, and a method is called on something. Which type a method is of is not looked at.

use crate::{none, source};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

/// Says again what the lab has: only one of the two is built.
const ABSENT: &str = "rust/fs/lab/absent.rs";

/// Named by what bindgen makes of the events.
const GENERATED: &[&str] = &["bool_", "u32_", "u64_"];

/// The public names that a file defines: by themselves, and in implementations. The modules that
/// stand in the file.
#[derive(Default)]
struct Public {
    items: BTreeSet<String>,
    methods: BTreeSet<String>,
    modules: BTreeSet<String>,
}

/// What is public. Dead code that is allowed has its reason beside it.
fn is_public(vis: &syn::Visibility, attrs: &[syn::Attribute]) -> bool {
    let excused = attrs.iter().any(|a| a.path().is_ident("allow"));
    !matches!(vis, syn::Visibility::Inherited) && !excused
}

/// Functions that collect an item of each kind.
macro_rules! collect {
    ($($visit:ident: $ty:ident, $($name:ident).+ => $into:ident;)+) => {
        $(fn $visit(&mut self, item: &'a syn::$ty) {
            if is_public(&item.vis, &item.attrs) {
                self.$into.insert(item.$($name).+.to_string());
            }
            visit::$visit(self, item);
        })+
    };
}

impl<'a> Visit<'a> for Public {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.modules.insert(item.ident.to_string());
        visit::visit_item_mod(self, item);
    }

    collect! {
        visit_item_fn: ItemFn, sig.ident => items;
        visit_item_struct: ItemStruct, ident => items;
        visit_item_enum: ItemEnum, ident => items;
        visit_item_trait: ItemTrait, ident => items;
        visit_item_type: ItemType, ident => items;
        visit_item_const: ItemConst, ident => items;
        visit_item_static: ItemStatic, ident => items;
        visit_impl_item_fn: ImplItemFn, sig.ident => methods;
        visit_impl_item_const: ImplItemConst, ident => methods;
    }
}

/// The names that a text uses.
#[derive(Default)]
struct Uses {
    /// Alone.
    bare: BTreeSet<String>,
    /// Of what stands before it: `a` of `x.a`, and in `x::a` also which.
    dotted: BTreeSet<String>,
    paths: BTreeSet<(String, String)>,
    /// What is imported for others.
    exports: BTreeSet<(String, String)>,
    /// Modules with other names: the other name first.
    aliases: BTreeSet<(String, String)>,
}

/// What the next name is.
#[derive(Clone)]
enum Next {
    Bare,
    Defined,
    Dotted,
    Of(String),
    Alias(String),
}

const DEFINE: &[&str] = &[
    "const", "enum", "fn", "mod", "static", "struct", "trait", "type", "union",
];

impl Uses {
    fn of(file: &source::File) -> Self {
        let mut uses = Self::default();
        uses.scan(file.text.parse().unwrap(), &Next::Bare, false);
        // One of the modules outside, or, of one in the file, the file.
        let own = uses
            .paths
            .iter()
            .filter(|path| path.0 == "super" || path.0 == "self");
        let names = own.flat_map(|(_, name)| {
            let by = |of: &str| (of.to_string(), name.clone());
            modules(&file.path).into_iter().map(by).collect::<Vec<_>>()
        });
        uses.paths.extend(names.collect::<Vec<_>>());
        // Whoever imports for others may use it as well.
        let own = uses.exports.iter().filter(|e| uses.bare.contains(&e.1));
        uses.paths.extend(own.cloned().collect::<Vec<_>>());
        // Of all that is imported the names are not said.
        let all = uses.paths.iter().filter(|path| path.1 == "*");
        let from = |(of, _): &(String, String)| {
            let name = |name: &String| (of.clone(), name.clone());
            uses.bare.iter().map(name).collect::<Vec<_>>()
        };
        uses.paths.extend(all.flat_map(from).collect::<Vec<_>>());
        uses
    }

    /// `first`: what each first name in a list is. `exported`: it is in a `pub use`.
    fn scan(&mut self, tokens: TokenStream, first: &Next, exported: bool) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let punct = |i: usize, c: char| match trees.get(i) {
            Some(TokenTree::Punct(p)) => p.as_char() == c,
            _ => false,
        };
        let ident = |i: usize| match trees.get(i) {
            Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
            _ => None,
        };
        let (mut next, mut last, mut exported) = (first.clone(), String::new(), exported);
        for (i, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Ident(name) => {
                    self.note(&name.to_string(), &next, exported);
                    let word = name.to_string();
                    let pointer = i > 0 && punct(i - 1, '*');
                    next = match word.as_str() {
                        word if DEFINE.contains(&word) && !pointer => Next::Defined,
                        "as" => Next::Alias(last.clone()),
                        _ => Next::Bare,
                    };
                    if word == "use" {
                        let before = [1, 2].map(|back| i.checked_sub(back).and_then(ident));
                        exported = before.iter().flatten().any(|word| word == "pub");
                    }
                    if word != "self" || last.is_empty() {
                        last = word;
                    }
                }
                TokenTree::Group(group) => {
                    let of = match &next {
                        Next::Of(_) => next.clone(),
                        _ => Next::Bare,
                    };
                    self.scan(group.stream(), &of, exported);
                    next = Next::Bare;
                }
                TokenTree::Punct(p) => {
                    if let ('*', Next::Of(of)) = (p.as_char(), &next) {
                        self.note("*", &Next::Of(of.clone()), exported);
                    }
                    next = match p.as_char() {
                        ':' if i > 0 && punct(i - 1, ':') => Next::Of(last.clone()),
                        '.' if !punct(i + 1, '.') && (i == 0 || !punct(i - 1, '.')) => Next::Dotted,
                        ',' => first.clone(),
                        _ => Next::Bare,
                    };
                    exported &= p.as_char() != ';';
                }
                TokenTree::Literal(_) => next = Next::Bare,
            }
        }
    }

    fn note(&mut self, name: &str, next: &Next, exported: bool) {
        let name = name.to_string();
        match next {
            Next::Bare => drop(self.bare.insert(name)),
            Next::Defined => (),
            Next::Alias(of) => drop(self.aliases.insert((name, of.clone()))),
            Next::Dotted => drop(self.dotted.insert(name)),
            Next::Of(of) if exported => drop(self.exports.insert((of.clone(), name))),
            Next::Of(of) => {
                self.dotted.insert(name.clone());
                self.paths.insert((of.clone(), name));
            }
        }
    }
}

/// The modules that a file is and is in.
fn modules(path: &str) -> BTreeSet<&str> {
    let root = (path == "rust/rext4.rs").then_some("crate");
    let parts = path.trim_end_matches(".rs").split('/');
    parts.chain(root).collect()
}

/// The public names of these files that nobody uses.
fn unused(files: &[source::File]) -> Vec<String> {
    let uses: Vec<Uses> = files.iter().map(Uses::of).collect();
    let mut paths: BTreeSet<_> = uses.iter().flat_map(|uses| uses.paths.clone()).collect();
    for (alias, of) in uses.iter().flat_map(|uses| &uses.aliases) {
        let by_alias = paths.iter().filter(|path| path.0 == *alias);
        let by_name = by_alias.map(|path| (of.clone(), path.1.clone()));
        paths.extend(by_name.collect::<Vec<_>>());
    }
    let dotted: BTreeSet<_> = uses.iter().flat_map(|uses| &uses.dotted).collect();
    let mut wrong = Vec::new();
    for (file, here) in files.iter().zip(&uses) {
        let mut public = Public::default();
        public.visit_file(&file.parsed());
        let mut modules = modules(&file.path);
        modules.extend(public.modules.iter().map(String::as_str));
        let is_used = |name: &String| {
            let by = |of: &&str| paths.contains(&(of.to_string(), name.clone()));
            let exports = |uses: &Uses| {
                let mut exports = uses.exports.iter();
                exports.any(|e| (e.1 == *name || e.1 == "*") && modules.contains(e.0.as_str()))
            };
            let by_exports = |(file, uses): (&source::File, &Uses)| {
                exports(uses) && self::modules(&file.path).iter().any(by)
            };
            let mut others = files.iter().zip(&uses);
            here.bare.contains(name) || modules.iter().any(by) || others.any(by_exports)
        };
        let items = public.items.iter().filter(|name| !is_used(name));
        let methods = public.methods.iter().filter(|name| !dotted.contains(name));
        wrong.extend(
            items
                .chain(methods)
                .map(|name| format!("{}: {name}", file.path)),
        );
    }
    wrong
}

/// The type that an item defines. A shorter way to write one of the same name is none.
fn type_name(item: &syn::Item) -> Option<&syn::Ident> {
    match item {
        syn::Item::Enum(item) => Some(&item.ident),
        syn::Item::Struct(item) => Some(&item.ident),
        syn::Item::Trait(item) => Some(&item.ident),
        syn::Item::Union(item) => Some(&item.ident),
        syn::Item::Type(item) => match &*item.ty {
            syn::Type::Path(of) if of.path.segments.last()?.ident == item.ident => None,
            _ => Some(&item.ident),
        },
        _ => None,
    }
}

/// The function that an item is.
fn function_name(item: &syn::Item) -> Option<&syn::Ident> {
    match item {
        syn::Item::Fn(item) => Some(&item.sig.ident),
        _ => None,
    }
}

/// The names that stand more than once, with where they do.
fn repeated(
    files: &[source::File],
    name: impl Fn(&syn::Item) -> Option<&syn::Ident>,
) -> Vec<String> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for file in files {
        let parsed = file.parsed();
        for name in parsed.items.iter().filter_map(&name) {
            let place = format!("{}:{}", file.path, name.span().start().line);
            places.entry(name.to_string()).or_default().push(place);
        }
    }
    places.retain(|_, places| places.len() > 1);
    let told = |(name, places): (String, Vec<String>)| format!("{name}: {}", places.join(", "));
    places.into_iter().map(told).collect()
}

#[test]
fn a_type_stands_once() {
    none(&repeated(&source::files(&["rust"], &[".rs"]), type_name));
}

#[test]
fn a_function_of_fs_stands_once() {
    let mut files = source::files(&["rust/fs"], &[".rs"]);
    let all = files.len();
    files.retain(|file| file.path != ABSENT);
    assert!(files.len() < all, "{ABSENT} is there no more");
    none(&repeated(&files, function_name));
}

#[test]
fn the_search_for_repeated_names_finds() {
    let file = |(path, text): (&str, &str)| source::File {
        path: path.to_string(),
        text: text.to_string(),
    };
    let a = "struct A; enum B {} trait C {} fn f() {} impl A { fn g() {} } type D = u8;";
    let b = "type A = a::A<u8>; struct B; type C = u8; fn f() {} fn g() {} impl B { fn f() {} }";
    let files = [("a", a), ("b", b)].map(file);
    assert_eq!(repeated(&files, type_name), ["B: a:1, b:1", "C: a:1, b:1"]);
    assert_eq!(repeated(&files, function_name), ["f: a:1, b:1"]);
}

#[test]
fn what_is_public_is_used() {
    let generated = |line: &String| {
        let name = line.rsplit(' ').next();
        name.is_some_and(|name| GENERATED.contains(&name))
    };
    let mut wrong = unused(&source::module());
    wrong.retain(|line| !generated(line));
    none(&wrong);
}

#[test]
fn the_search_for_names_finds() {
    let file = |(path, text): &(&str, &str)| source::File {
        path: format!("rust/{path}"),
        text: text.to_string(),
    };
    let unused = |files: &[(&str, &str)]| unused(&files.iter().map(file).collect::<Vec<_>>());
    let a = "pub fn f() {} pub struct S; impl T { pub(crate) fn m(&self) {} fn n() {} } fn g() {}";
    let all = ["rust/a.rs: S", "rust/a.rs: f", "rust/a.rs: m"];
    assert_eq!(unused(&[("a.rs", a)]), all.map(String::from));
    // Comments and texts, others of these names, who only passes them on.
    let b = "// f S m\nfn f() { c::f(); f(); \"f\"; m(1); } use d::{S, f}; struct S { m: u8 }";
    assert_eq!(unused(&[("a.rs", a), ("b.rs", b)]), all.map(String::from));
    let b = "pub(crate) use a::{f, S}; const m: *const u8 = 0;";
    assert_eq!(unused(&[("a.rs", a), ("b.rs", b)]), all.map(String::from));
    // By a path, an import, on a value; by way of the module outside.
    for b in [
        "use super::a::{self, S}; fn h(x: S) { a::f(); x.m(); }",
        "pub(crate) use a::{f, S}; fn h(x: S) { f(); S::m(); }",
    ] {
        assert!(unused(&[("a.rs", a), ("b.rs", b)]).is_empty(), "{b}");
    }
    let b = "use super::{a as x, a::*}; fn h(s: S) { x::f(); s.m() }";
    assert!(unused(&[("a.rs", a), ("b.rs", b)]).is_empty());
    let (inner, outer) = ("pub fn f() {}", "pub use b::f;");
    let user = ("c.rs", "fn h() { a::f(); }");
    assert!(unused(&[("a/b.rs", inner), ("a.rs", outer), user]).is_empty());
    assert_eq!(unused(&[("a/b.rs", inner), ("a.rs", outer)]).len(), 1);
}
