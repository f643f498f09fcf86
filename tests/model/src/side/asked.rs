// SPDX-License-Identifier: GPL-2.0
//! How the calls are asked for that a step makes: their flags, and those of mount(2) and chattr(1).

use super::{Side, TICK, TICKS};
use crate::op::{Flag, Mount, Move, Space, Sync};
use guest::flags::{DIRSYNC, SYNC};
use guest::sys::{self, Fd, Sys};
use libc::{MS_RDONLY, MS_REMOUNT};

impl Side {
    /// No commit comes by itself: what is on disk at a power cut is always the same.
    pub(super) fn mount_options(&self) -> String {
        format!("commit=900{}{}", self.options, self.mount.get().option())
    }

    /// No remount changes `dirsync`, nor may it name it: the kernel refuses that.
    fn remount_options(&self) -> String {
        let sync = match self.mount.get() {
            Mount::Sync => Mount::Sync.option(),
            Mount::Usual | Mount::Dirsync => "",
        };
        format!("commit=900{}{sync}", self.options)
    }

    /// Remounts read-only, and read-write again. Who completes asynchronous I/O may have a file
    /// open a moment longer.
    pub(super) fn read_only(&self) -> Sys<()> {
        let options = self.remount_options();
        let remount = |how| sys::mount(&self.dev, &self.dir, &self.fs, MS_REMOUNT | how, &options);
        let tries = if self.held.borrow().is_some() {
            1
        } else {
            TICKS
        };
        let mut done = remount(MS_RDONLY);
        for _ in 1..tries {
            match &done {
                Err(e) if e.errno == libc::EBUSY => std::thread::sleep(TICK),
                _ => break,
            }
            done = remount(MS_RDONLY);
        }
        done?;
        remount(0)
    }

    /// A name has this flag, of those that promise something, and no other of them.
    pub fn set_flag(&self, path: &str, flag: Flag) -> Sys<()> {
        let f = self.open_path(path, libc::O_RDONLY | libc::O_NONBLOCK)?;
        let wanted = match flag {
            Flag::None => 0,
            Flag::Sync => SYNC,
            Flag::Dirsync => DIRSYNC,
        };
        f.set_flags(f.flags()? & !(SYNC | DIRSYNC) | wanted)
    }

    /// Which of them a file or directory has.
    pub fn flag(&self, path: &str) -> Sys<Flag> {
        let flags = self.open_path(path, libc::O_RDONLY)?.flags()?;
        Ok(match flags {
            flags if flags & SYNC != 0 => Flag::Sync,
            flags if flags & DIRSYNC != 0 => Flag::Dirsync,
            _ => Flag::None,
        })
    }
}

pub(super) fn mode(how: Space) -> i32 {
    match how {
        Space::Allocate => 0,
        Space::KeepSize => libc::FALLOC_FL_KEEP_SIZE,
        Space::Punch => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        Space::Zero => libc::FALLOC_FL_ZERO_RANGE,
        Space::ZeroKeepSize => libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
        Space::Collapse => libc::FALLOC_FL_COLLAPSE_RANGE,
        Space::Insert => libc::FALLOC_FL_INSERT_RANGE,
    }
}

pub(super) fn flags(how: Move) -> u32 {
    match how {
        Move::Replace => 0,
        Move::NoReplace => sys::NOREPLACE,
        Move::Exchange => sys::EXCHANGE,
        Move::Whiteout => sys::WHITEOUT,
    }
}

pub(super) fn sync(f: &Fd, how: Sync) -> Sys<()> {
    match how {
        Sync::Fsync => f.fsync(),
        Sync::Fdatasync => f.fdatasync(),
        Sync::Range => f.sync_range(0, 0),
        Sync::All => f.syncfs(),
    }
}
