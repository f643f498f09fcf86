// SPDX-License-Identifier: GPL-2.0
//! Blocks that go while somebody is at them.

use super::PAGE;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::thread::Found;
use crate::tracing::step;
use guest::aio::{Aio, Op};
use guest::map::Map;
use guest::sys::Aligned;
use std::sync::Arc;

pub static PUNCH_VS_FAULT: Race = Race {
    row: "3",
    name: "punch-vs-fault",
    title: "A page fault reads while a hole is punched",
    story:
        "The punch has dropped the page cache and not yet removed the extent. A fault in between \
            brings the page back, and the mapping goes on showing a block that was freed.",
    off: &["punch-lock"],
    run: punch_vs_fault,
    ..RACE
};

fn punch_vs_fault(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let m = Arc::new(Map::shared(&f, PAGE)?);
    lab.given("f: one block of 'A', mapped", &[&f])?;

    lab.arm("punch-invalidated", &f)?;
    let puncher = lab.thread("puncher", "punches block 0", {
        let f = f.clone();
        move || f.punch(0, PAGE as u64)
    })?;
    lab.wait("punch-invalidated")?;

    let reader = lab.thread("reader", "loads a byte from the mapping: page fault", {
        let m = m.clone();
        move || m.get(0)
    })?;
    lab.done_or_blocked(&reader, "the fault waits for invalidate_lock")?;
    lab.release("punch-invalidated")?;
    puncher.join()??;
    reader.join()?;

    lab.play("reader");
    lab.shows(&m, 0, &[0; PAGE], "the mapping shows the freed block")?;
    lab.reads(&f, 0, &[0; PAGE], "the punched range is not zero")
}

pub static PUNCH_VS_STORE: Race = Race {
    row: "4",
    name: "punch-vs-store",
    title: "A write fault dirties a page while a hole is punched",
    story:
        "The store finds the block that the punch is about to remove, and reserves nothing. Then \
            the page is dirty over a hole. Writeback drops it, and fsync says all is well.",
    // The second one would save the data: see row 12.
    off: &["punch-lock", "fill-unreserved"],
    run: punch_vs_store,
    ..RACE
};

fn punch_vs_store(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let m = Arc::new(Map::shared(&f, PAGE)?);
    lab.given("f: one block of 'A', mapped", &[&f])?;

    lab.arm("punch-invalidated", &f)?;
    let puncher = lab.thread("puncher", "punches block 0", {
        let f = f.clone();
        move || f.punch(0, PAGE as u64)
    })?;
    lab.wait("punch-invalidated")?;

    let storer = lab.thread("storer", "stores 'S' through the mapping: write fault", {
        let m = m.clone();
        move || m.set(0, b'S')
    })?;
    lab.done_or_blocked(&storer, "the fault waits for invalidate_lock")?;
    lab.release("punch-invalidated")?;
    puncher.join()??;
    storer.join()?;

    // Whatever the file shows now, fsync promises that it stays.
    let seen = m.read(0, PAGE);
    drop(m);
    lab.play("storer");
    step("fsync, and the page is evicted");
    f.fsync()?;
    lab.evict(&f)?;
    lab.reads(&f, 0, &seen, "fsync succeeded, and the store is lost")
}

pub static AIO_VS_PUNCH: Race = Race {
    row: "9",
    name: "aio-vs-punch",
    title: "Asynchronous direct I/O is in flight while its blocks are freed",
    story: "io_submit has returned, the write is on its way to the disk and holds no lock. The block is \
            punched, the transaction commits, another file gets the block. Then the write arrives.",
    off: &["dio-wait"],
    run: aio_vs_punch,
    ..RACE
};

fn aio_vs_punch(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let place = lab.place(&f, 0)?;
    lab.evict(&f)?;
    let direct = lab.direct(&f)?;
    lab.given("f: one block of 'A'", &[&f])?;

    lab.arm("dio-submit", &f)?;
    let mut data = Aligned::of(&[b'D'; PAGE]);
    let mut aio = Aio::new(1)?;
    lab.play("aio");
    step("io_submit: overwrites block 0 with 'D'");
    aio.submit(&direct, Op::Write, &mut data, 0, 1)?;
    lab.wait("dio-submit")?;

    let puncher = lab.thread("puncher", "punches block 0", {
        let f = f.clone();
        move || f.punch(0, PAGE as u64)
    })?;
    let mut victim = None;
    // While the punch waits nobody can have the block.
    if lab.done_or_blocked(&puncher, "inode_dio_wait: the write is still in flight")? == Found::Done
    {
        victim = Some(lab.takes_block("victim", place, b'V')?);
    }
    lab.release("dio-submit")?;
    aio.wait(1)?;
    lab.play("aio");
    step("io_getevents: the write is done");
    puncher.join()??;
    let victim = match victim {
        Some(v) => v,
        None => lab.takes_block("victim", place, b'V')?,
    };

    lab.play("victim");
    lab.on_disk(
        &victim,
        0,
        &[b'V'; PAGE],
        "victim has the data of f's write",
    )?;
    lab.reads(&f, 0, &[0; PAGE], "the punched range is not zero")
}
