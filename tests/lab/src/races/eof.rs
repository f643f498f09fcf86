// SPDX-License-Identifier: GPL-2.0
//! The end of the file, and the order in which things go.

use super::PAGE;
use crate::lab::Lab;
use crate::race::{Race, Res};
use crate::tracing::step;
use guest::harness::K4;
use guest::map::Map;

pub static EOF_GARBAGE: Race = Race {
    row: "15",
    name: "eof-garbage",
    title: "Bytes beyond the end are dirtied by a mapping, then the file grows",
    story:
        "A mapping may store into the rest of the last page; those bytes are not part of the file. \
            When the file grows over them they must read as zeros.",
    off: &["tail-zero"],
    given_off: &[],
    var: K4,
    catch: &["rext4_zero_tail"],
    run: eof_garbage,
};

fn eof_garbage(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; 1000])?;
    let m = Map::shared(&f, PAGE)?;
    lab.given("f: 1000 bytes of 'A', mapped", &[&f])?;

    let storer = lab.thread(
        "storer",
        "stores 'G' at 2000, beyond the end, in the last page",
        move || m.write(2000, &[b'G'; 100]),
    )?;
    storer.join()?;
    let grower = lab.thread("grower", "ftruncate: 4096 bytes", {
        let f = f.clone();
        move || f.truncate(PAGE as u64)
    })?;
    grower.join()??;

    let mut want = vec![0; PAGE];
    want[..1000].fill(b'A');
    lab.reads(&f, 0, &want, "garbage is part of the file")?;
    f.fsync()?;
    lab.evict(&f)?;
    lab.reads(&f, 0, &want, "garbage is part of the file, on disk")
}

pub static TAIL_AFTER_TRUNCATE: Race = Race {
    row: "16a",
    name: "tail-after-truncate",
    title: "A block is cut by truncate, and the file grows again",
    story:
        "Truncate keeps the block that the new end is in. Unless its rest is zeroed, what was cut \
            off comes back when the file grows over it.",
    off: &["tail-zero"],
    given_off: &[],
    var: K4,
    catch: &["rext4_zero_tail"],
    run: tail_after_truncate,
};

fn tail_after_truncate(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    lab.given("f: one block of 'A', on disk", &[&f])?;

    let cutter = lab.thread("cutter", "ftruncate: 1000 bytes", {
        let f = f.clone();
        move || f.truncate(1000)
    })?;
    cutter.join()??;
    step("fsync f, and the page is evicted");
    f.fsync()?;
    lab.evict(&f)?;
    let grower = lab.thread("grower", "ftruncate: 4096 bytes again", {
        let f = f.clone();
        move || f.truncate(PAGE as u64)
    })?;
    grower.join()??;

    let mut want = vec![0; PAGE];
    want[..1000].fill(b'A');
    lab.reads(&f, 0, &want, "what was cut off is back")
}

pub static EXTENTS_BEFORE_CACHE: Race = Race {
    row: "16b",
    name: "extents-before-cache",
    title: "Extents are removed before the page cache is dropped",
    story: "Between the two, writeback finds a dirty page of the range that is going. It gives the page \
            a new block, and the data is back in a range that was punched.",
    off: &["cache-first"],
    given_off: &[],
    var: K4,
    catch: &[],
    run: extents_before_cache,
};

fn extents_before_cache(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    f.pwrite(&[b'B'; PAGE], 0)?;
    lab.given("f: one block, its page dirty with 'B'", &[&f])?;

    lab.arm("punch-invalidated", &f)?;
    let puncher = lab.thread("puncher", "punches block 0", {
        let f = f.clone();
        move || f.punch(0, PAGE as u64)
    })?;
    lab.wait("punch-invalidated")?;
    let writeback = lab.thread("writeback", "sync_file_range: writes what is dirty in f", {
        let f = f.clone();
        move || f.sync_range(0, PAGE as u64)
    })?;
    writeback.join()??;
    lab.release("punch-invalidated")?;
    puncher.join()??;

    lab.reads(&f, 0, &[0; PAGE], "the punched data is back")
}
