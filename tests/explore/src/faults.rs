// SPDX-License-Identifier: GPL-2.0
//! Errors that were put in, and what they excuse: the operation that met one, and what was dirty in
//! the file at that time, if the point is one where data is lost. All else is judged as ever.

use crate::drive::{Run, Step};
use crate::op::Verb;
use crate::oracle::{Act, Oracle, Outcome};
use crate::order::Fault;
use crate::program::{Start, THREADS};

/// An error was put in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The step that it was put in with.
    pub step: usize,
    fault: Fault,
    pub thread: usize,
    /// Of that thread; a thread of the kernel has none.
    pub op: Option<usize>,
    /// The file that the point was about.
    pub file: Option<u8>,
    /// What was dirty may never get to the disk.
    pub loses: bool,
    /// The data was on disk, and what follows has failed.
    completes: bool,
    /// Parts of blocks were about to be zeroed.
    pub zeroes: bool,
    /// An inode that nobody names any more is left to the next mount.
    pub leaves: bool,
}

/// Where an inode on its way out meets the error: it stays an orphan.
const LEAVES: &[&str] = &["evict", "remove-some"];

/// Does accepted data meet an error here? Elsewhere only the operation does: so it is with what a
/// direct write, or fallocate, allocates and completes.
fn is_writeback(run: &Run, step: usize) -> bool {
    let here = &run.steps[step];
    // What the thread has come by, the last one first.
    let same = |s: &&Step| (s.tid, s.op) == (here.tid, here.op);
    let mut before = run.steps[..step].iter().rev().filter(same);
    let is_at = |s: &Step, point: &str| s.point.as_deref() == Some(point);
    match here.point.as_deref() {
        Some("writeback-map") => true,
        // Refused it may be asked again.
        Some("allocate") => {
            let first = before.find(|s| !is_at(s, "allocate") && !is_at(s, "no-space"));
            first.is_some_and(|s| is_at(s, "writeback-lookup"))
        }
        // A step for each extent.
        Some("complete") => {
            let first = before.find(|s| !is_at(s, "complete") || s.go.fault.is_some());
            !first.is_some_and(|s| is_at(s, "dio-end-io") && s.go.fault.is_none())
        }
        _ => false,
    }
}

/// Those of a run; `file` knows the files by their inodes.
pub fn hits(run: &Run, file: impl Fn(u64) -> Option<u8>) -> Vec<Hit> {
    let steps = run.steps.iter().enumerate();
    let hit = |(step, s): (usize, &Step)| {
        let fault = s.go.fault?;
        let is_at = |points: &[&str]| s.point.as_deref().is_some_and(|p| points.contains(&p));
        let file = s.ino.and_then(&file);
        Some(Hit {
            step,
            fault,
            thread: s.go.thread,
            op: s.op,
            file,
            loses: is_writeback(run, step),
            completes: is_at(&["complete"]),
            zeroes: is_at(&["write-map"]),
            leaves: file.is_none() && is_at(LEAVES),
        })
    };
    steps.filter_map(hit).collect()
}

impl Hit {
    /// With DAX nothing is dirty: only who met it is told.
    pub fn without_cache(&mut self) {
        (self.loses, self.completes) = (false, false);
    }

    /// Did this operation meet it?
    pub fn met(&self, act: &Act<'_>) -> bool {
        let during = act.span.from <= self.step && self.step <= act.span.to;
        match self.thread < THREADS {
            true => self.thread == act.thread && self.op == Some(act.nth),
            // Of whom a thread of the kernel works for only the file is known.
            false => during && self.file == Some(act.op.file),
        }
    }

    /// Did this operation meet it, and fail with it?
    fn explains(&self, act: &Act<'_>, errno: i32) -> bool {
        // One that reads a file of its own fails as that does, if it is there.
        let own = act.op.verb == Verb::ReadInto && self.file.is_none();
        let comes_out = comes_out(self.fault, act.op.verb) == errno;
        // A page that is faulted in to be pinned: that there is no memory is told as it is.
        let pinned = act.op.verb.pins() && self.fault == Fault::NoMemory;
        self.met(act) && (comes_out || (own || pinned) && self.fault.errno() == errno)
    }
}

/// So often space is asked for on a disk that has some, before it is believed that there is none
/// (`TRIES` in `fs/alloc/retry.rs`).
const ASKED: usize = 4;

/// Does one of them explain that the operation failed with this? That there is no space only all
/// of the last tries do, but where the disk is almost full.
pub fn explained(hits: &[Hit], act: &Act<'_>, errno: i32, tight: bool) -> bool {
    let all = hits.iter().filter(|hit| hit.explains(act, errno));
    let (refused, other): (Vec<&Hit>, Vec<&Hit>) = all.partition(|h| h.fault == Fault::NoSpace);
    let least = if tight { 1 } else { ASKED };
    !other.is_empty() || refused.len() >= least
}

/// What an operation fails with that has met this error: the same, but who loads and stores is sent
/// SIGBUS.
fn comes_out(fault: Fault, verb: Verb) -> i32 {
    match verb {
        verb if verb.is_mapped() => libc::EFAULT,
        _ => fault.errno(),
    }
}

/// May it be told that data was lost that somebody else has written?
fn is_told(verb: Verb) -> bool {
    use Verb::*;
    let asks = matches!(verb, SeekData | SeekHole | Fiemap | Commit);
    !asks && !verb.is_mapped() && !matches!(verb, BufferedRead | RingRead)
}

/// All data of the file is on the disk when it is over.
fn syncs(verb: Verb) -> bool {
    matches!(verb, Verb::Fsync | Verb::Evict) || verb.freezes()
}

