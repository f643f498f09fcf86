// SPDX-License-Identifier: GPL-2.0
//! What of a file must not change while nobody changes it, whether it is in memory or not.

use crate::look::Fair;
use crate::model::Model;
use crate::names::{Id, Kind};
use crate::side::Side;
use crate::views;
use guest::sys;

/// What statx(2) says of a name.
#[derive(Debug, PartialEq)]
struct Attributes {
    ino: u64,
    mode: u16,
    links: u32,
    owner: (u32, u32),
    size: u64,
    blocks: u64,
    accessed: (i64, u32),
    modified: (i64, u32),
    changed: (i64, u32),
    born: (i64, u32),
}

fn attributes(side: &Side, path: &str) -> Result<Attributes, String> {
    let x = sys::statx(&side.path(path)).map_err(|e| e.to_string())?;
    let time = |t: libc::statx_timestamp| (t.tv_sec, t.tv_nsec);
    Ok(Attributes {
        ino: x.stx_ino,
        mode: x.stx_mode,
        links: x.stx_nlink,
        owner: (x.stx_uid, x.stx_gid),
        size: x.stx_size,
        blocks: x.stx_blocks,
        accessed: time(x.stx_atime),
        modified: time(x.stx_mtime),
        changed: time(x.stx_ctime),
        born: time(x.stx_btime),
    })
}

/// What is seen of all names now.
pub struct Stays(Vec<(String, Id, Attributes)>);

impl Stays {
    /// All is on disk.
    pub fn of(side: &Side, model: &Model) -> Result<Stays, String> {
        let mut all = Vec::new();
        for (path, id) in model.tree.paths() {
            let found = attributes(side, &path)?;
            all.push((path, id, found));
        }
        Ok(Stays(all))
    }

    /// It is so still, but for these files.
    pub fn are_there(&self, side: &Side, but: &[Id]) -> Fair {
        for (path, _, was) in self.0.iter().filter(|one| !but.contains(&one.1)) {
            let now = attributes(side, path)?;
            if now != *was {
                return Err(format!("{}: {path} has {now:?}, it had {was:?}", side.fs));
            }
        }
        Ok(())
    }
}

/// Nothing of the files is in memory: what is data for SEEK_DATA is what FIEMAP says is written.
pub fn data_is_written(side: &Side, model: &Model) -> Fair {
    for (path, id) in model.tree.paths() {
        let Kind::File(data) = &model.tree.at(id).kind else {
            continue;
        };
        let f = sys::rdonly(&side.path(&path)).map_err(|e| e.to_string())?;
        let sought = views::data(&f, data.len()).map_err(|e| e.to_string())?;
        let mapped = views::written(&f, data.len()).map_err(|e| e.to_string())?;
        if sought != mapped {
            return Err(format!(
                "{}: {path} has data in {sought:?} by SEEK_DATA, in {mapped:?} by FIEMAP",
                side.fs
            ));
        }
    }
    Ok(())
}
