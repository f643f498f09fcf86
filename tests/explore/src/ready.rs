// SPDX-License-Identifier: GPL-2.0
//! What an operation takes is made ready before anybody is led.

use crate::maps;
use crate::op::{Kind, Op, Verb, MOST};
use crate::program::{Image, PAGE};
use crate::worker::{folder, path};
use guest::fixture::MNT;
use guest::map::Map;
use guest::sys::{self, Aligned, Fd, Sys};
use libc::{O_APPEND, O_DIRECT, O_RDWR};
use std::rc::Rc;

/// What such a file has.
const HEIR: u8 = b'h';

/// An operation with all that it takes, so that nothing else is done while it is stepped.
pub struct Ready {
    pub op: Op,
    pub file: Fd,
    pub map: Option<Rc<Map>>,
    /// What only half can be had of, and where it begins.
    pub torn: Option<(Map, usize)>,
    /// A file of its own: one whose blocks are exchanged with those of the other, that is read into
    /// it, or by which it comes by a point; and the size of a block.
    pub donor: Option<(Fd, u64)>,
    pub buffer: Aligned,
    pub mark: u8,
    /// The name of its file, and one of a file that is to have it.
    pub name: String,
    pub own: String,
    /// Where byte 0 is in its file.
    pub base: u64,
    /// Which operation of the thread began what this one ends.
    pub begun: Option<usize>,
}

fn own_path(run: u64, mark: u8) -> String {
    format!("{}/{run}d{mark}", folder())
}

/// One that takes the name of another one: with data that is in memory only, but on a full disk.
fn heir(image: Image, path: &str) -> Sys<Fd> {
    let file = sys::create(path)?;
    if !image.tight {
        file.pwrite(&[HEIR; PAGE as usize], 0)?;
    }
    Ok(file)
}

/// A file that has blocks wherever another one can have some. On a full disk it has none, and
/// nothing can be exchanged.
fn donor(run: u64, image: Image, mark: u8) -> Sys<(Fd, u64)> {
    let file = sys::create(&own_path(run, mark))?;
    let _ = file.fallocate(0, image.base(), MOST);
    Ok((file, sys::statfs(MNT)?.f_bsize as u64))
}

/// One that has bytes of this letter on the disk, and none in memory.
fn source(run: u64, mark: u8, len: u64) -> Sys<Fd> {
    let path = own_path(run, mark);
    let file = sys::create(&path)?;
    file.pwrite(&vec![mark; len as usize], 0)?;
    file.fsync()?;
    file.dontneed()?;
    sys::open(&path, O_RDWR | O_DIRECT, 0)
}

/// The file of its own that an operation takes.
fn own(run: u64, image: Image, op: &Op, mark: u8) -> Sys<Option<(Fd, u64)>> {
    let empty = || sys::create(&own_path(run, mark));
    match op.verb {
        Verb::MoveExtents => Ok(Some(donor(run, image, mark)?)),
        Verb::Deliver if image.dax => Ok(Some((empty()?, 0))),
        Verb::ReadInto => Ok(Some((source(run, mark, op.len)?, 0))),
        Verb::Replace => Ok(Some((heir(image, &own_path(run, mark))?, 0))),
        _ => Ok(None),
    }
}

/// How its file is opened.
fn flags(verb: Verb) -> i32 {
    let direct = if verb.is_direct() { O_DIRECT } else { 0 };
    direct | if verb.appends() { O_APPEND } else { 0 }
}

pub fn ready(run: u64, image: Image, op: Op, mark: u8) -> Sys<Ready> {
    let mapped = op.verb.is_mapped() || matches!(op.verb, Verb::Collapse | Verb::OwnWrite);
    let file = match op.verb {
        Verb::Commit => sys::create(&format!("{}/{run}c{mark}", folder()))?,
        verb if verb.kind() != Some(Kind::Bytes) => sys::rdonly(MNT)?,
        verb => sys::open(&path(run, op.file), O_RDWR | flags(verb), 0)?,
    };
    let torn = match op.verb {
        Verb::HalfWrite => Some(torn(&op, mark)?),
        _ => None,
    };
    let map = match mapped {
        true => Some(Rc::new(maps::map(&file, &op, image.base())?)),
        false => None,
    };
    let donor = own(run, image, &op, mark)?;
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
        name: match op.verb.takes_name() {
            true => path(run, op.file),
            false => String::new(),
        },
        own: own_path(run, mark),
        base: image.base(),
        begun: None,
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
