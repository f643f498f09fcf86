// SPDX-License-Identifier: GPL-2.0
//! The page: the matrix, what is left to be tried, and what cannot be.

use super::{Empty, Met};
use maud::{html, Markup, PreEscaped, DOCTYPE};
use std::collections::BTreeMap;

const CELL: usize = 11;
const NAMES: usize = 160;
const STYLE: &str = "
body { font: 14px system-ui, sans-serif; color: #222; margin: 2em; max-width: 1200px; }
svg text { font: 9px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #222; }
svg .row { text-anchor: end; }
td { vertical-align: top; padding: 2px 8px; } td:first-child { white-space: nowrap; }
.never { fill: #e4e4e4; } .not { fill: #e57373; } .wrong { fill: #000; }
.m0 { fill: #d3e3f3; } .m1 { fill: #a8c8e8; } .m2 { fill: #6ea2d2; } .m3 { fill: #3b6ea5; }
.m4 { fill: #1d4470; }
";

/// The more often, the darker.
fn shade(times: u64, why: Option<&Empty>) -> &'static str {
    match (times, why) {
        (0, Some(Empty::Cannot(_))) => "never",
        (0, _) => "not",
        (_, Some(_)) => "wrong",
        (1..10, _) => "m0",
        (10..100, _) => "m1",
        (100..1000, _) => "m2",
        (1000..10_000, _) => "m3",
        _ => "m4",
    }
}

fn matrix(met: &Met) -> Markup {
    let places = met.places();
    let size = NAMES + places.len() * CELL;
    let at = |i: usize| NAMES + i * CELL;
    let text = |i: usize| at(i) + CELL - 3;
    html! {
        svg width=(size) height=(size) viewBox={ "0 0 " (size) " " (size) } role="img" {
            @for (i, a) in places.iter().enumerate() {
                text class="row" x=(NAMES - 4) y=(text(i)) { (a) }
                text transform={ "translate(" (text(i)) " " (NAMES - 4) ") rotate(-90)" } { (a) }
                @for (j, b) in places.iter().enumerate().take(i + 1) {
                    @let (times, why) = (met.met(a, b), met.empty(a, b));
                    rect class=(shade(times, why.as_ref())) x=(at(j)) y=(at(i))
                        width=(CELL - 1) height=(CELL - 1) {
                        title {
                            (a) ", " (b) ": " (times)
                            @if let Some(why) = why { " (" (why.words()) ")" }
                        }
                    }
                }
            }
        }
    }
}

/// Pairs as rows: a point, and those that belong to it.
fn rows(pairs: &[(&str, &str)]) -> Markup {
    html! {
        table {
            @for same in pairs.chunk_by(|one, other| one.0 == other.0) {
                @let others: Vec<&str> = same.iter().map(|pair| pair.1).collect();
                tr { td { (same[0].0) } td { (others.join(", ")) } }
            }
        }
    }
}

pub fn page(met: &Met) -> String {
    let (some, all) = met.share();
    let mut empty: BTreeMap<Empty, Vec<(&str, &str)>> = BTreeMap::new();
    for (a, b, why) in met.left() {
        empty.entry(why).or_default().push((a, b));
    }
    let wrong = met.wrong();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Points that have met" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "pairs met " (some) " of " (all) }
                p {
                    "Two tasks were at these points of the lab at the same time, for the same inode. "
                    "Blue: the darker, the more schedules. Red: not yet. Grey: cannot be."
                }
                @if !wrong.is_empty() {
                    h2 { "Met, though it is said that they cannot" }
                    (rows(&wrong))
                }
                (matrix(met))
                @for (why, pairs) in &empty {
                    details open[matches!(why, Empty::NotYet)] {
                        summary { (pairs.len()) " pairs: " (why.words()) }
                        (rows(pairs))
                    }
                }
            }
        }
    }
    .into_string()
}
