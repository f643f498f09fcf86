// SPDX-License-Identifier: GPL-2.0
//! What the programs share that look for faults by numbered tries: which tries, and a machine that
//! does nothing by itself.

use crate::ensure;
use crate::fixture::run_cmd;
use crate::harness::Res;
use crate::sys::{self, Fd, Sys};
use clap::Args;
use std::ops::Range;
use std::time::Duration;

/// What mke2fs would draw by chance: with this for the file system, and for the seed of its hashes,
/// one image is like another.
pub const UUID: &str = "5ee7a5e5-0000-4000-8000-000000000001";

/// Which of all tries.
#[derive(Args, Clone, Debug)]
pub struct Stretch {
    /// Other tries.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The number of the first one.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// How many.
    #[arg(long, default_value_t = 1 << 40)]
    pub count: u64,
    /// None is begun after so many seconds.
    #[arg(long, default_value = "3600", value_parser = seconds)]
    pub time: Duration,
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

impl Stretch {
    /// The numbers of the tries.
    pub fn numbers(&self) -> Range<u64> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// Whether this is a VM that scripts/vm has started. Another machine is left as it is.
pub fn is_own_machine() -> bool {
    std::env::var_os("REXT4_ENGINE").is_some()
}

/// Nothing happens at a time of its own.
pub fn quiet() -> Res {
    if !is_own_machine() {
        return Ok(());
    }
    // Where there is no udev there is nobody to stop.
    let _ = run_cmd("udevadm", &["control", "--stop-exec-queue"]);
    let _ = sys::write_file("/sys/kernel/rcu_expedited", "1\n");
    sys::write_file("/proc/sys/vm/dirty_writeback_centisecs", "0\n")?;
    Ok(())
}

/// A file gets all blocks that there are: how many bytes it has then, those of the last call that
/// failed not counted. One with a block map has to be written.
pub fn fill(f: &Fd, block: u64) -> Sys<u64> {
    let (mut at, mut step) = (0, 1 << 22);
    while step >= block {
        let mut taken = f.fallocate(0, at, step);
        if matches!(&taken, Err(e) if e.errno == libc::EOPNOTSUPP) {
            taken = f.pwrite(&vec![0; step as usize], at);
        }
        match taken {
            Ok(()) => at += step,
            Err(e) if e.errno == libc::ENOSPC => step /= 2,
            Err(e) => return Err(e),
        }
    }
    Ok(at)
}

/// So many disks of `kib` KiB in memory: their devices. What is submitted to them is done when the
/// call returns. Once in the life of a machine.
pub fn ram_disks(number: usize, kib: usize) -> Res<Vec<String>> {
    ensure!(
        is_own_machine(),
        "not in a VM of scripts/vm: its memory is not for disks"
    );
    let (count, size) = (format!("rd_nr={number}"), format!("rd_size={kib}"));
    let (code, text) = run_cmd("modprobe", &["brd", &count, &size])?;
    ensure!(code == 0, "modprobe brd: {}", text.trim());
    Ok((0..number).map(|n| format!("/dev/ram{n}")).collect())
}
