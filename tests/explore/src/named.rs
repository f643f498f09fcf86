// SPDX-License-Identifier: GPL-2.0
//! What is allowed of names, and what not.

use crate::drive::Span;
use crate::names::{Names, DOT, DOT_DOT, UNKNOWN};
use crate::oracle::{Act, Outcome};
use crate::program::{letter, Program};
use crate::things::{layout, End, Found, Sort, LARGE};

/// Operations in the order of the program, when each was on its way, what it came back with; and
/// what is left: the inode of each name, 0 for none. x, y, u and v are 10 to 13 at the beginning.
fn says(text: &str, all: &[((usize, usize), Outcome)], left: [u64; 4]) -> Result<(), String> {
    judged(text, all, left.map(|ino| (ino, Sort::File, 0)))
}

/// The same, with what has each name, and a byte of its attribute.
fn judged(
    text: &str,
    all: &[((usize, usize), Outcome)],
    left: [(u64, Sort, u8); 4],
) -> Result<(), String> {
    let program: Program = text.parse().unwrap();
    let mut acts = Vec::new();
    for (thread, ops) in program.threads.iter().enumerate() {
        for (nth, op) in ops.iter().enumerate() {
            let ((from, to), outcome) = &all[acts.len()];
            acts.push(Act {
                op,
                thread,
                nth,
                letter: letter(thread, nth),
                span: Span {
                    from: *from,
                    to: *to,
                },
                pages: Vec::new(),
                outcome,
            });
        }
    }
    let names = Names {
        program: &program,
        acts,
        hits: Vec::new(),
        inodes: [10, 11, 12, 13],
    };
    let links = |ino: u64| left.iter().filter(|l| l.0 == ino).count() as u64;
    let found = left.map(|(ino, sort, attribute)| {
        (ino > 0).then(|| Found {
            ino,
            sort,
            attribute,
            links: links(ino),
        })
    });
    let links = [2, 2];
    names.judge(&End { found, links }, 0)
}

fn done(ino: u64) -> Outcome {
    Outcome::Done(ino, vec![])
}

fn failed(errno: i32) -> Outcome {
    Outcome::Failed(errno)
}

const BOTH: [(usize, usize); 2] = [(0, 2), (1, 3)];
const APART: [(usize, usize); 2] = [(0, 1), (2, 3)];

/// Two operations, what they came back with, and what is left.
fn two(text: &str, spans: [(usize, usize); 2], came: [Outcome; 2], left: [u64; 4]) -> bool {
    let [one, other] = came;
    says(text, &[(spans[0], one), (spans[1], other)], left).is_ok()
}

#[test]
fn one_of_two_is_first() {
    let text = "4k,bare:cr.x/cr.x";
    let left = [20, 0, 0, 0];
    assert!(two(text, BOTH, [done(20), failed(libc::EEXIST)], left));
    assert!(two(text, BOTH, [failed(libc::EEXIST), done(20)], left));
    assert!(!two(text, BOTH, [done(20), done(21)], left));
    assert!(!two(
        text,
        BOTH,
        [failed(libc::EEXIST), failed(libc::EEXIST)],
        left
    ));
    assert!(!two(text, APART, [failed(libc::EEXIST), done(20)], left));
    assert!(!two(text, BOTH, [done(20), failed(libc::EEXIST)], [0; 4]));
    assert!(!two(text, BOTH, [done(20), failed(libc::EIO)], left));
}

#[test]
fn renames() {
    let text = "4k,files:rn.x.u/lk.x";
    let left = [0, 0, 10, 0];
    assert!(two(text, BOTH, [done(0), done(10)], left));
    assert!(two(text, BOTH, [done(0), failed(libc::ENOENT)], left));
    assert!(!two(text, APART, [done(0), done(10)], left));
    assert!(!two(text, BOTH, [done(0), done(12)], left));
    assert!(!two(text, BOTH, [done(0), done(10)], [0, 0, 12, 0]));
    // Somebody names it all the while.
    let gone = [done(0), failed(libc::ENOENT)];
    assert!(!two("4k,files:rn.x.u/lk.u", BOTH, gone, left));
    let both = [done(0), done(12)];
    assert!(two("4k,files:rx.x.u/lk.x", BOTH, both, [12, 0, 10, 0]));
    let refused = [failed(libc::EEXIST), done(0)];
    let left = [10, 0, 0, 0];
    assert!(two("4k,files:rr.x.u/ul.u", BOTH, refused, left));
    assert!(two(
        "4k,linked:rn.x.u/lk.x",
        APART,
        [done(0), done(10)],
        [10, 0, 10, 13]
    ));
    let kinds = [failed(libc::ENOTDIR), failed(libc::EISDIR)];
    assert!(says(
        "4k,folders:rn.x.y/rn.y.u",
        &[((0, 1), kinds[0].clone()), ((2, 3), kinds[1].clone())],
        [0; 4]
    )
    .is_err());
    let full = says("4k,tree:rn.u.x", &[((0, 1), done(0))], [0; 4]);
    assert!(full.is_err_and(|e| e.contains("no order explains")));
}

