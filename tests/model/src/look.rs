// SPDX-License-Identifier: GPL-2.0
//! What can be seen of a side, against what the model says.

use crate::cut::{Contents, Entry};
use crate::model::Model;
use crate::names::{Id, Kind, ROOT, TARGET};
use crate::op::{Flag, Name, View};
use crate::side::Side;
use guest::fixture::{diff_at, names};
use guest::sys;
use std::collections::BTreeMap;
use std::os::unix::fs::DirEntryExt;

/// Nothing is wrong, or this is.
pub type Fair = Result<(), String>;

/// What stat(2) said of a name after the last step.
pub fn stat(side: &Side, model: &Model, name: Name) -> Fair {
    let found = side.seen(name.text());
    match (model.tree.find(name), found) {
        (Err(_), None) => Ok(()),
        (Ok(id), Some(st)) => attributes(side, model, (name.text(), id), &st),
        (want, got) => Err(format!(
            "{}: {} is {}there, {}",
            side.fs,
            name.text(),
            if got.is_some() { "" } else { "not " },
            if want.is_ok() {
                "and should be"
            } else {
                "and should not be"
            }
        )),
    }
}

fn attributes(side: &Side, model: &Model, (path, id): (&str, usize), st: &libc::stat) -> Fair {
    let node = model.tree.at(id);
    let (kind, size) = match &node.kind {
        Kind::File(data) => (libc::S_IFREG, Some(data.len() as i64)),
        Kind::Dir(_) => (libc::S_IFDIR, None),
        Kind::Symlink => (libc::S_IFLNK, Some(TARGET.len() as i64)),
        Kind::Whiteout => (libc::S_IFCHR, Some(0)),
    };
    let want = (kind | node.mode, node.links, size.unwrap_or(st.st_size));
    let got = (st.st_mode, st.st_nlink, st.st_size);
    if want != got {
        return Err(format!(
            "{}: {path} has mode {:o}, {} links, {} bytes; it should have {:o}, {}, {}",
            side.fs, got.0, got.1, got.2, want.0, want.1, want.2
        ));
    }
    Ok(())
}

/// The extended attribute of a name is what it was set to.
pub fn attribute(side: &Side, model: &Model, path: &str, id: Id) -> Fair {
    let got = side.attribute(path).map_err(|e| e.to_string())?;
    let want = model.tree.at(id).attribute.as_deref();
    if got.as_ref() == want {
        return Ok(());
    }
    let words = |value: Option<&Vec<u8>>| match value {
        Some(value) => format!("of {} bytes", value.len()),
        None => "no".to_string(),
    };
    let (got, want) = (words(got.as_ref()), words(want));
    Err(format!(
        "{}: {path} has {got} attribute, it should have {want}, or other bytes",
        side.fs
    ))
}

/// A file or directory has the flags that it was given.
fn flag(side: &Side, model: &Model, path: &str, id: Id) -> Fair {
    let node = model.tree.at(id);
    if !matches!(node.kind, Kind::File(_) | Kind::Dir(_)) {
        return Ok(());
    }
    let (got, want) = (side.flag(path).map_err(|e| e.to_string())?, node.flag);
    match got == want {
        true => Ok(()),
        false => Err(format!("{}: {path} has {got:?}, not {want:?}", side.fs)),
    }
}

pub fn holds(side: &Side, path: &str, view: View, want: &[u8]) -> Fair {
    let what = format!("{}: {path}, {view:?}", side.fs);
    let got = side.look(path, view).map_err(|e| format!("{what}: {e}"))?;
    match diff_at(&got, want) {
        Some(d) => Err(format!("{what}: {d}")),
        None => Ok(()),
    }
}

/// As [`holds`], through the mapping that is kept.
pub fn held(side: &Side, want: &[u8]) -> Fair {
    match diff_at(&side.look_held(want.len()), want) {
        Some(d) => Err(format!("{}: the mapping that is kept: {d}", side.fs)),
        None => Ok(()),
    }
}

/// All names and all bytes, seen in these ways.
pub fn whole(side: &Side, model: &Model, views: &[View]) -> Fair {
    directory(side, model, "", ROOT)?;
    for (path, id) in model.tree.paths() {
        let st = sys::lstat(&side.path(&path)).map_err(|e| format!("{}: {e}", side.fs))?;
        attributes(side, model, (&path, id), &st)?;
        attribute(side, model, &path, id)?;
        flag(side, model, &path, id)?;
        match &model.tree.at(id).kind {
            Kind::File(data) => {
                for view in views {
                    holds(side, &path, *view, data)?;
                }
            }
            Kind::Dir(_) => directory(side, model, &path, id)?,
            Kind::Whiteout => (),
            Kind::Symlink => {
                let target = sys::readlink(&side.path(&path)).map_err(|e| e.to_string())?;
                if target != TARGET.as_bytes() {
                    return Err(format!("{}: {path} leads to {target:?}", side.fs));
                }
            }
        }
    }
    Ok(())
}

