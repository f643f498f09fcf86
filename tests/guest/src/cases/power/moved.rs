// SPDX-License-Identifier: GPL-2.0
//! A power cut after blocks have moved within a file, and were written to at their new place: what
//! was synced at the old one is not changed by that.

use crate::cases::power::shutdown::{root, shut_down, NOW};
use crate::fixture::T;
use crate::harness::{Case, Res, ALL};
use crate::sys::{self, Aligned};
use crate::{ensure, same};

pub const CASES: &[Case] = &[Case::new("crash/moved", ALL, moved).quick()];

const BLOCKS: [u8; 3] = *b"ABC";

/// Each way to write in place, after each way to move.
fn moved(t: &mut T) -> Res {
    for (how, gives) in [
        (libc::FALLOC_FL_COLLAPSE_RANGE, &b"BC"[..]),
        (libc::FALLOC_FL_INSERT_RANGE, b"\0ABC"),
    ] {
        for direct in [false, true] {
            cut(t, how, gives, direct)?;
            t.umount()?;
        }
    }
    Ok(())
}

fn cut(t: &mut T, how: i32, gives: &[u8], direct: bool) -> Res {
    t.fresh()?;
    let bs = t.bs() as usize;
    let blocks = |letters: &[u8]| -> Vec<u8> {
        let all = letters.iter().map(|letter| vec![*letter; bs]);
        all.flatten().collect()
    };
    let f = sys::create(&t.p("f"))?;
    f.pwrite(&blocks(&BLOCKS), 0)?;
    f.fsync()?;
    let mut want = gives.to_vec();
    f.fallocate(how, 0, bs as u64)?;
    // What is first of the old ones now.
    let at = want.iter().position(|letter| *letter != 0).unwrap_or(0);
    want[at] = b'X';
    let (from, new) = ((at * bs) as u64, blocks(b"X"));
    match direct {
        true => sys::direct(&t.p("f"))?.pwrite(&Aligned::of(&new), from)?,
        false => f.pwrite(&new, from)?,
    }
    // Brings it to the disk, and commits nothing.
    f.sync_range(0, 0)?;
    shut_down(&root(t)?, NOW)?;
    t.cycle_with(f)?;
    let seen = std::fs::read(t.p("f"))?;
    let letters: Vec<u8> = seen.chunks(bs).map(|block| block[0]).collect();
    let is = |letters: &[u8]| seen == blocks(letters);
    let text = String::from_utf8_lossy(&letters);
    // Synced, or what came after: not a part of each.
    ensure!(
        is(&BLOCKS) || is(&want) || is(gives),
        "the file is {text:?}"
    );
    if t.ours() {
        same!(letters, want, "it stays where it is");
    }
    Ok(())
}
