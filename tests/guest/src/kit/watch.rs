// SPDX-License-Identifier: GPL-2.0
//! fanotify listeners that get file handles, not files.

use crate::handle::Handle;
use crate::sys::{errno, Fd, Sys, SysErr};
use std::ffi::CString;
use std::time::{Duration, Instant};

/// One event: what happened, where, and under which name.
#[derive(Debug, Default)]
pub struct Event {
    pub mask: u64,
    /// Of the inode, or of the directory.
    pub handle: Option<Handle>,
    pub name: String,
    /// Error number and how often, of `FAN_FS_ERROR`.
    pub error: Option<(i32, u32)>,
}

pub struct Watch(Fd);

impl Watch {
    /// Watches the whole file system of `path`. `report`: `FAN_REPORT_*`.
    pub fn filesystem(path: &str, report: u32, mask: u64) -> Sys<Watch> {
        let fail = |what: &str| SysErr {
            what: format!("{what} {path} {report:#x} {mask:#x}"),
            errno: errno(),
        };
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK | report;
        // SAFETY: plain call.
        let raw = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        if raw < 0 {
            return Err(fail("fanotify_init"));
        }
        let fd = Fd {
            raw,
            name: format!("watch of {path}"),
        };
        let p = CString::new(path).unwrap_or_default();
        let how = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: a NUL-terminated path.
        let r = unsafe { libc::fanotify_mark(fd.raw, how, mask, libc::AT_FDCWD, p.as_ptr()) };
        match r {
            0 => Ok(Watch(fd)),
            _ => Err(fail("fanotify_mark")),
        }
    }

    /// The events so far; waits for the first one.
    pub fn events(&self) -> Sys<Vec<Event>> {
        let end = Instant::now() + crate::wait::LONG;
        let mut all = Vec::new();
        loop {
            let mut buf = vec![0u8; 65_536];
            // SAFETY: buf is valid for its length.
            let n = unsafe { libc::read(self.0.raw, buf.as_mut_ptr().cast(), buf.len()) };
            match n {
                n if n > 0 => all.extend(parse(&buf[..n as usize])),
                _ if errno() != libc::EAGAIN => {
                    return Err(SysErr {
                        what: format!("read {}", self.0.name),
                        errno: errno(),
                    })
                }
                _ if !all.is_empty() || Instant::now() > end => return Ok(all),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    b.get(at..at + 4)
        .map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

fn parse(mut buf: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while buf.len() >= 24 {
        let len = (u32_at(buf, 0) as usize).clamp(24, buf.len());
        let (one, rest) = buf.split_at(len);
        // The metadata: length, version, its own length, mask.
        let mut event = Event {
            mask: u64::from(u32_at(one, 8)) | u64::from(u32_at(one, 12)) << 32,
            ..Event::default()
        };
        let mut info = &one[24..];
        while info.len() >= 4 {
            let len = usize::from(u16::from_ne_bytes([info[2], info[3]])).clamp(4, info.len());
            note(&mut event, &info[..len]);
            info = &info[len..];
        }
        events.push(event);
        buf = rest;
    }
    events
}

/// One piece of information: its header is the type, a pad byte and the length.
fn note(event: &mut Event, info: &[u8]) {
    match info[0] {
        libc::FAN_EVENT_INFO_TYPE_ERROR => {
            event.error = Some((u32_at(info, 4) as i32, u32_at(info, 8)));
        }
        libc::FAN_EVENT_INFO_TYPE_FID
        | libc::FAN_EVENT_INFO_TYPE_DFID
        | libc::FAN_EVENT_INFO_TYPE_DFID_NAME => {
            // Header, file system id, the handle, a name.
            let bytes = u32_at(info, 12) as usize;
            let end = (20 + bytes).min(info.len());
            event.handle = Some(Handle {
                kind: u32_at(info, 16) as i32,
                data: info[20.min(end)..end].to_vec(),
            });
            let name: Vec<u8> = info[end..]
                .iter()
                .copied()
                .take_while(|&b| b != 0)
                .collect();
            event.name = String::from_utf8_lossy(&name).into_owned();
        }
        _ => (),
    }
}
