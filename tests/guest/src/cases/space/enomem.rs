// SPDX-License-Identifier: GPL-2.0
//! No memory (the kernel's failslab and fail_page_alloc): a call may fail, but what was accepted is
//! not lost, nothing leaks and the file system goes on.

use crate::fixture::{holds, names, pattern, T};
use crate::harness::{Case, Res, ALL, ONE};
use crate::sys::{self, Fd};
use crate::{ensure, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("enomem/writeback", ALL, |t| written(t, Who::Caller)).quick(),
    Case::new("enomem/completion", ALL, |t| written(t, Who::Workers)),
    Case::new("enomem/fault", ALL, fault),
    Case::new("enomem/remove", ALL, remove),
    Case::new("enomem/names", ONE, change_names).quick(),
];

const FAULTS: &str = "/sys/kernel/debug";

/// Whose allocations fail.
#[derive(Clone, Copy, PartialEq)]
pub enum Who {
    Caller,
    /// The threads of work queues that are bound to no CPU.
    Workers,
}

/// While this lives every second allocation of these threads fails, if it may. What ends it is held
/// open: a path would have to be looked up, and that takes memory from the root's file system.
pub struct Starved {
    probabilities: Vec<Fd>,
    threads: Vec<Fd>,
    /// The files that say how many more allocations may fail, of each kind.
    left: Vec<String>,
}

/// So many may fail, which is no limit, but counts.
const TIMES: u64 = 1_000_000_000;

impl Starved {
    pub fn new(who: Who) -> Res<Self> {
        if !sys::exists(&format!("{FAULTS}/failslab")) {
            let _ = sys::mount("none", FAULTS, "debugfs", 0, "");
        }
        let (mut probabilities, mut left) = (Vec::new(), Vec::new());
        for kind in ["failslab", "fail_page_alloc"] {
            let path = |key: &str| format!("{FAULTS}/{kind}/{key}");
            let all = [
                ("task-filter", "Y"),
                ("ignore-gfp-wait", "N"),
                ("interval", "1"),
                ("verbose", "0"),
                ("times", &TIMES.to_string()),
                ("probability", "50"),
            ];
            let set = |(key, value): &(&str, &str)| sys::write_file(&path(key), value).is_ok();
            if !all.iter().all(set) {
                skip!("the kernel has no {kind}");
            }
            // Of the second kind only: else nothing below an order of 1 fails, no page of a file.
            let _ = sys::write_file(&path("min-order"), "0");
            let _ = sys::write_file(&path("ignore-gfp-highmem"), "N");
            probabilities.push(sys::rdwr(&path("probability"))?);
            left.push(path("times"));
        }
        let threads = match who {
            Who::Caller => vec![sys::rdwr("/proc/thread-self/make-it-fail")?],
            Who::Workers => workers()?,
        };
        let starved = Starved {
            probabilities,
            threads,
            left,
        };
        for file in &starved.threads {
            // A worker may have ended.
            let done = file.pwrite(b"1", 0);
            ensure!(
                who == Who::Workers || done.is_ok(),
                "{}: {done:?}",
                file.name
            );
        }
        Ok(starved)
    }

    /// The end of it. How many allocations have failed?
    fn end(self) -> Res<u64> {
        self.stop();
        let mut failed = 0;
        for path in &self.left {
            let text = std::fs::read_to_string(path)?;
            match text.trim().parse::<u64>() {
                Ok(left) => failed += TIMES - left,
                Err(e) => fail!("{path}: {text}: {e}"),
            }
        }
        Ok(failed)
    }

    fn stop(&self) {
        // Writing needs memory itself.
        for file in self.probabilities.iter().chain(&self.threads) {
            while file.pwrite(b"0", 0).is_err_and(|e| e.errno == libc::ENOMEM) {}
        }
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.stop();
    }
}

fn workers() -> Res<Vec<Fd>> {
    let mut found = Vec::new();
    for name in names("/proc")? {
        let comm = std::fs::read_to_string(format!("/proc/{name}/comm")).unwrap_or_default();
        if comm.starts_with("kworker/u") {
            found.extend(sys::rdwr(&format!("/proc/{name}/make-it-fail")).ok());
        }
    }
    Ok(found)
}

/// Pieces of one block with holes between them, so many that the tree has nodes.
const PIECES: u64 = 120;

fn piece(t: &T, i: u64) -> (u64, Vec<u8>) {
    let at = i * 2 * t.bs();
    (at, pattern(7, at, t.bs() as usize))
}

fn write_pieces(t: &T, f: &Fd) -> Res {
    for i in 0..PIECES {
        let (at, data) = piece(t, i);
        f.pwrite(&data, at)?;
    }
    Ok(())
}

fn check_pieces(t: &T, f: &Fd) -> Res {
    for i in 0..PIECES {
        let (at, data) = piece(t, i);
        holds(f, at, &data, &format!("piece {i}"))?;
    }
    Ok(())
}