impl Oracle<'_> {
    /// Did it meet an error that was put in? It may have failed then, or been done in part.
    pub fn met(&self, act: &Act<'_>) -> bool {
        self.hits.iter().any(|hit| hit.met(act))
    }

    /// May it have failed with this, for an error that was put in?
    pub fn may_fail(&self, act: &Act<'_>, errno: i32) -> bool {
        let told = |hit: &Hit| {
            let file = act.op.verb.freezes() || hit.file == Some(act.op.file);
            hit.loses && file && hit.step <= act.span.to && is_told(act.op.verb)
        };
        // Who writes back meets no other error.
        let lost = errno == libc::EIO && self.hits.iter().any(told);
        lost || explained(&self.hits, act, errno, self.program.image.tight)
    }

    /// Must whoever syncs the file be told? Each open file that was there is, once; and each
    /// operation has one of its own, from before the first of them.
    pub fn must_tell(&self, act: &Act<'_>) -> bool {
        let waits = matches!(act.op.verb, Verb::Fsync | Verb::Evict | Verb::SyncRange);
        let is_over = |hit: &Hit| {
            let mut acts = self.acts.iter();
            let own = acts.find(|a| (a.thread, Some(a.nth)) == (hit.thread, hit.op));
            match own {
                Some(own) => own.span.before(&act.span),
                // A thread of the kernel: here the mapping knows before the page is let go.
                None => hit.completes && hit.step < act.span.from && act.op.verb != Verb::SyncRange,
            }
        };
        // What becomes dirty meanwhile is written by the second half of it, which tells nobody.
        let meets = |a: &Act<'_>| !a.span.before(&act.span) && !act.span.before(&a.span);
        let mut others = self.acts.iter().filter(|a| a.op.file == act.op.file);
        let quiet = act.op.verb != Verb::Evict
            || !others.any(|a| (a.thread, a.nth) != (act.thread, act.nth) && meets(a));
        let here = |hit: &&Hit| hit.loses && hit.file == Some(act.op.file);
        let mut hits = self.hits.iter().filter(here);
        waits && hits.any(|hit| hit.thread < THREADS && hit.met(act) && quiet || is_over(hit))
    }

    /// May the views of the file differ in this byte, for good? A page may have what the disk has
    /// lost; and where nobody is kept from filling it, what was there before a direct write that
    /// has come to its end half way.
    pub fn may_differ(&self, file: u8, at: u64) -> bool {
        let half = |act: &Act<'_>| {
            let direct = act.op.verb.is_direct_write();
            let whole = matches!(act.outcome, Outcome::Done(n, _) if *n == act.op.len);
            let here = (act.op.at..act.op.end()).contains(&at);
            direct && here && (!whole && self.may_be_short(act) || self.met(act))
        };
        let mut here = self.acts.iter().filter(|act| act.op.file == file);
        let loose = !self.program.image.gate && here.any(half);
        loose || self.has_lost(file) && self.is_vague(file, at)
    }

    /// Data of this file may have been lost.
    pub fn has_lost(&self, file: u8) -> bool {
        let mut all = self.hits.iter();
        all.any(|hit| hit.loses && hit.file == Some(file))
    }

    /// Was all that came before `from` on disk before that error?
    fn is_synced(&self, hit: &Hit, behind: Option<&Act<'_>>) -> bool {
        let done = |sync: &&Act<'_>| {
            let file = sync.op.verb.freezes() || Some(sync.op.file) == hit.file;
            file && syncs(sync.op.verb) && matches!(sync.outcome, Outcome::Done(..))
        };
        let mut syncs = self.acts.iter().filter(done);
        syncs.any(|sync| {
            sync.span.to < hit.step && behind.is_none_or(|act| act.span.before(&sync.span))
        })
    }

    /// Is the byte changed in the page cache first, and when?
    fn is_cached(&self, act: &Act<'_>, at: u64, hit: &Hit) -> bool {
        let (op, block) = (act.op, self.program.image.block);
        // Where the file ends in a block that is no whole one.
        let end = op.end().min(self.least(act));
        let whole = op.at.next_multiple_of(block)..end / block * block;
        match op.verb {
            v if v.is_direct_write() => hit.step <= act.span.to,
            v if v.writes() => true,
            // Of blocks that go nothing is written.
            Verb::Punch | Verb::Zero | Verb::ZeroKeep => !whole.contains(&at),
            Verb::Truncate => at < op.at.next_multiple_of(block),
            _ => false,
        }
    }

    /// May what it has left in the byte have been lost?
    pub fn is_lost(&self, act: &Act<'_>, at: u64) -> bool {
        let here = |hit: &&Hit| hit.loses && hit.file == Some(act.op.file);
        self.hits.iter().filter(here).any(|hit| {
            let dirty = act.span.from < hit.step && self.is_cached(act, at, hit);
            dirty && !self.is_synced(hit, Some(act))
        })
    }

    /// May what was there at the beginning have been lost?
    pub fn is_initial_lost(&self, file: u8, at: u64) -> bool {
        let dirty = file == 0 && self.program.start == Start::Dirty;
        let here = |hit: &&Hit| hit.loses && hit.file == Some(file);
        let mut hits = self.hits.iter().filter(here);
        dirty && self.program.start.data().contains(&at) && hits.any(|h| !self.is_synced(h, None))
    }

    /// What a byte is may change with nobody writing it.
    pub fn is_vague(&self, file: u8, at: u64) -> bool {
        if self.is_moved(file, at) {
            return self.has_lost(file);
        }
        let here = |act: &&Act<'_>| act.op.file == file;
        let mut acts = self.acts.iter().filter(here);
        self.is_initial_lost(file, at)
            || acts.any(|act| {
                self.mark(act, at).is_some() && (self.is_lost(act, at) || self.is_behind(act, at))
            })
    }
}
