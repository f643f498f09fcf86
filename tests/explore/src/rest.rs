// SPDX-License-Identifier: GPL-2.0
//! What is looked at when nothing moves any more.

use crate::op::{FILES, MOST};
use crate::oracle::{show, Oracle};
use crate::program::{Image, Program, PAGE};
use crate::worker::{link, path};
use guest::fiemap::{fiemap, UNWRITTEN};
use guest::map::Map;
use guest::sys::{self, Aligned, Fd, Sys};
use lab::tracing::mark;
use libc::{O_DIRECT, O_RDONLY};

/// All bytes that a file has for read(2), or directly, from byte 0 on.
fn bytes(f: &Fd, base: u64, most: u64) -> Sys<Vec<u8>> {
    // More than the size: what comes then is too much.
    let mut seen = Aligned::new((most.next_multiple_of(PAGE) + 2 * PAGE) as usize);
    let n = f.pread(&mut seen, base)?;
    Ok(seen[..n].to_vec())
}

/// Is it the same, but for what may differ?
fn same(now: &[u8], before: &[u8], may_differ: &[bool]) -> Result<(), String> {
    if now.len() != before.len() {
        return Err(format!("{} bytes instead of {}", now.len(), before.len()));
    }
    match (0..now.len()).find(|i| now[*i] != before[*i] && !may_differ[*i]) {
        None => Ok(()),
        Some(i) => Err(format!(
            "{} at {i} instead of {}",
            show(now[i]),
            show(before[i])
        )),
    }
}

/// Where SEEK_DATA and SEEK_HOLE say that there is data.
fn data(size: u64, seek: impl Fn(i64, i32) -> Sys<i64>) -> Result<Vec<bool>, String> {
    let text = |e: sys::SysErr| e.to_string();
    let mut is_data = vec![false; size as usize];
    let (mut at, size) = (0, size as i64);
    while at < size {
        let from = match seek(at, libc::SEEK_DATA) {
            Err(e) if e.errno == libc::ENXIO => size,
            other => other.map_err(text)?,
        };
        if from > at && seek(at, libc::SEEK_HOLE).map_err(text)? != at {
            return Err(format!("SEEK_DATA says hole at {at}, SEEK_HOLE data"));
        }
        let end = match from < size {
            true => seek(from, libc::SEEK_HOLE).map_err(text)?,
            false => size,
        };
        if from < at || from > size || end > size || end <= from && from < size {
            return Err(format!(
                "SEEK_DATA says {from} from {at} on, SEEK_HOLE {end}"
            ));
        }
        is_data[from as usize..end as usize].fill(true);
        at = end;
    }
    Ok(is_data)
}

/// What FIEMAP says of a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Block {
    Hole,
    Unwritten,
    Written,
}

/// SEEK_DATA, FIEMAP and the bytes say the same. All is written, and no page is there that could be
/// data over blocks which are not. With DAX nobody drops what a mapping has shown of an unwritten
/// block, and SEEK_DATA says of that that it is data, as of a page (`folio_seek_hole_data()` in
/// mm/filemap.c).
fn agree(is_data: &[bool], blocks: &[Block], seen: &[u8], dax: bool) -> Result<(), String> {
    for at in 0..seen.len() {
        let wrong = match (is_data[at], blocks[at]) {
            (true, Block::Hole) => "SEEK_DATA says data, FIEMAP says hole",
            (true, Block::Unwritten) if !dax => "SEEK_DATA says data, FIEMAP says unwritten",
            (false, Block::Written) => "SEEK_DATA says hole, FIEMAP says data",
            (false, _) if seen[at] != 0 => "there is data where SEEK_DATA says hole",
            _ => continue,
        };
        return Err(format!("{wrong} at {at}"));
    }
    Ok(())
}

/// So many blocks of a block map the inode itself leads to.
const POINTERS: u64 = 12;