/// What readdir(3) says: names, and of each the type.
fn directory(side: &Side, model: &Model, path: &str, id: Id) -> Fair {
    let mut got = Vec::new();
    let entries = std::fs::read_dir(side.path(path)).map_err(|e| format!("readdir: {e}"))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("readdir: {e}"))?;
        let kind = entry.file_type().map_err(|e| format!("readdir: {e}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let st = sys::lstat(&side.path(&format!("{path}/{name}")));
        let ino = st.map_err(|e| format!("readdir: {e}"))?.st_ino;
        let is_its = entry.ino() == ino;
        got.push((name, kind.is_dir(), kind.is_symlink(), is_its));
    }
    got.sort();
    let want: Vec<_> = model
        .tree
        .entries(id)
        .into_iter()
        .flatten()
        .map(|(name, id)| {
            let kind = &model.tree.at(*id).kind;
            let (dir, link) = (matches!(kind, Kind::Dir(_)), *kind == Kind::Symlink);
            (name.clone(), dir, link, true)
        })
        .collect();
    if got != want {
        return Err(format!(
            "{}: /{path} has {got:?} (directory, link, number), it should have {want:?}",
            side.fs
        ));
    }
    Ok(())
}

/// All is on disk: what the files have is what statfs misses.
pub fn accounts(side: &Side, model: &Model) -> Fair {
    let mut files = BTreeMap::new();
    let paths = model
        .tree
        .paths()
        .into_iter()
        .map(|(path, _)| side.path(&path));
    let filler = Some(side.filler()).filter(|path| sys::exists(path));
    for path in paths.chain([side.path("")]).chain(filler) {
        let st = sys::lstat(&path).map_err(|e| e.to_string())?;
        files.insert(st.st_ino, st.st_blocks as u64 * 512);
    }
    let (bytes, inodes) = (files.values().sum::<u64>(), files.len() as u64);
    let used = side.used().map_err(|e| e.to_string())?;
    if used != (bytes, inodes) {
        return Err(format!(
            "{}: statfs misses {} bytes and {} inodes, the files have {bytes} and {inodes}",
            side.fs, used.0, used.1
        ));
    }
    Ok(())
}

/// No file has blocks where nothing was written or allocated, or all was removed.
pub fn excess(side: &Side, model: &Model) -> Fair {
    for (path, id) in model.tree.paths() {
        for extent in side.extents(&path).map_err(|e| e.to_string())? {
            if let Some(at) = model.taken.excess(id, extent.log, extent.len) {
                return Err(format!(
                    "{}: {path} has a block at {at} for nothing",
                    side.fs
                ));
            }
        }
    }
    Ok(())
}

/// All names there are, as [`crate::cut`] compares them, and what is in the files.
pub fn found(side: &Side) -> Result<(Vec<Entry>, Contents), String> {
    let (mut all, mut data, mut firsts) = (Vec::new(), Contents::new(), BTreeMap::new());
    let mut next = vec![String::new()];
    while let Some(dir) = next.pop() {
        for leaf in names(&side.path(&dir)).map_err(|e| e.to_string())? {
            let path = if dir.is_empty() {
                leaf
            } else {
                format!("{dir}/{leaf}")
            };
            let st = sys::lstat(&side.path(&path)).map_err(|e| e.to_string())?;
            let kind = st.st_mode & libc::S_IFMT;
            match kind {
                libc::S_IFDIR => next.push(path.clone()),
                libc::S_IFREG => {
                    let bytes = side
                        .look(&path, View::Buffered)
                        .map_err(|e| e.to_string())?;
                    data.insert(path.clone(), bytes);
                }
                _ => (),
            }
            let mode = st.st_mode & !libc::S_IFMT;
            let attribute = side.attribute(&path).map_err(|e| e.to_string())?;
            let flag = match kind {
                libc::S_IFDIR | libc::S_IFREG => side.flag(&path).map_err(|e| e.to_string())?,
                _ => Flag::None,
            };
            all.push((
                st.st_ino,
                Entry {
                    first: String::new(),
                    path,
                    kind,
                    mode,
                    links: st.st_nlink,
                    attribute,
                    flag,
                },
            ));
        }
    }
    all.sort_by(|a, b| a.1.path.cmp(&b.1.path));
    for (ino, entry) in &mut all {
        entry.first = firsts
            .entry(*ino)
            .or_insert_with(|| entry.path.clone())
            .clone();
    }
    Ok((all.into_iter().map(|(_, entry)| entry).collect(), data))
}
