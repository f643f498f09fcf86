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
//! ```
//!
//! `EINVAL`: no such command, point or switch. Reading lists them with their state.

use super::{
    park::{self, Match},
    protect, Point, Rule,
};
use crate::{
    disk::Ino,
    vfs::test_hooks::{Control, ControlFile},
};
use kernel::{error::code::*, new_mutex, prelude::*, seq_file::SeqFile, seq_print, sync::Mutex};

/// The lab of a loaded module.
pub(crate) struct Lab(#[allow(dead_code, reason = "held")] ControlFile<Session>);

impl Lab {
    /// Makes the control file.
    pub(crate) fn new(module: &'static ThisModule) -> Result<Self> {
        park::init_points()?;
        protect::init_protections()?;
        pr_warn!("lab: this module can lose data on purpose; never mount what you want to keep\n");
        Ok(Self(ControlFile::new(c"rext4", c"lab", module)?))
    }
}

/// An open control file.
#[pin_data]
struct Session {
    #[pin]
    off: Mutex<[bool; Rule::ALL.len()]>,
}

impl Session {
    fn id(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    fn switch(&self, rule: Rule, off: bool) {
        let mut mine = self.off.lock();
        if mine[rule as usize] != off {
            mine[rule as usize] = off;
            protect::set_off(rule, off);
        }
    }
}

impl Control for Session {
    fn open() -> impl PinInit<Self> {
        pin_init!(Self {
            off <- new_mutex!([false; Rule::ALL.len()], "rext4_lab_session"),
        })
    }

    fn command(&self, line: &str) -> Result {
        let points = park::points().ok_or(ENODEV)?;
        let mut words = line.split_ascii_whitespace();
        let (verb, name) = (words.next().ok_or(EINVAL)?, words.next().ok_or(EINVAL)?);
        let point = || Point::parse(name).ok_or(EINVAL);
        let switch = || Rule::parse(name).ok_or(EINVAL);
        match verb {
            "arm" => points.arm(self.id(), parse_match(point()?, words)?),
            "wait" => {
                let ms = words.next().and_then(|w| w.parse().ok()).ok_or(EINVAL)?;
                points.wait(self.id(), point()?, ms)
            }
            "release" => points.release(self.id(), point()?),
            "off" => {
                self.switch(switch()?, true);
                Ok(())
            }
            "on" => {
                self.switch(switch()?, false);
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }

    fn show(&self, out: &SeqFile) {
        let Some(points) = park::points() else {
            return;
        };
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
            points.release_all(self.id());
        }
        for (switch, _, _) in Rule::ALL {
            self.switch(*switch, false);
        }
    }
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
