// SPDX-License-Identifier: GPL-2.0
//! Direct I/O beside the page cache.

use super::PAGE;
use crate::harm;
use crate::lab::{symbol, Lab};
use crate::race::{Race, Res, RACE};
use guest::harness::K1;
use guest::map::Map;
use guest::sys::Aligned;

/// Pages leave the page cache: that is how the cache is kept true.
const DROPPED: &str = "mm_filemap_delete_from_page_cache";

pub static DIO_VS_CACHE: Race = Race {
    row: "6",
    name: "dio-vs-cache",
    title: "A direct write beside cached pages",
    story:
        "The page cache has the block's old content. A direct write goes past it to the disk, and \
            later reads find the old page.",
    off: &["dio-flush", "dio-invalidate"],
    catch: &[DROPPED],
    run: dio_vs_cache,
    ..RACE
};

fn dio_vs_cache(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let direct = lab.direct(&f)?;
    lab.given("f: one block of 'A', its page cached and clean", &[&f])?;

    let writer = lab.thread("direct", "direct write: 'D' to block 0", move || {
        direct.pwrite(&Aligned::of(&[b'D'; PAGE]), 0)
    })?;
    writer.join()??;
    lab.play("reader");
    lab.reads(&f, 0, &[b'D'; PAGE], "read(2) returns the old page")
}

pub static DIO_OWN_MAPPING: Race = Race {
    row: "7a",
    name: "dio-own-mapping",
    title: "A direct write whose buffer is a mapping of the same file",
    story: "Source and target overlap. The pages were dropped before the write, but to read its source \
            the write itself faults them in again. Without a second invalidation the old pages stay.",
    off: &["dio-invalidate"],
    catch: &[DROPPED],
    run: dio_own_mapping,
    ..RACE
};

fn dio_own_mapping(lab: &mut Lab) -> Res {
    let page = |b| vec![b; PAGE];
    let f = lab.file("f", &[page(b'A'), page(b'B'), page(b'C')].concat())?;
    lab.evict(&f)?;
    let direct = lab.direct(&f)?;
    let m = Map::shared(&f, 3 * PAGE)?;
    lab.given(
        "f: blocks of 'A', 'B' and 'C', mapped; no page in the page cache",
        &[&f],
    )?;

    let words = "direct write to blocks 0 and 1, from the mapping of blocks 1 and 2";
    let writer = lab.thread("direct", words, move || {
        direct.pwrite_once(m.as_slice(PAGE, 2 * PAGE), 0)
    })?;
    let n = writer.join()??;
    if n != 2 * PAGE {
        harm!("the write ended after {n} bytes");
    }
    lab.play("reader");
    let want = [page(b'B'), page(b'C'), page(b'C')].concat();
    lab.reads(&f, 0, &want, "read(2) returns an old page")
}

pub static DIO_READ_VS_DIRTY: Race = Race {
    row: "8",
    name: "dio-read-vs-dirty",
    title: "A direct read beside dirty pages",
    story:
        "write(2) has returned and its data is in the page cache only. A direct read that does not \
            write it out first returns what the disk had before.",
    off: &["dio-flush"],
    catch: &["rext4_writeback_range"],
    run: dio_read_vs_dirty,
    ..RACE
};

fn dio_read_vs_dirty(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let direct = lab.direct(&f)?;
    lab.given("f: one block of 'A', on disk", &[&f])?;

    let writer = lab.thread("writer", "write(2): 'B' to block 0", {
        let f = f.clone();
        move || f.pwrite(&[b'B'; PAGE], 0)
    })?;
    writer.join()??;
    let reader = lab.thread("direct", "direct read of block 0", move || {
        let mut got = Aligned::new(PAGE);
        direct.pread(&mut got, 0).map(|_| got[0])
    })?;
    let got = reader.join()??;
    lab.play("direct");
    if got != b'B' {
        harm!(
            "the direct read returns '{}' instead of 'B'",
            char::from(got)
        );
    }
    lab.good("it returns 'B'");
    Ok(())
}

pub static INVALIDATION_FAILS: Race = Race {
    row: "14",
    name: "invalidation-fails",
    title: "A page cannot be invalidated",
    story: "A page in the range of a direct write is busy and stays in the page cache. The write fails \
            with an errno that no program expects, unless it goes through the page cache instead.",
    off: &["fallback"],
    given_off: &["release"],
    var: K1,
    catch: &["rext4_dio_fall_back"],
    run: invalidation_fails,
    ..RACE
};

fn invalidation_fails(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let direct = lab.direct(&f)?;
    lab.given(
        "f: four blocks of 'A' in one page, which refuses to go",
        &[&f],
    )?;

    let writer = lab.thread("direct", "direct write: 'D' to the whole page", move || {
        direct.pwrite(&Aligned::of(&[b'D'; PAGE]), 0)
    })?;
    let written = writer.join()?;
    lab.play("direct");
    if let Err(e) = written {
        harm!("the write fails: {}", symbol(e.errno));
    }
    lab.reads(&f, 0, &[b'D'; PAGE], "read(2) returns the old page")?;

    lab.on_disk(&f, 0, &[b'D'; PAGE], "the disk has the old data")
}
