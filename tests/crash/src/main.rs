// SPDX-License-Identifier: GPL-2.0
//! Disks that a power cut may leave, rebuilt from a log of the writes, and what is there after
//! recovery. Runs as root inside the VM.
#![forbid(unsafe_code)]

mod act;
mod disk;
mod hunt;
mod judge;
mod record;
mod states;
mod table;

use act::{steps, Sequence};
use clap::Parser;
use guest::finder::{is_own_machine, quiet, ram_disks, Stretch};
use guest::fixture::{knows_fs, private_mounts};
use guest::harness::Res;
use guest::{ensure, map, sys};
use hunt::{Hunt, Plan};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Disks that a power cut may leave, and what is there after recovery")]
struct Cli {
    /// File system type under test.
    #[arg(long, default_value = "rext4", env = "REXT4_FS")]
    fs: String,
    /// Who recovers beside it.
    #[arg(long, default_value = "ext4", value_delimiter = ' ')]
    beside: Vec<String>,
    /// Of sequences.
    #[command(flatten)]
    stretch: Stretch,
    /// Operations, with commas between them; all if there is none.
    #[arg(long, value_delimiter = ',')]
    ops: Vec<String>,
    /// Mount options for what is recorded.
    #[arg(long, default_value = "")]
    options: String,
    /// Of so many states the power fails once more during the recovery of one; 0: of none. 100, or
    /// 1 in a replay.
    #[arg(long)]
    again: Option<u64>,
    /// Each handle of the journal is committed alone, so a cut may come between any two of a call.
    /// Wants a module with the race lab.
    #[arg(long)]
    each: bool,
    /// Where the number of the next sequence is kept.
    #[arg(long, env = "REXT4_SHARE", default_value = "/tmp")]
    out: PathBuf,
    /// Does these sequences only, as a failure prints them, with spaces between them.
    #[arg(long, value_delimiter = ' ')]
    replay: Vec<String>,
    /// Only says whether OPS and REPLAY are understood.
    #[arg(long)]
    check: bool,
}

/// What the words of the command line ask for; wrong ones are told, and nothing is done.
fn understood(cli: &Cli) -> Result<(Plan, Vec<Sequence>), String> {
    let words = cli.replay.iter().filter(|word| !word.is_empty());
    let replay = words
        .map(|word| Sequence::parse(word))
        .collect::<Result<Vec<_>, _>>()?;
    let plan = Plan {
        steps: steps(&cli.ops)?,
        stretch: cli.stretch.clone(),
        again: cli.again.unwrap_or(if replay.is_empty() { 100 } else { 1 }),
        wanted: (!replay.is_empty()).then_some(replay.len() as u64),
        options: cli.options.clone(),
        each: cli.each,
        out: cli.out.clone(),
    };
    Ok((plan, replay))
}

fn hunt(cli: &Cli, plan: &Plan, replay: &[Sequence]) -> Res<bool> {
    ensure!(is_own_machine(), "this runs in a VM, by scripts/crash");
    private_mounts()?;
    map::install_sigbus();
    let mut judges = vec![cli.fs.clone()];
    judges.extend(cli.beside.iter().filter(|fs| !fs.is_empty()).cloned());
    for fs in &judges {
        ensure!(knows_fs(fs), "the kernel has no {fs} to recover by");
    }
    quiet()?;
    let ram = ram_disks(1, 16384)?;
    let options = match cli.options.as_str() {
        "" => String::new(),
        text => format!(",{text}"),
    };
    let disks = ["/tmp/written", &ram[0], "/tmp/judged"];
    let mut hunt = Hunt::new(&judges, disks, &options)?;
    if plan.each {
        let lab = sys::open("/sys/kernel/debug/rext4/lab", libc::O_RDWR, 0)?;
        hunt.recorder.lab = Some(lab);
    }
    let numbered = plan.stretch.numbers().map(|n| plan.sequence(n));
    if replay.is_empty() {
        hunt.all(plan, numbered)
    } else {
        hunt.all(plan, replay.iter().cloned())
    }
}

fn main() {
    let cli = Cli::parse();
    let fail = |e: &dyn std::fmt::Display| -> ! {
        eprintln!("crash: {e}");
        std::process::exit(2)
    };
    let (plan, replay) = understood(&cli).unwrap_or_else(|e| fail(&e));
    if cli.check {
        return;
    }
    match hunt(&cli, &plan, &replay) {
        Ok(true) => (),
        Ok(false) => std::process::exit(1),
        Err(e) => fail(&e),
    }
}
