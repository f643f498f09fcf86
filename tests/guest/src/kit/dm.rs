// SPDX-License-Identifier: GPL-2.0
//! Device mapper by ioctl: no dmsetup, no udev.

use crate::fixture::unless_busy;
use crate::sys::{self, Fd, Sys, SysErr};

const HDR: usize = 312;
const VERSION: u64 = 0;
const DEV_CREATE: u64 = 3;
const DEV_REMOVE: u64 = 4;
const DEV_SUSPEND: u64 = 6;
const TABLE_LOAD: u64 = 9;
const TARGET_MSG: u64 = 14;
const F_SUSPEND: u32 = 1 << 1;
const F_SKIP_LOCKFS: u32 = 1 << 10;
const F_NOFLUSH: u32 = 1 << 11;

/// A mapped device of ours.
#[derive(Clone)]
pub struct Dm {
    name: String,
    pub path: String,
}

fn control() -> Sys<Fd> {
    sys::open("/dev/mapper/control", libc::O_RDWR, 0)
}

/// Runs one device-mapper ioctl; returns the device number.
fn call(cmd: u64, name: &str, flags: u32, targets: u32, payload: &[u8]) -> Sys<u64> {
    let size = (HDR + payload.len() + 8).max(1024);
    let mut b = vec![0u64; size.div_ceil(8)];
    // SAFETY: the vector's bytes, exclusively borrowed.
    let raw = unsafe { std::slice::from_raw_parts_mut(b.as_mut_ptr().cast::<u8>(), b.len() * 8) };
    let put32 =
        |raw: &mut [u8], at: usize, v: u32| raw[at..at + 4].copy_from_slice(&v.to_le_bytes());
    put32(raw, 0, 4);
    put32(raw, 12, size as u32);
    put32(raw, 16, HDR as u32);
    put32(raw, 20, targets);
    put32(raw, 28, flags);
    raw[48..48 + name.len()].copy_from_slice(name.as_bytes());
    raw[HDR..HDR + payload.len()].copy_from_slice(payload);
    let fd = control()?;
    let nr = (3u64 << 30) | ((HDR as u64) << 16) | (0xfd << 8) | cmd;
    // SAFETY: a dm_ioctl of the size it says.
    unsafe { fd.ioctl(nr, raw.as_mut_ptr()) }.map_err(|e| SysErr {
        what: format!("device mapper call {cmd} on {name}"),
        ..e
    })?;
    let dev = u64::from_le_bytes(raw[40..48].try_into().unwrap_or([0; 8]));
    Ok(dev)
}

/// Is device mapper there?
pub fn usable() -> bool {
    call(VERSION, "", 0, 0, &[]).is_ok()
}

/// `(start, sectors, target, parameters)`, as a line of `dmsetup table`.
pub type Line<'a> = (u64, u64, &'a str, String);

impl Dm {
    /// A device with no table.
    pub fn create(name: &str) -> Sys<Dm> {
        let name = format!("guest-{name}");
        let _ = call(DEV_REMOVE, &name, 0, 0, &[]);
        let dev = call(DEV_CREATE, &name, 0, 0, &[])?;
        let minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
        Ok(Dm {
            name,
            path: format!("/dev/dm-{minor}"),
        })
    }

    pub fn load(&self, table: &[Line<'_>]) -> Sys<()> {
        let mut p = Vec::new();
        for (start, len, target, params) in table {
            let mut s = vec![0u8; 40];
            s[0..8].copy_from_slice(&start.to_le_bytes());
            s[8..16].copy_from_slice(&len.to_le_bytes());
            s[24..24 + target.len()].copy_from_slice(target.as_bytes());
            s.extend_from_slice(params.as_bytes());
            s.push(0);
            while s.len() % 8 != 0 {
                s.push(0);
            }
            let next = (s.len()) as u32;
            s[20..24].copy_from_slice(&next.to_le_bytes());
            p.extend_from_slice(&s);
        }
        call(TABLE_LOAD, &self.name, 0, table.len() as u32, &p).map(|_| ())
    }

    pub fn resume(&self) -> Sys<()> {
        call(DEV_SUSPEND, &self.name, 0, 0, &[]).map(|_| ())
    }

    /// Swaps the table under a mounted file system, without telling it (no freeze), as a failing
    /// device would.
    pub fn swap(&self, table: &[Line<'_>]) -> Sys<()> {
        self.load(table)?;
        self.suspend()?;
        self.resume()
    }

    /// Holds back all I/O until `resume`, without telling the file system.
    pub fn suspend(&self) -> Sys<()> {
        call(
            DEV_SUSPEND,
            &self.name,
            F_SUSPEND | F_SKIP_LOCKFS | F_NOFLUSH,
            0,
            &[],
        )
        .map(|_| ())
    }

    pub fn message(&self, text: &str) -> Sys<()> {
        let mut p = vec![0u8; 8];
        p.extend_from_slice(text.as_bytes());
        p.push(0);
        call(TARGET_MSG, &self.name, 0, 0, &p).map(|_| ())
    }

    pub fn remove(self) -> Sys<()> {
        // A program that looked at the device may still have it open for a moment.
        unless_busy(|| call(DEV_REMOVE, &self.name, 0, 0, &[]).map(|_| ()))
    }
}

/// A linear mapping of `mb` MiB of `dev` from `from_mb`.
pub fn linear(dev: &str, from_mb: u64, mb: u64) -> Line<'_> {
    (0, mb * 2048, "linear", format!("{dev} {}", from_mb * 2048))
}

/// As `linear`, but what is written stays on its way until the table is swapped: dm-delay lets go
/// of all that it has when its device is suspended. (Milliseconds of a read, then of a write.)
pub fn holding_writes(dev: &str, mb: u64) -> Line<'_> {
    let params = format!("{dev} 0 0 {dev} 0 {FOR_GOOD}");
    (0, mb * 2048, "delay", params)
}

/// Milliseconds that nothing in a case lasts. It has an end, or a case that fails would not.
pub const FOR_GOOD: u32 = 200_000;

/// Creates and starts a device.
pub fn start(name: &str, table: &[Line<'_>]) -> Sys<Dm> {
    let d = Dm::create(name)?;
    if let Err(e) = d.load(table).and_then(|()| d.resume()) {
        let _ = d.remove();
        return Err(e);
    }
    Ok(d)
}
