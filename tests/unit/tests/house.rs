// SPDX-License-Identifier: GPL-2.0

//! What the module's source must not contain. Frames and cycles of calls are looked for in what was
//! built: `scripts/stack`.

use std::fs;
use std::path::{Path, PathBuf};

/// Words and why they are not there.
const FORBIDDEN: &[(&str, &str)] = &[
    (".sort", "recurses on a stack of 16 KiB: use disk::sort"),
    (".unwrap()", "panics the kernel"),
    (".expect(", "panics the kernel, or is read so"),
    (
        "sort_unstable",
        "recurses on a stack of 16 KiB: use disk::sort",
    ),
    (
        "select_nth",
        "recurses on a stack of 16 KiB: use disk::sort",
    ),
];

/// Macros that are not there: each panics the kernel.
const PANICS: &[&str] = &["panic", "todo", "unimplemented", "unreachable"];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            out.push(path);
        }
    }
}

/// The places of `word` in code, comments left out.
fn places(text: &str, word: &str) -> Vec<usize> {
    let code = |line: &str| line.split("//").next().unwrap_or("").contains(word);
    let lines = text.lines().enumerate();
    lines.filter(|(_, l)| code(l)).map(|(n, _)| n + 1).collect()
}

#[test]
fn nothing_forbidden_in_the_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rust");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 50, "this is not the module's source");
    let mut found = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let macros = PANICS.iter().map(|name| format!("{name}!("));
        let macros = macros.map(|word| (word, "panics the kernel"));
        let words = FORBIDDEN.iter().map(|(word, why)| (word.to_string(), *why));
        for (word, why) in words.chain(macros) {
            for line in places(&text, &word) {
                found += &format!("{}:{line}: {word}: {why}\n", file.display());
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn the_search_finds() {
    let text = "// x.sort_unstable()\nx.sort_unstable(); // why\ny.sort();\nx.sort_by_key(f)\nsort(&mut x);";
    assert_eq!(places(text, "sort_unstable"), [2]);
    assert_eq!(places(text, ".sort"), [2, 3, 4]);
}
