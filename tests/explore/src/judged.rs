// SPDX-License-Identifier: GPL-2.0
//! What the oracle allows, and what not.

use crate::drive::Span;
use crate::oracle::{Act, Oracle, Outcome};
use crate::program::{letter, Program};

/// Operations in the order of the program, with the steps at which each began and was over, and
/// what it came back with.
pub fn oracle_says(
    text: &str,
    spans: &[(usize, usize)],
    outcomes: &[Outcome],
    look: impl FnOnce(&mut Oracle<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let program: Program = text.parse().unwrap();
    let mut acts = Vec::new();
    for (thread, ops) in program.threads.iter().enumerate() {
        for (nth, op) in ops.iter().enumerate() {
            let (from, to) = spans[acts.len()];
            acts.push(Act {
                op,
                thread,
                nth,
                letter: letter(thread, nth),
                span: Span { from, to },
                pages: Vec::new(),
                outcome: &outcomes[acts.len()],
            });
        }
    }
    look(&mut Oracle::new(&program, acts))
}

fn done(n: u64) -> Outcome {
    Outcome::Done(n, vec![])
}

/// The file at the end, for two operations that overlap, or not.
fn rest(text: &str, overlap: bool, seen: &[u8]) -> bool {
    let spans = if overlap {
        [(0, 2), (1, 3)]
    } else {
        [(0, 1), (2, 3)]
    };
    let outcomes = [done(4), done(4)];
    oracle_says(text, &spans, &outcomes, |oracle| oracle.rest(0, seen)).is_ok()
}

#[test]
fn who_was_last() {
    let both = "4k,empty:bw.a.0+4/bw.a.0+4";
    assert!(rest(both, true, b"AAAA") && rest(both, true, b"DDDD"));
    // Byte by byte.
    assert!(rest(both, true, b"ADAD"));
    assert!(rest(both, false, b"DDDD") && !rest(both, false, b"AAAA"));
    assert!(!rest(both, true, b"AAA\0") && !rest(both, true, b"AAAAA"));
    let punched = "4k,empty:bw.a.0+4/pu.a.2+4";
    assert!(rest(punched, true, b"AAAA") && rest(punched, true, b"AA\0\0"));
    assert!(rest(punched, false, b"AA\0\0") && !rest(punched, false, b"AAAA"));
    assert!(!rest(punched, true, b"\0\0\0\0"));
}

#[test]
fn sizes() {
    let cut = "4k,empty:bw.a.0+4/tr.a.2";
    assert!(rest(cut, true, b"AA") && rest(cut, true, b"AAAA"));
    // Written after it was cut, the gap is zeros.
    let cut_first = "4k,empty:tr.a.2/bw.a.4+4";
    assert!(rest(cut_first, false, b"\0\0\0\0DDDD") && !rest(cut_first, false, b"\0\0"));
    assert!(!rest(cut, false, b"AAAA"));
    // What was cut does not come back.
    let grown = "4k,written:tr.a.2/bw.a.4+4";
    assert!(rest(grown, false, b"ii\0\0DDDD") && !rest(grown, false, b"iiiiDDDD"));
}

#[test]
fn behind_the_end() {
    // Nobody sees what was stored there.
    let behind = "4k,empty:bw.a.0+4,st.a.4+4/bw.a.8+4";
    let spans = [(0, 0), (1, 1), (2, 2)];
    let outcomes = [done(4), done(4), done(4)];
    let at_end = |seen: &'static [u8]| {
        oracle_says(behind, &spans, &outcomes, |oracle| oracle.rest(0, seen)).is_ok()
    };
    assert!(at_end(b"AAAA\0\0\0\0DDDD") && !at_end(b"AAAABBBBDDDD"));
    // If the file grows meanwhile it may have been inside, or not.
    let spans = [(0, 0), (1, 3), (2, 4)];
    let at_end = |seen: &'static [u8]| {
        oracle_says(behind, &spans, &outcomes, |oracle| oracle.rest(0, seen)).is_ok()
    };
    assert!(at_end(b"AAAA\0\0\0\0DDDD") && at_end(b"AAAABBBBDDDD"));
}

/// A write and a read; what the read saw.
fn reads(overlap: bool, seen: &[u8]) -> bool {
    let spans = if overlap {
        [(0, 2), (1, 3)]
    } else {
        [(0, 1), (2, 3)]
    };
    let read = Outcome::Done(seen.len() as u64, seen.to_vec());
    let outcomes = [done(4), read];
    let text = "4k,empty:bw.a.0+4/br.a.0+4";
    oracle_says(text, &spans, &outcomes, |oracle| oracle.outcomes()).is_ok()
}

#[test]
fn what_a_read_sees() {
    assert!(reads(true, b"") && reads(true, b"AAAA") && reads(true, b"AA"));
    assert!(reads(false, b"AAAA") && !reads(false, b"") && !reads(false, b"\0\0AA"));
    assert!(!reads(true, b"D") && !reads(true, b"AAAAA"));
}

#[test]
fn holes() {
    let text = "4k,written:sd.a.0/bw.a.0+4";
    let says = |outcome: Outcome| {
        let spans = [(0, 2), (1, 3)];
        oracle_says(text, &spans, &[outcome, done(4)], |oracle| {
            oracle.outcomes()
        })
        .is_ok()
    };
    assert!(says(done(0)) && !says(done(4096)) && !says(Outcome::Failed(libc::ENXIO)));
    let text = "4k,written:sh.a.0/pu.a.4096+4096";
    let says = |outcome: Outcome| {
        let spans = [(0, 2), (1, 3)];
        oracle_says(text, &spans, &[outcome, done(0)], |oracle| {
            oracle.outcomes()
        })
        .is_ok()
    };
    assert!(says(done(4096)) && says(done(8704)) && !says(done(0)));
}

