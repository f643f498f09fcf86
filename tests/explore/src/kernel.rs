// SPDX-License-Identifier: GPL-2.0
//! The kernel as the world that the threads run in. Whoever says who goes on is of the class
//! SCHED_IDLE, and there is one CPU: it looks when nobody else can do anything.

use crate::clock::{timed, Part};
use crate::drive::{At, Place, World};
use crate::noise::Noise;
use crate::oracle::Outcome;
use crate::order::{Fault, Go};
use crate::program::{Program, KERNEL, THREADS};
use crate::watch::Watch;
use crate::worker::{path, told};
use guest::fixture::MNT;
use guest::harness::Res;
use guest::sys::{self, Fd};
use guest::{ensure, fail, sched};
use lab::control::{Control, Parked};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// All are blocked for so long: it hangs. Less than the lab lets a thread wait.
const HANG: Duration = Duration::from_secs(10);
/// And at so many looks in a row: a machine that stands still itself says nothing.
const HANG_LOOKS: usize = 400;
/// So much later is each step. Whether a file has been changed in the same tick as before says
/// whether its time changes again, and so whether what must not sleep can be done at once.
const TICKS: Duration = Duration::from_millis(20);
/// Looks in a row at which somebody else could still run, and after which that is believed to be
/// nobody under test.
const MOVING: usize = 200;
/// How long a process may take that nobody holds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is a thread under test.
pub struct Worker {
    child: Child,
    stream: UnixStream,
    stat: Fd,
    /// What it has said, up to an incomplete line.
    said: Vec<u8>,
}

impl Worker {
    /// `role`: the command of this program that it runs.
    pub fn start(role: &str) -> Res<Worker> {
        let (stream, theirs) = UnixStream::pair()?;
        let child = Command::new(std::env::current_exe()?)
            .arg(role)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let stat = sys::rdonly(&format!("/proc/{}/stat", child.id()))?;
        stream.set_nonblocking(true)?;
        Ok(Worker {
            child,
            stream,
            stat,
            said: Vec::new(),
        })
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn say(&mut self, line: &str) -> Res {
        Ok(self.stream.write_all(format!("{line}\n").as_bytes())?)
    }

    /// A line that it has said, if there is one.
    pub fn heard(&mut self) -> Res<Option<String>> {
        let mut part = [0; 4096];
        loop {
            if let Some(end) = self.said.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line);
                return Ok(Some(text.trim_end().to_string()));
            }
            match self.stream.read(&mut part) {
                Ok(0) => fail!("a process under test has ended"),
                Ok(n) => self.said.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Waits for what it says.
    pub fn answer(&mut self) -> Res<String> {
        let mut begun = None;
        loop {
            if let Some(line) = self.heard()? {
                return Ok(line);
            }
            // To ask for the time is a system call.
            if begun.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                fail!("a process under test does not answer");
            }
            std::thread::yield_now();
        }
    }

    /// It has done as it was told.
    fn is_ready(&mut self) -> Res {
        let answer = self.answer()?;
        ensure!(answer == "ready", "{answer}");
        Ok(())
    }

    /// Is it asleep?
    fn sleeps(&self) -> Res<bool> {
        let mut text = [0; 512];
        let n = self.stat.pread_once(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..n]);
        let state = text.rsplit_once(") ").map(|(_, after)| after);
        Ok(state.is_some_and(|s| s.starts_with(['S', 'D'])))
    }

    /// Where it sleeps in the kernel.
    fn stack(&self) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/stack", self.pid()));
        let text = text.unwrap_or_default();
        let names = text.lines().take(8).map(|l| {
            let name = l.rsplit("] ").next().unwrap_or(l);
            name.split('+').next().unwrap_or(name)
        });
        names.collect::<Vec<_>>().join(" < ")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let begun = Instant::now();
        // One that cannot be killed stays until the machine is reset.
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }
}

/// The processes, and the lab's control file.
pub struct Bench {
    control: Control,
    workers: Vec<Worker>,
    /// If there is to be any.
    pub noise: Option<Noise>,
    /// The names of all points.
    pub points: Vec<String>,
    /// There is one CPU: who looks does so when no thread under test can run.
    alone: bool,
    watch: Watch,
    /// How many can run.
    load: Fd,
}

impl Bench {
    pub fn new(off: &[String]) -> Res<Bench> {
        let control = Control::open()?;
        for switch in off {
            control.off(switch)?;
        }
        Ok(Bench {
            points: control.points()?,
            alone: std::thread::available_parallelism()?.get() == 1,
            control,
            workers: Vec::new(),
            noise: None,
            watch: Watch::start()?,
            load: sys::rdonly("/proc/loadavg")?,
        })
    }

