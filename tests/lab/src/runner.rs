// SPDX-License-Identifier: GPL-2.0
//! Runs races one after the other and prints what came of them.
//!
//! Each run is a process: a thread that the kernel does not let go takes its process along, and not
//! the lab.

use crate::one::VERDICT;
use crate::race::{Mode, Race};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::{Duration, Instant};

/// More than a run takes, its hangs included.
const LIMIT: Duration = Duration::from_secs(600);

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Clean,
    Harm(String),
    Broken(String),
    /// Not run, and why.
    Skipped(String),
}

impl End {
    fn of(line: &str) -> End {
        match line.split_once(' ') {
            None if line == "clean" => End::Clean,
            Some(("harm", s)) => End::Harm(s.into()),
            Some((_, s)) => End::Broken(s.into()),
            None => End::Broken(line.into()),
        }
    }

    /// Is this how a run in that mode must end?
    fn right(&self, mode: Mode) -> bool {
        match mode {
            Mode::Off => matches!(self, End::Harm(_)),
            Mode::On => *self == End::Clean,
        }
    }

    /// As the results have it.
    fn word(&self, mode: Mode) -> &'static str {
        match (self, mode) {
            (End::Harm(_), _) => "harm",
            (End::Clean, Mode::Off) => "none",
            (End::Clean, Mode::On) => "clean",
            (End::Broken(_), _) => "broken",
            (End::Skipped(_), _) => "skipped",
        }
    }

    fn words(&self) -> &str {
        match self {
            End::Clean => "",
            End::Harm(s) | End::Broken(s) | End::Skipped(s) => s,
        }
    }
}

struct Row {
    race: &'static Race,
    off: End,
    on: End,
    seconds: f64,
}

impl Row {
    /// Is its run without the protection put off to the end?
    fn waits(&self) -> bool {
        self.race.for_good && !matches!(self.on, End::Skipped(_))
    }
}

/// Kills a process; false if the kernel holds it.
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

/// A thread that had to be killed may have kept its file system mounted up to now.
fn until_free(disks: &[String]) {
    for d in disks {
        for _ in 0..500 {
            match guest::sys::open(d, libc::O_RDWR | libc::O_EXCL, 0) {
                Err(e) if e.errno == libc::EBUSY => std::thread::sleep(Duration::from_millis(20)),
                _ => break,
            }
        }
    }
}

/// One run. `Err`: its process cannot be ended, and nothing more can be run.
fn run_one(
    race: &Race,
    mode: Mode,
    fs: &str,
    disks: &[String],
    out: &Path,
) -> std::io::Result<Result<End, End>> {
    let mut child = Command::new("/proc/self/exe")
        .args(["one", race.row, mode.word(), "--fs", fs])
        .args(disks.iter().flat_map(|d| ["--dev", d.as_str()]))
        .arg("--out")
        .arg(out)
        .env_remove("REXT4_DISKS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = child.stdout.take();
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        let lines = pipe.map(|p| BufReader::new(p).lines());
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + LIMIT;
    let mut end = None;
    loop {
        match rx.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix(VERDICT) {
                // It has no end: its processes stay, and have the pipe.
                Some(v) if race.for_good && mode == Mode::Off => return Ok(Ok(End::of(v))),
                // Its last word, but not its end.
                Some(v) => end = Some(End::of(v)),
                None => println!("# {}: {line}", race.stem(mode)),
            },
            Err(RecvTimeoutError::Disconnected) => {
                let status = child.wait()?;
                until_free(disks);
                let died = End::Broken(format!("the process ended with {status}"));
                return Ok(Ok(end.unwrap_or(died)));
            }
            Err(RecvTimeoutError::Timeout) => {
                let stuck = End::Broken(format!("no end in {} s", LIMIT.as_secs()));
                let end = end.unwrap_or(stuck);
                return Ok(match put_down(&mut child) {
                    true => Ok(end),
                    false => Err(end),
                });
            }
        }
    }
}

fn say(row: &Row) {
    let words = |e: &End| match e.words() {
        "" => String::new(),
        w => format!(" ({w})"),
    };
    println!(
        "{:<4} {:<22} off -> {}{}; on -> {}{}; {:.1} s",
        row.race.row,
        row.race.name,
        row.off.word(Mode::Off),
        words(&row.off),
        row.on.word(Mode::On),
        words(&row.on),
        row.seconds
    );
    let _ = std::io::stdout().flush();
}

/// What all runs have in common.
pub struct Place<'a> {
    fs: &'a str,
    disks: &'a [String],
    out: &'a Path,
}

