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
    pub fn explains(&self, act: &Act<'_>, errno: i32) -> bool {
        self.met(act) && comes_out(self.fault, act.op.verb) == errno
    }
}

/// What an operation fails with that has met this error: the same, but who loads and stores is sent
/// SIGBUS.
fn comes_out(fault: Fault, verb: Verb) -> i32 {
    match verb {
        Verb::Store | Verb::Load => libc::EFAULT,
        _ => fault.errno(),
    }
}

/// May it be told that data was lost that somebody else has written?
fn is_told(verb: Verb) -> bool {
    use Verb::*;
    !matches!(
        verb,
        BufferedRead | RingRead | Load | Store | SeekData | SeekHole | Fiemap | Commit
    )
}

/// All data of the file is on the disk when it is over.
fn syncs(verb: Verb) -> bool {
    matches!(verb, Verb::Fsync | Verb::Evict | Verb::Freeze)
}

impl Oracle<'_> {
    /// Did it meet an error that was put in? It may have failed then, or been done in part.
    pub fn met(&self, act: &Act<'_>) -> bool {
        self.hits.iter().any(|hit| hit.met(act))
    }

    /// May it have failed with this, for an error that was put in?
    pub fn may_fail(&self, act: &Act<'_>, errno: i32) -> bool {
        let told = |hit: &Hit| {
            let file = act.op.verb == Verb::Freeze || hit.file == Some(act.op.file);
            hit.loses && file && hit.step <= act.span.to && is_told(act.op.verb)
        };
        // Who writes back meets no other error.
        let lost = errno == libc::EIO && self.hits.iter().any(told);
        lost || self.hits.iter().any(|hit| hit.explains(act, errno))
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
        let here = |hit: &&Hit| hit.loses && hit.file == Some(act.op.file);
        let mut hits = self.hits.iter().filter(here);
        waits && hits.any(|hit| hit.thread < THREADS && hit.met(act) || is_over(hit))
    }

    /// May the views of the file differ in this byte, for good? A page may have what the disk has
    /// lost; and where nobody is kept from filling it, what was there before a direct write that
    /// has come to its end half way.
    pub fn may_differ(&self, file: u8, at: u64) -> bool {
        let half = |act: &Act<'_>| {
            let direct = act.op.verb.writes() && act.op.verb.is_direct();
            direct && (act.op.at..act.op.end()).contains(&at) && self.met(act)
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
            let file = sync.op.verb == Verb::Freeze || Some(sync.op.file) == hit.file;
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
            v if v.writes() && v.is_direct() => hit.step <= act.span.to,
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

#[cfg(test)]
mod tests {
    use crate::drive::{Run, Step};
    use crate::faults::hits;
    use crate::judged::oracle_says;
    use crate::oracle::{Oracle, Outcome};
    use crate::order::{Fault, Go};

    fn done(n: u64) -> Outcome {
        Outcome::Done(n, vec![])
    }

    /// A step at `point` of file a with an error.
    fn step(point: &str) -> Step {
        Step {
            go: Go {
                thread: 0,
                fault: Some(Fault::Io),
            },
            op: Some(0),
            point: Some(point.into()),
            ino: Some(12),
            tid: Some(1),
            ready: vec![0],
        }
    }

    /// The first operation of A meets an error in step 2; the file at the end.
    fn says(text: &str, point: &str, outcomes: &[Outcome], seen: &[u8]) -> Result<(), String> {
        judged(text, point, outcomes, |oracle| {
            oracle.outcomes()?;
            oracle.rest(0, seen)
        })
    }

    /// The same, looked at in another way.
    fn judged(
        text: &str,
        point: &str,
        outcomes: &[Outcome],
        mut look: impl FnMut(&Oracle<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let quiet = Step {
            go: Go {
                thread: 0,
                fault: None,
            },
            ..step("x")
        };
        let run = Run {
            steps: vec![quiet.clone(), quiet, step(point)],
            ..Run::default()
        };
        let spans = [(0, 4), (1, 1), (5, 6)];
        oracle_says(text, &spans, outcomes, |oracle| {
            oracle.hits = hits(&run, |ino| (ino == 12).then_some(0));
            look(oracle)
        })
    }

    #[test]
    fn an_inode_may_be_left_to_the_next_mount() {
        let leaves = |point: &str, file| {
            let run = Run {
                steps: vec![step(point)],
                ..Run::default()
            };
            hits(&run, |_| file)[0].leaves
        };
        assert!(leaves("evict", None) && leaves("remove-some", None));
        // A file that is still there is not on its way out.
        assert!(!leaves("remove-some", Some(0)) && !leaves("name-change", None));
    }

    #[test]
    fn who_met_it_may_fail() {
        let text = "4k,empty:bw.a.0+4/bw.a.4+4/bw.a.8+4";
        let failed = Outcome::Failed(libc::EIO);
        let all = [failed.clone(), done(4), done(4)];
        assert_eq!(says(text, "write-map", &all, b"\0\0\0\0DDDDGGGG"), Ok(()));
        assert_eq!(says(text, "write-map", &all, b"AAAADDDDGGGG"), Ok(()));
        // Nobody else may, and the others' bytes stay.
        assert!(says(text, "write-map", &all, b"AAAA\0\0\0\0GGGG").is_err());
        assert!(says(text, "write-map", &all, b"AAAADDDD").is_err());
        let others = [done(4), done(4), failed];
        assert!(says(text, "write-map", &others, b"AAAADDDD").is_err());
        // Not of another file, either.
        let text = "4k,written:bw.b.0+4/bw.a.4+4/bw.a.8+4";
        let mut bytes = vec![b'i'; 8704];
        bytes[4..12].copy_from_slice(b"DDDDGGGG");
        let all = [Outcome::Failed(libc::EIO), done(4), done(4)];
        assert_eq!(says(text, "read-map", &all, &bytes), Ok(()));
        bytes[0] = 0;
        assert!(says(text, "read-map", &all, &bytes).is_err());
    }

    /// What A's first operation meets, after these points.
    fn loses(points: &[&str]) -> bool {
        let steps = points.iter().map(|point| Step {
            go: Go {
                thread: 0,
                fault: None,
            },
            ..step(point)
        });
        let mut steps: Vec<Step> = steps.collect();
        if let Some(last) = steps.last_mut() {
            last.go.fault = Some(Fault::Io);
        }
        // Somebody else is elsewhere.
        steps.insert(
            steps.len() - 1,
            Step {
                tid: Some(2),
                ..steps[0].clone()
            },
        );
        let run = Run {
            steps,
            ..Run::default()
        };
        hits(&run, |_| Some(0))[0].loses
    }

    #[test]
    fn what_is_only_the_operations_own() {
        assert!(loses(&["x", "writeback-map"]));
        assert!(loses(&["x", "writeback-lookup", "allocate"]));
        let again = ["x", "writeback-lookup", "allocate", "no-space", "allocate"];
        assert!(loses(&again));
        assert!(!loses(&["writeback-lookup", "dio-map", "allocate"]));
        assert!(!loses(&["x", "allocate"]));
        assert!(loses(&["dio-end-io", "x", "complete"]));
        assert!(!loses(&["x", "dio-end-io", "complete", "complete"]));
    }

    #[test]
    fn a_direct_write_excuses_its_own_bytes_only() {
        let text = "4k,written:dw.a.0+512/bw.a.512+4/bw.a.516+4";
        let all = [Outcome::Failed(libc::EIO), done(4), done(4)];
        let with = |what: u8, other: u8| {
            let mut bytes = vec![b'i'; 8704];
            bytes[..512].fill(what);
            bytes[512..516].fill(other);
            bytes[516..520].fill(b'G');
            says(text, "allocate", &all, &bytes)
        };
        assert_eq!(with(b'A', b'D'), Ok(()));
        assert_eq!(with(b'i', b'D'), Ok(()));
        assert!(with(b'i', b'i').is_err());
    }

    #[test]
    fn a_size_goes_back_no_further_than_the_loss() {
        let least = |text: &str, point: &str| {
            let mut found = 0;
            let _ = judged(text, point, &[done(4), done(4), done(4)], |oracle| {
                found = oracle.least_kept(0);
                Ok(())
            });
            found
        };
        let text = "4k,empty:fs.a/bw.a.4+4/bw.a.0+4";
        assert_eq!(least(text, "writeback-map"), 4);
        assert_eq!(least(text, "write-map"), 8);
        // What was there before the error is on disk; and a size that changes again is, too.
        assert_eq!(least("4k,empty:bw.a.0+4/fs.a/tr.a.2", "writeback-map"), 2);
        assert_eq!(least("4k,empty:fs.a/bw.a.4+4/tr.a.8", "writeback-map"), 0);
        assert_eq!(least("4k,empty:fs.a/bw.a.4+4/tr.a.6", "writeback-map"), 6);
    }

    #[test]
    fn other_bytes_are_the_same_in_all_views() {
        let differs = |text: &str, point: &str, at| {
            let mut found = false;
            let _ = judged(text, point, &[done(4), done(4), done(4)], |oracle| {
                found = oracle.may_differ(0, at);
                Ok(())
            });
            found
        };
        let text = "4k,written:fs.a/bw.a.4+4/bw.a.8+4";
        assert!(differs(text, "writeback-map", 4) && !differs(text, "writeback-map", 8));
        assert!(!differs(text, "write-map", 4));
        let direct = "4k,written:dw.a.0+512/dw.a.512+512/br.a.0+4";
        assert!(differs(direct, "dio-map", 0) && !differs(direct, "dio-map", 512));
        let gated = direct.replace("4k", "4kg");
        assert!(!differs(&gated, "dio-map", 0));
        // Zeroed in memory first are parts of blocks, that of the end included.
        let punch = "2k,written:pu.a.2741+8192/br.b.0+4/br.b.0+4";
        let at = |at| differs(punch, "writeback-map", at);
        assert!(at(2800) && at(8192) && !at(4096) && !at(8191));
    }

    #[test]
    fn only_zeroing_that_failed_leaves_bytes_behind() {
        let leaves = |point: &str, n| {
            let mut found = false;
            let text = "4k,written:dw.a.8192+1024/br.a.0+4/br.a.0+4";
            let _ = judged(text, point, &[done(n), done(4), done(4)], |oracle| {
                found = oracle.leaves_behind(0);
                Ok(())
            });
            found
        };
        assert!(leaves("write-map", 512) && !leaves("write-map", 1024));
        assert!(!leaves("dio-map", 512) && !leaves("allocate", 512));
    }

    #[test]
    fn a_loss_is_told() {
        let failed = Outcome::Failed(libc::EIO);
        let with = |text: &str, last: Outcome| {
            let all = [failed.clone(), done(4), last];
            let mut bytes = vec![b'i'; 8704];
            bytes[4..8].fill(b'D');
            says(text, "writeback-map", &all, &bytes)
        };
        for sync in ["fs.a", "ev.a", "sr.a.0+1"] {
            let text = format!("4k,written:fs.a/bw.a.4+4/{sync}");
            assert_eq!(with(&text, failed.clone()), Ok(()));
            let quiet = with(&text, done(0)).unwrap_err();
            assert!(quiet.contains("was lost"), "{quiet}");
        }
        // Another file has lost nothing, and a commit says nothing of data.
        for other in ["fs.b", "cm.a", "br.b.0+4"] {
            let text = format!("4k,written:fs.a/bw.a.4+4/{other}");
            assert_eq!(with(&text, done(0)), Ok(()), "{other}");
        }
    }

    #[test]
    fn an_error_comes_out_as_itself() {
        let fails = |verb: &str, errno| {
            let text = format!("4k,written:{verb}.a.0+512/br.a.4+4/br.a.8+4");
            let read = Outcome::Done(4, vec![b'i'; 4]);
            let all = [Outcome::Failed(errno), read.clone(), read];
            judged(&text, "write-map", &all, |oracle| oracle.outcomes())
        };
        assert_eq!(fails("bw", libc::EIO), Ok(()));
        assert!(fails("bw", libc::ENOSPC).is_err() && fails("bw", libc::EINVAL).is_err());
        // A fault has but one.
        assert_eq!(fails("st", libc::EFAULT), Ok(()));
        assert!(fails("st", libc::EIO).is_err());
    }

    #[test]
    fn what_was_dirty_may_be_lost() {
        let text = "4k,written:fs.a/bw.a.4+4/bw.a.8+4";
        let all = [Outcome::Failed(libc::EIO), done(4), done(4)];
        let with = |what: &[u8; 12]| {
            let mut bytes = vec![b'i'; 8704];
            bytes[..12].copy_from_slice(what);
            says(text, "writeback-map", &all, &bytes)
        };
        assert_eq!(with(b"iiiiDDDDGGGG"), Ok(()));
        assert_eq!(with(b"iiiiiiiiGGGG"), Ok(()));
        // What nobody has written is on disk, and what was written after it stays.
        assert!(with(b"\0\0\0\0DDDDGGGG").is_err());
        assert!(with(b"iiiiDDDDiiii").is_err());
        // Nothing else is there instead.
        assert!(with(b"iiii\0\0\0\0GGGG").is_err());
    }
}
