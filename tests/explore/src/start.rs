// SPDX-License-Identifier: GPL-2.0
//! What is there before anybody does anything: files, and a disk that is full.

use crate::disk::free;
use crate::folder;
use crate::op::{Kind, MOST, NAMES};
use crate::program::{Image, Program, Start, INITIAL, PAGE};
use crate::worker::{folder, path};
use guest::finder;
use guest::fixture::MNT;
use guest::sys::{self, Fd, Sys};

/// Blocks that are left on a disk that is almost full.
const SPARE: u64 = 2;

/// The files of a program, or its names: of those the inodes.
pub fn create(run: u64, program: &Program) -> Sys<[u64; NAMES.len()]> {
    let image = program.image;
    let inodes = match program.kind() {
        Kind::Bytes => create_files(run, program).map(|()| Default::default()),
        Kind::Names => folder::create(run, program),
    }?;
    match image {
        Image { pending: true, .. } => free_late(run, image)?,
        Image { tight: true, .. } => pad(run, image)?,
        _ => (),
    }
    // What has been freed is promised for it.
    if program.start == Start::Dirty && image.pending {
        write(&sys::rdwr(&path(run, 0))?, Start::Dirty, image.base())?;
    }
    Ok(inodes)
}

fn create_files(run: u64, program: &Program) -> Sys<()> {
    let (start, base) = (program.start, program.image.base());
    let f = sys::create(&path(run, 0))?;
    match start {
        Start::Unwritten | Start::Part => f.fallocate(0, base, start.size())?,
        _ => f.truncate(base + start.size())?,
    }
    if start == Start::Comb {
        let pages = (0..=start.size()).step_by(PAGE as usize);
        let mut pages = pages.map(|at| f.fallocate(libc::FALLOC_FL_KEEP_SIZE, base + at, 1));
        pages.try_for_each(|page| page)?;
    }
    if !(start == Start::Dirty && program.image.pending) {
        write(&f, start, base)?;
    }
    if !matches!(start, Start::Dirty | Start::Empty) {
        f.fsync()?;
    }
    if start == Start::Cold {
        f.dontneed()?;
    }
    if program.uses(1) {
        sys::create(&path(run, 1))?.truncate(base)?;
    }
    Ok(())
}

/// What the first file has, behind byte `base`.
fn write(f: &Fd, start: Start, base: u64) -> Sys<()> {
    let data = start.data();
    if !data.is_empty() {
        let bytes = vec![INITIAL; (data.end - data.start) as usize];
        f.pwrite(&bytes, base + data.start)?;
    }
    Ok(())
}

/// Takes what is free, but for a few blocks.
fn pad(run: u64, image: Image) -> Sys<()> {
    let spare = free()?.blocks.saturating_sub(SPARE);
    let pad = sys::create(&format!("{}/{run}p", folder()))?;
    // What is promised for data in memory is not free.
    let len = spare * image.block;
    let _ = match image.maps {
        false => pad.fallocate(0, 0, len),
        true => pad.pwrite(&vec![0; len as usize], 0),
    };
    pad.fsync()
}

/// What data may be promised where it all waits for a commit: less than a file may have, so that
/// one can take all of it, and no less than the first file has at the beginning.
fn promised_late(image: Image) -> u64 {
    (MOST / image.block - 2).max(Start::Dirty.size().div_ceil(image.block))
}

/// Takes all blocks that can be used but one, also those that are kept for metadata. What is free
/// then has been freed, and waits for the next commit.
fn free_late(run: u64, image: Image) -> Sys<()> {
    let create = |what: char| sys::create(&format!("{}/{run}{what}", folder()));
    let old = create('o')?;
    let (pad, late, last) = (create('p')?, create('q')?, create('r')?);
    sys::rdonly(MNT)?.syncfs()?;
    let kept = pool()?;
    old.fallocate(0, 0, (kept + promised_late(image)) * image.block)?;
    finder::fill(&pad, image.block)?;
    sys::rdonly(MNT)?.syncfs()?;
    let usable = free()?.blocks;
    drop(old);
    sys::unlink(&format!("{}/{run}o", folder()))?;
    // In two files: all but one in one file may be so many pieces that they take a node.
    late.fallocate(0, 0, usable.saturating_sub(2) * image.block)?;
    last.fallocate(0, 0, image.block)
}

/// Blocks that are free, and that data is not promised.
fn pool() -> Sys<u64> {
    let st = sys::statfs(MNT)?;
    Ok(st.f_bfree.saturating_sub(st.f_bavail))
}

/// Takes all blocks but those that one file may have, and one. Where what is free is to be freed
/// late, two times what is kept for metadata besides.
pub fn fill(image: Image) -> Sys<()> {
    let f = sys::create(&filler())?;
    let end = finder::fill(&f, image.block)?;
    let left = match image.pending {
        true => 2 * (MOST + pool()? * image.block),
        false => MOST,
    };
    // What failed may have taken a part.
    f.truncate(end.saturating_sub(left + image.block))
}

pub fn filler() -> String {
    format!("{MNT}/full")
}
