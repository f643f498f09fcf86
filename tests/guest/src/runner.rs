// SPDX-License-Identifier: GPL-2.0
//! The supervisor prints; a worker process runs the cases.
//!
//! A case that hangs in the kernel cannot be cancelled, only abandoned: so the cases run in a child
//! that the supervisor can kill, and the supervisor never touches the file system itself.

use crate::cases::SETS;
use crate::fixture::{private_mounts, slowness, T};
use crate::harness::{jobs, Job, Res, Stop};
use crate::kmsg::{self, Kmsg};
use crate::{map, Opts};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A machine that has other things to do takes so much longer. It is no business of a case how long
/// it takes: this is for those that have no end.
const BUSY: u64 = 6;

const MARK: char = '\u{1}';

struct Tally {
    n: usize,
    pass: usize,
    fail: usize,
    skip: usize,
    failed: Vec<String>,
}

fn start_worker(o: &Opts, list: &[String]) -> std::io::Result<(Child, Receiver<String>)> {
    let mut child = Command::new("/proc/self/exe")
        .arg("worker")
        .args(["--fs", &o.fs])
        .args(o.dev.iter().flat_map(|d| ["--dev", d.as_str()]))
        .args(list.iter().map(|n| format!("={n}")))
        .env_remove("REXT4_DISKS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let out = child
        .stdout
        .take()
        .ok_or_else(|| std::io::Error::other("no pipe"))?;
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
            if tx
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    });
    Ok((child, rx))
}

fn say(t: &mut Tally, verdict: &str, name: &str, note: &str, since: Instant) {
    t.n += 1;
    let ok = match verdict {
        "pass" => {
            t.pass += 1;
            "ok"
        }
        "skip" => {
            t.skip += 1;
            "ok"
        }
        _ => {
            t.fail += 1;
            t.failed.push(name.to_string());
            "not ok"
        }
    };
    let time = format!("{:.1}s", since.elapsed().as_secs_f32());
    let note = note.replace('\n', " | ");
    match verdict {
        "pass" => println!("{ok} {} {name} # {time}", t.n),
        "skip" => println!("{ok} {} {name} # SKIP {note}", t.n),
        _ => println!("{ok} {} {name} # {time} {note}", t.n),
    }
    let _ = std::io::stdout().flush();
}

/// Where the threads of a stuck worker are, and what the kernel said.
fn autopsy(pid: u32, log: &Kmsg) {
    let tasks = format!("/proc/{pid}/task");
    for e in std::fs::read_dir(&tasks).into_iter().flatten().flatten() {
        let at = std::fs::read_to_string(e.path().join("stack")).unwrap_or_default();
        let wchan = std::fs::read_to_string(e.path().join("wchan")).unwrap_or_default();
        println!("# thread {}: {wchan}", e.file_name().to_string_lossy());
        for l in at.lines().take(30) {
            println!("#   {l}");
        }
    }
    let _ = std::fs::write("/proc/sysrq-trigger", "w");
    std::thread::sleep(Duration::from_millis(300));
    for l in log.take().iter().rev().take(120).rev() {
        println!("#   {l}");
    }
}

