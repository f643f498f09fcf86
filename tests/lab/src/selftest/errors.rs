// SPDX-License-Identifier: GPL-2.0
//! Each error at each point of many operations, one at a time. What comes of it is the operation's
//! own business, but for this: it succeeds, or fails with that error; nothing hangs, the kernel
//! has nothing to say, no block or promise is lost, and e2fsck is content.

use super::{Session, PAGE};
use crate::broken;
use crate::control::Parked;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::thread::Task;
use guest::fiemap::fiemap;
use guest::harness::K1;
use guest::map::Map;
use guest::sys::{self, Aligned, Fd, Sys, SysErr};
use std::collections::BTreeSet;

pub static EACH_ERROR: Race = Race {
    row: "step5",
    name: "step-each-error",
    title: "Each error at each point",
    run: each_error,
    ..RACE
};

/// The same with small blocks, behind the gate.
pub static EACH_ERROR_GATED: Race = Race {
    row: "step6",
    name: "step-each-error-gated",
    var: K1,
    mount: "dio_gate",
    ..EACH_ERROR
};

pub static EVICTION: Race = Race {
    row: "step7",
    name: "step-eviction-error",
    title: "Each error while an inode goes; the next mount frees it",
    run: eviction,
    ..RACE
};

/// What an operation finds: `file`, of three pages, on disk and in the page cache; `sparse`, of
/// which the middle page is a hole; a directory `dir`.
struct Place {
    root: String,
}

impl Place {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    fn make(lab: &Lab) -> Res<Place> {
        let root = lab.t.p("place");
        sys::mkdir(&root, 0o755)?;
        let place = Place { root };
        sys::mkdir(&place.path("dir"), 0o755)?;
        let file = sys::create(&place.path("file"))?;
        file.pwrite(&[b'A'; 3 * PAGE], 0)?;
        file.fsync()?;
        let sparse = sys::create(&place.path("sparse"))?;
        sparse.pwrite(&[b'A'; PAGE], 0)?;
        sparse.pwrite(&[b'A'; PAGE], 2 * PAGE as u64)?;
        sparse.fsync()?;
        Ok(place)
    }

    /// With all that an operation has made of it.
    fn remove(self) -> Res {
        std::fs::remove_dir_all(&self.root)
            .map_err(|e| crate::race::Stop::Broken(format!("{}: {e}", self.root)))
    }

    fn file(&self) -> Sys<Fd> {
        sys::rdwr(&self.path("file"))
    }

    fn sparse(&self) -> Sys<Fd> {
        sys::rdwr(&self.path("sparse"))
    }

    fn direct(&self, name: &str) -> Sys<Fd> {
        sys::direct(&self.path(name))
    }
}

/// Points at which an error is to have been given: only one operation, or two, come there.
const GIVEN: &[&str] = &["shift-some", "remove-some", "unorphan", "allocate-more"];

/// A name, and what is done.
type Operation = (&'static str, fn(&Place) -> Sys<()>);

const P: u64 = PAGE as u64;

const DATA: &[Operation] = &[
    ("write", |p| p.sparse()?.pwrite(&[b'B'; 2 * PAGE], 1000)),
    ("append, fsync", |p| {
        let f = p.file()?;
        f.pwrite(&[b'B'; PAGE], 3 * P + 100)?;
        f.fsync()
    }),
    ("read", |p| {
        let f = p.file()?;
        f.dontneed()?;
        f.pread(&mut [0; 2 * PAGE], 0).map(drop)
    }),
    ("store", |p| {
        let f = p.sparse()?;
        Map::shared(&f, 2 * PAGE)?.set(PAGE, b'B');
        Ok(())
    }),
    ("direct write", |p| direct_write(p, "file", (0, 2 * PAGE))),
    ("direct write of a hole", |p| {
        direct_write(p, "sparse", (P, PAGE))
    }),
    ("direct append", |p| direct_write(p, "file", (3 * P, PAGE))),
    ("direct write of a part", |p| {
        direct_write(p, "sparse", (P + 512, 512))
    }),
    ("direct read", |p| {
        let f = p.direct("sparse")?;
        p.sparse()?.pwrite(b"B", P)?;
        f.pread(&mut Aligned::new(3 * PAGE), 0).map(drop)
    }),
    ("punch", |p| p.file()?.punch(100, 2 * P)),
    ("zero", |p| {
        p.file()?.fallocate(libc::FALLOC_FL_ZERO_RANGE, P, 3 * P)
    }),
    ("allocate", |p| p.sparse()?.fallocate(0, 0, 8 * P)),
    ("collapse", |p| {
        p.file()?.fallocate(libc::FALLOC_FL_COLLAPSE_RANGE, 0, P)
    }),
    ("insert", |p| {
        p.file()?.fallocate(libc::FALLOC_FL_INSERT_RANGE, P, P)
    }),
    ("cut", |p| p.file()?.truncate(P + 100)),
    ("grow", |p| {
        let f = p.file()?;
        f.truncate(P + 100)?;
        f.truncate(5 * P)
    }),
    ("seek", |p| p.sparse()?.seek(0, libc::SEEK_HOLE).map(drop)),
    ("fiemap", |p| {
        fiemap(&p.sparse()?, 0, 8 * P, true, 8).map(drop)
    }),
];

const NAMES: &[Operation] = &[
    ("create", |p| sys::create(&p.path("new")).map(drop)),
    ("mkdir", |p| sys::mkdir(&p.path("new"), 0o755)),
    ("symlink", |p| sys::symlink("file", &p.path("new"))),
    ("link", |p| sys::link(&p.path("file"), &p.path("new"))),
    ("unlink", |p| sys::unlink(&p.path("file"))),
    ("rmdir", |p| sys::rmdir(&p.path("dir"))),
    ("rename", |p| {
        sys::rename(&p.path("file"), &p.path("dir/new"))
    }),
    ("replace", |p| {
        sys::rename(&p.path("file"), &p.path("sparse"))
    }),
    ("exchange", |p| {
        sys::rename2(&p.path("file"), &p.path("dir"), sys::EXCHANGE)
    }),
    ("list", |p| {
        let list = std::fs::read_dir(&p.root).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        list.map(drop).map_err(|e| SysErr {
            what: "readdir".into(),
            errno: e.raw_os_error().unwrap_or(0),
        })
    }),
];

fn direct_write(p: &Place, name: &str, (at, len): (u64, usize)) -> Sys<()> {
    let mut data = Aligned::new(len);
    data.fill(b'D');
    p.direct(name)?.pwrite(&data, at)
}

/// Errors given, and points seen.
#[derive(Default)]
struct Seen {
    errors: BTreeSet<(String, String)>,
    points: BTreeSet<String>,
}

/// When errors are given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before an inode goes. What is not freed then the next mount frees, and the counters would
    /// not agree before it.
    Used,
    /// While it goes.
    Evicted,
}

