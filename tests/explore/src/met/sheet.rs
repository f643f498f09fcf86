// SPDX-License-Identifier: GPL-2.0
//! The matrix as text, for the documentation: Documentation/points-met.md.

use super::{Empty, Met};
use std::collections::BTreeSet;
use std::fmt::Write;

const WIDTH: usize = 118;
const HEAD: &str = "\
# Points that have met

Two tasks of `make explore` were at these [points of the lab](lab-points.md) at the same time,
for the same inode, with all protections on. `make explore NOTE=1` writes this page, from what
the runs here have counted and what was noted before
([how](finding-races.md#which-points-have-met)).
";
const KEY: &str = "
A digit is how long the number of schedules is: `1` up to 9, `2` up to 99. `.` not yet, `o`
nobody was at one of the two, a blank: it cannot be, for a reason that
`build/explore/not-met.tsv` has. A row has the points above it and itself.
";

/// One sign for a pair.
fn sign(met: &Met, a: &str, b: &str) -> char {
    match met.empty(a, b) {
        Some(Empty::Cannot(_)) => ' ',
        Some(Empty::NotYet) => '.',
        Some(Empty::Nobody) => 'o',
        None => char::from_digit(met.met(a, b).to_string().len() as u32, 10).unwrap_or('9'),
    }
}

fn matrix(met: &Met) -> String {
    let places = met.places();
    let mut out = String::new();
    let digits = |of: &dyn Fn(usize) -> usize| -> String {
        let all = 1..=places.len();
        all.map(|i| char::from(b'0' + of(i) as u8)).collect()
    };
    let _ = writeln!(out, "{:21} {}", "", digits(&|i| i / 10));
    let _ = writeln!(out, "{:21} {}", "", digits(&|i| i % 10));
    for (i, a) in places.iter().enumerate() {
        let row: String = places[..=i].iter().map(|b| sign(met, a, b)).collect();
        let _ = writeln!(out, "{:>2} {a:18} {}", i + 1, row.trim_end());
    }
    out
}

/// A list item as long as a line may be, and as many as it takes.
fn item(first: &str, words: &[&str]) -> String {
    let (mut out, mut line) = (String::new(), format!("- `{first}`:"));
    for (i, word) in words.iter().enumerate() {
        let comma = if i + 1 < words.len() { "," } else { "" };
        if line.len() + word.len() + 4 > WIDTH {
            let _ = writeln!(out, "{line}");
            line = " ".into();
        }
        let _ = write!(line, " `{word}`{comma}");
    }
    let _ = writeln!(out, "{line}");
    out
}

/// The page.
pub fn sheet(met: &Met) -> String {
    let (some, all) = met.share();
    let left = met.left();
    let of = |why: Empty| {
        let all = left.iter().filter(move |pair| pair.2 == why);
        all.map(|pair| (pair.0, pair.1)).collect::<Vec<_>>()
    };
    let mut out = format!(
        "{HEAD}\nPairs met {some} of {all}.\n\n```\n{}```\n{KEY}",
        matrix(met)
    );
    let open = of(Empty::NotYet);
    let _ = writeln!(
        out,
        "\n## Work list\n\nThese {} could meet, and have not:\n",
        open.len()
    );
    for same in open.chunk_by(|one, other| one.0 == other.0) {
        let others: Vec<&str> = same.iter().map(|pair| pair.1).collect();
        out += &item(same[0].0, &others);
    }
    let nobody: BTreeSet<&str> = met
        .places()
        .into_iter()
        .filter(|p| met.is_idle(p))
        .collect();
    if !nobody.is_empty() {
        let names: Vec<String> = nobody.iter().map(|p| format!("`{p}`")).collect();
        let _ = writeln!(out, "\nNobody was at {}.", names.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let mut met = Met::default();
        met.add("\nread\t3\t0\nfsync\t1\t12 0\nwrite-check\t1\t0 0 0\nevict\t0\t0 0 0 0\n")
            .unwrap();
        let page = sheet(&met);
        for line in [
            "Pairs met 1 of 5.",
            " 1 read               .",
            " 2 fsync              2.",
            " 3 write-check        ..",
            "- `read`: `read`, `write-check`",
            "Nobody was at `evict`.",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn lines_end() {
        let names = ["writeback-mapped"; 20];
        let text = item("read", &names);
        assert!(text.lines().count() > 2 && text.lines().all(|l| l.len() <= WIDTH));
        assert_eq!(text.matches("writeback-mapped").count(), 20);
    }
}