#[test]
fn a_link_looks_first() {
    // The name that it looks at may be another's by the time that the link is made.
    let text = "4k,files:li.x.y/ul.x,cr.x";
    let with = |ino| {
        let all = [((0, 9), done(0)), ((1, 2), done(0)), ((3, 4), done(20))];
        says(text, &all, [20, ino, 12, 0])
    };
    assert!(with(10).is_ok() && with(20).is_ok() && with(12).is_err());
    // But not if nothing names it any more.
    let refused = [failed(libc::ENOENT), done(0)];
    assert!(two("4k,files:li.x.y/ul.x", BOTH, refused, [0, 0, 12, 0]));
    let text = "4k,files:li.x.y/rn.x.v";
    assert!(two(text, BOTH, [done(0), done(0)], [0, 10, 12, 10]));
    let refused = [failed(libc::ENOENT), done(0)];
    assert!(two(text, BOTH, refused.clone(), [0, 0, 12, 10]));
    assert!(!two(
        "4k,files:li.x.y/ul.x",
        [(2, 3), (4, 5)],
        refused,
        [0, 0, 12, 0]
    ));
}

/// A listing of m beside another operation.
fn lists(other: &str, spans: [(usize, usize); 2], seen: &[u8]) -> bool {
    let left = match other {
        "cr.y" => [10, 20, 12, 0],
        "ul.x" => [0, 0, 12, 0],
        "rn.u.x" => [12, 0, 0, 0],
        _ => [10, 0, 12, 0],
    };
    let seen = [&[DOT, DOT_DOT], seen].concat();
    let ino = if other.starts_with("cr") { 20 } else { 0 };
    let came = [Outcome::Done(0, seen), done(ino)];
    two(&format!("4k,files:ls.m/{other}"), spans, came, left)
}

#[test]
fn listings() {
    assert!(lists("cm.a", BOTH, &[0]));
    for wrong in [&[][..], &[0, 0], &[0, 1], &[0, UNKNOWN], &[0, DOT]] {
        assert!(!lists("cm.a", BOTH, wrong), "{wrong:?}");
    }
    assert!(lists("cr.y", BOTH, &[0]) && lists("cr.y", BOTH, &[1, 0]));
    assert!(!lists("cr.y", BOTH, &[1]) && !lists("cr.y", APART, &[1, 0]));
    assert!(lists("ul.x", BOTH, &[0]) && lists("ul.x", BOTH, &[]) && !lists("ul.x", APART, &[]));
    // A name that is given to another file is there all the time.
    assert!(lists("rn.u.x", BOTH, &[0]) && !lists("rn.u.x", BOTH, &[]));
}

#[test]
fn nothing_is_listed_twice() {
    assert!(!lists("ul.x", BOTH, &[0, 0]) && !lists("cr.y", BOTH, &[0, 1, 1]));
    // But for what goes and comes again.
    let text = "4k,files:ls.m/ul.x,cr.x";
    let again = |seen: &[u8]| {
        let seen = [&[DOT, DOT_DOT], seen].concat();
        let listed = Outcome::Done(0, seen);
        let all = [((0, 9), listed), ((1, 2), done(0)), ((3, 4), done(20))];
        says(text, &all, [20, 0, 12, 0]).is_ok()
    };
    assert!(again(&[]) && again(&[0]) && again(&[0, 0]) && !again(&[0, 0, 0]));
}

#[test]
fn a_new_directory_is_one_inode() {
    let seen = |one, other| {
        let all = [
            ((0, 1), done(0)),
            ((2, 3), done(one)),
            ((4, 5), done(other)),
            ((6, 7), done(0)),
        ];
        says("4k,files:mk.y,lk.y/lk.y,rd.y", &all, [10, 0, 12, 0])
    };
    assert_eq!(seen(20, 20), Ok(()));
    assert!(seen(20, 21).is_err());
    // Nor is it one that something else has.
    assert!(seen(10, 10).is_err() && seen(12, 12).is_err());
}