/// Kills the worker; false if the kernel holds it.
fn put_down(child: &mut Child) -> bool {
    let _ = child.kill();
    for _ in 0..100 {
        if let Ok(Some(_)) = child.try_wait() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

/// What became of a case.
enum End {
    /// The worker's verdict, and its note.
    Told(String, String),
    /// The worker died, and how.
    Died(String),
    /// Nothing came in time.
    Late,
}

/// Waits for the end of the case that the worker runs, and prints what it says meanwhile.
fn await_end(
    child: &mut Child,
    rx: &Receiver<String>,
    since: Instant,
    limit: Duration,
) -> std::io::Result<End> {
    loop {
        let left = limit.saturating_sub(since.elapsed());
        match rx.recv_timeout(left) {
            Ok(line) => match line.strip_prefix(MARK) {
                Some(r) => {
                    let mut it = r.splitn(2, ' ');
                    let v = it.next().unwrap_or("fail").to_string();
                    return Ok(End::Told(v, it.next().unwrap_or("").to_string()));
                }
                None => println!("# {line}"),
            },
            Err(RecvTimeoutError::Timeout) => return Ok(End::Late),
            Err(RecvTimeoutError::Disconnected) => {
                let st = child.wait()?;
                return Ok(End::Died(match st.signal() {
                    Some(s) => format!("the worker died of signal {s}"),
                    None => format!("the worker left with code {:?}", st.code()),
                }));
            }
        }
    }
}

/// Tells a case whose worker came to its end, with what the kernel said of it.
fn tell(t: &mut Tally, log: &Kmsg, name: &str, (verdict, note): (&str, &str), since: Instant) {
    // Messages of other CPUs may come a moment after the call returned.
    let lines = log.take();
    match kmsg::defect(&lines) {
        Some(l) => {
            let why = format!("kernel log: {l} (the case itself: {verdict} {note})");
            say(t, "fail", name, &why, since);
        }
        None => say(t, verdict, name, note, since),
    }
    if t.failed.last().is_some_and(|last| last == name) {
        for l in lines.iter().take(40) {
            println!("#   log: {l}");
        }
    }
}

/// Runs jobs, in workers one after the other, until all are told or the kernel holds a worker.
fn run_all(o: &Opts, all: &[Job], log: &Kmsg, t: &mut Tally) -> std::io::Result<()> {
    let slow = slowness();
    let mut next = 0;
    'restart: while next < all.len() {
        let list: Vec<String> = all[next..].iter().map(|j| j.name()).collect();
        let (mut child, rx) = start_worker(o, &list)?;
        while let Some(job) = all.get(next) {
            let name = job.name();
            let since = Instant::now();
            let limit = Duration::from_secs(job.case.secs * (slow + BUSY));
            let end = await_end(&mut child, &rx, since, limit)?;
            next += 1;
            match end {
                End::Told(verdict, note) => tell(t, log, &name, (&verdict, &note), since),
                End::Died(why) => {
                    say(t, "fail", &name, &why, since);
                    continue 'restart;
                }
                End::Late => {
                    let why = format!("no result in {} s", limit.as_secs());
                    say(t, "fail", &name, &why, since);
                    autopsy(child.id(), log);
                    if put_down(&mut child) {
                        continue 'restart;
                    }
                    for j in &all[next..] {
                        let why = "not run: a process hangs in the kernel";
                        say(t, "fail", &j.name(), why, Instant::now());
                    }
                    return Ok(());
                }
            }
        }
        let _ = child.wait();
    }
    Ok(())
}

pub fn test(o: &Opts, all: &[Job]) -> std::io::Result<i32> {
    println!("TAP version 13\n1..{}", all.len());
    let log = Kmsg::open().map_err(|e| std::io::Error::other(e.to_string()))?;
    let mut t = Tally {
        n: 0,
        pass: 0,
        fail: 0,
        skip: 0,
        failed: Vec::new(),
    };
    let begun = Instant::now();
    run_all(o, all, &log, &mut t)?;
    for f in &t.failed {
        println!("# failed: {f}");
    }
    println!("# {:.0} s on {}", begun.elapsed().as_secs_f32(), o.fs);
    println!("{} passed, {} failed, {} skipped", t.pass, t.fail, t.skip);
    Ok(i32::from(t.fail != 0))
}

fn text_of(p: Box<dyn std::any::Any + Send>) -> String {
    match p.downcast::<String>() {
        Ok(s) => *s,
        Err(p) => p
            .downcast::<&str>()
            .map(|s| s.to_string())
            .unwrap_or_default(),
    }
}

pub fn worker(o: &Opts, list: &[String]) -> Res {
    private_mounts()?;
    map::install_sigbus();
    // A page of the program that is not there yet is read from the root. While memory fails this
    // ends in SIGBUS, and under QEMU with the connection to the root broken off for good.
    map::lock_all()?;
    for job in jobs(SETS, list, false) {
        let mut t = T::new(&o.fs, &o.dev, job.var)?;
        map::sigbus_taken();
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (job.case.run)(&mut t)));
        let r = r.unwrap_or_else(|p| Err(Stop::Fail(format!("test panic: {}", text_of(p)))));
        let end = t.finish(r.is_ok());
        match r.and(end) {
            Ok(()) => println!("{MARK}pass"),
            Err(Stop::Skip(s)) => println!("{MARK}skip {s}"),
            Err(Stop::Fail(s)) => println!("{MARK}fail {}", s.replace('\n', " | ")),
        }
        let _ = std::io::stdout().flush();
    }
    Ok(())
}
