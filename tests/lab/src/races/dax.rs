// SPDX-License-Identifier: GPL-2.0
//! Files that are accessed directly: the page is the block, so who has the page has the block,
//! whoever owns it by then.

use super::PAGE;
use crate::harm;
use crate::lab::Lab;
use crate::race::{Race, Res, MEMORY, RACE};
use crate::thread::Found;
use crate::tracing::step;
use guest::map::Map;
use guest::source::Source;
use std::sync::Arc;

fn memory() -> Result<(), String> {
    match std::path::Path::new(MEMORY).exists() {
        true => Ok(()),
        false => Err("no disk here is memory (memmap= of the kernel)".into()),
    }
}

/// What these have: an image in memory, and files that are accessed there.
const DAX: Race = Race {
    memory: true,
    mount: "dax=always",
    needs: memory,
    ..RACE
};

pub static PIN_VS_PUNCH: Race = Race {
    row: "17",
    name: "dax-pin-vs-punch",
    title: "A hole is punched where a device is about to store, and the page is the block",
    story: "A direct read from another device goes into a mapping of the file, and has its page \
            pinned. The page is the block. The block is punched, the transaction commits, another \
            file gets the block. Then the device delivers.",
    off: &["break-layout"],
    run: pin_vs_punch,
    ..DAX
};

fn pin_vs_punch(lab: &mut Lab) -> Res {
    let mut source = Source::new(&mut lab.t, &[b'S'; PAGE])?;
    let f = lab.file("f", &[b'A'; PAGE])?;
    let place = lab.place(&f, 0)?;
    let m = Map::shared(&f, PAGE)?;
    lab.given("f: one block of 'A', mapped; the page is the block", &[&f])?;

    lab.play("device");
    source.ask(&m, &(0..PAGE))?;
    step("is asked for 'S', into the mapping: the page is pinned");
    lab.arm("pin-wait", &f)?;
    let puncher = lab.thread("puncher", "punches block 0", {
        let f = f.clone();
        move || f.punch(0, PAGE as u64)
    })?;
    let mut victim = None;
    if lab.parked(&puncher, "pin-wait")? {
        // While the punch waits nobody can have the block.
        lab.caught("puncher", "somebody has the page: the punch waits");
        lab.release("pin-wait")?;
    } else {
        victim = Some(lab.takes_block("victim", place, b'V')?);
    }
    lab.play("device");
    source.deliver(&(0..PAGE))?;
    step("delivers 'S' into the page");
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
        "victim has what the device delivered to f",
    )?;
    lab.reads(&f, 0, &[0; PAGE], "the punched range is not zero")
}

pub static FAULT_VS_PUNCH: Race = Race {
    row: "17b",
    name: "dax-fault-vs-punch",
    title: "A fault maps a block while it is punched, and the page is the block",
    story: "The punch has taken the mappings back and not yet removed the extent. A fault in \
            between maps the block again. Another file gets the block, and is stored to by who \
            has only ever mapped the first.",
    off: &["punch-lock"],
    run: fault_vs_punch,
    ..DAX
};

fn fault_vs_punch(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; PAGE])?;
    let place = lab.place(&f, 0)?;
    let m = Arc::new(Map::shared(&f, PAGE)?);
    lab.given("f: one block of 'A', mapped; the page is the block", &[&f])?;

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
    let found = lab.done_or_blocked(&storer, "the fault waits for invalidate_lock")?;
    lab.release("punch-invalidated")?;
    puncher.join()??;
    storer.join()?;
    let victim = lab.takes_block("victim", place, b'V')?;

    lab.play("storer");
    step("stores 'T' through the mapping");
    m.set(1, b'T');
    lab.play("victim");
    lab.on_disk(&victim, 0, &[b'V'; PAGE], "victim has what is stored to f")?;
    let mut want = [0; PAGE];
    want[..2].copy_from_slice(b"ST");
    if found == Found::Done {
        // It came before the punch.
        want[0] = 0;
    }
    lab.reads(&f, 0, &want, "f has not what was stored")
}

pub static WRITE_VS_FAULT: Race = Race {
    row: "28",
    name: "dax-write-vs-fault",
    title: "write(2) meets a write fault half way, and a mapping goes on to show the hole",
    story:
        "A mapping shows a hole as zeros. A write fault elsewhere has made the block, and has not \
            taken that back yet. write(2) finds the block written, so it is no hole to it, copies \
            its bytes and returns. The mapping shows zeros.",
    off: &["unmap-hole"],
    run: write_vs_fault,
    ..DAX
};

fn write_vs_fault(lab: &mut Lab) -> Res {
    let f = lab.empty("f")?;
    f.truncate(PAGE as u64)?;
    let m = Arc::new(Map::shared(&f, PAGE)?);
    m.get(0);
    lab.given("f: a hole, which a mapping shows as zeros", &[&f])?;

    lab.arm("write-end", &f)?;
    let theirs = m.clone();
    let words = "stores 'S' through a mapping of its own: write fault";
    let storer = lab.process("storer", words, move || {
        theirs.set(100, b'S');
        Ok(0)
    })?;
    lab.wait("write-end")?;
    lab.play("writer");
    step("write(2): 'W' to the page");
    f.pwrite(b"W", 0)?;
    step("returns");
    let reader = lab.thread("reader", "loads a byte from the mapping", {
        let m = m.clone();
        move || m.get(0)
    })?;
    lab.done_or_blocked(&reader, "the load waits for the fault to be over")?;
    lab.release("write-end")?;
    storer.join()??;
    let seen = reader.join()?;
    lab.play("reader");
    if seen != b'W' {
        harm!("the mapping shows a hole where write(2) has put 'W'");
    }
    lab.good("what write(2) has put there");
    let mut want = [0; PAGE];
    (want[0], want[100]) = (b'W', b'S');
    lab.shows(&m, 0, &want, "the mapping")?;
    lab.reads(&f, 0, &want, "the file")
}
