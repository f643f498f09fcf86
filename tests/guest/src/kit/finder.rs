// SPDX-License-Identifier: GPL-2.0
//! What the programs share that look for faults by numbered tries: which tries, and a machine that
//! does nothing by itself.

use crate::ensure;
use crate::fixture::run_cmd;
use crate::harness::Res;
use crate::sys::{self, Aligned, Fd, Sys};
use clap::Args;
use std::ops::Range;
use std::time::Duration;

/// What mke2fs would draw by chance: with this for the file system, and for the seed of its hashes,
/// one image is like another.
pub const UUID: &str = "5ee7a5e5-0000-4000-8000-000000000001";

/// What mke2fs is given as -O: all that an image has, and these words. What it would have by
/// itself is another thing on another host.
pub fn features(words: &str) -> String {
    let all = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
               sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(",{words}")
    };
    format!("{all}{words}")
}

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

/// What is on the device, which is not mounted, has met no error since it was made.
pub fn no_error_noted(dev: &str) -> Result<(), String> {
    const COUNT: usize = 0x194;
    let mut block = Aligned::new(1024);
    let f = sys::open(dev, libc::O_RDONLY | libc::O_DIRECT, 0).map_err(|e| e.to_string())?;
    f.pread(&mut block, 1024).map_err(|e| e.to_string())?;
    match block[COUNT..COUNT + 4] {
        [0, 0, 0, 0] => Ok(()),
        [a, b, c, d] => {
            let count = u32::from_le_bytes([a, b, c, d]);
            Err(format!("the superblock has a note of {count} errors"))
        }
        _ => unreachable!("four bytes"),
    }
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
