// SPDX-License-Identifier: GPL-2.0

//! What the documentation names exists.

use crate::{none, source};

/// Folders of the checkout: words that begin so are paths.
const TOPS: &[&str] = &["rust/", "tests/", "scripts/", "Documentation/", "samples/"];

/// The paths in a line: what begins with a folder of the checkout, as far as it is a path.
fn paths(line: &str) -> Vec<&str> {
    let split = |c: char| !(c.is_alphanumeric() || "/._-*{}".contains(c));
    let is_path = |w: &&str| TOPS.iter().any(|top| w.starts_with(top));
    let trimmed = |w: &'_ str| -> usize { w.trim_end_matches(['.', '-']).len() };
    let words = line.split(split).filter(is_path);
    words.map(|w| &w[..trimmed(w)]).collect()
}

/// What lies in the kernel's tree, not in this one.
const KERNELS: &[&str] = &[
    "rust/kernel",
    "rust/helpers",
    "rust/bindgen",
    "rust/macros",
    "scripts/decode_stacktrace",
    "Documentation/core-api",
    "Documentation/fault-injection",
    "Documentation/filesystems",
];

/// Whether it is there; names with a star or braces stand for several, and so does a part in
/// capitals.
fn exists(path: &str) -> bool {
    let plain = path.replace("OPTIONS", "*");
    let plain = plain.split(['*', '{']).next().unwrap_or("");
    let root = source::root();
    if plain.len() < path.len() {
        let dir = plain.rsplit_once('/').map_or("", |p| p.0);
        return root.join(dir).is_dir();
    }
    root.join(path).exists()
}

#[test]
fn paths_in_the_documentation_exist() {
    let mut wrong = Vec::new();
    let mut files = source::files(&["Documentation", "tests", "rust"], &[".md", ".rs"]);
    for top in ["README.md", "DEVELOPERS.md"] {
        if let Ok(text) = std::fs::read_to_string(source::root().join(top)) {
            let path = top.to_string();
            files.push(source::File { path, text });
        }
    }
    for file in &files {
        // Patches and reports of the kernel name the kernel's own files.
        if file.path.contains("/upstream/") || file.path.contains("/laws/") {
            continue;
        }
        for (n, line) in file.lines() {
            let is_text = file.path.ends_with(".md") || line.trim_start().starts_with("//");
            let ours = |p: &&&str| is_text && !KERNELS.iter().any(|k| p.starts_with(k));
            let gone = |p: &&&str| !exists(p);
            for path in paths(line).iter().filter(ours).filter(gone) {
                wrong.push(format!("{}:{n}: {path}", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_search_for_paths_finds() {
    let line = "see `rust/fs/io.rs`, [x](Documentation/races/), and scripts/vm. x/rust/fs";
    assert_eq!(
        paths(line),
        ["rust/fs/io.rs", "Documentation/races/", "scripts/vm"]
    );
    assert!(exists("rust/fs") && exists("rust/fs/*.rs") && !exists("rust/nothing.rs"));
}
