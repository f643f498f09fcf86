// SPDX-License-Identifier: GPL-2.0
//! The gate of a direct write (mount option `dio_gate`), and what must not happen while it is closed.

use super::PAGE;
use crate::harm;
use crate::lab::{symbol, Lab};
use crate::race::{Race, Res, RACE};
use crate::tracing::step;
use guest::map::Map;

pub static OWN_MAPPING_LOCKED: Race = Race {
    row: "7b",
    name: "dio-own-mapping-locked",
    title: "The same, while the file system keeps faults out of the range",
    story: "Whatever keeps faults from adding pages to the range of a direct write also keeps the writer \
            from faulting in its own source. Unless it has pinned it before, it waits for itself.",
    off: &["pin"],
    // Closed when the source is pinned, and not before.
    catch: &["rext4_gate CLOSED"],
    mount: "dio_gate",
    run: own_mapping_locked,
    ..RACE
};

fn own_mapping_locked(lab: &mut Lab) -> Res {
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
    let n = writer.join_or_hang()??;
    if n != 2 * PAGE {
        harm!("the write ended after {n} bytes");
    }
    lab.play("direct");
    let want = [page(b'B'), page(b'C'), page(b'C')].concat();
    lab.reads(&f, 0, &want, "read(2) returns an old page")
}

pub static CROSSED_MAPPINGS: Race = Race {
    row: "10",
    name: "dio-crossed-mappings",
    title: "Two direct writes, each buffer mapped from the other's file",
    story: "Each writer keeps faults out of the file that it writes, and faults in its source, which is \
            the other's file. Neither can go on.",
    off: &["pin"],
    // Closed when the source is pinned, and not before.
    catch: &["rext4_gate CLOSED"],
    mount: "dio_gate",
    run: crossed_mappings,
    ..RACE
};

fn crossed_mappings(lab: &mut Lab) -> Res {
    let a = lab.file("a", &[b'A'; PAGE])?;
    let b = lab.file("b", &[b'B'; PAGE])?;
    lab.evict(&a)?;
    lab.evict(&b)?;
    let (to_a, to_b) = (lab.direct(&a)?, lab.direct(&b)?);
    let (map_a, map_b) = (Map::shared(&a, PAGE)?, Map::shared(&b, PAGE)?);
    lab.given(
        "a: a block of 'A', b: a block of 'B', both mapped",
        &[&a, &b],
    )?;

    lab.arm("dio-mapped", &a)?;
    let p = lab.thread("P", "direct write to a, from the mapping of b", move || {
        to_a.pwrite_once(map_b.as_slice(0, PAGE), 0)
    })?;
    lab.wait("dio-mapped")?;
    let q = lab.thread("Q", "direct write to b, from the mapping of a", move || {
        to_b.pwrite_once(map_a.as_slice(0, PAGE), 0)
    })?;
    lab.until_blocked(&q, "page fault in a: the gate of a is closed")?;
    lab.release("dio-mapped")?;
    let (n, m) = (p.join_or_hang()??, q.join_or_hang()??);
    if (n, m) != (PAGE, PAGE) {
        harm!("the writes ended after {n} and {m} bytes");
    }
    lab.play("P");
    lab.reads(&a, 0, &[b'B'; PAGE], "a has not what b had")?;
    lab.play("Q");
    lab.reads(&b, 0, &[b'B'; PAGE], "b has not what a has now")
}

pub static DIO_VS_STORE: Race = Race {
    row: "11",
    name: "dio-vs-store",
    title: "A page comes back and is dirtied during a direct write",
    story: "The store reads the old block into a page and makes it dirty while the direct write is on its \
            way. Such a page cannot be invalidated, and its writeback overwrites the direct write.",
    off: &["gate"],
    mount: "dio_gate",
    run: dio_vs_store,
    ..RACE
};

fn dio_vs_store(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let direct = lab.direct(&f)?;
    let m = Map::shared(&f, PAGE)?;
    lab.given("f: one block of 'A', mapped", &[&f])?;

    lab.arm("dio-mapped", &f)?;
    let writer = lab.thread("direct", "direct write: 'D' to block 0", move || {
        direct.pwrite(&guest::sys::Aligned::of(&[b'D'; PAGE]), 0)
    })?;
    lab.wait("dio-mapped")?;
    let storer = lab.thread(
        "storer",
        "stores 'S' at byte 0 through the mapping",
        move || m.set(0, b'S'),
    )?;
    lab.done_or_blocked(&storer, "waits until the direct write is done")?;
    lab.release("dio-mapped")?;
    writer.join()??;
    storer.join()?;

    // Either order of the two is right, and here the store came second.
    lab.play("storer");
    match f.fsync() {
        Ok(()) => step("fsync f"),
        Err(e) => step(&format!("fsync f: {}", symbol(e.errno))),
    }
    let mut want = vec![b'D'; PAGE];
    want[0] = b'S';
    lab.on_disk(&f, 0, &want, "the direct write is lost")
}
