// SPDX-License-Identifier: GPL-2.0
//! Pictures of runs, from their traces.

mod parse;
mod svg;
mod text;
mod timeline;
mod words;

use crate::race::{Mode, Race};
use maud::{html, PreEscaped, DOCTYPE};
use std::fs;
use std::io::{Error, Result};
use std::path::Path;
use timeline::Timeline;

fn read(dir: &Path, race: &Race, mode: Mode) -> Result<Timeline> {
    let path = dir.join(format!("{}.trace", race.stem(mode)));
    let text =
        fs::read(&path).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let (events, lost) = parse::parse(&String::from_utf8_lossy(&text));
    Ok(timeline::build(race, mode, &events, lost))
}

/// Draws one trace in the folder, as text and as SVG; the text.
pub fn picture(dir: &Path, race: &Race, mode: Mode) -> Result<String> {
    let (stem, t) = (race.stem(mode), read(dir, race, mode)?);
    let text = text::draw(race, mode, &t);
    fs::write(dir.join(format!("{stem}.txt")), &text)?;
    fs::write(dir.join(format!("{stem}.svg")), svg::draw(race, mode, &t))?;
    Ok(text)
}

/// Draws every trace in the folder and makes the index; prints the text of the races in `print`.
pub fn all(dir: &Path, races: &[&'static Race], print: &[&'static Race]) -> Result<()> {
    let mut there = Vec::new();
    for race in races {
        let mut both = true;
        for mode in [Mode::Off, Mode::On] {
            let stem = race.stem(mode);
            if !dir.join(format!("{stem}.trace")).exists() {
                both = false;
                continue;
            }
            let text = picture(dir, race, mode)?;
            if print.iter().any(|r| r.row == race.row) {
                println!("\n{text}");
            }
        }
        if both {
            there.push(*race);
        }
    }
    fs::write(dir.join("index.html"), index(&there))
}

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 110rem; }
body { padding: 0 1rem; }
p { max-width: 45rem; }
h2 { margin-top: 4rem; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; flex: 1 1 40rem; min-width: 0; }
figcaption { font-weight: 600; }
img { max-width: 100%; border: 1px solid #8885; border-radius: 6px; }
code { font-size: .9em; }
";

fn index(races: &[&Race]) -> String {
    let figure = |race: &Race, mode: Mode| {
        let stem = race.stem(mode);
        html! {
            figure {
                figcaption {
                    "Protection " (mode.word()) " (" a href={ (stem) ".txt" } { "as text" } ")"
                }
                a href={ (stem) ".svg" } {
                    img src={ (stem) ".svg" } alt={ "Timeline of race " (race.row) ", protection " (mode.word()) };
                }
            }
        }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Races of the data path" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Races of the data path" }
                p {
                    "Each race twice: with its protection switched off, where harm is done, and on, where "
                    "the same run is clean. Time runs down, one line an event, not to scale; the lines are "
                    "from the trace of the run. A thread that the lab holds at one of its points has an orange bar, one that waits "
                    "by itself a grey or a green one. Harm is red; green is what prevents it."
                }
                ul {
                    @for r in races {
                        li { a href={ "#" (r.row) } { (r.row) " " (r.name) } ": " (r.title) }
                    }
                }
                @for r in races {
                    h2 id=(r.row) { (r.row) " " (r.title) }
                    p { (r.story) }
                    p { "Switched off: " @for (i, s) in r.off.iter().enumerate() {
                        @if i > 0 { ", " } code { (s) }
                    } "." }
                    div class="pair" { (figure(r, Mode::Off)) (figure(r, Mode::On)) }
                }
            }
        }
    }
    .into_string()
}
