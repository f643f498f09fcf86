// SPDX-License-Identifier: GPL-2.0
//! Blocks that move while a neighbour changes.

use super::PAGE;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::thread::{Found, Task};
use crate::tracing::step;
use crate::{broken, harm};

const P: u64 = PAGE as u64;

pub static INSERT_VS_WRITEBACK: Race = Race {
    row: "27",
    name: "insert-vs-writeback",
    title: "Blocks move while writeback of the block before them comes to its end",
    story: "The extent behind the place begins there, so there is nothing to split. Then writeback of the \
            block before comes to its end, and makes one extent of that block and those behind the \
            place. What begins before the place does not move.",
    off: &["block-before"],
    kernel: &["rext4_extent_convert"],
    run: insert_vs_writeback,
    ..RACE
};

fn insert_vs_writeback(lab: &mut Lab) -> Res {
    let f = lab.empty("f")?;
    f.fallocate(0, 0, 2 * P)?;
    f.pwrite(&[b'B'; PAGE], P)?;
    f.fsync()?;
    if lab.place(&f, P)? != lab.place(&f, 0)? + P {
        broken!("the blocks are not beside each other");
    }
    f.pwrite(&[b'A'; PAGE], 0)?;
    lab.given(
        "f: block 0 unwritten below a dirty page of 'A', block 1 written: 'B'",
        &[&f],
    )?;

    lab.arm("complete", &f)?;
    let writeback = lab.thread("writeback", "sync_file_range: writes page 0", {
        let f = f.clone();
        move || f.sync_range(0, P)
    })?;
    lab.wait("complete")?;

    lab.arm("shift-some", &f)?;
    let inserter = lab.thread("inserter", "inserts a block before block 1", {
        let f = f.clone();
        move || f.fallocate(libc::FALLOC_FL_INSERT_RANGE, P, P)
    })?;
    if inserter.done_or_blocked()? == Found::Done {
        broken!("the insert moves nothing");
    }
    let held = lab.is_parked("shift-some")?;
    if !held {
        lab.caught("inserter", "PG_writeback: page 0 is on its way");
    }
    lab.release("complete")?;
    writeback.join()??;
    if !held {
        lab.wait("shift-some")?;
    }
    lab.release("shift-some")?;
    if let Err(e) = inserter.join()? {
        harm!("the insert: {e}");
    }

    lab.play("inserter");
    step("fsync, and the pages are evicted");
    f.fsync()?;
    lab.evict(&f)?;
    let want = [[b'A'; PAGE], [0; PAGE], [b'B'; PAGE]].concat();
    lab.reads(&f, 0, &want, "the blocks have not moved")
}