fn eviction(lab: &mut Lab) -> Res {
    let mut seen = Seen::default();
    for operation in NAMES
        .iter()
        .filter(|(name, _)| ["unlink", "rmdir", "replace"].contains(name))
    {
        let mut at = 0;
        while one_error(lab, operation, (When::Evicted, at), &mut seen)? {
            at += 1;
        }
    }
    println!("errors: {:?}", seen.errors);
    lab.remount()
}

fn each_error(lab: &mut Lab) -> Res {
    let mut seen = Seen::default();
    for operation in DATA.iter().chain(NAMES) {
        let mut at = 0;
        while one_error(lab, operation, (When::Used, at), &mut seen)? {
            at += 1;
        }
    }
    for point in GIVEN {
        if !seen.errors.iter().any(|(at, _)| at == point) {
            broken!("no error was given at {point}");
        }
    }
    let points: Vec<&str> = seen.points.iter().map(String::as_str).collect();
    println!("{} errors given at points", seen.errors.len());
    println!("{} points: {}", points.len(), points.join(" "));
    Ok(())
}

/// Runs the operation, which meets the error that is the `at`th possible one. False if there are
/// not so many.
fn one_error(
    lab: &Lab,
    (name, run): &Operation,
    (when, at): (When, usize),
    seen: &mut Seen,
) -> Res<bool> {
    let place = Place::make(lab)?;
    let session = Session::open()?;
    session.0.step("workers")?;
    let operation = *run;
    let root = place.root.clone();
    let thread = session.thread(lab, name, move || operation(&Place { root }))?;
    let mut giver = Giver {
        left: at,
        when,
        evicting: BTreeSet::new(),
        given: None,
    };
    while !thread.finished() {
        let _ = session.0.settle(10);
        for parked in session.0.parked()? {
            seen.points.insert(parked.point.clone());
            session.0.go(parked.tid, giver.pick(&parked))?;
        }
    }
    let result = thread.join()?;
    drop(session);
    // Also says, once, what could not be written.
    let _ = sys::rdonly(&place.root)?.syncfs();
    let given = giver.given;
    let wanted = given.as_ref().and_then(|(_, error)| errno(error));
    if let Err(e) = &result {
        if Some(e.errno) != wanted {
            broken!("{name}: {e} after {given:?}");
        }
    }
    place.remove()?;
    Ok(given.is_some_and(|given| {
        seen.errors.insert(given);
        true
    }))
}

fn errno(name: &str) -> Option<i32> {
    Some(match name {
        "EIO" => libc::EIO,
        "ENOMEM" => libc::ENOMEM,
        "ENOSPC" => libc::ENOSPC,
        "EAGAIN" => libc::EAGAIN,
        "EINTR" => libc::EINTR,
        _ => return None,
    })
}

/// Gives the error that is the `left`th possible one from now on.
struct Giver {
    left: usize,
    when: When,
    evicting: BTreeSet<u64>,
    given: Option<(String, String)>,
}

impl Giver {
    fn pick<'p>(&mut self, parked: &'p Parked) -> Option<&'p str> {
        if parked.point == "evict" {
            self.evicting.insert(parked.ino);
        }
        let evicted = self.evicting.contains(&parked.ino);
        if self.given.is_some() || evicted != (self.when == When::Evicted) {
            return None;
        }
        let Some(error) = parked.errors.get(self.left) else {
            self.left -= parked.errors.len();
            return None;
        };
        self.given = Some((parked.point.clone(), error.clone()));
        Some(error)
    }
}
