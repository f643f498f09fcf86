// SPDX-License-Identifier: GPL-2.0
//! Which points two threads have stood at, at the same time and for the same file: kept over all
//! runs, drawn, and what is left to be tried.

use crate::drive::{Meeting, Run};
use maud::{html, PreEscaped};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Where it is kept.
const TABLE: &str = "met.tsv";

#[derive(Default)]
pub struct Met {
    /// All points, and how often a thread has stood there.
    points: Vec<(String, u64)>,
    pairs: BTreeMap<Meeting, u64>,
}

/// Who stands at one of these has i_rwsem for himself: no two of them meet.
const ALONE: &[&str] = &[
    "write-locked",
    "write-get-folio",
    "write-check",
    "write-checked",
    "write-end",
    "shut",
    "drained",
    "edges-zeroed",
    "range-written",
    "punch-invalidated",
    "blocks-removed",
    "shift-some",
    "truncate",
    "truncate-sized",
    "orphaned",
    "unorphan",
    "tail-zeroed",
    "tail-written",
    "grown",
    "allocated",
    "allocate-more",
    "dio-alone",
    "dio-drained",
];

/// Or shares it with others of this kind.
const SHARED: &[&str] = &[
    "dio-read-locked",
    "dio-read-map",
    "dio-read-flush",
    "dio-read-mapped",
    "dio-locked",
    "seek-mapped",
    "seek-searched",
];

/// Who stands at one of these has invalidate_lock for himself, or shares it.
const INVALIDATES: &[&str] = &[
    "shut",
    "drained",
    "edges-zeroed",
    "range-written",
    "punch-invalidated",
    "blocks-removed",
    "shift-some",
    "truncate-sized",
    "orphaned",
    "unorphan",
    "grown",
    "allocated",
    "allocate-more",
    "dio-grow",
];
const FAULTS: &[&str] = &["fault-locked"];

/// They are about directories, or about inodes that nobody has.
const ELSEWHERE: &[&str] = &[
    "name-lookup",
    "name-found",
    "name-change",
    "name-written",
    "name-changed",
    "attribute-change",
    "readdir",
    "replace-written",
    "evict",
    "evict-freed",
];

/// Can two threads be there at the same time?
fn can_meet(a: &str, b: &str) -> bool {
    let both = |one: &[&str], other: &[&str]| {
        one.contains(&a) && other.contains(&b) || one.contains(&b) && other.contains(&a)
    };
    let inode = both(ALONE, ALONE) || both(ALONE, SHARED);
    // Allocation and the end of a direct write hold no folio, and those of a write hold none twice.
    !inode && !both(INVALIDATES, FAULTS) && !both(INVALIDATES, INVALIDATES)
}

impl Met {
    pub fn new(points: &[String]) -> Met {
        Met {
            points: points.iter().map(|p| (p.clone(), 0)).collect(),
            pairs: BTreeMap::new(),
        }
    }

    pub fn count(&mut self, run: &Run) {
        for point in run.steps.iter().filter_map(|s| s.point.as_ref()) {
            self.passed(point, 1);
        }
        for meeting in &run.meetings {
            *self.pairs.entry(meeting.clone()).or_default() += 1;
        }
    }

    fn passed(&mut self, point: &str, times: u64) {
        match self.points.iter_mut().find(|p| p.0 == point) {
            Some(known) => known.1 += times,
            None => self.points.push((point.to_string(), times)),
        }
    }