/// FIEMAP, SEEK_DATA, the blocks and the bytes say the same.
fn holes(f: &Fd, image: Image, seen: &[u8]) -> Result<(), String> {
    let (size, base) = (seen.len() as u64, image.base());
    let text = |e: sys::SysErr| e.to_string();
    let from = base as i64;
    let is_data = data(size, |at, whence| Ok(f.seek(from + at, whence)? - from))?;
    // What is before byte 0 is none of it, and would be missing from the count.
    let mut extents = fiemap(f, base, 2 * MOST + size, false, 64).map_err(text)?;
    extents.iter_mut().for_each(|e| e.log -= base);
    let mut has = vec![Block::Hole; size as usize];
    for extent in &extents {
        let (from, to) = (extent.log.min(size), (extent.log + extent.len).min(size));
        let block = match extent.flags & UNWRITTEN {
            0 => Block::Written,
            _ => Block::Unwritten,
        };
        has[from as usize..to as usize].fill(block);
    }
    agree(&is_data, &has, seen, image.dax)?;
    let mapped: u64 = extents.iter().map(|e| e.len).sum();
    let blocks = f.stat().map_err(text)?.st_blocks as u64 * 512;
    // Many extents do not fit into the inode, nor do the pointers to many blocks.
    let has_node = match image.maps {
        true => extents
            .iter()
            .any(|e| e.log + e.len > POINTERS * image.block),
        false => extents.len() > 4,
    };
    let node = if has_node { image.block } else { 0 };
    match blocks == mapped || blocks == mapped + node {
        true => Ok(()),
        false => Err(format!(
            "stat says {blocks} bytes of blocks, FIEMAP {mapped}"
        )),
    }
}

/// One file, by all views: its bytes.
fn file(path: &str, number: u8, oracle: &Oracle<'_>) -> Result<Vec<u8>, String> {
    let text = |e: sys::SysErr| e.to_string();
    let (most, base) = (oracle.program.most(), oracle.program.image.base());
    let f = sys::rdonly(path).map_err(text)?;
    let seen = bytes(&f, base, most).map_err(text)?;
    let size = f.size().map_err(text)?;
    let size = size.checked_sub(base).ok_or("it ends before byte 0")?;
    if size != seen.len() as u64 {
        return Err(format!("stat says {size} bytes, read(2) {}", seen.len()));
    }
    oracle.rest(number, &seen)?;
    let places = 0..seen.len() as u64;
    let may_differ: Vec<bool> = places.map(|at| oracle.may_differ(number, at)).collect();
    let like = |now: &[u8]| {
        same(now, &seen, &may_differ)?;
        match may_differ.contains(&true) {
            true => oracle.rest(number, now),
            false => Ok(()),
        }
    };
    let (mapped, behind) = mapping(&f, base, size).map_err(text)?;
    like(&mapped).map_err(|e| format!("the mapping shows {e}"))?;
    let strict = !oracle.has_lost(number) && !oracle.leaves_behind(number);
    if strict && !oracle.stores_behind(number) {
        zeros(&behind, size).map_err(|e| format!("the mapping shows {e}"))?;
    }
    let direct = sys::open(path, O_RDONLY | O_DIRECT, 0).map_err(text)?;
    match bytes(&direct, base, most) {
        Ok(on_disk) => like(&on_disk).map_err(|e| format!("the disk has {e}"))?,
        // It is the first to be told.
        Err(e) if oracle.has_lost(number) && e.errno == libc::EIO => (),
        Err(e) => return Err(text(e)),
    }
    f.dontneed().map_err(text)?;
    let again = bytes(&f, base, most).map_err(text)?;
    like(&again).map_err(|e| format!("after eviction: {e}"))?;
    if strict {
        let (_, behind) = mapping(&f, base, size).map_err(text)?;
        zeros(&behind, size).map_err(|e| format!("after eviction: {e}"))?;
    }
    f.dontneed().map_err(text)?;
    if !oracle.has_lost(number) {
        holes(&f, oracle.program.image, &seen)?;
    }
    Ok(again)
}

/// What a mapping shows: the bytes of the file, and those behind its end in the last page.
fn mapping(f: &Fd, base: u64, size: u64) -> Sys<(Vec<u8>, Vec<u8>)> {
    if size == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let len = size.next_multiple_of(PAGE) as usize;
    let map = Map::new(f, base, len, libc::PROT_READ, libc::MAP_SHARED)?;
    let mut mapped = map.read(0, len);
    let behind = mapped.split_off(size as usize);
    Ok((mapped, behind))
}

