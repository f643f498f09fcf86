// SPDX-License-Identifier: GPL-2.0
//! File handles: name_to_handle_at and open_by_handle_at.

use crate::sys::{errno, Fd, Sys, SysErr};
use std::ffi::CString;

/// Room for the bytes of a handle (`MAX_HANDLE_SZ`).
const ROOM: usize = 128;
/// Number and generation; and those of the parent.
pub const PLAIN: i32 = 1;
pub const WITH_PARENT: i32 = 2;
/// What `AT_HANDLE_CONNECTABLE` marks handles with.
pub const IS_CONNECTABLE: i32 = 0x1_0000;
pub const IS_DIR: i32 = 0x2_0000;

/// `struct file_handle`.
#[repr(C)]
struct Raw {
    bytes: u32,
    kind: i32,
    data: [u8; ROOM],
}

#[derive(Clone, Debug, PartialEq)]
pub struct Handle {
    pub kind: i32,
    pub data: Vec<u8>,
}

impl Handle {
    /// The handle of what `path` names, a symbolic link's own.
    pub fn of(path: &str, flags: i32) -> Sys<Handle> {
        Self::within(path, flags, ROOM)
    }

    /// The same, in a buffer with room for so many bytes.
    pub fn within(path: &str, flags: i32, room: usize) -> Sys<Handle> {
        let p = CString::new(path).unwrap_or_default();
        let mut raw = Raw {
            bytes: room.min(ROOM) as u32,
            kind: 0,
            data: [0; ROOM],
        };
        let mut id = 0u64;
        // SAFETY: a NUL-terminated path; the handle has the room it tells of, and the id is as
        // large as it can be.
        let r = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                libc::AT_FDCWD,
                p.as_ptr(),
                &raw mut raw,
                &raw mut id,
                flags,
            )
        };
        if r < 0 {
            return Err(SysErr {
                what: format!("handle of {path} flags {flags:#x}"),
                errno: errno(),
            });
        }
        Ok(Handle {
            kind: raw.kind,
            data: raw.data[..ROOM.min(raw.bytes as usize)].to_vec(),
        })
    }

    pub fn new(kind: i32, words: &[u32]) -> Handle {
        Handle {
            kind,
            data: words.iter().flat_map(|w| w.to_ne_bytes()).collect(),
        }
    }

    fn word(&self, n: usize) -> u32 {
        let bytes = self.data.get(4 * n..4 * n + 4);
        bytes.map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    }

    pub fn ino(&self) -> u64 {
        self.word(0).into()
    }

    pub fn generation(&self) -> u32 {
        self.word(1)
    }

    pub fn parent(&self) -> u64 {
        self.word(2).into()
    }

    /// Opens it; `mount` is any file of the file system.
    pub fn open(&self, mount: &Fd, flags: i32) -> Sys<Fd> {
        let mut raw = Raw {
            bytes: self.data.len() as u32,
            kind: self.kind,
            data: [0; ROOM],
        };
        raw.data[..self.data.len()].copy_from_slice(&self.data);
        let flags = flags | libc::O_CLOEXEC;
        // SAFETY: the handle has as many bytes as it tells of.
        let r =
            unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.raw, &raw mut raw, flags) };
        let name = format!("handle {:x} {:?}", self.kind, self.data);
        match r {
            r if r < 0 => Err(SysErr {
                what: format!("open {name} flags {flags:#o}"),
                errno: errno(),
            }),
            r => Ok(Fd {
                raw: r as i32,
                name,
            }),
        }
    }
}
