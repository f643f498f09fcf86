// SPDX-License-Identifier: GPL-2.0
//! The end of the file, and the order in which things go.

use super::PAGE;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::tracing::step;
use guest::map::Map;

pub static EOF_GARBAGE: Race = Race {
    row: "15",
    name: "eof-garbage",
    title: "Bytes beyond the end are dirtied by a mapping, then the file grows",
    story:
        "A mapping may store into the rest of the last page; those bytes are not part of the file. \
            When the file grows over them they must read as zeros.",
    off: &["tail-zero"],
    catch: &["rext4_zero_tail"],
    run: eof_garbage,
    ..RACE
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

    lab.play("grower");
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
    catch: &["rext4_zero_tail"],
    run: tail_after_truncate,
    ..RACE
};

fn tail_after_truncate(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    lab.given("f: one block of 'A', on disk", &[&f])?;

    let cutter = lab.thread("user", "ftruncate: 1000 bytes", {
        let f = f.clone();
        move || f.truncate(1000)
    })?;
    cutter.join()??;
    lab.play("user");
    step("fsync f, and the page is evicted");
    f.fsync()?;
    lab.evict(&f)?;
    let grower = lab.thread("user", "ftruncate: 4096 bytes again", {
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
    story:
        "Writeback has put the block into its I/O and not sent it yet. Truncate frees the block \
            without waiting for the page, another file gets it, and then the I/O arrives there.",
    off: &["cache-first"],
    run: extents_before_cache,
    ..RACE
};

fn extents_before_cache(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let place = lab.place(&f, 0)?;
    f.pwrite(&[b'B'; PAGE], 0)?;
    lab.given("f: one block, its page dirty with 'B'", &[&f])?;

    lab.arm("writeback-added", &f)?;
    let writeback = lab.thread("writeback", "fsync f: writes its page", {
        let f = f.clone();
        move || f.fsync()
    })?;
    lab.wait("writeback-added")?;
    let cutter = lab.thread("cutter", "ftruncate: 0 bytes", {
        let f = f.clone();
        move || f.truncate(0)
    })?;
    lab.until_blocked(&cutter, "waits for the page, which writeback has locked")?;
    let mut victim = None;
    if lab.hole(&f, 0)? {
        victim = Some(lab.takes_block("victim", place, b'V')?);
    } else {
        lab.caught("cutter", "the block is still f's: it goes after its page");
    }
    lab.release("writeback-added")?;
    writeback.join()??;
    cutter.join()??;
    let victim = match victim {
        Some(v) => v,
        None => lab.takes_block("victim", place, b'V')?,
    };

    lab.play("victim");
    lab.on_disk(&victim, 0, &[b'V'; PAGE], "victim has f's data")
}

pub static PUNCH_VS_SIZE: Race = Race {
    row: "19",
    name: "punch-vs-size",
    title: "A punch drops the dirty page that would have moved the size on disk",
    story:
        "The size on disk follows what has been written. A punch that drops the last page unwritten \
            leaves it behind, and the file is shorter when its inode is read again.",
    off: &["punch-flush"],
    run: punch_vs_size,
    ..RACE
};

fn punch_vs_size(lab: &mut Lab) -> Res {
    let f = lab.file_not_synced("f", &[b'A'; 2 * PAGE])?;
    lab.given(
        "f: two blocks of 'A' in the page cache, nothing on disk",
        &[&f],
    )?;

    let puncher = lab.thread("puncher", "punches block 1, then fsync", move || {
        f.punch(PAGE as u64, PAGE as u64)?;
        f.fsync()
    })?;
    puncher.join()??;

    lab.play("puncher");
    lab.remount()?;
    lab.has_size("f", 2 * PAGE as u64, "the file has lost its end")
}
