// SPDX-License-Identifier: GPL-2.0
//! Corrupt block maps.

use crate::fixture::{put, T};
use crate::harness::{Case, Res, MAPS};
use crate::sys;
use crate::{ensure, errno, fail};

pub const CASES: &[Case] = &[Case::new("bad/pointers", MAPS, pointers).quick()];

/// Pointers that lead out of the file system, or to its own structures, are not followed.
fn pointers(t: &mut T) -> Res {
    let bs = t.bs();
    t.fresh()?;
    put(&t.p("f"), 1, (20 * bs) as usize)?;
    t.umount()?;
    t.broken = true;
    let stat = t.debugfs(&["stat /f"])?;
    let behind = stat.split("(IND):").nth(1).unwrap_or_default();
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    let Ok(block) = digits.parse::<u64>() else {
        fail!("no block of pointers in {stat}");
    };
    let place = block * bs + 3 * 4;
    let good = t.peek(place, 4)?;
    for wrong in [2u32, 0xffff_fff0] {
        t.poke(place, &wrong.to_le_bytes())?;
        t.mount("errors=continue")?;
        let f = sys::rdonly(&t.p("f"))?;
        let mut piece = vec![0; bs as usize];
        errno!(f.pread(&mut piece, 15 * bs), EUCLEAN | EIO);
        drop(f);
        t.umount()?;
        ensure!(t.logged(&[&["extent of block 15"]]), "not told");
        t.forget_log();
    }
    t.poke(place, &good)?;
    for (i, wrong) in [
        ("0", "2"),
        ("11", "4294967280"),
        ("IND", "2"),
        ("TIND", "4294967280"),
    ] {
        t.debugfs(&[&format!("sif /f block[{i}] {wrong}")])?;
        t.mount("errors=continue")?;
        errno!(sys::rdonly(&t.p("f")), EUCLEAN);
        t.umount()?;
        ensure!(t.logged(&[&["block map", "pointer"]]), "not told");
        t.forget_log();
        t.debugfs(&[&format!("sif /f block[{i}] 0")])?;
    }
    Ok(())
}
