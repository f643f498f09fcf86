// SPDX-License-Identifier: GPL-2.0
//! A whole tree as a list: to compare two file systems, or a file system with its source.

use crate::harness::Res;
use crate::sys;
use crate::{ensure, fail};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What can be known about one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Zero for directories: how large they are is the file system's affair.
    pub size: u64,
    pub nlink: u64,
    pub rdev: u64,
    pub mtime: (i64, i64),
    /// Hash of the content, or the target of a symlink.
    pub sum: String,
}

pub type Tree = BTreeMap<String, Node>;

/// SHA-256 of a file.
pub fn hash(path: &str) -> Res<String> {
    let f = sys::rdonly(path)?;
    let mut h = Sha256::new();
    let mut b = vec![0; 1 << 18];
    let mut at = 0;
    loop {
        let n = f.pread_once(&mut b, at)?;
        if n == 0 {
            break;
        }
        h.update(&b[..n]);
        at += n as u64;
    }
    Ok(h.finalize().iter().map(|x| format!("{x:02x}")).collect())
}

pub fn node(path: &str) -> Res<Node> {
    let s = sys::lstat(path)?;
    let kind = s.st_mode & libc::S_IFMT;
    let sum = match kind {
        libc::S_IFREG => hash(path)?,
        libc::S_IFLNK => String::from_utf8_lossy(&sys::readlink(path)?).into_owned(),
        _ => String::new(),
    };
    Ok(Node {
        mode: s.st_mode,
        uid: s.st_uid,
        gid: s.st_gid,
        size: if kind == libc::S_IFDIR {
            0
        } else {
            s.st_size as u64
        },
        nlink: s.st_nlink,
        rdev: s.st_rdev,
        mtime: (s.st_mtime, s.st_mtime_nsec),
        sum,
    })
}

/// Reads everything under `root` but lost+found; `tick` is told the count so far.
pub fn read(root: &str, tick: &mut dyn FnMut(usize)) -> Res<Tree> {
    let mut out = Tree::new();
    let mut todo = vec![String::new()];
    while let Some(d) = todo.pop() {
        for name in crate::fixture::names(&format!("{root}/{d}"))? {
            let rel = if d.is_empty() {
                name
            } else {
                format!("{d}/{name}")
            };
            if rel == "lost+found" {
                continue;
            }
            let n = node(&format!("{root}/{rel}"))?;
            if n.mode & libc::S_IFMT == libc::S_IFDIR {
                todo.push(rel.clone());
            }
            out.insert(rel, n);
            tick(out.len());
        }
    }
    Ok(out)
}

/// The first differences between two trees; `forget` may blank what need not agree.
pub fn compare(got: &Tree, want: &Tree, forget: &dyn Fn(&mut Node)) -> Res {
    let mut bad = Vec::new();
    for (k, w) in want {
        let mut w = w.clone();
        forget(&mut w);
        match got.get(k) {
            None => bad.push(format!("{k} is missing")),
            Some(g) => {
                let mut g = g.clone();
                forget(&mut g);
                if g != w {
                    bad.push(format!("{k}: {g:?} instead of {w:?}"));
                }
            }
        }
    }
    bad.extend(
        got.keys()
            .filter(|k| !want.contains_key(*k))
            .map(|k| format!("{k} is too much")),
    );
    if !bad.is_empty() {
        fail!(
            "{} differences: {}",
            bad.len(),
            bad[..bad.len().min(4)].join("; ")
        );
    }
    ensure!(
        got.len() == want.len(),
        "{} names instead of {}",
        got.len(),
        want.len()
    );
    Ok(())
}
