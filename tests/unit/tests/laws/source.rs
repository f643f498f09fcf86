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

/// The files below these folders whose names end in one of these.
pub fn files(dirs: &[&str], ends: &[&str]) -> Vec<File> {
    let root = root();
    let mut paths = Vec::new();
    for dir in dirs {
        collect(&root.join(dir), &mut paths);
    }
    paths.sort();
    let wanted = |path: &PathBuf| ends.iter().any(|end| path.to_string_lossy().ends_with(end));
    let read = |path: PathBuf| File {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(&root).unwrap().display().to_string(),
    };
    paths.into_iter().filter(wanted).map(read).collect()
}

/// The Rust files that become modules: rext4 and the samples.
pub fn module() -> Vec<File> {
    let found = files(&["rust", "samples"], &[".rs"]);
    assert!(found.len() > 50, "this is not the module's source");
    found
}
