// SPDX-License-Identifier: GPL-2.0
//! What a machine does by itself, and at the worst time: pages are reclaimed, mapped ones too, or
//! moved to another place, and made into one large folio. A process of its own does it between two
//! steps; where it has to wait for who is parked it does, and nobody waits for it before the run is
//! over.

use crate::kernel::Worker;
use crate::op::MOST;
use crate::program::Program;
use guest::harness::Res;
use guest::map::Map;
use guest::sched;
use guest::sys::{self, Sys};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, Write};
use std::time::Duration;

/// Of so many steps one has noise before it, about.
const SELDOM: u32 = 6;
/// The group of whose memory some is taken back: also pages that are mapped, which drop_caches
/// leaves alone.
const GROUPS: &str = "/tmp/groups";
const RECLAIM: &str = "/tmp/groups/explore/memory.reclaim";
const SHARE: &[u8] = b"256K\n";
/// Before the second try.
const ONCE: Duration = Duration::from_millis(20);

/// What this process and those that it starts from now on have in memory is counted, if the kernel
/// can.
fn join_group() -> Sys<()> {
    sys::mkdir(GROUPS, 0o755)?;
    sys::mount("none", GROUPS, "cgroup2", 0, "")?;
    sys::write_file(&format!("{GROUPS}/cgroup.subtree_control"), "+memory\n")?;
    sys::mkdir(&format!("{GROUPS}/explore"), 0o755)?;
    sys::write_file(&format!("{GROUPS}/explore/cgroup.procs"), "0\n")
}

pub struct Noise {
    worker: Worker,
    busy: bool,
    rng: ChaCha8Rng,
    /// The file that a run is about.
    path: String,
}

impl Noise {
    pub fn start() -> Res<Noise> {
        // 4: no line in the log for each time.
        sys::write_file("/proc/sys/vm/drop_caches", "4\n")?;
        // Done once: the processes may have to be started anew.
        if !sys::exists(RECLAIM) {
            if let Err(e) = join_group() {
                println!("no noise by memory.reclaim: {e}");
            }
        }
        Ok(Noise {
            worker: Worker::start("noise")?,
            busy: false,
            rng: ChaCha8Rng::seed_from_u64(0),
            path: String::new(),
        })
    }

    /// The same program has the same noise.
    pub fn begin(&mut self, path: String, program: &Program) {
        let mut hasher = DefaultHasher::new();
        program.to_string().hash(&mut hasher);
        self.rng = ChaCha8Rng::seed_from_u64(hasher.finish());
        self.path = path;
    }

    /// Before somebody goes on.
    pub fn step(&mut self) -> Res {
        let (now, what) = (
            self.rng.random_ratio(1, SELDOM),
            self.rng.random_range(0..4),
        );
        if self.busy && self.worker.heard()?.is_some() {
            self.busy = false;
        }
        if !now || self.busy {
            return Ok(());
        }
        let line = match what {
            0 => "reclaim".to_string(),
            1 => "compact".to_string(),
            2 => "press".to_string(),
            _ => format!("collapse {}", self.path),
        };
        self.busy = true;
        self.worker.say(&line)
    }

    /// Waits until it has come to an end: nobody is parked any more.
    pub fn end(&mut self) -> Res {
        if std::mem::take(&mut self.busy) {
            self.worker.answer()?;
        }
        Ok(())
    }
}

fn collapse(path: &str) -> Sys<()> {
    let f = sys::rdwr(path)?;
    let map = Map::shared(&f, MOST as usize)?;
    map.collapse()
}

/// Where there is nothing to be had, for all of it is dirty, or somebody holds it, the kernel tries
/// 16 times (`user_proactive_reclaim()` in mm/vmscan.c). Once does.
fn press() -> Sys<()> {
    let group = sys::open(RECLAIM, libc::O_WRONLY, 0)?;
    sched::interrupt_after(ONCE)?;
    let taken = group.pwrite_once(SHARE, 0);
    sched::interrupt_after(Duration::ZERO)?;
    taken.map(|_| ())
}

/// The process.
pub fn serve() -> Res {
    sched::uninterrupted()?;
    let (stdin, mut answers) = (std::io::stdin(), crate::worker::answers()?);
    for line in stdin.lock().lines() {
        let line = line?;
        // There may be nothing to do, or no such thing in this kernel.
        let _ = match line.split_once(' ') {
            Some((_, path)) => collapse(path),
            None if line == "press" => press(),
            None if line == "reclaim" => sys::write_file("/proc/sys/vm/drop_caches", "3\n"),
            None => sys::write_file("/proc/sys/vm/compact_memory", "1\n"),
        };
        answers.write_all(b"ready\n")?;
    }
    Ok(())
}