    /// Makes all ready for a run; its files are there.
    pub fn begin(&mut self, run: u64, program: &Program, drawn: bool) -> Res<Kernel<'_>> {
        let threads = program.threads.len();
        while self.workers.len() < threads {
            self.workers.push(Worker::start("worker")?);
        }
        let drawn = u8::from(drawn);
        let workers = &mut self.workers[..threads];
        for (thread, worker) in workers.iter_mut().enumerate() {
            worker.say(&format!("open {run} {thread} {drawn} {program}"))?;
        }
        workers.iter_mut().try_for_each(Worker::is_ready)?;
        if let Some(who) = stepped(workers, program) {
            self.control.step(who)?;
        }
        if let Some(noise) = &mut self.noise {
            noise.begin(path(run, 0), program);
        }
        self.watch
            .begin(self.workers[..threads].iter().map(Worker::pid));
        Ok(Kernel {
            watch: &self.watch,
            load: &self.load,
            moving: 0,
            noise: self.noise.as_mut(),
            alone: self.alone,
            base: program.image.base(),
            tids: Vec::new(),
            control: &self.control,
            workers: &mut self.workers[..threads],
            states: vec![State::Idle; threads],
            ops: program.threads.iter().map(Vec::len).collect(),
            outcomes: vec![Vec::new(); threads],
        })
    }

    /// After a run.
    pub fn end(&mut self, program: &Program) -> Res {
        self.watch.end();
        let workers = &mut self.workers[..program.threads.len()];
        if let Some(who) = stepped(workers, program) {
            self.control.unstep(who)?;
        }
        self.noise.as_mut().map_or(Ok(()), Noise::end)?;
        workers.iter_mut().try_for_each(|w| w.say("close"))?;
        workers.iter_mut().try_for_each(Worker::is_ready)
    }

    /// Processes that hang are ended.
    pub fn kill(&mut self) {
        // One of them may be who has frozen it, and others wait for him.
        let _ = sys::rdonly(MNT).and_then(|all| all.freeze(false));
        let _ = self.control.unstep("workers");
        for worker in &self.workers {
            let _ = self.control.unstep(worker.pid());
        }
        self.workers.clear();
        self.watch.end();
        // It may wait for one of them.
        if self.noise.take().is_some() {
            self.noise = Noise::start().ok();
        }
    }
}

/// Who parks at points in a run.
fn stepped(workers: &[Worker], program: &Program) -> Option<String> {
    let kernel = program.workers.then(|| "workers".to_string());
    let all = workers.iter().enumerate();
    let stop = all.filter(|(thread, _)| !program.is_through(*thread));
    let pids = stop.map(|(_, w)| w.pid().to_string());
    let all: Vec<String> = kernel.into_iter().chain(pids).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits for us.
    Idle,
    Parked,
    /// It has gone on.
    Busy,
}

pub struct Kernel<'a> {
    control: &'a Control,
    workers: &'a mut [Worker],
    states: Vec<State>,
    ops: Vec<usize>,
    alone: bool,
    base: u64,
    watch: &'a Watch,
    load: &'a Fd,
    /// Looks in a row at which somebody else could still run.
    moving: usize,
    noise: Option<&'a mut Noise>,
    /// Threads of the kernel that are parked, the first to be so first.
    tids: Vec<i32>,
    pub outcomes: Vec<Vec<Outcome>>,
}

/// `base`: where byte 0 is.
fn at(parked: Parked, base: u64) -> At {
    let faults = parked.errors.iter().filter_map(|name| Fault::of(name));
    At {
        faults: faults.collect(),
        point: parked.point,
        ino: parked.ino,
        byte: parked.start.saturating_sub(base),
        tid: parked.tid,
    }
}

