// SPDX-License-Identifier: GPL-2.0
//! A device that is read directly into the mapping of a file. It has been asked, and has not
//! delivered: meanwhile the pages are pinned, and when it delivers they become dirty, without a
//! fault.

use crate::op::MOST;
use guest::aio::{Aio, Op};
use guest::dm::{self, Dm};
use guest::sys::{self, Aligned, Fd, Sys, SysErr};

/// The disk below it: the second one in memory.
const BELOW: &str = "/dev/ram1";

pub struct Device {
    dm: Dm,
    fd: Fd,
    aio: Aio,
    /// It was asked, for so many bytes, and has not delivered.
    asked: Option<usize>,
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
        Ok(Device {
            dm,
            fd,
            aio,
            asked: None,
        })
    }

    /// It has bytes of this letter, and says nothing. To make it silent takes a while: it is done
    /// before anybody is led.
    pub fn hold(&self, bytes: &Aligned, letter: u8) -> Sys<()> {
        self.fd.pwrite(bytes, place(letter))?;
        self.dm.suspend()
    }

    /// It is asked for them.
    pub fn ask(&mut self, letter: u8, bytes: &mut [u8]) -> Sys<()> {
        let len = bytes.len();
        let asked = self.aio.submit(&self.fd, Op::Read, bytes, place(letter), 0);
        match asked {
            Ok(()) => self.asked = Some(len),
            Err(_) => self.dm.resume()?,
        }
        asked
    }

    /// It delivers what it was asked for.
    pub fn bring(&mut self) -> Sys<u64> {
        let Some(len) = self.asked.take() else {
            return Ok(0);
        };
        self.dm.resume()?;
        let (_, n) = self.aio.wait(1)?[0];
        // What has come may be less than all.
        let errno = match u64::try_from(n) {
            Ok(n) if n == len as u64 => return Ok(n),
            Ok(_) => libc::EFAULT,
            Err(_) => -n as i32,
        };
        Err(SysErr {
            what: String::new(),
            errno,
        })
    }
}
