// SPDX-License-Identifier: GPL-2.0
//! The timeline as a picture that needs nothing else: no fonts, no scripts.

use super::text::{heading, verdict};
use super::timeline::{Kind, Timeline};
use crate::race::{Mode, Race};
use maud::{html, Markup, PreEscaped};

/// Of a column, in characters and in pixels.
const CHARS: usize = 36;
/// Width of a letter of the title, at most.
const BOLD_CHAR: usize = 10;
const COLUMN: usize = 304;
const MARGIN: usize = 20;
/// Height of a line of text, and the room between two events.
const TEXT: usize = 16;
const GAP: usize = 5;
/// From a thread's line to its text.
const INDENT: usize = 14;

const STYLE: &str = "
text { font: 12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #222; }
.bg { fill: #fff; }
.title { font-size: 15px; font-weight: bold; }
.given { fill: #555; }
.head { fill: #e8edf3; stroke: #9fb0c3; }
.name { font-weight: bold; }
.life { stroke: #c3ccd6; stroke-width: 1.5; }
.step text { font-weight: bold; }
.step circle { fill: #3b6ea5; }
.event circle { fill: #9aa7b4; }

.good text { fill: #14632d; }
.good circle { fill: #3da35d; }
.done text { fill: #777; }
.done circle { fill: #fff; stroke: #9aa7b4; }
.parked circle { fill: #f0a030; }
.blocked circle { fill: #a8a8a8; }
.parked text { fill: #a05a00; font-style: italic; }
.blocked text { fill: #666; font-style: italic; }
.bar-parked { fill: #f0a030; }
.bar-blocked { fill: #a8a8a8; }
.bar-caught { fill: #3da35d; }
.caught rect { fill: #dff3e4; stroke: #3da35d; }
.caught text { fill: #14632d; font-weight: bold; }
.harm rect { fill: #c62828; }
.harm text { fill: #fff; font-weight: bold; }
.clean { fill: #14632d; font-weight: bold; }
.bad { fill: #c62828; font-weight: bold; }
@media (prefers-color-scheme: dark) {
text { fill: #ddd; }
.bg { fill: #16191d; }
.given { fill: #aaa; }
.head { fill: #2a323b; stroke: #4d5a68; }
.life { stroke: #3a444e; }
.step circle { fill: #6ea8e0; }
.event circle { fill: #6b7885; }

.good text { fill: #8fe0a8; }
.done text { fill: #999; }
.done circle { fill: #16191d; stroke: #6b7885; }
.parked circle { fill: #f0a030; }
.blocked circle { fill: #a8a8a8; }
.parked text { fill: #f0b050; }
.blocked text { fill: #aaa; }
.caught rect { fill: #12351f; stroke: #3da35d; }
.caught text { fill: #8fe0a8; }
.clean { fill: #8fe0a8; }
.bad { fill: #ff8a80; }
}
";

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Step => "step",
        Kind::Event => "event",
        Kind::Parked => "parked",
        Kind::Blocked => "blocked",
        Kind::Caught => "caught",
        Kind::Harm => "harm",

        Kind::Good => "good",
        Kind::Released => "parked",
        Kind::Done => "done",
    }
}

fn text(x: usize, y: usize, class: &str, words: &str) -> Markup {
    html! { text x=(x) y=(y) class=(class) { (words) } }
}

/// A line of the timeline, wrapped: where it begins.
struct Placed {
    top: usize,
    words: Vec<String>,
}

/// Where everything is, in pixels.
struct Layout {
    width: usize,
    /// The top of the heads of the columns.
    head: usize,
    given: Vec<String>,
    placed: Vec<Placed>,
    /// Where the lives of the threads end.
    bottom: usize,
}

fn wrapped(text: &str, chars: usize) -> Vec<String> {
    let lines = textwrap::wrap(text, chars).into_iter();
    lines.map(|line| line.into_owned()).collect()
}

impl Layout {
    /// `over`, `under`: the lines that stand above and below the columns.
    fn new(t: &Timeline, over: &str, under: &str) -> Layout {
        // One column is narrower than what stands above and below it.
        let words = over.chars().count().max(under.chars().count());
        let columns = t.columns.len().max(1);
        let width = 2 * MARGIN + (words * BOLD_CHAR).max(columns * COLUMN);
        let given = wrapped(&t.given, (width - 2 * MARGIN) / 8);
        let head = 46 + given.len() * TEXT + 10;
        let mut y = head + 26 + 12;
        let mut placed = Vec::new();
        for (i, line) in t.lines.iter().enumerate() {
            // A new step of a thread, or another thread's turn, begins a little lower.
            let turn = i > 0 && (t.lines[i - 1].column != line.column || line.kind == Kind::Step);
            if turn {
                y += GAP;
            }
            let words = wrapped(&line.text, CHARS);
            let top = y;
            y += words.len() * TEXT + GAP;
            placed.push(Placed { top, words });
        }
        let bottom = y + 4;
        Layout {
            width,
            head,
            given,
            placed,
            bottom,
        }
    }
}

pub fn draw(race: &Race, mode: Mode, t: &Timeline) -> String {
    let title = heading(race, mode);
    let mut closing = verdict(t).to_string();
    if t.lost {
        closing.push_str(" (events were lost)");
    }
    let Layout {
        width,
        head,
        given,
        placed,
        bottom,
    } = Layout::new(t, &title, &closing);
    let height = bottom + 34;
    let x = |column: usize| MARGIN + column * COLUMN + 10;
    let ends = if t.harm() || !t.ended { "bad" } else { "clean" };

    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox={ "0 0 " (width) " " (height) } role="img" {
            title { (title) }
            style { (PreEscaped(STYLE)) }
            rect class="bg" width=(width) height=(height) {}
            (text(MARGIN, 28, "title", &title))
            @for (i, g) in given.iter().enumerate() {
                (text(MARGIN, 50 + i * TEXT, "given", g))
            }
            @for (c, name) in t.columns.iter().enumerate() {
                line class="life" x1=(x(c)) x2=(x(c)) y1=(head + 26) y2=(bottom) {}
                rect class="head" x=(x(c) - 10) y=(head) width=(COLUMN - 16) height="26" rx="5" {}
                (text(x(c) + INDENT, head + 17, "name", name))
            }
            @for bar in &t.bars {
                @let from = placed[bar.from].top + TEXT;
                @let to = placed.get(bar.to).map_or(bottom, |p| p.top);
                rect class={ "bar-" (class(bar.kind)) } x=(x(bar.column) - 3) y=(from)
                    width="6" height=(to.saturating_sub(from)) rx="3" {}
            }
            @for (line, p) in t.lines.iter().zip(&placed) {
                (event(x(line.column), p, line.kind))
            }
            (text(MARGIN, height - 16, ends, &closing))
        }
    }
    .into_string()
}

fn event(x: usize, p: &Placed, kind: Kind) -> Markup {
    let boxed = matches!(kind, Kind::Caught | Kind::Harm);
    html! {
        g class=(class(kind)) {
            @if boxed {
                rect x=(x + INDENT - 6) y=(p.top - 1) width=(COLUMN - INDENT - 12)
                    height=(p.words.len() * TEXT + 3) rx="4" {}
            } @else {
                circle cx=(x) cy=(p.top + 8) r=(if kind == Kind::Step { 4 } else { 3 }) {}
            }
            @for (i, w) in p.words.iter().enumerate() {
                text x=(x + INDENT) y=(p.top + 12 + i * TEXT) { (w) }
            }
        }
    }
}