impl Kernel<'_> {
    /// Whether the operation of a thread that is not parked is over.
    fn is_over(&mut self, thread: usize) -> Res<bool> {
        let Some(line) = self.workers[thread].heard()? else {
            return Ok(false);
        };
        let Some(outcome) = told(&line) else {
            fail!("{line}");
        };
        self.outcomes[thread].push(outcome);
        self.states[thread] = State::Idle;
        Ok(true)
    }

    fn places(&mut self) -> Res<Vec<Place>> {
        let mut parked = match self.states.iter().all(|s| *s == State::Idle) {
            true => Vec::new(),
            false => self.control.parked()?,
        };
        let mut places = Vec::new();
        for thread in 0..self.workers.len() {
            let pid = self.workers[thread].pid();
            let here = parked.iter().position(|p| p.tid == pid);
            places.push(match (self.states[thread], here) {
                (_, Some(here)) => {
                    self.states[thread] = State::Parked;
                    Place::Parked(at(parked.swap_remove(here), self.base))
                }
                (State::Busy | State::Parked, None) if !self.is_over(thread)? => Place::Blocked,
                (_, None) => Place::Between(self.outcomes[thread].len()),
            });
        }
        if self.states.iter().all(|s| *s == State::Idle) {
            // What the kernel has still to do is nobody's any more.
            parked.clear();
        }
        self.workers_at(parked, &mut places);
        Ok(places)
    }

    /// Those of the kernel, which are whoever is left of the parked ones.
    fn workers_at(&mut self, mut parked: Vec<Parked>, places: &mut Vec<Place>) {
        let is_parked = |tid: &i32| parked.iter().any(|p| p.tid == *tid);
        self.tids.retain(is_parked);
        for one in &parked {
            if !self.tids.contains(&one.tid) {
                self.tids.push(one.tid);
            }
        }
        places.resize(THREADS, Place::Between(0));
        for tid in self.tids.iter().take(KERNEL) {
            if let Some(here) = parked.iter().position(|p| p.tid == *tid) {
                places.push(Place::Parked(at(parked.swap_remove(here), self.base)));
            }
        }
    }

    /// Can somebody run besides who asks? The kernel's own threads are of the ordinary class, and
    /// SCHED_IDLE gets a share beside them. Who is blocked may wait for one of them, and not for
    /// another thread under test.
    fn others_run(&self) -> Res<bool> {
        let mut text = [0; 64];
        let n = self.load.pread_once(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..n]);
        let running = text
            .split(' ')
            .nth(3)
            .and_then(|word| word.split('/').next());
        Ok(running.is_some_and(|n| n != "1"))
    }

    /// All places, if nothing moves.
    fn look(&mut self) -> Res<Option<Vec<Place>>> {
        self.watch.look();
        let places = self.places()?;
        if self.alone {
            let moves = places.contains(&Place::Blocked) && self.others_run()?;
            self.moving = if moves { self.moving + 1 } else { 0 };
            return Ok((self.moving == 0 || self.moving > MOVING).then_some(places));
        }
        let mut blocked = false;
        for (place, worker) in places.iter().zip(self.workers.iter()) {
            if *place == Place::Blocked {
                blocked = true;
                if !worker.sleeps()? {
                    return Ok(None);
                }
            }
        }
        if !blocked {
            return Ok(Some(places));
        }
        // It may have fallen asleep at a point, or for want of work, between the looks.
        self.places().map(Some)
    }

    /// Where those sleep that cannot go on, if this kernel tells.
    pub fn stacks(&self) -> String {
        let all = self.workers.iter().map(Worker::stack);
        let told = all.filter(|stack| !stack.is_empty());
        told.map(|stack| format!("; {stack}")).collect()
    }
}

impl World for Kernel<'_> {
    type Error = guest::harness::Stop;

    fn settle(&mut self) -> Res<Vec<Place>> {
        timed(Part::Settle, || self.all_places())
    }

    fn go(&mut self, go: Go) -> Res {
        timed(Part::Go, || self.let_go(go))
    }
}

impl Kernel<'_> {
    fn all_places(&mut self) -> Res<Vec<Place>> {
        let (mut begun, mut looks) = (None, 0);
        loop {
            let Some(places) = self.look()? else {
                std::thread::yield_now();
                continue;
            };
            let mut all = places.iter().enumerate();
            let ready = all.any(|(thread, place)| match place {
                Place::Between(done) => self.ops.get(thread).is_some_and(|ops| done < ops),
                Place::Parked(_) => true,
                Place::Blocked => false,
            });
            if ready || !places.contains(&Place::Blocked) {
                return Ok(places);
            }
            // What a thread of the kernel does for it may take a while.
            let time = begun.get_or_insert_with(Instant::now).elapsed();
            if time > HANG && looks > HANG_LOOKS {
                return Ok(places);
            }
            // Where there is one CPU it does that first.
            looks += 1;
            match looks {
                ..20 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn let_go(&mut self, go: Go) -> Res {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        sched::set_clock(now.unwrap_or_default() + TICKS)?;
        if let Some(noise) = &mut self.noise {
            noise.step()?;
        }
        let fault = go.fault.map(Fault::name);
        if let Some(nth) = go.thread.checked_sub(THREADS) {
            return Ok(self.control.go(self.tids[nth], fault)?);
        }
        let worker = &mut self.workers[go.thread];
        if self.states[go.thread] == State::Idle {
            worker.say("go")?;
        } else {
            self.control.go(worker.pid(), fault)?;
        }
        self.states[go.thread] = State::Busy;
        Ok(())
    }
}
