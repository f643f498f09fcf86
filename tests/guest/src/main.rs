// SPDX-License-Identifier: GPL-2.0
//! Tests of a mounted ext4-format filesystem. Run as root inside the VM, on devices that may be
//! overwritten.

mod cases;
mod demo;
mod runner;

use clap::{Args, Parser, Subcommand};
// The modules of cases name what they use by `crate::`, wherever it lies.
use guest::{
    aio, crypt, dm, fiemap, fixture, flags, fsmap, handle, harness, kmsg, map, module, nfs, slow,
    source, sys, uring, wait, watch,
};
use guest::{ensure, errno, fail, same, skip, writelog, xattr};

#[derive(Args, Clone)]
pub struct Opts {
    /// File system type under test.
    #[arg(long, default_value = "rext4", env = "REXT4_FS")]
    fs: String,
    /// Block device that may be overwritten, at least 1 GiB; repeat for more.
    #[arg(long, env = "REXT4_DISKS", value_delimiter = ' ')]
    dev: Vec<String>,
    /// Options for every mount of the file system under test, after those of the case.
    #[arg(long, default_value = "", env = "REXT4_OPTS")]
    opts: String,
}

#[derive(Parser)]
#[command(about = "Tests of a mounted ext4-format filesystem; overwrites the devices it is given")]
struct Cli {
    /// Kernel module to load first; repeat in order of dependence.
    #[arg(long, global = true)]
    module: Vec<String>,
    #[command(subcommand)]
    cmd: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Runs the cases whose name contains one of the words (all without words).
    Test {
        #[command(flatten)]
        o: Opts,
        /// A short selection, for slow emulators.
        #[arg(long)]
        quick: bool,
        /// Other random sequences of operations (fsx, gate) for each number.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// The module of samples/rofs, for the cases rofs/*, which load and remove it.
        #[arg(long, default_value = "", env = "REXT4_ROFS")]
        rofs: String,
        /// Only a share of the cases, such as 1/2: of each two the first.
        #[arg(long, default_value = "1/1")]
        share: harness::Share,
        filter: Vec<String>,
    },
    /// Lists the cases.
    List {
        #[arg(long)]
        quick: bool,
    },
    /// Shows the main job on an image that mke2fs -d filled from a directory.
    Demo {
        #[command(flatten)]
        o: Opts,
        /// The directory the image was filled from.
        #[arg(long)]
        source: String,
        /// The file system the image is handed to and taken back from.
        #[arg(long, default_value = "ext4")]
        other: String,
    },
    /// The same random operations on the file system under test and on the kernel's ext4.
    Diff {
        #[command(flatten)]
        o: Opts,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 3)]
        count: u64,
        #[arg(long, default_value_t = 3000)]
        steps: u64,
        /// Block size of the images.
        #[arg(long, default_value_t = 4096)]
        block: usize,
    },
    #[command(hide = true)]
    Worker {
        #[command(flatten)]
        o: Opts,
        list: Vec<String>,
    },
}

fn check_opts(o: &Opts) -> Result<(), String> {
    if !fixture::knows_fs(&o.fs) {
        return Err(format!(
            "the kernel knows no file system type {}: load its module first",
            o.fs
        ));
    }
    if o.dev.is_empty() {
        return Err("no device: use --dev or REXT4_DISKS".into());
    }
    // For the worker, and for every fixture in it.
    std::env::set_var("REXT4_OPTS", &o.opts);
    Ok(())
}

/// The exit code of what is asked for, or why it could not be done.
fn run(cmd: Cmd) -> Result<i32, String> {
    match cmd {
        Cmd::Test {
            o,
            quick,
            seed,
            rofs,
            share,
            filter,
        } => {
            check_opts(&o)?;
            std::env::set_var("REXT4_SEED", seed.to_string());
            std::env::set_var("REXT4_ROFS", rofs);
            let mut jobs = harness::jobs(cases::SETS, &filter, quick);
            if jobs.is_empty() {
                return Err(format!("no case matches {filter:?}"));
            }
            share.reduce(&mut jobs);
            return runner::test(&o, &jobs).map_err(|e| e.to_string());
        }
        Cmd::List { quick } => {
            for j in harness::jobs(cases::SETS, &[], quick) {
                println!("{}", j.name());
            }
        }
        Cmd::Demo { o, source, other } => {
            check_opts(&o)?;
            demo::run(&o.fs, &o.dev, &source, &other).map_err(|e| e.to_string())?;
        }
        Cmd::Diff {
            o,
            seed,
            count,
            steps,
            block,
        } => {
            check_opts(&o)?;
            let var = match block {
                1024 => harness::K1,
                2048 => harness::K2,
                _ => harness::K4,
            };
            cases::content::diff::tool(&o.fs, &o.dev, var, seed..seed + count, steps)
                .map_err(|e| e.to_string())?;
        }
        Cmd::Worker { o, list } => runner::worker(&o, &list).map_err(|e| e.to_string())?,
    }
    Ok(0)
}

fn main() {
    let cli = Cli::parse();
    for m in &cli.module {
        if let Err(e) = module::load(m) {
            eprintln!("guest: {e}");
            std::process::exit(2);
        }
    }
    match run(cli.cmd) {
        Ok(c) => std::process::exit(c),
        Err(e) => {
            eprintln!("guest: {e}");
            std::process::exit(2);
        }
    }
}
