// SPDX-License-Identifier: GPL-2.0
//! A thread under test: a process of its own, so that none waits for the memory map of another. It
//! reads lines from its standard input, and answers there.

use crate::append::came;
use crate::device::Device;
use crate::folder::Here;
use crate::maps::{self, Maps};
use crate::op::{Kind, Verb, FILES, MOST};
use crate::oracle::Outcome;
use crate::pairs::pairs;
use crate::program::{letter, thread_name, Program, OPS};
use crate::ready::{ready, Ready};
use guest::aio::{self, Aio};
use guest::fiemap::fiemap;
use guest::fixture::MNT;
use guest::map;
use guest::sched;
use guest::sys::{self, Fd, Sys, SysErr};
use guest::uring::Ring;
use lab::tracing;
use libc::{O_RDWR, O_TRUNC};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Where the files are: a directory does not become smaller again, so this one goes, too.
pub fn folder() -> String {
    format!("{MNT}/w")
}

/// The path of a file of run `run`.
pub fn path(run: u64, file: u8) -> String {
    format!("{}/{run}{}", folder(), FILES[usize::from(file)])
}

/// A path to a file that is open, whatever its name is now.
pub fn link(f: &Fd) -> String {
    format!("/proc/self/fd/{}", f.raw)
}

/// Seen bytes as text: `2*0 3*65`.
fn encode(bytes: &[u8]) -> String {
    let same = bytes.chunk_by(|a, b| a == b);
    let runs: Vec<String> = same.map(|s| format!("{}*{}", s.len(), s[0])).collect();
    runs.join(" ")
}

/// An outcome as text, and back.
pub fn tell(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(n, bytes) => format!("done {n} {}", encode(bytes)),
        Outcome::Failed(errno) => format!("failed {errno}"),
    }
}

pub fn told(text: &str) -> Option<Outcome> {
    let mut words = text.split_ascii_whitespace();
    match words.next()? {
        "failed" => Some(Outcome::Failed(words.next()?.parse().ok()?)),
        "done" => {
            let n = words.next()?.parse().ok()?;
            let mut bytes = Vec::new();
            for word in words {
                let (count, value) = word.split_once('*')?;
                let len = bytes.len() + count.parse::<usize>().ok()?;
                bytes.resize(len, value.parse().ok()?);
            }
            Some(Outcome::Done(n, bytes))
        }
        _ => None,
    }
}

fn done<T>(result: Sys<T>) -> Sys<(u64, Vec<u8>)> {
    result.map(|_| (0, Vec::new()))
}

fn wrote(n: Sys<usize>) -> Sys<(u64, Vec<u8>)> {
    Ok((n? as u64, Vec::new()))
}

fn outcome(result: Sys<(u64, Vec<u8>)>) -> Outcome {
    match result {
        Ok((n, bytes)) => Outcome::Done(n, bytes),
        Err(e) => Outcome::Failed(e.errno),
    }
}