#[test]
fn a_whiteout_is_left() {
    let (file, none) = (|ino| (ino, Sort::File, 0), (0, Sort::File, 0));
    let whiteout = (30, Sort::Whiteout, 0);
    let leaves = |x| {
        let all = [((0, 1), done(0))];
        judged("4k,files:rw.x.y", &all, [x, file(10), file(12), none]).is_ok()
    };
    assert!(leaves(whiteout) && !leaves(none) && !leaves(file(30)));
    assert!(!leaves((10, Sort::Whiteout, 0)));
    let beside = |other: &str, spans, outcome| {
        let text = format!("4k,files:rw.x.y/{other}");
        let all = [((0, 2), done(0)), (spans, outcome)];
        judged(&text, &all, [whiteout, file(10), file(12), none]).is_ok()
    };
    // The name is there all the while; and nobody can open what it has then.
    assert!(beside("lk.x", (1, 3), done(30)) && beside("lk.x", (1, 3), done(10)));
    assert!(!beside("lk.x", (1, 3), failed(libc::ENOENT)) && !beside("lk.x", (3, 4), done(10)));
    assert!(beside("op.x", (3, 4), failed(libc::ENXIO)) && !beside("op.x", (3, 4), done(30)));
    assert!(beside("rd.x", (3, 4), failed(libc::ENOTDIR)));
    // Of two names of one file nothing becomes.
    let all = [((0, 1), done(0))];
    let same = [file(10), none, file(10), file(13)];
    assert_eq!(judged("4k,linked:rw.x.u", &all, same), Ok(()));
}

#[test]
fn attributes() {
    let two = |text: &str, spans: [(usize, usize); 2], came: [Outcome; 2], attribute| {
        let [one, other] = came;
        let (file, none) = (|ino, byte| (ino, Sort::File, byte), (0, Sort::File, 0));
        let left = [file(10, attribute), none, file(12, 0), none];
        judged(text, &[(spans[0], one), (spans[1], other)], left).is_ok()
    };
    let (text, both) = ("4k,files:sa.x/sl.x", || [done(0), done(0)]);
    assert!(two(text, BOTH, both(), b'A') && two(text, BOTH, both(), LARGE));
    assert!(two(text, APART, both(), LARGE) && !two(text, APART, both(), b'A'));
    assert!(!two(text, BOTH, both(), 0) && !two(text, BOTH, both(), UNKNOWN));
    let text = "4k,files:sl.x/ra.x";
    assert!(two(text, APART, both(), 0) && two(text, BOTH, both(), 0));
    let none = || [done(0), failed(libc::ENODATA)];
    assert!(two(text, BOTH, none(), LARGE) && !two(text, APART, none(), LARGE));
    let reads = |byte: u8| [done(0), done(byte.into())];
    let text = "4k,files:sl.x/ga.x";
    assert!(two(text, APART, reads(LARGE), LARGE) && !two(text, BOTH, reads(b'A'), LARGE));
    assert!(!two(text, BOTH, reads(UNKNOWN), LARGE));
    // What has the name later has none of it.
    let text = "4k,files:sa.x,ul.x,cr.x";
    let all = [((0, 1), done(0)), ((2, 3), done(0)), ((4, 5), done(10))];
    let left = |byte| {
        let file = |ino, byte| (ino, Sort::File, byte);
        [file(10, byte), file(0, 0), file(12, 0), file(0, 0)]
    };
    assert_eq!(judged(text, &all, left(0)), Ok(()));
    assert!(judged(text, &all, left(b'A')).is_err());
}

#[test]
fn link_counts() {
    let text = "4k,files:li.x.y";
    let all = [((0, 1), done(0))];
    assert!(says(text, &all, [10, 10, 12, 0]).is_ok());
    let places = layout(text.parse::<Program>().unwrap().start);
    assert_eq!(places.iter().flatten().count(), 2);
    let program: Program = text.parse().unwrap();
    let names = Names {
        program: &program,
        acts: Vec::new(),
        hits: Vec::new(),
        inodes: [10, 11, 12, 13],
    };
    let file = |ino, links| {
        Some(Found {
            ino,
            sort: Sort::File,
            attribute: 0,
            links,
        })
    };
    let end = |links, parent| End {
        found: [file(10, links), None, file(12, 1), None],
        links: [parent, 2],
    };
    assert_eq!(names.judge(&end(1, 2), 0), Ok(()));
    assert!(names
        .judge(&end(2, 2), 0)
        .is_err_and(|e| e.contains("2 links, and 1 names")));
    assert!(names
        .judge(&end(1, 3), 0)
        .is_err_and(|e| e.contains("m has 3 links")));
}
