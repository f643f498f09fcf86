// SPDX-License-Identifier: GPL-2.0
//! What errors that were put in excuse, and what they do not.

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
        byte: Some(0),
        since: 0,
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

/// The file that is read into a mapping of another one is not the one that is judged.
#[test]
fn who_reads_a_file_of_its_own_fails_as_that_does() {
    let run = Run {
        steps: vec![step("dio-read-map")],
        ..Run::default()
    };
    let fails = |errno, file| {
        let all = [Outcome::Failed(errno), done(4), done(4)];
        oracle_says(
            "4k,written:ri.a.0+512/bw.a.4+4/bw.a.8+4",
            &[(0, 4), (5, 5), (6, 6)],
            &all,
            |oracle| {
                oracle.hits = hits(&run, |_| file);
                oracle.outcomes()
            },
        )
    };
    assert_eq!(fails(libc::EIO, None), Ok(()));
    assert_eq!(fails(libc::EFAULT, None), Ok(()));
    assert_eq!(fails(libc::EFAULT, Some(0)), Ok(()));
    assert!(fails(libc::EIO, Some(0)).is_err());
    assert!(fails(libc::ENOMEM, None).is_err());
}

/// Of a fault on the way to a pin that there is no memory is told as it is.
#[test]
fn who_pins_is_told_of_no_memory() {
    let fails = |verb: &str, errno| {
        let mut step = step("write-map");
        step.go.fault = Some(Fault::NoMemory);
        let run = Run {
            steps: vec![step],
            ..Run::default()
        };
        let all = [Outcome::Failed(errno), done(4), done(4)];
        let text = format!("4k,written:{verb}.a.0+512/bw.a.4+4/bw.a.8+4");
        oracle_says(&text, &[(0, 4), (5, 5), (6, 6)], &all, |oracle| {
            oracle.hits = hits(&run, |_| Some(0));
            oracle.outcomes()
        })
    };
    for verb in ["ri", "de"] {
        assert_eq!(fails(verb, libc::ENOMEM), Ok(()), "{verb}");
        assert_eq!(fails(verb, libc::EFAULT), Ok(()), "{verb}");
        assert!(fails(verb, libc::EIO).is_err(), "{verb}");
    }
    assert!(fails("st", libc::ENOMEM).is_err());
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
    // On a full disk it needs no error to come to its end half way.
    let short = |image: &str, n| {
        let text = format!("{image},written:dw.a.0+1024/bw.b.0+4/br.b.0+4");
        let mut found = false;
        let _ = oracle_says(
            &text,
            &[(0, 9); 3],
            &[done(n), done(4), done(4)],
            |oracle| {
                found = oracle.may_differ(0, 0);
                Ok(())
            },
        );
        found
    };
    assert!(short("1kt", 512) && !short("1kt", 1024) && !short("1kgt", 512));
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
fn who_drops_pages_is_told_of_those_that_were_dirty() {
    // The first operation meets it in step 2, on its way from 0 to 4; the second one is step 1.
    let tells = |first: &str, second: &str| {
        let text = format!("4k,written:{first}/{second}/br.b.0+4");
        let all = [done(0), done(4), done(0)];
        let quiet = judged(&text, "writeback-map", &all, |oracle| oracle.outcomes());
        quiet.is_err_and(|e| e.contains("was lost"))
    };
    assert!(tells("fs.a", "bw.a.4+4") && tells("ev.a", "bw.b.4+4"));
    assert!(!tells("ev.a", "bw.a.4+4"));
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

#[test]
fn space_is_asked_for_again() {
    let refused = Step {
        go: Go {
            thread: 0,
            fault: Some(Fault::NoSpace),
        },
        ..step("remove-some")
    };
    let fails = |image: &str, times: usize| {
        let text = format!("{image},written:pu.a.0+4096/bw.a.4+4/bw.a.8+4");
        let run = Run {
            steps: vec![refused.clone(); times],
            ..Run::default()
        };
        let all = [Outcome::Failed(libc::ENOSPC), done(4), done(4)];
        oracle_says(&text, &[(0, 9), (10, 11), (12, 13)], &all, |oracle| {
            oracle.hits = hits(&run, |_| Some(0));
            oracle.outcomes()
        })
    };
    assert_eq!(fails("4k", 4), Ok(()));
    assert!(fails("4k", 3).is_err() && fails("4k", 1).is_err());
    // Where there is none it need not be met.
    assert_eq!(fails("4kt", 0), Ok(()));
}
