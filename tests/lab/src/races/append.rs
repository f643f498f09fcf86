// SPDX-License-Identifier: GPL-2.0
//! Direct I/O at the end of the file.

use super::PAGE;
use crate::broken;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::thread::{Found, Task};
use crate::tracing::step;
use guest::aio::{Aio, Op};
use guest::harness::K1;
use guest::sys::Aligned;

pub static TAIL_VS_AIO: Race = Race {
    row: "21",
    name: "tail-vs-aio",
    title: "The old end is zeroed while a direct write to its block is in flight",
    story:
        "A write far behind the end zeroes the rest of the block that the end is in, through the \
            page cache: it reads the block, and writes it. A direct write to the same block that \
            comes in between is undone by somebody who did not write there.",
    off: &["dio-wait"],
    run: tail_vs_aio,
    ..RACE
};

fn tail_vs_aio(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; 1000])?;
    lab.evict(&f)?;
    let direct = lab.direct(&f)?;
    lab.given("f: 1000 bytes of 'A' in one block, on disk", &[&f])?;

    lab.arm("dio-submit", &f)?;
    lab.arm("dio-end", &f)?;
    lab.arm("writeback-added", &f)?;
    let mut data = Aligned::of(&[b'D'; 512]);
    let mut aio = Aio::new(1)?;
    lab.play("aio");
    step("io_submit: overwrites the first 512 bytes with 'D'");
    aio.submit(&direct, Op::Write, &mut data, 0, 1)?;
    lab.wait("dio-submit")?;
    let writer = lab.thread("writer", "write(2): one byte at 8192", {
        let f = f.clone();
        move || f.pwrite(b"x", 8192)
    })?;
    if writer.done_or_blocked()? == Found::Done {
        broken!("the old end was not zeroed");
    }
    let held = lab.is_parked("writeback-added")?;
    if !held {
        lab.caught("writer", "inode_dio_wait: the direct write is in flight");
    }
    lab.release("dio-submit")?;
    if held {
        // With the page in the cache the write ends in a worker; else in the interrupt.
        lab.wait("dio-end")?;
        lab.play("aio");
        step("'D' is on disk");
        lab.release("dio-end")?;
    } else {
        lab.wait("writeback-added")?;
    }
    lab.release("writeback-added")?;
    writer.join()??;
    aio.wait(1)?;
    step("io_getevents: the write is done");

    f.fsync().or_else(|_| f.fsync())?;
    lab.evict(&f)?;
    let mut want = vec![b'D'; 512];
    want.resize(1000, b'A');
    want.resize(PAGE, 0);
    lab.reads(&f, 0, &want, "the direct write is undone")
}

pub static ZERO_VS_APPEND: Race = Race {
    row: "22",
    name: "zero-vs-append",
    title: "A direct write of part of a block ends at the end of the file, and somebody appends",
    story: "The rest of the block is zeroed by the direct write, on disk, behind the end. Under the shared \
            lock and not waited for, the zeros can arrive after what somebody has appended there.",
    off: &["eof-alone", "dio-wait"],
    run: zero_vs_append,
    ..RACE
};

fn zero_vs_append(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; 1024])?;
    lab.evict(&f)?;
    let direct = lab.direct(&f)?;
    lab.given("f: 1024 bytes of 'A' in one block, on disk", &[&f])?;

    // The zeros are a bio of their own.
    lab.arm_at("dio-submit", &f, 1024)?;
    let words = "io_submit: overwrites bytes 512 to 1023, the last ones, with 'D'";
    let writer = lab.thread("aio", words, move || {
        let mut data = Aligned::of(&[b'D'; 512]);
        let mut aio = Aio::new(1)?;
        aio.submit(&direct, Op::Write, &mut data, 512, 1)?;
        aio.wait(1)
    })?;
    lab.wait("dio-submit")?;
    let appender = lab.thread("appender", "write(2): appends 1024 times 'B'; fsync", {
        let f = f.clone();
        move || f.pwrite(&[b'B'; 1024], 1024).and_then(|()| f.fsync())
    })?;
    let words = "i_rwsem: the direct write holds it until its zeros are on disk";
    lab.done_or_blocked(&appender, words)?;
    lab.release("dio-submit")?;
    writer.join()??;
    appender.join()??;

    lab.play("appender");
    step("fsync, and the page is evicted");
    f.fsync()?;
    lab.evict(&f)?;
    let want = [vec![b'A'; 512], vec![b'D'; 512], vec![b'B'; 1024]].concat();
    lab.reads(&f, 0, &want, "the appended bytes are zeros")
}

pub static APPEND_VS_READ: Race = Race {
    row: "25",
    name: "append-vs-read",
    title: "A direct append moves the size before the old page is gone",
    story: "A reader has the last page, with zeros behind the end. When the append moves the size, the \
            zeros are part of the file for everybody who finds that page, until it is dropped.",
    off: &["append-invalidate"],
    catch: &["mm_filemap_delete_from_page_cache"],
    var: K1,
    run: append_vs_read,
    ..RACE
};

fn append_vs_read(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; 1024])?;
    let direct = lab.direct(&f)?;
    lab.given("f: one block of 'A', a quarter of a page", &[&f])?;

    lab.arm("dio-mapped", &f)?;
    lab.arm("dio-end", &f)?;
    let writer = lab.thread(
        "direct",
        "direct write: appends a block of 'D'",
        move || direct.pwrite(&Aligned::of(&[b'D'; 1024]), 1024),
    )?;
    lab.wait("dio-mapped")?;
    lab.play("reader");
    lab.reads(&f, 0, &[b'A'; 1024], "not what was there")?;
    lab.release("dio-mapped")?;
    lab.wait("dio-end")?;
    lab.play("reader");
    let size = f.size()?;
    step(&format!("fstat: {size} bytes"));
    let want = [vec![b'A'; 1024], vec![b'D'; 1024]].concat();
    lab.reads(&f, 0, &want, "zeros where the append is")?;
    lab.release("dio-end")?;
    writer.join()??;
    Ok(())
}
