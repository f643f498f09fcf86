// SPDX-License-Identifier: GPL-2.0
//! Who never comes to rest: a thread under test goes before whoever says who goes on, so one that
//! tries the same thing for ever would keep the CPU for ever, and nobody would know.

use guest::harness::Res;
use guest::sched;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

/// It is looked so often.
const LOOK: Duration = Duration::from_secs(2);
/// So many times in a row nobody could say who goes on: who is at it has to share the CPU. What is
/// found then is a hang.
const TIMES: u32 = 10;

#[derive(Default)]
struct Shared {
    /// Threads are led.
    led: AtomicBool,
    /// How often somebody has looked where they are.
    looks: AtomicU64,
    pids: [AtomicI32; crate::program::THREADS],
}

pub struct Watch(Arc<Shared>);

impl Watch {
    /// For the calling thread, which says who goes on.
    pub fn start() -> Res<Watch> {
        let shared = Arc::new(Shared::default());
        let (watched, leader) = (shared.clone(), std::process::id() as i32);
        std::thread::Builder::new().spawn(move || watch(&watched, leader))?;
        Ok(Watch(shared))
    }

    /// These are led from now on.
    pub fn begin(&self, pids: impl Iterator<Item = i32>) {
        for (place, pid) in self.0.pids.iter().zip(pids.chain(std::iter::repeat(0))) {
            place.store(pid, Relaxed);
        }
        self.0.led.store(true, Relaxed);
    }

    pub fn end(&self) {
        self.0.led.store(false, Relaxed);
    }

    /// Somebody looks where they are.
    pub fn look(&self) {
        self.0.looks.fetch_add(1, Relaxed);
    }
}

fn watch(shared: &Shared, leader: i32) {
    if let Err(e) = sched::first_of_all() {
        println!("nobody watches: {e}");
        return;
    }
    let (mut last, mut same) = (0, 0);
    loop {
        std::thread::sleep(LOOK);
        let looks = shared.looks.load(Relaxed);
        let stopped = shared.led.load(Relaxed) && looks == last;
        same = if stopped { same + 1 } else { 0 };
        last = looks;
        if same >= TIMES {
            let all = shared.pids.iter().map(|pid| pid.load(Relaxed));
            for pid in all.filter(|pid| *pid != 0).chain([leader]) {
                let _ = sched::ordinary(pid);
            }
            same = 0;
        }
    }
}
