// SPDX-License-Identifier: GPL-2.0
//! The gate of a direct write (mount option `dio_gate`), and what must not happen while it is
//! closed.

use super::PAGE;
use crate::harm;
use crate::lab::{self, symbol, Lab};
use crate::race::{Race, Res, RACE};
use crate::thread::Thread;
use crate::tracing::step;
use guest::map::Map;
use guest::sys::{Aligned, Fd};
use std::sync::Arc;

/// Blocks of these bytes.
fn blocks(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|b| [*b; PAGE]).collect()
}

/// A direct write of two blocks to the begin of `f`, from the second block on of a mapping.
fn from_mapping(f: Arc<Fd>, m: Map) -> impl FnOnce() -> guest::sys::Sys<usize> {
    move || f.pwrite_once(m.as_slice(PAGE, 2 * PAGE), 0)
}

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
    let f = lab.file("f", &blocks(b"ABC"))?;
    lab.evict(&f)?;
    let (direct, m) = (lab.direct(&f)?, Map::shared(&f, 3 * PAGE)?);
    lab.given(
        "f: blocks of 'A', 'B' and 'C', mapped; no page in the page cache",
        &[&f],
    )?;

    let words = "direct write to blocks 0 and 1, from the mapping of blocks 1 and 2";
    let writer = lab.process("direct", words, from_mapping(direct, m))?;
    let n = writer.join()??;
    if n != 2 * PAGE {
        harm!("the write ended after {n} bytes");
    }
    lab.play("reader");
    lab.reads(&f, 0, &blocks(b"BCC"), "read(2) returns an old page")?;
    lab.on_disk(&f, 0, &blocks(b"BCC"), "the disk has old data")
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
    let a = lab.file("a", &blocks(b"ABC"))?;
    let b = lab.file("b", &blocks(b"XYZ"))?;
    lab.evict(&a)?;
    lab.evict(&b)?;
    let (to_a, to_b) = (lab.direct(&a)?, lab.direct(&b)?);
    let (map_a, map_b) = (Map::shared(&a, 3 * PAGE)?, Map::shared(&b, 3 * PAGE)?);
    lab.given(
        "a: blocks of 'A', 'B', 'C'; b: of 'X', 'Y', 'Z'; both mapped, no page in the page cache",
        &[&a, &b],
    )?;

    // P has closed the gate of a, and will fault in b next unless it has pinned it.
    lab.arm("dio-mapped", &a)?;
    let words = "direct write to blocks 0 and 1 of a, from the mapping of blocks 1 and 2 of b";
    let p = lab.process("P", words, from_mapping(to_a, map_b))?;
    lab.wait("dio-mapped")?;
    // Q faults in a, having closed the gate of b or not.
    let words = "direct write to blocks 0 and 1 of b, from the mapping of blocks 1 and 2 of a";
    let q = lab.process("Q", words, from_mapping(to_b, map_a))?;
    lab.until_blocked(&q, "page fault in a, whose gate is closed")?;
    lab.release("dio-mapped")?;
    // If one hangs and is killed, its gate opens and the other goes on.
    let (n, m) = (p.join(), q.join());
    let (n, m) = (n??, m??);
    if (n, m) != (2 * PAGE, 2 * PAGE) {
        harm!("the writes ended after {n} and {m} bytes");
    }

    // Q's source was faulted in when P was done.
    for (who, f, want) in [("P", &a, b"YZC"), ("Q", &b, b"ZCZ")] {
        lab.play(who);
        let what = |place| format!("{place}: not what {who} wrote");
        lab.reads(f, 0, &blocks(want), &what("in the page cache"))?;
        lab.on_disk(f, 0, &blocks(want), &what("on disk"))?;
    }
    Ok(())
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
    let f = lab.file("f", &blocks(b"AA"))?;
    lab.evict(&f)?;
    let direct = lab.direct(&f)?;
    let m = Arc::new(Map::shared(&f, 2 * PAGE)?);
    lab.given(
        "f: two blocks of 'A', mapped; no page in the page cache",
        &[&f],
    )?;
    let write = |block: usize| {
        let direct = direct.clone();
        let words = format!("direct write: 'D' to block {block}");
        lab.thread("direct", &words, move || {
            direct.pwrite(&Aligned::of(&[b'D'; PAGE]), (block * PAGE) as u64)
        })
    };

    // A page that comes back and stays clean does no harm, gate or not.
    lab.arm("dio-mapped", &f)?;
    let writer = write(1)?;
    lab.wait("dio-mapped")?;
    let loader = lab.thread("loader", "loads from block 1 through the mapping", {
        let m = m.clone();
        move || m.get(PAGE)
    })?;
    lab.done_or_blocked(&loader, "its page is not filled while the gate is closed")?;
    lab.release("dio-mapped")?;
    writer.join()??;
    loader.join()?;
    lab.play("loader");
    lab.shows(&m, PAGE, &[b'D'; PAGE], "the mapping shows the old page")?;
    f.fsync()?;

    // One that is dirtied does.
    lab.arm("dio-mapped", &f)?;
    let writer = write(0)?;
    lab.wait("dio-mapped")?;
    let storer = store(lab, &m)?;
    lab.release("dio-mapped")?;
    writer.join()??;
    storer.join()?;
    let want = [&b"S"[..], &[b'D'; PAGE - 1], &[b'D'; PAGE]].concat();
    store_came_second(lab, &f, &m, &want)
}

