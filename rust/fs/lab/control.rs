// SPDX-License-Identifier: GPL-2.0

//! The control file, `/sys/kernel/debug/rext4/lab`.
//!
//! Every open file is a session: what it armed or switched off ends when it is closed, also if its
//! owner is killed. One command a write:
//!
//! ```text
//! arm POINT [ino=N] [tid=N] [pos=N] [len=N]   the next thread that reaches it parks (once)
//! wait POINT MS                               until a thread is parked; ETIMEDOUT
//! release POINT                               lets it go
//! off SWITCH      on SWITCH                   a protection, for as long as the file is open
//! step TID...     unstep TID...               threads park at every point (`workers`: the
//!                                             kernel's own threads)
//! go TID [ERROR]                              it goes on, and the point returns the error
//! settle MS                                   until one is parked that was not told yet; ETIMEDOUT
//! commit each     commit shared               each handle has a transaction of its own; or not
//! ```
//!
//! `EINVAL`: no such command, point or switch. Reading lists them with their state, but a session
//! that steps threads reads where those are parked and nothing else.

use super::{
    commit,
    park::{self, Match},
    protect, step, Point, Rule,
};
use crate::{
    disk::Ino,
    vfs::{
        atomic::Atomic,
        test_hooks::{Control, ControlFile},
    },
};
use kernel::{
    error::code::*,
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        atomic::ordering::Relaxed,
        Mutex, //
    },
};

/// The lab of a loaded module.
pub(crate) struct Lab(#[allow(dead_code, reason = "held")] ControlFile<Session>);

impl Lab {
    /// Makes the control file.
    pub(crate) fn new(module: &'static ThisModule) -> Result<Self> {
        park::init_points()?;
        step::init_steps()?;
        protect::init_protections()?;
        pr_warn!("lab: this module can lose data on purpose; never mount what you want to keep\n");
        Ok(Self(ControlFile::new(c"rext4", c"lab", module)?))
    }
}

/// Sessions so far.
static SESSIONS: Atomic<usize> = Atomic::new(0);

/// An open control file.
#[pin_data]
struct Session {
    /// No other one has it: what a session that was closed has armed may be there for a while.
    id: usize,
    #[pin]
    off: Mutex<[bool; Rule::ALL.len()]>,
    /// Each handle is to have a transaction of its own.
    each: Atomic<bool>,
}

impl Session {
    fn switch(&self, rule: Rule, off: bool) {
        let mut mine = self.off.lock();
        if mine[rule as usize] != off {
            mine[rule as usize] = off;
            protect::set_off(rule, off);
        }
    }

    fn commit(&self, each: bool) {
        if self.each.xchg(each, Relaxed) != each {
            commit::set_each(each);
        }
    }
}

impl Control for Session {
    fn open() -> impl PinInit<Self> {
        pin_init!(Self {
            id: SESSIONS.fetch_add(1, Relaxed),
            off <- new_mutex!([false; Rule::ALL.len()], "rext4_lab_session"),
            each: Atomic::new(false),
        })
    }

    fn command(&self, line: &str) -> Result {
        let points = park::points().ok_or(ENODEV)?;
        let steps = step::steps().ok_or(ENODEV)?;
        let mut words = line.split_ascii_whitespace();
        let (verb, name) = (words.next().ok_or(EINVAL)?, words.next().ok_or(EINVAL)?);
        let point = || Point::parse(name).ok_or(EINVAL);
        let switch = || Rule::parse(name).ok_or(EINVAL);
        match verb {
            "arm" => points.arm(self.id, parse_match(point()?, words)?),
            "wait" => {
                let ms = words.next().and_then(|w| w.parse().ok()).ok_or(EINVAL)?;
                points.wait(self.id, point()?, ms)
            }
            "release" => points.release(self.id, point()?),
            "off" => {
                self.switch(switch()?, true);
                Ok(())
            }
            "on" => {
                self.switch(switch()?, false);
                Ok(())
            }
            "step" => each(name, words, |who| steps.step(self.id, who)),
            "unstep" => each(name, words, |who| steps.unstep(self.id, who)),
            "go" => steps.go(self.id, name, words.next()),
            "commit" if matches!(name, "each" | "shared") => {
                self.commit(name == "each");
                Ok(())
            }
            "settle" => steps.settle(self.id, name.parse().map_err(|_| EINVAL)?),
            _ => Err(EINVAL),
        }
    }

    fn show(&self, out: &SeqFile) {
        let (Some(points), Some(steps)) = (park::points(), step::steps()) else {
            return;
        };
        if steps.is_used_by(self.id) {
            // Read often, so no more than what changes.
            steps.show(self.id, out);
            return;
        }
        for (point, name, text) in Point::ALL {
            seq_print!(out, "point {} {}", &**name, points.state(*point));
            describe(out, text);
        }
        for (switch, name, text) in Rule::ALL {
            let state = if protect::off(*switch) { "off" } else { "on" };
            seq_print!(out, "switch {} {}", &**name, state);
            describe(out, text);
        }
    }

    fn close(&self) {
        if let Some(points) = park::points() {
            points.release_all(self.id);
        }
        if let Some(steps) = step::steps() {
            steps.close(self.id);
        }
        for (switch, _, _) in Rule::ALL {
            self.switch(*switch, false);
        }
        self.commit(false);
    }
}

/// One after the other; the first error ends it, and what was done before it stays.
fn each<'a>(
    first: &'a str,
    mut others: impl Iterator<Item = &'a str>,
    mut what: impl FnMut(&'a str) -> Result,
) -> Result {
    what(first)?;
    others.try_for_each(what)
}

fn describe(out: &SeqFile, text: &[&str]) {
    for line in text {
        seq_print!(out, "{}", line);
    }
    seq_print!(out, "\n");
}

fn parse_match<'a>(point: Point, words: impl Iterator<Item = &'a str>) -> Result<Match> {
    let (mut pos, mut len) = (0, u64::MAX);
    let (mut ino, mut tid) = (None, None);
    for word in words {
        let (key, value) = word.split_once('=').ok_or(EINVAL)?;
        let value: u64 = value.parse().map_err(|_| EINVAL)?;
        match key {
            "ino" => ino = Some(Ino::new(u32::try_from(value).map_err(|_| EINVAL)?)),
            "tid" => tid = Some(i32::try_from(value).map_err(|_| EINVAL)?),
            "pos" => pos = value,
            "len" => len = value,
            _ => return Err(EINVAL),
        }
    }
    Ok(Match {
        point,
        ino,
        tid,
        range: pos..pos.saturating_add(len),
    })
}
