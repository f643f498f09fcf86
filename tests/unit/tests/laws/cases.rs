// SPDX-License-Identifier: GPL-2.0

//! A case of the guest says in a line what it shows.

use crate::{none, source};
use std::collections::BTreeSet;
use syn::visit::{self, Visit};

/// The names that an expression speaks of: of a path its last one.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl<'a> Visit<'a> for Names {
    fn visit_expr_path(&mut self, p: &'a syn::ExprPath) {
        self.0
            .extend(p.path.segments.last().map(|s| s.ident.to_string()));
        visit::visit_expr_path(self, p);
    }
}

/// What the table `CASES` of a file names; nothing where there is none.
fn table(file: &syn::File) -> BTreeSet<String> {
    let mut names = Names::default();
    for item in &file.items {
        match item {
            syn::Item::Const(c) if c.ident == "CASES" => names.visit_expr(&c.expr),
            syn::Item::Static(s) if s.ident == "CASES" => names.visit_expr(&s.expr),
            _ => (),
        }
    }
    names.0
}

/// The functions of a file's cases, each with whether it says what it shows.
fn cases(file: &syn::File) -> Vec<(String, bool)> {
    let named = table(file);
    let case = |item: &syn::Item| match item {
        syn::Item::Fn(f) if named.contains(&f.sig.ident.to_string()) => {
            let told = f.attrs.iter().any(|a| a.path().is_ident("doc"));
            Some((f.sig.ident.to_string(), told))
        }
        _ => None,
    };
    file.items.iter().filter_map(case).collect()
}

#[test]
fn cases_say_what_they_show() {
    let (mut wrong, mut all) = (Vec::new(), 0);
    for file in source::files(&["tests/guest/src/cases"], &[".rs"]) {
        for (name, told) in cases(&file.parsed()) {
            all += 1;
            if !told {
                wrong.push(format!("{}: {name} has no doc line", file.path));
            }
        }
    }
    assert!(all > 150, "only {all} cases");
    none(&wrong);
}

#[test]
fn the_search_for_cases_finds() {
    let text = r#"
        pub const CASES: &[Case] = &[
            Case::new("a/b", ALL, bare).quick(),
            Case::new("a/c", ALL, |t| inner(t, 1)),
            Case::new("a/d", ALL, told),
        ];
        fn bare(t: &mut T) -> Res { helper(t) }
        fn inner(t: &mut T, n: u8) -> Res { Ok(()) }
        /// Shows it.
        fn told(t: &mut T) -> Res { Ok(()) }
        fn helper(t: &mut T) -> Res { Ok(()) }
    "#;
    let found = cases(&syn::parse_file(text).unwrap());
    let want = [("bare", false), ("inner", false), ("told", true)];
    assert_eq!(found, want.map(|(name, told)| (name.to_string(), told)));
}
