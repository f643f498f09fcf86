// SPDX-License-Identifier: GPL-2.0
//! Which points two tasks have stood at, at the same time and for the same inode: kept over all
//! runs, drawn, and what is left to be tried.

mod held;
mod page;
mod sheet;

use crate::drive::{Meeting, Run};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Where it is kept.
const TABLE: &str = "met.tsv";
const HEAD: &str = "point\tpassed\tschedules in which it met those above, and itself\n";

#[derive(Default)]
pub struct Met {
    /// All points, and how often a task has stood there.
    points: Vec<(String, u64)>,
    /// In how many schedules.
    pairs: BTreeMap<Meeting, u64>,
}

/// Why two points have not met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Empty {
    NotYet,
    /// Nobody was at one of them.
    Nobody,
    Cannot(&'static str),
}

impl Empty {
    pub fn words(&self) -> &'static str {
        match self {
            Empty::NotYet => "not yet",
            Empty::Nobody => "nobody was at one of them",
            Empty::Cannot(why) => why,
        }
    }
}

fn meeting(a: &str, b: &str) -> Meeting {
    Meeting(a.min(b).into(), a.max(b).into())
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
        // However long they have stood there.
        let once: BTreeSet<&Meeting> = run.meetings.iter().collect();
        for meeting in once {
            *self.pairs.entry(meeting.clone()).or_default() += 1;
        }
    }

    fn passed(&mut self, point: &str, times: u64) {
        match self.points.iter_mut().find(|p| p.0 == point) {
            Some(known) => known.1 += times,
            None => self.points.push((point.to_string(), times)),
        }
    }

    /// A line for each point: how often somebody was there, and in how many schedules it has met
    /// each of those before it, and itself.
    fn text(&self) -> String {
        let mut out = String::from(HEAD);
        for (i, (point, times)) in self.points.iter().enumerate() {
            let others = self.points[..=i].iter();
            let counts: Vec<String> = others.map(|o| self.met(point, &o.0).to_string()).collect();
            let _ = writeln!(out, "{point}\t{times}\t{}", counts.join(" "));
        }
        out
    }

    /// Adds what such a text says.
    fn add(&mut self, text: &str) -> Result<(), String> {
        let mut points: Vec<&str> = Vec::new();
        for line in text.lines().skip(1) {
            let number = |word: &str| word.parse::<u64>().map_err(|e| format!("{line}: {e}"));
            let words: Vec<&str> = line.split('\t').collect();
            let [point, times, counts] = words[..] else {
                return Err(format!("no three columns: {line}"));
            };
            points.push(point);
            let counts: Vec<u64> = counts.split(' ').map(number).collect::<Result<_, _>>()?;
            if counts.len() != points.len() {
                return Err(format!("not {} numbers: {line}", points.len()));
            }
            self.passed(point, number(times)?);
            for (other, count) in points.iter().zip(counts).filter(|(_, count)| *count > 0) {
                *self.pairs.entry(meeting(point, other)).or_default() += count;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        self.add(&text)
    }

    pub fn save(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::write(folder.join(TABLE), self.text())
    }

    /// In how many schedules.
    pub fn met(&self, a: &str, b: &str) -> u64 {
        self.pairs.get(&meeting(a, b)).copied().unwrap_or(0)
    }

    /// The points of which it is known what is held there; not those that there were once.
    pub fn places(&self) -> Vec<&str> {
        let all = self.points.iter().map(|p| p.0.as_str());
        all.filter(|p| held::is_known(p)).collect()
    }

    fn is_passed(&self, point: &str) -> bool {
        self.points.iter().any(|(p, n)| p == point && *n > 0)
    }

    /// Could somebody be there, and nobody was?
    fn is_idle(&self, point: &str) -> bool {
        !self.is_passed(point) && held::apart(point, point) != Some(held::OFF)
    }

    /// Why there would be nothing in their cell.
    pub fn empty(&self, a: &str, b: &str) -> Option<Empty> {
        match held::apart(a, b) {
            Some(why) => Some(Empty::Cannot(why)),
            None if self.met(a, b) > 0 => None,
            None if self.is_passed(a) && self.is_passed(b) => Some(Empty::NotYet),
            None => Some(Empty::Nobody),
        }
    }

    /// All pairs, each once.
    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let places = self.places();
        let pairs = (0..places.len()).flat_map(|i| (i..places.len()).map(move |j| (i, j)));
        let pairs: Vec<_> = pairs.map(|(i, j)| (places[i], places[j])).collect();
        pairs.into_iter()
    }

    /// Pairs that have not met, and why.
    pub fn left(&self) -> Vec<(&str, &str, Empty)> {
        let all = self.all().filter(|(a, b)| self.met(a, b) == 0);
        all.filter_map(|(a, b)| Some((a, b, self.empty(a, b)?)))
            .collect()
    }

    /// Pairs that have met, though they cannot: then what is said of them is not true.
    pub fn wrong(&self) -> Vec<(&str, &str)> {
        let all = self.all().filter(|(a, b)| self.met(a, b) > 0);
        all.filter(|(a, b)| held::apart(a, b).is_some()).collect()
    }

    /// How many pairs have met, and how many could.
    pub fn share(&self) -> (usize, usize) {
        let can = self.all().filter(|(a, b)| held::apart(a, b).is_none());
        can.fold((0, 0), |(met, all), (a, b)| {
            (met + usize::from(self.met(a, b) > 0), all + 1)
        })
    }

    /// The work list: the pairs that have not met, the first ones those that could.
    fn work(&self) -> String {
        let mut left = self.left();
        left.sort_by_key(|pair| pair.2);
        let mut out = String::from("point\tother\twhy\n");
        for (a, b, why) in left {
            let _ = writeln!(out, "{a}\t{b}\t{}", why.words());
        }
        out
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Adds the tables of runs to the one that is kept in `folder`. The page and the work list beside
/// it are of that and of `noted`, which is kept with the source.
pub fn keep(folder: &Path, noted: &Path, runs: &[impl AsRef<Path>]) -> Result<String, String> {
    let (mut all, mut new) = (Met::default(), Met::default());
    for path in runs {
        all.add_file(path.as_ref())?;
        new.add_file(path.as_ref())?;
    }
    let kept = folder.join(TABLE);
    if kept.exists() {
        all.add_file(&kept)?;
    }
    write(&kept, &all.text())?;
    if noted.exists() {
        all.add_file(noted)?;
    }
    write(&folder.join("met.html"), &page::page(&all))?;
    write(&folder.join("not-met.tsv"), &all.work())?;
    let (met, pairs) = all.share();
    let mut out = format!("pairs met {met} of {pairs}");
    if !runs.is_empty() {
        out += &format!(", {} of them in this run", new.share().0);
    }
    for (a, b) in all.wrong() {
        out += &format!("\n{a} and {b} have met, which Documentation/lab-points.md rules out");
    }
    Ok(out)
}

/// What is kept in `folder` moves to `noted`, of which `page` is written.
pub fn note(folder: &Path, noted: &Path, page: &Path) -> Result<String, String> {
    let mut all = Met::default();
    let kept = folder.join(TABLE);
    for path in [kept.as_path(), noted].into_iter().filter(|p| p.exists()) {
        all.add_file(path)?;
    }
    write(noted, &all.text())?;
    write(page, &sheet::sheet(&all))?;
    if kept.exists() {
        std::fs::remove_file(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    }
    let none: [&Path; 0] = [];
    keep(folder, noted, &none)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str = "\nread\t3\t0\npunch-invalidated\t0\t0 0\nwrite-check\t1\t2 0 0\n\
        evict\t0\t0 0 0 0\nfsync\t0\t0 0 0 0 0\n";

    fn some() -> Met {
        let mut met = Met::default();
        met.add(SOME).unwrap();
        met
    }

    #[test]
    fn text_and_back() {
        let mut again = Met::default();
        again.add(&some().text()).unwrap();
        again.add(&some().text()).unwrap();
        assert_eq!(again.met("write-check", "read"), 4);
        assert_eq!(again.points[0], ("read".into(), 6));
        // In another order, and with one that is new.
        again
            .add("\nnew\t1\t0\nwrite-check\t2\t0 0\nread\t2\t5 1 0\n")
            .unwrap();
        assert_eq!(
            (again.met("read", "write-check"), again.met("new", "read")),
            (5, 5)
        );
        assert_eq!(again.points[0], ("read".into(), 8));
        for wrong in [
            "\nread\t2\n",
            "\nread\tx\t0\n",
            "\nread\t1\t0 0\n",
            "\nread\t1\t\n",
        ] {
            assert!(again.add(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_schedule_counts_once() {
        let both = || Meeting("fsync".into(), "read".into());
        let run = Run {
            meetings: vec![both(), both()],
            ..Run::default()
        };
        let mut met = Met::new(&["read".to_string(), "fsync".to_string()]);
        met.count(&run);
        met.count(&run);
        assert_eq!(met.met("read", "fsync"), 2);
    }

    #[test]
    fn what_is_left() {
        let met = some();
        let why = |a, b| met.empty(a, b);
        assert_eq!(why("read", "read"), Some(Empty::NotYet));
        assert_eq!(why("read", "fsync"), Some(Empty::Nobody));
        assert_eq!(why("read", "write-check"), None);
        let locked = Empty::Cannot("i_rwsem");
        assert_eq!(why("write-check", "punch-invalidated"), Some(locked));
        let work = met.work();
        assert!(work.starts_with("point\tother\twhy\nread\tread\tnot yet\n"));
        assert!(work.contains("\nwrite-check\twrite-check\ti_rwsem\n"));
        // Of 15 pairs those can that are not of the evicted one, nor of two that have i_rwsem.
        assert_eq!(met.share(), (1, 15 - 5 - 3));
        assert_eq!(work.lines().count(), 15);
        assert!(met.wrong().is_empty());
    }

    #[test]
    fn what_cannot_be_is_told() {
        let mut met = some();
        met.add("\nwrite-check\t1\t1\n").unwrap();
        assert_eq!(met.wrong(), [("write-check", "write-check")]);
        assert!(page::page(&met).contains("though it is said"));
    }

    #[test]
    fn picture() {
        let page = page::page(&some());
        assert_eq!(page.matches("class=\"not\"").count(), 6);
        assert_eq!(page.matches("class=\"never\"").count(), 8);
        assert_eq!(page.matches("class=\"m0\"").count(), 1);
    }

    #[test]
    fn nothing_is_counted_twice() {
        let folder = std::env::temp_dir().join(format!("rext4-met-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (run, noted) = (folder.join("run"), folder.join("noted"));
        std::fs::write(&run, SOME).unwrap();
        let said = keep(&folder, &noted, &[&run]).unwrap();
        assert_eq!(said, "pairs met 1 of 7, 1 of them in this run");
        keep(&folder, &noted, &[&run]).unwrap();
        let page = folder.join("page");
        assert_eq!(note(&folder, &noted, &page).unwrap(), "pairs met 1 of 7");
        note(&folder, &noted, &page).unwrap();
        let mut met = Met::default();
        met.add_file(&noted).unwrap();
        assert_eq!(met.met("read", "write-check"), 4);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
