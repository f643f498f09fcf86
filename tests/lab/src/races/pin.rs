// SPDX-License-Identifier: GPL-2.0
//! A page that a device stores into, and its neighbours in one large folio.

use super::PAGE;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::tracing::step;
use guest::map::Map;
use guest::source::Source;
use guest::sys::{Aligned, Fd};
use std::sync::Arc;

/// The file, which is one folio.
const LEN: usize = 16 * PAGE;
/// Where the read goes.
const AT: usize = 8 * PAGE;

fn large_folios() -> Result<(), String> {
    match std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        true => Ok(()),
        false => Err("this kernel has no large folios (CONFIG_TRANSPARENT_HUGEPAGE)".into()),
    }
}

pub static PIN_VS_PUNCH: Race = Race {
    row: "24",
    name: "pin-vs-punch",
    title: "A hole is punched beside a page that a device is about to store into",
    story: "A direct read from another device goes into a mapping of the file, and has its page \
            pinned. The kernel cannot split a pinned folio. So the punch of another page drops the \
            folio whole, and what the device delivers is in a page of no file.",
    off: &["keep-pinned"],
    needs: large_folios,
    run: pin_vs_punch,
    ..RACE
};

fn pin_vs_punch(lab: &mut Lab) -> Res {
    beside_pin(lab, 0, ("puncher", "punches block 0"), |f, _| {
        Ok(f.punch(0, PAGE as u64)?)
    })
}

pub static PIN_VS_DIO: Race = Race {
    row: "26",
    name: "pin-vs-dio",
    title: "A direct write beside a page that a device is about to store into",
    story: "A direct read from another device goes into a mapping of the file, and has its page \
            pinned. A direct write to another page drops the folio that both are in. What the \
            device delivers is in a page of no file, though nobody wrote to where it was read to.",
    off: &["keep-pinned"],
    catch: &["rext4_dio_fall_back"],
    needs: large_folios,
    run: pin_vs_dio,
    ..RACE
};

fn pin_vs_dio(lab: &mut Lab) -> Res {
    beside_pin(
        lab,
        b'W',
        ("writer", "direct write of 'W' to page 0"),
        |_, d| Ok(d.pwrite(&Aligned::of(&[b'W'; PAGE]), 0)?),
    )
}

pub static PIN_VS_END: Race = Race {
    row: "29",
    name: "pin-vs-end",
    title: "A hole is punched to the end of the file, where a device is about to store",
    story: "The file ends inside of its last block. The block goes whole; the kernel is told to \
            drop the bytes before the end only, and keeps the page, not locked. What the device \
            delivers makes it dirty, and writeback finds the block before it is freed. Another \
            file gets it.",
    off: &["end-whole"],
    run: pin_vs_end,
    ..RACE
};

fn pin_vs_end(lab: &mut Lab) -> Res {
    let source = Source::new(&mut lab.t, &[b'S'; PAGE])?;
    let len = PAGE + PAGE / 2;
    let f = lab.file("f", &vec![b'A'; len])?;
    let place = lab.place(&f, PAGE as u64)?;
    let m = Arc::new(Map::shared(&f, 2 * PAGE)?);
    lab.given("f: a block and a half of 'A', on disk and mapped", &[&f])?;

    source.suspend()?;
    let words = "direct read from a silent device into page 1 of the mapping: pinned";
    let reader = lab.thread("reader", words, {
        let (d, m) = (source.file()?, m.clone());
        move || d.pread(m.as_mut_slice(PAGE, 512), 0)
    })?;
    lab.until_blocked(&reader, "the device has not delivered")?;
    lab.arm("punch-invalidated", &f)?;
    let puncher = lab.thread("puncher", "punches block 1, to behind the end", {
        let f = f.clone();
        move || f.punch(PAGE as u64, PAGE as u64)
    })?;
    lab.wait("punch-invalidated")?;
    source.resume()?;
    reader.join()??;

    lab.arm_at("writeback-mapped", &f, PAGE as u64)?;
    let flusher = lab.thread("flusher", "writes what is dirty of f", {
        let f = f.clone();
        move || f.start_writeback(0, 0)
    })?;
    if !lab.parked(&flusher, "writeback-mapped")? {
        lab.caught("flusher", "page 1 is not in the page cache");
    }
    lab.release("punch-invalidated")?;
    puncher.join()??;
    let victim = lab.takes_block("victim", place, b'V')?;
    lab.release("writeback-mapped")?;
    flusher.join()??;
    f.fsync()?;

    lab.play("victim");
    lab.on_disk(&victim, 0, &[b'V'; PAGE], "victim has what was read into f")?;
    lab.reads(
        &f,
        PAGE as u64,
        &[0; PAGE / 2],
        "the punched range is not zero",
    )
}

/// `act` makes page 0 full of `byte` while a page of the same folio is pinned.
fn beside_pin(
    lab: &mut Lab,
    byte: u8,
    (who, what): (&str, &str),
    act: impl FnOnce(Arc<Fd>, Arc<Fd>) -> Res + Send + 'static,
) -> Res {
    let mut source = Source::new(&mut lab.t, &[b'S'; PAGE])?;
    let f = lab.file("f", &[b'A'; LEN])?;
    let d = lab.direct(&f)?;
    let m = Map::shared(&f, LEN)?;
    lab.given("f: one folio of 16 pages, 'A', on disk and mapped", &[&f])?;

    let page = AT..AT + PAGE;
    source.ask(&m, &page)?;
    step("the device is asked for 'S', into page 8 of the mapping: pinned");
    let actor = lab.thread(who, what, {
        let f = f.clone();
        move || act(f, d)
    })?;
    actor.join()??;
    source.deliver(&page)?;
    step("the device delivers");

    lab.play(who);
    lab.shows(&m, AT, &[b'S'; PAGE], "what was read is not in the mapping")?;
    lab.shows(&m, 0, &[byte; PAGE], "page 0")?;
    drop(m);
    f.fsync()?;
    lab.evict(&f)?;
    lab.reads(
        &f,
        AT as u64,
        &[b'S'; PAGE],
        "what was read is not in the file",
    )?;
    lab.reads(&f, 0, &[byte; PAGE], "page 0")
}