/// Behind the end there is nothing.
fn zeros(behind: &[u8], size: u64) -> Result<(), String> {
    match behind.iter().position(|b| *b != 0) {
        None => Ok(()),
        Some(i) => {
            let (byte, at) = (show(behind[i]), size + i as u64);
            Err(format!("{byte} at {at}, behind the end"))
        }
    }
}

/// A file at the end.
pub struct Seen {
    pub file: u8,
    /// Where byte 0 is.
    base: u64,
    bytes: Vec<u8>,
    /// Where data may be lost: it is on disk, or not.
    lost: Option<Vec<bool>>,
    /// The size may not have moved there, and is this at least.
    least: u64,
    /// Behind its end there is nothing.
    strict: bool,
}

impl Seen {
    /// Is it still so, after an unmount and a mount?
    pub fn is_still(&self, path: &str) -> Result<(), String> {
        let text = |e: sys::SysErr| e.to_string();
        let f = sys::rdonly(path).map_err(text)?;
        let now = bytes(&f, self.base, self.bytes.len() as u64).map_err(text)?;
        self.is_kept(&now)?;
        let (_, behind) = mapping(&f, self.base, now.len() as u64).map_err(text)?;
        match self.strict && self.lost.is_none() {
            true => zeros(&behind, now.len() as u64),
            false => Ok(()),
        }
    }

    /// Is this what may be on disk?
    fn is_kept(&self, now: &[u8]) -> Result<(), String> {
        let size = self.bytes.len();
        let Some(lost) = &self.lost else {
            return same(now, &self.bytes, &vec![false; size]);
        };
        if now.len() > size || (now.len() as u64) < self.least {
            let (now, least) = (now.len(), self.least);
            return Err(format!("{now} bytes instead of {least} to {size}"));
        }
        // Nobody sees zeros go with the end.
        let mut all = now.to_vec();
        all.resize(size, 0);
        same(&all, &self.bytes, lost)
    }
}

/// The files of a run. Those that may lose their names are open all the while.
pub struct Files {
    pub run: u64,
    held: [Option<Fd>; FILES.len()],
}

impl Files {
    pub fn open(run: u64, program: &Program) -> Sys<Files> {
        let mut held = [const { None }; FILES.len()];
        for (file, held) in (0..).zip(&mut held) {
            if program.uses(file) && program.may_be_gone(file) {
                *held = Some(sys::rdonly(&path(run, file))?);
            }
        }
        Ok(Files { run, held })
    }

    fn path(&self, file: u8) -> String {
        match &self.held[usize::from(file)] {
            Some(held) => link(held),
            None => path(self.run, file),
        }
    }

    /// The inodes of both files, where they are.
    pub fn inodes(&self) -> [Option<u64>; FILES.len()] {
        [0, 1].map(|file| {
            let st = match &self.held[file] {
                Some(held) => held.stat(),
                None => sys::lstat(&path(self.run, file as u8)),
            };
            Some(st.ok()?.st_ino)
        })
    }

    /// All of them: what was seen of those that have their names.
    pub fn look(&self, program: &Program, oracle: &Oracle<'_>) -> Result<Vec<Seen>, String> {
        let mut out = Vec::new();
        for number in (0..FILES.len() as u8).filter(|n| program.uses(*n)) {
            let name = FILES[usize::from(number)];
            let seen = file(&self.path(number), number, oracle);
            let bytes = seen.map_err(|e| format!("file {name}: {e}"))?;
            if self.held[usize::from(number)].is_some() {
                continue;
            }
            let places = 0..bytes.len() as u64;
            let vague = || places.map(|at| oracle.is_vague(number, at)).collect();
            out.push(Seen {
                file: number,
                base: program.image.base(),
                lost: oracle.has_lost(number).then(vague),
                least: oracle.least_kept(number),
                strict: !oracle.leaves_behind(number),
                bytes,
            });
        }
        Ok(out)
    }
}

