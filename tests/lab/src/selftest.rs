// SPDX-License-Identifier: GPL-2.0
//! What the lab does itself: step mode. They are run like races whose protection is on.

mod errors;

use crate::broken;
use crate::control::{Control, Parked};
use crate::lab::{symbol, Lab};
use crate::race::{Race, Res, RACE};
use crate::thread::{Found, Task, Thread};
use guest::sys::{Aligned, Fd, Sys};
use std::sync::Arc;

pub static ALL: &[&Race] = &[
    &TWO_THREADS,
    &AN_ERROR,
    &LETTING_GO,
    &WORKERS,
    &errors::EACH_ERROR,
    &errors::EACH_ERROR_GATED,
    &errors::EVICTION,
    &AT_THE_GATE,
];

const PAGE: usize = 4096;
/// How long a thread may take to its next point, in ms.
const PATIENCE: u32 = 60_000;
/// Nobody comes any more after so long.
const NOBODY: u32 = 300;

static TWO_THREADS: Race = Race {
    row: "step1",
    name: "step-two-threads",
    title: "Two threads are led from point to point",
    run: two_threads,
    ..RACE
};

static AN_ERROR: Race = Race {
    row: "step2",
    name: "step-error",
    title: "A point returns an error",
    run: an_error,
    ..RACE
};

static LETTING_GO: Race = Race {
    row: "step3",
    name: "step-letting-go",
    title: "Parked threads go on: unstepped, killed, or the session is over",
    run: letting_go,
    ..RACE
};

static WORKERS: Race = Race {
    row: "step4",
    name: "step-workers",
    title: "The kernel's own threads are stepped",
    run: workers,
    ..RACE
};

static AT_THE_GATE: Race = Race {
    row: "step8",
    name: "step-at-the-gate",
    title: "A reader waits at the gate, a direct write goes through the page cache",
    mount: "dio_gate",
    run: at_the_gate,
    ..RACE
};

fn gettid() -> i32 {
    // SAFETY: plain call.
    unsafe { libc::gettid() }
}

/// A session, and what it does with the threads that it steps.
struct Session(Arc<Control>);

impl Session {
    fn open() -> Res<Session> {
        Ok(Session(Arc::new(Control::open()?)))
    }

    /// Starts a thread that is stepped.
    fn thread<R: Send + 'static>(
        &self,
        lab: &Lab,
        name: &str,
        part: impl FnOnce() -> Sys<R> + Send + 'static,
    ) -> Res<Thread<Sys<R>>> {
        let control = self.0.clone();
        lab.thread(name, "begins", move || {
            control.step(gettid())?;
            // The session is over when its owner says so.
            drop(control);
            part()
        })
    }

    /// Waits for news.
    fn settle(&self) -> Res {
        Ok(self.0.settle(PATIENCE)?)
    }

    /// Nobody comes to a point.
    fn silence(&self) -> Res {
        match self.0.settle(NOBODY) {
            Err(e) if e.errno == libc::ETIMEDOUT => Ok(()),
            other => broken!("somebody came: {other:?}, {:?}", self.0.parked()?),
        }
    }

    /// All go from point to point until one is at this one.
    fn lead_to(&self, point: &str) -> Res<Parked> {
        loop {
            for parked in self.0.parked()? {
                if parked.point == point {
                    return Ok(parked);
                }
                self.0.go(parked.tid, None)?;
            }
            if self.settle().is_err() {
                broken!("nobody comes to {point}: {:?}", self.0.parked()?);
            }
        }
    }

    /// All go on from wherever they come to, until the thread is over.
    fn lead_out<R>(&self, thread: &Thread<R>) -> Res {
        while !thread.finished() {
            for parked in self.0.parked()? {
                self.0.go(parked.tid, None)?;
            }
            let _ = self.0.settle(20);
        }
        Ok(())
    }
}

/// The call fails with this error.
fn fails<R: std::fmt::Debug>(got: Sys<R>, want: i32) -> Res {
    match got {
        Err(e) if e.errno == want => Ok(()),
        other => broken!("{other:?} instead of {}", symbol(want)),
    }
}

fn same(got: &Parked, f: &Fd, (start, end): (u64, Option<u64>)) -> Res {
    if (got.ino, got.start, got.end) != (f.stat()?.st_ino, start, end) {
        broken!("{got:?} instead of {start}..{end:?} of {}", f.name);
    }
    Ok(())
}

/// The writer has i_rwsem and is parked, the puncher waits for it; then the other way round.
fn two_threads(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let session = Session::open()?;
    let write = |byte: u8| {
        let f = f.clone();
        move || f.pwrite(&[byte; PAGE], 0)
    };
    let punch = || {
        let f = f.clone();
        move || f.punch(0, PAGE as u64)
    };

    let writer = session.thread(lab, "writer", write(b'B'))?;
    let parked = session.lead_to("write-get-folio")?;
    same(&parked, &f, (0, Some(PAGE as u64)))?;
    fails(session.0.step(parked.tid), libc::EINVAL)?;
    fails(session.0.go(parked.tid, Some("EIO")), libc::EINVAL)?;
    fails(session.0.go(parked.tid, Some("nonsense")), libc::EINVAL)?;
    fails(session.0.go(1, None), libc::ENOENT)?;
    fails(session.0.unstep(1), libc::ENOENT)?;
    // It is told once only.
    session.silence()?;
    let puncher = session.thread(lab, "puncher", punch())?;
    lab.until_blocked(&puncher, "i_rwsem")?;
    session.silence()?;
    session.0.go(parked.tid, None)?;
    let punching = session.lead_to("punch-invalidated")?;
    if punching.tid == parked.tid {
        broken!("the writer punches");
    }
    writer.join()??;

    let writer = session.thread(lab, "writer", write(b'C'))?;
    lab.until_blocked(&writer, "i_rwsem")?;
    session.0.go(punching.tid, None)?;
    session.lead_out(&puncher)?;
    session.lead_out(&writer)?;
    puncher.join()??;
    writer.join()??;
    lab.reads(&f, 0, &[b'C'; PAGE], "the writer came second")
}

