// SPDX-License-Identifier: GPL-2.0

//! What the documentation names exists.

use crate::{none, source};

/// Folders of the checkout: words that begin so are paths.
const TOPS: &[&str] = &["rust/", "tests/", "scripts/", "Documentation/", "samples/"];

/// The layers. Documents that are about the code say paths from there.
const LAYERS: &[&str] = &["fs/", "vfs/", "disk/"];

/// The paths in a line: what begins with a folder of the checkout, as far as it is a path, and what
/// begins with a layer and can only be of ours: the kernel has an `fs/`, too, but no Rust in it.
fn paths(line: &str) -> Vec<String> {
    let split = |c: char| !(c.is_alphanumeric() || "/._-*{}".contains(c));
    let begins = |w: &str, with: &[&str]| with.iter().any(|top| w.starts_with(top));
    let words = line.split(split).map(|w| w.trim_end_matches(['.', '-']));
    let whole = |w: &str| match w {
        _ if begins(w, TOPS) => Some(w.to_string()),
        _ if begins(w, LAYERS) && w.ends_with(".rs") => Some(format!("rust/{w}")),
        _ => None,
    };
    words.filter_map(whole).collect()
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
            let ours = |p: &&String| is_text && !KERNELS.iter().any(|k| p.starts_with(k));
            let gone = |p: &&String| !exists(p);
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
    let line = "`fs/io/gone.rs` as fs/iomap/direct-io.c, rust/vfs/a.rs, xfs/io.rs";
    assert_eq!(paths(line), ["rust/fs/io/gone.rs", "rust/vfs/a.rs"]);
    assert!(exists("rust/fs") && exists("rust/fs/*.rs") && !exists("rust/nothing.rs"));
}