/// Files gone and all written: the counters say what they said before.
fn all_free(t: &mut T, free: u64) -> Res {
    for name in names(&t.p(""))? {
        if name.starts_with('f') {
            sys::unlink(&t.p(&name))?;
        }
    }
    sys::sync();
    same!(
        sys::statfs(&t.p(""))?.f_bfree,
        free,
        "free blocks at the end"
    );
    t.cycle()?;
    same!(
        sys::statfs(&t.p(""))?.f_bfree,
        free,
        "free blocks, remounted"
    );
    Ok(())
}

/// Accepted data is written, at the latest when there is memory again.
fn written(t: &mut T, who: Who) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let mut failed = 0;
    for round in 0..2 {
        let f = sys::create(&t.p(&format!("f{round}")))?;
        write_pieces(t, &f)?;
        let starved = Starved::new(who)?;
        let _ = f.fsync();
        failed += starved.end()?;
        // The error has been told.
        f.fsync()?;
        t.drop_caches()?;
        check_pieces(t, &f)?;
    }
    ensure!(failed > 0, "nothing was short of memory");
    all_free(t, free)
}

/// A write fault that finds no memory is refused or tried again, and reserves nothing. What was
/// stored without a SIGBUS is in the file.
fn fault(t: &mut T) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    let f = sys::create(&t.p("f"))?;
    let len = (PIECES * 2 * t.bs()) as usize;
    f.truncate(len as u64)?;
    let pieces: Vec<_> = (0..PIECES).map(|i| piece(t, i)).collect();
    let mut refused = Vec::with_capacity(pieces.len());
    let m = crate::map::Map::shared(&f, len)?;
    // From a SIGBUS on the page there is another one, and of no file.
    let mut lost = u64::MAX;
    crate::map::sigbus_taken();
    let starved = Starved::new(Who::Caller)?;
    for (at, data) in &pieces {
        m.write(*at as usize, data);
        if crate::map::sigbus_taken() > 0 {
            lost = at / 4096;
        }
        if at / 4096 == lost {
            refused.push((at, data));
        }
    }
    let failed = starved.end()?;
    ensure!(failed > 0, "nothing was short of memory");
    drop(m);
    let m = crate::map::Map::shared(&f, len)?;
    for (at, data) in refused {
        m.write(*at as usize, data);
    }
    same!(crate::map::sigbus_taken(), 0, "SIGBUS with memory");
    drop(m);
    f.fsync()?;
    t.drop_caches()?;
    check_pieces(t, &f)?;
    drop(f);
    all_free(t, free)
}

/// Punch and truncate happen or do not, and an unlinked file is gone.
fn remove(t: &mut T) -> Res {
    t.fresh()?;
    let free = sys::statfs(&t.p(""))?.f_bfree;
    for round in 0..2u64 {
        let f = sys::create(&t.p(&format!("f{round}")))?;
        write_pieces(t, &f)?;
        if round != 1 {
            f.fsync()?;
        }
        let mut gone = Vec::new();
        {
            let _starved = Starved::new(Who::Caller)?;
            for i in (0..PIECES).step_by(7) {
                if f.punch(i * 2 * t.bs(), t.bs()).is_ok() {
                    gone.push(i);
                }
            }
        }
        ensure!(!gone.is_empty(), "no punch got through");
        f.fsync()?;
        t.drop_caches()?;
        for i in 0..PIECES {
            let (at, data) = piece(t, i);
            let zeros = vec![0; data.len()];
            // One that failed may have been done in part, which for one block is all or nothing.
            if gone.contains(&i) {
                holds(&f, at, &zeros, &format!("punched piece {i}"))?;
            } else if i % 7 != 0 {
                holds(&f, at, &data, &format!("piece {i}"))?;
            }
        }
        let _starved = Starved::new(Who::Caller)?;
        let _ = f.truncate(10 * t.bs());
        let _ = sys::unlink(&t.p(&format!("f{round}")));
        drop(f);
    }
    all_free(t, free)
}

/// Changes of names succeed or fail, whole.
fn change_names(t: &mut T) -> Res {
    t.fresh()?;
    let dir = t.p("d");
    sys::mkdir(&dir, 0o755)?;
    let path = |i: u64| format!("{dir}/{}{i}", "name".repeat(20));
    for i in 0..200 {
        sys::create(&path(i))?;
    }
    let mut failed = 0;
    {
        let _starved = Starved::new(Who::Caller)?;
        let mut note =
            |r: sys::Sys<()>| failed += u32::from(r.is_err_and(|e| e.errno == libc::ENOMEM));
        for i in 0..200 {
            note(sys::create(&path(1000 + i)).map(drop));
            note(sys::link(&path(i), &path(2000 + i)));
            note(sys::rename(&path(i), &path(3000 + i)));
            note(sys::unlink(&path(3000 + i)));
            note(sys::unlink(&path(1000 + i)));
            note(sys::symlink("x", &path(4000 + i)));
            note(sys::mkdir(&path(5000 + i), 0o755));
            note(sys::rmdir(&path(5000 + i)));
        }
    }
    ensure!(failed > 0, "nothing was short of memory");
    sys::create(&t.p("after"))?.fsync()?;
    t.cycle()?;
    for name in names(&dir)? {
        sys::lstat(&format!("{dir}/{name}"))?;
    }
    Ok(())
}
