// SPDX-License-Identifier: GPL-2.0
//! The races of the data path: each with its protection off, where the harm must be seen, and on,
//! where the same run must be clean. Runs as root inside the VM, and draws pictures anywhere.

use clap::{Args, Parser, Subcommand, ValueEnum};
use lab::race::{self, Mode, Race};
use lab::runner::Place;
use lab::{control, draw, one, races, selftest};
use std::path::PathBuf;

#[derive(Args)]
struct Opts {
    /// File system type under test.
    #[arg(long, default_value = "rext4", env = "REXT4_FS")]
    fs: String,
    /// Block device that may be overwritten, at least 64 MiB; repeat for more (two are needed).
    #[arg(long, env = "REXT4_DISKS", value_delimiter = ' ')]
    dev: Vec<String>,
    /// Where traces and results go.
    #[arg(long, default_value = "lab-results")]
    out: PathBuf,
}

#[derive(Parser)]
#[command(about = "Races of the data path, with their protection off and on")]
struct Cli {
    #[command(subcommand)]
    cmd: Cmd,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnOff {
    Off,
    On,
}

#[derive(Subcommand)]
enum Cmd {
    /// Runs the races (by number or name; all without words). Overwrites the devices.
    Run {
        #[command(flatten)]
        o: Opts,
        /// Runs of each race.
        #[arg(long, default_value_t = 1)]
        runs: usize,
        races: Vec<String>,
    },
    /// Lists the races.
    List { races: Vec<String> },
    /// Draws the traces in a folder: text, SVG and an index; prints the races that are named.
    Draw { dir: PathBuf, races: Vec<String> },
    #[command(hide = true)]
    One {
        row: String,
        mode: OnOff,
        #[command(flatten)]
        o: Opts,
    },
}

fn stop(why: impl std::fmt::Display) -> ! {
    eprintln!("lab: {why}");
    std::process::exit(2)
}

fn select(words: &[String]) -> Vec<&'static Race> {
    race::select(races::ALL, words).unwrap_or_else(|e| stop(e))
}

/// The selftests and the races that the words name (all without words).
fn select_all(words: &[String]) -> (Vec<&'static Race>, Vec<&'static Race>) {
    let (own, other): (Vec<String>, Vec<String>) = words
        .iter()
        .cloned()
        .partition(|w| selftest::ALL.iter().any(|t| t.is(w)));
    let tests = match own.is_empty() && !other.is_empty() {
        true => vec![],
        false => race::select(selftest::ALL, &own).unwrap_or_else(|e| stop(e)),
    };
    let races = match other.is_empty() && !own.is_empty() {
        true => vec![],
        false => select(&other),
    };
    (tests, races)
}

fn main() {
    match Cli::parse().cmd {
        Cmd::List { races } => {
            let (tests, races) = select_all(&races);
            for r in tests.iter().chain(&races) {
                println!("{:<4} {:<22} {}", r.row, r.name, r.title);
            }
        }
        Cmd::Run { o, runs, races } => {
            let (tests, races) = select_all(&races);
            control::available().unwrap_or_else(|e| stop(e));
            if o.dev.is_empty() {
                stop("no device: use --dev or REXT4_DISKS");
            }
            let place = Place::new(&o.fs, &o.dev, &o.out).unwrap_or_else(|e| stop(e));
            // Before all races: does the lab do what they rely on?
            let runs = runs.max(1);
            let sound = place.selftests(&tests, runs).unwrap_or_else(|e| stop(e));
            let right = place.run(&races, runs).unwrap_or_else(|e| stop(e));
            if !(sound && right) {
                std::process::exit(1);
            }
        }
        Cmd::One { row, mode, o } => {
            let mode = match mode {
                OnOff::Off => Mode::Off,
                OnOff::On => Mode::On,
            };
            let all = races::ALL.iter().chain(selftest::ALL);
            let Some(race) = all.copied().find(|r| r.row == row) else {
                stop(format!("there is no race {row}"));
            };
            one::run(race, mode, &o.fs, &o.dev, &o.out);
        }
        Cmd::Draw { dir, races } => {
            let (_, named) = select_all(&races);
            let print = if races.is_empty() { &[][..] } else { &named };
            draw::all(&dir, races::ALL, print).unwrap_or_else(|e| stop(e));
        }
    }
}
