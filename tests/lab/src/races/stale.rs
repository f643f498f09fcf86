// SPDX-License-Identifier: GPL-2.0
//! Mappings that were true when they were made.

use super::PAGE;
use crate::harm;
use crate::lab::{evict, symbol, Lab};
use crate::race::{Race, Res, RACE};
use crate::tracing::step;
use guest::harness::K1;
use guest::map::Map;

pub static WRITE_VS_WRITEBACK: Race = Race {
    row: "1",
    name: "write-vs-writeback",
    title: "A buffered write holds a mapping; writeback and reclaim change the extent under it",
    story:
        "The writer was told \"unwritten\", so it zeroes around its bytes. Meanwhile the block was \
            written through a mapping, and its page written back and evicted. The zeroes overwrite \
            that data.",
    off: &["write-validity"],
    catch: &["rext4_write_stale"],
    kernel: &["rext4_extent_convert"],
    run: write_vs_writeback,
    ..RACE
};

fn write_vs_writeback(lab: &mut Lab) -> Res {
    let f = lab.empty("f")?;
    f.fallocate(0, 0, 2 * PAGE as u64)?;
    f.fsync()?;
    lab.given(
        "f: two blocks, allocated and unwritten; no page in the page cache",
        &[&f],
    )?;

    lab.arm("write-get-folio", &f)?;
    let writer = lab.thread("writer", "write(2): 'W' into the middle of block 1", {
        let f = f.clone();
        move || f.pwrite(&[b'W'; 100], 5000)
    })?;
    lab.wait("write-get-folio")?;

    let mapper = lab.thread("mapper", "stores 'S' all over block 1 through a mapping", {
        let f = f.clone();
        move || -> Res {
            let m = Map::shared(&f, 2 * PAGE)?;
            m.write(PAGE, &[b'S'; PAGE]);
            step("msync: the page is written back");
            m.msync()?;
            drop(m);
            step("unmaps it; the clean page is evicted");
            evict(&f)
        }
    })?;
    mapper.join()??;
    lab.release("write-get-folio")?;
    writer.join()??;

    lab.play("mapper");
    let mut want = vec![b'S'; PAGE];
    want[5000 - PAGE..5100 - PAGE].fill(b'W');
    lab.reads(&f, PAGE as u64, &want, "the writer zeroed what was stored")?;
    f.fsync()?;
    lab.evict(&f)?;
    lab.reads(&f, PAGE as u64, &want, "on disk, what was stored is gone")
}

pub static WRITEBACK_VS_PUNCH: Race = Race {
    row: "2",
    name: "writeback-vs-punch",
    title: "Writeback holds a mapping; punch hole changes it",
    story:
        "Writeback keeps one mapping for several folios. Between two of them a block of the second \
            is punched and given to another file. Writeback still believes the old mapping and \
            writes into the other file's block.",
    off: &["writeback-validity"],
    // Blocks smaller than pages: the punched block's folio stays, and writeback has it in its
    // batch.
    var: K1,
    catch: &["rext4_writeback_stale"],
    run: writeback_vs_punch,
    ..RACE
};

fn writeback_vs_punch(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; 2 * PAGE])?;
    let place = lab.place(&f, 5 * 1024)?;
    lab.evict(&f)?;
    // One page at a time, else they could become one large folio.
    f.pwrite(&[b'B'; PAGE], 0)?;
    f.pwrite(&[b'B'; PAGE], PAGE as u64)?;
    lab.given("f: eight blocks of 1 KiB in two folios, both dirty", &[&f])?;

    lab.arm("writeback-added", &f)?;
    let writeback = lab.thread("writeback", "fsync f: writes its two folios", {
        let f = f.clone();
        move || f.fsync()
    })?;
    lab.wait("writeback-added")?;

    let puncher = lab.thread("user", "punches block 5, in the second folio", {
        let f = f.clone();
        move || f.punch(5 * 1024, 1024)
    })?;
    puncher.join()??;
    let victim = lab.takes_block("victim", place, b'V')?;

    let writer = lab.thread("user", "write(2): 'N' to block 5, now a hole", {
        let f = f.clone();
        move || f.pwrite(&[b'N'; 1024], 5 * 1024)
    })?;
    writer.join()??;
    lab.release("writeback-added")?;
    writeback.join()??;

    lab.play("victim");
    lab.on_disk(&victim, 0, &[b'V'; 1024], "victim has f's data")?;
    lab.play("user");
    f.fsync()?;
    lab.evict(&f)?;
    lab.reads(&f, 5 * 1024, &[b'N'; 1024], "f lost its data")
}

pub static SEEK_VS_WRITEBACK: Race = Race {
    row: "20",
    name: "seek-vs-writeback",
    title: "SEEK_DATA holds \"unwritten\"; writeback converts and the page is evicted",
    story: "The search was told \"unwritten\", so the page cache must say whether there is data. Before it \
            looks, the page is written back and evicted. It finds no page, and calls data a hole.",
    off: &["seek-validity"],
    kernel: &["rext4_extent_convert"],
    run: seek_vs_writeback,
    ..RACE
};

fn seek_vs_writeback(lab: &mut Lab) -> Res {
    let f = lab.empty("f")?;
    f.fallocate(0, 0, PAGE as u64)?;
    f.fsync()?;
    f.pwrite(&[b'S'; PAGE], 0)?;
    lab.given(
        "f: one block, allocated and unwritten, below a dirty page",
        &[&f],
    )?;

    lab.arm("seek-mapped", &f)?;
    let seeker = lab.thread("seeker", "lseek(SEEK_DATA) from 0", {
        let f = f.clone();
        move || f.seek(0, libc::SEEK_DATA)
    })?;
    lab.wait("seek-mapped")?;

    let writer = lab.thread("writer", "fsync: the page is written back", {
        let f = f.clone();
        move || -> Res {
            f.fsync()?;
            step("the clean page is evicted");
            evict(&f)
        }
    })?;
    writer.join()??;
    lab.release("seek-mapped")?;
    let found = seeker.join()?;

    lab.play("seeker");
    match found {
        Ok(0) => Ok(()),
        Ok(at) => harm!("data found at {at}, not at 0"),
        Err(e) => harm!("no data in a file that has some: {}", symbol(e.errno)),
    }
}
