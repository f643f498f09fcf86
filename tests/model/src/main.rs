// SPDX-License-Identifier: GPL-2.0
//! Random histories of a file system, against a model in memory and, step by step, against the
//! kernel's ext4. Runs as root inside the VM, and overwrites the devices.
#![forbid(unsafe_code)]

use clap::Parser;
use guest::finder::{is_own_machine, quiet, ram_disks, Stretch};
use guest::fixture::{knows_fs, private_mounts};
use guest::harness::Res;
use guest::{ensure, map, sys};
use model::hunt::{Hunt, Plan};
use std::ops::Range;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Random histories, against a model and against the kernel's ext4")]
struct Cli {
    /// File system type under test.
    #[arg(long, default_value = "rext4", env = "REXT4_FS")]
    fs: String,
    /// Two block devices that may be overwritten. In the VM there are RAM disks beside them.
    #[arg(long, env = "REXT4_DISKS", value_delimiter = ' ')]
    dev: Vec<String>,
    /// Of histories.
    #[command(flatten)]
    stretch: Stretch,
    /// Steps of a history on average.
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// A switch of the race lab: this protection is off.
    #[arg(long)]
    off: Vec<String>,
    /// Where the number of the next history is kept, and what does harm.
    #[arg(long, env = "REXT4_SHARE", default_value = "/tmp")]
    out: PathBuf,
    /// Ends with a line that counts each batch as a test; for which there was no time is skipped.
    #[arg(long)]
    test: bool,
    /// Runs this history only: its number, or a file with its text, as a failure leaves it.
    #[arg(long)]
    replay: Option<String>,
}

/// What is off is so as long as the file is open.
fn off(switches: &[String]) -> Res<Option<sys::Fd>> {
    if switches.is_empty() {
        return Ok(None);
    }
    let lab = sys::open("/sys/kernel/debug/rext4/lab", libc::O_RDWR, 0)?;
    for switch in switches {
        lab.write(format!("off {switch}").as_bytes())?;
    }
    Ok(Some(lab))
}

fn hunt(cli: &Cli) -> Res<bool> {
    private_mounts()?;
    map::install_sigbus();
    sys::keep_memory();
    ensure!(knows_fs("ext4"), "the kernel has no ext4 to compare with");
    quiet()?;
    let _lab = off(&cli.off)?;
    if cli.test {
        println!("1..1");
    }
    let mut devices = cli.dev.clone();
    if is_own_machine() {
        devices.extend(ram_disks(2, 16384)?);
    }
    let mut hunt = Hunt::new(&cli.fs, &devices)?;
    let plan = Plan {
        stretch: cli.stretch.clone(),
        steps: cli.steps,
        out: cli.out.clone(),
    };
    if let Some(text) = &cli.replay {
        return replay(&mut hunt, &plan, text);
    }
    let good = hunt.all(&plan)?;
    if cli.test {
        let (passed, failed) = (hunt.batches, u64::from(!good));
        let Range { start, end } = plan.batches();
        let skipped = (end - start).saturating_sub(passed + failed);
        println!("{}", hunt.sum);
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
    Ok(good)
}

/// A history by its number, or by a file that has its text.
fn replay(hunt: &mut Hunt, plan: &Plan, which: &str) -> Res<bool> {
    if let Ok(number) = which.parse() {
        return Ok(hunt.blame(plan, number));
    }
    let text = std::fs::read_to_string(which)?;
    match ron::from_str(&text) {
        Ok(history) => Ok(hunt.report(&history)),
        Err(e) => guest::fail!("{which}: {e}"),
    }
}

fn main() {
    match hunt(&Cli::parse()) {
        Ok(true) => (),
        Ok(false) => std::process::exit(1),
        Err(e) => {
            eprintln!("model: {e}");
            std::process::exit(2)
        }
    }
}