/// fallocate is told that the disk is full, as often as it tries; then once, and it tries again.
fn an_error(lab: &mut Lab) -> Res {
    let f = lab.empty("f")?;
    let session = Session::open()?;
    for (errors, want) in [(1, None), (100, Some(libc::ENOSPC))] {
        let caller = session.thread(lab, "caller", {
            let f = f.clone();
            move || f.fallocate(0, 0, PAGE as u64)
        })?;
        let mut given = 0;
        while !caller.finished() {
            let _ = session.0.settle(20);
            for parked in session.0.parked()? {
                let full = parked.point == "allocate" && given < errors;
                given += usize::from(full);
                session.0.go(parked.tid, full.then_some("ENOSPC"))?;
            }
        }
        let got = caller.join()?;
        match want {
            None => got?,
            Some(errno) => fails(got, errno)?,
        }
        f.punch(0, PAGE as u64)?;
    }
    Ok(())
}

fn letting_go(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let write = || {
        let f = f.clone();
        move || f.pwrite(&[b'B'; PAGE], 0)
    };

    let session = Session::open()?;
    let writer = session.thread(lab, "writer", write())?;
    let parked = session.lead_to("write-get-folio")?;
    // Not another session's to let go.
    let other = Session::open()?;
    fails(other.0.go(parked.tid, None), libc::ENOENT)?;
    fails(other.0.unstep(parked.tid), libc::ENOENT)?;
    fails(other.0.step(parked.tid), libc::EINVAL)?;
    session.0.unstep(parked.tid)?;
    writer.join()??;

    // Killed, it is gone at once; the file is as it was left.
    let control = session.0.clone();
    let mut doomed = lab.process("doomed", "begins", {
        let f = f.clone();
        move || {
            control.step(gettid())?;
            drop(control);
            f.pwrite_once(&[b'C'; PAGE], 0)
        }
    })?;
    session.lead_to("write-get-folio")?;
    doomed.kill()?;
    let left = session.0.parked()?;
    if !left.is_empty() {
        broken!("the dead are parked: {left:?}");
    }

    let writer = session.thread(lab, "writer", write())?;
    session.lead_to("write-get-folio")?;
    drop(session);
    if writer.done_or_blocked()? != Found::Done {
        broken!("a thread stays parked when its session is over");
    }
    writer.join()??;
    Ok(())
}

/// fsync needs somebody who maps and somebody who completes, which is a worker.
fn workers(lab: &mut Lab) -> Res {
    let f = lab.file_not_synced("f", &[b'A'; PAGE])?;
    let session = Session::open()?;
    session.0.step("workers")?;
    fails(session.0.step("workers"), libc::EINVAL)?;
    let syncer = session.thread(lab, "syncer", {
        let f = f.clone();
        move || f.fsync()
    })?;
    let mut stops = vec![];
    while !syncer.finished() {
        let _ = session.0.settle(20);
        for parked in session.0.parked()? {
            session.0.go(parked.tid, None)?;
            stops.push(parked);
        }
    }
    syncer.join()??;
    session.0.unstep("workers")?;
    fails(session.0.unstep("workers"), libc::ENOENT)?;
    let who = |point| stops.iter().find(|s| s.point == point).map(|s| s.tid);
    match (who("allocate"), who("complete")) {
        (Some(syncer), Some(worker)) if syncer != worker => Ok(()),
        _ => broken!("no worker completed what was written: {stops:?}"),
    }
}

fn at_the_gate(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    lab.evict(&f)?;
    let direct = lab.direct(&f)?;
    let write = |byte: u8| {
        let direct = direct.clone();
        move || {
            let mut data = Aligned::new(PAGE);
            data.fill(byte);
            direct.pwrite(&data, 0)
        }
    };

    let session = Session::open()?;
    let writer = session.thread(lab, "writer", write(b'D'))?;
    let closed = session.lead_to("gate-closed")?;
    let reader = session.thread(lab, "reader", {
        let f = f.clone();
        move || {
            let mut got = [0; PAGE];
            f.pread(&mut got, 0)?;
            Ok(got)
        }
    })?;
    let waiting = loop {
        session.settle()?;
        let mut parked = session.0.parked()?.into_iter();
        match parked.find(|p| p.tid != closed.tid) {
            Some(at) if at.point == "gate-wait" => break at,
            Some(other) => session.0.go(other.tid, None)?,
            None => (),
        }
    };
    session.0.go(waiting.tid, None)?;
    lab.until_blocked(&reader, "the gate is closed")?;
    session.0.go(closed.tid, None)?;
    let passed = session.lead_to("gate-passed")?;
    session.0.go(passed.tid, None)?;
    session.lead_out(&writer)?;
    session.lead_out(&reader)?;
    writer.join()??;
    if reader.join()?? != [b'D'; PAGE] {
        broken!("the reader passed a closed gate");
    }

    // The page that was read does not go.
    session.0.off("release")?;
    let writer = session.thread(lab, "writer", write(b'E'))?;
    for point in ["dio-fall-back", "dio-fell-back"] {
        let at = session.lead_to(point)?;
        session.0.go(at.tid, None)?;
    }
    session.lead_out(&writer)?;
    writer.join()??;
    lab.reads(&f, 0, &[b'E'; PAGE], "the page cache has the write")
}
