// SPDX-License-Identifier: GPL-2.0
//! Looks for races: small programs of file operations, in orders that the lab makes, and a rule
//! for what may be seen. Runs as root inside the VM, on one CPU, and overwrites the device.
#![forbid(unsafe_code)]

mod append;
mod blame;
mod born;
mod change;
mod clock;
mod corpus;
mod device;
mod disk;
mod draw;
mod drive;
#[cfg(test)]
mod excused;
#[cfg(test)]
mod fake;
mod faults;
mod folder;
mod history;
mod hunt;
#[cfg(test)]
mod judged;
mod kernel;
mod maps;
mod met;
mod moments;
#[cfg(test)]
mod named;
mod names;
mod near;
mod noise;
mod op;
mod oracle;
mod order;
mod pairs;
mod picture;
mod plan;
mod program;
mod promise;
mod ready;
mod rest;
mod scatter;
mod shape;
mod shifted;
mod shrink;
mod site;
mod sizes;
mod space;
mod start;
mod strategy;
mod taste;
mod things;
mod turns;
mod watch;
mod worker;

use clap::{Parser, Subcommand};
use disk::Disk;
use draw::Grammar;
use guest::ensure;
use guest::finder::{is_own_machine, quiet, ram_disks, Stretch};
use guest::fixture::private_mounts;
use guest::harness::Res;
use guest::{sched, sys};
use hunt::Hunt;
use kernel::Bench;
use order::Schedule;
use plan::Plan;
use program::Program;
use site::Site;
use std::path::PathBuf;
use turns::Strategy;

#[derive(Parser)]
#[command(about = "Looks for races: small programs, in every order that the lab can make")]
struct Cli {
    #[command(subcommand)]
    cmd: Option<Cmd>,
    /// File system type under test.
    #[arg(long, default_value = "rext4", env = "REXT4_FS")]
    fs: String,
    /// Of batches.
    #[command(flatten)]
    stretch: Stretch,
    /// These operations only, by their short names.
    #[arg(long, value_delimiter = ',')]
    ops: Vec<String>,
    /// This strategy only; all in turn without.
    #[arg(long)]
    strategy: Option<Strategy>,
    /// Of a thousand times that a point can return an error, how often it does; without, never in
    /// most batches.
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=1000))]
    faults: Option<u32>,
    /// This program only; with more of them in turn. Each thread stops at each of its points.
    #[arg(long)]
    program: Vec<String>,
    /// A switch of the race lab: this protection is off.
    #[arg(long)]
    off: Vec<String>,
    /// Where the number of the next batch is kept, the table of points, and pictures.
    #[arg(long, env = "REXT4_SHARE", default_value = "/tmp")]
    out: PathBuf,
    /// Ends with a line that counts each batch as a test; for which there was no time is skipped.
    #[arg(long)]
    test: bool,
    /// So many schedules of each batch are run twice more, to see whether they do the same.
    #[arg(long, default_value_t = 1)]
    again: usize,
    /// On the disk that is memory, with files that are accessed directly.
    #[arg(long)]
    dax: bool,
    /// Between steps pages are reclaimed, moved and made into large folios.
    #[arg(long)]
    noise: bool,
    /// Says in the end where the time went.
    #[arg(long)]
    profile: bool,
    /// Runs this schedule only.
    #[arg(long)]
    replay: Option<String>,
}

#[derive(Subcommand)]
enum Cmd {
    /// Says whether the words make sense, and runs nothing.
    Check,
    /// Adds tables of points that have met to the one that is kept in the folder, and draws it
    /// together with the one that is kept with the source.
    Met {
        folder: PathBuf,
        noted: PathBuf,
        runs: Vec<PathBuf>,
    },
    /// What is kept in the folder moves to the one that is kept with the source, and to the page
    /// about it.
    Note {
        folder: PathBuf,
        noted: PathBuf,
        page: PathBuf,
    },
    #[command(hide = true)]
    Worker,
    #[command(hide = true)]
    Noise,
}

fn stop(why: impl std::fmt::Display) -> ! {
    eprintln!("explore: {why}");
    std::process::exit(2)
}

fn hunt(cli: Cli) -> Res<bool> {
    let grammar = Grammar::new(&cli.ops).unwrap_or_else(|e| stop(e));
    let replay = cli.replay.as_deref().map(str::parse::<Schedule>);
    let replay = replay.map(|r| r.unwrap_or_else(|e| stop(format!("no schedule: {e}"))));
    let programs: Result<Vec<Program>, String> = cli.program.iter().map(|p| p.parse()).collect();
    let programs = programs.unwrap_or_else(|e| stop(format!("no program: {e}")));
    if matches!(cli.cmd, Some(Cmd::Check)) {
        return Ok(true);
    }
    lab::control::available().unwrap_or_else(|e| stop(e));
    sys::keep_memory();
    if cli.profile {
        clock::start();
    }
    private_mounts()?;
    ensure!(is_own_machine(), "this runs in a VM, by scripts/explore");
    let mut told = programs.iter().chain(replay.iter().map(|r| &r.program));
    let dax = cli.dax || told.any(|program| program.image.dax);
    ensure!(!dax || sys::exists(disk::MEMORY), "{}", disk::NO_MEMORY);
    quiet()?;
    // Nor is anybody stopped who does not sleep.
    let _ = sys::write_file("/proc/sys/kernel/sched_rt_runtime_us", "-1\n");
    // Who waits for all that may still look, as who freezes does, waits for no tick of the clock.
    let _ = sys::write_file("/sys/kernel/rcu_expedited", "1\n");
    // The log is not told each time that caches are dropped.
    sys::write_file("/proc/sys/vm/drop_caches", "4\n")?;
    let dev = ram_disks(2, 32768)?.remove(0);
    let mut bench = Bench::new(&cli.off)?;
    sched::idle()?;
    if cli.noise {
        bench.noise = Some(noise::Noise::start()?);
    }
    let site = Site::new(Disk::new(&cli.fs, &dev), bench)?;
    let plan = Plan {
        stretch: cli.stretch.clone(),
        grammar,
        programs,
        strategy: cli.strategy,
        faults: cli.faults,
        off: cli.off,
        again: cli.again,
        noise: cli.noise,
        dax: cli.dax,
        out: cli.out,
    };
    let mut hunt = Hunt::new(site, plan);
    let clean = match replay {
        Some(schedule) => hunt.replay(&schedule),
        None => hunt.all()?,
    };
    print!("{}", clock::table());
    if cli.test {
        let (passed, failed) = (hunt.batches(), u64::from(!clean));
        let skipped = cli.stretch.count.saturating_sub(passed + failed);
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
    Ok(clean)
}

fn main() {
    let cli = Cli::parse();
    let said = |words: Result<String, String>| {
        println!("{}", words.unwrap_or_else(|e| stop(e)));
        Ok(true)
    };
    let result = match &cli.cmd {
        Some(Cmd::Met {
            folder,
            noted,
            runs,
        }) => said(met::keep(folder, noted, runs)),
        Some(Cmd::Note {
            folder,
            noted,
            page,
        }) => said(met::note(folder, noted, page)),
        Some(Cmd::Noise) => noise::serve().map(|()| true),
        Some(Cmd::Worker) => worker::serve().map(|()| true),
        _ => hunt(cli),
    };
    match result {
        Ok(true) => (),
        Ok(false) => std::process::exit(1),
        Err(e) => stop(e),
    }
}
