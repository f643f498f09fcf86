// SPDX-License-Identifier: GPL-2.0
//! What fanotify tells those who ask for file handles: changes of names, and corruption.

use crate::cases::damage::bad::{dir_block, ino, inode_at};
use crate::cases::damage::errors::with_bad_file;
use crate::fixture::{put, MNT, T};
use crate::handle::Handle;
use crate::harness::{Case, Res, ALL, ONE};
use crate::sys;
use crate::watch::Watch;
use crate::{ensure, same};

pub const CASES: &[Case] = &[
    Case::new("event/names", ONE, names).quick(),
    Case::new("event/corruption", ALL, corruption).quick(),
];

/// Directories and names in the events of what was done to them.
fn names(t: &mut T) -> Res {
    t.fresh()?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let (root, d) = (Handle::of(MNT, 0)?, Handle::of(&t.p("d"), 0)?);
    let mask = libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVE | libc::FAN_ONDIR;
    let w = Watch::filesystem(MNT, libc::FAN_REPORT_DFID_NAME, mask)?;
    let told = |mask: &[u64], dir: &Handle, name: &str| -> Res {
        let events = w.events()?;
        // What happens to one name may be told as one event.
        let all = events.iter().fold(0, |all, e| all | e.mask);
        same!(
            all,
            mask.iter().fold(0, |all, m| all | m),
            "{name}: {events:?}"
        );
        for e in &events {
            same!(e.handle.as_ref(), Some(dir), "directory of {name}");
            same!(e.name, name, "name");
        }
        Ok(())
    };
    put(&t.p("d/f"), 1, 10)?;
    told(&[libc::FAN_CREATE], &d, "f")?;
    sys::link(&t.p("d/f"), &t.p("g"))?;
    told(&[libc::FAN_CREATE], &root, "g")?;
    sys::rename(&t.p("d/f"), &t.p("d/h"))?;
    let moved = w.events()?;
    same!(moved.len(), 2, "{moved:?}");
    same!(
        (moved[0].mask, moved[0].name.as_str()),
        (libc::FAN_MOVED_FROM, "f"),
        "moved"
    );
    same!(
        (moved[1].mask, moved[1].name.as_str()),
        (libc::FAN_MOVED_TO, "h"),
        "moved"
    );
    sys::unlink(&t.p("d/h"))?;
    told(&[libc::FAN_DELETE], &d, "h")?;
    sys::rmdir(&t.p("d"))?;
    told(&[libc::FAN_DELETE, libc::FAN_ONDIR], &root, "d")
}

/// Who watches is told which inode is corrupt, whether it could be read or not.
fn corruption(t: &mut T) -> Res {
    with_bad_file(t)?;
    t.mount("")?;
    put(&t.p("sum"), 1, 1000)?;
    sys::mkdir(&t.p("d"), 0o755)?;
    let names = ["bad", "sum", "d"];
    t.umount()?;
    let mut inos = Vec::new();
    for name in names {
        inos.push(ino(t, name)?.parse::<u64>().ok());
    }
    // An inode whose checksum is wrong, and the first block of a directory.
    let at = inode_at(t, "/sum")? + 4;
    t.poke(at, &[0xff])?;
    let block = dir_block(t, "/d")?;
    t.poke(block * t.bs() + 4, &[0xff, 0xff])?;
    t.mount("errors=continue")?;
    let w = Watch::filesystem(MNT, libc::FAN_REPORT_FID, libc::FAN_FS_ERROR)?;
    for (i, name) in ["bad", "sum", "d/x"].iter().enumerate() {
        let r = sys::rdonly(&t.p(name)).and_then(|f| f.pread(&mut [0; 10], 0));
        ensure!(r.is_err(), "{name} was believed");
        let events = w.events()?;
        ensure!(!events.is_empty(), "{name}: no event");
        for e in &events {
            same!(e.mask, libc::FAN_FS_ERROR, "{name}");
            let known = [libc::EUCLEAN, libc::EBADMSG];
            ensure!(
                e.error.is_some_and(|e| known.contains(&e.0)),
                "{name}: {e:?}"
            );
            same!(e.handle.as_ref().map(Handle::ino), inos[i], "{name}: {e:?}");
        }
    }
    Ok(())
}
