// SPDX-License-Identifier: GPL-2.0

//! The mark of a filesystem in which errors were found: a bit of `s_state`, and the first and the
//! last error with their number (`Documentation/filesystems/ext4/super.rst`). e2fsck removes it.

use super::super_raw::{RawSuper, STATE_ERROR};
use super::Ino;
use zerocopy::little_endian::{U32, U64};

/// One error that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundError<'a> {
    /// When, in seconds since 1970.
    pub sec: u64,
    /// In which inode, if in one.
    pub ino: Option<Ino>,
    /// By which part of the code: the last 31 bytes are kept.
    pub func: &'a str,
    /// The line in it.
    pub line: u32,
    /// One of [`error_code`].
    pub code: u8,
}

/// The fields of one error, as they lie in the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawError {
    time: U32,
    time_hi: u8,
    ino: U32,
    block: U64,
    func: [u8; 32],
    line: U32,
    code: u8,
}

impl RawError {
    /// When it was found, in seconds since 1970; 0 where there is none.
    pub fn time(&self) -> u64 {
        u64::from(self.time.get()) | u64::from(self.time_hi) << 32
    }

    /// The inode, or 0.
    pub fn ino(&self) -> u64 {
        self.ino.get().into()
    }

    /// The block, or 0.
    pub fn block(&self) -> u64 {
        self.block.get()
    }

    /// Which part of the code, padded with zeros.
    pub fn func(&self) -> [u8; 32] {
        self.func
    }

    /// The line in it.
    pub fn line(&self) -> u64 {
        self.line.get().into()
    }

    /// One of [`error_code`], or another of the format.
    pub fn code(&self) -> u64 {
        self.code.into()
    }
}

/// The whole mark, to be kept while something writes an older superblock over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorMark {
    marked: bool,
    count: u32,
    first: RawError,
    last: RawError,
}

impl ErrorMark {
    /// Whether the filesystem is marked.
    pub fn is_set(&self) -> bool {
        self.marked || self.count > 0
    }

    /// How many errors were found.
    pub fn count(&self) -> u64 {
        self.count.into()
    }

    /// The first of them.
    pub fn first(&self) -> &RawError {
        &self.first
    }

    /// The last.
    pub fn last(&self) -> &RawError {
        &self.last
    }
}

impl FoundError<'_> {
    fn to_raw(self) -> RawError {
        let mut func = [0u8; 32];
        // One byte stays zero, old tools print it as a C string.
        let bytes = self.func.as_bytes();
        let tail = bytes.iter().skip(bytes.len().saturating_sub(31));
        for (to, from) in func.iter_mut().zip(tail) {
            *to = *from;
        }
        RawError {
            time: U32::new(self.sec as u32),
            time_hi: (self.sec >> 32) as u8,
            ino: U32::new(Ino::to_disk(self.ino)),
            block: U64::new(0),
            func,
            line: U32::new(self.line),
            code: self.code,
        }
    }
}

impl RawSuper {
    /// Marks the filesystem and records `count` errors, of which these are the first and the last:
    /// the first one ever stays, the last one is replaced.
    pub fn record_errors(&mut self, first: &FoundError<'_>, last: &FoundError<'_>, count: u32) {
        let mut mark = self.error_mark();
        mark.marked = true;
        mark.last = last.to_raw();
        if mark.first.time.get() == 0 && mark.first.time_hi == 0 {
            mark.first = first.to_raw();
        }
        mark.count = mark.count.saturating_add(count);
        self.set_error_mark(&mark);
    }

    /// The mark as it is.
    pub fn error_mark(&self) -> ErrorMark {
        ErrorMark {
            marked: self.has_state(STATE_ERROR),
            count: self.error_count.get(),
            first: RawError {
                time: self.first_error_time,
                time_hi: self.first_error_time_hi,
                ino: self.first_error_ino,
                block: self.first_error_block,
                func: self.first_error_func,
                line: self.first_error_line,
                code: self.first_error_errcode,
            },
            last: RawError {
                time: self.last_error_time,
                time_hi: self.last_error_time_hi,
                ino: self.last_error_ino,
                block: self.last_error_block,
                func: self.last_error_func,
                line: self.last_error_line,
                code: self.last_error_errcode,
            },
        }
    }

    /// Puts `mark` back where an older superblock has come over it: errors are not forgotten, and
    /// the longer record stays. Returns whether anything was missing.
    pub fn keep_error_mark(&mut self, mark: &ErrorMark) -> bool {
        let now = self.error_mark();
        let mut kept = if mark.count > now.count { *mark } else { now };
        kept.marked = mark.marked || now.marked;
        self.set_error_mark(&kept);
        kept != now
    }

    fn set_error_mark(&mut self, mark: &ErrorMark) {
        if mark.marked {
            self.update_state(STATE_ERROR, 0);
        }
        self.error_count.set(mark.count);
        let RawError { time, time_hi, .. } = mark.first;
        (self.first_error_time, self.first_error_time_hi) = (time, time_hi);
        (self.first_error_ino, self.first_error_block) = (mark.first.ino, mark.first.block);
        (self.first_error_func, self.first_error_line) = (mark.first.func, mark.first.line);
        self.first_error_errcode = mark.first.code;
        let RawError { time, time_hi, .. } = mark.last;
        (self.last_error_time, self.last_error_time_hi) = (time, time_hi);
        (self.last_error_ino, self.last_error_block) = (mark.last.ino, mark.last.block);
        (self.last_error_func, self.last_error_line) = (mark.last.func, mark.last.line);
        self.last_error_errcode = mark.last.code;
    }
}

/// The error codes of `s_last_error_errcode` that are recorded here (`EXT4_ERR_*`).
#[allow(missing_docs, reason = "named after the errno they stand for")]
pub mod error_code {
    pub const UNKNOWN: u8 = 1;
    pub const EIO: u8 = 2;
    pub const ENOMEM: u8 = 3;
    pub const EFSCORRUPTED: u8 = 5;
}
