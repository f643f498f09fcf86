// SPDX-License-Identifier: GPL-2.0
//! The timeline as text, in the columns that mailing lists use.

use super::timeline::{Kind, Line, Timeline};
use super::words::NBSP;
use crate::race::{Mode, Race};

/// Of the whole picture, in characters.
const WIDTH: usize = 100;

fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Step => "",
        Kind::Parked => "  == ",

        Kind::Caught => "  OK ",
        Kind::Released => "  == ",
        Kind::Harm => "!! ",
        _ => "  ",
    }
}

pub fn heading(race: &Race, mode: Mode) -> String {
    let what = match mode {
        Mode::Off => format!("protection off ({})", race.off.join(", ")),
        Mode::On => "protection on".to_string(),
    };
    format!("{} {}: {what}", race.row, race.name)
}

/// What the picture ends with.
pub fn verdict(t: &Timeline) -> &'static str {
    match (t.harm(), t.ended) {
        (true, _) => "harm done",
        (false, true) => "no harm: the right bytes, and the counters add up",
        (false, false) => "the run did not end",
    }
}

fn wrapped(line: &Line, width: usize) -> Vec<String> {
    let first = prefix(line.kind);
    let indent = " ".repeat(first.len() + 2);
    let options = textwrap::Options::new(width)
        .initial_indent(first)
        .subsequent_indent(&indent);
    textwrap::wrap(&line.text, options)
        .into_iter()
        .map(|s| s.replace(NBSP, " "))
        .collect()
}

pub fn draw(race: &Race, mode: Mode, t: &Timeline) -> String {
    let n = t.columns.len().max(1);
    let width = (WIDTH / n).clamp(26, 46);

    let story = textwrap::fill(race.story, WIDTH);
    let mut out = format!("{}\n\n{story}\n\n{}\n\n", heading(race, mode), t.given);
    let mut row = |cells: Vec<String>| {
        let line: String = cells.iter().map(|c| format!("{c:<width$}")).collect();
        out.push_str(&format!("  {}\n", line.trim_end()));
    };
    row(t.columns.clone());
    row(t
        .columns
        .iter()
        .map(|c| "-".repeat(c.chars().count()))
        .collect());
    for (at, line) in t.lines.iter().enumerate() {
        let waiting = |column: usize| {
            let bar = t
                .bars
                .iter()
                .find(|b| b.column == column && b.from < at && at < b.to);
            match bar.map(|b| b.kind) {
                None => " ",
                Some(Kind::Parked) => "  |",
                Some(_) => "  :",
            }
        };
        for text in wrapped(line, width - 1) {
            let cell = |c: usize| match c == line.column {
                true => text.clone(),
                false => waiting(c).to_string(),
            };
            row((0..n).map(cell).collect());
        }
    }
    if t.lost {
        out.push_str("\n  (events were lost)\n");
    }
    out.push_str(&format!("\n  {}\n", verdict(t)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{parse, timeline};
    use crate::races;

    const TRACE: &str = "\
 check-1 [000] ..... 1.0: tracing_mark_write: given f: one block
 check-1 [000] ..... 1.0: tracing_mark_write: role check
 check-1 [000] ..... 1.0: tracing_mark_write: file f dev 1:2 ino 12
 a-2 [000] ..... 1.0: tracing_mark_write: thread puncher
 a-2 [000] ..... 1.0: tracing_mark_write: step puncher: punches block 0
 a-2 [000] ..... 1.0: rext4_map: dev 1:2 ino 0xd lblk 0x0 len 0x1 pblk 0x9 type MAPPED flags READ seq 3
 a-2 [000] ..... 1.0: rext4_point: dev 1:2 ino 0xc pos 0x0 bytecount 0x1 point p action REACHED seq 3
 b-3 [001] ..... 1.0: tracing_mark_write: thread reader
 b-3 [001] ..... 1.0: tracing_mark_write: step reader: loads
 b-3 [001] ..... 1.0: rext4_map: dev 1:2 ino 0xc lblk 0x0 len 0x1 pblk 0x9 type MAPPED flags READ seq 3
 a-2 [000] ..... 1.0: rext4_point: dev 1:2 ino 0xc pos 0x0 bytecount 0x1 point p action RELEASED seq 3
 check-1 [000] ..... 1.0: tracing_mark_write: role reader
 check-1 [000] ..... 1.0: tracing_mark_write: harm reader: 'A' instead of zero
 check-1 [000] ..... 1.0: tracing_mark_write: end
";

    #[test]
    fn columns_bar_and_harm() {
        let race = races::ALL.iter().find(|r| r.row == "3").unwrap();
        let (events, lost) = parse::parse(TRACE);
        let t = timeline::build(race, Mode::Off, &events, lost);
        assert_eq!(t.columns, ["puncher", "reader"]);
        assert!(t.harm() && t.ended);
        let text = draw(race, Mode::Off, &t);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let at = |what: &str| lines.iter().position(|l| l.contains(what)).expect(what);
        // Held while the reader loads, and what another file does is not there.
        assert!(at("== held at p") < at("loads") && at("loads") < at("== released"));
        assert!(lines[at("loads")].starts_with('|'));
        assert_eq!(text.matches("extent map: block 0 written at 9").count(), 1);
        assert!(lines[at("!! 'A' instead of zero")].starts_with("!!"));
        assert_eq!(lines.last(), Some(&"harm done"));
    }
}