impl<'a> Place<'a> {
    /// Results go to `out`.
    pub fn new(fs: &'a str, disks: &'a [String], out: &'a Path) -> std::io::Result<Place<'a>> {
        std::fs::create_dir_all(out)?;
        guest::fixture::private_mounts().map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(Place { fs, disks, out })
    }

    /// One race in one mode, so often; the worst of them. Nothing is run any more once `stuck`.
    fn runs(&self, race: &Race, mode: Mode, runs: usize, stuck: &mut bool) -> std::io::Result<End> {
        let mut worst = End::Broken("not run: a process hangs in the kernel".into());
        for _ in 0..runs {
            if *stuck {
                break;
            }
            let end = run_one(race, mode, self.fs, self.disks, self.out)?;
            worst = end.unwrap_or_else(|e| {
                *stuck = true;
                e
            });
            // Harm must be seen each time, or not once.
            if !worst.right(mode) {
                break;
            }
        }
        Ok(worst)
    }

    /// What the lab does itself, with all protections on. Returns whether it does.
    pub fn selftests(&self, tests: &[&Race], runs: usize) -> std::io::Result<bool> {
        let mut sound = true;
        let mut stuck = false;
        for test in tests {
            let since = Instant::now();
            let end = self.runs(test, Mode::On, runs, &mut stuck)?;
            sound &= end.right(Mode::On);
            let (row, name, word) = (test.row, test.name, end.word(Mode::On));
            let seconds = since.elapsed().as_secs_f64();
            println!("{row} {name} -> {word} {}; {seconds:.1} s", end.words());
        }
        Ok(sound && !stuck)
    }

    /// All races, `runs` times each. Returns whether all went as they must.
    pub fn run(&self, races: &[&'static Race], runs: usize) -> std::io::Result<bool> {
        let mut rows = Vec::new();
        let mut stuck = false;
        for &race in races {
            let since = Instant::now();
            let (off, on) = match (race.needs)() {
                Err(why) => (End::Skipped(why.clone()), End::Skipped(why)),
                Ok(()) if race.for_good => {
                    // Its turn comes at the end.
                    let on = self.runs(race, Mode::On, runs, &mut stuck)?;
                    (End::Clean, on)
                }
                Ok(()) => {
                    let off = self.runs(race, Mode::Off, runs, &mut stuck)?;
                    (off, self.runs(race, Mode::On, runs, &mut stuck)?)
                }
            };
            let row = Row {
                race,
                off,
                on,
                seconds: since.elapsed().as_secs_f64() / runs as f64,
            };
            if !row.waits() {
                say(&row);
            }
            rows.push(row);
        }
        for row in rows.iter_mut().filter(|r| r.waits()) {
            row.off = self.runs(row.race, Mode::Off, 1, &mut stuck)?;
            stuck = true;
            say(row);
        }
        save(&rows, runs, self.out)?;
        Ok(ktap(&rows))
    }
}

fn save(rows: &[Row], runs: usize, out: &Path) -> std::io::Result<()> {
    let mut f = std::fs::File::create(out.join("results.tsv"))?;
    writeln!(f, "row\trace\toff\ton\truns off\truns on\tguest seconds")?;
    for r in rows {
        let off = if r.race.for_good { 1 } else { runs };
        writeln!(
            f,
            "{}\t{}\t{}\t{}\t{off}\t{runs}\t{:.1}",
            r.race.row,
            r.race.name,
            r.off.word(Mode::Off),
            r.on.word(Mode::On),
            r.seconds
        )?;
    }
    Ok(())
}

/// The same as KTAP, for machines; returns whether all passed.
fn ktap(rows: &[Row]) -> bool {
    println!("\nKTAP version 1\n1..{}", 2 * rows.len());
    let (mut n, mut passed, mut skipped) = (0, 0, 0);
    for r in rows {
        for (mode, end) in [(Mode::Off, &r.off), (Mode::On, &r.on)] {
            n += 1;
            let (stem, words) = (r.race.stem(mode), end.words());
            if let End::Skipped(why) = end {
                skipped += 1;
                println!("ok {n} {stem} # SKIP {why}");
                continue;
            }
            let right = end.right(mode);
            passed += usize::from(right);
            let ok = if right { "ok" } else { "not ok" };
            println!("{ok} {n} {stem} # {} {words}", end.word(mode));
        }
    }
    let failed = n - passed - skipped;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        assert!(End::of("clean").right(Mode::On));
        assert!(!End::of("clean").right(Mode::Off));
        let harm = End::of("harm 'A' at 0 instead of zero");
        assert!(harm.right(Mode::Off) && !harm.right(Mode::On));
        assert_eq!(harm.words(), "'A' at 0 instead of zero");
        // A run that came to nothing proves nothing.
        let broken = End::of("broken no such point");
        assert!(!broken.right(Mode::Off) && !broken.right(Mode::On));
    }
}