/// A store of 'S' to byte 0, while a direct write is held with its gate closed.
pub fn store(lab: &Lab, m: &Arc<Map>) -> Res<Thread<()>> {
    let words = "stores 'S' at byte 0 through the mapping";
    let storer = lab.thread("storer", words, {
        let m = m.clone();
        move || m.set(0, b'S')
    })?;
    lab.done_or_blocked(&storer, "the store waits until the direct write is done")?;
    Ok(storer)
}

/// Either order of the two is right, and here the store came second.
pub fn store_came_second(lab: &Lab, f: &Fd, m: &Map, want: &[u8]) -> Res {
    lab.play("storer");
    let synced = f.fsync().map_err(|e| symbol(e.errno));
    let told = synced.err().unwrap_or("0".into());
    step(&format!("fsync: {told}"));
    let what = format!("the old page was written over the direct write (fsync: {told})");
    lab.on_disk(f, 0, want, &what)?;
    lab.shows(m, 0, want, "the mapping shows an old page")?;
    if told != "0" {
        harm!("fsync: {told}");
    }
    Ok(())
}

pub static DIO_VS_TURN: Race = Race {
    row: "11b",
    name: "dio-vs-turn",
    title: "One direct write after the other, and who waits at the gate",
    story: "The next direct write has closed its gate before the last one opens. Who waits finds it closed each \
            time it looks, for as long as writes come, unless they hold back for it.",
    off: &["turn"],
    mount: "dio_gate",
    run: dio_vs_turn,
    ..RACE
};

/// Direct writes that begin after the reader and end before it, until that is called harm.
const OVERTAKEN: usize = 3;

fn dio_vs_turn(lab: &mut Lab) -> Res {
    let f = lab.file("f", &blocks(b"A"))?;
    lab.evict(&f)?;
    lab.given("f: one block of 'A', no page in the page cache", &[&f])?;
    // By turns, so that the next can be held before the last is let go.
    let hold = |i: usize| ["dio-mapped", "dio-end"][i % 2];
    let write = |i: usize| {
        lab.arm(hold(i), &f)?;
        let (direct, byte) = (lab.direct(&f)?, b'D' + i as u8);
        let words = format!("direct write: '{}' to block 0", char::from(byte));
        lab.thread(&format!("direct {}", i + 1), &words, move || {
            direct.pwrite(&Aligned::of(&[byte; PAGE]), 0)
        })
    };

    let mut last = write(0)?;
    lab.wait(hold(0))?;
    let reader = lab.thread("reader", "read(2) of block 0", {
        let f = f.clone();
        move || f.pread(&mut [0; PAGE], 0)
    })?;
    lab.until_blocked(&reader, "the gate is closed")?;
    lab.arm("gate-yield", &f)?;
    for i in 1..=OVERTAKEN {
        let next = write(i)?;
        let came_to = lab.wait_any(&[hold(i), "gate-yield"])?;
        if came_to == "gate-yield" {
            lab.caught(&format!("direct {}", i + 1), "holds back for the reader");
            lab.release(hold(i))?;
        }
        lab.release(hold(i - 1))?;
        last.join()??;
        if came_to == "gate-yield" {
            // The gate is open now, and stays so until the reader has been there.
            reader.join()??;
            lab.release("gate-yield")?;
            next.join()??;
            lab.play("reader");
            return lab.reads(
                &f,
                0,
                &[b'D' + i as u8; PAGE],
                "read(2) returns an old page",
            );
        }
        lab.until_blocked(&reader, "the gate is closed again, or still")?;
        last = next;
    }
    lab.play("reader");
    let end = lab::harm(format!(
        "{OVERTAKEN} direct writes came after read(2) and went before it, which still waits"
    ));
    lab.release(hold(OVERTAKEN))?;
    last.join()??;
    reader.join()??;
    Err(end)
}
