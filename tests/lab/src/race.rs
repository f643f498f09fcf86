// SPDX-License-Identifier: GPL-2.0
//! What a race is, and how its run may end.

use crate::lab::Lab;
use guest::harness::{Variant, K4};
use guest::sys::SysErr;

/// Why a scenario does not go on.
#[derive(Debug)]
pub enum Stop {
    /// What the race is about was seen: wrong bytes, a counter, an errno, a hang.
    Harm(String),
    /// The scenario itself failed, and nothing can be said.
    Broken(String),
}

pub type Res<R = ()> = Result<R, Stop>;

impl From<SysErr> for Stop {
    #[track_caller]
    fn from(e: SysErr) -> Stop {
        let l = std::panic::Location::caller();
        Stop::Broken(format!("{e} [{}:{}]", l.file(), l.line()))
    }
}

impl From<guest::harness::Stop> for Stop {
    fn from(e: guest::harness::Stop) -> Stop {
        Stop::Broken(e.to_string())
    }
}

/// The disk that is memory, whose files may be accessed directly.
pub const MEMORY: &str = "/dev/pmem0";

/// The two runs of a race.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The protection is off: the harm must be seen.
    Off,
    /// It is on: the same run must be clean.
    On,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::On => "on",
        }
    }
}

pub struct Race {
    /// Number in the table of races.
    pub row: &'static str,
    pub name: &'static str,
    pub title: &'static str,
    /// What goes wrong, in one or two sentences.
    pub story: &'static str,
    /// The switches under test.
    pub off: &'static [&'static str],
    /// Switches that are off in both runs: they make the situation, they do not close it.
    pub given_off: &'static [&'static str],
    /// The image.
    pub var: Variant,
    /// Trace events in which the protection shows (with a word that must be in them, after a
    /// space); pictures have them in green.
    pub catch: &'static [&'static str],
    /// Trace events of the kernel's own threads that belong to the story.
    pub kernel: &'static [&'static str],

    /// Whether this kernel has what the race is made of; else what is missing.
    pub needs: fn() -> Result<(), String>,
    /// The harm is a hang that only a reboot ends: the run without the protection comes after all
    /// others, and once.
    pub for_good: bool,
    /// The image is on the disk that is memory, [`MEMORY`].
    pub memory: bool,
    /// Mount options.
    pub mount: &'static str,
    /// `Ok` when the scenario came to its end and nothing was wrong.
    pub run: fn(&mut Lab) -> Res,
}

/// What most races have.
pub const RACE: Race = Race {
    row: "",
    name: "",
    title: "",
    story: "",
    off: &[],
    given_off: &[],
    var: K4,
    catch: &[],
    kernel: &[],
    needs: || Ok(()),
    for_good: false,
    memory: false,
    mount: "",
    run: |_| Ok(()),
};

impl Race {
    /// File name of what belongs to one run.
    pub fn stem(&self, mode: Mode) -> String {
        format!("{}-{}-{}", self.row, self.name, mode.word())
    }

    /// Is it meant by `word`: `7a`, `7` (all of row 7) or its name?
    pub fn is(&self, word: &str) -> bool {
        let number = self.row.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        word == self.row || word == number || word == self.name
    }
}

/// The races that the words name (all without words), in the order of the table.
pub fn select(
    all: &'static [&'static Race],
    words: &[String],
) -> Result<Vec<&'static Race>, String> {
    if let Some(bad) = words.iter().find(|w| !all.iter().any(|r| r.is(w))) {
        let names: Vec<String> = all
            .iter()
            .map(|r| format!("{} {}", r.row, r.name))
            .collect();
        return Err(format!(
            "there is no race {bad}; by number or by name:\n  {}",
            names.join("\n  ")
        ));
    }
    let wanted = |r: &&&Race| words.is_empty() || words.iter().any(|w| r.is(w));
    Ok(all.iter().filter(wanted).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::races::ALL;

    #[test]
    fn by_number_and_name() {
        let rows = |w: &[&str]| -> Vec<&str> {
            let words: Vec<String> = w.iter().map(|w| w.to_string()).collect();
            select(ALL, &words).map_or(vec![], |v| v.iter().map(|r| r.row).collect())
        };
        assert_eq!(rows(&[]).len(), ALL.len());
        assert_eq!(rows(&["3"]), ["3"]);
        assert_eq!(rows(&["16"]), ["16a", "16b"]);
        assert_eq!(rows(&["punch-vs-store", "3"]), ["3", "4"]);
        assert!(select(ALL, &["nonsense".into()]).is_err_and(|e| e.contains("punch-vs-fault")));
    }

    #[test]
    fn names_are_unique() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(ALL[i + 1..]
                .iter()
                .all(|b| a.row != b.row && a.name != b.name));
        }
    }
}
