// SPDX-License-Identifier: GPL-2.0

//! Nothing is public that nobody else names. The compiler cannot tell: a name that only tests use,
//! or that is public further than it is needed, is no dead code to it.

use crate::{none, source};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

/// The public names that a file defines.
#[derive(Default)]
struct Public(BTreeSet<String>);

fn is_public(vis: &syn::Visibility) -> bool {
    !matches!(vis, syn::Visibility::Inherited)
}

impl<'a> Visit<'a> for Public {
    fn visit_item_fn(&mut self, f: &'a syn::ItemFn) {
        // Dead code that is allowed has its reason beside it.
        let excused = f.attrs.iter().any(|a| a.path().is_ident("allow"));
        if is_public(&f.vis) && !excused {
            self.0.insert(f.sig.ident.to_string());
        }
    }

    fn visit_impl_item_fn(&mut self, f: &'a syn::ImplItemFn) {
        if is_public(&f.vis) {
            self.0.insert(f.sig.ident.to_string());
        }
    }

    fn visit_item_struct(&mut self, s: &'a syn::ItemStruct) {
        if is_public(&s.vis) {
            self.0.insert(s.ident.to_string());
        }
    }

    fn visit_item_enum(&mut self, e: &'a syn::ItemEnum) {
        if is_public(&e.vis) {
            self.0.insert(e.ident.to_string());
        }
    }

    fn visit_item_const(&mut self, c: &'a syn::ItemConst) {
        if is_public(&c.vis) {
            self.0.insert(c.ident.to_string());
        }
    }

    fn visit_item_impl(&mut self, i: &'a syn::ItemImpl) {
        visit::visit_item_impl(self, i);
    }
}

/// How often each word stands in a text.
fn words(text: &str) -> BTreeMap<&str, usize> {
    let mut count = BTreeMap::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or("");
        for word in code.split(|c: char| !c.is_alphanumeric() && c != '_') {
            *count.entry(word).or_insert(0) += 1;
        }
    }
    count
}

#[test]
fn what_is_public_is_used() {
    let files = source::module();
    let counts: Vec<_> = files.iter().map(|file| words(&file.text)).collect();
    let mut wrong = Vec::new();
    for (i, file) in files.iter().enumerate() {
        let mut public = Public::default();
        public.visit_file(&file.parsed());
        for name in public.0 {
            let elsewhere = |(j, words): (usize, &BTreeMap<&str, usize>)| {
                j != i && words.contains_key(name.as_str())
            };
            // Within its own file a name that is used stands there at least twice.
            let here = counts[i].get(name.as_str()).copied().unwrap_or(0) > 1;
            if !here && !counts.iter().enumerate().any(elsewhere) {
                wrong.push(format!("{}: {name}", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_search_for_names_finds() {
    let text =
        "pub fn a() {} impl T { pub(crate) fn b(&self) {} fn c() {} } fn d() {} pub struct E;";
    let mut public = Public::default();
    public.visit_file(&syn::parse_file(text).unwrap());
    assert_eq!(public.0.into_iter().collect::<Vec<_>>(), ["E", "a", "b"]);
    assert_eq!(words("x(); // y\nx").get("x"), Some(&2));
}