/// What fallocate is to do.
fn mode(verb: Verb) -> Sys<i32> {
    use libc::*;
    match verb {
        Verb::Punch => Ok(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
        Verb::Zero => Ok(FALLOC_FL_ZERO_RANGE),
        Verb::ZeroKeep => Ok(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE),
        Verb::Allocate => Ok(0),
        Verb::KeepSize => Ok(FALLOC_FL_KEEP_SIZE),
        Verb::CollapseRange => Ok(FALLOC_FL_COLLAPSE_RANGE),
        Verb::InsertRange => Ok(FALLOC_FL_INSERT_RANGE),
        _ => Err(failed(EINVAL)),
    }
}

impl Ready {
    fn call(&mut self, tools: &mut Tools) -> Sys<(u64, Vec<u8>)> {
        let Tools { aio, ring, devices } = tools;
        let (f, op) = (&self.file, self.op);
        let (at, len) = (op.at + self.base, op.len);
        let from_base = |found: i64| found as u64 - self.base;
        match op.verb {
            Verb::BufferedWrite | Verb::DirectWrite => wrote(f.pwrite_once(&self.buffer, at)),
            verb if verb.appends() => f
                .append_once(&self.buffer)
                .map(|(n, at)| came(n, at - self.base)),
            verb if verb.flags().is_some() => {
                wrote(f.pwrite_with(&self.buffer, at, verb.flags().unwrap_or(0)))
            }
            Verb::HalfWrite => self.write_half(),
            Verb::AsyncWrite => self.submit(aio),
            Verb::OwnWrite => self.write_own(),
            Verb::RingWrite | Verb::RingDirectWrite => wrote(ring.write(f, &self.buffer, at)),
            Verb::RingRead | Verb::RingDirectRead => {
                let n = ring.read(f, &mut self.buffer, at)?;
                Ok((n as u64, self.buffer[..n].to_vec()))
            }
            Verb::BufferedRead | Verb::DirectRead => {
                let n = f.pread_once(&mut self.buffer, at)?;
                Ok((n as u64, self.buffer[..n].to_vec()))
            }
            Verb::Store | Verb::SyncStore | Verb::Load => self.touch(),
            Verb::ReadInto => self.read_into(),
            Verb::Deliver => self.deliver(devices),
            Verb::Pin => self.pin(devices),
            Verb::Bring => self.bring(devices),
            Verb::MoveExtents => self.exchange(),
            Verb::Truncate => done(f.truncate(at)),
            // Whatever its name is now.
            Verb::OpenEmpty => done(sys::open(&link(f), O_RDWR | O_TRUNC, 0)),
            Verb::Unname => done(sys::unlink(&self.name)),
            Verb::Replace => done(sys::rename2(&self.own, &self.name, 0)),
            Verb::Fsync => done(f.fsync()),
            Verb::SyncRange => done(f.sync_range(at, len)),
            Verb::Evict => {
                f.sync_range(0, 0)?;
                done(f.dontneed())
            }
            Verb::Collapse => done(self.map.as_ref().map_or(Ok(()), |map| map.collapse())),
            Verb::Freeze => {
                f.freeze(true)?;
                done(f.freeze(false))
            }
            Verb::StayFrozen => done(f.freeze(true)),
            Verb::Thaw => done(f.freeze(false)),
            Verb::SeekData => Ok((from_base(f.seek(at as i64, libc::SEEK_DATA)?), Vec::new())),
            Verb::SeekHole => Ok((from_base(f.seek(at as i64, libc::SEEK_HOLE)?), Vec::new())),
            Verb::Fiemap => self.extents(),
            Verb::Commit => {
                // A change that takes no block.
                f.futimens((1, 0), (1, 0))?;
                done(f.fsync())
            }
            _ => done(f.fallocate(mode(op.verb)?, at, len)),
        }
    }

    fn submit(&mut self, aio: &mut Aio) -> Sys<(u64, Vec<u8>)> {
        let at = self.op.at + self.base;
        aio.submit(&self.file, aio::Op::Write, &mut self.buffer, at, 0)?;
        let result = aio.wait(1)?[0].1;
        match u64::try_from(result) {
            Ok(n) => Ok((n, Vec::new())),
            Err(_) => Err(failed(-result as i32)),
        }
    }

    /// Writes what ends before it is all written.
    fn write_half(&self) -> Sys<(u64, Vec<u8>)> {
        let (map, from) = self.torn.as_ref().ok_or_else(|| failed(libc::EINVAL))?;
        let bytes = map.as_slice(*from, self.op.len as usize);
        let n = self.file.pwrite_once(bytes, self.op.at + self.base)?;
        Ok((n as u64, Vec::new()))
    }

    /// The blocks of the range, as far as both have some there.
    fn exchange(&self) -> Sys<(u64, Vec<u8>)> {
        let (donor, block) = self.donor.as_ref().ok_or_else(|| failed(libc::EINVAL))?;
        let (from, end) = (self.op.at + self.base, self.op.end() + self.base);
        let (from, end) = (from / block, end.div_ceil(*block));
        done(self.file.exchange(donor, (from, from), end - from).1)
    }

    /// Writes what the mapping has there.
    fn write_own(&self) -> Sys<(u64, Vec<u8>)> {
        let map = self.map.as_ref().ok_or_else(|| failed(libc::EINVAL))?;
        let own = map.as_slice(self.op.at as usize, self.op.len as usize);
        let n = self.file.pwrite_once(own, self.op.at + self.base)?;
        Ok((n as u64, Vec::new()))
    }

    /// A device has the pages of the mapping, and delivers.
    fn deliver(&mut self, devices: &mut [Device]) -> Sys<(u64, Vec<u8>)> {
        self.pin(devices)?;
        // A read behind all that there is comes by a point, and does nothing. With DAX it has the
        // lock of its file there, for which others may wait.
        let by = self.donor.as_ref().map_or(&self.file, |(file, _)| file);
        let stopped = by.pread_once(&mut [0], self.base + 4 * MOST);
        self.begun = Some(usize::from(self.mark - b'A') % OPS);
        let brought = self.bring(devices);
        stopped?;
        brought
    }

    /// A device is asked for what goes into the mapping.
    fn pin(&mut self, devices: &mut [Device]) -> Sys<(u64, Vec<u8>)> {
        let nth = usize::from(self.mark - b'A') % OPS;
        let (Some(map), Some(device)) = (&self.map, devices.get_mut(nth)) else {
            return Err(failed(libc::EINVAL));
        };
        let (at, len) = (self.op.at as usize, self.op.len as usize);
        device.ask(self.mark, map.as_mut_slice(at, len))?;
        Ok((self.op.len, Vec::new()))
    }

    /// It delivers, if it was asked.
    fn bring(&self, devices: &mut [Device]) -> Sys<(u64, Vec<u8>)> {
        match self.begun.and_then(|nth| devices.get_mut(nth)) {
            Some(device) => Ok((device.bring()?, Vec::new())),
            None => Ok((0, Vec::new())),
        }
    }

    /// What is in a file of its own goes into the mapping. Where that cannot be had it is less.
    fn read_into(&self) -> Sys<(u64, Vec<u8>)> {
        let (Some(map), Some((file, _))) = (&self.map, &self.donor) else {
            return Err(failed(libc::EINVAL));
        };
        let (at, len) = (self.op.at as usize, self.op.len as usize);
        match file.pread_once(map.as_mut_slice(at, len), 0)? {
            n if n == len => Ok((n as u64, Vec::new())),
            _ => Err(failed(libc::EFAULT)),
        }
    }

    /// Loads, or stores.
    fn touch(&self) -> Sys<(u64, Vec<u8>)> {
        let Some(map) = &self.map else {
            return Err(failed(libc::EINVAL));
        };
        let (at, len) = (self.op.at as usize, self.op.len as usize);
        let mut seen = Vec::new();
        match self.op.verb {
            // Each byte once: memcpy() stores the first ones again in the end.
            verb if verb.stores() => (at..at + len)
                .zip(&self.buffer[..])
                .for_each(|(i, b)| map.set(i, *b)),
            _ => seen = map.read(at, len),
        }
        match map::sigbus_taken() {
            0 => Ok((self.op.len, seen)),
            _ => Err(failed(libc::EFAULT)),
        }
    }

    /// One for each byte that has an extent.
    fn extents(&self) -> Sys<(u64, Vec<u8>)> {
        let (at, len) = (self.op.at + self.base, self.op.len);
        let mut covered = vec![0; len as usize];
        for extent in fiemap(&self.file, at, len, false, 32)? {
            let from = extent.log.max(at) - at;
            let to = (extent.log + extent.len).min(at + len).max(at) - at;
            if from < to {
                covered[from as usize..to as usize].fill(1);
            }
        }
        Ok((0, covered))
    }
}

fn failed(errno: i32) -> SysErr {
    SysErr {
        what: String::new(),
        errno,
    }
}

/// What `open` has made ready.
struct Opened {
    thread: usize,
    drawn: bool,
    ops: Vec<Ready>,
    maps: Maps,
    here: Option<Here>,
}

/// `open RUN THREAD DRAWN PROGRAM`: what comes next.
fn open(words: &str) -> Result<Opened, String> {
    let words: Vec<&str> = words.split(' ').collect();
    let [run, thread, drawn, program] = words[..] else {
        return Err("words".into());
    };
    let number = |word: &str| word.parse::<u64>().map_err(|e| e.to_string());
    let (run, thread) = (number(run)?, number(thread)? as usize);
    let program: Program = program.parse()?;
    let mut all = Vec::new();
    for (nth, op) in program.threads[thread].iter().enumerate() {
        let mark = letter(thread, nth);
        all.push(ready(run, program.image, *op, mark).map_err(|e| e.to_string())?);
    }
    for (begun, over) in pairs(&program.threads[thread]) {
        all[over].begun = Some(begun);
    }
    // With DAX.
    let mut maps = Maps::default();
    for ready in all.iter_mut().filter(|_| program.image.dax) {
        ready.map = ready.map.take().map(|map| maps.keep(&ready.op, map));
        if let (Some(map), 1) = (&ready.map, thread % 2) {
            let size = ready.file.size().map_err(|e| e.to_string())?;
            maps::look(map, size.saturating_sub(program.image.base()));
        }
    }
    let here = match program.kind() {
        Kind::Bytes => None,
        Kind::Names => Some(Here::open(run, &program).map_err(|e| e.to_string())?),
    };
    Ok(Opened {
        thread,
        drawn: drawn == "1",
        ops: all,
        maps,
        here,
    })
}

struct Worker {
    thread: usize,
    drawn: bool,
    /// The operations that are left.
    ops: std::vec::IntoIter<Ready>,
    /// Those that were done: their files stay open to the end.
    over: Vec<Ready>,
    maps: Maps,
    /// Of a program about names: the directories, and what was opened in them.
    here: Option<Here>,
    held: Vec<Fd>,
    tools: Tools,
}

/// What operations are done with.
struct Tools {
    aio: Aio,
    ring: Ring,
    /// One for each operation that has wanted one.
    devices: Vec<Device>,
}

impl Tools {
    /// Makes ready what an operation wants to have of a device.
    fn load(&mut self, ops: &[Ready]) -> Sys<()> {
        for (nth, op) in ops.iter().enumerate() {
            if matches!(op.op.verb, Verb::Deliver | Verb::Pin) {
                while self.devices.len() <= nth {
                    self.devices.push(Device::new(self.devices.len())?);
                }
                self.devices[nth].hold(&op.buffer, op.mark)?;
            }
        }
        Ok(())
    }
}

impl Worker {
    fn open(&mut self, words: &str) -> Result<Opened, String> {
        let opened = open(words)?;
        let loaded = self.tools.load(&opened.ops);
        loaded.map_err(|e| e.to_string()).map(|()| opened)
    }

    fn answer(&mut self, line: &str) -> String {
        let (verb, words) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "open" => match self.open(words) {
                Ok(opened) => {
                    (self.thread, self.drawn) = (opened.thread, opened.drawn);
                    (self.ops, self.here) = (opened.ops.into_iter(), opened.here);
                    self.maps = opened.maps;
                    if self.drawn {
                        let _ = tracing::join();
                        tracing::mark(&format!("thread {}", thread_name(self.thread)));
                    }
                    "ready".into()
                }
                Err(e) => format!("error {e}"),
            },
            "close" => {
                self.over.clear();
                self.maps.clear();
                self.held.clear();
                self.here = None;
                self.ops = Vec::new().into_iter();
                "ready".into()
            }
            _ => self.next(),
        }
    }

    fn next(&mut self) -> String {
        let Some(mut op) = self.ops.next() else {
            return "error nothing is left to do".into();
        };
        let name = thread_name(self.thread);
        if self.drawn {
            tracing::mark(&format!("step {name}: {}", op.op.words()));
        }
        op.map = self.maps.of(&op.op).or(op.map);
        let outcome = match &self.here {
            Some(here) if op.op.verb.kind() == Some(Kind::Names) => {
                outcome(here.call(&op.op, op.mark, &mut self.held))
            }
            _ => outcome(op.call(&mut self.tools)),
        };
        // What is mapped is not dropped. What a device has is pinned, mapped or not.
        op.map = None;
        if outcome == Outcome::Failed(libc::EFAULT) {
            if let Err(e) = self.maps.renew(&op.file, &op.op, op.base) {
                return format!("error {e}");
            }
        }
        if self.drawn {
            tracing::mark(&format!("done {name}"));
        }
        self.over.push(op);
        tell(&outcome)
    }
}

/// Where answers go: what is read as the standard input is written there, too.
pub fn answers() -> std::io::Result<UnixStream> {
    Ok(UnixStream::from(
        std::io::stdin().as_fd().try_clone_to_owned()?,
    ))
}

/// Until the other side is gone.
pub fn serve() -> guest::harness::Res {
    map::install_sigbus();
    sched::uninterrupted()?;
    let mut stream = answers()?;
    let mut worker = Worker {
        thread: 0,
        drawn: false,
        ops: Vec::new().into_iter(),
        over: Vec::new(),
        maps: Maps::default(),
        here: None,
        held: Vec::new(),
        tools: Tools {
            aio: Aio::new(1)?,
            ring: Ring::new()?,
            devices: Vec::new(),
        },
    };
    for line in BufReader::new(stream.try_clone()?).lines() {
        let answer = worker.answer(&line?);
        stream.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes() {
        for outcome in [
            Outcome::Done(0, vec![]),
            Outcome::Done(5, vec![0, 0, 65, 65, 7]),
            Outcome::Failed(28),
        ] {
            assert_eq!(told(&tell(&outcome)), Some(outcome));
        }
        assert_eq!(told("error x"), None);
    }
}
