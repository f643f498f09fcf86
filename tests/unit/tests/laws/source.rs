// SPDX-License-Identifier: GPL-2.0

//! The files of the checkout, and Rust ones parsed.

use std::fs;
use std::path::{Path, PathBuf};

/// The checkout.
pub fn root() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    dir.canonicalize().unwrap()
}

/// One file: where it lies in the checkout, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// The syntax tree. The name is said if the file is no Rust.
    pub fn parsed(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|e| panic!("{}: {e}", self.path))
    }

    /// Lines, counted from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(n, line)| (n + 1, line))
    }
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name == "target" || name == "build" || name.starts_with('.') => (),
            true => collect(&path, out),
            false => out.push(path),
        }
    }
}

/// Where the files below these folders lie.
pub fn paths(dirs: &[&str]) -> Vec<String> {
    let root = root();
    let mut paths = Vec::new();
    for dir in dirs {
        collect(&root.join(dir), &mut paths);
    }
    paths.sort();
    let inside = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    paths.iter().map(inside).collect()
}

fn read(path: String) -> File {
    let text = fs::read_to_string(root().join(&path)).unwrap();
    File { path, text }
}

/// The files below these folders whose names end in one of these.
pub fn files(dirs: &[&str], ends: &[&str]) -> Vec<File> {
    let wanted = |path: &String| ends.iter().any(|end| path.ends_with(end));
    paths(dirs).into_iter().filter(wanted).map(read).collect()
}

/// What is written for people about this tree. Reports and patches of the kernel name the kernel's
/// own files.
pub fn documents() -> Vec<File> {
    let pages = files(&["Documentation"], &[".md"]).into_iter();
    let ours = pages.filter(|page| !page.path.contains("/upstream/"));
    ours.chain([read("README.md".into())]).collect()
}

/// The Rust files that become modules: rext4 and the samples.
pub fn module() -> Vec<File> {
    let found = files(&["rust", "samples"], &[".rs"]);
    assert!(found.len() > 50, "this is not the module's source");
    found
}
