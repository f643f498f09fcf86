// SPDX-License-Identifier: GPL-2.0

//! A reader knows his room: files, functions and lines of a size that fits the eye. Where the tree
//! is not there yet, the place is named with what it has; such a number only ever gets smaller.

use crate::{none, source};
use std::collections::BTreeMap;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 60;
const PARAMETERS: usize = 4;
/// Of a hundred functions of a folder so many keep to [`PARAMETERS`].
const PARAMETERS_PERCENT: usize = 95;
const COLUMNS: usize = 100;

/// A function: its name, where it begins, its lines, its parameters with `self`.
struct Function {
    name: String,
    line: usize,
    lines: usize,
    parameters: usize,
}

/// Collects functions, and `match`es whose arms are `true` and `false`.
#[derive(Default)]
struct Shapes {
    functions: Vec<Function>,
    bool_matches: Vec<usize>,
}

impl Shapes {
    fn add(&mut self, sig: &syn::Signature, whole: proc_macro2::Span) {
        let (from, to) = (sig.span().start().line, whole.end().line);
        self.functions.push(Function {
            name: sig.ident.to_string(),
            line: from,
            lines: to - from + 1,
            parameters: sig.inputs.len(),
        });
    }
}

impl<'a> Visit<'a> for Shapes {
    fn visit_item_fn(&mut self, f: &'a syn::ItemFn) {
        self.add(&f.sig, f.span());
        visit::visit_item_fn(self, f);
    }

    fn visit_impl_item_fn(&mut self, f: &'a syn::ImplItemFn) {
        self.add(&f.sig, f.span());
        visit::visit_impl_item_fn(self, f);
    }

    fn visit_trait_item_fn(&mut self, f: &'a syn::TraitItemFn) {
        self.add(&f.sig, f.span());
        visit::visit_trait_item_fn(self, f);
    }

    fn visit_expr_match(&mut self, m: &'a syn::ExprMatch) {
        let is_bool = |arm: &syn::Arm| match &arm.pat {
            syn::Pat::Lit(pat) => matches!(pat.lit, syn::Lit::Bool(_)),
            _ => false,
        };
        if m.arms.len() == 2 && m.arms.iter().all(is_bool) {
            self.bool_matches.push(m.span().start().line);
        }
        visit::visit_expr_match(self, m);
    }
}

fn shapes(file: &source::File) -> Shapes {
    let mut shapes = Shapes::default();
    shapes.visit_file(&file.parsed());
    shapes
}

#[test]
fn files_are_short() {
    let long = |file: &source::File| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES).then(|| format!("{}: {lines} lines", file.path))
    };
    let files = source::files(
        &["rust", "samples", "tests", "scripts"],
        &[".rs", ".py", ".c", ".h"],
    );
    none(&files.iter().filter_map(long).collect::<Vec<_>>());
}

/// The functions of these files that are longer than they should be.
fn long_functions(files: &[source::File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let functions = shapes(file).functions;
        for f in functions.iter().filter(|f| f.lines > FUNCTION_LINES) {
            wrong.push(format!(
                "{}:{}: {} has {} lines",
                file.path, f.line, f.name, f.lines
            ));
        }
    }
    wrong
}

#[test]
fn functions_are_short() {
    none(&long_functions(&source::module()));
}

#[test]
fn tests_are_short() {
    none(&long_functions(&source::files(&["tests"], &[".rs"])));
}

#[test]
fn parameters_are_few() {
    let mut folders: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for file in source::module() {
        let folder = file.path.rsplit_once('/').unwrap().0.to_string();
        let (all, many) = folders.entry(folder).or_default();
        for f in shapes(&file).functions {
            *all += 1;
            if f.parameters > PARAMETERS {
                let Function {
                    name,
                    line,
                    parameters,
                    ..
                } = f;
                many.push(format!("  {}:{line}: {name} takes {parameters}", file.path));
            }
        }
    }
    let mut wrong = Vec::new();
    for (folder, (all, many)) in folders {
        let most = all * (100 - PARAMETERS_PERCENT) / 100;
        if many.len() > most.max(1) {
            wrong.push(format!("{folder}: {} of {all}", many.len()));
            wrong.extend(many);
        }
    }
    none(&wrong);
}

#[test]
fn a_choice_of_two_is_an_if() {
    let mut wrong = Vec::new();
    for file in source::module() {
        let lines = shapes(&file).bool_matches;
        wrong.extend(
            lines
                .iter()
                .map(|n| format!("{}:{n}: match on a bool", file.path)),
        );
    }
    none(&wrong);
}

#[test]
fn lines_are_short() {
    let mut wrong = Vec::new();
    for file in source::files(
        &["rust", "samples", "scripts", "tests"],
        &[".rs", ".py", ".c", ".h"],
    ) {
        for (n, line) in file.lines() {
            // Tables, texts that a message must have in one piece, and events as the kernel has
            // them.
            let is_event = line.contains(": rext4_");
            let one_piece = line.contains("//! |") || line.contains('"') || is_event;
            if line.chars().count() > COLUMNS && !one_piece {
                wrong.push(format!(
                    "{}:{n}: {} columns",
                    file.path,
                    line.chars().count()
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_search_for_shapes_finds() {
    let body = "x();\n".repeat(70);
    let text = format!(
        "impl T {{ fn long(&self, a: u8, b: u8, c: u8, d: u8) {{ {body} }} }}
         fn f() -> u8 {{ match a {{ true => 1, false => 2 }} }}"
    );
    let path = "x".to_string();
    let file = source::File { path, text };
    let shapes = shapes(&file);
    assert!(shapes.functions[0].lines > FUNCTION_LINES);
    assert_eq!(shapes.functions[0].parameters, 5);
    assert_eq!(shapes.bool_matches.len(), 1);
    assert_eq!(long_functions(&[file]).len(), 1);
}
