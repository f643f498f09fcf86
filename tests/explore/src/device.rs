// SPDX-License-Identifier: GPL-2.0
//! A device that is read directly into the mapping of a file. It has been asked, and has not
//! delivered: meanwhile the pages are pinned, and when it delivers they become dirty, without a
//! fault.

use crate::op::MOST;
use crate::oracle::Outcome;
use guest::aio::{Aio, Op};
use guest::dm::{self, Dm};
use guest::map::Map;
use guest::sys::{self, Aligned, Fd, Sys};

/// The disk below it: the second one in memory.
const BELOW: &str = "/dev/ram1";

pub struct Device {
    dm: Dm,
    fd: Fd,
    aio: Aio,
}

/// Where it has so many bytes of this letter.
fn place(letter: u8) -> u64 {
    u64::from(letter - b'A') * MOST
}

impl Device {
    /// One for this process, which has none with this number.
    pub fn new(number: usize) -> Sys<Device> {
        let name = format!("deliver{}.{number}", std::process::id());
        let dm = dm::start(&name, &[dm::linear(BELOW, 0, 1)])?;
        let fd = sys::open(&dm.path, libc::O_RDWR | libc::O_DIRECT, 0)?;
        let aio = Aio::new(1)?;
        Ok(Device { dm, fd, aio })
    }

    /// It has bytes of this letter, and says nothing. To make it silent takes a while: it is done
    /// before anybody is led.
    pub fn hold(&self, bytes: &Aligned, letter: u8) -> Sys<()> {
        self.fd.pwrite(bytes, place(letter))?;
        self.dm.suspend()
    }

    /// It is asked for them, by `to`, and delivers when `meanwhile` is over.
    pub fn deliver(
        &mut self,
        letter: u8,
        to: (&Map, usize, usize),
        meanwhile: impl FnOnce() -> Sys<()>,
    ) -> Sys<Outcome> {
        let (map, at, len) = to;
        let (bytes, from) = (map.as_mut_slice(at, len), place(letter));
        let asked = self.aio.submit(&self.fd, Op::Read, bytes, from, 0);
        let waited = asked.as_ref().map_or(Ok(()), |()| meanwhile());
        self.dm.resume()?;
        if let Err(e) = asked {
            return Ok(Outcome::Failed(e.errno));
        }
        let (_, n) = self.aio.wait(1)?[0];
        waited?;
        // What has come may be less than all.
        Ok(match u64::try_from(n) {
            Ok(n) if n == len as u64 => Outcome::Done(n, Vec::new()),
            Ok(_) => Outcome::Failed(libc::EFAULT),
            Err(_) => Outcome::Failed(-n as i32),
        })
    }
}