    /// A line for each point, and for each pair that has met.
    fn text(&self) -> String {
        let mut out = String::from("point\tother\ttimes\n");
        for (point, times) in &self.points {
            let _ = writeln!(out, "{point}\t-\t{times}");
        }
        for (Meeting(a, b), times) in &self.pairs {
            let _ = writeln!(out, "{a}\t{b}\t{times}");
        }
        out
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split('\t').collect();
            let [a, b, times] = words[..] else {
                return Err(format!("no three columns: {line}"));
            };
            let times: u64 = times.parse().map_err(|e| format!("{line}: {e}"))?;
            match b {
                "-" => self.passed(a, times),
                _ => *self.pairs.entry(Meeting(a.into(), b.into())).or_default() += times,
            }
        }
        Ok(())
    }

    pub fn save(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::write(folder.join(TABLE), self.text())
    }

    fn met(&self, a: &str, b: &str) -> u64 {
        let mut both = [a.to_string(), b.to_string()];
        both.sort();
        let [a, b] = both;
        self.pairs.get(&Meeting(a, b)).copied().unwrap_or(0)
    }

    /// The points that threads under test can meet at.
    fn places(&self) -> Vec<&str> {
        let all = self.points.iter().map(|p| p.0.as_str());
        all.filter(|p| !ELSEWHERE.contains(p)).collect()
    }

    /// What has not been tried: points where nobody was, and pairs that could have met.
    fn left(&self) -> String {
        let mut out = String::from("point\tother\n");
        let passed = |p: &str| self.points.iter().any(|(q, n)| q == p && *n > 0);
        let places = self.places();
        for point in places.iter().filter(|p| !passed(p)) {
            let _ = writeln!(out, "{point}\tnobody was there");
        }
        for (i, a) in places.iter().enumerate().filter(|(_, a)| passed(a)) {
            let others = places[i..].iter().filter(|b| passed(b));
            for b in others.filter(|b| can_meet(a, b) && self.met(a, b) == 0) {
                let _ = writeln!(out, "{a}\t{b}");
            }
        }
        out
    }

    /// How many pairs have met, and how many could.
    fn share(&self) -> (usize, usize) {
        let places = self.places();
        let pairs = (0..places.len()).flat_map(|i| (i..places.len()).map(move |j| (i, j)));
        let can = pairs.filter(|(i, j)| can_meet(places[*i], places[*j]));
        can.fold((0, 0), |(met, all), (i, j)| {
            (
                met + usize::from(self.met(places[i], places[j]) > 0),
                all + 1,
            )
        })
    }

    fn svg(&self) -> String {
        let places = self.places();
        let (names, size) = (160, places.len() * CELL);
        let (width, height) = (names + size + MARGIN, names + size + 2 * MARGIN + 20);
        let (met, all) = self.share();
        let title = format!("{met} of {all} pairs of points have met");
        let at = |i: usize| names + i * CELL;
        let text = |i: usize| at(i) + CELL - 3;
        html! {
            svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
                viewBox={ "0 0 " (width) " " (height) } role="img" {
                title { (title) }
                style { (PreEscaped(STYLE)) }
                rect class="bg" width=(width) height=(height) {}
                @for (i, a) in places.iter().enumerate() {
                    text class="row" x=(names - 4) y=(text(i)) { (a) }
                    text transform={ "translate(" (text(i)) " " (names - 4) ") rotate(-90)" } { (a) }
                    @for (j, b) in places.iter().enumerate().take(i + 1) {
                        rect class=(shade(self.met(a, b), can_meet(a, b))) x=(at(j)) y=(at(i))
                            width=(CELL - 1) height=(CELL - 1) {
                            title { (a) ", " (b) ": " (self.met(a, b)) }
                        }
                    }
                }
                text class="title" x=(MARGIN) y=(height - MARGIN) {
                    (title) "; red: not yet, grey: one lock for both"
                }
            }
        }
        .into_string()
    }
}

const CELL: usize = 11;
const MARGIN: usize = 12;
const STYLE: &str = "
text { font: 9px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #222; }
.title { font-size: 13px; }
.row { text-anchor: end; }
.bg { fill: #fff; }
.never { fill: #e4e4e4; }
.not { fill: #e57373; }
.m0 { fill: #d3e3f3; } .m1 { fill: #a8c8e8; } .m2 { fill: #6ea2d2; } .m3 { fill: #3b6ea5; }
.m4 { fill: #1d4470; }
";

/// The more often, the darker.
fn shade(times: u64, can: bool) -> &'static str {
    match times {
        0 if !can => "never",
        0 => "not",
        1..10 => "m0",
        10..100 => "m1",
        100..1000 => "m2",
        1000..10_000 => "m3",
        _ => "m4",
    }
}

/// Adds the table of a run to the one that is kept in `folder`, draws that, and lists what is left.
pub fn keep(folder: &Path, runs: &[impl AsRef<Path>]) -> Result<String, String> {
    let mut all = Met::default();
    let kept = folder.join(TABLE);
    let before = kept.exists().then_some(kept.as_path());
    for path in before.into_iter().chain(runs.iter().map(AsRef::as_ref)) {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        all.add(&text)?;
    }
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(TABLE, all.text())?;
    write("met.svg", all.svg())?;
    write("not-met.tsv", all.left())?;
    let (met, pairs) = all.share();
    Ok(format!("{met} of {pairs} pairs of points have met"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Met {
        let points = ["read", "punch-invalidated", "write-check", "evict", "fsync"];
        let mut met = Met::new(&points.map(String::from));
        met.add("\nread\t-\t3\nwrite-check\t-\t1\nread\twrite-check\t2\n")
            .unwrap();
        met
    }

    #[test]
    fn text_and_back() {
        let mut again = Met::default();
        again.add(&some().text()).unwrap();
        again.add(&some().text()).unwrap();
        assert_eq!(again.met("write-check", "read"), 4);
        assert_eq!(again.points[0], ("read".into(), 6));
        assert!(again.add("\nread\t2\n").is_err());
        assert!(again.add("\nread\t-\tx\n").is_err());
    }

    #[test]
    fn what_is_left() {
        let left = some().left();
        let lines: Vec<&str> = left.lines().collect();
        assert!(lines.contains(&"fsync\tnobody was there"));
        assert!(lines.contains(&"read\tread"));
        // It has met, cannot meet, or is no place for a thread under test.
        assert!(!lines.contains(&"read\twrite-check"));
        assert!(!left.contains("write-check\twrite-check") && !left.contains("evict"));
        let all = (0..4).map(|n| 4 - n).sum::<usize>() - 3;
        assert_eq!(some().share(), (1, all));
    }

    #[test]
    fn picture() {
        let svg = some().svg();
        assert_eq!(svg.matches("class=\"not\"").count(), 6);
        assert_eq!(svg.matches("class=\"never\"").count(), 3);
    }
}
