// SPDX-License-Identifier: GPL-2.0
//! A device from which a direct read goes into a mapping, and which delivers when it is told to:
//! meanwhile the pages are pinned.

use crate::aio::{Aio, Op};
use crate::dm::{self, Dm};
use crate::fixture::T;
use crate::harness::Res;
use crate::map::Map;
use crate::same;
use crate::sys::{self, Fd};
use std::ops::Range;

/// The device.
pub struct Source {
    dm: Dm,
    fd: Fd,
    aio: Aio,
}

impl Source {
    /// A device that holds `data`.
    pub fn new(t: &mut T, data: &[u8]) -> Res<Source> {
        let whole = sys::rdwr(&t.disks[1])?;
        whole.pwrite(data, 0)?;
        whole.fsync()?;
        let dm = dm::start("source", &[dm::linear(&t.disks[1], 0, 1)])?;
        t.dms.push(dm.clone());
        let fd = sys::open(&dm.path, libc::O_RDONLY | libc::O_DIRECT, 0)?;
        let aio = Aio::new(1)?;
        Ok(Source { dm, fd, aio })
    }

    /// Asks for these bytes of the mapping. Returns with the page pinned and the device silent.
    pub fn ask(&mut self, map: &Map, bytes: &Range<usize>) -> Res {
        self.dm.suspend()?;
        let page = map.as_mut_slice(bytes.start, bytes.len());
        Ok(self.aio.submit(&self.fd, Op::Read, page, 0, 0)?)
    }

    /// The device, for a thread that waits for it: when its read returns, what it read into is
    /// marked dirty.
    pub fn file(&self) -> Res<Fd> {
        Ok(self.fd.dup()?)
    }

    /// From now on the device is silent.
    pub fn suspend(&self) -> Res {
        Ok(self.dm.suspend()?)
    }

    /// It answers again.
    pub fn resume(&self) -> Res {
        Ok(self.dm.resume()?)
    }

    /// The device delivers.
    pub fn deliver(mut self, bytes: &Range<usize>) -> Res {
        self.dm.resume()?;
        same!(self.aio.wait(1)?, vec![(0, bytes.len() as i64)], "the read");
        Ok(())
    }
}