#[test]
fn errors() {
    let says = |text: &str, errno| {
        let spans = [(0, 2), (1, 3)];
        let outcomes = [Outcome::Failed(errno), done(4)];
        oracle_says(text, &spans, &outcomes, |oracle| oracle.outcomes())
    };
    let wrong = says("4k,written:bw.a.0+4/br.b.0+4", libc::EIO).unwrap_err();
    assert!(wrong.contains("A: buffered write a 0..4: EIO"), "{wrong}");
    assert!(says("4k,empty:st.a.0+4/bw.b.0+4", libc::EFAULT).is_ok());
    assert!(says("4k,written:st.a.0+4/bw.b.0+4", libc::EFAULT).is_err());
}

/// A write on its way during two reads, one after the other, and what they saw.
fn both_see(text: &str, first: u8, second: u8) -> bool {
    let spans = [(0, 9), (1, 2), (3, 4)];
    let saw = |byte| Outcome::Done(512, vec![byte; 512]);
    let outcomes = [done(512), saw(first), saw(second)];
    let mut end = vec![b'i'; 8704];
    end[..512].fill(b'A');
    oracle_says(text, &spans, &outcomes, |oracle| {
        oracle.outcomes()?;
        oracle.rest(0, &end)
    })
    .is_ok()
}

#[test]
fn seen_is_seen() {
    for write in ["bw", "dw", "st"] {
        for (one, other) in [("br", "br"), ("br", "ld"), ("dr", "br"), ("ld", "dr")] {
            let range = "a.0+512";
            let text = format!("4kg,written:{write}.{range}/{one}.{range},{other}.{range}");
            assert!(both_see(&text, b'i', b'A') && both_see(&text, b'A', b'A'));
            assert!(!both_see(&text, b'A', b'i'), "{text}");
        }
    }
    // Without the gate a page may be filled again while the disk has the new bytes.
    assert!(both_see(
        "4k,written:dw.a.0+512/dr.a.0+512,br.a.0+512",
        b'A',
        b'i'
    ));
    // But no page is between a direct read and the disk.
    let beside = |reads: &str| format!("4k,written:dw.a.0+512/{reads}");
    assert!(!both_see(&beside("dr.a.0+512,dr.a.0+512"), b'A', b'i'));
    assert!(!both_see(&beside("vr.a.0+512,dr.a.0+512"), b'A', b'i'));
    // What others write in between, they may have seen.
    let text = "4k,empty:bw.a.0+1,bw.a.0+1/br.a.0+1/br.a.0+1";
    let spans = [(0, 2), (3, 9), (1, 4), (5, 6)];
    let saw = |byte| Outcome::Done(1, vec![byte]);
    let says = |first, second| {
        let outcomes = [done(1), done(1), saw(first), saw(second)];
        oracle_says(text, &spans, &outcomes, |oracle| oracle.rest(0, b"B")).is_ok()
    };
    assert!(says(b'A', b'A') && says(b'A', b'B') && says(b'B', b'B') && !says(b'B', b'A'));
}

#[test]
fn a_hole_is_a_look() {
    // Found as data by one, then a hole for another.
    let text = "4k,hole:bw.a.0+4096/br.a.0+1,sd.a.0";
    let spans = [(0, 9), (1, 2), (3, 4)];
    let mut end = vec![0; 8704];
    end[..4096].fill(b'A');
    let says = |byte, found| {
        let outcomes = [done(4096), Outcome::Done(1, vec![byte]), found];
        oracle_says(text, &spans, &outcomes, |oracle| oracle.rest(0, &end)).is_ok()
    };
    assert!(says(b'A', done(0)) && says(0, Outcome::Failed(libc::ENXIO)));
    assert!(!says(b'A', Outcome::Failed(libc::ENXIO)));
}

#[test]
fn who_needs_no_space() {
    let says = |op: &str| {
        let text = format!("4kt,written:{op}/br.b.0+4");
        let outcomes = [Outcome::Failed(libc::ENOSPC), done(0)];
        oracle_says(&text, &[(0, 2), (1, 3)], &outcomes, |oracle| {
            oracle.outcomes()
        })
    };
    assert!(says("bw.a.0+4").is_ok());
    assert!(says("cm.a").is_err() && says("fs.a").is_err() && says("ev.a").is_err());
}

#[test]
fn a_name_goes_once() {
    let says = |text: &str| {
        let all = [Outcome::Failed(libc::ENOENT), done(0)];
        oracle_says(text, &[(0, 2), (1, 3)], &all, |oracle| oracle.outcomes()).is_ok()
    };
    assert!(says("4k,written:un.a/un.a") && says("4k,written:un.a/ro.a"));
    assert!(!says("4k,written:un.a/un.b") && !says("4k,written:ro.a/un.a"));
}

#[test]
fn opened_with_o_trunc() {
    let cut = "4k,empty:bw.a.0+4/ot.a";
    assert!(rest(cut, true, b"") && rest(cut, true, b"AAAA") && !rest(cut, true, b"AA"));
    assert!(rest(cut, false, b"") && !rest(cut, false, b"AAAA"));
}