/// What a picture begins with.
pub fn given(run: u64, program: &Program) -> Sys<()> {
    mark(&format!("given a: {}", program.start.words()));
    mark("role check");
    for number in (0..FILES.len() as u8).filter(|n| program.uses(*n)) {
        let st = sys::lstat(&path(run, number))?;
        let (major, minor) = (libc::major(st.st_dev), libc::minor(st.st_dev));
        let name = FILES[usize::from(number)];
        mark(&format!(
            "file {name} dev {major}:{minor} ino {}",
            st.st_ino
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_no_more_than_that() {
        let lost = vec![false, false, true, true];
        let seen = |bytes: &[u8], least| Seen {
            file: 0,
            base: 0,
            bytes: bytes.to_vec(),
            lost: Some(lost.clone()),
            least,
            strict: true,
        };
        let half = seen(b"AABB", 2);
        assert!(half.is_kept(b"AABB").is_ok() && half.is_kept(b"AAii").is_ok());
        assert!(half.is_kept(b"AA").is_ok() && half.is_kept(b"AiBB").is_err());
        // The size that was there before is.
        assert!(half.is_kept(b"A").is_err() && half.is_kept(b"AABBB").is_err());
        assert!(seen(b"AABB", 0).is_kept(b"A").is_err());
        assert!(seen(b"\0\0BB", 0).is_kept(b"").is_ok());
        let none = Seen {
            lost: None,
            ..seen(b"AABB", 0)
        };
        assert!(none.is_kept(b"AABB").is_ok() && none.is_kept(b"AA").is_err());
    }

    #[test]
    fn views_differ_where_they_may() {
        let may_differ = [false, true];
        assert_eq!(same(b"AA", b"AB", &may_differ), Ok(()));
        assert!(same(b"BA", b"AA", &may_differ).is_err());
        assert!(same(b"AA", b"A", &may_differ).is_err());
    }

    #[test]
    fn a_byte_that_is_not_zero_is_data() {
        use Block::{Hole, Unwritten, Written};
        let tells = |data, block, byte, dax| agree(&[data], &[block], &[byte], dax).is_ok();
        let says = |data, block, byte| tells(data, block, byte, false);
        assert!(tells(true, Unwritten, 0, true) && !tells(true, Hole, 0, true));
        assert!(says(true, Written, 0) && says(true, Written, b'A'));
        assert!(says(false, Hole, 0) && says(false, Unwritten, 0));
        assert!(!says(false, Unwritten, b'A') && !says(false, Hole, b'A'));
        assert!(!says(true, Hole, 0) && !says(true, Unwritten, 0) && !says(false, Written, 0));
    }

    /// A file of these bytes, of which those that are not zero are data.
    fn seek(bytes: &[u8], at: i64, whence: i32) -> Sys<i64> {
        let wanted = |b: &u8| (*b != 0) == (whence == libc::SEEK_DATA);
        let found = bytes[at as usize..].iter().position(wanted);
        match found {
            None if whence == libc::SEEK_DATA => Err(sys::SysErr {
                what: String::new(),
                errno: libc::ENXIO,
            }),
            None => Ok(bytes.len() as i64),
            Some(more) => Ok(at + more as i64),
        }
    }

    #[test]
    fn seeks_agree() {
        for bytes in [&b"\0\0AA\0A"[..], b"A\0", b"\0\0", b"AA"] {
            let found = data(bytes.len() as u64, |at, how| seek(bytes, at, how)).unwrap();
            assert!(bytes.iter().zip(found).all(|(b, data)| (*b != 0) == data));
        }
        let bytes = b"\0\0AA";
        // A hole where SEEK_HOLE knows of none, one behind the end, and no way on.
        let no_hole = |at, how| {
            seek(
                if how == libc::SEEK_HOLE {
                    b"AAAA"
                } else {
                    bytes
                },
                at,
                how,
            )
        };
        assert!(data(4, no_hole).is_err());
        let behind = |at: i64, how| seek(bytes, at, how).map(|found| found + at / 2);
        assert!(data(4, behind).is_err());
        assert!(data(4, |at, how| seek(b"AAAA", at, how).map(|_| at)).is_err());
    }

    #[test]
    fn behind_the_end() {
        assert_eq!(zeros(&[0, 0], 10), Ok(()));
        assert_eq!(zeros(&[], 10), Ok(()));
        assert!(zeros(&[0, b'A'], 10).is_err_and(|e| e.contains("'A' at 11")));
    }
}
