// SPDX-License-Identifier: GPL-2.0

//! `disk` knows nobody, `vfs` knows nothing of ext4, events are told in terms of `vfs`, `fs` stands
//! on all of them, and a sample on `vfs` alone; `unsafe` is in `vfs` only.

use crate::{none, source};
use proc_macro2::{TokenStream, TokenTree};

/// A layer, and what it must not name.
const BELOW: &[(&str, &[&str])] = &[
    ("rust/disk", &["fs", "vfs", "trace", "kernel"]),
    ("rust/vfs", &["fs", "disk", "trace"]),
    ("rust/trace.rs", &["fs", "disk"]),
    ("samples", &["fs", "disk", "trace"]),
];

/// Calls `seen` with all idents that follow `crate::`, also those of a list in braces and in
/// macros, and the line.
fn from_crate(tokens: TokenStream, seen: &mut impl FnMut(&str, usize)) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (i, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            from_crate(group.stream(), seen);
        }
        let TokenTree::Ident(ident) = tree else {
            continue;
        };
        let after = trees.get(i + 3);
        if ident == "crate" {
            match after {
                Some(TokenTree::Ident(next)) => seen(&next.to_string(), next.span().start().line),
                Some(TokenTree::Group(list)) => firsts(list.stream(), seen),
                _ => (),
            }
        }
    }
}

/// The first ident of each part of a list of imports.
fn firsts(list: TokenStream, seen: &mut impl FnMut(&str, usize)) {
    let mut first = true;
    for tree in list {
        match tree {
            TokenTree::Ident(ident) if first => {
                seen(&ident.to_string(), ident.span().start().line);
                first = false;
            }
            TokenTree::Punct(p) if p.as_char() == ',' => first = true,
            _ => (),
        }
    }
}

fn upwards(file: &source::File, below: &[&str], wrong: &mut Vec<String>) {
    let tokens: TokenStream = file.text.parse().unwrap();
    from_crate(tokens, &mut |name, line| {
        if below.contains(&name) {
            wrong.push(format!("{}:{line}: uses crate::{name}", file.path));
        }
    });
}

#[test]
fn nobody_looks_up() {
    let mut wrong = Vec::new();
    for (layer, below) in BELOW {
        let files = source::module();
        let files = files.iter().filter(|file| file.path.starts_with(layer));
        let mut files = files.peekable();
        assert!(files.peek().is_some(), "{layer} is gone");
        for file in files {
            upwards(file, below, &mut wrong);
            if *layer == "rust/disk" && file.text.contains("use kernel") {
                wrong.push(format!("{}: uses the kernel", file.path));
            }
        }
    }
    none(&wrong);
}

/// The lines on which the word `unsafe` is code.
fn unsafe_lines(tokens: TokenStream, lines: &mut Vec<usize>) {
    for tree in tokens {
        match tree {
            TokenTree::Group(group) => unsafe_lines(group.stream(), lines),
            TokenTree::Ident(ident) if ident == "unsafe" => lines.push(ident.span().start().line),
            _ => (),
        }
    }
}

#[test]
fn unsafe_is_in_vfs_only() {
    let mut wrong = Vec::new();
    for file in source::module() {
        if file.path.starts_with("rust/vfs") {
            continue;
        }
        let mut lines = Vec::new();
        unsafe_lines(file.text.parse().unwrap(), &mut lines);
        wrong.extend(lines.iter().map(|n| format!("{}:{n}: unsafe", file.path)));
    }
    // The format cannot say so: what zerocopy derives for it has unsafe code.
    let forbids = |file: &source::File| file.text.contains("#![forbid(unsafe_code)]");
    if !source::files(&["rust/fs"], &["mod.rs"]).iter().any(forbids) {
        wrong.push("rust/fs: does not forbid unsafe code".into());
    }
    none(&wrong);
}

#[test]
fn the_search_for_layers_finds() {
    let file = |text: &str| source::File {
        path: "x".into(),
        text: text.into(),
    };
    let found = |text: &str| {
        let mut wrong = Vec::new();
        upwards(&file(text), &["fs", "disk"], &mut wrong);
        wrong.len()
    };
    assert_eq!(found("use crate::fs::Rext4;"), 1);
    assert_eq!(found("use crate::{vfs::{fs, Inode}, disk::{self}, fs};"), 2);
    assert_eq!(found("fn f() { m!(crate::disk::get(1)); }"), 1);
    assert_eq!(found("// use crate::fs\nuse crate::vfs::fs_context;"), 0);
    let mut lines = Vec::new();
    let text = "// unsafe\nfn f() { m!(unsafe { g() }) }\nconst S: &str = \"unsafe\";";
    unsafe_lines(text.parse().unwrap(), &mut lines);
    assert_eq!(lines, [2]);
}
