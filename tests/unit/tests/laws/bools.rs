// SPDX-License-Identifier: GPL-2.0

//! A `true` among the arguments of a call says nothing to who reads it: what a function offers to
//! others takes a choice of two as an enum, or is two functions.

use crate::{none, source};
use syn::visit::{self, Visit};

/// A function and its parameter for which a `bool` is right: it is the kernel's own, handed on, or
/// the answer to a question that the caller has just asked. No call has a literal there.
const HANDED_ON: &[(&str, &str)] = &[
    ("sync", "wait"),
    ("seek", "hole"),
    ("yield_to", "nowait"),
    ("complete_io", "unwritten"),
    ("check_rw_mount", "device_read_only"),
    ("change", "promised"),
    ("encode", "has_extra"),
    ("new", "on"),
];

/// Functions that others can call, with each parameter that is a plain `bool`.
#[derive(Default)]
struct Bools(Vec<(String, String, usize)>);

impl Bools {
    fn add(&mut self, sig: &syn::Signature) {
        let name = sig.ident.to_string();
        // What is set is the value itself.
        if name == "set" || name.starts_with("set_") {
            return;
        }
        for input in &sig.inputs {
            let syn::FnArg::Typed(arg) = input else {
                continue;
            };
            let (syn::Pat::Ident(pat), syn::Type::Path(ty)) = (&*arg.pat, &*arg.ty) else {
                continue;
            };
            if ty.path.is_ident("bool") {
                let line = pat.ident.span().start().line;
                self.0.push((name.clone(), pat.ident.to_string(), line));
            }
        }
    }
}

fn is_public(vis: &syn::Visibility) -> bool {
    !matches!(vis, syn::Visibility::Inherited)
}

impl<'a> Visit<'a> for Bools {
    fn visit_item_fn(&mut self, f: &'a syn::ItemFn) {
        if is_public(&f.vis) {
            self.add(&f.sig);
        }
    }

    fn visit_impl_item_fn(&mut self, f: &'a syn::ImplItemFn) {
        if is_public(&f.vis) {
            self.add(&f.sig);
        }
    }

    fn visit_item_trait(&mut self, t: &'a syn::ItemTrait) {
        if is_public(&t.vis) {
            visit::visit_item_trait(self, t);
        }
    }

    fn visit_trait_item_fn(&mut self, f: &'a syn::TraitItemFn) {
        self.add(&f.sig);
    }
}

fn bools(file: &source::File) -> Vec<(String, String, usize)> {
    let mut bools = Bools::default();
    bools.visit_file(&file.parsed());
    bools.0
}

#[test]
fn choices_of_two_have_names() {
    let mut wrong = Vec::new();
    let mut known: Vec<_> = HANDED_ON.to_vec();
    for file in source::files(&["rust/fs", "rust/disk"], &[".rs"]) {
        for (name, parameter, line) in bools(&file) {
            let own = (name.as_str(), parameter.as_str());
            known.retain(|one| *one != own);
            if !HANDED_ON.contains(&own) {
                wrong.push(format!("{}:{line}: {name}({parameter}: bool)", file.path));
            }
        }
    }
    wrong.extend(known.iter().map(|one| format!("{one:?} is there no more")));
    none(&wrong);
}

#[test]
fn the_search_for_bools_finds() {
    let text = "pub fn a(x: bool) {} fn b(x: bool) {} pub fn set_c(on: bool) {}
        impl T { pub(crate) fn d(&self, y: u8, z: bool) {} fn e(v: bool) {} }
        pub trait U { fn f(w: bool); } trait V { fn g(w: bool); }";
    let path = "x".to_string();
    let text = text.to_string();
    let found = bools(&source::File { path, text });
    let names: Vec<_> = found.iter().map(|f| format!("{}.{}", f.0, f.1)).collect();
    assert_eq!(names, ["a.x", "d.z", "f.w"]);
}
