// SPDX-License-Identifier: GPL-2.0

//! Faults are put back to see them found: each has a patch, which must still have its place.

use crate::{none, source::root};
use std::fs::{read_dir, File};
use std::path::Path;
use std::process::Command;

/// What `patch` has against it, if anything.
fn refusal(patch: &Path) -> Option<String> {
    let mut command = Command::new("patch");
    command.args(["--dry-run", "-s", "-p1", "-d"]).arg(root());
    let done = command.stdin(File::open(patch).unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    (!done.status.success()).then(|| format!("{}: {said}", patch.display()))
}

#[test]
fn faults_apply() {
    let mut wrong = Vec::new();
    for machine in ["model", "crash"] {
        let folder = root().join("tests").join(machine).join("faults");
        let patches = read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let patches: Vec<_> = patches.collect();
        assert!(patches.len() >= 3, "{machine}: {patches:?}");
        wrong.extend(patches.iter().filter_map(|patch| refusal(patch)));
    }
    none(&wrong);
}
