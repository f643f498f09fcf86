// SPDX-License-Identifier: GPL-2.0
//! What an operation takes is made ready before anybody is led.

use crate::op::{Kind, Op, Verb, MOST};
use crate::program::PAGE;
use crate::worker::{folder, path};
use guest::fixture::MNT;
use guest::map::Map;
use guest::sys::{self, Aligned, Fd, Sys};
use libc::{O_DIRECT, O_RDWR};

/// An operation with all that it takes, so that nothing else is done while it is stepped.
pub struct Ready {
    pub op: Op,
    pub file: Fd,
    pub map: Option<Map>,
    /// What only half can be had of, and where it begins.
    pub torn: Option<(Map, usize)>,
    /// The file whose blocks are exchanged with its own, and the size of one.
    pub donor: Option<(Fd, u64)>,
    pub buffer: Aligned,
    pub mark: u8,
}

/// A file that has blocks wherever another one can have some. On a full disk it has none, and
/// nothing can be exchanged.
fn donor(run: u64, mark: u8) -> Sys<(Fd, u64)> {
    let file = sys::create(&format!("{}/{run}d{mark}", folder()))?;
    let _ = file.fallocate(0, 0, MOST);
    Ok((file, sys::statfs(MNT)?.f_bsize as u64))
}

pub fn ready(run: u64, op: Op, mark: u8) -> Sys<Ready> {
    let mapped = op.verb.is_mapped() || matches!(op.verb, Verb::Collapse | Verb::OwnWrite);
    let file = match op.verb {
        Verb::Commit => sys::create(&format!("{}/{run}c{mark}", folder()))?,
        verb if verb == Verb::Freeze || verb.kind() == Some(Kind::Names) => sys::rdonly(MNT)?,
        verb if verb.is_direct() => sys::open(&path(run, op.file), O_RDWR | O_DIRECT, 0)?,
        _ => sys::rdwr(&path(run, op.file))?,
    };
    let torn = match op.verb {
        Verb::HalfWrite => Some(torn(&op, mark)?),
        _ => None,
    };
    let map = match mapped {
        true => Some(Map::shared(&file, MOST as usize)?),
        false => None,
    };
    let donor = match op.verb {
        Verb::MoveExtents => Some(donor(run, mark)?),
        _ => None,
    };
    let mut buffer = Aligned::new(op.len as usize);
    buffer.fill(mark);
    Ok(Ready {
        op,
        file,
        map,
        torn,
        donor,
        buffer,
        mark,
    })
}

/// Bytes that end before what is to be written: there is no more of the file that they are in. It
/// is on no disk.
fn torn(op: &Op, mark: u8) -> Sys<(Map, usize)> {
    let given = op.given() as usize;
    let end = given.next_multiple_of(PAGE as usize);
    let path = format!("/dev/shm/torn{}.{mark}", std::process::id());
    let f = sys::create(&path)?;
    f.pwrite(&vec![mark; end], 0)?;
    Ok((Map::shared(&f, end + op.len as usize)?, end - given))
}
